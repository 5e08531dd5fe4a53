#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

"""
Packets that are meant for a device that seals QUIC, and take other ways.

Routes lead to virtual devices, or change; filters and BPF programs redirect.
Nothing may leave unsealed, and nothing may get lost without need.
"""

from lib.py import ksft_run, ksft_exit, ksft_eq, ksft_ge, ksft_gt, ksft_variants
from lib.py import KsftNamedVariant
from lib.py import NetDrvEpEnv, NetNS, bkg, cmd, defer, ethtool, ip, tc
from lib.py.quic import CIPHERS, add_link, check, check_clean, check_device
from lib.py.quic import check_fallback
from lib.py.quic import check_no_drops, check_safe, check_software
from lib.py.quic import ciphers_and_sizes
from lib.py.quic import nsim_pair, quic_init, quic_init_nsim, rounds, snmp
from lib.py.quic import sysctl
from lib.py.quic import or_skip, EXTRA_V4, EXTRA_REMOTE_V4

# A second path to the other end
VETH_V4 = "198.51.100.1"
VETH_REMOTE_V4 = "198.51.100.2"
# An address that both paths lead to
ANYCAST_V4 = "203.0.113.9"


#
# Software seals for other devices
#

def _veth_pair(link):
    """ A second path to the other end """
    add_link("v1 type veth peer name v2 netns " + link.remote_ns, "v1")
    ip(f"addr add {VETH_V4}/24 dev v1")
    link.remote_ip(f"addr add {VETH_REMOTE_V4}/24 dev v2")
    link.remote_ip("link set dev v2 up")
    ip("link set dev v1 up")


def _veth_pair_same_mac(link):
    """ The same, for packets that are meant for the device """
    _veth_pair(link)
    mac = link.remote_mac()
    link.remote_ip(f"link set dev v2 address {mac}")
    return mac


def _over_vlan(link):
    add_link(f"link {link.ifname} name vl1 type vlan id 5", "vl1")
    add_link(f"link {link.remote_ifname} name vl2 type vlan id 5", "vl2",
             ns=link.remote_ns)
    ip(f"addr add {EXTRA_V4}/24 dev vl1")
    link.remote_ip(f"addr add {EXTRA_REMOTE_V4}/24 dev vl2")
    link.remote_ip("link set dev vl2 up")
    ip("link set dev vl1 up")
    return {"address": EXTRA_REMOTE_V4}


def _over_plain_vlan(link):
    """ The device cannot seal packets with VLAN tags """
    link.knob("cap_max_vlans", 0)
    defer(link.knob, "cap_max_vlans", 255)
    return _over_vlan(link)


def _over_macvlan(link):
    add_link(f"link {link.ifname} name mv1 type macvlan", "mv1")
    ip(f"addr add {EXTRA_V4}/24 dev mv1")
    link.add_remote_addr(EXTRA_REMOTE_V4 + "/24")
    ip("link set dev mv1 up")
    return {"address": EXTRA_REMOTE_V4}


def _over_bridge(link):
    add_link("br1 type bridge", "br1")
    ip(f"link set dev {link.ifname} master br1")
    ip(f"addr add {EXTRA_V4}/24 dev br1")
    link.add_remote_addr(EXTRA_REMOTE_V4 + "/24")
    ip("link set dev br1 up")
    return {"address": EXTRA_REMOTE_V4}


def _over_veth(link):
    _veth_pair(link)
    return {"address": VETH_REMOTE_V4, "capture": [":v1"]}


def _over_vrf(link):
    """ Routes to a device that belongs to a VRF go by that first """
    defer(link.up)
    add_link("vrf1 type vrf table 10", "vrf1")
    ip("link set dev vrf1 up")
    ip(f"link set dev {link.ifname} master vrf1")
    ip(f"route add {link.remote_addr} dev {link.ifname}")
    defer(ip, f"route del {link.remote_addr} dev {link.ifname}")
    return {"capture": [":vrf1"]}


