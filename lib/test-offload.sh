#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Tests of quic_offload.so: Debian's stock gtlsserver and gtlsclient under it,
# stock peers, and every 1-RTT packet of the capture opened with the keys of the
# connection. t_rx_* are about packets that the kernel opens.
#
# Run as root, in a machine of its own, after make. test/fake_kernel.so injects
# errors, and seals and opens if the kernel has no quic-crypto.
# TEST_KB: size of the file (default 2000; key updates take ten times that).
# Arguments: names of tests, to run only these; rx for those that begin with rx_,
# tx for all others.

cd "$(dirname "$0")" || exit 1
# shellcheck source=test/tests.sh
. ./test/tests.sh
TEST_KB=${TEST_KB:-2000}
LIB=$PWD/quic_offload.so
DOUBLE=$LIB:$PWD/test/fake_kernel.so
url=https://127.0.0.1:$PORT

# ----- what a test does between begin and end -----

# begin [gtlsserver options]
begin() {
	rm -f "$T/client.log" "$T/client-offload"
	count_from_here
	start_capture && start_server "$@"
}

# end: 0 when all packets on the wire are sealed and all are accounted for
end() {
	stop_server
	stop_capture || return 1
	./quic_wire "$T/wire.pcap" "$T/keylog" "$PORT" >"$T/wire" || {
		sed 's/^\([^#]\)/# \1/' "$T/wire"
		return 1
	}
	kernel=$(value "$T/offload" kernel_packets)
	library=$(value "$T/offload" library_packets)
	fallback=$(value "$T/offload" fallback_packets)
	sealed=$(value "$T/wire" wire_sealed_packets)
	[ "$(value "$T/offload" dropped_packets)" -eq 0 ] ||
		says "packets were dropped"
}

# opened WHOSE: each packet of this side, client or server, was opened by the
# kernel or the library of the other, or came when that had nothing more to read.
# The library opens those that came before the handshake was over.
opened() {
	case $1 in
	client)	rx=$T/offload ;;
	server) rx=$T/client-offload ;;
	esac
	# shellcheck disable=SC2086 # an argument, or none
	./quic_wire "$T/wire.pcap" "$T/keylog" "$PORT" ${1#server} \
		>"$T/wire-$1" ||
		says "not all that the $1 sent is sealed" || return 1
	rx_kernel=$(value "$rx" rx_kernel_packets)
	rx_library=$(value "$rx" rx_library_packets)
	rx_wire=$(value "$T/wire-$1" wire_sealed_packets)
	rx_overrun=$(overrun_since)
	rx_failed=$(value "$rx" rx_failed_packets)
	rx_unread=$((rx_wire - rx_kernel - rx_library - rx_failed - rx_overrun))
	echo "# $rx_wire packets of the $1: opened by the kernel $rx_kernel," \
		"by the library $rx_library, by none $rx_failed," \
		"no room for $rx_overrun, unread $rx_unread"
	for counter in stray refused; do
		[ "$(value "$rx" rx_${counter}_packets)" -eq 0 ] ||
			says "$counter: $(value "$rx" rx_${counter}_packets)" ||
			return 1
	done
	[ $rx_unread -ge 0 ] && [ $rx_unread -lt $max_unread ] &&
		[ "$rx_overrun" -eq 0 ] && return
	says "they do not add up"
}

# kernel_opened WHOSE [AT-MOST]: nearly all of them by the kernel
kernel_opened() {
	opened "$1" && [ "$rx_kernel" -gt 0 ] &&
		[ "$rx_library" -le "${2:-10}" ] && [ "$rx_failed" -eq 0 ]
}

library_opened() {
	opened "$1" && [ "$rx_kernel" -eq 0 ] && [ "$rx_library" -gt 0 ]
}

# The kernel's counters say the same as those of the programs.
counted() {
	[ -e "$STAT" ] || return 0
	all=$(($(value "$T/offload" rx_kernel_packets) +
		$(value "$T/client-offload" rx_kernel_packets)))
	[ "$(grown QuicRxSwPackets)" -eq $all ] &&
		[ "$(value "$STAT" QuicCurrRxSw)" -eq 0 ] && return
	says "QuicRxSwPackets $(grown QuicRxSwPackets), not $all"
}

