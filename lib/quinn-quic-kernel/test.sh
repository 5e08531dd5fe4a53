#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Tests of quinn-quic-kernel: its server and its client, against ngtcp2, OpenSSL's
# QUIC in curl, quinn as it is, and each other. Every 1-RTT packet of both
# directions is captured and opened with the secrets of the connection, and the
# counters of the programs, of the kernel and of the capture have to agree.
#
# Run as root, in a machine of its own, after make in lib and, in this directory,
# cargo build --offline --examples && cargo test --offline --no-run. On a kernel
# without quic-crypto, test/fake_kernel.so seals and opens. TEST_KB: size of the file
# (default 500). Arguments: names of tests, to run only these.

cd "$(dirname "$0")/.." || exit 1
# shellcheck source=../test/sides.sh
. ./test/sides.sh
TEST_KB=${TEST_KB:-500}
FAKE=$PWD/test/fake_kernel.so
SAVE=$PWD/test/save_upload.so
target=${CARGO_TARGET_DIR:-$PWD/quinn-quic-kernel/target}/debug
url=https://127.0.0.1:$PORT
stack=quinn

# rustls does not take a certificate of an authority for one of a server.
make_cert() {
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 \
		-nodes -keyout "$T/key.pem" -out "$T/cert.pem" -days 30 \
		-subj /CN=localhost -addext subjectAltName=DNS:localhost \
		-addext basicConstraints=critical,CA:FALSE 2>/dev/null
}

# ----- what a test does between begin and end -----

# serve FILE [options of server]
serve() {
	ours=server
	served=$1
	shift
	start_capture || return 1
	env LD_PRELOAD="$OURS" SSLKEYLOGFILE="$T/keylog" \
		"$target/examples/server" --port "$PORT" \
		--file "$T/www/$served" --upload "$T/out/$served" \
		--cert "$T/cert.pem" --key "$T/key.pem" \
		--stats "$T/server-stats" "$@" >"$T/server.log" 2>&1 &
	server=$!
	wait_for 60 listening || says "the server does not start"
}

begin() {
	rm -f "$T/"*-stats "$T/"*.log "$T/keylog"
	count_from_here
}

# client FILE [options of client]; $OURS is preloaded to what is tested
client() {
	_path=$1
	shift
	timeout "$TIMEOUT" env LD_PRELOAD="$OURS" \
		"$target/examples/client" --to "127.0.0.1:$PORT" \
		--ca "$T/cert.pem" --path "/$_path" \
		--stats "$T/client-stats" "$@" >"$T/client.log" 2>&1
}

# down FILE [options]
down() {
	client "$@" --out "$T/out/$1" && arrived "$1"
}

# up FILE [options]; gtlsserver answers with what it has at this path.
up() {
	client "$@" --upload "$T/www/$1" --out "$T/answer" || return 1
	[ "$ours" = server ] || uploaded "$1"
	arrived "$1"
}

# gtls_down FILE [options of gtlsclient]
gtls_down() {
	_name=$1
	shift
	gtls_get "$@" 127.0.0.1 "$PORT" "$url/$_name" && arrived "$_name"
}

gtls_up() {
	_name=$1
	shift
	gtls_put "$T/www/$_name" "$@" 127.0.0.1 "$PORT" "$url/$_name" &&
		arrived "$_name"
}

# by_kernel [SIDES [LIMIT]]: the kernel has sealed and opened nearly all. What is
# sent or comes before the flow is there is quinn's: the first window.
by_kernel() {
	for side in ${1:-$ours}; do
		sealed "$side" && [ "$kernel" -gt 0 ] &&
			[ "$library" -le "${2:-40}" ] &&
			[ "$fallback" -eq 0 ] &&
			[ "$(value "$T/$side-stats" refused_calls)" -eq 0 ] ||
			says "not by the kernel" || return 1
		opened "$side" && [ "$rx_kernel" -gt 0 ] &&
			[ "$rx_library" -le "${2:-40}" ] &&
			[ "$rx_failed" -eq 0 ] || says "not by the kernel" ||
			return 1
	done
	counted
}

# All by quinn
by_quinn() {
	[ "$(stats kernel_packets)" -eq 0 ] &&
		[ "$(stats rx_kernel_packets)" -eq 0 ] && counted
}

PRIO=NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+

# ----- with ngtcp2 -----

t_download() { begin && serve file && gtls_down file && end && by_kernel; }
t_upload() { begin && serve file && gtls_up file && end && by_kernel; }