def _over_tunnel(link):
    local, remote = "192.0.2.1", link.remote_addr
    add_link(f"tu1 type ipip local {local} remote {remote}", "tu1")
    add_link(f"tu2 type ipip local {remote} remote {local}", "tu2",
             ns=link.remote_ns)
    ip(f"addr add {EXTRA_V4}/24 dev tu1")
    link.remote_ip(f"addr add {EXTRA_REMOTE_V4}/24 dev tu2")
    link.remote_ip("link set dev tu2 up")
    ip("link set dev tu1 up")
    return {"address": EXTRA_REMOTE_V4}


@ksft_variants([
    KsftNamedVariant("vlan", _over_plain_vlan),
    KsftNamedVariant("macvlan", _over_macvlan),
    KsftNamedVariant("bridge", _over_bridge),
    KsftNamedVariant("veth", _over_veth),
    KsftNamedVariant("vrf", _over_vrf),
    KsftNamedVariant("tunnel", _over_tunnel),
])
def other_device(cfg, setup):
    """ The route leads to a device that cannot seal """
    link = quic_init_nsim(cfg)

    options = setup(link)
    capture = options.pop("capture", []) + [f":{link.ifname}"]
    for traffic in ciphers_and_sizes(link, capture=capture, settle_ms=0,
                                     **options):
        check_software(traffic)


@ksft_variants([KsftNamedVariant("4", "127.0.0.1"),
                KsftNamedVariant("6", "::1")])
def loopback(cfg, address):
    """ The route leads back to this host """
    link = quic_init(cfg)

    for traffic in ciphers_and_sizes(link, to_netns="", address=address,
                                     capture=[":lo", f":{link.ifname}"],
                                     settle_ms=0):
        check_software(traffic)


def multicast(cfg):
    """ The sender's own host may listen, and must hear nothing unsealed """
    link = quic_init_nsim(cfg)

    ip(f"route add 239.1.2.3 dev {link.ifname}")
    defer(ip, f"route del 239.1.2.3 dev {link.ifname}")
    traffic = link.run(address="239.1.2.3", to_netns="", settle_ms=0,
                       tap=f":{link.ifname}")
    check_clean(traffic)
    check_software(traffic)
    check(traffic, tapped=0)


def vlan(cfg):
    """ The route leads to a VLAN, and another one, on top of the device """
    link = quic_init_nsim(cfg)

    options = _over_vlan(link)
    for traffic in ciphers_and_sizes(link, **options):
        check_device(traffic)
    with link.load(segments=5, **options) as load:
        link.down()
        load.proceed()
        link.up()
        ip("link set dev vl1 up")
        load.proceed()


def _bond(link, options):
    add_link(f"bo1 type bond miimon 10 {options}", "bo1")
    add_link("br2 type bridge", "br2", ns=link.remote_ns)
    pairs = [nsim_pair(link, i) for i in (1, 2)]
    for pair in pairs:
        pair.down()
        ip(f"link set dev {pair.ifname} master bo1")
        link.remote_ip(f"link set dev {pair.remote_ifname} master br2")
    ip(f"addr add {EXTRA_V4}/24 dev bo1")
    link.remote_ip(f"addr add {EXTRA_REMOTE_V4}/24 dev br2")
    link.remote_ip("link set dev br2 up")
    ip("link set dev bo1 up")
    return pairs


def bond_hash(cfg):
    """ A bond knows by which of its devices a connected socket sends """
    link = quic_init_nsim(cfg)

    pairs = _bond(link, "mode balance-xor xmit_hash_policy layer3+4")
    options = {"address": EXTRA_REMOTE_V4, "connected": True}
    for traffic in ciphers_and_sizes(link, **options):
        check(traffic, QuicTxDeviceFallback=0, QuicTxDeviceDrop=0)
        ksft_gt(traffic["QuicTxDevicePackets"], 0)
    with link.load(segments=5, **options) as load:
        for pair in pairs * 2:
            pair.down()
            load.proceed()
            pair.up()
            load.proceed()
    # The bond decides by the packets of sockets that are not connected
    capture = [f":{pair.ifname}" for pair in pairs]
    check_software(link.run(address=EXTRA_REMOTE_V4, settle_ms=0,
                            capture=capture))