# All but the handshake was sealed by the kernel, and no packet is missing.
by_kernel() {
	[ "$kernel" -gt 0 ] && [ "$fallback" -eq 0 ] &&
		[ $((kernel + library)) -eq "$sealed" ] && return
	says "kernel $kernel, library $library, fallback $fallback," \
			"on the wire $sealed"
}

# Nothing was sealed by the kernel.
by_library() {
	[ "$kernel" -eq 0 ] && [ "$sealed" -gt 0 ] && return
	says "kernel $kernel, on the wire $sealed"
}

# The kernel refused some: those were sealed by us, and none is missing.
by_both() {
	[ "$kernel" -gt 0 ] && [ "$fallback" -gt 0 ] &&
		[ $((kernel + library + fallback)) -eq "$sealed" ] && return
	says "kernel $kernel, library $library, fallback $fallback," \
			"on the wire $sealed"
}

# Whoever sealed them, none is missing.
all_there() {
	[ $((kernel + library + fallback)) -eq "$sealed" ] || by_kernel
}

get() {
	gtls_get "$@" 127.0.0.1 "$PORT" "$url/file"
}

put() {
	gtls_put "$T/www/file" "$@" 127.0.0.1 "$PORT" "$url/"
}

PRIO=NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+

cipher() {
	begin --ciphers="$PRIO$1" &&
		get --ciphers="$PRIO$1" && end && arrived file && by_kernel &&
		grep -q "connection 1: $2," "$T/wire"
}

# ----- the tests -----

t_curl() {
	begin && curl_get "$T/out/file" "$url/file" && end && arrived file &&
		by_kernel
}

t_curl_ipv6() {
	begin && curl_get "$T/out/file" "https://[::1]:$PORT/file" && end &&
		arrived file && by_kernel
}

t_aes_128_gcm() { cipher AES-128-GCM AES-128-GCM; }
t_aes_256_gcm() { cipher AES-256-GCM AES-256-GCM; }
t_aes_128_ccm() { cipher AES-128-CCM AES-128-CCM; }
t_chacha20_poly1305() { cipher CHACHA20-POLY1305 CHACHA20-POLY1305; }

t_key_update() {
	begin && gtls_get --key-update=50ms 127.0.0.1 "$PORT" "$url/large" &&
		end && arrived large && by_kernel &&
		[ "$(value "$T/offload" retired_keys)" -le 1 ] &&
		[ "$(value "$T/wire" wire_key_updates)" -eq 1 ]
}

# The server updates as often as it may: generations come and go.
t_key_updates() {
	PRELOAD=$PRELOAD:$PWD/test/update_keys.so
	begin && gtls_get -r 0.001 127.0.0.1 "$PORT" "$url/large" && end &&
		arrived large && [ "$kernel" -gt 0 ] &&
		all_there && [ "$(value "$T/offload" retired_keys)" -ge 2 ] &&
		[ "$(value "$T/wire" wire_key_updates)" -ge 2 ]
}

t_aioquic() {
	begin && timeout "$TIMEOUT" /usr/bin/python3 h3get.py "$url/file" \
		"$T/out/file" && end && arrived file && by_kernel
}

t_gso() {
	begin && get && end && arrived file && by_kernel &&
		[ "$(value "$T/offload" kernel_max_batch)" -gt 8 ] &&
		[ "$(value "$T/wire" wire_max_datagram)" -gt 1500 ]
}

t_quic_v2() {
	begin && get -v v2 && end && arrived file && by_kernel &&
		grep -q QUICv2 "$T/wire"
}

t_retry() {
	begin -V && get && end && arrived file && by_kernel
}

t_zero_length_cid() {
	begin && get --scid= && end && arrived file && by_kernel
}

