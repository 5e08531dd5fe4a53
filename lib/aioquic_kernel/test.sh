#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Tests of aioquic_kernel: its server and its client, against ngtcp2, OpenSSL's
# QUIC in curl, stock aioquic, and each other. Every 1-RTT packet of both
# directions is captured and opened with the secrets of the connection, and the
# counters of the programs, of the kernel and of the capture have to agree.
#
# Run as root, in a machine of its own, after make in lib. On a kernel without
# quic-crypto, test/fake_kernel.so seals and opens. TEST_KB: size of the file
# (default 500). Arguments: names of tests, to run only these.

cd "$(dirname "$0")/.." || exit 1
# shellcheck source=../test/sides.sh
. ./test/sides.sh
TEST_KB=${TEST_KB:-500}
FAKE=$PWD/test/fake_kernel.so
SAVE=$PWD/test/save_upload.so
url=https://127.0.0.1:$PORT
stack=aioquic

# ----- what a test does between begin and end -----

# serve [options of http3_server]
serve() {
	ours=server
	start_capture || return 1
	env LD_PRELOAD="$OURS" PYTHONDONTWRITEBYTECODE=1 \
		SSLKEYLOGFILE="$T/keylog" \
		/usr/bin/python3 -m aioquic_kernel.http3_server \
		--stats "$T/server-stats" --uploads "$T/out" "$@" "$PORT" \
		"$T/www" "$T/cert.pem" "$T/key.pem" >"$T/server.log" 2>&1 &
	server=$!
	wait_for 60 listening || says "the server does not start"
}

begin() {
	rm -f "$T/"*-stats "$T/"*.log "$T/keylog" "$T/client-status"
	count_from_here
}

# client [options of http3_client] URL FILE; $OURS is preloaded to what is tested
client() {
	timeout "$TIMEOUT" env LD_PRELOAD="$OURS" PYTHONDONTWRITEBYTECODE=1 \
		/usr/bin/python3 -m aioquic_kernel.http3_client \
		--stats "$T/client-stats" "$@" >"$T/client.log" 2>&1
}

down() { client "$@" "$url/file" "$T/out/file" && arrived file; }
# gtlsserver answers with what it has at this path
up() {
	client --upload "$T/www/file" "$@" "$url/file" "$T/answer" || return 1
	[ "$ours" = server ] || uploaded file
	arrived file
}
up_large() {
	client --upload "$T/www/large" "$@" "$url/large" "$T/answer" || return 1
	[ "$ours" = server ] || uploaded large
	arrived large
}

gtls_down() { gtls_get "$@" 127.0.0.1 "$PORT" "$url/file" && arrived file; }
gtls_down_large() {
	gtls_get "$@" 127.0.0.1 "$PORT" "$url/large" && arrived large
}
gtls_up() {
	gtls_put "$T/www/file" 127.0.0.1 "$PORT" "$url/file" && arrived file
}

# What aioquic may seal before the flow is there
max_library=10

# by_kernel [SIDES [LIMIT]]: the kernel has sealed and opened nearly all. What comes
# before the flow is there is opened by aioquic: the first window of a peer.
by_kernel() {
	for side in ${1:-$ours}; do
		sealed "$side" && [ "$kernel" -gt 0 ] && [ "$library" -le "$max_library" ] &&
			[ "$fallback" -eq 0 ] &&
			[ "$(value "$T/$side-stats" refused_calls)" -eq 0 ] ||
			says "not by the kernel" || return 1
		opened "$side" && [ "$rx_kernel" -gt 0 ] &&
			[ "$rx_library" -le "${2:-30}" ] &&
			[ "$rx_failed" -eq 0 ] || says "not by the kernel" ||
			return 1
	done
	counted
}

# All by aioquic
by_aioquic() {
	sealed "$ours" && opened "$ours" && counted && [ "$kernel" -eq 0 ] &&
		[ "$rx_kernel" -eq 0 ]
}

PRIO=NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+

# ----- with ngtcp2 -----

t_download() { begin && serve && gtls_down && end && by_kernel; }
t_upload() { begin && serve && gtls_up && end && by_kernel; }

t_client_download() {
	begin && serve_ngtcp2 && down && end && by_kernel
}

t_client_upload() {
	begin && serve_ngtcp2 && up && end && by_kernel
}