def bond_failover(cfg):
    """ Two devices that could seal are under a bond that cannot tell by which
    of them packets leave
    """
    link = quic_init_nsim(cfg)

    pairs = _bond(link, "mode active-backup")
    options = {"address": EXTRA_REMOTE_V4,
               "capture": [f":{pair.ifname}" for pair in pairs]}
    for traffic in ciphers_and_sizes(link, settle_ms=0, **options):
        check_software(traffic)
    with link.load(segments=5, **options) as load:
        for pair in pairs * 2:
            pair.down()
            load.proceed()
            pair.up()
            load.proceed()
    check_safe(load)
    check(load, QuicTxDevicePackets=0)


#
# Routes change
#

def _two_ways(link):
    """ Both the device and a veth lead to one address """
    _veth_pair(link)
    link.add_remote_addr(ANYCAST_V4 + "/32", ifname="lo")
    ip(f"route add {ANYCAST_V4} via {link.remote_addr}")
    defer(ip, f"route del {ANYCAST_V4}")


def _route_by(gateway):
    ip(f"route replace {ANYCAST_V4} via {gateway}")


def _discarded():
    """
    Calls whose packets got lost because their route went away meanwhile,
    which happens to any UDP socket
    """
    return snmp("Ip", "OutRequests") - snmp("Ip", "OutTransmits")


@ksft_variants([(cipher, segments) for cipher in CIPHERS
                for segments in (1, 20)])
def route_change(cfg, cipher, segments):
    """ The route leaves the device and comes back """
    link = quic_init_nsim(cfg)

    _two_ways(link)
    discarded = _discarded()
    with link.load(address=ANYCAST_V4, cipher=cipher, segments=segments,
                   capture=[":v1"]) as load:
        for _ in range(2):
            _route_by(VETH_REMOTE_V4)
            load.until_software("after the route has changed")
            _route_by(link.remote_addr)
            load.until_device("after the route has changed back")
    check_safe(load)
    check(load, lost=(_discarded() - discarded) * segments, errors=0)
    check_no_drops(load)
    # The key has stayed in the device
    check(load, QuicTxDevice=1)


def route_change_queued(cfg):
    """ Packets that wait for their device when the route changes stay there """
    link = quic_init_nsim(cfg)

    _two_ways(link)
    link.add_qdisc("tbf rate 2mbit burst 5k limit 1m")
    discarded = _discarded()
    with link.load(address=ANYCAST_V4, segments=4, capture=[":v1"],
                   interval_us=10000) as load:
        _route_by(VETH_REMOTE_V4)
        load.until_software()
        _route_by(link.remote_addr)
        load.until_device()
    check_safe(load)
    check(load, lost=(_discarded() - discarded) * 4)


#
# Packets for the device leave by another one
#

def _clsact(link):
    """
    Filters come and go under load, the qdisc does not: any qdisc takes the
    queues out of service for a moment, and what is sent then gets lost.
    """
    or_skip(tc, f"qdisc add dev {link.ifname} clsact")
    defer(tc, f"qdisc del dev {link.ifname} clsact")


PROTOCOLS = {"4": "ip", "6": "ipv6"}


def _add_filter(link, action, ipver="4"):
    or_skip(tc, f"filter add dev {link.ifname} egress "
                f"protocol {PROTOCOLS[ipver]} matchall action {action}")


def _del_filter(link):
    tc(f"filter del dev {link.ifname} egress")


def _on_egress(link, action, ipver="4"):
    _clsact(link)
    _add_filter(link, action, ipver)


@ksft_variants([KsftNamedVariant("single", "4", 1, 20),
                KsftNamedVariant("gso", "4", 40, 4),
                KsftNamedVariant("v6_single", "6", 1, 20),
                KsftNamedVariant("v6_gso", "6", 40, 4)])
