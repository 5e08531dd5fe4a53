# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# What demo-guest.sh and the tests have in common.

PORT=${PORT:-4433}
TIMEOUT=${TIMEOUT:-300}		# seconds, for one download
# shellcheck disable=SC2034
STAT=/proc/net/quic_stat
NSIM=/sys/bus/netdevsim

# Where server and clients run, and the device that shows the clients' wire.
# A command that gets such a prefix has the process id that the prefix has.
on_server=
on_client=
wire=lo
ADDR=127.0.0.1

n_test=0
n_failed=0

# result STATUS NAME [WHY]: one line of KTAP
result() {
	n_test=$((n_test + 1))
	if [ "$1" -eq 0 ]; then
		echo "ok $n_test $2"
	else
		n_failed=$((n_failed + 1))
		echo "not ok $n_test $2"
		[ -z "$3" ] || echo "# $3"
	fi
}

skip() {
	n_test=$((n_test + 1))
	echo "ok $n_test $1 # SKIP $2"
}

# value FILE NAME: a counter, 0 when it is not there
value() {
	awk -v n="$2" '$1 == n { v = $2 } END { print v + 0 }' "$1" 2>/dev/null ||
		echo 0
}

now_ms() {
	awk '{ printf "%d\n", $1 * 1000 }' /proc/uptime
}

make_cert() {
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 \
		-nodes -keyout "$T/key.pem" -out "$T/cert.pem" -days 30 \
		-subj /CN=localhost 2>/dev/null
}

# wait_for SECONDS COMMAND...
wait_for() {
	_tries=$(($1 * 10))
	shift
	while ! "$@" 2>/dev/null; do
		_tries=$((_tries - 1))
		[ $_tries -gt 0 ] || return 1
		sleep 0.1
	done
}

listening() {
	_hex=$(printf ':%04X' "$PORT")
	$on_server grep -q "^ *[0-9]*: [0-9A-F]*$_hex " \
		/proc/net/udp /proc/net/udp6
}

# start_server [gtlsserver options]; $PRELOAD and the environment are its own
start_server() {
	rm -f "$T/keylog" "$T/offload" "$T/server.log"
	rm -f "$T/upload."*
	$on_server env LD_PRELOAD="$PRELOAD" QUIC_OFFLOAD_STATS="$T/offload" \
		SSLKEYLOGFILE="$T/keylog" SAVE_UPLOAD="$T/upload" \
		gtlsserver -q "$@" -d "$T/www" '*' "$PORT" "$T/key.pem" \
		"$T/cert.pem" >"$T/server.log" 2>&1 &
	server=$!
	wait_for 60 listening || {
		echo "# gtlsserver does not start:"
		sed 's/^/# /' "$T/server.log"
		return 1
	}
}

# Ends it the way it wants to be ended: it writes its counters then.
stop_server() {
	kill -INT "$server"
	wait "$server" 2>/dev/null
	server=
}

start_capture() {
	rm -f "$T/wire.pcap"
	$on_client tcpdump -Z root -i $wire -s 0 -B 65536 -U -w "$T/wire.pcap" \
		udp port "$PORT" and not port 4499 2>"$T/tcpdump.log" &
	capture=$!
	wait_for 60 grep -q 'listening on' "$T/tcpdump.log"
}

# Did all that was captured get to the file? On loopback the filter sees each
# packet twice, and it is written once.
captured_all() {
	kill -USR1 "$capture"
	sleep 0.1
	# tcpdump: 95 packets captured, 190 packets received by filter, 0 packets
	awk '/captured,.*dropped/ { n = $2; seen = $5; dropped = $10 }
	     END { exit !(dropped || seen && (seen == n || seen == 2 * n)) }' \
		"$T/tcpdump.log"
}

stop_capture() {
	wait_for 30 captured_all
	kill -INT "$capture"
	wait "$capture" 2>/dev/null
	capture=
	if ! grep -q '^0 packets dropped by kernel' "$T/tcpdump.log"; then
		echo "# the capture is not complete:"
		sed 's/^/# /' "$T/tcpdump.log"
		return 1
	fi
}