t_batches() {
	begin && serve && gtls_down_large && end && by_kernel &&
		[ "$(value "$T/server-stats" kernel_max_batch)" -gt 8 ] &&
		[ "$(value "$T/wire-server" wire_max_datagram)" -gt 1500 ]
}

cipher() {
	begin && serve && gtls_down --ciphers="$PRIO$1" && end && by_kernel &&
		grep -q "connection 1: $1," "$T/wire-server" &&
		begin && serve_ngtcp2 && up --cipher "$1" && end && by_kernel &&
		grep -q "connection 1: $1," "$T/wire-client"
}

t_aes_128_gcm() { cipher AES-128-GCM; }
t_aes_256_gcm() { cipher AES-256-GCM; }
t_chacha20_poly1305() { cipher CHACHA20-POLY1305; }

t_quic_v2() {
	begin && serve && gtls_down -v v2 && end && by_kernel &&
		grep -q QUICv2 "$T/wire-server" &&
		begin && serve_ngtcp2 && up --v2 && end && by_kernel &&
		grep -q QUICv2 "$T/wire-client"
}

t_retry() {
	begin && serve --retry && gtls_down && end && by_kernel
}

t_zero_length_cid_of_peer() {
	begin && serve && gtls_down --scid= && end && by_kernel
}

# Packets of the generation before are opened by the kernel, which has its keys.
t_key_update_by_peer() {
	begin && serve && gtls_down_large --key-update=30ms && end &&
		by_kernel && updates 1
}

t_key_update_by_server() {
	begin && serve --key-update 0.1 && gtls_down_large && end &&
		by_kernel && updates 2
}

t_key_update_by_client() {
	begin && serve_ngtcp2 && up_large --key-update 0.1 && end &&
		by_kernel && updates 2
}

t_packet_loss() {
	# until what ends the handshake has arrived
	max_library=40
	begin && serve && gtls_down -r 0.03 -t 0.03 && end && by_kernel &&
		begin && serve_ngtcp2 -r 0.02 -t 0.02 && up && end && by_kernel
}

t_migration_of_peer() {
	begin && serve && gtls_down_large --change-local-addr=50ms && end &&
		by_kernel && [ "$(value "$T/server-stats" flows)" -eq 1 ]
}

t_nat_rebinding_of_peer() {
	begin && serve && gtls_down --change-local-addr=50ms --nat-rebinding \
		--delay-stream=200ms && end && by_kernel &&
		[ "$(value "$T/server-stats" flows)" -eq 1 ]
}

# The client moves to another socket, with other flows.
moved() {
	begin && serve_ngtcp2 && up_large "$1" 500 && end || return 1
	grep -E '^(rx_)?(flows|library|kernel)' "$T/client-stats" | sed 's/^/# /'
	sealed client && [ "$fallback" -eq 0 ] && counted &&
		[ "$(value "$T/client-stats" flows)" -eq 2 ] &&
		[ "$(value "$T/client-stats" rx_flows)" -eq 2 ] &&
		[ "$(value "$T/client-stats" kernel_packets)" -gt \
			$((TEST_KB / 2)) ] &&
		[ "$(value "$T/client-stats" rx_library_packets)" -le 20 ]
}

t_migration() { moved --migrate; }
t_nat_rebinding() { moved --rebind; }

# Several connections on the socket of the server
t_parallel() {
	begin && serve || return 1
	pids=
	for i in 1 2 3 4 5 6 7 8; do
		mkdir "$T/out/$i"
		set --
		[ $((i % 2)) -eq 0 ] || set -- --scid=
		timeout "$TIMEOUT" gtlsclient -q --exit-on-all-streams-close \
			--key-update=30ms --download "$T/out/$i" "$@" \
			127.0.0.1 "$PORT" "$url/file" >"$T/out/$i/log" 2>&1 &
		pids="$pids $!"
	done
	for i in $pids; do
		wait "$i" || return 1
	done
	end && by_kernel server 80 || return 1
	for i in 1 2 3 4 5 6 7 8; do
		arrived $i/file || return 1
	done
	[ "$(value "$T/wire-server" wire_connections)" -eq 8 ] &&
		[ "$(value "$T/server-stats" flows)" -eq 8 ] &&
		[ "$(value "$T/server-stats" rx_flows)" -eq 8 ]
}