# With no connection ID, only the address tells connections apart.
t_parallel() {
	begin || return 1
	pids=
	for i in 1 2 3 4 5 6 7 8; do
		mkdir "$T/out/$i"
		set --
		[ $((i % 2)) -eq 0 ] || set -- --scid=
		timeout "$TIMEOUT" gtlsclient -q --exit-on-all-streams-close \
			--key-update=20ms --download "$T/out/$i" "$@" \
			127.0.0.1 "$PORT" "$url/file" >"$T/out/$i/log" 2>&1 &
		pids="$pids $!"
	done
	for i in $pids; do
		wait "$i" || return 1
	done
	end && by_kernel || return 1
	for i in 1 2 3 4 5 6 7 8; do
		arrived $i/file || return 1
	done
	[ "$(value "$T/wire" wire_connections)" -eq 8 ]
}

t_many_streams() {
	begin && get -n 5 && end && arrived file && by_kernel
}

t_packet_loss() {
	begin && get -r 0.03 -t 0.03 && end && arrived file && by_kernel
}

t_migration() {
	begin && get --change-local-addr=3ms && end && arrived file &&
		[ "$kernel" -gt 0 ] && all_there &&
		[ "$(value "$T/offload" flows)" = 1 ]
}

t_nat_rebinding() {
	begin && get --change-local-addr=20ms --nat-rebinding \
		--delay-stream=100ms && end &&
		arrived file && [ "$kernel" -gt 0 ] && all_there
}

t_packet_number_2_31() {
	begin --initial-pkt-num=2147483640 && get && end && arrived file &&
		by_kernel
}

t_packet_number_0() {
	begin --initial-pkt-num=0 && get && end && arrived file && by_kernel
}

# The kernel of the client seals.
t_client() {
	begin || return 1
	CLIENT_PRELOAD=$PRELOAD
	put --key-update=10ms || return 1
	end || return 1
	./quic_wire "$T/wire.pcap" "$T/keylog" "$PORT" client >"$T/wire" || {
		sed 's/^\([^#]\)/# \1/' "$T/wire"
		return 1
	}
	kernel=$(value "$T/client-offload" kernel_packets)
	library=$(value "$T/client-offload" library_packets)
	fallback=$(value "$T/client-offload" fallback_packets)
	sealed=$(value "$T/wire" wire_sealed_packets)
	[ "$kernel" -gt $((TEST_KB / 2)) ] && all_there
}

t_off() {
	export QUIC_OFFLOAD=0
	begin && get && end && arrived file && by_library &&
		grep -q 'quic_offload: off' "$T/server.log"
}

# The limit of a key is reached: EKEYEXPIRED. Only the real kernel has that.
t_key_limit() {
	limit=/proc/sys/net/quic_crypto/seal_limit
	[ -e $limit ] || return 4
	echo 500 >$limit
	begin && get && end
	status=$?
	echo 0 >$limit
	[ $status -eq 0 ] && arrived file && by_both &&
		[ "$kernel" -le 500 ]
}

# No more flows: ENOSPC. The connection stays with the library.
t_flow_limit() {
	limit=/proc/sys/net/quic_crypto/max_flows
	[ -e $limit ] || return 4
	old=$(cat $limit)
	echo 0 >$limit
	begin && get && end
	status=$?
	echo "$old" >$limit
	[ $status -eq 0 ] && arrived file && by_library &&
		grep -q 'quic_offload: a connection was refused' "$T/server.log"
}

no_kernel() {
	PRELOAD=$DOUBLE
	export FAKE_KERNEL_ULP="$1"
	begin && get && get && end && arrived file && by_library &&
		[ "$(grep -c 'quic_offload: not in this kernel' \
		     "$T/server.log")" -eq 1 ]
}

t_no_kernel_enoprotoopt() { no_kernel 92; }
t_no_kernel_enoent() { no_kernel 2; }

# There is no memory to find out what the kernel has, when the keys of the first
# connection come.
t_kernel_not_now() {
	PRELOAD=$DOUBLE
	export FAKE_KERNEL_ULP=12:1-2
	begin && get && get && end && arrived file && [ "$kernel" -gt 0 ] &&
		[ "$(value "$T/offload" connections)" -eq 1 ] &&
		! grep -q 'quic_offload: not in' "$T/server.log"
}

t_add_refused() {
	PRELOAD=$DOUBLE
	export FAKE_KERNEL_ADD=28
	begin && get && end && arrived file && by_library
}

