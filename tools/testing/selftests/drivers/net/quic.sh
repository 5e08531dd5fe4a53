#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Let a device seal QUIC packets, and see to it that everything that arrives is
# what software would have made of them, that nothing gets lost that need not,
# and above all that nothing leaves unsealed, whatever happens to the device,
# the routes, the keys or the sockets.
#
# usage: quic.sh [TEST...]
#
# Without further settings it runs on netdevsim. On hardware, see README.rst:
# NETIF, REMOTE_V4, REMOTE_TYPE=netns, REMOTE_ARGS (the other end has to be in a
# network namespace of the same host) and for IPv6 REMOTE_V6. What needs
# netdevsim is skipped then.

dir=$(dirname "$(readlink -f "$0")")
net=$dir/../../net
# shellcheck source=/dev/null
. "$net/lib.sh"
# shellcheck source=/dev/null
. "$dir/../../kselftest/ktap_helpers.sh"

tests="
wire_v4 wire_v6 layouts packet_numbers connected user_space_packets
two_users tap segmentation_off sg_off stats tracepoints ip_options time_stamps
icmp_v4 icmp_v6
vlan macvlan bridge veth vrf loopback tunnel multicast
bond_failover route_change route_change_back
redirect redirect_gso mirror ingress_redirect
bpf_redirect bpf_redirect_neigh bpf_redirect_peer bpf_xdp bpf_port bpf_damage
vlan_push vlan_push_redirect checksum
neighbour netem
toggle toggle_checksum toggle_gso down_up down_in_flight mtu
key_update delete_load delete_in_flight close_in_flight update_in_flight
threads many_flows
add_refused add_delayed table_limit keys_lost keys_lost_load corrupt
reset reset_requeued free_crypto
netns_move netns_exit unregister unregister_load unregister_throttled
devlink_reload module_unload
"

# The two ends: namespace and device of each, addresses of the second
A='' B='' DEV='' PEER=''
V4=192.0.2.2 V6=2001:db8:1::2
NSIM=			# id of the netdevsim device, empty on hardware
next_id=$((512 + RANDOM % 30000))
tmp=$(mktemp -d)
load_pid='' prepare=''
slow=1 share=1
[ "$KSFT_MACHINE_SLOW" != yes ] || slow=6 share=4
# milliseconds in which something of what is under way has to arrive
patience=$((3000 * slow))

declare -A T		# what the last traffic has come to
declare -A S0 S1	# counters before and after

in_ns()
{
	local ns=$1
	shift

	if [ -n "$ns" ]; then
		ip netns exec "$ns" "$@"
	else
		"$@"
	fi
}

ipa()	{ if [ -n "$A" ]; then ip -n "$A" "$@"; else ip "$@"; fi; }
ipb()	{ ip -n "$B" "$@"; }
tca()	{ if [ -n "$A" ]; then tc -n "$A" "$@"; else tc "$@"; fi; }
in_a()	{ in_ns "$A" "$@"; }
in_b()	{ in_ns "$B" "$@"; }

fail()
{
	echo "# $test: $*${what:+ [$what]}"
	RET=1
}

skip()
{
	echo "# $test: $*"
	[ "$RET" != 0 ] || RET=$KSFT_SKIP
}

# or skip the test that asks
need_nsim()
{
	[ -n "$NSIM" ] || ! skip "needs netdevsim"
}

# quietly COMMAND...: or skip the test
try()
{
	"$@" >"$tmp/try" 2>&1 ||
		! skip "cannot do: $* ($(tail -n 1 "$tmp/try"))"
}

knob()
{
	echo "$2" >"/sys/kernel/debug/netdevsim/netdevsim$NSIM/ports/0/quic/$1"
}

# What COMMAND... says of counters: a name and a number a line
collect()
{
	local k v

	while read -r k v; do
		[[ $k != *[Qq]uic* ]] || S1[${k%:}]=$v
	done < <("$@" 2>/dev/null)
}

collect_kernel() { collect in_a cat /proc/net/quic_stat; }

# Everything that counts, now
after()
{
	S1=()
	collect_kernel
	collect in_a ethtool -S "$DEV"
}

before()
{
	local k

	after
	S0=()
	for k in "${!S1[@]}"; do
		S0[$k]=${S1[$k]}
	done
}

# count NAME: of the kernel's, which is quick
count()	 { collect_kernel; echo "${S1[$1]:-0}"; }

# value NAME: from the last traffic, or how much a counter has grown
value()
{
	case $1 in
	Quic*|tx_quic*)	echo $((${S1[$1]:-0} - ${S0[$1]:-0})) ;;
	*)		echo "${T[$1]:-0}" ;;
	esac
}

# expect NAME -eq|-gt|... NUMBER|NAME
expect()
{
	local is want=$3

	is=$(value "$1")
	[[ $want =~ ^[0-9]+$ ]] || want=$(value "$want")
	test "$is" "$2" "$want" 2>/dev/null ||
		fail "$1 is $is, not $2 $3"
}

expect_clean()
{
	local k

	for k in lost bad plain duplicate reordered extra errors; do
		expect $k -eq 0
	done
	expect sent -gt 0
}

# All of it by the device, or by software
expect_device()
{
	expect QuicTxDevicePackets -eq sent
	expect tx_quic_encrypted_packets -eq sent
	expect QuicTxSwPackets -eq 0
	expect QuicTxDeviceFallback -eq 0
	expect_no_drops
}

# The same, but for calls that met another CPU which was adding or deleting a
# key: they do not wait, software seals.
expect_mostly_device()
{
	T[sealed]=$(($(value QuicTxDevicePackets) + $(value QuicTxSwPackets)))
	expect sealed -eq sent
	expect tx_quic_encrypted_packets -eq QuicTxDevicePackets
	expect QuicTxDevicePackets -gt QuicTxSwPackets
	expect QuicTxDeviceFallback -eq 0
	expect_no_drops
}

expect_software()
{
	expect QuicTxSwPackets -eq sent
	expect QuicTxDevicePackets -eq 0
	expect tx_quic_encrypted_packets -eq 0
}

expect_no_drops()
{
	local k

	for k in QuicTxDeviceDrop tx_quic_drop_no_key tx_quic_drop_bad; do
		expect $k -eq 0
	done
}

# What a load under which things happen has to be like
expect_safe()
{
	expect plain -eq 0
	expect bad -eq 0
	expect duplicate -eq 0
	expect received -gt 0
}