# The client says so, and makes no file.
t_not_found() {
	begin && serve || return 1
	client "$url/none" "$T/out/none"
	[ $? -eq 1 ] && grep -q 'none: status 404' "$T/client.log" &&
		! grep -q Traceback "$T/client.log" && [ ! -e "$T/out/none" ] &&
		end && opened server
}

# ----- with OpenSSL -----

t_curl() {
	begin && serve && curl_get "$T/out/file" "$url/file" && arrived file &&
		end && by_kernel server 40
}

t_curl_upload() {
	begin && serve && curl_get "$T/answer" -T "$T/www/file" "$url/file" &&
		arrived file && end && by_kernel server 40
}

t_curl_ipv6() {
	begin && serve && curl_get "$T/out/file" "https://[::1]:$PORT/file" &&
		arrived file && end && by_kernel server 40
}

# ----- with aioquic, stock and under test -----

t_stock_aioquic() {
	begin && serve &&
		timeout "$TIMEOUT" /usr/bin/python3 h3get.py "$url/file" \
			"$T/out/file" && arrived file && end && by_kernel
}

t_both_sides() {
	begin && serve && down && end && by_kernel "server client" &&
		begin && serve && up && end && by_kernel "server client"
}

t_key_update_by_both() {
	begin && serve --key-update 0.15 && up_large --key-update 0.1 && end &&
		by_kernel "server client" && updates 2
}

# Lost, out of order and doubled on the way. What is lost has been sent.
# aioquic drops what overtakes the end of the handshake: it has no key yet.
t_bad_network() {
	max_unread=100
	tc qdisc add dev lo root netem delay 2ms 1ms loss 2% duplicate 1% \
		reorder 25% || return 4
	begin && serve --key-update 0.3 && down && end &&
		opened server && opened client && counted &&
		[ "$(stats rx_failed_packets)" -le 3 ] &&
		begin && serve --key-update 0.3 && up && end &&
		opened server && opened client && counted &&
		[ "$(stats rx_failed_packets)" -le 3 ] &&
		[ "$(stats library_packets)" -le 20 ] &&
		[ "$(stats fallback_packets)" -eq 0 ]
	status=$?
	tc qdisc del dev lo root
	return $status
}

# ----- without the kernel, and against its will -----

t_switched_off() {
	begin && serve --no-kernel && gtls_up && end && by_aioquic &&
		begin && serve_ngtcp2 && down --no-kernel && end && by_aioquic
}

no_kernel() {
	OURS=$FAKE
	export FAKE_KERNEL_ULP="$1"
	begin && serve && gtls_up && end && by_aioquic &&
		[ "$(grep -c 'not in this kernel' "$T/server.log")" -eq 1 ] &&
		begin && serve_ngtcp2 && down && end && by_aioquic
}

t_no_ulp() { no_kernel 92; }
t_no_module() {
	no_kernel 2 && grep -q 'load the module' "$T/client.log"
}

t_attach_refused() { no_kernel 16; }

t_add_refused() {
	OURS=$FAKE
	export FAKE_KERNEL_ADD=28 FAKE_KERNEL_ADD_RX=95
	begin && serve && gtls_up && end && by_aioquic &&
		begin && serve_ngtcp2 && down && end && by_aioquic
}

# error ERRNO CHECK [EVERY]: sendmsg() of every third batch fails
error() {
	OURS=$FAKE
	export FAKE_KERNEL_FAIL="$1:${3:-3}"
	begin && serve && gtls_down && end && opened server && $2
}

# They are lost like packets on the way.
dropped() {
	sealed server && counted && [ "$kernel" -gt 0 ] &&
		[ "$fallback" -eq 0 ] &&
		[ "$(value "$T/server-stats" dropped_packets)" -gt 0 ]
}

# The same call again, and the kernel takes it
repeated() {
	sealed server && counted && [ "$kernel" -gt 0 ] &&
		[ "$fallback" -eq 0 ] &&
		[ "$(value "$T/server-stats" dropped_packets)" -eq 0 ]
}

