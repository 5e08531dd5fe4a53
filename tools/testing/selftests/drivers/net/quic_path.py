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
from lib.py.quic import snmp6, sysctl
from lib.py.quic import or_skip, EXTRA_V4, EXTRA_REMOTE_V4
from lib.py.quic import EXTRA_V6, EXTRA_REMOTE_V6

# Addresses of devices that a test adds, of ours and of the other end
EXTRA = {"4": (EXTRA_V4, EXTRA_REMOTE_V4), "6": (EXTRA_V6, EXTRA_REMOTE_V6)}
# A second path to the other end
VETH = {"4": ("198.51.100.1", "198.51.100.2"),
        "6": ("2001:db8:51::1", "2001:db8:51::2")}
# An address that both paths lead to
ANYCAST = {"4": "203.0.113.9", "6": "2001:db8:a::9"}
# What follows an address that is added to a device
SUFFIX = {"4": "/24", "6": "/64 nodad"}
# As tc names it
PROTOCOLS = {"4": "ip", "6": "ipv6"}


def _addr_and_up(link, addrs, ifname, remote_ifname, ipver):
    """ Both devices get an address each, and are set up """
    ip(f"addr add {addrs[ipver][0]}{SUFFIX[ipver]} dev {ifname}")
    link.remote_ip(f"addr add {addrs[ipver][1]}{SUFFIX[ipver]} "
                   f"dev {remote_ifname}")
    link.remote_ip(f"link set dev {remote_ifname} up")
    ip(f"link set dev {ifname} up")
    return {"address": addrs[ipver][1]}


def _set_neigh(ifname, address, mac):
    """
    Nobody is asked for the address, as filters would change that, too; returns
    what ends that
    """
    ip(f"neigh replace {address} dev {ifname} lladdr {mac} nud permanent")
    return defer(ip, f"neigh del {address} dev {ifname}")


#
# Software seals for other devices
#

def _veth_pair(link, ipver="4"):
    """ A second path to the other end """
    add_link("v1 type veth peer name v2 netns " + link.remote_ns, "v1")
    return _addr_and_up(link, VETH, "v1", "v2", ipver)


def _second_way(link, address, ipver):
    """
    The same for packets that are meant for the device. Returns the MAC address
    of its other end.
    """
    _veth_pair(link, ipver)
    mac = link.remote_mac()
    link.remote_ip(f"link set dev v2 address {mac}")
    _set_neigh(link.ifname, address, mac)
    return mac


def _over_vlan(link, ipver="4"):
    add_link(f"link {link.ifname} name vl1 type vlan id 5", "vl1")
    add_link(f"link {link.remote_ifname} name vl2 type vlan id 5", "vl2",
             ns=link.remote_ns)
    return _addr_and_up(link, EXTRA, "vl1", "vl2", ipver)


def _over_plain_vlan(_, link, ipver):
    """ The device cannot seal packets with VLAN tags """
    link.knob("cap_max_vlans", 0)
    defer(link.knob, "cap_max_vlans", 255)
    return _over_vlan(link, ipver)


def _over_macvlan(_, link, ipver):
    add_link(f"link {link.ifname} name mv1 type macvlan", "mv1")
    addr, remote = EXTRA[ipver]
    ip(f"addr add {addr}{SUFFIX[ipver]} dev mv1")
    link.add_remote_addr(remote + SUFFIX[ipver])
    ip("link set dev mv1 up")
    return {"address": remote}


def _over_bridge(_, link, ipver):
    add_link("br1 type bridge", "br1")
    ip(f"link set dev {link.ifname} master br1")
    addr, remote = EXTRA[ipver]
    ip(f"addr add {addr}{SUFFIX[ipver]} dev br1")
    link.add_remote_addr(remote + SUFFIX[ipver])
    ip("link set dev br1 up")
    return {"address": remote}


def _over_veth(_, link, ipver):
    return {"capture": [":v1"], **_veth_pair(link, ipver)}


def _over_vrf(cfg, link, ipver):
    """ Routes to a device that belongs to a VRF go by that first """
    defer(link.up)
    add_link("vrf1 type vrf table 10", "vrf1")
    ip("link set dev vrf1 up")
    ip(f"link set dev {link.ifname} master vrf1")
    # It has lost its IPv6 address
    link.up()
    address = cfg.remote_addr_v[ipver]
    ip(f"-{ipver} route add {address} dev {link.ifname}")
    defer(ip, f"-{ipver} route del {address} dev {link.ifname}")
    return {"address": address, "capture": [":vrf1"]}


