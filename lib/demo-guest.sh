#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Debian's stock HTTP/3 server, its 1-RTT packets sealed by the kernel through
# quic_offload.so; three stock clients; and the proof, from a capture.
#
# Run as root, in a machine of its own, after make. DEMO_MB is the size of the
# file (default 20), DEMO_PY_MB that for the Python client (default the same).
# DEMO_DEV=netdevsim: not on loopback, but over a device that seals.
# FAKE=1 is for developing this on a kernel that has no offload.

cd "$(dirname "$0")" || exit 1
. ./lib.sh
DEMO_MB=${DEMO_MB:-20}
DEMO_PY_MB=${DEMO_PY_MB:-$DEMO_MB}

fail() {
	echo "demo: FAIL $*"
	exit 1
}

# The counters of the kernel and of the device, or of the kernel's double
stat_file() {
	if [ -n "$FAKE" ]; then
		cat "$T/fake_stat" 2>/dev/null
	else
		$on_server cat $STAT
	fi
	[ -z "$DEMO_DEV" ] || {
		$on_server ethtool -S server |
			sed -n 's/^ *\(tx_quic[a-z_]*\): */\1 /p'
		# which its peer had no room for
		$on_server sed 's/^/tx_dropped /' \
			/sys/class/net/server/statistics/tx_dropped
	}
}

# grown NAME: how much a counter has
grown() {
	echo $(($(value "$T/after" "$1") - $(value "$T/before" "$1")))
}

no_flow_left() {
	stat_file >"$T/after"
	[ "$(value "$T/after" QuicCurrTxSw)" -eq 0 ] &&
		[ "$(value "$T/after" QuicCurrTxDevice)" -eq 0 ] &&
		[ "$(value "$T/after" tx_quic_ctx)" -eq \
			"$(value "$T/after" tx_quic_del)" ]
}

# download NAME FILE COMMAND...: with a server and a capture of its own
download() {
	name=$1
	file=$2
	shift 2
	echo
	echo "# $name: $*" | sed "s|$T/||g"
	rm -f "$T/fake_stat" "$T/out/"*
	stat_file >"$T/before"
	start_capture || fail "tcpdump: $(cat "$T/tcpdump.log")"
	# shellcheck disable=SC2119
	start_server || fail "the server does not start"
	start=$(now_ms)
	"$@"
	status=$?
	ms=$(($(now_ms) - start))
	stop_server
	stop_capture
	complete=$?
	wait_for 10 no_flow_left
	gone=$?

	size=$(stat -c %s "$T/www/$file")
	sum=$(sha256sum <"$T/www/$file" | cut -c1-64)
	got=$(sha256sum <"$T/out/$file" | cut -c1-64)
	echo "# server: $sum  $size bytes"
	echo "# client: $got  in $ms ms, exit status $status"
	[ $status -eq 0 ] && [ "$sum" = "$got" ]
	result $? "$name: the file arrives" "$(cat "$T/client.log" 2>/dev/null)"

	echo "# counter                             before      after"
	awk 'FILENAME == ARGV[1] { old[$1] = $2; next }
	     { printf "# %-26s %15d %10d\n", $1, old[$1], $2 }' \
		"$T/before" "$T/after"
	grep -v '^Using document root\|ERR_DRAINING' "$T/server.log" |
		sed 's/^/# server: /'

	./quic_wire "$T/wire.pcap" "$T/keylog" "$PORT" >"$T/wire"
	wire_ok=$?
	sed 's/^\([^#]\)/# \1/' "$T/wire"
	sealed=$(value "$T/wire" wire_sealed_packets)
	[ $wire_ok -eq 0 ] && [ $complete -eq 0 ]
	result $? "$name: each of the $sealed 1-RTT packets on the wire is sealed"

	kernel=$(value "$T/offload" kernel_packets)
	library=$(value "$T/offload" library_packets)
	fallback=$(value "$T/offload" fallback_packets)
	calls=$(value "$T/offload" kernel_calls)
	software=$(grown QuicTxSwPackets)
	counted=$((software + $(grown QuicTxDevicePackets)))
	errors=$(grown QuicTxSwError)
	lost=$(grown tx_dropped)
	echo "# sealed by the kernel: $kernel packets in $calls calls," \
		"by the library: $library (handshake) and $fallback"
	[ "$counted" -eq "$kernel" ] && [ "$kernel" -gt 0 ] &&
		[ $((kernel + library + fallback)) -eq $((sealed + lost)) ] &&
		[ "$fallback" -le $((kernel / 20)) ] && [ "$errors" -eq 0 ]
	result $? "$name: the kernel sealed $counted of them" \
		"$kernel asked for, $sealed on the wire, $lost lost, $errors errors"

	[ -z "$DEMO_DEV" ] || {
		device=$(grown tx_quic_encrypted_packets)
		drops=$(grown QuicTxDeviceDrop)
		[ $((device + software)) -eq "$kernel" ] &&
			[ $((device * 10)) -gt $((kernel * 9)) ] &&
			[ "$drops" -eq 0 ]
		result $? "$name: the device sealed $device, software $software" \
			"$kernel asked for, $drops dropped"
	}

	# How much a batch holds is up to the client, and how fast that is.
	# A device segments before the wire.
	[ -n "$DEMO_DEV" ] ||
		[ "$(value "$T/wire" wire_gso_datagrams)" -gt 0 ] &&
		[ "$calls" -lt "$kernel" ] &&
		[ "$(value "$T/offload" kernel_max_batch)" -gt 1 ]
	result $? "$name: with GSO, $((kernel / (calls + (calls == 0)))) packets a call, at most $(value "$T/offload" kernel_max_batch)"

	result $gone "$name: no flow is left behind"
}

