#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What reviewers' programs would say, as TAP in build/results/lint.tap. Each
# patch of the series is applied to a pristine tree in its turn and what it
# touches is compiled with W=1 and checked by sparse.

. "$(dirname "$0")/lib.sh"

lint=$BUILD/lint
tap=$RES/lint.tap
tree=$lint/linux
n=0
mkdir -p "$lint"

# try NAME COMMAND...: one result, with what the command said if it failed
try()
{
	local name=$1 status=0 log
	shift
	n=$((n + 1))
	log=$LOG/lint-$(tr -cs 'a-zA-Z0-9\n' - <<<"$name" | cut -c 1-60).log
	("$@") >"$log" 2>&1 </dev/null || status=$?
	case $status in
	0)	echo "ok $n $name" ;;
	4)	echo "ok $n $name # SKIP $(tail -n 1 "$log")" ;;
	*)	tail -n 40 "$log" | sed 's/^/# /'
		echo "not ok $n $name" ;;
	esac | tee -a "$tap"
}

# the types that netdev's own checks ignore, and our missing name
checkpatch()
{
	(cd "$lint" && "$TREE/scripts/checkpatch.pl" --root="$TREE" --strict \
		--codespell --max-line-length=80 --no-signoff --show-types \
		--codespellfile="$(dirname "$(/usr/bin/python3 -c \
		'import codespell_lib as c; print(c.__file__)' \
		)")/data/dictionary.txt" \
		--ignore=COMMIT_LOG_LONG_LINE,MACRO_ARG_REUSE \
		--ignore=ALLOC_SIZEOF_STRUCT,NO_AUTHOR_SIGN_OFF \
		--ignore=GIT_COMMIT_ID,CAMELCASE,FILE_PATH_CHANGES "$@")
}

# tracing headers have a style of their own that checkpatch does not know
checkpatch_mail()
{
	awk '/^diff --git/ { skip = /\/trace\.h$/ } !skip' "$1" |
		checkpatch -
}

checkpatch_trace()
{
	checkpatch --ignore=OPEN_ENDED_LINE,PARENTHESIS_ALIGNMENT \
		-f "$TREE/net/quic/trace.h"
}

pristine()
{
	local f
	if [ "$(cat "$TREE.id")" != "$(cat "$tree.id" 2>/dev/null)" ]; then
		rm -rf "$tree" "$tree.id"
		rsync -a --link-dest="$base" --exclude=/.git "$base/" "$tree/"
		cp "$TREE.id" "$tree.id"
		cp "$TREE.files" "$tree.files"
	fi
	# a build of what the patches touched before is repeated
	sort -u "$TREE.files" "$tree.files" >"$tree.all"
	while read -r f; do
		rm -f "$tree/$f" "$lint/out/${f%.c}.o"
		[ ! -e "$base/$f" ] || cp -p "$base/$f" "$tree/$f"
	done <"$tree.all"
	cp "$TREE.files" "$tree.files"
}

in_lint()
{
	TREE=$tree kmake "$lint/out" ARCH=x86_64 "$@"
}

# objects of all files that the series touches, as far as the tree has them
# and its configuration wants them
objects()
{
	local f dir obj symbol
	grep -E '^net/.*\.c$' "$TREE.files" | while read -r f; do
		dir=$tree/$(dirname "$f") obj=$(basename "$f" .c).o
		[ -e "$tree/$f" ] || continue
		[ -e "$dir/Makefile" ] || continue
		symbol=$(sed -n "s/^obj-\$(\(CONFIG_\w*\)).*\b$obj\b.*/\1/p" \
			"$dir/Makefile")
		[ -z "$symbol" ] || grep -q "^$symbol=" "$lint/out/.config" ||
			continue
		case $f in
		net/quic/*) echo net/quic/ ;;
		*)	echo "${f%.c}.o" ;;
		esac
	done | sort -u
}

# what W=1 and sparse say, without line numbers
warnings()
{
	sed -nE 's,^.*/(net|include)/([^:]*):[0-9:]+ ((warning|error):.*),\1/\2: \3,p' \
		"$1" | sort
}

compile()
{
	local targets
	mapfile -t targets < <(objects)
	in_lint W=1 C=1 CHECK=sparse "${targets[@]}"
}

patch_builds()
{
	local log=$lint/compile.log
	patch -d "$tree" -p1 -s -F0 -N <"$1"
	"$TOP/scripts/kernel.sh" lint
	compile >"$log" 2>&1 || { grep -v '^make' "$log"; return 1; }
	cat "$log"
	sed -n 's/^ *CHECK *//p' "$log" >>"$lint/checked"
	warnings "$log" | comm -13 "$lint/pristine" - >"$lint/new"
	[ ! -s "$lint/new" ] || { echo "new:" && cat "$lint/new"; return 1; }
	! grep -E 'too old|is not built with' "$log"
}