t_error_enoent() { error 2 repeated; }
t_error_enokey() { error 126 repeated; }
t_error_eagain() { error 11 repeated; }
t_error_enomem() { error 12 dropped; }
t_error_emsgsize() { error 90 dropped; }
t_error_ealready() { error 114 dropped; }
t_error_eio() { error 5 gso_given_up; }
t_error_einval() { error 22 by_both; }
t_error_ebadmsg() { error 74 by_both; }
t_error_eopnotsupp() { error 95 by_both; }
t_error_always() { error 22 nothing_by_kernel 1; }

# Not the keys, but GSO
gso_given_up() {
	sealed server && counted && [ "$kernel" -gt "$fallback" ] &&
		[ "$fallback" -gt 0 ]
}

nothing_by_kernel() {
	sealed server && counted && [ "$kernel" -eq 0 ] && [ "$fallback" -gt 0 ]
}

# The limit of a key is reached: the keys are updated, and no packet is sealed with
# the old ones any more, by nobody.
key_limit() {
	begin && serve && gtls_down_large && end && sealed server && counted &&
		[ "$fallback" -eq 0 ] && [ "$kernel" -gt 300 ] &&
		[ "$(grown QuicTxKeyLimit)" -gt 0 ] && updates 1
}

t_key_limit() { with_sysctl seal_limit 300 key_limit; }

flow_limit() {
	begin && serve && gtls_up && end && by_aioquic &&
		grep -q 'aioquic opens' "$T/server.log" &&
		grep -q 'aioquic seals' "$T/server.log"
}

t_flow_limit() { with_sysctl max_flows 0 flow_limit; }

# Too many forged packets: RFC 9001 section 6.6 has the connection closed.
open_limit() {
	begin && serve || return 1
	/usr/bin/python3 test/garbage.py lo "$PORT" 8 4499 100 >"$T/garbage" \
		2>"$T/garbage.log" &
	garbage=$!
	wait_for 60 grep -q ready "$T/garbage"
	gtls_down_large && says "the connection was not closed"
	stop_server
	stop_capture
	kill $garbage 2>/dev/null
	wait $garbage
	[ "$(value "$T/server-stats" rx_auth_failed)" -ge 50 ] &&
		[ "$(value "$T/server-stats" rx_key_limit)" -gt 0 ] &&
		grep -q 'too many packets do not open' "$T/server.log" &&
		grep -q ERR_DRAINING "$T/client.log"
}

t_open_limit() { with_sysctl open_limit 50 open_limit; }

# What has no key must not disturb.
t_garbage() {
	begin && serve || return 1
	/usr/bin/python3 test/garbage.py lo "$PORT" 8 4499 50 >"$T/garbage" \
		2>"$T/garbage.log" &
	garbage=$!
	wait_for 60 grep -q ready "$T/garbage"
	gtls_down_large && end && wait $garbage && sealed server && counted &&
		[ "$(value "$T/garbage" again)" -gt 10 ] &&
		[ "$(value "$T/server-stats" rx_auth_failed)" -gt 10 ]
}

# more_than BYTES FILE
# The checker has to see packets that left without protection. The client cannot
# open them, so it waits until it is killed.
t_checker_sees_plaintext() {
	OURS=$FAKE
	export FAKE_KERNEL_LEAK=1
	begin && serve || return 1
	gtlsclient -q 127.0.0.1 "$PORT" "$url/file" >"$T/client.log" 2>&1 &
	pid=$!
	wait_for 60 more_than 20000 "$T/wire.pcap"
	kill $pid
	wait $pid 2>/dev/null
	end >/dev/null && return 1
	[ "$(value "$T/wire-server" wire_not_opened)" -gt 0 ]
}

# What programs do not do, without any socket
t_unit() {
	PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 -m unittest -q \
		aioquic_kernel.test_unit >"$T/unit.log" 2>&1 && return
	sed 's/^/# /' "$T/unit.log"
	return 1
}

t_no_flow_left() {
	[ -e "$STAT" ] || return 4
	no_flow_left
}

# ----- run them -----

prepare_captures
OURS=$preload
head -c "$((TEST_KB * 1000))" /dev/urandom >"$T/www/file"
for i in 1 2 3 4 5; do
	cat "$T/www/file"
done >"$T/www/large"
# shellcheck disable=SC2046
[ $# -gt 0 ] || set -- $(tests_of aioquic_kernel/test.sh)

logs="server client tcpdump"
run_tests "$@"
