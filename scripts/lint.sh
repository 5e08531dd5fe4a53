#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# usage: lint.sh [each|all]
#
# What reviewers' programs would say, as TAP in build/BASE/results/lint.tap.
# The patches of the series are applied to a pristine tree, and what they touch
# is compiled with W=1 and checked by sparse: with `each`, after each patch; with
# `all`, which takes minutes instead of half an hour, after the last one. A file
# that the compiler does not see with its patch is an error.

. "$(dirname "$0")/lib.sh"

when=${1:-each}
[[ $when =~ ^(each|all)$ ]] || die "usage: lint.sh [each|all]"
lint=$OUT/lint
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

# tracing headers have a style of their own that checkpatch does not know, and
# so have files that a program of the kernel writes
checkpatch_mail()
{
	awk '/^diff --git/ { skip = /(\/trace\.h|_gen\.[ch]|\/quic_crypto\.h)$/ }
		!skip' "$1" |
		checkpatch -
}

# all mails at once, as many at a time as there are CPUs; for checkpatch_said()
checkpatch_mails()
{
	local m out
	mkdir -p "$lint/checkpatch"
	for m in "$lint"/series/*/*.patch; do
		[[ $m != */0000-* ]] || continue
		while [ "$(jobs -rp | wc -l)" -ge "$JOBS" ]; do
			wait -n || true
		done
		out=$lint/checkpatch/${m##*/series/}
		mkdir -p "${out%/*}"
		{ checkpatch_mail "$m" && : >"$out.ok"; } >"$out" 2>&1 &
	done
	wait
}

checkpatch_said()	# MAIL
{
	local out=$lint/checkpatch/${1##*/series/}
	cat "$out"
	[ -e "$out.ok" ]
}

checkpatch_trace()
{
	checkpatch --ignore=OPEN_ENDED_LINE,PARENTHESIS_ALIGNMENT \
		-f "$TREE/net/quic/trace.h"
}

# added_code MAIL: lines of code that it adds, without tests, documentation and
# what a program of the kernel writes
added_code()
{
	awk '/^diff --git / {
			hunk = 0
			skip = $4 ~ /^b\/(Documentation|tools|MAINTAINERS$)|\/tests\// ||
			       $4 ~ /_gen\.[ch]$|\/quic_crypto\.h$/
		}
		/^@@ / { hunk = 1 }
		hunk && !skip && /^\+/ { n++ }
		END { print n + 0 }' "$1"
}

# what reviewers can follow
patch_sizes()
{
	local dir mail mails n status=0

	for dir in "$lint"/series/*; do
		mails=0
		for mail in "$dir"/*.patch; do
			[[ $mail != */0000-* ]] || continue
			mails=$((mails + 1))
			n=$(added_code "$mail")
			[ "$n" -le 900 ] || { echo "$n lines: $mail"; status=1; }
		done
		[ "$mails" -le 15 ] || { echo "$mails patches: $dir"; status=1; }
	done
	return $status
}

# our own copy of the pristine tree, each patch in its turn on top
pristine()
{
	local f
	if [ "$(cat "$TREE.id")" != "$(cat "$tree.id" 2>/dev/null)" ]; then
		rm -rf "$tree" "$tree.id"
		cp -al "$PRISTINE" "$tree" 2>/dev/null ||
			rsync -a --exclude=/.git "$PRISTINE/" "$tree/"
		cp "$TREE.id" "$tree.id"
		cp "$TREE.files" "$tree.files"
	fi
	# what the patches touched before is compiled again
	sort -u "$TREE.files" "$tree.files" >"$tree.all"
	while read -r f; do
		rm -f "$tree/$f" "$lint/out/${f%.c}.o" \
			"$lint/out/$(dirname "$f")/.$(basename "$f" .c).o.cmd"
		[ ! -e "$PRISTINE/$f" ] || cp -p "$PRISTINE/$f" "$tree/$f"
	done <"$tree.all"
	cp "$TREE.files" "$tree.files"
}

# Linux 7 wants a newer sparse than Debian 12 and 13 have: take Debian's newest,
# unpacked in build/sparse, and its C library if the host's is too old for it.
unpack_sparse()
{
	local dir=$BUILD/sparse version libc=
	version=$(debian_version sid sparse)
	[ -n "$version" ] || return 0
	rm -rf "$dir"
	debian_unpack sid sparse "$version" "$dir"
	if ! "$dir/usr/bin/sparse" --version >/dev/null 2>&1; then
		debian_unpack sid libc6 "$(debian_version sid libc6)" "$dir"
		libc="$(find "$dir" -name 'ld-linux*' -print -quit)"
		libc+=" --library-path $(dirname "$(find "$dir" -name libc.so.6 \
			-print -quit)")"
	fi
	printf '#!/bin/sh\nexec %s "$@"\n' "${libc:+$libc }$dir/usr/bin/sparse" \
		>"$dir/sparse"
	chmod +x "$dir/sparse"
}

