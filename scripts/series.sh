#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# usage: series.sh [unsigned DIRECTORY]
#
# The mail series in build/series, ready for git send-email: patches/ in the
# order of patches/series, each with its overlay files, signed off by whoever
# runs this. It is applied again by git am and compared with the tree built.
# "unsigned" makes it into DIRECTORY under no name, for checks by programs.

. "$(dirname "$0")/lib.sh"

out=$BUILD/series
prefix="PATCH net-next"
if [ "${1:-}" = unsigned ]; then
	out=$(realpath -m "${2:?directory}")
	ident="unsigned <unsigned@localhost>" sign=()
else
	git -C "$TOP" var GIT_AUTHOR_IDENT >/dev/null 2>&1 ||
		die "git does not know who you are: git config --global" \
		    "user.name and user.email"
	ident=$(git -C "$TOP" var GIT_AUTHOR_IDENT)
	sign=(--signoff)
fi
name=${ident%% <*} email=${ident#*<} email=${email%%>*}
export GIT_AUTHOR_NAME="$name" GIT_AUTHOR_EMAIL="$email" \
	GIT_COMMITTER_NAME="$name" GIT_COMMITTER_EMAIL="$email"

"$TOP/scripts/tree.sh"
base=$BUILD/base
[ -z "${KSRC:-}" ] || base=$KSRC
work=$(mktemp -d "$BUILD/series.XXXXXX")
trap 'rm -rf "$work"' EXIT
g()	{ git -C "$work" -c core.autocrlf=false -c commit.gpgSign=false \
		-c core.hooksPath=/dev/null "$@"; }

mapfile -t names < <(sed 's/#.*//; /^\s*$/d' "$TOP/patches/series")
[ ${#names[@]} -gt 0 ] || die "patches/series is empty"
file_of()
{
	[ "$1" = MAINTAINERS.patch ] && echo "$TOP/$1" || echo "$TOP/patches/$1"
}

# the pristine state of what the series touches
g init -q -b net-next
touched=()
for line in "${names[@]}"; do
	mapfile -t -O ${#touched[@]} touched < <(sed -n 's,^+++ b/,,p' \
		"$(file_of "${line%%:*}")")
done
for f in "${touched[@]}"; do
	[ ! -e "$base/$f" ] || (cd "$base" && cp -p --parents "$f" "$work/")
done
g add -f .
g commit -q --allow-empty -m base
g tag base

for line in "${names[@]}"; do
	patch=$(file_of "${line%%:*}")
	read -ra files <<<"${line#*:}"
	for f in "${files[@]}"; do
		install -D -m "$(stat -c %a "$TOP/$f")" "$TOP/$f" "$work/$f"
	done
	if grep -q '^diff --git ' "$patch"; then
		g apply --whitespace=nowarn "$patch" ||
			die "${patch#"$TOP/"} does not apply"
	fi
	g add -f .
	sed '/^---$/,$d' "$patch" | g commit -q "${sign[@]}" -F - ||
		die "${patch#"$TOP/"} is empty"
done

rm -rf "$out" && mkdir -p "$out"
g config branch.net-next.description \
	"$(cat "$TOP/patches/cover-letter.txt" 2>/dev/null || echo "no cover letter")"
g format-patch -q --subject-prefix="$prefix" --cover-letter \
	--cover-from-description=subject --thread=shallow --no-signature \
	-o "$out" base

# what git am makes of the mails has to be what was built and tested
g checkout -q -b again base
mails=("$out"/*.patch)
g am -q "${mails[@]:1}" ||
	die "git am refuses the series"
g diff --quiet net-next again || die "git am gives another result"
while read -r f; do
	if [ -e "$work/$f" ]; then
		cmp -s "$work/$f" "$TREE/$f" ||
			die "$f of the series is not what is built"
	elif [ -e "$TREE/$f" ]; then
		die "$f is built, but the series removes it"
	fi
done < <(g diff --name-only base again)
lost=$(comm -13 <(g diff --name-only base again | sort) <(sort "$TREE.files"))
# shellcheck disable=SC2086 # a list
[ -z "$lost" ] || die "no patch of the series adds:" $lost
say "$out: ${#names[@]} patches and a cover letter; git am gives the" \
	"$(wc -l <"$TREE.files") files that are built"