parse()
{
	local kv

	T=()
	for kv in $(tail -n 1 "$1"); do
		[[ $kv != *=* ]] || T[${kv%%=*}]=${kv#*=}
	done
	[ -n "${T[sent]}" ] || grep -q '^cannot attach' "$1" ||
		fail "quic_dev: $(tail -n 1 "$1")"
}

# traffic OPTION...: send, from A to B unless told otherwise, and receive
dst=$V4
traffic()
{
	# What is left of others may keep a first call from the device
	[ -n "$load_pid" ] || wait_for 10 no_keys_left
	before
	"$quic_dev" -S "$A" -R "$B" -d "$dst" -C "$B:" -w $patience "$@" \
		>"$tmp/out" 2>&1
	after
	parse "$tmp/out"
}

# load OPTION...: the same in the background, until load_end
load()
{
	local n

	before
	n=$(count_frames)
	"$quic_dev" -S "$A" -R "$B" -d "$dst" -C "$B:" -t 0 -i 500 \
		-w $patience "$@" >"$tmp/load" 2>&1 &
	load_pid=$!
	wait_for 20 frames_since "$n" 20 || fail "no load"
}

load_end()
{
	kill -TERM "$load_pid" 2>/dev/null
	wait "$load_pid"
	load_pid=
	after
	parse "$tmp/load"
}

# By sendmsg(), whatever becomes of them
count_frames()
{
	collect_kernel
	echo $((${S1[QuicTxSwPackets]:-0} + ${S1[QuicTxDevicePackets]:-0} +
		${S1[QuicTxSwError]:-0}))
}

frames_since() { [ "$(count_frames)" -ge $(($1 + $2)) ]; }

# Let a load go on for a while
proceed()
{
	wait_for 20 frames_since "$(count_frames)" "${1:-30}" ||
		fail "the load has stopped"
}

# Let it go on until the device seals, or until software does
device_seals() { [ "$(count QuicTxDevicePackets)" -gt "$1" ]; }
software_seals() { [ "$(count QuicTxSwPackets)" -gt "$1" ]; }

until_device()
{
	wait_for 10 device_seals "$(count QuicTxDevicePackets)" ||
		fail "the device does not seal${1:+ $1}"
}

until_software()
{
	wait_for 10 software_seals "$(count QuicTxSwPackets)" ||
		fail "software does not seal${1:+ $1}"
}

# wait_for SECONDS COMMAND...
wait_for()
{
	local end=$((SECONDS + $1 * slow))
	shift

	until "$@"; do
		[ "$SECONDS" -le "$end" ] || return 1
		sleep 0.05
	done
}

# Sockets and packets are gone: so are keys
no_keys_left()
{
	after
	[ "${S1[QuicCurrTxDevice]:-0}" = 0 ] &&
		[ "${S1[tx_quic_ctx]:-0}" = "${S1[tx_quic_del]:-0}" ]
}

check_keys_left()
{
	wait_for 10 no_keys_left ||
		fail "keys left: $(for k in QuicCurrTxDevice tx_quic_ctx \
			tx_quic_del; do echo "$k=${S1[$k]}"; done | xargs)"
}

offload_on()
{
	in_a ethtool -K "$1" sg on tx-checksum-ip-generic on \
		tx-udp-segmentation on >/dev/null 2>&1 ||
	in_a ethtool -K "$1" sg on tx on >/dev/null 2>&1
	in_a ethtool -K "$1" quic-hw-tx-offload on >/dev/null 2>&1 &&
		feature_is on "$1"
}

feature_is()
{
	in_a ethtool -k "$2" | grep -q "^quic-hw-tx-offload: $1"
}

nsim_netdev() { ls "/sys/bus/netdevsim/devices/netdevsim$1/net" 2>/dev/null; }
nsim_ready() { [ -n "$(nsim_netdev "$1")" ]; }

# nsim_new NS NAME [COMMAND]: sets $id, which is passed to the command
nsim_new()
{
	local cmd

	id=$((next_id++))
	echo "$id" >/sys/bus/netdevsim/new_device || return
	wait_for 5 nsim_ready "$id" || return
	if [ -n "$3" ]; then
		read -ra cmd <<<"$3"
		"${cmd[0]}" "$id" "${cmd[@]:1}" || return
		wait_for 5 nsim_ready "$id" || return
	fi
	wait_for 5 nsim_take "$@"
}

# It may be about to get another name, from udev.
nsim_take()
{
	ip link set dev "$(nsim_netdev "$id")" name "$2" netns "$1" 2>/dev/null
}

nsim_del() { echo "$1" >/sys/bus/netdevsim/del_device; }

ifindex() { ip netns exec "$1" cat "/sys/class/net/$2/ifindex"; }

# nsim_link DEVICE-IN-A DEVICE-IN-B
nsim_link()
{
	local a b ret=0

	exec {a}<"/var/run/netns/$A" {b}<"/var/run/netns/$B"
	if ! echo "$a:$(ifindex "$A" "$1") $b:$(ifindex "$B" "$2")" \
			>/sys/bus/netdevsim/link_device; then
		ret=1
	fi
	exec {a}<&- {b}<&-
	return $ret
}

# nsim_pair SUFFIX [COMMAND]: a$1 in A is linked to b$1 in B; sets $id_a, $id_b
nsim_pair()
{
	nsim_new "$A" "a$1" "$2" && id_a=$id &&
		nsim_new "$B" "b$1" && id_b=$id &&
		nsim_link "a$1" "b$1" &&
		ipb link set "b$1" up &&
		ipa link set "a$1" up
}

# A second path from A to B
veth_pair()
{
	ipa link add v1 type veth peer name v2 netns "$B" &&
		ipa addr add 198.51.100.1/24 dev v1 &&
		ipb addr add 198.51.100.2/24 dev v2 &&
		ipb link set v2 up && ipa link set v1 up
}

qdisc()	   { try tca qdisc replace dev "$DEV" root "$@"; }
qdisc_off() { tca qdisc del dev "$DEV" root 2>/dev/null; }

cleanup()
{
	local i

	[ -z "$load_pid" ] || kill "$load_pid" 2>/dev/null
	for i in $ids; do
		[ ! -e "/sys/bus/netdevsim/devices/netdevsim$i" ] ||
			nsim_del "$i"
	done
	cleanup_all_ns
	rm -rf "$tmp"
}

setup_hw()
{
	[ -n "$REMOTE_V4" ] && [ "$REMOTE_TYPE" = netns ] &&
		[ -n "$REMOTE_ARGS" ] || return
	# shellcheck disable=SC2153 # not our V6
	DEV=$NETIF B=$REMOTE_ARGS V4=$REMOTE_V4 V6=$REMOTE_V6 dst=$V4
	PEER=$(ipb -o route get "${LOCAL_V4:-$V4}" |
		sed -n 's/.* dev \([^ ]*\).*/\1/p')
}

setup_nsim()
{
	modprobe -q netdevsim
	[ -e /sys/bus/netdevsim/new_device ] || return
	mountpoint -q /sys/kernel/debug ||
		mount -t debugfs none /sys/kernel/debug
	setup_ns A B && setup_pair
}

setup_pair()
{
	nsim_pair 0 || return
	DEV=a0 PEER=b0 NSIM=$id_a
	ids="$id_a $id_b"
	in_b sysctl -qw net.ipv4.conf.all.rp_filter=0 \
		net.ipv4.conf.default.rp_filter=0
	ipa addr add 192.0.2.1/24 dev a0 &&
		ipb addr add 192.0.2.2/24 dev b0 &&
		ipa addr add 2001:db8:1::1/64 dev a0 nodad &&
		ipb addr add 2001:db8:1::2/64 dev b0 nodad
}

ciphers="aes-128-gcm aes-256-gcm aes-128-ccm chacha20-poly1305"
some_ciphers=$ciphers
[ $slow = 1 ] || some_ciphers="aes-256-gcm chacha20-poly1305"

# rounds NUMBER: to do something so often, or less on slow machines
rounds() { seq $((($1 + share - 1) / share)); }

each_cipher_and_size()
{
	local c g what

	for c in $some_ciphers; do
		for g in 1 40; do
			what="$c $g"
			traffic -c "$c" -g $g -n $((20 / g + 4)) "${args[@]}"
			expect_clean
			"$@"
		done
	done
}

### The device seals

expect_wire()
{
	expect_device
	expect captured -gt 20
	expect QuicTxDevice -eq 1
	expect tx_quic_ctx -eq 1
}

test_wire_v4()
{
	args=()
	each_cipher_and_size expect_wire
}

test_wire_v6()
{
	[ -n "$V6" ] || ! skip "no IPv6 address" || return
	local dst=$V6

	args=()
	each_cipher_and_size expect_wire
}

test_layouts()
{
	local what

	for what in "-r" "-r -g 2" "-l 0" "-l 4" "-l 20 -r -g 11" \
		    "-z 200 -g 100" "-z 217 -g 7" "-z 1400 -g 40"; do
		# shellcheck disable=SC2086 # a list
		traffic $what
		expect_clean
		expect_device
	done
}

test_packet_numbers()
{
	local what

	for what in "-N 1" "-N 1 -z 300 -g 120" "-N 2" "-N 2 -g 40" \
		    "-N 3 -g 40"; do
		# shellcheck disable=SC2086 # a list
		traffic $what
		expect_clean
		expect_device
	done
	# A device cannot be told of gaps: software
	what="-G"
	traffic -G -g 5
	expect_clean
	expect_software
}

test_connected()
{
	traffic -k
	expect_clean
	expect_device
	traffic -k -g 20
	expect_clean
	expect_device
}

# What is sealed before it is sent goes out as it is, and in order
test_user_space_packets()
{
	local g

	for g in 1 20; do
		traffic -b 3 -g $g -n 90
		expect_clean
		T[by_kernel]=$((T[sent] * 2 / 3))
		expect tx_quic_encrypted_packets -eq by_kernel
		expect tx_quic_encrypted_packets -gt 0
	done
}

# One device, several flows and sockets
test_two_users()
{
	traffic -f 5 -g 3
	expect_clean
	expect_device
	expect QuicTxDevice -eq 5
	traffic -j 2 -f 3 -i 1000
	expect_safe
	expect lost -eq 0
	expect QuicTxDevice -eq 6
}

# Packet sockets on the device see what it is given, and their copy of it must
# stay as it is: the driver must not write to data that is shared.
test_tap()
{
	local g

	for g in 1 20; do
		traffic -T "$A:$DEV" -g $g
		expect_clean
		expect_device
		expect tapped -gt 0
	done
}

test_segmentation_off()
{
	try in_a ethtool -K "$DEV" tx-udp-segmentation off || return
	args=()
	each_cipher_and_size expect_device
	in_a ethtool -K "$DEV" tx-udp-segmentation on >/dev/null
}

test_sg_off()
{
	try in_a ethtool -K "$DEV" sg off || return
	args=(-N 2)
	each_cipher_and_size expect_safe
	in_a ethtool -K "$DEV" sg on >/dev/null
	offload_on "$DEV"
}

# Sealed bytes: what is in the packets, or on the wire; not more, not less
test_stats()
{
	local bytes

	traffic -z 1000 -n 10
	expect_clean
	expect QuicTxDeviceBytes -eq 10000
	bytes=$(value tx_quic_encrypted_bytes)
	if [ "$bytes" -le 9000 ] || [ "$bytes" -gt 10000 ]; then
		fail "tx_quic_encrypted_bytes has grown by $bytes"
	fi
	wait_for 10 no_keys_left
	expect tx_quic_ctx -eq 1
	expect tx_quic_del -eq 1
	in_a cat /proc/net/quic_stat | grep -q '^QuicCurrTxDevice' ||
		fail "no QuicCurrTxDevice"
}

traced()
{
	grep -Eq "quic_device_$1" "$tracefs/trace" ||
		fail "no trace of $1: $(grep -c quic_device_ "$tracefs/trace")"
}

test_tracepoints()
{
	tracefs=$(findmnt -nt tracefs -o TARGET | head -n 1)
	if [ -z "$tracefs" ]; then
		tracefs=/sys/kernel/tracing
		try mount -t tracefs none $tracefs || return
	fi
	[ -e "$tracefs/events/quic" ] || ! skip "no quic events" || return
	: >"$tracefs/trace"
	echo 1 >"$tracefs/events/quic/enable"
	traffic -n 3
	wait_for 10 no_keys_left
	if [ -n "$NSIM" ]; then
		knob refuse_add 28	# ENOSPC
		traffic -n 1
		knob refuse_add 0
	fi
	echo 0 >"$tracefs/events/quic/enable"
	traced "add: netdev=$DEV cid=[0-9a-f]+ gen=0 pkt_num=1000 err=0"
	traced "del: netdev=$DEV cid=[0-9a-f]+ gen=0"
	[ -z "$NSIM" ] || traced "add: .* err=-28 .*refused"
}

# Users may ask for them, but devices need not know their way around them.
test_ip_options()
{
	traffic -o
	expect_clean
	expect_software
	traffic -o -g 20
	expect_clean
	expect_software
}

# Copies of packets in error queues do not keep keys in the device.
test_time_stamps()
{
	load -n 5 -t 1 -s -X -H
	wait_for 10 no_keys_left || fail "keys left"
	load_end
	expect_safe
	expect tx_quic_ctx -eq 1
}

unreachables()
{
	in_a cat /proc/net/snmp /proc/net/snmp6 |
		awk '/^Icmp: [^0-9]/ { for (i = 2; i <= NF; i++)
						if ($i == "OutDestUnreachs")
							col = i }
		     /^Icmp: [0-9]/ { n += $col }
		     /^Icmp6OutDestUnreachs/ { n += $2 }
		     END { print n }'
}

