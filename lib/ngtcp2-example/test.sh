#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Tests of the example: against Debian's gtlsclient, gtlsserver and aioquic, and
# against itself, with key updates. Run as root, in a machine of its own, after
# make. On a kernel without quic-crypto, ../test/fake_kernel.so takes its place.
# Arguments: names of tests, to run only these.

cd "$(dirname "$0")/.." || exit 1
# shellcheck source=../test/tests.sh
. ./test/tests.sh
KB=${KB:-3000}
FAKE=$PWD/test/fake_kernel.so
H3=$PWD/ngtcp2-example/h3file
url=https://127.0.0.1:$PORT

# start_h3 [options]: the example's server
start_h3() {
	count_from_here
	LD_PRELOAD=$BASE "$H3" server "$@" 127.0.0.1 "$PORT" "$T/key.pem" \
		"$T/cert.pem" "$T/www" >"$T/server.log" 2>&1 &
	server=$!
	wait_for 60 listening
}

# h3_get [options]: a download with the example's client
h3_get() {
	LD_PRELOAD=$BASE timeout "$TIMEOUT" "$H3" client "$@" 127.0.0.1 \
		"$PORT" /file "$T/out/file" >"$T/client.log" 2>&1
}

# all LOG...: the kernel did it, and its counters say the same
all() {
	sealed=0 opened=0
	for log; do
		n=$(value "$log" sealed)
		sealed=$((sealed + n))
		n=$(value "$log" opened)
		opened=$((opened + n))
		[ "$(value "$log" mismatched)" -eq 0 ] &&
			[ "$(value "$log" refused)" -eq 0 ] ||
			says "$log: $(tr '\n' ' ' <"$log")" || return 1
	done
	echo "# sealed $sealed, opened $opened," \
		"updates $(value "$1" updates)"
	[ "$sealed" -gt 0 ] && [ "$opened" -gt 0 ] || return 1
	[ -e "$STAT" ] || return 0
	[ "$(grown QuicTxSwPackets)" -eq $sealed ] &&
		[ "$(grown QuicRxSwPackets)" -ge $opened ] &&
		no_flow_left && return
	says "counters: $(grown QuicTxSwPackets) sealed," \
		"$(grown QuicRxSwPackets) opened"
}

t_gtlsclient() {
	start_h3 -u 20 && gtls_get 127.0.0.1 "$PORT" "$url/file" &&
		stop_server && arrived file && all "$T/server.log" &&
		[ "$sealed" -gt $((KB / 2)) ]
}

# The peer updates its keys.
t_gtlsclient_updates() {
	start_h3 && gtls_get --key-update=20ms 127.0.0.1 "$PORT" "$url/file" &&
		stop_server && arrived file && all "$T/server.log" &&
		[ "$(value "$T/server.log" updates)" -ge 1 ]
}

t_aioquic() {
	start_h3 && timeout "$TIMEOUT" /usr/bin/python3 h3get.py "$url/file" \
		"$T/out/file" && stop_server && arrived file && all "$T/server.log"
}

t_gtlsserver() {
	count_from_here
	PRELOAD=
	# shellcheck disable=SC2119 # without options
	start_server && h3_get && stop_server && arrived file &&
		all "$T/client.log" && [ "$opened" -gt $((KB / 2)) ]
}

# What one seals, the other opens, and a few packets that ngtcp2 has sealed before.
both() {
	start_h3 "$@" && h3_get "$@" && stop_server && arrived file &&
		all "$T/server.log" "$T/client.log" &&
		[ "$opened" -gt $((KB / 2)) ] && [ "$opened" -le $((sealed + 10)) ]
}

t_itself() { both; }
t_aes_256_gcm() { both -c AES-256-GCM; }
t_aes_128_ccm() { both -c AES-128-CCM; }
t_chacha20_poly1305() { both -c CHACHA20-POLY1305; }

