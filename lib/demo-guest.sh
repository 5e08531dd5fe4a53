#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Debian's stock HTTP/3 server, its 1-RTT packets sealed and opened by the kernel
# through quic_offload.so; three stock clients that download, one of them with
# quic_offload.so, too, and one that uploads; and the proof, from a capture.
#
# Run as root, in a machine of its own, after make. DEMO_MB is the size of the
# file (default 20), DEMO_PY_MB that for the Python client (default the same).
# DEMO_DEV=netdevsim: not on loopback; the server's device seals and opens. What
# the clients' device shows is the wire, as that device does neither.

cd "$(dirname "$0")" || exit 1
. ./lib.sh
DEMO_MB=${DEMO_MB:-20}
DEMO_PY_MB=${DEMO_PY_MB:-$DEMO_MB}

fail() {
	echo "demo: FAIL $*"
	exit 1
}

# The counters of the kernel and of the device
stat_file() {
	$on_server cat $STAT
	[ -z "$DEMO_DEV" ] || {
		$on_server ethtool -S server |
			sed -n 's/^ *\([rt]x_quic[a-z_]*\): */\1 /p'
		# which its peer had no room for
		$on_server sed 's/^/tx_dropped /' \
			/sys/class/net/server/statistics/tx_dropped
	}
}

# grown NAME: how much a counter has
grown() {
	echo $(($(value "$T/after" "$1") - $(value "$T/before" "$1")))
}

# opened_by Sw|Device: packets opened at both ends. Over a device, the clients
# have a namespace of their own.
opened_by() {
	{
		$on_server cat $STAT
		[ -z "$on_client" ] || $on_client cat $STAT
	} | awk -v n="QuicRx$1Packets" '$1 == n { s += $2 } END { print s + 0 }'
}

no_flow_left() {
	stat_file >"$T/after"
	[ "$(value "$T/after" QuicCurrTxSw)" -eq 0 ] &&
		[ "$(value "$T/after" QuicCurrTxDevice)" -eq 0 ] &&
		[ "$(value "$T/after" QuicCurrRxSw)" -eq 0 ] &&
		[ "$(value "$T/after" QuicCurrRxDevice)" -eq 0 ] &&
		[ "$(value "$T/after" tx_quic_ctx)" -eq \
			"$(value "$T/after" tx_quic_del)" ] &&
		[ "$(value "$T/after" rx_quic_ctx)" -eq \
			"$(value "$T/after" rx_quic_del)" ]
}

# run COMMAND...: with a server and a capture of its own
run() {
	rm -f "$T/out/"* "$T/client-offload"
	stat_file >"$T/before"
	sw_before=$(opened_by Sw) device_before=$(opened_by Device)
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
	opened_sw=$(($(opened_by Sw) - sw_before))
	opened_device=$(($(opened_by Device) - device_before))
}

# check_file SENT GOT FROM TO: is it the same file?
check_file() {
	sum=$(sha256sum <"$1" | cut -c1-64)
	got=$(sha256sum <"$2" | cut -c1-64)
	echo "# $3: $sum  $(stat -c %s "$1") bytes"
	echo "# $4: $got  in $ms ms, exit status $status"
	[ $status -eq 0 ] && [ "$sum" = "$got" ]
	result $? "$name: the file arrives" "$(cat "$T/client.log" 2>/dev/null)"
}

show_counters() {
	echo "# counter                             before      after"
	awk 'FILENAME == ARGV[1] { old[$1] = $2; next }
	     { printf "# %-26s %15d %10d\n", $1, old[$1], $2 }' \
		"$T/before" "$T/after"
	grep -v '^Using document root\|ERR_DRAINING' "$T/server.log" |
		sed 's/^/# server: /'
}

# check_wire: all that the server sent is sealed, and so is what came
check_wire() {
	./quic_wire "$T/wire.pcap" "$T/keylog" "$PORT" >"$T/wire"
	wire_ok=$?
	./quic_wire "$T/wire.pcap" "$T/keylog" "$PORT" client >"$T/wire-client"
	wire_ok=$((wire_ok + $?))
	sed 's/^\([^#]\)/# \1/' "$T/wire"
	sealed=$(value "$T/wire" wire_sealed_packets)
	arrived=$(value "$T/wire-client" wire_sealed_packets)
	[ $wire_ok -eq 0 ] && [ $complete -eq 0 ]
	result $? "$name: each of the $sealed 1-RTT packets of the server is sealed, and the $arrived of the client are"
}

check_sealed() {
	kernel=$(value "$T/offload" kernel_packets)
	library=$(value "$T/offload" library_packets)
	fallback=$(value "$T/offload" fallback_packets)
	calls=$(value "$T/offload" kernel_calls)
	software=$(grown QuicTxSwPackets)
	[ -n "$CLIENT_PRELOAD" ] && [ -z "$DEMO_DEV" ] &&
		software=$((software -
			$(value "$T/client-offload" kernel_packets)))
	counted=$((software + $(grown QuicTxDevicePackets)))
	errors=$(grown QuicTxSwError)
	lost=$(grown tx_dropped)
	echo "# sealed by the kernel: $kernel packets in $calls calls," \
		"by the library: $library (handshake) and $fallback"
	[ "$counted" -eq "$kernel" ] && [ "$kernel" -gt 0 ] &&
		[ $((kernel + library + fallback)) -eq $((sealed + lost)) ] &&
		[ "$fallback" -le $((1 + kernel / 20)) ] && [ "$errors" -eq 0 ]
	result $? "$name: the kernel sealed $counted of the server's" \
		"$kernel asked for, $sealed on the wire, $lost lost, $errors errors"
}