# What quotes a packet that has not got as far as the device shows nothing of
# it, be it to others or to packet sockets on the loopback device. The neighbour
# does not answer; the source may be anybody's by then.
unreachable_end()
{
	load_end
	expect QuicTxDevicePackets -ge 20
	expect received -eq 0
	expect plain -eq 0
	[ "$(unreachables)" -gt "$errors" ] || fail "no ICMP error"
	ipa neigh flush dev "$DEV"
}

unreachable()
{
	errors=$(unreachables)
	load -t 1 -i 200000 -g 10 -w 5000 -C "$A:lo" "$@"
}

test_icmp_v4()
{
	local dst=192.0.2.99 errors

	need_nsim || return
	unreachable
	unreachable_end
	# An address that fails over to another host
	ipa addr add 203.0.113.50/32 dev lo
	unreachable -a 203.0.113.50
	ipa addr del 203.0.113.50/32 dev lo
	ipa route add 203.0.113.50 via 192.0.2.2
	unreachable_end
	ipa route del 203.0.113.50
}

test_icmp_v6()
{
	local dst=2001:db8:1::99 errors

	need_nsim || return
	unreachable
	unreachable_end
	ipa -6 route add 2001:db8:2::50 via 2001:db8:1::2
	unreachable -a 2001:db8:2::50
	unreachable_end
	ipa -6 route del 2001:db8:2::50 via 2001:db8:1::2
}

### Other devices: software seals

software_only()
{
	args=(-C "$A:$DEV" "$@")
	each_cipher_and_size expect_software
}

