#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Everything, then one line with the sum of the TAP results. A stage that
# fails does not keep the next from running.

. "$(dirname "$0")/lib.sh"

rm -f "$RES"/*
start=$SECONDS

for stage in lint quick insns interop vng; do
	began=$SECONDS status=0
	say "check: $stage"
	"$TOP/scripts/$stage.sh" || status=$?
	# a stage that died before its results is a failure of its own
	sum=0
	results stage "$stage" >/dev/null || sum=$?
	if [ "$status" != 0 ] && [ "$sum" != 1 ]; then
		echo "not ok 1 $stage ended with status $status" |
			tee "$RES/$stage-status.tap"
	fi
	say "check: $stage took $((SECONDS - began))s"
done
say "check: all took $((SECONDS - start))s, results in $RES"

results count "$RES"/*.tap
