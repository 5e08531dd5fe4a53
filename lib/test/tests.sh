# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# What test-offload.sh and the test.sh of each directory have in common: counters
# before and after, results, what comes before the first test, and the loop that
# runs them.

# shellcheck source=../lib.sh
. ./lib.sh

# Logs of which run_tests shows the end if a test fails
logs=

says() {
	echo "# $*"
	return 1
}

# Fewer packets than this may be unread when their socket is closed. A network
# with loss and delay has more of them on the way: what was sent again, and what
# it has doubled. The tests of such a network set this.
# shellcheck disable=SC2034
max_unread=20

# What the kernel has counted so far, for grown and overrun_since
count_from_here() {
	rm -rf "$T/out"
	mkdir "$T/out"
	cat "$STAT" >"$T/stat" 2>/dev/null
	overrun >"$T/overrun"
}

# grown NAME: how much a counter of the kernel has
grown() {
	echo $(($(value "$STAT" "$1") - $(value "$T/stat" "$1")))
}

# Datagrams that found no room in their socket
overrun() {
	awk '$1 == "Udp:" && !n { for (n = 1; $n != "RcvbufErrors"; n++); next }
	     $1 == "Udp:" { print $n }' /proc/net/snmp
}

overrun_since() {
	echo $(($(overrun) - $(cat "$T/overrun")))
}

# arrived FILE...: is it the same at either end?
arrived() {
	for f; do
		same "$T/www/${f##*/}" "$T/out/$f" || says "$f did not arrive" ||
			return 1
	done
}

no_flow_left() {
	[ "$(value "$STAT" QuicCurrTxSw)" -eq 0 ] &&
		[ "$(value "$STAT" QuicCurrRxSw)" -eq 0 ]
}

# more_than BYTES FILE
more_than() {
	[ "$(stat -c %s "$2")" -gt "$1" ]
}

# tests_of FILE: the names of its tests
tests_of() {
	sed -n 's/^t_\([a-z0-9_]*\)().*/\1/p' "$1"
}

# offload_or FAKE: who seals and opens, the kernel or a library that does as if,
# which then is in $preload
# shellcheck disable=SC2034
offload_or() {
	[ -e "$STAT" ] || modprobe quic_crypto 2>/dev/null
	preload=
	what="the kernel"
	[ -e "$STAT" ] && return
	what=$1
	preload=$PWD/$1
}

# What tests need that capture the wire and count what was read
prepare_captures() {
	[ "$(id -u)" -eq 0 ] || {
		echo "needs root, for the captures" >&2
		exit 4
	}
	setup
	# Room for a window of the peer: what a socket has dropped cannot be
	# told from what was left to read, as a datagram that GRO has put
	# together counts once.
	echo 20000000 >/proc/sys/net/core/rmem_default
	offload_or test/fake_kernel.so
}

# run_test NAME: in a shell of its own, for what it exports
run_test() {
	(t_"$1"; _status=$?
	 [ -z "$server" ] || stop_server
	 [ -z "$capture" ] || { kill "$capture"; wait "$capture"; }
	 [ $_status -eq 0 ] || [ $_status -eq 4 ] ||
		for f in $logs; do
			sed "s/^/# $f: /" "$T/$f.log" 2>/dev/null |
				tail -15
		done
	 exit $_status)
}

# run_tests NAME...: a test that cannot run returns 4
run_tests() {
	echo "KTAP version 1"
	echo "1..$#"
	echo "# sealed by $what"
	for name; do
		run_test "$name"
		status=$?
		if [ $status -eq 4 ]; then
			skip "$name" "the kernel has no offload, or no netem"
		else
			result $status "$name"
		fi
	done
	[ $n_failed -eq 0 ]
}