def redirect(cfg, ipver, segments, count):
    """ A filter redirects to a device that cannot seal """
    cfg.require_ipver(ipver)
    link = quic_init_nsim(cfg)

    mac = _veth_pair_same_mac(link)
    address = cfg.remote_addr_v[ipver]
    # The filter would redirect Neighbour Discovery, too
    ip(f"neigh replace {address} dev {link.ifname} lladdr {mac} nud permanent")
    defer(ip, f"neigh del {address} dev {link.ifname}")
    _clsact(link)
    for cipher in CIPHERS:
        options = {"cipher": cipher, "segments": segments,
                   "capture": [":v1"], "address": address}
        _add_filter(link, "mirred egress redirect dev v1", ipver)
        traffic = link.run(count=count, **options)
        check_clean(traffic)
        check_fallback(traffic)
        _del_filter(link)
        # Both ways at once
        with link.load(**options) as load:
            for _ in rounds(3):
                _add_filter(link, "mirred egress redirect dev v1", ipver)
                load.proceed(20)
                _del_filter(link)
                load.proceed(20)
        check_safe(load)
        check(load, lost=0)
        check_no_drops(load)
        ksft_gt(load["QuicTxDeviceFallback"], 0)
        ksft_gt(load["tx_quic_encrypted_packets"], 0)


@ksft_variants([("4", 1), ("4", 20), ("6", 1), ("6", 20)])
def mirror(cfg, ipver, segments):
    """ A copy has no socket, but a key """
    cfg.require_ipver(ipver)
    link = quic_init_nsim(cfg)

    _veth_pair(link)
    _on_egress(link, "mirred egress mirror dev v1", ipver)
    traffic = link.run(address=cfg.remote_addr_v[ipver], segments=segments,
                       capture=[":v1"])
    check_clean(traffic)
    check(traffic, QuicTxDevicePackets=traffic["sent"] - traffic.first,
          tx_quic_encrypted_packets="QuicTxDevicePackets",
          QuicTxDeviceFallback="QuicTxDevicePackets")
    check_no_drops(traffic)
    ksft_gt(traffic["captured"], traffic["calls"])


def ingress_redirect(cfg):
    """ Packets go back into the host, which forwards them elsewhere """
    link = quic_init_nsim(cfg)

    _two_ways(link)
    for name, value in (("ip_forward", 1), ("conf.all.rp_filter", 0),
                        ("conf.v1.rp_filter", 0),
                        ("conf.all.accept_local", 1)):
        sysctl("net.ipv4." + name, value)
    link.remote_ip(f"link set dev v2 address {link.remote_mac()}")
    with link.load(address=ANYCAST_V4, interval_us=2000) as load:
        _on_egress(link, "mirred ingress redirect dev v1")
        load.proceed()
        _route_by(VETH_REMOTE_V4)
        load.proceed()
    check(load, plain=0)


def _bpf_way(link, address=None):
    """
    A second device. Addresses need not be resolved, as the answers would come
    by that.
    """
    address = address or link.remote_addr
    mac = _veth_pair_same_mac(link)
    ip(f"neigh replace {address} dev {link.ifname} lladdr {mac} nud permanent")
    defer(ip, f"neigh del {address} dev {link.ifname}")


@ksft_variants([("bpf_redirect", 1), ("bpf_redirect", 20),
                ("bpf_redirect_neigh", 1), ("bpf_redirect_neigh", 20)])
def bpf(cfg, helper, segments):
    """ BPF redirects to a device that cannot seal """
    link = quic_init_nsim(cfg)

    _bpf_way(link)
    traffic = link.run(segments=segments, capture=[":v1"],
                       **{helper: f":{link.ifname}:v1"})
    check_clean(traffic)
    check_fallback(traffic)


def _check_bounced(traffic):
    """ What goes back into the host is sealed before """
    check_clean(traffic)
    check_fallback(traffic)


@ksft_variants([("4", 1), ("4", 20), ("6", 1), ("6", 20)])
def bpf_redirect_peer(cfg, ipver, segments):
    """ A peer in another namespace gets what arrives at this end """
    cfg.require_ipver(ipver)
    link = quic_init_nsim(cfg)

    address = cfg.remote_addr_v[ipver]
    _bpf_way(link, address)
    traffic = link.run(bpf_redirect_peer=f":{link.ifname}:v1",
                       capture=[":v1"], segments=segments, address=address)
    _check_bounced(traffic)


