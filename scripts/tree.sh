#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Kernel source + overlay + patches in build/BASE/linux. KSRC=/path uses that
# source (it is copied, never changed), else Debian's, see base.sh.

. "$(dirname "$0")/lib.sh"

# copy_tree COMMAND...: a copy of the pristine source in $TREE
copy_tree()
{
	rm -rf "$TREE" "$TREE.part" "$TREE.files"
	"$@" "$TREE.part/"
	mv "$TREE.part" "$TREE"
}

# package_tar: the path of the source in Debian's package, and in it
package_tar()
{
	echo "usr/src/linux-source-$BASE.tar.xz"
}

# unpack_host: from the package, installed on the host
unpack_host()
{
	rm -rf "$PRISTINE.part" && mkdir -p "$PRISTINE.part"
	tar -C "$PRISTINE.part" --strip-components=1 -xf "/$(package_tar)"
	mv "$PRISTINE.part" "$PRISTINE"
}

# unpack_private VERSION: from the package of another suite
unpack_private()
{
	local work=$PRISTINE.deb
	rm -rf "$work" "$PRISTINE.part" && mkdir -p "$PRISTINE.part"
	debian_unpack "$base_suite" "linux-source-$BASE" "$1" "$work"
	tar -C "$PRISTINE.part" --strip-components=1 -xf \
		"$work/$(package_tar)"
	rm -rf "$work"
	mv "$PRISTINE.part" "$PRISTINE"
}

# need_source: the pristine source. Once unpacked, that of the newest base
# stays; remove build/base-VERSION for a newer release.
need_source()
{
	local id version
	if [ "$BASE" != "$base_oldest" ]; then
		[ ! -d "$PRISTINE" ] || return 0
		version=$(debian_version "$base_suite" "linux-source-$BASE")
		[ -n "$version" ] ||
			die "no mirror has linux-source-$BASE; BASE=$base_oldest"
		step unpack "unpacking linux-source-$BASE $version" \
			unpack_private "$version"
		return
	fi
	need "the kernel source" "linux-source-$BASE"
	id=$(stat -Lc '%n %s %Y' "/$(package_tar)")
	[ "$id" != "$(cat "$PRISTINE.id" 2>/dev/null)" ] || return 0
	rm -rf "$PRISTINE"
	step unpack "unpacking linux-source-$BASE" unpack_host
	echo "$id" >"$PRISTINE.id"
}

# one at a time: several builds may start from this tree
exec 9>"$OUT/tree.lock"
flock 9

need_build
[ -n "${KSRC:-}" ] || need_source
id="$PRISTINE $(stat -c %Y "$PRISTINE/Makefile")"
if [ "$id" != "$(cat "$TREE.id" 2>/dev/null)" ]; then
	# our own copy can share its inodes: the tree's files are replaced,
	# never written
	if [ -n "${KSRC:-}" ]; then
		step copy "copying $KSRC" copy_tree \
			rsync -a --exclude=/.git "$PRISTINE/"
	else
		step copy "copying the source" copy_tree cp -al "$PRISTINE/."
	fi
	echo "$id" >"$TREE.id"
fi
python3 "$TOP/scripts/tree.py" "$PRISTINE" "$TREE"