sparse_ran()
{
	local f
	sort -u "$lint/checked"
	grep -E '^net/.*\.c$' "$TREE.files" | while read -r f; do
		grep -q "/$f\$" "$lint/checked" ||
			{ echo "sparse did not read $f"; return 1; }
	done
}

ours()	# PATHSPEC...: our files, not the patches' results
{
	git -c safe.directory='*' -C "$TOP" ls-files -co --exclude-standard \
		-- "$@" | sort -u | while read -r f; do
		[ ! -e "$TOP/$f" ] || echo "$f"
	done
}

kernel_doc()
{
	local out
	out=$(cd "$TREE" && grep -E '\.[ch]$' "$TREE.files" |
		grep -E 'quic|udp_ulp' |
		xargs scripts/kernel-doc -none -Wall 2>&1) || true
	echo "$out"
	[ -z "$out" ]
}

shell()
{
	cd "$TOP" && { ours '*.sh'; echo .ci/run; } |
		xargs shellcheck
}

spelling()
{
	# "ende" is a label in lines of the kernel that a patch shows
	cd "$TOP" && ours . | grep -v '^\.git' | xargs codespell -L ende
}

python()
{
	cd "$TOP" && ours '*.py' | xargs -r python3 -c '
import sys
for p in sys.argv[1:]:
    compile(open(p, encoding="utf-8").read(), p, "exec")'
}

headers_alone()
{
	local h lang flags
	grep '^include/uapi/' "$TREE.files" | while read -r h; do
		for lang in "c -std=gnu99" "c++ -std=c++11"; do
			for flags in "" -m32; do
				echo "$h: $lang $flags"
				# shellcheck disable=SC2086 # flags
				echo "#include <${h#include/uapi/}>" |
					gcc -fsyntax-only -Wall -Wextra \
					-Werror -x $lang $flags \
					-I "$BUILD/headers/include" - ||
					return 1
			done
		done
	done
}

# the two pages, by the kernel's own configuration of sphinx
documentation()
{
	local doc=$lint/doc out page
	[ -e "$TREE/Documentation/networking/quic.rst" ] ||
		{ echo "no quic.rst yet"; return 4; }
	rm -rf "$doc" && mkdir -p "$doc/networking"
	cp -r "$TREE"/Documentation/{conf.py,sphinx,sphinx-static,images} "$doc/"
	cp "$TREE"/Documentation/networking/quic*.rst "$doc/networking/"
	printf '%s\n' Kernel ====== '' '.. toctree::' '' '   networking/quic' \
		'   networking/quic-bench' >"$doc/index.rst"
	for page in quic quic-bench; do
		grep -q "^ *$page\$" \
			"$TREE/Documentation/networking/index.rst" ||
			{ echo "networking/index.rst has no $page"; return 1; }
	done
	cd "$TREE"
	out=$(srctree=$TREE PYTHONDONTWRITEBYTECODE=1 \
		KERNELVERSION=6.12 KERNELRELEASE=6.12 \
		sphinx-build -q -b html -D kerneldoc_srctree="$TREE" \
		-D kerneldoc_bin="$TREE/scripts/kernel-doc" \
		"$doc" "$doc/html" 2>&1) ||
		{ echo "$out"; return 1; }
	echo "$out"
	# the pages have no figures that would need graphviz
	! grep -v 'dot(1) not found' <<<"$out" | grep -E 'WARNING|ERROR'
}

examples()
{
	"$TOP/scripts/doc-examples.sh" \
		"$TREE/Documentation/networking/quic.rst" \
		"$BUILD/headers/include"
}

need "lint" sparse codespell shellcheck python3-sphinx python3-ply \
	python3-git g++-multilib
rm -rf "$lint"/{checked,series} "$tap"
echo "TAP version 13" | tee "$tap"
try "the series is complete and applies by git am" \
	"$TOP/scripts/series.sh" unsigned "$lint/series"
[ -d "$lint/series" ] || exit 1
base=$BUILD/base
[ -z "${KSRC:-}" ] || base=$(cd "$KSRC" && pwd)
install_headers
step lint-tree "a pristine tree for each patch in its turn" pristine
"$TOP/scripts/kernel.sh" lint
step lint-prepare "preparing it for W=1 and sparse" \
	in_lint prepare
step lint-pristine "what they say without the patches" compile
warnings "$LOG/lint-pristine.log" >"$lint/pristine"

mails=("$lint"/series/*.patch)
for m in "${mails[@]:1}"; do
	name=$(basename "$m" .patch)
	try "checkpatch $name" checkpatch_mail "$m"
	try "W=1 and sparse $name" patch_builds "$m"
done
try "checkpatch trace.h" checkpatch_trace
try "sparse ran" sparse_ran
try "kernel-doc" kernel_doc
try "uapi headers alone in C and C++" headers_alone
try "quic.rst and quic-bench.rst build" documentation
try "examples of quic.rst" examples
try "shellcheck" shell
try "python" python
try "codespell" spelling
echo "1..$n" | tee -a "$tap"
results stage lint