t_client_download() {
	begin && serve_ngtcp2 && down file && end && by_kernel
}

t_client_upload() {
	begin && serve_ngtcp2 && up file && end && by_kernel
}

t_batches() {
	begin && serve large && gtls_down large && end && by_kernel &&
		[ "$(value "$T/server-stats" kernel_max_batch)" -gt 8 ] &&
		[ "$(value "$T/wire-server" wire_max_datagram)" -gt 1500 ]
}

# cipher NAME N: of the client's list, which begins with AES-256-GCM
cipher() {
	begin && serve file && gtls_down file --ciphers="$PRIO$1" && end &&
		by_kernel && grep -q "connection 1: $1," "$T/wire-server" &&
		begin && serve_ngtcp2 --ciphers="$PRIO$1" && up file && end &&
		by_kernel && grep -q "connection 1: $1," "$T/wire-client"
}

t_aes_128_gcm() { cipher AES-128-GCM; }
t_aes_256_gcm() { cipher AES-256-GCM; }
t_chacha20_poly1305() { cipher CHACHA20-POLY1305; }

t_retry() {
	begin && serve file --retry yes && gtls_down file && end && by_kernel
}

t_zero_length_cid_of_peer() {
	begin && serve file && gtls_down file --scid= && end && by_kernel
}

# Packets of the generation before are opened by the kernel, which has its keys.
t_key_update_by_peer() {
	begin && serve large && gtls_down large --key-update=30ms && end &&
		by_kernel && updates 1
}

t_key_update_by_server() {
	begin && serve large --key-update-ms 20 && gtls_down large && end &&
		by_kernel && updates 1
}

t_key_update_by_client() {
	begin && serve_ngtcp2 && up large --key-update-ms 20 && end &&
		by_kernel && updates 1
}

# As often as the peer allows it: between two updates there may be no packet.
t_key_updates_all_the_time() {
	begin && serve_ngtcp2 && up large --key-update-ms 1 && end &&
		by_kernel && updates 1 &&
		begin && serve large --key-update-ms 1 && gtls_down large &&
		end && by_kernel && updates 1
}

t_packet_loss() {
	begin && serve file && gtls_down file -r 0.03 -t 0.03 && end &&
		by_kernel && begin && serve_ngtcp2 -r 0.02 -t 0.02 && up file &&
		end && by_kernel
}

t_migration_of_peer() {
	begin && serve large && gtls_down large --change-local-addr=50ms &&
		end && by_kernel && [ "$(value "$T/server-stats" flows)" -eq 1 ]
}

t_nat_rebinding_of_peer() {
	begin && serve file && gtls_down file --change-local-addr=50ms \
		--nat-rebinding --delay-stream=200ms && end && by_kernel &&
		[ "$(value "$T/server-stats" flows)" -eq 1 ]
}

# The client moves to another socket, with other flows.
t_rebind() {
	begin && serve_ngtcp2 && up large --rebind-ms 300 && end || return 1
	sealed client && [ "$fallback" -eq 0 ] && counted &&
		[ "$(value "$T/client-stats" flows)" -eq 2 ] &&
		[ "$(value "$T/client-stats" rx_flows)" -eq 2 ] &&
		[ "$kernel" -gt $((TEST_KB / 2)) ] && [ "$library" -le 40 ] &&
		[ "$(value "$T/client-stats" rx_library_packets)" -le 40 ]
}

# Several connections on the socket of the server
t_parallel() {
	begin && serve file || return 1
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
	end && by_kernel server 160 || return 1
	for i in 1 2 3 4 5 6 7 8; do
		arrived $i/file || return 1
	done
	[ "$(value "$T/wire-server" wire_connections)" -eq 8 ] &&
		[ "$(value "$T/server-stats" flows)" -eq 8 ] &&
		[ "$(value "$T/server-stats" rx_flows)" -eq 8 ]
}

# Several connections on the socket of the client
t_parallel_client() {
	begin && serve_ngtcp2 && client file --connections 4 \
		--out "$T/out/file" && end && by_kernel client 160 || return 1
	for i in 1 2 3 4; do
		same "$T/www/file" "$T/out/file.$i" ||
			says "file $i did not arrive" || return 1
	done
	[ "$(value "$T/wire-client" wire_connections)" -eq 4 ] &&
		[ "$(value "$T/client-stats" flows)" -eq 4 ] &&
		[ "$(value "$T/client-stats" rx_flows)" -eq 4 ]
}