# Three generations at least, started by either side: the first update is prepared
# before the kernel has the flow.
t_key_updates() {
	KB=$((10 * KB))
	cp "$T/www/file" "$T/saved"
	for _ in 1 2 3 4 5 6 7 8 9; do
		cat "$T/saved"
	done >>"$T/www/file"
	both -u 5
	status=$?
	mv "$T/saved" "$T/www/file"
	[ $status -eq 0 ] && [ "$(value "$T/server.log" updates)" -ge 2 ]
}

# Without quic-crypto, all is as with ngtcp2 alone.
t_no_kernel() {
	BASE=$FAKE
	export FAKE_KERNEL_ULP=92
	start_h3 && h3_get && stop_server && arrived file &&
		[ "$(value "$T/server.log" sealed)" -eq 0 ] &&
		[ "$(value "$T/client.log" opened)" -eq 0 ] &&
		grep -q 'no quic-crypto' "$T/server.log"
}

# not_now VARIABLE CALLS [ERRNO]: these calls that install keys fail, and the kernel
# does the rest of the work after them.
not_now() {
	BASE=$FAKE
	export "$1=${3:-11}:$2"
	start_h3 -u 20 && h3_get && stop_server && arrived file &&
		all "$T/server.log" "$T/client.log" &&
		[ "$sealed" -gt $((KB / 2)) ] && [ "$opened" -gt $((KB / 2)) ]
}

t_add_not_now() { not_now FAKE_KERNEL_ADD 1-3; }
t_update_not_now() { not_now FAKE_KERNEL_ADD 2-4; }
t_rx_add_not_now() { not_now FAKE_KERNEL_ADD_RX 1-3; }

# Connection IDs other than the first of a flow. The client takes another one when it
# changes its port, and begins with a random packet number.
t_cids_not_now() {
	BASE=$FAKE
	export FAKE_KERNEL_ALIAS_RX=11:1-5
	start_h3 && gtls_get --change-local-addr=20ms 127.0.0.1 "$PORT" \
		"$url/file" && stop_server && arrived file &&
		all "$T/server.log" && [ "$opened" -gt 20 ]
}

# EINVAL: the kernel has opened nothing of the generation before. The first update may
# be part of adding the flow, the second comes later.
t_rx_update_unseen() { not_now FAKE_KERNEL_UPDATE_RX 2-2 22; }

# The first update finds a flow that is another connection's. It must stay, and not
# seal another packet.
t_update_foreign() {
	BASE=$FAKE
	export FAKE_KERNEL_ADD=98:2-9999
	start_h3 -u 20 && h3_get && stop_server && arrived file &&
		[ "$(value "$T/server.log" sealed)" -lt $((KB / 2)) ] &&
		[ "$(value "$T/client.log" sealed)" -lt $((KB / 2)) ]
}

# error ERRNO [N]: every third call that is to be sealed fails, or every N-th
error() {
	BASE=$FAKE
	export FAKE_KERNEL_FAIL="$1:${2:-3}"
	start_h3 && h3_get && stop_server && arrived file &&
		[ "$(value "$T/server.log" sealed)" -gt 0 ] || return 1
	echo "# sealed here: $(value "$T/server.log" refused)"
}

t_error_eagain() { error 11; }
t_error_enoent() { error 2; }
t_error_enokey() { error 126; }
t_error_eio() { error 5 && [ "$(value "$T/server.log" refused)" -gt 10 ]; }

# The packets count as lost.
t_error_ealready() { error 114 20; }
t_error_ekeyexpired() {
	error 127 20 && [ "$(value "$T/server.log" updates)" -ge 1 ]
}

# From the third call on, ngtcp2 seals.
given_up() {
	error "$1" && [ "$(value "$T/server.log" refused)" -gt 0 ] &&
		[ "$(value "$T/server.log" sealed)" -lt $((KB / 2)) ]
}

t_error_einval() { given_up 22; }
t_error_ebadmsg() { given_up 74; }
t_error_eopnotsupp() { given_up 95; }

setup
offload_or test/fake_kernel.so
BASE=$preload
openssl rand $((KB * 1000)) >"$T/www/file"
# shellcheck disable=SC2046
[ $# -gt 0 ] || set -- $(tests_of ngtcp2-example/test.sh)

logs="server client"
run_tests "$@"
