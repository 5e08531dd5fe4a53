#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Tests of quic_offload.so under knotd, Debian's DNS server, which speaks DNS over
# QUIC: asked by kdig, knsupdate, another knotd and dnspython, all of them stock.
# Answers have to be those that come over TCP, every 1-RTT packet of both directions
# is captured and opened with the secrets of the connection, and the counters of the
# programs, of the kernel and of the capture have to agree.
#
# Run as root, in a machine of its own, after make in lib. On a kernel without
# quic-crypto, test/fake_kernel.so seals and opens. TEST_NAMES: names in the zone
# (default 2000). Arguments: names of tests, to run only these.

cd "$(dirname "$0")/.." || exit 1
# shellcheck source=../test/sides.sh
. ./test/sides.sh
TEST_NAMES=${TEST_NAMES:-2000}
LIB=$PWD/quic_offload.so
DOUBLE=$LIB:$PWD/test/fake_kernel.so
TCP_PORT=5353			# of the server, where nothing is captured
SECONDARY_PORT=5354		# of another one
WORKERS=1			# threads of the server, each with a socket
stack=ngtcp2
ours=server

# ----- the servers -----

# zone: every tenth name has 20 records, 4 KB
zone() {
	# shellcheck disable=SC2016 # for the zone, not for the shell
	echo '$ORIGIN example.' '
$TTL 60
@ SOA ns hostmaster 1 3600 900 86400 60
@ NS ns
ns A 192.0.2.1'
	awk -v names="$TEST_NAMES" 'BEGIN {
		line = "the quick brown fox jumps over the lazy dog. "
		for (i = 0; i < names; i++) {
			print "n" i, "TXT", "\"" i " " line line "\""
			for (n = 1; !(i % 10) && n < 20; n++)
				print "n" i, "TXT", \
					"\"" i "," n " " line line line line "\""
		}
	}'
}

# config DIRECTORY PORT: of a server with its files there, and TCP at this port
config() {
	cat <<-END
	server:
	    rundir: $1
	    listen: 127.0.0.1@$2
	    udp-workers: $WORKERS
	    tcp-workers: 1
	    background-workers: 1
	    quic-idle-close-timeout: 4
	    key-file: $T/key.pem
	    cert-file: $T/cert.pem
	log:
	  - target: stdout
	    any: info
	database:
	    storage: $1
	template:
	  - id: default
	    storage: $1
	    file: example.zone
	    zonefile-sync: -1
	    journal-content: none
	END
}

primary() {
	config "$T/primary" $TCP_PORT
	cat <<-END
	server:
	    listen-quic: [127.0.0.1@$PORT, ::1@$PORT]
	acl:
	  - id: local
	    address: 127.0.0.0/8
	    action: [transfer, update]
	zone:
	  - domain: example
	    acl: local
	END
}

secondary() {
	config "$T/secondary" $SECONDARY_PORT
	cat <<-END
	remote:
	  - id: primary
	    address: 127.0.0.1@$PORT
	    quic: on
	acl:
	  - id: local
	    address: 127.0.0.0/8
	    action: transfer
	zone:
	  - domain: example
	    acl: local
	    master: primary
	END
}

# knotd_of NAME SIDE: become the primary or the secondary, with the interposer
knotd_of() {
	"$1" >"$T/$1/knot.conf"
	exec env LD_PRELOAD="$PRELOAD" QUIC_OFFLOAD_STATS="$T/$2-stats" \
		SSLKEYLOGFILE="$T/keylog" knotd -c "$T/$1/knot.conf" \
		>"$T/$1.log" 2>&1
}

serve() {
	knotd_of primary server &
	server=$!
	wait_for 60 listening || says "knotd does not start"
}

# ----- what a test does between begin and end -----

begin() {
	rm -f "$T/"*-stats "$T/"*.log "$T/keylog"
	count_from_here
	start_capture
}

# client COMMAND...: with what is preloaded to clients
client() {
	timeout "$TIMEOUT" env LD_PRELOAD="$CLIENT_PRELOAD" \
		QUIC_OFFLOAD_STATS="${CLIENT_STATS:-$T/client-stats}" \
		"$@" 2>>"$T/client.log"
}

# answers FILE CLIENT ARGUMENT...: what one of these clients prints, in order
answers() {
	_file=$T/out/$1
	shift
	"$@" >"$_file.txt" || says "it failed: $*" || return 1
	grep -v '^;\|^$' "$_file.txt" | tr -s '\t ' ' ' | sort >"$_file"
}