def _over_tunnel(cfg, link, ipver):
    local, remote = cfg.addr_v[ipver], cfg.remote_addr_v[ipver]
    kind = "ipip" if ipver == "4" else "ip6tnl mode ip6ip6"
    add_link(f"tu1 type {kind} local {local} remote {remote}", "tu1")
    add_link(f"tu2 type {kind} local {remote} remote {local}", "tu2",
             ns=link.remote_ns)
    return _addr_and_up(link, EXTRA, "tu1", "tu2", ipver)


@ksft_variants([
    KsftNamedVariant("vlan", _over_plain_vlan, "4"),
    KsftNamedVariant("macvlan", _over_macvlan, "4"),
    KsftNamedVariant("bridge", _over_bridge, "4"),
    KsftNamedVariant("veth", _over_veth, "4"),
    KsftNamedVariant("vrf", _over_vrf, "4"),
    KsftNamedVariant("tunnel", _over_tunnel, "4"),
    KsftNamedVariant("v6_vlan", _over_plain_vlan, "6"),
    KsftNamedVariant("v6_bridge", _over_bridge, "6"),
    KsftNamedVariant("v6_veth", _over_veth, "6"),
    KsftNamedVariant("v6_vrf", _over_vrf, "6"),
    KsftNamedVariant("v6_tunnel", _over_tunnel, "6"),
])
def other_device(cfg, setup, ipver):
    """ The route leads to a device that cannot seal """
    cfg.require_ipver(ipver)
    link = quic_init_nsim(cfg)

    options = setup(cfg, link, ipver)
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


# For IPv6, the table "local" has routes to all groups, and comes first
@ksft_variants([
    KsftNamedVariant("4", "4", "239.1.2.3", ""),
    KsftNamedVariant("6", "6", "ff0e::1:2:3", " table local"),
])
def multicast(cfg, ipver, group, table):
    """ The sender's own host may listen, and must hear nothing unsealed """
    cfg.require_ipver(ipver)
    link = quic_init_nsim(cfg)

    route = f"{group} dev {link.ifname}{table}"
    ip(f"-{ipver} route add multicast {route}")
    defer(ip, f"-{ipver} route del multicast {route}")
    traffic = link.run(address=group, to_netns="", settle_ms=0,
                       tap=f":{link.ifname}")
    check_clean(traffic)
    check_software(traffic)
    check(traffic, tapped=0)


@ksft_variants(["4", "6"])
def vlan(cfg, ipver):
    """ The route leads to a VLAN, and another one, on top of the device """
    cfg.require_ipver(ipver)
    link = quic_init_nsim(cfg)

    options = _over_vlan(link, ipver)
    for traffic in ciphers_and_sizes(link, **options):
        check_device(traffic)
    with link.load(segments=5, **options) as load:
        link.down()
        load.proceed_anyhow()
        link.up()
        ip("link set dev vl1 up")
        # It has lost its IPv6 address
        ip(f"addr replace {EXTRA[ipver][0]}{SUFFIX[ipver]} dev vl1")
        load.proceed()


def _bond(link, options, ipver="4"):
    add_link(f"bo1 type bond miimon 10 {options}", "bo1")
    add_link("br2 type bridge", "br2", ns=link.remote_ns)
    pairs = [nsim_pair(link, i) for i in (1, 2)]
    for pair in pairs:
        pair.down()
        ip(f"link set dev {pair.ifname} master bo1")
        link.remote_ip(f"link set dev {pair.remote_ifname} master br2")
    return pairs, _addr_and_up(link, EXTRA, "bo1", "br2", ipver)


@ksft_variants(["4", "6"])
def bond_hash(cfg, ipver):
    """ A bond knows by which of its devices a connected socket sends """
    cfg.require_ipver(ipver)
    link = quic_init_nsim(cfg)

    pairs, options = _bond(link, "mode balance-xor xmit_hash_policy layer3+4",
                           ipver)
    options["connected"] = True
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
    options.update(connected=False,
                   capture=[f":{pair.ifname}" for pair in pairs])
    check_software(link.run(settle_ms=0, **options))