# The kernel does not take keys just now: at first, and at the key update.
t_add_not_now() {
	PRELOAD=$DOUBLE
	export FAKE_KERNEL_ADD=11:1-3
	begin && get && end && arrived file && by_both
}

t_update_not_now() {
	PRELOAD=$DOUBLE
	export FAKE_KERNEL_ADD=11:2-4
	begin && gtls_get --key-update=50ms 127.0.0.1 "$PORT" "$url/large" &&
		end && arrived large && by_both &&
		[ "$fallback" -lt $((kernel / 2)) ] &&
		[ "$(value "$T/wire" wire_key_updates)" -eq 1 ]
}

# error ERRNO CHECK: sendmsg() of every third sealed batch fails
error() {
	PRELOAD=$DOUBLE
	export FAKE_KERNEL_FAIL="$1:${3:-3}"
	begin && get && end && arrived file && $2
}

passed_on() {
	[ "$kernel" -gt 0 ] && [ "$fallback" -eq 0 ] &&
		[ "$(value "$T/offload" refused_calls)" -gt 0 ]
}

t_error_enoent() { error 2 all_there; }
t_error_eagain() { error 11 passed_on; }
t_error_enomem() { error 12 passed_on; }
t_error_einval() { error 22 all_there; }
# Not only the first time: it gives up.
t_error_einval_always() { error 22 by_library 1; }
t_error_emsgsize() { error 90 passed_on; }
t_error_eopnotsupp() { error 95 by_both; }
t_error_ebadmsg() { error 74 by_both; }
t_error_enobufs() { error 105 passed_on; }
t_error_ealready() { error 114 by_both; }
t_error_enokey() { error 126 all_there; }
t_error_ekeyexpired() { error 127 by_both; }

# more_than BYTES FILE
# The checker has to see packets that left without protection. The client cannot
# open them, so it waits until it is killed. The handshake is shorter than 20 kB.
t_checker_sees_plaintext() {
	PRELOAD=$DOUBLE
	export FAKE_KERNEL_LEAK=1
	begin || return 1
	gtlsclient -q 127.0.0.1 "$PORT" "$url/file" >"$T/client.log" 2>&1 &
	client=$!
	wait_for 60 more_than 20000 "$T/wire.pcap"
	kill "$client"
	wait "$client" 2>/dev/null
	end >/dev/null && return 1
	[ "$(value "$T/wire" wire_not_opened)" -gt 0 ]
}

# unit PROGRAM: calls that gtlsserver and gtlsclient do not make
unit() {
	LD_PRELOAD=$LIB:$PWD/test/fake_ngtcp2.so:$PWD/test/fake_kernel.so \
		QUIC_OFFLOAD_STATS=$T/offload "$1" >"$T/unit" 2>&1
	status=$?
	sed 's/^/# /' "$T/unit"
	return $status
}

# Three connections, one of which moves to another socket: a duplicate of the
# descriptor is none.
t_unit() {
	unit test/offload_unit &&
		[ "$(value "$T/offload" flows)" -eq 4 ] &&
		[ "$(value "$T/offload" kernel_packets)" -gt 0 ] &&
		[ "$(value "$T/offload" fallback_packets)" -gt 0 ] &&
		[ "$(value "$T/offload" dropped_packets)" -eq 1 ]
}

t_rx_unit() {
	unit test/offload_rx_unit &&
		[ "$(value "$T/offload" rx_key_phase)" -eq 1 ] &&
		[ "$(value "$T/offload" rx_lost_packets)" -eq 4 ] &&
		[ "$(value "$T/offload" rx_stray_packets)" -eq 1 ] &&
		[ "$(value "$T/offload" rx_refused_packets)" -eq 1 ]
}

# ----- reception -----

# Who has the interposer
SAVE=$PWD/test/save_upload.so
server_only() { PRELOAD=$BASE:$SAVE CLIENT_PRELOAD=; }
client_only() { PRELOAD=$SAVE CLIENT_PRELOAD=$BASE; }
both_sides() { PRELOAD=$BASE:$SAVE CLIENT_PRELOAD=$BASE; }

# down FILE, up FILE [gtlsclient options]
down() {
	file=$1
	shift
	gtls_get "$@" 127.0.0.1 "$PORT" "$url/$file" && arrived "$file"
}

