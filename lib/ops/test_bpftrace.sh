#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# usage: test_bpftrace.sh [SELFTESTS]
#
# bpftrace accepts the scripts in lib/bpftrace on this kernel: tracepoints and
# their fields are there. With the directory of the selftests, each script runs
# while some of them do, and has to show what they did. That takes a kernel with
# kprobes and BPF programs on tracepoints, which User Mode Linux is not. Needs
# root.

dir=$(cd "$(dirname "$0")/../bpftrace" && pwd)
selftests=${1:-}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
export BPFTRACE_MAX_STRLEN=64 n=0 failed=0

# Types in the fields of tracepoints, for kernels without BTF: distributions have it
types=()
if [ ! -e /sys/kernel/btf/vmlinux ]; then
	cat >"$tmp/types.h" <<-'END'
	typedef unsigned char u8;
	typedef unsigned short u16;
	typedef unsigned int u32;
	typedef unsigned long long u64;
	typedef _Bool bool;
	enum skb_drop_reason { SKB_NOT_DROPPED_YET };
	END
	types=(--include "$tmp/types.h")
fi

# accepts SCRIPT [ARGUMENT...]: parse it and make the program, do not load it
accepts()
{
	bpftrace "${types[@]}" --emit-elf "$tmp/elf" "$@" >"$tmp/out" 2>&1
}

# shows PATTERN SCRIPT COMMAND: a line that the script prints about a command
shows()
{
	local args=()

	# two numbers
	[ "$2" != quic-drops ] || read -ra args <<<"$reasons"
	echo "cd '$selftests/net' && exec $3 >'$tmp/said' 2>&1" >"$tmp/command"
	: >"$tmp/said"
	bpftrace "${types[@]}" -c "/bin/sh $tmp/command" "$dir/$2.bt" \
		"${args[@]}" >"$tmp/out" 2>&1
	grep -qE "$1" "$tmp/out" || { tail -n 3 "$tmp/said" >>"$tmp/out"; return 1; }
}

# result TITLE STATUS: a line of TAP, with what bpftrace said if it is not ok
result()
{
	n=$((n + 1))
	if [ "$2" = 0 ]; then
		echo "ok $n $1"
	else
		grep -v '^$' "$tmp/out" | tail -n 25 | sed 's/^/# /'
		echo "not ok $n $1"
		failed=1
	fi
}

[ -d /sys/kernel/tracing/events ] ||
	mount -t tracefs none /sys/kernel/tracing
reasons=$("$dir/drop-reasons" | paste -sd " ")
[ -n "$reasons" ] || exit 1
scripts=("$dir"/*.bt)
# a script, what it has to show, and what is to be seen meanwhile. Without BTF,
# bpftrace 0.23 shows no strings of tracepoints, those of net_dev_queue neither.
runs=(
	"quic-who" '^@seals\[quic, [0-9]+\]: [1-9]' "./quic -t flow_id"
	"quic-who" '^@opens\[quic_rx, [0-9]+\]: [1-9]' "./quic_rx -t packets"
	"quic-latency" '^@sendmsg_ns:' "./quic -t flow_id"
	"quic-latency" '^@seal_ns:' "./quic -t flow_id"
	"quic-errors" '^@seal_error_reason\[quic, [0-9]+, -[0-9]+, [0-9]+\]: ' \
		"./quic -t key_missing"
	"quic-errors" '^@open_status\[quic_rx, [0-9]+, [0-9]+\]: ' \
		"./quic_rx -t no_flow"
	"quic-errors" '^@add_error\[quic, [0-9]+, -[0-9]+\]: ' \
		"./quic -t flow_collision"
	"quic-drops" '^@drops\[[0-9]+, udp' "./quic_rx -t drop"
	"quic-device" '^@offered\[[^,]*, 0, 0, ' \
		"../drivers/net/quic.py -t 'wire.4*'"
)
[ -n "$selftests" ] || runs=()
echo "TAP version 13"
echo "1..$((${#scripts[@]} + 3 + ${#runs[@]} / 3))"
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

for ((i = 0; i < ${#runs[@]}; i += 3)); do
	shows "${runs[i + 1]}" "${runs[i]}" "${runs[i + 2]}"
	result "${runs[i]} while ${runs[i + 2]}" $?
done
exit $failed