# sparse_fits COMMAND: would the kernel's build use it?
sparse_fits()
{
	local test=$PRISTINE/scripts/checker-valid.sh
	command -v "$1" >/dev/null || return 1
	[ ! -e "$test" ] || [ "$(sh "$test" "$1")" = 1 ]
}

need_sparse()
{
	need "lint" sparse
	sparse=sparse
	sparse_fits "$sparse" && return
	sparse=$BUILD/sparse/sparse
	sparse_fits "$sparse" ||
		step sparse "unpacking a newer sparse" unpack_sparse
	sparse_fits "$sparse" || sparse=
}

in_lint()
{
	TREE=$tree kmake "$lint/out" ARCH=x86_64 "$@"
}

# is_code: those of the files on standard input that the kernel is made of
is_code()
{
	grep -E '\.c$' | grep -vE '^(tools|Documentation|lib/bench)/' || true
}

# new_directory FILE: the topmost directory of FILE that the series adds
new_directory()
{
	local dir=$1 found=
	while dir=$(dirname "$dir") && [ "$dir" != . ]; do
		[ -e "$PRISTINE/$dir" ] || found=$dir
	done
	echo "$found"
}

# objects LIST: what make is asked for: directories that the series adds, and
# the files on the list that it changes elsewhere
objects()
{
	local f dir
	is_code <"$1" | while read -r f; do
		[ -e "$tree/$f" ] || continue
		dir=$(new_directory "$f")
		[ -n "$dir" ] && echo "$dir/" || echo "${f%.c}.o"
	done | sort -u
}

# what W=1 and sparse say, without line numbers
warnings()
{
	sed -nE "s,^($tree/|\./)?([^ :]+\.[chS]):[0-9:]+ ((warning|error):.*),\2: \3,p" \
		"$1" | sort
}