up() {
	file=$1
	shift
	gtls_put "$T/www/$file" "$@" 127.0.0.1 "$PORT" "$url/" &&
		uploaded "$file" && arrived "$file"
}

t_rx_download() {
	client_only
	begin && down file && end && kernel_opened server && counted &&
		[ "$(value "$T/client-offload" rx_max_batch)" -gt 8 ]
}

t_rx_upload() {
	server_only
	begin && up file && end && kernel_opened client && counted
}

t_rx_curl() {
	server_only
	begin && curl_get "$T/out/file" "$url/file" && end && arrived file &&
		kernel_opened client && counted
}

t_rx_curl_ipv6() {
	server_only
	begin && curl_get "$T/out/file" "https://[::1]:$PORT/file" && end &&
		arrived file && kernel_opened client && counted
}

t_rx_aioquic() {
	server_only
	begin && timeout "$TIMEOUT" /usr/bin/python3 h3get.py "$url/file" \
		"$T/out/file" && end && arrived file && kernel_opened client &&
		counted
}

# Two kernels, so to speak: all that one seals, the other opens.
both_ways() {
	end && by_kernel && kernel_opened client && kernel_opened server &&
		counted
}

rx_cipher() {
	both_sides
	begin --ciphers="$PRIO$1" && down file --ciphers="$PRIO$1" &&
		both_ways && grep -q "connection 1: $1," "$T/wire" &&
		begin --ciphers="$PRIO$1" && up file --ciphers="$PRIO$1" &&
		both_ways
}

t_rx_aes_128_gcm() { rx_cipher AES-128-GCM; }
t_rx_aes_256_gcm() { rx_cipher AES-256-GCM; }
t_rx_aes_128_ccm() { rx_cipher AES-128-CCM; }
t_rx_chacha20_poly1305() { rx_cipher CHACHA20-POLY1305; }

t_rx_quic_v2() {
	both_sides
	begin && down file -v v2 && both_ways && grep -q QUICv2 "$T/wire"
}

t_rx_zero_length_cid() {
	both_sides
	begin && down file --scid= && both_ways
}

t_rx_many_streams() {
	both_sides
	begin && down file -n 5 && both_ways
}

t_rx_packet_number_2_31() {
	both_sides
	begin --initial-pkt-num=2147483640 &&
		down file --initial-pkt-num=2147483640 && both_ways
}

# The peer's packets are opened by the key that it has moved to.
t_rx_key_update() {
	both_sides
	begin && down large --key-update=50ms && both_ways &&
		[ "$(value "$T/wire-server" wire_key_updates)" -eq 1 ] &&
		[ "$(value "$T/wire-client" wire_key_updates)" -eq 1 ]
}

# The one that sends updates its keys as often as it may. That is before the other
# has the next ones, if its idea of the PTO is that it lasts longer. Packets of a
# generation that ngtcp2 has not derived yet do not open anywhere.
updated() {
	opened "$1" && counted && [ "$rx_kernel" -gt 10000 ] &&
		[ "$rx_library" -lt 1000 ] && [ "$rx_failed" -le \
			"$(value "$rx" rx_key_phase)" ] &&
		[ "$(value "$rx" rx_auth_failed)" -eq 0 ] &&
		[ "$(value "$T/wire-$1" wire_key_updates)" -ge 2 ] && return
	grep rx_ "$rx" | sed 's/^/# /'
	return 1
}

t_rx_key_updates_of_server() {
	both_sides
	PRELOAD=$PRELOAD:$PWD/test/update_keys.so
	begin && down large && end && updated server
}

t_rx_key_updates_of_client() {
	both_sides
	CLIENT_PRELOAD=$CLIENT_PRELOAD:$PWD/test/update_keys.so
	begin && up large && end && updated client
}

# Lost by the programs: they do not look at what the kernel has opened.
t_rx_packet_loss() {
	both_sides
	begin -r 0.02 -t 0.02 && down file -r 0.02 -t 0.02 && end &&
		kernel_opened client && kernel_opened server && counted &&
		[ "$(value "$T/client-offload" rx_used_packets)" -lt \
			"$rx_kernel" ] || return 1
	begin -r 0.02 -t 0.02 && up file -r 0.02 -t 0.02 && end &&
		kernel_opened client && kernel_opened server && counted
}