check_device() {
	device=$(grown tx_quic_encrypted_packets)
	drops=$(grown QuicTxDeviceDrop)
	[ $((device + software)) -eq "$kernel" ] &&
		[ $((device * 10)) -gt $((kernel * 9)) ] && [ "$drops" -eq 0 ]
	result $? "$name: the device sealed $device, software $software" \
		"$kernel asked for, $drops dropped"
}

# How much a batch holds is up to the client, and how fast that is. A device
# segments before the wire.
check_gso() {
	[ -n "$DEMO_DEV" ] ||
		[ "$(value "$T/wire" wire_gso_datagrams)" -gt 0 ] &&
		[ "$calls" -lt "$kernel" ] &&
		[ "$(value "$T/offload" kernel_max_batch)" -gt 1 ]
	result $? "$name: with GSO, $((kernel / (calls + (calls == 0)))) packets a call, at most $(value "$T/offload" kernel_max_batch)"
}

# not_opened FILE: how many packets the kernel has left to the library, and why
not_opened() {
	printf '%s before the handshake was over' \
		"$(value "$1" rx_library_packets)"
	for reason in not_1rtt no_flow key_phase auth_failed too_short \
			key_limit not_tried; do
		n=$(value "$1" rx_$reason)
		[ "$n" -eq 0 ] || printf ', %s %s' "$n" $reason
	done
}

# check_opened WHOSE ON-THE-WIRE FILE: FILE has the counters of the program that
# has received the packets of WHOSE side. Some come when it has closed.
check_opened() {
	kernel=$(value "$3" rx_kernel_packets)
	library=$(value "$3" rx_library_packets)
	unread=$(($2 - kernel - library))
	echo "# packets of the $1: $2 on the wire, opened by the kernel $kernel," \
		"by the library $library, unread $unread; left to the" \
		"library: $(not_opened "$3")"
	[ "$kernel" -gt 0 ] && [ "$library" -le 10 ] && [ $unread -ge 0 ] &&
		[ $unread -le 20 ] &&
		[ "$(value "$3" rx_used_packets)" -eq "$kernel" ] &&
		[ "$(value "$3" rx_failed_packets)" -eq 0 ]
	result $? "$name: the kernel opened $kernel of the $1's"
}

# check_all: what every transfer has to show
check_all() {
	show_counters
	check_wire
	check_sealed
	[ -z "$DEMO_DEV" ] || check_device
	check_opened client "$arrived" "$T/offload"
	all=$kernel
	[ -z "$DEMO_DEV" ] || {
		[ $((opened_device * 10)) -gt $((all * 8)) ]
		result $? "$name: the device opened $opened_device of them"
	}
	[ -z "$CLIENT_PRELOAD" ] || {
		check_opened server "$sealed" "$T/client-offload"
		all=$((all + kernel))
	}
	[ $((opened_sw + opened_device)) -eq "$all" ]
	result $? "$name: the counters say so, too: software opened $opened_sw,\
 the device $opened_device" "not $all"
	result $gone "$name: no flow is left behind"
}

# title COMMAND...
title() {
	echo
	echo "# $name: $*" | sed "s|$T/||g"
}

# download NAME FILE COMMAND...
download() {
	name=$1
	file=$2
	shift 2
	title "$@"
	run "$@"
	check_file "$T/www/$file" "$T/out/$file" server client
	check_all
	kernel=$(value "$T/offload" kernel_packets)
	check_gso
}

# upload NAME FILE COMMAND...
upload() {
	name=$1
	file=$2
	shift 2
	title "$@"
	run "$@"
	uploaded "$file"
	check_file "$T/www/$file" "$T/out/$file" client server
	check_all
}

[ "$(id -u)" -eq 0 ] || fail "needs root, for the capture"
setup
# A socket has room for what a window of the peer holds, so that all that was sent
# is there to be counted.
echo 20000000 >/proc/sys/net/core/rmem_default
LIB=$PWD/quic_offload.so
PRELOAD=$LIB
[ -e $STAT ] || modprobe quic_crypto 2>/dev/null
[ -e $STAT ] || fail "this kernel has no $STAT"

n_steps=30
case $DEMO_DEV in
'')	;;
netdevsim)
	setup_netdevsim >"$T/setup.log" 2>&1 ||
		fail "no netdevsim that seals and opens: $(cat "$T/setup.log")"
	n_steps=38 ;;
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
CLIENT_PRELOAD=$LIB
download "gtlsclient, key update" file \
	gtls_get --key-update=${update}ms "$ADDR" "$PORT" "$url/file"
CLIENT_PRELOAD=
[ "$(value "$T/wire" wire_key_updates)" -gt 0 ]
result $? "gtlsclient: the keys changed during the download"
# shellcheck disable=SC2086 # a prefix, or nothing
download "aioquic" pyfile $on_client \
	timeout "$TIMEOUT" /usr/bin/python3 h3get.py "$url/pyfile" "$T/out/pyfile"
PRELOAD=$LIB:$PWD/test/save_upload.so
upload "upload" file gtls_put "$T/www/file" --key-update=${update}ms \
	"$ADDR" "$PORT" "$url/"
[ "$(value "$T/wire-client" wire_key_updates)" -gt 0 ]
result $? "upload: the keys changed meanwhile"

echo
if [ $n_failed -gt 0 ]; then
	echo "demo: FAIL $n_failed of $n_test steps"
	exit 1
fi
echo "demo: PASS"