def bond_failover(cfg):
    """ Two devices that could seal are under a bond that cannot tell by which
    of them packets leave
    """
    link = quic_init_nsim(cfg)

    pairs, options = _bond(link, "mode active-backup")
    options["capture"] = [f":{pair.ifname}" for pair in pairs]
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

def _route_by(ipver, gateway):
    ip(f"-{ipver} route replace {ANYCAST[ipver]} via {gateway}")


def _two_ways(cfg, link, ipver="4"):
    """
    Both the device and a veth lead to one address; returns the gateways of
    both, and options for traffic
    """
    options = _veth_pair(link, ipver)
    link.add_remote_addr(ANYCAST[ipver] + ("/32" if ipver == "4" else "/128"),
                         ifname="lo")
    device = cfg.remote_addr_v[ipver]
    _route_by(ipver, device)
    defer(ip, f"-{ipver} route del {ANYCAST[ipver]}")
    return device, options["address"], {"address": ANYCAST[ipver]}


def _discarded(ipver):
    """
    Calls whose packets got lost because their route went away meanwhile,
    which happens to any UDP socket. The kernel sends IPv6 packets of its own.
    """
    if ipver == "4":
        ip4 = snmp("Ip")
        return ip4["OutRequests"] - ip4["OutTransmits"]
    ip6 = snmp6()
    return ip6["Ip6OutRequests"] - ip6["Ip6OutTransmits"]


def _route_variants():
    for cipher in CIPHERS:
        for segments in (1, 20):
            yield "4", cipher, segments
    yield "6", CIPHERS[0], 1
    yield "6", CIPHERS[0], 20


@ksft_variants(_route_variants())
def route_change(cfg, ipver, cipher, segments):
    """ The route leaves the device and comes back """
    cfg.require_ipver(ipver)
    link = quic_init_nsim(cfg)

    device, veth, options = _two_ways(cfg, link, ipver)
    discarded = _discarded(ipver)
    with link.load(cipher=cipher, segments=segments, capture=[":v1"],
                   **options) as load:
        for _ in range(2):
            _route_by(ipver, veth)
            load.until_software("after the route has changed")
            _route_by(ipver, device)
            load.until_device("after the route has changed back")
    check_safe(load)
    check(load, lost=(_discarded(ipver) - discarded) * segments, errors=0)
    check_no_drops(load)
    # The key has stayed in the device
    check(load, QuicTxDevice=1)


@ksft_variants(["4", "6"])
def route_change_queued(cfg, ipver):
    """ Packets that wait for their device when the route changes stay there """
    cfg.require_ipver(ipver)
    link = quic_init_nsim(cfg)

    device, veth, options = _two_ways(cfg, link, ipver)
    link.add_qdisc("tbf rate 2mbit burst 5k limit 1m")
    discarded = _discarded(ipver)
    with link.load(segments=4, capture=[":v1"], interval_us=10000,
                   **options) as load:
        _route_by(ipver, veth)
        load.until_software()
        _route_by(ipver, device)
        load.until_device()
    check_safe(load)
    check(load, lost=(_discarded(ipver) - discarded) * 4)


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

    address = cfg.remote_addr_v[ipver]
    _second_way(link, address, ipver)
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


@ksft_variants(["4", "6"])
def ingress_redirect(cfg, ipver):
    """ Packets go back into the host, which forwards them elsewhere """
    cfg.require_ipver(ipver)
    link = quic_init_nsim(cfg)

    device, veth, options = _two_ways(cfg, link, ipver)
    if ipver == "4":
        for name, value in (("ip_forward", 1), ("conf.all.rp_filter", 0),
                            ("conf.v1.rp_filter", 0),
                            ("conf.all.accept_local", 1)):
            sysctl("net.ipv4." + name, value)
    else:
        sysctl("net.ipv6.conf.all.forwarding", 1)
    mac = link.remote_mac()
    link.remote_ip(f"link set dev v2 address {mac}")
    _set_neigh(link.ifname, device, mac)
    with link.load(interval_us=2000, **options) as load:
        _on_egress(link, "mirred ingress redirect dev v1", ipver)
        load.proceed()
        _route_by(ipver, veth)
        load.proceed()
    check(load, plain=0)
    ksft_gt(load["QuicTxDeviceFallback"], 0)


