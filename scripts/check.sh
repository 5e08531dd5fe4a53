#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Everything, then one line with the sum of the TAP results. A stage that
# fails does not keep the next from running.

. "$(dirname "$0")/lib.sh"

res=$BUILD/results
rm -rf "$res"
mkdir -p "$res"
start=$SECONDS

for stage in lint quick vng; do
	began=$SECONDS status=0
	say "check: $stage"
	"$TOP/scripts/$stage.sh" || status=$?
	# a stage that died before its results is a failure of its own
	if [ "$status" != 0 ] && python3 "$TOP/scripts/results.py" \
			stage "$stage" >/dev/null; then
		echo "not ok 1 $stage ended with status $status" |
			tee "$res/$stage-status.tap"
	fi
	say "check: $stage took $((SECONDS - began))s"
done
say "check: all took $((SECONDS - start))s, results in $res"

python3 "$TOP/scripts/results.py" count "$res"/*.tap
