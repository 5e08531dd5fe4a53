#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The series, KUnit and the selftests on both kernels, and on the newest the
# demo, some pairs of servers and clients, and lint; then what took how long, and
# one line with the sum of the TAP results. A stage that fails does not keep the next from
# running. With BASE= or KSRC= in the environment, everything on that base only.
# insns, the rest of interop, and vng are targets of their own, for the sake of
# time. KASAN=1 reaches the kernels of all stages.

given=${BASE:-}${KSRC:-}
. "$(dirname "$0")/lib.sh"

bases=("$BASE") taps=()
[ -n "$given" ] || [ "$BASE" = "$base_oldest" ] || bases+=("$base_oldest")

# on BASE COMMAND...: a script for that base
on()
{
	BASE=$1 STAGE="$1 $2" "$TOP/scripts/$2.sh" "${@:3}"
}

# stage BASE NAME [ARGUMENT...]
stage()
{
	local status=0 sum=0 RES=$BUILD/$1/results

	say "check: $2 on Linux $1"
	on "$@" || status=$?
	# a stage that died before its results is a failure of its own
	results stage "$2" >/dev/null || sum=$?
	if [ "$status" != 0 ] && [ "$sum" != 1 ]; then
		echo "not ok 1 $2 ended with status $status" |
			tee "$RES/$2-status.tap"
	fi
}

# the mails of the series make the tree that is built
mails()
{
	local result="not ok"

	say "check: series on Linux $1"
	on "$1" series unsigned "$BUILD/$1/check-series" && result=ok
	echo "$result 1 git am of the mails makes the tree" |
		tee "$BUILD/$1/results/series.tap"
}

for base in "${bases[@]}"; do
	mkdir -p "$BUILD/$base/results"
	rm -f "$BUILD/$base/results"/*
done
for base in "${bases[@]}"; do
	mails "$base"
	stage "$base" quick
done
stage "${bases[0]}" demo
TEST=matrix stage "${bases[0]}" interop
stage "${bases[0]}" lint all
times_table
for base in "${bases[@]}"; do
	taps+=("$BUILD/$base/results"/*.tap)
done
results count "${taps[@]}"