compile()	# LIST
{
	local targets check=1
	[ -n "$sparse" ] || check=0
	mapfile -t targets < <(objects "$1")
	[ ${#targets[@]} -gt 0 ] || return 0
	in_lint W=1 C=$check CHECK="$sparse" "${targets[@]}"
}

# What W=1 and sparse say without the patches. That stays the same for a release
# and a configuration.
baseline()
{
	local id
	id=$(cat "$TREE.id" "$TREE.files" "$lint/out/.config" - <<<"$sparse" |
		sha256sum)
	[ "$id" != "$(cat "$lint/pristine.id" 2>/dev/null)" ] || return 0
	rm -f "$lint/pristine.id"
	step lint-pristine "what they say without the patches" \
		compile "$TREE.files"
	warnings "$LOG/lint-pristine.log" >"$lint/pristine"
	echo "$id" >"$lint/pristine.id"
}

# A file that make is asked for by name is compiled even where no Makefile has
# it. So look whether make would compile it with the rest of its directory.
in_makefile()
{
	local f=$1 dir
	dir=$(new_directory "$f")
	if [ -n "$dir" ]; then
		grep -qE "^(obj|subdir)-.*[[:space:]]$(basename "$dir")/" \
			"$tree/$(dirname "$dir")/Makefile"
		return
	fi
	rm -f "$lint/out/${f%.c}.o"
	# with -n, make looks at the configuration as it was before
	in_lint syncconfig
	# not -q: make must not find nobody reading
	in_lint -n "$(dirname "$f")/" 2>/dev/null | grep -F "${f%.c}.o" \
		>/dev/null
}

# seen FILE: did the compiler read it, as an object or included in one? Its name
# may be relative to the directory of the objects.
seen()
{
	grep -rqF --include='.*.cmd' "/linux/$1" "$lint/out"
}

new_files_in_makefiles()	# FILE...
{
	local f
	for f; do
		[ -e "$PRISTINE/$f" ] || in_makefile "$f" ||
			{ echo "no Makefile has $f"; return 1; }
	done
}

files_seen()	# FILE...
{
	local f
	for f; do
		seen "$f" || { echo "the compiler has not read $f"; return 1; }
		[ -z "$sparse" ] || grep -qxF "$f" "$lint/checked" ||
			{ echo "sparse has not read $f"; return 1; }
	done
}

files_build()	# LIST
{
	local log=$lint/compile.log files
	"$TOP/scripts/kernel.sh" lint || return 1
	mapfile -t files < <(is_code <"$1" | sort -u)
	new_files_in_makefiles "${files[@]}" || return 1
	compile "$lint/so-far" >"$log" 2>&1 || { grep -v '^make' "$log"; return 1; }
	cat "$log"
	! grep -E 'too old|not up to date|is not built with' "$log" || return 1
	sed -nE "s,^ *CHECK +($tree/)?,,p" "$log" >>"$lint/checked"
	warnings "$log" | comm -13 "$lint/pristine" - >"$lint/new"
	[ ! -s "$lint/new" ] || { echo "new:" && cat "$lint/new"; return 1; }
	files_seen "${files[@]}"
}

# is_kernel LIST: is anything of it what a kernel is built from?
is_kernel()
{
	grep -qvE '^(tools/|Documentation/|MAINTAINERS$)' "$1"
}

sparse_ran()
{
	local f
	[ -n "$sparse" ] || { echo "no sparse is new enough for Linux $BASE";
		return 4; }
	sort -u "$lint/checked"
	is_code <"$TREE.files" | while read -r f; do
		grep -qxF "$f" "$lint/checked" ||
			{ echo "sparse did not read $f"; return 1; }
	done
}

headers_seen()
{
	local f
	grep -E '\.h$' "$TREE.files" |
		grep -vE '^(tools|Documentation)/' | while read -r f; do
		seen "$f" || { echo "no file of the kernel includes $f"; return 1; }
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

# what the kernel's program makes of the specification of netlink messages
generated()
{
	local spec=Documentation/netlink/specs/quic-crypto.yaml file args

	[ "$BASE" != "$base_oldest" ] ||
		{ echo "other releases write other code"; return 4; }
	cd "$TREE" || return 1
	while read -r file args; do
		# shellcheck disable=SC2086 # several arguments
		/usr/bin/python3 tools/net/ynl/pyynl/ynl_gen_c.py $args \
			--spec "$spec" -o "$lint/${file##*/}" &&
			diff -u "$file" "$lint/${file##*/}" || return 1
	done <<-END
	include/uapi/linux/quic_crypto.h --mode uapi --header
	net/quic/netlink_gen.h --mode kernel --header
	net/quic/netlink_gen.c --mode kernel --source
	END
}

shell()
{
	cd "$TOP" && { ours '*.sh'; echo .ci/run; } |
		xargs shellcheck
}

spelling()
{
	# names in lines of the kernel that a patch shows, and in a Makefile
	cd "$TOP" && ours . | grep -v '^\.git' | xargs codespell \
		-L crate,ende,extraversion,iif,keypair,quicly,usin
}

python()
{
	cd "$TOP" && ours '*.py' | xargs -r python3 -c '
import sys
for p in sys.argv[1:]:
    compile(open(p, encoding="utf-8").read(), p, "exec")'
}

# what a reader sees at a glance: at most 40 lines between the braces of a
# function, in all C files but those of patches and selftests
function_sizes()
{
	local long

	long=$(cd "$TOP" && ours 'include/*.h' 'net/*.[ch]' 'drivers/*.[ch]' \
		'lib/*.[ch]' 'lib/*.cc' | xargs awk '
		FNR == 1	{ start = 0 }
		/^\{$/		{ start = FNR }
		/^\}/ && start	{
			n = FNR - start - 1
			if (n > 40)
				print FILENAME ":" start ": " n " lines"
			start = 0
		}') || return 1
	echo "$long"
	[ -z "$long" ]
}

# our uapi headers as they get installed; all others are the host's
our_headers()
{
	local h
	rm -rf "$lint/include"
	in_lint scripts_unifdef
	grep '^include/uapi/' "$TREE.files" | while read -r h; do
		mkdir -p "$lint/include/$(dirname "${h#include/uapi/}")"
		(cd "$lint/out" && sh "$TREE/scripts/headers_install.sh" \
			"$TREE/$h" "$lint/include/${h#include/uapi/}") ||
			return 1
	done
}

# Both UDP headers have our option numbers, and either order must do
headers_alone()
{
	local h udp lang flags
	grep '^include/uapi/' "$TREE.files" | while read -r h; do
		h=${h#include/uapi/}
		for udp in /dev/null linux/udp.h netinet/udp.h; do
			for lang in "c -std=gnu99" "c++ -std=c++11"; do
				for flags in "" -m32; do
					header_compiles "$h" "$udp" || return 1
					header_compiles "$udp" "$h" || return 1
				done
			done
		done
	done
}

header_compiles()	# HEADER NEXT-HEADER, with $lang and $flags
{
	[[ $1$2 != *linux/udp.h* || $1$2 != *netinet/udp.h* ]] || return 0
	echo "$1, $2: $lang $flags"
	# shellcheck disable=SC2086 # flags
	printf '#include <%s>\n' "$@" |
		gcc -fsyntax-only -Wall -Wextra -Werror -x $lang $flags \
		-I "$lint/include" -
}

# Our pages, by the kernel's own configuration of sphinx. It wants a directory
# of the name Documentation and MAINTAINERS next to it.
documentation()
{
	local doc=$lint/doc/Documentation out page release kerneldoc=()
	release=$(kernel_release)
	rm -rf "$lint/doc" && mkdir -p "$doc/networking"
	cp "$TREE/MAINTAINERS" "$lint/doc/"
	cp -r "$TREE"/Documentation/{conf.py,sphinx,sphinx-static,images} "$doc/"
	cp "$TREE"/Documentation/networking/quic*.rst "$doc/networking/"
	printf '%s\n' Kernel ====== '' '.. toctree::' '' >"$doc/index.rst"
	for page in "$doc"/networking/quic*.rst; do
		page=$(basename "$page" .rst)
		echo "   networking/$page" >>"$doc/index.rst"
		grep -q "^ *$page\$" \
			"$TREE/Documentation/networking/index.rst" ||
			{ echo "networking/index.rst has no $page"; return 1; }
	done
	[ -e "$TREE/tools/docs/kernel-doc" ] ||
		kerneldoc=(-D kerneldoc_bin="$TREE/scripts/kernel-doc")
	cd "$TREE" || return 1
	out=$(srctree=$TREE PYTHONDONTWRITEBYTECODE=1 \
		KERNELVERSION=$release KERNELRELEASE=$release \
		/usr/bin/python3 -m sphinx -q -b html \
		-D kerneldoc_srctree="$TREE" "${kerneldoc[@]}" \
		"$doc" "$lint/doc/html" 2>&1) ||
		{ echo "$out"; return 1; }
	echo "$out"
	# the pages have no figures that would need graphviz
	! grep -v 'dot(1) not found' <<<"$out" | grep -E 'WARNING|ERROR' ||
		return 1
	identifiers
}

# sphinx says nothing of an identifier that a file does not document
identifiers()
{
	local id status=0
	while read -r id; do
		grep -q "id=\"c\.$id\"" "$lint"/doc/html/networking/*.html ||
			{ echo "no description of $id"; status=1; }
	done < <(sed -n '/^.. kernel-doc::/,/^$/p' \
		"$TREE"/Documentation/networking/quic*.rst |
		tr -s ' \t' '\n' | grep -E '^(quic|quicdev)_')
	return $status
}

# with all warnings, as programs in C and C++ include it
quickernel_header()
{
	make -C "$TOP/lib/quickernel" header QUIC_UAPI="$lint/include"
}

examples()
{
	"$TOP/scripts/doc-examples.sh" \
		"$TREE/Documentation/networking/quic.rst" \
		"$lint/include"
}

need "lint" codespell shellcheck python3-sphinx python3-ply python3-git \
	python3-jsonschema python3-yaml g++-multilib
rm -rf "$lint"/{checked,so-far,series,checkpatch} "$tap"
echo "TAP version 13" | tee "$tap"
try "the series is complete and applies by git am" \
	"$TOP/scripts/series.sh" unsigned "$lint/series"
[ -d "$lint/series" ] || exit 1
try "at most 900 lines a patch and 15 patches a series" patch_sizes
step lint-tree "a pristine tree for each patch in its turn" pristine
need_sparse
"$TOP/scripts/kernel.sh" lint
step lint-prepare "preparing it for W=1 and sparse" \
	in_lint prepare
step lint-headers "making the uapi headers for user space" our_headers
baseline
step lint-checkpatch "checkpatch on each patch" checkpatch_mails

for m in "$lint"/series/*/*.patch; do
	name=${m#"$lint/series/"} name=${name%.patch}
	[[ $name != */0000-* ]] || continue
	patch -d "$tree" -p1 -s -F0 -N --no-backup-if-mismatch <"$m" ||
		die "$name does not apply"
	sed -n 's,^+++ b/,,p' "$m" | tee "$lint/touched" >>"$lint/so-far"
	try "checkpatch $name" checkpatch_said "$m"
	if [ "$when" = each ] && is_kernel "$lint/touched"; then
		try "W=1 and sparse $name" files_build "$lint/touched"
	fi
done
[ "$when" = each ] || try "W=1 and sparse" files_build "$lint/so-far"
try "checkpatch trace.h" checkpatch_trace
try "sparse ran" sparse_ran
try "headers are included" headers_seen
try "kernel-doc" kernel_doc
try "code from the netlink specification" generated
try "uapi headers alone in C and C++" headers_alone
try "libquickernel's header in C and C++" quickernel_header
try "pages build" documentation
try "examples of quic.rst" examples
# what does not depend on the base is looked at once
if [ "$BASE" != "$base_oldest" ]; then
	try "shellcheck" shell
	try "python" python
	try "functions of at most 40 lines" function_sizes
	try "codespell" spelling
fi
echo "1..$n" | tee -a "$tap"
results stage lint