@ksft_variants([("4", 1), ("4", 20), ("6", 1), ("6", 20)])
def bpf_xdp(cfg, ipver, segments):
    """ Generic XDP transmits without asking anybody """
    cfg.require_ipver(ipver)
    link = quic_init_nsim(cfg)

    address = cfg.remote_addr_v[ipver]
    _bpf_way(link, address)
    traffic = link.run(bpf_redirect_xdp=f":{link.ifname}:v1",
                       capture=[":v1"], segments=segments, address=address)
    _check_bounced(traffic)


# The source port follows Ethernet and IPv4, the QUIC packet the UDP header
PORT_OFFSET = 34
QUIC_OFFSET = 42
# First byte of a long header
LONG_HEADER = 0xc0


@ksft_variants([1, 20])
def bpf_port(cfg, segments):
    """
    Addresses and ports may change on the way to the device: they do not say
    which key is meant.
    """
    link = quic_init_nsim(cfg)

    traffic = link.run(bpf_store=f":{link.ifname}:{PORT_OFFSET}:200",
                       segments=segments)
    check_clean(traffic)
    check_device(traffic)


@ksft_variants([1, 20])
def bpf_damage(cfg, segments):
    """
    What is no packet of the flow any more cannot be sealed. It is dropped: by
    the device, or by software which takes the place of the device.
    """
    link = quic_init_nsim(cfg)

    options = {"bpf_store": f":{link.ifname}:{QUIC_OFFSET}:{LONG_HEADER}",
               "segments": segments, "wait_ms": 200}
    traffic = link.run(**options)
    # The first call was sealed before
    check(traffic, plain=0, bad=1, lost="calls",
          tx_quic_drop_bad=traffic["calls"] - 1)

    _bpf_way(link)
    _on_egress(link, "mirred egress redirect dev v1")
    traffic = link.run(capture=[":v1"], **options)
    check(traffic, plain=0, bad=1, received=segments - 1,
          QuicTxDeviceDrop=traffic["sent"] - segments)


@ksft_variants([
    # BPF_F_ADJ_ROOM_ENCAP_L3_IPV4
    KsftNamedVariant("encap", 2, None),
    KsftNamedVariant("encap_key_update", 2, 10),
    KsftNamedVariant("raw", 0, None),
])
def bpf_encap(cfg, flags, key_update):
    """
    Encapsulation after the route was chosen: the device cannot seal. Software
    does once that has become clear.
    """
    link = quic_init_nsim(cfg)

    local, remote = cfg.addr_v["4"], cfg.remote_addr_v["4"]
    add_link(f"tu2 type ipip local {remote} remote {local}", "tu2",
             ns=link.remote_ns)
    link.remote_ip("link set dev tu2 up")
    # The program would encapsulate ARP, too
    ip(f"neigh replace {remote} dev {link.ifname} "
       f"lladdr {link.remote_mac()} nud permanent")
    defer(ip, f"neigh del {remote} dev {link.ifname}")
    link.add_qdisc("pfifo limit 1000")
    options = {"key_update": key_update} if key_update else {}
    traffic = link.run(bpf_encap=f":{link.ifname}:{local}:{remote}:{flags}",
                       count=60, wait_ms=500, settle_ms=300, **options)
    check(traffic, plain=0, bad=0, errors=0, lost="QuicTxDeviceDrop",
          tx_quic_encrypted_packets=0)
    ksft_gt(traffic["QuicTxDeviceDrop"], 0)
    # One for each of the two generations, or a few more
    ksft_ge(6, traffic["QuicTxDeviceDrop"])
    ksft_ge(traffic["received"], 54)


def _ipsec_policy(cfg):
    local, remote = cfg.addr_v["4"], cfg.remote_addr_v["4"]
    or_skip(ip, f"xfrm policy add src {local} dst {remote} proto udp dir out "
                f"tmpl src {local} dst {remote} proto esp mode transport")
    defer(ip, "xfrm policy flush")


