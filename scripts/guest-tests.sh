#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# usage: guest-tests.sh DIRECTORY [KERNEL-TESTS]
#
# Runs inside a test kernel: the kselftest programs that DIRECTORY/list names,
# one a line (seconds, name, command), with KTAP on standard output; then asks
# kmemleak. The list's commands run in DIRECTORY.

set -u
cd "$1" || exit 1
debug=/sys/kernel/debug
[ -e /dev/fd ] || ln -s /proc/self/fd /dev/fd
mountpoint -q $debug || mount -t debugfs debugfs $debug
for f in failslab fail_page_alloc fail_usercopy; do
	[ ! -e $debug/$f/verbose ] || echo 0 >$debug/$f/verbose
done
ip link set lo up
dmesg -n 7 2>/dev/null

ret=0 n=0
mapfile -t tests <list
echo "KTAP version 1"
echo "1..$((${#tests[@]} + 1))"
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

# what is unreferenced twice, with time for RCU and work queues between, leaks
n=$((n + 1)) leaks=
if [ -w $debug/kmemleak ]; then
	echo scan >$debug/kmemleak
	sleep 6
	echo scan >$debug/kmemleak
	leaks=$(cat $debug/kmemleak)
	if [ -z "$leaks" ]; then
		echo "ok $n kmemleak"
	else
		printf '%s\n' "$leaks" | sed 's/^/# /' | head -n 60
		echo "not ok $n kmemleak"
		ret=1
	fi
else
	echo "not ok $n kmemleak # not in this kernel"
	ret=1
fi
exit $ret
