#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Everything on the newest kernel, and on the oldest what depends on the kernel;
# then what took how long, and one line with the sum of the TAP results. A stage
# that fails does not keep the next from running. With BASE= or KSRC= in the
# environment, everything on that base only.

given=${BASE:-}${KSRC:-}
. "$(dirname "$0")/lib.sh"

# base_stages BASE STAGE...
base_stages()
{
	local BASE=$1 stage status sum
	export BASE
	shift

	RES=$BUILD/$BASE/results
	mkdir -p "$RES"
	rm -f "$RES"/*
	for stage; do
		status=0 STAGE="$BASE $stage"
		say "check: $STAGE"
		"$TOP/scripts/$stage.sh" || status=$?
		# a stage that died before its results is a failure of its own
		sum=0
		results stage "$stage" >/dev/null || sum=$?
		if [ "$status" != 0 ] && [ "$sum" != 1 ]; then
			echo "not ok 1 $stage ended with status $status" |
				tee "$RES/$stage-status.tap"
		fi
	done
	taps+=("$RES"/*.tap)
}

taps=()
base_stages "$BASE" lint quick insns interop vng
if [ -z "$given" ] && [ "$BASE" != "$base_oldest" ]; then
	base_stages "$base_oldest" lint quick
fi
times_table
results count "${taps[@]}"
