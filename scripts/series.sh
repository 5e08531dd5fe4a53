#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# usage: series.sh [unsigned DIRECTORY | edit | fold]
#
# The mail series in build/BASE/series, one directory for each section of
# patches/series, ready for git send-email and signed off by whoever runs this.
# git am has to make the tree of them that is built. "unsigned" makes them
# under no name into DIRECTORY, for checks by programs.
#
# "edit" makes build/BASE/edit, a git repository with a commit for each patch;
# after changing it (git commit --fixup, git rebase -i --autosquash base),
# "fold" writes it back to patches/ and the overlay.

. "$(dirname "$0")/lib.sh"

out=$OUT/series
sign=(--signoff)
case ${1:-} in
edit|fold)
	"$TOP/scripts/tree.sh" >/dev/null
	GIT_AUTHOR_NAME=edit GIT_AUTHOR_EMAIL=edit@localhost \
	GIT_COMMITTER_NAME=edit GIT_COMMITTER_EMAIL=edit@localhost \
		python3 "$TOP/scripts/series.py" "$1" "$PRISTINE" "$OUT/edit"
	exit ;;
unsigned)
	out=$(realpath -m "${2:?directory}")
	ident="unsigned <unsigned@localhost>" sign=() ;;
*)
	ident=$(git -C "$TOP" var GIT_AUTHOR_IDENT 2>/dev/null) ||
		die "git does not know who you are: git config --global" \
		    "user.name and user.email" ;;
esac
name=${ident%% <*} email=${ident#*<} email=${email%%>*}
export GIT_AUTHOR_NAME="$name" GIT_AUTHOR_EMAIL="$email" \
	GIT_COMMITTER_NAME="$name" GIT_COMMITTER_EMAIL="$email"

"$TOP/scripts/tree.sh"
mkdir -p "$(dirname "$out")"
python3 "$TOP/scripts/series.py" mails "$PRISTINE" "$TREE" "$out" "${sign[@]}"
