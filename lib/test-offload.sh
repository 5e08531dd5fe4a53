#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Tests of quic_offload.so: Debian's stock gtlsserver under it, stock clients,
# and every 1-RTT packet of the capture opened with the keys of the connection.
#
# Run as root, in a machine of its own, after make. test/fake_kernel.so injects
# errors, and seals if the kernel has no quic-crypto.
# TEST_KB: size of the file (default 2000; key updates take ten times that).
# Arguments: names of tests, to run only these.

cd "$(dirname "$0")" || exit 1
. ./lib.sh
TEST_KB=${TEST_KB:-2000}
LIB=$PWD/quic_offload.so
DOUBLE=$LIB:$PWD/test/fake_kernel.so
url=https://127.0.0.1:$PORT

# ----- what a test does between begin and end -----

# begin [gtlsserver options]
begin() {
	rm -rf "$T/out"
	mkdir "$T/out"
	rm -f "$T/client.log"
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

says() {
	echo "# $*"
	return 1
}

arrived() {
	for f; do
		same "$T/www/${f##*/}" "$T/out/$f" || says "$f did not arrive" ||
			return 1
	done
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
		[ "$(value "$T/wire" wire_key_updates)" -eq 1 ]
}

# The server updates as often as it may: generations come and go.
t_key_updates() {
	PRELOAD=$PRELOAD:$PWD/test/update_keys.so
	begin && gtls_get -r 0.001 127.0.0.1 "$PORT" "$url/large" && end &&
		arrived large && [ "$kernel" -gt 0 ] &&
		all_there && [ "$(value "$T/wire" wire_key_updates)" -ge 2 ]
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
	LD_PRELOAD=$PRELOAD QUIC_OFFLOAD_STATS=$T/client-offload \
		timeout "$TIMEOUT" gtlsclient -q --exit-on-all-streams-close \
		-m POST -d "$T/www/file" --key-update=10ms 127.0.0.1 "$PORT" \
		"$url/" >"$T/client.log" 2>&1 || return 1
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

t_add_refused() {
	PRELOAD=$DOUBLE
	export FAKE_KERNEL_ADD=28
	begin && get && end && arrived file && by_library
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
t_error_enobufs() { error 105 passed_on; }
t_error_ealready() { error 114 by_both; }
t_error_enokey() { error 126 all_there; }
t_error_ekeyexpired() { error 127 by_both; }

# more_than BYTES FILE
more_than() {
	[ "$(stat -c %s "$2")" -gt "$1" ]
}

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

# Calls that gtlsserver does not make
t_unit() {
	case $BASE in
	"$LIB") after= ;;
	*) after=:$PWD/test/fake_kernel.so ;;
	esac
	LD_PRELOAD=$LIB:$PWD/test/fake_ngtcp2.so$after \
		QUIC_OFFLOAD_STATS=$T/offload \
		test/offload_unit >"$T/unit" 2>&1
	status=$?
	sed 's/^/# /' "$T/unit"
	[ $status -eq 0 ] || return 1
	[ "$(value "$T/offload" kernel_packets)" -gt 0 ] &&
		[ "$(value "$T/offload" fallback_packets)" -gt 0 ] &&
		[ "$(value "$T/offload" dropped_packets)" -eq 1 ]
}

t_no_flow_left() {
	[ -e $STAT ] || return 4
	[ "$(value $STAT QuicCurrTxSw)" -eq 0 ]
}

# ----- run them -----

[ "$(id -u)" -eq 0 ] || {
	echo "needs root, for the captures" >&2
	exit 4
}
setup
[ -e $STAT ] || modprobe quic_crypto 2>/dev/null
if [ -e $STAT ]; then
	what="the kernel"
	BASE=$LIB
else
	what="test/fake_kernel.so"
	BASE=$DOUBLE
fi
head -c "$((TEST_KB * 1000))" /dev/urandom >"$T/www/file"
for i in 1 2 3 4 5 6 7 8 9 10; do
	cat "$T/www/file"
done >"$T/www/large"
# shellcheck disable=SC2046
[ $# -gt 0 ] || set -- $(sed -n 's/^t_\([a-z0-9_]*\)().*/\1/p' \
	test-offload.sh)

echo "KTAP version 1"
echo "1..$#"
echo "# sealed by $what"
for name; do
	# In a shell of its own, for what it exports
	(PRELOAD=$BASE; t_"$name"; status=$?
	 [ -z "$server" ] || stop_server
	 [ -z "$capture" ] || { kill "$capture"; wait "$capture"; }
	 [ $status -eq 0 ] || [ $status -eq 4 ] ||
		for f in server client wire tcpdump; do
			sed "s/^/# $f: /" "$T/$f.log" 2>/dev/null |
				tail -15
		done
	 exit $status)
	status=$?
	if [ $status -eq 4 ]; then
		skip "$name" "the kernel has no offload"
	else
		result $status "$name"
	fi
done
[ $n_failed -eq 0 ]
