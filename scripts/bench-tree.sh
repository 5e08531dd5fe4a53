#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# $OUT/bench/linux: $OUT/linux and what is for benchmarks only, the patches
# in lib/bench. What they touch is written once.

. "$(dirname "$0")/lib.sh"

# patches for the newest base, or those for an older one in its own directory
bench=$TOP/lib/bench
[ ! -d "$bench/$BASE" ] || bench+=/$BASE
tree=$OUT/bench/linux

"$TOP/scripts/tree.sh"
mkdir -p "$OUT/bench"
exec 7>"$OUT/bench/tree.lock"
flock 7
mapfile -t touched < <(sed -n 's,^+++ b/\(\S*\).*,\1,p' "$bench"/*.patch)
id=$( (cd "$TREE" && cat "$bench"/*.patch "${touched[@]}" 2>/dev/null) |
	sha256sum || true)
if [ "$id" != "$(cat "$tree.id" 2>/dev/null)" ]; then
	rm -rf "$tree" "$tree.id"
fi
rsync -a --delete "${touched[@]/#/--exclude=/}" --link-dest="$TREE" \
	"$TREE/" "$tree/"
[ ! -e "$tree.id" ] || exit 0
for f in "${touched[@]}"; do
	[ ! -e "$TREE/$f" ] || cp -p "$TREE/$f" "$tree/$f"
done
for f in "$bench"/*.patch; do
	patch -d "$tree" -p1 -s -F0 --no-backup-if-mismatch -i "$f"
done
echo "$id" >"$tree.id"