test_vlan()
{
	local dst=203.0.113.2

	need_nsim || return
	if try ipa link add link "$DEV" name vl1 type vlan id 5 &&
	   try ipb link add link "$PEER" name vl2 type vlan id 5; then
		ipa addr add 203.0.113.1/24 dev vl1
		ipb addr add 203.0.113.2/24 dev vl2
		ipb link set vl2 up
		ipa link set vl1 up
		software_only
	fi
	ipa link del vl1 2>/dev/null
	ipb link del vl2 2>/dev/null
}

test_macvlan()
{
	local dst=203.0.113.2

	need_nsim || return
	if try ipa link add link "$DEV" name mv1 type macvlan; then
		ipa addr add 203.0.113.1/24 dev mv1
		ipb addr add 203.0.113.2/24 dev "$PEER"
		ipa link set mv1 up
		software_only
		ipb addr del 203.0.113.2/24 dev "$PEER"
		ipa link del mv1
	fi
}

test_bridge()
{
	local dst=203.0.113.2

	need_nsim || return
	try ipa link add br1 type bridge || return
	ipa link set "$DEV" master br1
	ipa addr add 203.0.113.1/24 dev br1
	ipb addr add 203.0.113.2/24 dev "$PEER"
	ipa link set br1 up
	software_only
	ipb addr del 203.0.113.2/24 dev "$PEER"
	ipa link del br1
}

test_veth()
{
	local dst=198.51.100.2

	need_nsim || return
	try veth_pair || return
	software_only -C "$A:v1"
	ipa link del v1
}

# Routes to a device that belongs to a VRF go by that first.
test_vrf()
{
	need_nsim || return
	try ipa link add vrf1 type vrf table 10 || return
	ipa link set vrf1 up
	ipa link set "$DEV" master vrf1
	ipa route add 192.0.2.2 dev "$DEV"
	software_only -C "$A:vrf1"
	ipa route del 192.0.2.2 dev "$DEV"
	ipa link del vrf1
	up
}

test_loopback()
{
	local B=$A dst=127.0.0.1

	software_only -C "$A:lo"
}

test_tunnel()
{
	local dst=203.0.113.2

	need_nsim || return
	if try ipa link add tu1 type ipip local 192.0.2.1 remote 192.0.2.2 &&
	   try ipb link add tu2 type ipip local 192.0.2.2 remote 192.0.2.1; then
		ipa addr add 203.0.113.1/24 dev tu1
		ipb addr add 203.0.113.2/24 dev tu2
		ipb link set tu2 up
		ipa link set tu1 up
		software_only
	fi
	ipa link del tu1 2>/dev/null
	ipb link del tu2 2>/dev/null
}

# The sender's own host may listen, too, and must not hear anything unsealed.
test_multicast()
{
	local B=$A dst=239.1.2.3

	need_nsim || return
	ipa route add 239.1.2.3 dev "$DEV"
	traffic -T "$A:$DEV"
	expect_clean
	expect_software
	expect tapped -eq 0
	ipa route del 239.1.2.3 dev "$DEV"
}

# Two devices that could seal, under a bond, which cannot
test_bond_failover()
{
	local dst=203.0.113.2 id_a id_b bond_ids i

	need_nsim || return
	try ipa link add bo1 type bond mode active-backup miimon 10 || return
	try ipb link add br2 type bridge || return
	for i in 1 2; do
		nsim_pair $i || fail "no device"
		bond_ids+="$id_a $id_b "
		ids+=" $id_a $id_b"
		offload_on a$i || fail "cannot turn it on"
		ipa link set a$i down
		ipa link set a$i master bo1
		ipb link set b$i master br2
	done
	ipa addr add 203.0.113.1/24 dev bo1
	ipb addr add 203.0.113.2/24 dev br2
	ipb link set br2 up
	ipa link set bo1 up
	args=(-C "$A:a1" -C "$A:a2")
	each_cipher_and_size expect_software
	load -C "$A:a1" -C "$A:a2" -g 5
	for i in 1 2 1 2; do
		ipa link set a$i down
		proceed
		ipa link set a$i up
		proceed
	done
	load_end
	expect_safe
	expect QuicTxDevicePackets -eq 0
	ipa link del bo1
	ipb link del br2
	for i in $bond_ids; do
		nsim_del "$i"
	done
}

# Packets that have got lost because their route went away while the call was
# under way, which happens to any UDP socket
discarded()
{
	in_a cat /proc/net/snmp |
		awk '/^Ip: [^0-9]/ { for (i = 2; i <= NF; i++) col[$i] = i }
		     /^Ip: [0-9]/ { n = $col["OutRequests"]
				    print n - $col["OutTransmits"] }'
}

# expect_lost_by_route PACKETS-PER-CALL DISCARDED-BEFORE
expect_lost_by_route()
{
	expect lost -eq $((($(discarded) - $2) * $1))
}

# The destination is behind both ways.
two_ways()
{
	veth_pair && ipb addr add 203.0.113.9/32 dev lo &&
		ipa route add 203.0.113.9 via 192.0.2.2
}

one_way()
{
	ipa route del 203.0.113.9
	ipb addr del 203.0.113.9/32 dev lo
	ipa link del v1
}

test_route_change()
{
	local dst=203.0.113.9 c g what

	need_nsim || return
	try two_ways || return
	for c in $some_ciphers; do
		for g in 1 20; do
			what="$c $g"
			change_route "$c" "$g"
		done
	done
	one_way
}

change_route()
{
	local i gone

	gone=$(discarded)
	load -c "$1" -g "$2" -C "$A:v1"
	for i in 1 2; do
		ipa route replace 203.0.113.9 via 198.51.100.2
		until_software "after the route has changed"
		ipa route replace 203.0.113.9 via 192.0.2.2
		until_device "after the route has changed back"
	done
	load_end
	expect_safe
	expect_lost_by_route "$2" "$gone"
	expect errors -eq 0
	expect_no_drops
	# It has stayed in the device.
	expect QuicTxDevice -eq 1
}

# Packets that wait for their device when the route changes stay with it.
test_route_change_back()
{
	local dst=203.0.113.9 gone

	need_nsim || return
	try two_ways || return
	gone=$(discarded)
	if qdisc tbf rate 2mbit burst 5k limit 1m; then
		load -g 4 -C "$A:v1" -i 10000
		ipa route replace 203.0.113.9 via 198.51.100.2
		until_software
		ipa route replace 203.0.113.9 via 192.0.2.2
		until_device
		load_end
		expect_safe
		expect_lost_by_route 4 "$gone"
		qdisc_off
	fi
	one_way
}

clsact()
{
	try tca qdisc add dev "$DEV" clsact
}

filter()
{
	try tca filter add dev "$DEV" egress protocol ip matchall action "$@"
}

on_egress() { clsact && filter "$@"; }

# Filters come and go under load. Any qdisc takes the queues out of service for
# a moment, be it clsact, and what is sent to them by then gets lost.
filter_off() { tca filter del dev "$DEV" egress; }

clsact_off() { tca qdisc del dev "$DEV" clsact 2>/dev/null; }