# Lost, out of order and doubled on the way. Nothing of the queue is on the wire
# before it leaves.
t_rx_bad_network() {
	both_sides
	max_unread=100
	tc qdisc add dev lo root netem delay 2ms 1ms loss 2% duplicate 1% \
		reorder 25% || return 4
	begin && down file && end && kernel_opened server &&
		kernel_opened client && counted &&
		begin && up file && end && kernel_opened client &&
		kernel_opened server && counted
	status=$?
	tc qdisc del dev lo root
	return $status
}

# The client has another socket. Its library opens what it has received there
# before it gave the kernel the keys.
t_rx_migration() {
	both_sides
	begin && up file --change-local-addr=3ms && end &&
		kernel_opened client && kernel_opened server 100 && counted &&
		[ "$(value "$T/client-offload" rx_flows)" -ge 2 ]
}

t_rx_nat_rebinding() {
	both_sides
	begin && down file --change-local-addr=20ms --nat-rebinding \
		--delay-stream=100ms && end &&
		kernel_opened client && kernel_opened server 100 && counted &&
		[ "$(value "$T/client-offload" rx_flows)" -ge 2 ]
}

# Several connections on the socket of the server
t_rx_parallel() {
	server_only
	begin || return 1
	pids=
	for i in 1 2 3 4 5 6 7 8; do
		mkdir "$T/out/$i"
		timeout "$TIMEOUT" env LD_PRELOAD="$BASE" \
			QUIC_OFFLOAD_STATS="$T/out/$i/offload" \
			gtlsclient -q --exit-on-all-streams-close \
			--key-update=20ms --download "$T/out/$i" \
			127.0.0.1 "$PORT" "$url/file" >"$T/out/$i/log" 2>&1 &
		pids="$pids $!"
	done
	for i in $pids; do
		wait "$i" || return 1
	done
	end && kernel_opened client 80 || return 1
	for i in 1 2 3 4 5 6 7 8; do
		arrived $i/file &&
			[ "$(value "$T/out/$i/offload" rx_kernel_packets)" -gt \
				$((TEST_KB / 2)) ] || return 1
	done
	[ "$(value "$T/offload" rx_flows)" -eq 8 ]
}

# garbage NUMBER: start to send that many packets of each kind, see garbage.py,
# to the server, while its client downloads. They come from a port that the capture
# leaves out.
OTHER_PORT=4499
garbage() {
	/usr/bin/python3 test/garbage.py lo "$PORT" 18 $OTHER_PORT "$1" \
		>"$T/garbage" 2>"$T/garbage.log" &
	garbage=$!
	wait_for 60 grep -q ready "$T/garbage"
}

# What has no key must not disturb, however often it comes. A packet that is sent
# again very late does not open, as its number is taken for another one.
t_rx_garbage() {
	server_only
	begin && garbage 100 && down large && end || return 1
	wait "$garbage" || says "$(cat "$T/garbage.log")" || return 1
	again=$(value "$T/garbage" again)
	forged=$((3 * again))
	./quic_wire "$T/wire.pcap" "$T/keylog" "$PORT" client >"$T/wire-client"
	rx_wire=$(value "$T/wire-client" wire_sealed_packets)
	rx_kernel=$(value "$T/offload" rx_kernel_packets)
	rx_library=$(value "$T/offload" rx_library_packets)
	bad=$(($(value "$T/offload" rx_auth_failed) +
		$(value "$T/offload" rx_key_phase) +
		$(value "$T/offload" rx_too_short)))
	echo "# $rx_wire packets of the client, $again of them sent again," \
		"$forged forged; opened by the kernel $rx_kernel, by the" \
		"library $rx_library, not opened $bad"
	[ "$again" -gt 10 ] && [ $bad -ge $forged ] && counted &&
		[ $((rx_kernel + rx_library)) -gt $((rx_wire + again / 2)) ] &&
		[ $((rx_kernel + rx_library + bad)) -eq \
			$((rx_wire + again + forged)) ]
}

