# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# What the tests of aioquic_kernel, quinn-quic-kernel and knot have in common: a server
# and a client of ours, either of which may be under test, with counters in
# $T/server-stats and $T/client-stats. $ours is the one under test, or both; each
# program sets $stack, the name of its library.

# shellcheck source=../test/tests.sh
. ./test/tests.sh

stack="the library"

# serve_ngtcp2 [options of gtlsserver]: the client is the one under test
serve_ngtcp2() {
	ours=client
	PRELOAD=$SAVE
	start_capture && start_server "$@"
}

# end: all packets on the wire are sealed
end() {
	stop_server
	stop_capture || return 1
	for side in server client; do
		# shellcheck disable=SC2086 # an argument, or none
		./quic_wire "$T/wire.pcap" "$T/keylog" "$PORT" \
			${side#server} >"$T/wire-$side" || {
			sed 's/^\([^#]\)/# \1/' "$T/wire-$side"
			return 1
		}
	done
}

# sums of a counter of ours
stats() {
	n=0
	for f in "$T/"*-stats "$T/out/"*/*-stats; do
		[ ! -e "$f" ] || n=$((n + $(value "$f" "$1")))
	done
	echo $n
}

# The kernel says the same as the programs, and nothing is left in it.
counted() {
	[ -e "$STAT" ] || return 0
	[ "$(grown QuicTxSwPackets)" -eq "$(stats kernel_packets)" ] ||
		says "QuicTxSwPackets $(grown QuicTxSwPackets), not" \
			"$(stats kernel_packets)" || return 1
	[ "$(grown QuicRxSwPackets)" -eq "$(stats rx_kernel_packets)" ] ||
		says "QuicRxSwPackets $(grown QuicRxSwPackets), not" \
			"$(stats rx_kernel_packets)" || return 1
	no_flow_left || says "flows are left in the kernel"
}

# sealed SIDE: what our SIDE has sent is what is on the wire
sealed() {
	kernel=$(value "$T/$1-stats" kernel_packets)
	library=$(value "$T/$1-stats" library_packets)
	fallback=$(value "$T/$1-stats" fallback_packets)
	on_wire=$(value "$T/wire-$1" wire_sealed_packets)
	echo "# sent by the $1: $on_wire, sealed by the kernel $kernel, by" \
		"$stack $library and $fallback"
	[ $((kernel + library + fallback)) -eq "$on_wire" ] &&
		[ "$on_wire" -gt 0 ] && return
	says "they do not add up"
}

# opened SIDE: what has come to our SIDE is what the other has sent, but for what
# came when it had nothing more to read
opened() {
	other=server
	[ "$1" = client ] || other=client
	rx_kernel=$(value "$T/$1-stats" rx_kernel_packets)
	rx_library=$(value "$T/$1-stats" rx_library_packets)
	rx_failed=$(value "$T/$1-stats" rx_failed_packets)
	rx_wire=$(value "$T/wire-$other" wire_sealed_packets)
	rx_overrun=$(overrun_since)
	unread=$((rx_wire - rx_kernel - rx_library - rx_failed - rx_overrun))
	echo "# sent by the $other: $rx_wire, opened by the kernel $rx_kernel," \
		"by $stack $rx_library, by none $rx_failed, unread $unread"
	[ "$rx_overrun" -eq 0 ] && [ $unread -ge 0 ] &&
		[ $unread -lt $max_unread ] && return
	says "they do not add up"
}

# The kernel has refused to seal some: the library did.
by_both() {
	sealed "$ours" && counted && [ "$kernel" -gt 0 ] && [ "$fallback" -gt 0 ]
}

# updates NUMBER: on both sides of the wire, since the peer follows
updates() {
	for side in server client; do
		_n=$(value "$T/wire-$side" wire_key_updates)
		echo "# key updates of the $side: $_n"
		[ "$_n" -ge "$1" ] ||
			says "the $side has updated too seldom" || return 1
	done
}

# with_sysctl NAME VALUE COMMAND...: with another value
with_sysctl() {
	sysctl=/proc/sys/net/quic_crypto/$1
	[ -e "$sysctl" ] || return 4
	old=$(cat "$sysctl")
	echo "$2" >"$sysctl"
	shift 2
	"$@"
	status=$?
	echo "$old" >"$sysctl"
	return $status
}