# ----- with OpenSSL -----

t_curl() {
	begin && serve file && curl_get "$T/out/file" "$url/file" &&
		arrived file && end && by_kernel server
}

t_curl_upload() {
	begin && serve file &&
		curl_get "$T/answer" -T "$T/www/file" "$url/file" &&
		arrived file && end && by_kernel server
}

t_curl_ipv6() {
	begin && serve file && curl_get "$T/out/file" "https://[::1]:$PORT/file" &&
		arrived file && end && by_kernel server
}

# ----- with quinn, as it is and under test -----

t_stock_quinn() {
	begin && serve file && down file --kernel no && end &&
		by_kernel server &&
		begin && serve file && up file --kernel no && end &&
		by_kernel server
}

t_both_sides() {
	begin && serve file && down file && end && by_kernel "server client" &&
		begin && serve file && up file && end &&
		by_kernel "server client"
}

t_key_update_by_both() {
	begin && serve large --key-update-ms 30 && up large --key-update-ms 20 &&
		end && by_kernel "server client" && updates 1
}

# Lost, out of order and doubled on the way. What is lost has been sent.
t_bad_network() {
	max_unread=100
	tc qdisc add dev lo root netem delay 2ms 1ms loss 2% duplicate 1% \
		reorder 25% 2>/dev/null || return 4
	begin && serve file --key-update-ms 100 && down file && end &&
		opened server && opened client && counted &&
		begin && serve file --key-update-ms 100 && up file && end &&
		opened server && opened client && counted &&
		[ "$(stats library_packets)" -le 40 ] &&
		[ "$(stats fallback_packets)" -eq 0 ]
	status=$?
	tc qdisc del dev lo root
	return $status
}

# A connection that has ended leaves nothing, while the socket lives.
t_flows_end_with_connections() {
	[ -e "$STAT" ] || return 4
	begin && serve file && gtls_down file &&
		[ "$(grown QuicTxSwPackets)" -gt 0 ] &&
		wait_for 60 no_flow_left && end && by_kernel
}

# ----- without the kernel, and against its will -----

t_switched_off() {
	begin && serve file --kernel no && gtls_up file && end && by_quinn &&
		begin && serve_ngtcp2 && down file --kernel no && end && by_quinn
}

no_kernel() {
	OURS=$FAKE
	export FAKE_KERNEL_ULP="$1"
	begin && serve file && gtls_up file && end && by_quinn &&
		sealed server && opened server &&
		[ "$(grep -c 'not in this kernel' "$T/server.log")" -eq 1 ] &&
		begin && serve_ngtcp2 && down file && end && by_quinn &&
		sealed client && opened client
}

t_no_ulp() { no_kernel 92; }
t_no_module() { no_kernel 2 && grep -q 'module' "$T/client.log"; }
t_attach_refused() { no_kernel 16; }

t_add_refused() {
	OURS=$FAKE
	export FAKE_KERNEL_ADD=28 FAKE_KERNEL_ADD_RX=95
	begin && serve file && gtls_up file && end && by_quinn &&
		sealed server && grep -q 'flow for' "$T/server.log" &&
		begin && serve_ngtcp2 && down file && end && by_quinn &&
		sealed client
}

# Only for a moment: the next packets are the kernel's.
t_add_again() {
	OURS=$FAKE
	export FAKE_KERNEL_ADD=11:1-2
	begin && serve file && gtls_down file && end && by_both &&
		[ "$fallback" -le 20 ]
}

# error ERRNO CHECK [EVERY]: sendmsg() of every third batch fails
error() {
	OURS=$FAKE
	export FAKE_KERNEL_FAIL="$1:${3:-3}"
	begin && serve file && gtls_down file && end && opened server && $2
}

# They are lost like packets on the way.
dropped() {
	_dropped=$(value "$T/server-stats" dropped_packets)
	sealed server && counted && [ "$kernel" -gt 0 ] &&
		[ "$fallback" -eq 0 ] && [ "$_dropped" -gt 0 ]
}

# The same call again, and the kernel takes it
repeated() {
	_dropped=$(value "$T/server-stats" dropped_packets)
	sealed server && counted && [ "$kernel" -gt 0 ] &&
		[ "$fallback" -eq 0 ] && [ "$_dropped" -eq 0 ]
}