# Too many forged packets: the kernel opens no more, and the library has a limit
# of its own.
t_rx_key_limit() {
	limit=/proc/sys/net/quic_crypto/open_limit
	[ -e $limit ] || return 4
	echo 50 >$limit
	server_only
	begin && garbage 100 && down large && end
	status=$?
	echo 0 >$limit
	wait "$garbage"
	[ $status -eq 0 ] && counted &&
		[ "$(value "$T/offload" rx_key_limit)" -gt 0 ] &&
		[ "$(value "$T/offload" rx_kernel_packets)" -gt 0 ] &&
		[ "$(value "$T/offload" rx_library_packets)" -gt 50 ]
}

# The server is killed and comes again: it knows the connection no more, and
# answers with a stateless reset, which has to reach the client as it was on the
# wire. Without one, the client would go on for half a minute.
reset() {
	both_sides
	PRELOAD=$PRELOAD:$PWD/test/fixed_reset.so
	start_server && echo 0 >"$T/out/status" || return 1
	(up large "$@"; echo $? >"$T/out/status") &
	client=$!
	wait_for 60 more_than 2000000 "$T/upload.0" || return 1
	kill -KILL "$server"
	wait "$server" 2>/dev/null
	start=$(now_ms)
	start_server
	wait $client
	ms=$(($(now_ms) - start))
	stop_server
	unopened=$(($(value "$T/client-offload" rx_no_flow) +
		$(value "$T/client-offload" rx_auth_failed)))
	echo "# ended after $ms ms: $(tail -n 1 "$T/client.log");" \
		"$unopened packets not opened"
	[ "$(cat "$T/out/status")" -ne 0 ] && [ $ms -lt 15000 ] &&
		[ $unopened -gt 0 ] && grep -q ERR_DRAINING "$T/client.log"
}

t_rx_stateless_reset() { reset; }
t_rx_stateless_reset_zero_length_cid() { reset --scid=; }

t_rx_only() {
	export QUIC_OFFLOAD=rx
	both_sides
	begin && down file && end && by_library && kernel_opened server &&
		kernel_opened client && counted
}

t_rx_tx_only() {
	export QUIC_OFFLOAD=tx
	both_sides
	begin && down file && end && by_kernel && counted &&
		[ "$(value "$T/offload" rx_flows)" -eq 0 ] &&
		[ "$(value "$T/client-offload" rx_flows)" -eq 0 ]
}

t_rx_flow_limit() {
	limit=/proc/sys/net/quic_crypto/max_flows
	[ -e $limit ] || return 4
	old=$(cat $limit)
	echo 0 >$limit
	server_only
	begin && up file && end && library_opened client
	status=$?
	echo "$old" >$limit
	[ $status -eq 0 ] && grep -q 'the library opens' "$T/server.log"
}

t_rx_add_refused() {
	BASE=$DOUBLE
	server_only
	export FAKE_KERNEL_ADD_RX=95
	begin && up file && end && library_opened client &&
		grep -q 'the library opens' "$T/server.log"
}

# The first three packets find no flow; the kernel opens those that follow.
t_rx_add_not_now() {
	BASE=$DOUBLE
	server_only
	export FAKE_KERNEL_ADD_RX=11:1-3
	begin && up file && end && kernel_opened client 20 &&
		[ "$rx_library" -ge 3 ]
}

t_no_flow_left() {
	[ -e "$STAT" ] || return 4
	no_flow_left
}

# ----- run them -----

prepare_captures
BASE=$LIB${preload:+:$preload}
head -c "$((TEST_KB * 1000))" /dev/urandom >"$T/www/file"
for i in 1 2 3 4 5 6 7 8 9 10; do
	cat "$T/www/file"
done >"$T/www/large"
names=$(tests_of test-offload.sh)
# shellcheck disable=SC2046,SC2086
case $* in
"")	set -- $names ;;
rx)	set -- $(printf '%s\n' $names | grep '^rx_') no_flow_left ;;
tx)	set -- $(printf '%s\n' $names | grep -v '^rx_') ;;
esac

PRELOAD=$BASE
logs="server client wire tcpdump"
run_tests "$@"