cleanup() {
	[ -z "$server" ] || kill "$server" 2>/dev/null
	[ -z "$capture" ] || kill "$capture" 2>/dev/null
	wait
	[ -z "$on_server" ] || nsim_del
	[ -n "$KEEP" ] || rm -rf "$T"
}

setup() {
	server=
	capture=
	T=$(mktemp -d "${TMPDIR:-/tmp}/quic.XXXXXX") || exit 1
	trap cleanup EXIT
	trap 'exit 1' INT TERM
	mkdir "$T/www" "$T/out"
	ip link set lo up
	make_cert || exit 1
}

# nsim_add ID NAME ADDRESS: a device in a network namespace of the same name.
# Router solicitations would spoil what captured_all() counts: IPv4 only.
nsim_add() {
	ip netns add "$2" && echo "$1" >$NSIM/new_device &&
		ip link set dev "$(ls "$NSIM/devices/netdevsim$1/net")" \
			name "$2" netns "$2" &&
		ip -n "$2" link set "$2" addrgenmode none &&
		ip -n "$2" addr add "$3/24" dev "$2"
}

nsim_del() {
	for _id in 1 2; do
		echo $_id >$NSIM/del_device
	done
	ip netns del server
	ip netns del client
} 2>/dev/null

ifindex() {
	ip netns exec "$1" cat "/sys/class/net/$1/ifindex"
}

# A device for the server, which seals and opens, linked to another one for the clients
setup_netdevsim() {
	modprobe -q netdevsim
	on_server="ip netns exec server"
	on_client="ip netns exec client"
	wire=client
	ADDR=192.0.2.1
	nsim_add 1 server $ADDR && nsim_add 2 client 192.0.2.2 &&
		echo "3:$(ifindex server) 4:$(ifindex client)" \
			3</run/netns/server 4</run/netns/client \
			>$NSIM/link_device &&
		ip -n client link set client up &&
		ip -n server link set server up &&
		$on_server ethtool -K server sg on tx-checksum-ip-generic on \
			tx-udp-segmentation on quic-hw-tx-offload on &&
		$on_server ethtool -K server rx on quic-hw-rx-offload on &&
		[ "$($on_server ethtool -k server |
			grep -c '^quic-hw-[rt]x-offload: on')" = 2 ]
}

# Stock curl 8.14 on OpenSSL's QUIC stalls in one download out of twenty or
# thirty, with an unmodified server as well: no byte comes, and its own --retry
# stays with the connection that stalls. So another curl tries again.
curl_get() {
	for _try in 1 2 3 4 5; do
		# shellcheck disable=SC2034
		start=$(now_ms)	# of the try that counts
		$on_client timeout "$TIMEOUT" curl -sS --http3-only -k \
			--speed-time 15 --speed-limit 1000 -o "$@" \
			2>"$T/client.log" && return
		echo "# try $_try: $(cat "$T/client.log")"
	done
	return 1
}

# gtls [gtlsclient options]; $CLIENT_PRELOAD is for the client
gtls() {
	rm -f "$T/client-offload"
	$on_client timeout "$TIMEOUT" env LD_PRELOAD="$CLIENT_PRELOAD" \
		QUIC_OFFLOAD_STATS="$T/client-offload" \
		gtlsclient -q --exit-on-all-streams-close "$@" \
		>"$T/client.log" 2>&1
}

# ngtcp2's client saves a download under its name in the URL.
gtls_get() {
	gtls --download "$T/out" "$@"
}

# gtls_put FILE [gtlsclient options]
gtls_put() {
	_file=$1
	shift
	gtls -m POST -d "$_file" "$@"
}

# What start_server saved of an upload; gtlsserver saves nothing itself.
uploaded() {
	/usr/bin/python3 test/h3body.py "$T/upload.0" >"$T/out/$1"
}

same() {
	[ "$(sha256sum <"$1")" = "$(sha256sum <"$2")" ]
}