@ksft_variants([(helper, ipver, segments)
                for helper in ("bpf_redirect", "bpf_redirect_neigh")
                for ipver, segments in (("4", 1), ("4", 20), ("6", 20))])
def bpf(cfg, helper, ipver, segments):
    """ BPF redirects to a device that cannot seal """
    cfg.require_ipver(ipver)
    link = quic_init_nsim(cfg)

    address = cfg.remote_addr_v[ipver]
    mac = _second_way(link, address, ipver)
    if ipver == "6":
        # No host answers for an address that is not of the device
        ip(f"neigh replace {address} dev v1 lladdr {mac} nud permanent")
    traffic = link.run(segments=segments, capture=[":v1"], address=address,
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
    _second_way(link, address, ipver)
    traffic = link.run(bpf_redirect_peer=f":{link.ifname}:v1",
                       capture=[":v1"], segments=segments, address=address)
    _check_bounced(traffic)


@ksft_variants([("4", 1), ("4", 20), ("6", 1), ("6", 20)])
def bpf_xdp(cfg, ipver, segments):
    """ Generic XDP transmits without asking anybody """
    cfg.require_ipver(ipver)
    link = quic_init_nsim(cfg)

    address = cfg.remote_addr_v[ipver]
    _second_way(link, address, ipver)
    traffic = link.run(bpf_redirect_xdp=f":{link.ifname}:v1",
                       capture=[":v1"], segments=segments, address=address)
    _check_bounced(traffic)


# The source port follows Ethernet and IP, the QUIC packet the UDP header
PORT_OFFSET = {"4": 34, "6": 54}
QUIC_OFFSET = {"4": 42, "6": 62}
# First byte of a long header
LONG_HEADER = 0xc0


@ksft_variants([("4", 1), ("4", 20), ("6", 20)])
def bpf_port(cfg, ipver, segments):
    """
    Addresses and ports may change on the way to the device: they do not say
    which key is meant.
    """
    cfg.require_ipver(ipver)
    link = quic_init_nsim(cfg)

    address = cfg.remote_addr_v[ipver]
    _set_neigh(link.ifname, address, link.remote_mac())
    traffic = link.run(bpf_store=f":{link.ifname}:{PORT_OFFSET[ipver]}:200",
                       address=address, segments=segments)
    check_clean(traffic)
    check_device(traffic)


@ksft_variants([("4", 1), ("4", 20), ("6", 20)])
def bpf_damage(cfg, ipver, segments):
    """
    What is no packet of the flow any more cannot be sealed. It is dropped: by
    the device, or by software which takes the place of the device.
    """
    cfg.require_ipver(ipver)
    link = quic_init_nsim(cfg)

    address, offset = cfg.remote_addr_v[ipver], QUIC_OFFSET[ipver]
    options = {"bpf_store": f":{link.ifname}:{offset}:{LONG_HEADER}",
               "segments": segments, "wait_ms": 200, "address": address}
    undo = _set_neigh(link.ifname, address, link.remote_mac())
    traffic = link.run(**options)
    # The first call was sealed before
    check(traffic, plain=0, bad=1, lost="calls",
          tx_quic_drop_bad=traffic["calls"] - 1)

    undo.exec()
    _second_way(link, address, ipver)
    _on_egress(link, "mirred egress redirect dev v1", ipver)
    traffic = link.run(capture=[":v1"], **options)
    check(traffic, plain=0, bad=1, received=segments - 1,
          QuicTxDeviceDrop=traffic["sent"] - segments)


# The flags are BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 and BPF_F_ADJ_ROOM_ENCAP_L3_IPV6
@ksft_variants([
    KsftNamedVariant("encap", "4", 2, None),
    KsftNamedVariant("encap_key_update", "4", 2, 10),
    KsftNamedVariant("raw", "4", 0, None),
    KsftNamedVariant("v6_encap", "6", 4, None),
    KsftNamedVariant("v6_raw", "6", 0, None),
])
def bpf_encap(cfg, ipver, flags, key_update):
    """
    Encapsulation after the route was chosen: the device cannot seal. Software
    does once that has become clear.
    """
    cfg.require_ipver(ipver)
    link = quic_init_nsim(cfg)

    local, remote = cfg.addr_v[ipver], cfg.remote_addr_v[ipver]
    kind = "ipip" if ipver == "4" else "ip6tnl mode ip6ip6"
    add_link(f"tu2 type {kind} local {remote} remote {local}", "tu2",
             ns=link.remote_ns)
    link.remote_ip("link set dev tu2 up")
    _set_neigh(link.ifname, remote, link.remote_mac())
    link.add_qdisc("pfifo limit 1000")
    options = {"key_update": key_update} if key_update else {}
    traffic = link.run(bpf_encap=f":{link.ifname}:{local},{remote},{flags}",
                       address=remote, count=60, wait_ms=500, settle_ms=300,
                       **options)
    check(traffic, plain=0, bad=0, errors=0, lost="QuicTxDeviceDrop",
          tx_quic_encrypted_packets=0)
    ksft_gt(traffic["QuicTxDeviceDrop"], 0)
    # One for each of the two generations, or a few more
    ksft_ge(6, traffic["QuicTxDeviceDrop"])
    ksft_ge(traffic["received"], 54)


def _ipsec_policy(cfg, ipver):
    local, remote = cfg.addr_v[ipver], cfg.remote_addr_v[ipver]
    or_skip(ip, f"xfrm policy add src {local} dst {remote} proto udp dir out "
                f"tmpl src {local} dst {remote} proto esp mode transport")
    defer(ip, "xfrm policy flush")


@ksft_variants(["4", "6"])
def ipsec_negotiated(cfg, ipver):
    """ Packets that wait for an IPsec state are sealed by software """
    cfg.require_ipver(ipver)
    link = quic_init_nsim(cfg)

    sysctl("net.core.xfrm_larval_drop", 0)
    # Somebody has to listen, or nothing waits
    monitor = bkg("ip xfrm monitor acquire")
    defer(monitor.proc.kill)
    with link.load(address=cfg.remote_addr_v[ipver],
                   interval_us=20000) as load:
        load.until_device()
        _ipsec_policy(cfg, ipver)
        load.until_software("while IPsec is negotiated")
        before = link.kernel_counters()["QuicTxDevicePackets"]
        load.proceed()
        ksft_eq(link.kernel_counters()["QuicTxDevicePackets"], before)
    check_safe(load)


# Netfilter translates these addresses to those of the other end
TRANSLATED = {"4": "203.0.113.77", "6": "2001:db8:77::77"}
IPTABLES = {"4": "iptables-legacy", "6": "ip6tables-legacy"}


@ksft_variants(["4", "6"])
def ipsec_rerouted(cfg, ipver):
    """ Netfilter routes packets to IPsec after a device was chosen """
    cfg.require_ipver(ipver)
    link = quic_init_nsim(cfg)

    local, remote = cfg.addr_v[ipver], cfg.remote_addr_v[ipver]
    esp = "proto esp spi 1 mode transport"
    aead = "aead 'rfc4106(gcm(aes))' 0x" + 20 * "5a" + " 128"
    _ipsec_policy(cfg, ipver)
    for ns in (None, link.remote_ns):
        # The parentheses in the name are for a shell to quote
        or_skip(cmd, f"ip xfrm state add src {local} dst {remote} "
                     f"{esp} {aead}", shell=True, ns=ns)
        defer(ip, "xfrm state flush", ns=ns)
    address = TRANSLATED[ipver]
    ip(f"-{ipver} route add {address} dev {link.ifname}")
    defer(ip, f"-{ipver} route del {address} dev {link.ifname}")
    rule = f"OUTPUT -p udp -d {address} -j DNAT --to {remote}"
    or_skip(cmd, f"{IPTABLES[ipver]} -t nat -A {rule}")
    defer(cmd, f"{IPTABLES[ipver]} -t nat -D {rule}")
    traffic = link.run(address=address, count=20, wait_ms=500)
    check(traffic, plain=0, errors=0, tx_quic_encrypted_packets=0,
          QuicTxDeviceDrop=0)
    ksft_gt(traffic["QuicTxDeviceFallback"], 0)


def _macvlan(link, netns, mode, addr):
    or_skip(ip, f"link add link {link.ifname} name mv9 netns {netns} "
                f"type macvlan mode {mode}")
    defer(ip, "link del mv9", ns=netns)
    mac = ip("link show dev mv9", json=True, ns=netns)[0]["address"]
    ip("link set dev mv9 up", ns=netns)
    ip(f"addr add {addr} dev mv9", ns=netns)
    return mac


@ksft_variants([("4", "passthru"), ("4", "bridge"), ("6", "bridge")])
def ingress_macvlan(cfg, ipver, mode):
    """
    Packets go back into the device, on top of which is another one in another
    namespace: nobody there may see them unsealed.
    """
    cfg.require_ipver(ipver)
    link = quic_init_nsim(cfg)
    netns = NetNS()
    defer(netns.__exit__, None, None, None)

    defer(link.up)
    addr = cfg.remote_addr_v[ipver]
    _set_neigh(link.ifname, addr,
               _macvlan(link, netns.name, mode, addr + SUFFIX[ipver]))
    _on_egress(link, f"mirred ingress redirect dev {link.ifname}", ipver)
    traffic = link.run(address=addr, capture=[f"{netns}:mv9"], count=20,
                       wait_ms=200)
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
    _set_neigh(link.ifname, addr, mac)
    _on_egress(link, f"mirred ingress redirect dev {link.ifname}", "6")
    traffic = link.run(address=addr, capture=[":lo"], interval_us=300000,
                       count=8, wait_ms=200)
    check(traffic, plain=0, bad=0, received=0)
    ksft_gt(traffic["QuicTxDeviceFallback"], 0)


@ksft_variants([("4", 1), ("4", 20), ("6", 1), ("6", 20)])
def vlan_push(cfg, ipver, segments):
    """ A filter adds a VLAN tag on the way to the device """
    cfg.require_ipver(ipver)
    link = quic_init_nsim(cfg)

    add_link(f"link {link.remote_ifname} name vl2 type vlan id 5", "vl2",
             ns=link.remote_ns)
    options = _addr_and_up(link, EXTRA, link.ifname, "vl2", ipver)
    defer(ip, f"addr del {EXTRA[ipver][0]}{SUFFIX[ipver]} dev {link.ifname}")
    _set_neigh(link.ifname, EXTRA[ipver][1], link.remote_mac())
    _on_egress(link, "vlan push id 5", ipver)
    traffic = link.run(segments=segments, **options)
    check_clean(traffic)
    check_device(traffic)

    # If the device cannot, software seals
    link.knob("cap_max_vlans", 0)
    defer(link.knob, "cap_max_vlans", 255)
    traffic = link.run(segments=segments, **options)
    check_clean(traffic)
    check(traffic, tx_quic_encrypted_packets=0,
          QuicTxDeviceFallback="QuicTxDevicePackets")
    ksft_gt(traffic["QuicTxDeviceFallback"], 0)


@ksft_variants([("4", 1), ("4", 20), ("6", 20)])
def vlan_push_redirect(cfg, ipver, segments):
    """ A filter adds a VLAN tag and redirects to another device """
    cfg.require_ipver(ipver)
    link = quic_init_nsim(cfg)

    _veth_pair(link, ipver)
    add_link("link v2 name vl2 type vlan id 5", "vl2", ns=link.remote_ns)
    link.remote_ip("link set dev vl2 up")
    link.remote_ip("link set dev v2 promisc on")
    address = cfg.remote_addr_v[ipver]
    _set_neigh(link.ifname, address, link.remote_mac())
    _on_egress(link, "vlan push id 5 pipe "
                     "action mirred egress redirect dev v1", ipver)
    traffic = link.run(segments=segments, capture=[":v1"], wait_ms=500,
                       address=address)
    check(traffic, plain=0, bad=0, QuicTxDeviceFallback="QuicTxDevicePackets")
    ksft_gt(traffic["QuicTxDevicePackets"], 0)
    ksft_gt(traffic["captured"], 0)


@ksft_variants([("4", 1), ("4", 20), ("6", 1), ("6", 20)])
def checksum(cfg, ipver, segments):
    """ Checksums are calculated before software seals for another device """
    cfg.require_ipver(ipver)
    link = quic_init_nsim(cfg)

    address = cfg.remote_addr_v[ipver]
    _second_way(link, address, ipver)
    or_skip(ethtool, "-K v1 tx off")
    # The queue has room for all that is sent
    or_skip(tc, "qdisc replace dev v1 root tbf rate 100mbit burst 5k limit 9m")
    _on_egress(link, "mirred egress redirect dev v1", ipver)
    traffic = link.run(segments=segments, capture=[":v1"], address=address)
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