def ipsec_negotiated(cfg):
    """ Packets that wait for an IPsec state are sealed by software """
    link = quic_init_nsim(cfg)

    sysctl("net.core.xfrm_larval_drop", 0)
    # Somebody has to listen, or nothing waits
    monitor = bkg("ip xfrm monitor acquire")
    defer(monitor.proc.kill)
    with link.load(interval_us=20000) as load:
        load.until_device()
        _ipsec_policy(cfg)
        load.until_software("while IPsec is negotiated")
        before = link.kernel_counters()["QuicTxDevicePackets"]
        load.proceed()
        ksft_eq(link.kernel_counters()["QuicTxDevicePackets"], before)
    check_safe(load)


def ipsec_rerouted(cfg):
    """ Netfilter routes packets to IPsec after a device was chosen """
    link = quic_init_nsim(cfg)

    local, remote = cfg.addr_v["4"], cfg.remote_addr_v["4"]
    esp = "proto esp spi 1 mode transport"
    aead = "aead 'rfc4106(gcm(aes))' 0x" + 20 * "5a" + " 128"
    _ipsec_policy(cfg)
    for ns in (None, link.remote_ns):
        # The parentheses in the name are for a shell to quote
        or_skip(cmd, f"ip xfrm state add src {local} dst {remote} "
                     f"{esp} {aead}", shell=True, ns=ns)
        defer(ip, "xfrm state flush", ns=ns)
    ip(f"route add 203.0.113.77/32 dev {link.ifname}")
    defer(ip, f"route del 203.0.113.77/32 dev {link.ifname}")
    rule = f"OUTPUT -p udp -d 203.0.113.77 -j DNAT --to {remote}"
    or_skip(cmd, "iptables-legacy -t nat -A " + rule)
    defer(cmd, "iptables-legacy -t nat -D " + rule)
    traffic = link.run(address="203.0.113.77", count=20, wait_ms=500)
    check(traffic, plain=0, errors=0, tx_quic_encrypted_packets=0,
          QuicTxDeviceDrop=0)
    ksft_gt(traffic["QuicTxDeviceFallback"], 0)


def _macvlan(link, netns, mode):
    or_skip(ip, f"link add link {link.ifname} name mv9 netns {netns} "
                f"type macvlan mode {mode}")
    defer(ip, "link del mv9", ns=netns)
    mac = ip("link show dev mv9", json=True, ns=netns)[0]["address"]
    ip("link set dev mv9 up", ns=netns)
    ip(f"addr add {link.remote_addr}/24 dev mv9", ns=netns)
    return mac


@ksft_variants(["passthru", "bridge"])
def ingress_macvlan(cfg, mode):
    """
    Packets go back into the device, on top of which is another one in another
    namespace: nobody there may see them unsealed.
    """
    link = quic_init_nsim(cfg)
    netns = NetNS()
    defer(netns.__exit__, None, None, None)

    defer(link.up)
    mac = _macvlan(link, netns.name, mode)
    ip(f"neigh replace {link.remote_addr} dev {link.ifname} lladdr {mac} "
       "nud permanent")
    defer(ip, f"neigh del {link.remote_addr} dev {link.ifname}")
    _on_egress(link, f"mirred ingress redirect dev {link.ifname}")
    traffic = link.run(capture=[f"{netns}:mv9"], count=20, wait_ms=200)
    check(traffic, plain=0, bad=0, received=0,
          QuicTxDeviceFallback="QuicTxDevicePackets")
    ksft_gt(traffic["captured"], 0)


def ingress_nd_redirect(cfg):
    """ Redirects of IPv6 quote packets that are forwarded """
    cfg.require_ipver("6")
    link = quic_init_nsim(cfg)

    addr = cfg.remote_addr_v["6"]
    mac = ip("link show dev " + link.ifname, json=True)[0]["address"]
    sysctl("net.ipv6.conf.all.forwarding", 1)
    ip(f"neigh replace {addr} dev {link.ifname} lladdr {mac} nud permanent")
    defer(ip, f"neigh del {addr} dev {link.ifname}")
    _clsact(link)
    or_skip(tc, f"filter add dev {link.ifname} egress protocol ipv6 matchall "
                f"action mirred ingress redirect dev {link.ifname}")
    traffic = link.run(address=addr, capture=[":lo"], interval_us=300000,
                       count=8, wait_ms=200)
    check(traffic, plain=0, bad=0, received=0)
    ksft_gt(traffic["QuicTxDeviceFallback"], 0)


