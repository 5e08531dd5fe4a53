#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# usage: test_bpftrace.sh
#
# bpftrace accepts the scripts in lib/bpftrace on this kernel: tracepoints and
# their fields are there. The scripts are not run: User Mode Linux has neither
# kprobes nor BPF programs on tracepoints. Needs root.

dir=$(cd "$(dirname "$0")/../bpftrace" && pwd)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
export BPFTRACE_MAX_STRLEN=64 n=0 failed=0

# accepts SCRIPT [ARGUMENT...]: parse it and make the program, do not load it
accepts()
{
	# older versions have no names for what -d shows
	bpftrace -d ast "$@" >"$tmp/out" 2>&1 || bpftrace -d "$@" >"$tmp/out" 2>&1
}

# result TITLE STATUS: a line of TAP, with what bpftrace said if it is not ok
result()
{
	n=$((n + 1))
	if [ "$2" = 0 ]; then
		echo "ok $n $1"
	else
		grep -v '^$' "$tmp/out" | tail -n 5 | sed 's/^/# /'
		echo "not ok $n $1"
		failed=1
	fi
}

[ -d /sys/kernel/tracing/events ] ||
	mount -t tracefs none /sys/kernel/tracing
reasons=$("$dir/drop-reasons" | paste -sd " ")
[ -n "$reasons" ] || exit 1
scripts=("$dir"/*.bt)
echo "TAP version 13"
echo "1..$((${#scripts[@]} + 3))"
for script in "${scripts[@]}"; do
	# shellcheck disable=SC2086 # two numbers
	accepts "$script" $reasons
	result "$(basename "$script")" $?
done

# none of this can fail unless the kernel is asked for tracepoints and fields
sed 's/args->reason/args->reasons/' "$dir/quic-errors.bt" >"$tmp/field.bt"
! accepts "$tmp/field.bt"
result "a field that there is not" $?
sed 's/quic_device_add/quic_device_ad/' "$dir/quic-device.bt" >"$tmp/event.bt"
! accepts "$tmp/event.bt"
result "a tracepoint that there is not" $?

read -r first last <<<"$reasons"
[ "$("$dir/drop-reasons" -v | wc -l)" -eq $((last - first + 1)) ]
result "the numbers of drop reasons are consecutive" $?
exit $failed