# Packets for the device end up on one that cannot seal.
redirected()
{
	need_nsim || return
	try veth_pair || return
	# Who receives it there must think it is meant
	ipb link set v2 address "$(in_b cat "/sys/class/net/$PEER/address")"
	if on_egress mirred egress redirect dev v1; then
		traffic -C "$A:v1" "$@"
		expect_clean
		expect QuicTxDevicePackets -eq sent
		expect QuicTxDeviceFallback -eq sent
		expect tx_quic_encrypted_packets -eq 0
		expect_no_drops
		expect captured -gt 0
		# Both ways at once
		filter_off
		load -C "$A:v1" "$@"
		for _ in $(rounds 3); do
			filter mirred egress redirect dev v1
			proceed 20
			filter_off
			proceed 20
		done
		load_end
		expect_safe
		expect lost -eq 0
		expect_no_drops
		expect QuicTxDeviceFallback -gt 0
		expect tx_quic_encrypted_packets -gt 0
	fi
	clsact_off
	ipa link del v1
}

test_redirect()
{
	local what

	for what in $some_ciphers; do
		redirected -n 20 -c "$what"
	done
}

test_redirect_gso()
{
	local what

	for what in $some_ciphers; do
		redirected -n 4 -c "$what" -g 40
	done
}

# bpf_way: a second device, and no need to ask for addresses, as the answers
# would come by that
bpf_way()
{
	local mac

	try veth_pair || return
	mac=$(in_b cat "/sys/class/net/$PEER/address")
	ipb link set v2 address "$mac"
	ipa neigh replace "$V4" dev "$DEV" lladdr "$mac" nud permanent
}

bpf_way_del()
{
	ipa neigh del "$V4" dev "$DEV"
	ipa link del v1
}

# bpf_redirected OPTION: by one of the ways that BPF has
bpf_redirected()
{
	local g

	need_nsim || return
	bpf_way || return
	for g in 1 20; do
		traffic_bpf "$1" "$A:$DEV:v1" -C "$A:v1" -g $g || break
		expect_clean
		expect QuicTxDevicePackets -eq sent
		expect QuicTxDeviceFallback -eq sent
		expect tx_quic_encrypted_packets -eq 0
		expect_no_drops
		expect captured -gt 0
	done
	bpf_way_del
}

test_bpf_redirect()	  { bpf_redirected -B; }
test_bpf_redirect_neigh() { bpf_redirected -E; }

# bpf_bounced OPTION...: into the host as they are, and out again
bpf_bounced()
{
	traffic_bpf "$1" "$A:$DEV:v1" -w 200 "${@:2}" || return
	expect plain -eq 0
	expect bad -eq 0
	expect received -eq 0
	expect QuicTxDevicePackets -eq sent
}

# Generic XDP transmits without asking anybody.
test_bpf_xdp()
{
	local g drops

	need_nsim || return
	bpf_way || return
	for g in 1 20; do
		bpf_bounced -I -g $g || break
		drops=$(in_a cat /sys/class/net/v1/statistics/tx_dropped)
		[ "$drops" -ge "$(value calls)" ] || fail "$drops dropped"
	done
	bpf_way_del
}

# A peer in another network namespace gets what arrives at this end.
test_bpf_redirect_peer()
{
	local g

	need_nsim || return
	bpf_way || return
	for g in 1 20; do
		bpf_bounced -P -g $g -T "$A:v1" || break
		expect tapped -eq calls
	done
	bpf_way_del
}

# Addresses and ports may be changed on the way to the device: they do not say
# which key it is. The source port is at 34, after Ethernet and IPv4.
test_bpf_port()
{
	local g

	need_nsim || return
	for g in 1 20; do
		traffic_bpf -M "$A:$DEV:34:200" -g $g || break
		expect_clean
		expect_device
	done
}

# What is no packet of the flow any more cannot be sealed, and is dropped: by
# the device, or by who stands in for it. Byte 42 is the first of the packet,
# that of a long header.
test_bpf_damage()
{
	local g

	need_nsim || return
	for g in 1 20; do
		traffic_bpf -M "$A:$DEV:42:192" -g $g -w 200 || return
		expect_damaged calls
		expect tx_quic_drop_bad -eq calls
	done
	bpf_way || return
	if on_egress mirred egress redirect dev v1; then
		for g in 1 20; do
			traffic_bpf -M "$A:$DEV:42:192" -C "$A:v1" -g $g -w 200
			expect_damaged sent
			expect QuicTxDeviceDrop -eq sent
		done
	fi
	clsact_off
	bpf_way_del
}

# Which of all that were left to the device
expect_damaged()
{
	expect plain -eq 0
	expect bad -eq 0
	expect lost -eq "$1"
	expect QuicTxDevicePackets -eq sent
}

# or skip the test: not every kernel has BPF
traffic_bpf()
{
	traffic "$@"
	! grep -q '^cannot attach' "$tmp/out" || ! skip "$(cat "$tmp/out")"
}

# A copy has no socket, but a key
test_mirror()
{
	local g

	need_nsim || return
	try veth_pair || return
	if on_egress mirred egress mirror dev v1; then
		for g in 1 20; do
			traffic -C "$A:v1" -g $g
			expect_clean
			expect QuicTxDevicePackets -eq sent
			expect tx_quic_encrypted_packets -eq sent
			expect QuicTxDeviceFallback -eq sent
			expect_no_drops
			expect captured -gt calls
		done
	fi
	clsact_off
	ipa link del v1
}

# Back into the host, that forwards it by another device
test_ingress_redirect()
{
	local dst=203.0.113.9

	need_nsim || return
	try two_ways || return
	in_a sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0 \
		net.ipv4.conf.v1.rp_filter=0 net.ipv4.conf.all.accept_local=1
	ipb link set v2 address "$(in_b cat "/sys/class/net/$PEER/address")"
	load -i 2000
	if on_egress mirred ingress redirect dev v1; then
		proceed
		ipa route replace 203.0.113.9 via 198.51.100.2
		proceed
	fi
	clsact_off
	load_end
	expect plain -eq 0
	in_a sysctl -qw net.ipv4.ip_forward=0 net.ipv4.conf.all.accept_local=0
	one_way
}

test_vlan_push()
{
	local dst=203.0.113.2 g

	need_nsim || return
	if try ipb link add link "$PEER" name vl2 type vlan id 5; then
		ipa addr add 203.0.113.1/24 dev "$DEV"
		ipb addr add 203.0.113.2/24 dev vl2
		ipb link set vl2 up
		ipa neigh replace 203.0.113.2 dev "$DEV" lladdr \
			"$(in_b cat "/sys/class/net/$PEER/address")"
		if on_egress vlan push id 5; then
			for g in 1 20; do
				traffic -g $g
				expect_clean
				expect_device
			done
		fi
		clsact_off
		ipa addr del 203.0.113.1/24 dev "$DEV"
		ipb link del vl2
	fi
}

# The same, to another device
test_vlan_push_redirect()
{
	local g

	need_nsim || return
	try veth_pair || return
	if try ipb link add link v2 name vl2 type vlan id 5; then
		ipb link set vl2 up
		ipb link set v2 promisc on
		if on_egress vlan push id 5 pipe action mirred egress redirect \
				dev v1; then
			for g in 1 20; do
				traffic -g $g -C "$A:v1" -w 500
				expect plain -eq 0
				expect bad -eq 0
				expect QuicTxDeviceFallback -eq sent
				expect captured -gt 0
			done
		fi
		clsact_off
	fi
	ipa link del v1
}