[ "$(id -u)" -eq 0 ] || fail "needs root, for the capture"
setup
PRELOAD=$PWD/quic_offload.so
if [ -n "$FAKE" ]; then
	PRELOAD=$PRELOAD:$PWD/test/fake_kernel.so
	FAKE_KERNEL_STAT=$T/fake_stat
	export FAKE_KERNEL_STAT
	echo "# NOT the kernel's offload: its double, FAKE=1"
else
	[ -e $STAT ] || modprobe quic_crypto 2>/dev/null
	[ -e $STAT ] || fail "this kernel has no $STAT"
fi

n_steps=16
case $DEMO_DEV in
'')	;;
netdevsim)
	setup_netdevsim >"$T/setup.log" 2>&1 ||
		fail "no netdevsim that seals: $(cat "$T/setup.log")"
	n_steps=19 ;;
*)	fail "DEMO_DEV=$DEMO_DEV: only netdevsim is known" ;;
esac

echo "KTAP version 1"
echo "1..$n_steps"
echo "# $(uname -srm), $(curl --version | head -1 | cut -d' ' -f1-2)"
head -c "$((DEMO_MB * 1000000))" /dev/urandom >"$T/www/file"
head -c "$((DEMO_PY_MB * 1000000))" /dev/urandom >"$T/www/pyfile"
url=https://$ADDR:$PORT

download "curl" file curl_get "$T/out/file" "$url/file"
# Early in the download, whatever the speed of the machine
update=$((ms / 8))
[ $update -gt 20 ] || update=20
[ $update -lt 1000 ] || update=1000
download "gtlsclient, key update" file \
	gtls_get --key-update=${update}ms "$ADDR" "$PORT" "$url/file"
[ "$(value "$T/wire" wire_key_updates)" -gt 0 ]
result $? "gtlsclient: the keys changed during the download"
# shellcheck disable=SC2086 # a prefix, or nothing
download "aioquic" pyfile $on_client \
	timeout "$TIMEOUT" /usr/bin/python3 h3get.py "$url/pyfile" "$T/out/pyfile"

echo
if [ $n_failed -gt 0 ]; then
	echo "demo: FAIL $n_failed of $n_test steps"
	exit 1
fi
echo "demo: PASS"