t_error_enoent() { error 2 repeated; }
t_error_enokey() { error 126 repeated; }
t_error_eagain() { error 11 repeated; }
t_error_eintr() { error 4 repeated; }
t_error_enomem() { error 12 dropped; }
t_error_emsgsize() { error 90 dropped; }
t_error_ealready() { error 114 dropped; }
t_error_ekeyexpired() { error 127 dropped; }
t_error_eio() { error 5 gso_given_up; }
t_error_einval() { error 22 by_both; }
t_error_ebadmsg() { error 74 by_both; }
t_error_eopnotsupp() { error 95 by_both; }
t_error_always() { error 22 nothing_by_kernel 1; }
t_error_enoent_always() { error 2 nothing_by_kernel 1; }

# Not the keys, but GSO
gso_given_up() {
	sealed server && counted && [ "$kernel" -gt "$fallback" ] &&
		[ "$fallback" -gt 0 ]
}

nothing_by_kernel() {
	sealed server && counted && [ "$kernel" -eq 0 ] && [ "$fallback" -gt 0 ]
}

flow_limit() {
	begin && serve file && gtls_up file && end && by_quinn &&
		sealed server && opened server &&
		grep -q 'flow for' "$T/server.log"
}

t_flow_limit() { with_sysctl max_flows 0 flow_limit; }

# Too many forged packets: RFC 9001 section 6.6 has the connection closed.
open_limit() {
	begin && serve large || return 1
	/usr/bin/python3 test/garbage.py lo "$PORT" 8 4499 100 >"$T/garbage" \
		2>"$T/garbage.log" &
	garbage=$!
	wait_for 60 grep -q ready "$T/garbage"
	gtls_down large && says "the connection was not closed"
	stop_server
	stop_capture
	kill $garbage 2>/dev/null
	wait $garbage
	[ "$(value "$T/server-stats" rx_auth_failed)" -ge 50 ] &&
		[ "$(value "$T/server-stats" rx_key_limit)" -gt 0 ] &&
		grep -q ERR_DRAINING "$T/client.log"
}

t_open_limit() { with_sysctl open_limit 50 open_limit; }

# What has no key must not disturb.
t_garbage() {
	begin && serve large || return 1
	/usr/bin/python3 test/garbage.py lo "$PORT" 8 4499 50 >"$T/garbage" \
		2>"$T/garbage.log" &
	garbage=$!
	wait_for 60 grep -q ready "$T/garbage"
	gtls_down large && end && wait $garbage && sealed server && counted &&
		[ "$(value "$T/garbage" again)" -gt 10 ] &&
		[ "$(value "$T/server-stats" rx_auth_failed)" -gt 10 ]
}

# The checker has to see packets that left without protection. The client cannot
# open them, so it waits until it is killed.
t_checker_sees_plaintext() {
	OURS=$FAKE
	export FAKE_KERNEL_LEAK=1
	begin && serve file || return 1
	gtlsclient -q 127.0.0.1 "$PORT" "$url/file" >"$T/client.log" 2>&1 &
	pid=$!
	wait_for 60 more_than 20000 "$T/wire.pcap"
	kill $pid
	wait $pid 2>/dev/null
	end >/dev/null && return 1
	[ "$(value "$T/wire-server" wire_not_opened)" -gt 0 ]
}

# newest PATTERN...: the newest program of these
newest() {
	# shellcheck disable=SC2010,SC2012 # cargo's names
	ls -t "$@" 2>/dev/null | grep -v '\.d$' | head -n 1
}

unit() {
	LD_PRELOAD="$1" "$(newest "$target"/deps/quinn_quic_kernel-*)" -q \
		>"$T/unit.log" 2>&1 && return
	sed 's/^/# /' "$T/unit.log"
	return 1
}

t_unit() { unit "$OURS"; }
t_unit_no_kernel() { FAKE_KERNEL_ULP=92 unit "$FAKE"; }

t_no_flow_left() {
	[ -e "$STAT" ] || return 4
	no_flow_left
}

# ----- run them -----

[ -x "$target/examples/server" ] || {
	echo "first: cargo build --offline --examples, in quinn-quic-kernel" >&2
	exit 4
}
prepare_captures
OURS=$preload
head -c "$((TEST_KB * 1000))" /dev/urandom >"$T/www/file"
for i in 1 2 3 4 5; do
	cat "$T/www/file"
done >"$T/www/large"
# shellcheck disable=SC2046
[ $# -gt 0 ] || set -- $(tests_of quinn-quic-kernel/test.sh)

logs="server client tcpdump"
run_tests "$@"
