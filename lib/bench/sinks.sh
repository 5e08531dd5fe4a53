#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# usage: sinks.sh         as root, in a network namespace of its own
#        sinks.sh check
#
# Where quic_bench can send to, so that no receiver is in its figures, and where
# it can receive from:
#   192.0.2.2     a dummy device discards it
#   198.51.100.2  a netdevsim device without a peer does, which seals QUIC
#                 packets at no cost (CONFIG_NETDEVSIM, debugfs)
#   203.0.113.1   is the own address on a netdevsim device that opens QUIC
#                 packets; its peer is in the network namespace /run/netns/peer
# With `check`: whether the second has got all packets that were left to it.

set -e
nsim=netdevsim99 ports=/sys/kernel/debug/netdevsim/netdevsim99/ports/0
dev=$(ls /sys/bus/netdevsim/devices/$nsim/net 2>/dev/null) || true

if [ "$1" = check ]; then
	[ -n "$dev" ] && [ -e /proc/net/quic_stat ] || exit 0
	left=$(sed -n 's/^QuicTxDevicePackets[[:space:]]*//p' \
		/proc/net/quic_stat)
	got=$(ethtool -S "$dev" | sed -n 's/.*tx_quic_free_packets: //p')
	echo "# $left packets were left to $dev, it has got $got"
	[ "$left" = "$got" ]
	exit
fi

ip link set lo up
ip link add sink mtu 9000 type dummy
ip addr add 192.0.2.1/24 dev sink
ip link set sink up
ip neigh replace 192.0.2.2 lladdr 02:00:00:00:00:02 dev sink nud permanent

[ -w /sys/bus/netdevsim/new_device ] || exit 0
echo "99 1" >/sys/bus/netdevsim/new_device
# udev may be there and rename it
udevadm settle 2>/dev/null || true
dev=$(ls /sys/bus/netdevsim/devices/$nsim/net)
[ -w "$ports/quic/free_crypto" ] || exit 0
echo Y >"$ports/quic/free_crypto"
ip link set "$dev" mtu 9000 up
ip addr add 198.51.100.1/24 dev "$dev"
ip neigh replace 198.51.100.2 lladdr 02:00:00:00:00:02 dev "$dev" \
	nud permanent
# NICs that seal segment, and so does the dummy device
ethtool -K "$dev" tx-udp-segmentation on quic-hw-tx-offload on
ethtool -k "$dev" | grep -q '^quic-hw-tx-offload: on'

ethtool -k "$dev" | grep -q '^quic-hw-rx-offload' || exit 0
echo "97 1" >/sys/bus/netdevsim/new_device
echo "98 1" >/sys/bus/netdevsim/new_device
udevadm settle 2>/dev/null || true
own=$(ls /sys/bus/netdevsim/devices/netdevsim97/net)
peer=$(ls /sys/bus/netdevsim/devices/netdevsim98/net)
of_own=/sys/class/net/$own of_peer=/sys/class/net/$peer
ends="3:$(cat "$of_own/ifindex") 4:$(cat "$of_peer/ifindex")"
own_mac=$(cat "$of_own/address") peer_mac=$(cat "$of_peer/address")
ip netns add peer
ip link set "$peer" netns peer
echo "$ends" 3</proc/self/ns/net 4</run/netns/peer \
	>/sys/bus/netdevsim/link_device
ip link set "$own" mtu 9000 up
ip addr add 203.0.113.1/24 dev "$own"
ip neigh replace 203.0.113.2 lladdr "$peer_mac" dev "$own" nud permanent
ip -n peer link set "$peer" mtu 9000 up
ip -n peer addr add 203.0.113.2/24 dev "$peer"
ip -n peer neigh replace 203.0.113.1 lladdr "$own_mac" dev "$peer" nud permanent
ethtool -K "$own" rx on quic-hw-rx-offload on
ethtool -k "$own" | grep -q '^quic-hw-rx-offload: on'
