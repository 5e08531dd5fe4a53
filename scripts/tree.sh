#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Kernel source + overlay + patches in build/linux. KSRC=/path uses that
# source (it is copied, never changed), else Debian's linux-source-6.12.

. "$(dirname "$0")/lib.sh"

copy_tree()	# FROM OPTION...
{
	local from=$1
	shift
	rm -rf "$TREE" "$TREE.part" "$TREE.files"
	rsync -a "$@" "$from/" "$TREE.part/"
	mv "$TREE.part" "$TREE"
}

unpack()
{
	rm -rf "$1" "$1.part" && mkdir -p "$1.part"
	tar -C "$1.part" --strip-components=1 -xf "$2"
	mv "$1.part" "$1"
}

# one at a time: several builds may start from this tree
exec 9>"$BUILD/tree.lock"
flock 9

need_build
tar=/usr/src/linux-source-6.12.tar.xz
if [ -n "${KSRC:-}" ]; then
	base=$(cd "$KSRC" && pwd)
	[ -f "$base/net/ipv4/udp.c" ] || die "KSRC=$KSRC is no kernel tree"
	id="$base"
else
	base=$BUILD/base
	id=$(stat -Lc '%n %s %Y' $tar)
	if [ "$id" != "$(cat "$BUILD/base.id" 2>/dev/null)" ]; then
		step unpack "unpacking $tar" unpack "$base" $tar
		echo "$id" >"$BUILD/base.id"
	fi
fi
if [ "$id" != "$(cat "$TREE.id" 2>/dev/null)" ]; then
	# our own copy can share its inodes: the tree's files are replaced,
	# never written
	if [ -n "${KSRC:-}" ]; then
		step copy "copying $KSRC" copy_tree "$base" --exclude=/.git
	else
		step copy "copying the source" copy_tree "$base" \
			--link-dest="$base"
	fi
	echo "$id" >"$TREE.id"
fi
python3 "$TOP/scripts/tree.py" "$base" "$TREE"
