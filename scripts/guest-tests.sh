#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# usage: guest-tests.sh DIRECTORY LIST
#
# Runs inside a test kernel: the tests that LIST names, one a line (time limit
# in seconds, name, command), with KTAP on standard output, and then asks
# kmemleak, where the kernel has it. The commands run in DIRECTORY.

set -u
mapfile -t tests <"$2"
cd "$1" || exit 1
debug=/sys/kernel/debug
for f in failslab fail_page_alloc fail_usercopy; do
	[ ! -e $debug/$f/verbose ] || echo 0 >$debug/$f/verbose
done
dmesg -n 7 2>/dev/null

# kmemleak NUMBER: the last result. What kmemleak reports has to be unreferenced
# in two scans and some seconds old. A canary tells when all of that has happened:
# a module of the kernel's samples that leaks by intention, loaded after the
# tests. As soon as its leaks are reported, older ones are, too.
kmemleak()
{
	local n=$1 pid scans leaks

	insmod "$CANARY" &
	pid=$!
	if ! wait $pid; then
		echo "not ok $n kmemleak # no canary"
		return 1
	fi
	for ((scans = 1; scans <= 100; scans++)); do
		echo scan >$debug/kmemleak
		leaks=$(cat $debug/kmemleak)
		[[ ! $leaks =~ pid\ ${pid}[,\ ] ]] || break
	done
	if [ "$scans" -gt 100 ]; then
		echo "not ok $n kmemleak # does not report what leaks"
		return 1
	fi
	# a report is a line that is not indented and those below it
	leaks=$(awk -v canary="pid ${pid}[, ]" '
		function show() {
			if (report !~ canary)
				printf "%s", report
			report = ""
		}
		/^[^ ]/	{ show() }
			{ report = report "# " $0 "\n" }
		END	{ show() }' <<<"$leaks")
	if [ -z "$leaks" ]; then
		echo "ok $n kmemleak # $scans scans"
		return 0
	fi
	head -n 60 <<<"$leaks"
	echo "not ok $n kmemleak"
	return 1
}

ret=0 n=0 plan=${#tests[@]}
[ ! -w $debug/kmemleak ] || plan=$((plan + 1))
echo "KTAP version 1"
echo "1..$plan"
for t in "${tests[@]}"; do
	read -r limit name cmd <<<"$t"
	n=$((n + 1)) start=$SECONDS
	timeout -k 5 "$limit" bash -c "$cmd" </dev/null 2>&1 |
		sed -u 's/^/    /'
	status=${PIPESTATUS[0]}
	took="$((SECONDS - start))s"
	case $status in
	0)	echo "ok $n $name # $took" ;;
	4)	echo "ok $n $name # SKIP" ;;
	124|137) echo "not ok $n $name # TIMEOUT after $took"; ret=1 ;;
	*)	echo "not ok $n $name # exit status $status, $took"; ret=1 ;;
	esac
done
[ "$plan" = "$n" ] || kmemleak "$plan" || ret=1
exit $ret