# by_tcp PORT QUERY...
by_tcp() {
	_port=$1
	shift
	client kdig @127.0.0.1 -p "$_port" +tcp +noall +answer "$@"
}

# by_quic QUERY...: without retries, which would hide what is lost
by_quic() {
	client kdig "@$ADDR" -p "$PORT" +quic +retry=0 +time=60 +noall \
		+answer "$@"
}

doq() {
	client /usr/bin/python3 knot/doq.py 127.0.0.1 "$PORT" "$@"
}

# names NUMBER [SUFFIX]
names() {
	awk -v n="$1" -v suffix="$2" \
		'BEGIN { for (i = 0; i < n; i++) print "n" i ".example" suffix }'
}

# shellcheck disable=SC2086 # words
few() { answers few by_quic $few && arrived few; }
transfer() { answers zone by_quic example AXFR && arrived zone; }
# many CONNECTIONS
many() { names $n_many | answers many doq txt "$1" && arrived many; }

# expect: what TCP says of the server's zone, to compare with
# shellcheck disable=SC2046,SC2086 # words
expect() {
	count_from_here
	serve && answers zone by_tcp $TCP_PORT example AXFR &&
		answers few by_tcp $TCP_PORT $few &&
		answers many by_tcp $TCP_PORT $(names $n_many " TXT") ||
		return 1
	stop_server
	cp "$T/out/zone" "$T/out/few" "$T/out/many" "$T/www"
	# 20 records for every tenth name, and the SOA at either end
	_tenths=$(((TEST_NAMES + 9) / 10))
	[ "$(wc -l <"$T/www/zone")" -eq $((TEST_NAMES + 19 * _tenths + 4)) ]
}

# by_kernel SIDES CONNECTIONS [MOST]: the kernel has sealed and opened all but the
# first packets of each connection, which come before the flow is there. Of those
# that arrive, these are MOST at most: 5, or a window if the peer begins with one. A
# client's first packet shares a datagram with the last one of its handshake, so it is
# a fallback.
by_kernel() {
	for side in $1; do
		sealed "$side" && [ "$kernel" -gt 0 ] &&
			[ $((library + fallback)) -le $((4 * $2)) ] ||
			says "not sealed by the kernel" || return 1
		[ "$side" = client ] || [ "$fallback" -eq 0 ] ||
			says "a fallback of the server" || return 1
		opened "$side" && [ "$rx_kernel" -gt 0 ] &&
			[ "$rx_failed" -eq 0 ] &&
			[ "$rx_library" -le $((${3:-5} * $2)) ] ||
			says "not opened by the kernel" || return 1
	done
	untroubled && counted
}

# Nothing was refused, and nothing was lost between the library and the kernel.
untroubled() {
	for _counter in given_up refused_calls dropped_packets rx_given_up \
			rx_stray_packets rx_refused_packets; do
		[ "$(stats $_counter)" -eq 0 ] ||
			says "$_counter: $(stats $_counter)" || return 1
	done
}

# Nothing by the kernel, and all that the library has sealed is sealed
by_library() {
	counted && [ "$(stats kernel_packets)" -eq 0 ] &&
		[ "$(stats rx_kernel_packets)" -eq 0 ] &&
		[ "$(value "$T/wire-server" wire_sealed_packets)" -gt 100 ] &&
		[ "$(value "$T/wire-client" wire_sealed_packets)" -gt 50 ]
}

both_sides() {
	CLIENT_PRELOAD=$PRELOAD
}

# ----- kdig -----

t_kdig() { begin && serve && few && end && by_kernel server $n_few; }

t_kdig_ipv6() {
	ADDR=::1
	begin && serve && few && end && by_kernel server $n_few
}

t_kdig_transfer() { begin && serve && transfer && end && by_kernel server 1; }

# kdig's packets are sealed and opened by the kernel, too.
t_kdig_both_sides() {
	both_sides
	begin && serve && transfer && end && by_kernel "server client" 1
}

# The server may be slow to derive the next keys.
t_kdig_key_updates() {
	both_sides
	CLIENT_PRELOAD=$CLIENT_PRELOAD:$PWD/test/update_keys.so
	begin && serve && transfer && end && sealed server && sealed client &&
		[ "$(stats fallback_packets)" -le 1 ] && opened client &&
		[ "$rx_failed" -eq 0 ] && opened server && [ "$rx_failed" -le \
			"$(value "$T/server-stats" rx_key_phase)" ] &&
		counted && updates 2
}