# Somebody has calculated it before they are sealed.
test_checksum()
{
	local g

	need_nsim || return
	try veth_pair || return
	ipb link set v2 address "$(in_b cat "/sys/class/net/$PEER/address")"
	if try in_a ethtool -K v1 tx off &&
	   try tca qdisc replace dev v1 root tbf rate 100mbit burst 5k \
			limit 1m &&
	   on_egress mirred egress redirect dev v1; then
		for g in 1 20; do
			traffic -g $g -C "$A:v1"
			expect_clean
			expect QuicTxDeviceFallback -eq sent
		done
	fi
	clsact_off
	ipa link del v1
}

# They may wait for an address to be resolved, too.
test_neighbour()
{
	local i

	for i in 1 2 3; do
		ipa neigh flush dev "$DEV"
		traffic -n 10
		expect_clean
		expect_device
	done
}

# netem takes packets from their sockets
test_netem()
{
	local g

	if qdisc netem delay 1ms; then
		for g in 1 20; do
			traffic -g $g
			expect_clean
			expect_device
		done
		qdisc_off
	fi
}

### Things happen to the device

# The flag governs new flows.
test_toggle()
{
	local i

	need_nsim || return
	load -g 3
	until_device
	try in_a ethtool -K "$DEV" quic-hw-tx-offload off || return
	until_device "once the flag is off"
	traffic -p 4434 -u 10
	expect_clean
	expect QuicTxDevice -eq 0
	expect QuicTxSwPackets -eq sent
	in_a ethtool -K "$DEV" quic-hw-tx-offload on
	load_end
	expect_clean
	expect_no_drops

	load -g 3 -u 7
	for i in $(rounds 8); do
		in_a ethtool -K "$DEV" quic-hw-tx-offload off
		proceed 20
		in_a ethtool -K "$DEV" quic-hw-tx-offload on
		proceed 20
	done
	load_end
	expect_clean
	expect_no_drops
}

# Without checksums in the device no sealing in it, but what it has stays.
test_toggle_checksum()
{
	need_nsim || return
	load -g 3
	until_device
	try in_a ethtool -K "$DEV" tx-checksum-ip-generic off || return
	feature_is off "$DEV" || fail "the feature is on without checksums"
	until_device "old flows without checksums"
	in_a ethtool -K "$DEV" tx-checksum-ip-generic on
	feature_is on "$DEV" || fail "the feature has not come back"
	until_device
	load_end
	expect_clean
	expect_no_drops
}

test_toggle_gso()
{
	local i f

	load -g 20
	for i in $(rounds 5); do
		for f in tx-udp-segmentation sg gso; do
			in_a ethtool -K "$DEV" $f off >/dev/null 2>&1
			proceed 20
			in_a ethtool -K "$DEV" $f on >/dev/null 2>&1
			proceed 20
		done
	done
	offload_on "$DEV"
	load_end
	expect_clean
	expect_no_drops
}

down()	{ ipa link set "$DEV" down; }
up()	{ ipa link set "$DEV" up && ipa addr replace 2001:db8:1::1/64 \
		dev "$DEV" nodad; }

# The flow moves out, and in again.
test_down_up()
{
	local i

	need_nsim || return
	load -g 3
	until_device
	for i in $(rounds 5); do
		down
		[ "$(count QuicCurrTxDevice)" = 0 ] ||
			fail "the device is down and has keys"
		sleep 0.1
		up
		until_device "after it was down"
	done
	load_end
	expect_safe
	expect QuicTxDevice -gt "$i"
	expect_no_drops
}

# With packets queued
test_down_in_flight()
{
	local i

	need_nsim || return
	qdisc tbf rate 2mbit burst 5k limit 1m || return
	load -g 4 -i 3000
	for i in 1 2 3; do
		proceed
		down
		up
	done
	load_end
	expect_safe
	qdisc_off
}

test_mtu()
{
	local i

	need_nsim || return
	load -z 1200 -g 20
	for i in 1300 1500 1280 1500; do
		ipa link set "$DEV" mtu $i
		proceed
	done
	load_end
	expect_clean
	expect_no_drops
	# Too small for some: refused, or sent, or lost, not sent otherwise
	load -z 1400 -g 20
	for i in 1280 1500 1280 1500; do
		ipa link set "$DEV" mtu $i
		proceed
	done
	load_end
	expect_safe
	ipa addr replace 2001:db8:1::1/64 dev "$DEV" nodad
}

test_key_update()
{
	traffic -u 5 -n 100 -g 4
	expect_clean
	expect_mostly_device
	expect QuicTxDevice -eq 20
	traffic -u 1 -n 50
	expect_clean
	expect_mostly_device
	traffic -u 3 -n 100 -f 4
	expect_clean
	expect_mostly_device
}

test_delete_load()
{
	traffic -D 1 -n 100
	expect_clean
	expect_mostly_device
	expect QuicTxDevice -eq QuicTxDevicePackets
	traffic -D 5 -n 200 -f 3 -g 4 -u 2
	expect_clean
	expect_mostly_device
}

in_flight()
{
	qdisc tbf rate 4mbit burst 5k limit 1m || return
	traffic -w 3000 "$@"
	expect_clean
	expect_mostly_device
	qdisc_off
}

# The key goes when its last packet has.
test_delete_in_flight()
{
	in_flight -n 40 -g 2 -X
	in_flight -n 100 -D 10
}

test_close_in_flight()
{
	local n

	in_flight -n 100 -x
	in_flight -n 20 -g 8 -x
	if need_nsim && qdisc tbf rate 2mbit burst 5k limit 1m; then
		# And down on top of it
		n=$(count_frames)
		traffic -n 200 -x -w 1 &
		wait_for 10 frames_since "$n" 200
		down
		up
		wait $!
		qdisc_off
	fi
}

test_update_in_flight()
{
	in_flight -n 60 -u 20
}

# Nobody waits for anybody. Packets may be lost where queues are short.
test_threads()
{
	local i

	need_nsim || return
	load -j 4 -f 3 -u 50 -D 120 -g 4 -i 2000 -C "$A:lo"
	for i in $(rounds 4); do
		proceed
		in_a ethtool -K "$DEV" quic-hw-tx-offload off
		proceed
		in_a ethtool -K "$DEV" quic-hw-tx-offload on
		proceed
		down
		up
		proceed
		knob lose_keys 1
		proceed
		knob reset 1
	done
	load_end
	expect_safe
}

# Ten thousand keys go with the device, and by one grace period for all.
test_many_flows()
{
	local DEV=a9 dst=203.0.113.2 id_a id_b prepare="table_size 10000" start

	need_nsim || return
	try spare || return
	before
	"$quic_dev" -S "$A" -R "$B" -d "$dst" -f 10000 -n 10000 -H \
		>"$tmp/load" 2>&1 &
	load_pid=$!
	wait_for 300 has_keys 10000 || fail "$(count QuicCurrTxDevice) keys"
	start=$(timestamp_ms)
	ipa link set a9 down
	start=$(($(timestamp_ms) - start))
	[ "$(count QuicCurrTxDevice)" = 0 ] || fail "keys left"
	[ $start -lt 10000 ] || fail "it took $start ms"
	load_end
	expect_safe
	spare_del
}

has_keys() { [ "$(count QuicCurrTxDevice)" -ge "$1" ]; }