@ksft_variants([1, 20])
def vlan_push(cfg, segments):
    """ A filter adds a VLAN tag on the way to the device """
    link = quic_init_nsim(cfg)

    add_link(f"link {link.remote_ifname} name vl2 type vlan id 5", "vl2",
             ns=link.remote_ns)
    link.remote_ip(f"addr add {EXTRA_REMOTE_V4}/24 dev vl2")
    link.remote_ip("link set dev vl2 up")
    ip(f"addr add {EXTRA_V4}/24 dev {link.ifname}")
    defer(ip, f"addr del {EXTRA_V4}/24 dev {link.ifname}")
    ip(f"neigh replace {EXTRA_REMOTE_V4} dev {link.ifname} "
       f"lladdr {link.remote_mac()}")
    _on_egress(link, "vlan push id 5")
    traffic = link.run(address=EXTRA_REMOTE_V4, segments=segments)
    check_clean(traffic)
    check_device(traffic)

    # If the device cannot, software seals
    link.knob("cap_max_vlans", 0)
    defer(link.knob, "cap_max_vlans", 255)
    traffic = link.run(address=EXTRA_REMOTE_V4, segments=segments)
    check_clean(traffic)
    check(traffic, tx_quic_encrypted_packets=0,
          QuicTxDeviceFallback="QuicTxDevicePackets")
    ksft_gt(traffic["QuicTxDeviceFallback"], 0)


@ksft_variants([1, 20])
def vlan_push_redirect(cfg, segments):
    """ A filter adds a VLAN tag and redirects to another device """
    link = quic_init_nsim(cfg)

    _veth_pair(link)
    add_link("link v2 name vl2 type vlan id 5", "vl2", ns=link.remote_ns)
    link.remote_ip("link set dev vl2 up")
    link.remote_ip("link set dev v2 promisc on")
    _on_egress(link, "vlan push id 5 pipe "
                     "action mirred egress redirect dev v1")
    traffic = link.run(segments=segments, capture=[":v1"], wait_ms=500)
    check(traffic, plain=0, bad=0, QuicTxDeviceFallback="QuicTxDevicePackets")
    ksft_gt(traffic["QuicTxDevicePackets"], 0)
    ksft_gt(traffic["captured"], 0)


@ksft_variants([1, 20])
def checksum(cfg, segments):
    """ Checksums are calculated before software seals for another device """
    link = quic_init_nsim(cfg)

    _veth_pair_same_mac(link)
    or_skip(ethtool, "-K v1 tx off")
    # The queue has room for all that is sent
    or_skip(tc, "qdisc replace dev v1 root tbf rate 100mbit burst 5k limit 9m")
    _on_egress(link, "mirred egress redirect dev v1")
    traffic = link.run(segments=segments, capture=[":v1"])
    check_clean(traffic)
    check(traffic, QuicTxDeviceFallback="QuicTxDevicePackets")
    ksft_gt(traffic["QuicTxDevicePackets"], 0)


def main() -> None:
    """ Ksft boiler plate main """

    with NetDrvEpEnv(__file__) as cfg:
        ksft_run(cases=[
            other_device, loopback, multicast, vlan, bond_hash, bond_failover,
            route_change, route_change_queued, redirect, mirror,
            ingress_redirect, bpf, bpf_redirect_peer, bpf_xdp, bpf_port,
            bpf_damage, bpf_encap, ipsec_negotiated, ipsec_rerouted,
            ingress_macvlan, ingress_nd_redirect, vlan_push,
            vlan_push_redirect, checksum,
        ], args=(cfg, ))
    ksft_exit()


if __name__ == "__main__":
    main()