# transfers NUMBER CLIENT ARGUMENT...: that many at a time
transfers() {
	_n=$1 _pids=
	shift
	for _i in $(seq "$_n"); do
		mkdir "$T/out/$_i"
		answers "$_i/zone" "$@" &
		_pids="$_pids $!"
	done
	for _pid in $_pids; do
		wait "$_pid" || return 1
	done
	for _i in $(seq "$_n"); do
		arrived "$_i/zone" || return 1
	done
}

# flows NUMBER: each connection had its own. The interposer adds one again if a
# packet comes out of the socket that was there before the flow.
flows() {
	_tx=$(value "$T/server-stats" flows)
	_rx=$(value "$T/server-stats" rx_flows)
	_wire=$(value "$T/wire-server" wire_connections)
	[ "$_wire" -eq "$1" ] && [ "$_tx" -eq "$1" ] && [ "$_rx" -ge "$1" ] &&
		return
	says "connections: $_wire, flows: $_tx and $_rx"
}

t_kdig_parallel() {
	begin && serve && transfers 4 by_quic example AXFR && end &&
		by_kernel server 4 && flows 4
}

sockets() {
	ss -Hnul "src 127.0.0.1:$PORT" | wc -l
}

# Each thread has a socket, and connections of its own.
t_threads() {
	WORKERS=4
	begin && serve && [ "$(sockets)" -eq 4 ] && many 16 && end &&
		by_kernel server 16 && flows 16
}

# ----- dnspython, on aioquic -----

t_dnspython() { begin && serve && many 1 && end && by_kernel server 1; }

# Connections that are open at the same time, on one socket of the server
t_dnspython_connections() {
	begin && serve && [ "$(sockets)" -eq 1 ] && many 8 && end &&
		by_kernel server 8 && flows 8
}

t_dnspython_transfer() {
	begin && serve && answers zone doq axfr example && arrived zone &&
		end && by_kernel server 1
}

# A client that is gone: the server forgets the connection, and the kernel the
# flows of a server that goes on.
t_client_killed() {
	[ -e "$STAT" ] || return 4
	begin && serve || return 1
	/usr/bin/python3 knot/doq.py 127.0.0.1 "$PORT" hold n1.example \
		>"$T/out/hold" 2>"$T/client.log" &
	_pid=$!
	wait_for 60 grep -q TXT "$T/out/hold" && wait_for 10 has_flow
	_status=$?
	kill -KILL $_pid
	wait $_pid 2>/dev/null
	[ $_status -eq 0 ] || says "no flow" || return 1
	wait_for 60 no_flow_left && kill -0 "$server" && few && end &&
		by_kernel server $((n_few + 1))
}

has_flow() { [ "$(value "$STAT" QuicCurrRxSw)" -eq 1 ]; }

# ----- knsupdate: data of the client -----

additions() {
	awk 'BEGIN {
		for (i = 0; i < 900; i++)
			print "added" i ".example. 60 IN TXT \"record " i "\""
	}'
}

# Three messages
update_script() {
	echo "server $ADDR $PORT"
	echo "zone example."
	additions | sed 's/^/update add /; 300~300a send'
}

t_knsupdate() {
	both_sides
	additions | sort >"$T/www/added"
	update_script >"$T/script"
	begin && serve &&
		client knsupdate -Q -t 60 "$T/script" >"$T/out/knsupdate" &&
		answers zone by_tcp $TCP_PORT example AXFR || return 1
	grep '^added' "$T/out/zone" >"$T/out/added"
	arrived added && end && by_kernel "server client" 3 15
}

# ----- another knotd, which transfers the zone by itself -----

transferred() {
	by_tcp $SECONDARY_PORT example SOA | grep -q SOA
}

# secondary_gets: the zone, and ends
secondary_gets() {
	knotd_of secondary client &
	_secondary=$!
	wait_for 60 transferred &&
		answers zone by_tcp $SECONDARY_PORT example AXFR &&
		arrived zone
	_status=$?
	kill -INT $_secondary
	wait $_secondary
	return $_status
}

t_secondary() {
	begin && serve && secondary_gets && end && by_kernel "server client" 2
}

# ----- a bad network -----

# network ARGUMENTS COMMAND: with netem. What is sent again comes in addition.
network() {
	max_unread=100
	# shellcheck disable=SC2086 # words
	tc qdisc add dev lo root netem $1 || return 4
	"$2"
	status=$?
	dropped=$(tc -s qdisc show dev lo | sed -n 's/.*(dropped \([0-9]*\),.*/\1/p')
	tc qdisc del dev lo root
	echo "# lost: $dropped"
	case $1 in
	*loss*)	[ "$dropped" -gt 0 ] || return 1 ;;
	esac
	return $status
}

bad="delay 2ms 1ms duplicate 1% reorder 25%"