### netdevsim: what devices may do

test_add_refused()
{
	need_nsim || return
	knob refuse_add 28	# ENOSPC
	load -g 3
	until_software
	expect_refused
	proceed
	knob refuse_add 0
	# Nobody asks the device again until something has changed
	in_a ethtool -K "$DEV" quic-hw-tx-offload off
	in_a ethtool -K "$DEV" quic-hw-tx-offload on
	until_device
	load_end
	expect_clean
	expect QuicTxDeviceError -eq 1
	expect tx_quic_ctx -eq 1
}

expect_refused()
{
	after
	expect QuicTxDevicePackets -eq 0
	expect QuicTxDeviceError -eq 1
	expect tx_quic_ctx -eq 0
}

test_add_delayed()
{
	need_nsim || return
	knob delay_ack 300
	load -g 3
	until_device
	load_end
	expect_clean
	expect QuicTxSwPackets -gt 0
	expect_no_drops
	# It goes before the device has answered
	traffic -n 1
	expect_clean
	traffic -n 3 -D 1
	expect_clean
	load -u 10
	for _ in 1 2 3; do
		proceed
		down
		up
	done
	load_end
	expect_safe
	# Behind those in the queue that software has sealed
	if qdisc tbf rate 4mbit burst 5k limit 1m; then
		traffic -n 100 -g 2 -i 10000
		expect_clean
		expect QuicTxSwPackets -gt 0
		expect QuicTxDevicePackets -gt 0
		qdisc_off
	fi
	knob delay_ack 0
	check_keys_left
}

# Its size counts from the next reload on.
table_size()
{
	devlink resource set "netdevsim/netdevsim$1" path /quic size "$2" &&
		devlink dev reload "netdevsim/netdevsim$1"
}

occupied()
{
	devlink resource show "netdevsim/netdevsim$id_a" |
		grep -q "name quic size 3 occ $1 "
}

# What does not fit is sealed in software, until there is room.
test_table_limit()
{
	local DEV=a9 dst=203.0.113.2 id_a id_b holder prepare="table_size 3"

	need_nsim || return
	try spare || return
	traffic -f 8 -n 80
	expect_clean
	expect QuicTxDevice -eq 3
	expect QuicTxDeviceError -ge 1
	expect QuicTxDevicePackets -eq 30
	expect QuicTxSwPackets -eq 50
	expect tx_quic_ctx -eq 3
	check_keys_left
	load -f 8
	occupied 3 || fail "devlink: $(devlink resource show \
		"netdevsim/netdevsim$id_a" | grep quic)"
	load_end
	expect_clean
	check_keys_left
	occupied 0 || fail "devlink: $(devlink resource show \
		"netdevsim/netdevsim$id_a" | grep quic)"
	traffic -f 3 -u 2 -n 60
	expect_clean
	check_keys_left

	"$quic_dev" -S "$A" -R "$B" -d "$dst" -p 4434 -f 3 -n 3 -H \
		>"$tmp/out" 2>&1 &
	holder=$!
	wait_for 10 has_keys 3 || fail "not full"
	load -g 3
	until_software
	kill -TERM "$holder"
	wait "$holder"
	until_device "when there is room"
	load_end
	expect_clean
	spare_del
}

# Keys are gone, the kernel does not know: drop
test_keys_lost()
{
	need_nsim || return
	load
	until_device
	knob lose_keys 1
	proceed
	load_end
	expect_safe
	expect lost -gt 0
	expect tx_quic_drop_no_key -eq lost
}

test_keys_lost_load()
{
	local i

	need_nsim || return
	load -g 10 -u 10
	for i in $(rounds 6); do
		knob lose_keys 1
		proceed
	done
	load_end
	expect_safe
	expect tx_quic_drop_no_key -gt 0
	expect tx_quic_drop_no_key -eq lost
}

# The test is able to fail.
test_corrupt()
{
	need_nsim || return
	knob corrupt 3
	traffic -n 10 -w 200
	expect received -eq 7
	expect bad -eq 3
	expect plain -eq 0
}

test_reset()
{
	local i

	need_nsim || return
	load -g 3
	until_device
	for i in 1 2 3; do
		knob reset 1
		proceed
	done
	until_device "after a reset"
	load_end
	expect_safe
	expect errors -eq 0
	expect QuicTxDevice -ge 4
	traffic
	expect_clean
	expect_device
}

requeues()
{
	tca -s qdisc show dev "$DEV" |
		sed -n '/requeues/{s/.*requeues \([0-9]*\).*/\1/p;q}'
}

requeued() { [ "$(requeues)" -gt "$1" ]; }

# What the driver has left to its qdisc is validated again: it meets a device
# without its key.
test_reset_requeued()
{
	local n

	need_nsim || return
	try in_a ethtool -K "$DEV" tx-udp-segmentation off || return
	if qdisc pfifo limit 10000; then
		# The other end does not have much room
		load -g 5 -i 100000
		for _ in $(rounds 3); do
			until_device
			n=$(requeues)
			knob stop 1
			wait_for 10 requeued "$n" || fail "the queue goes on"
			knob reset 1
			knob stop 0
		done
		load_end
		expect_clean
		expect_no_drops
		expect QuicTxDeviceFallback -gt 0
		qdisc_off
	fi
	in_a ethtool -K "$DEV" tx-udp-segmentation on >/dev/null
}

test_free_crypto()
{
	need_nsim || return
	knob free_crypto 1
	traffic -n 10 -g 3 -w 200
	knob free_crypto 0
	expect received -eq 0
	expect plain -eq 0
	expect tx_quic_free_packets -eq sent
	traffic
	expect_clean
	expect_device
	expect tx_quic_free_packets -eq 0
}

### The device goes

# A second pair, to be taken away; $prepare is for the first of it
spare()
{
	nsim_pair 9 "$prepare" && ids+=" $id_a $id_b" &&
		ipa addr add 203.0.113.1/24 dev a9 &&
		ipb addr add 203.0.113.2/24 dev b9 && offload_on a9
}

spare_del()
{
	local i

	for i in "$id_a" "$id_b"; do
		[ ! -e "/sys/bus/netdevsim/devices/netdevsim$i" ] ||
			nsim_del "$i"
	done
}

test_netns_move()
{
	local DEV=a9 dst=203.0.113.2 C='' id_a id_b

	need_nsim || return
	setup_ns C
	try spare || return
	load -g 3 -f 3
	until_device
	ipa link set a9 netns "$C"
	wait_for 5 no_keys_in_devices || fail "keys left"
	sleep 0.3
	load_end
	expect_safe
	spare_del
	cleanup_ns "$C"
}

no_keys_in_devices() { [ "$(count QuicCurrTxDevice)" = 0 ]; }

# Sockets in use keep the namespace until they are closed: then it goes, with
# packets in flight.
test_netns_exit()
{
	local DEV=a9 dst=203.0.113.2 A='' id_a id_b

	need_nsim || return
	setup_ns A
	try spare || return
	qdisc tbf rate 1mbit burst 5k limit 1m
	traffic -n 200 -x -w 1
	expect plain -eq 0
	"$quic_dev" -S "$A" -R "$B" -d "$dst" -n 200 -H >"$tmp/out" 2>&1 &
	load_pid=$!
	wait_for 10 frames_since "$(count_frames)" 20
	cleanup_ns "$A"
	kill -TERM $load_pid
	wait $load_pid
	load_pid=
	wait_for 10 nsim_ready "$id_a" || fail "the device is gone"
	spare_del
}

test_unregister()
{
	local DEV=a9 dst=203.0.113.2 id_a id_b

	need_nsim || return
	try spare || return
	traffic -n 200 -f 5
	expect_clean
	nsim_del "$id_a"
	[ ! -e "/sys/bus/netdevsim/devices/netdevsim$id_a" ] ||
		fail "the device is still there"
	spare_del
}

test_unregister_load()
{
	local DEV=a9 dst=203.0.113.2 id_a id_b i

	need_nsim || return
	for i in 1 2; do
		try spare || return
		[ "$i" = 1 ] || qdisc tbf rate 4mbit burst 5k limit 1m
		load -g 3 -f 3 -u 20
		until_device
		nsim_del "$id_a"
		wait_for 5 no_keys_in_devices || fail "keys left"
		sleep 0.3
		load_end
		expect_safe
		spare_del
	done
}

# memory_cgroup PATH: in which everything is over memory.high
memory_cgroup()
{
	local root=/sys/fs/cgroup

	mountpoint -q $root || mount -t cgroup2 none $root || return
	echo +memory >$root/cgroup.subtree_control &&
		mkdir "$1" && echo 0 >"$1/memory.high"
}

# fallen_asleep PID SECONDS: wait until a task sleeps in the kernel and only
# SIGKILL can wake it up. Another process for each look would take too long.
fallen_asleep()
{
	local end=$((SECONDS + $2 * slow)) seen=0 state nap

	exec {nap}<> <(:)
	while [ $seen -lt 5 ] && [ $SECONDS -le $end ] && [ -d "/proc/$1" ]; do
		read -r _ _ state _ <"/proc/$1/stat"
		seen=$((seen + 1))
		[ "$state" = D ] || seen=0
		read -rt 0.01 -u "$nap"
	done 2>/dev/null
	exec {nap}>&-
	[ $seen = 5 ]
}

ended()	{ ! kill -0 "$1" 2>/dev/null; }

log_mark()
{
	mark="quic.sh $$: $test $RANDOM"
	echo "$mark" >/dev/kmsg
}

# The kernel has not complained since log_mark
expect_quiet_log()
{
	dmesg | sed -n "/$mark/,\$p" >"$tmp/log"
	[ -s "$tmp/log" ] || fail "cannot read the kernel log"
	! grep -E "BUG: |WARNING: |waiting for .* to become free" "$tmp/log" ||
		fail "the kernel complains"
}

# The kernel makes a task that is over memory.high sleep for up to two seconds
# once more than 64 pages are charged in one system call. Here the pages are
# for keys that are offered to the device. It is deleted during that sleep.
test_unregister_throttled()
{
	local DEV=a9 dst=203.0.113.2 cgroup=/sys/fs/cgroup/quic-$$
	local id_a id_b go mark

	need_nsim || return
	try spare || return
	try memory_cgroup "$cgroup" || ! spare_del || return
	ipa neigh replace "$dst" dev a9 nud permanent \
		lladdr "$(in_b cat /sys/class/net/b9/address)"
	log_mark
	before
	mkfifo "$tmp/go"
	exec {go}<>"$tmp/go"
	"$quic_dev" -S "$A" -R "$B" -d "$dst" -C "$B:" -f 512 -m -w 500 \
		<"$tmp/go" >"$tmp/load" 2>&1 &
	load_pid=$!
	wait_for 60 grep -q ready "$tmp/load" ||
		fail "no sender: $(tail -n 1 "$tmp/load")"
	echo "$load_pid" >"$cgroup/cgroup.procs"
	echo >&"$go"
	fallen_asleep "$load_pid" 10 || fail "the sender is not throttled"
	nsim_del "$id_a"
	wait_for 20 ended "$load_pid" || fail "the sender does not return"
	load_end
	exec {go}>&-
	expect_safe
	expect QuicTxDevice -gt 0
	expect_quiet_log
	spare_del
	rm "$tmp/go"
	rmdir "$cgroup"
}

test_devlink_reload()
{
	local DEV=a9 dst=203.0.113.2 id_a id_b

	need_nsim || return
	try spare || return
	load -g 3
	until_device
	try devlink dev reload "netdevsim/netdevsim$id_a"
	wait_for 5 no_keys_in_devices || fail "keys left"
	load_end
	expect_safe
	spare_del
}

# The driver goes, with all of its devices, under load: from a device without a
# queue, from one with, while keys wait to be acknowledged, or both.
test_module_unload()
{
	local how hows="plain queue ack"

	need_nsim || return
	[ $slow = 1 ] || hows=both
	grep -q '^netdevsim ' /proc/modules ||
		! skip "netdevsim is no module" || return
	only_ours || ! skip "others have netdevsim devices" || return
	for how in $hows; do
		[[ $how != queue && $how != both ]] ||
			qdisc tbf rate 4mbit burst 5k limit 1m
		load -j 2 -f 3 -g 3 -u 20 -i 2000
		until_device "($how)"
		if [[ $how = ack || $how = both ]]; then
			knob delay_ack 100
			proceed
		fi
		rmmod netdevsim || fail "cannot unload it ($how)"
		! grep '^netdevsim ' /proc/modules || fail "it is loaded ($how)"
		no_keys_in_devices || fail "keys left ($how)"
		sleep 0.3
		load_end
		expect_safe
		expect QuicTxDeviceDrop -eq 0
		if ! modprobe netdevsim || ! setup_pair || ! offload_on "$DEV"
		then
			fail "cannot load it again ($how)"
		fi
	done
}

only_ours()
{
	local i

	for i in /sys/bus/netdevsim/devices/*; do
		[[ " $ids " = *" ${i##*netdevsim} "* ]] || return
	done
}

### Main

quic_dev=$net/quic_dev
[ -x "$quic_dev" ] || quic_dev=$(command -v quic_dev) ||
	{ ktap_print_header; ktap_skip_all "no quic_dev"; exit "$KSFT_SKIP"; }
trap cleanup EXIT
if [ -n "$NETIF" ]; then
	setup_hw
else
	setup_nsim
fi || { ktap_print_header; ktap_skip_all "no devices"; exit "$KSFT_SKIP"; }
if ! "$quic_dev" -S "$A" -R "$B" -d "$V4" -n 0 >"$tmp/out" 2>&1; then
	ktap_print_header
	ktap_skip_all "$(tail -n 1 "$tmp/out")"
	exit "$KSFT_SKIP"
fi
if ! offload_on "$DEV"; then
	ktap_print_header
	ktap_skip_all "$DEV has no quic-hw-tx-offload"
	exit "$KSFT_SKIP"
fi

ktap_print_header
# shellcheck disable=SC2086 # a list
[ $# -gt 0 ] || set -- $tests
ktap_set_plan $#
for test; do
	RET=0 what='' dst=$V4
	declare -F "test_$test" >/dev/null || fail "there is no such test"
	"test_$test"
	check_keys_left
	case $RET in
	0)	ktap_test_pass "$test" ;;
	"$KSFT_SKIP") ktap_test_skip "$test" ;;
	*)	ktap_test_fail "$test" ;;
	esac
done
ktap_finished