# What was sent twice is on the wire twice, and what was lost is not.
by_kernel_somehow() {
	for side; do
		opened "$side" && [ "$rx_kernel" -gt 50 ] &&
			[ "$(value "$T/$side-stats" kernel_packets)" -gt 50 ] &&
			[ "$(value "$T/$side-stats" fallback_packets)" -le 1 ] ||
			return 1
	done
	counted
}

t_reordered() { network "$bad" reordered; }
reordered() {
	both_sides
	begin && serve && transfer && end && by_kernel_somehow server client &&
		[ "$(value "$T/wire-server" wire_packets_repeated)" -gt 0 ]
}

# Not with kdig, which may wait for ever when a packet of its handshake is lost
t_loss() { network "$bad loss 2%" loss; }
loss() {
	begin && serve && secondary_gets && end &&
		by_kernel_somehow server client
}

# ----- without the kernel, and against its will -----

t_off() {
	export QUIC_OFFLOAD=0
	both_sides
	begin && serve && transfer && end && by_library &&
		grep -q 'quic_offload: off' "$T/primary.log"
}

no_kernel() {
	PRELOAD=$DOUBLE
	export FAKE_KERNEL_ULP="$1"
	begin && serve && transfer && few && end && by_library &&
		[ "$(grep -c 'quic_offload: not in this kernel' \
		     "$T/primary.log")" -eq 1 ]
}

t_no_ulp() { no_kernel 92; }
t_no_module() { no_kernel 2; }

t_flow_limit() { with_sysctl max_flows 0 flow_limit; }
flow_limit() {
	begin && serve && transfer && few && end && by_library &&
		grep -q 'refused.*seals' "$T/primary.log" &&
		grep -q 'refused.*opens' "$T/primary.log"
}

t_key_limit() { with_sysctl seal_limit 300 key_limit; }
key_limit() {
	begin && serve && transfer && end && opened server && by_both &&
		[ "$kernel" -eq 300 ]
}

# error ERRNO CHECK: every third sendmsg() that is to be sealed fails
error() {
	PRELOAD=$DOUBLE
	export FAKE_KERNEL_FAIL="$1:3"
	begin && serve && transfer && end && opened server && $2
}

# The flow was added again, and the kernel has taken what it had refused.
repeated() {
	sealed server && counted && [ "$kernel" -gt 0 ] &&
		[ "$fallback" -eq 0 ] &&
		[ "$(value "$T/server-stats" flows)" -gt 1 ]
}

t_error_enoent() { error 2 repeated; }
t_error_einval() { error 22 repeated; }
t_error_ealready() { error 114 by_both; }
t_error_eopnotsupp() { error 95 by_both; }

# Packets of others must not disturb.
t_garbage() {
	begin && serve || return 1
	/usr/bin/python3 test/garbage.py lo "$PORT" 18 4499 50 >"$T/garbage" \
		2>"$T/garbage.log" &
	_pid=$!
	wait_for 60 grep -q ready "$T/garbage"
	transfer && end && wait $_pid && untroubled && counted &&
		[ "$(value "$T/server-stats" kernel_packets)" -gt 500 ] &&
		[ "$(value "$T/garbage" again)" -gt 10 ] &&
		[ "$(value "$T/server-stats" rx_auth_failed)" -gt 10 ]
}

# The checker has to see packets that left without protection. The client cannot
# open them.
t_checker_sees_plaintext() {
	PRELOAD=$DOUBLE
	export FAKE_KERNEL_LEAK=1
	begin && serve || return 1
	timeout 10 kdig "@$ADDR" -p "$PORT" +quic +retry=0 +time=3 \
		example AXFR >"$T/out/zone" 2>"$T/client.log"
	end >/dev/null && return 1
	[ "$(value "$T/wire-server" wire_not_opened)" -gt 0 ]
}

t_no_flow_left() {
	[ -e "$STAT" ] || return 4
	no_flow_left
}

# ----- run them -----

prepare_captures
mkdir "$T/primary" "$T/secondary"
n_few=20
n_many=200
few=$(names $n_few " TXT")
zone >"$T/primary/example.zone"
PRELOAD=
CLIENT_PRELOAD=
logs="primary secondary client tcpdump"
expect || {
	echo "Bail out! knotd does not answer over TCP"
	sed 's/^/# /' "$T/primary.log" "$T/client.log"
	exit 1
}
PRELOAD=$LIB${preload:+:$preload}
# shellcheck disable=SC2046
[ $# -gt 0 ] || set -- $(tests_of knot/test.sh)
run_tests "$@"
