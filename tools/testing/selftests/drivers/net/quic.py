#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

"""
Tests of devices that seal QUIC packets.

Each packet that arrives must be exactly what software makes of the plaintext.
Nothing may get lost, and nothing may leave unsealed.

The tests run on any device, but both ends of the link have to be on the same
host: REMOTE_TYPE=netns.
"""

import errno
import re
import socket

from lib.py import ksft_run, ksft_exit, ksft_eq, ksft_ge, ksft_gt, ksft_in
from lib.py import ksft_true
from lib.py import ksft_variants, KsftNamedVariant, NetDrvEpEnv
from lib.py import cmd, defer, ip
from lib.py.quic import CIPHERS, check, check_clean, check_device
from lib.py.quic import check_mostly_device
from lib.py.quic import check_no_drops, check_safe, check_software
from lib.py.quic import ciphers_and_sizes
from lib.py.quic import quic_init, quic_init_nsim, rounds, snmp, snmp6
from lib.py.quic import sysctl, trace_events, wait_until


ETH_P_ALL = 3


def _wire_variants():
    for ipver in ("4", "6"):
        for cipher in CIPHERS:
            for segments in (1, 40):
                yield ipver, cipher, segments


@ksft_variants(_wire_variants())
def wire(cfg, ipver, cipher, segments):
    """ What arrives is what libcrypto makes of the plaintext """
    cfg.require_ipver(ipver)
    link = quic_init(cfg)

    traffic = link.run(address=cfg.remote_addr_v[ipver], cipher=cipher,
                       segments=segments, count=20 // segments + 4)
    check_clean(traffic)
    check_device(traffic)
    ksft_gt(traffic["captured"], 20, "captured")
    check(traffic, QuicTxDevice=1, tx_quic_ctx=1)


@ksft_variants([
    KsftNamedVariant("tag_room", {"tag_room": True}),
    KsftNamedVariant("tag_room_gso", {"tag_room": True, "segments": 2}),
    KsftNamedVariant("no_cid", {"cid_len": 0}),
    KsftNamedVariant("short_cid", {"cid_len": 4}),
    KsftNamedVariant("long_cid", {"cid_len": 20, "tag_room": True,
                                  "segments": 11}),
    KsftNamedVariant("small", {"size": 200, "segments": 100, "count": 20}),
    KsftNamedVariant("odd", {"size": 217, "segments": 7}),
    KsftNamedVariant("large", {"size": 1400, "segments": 40, "count": 20}),
    KsftNamedVariant("short_pn", {"pn_len": 1}),
    KsftNamedVariant("short_pn_gso", {"pn_len": 1, "size": 300,
                                      "segments": 120, "count": 20}),
    KsftNamedVariant("pn_2", {"pn_len": 2}),
    KsftNamedVariant("pn_2_gso", {"pn_len": 2, "segments": 40, "count": 20}),
    KsftNamedVariant("pn_3_gso", {"pn_len": 3, "segments": 40, "count": 20}),
    KsftNamedVariant("v6_tag_room_gso", {"tag_room": True, "segments": 2}, "6"),
    KsftNamedVariant("v6_odd", {"size": 217, "segments": 7}, "6"),
    KsftNamedVariant("v6_large", {"size": 1400, "segments": 40, "count": 20},
                     "6"),
])
def layout(cfg, options, ipver="4"):
    """ Packets of different sizes, with and without room for the tag """
    cfg.require_ipver(ipver)
    link = quic_init(cfg)

    traffic = link.run(address=cfg.remote_addr_v[ipver], **options)
    check_clean(traffic)
    check_device(traffic)


def packet_number_gaps(cfg):
    """ A device cannot be told of gaps in the packet numbers of a call """
    link = quic_init(cfg)

    traffic = link.run(pn_gaps=True, segments=5, settle_ms=0)
    check_clean(traffic)
    check_software(traffic)


@ksft_variants([("4", 1), ("4", 20), ("6", 1), ("6", 20)])
def flow_id(cfg, ipver, segments):
    """ The connection ID changes, and the library tells nobody """
    cfg.require_ipver(ipver)
    link = quic_init(cfg)

    traffic = link.run(address=cfg.remote_addr_v[ipver], flow_id=True,
                       segments=segments)
    check_clean(traffic)
    check_device(traffic)
    check(traffic, QuicTxDevice=1)


@ksft_variants(CIPHERS)
def multipath(cfg, cipher):
    """ The number of the path is a part of the nonce """
    link = quic_init_nsim(cfg)

    traffic = link.run(cipher=cipher, path=0x01020304, segments=3)
    check_clean(traffic)
    check_device(traffic)


@ksft_variants([("4", 1), ("4", 20), ("6", 1), ("6", 20)])
def connected(cfg, ipver, segments):
    """ The socket is connected """
    cfg.require_ipver(ipver)
    link = quic_init(cfg)

    traffic = link.run(address=cfg.remote_addr_v[ipver], connected=True,
                       segments=segments)
    check_clean(traffic)
    check_device(traffic)


@ksft_variants([1, 20])
def user_space_packets(cfg, segments):
    """ What is sealed before it is sent goes out as it is, and in order """
    link = quic_init(cfg)

    traffic = link.run(sealed_here=3, segments=segments, count=90)
    check_clean(traffic)
    by_kernel = traffic["sent"] * 2 // 3
    ksft_gt(by_kernel, segments)
    check(traffic, tx_quic_encrypted_packets=by_kernel - segments,
          QuicTxSwPackets=segments)


def several_users(cfg):
    """ Several flows and sockets use one device """
    link = quic_init(cfg)

    traffic = link.run(flows=5, segments=3)
    check_clean(traffic)
    check_device(traffic)
    check(traffic, QuicTxDevice=5)

    traffic = link.run(threads=2, flows=3, interval_us=1000)
    check_safe(traffic)
    check(traffic, lost=0, QuicTxDevice=6)


@ksft_variants([("4", 1), ("4", 20), ("6", 1), ("6", 20)])
def tap(cfg, ipver, segments):
    """
    Packet sockets on the device see what the device is given. Their copy must
    stay as it is: the driver must not write to data that is shared.
    """
    cfg.require_ipver(ipver)
    link = quic_init(cfg)

    traffic = link.run(address=cfg.remote_addr_v[ipver],
                       tap=f":{link.ifname}", segments=segments)
    check_clean(traffic)
    check_device(traffic)
    ksft_gt(traffic["tapped"], 0, "tapped")


@ksft_variants([
    KsftNamedVariant("cipher", "cap_ciphers", 2, {}),
    KsftNamedVariant("cid_len", "cap_cid_lens", 0x10, {}),
    KsftNamedVariant("pn_len", "cap_pkt_num_lens", 0x0e, {}),
    KsftNamedVariant("ipv4", "cap_flags", 6, {}),
    KsftNamedVariant("ipv6", "cap_flags", 5, {"ipver": "6"}),
    KsftNamedVariant("fixed_bit", "cap_flags", 3, {"no_fixed_bit": True}),
    KsftNamedVariant("path", "cap_flags", 7, {"path": 5}),
    KsftNamedVariant("pkts", "cap_max_pkts", 4, {"segments": 5}),
    KsftNamedVariant("pkt_len", "cap_max_pkt_len", 1199, {}),
])
def caps(cfg, knob, value, options):
    """ Software seals what the device says that it cannot """
    link = quic_init_nsim(cfg)

    options = dict(options)
    if "ipver" in options:
        options["address"] = cfg.remote_addr_v[options.pop("ipver")]
    traffic = link.run(count=10, **options)
    check_clean(traffic)
    check_device(traffic)
    old = link.read_knob(knob)
    link.knob(knob, value)
    defer(link.knob, knob, old)
    traffic = link.run(count=10, settle_ms=0, **options)
    check_clean(traffic)
    check_software(traffic)


def tap_unread(cfg):
    """ A packet socket that nobody reads does not keep keys in the device """
    link = quic_init(cfg)

    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW,
                       socket.htons(ETH_P_ALL)) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        sock.bind((link.ifname, 0))
        traffic = link.run(replace_flow=3)
        check_clean(traffic)
        check_mostly_device(traffic)
        link.check_no_keys_left()
        # It did get some of those that are to be sealed
        sock.setblocking(False)
        ksft_true(_has_marker(sock), "nothing was tapped")


def _max_device_keys(cfg, limit):
    link = quic_init(cfg)

    sysctl("net.quic_crypto." + limit, 2)
    traffic = link.run(flows=5, settle_ms=0, interval_us=1000, count=200)
    check_clean(traffic)
    check(traffic, QuicTxDevice=2, QuicTxDeviceError=0)
    ksft_gt(traffic["QuicTxDevicePackets"], 0)
    ksft_gt(traffic["QuicTxSwPackets"], 120)
    link.check_no_keys_left()
    # Their places are free again
    traffic = link.run(flows=2)
    check_clean(traffic)
    check_device(traffic)


def max_device_keys(cfg):
    """ A namespace may have so many keys in devices """
    _max_device_keys(cfg, "max_device_keys")


def max_user_device_keys(cfg):
    """ A user may have so many keys in devices """
    _max_device_keys(cfg, "max_user_device_keys")


def _has_marker(sock):
    try:
        while True:
            if b"QUIC-PLAINTEXT!!" in sock.recv(65536):
                return True
    except BlockingIOError:
        return False


def segmentation_off(cfg):
    """ The device cannot segment """
    link = quic_init(cfg)

    link.feature_off("tx-udp-segmentation")
    for traffic in ciphers_and_sizes(link):
        check_device(traffic)


def sg_off(cfg):
    """ The device takes no scattered data """
    link = quic_init(cfg)

    link.feature_off("sg")
    for traffic in ciphers_and_sizes(link, pn_len=2):
        check_safe(traffic)


def stats(cfg):
    """ Sealed bytes are those of the packets or of the wire, none else """
    link = quic_init(cfg)

    before = link.counters()
    traffic = link.run(size=1000, count=10)
    check_clean(traffic)
    check(traffic, QuicTxDeviceBytes=9000, QuicTxSwBytes=1000)
    ksft_gt(traffic["tx_quic_encrypted_bytes"], 8000)
    ksft_ge(9000, traffic["tx_quic_encrypted_bytes"])
    ksft_in("QuicCurrTxDevice", link.kernel_counters())

    link.check_no_keys_left()
    after = link.counters()
    for name in ("tx_quic_ctx", "tx_quic_del"):
        ksft_eq(after[name] - before[name], 1, name)


def tracepoints(cfg):
    """ Keys that come, go, or are refused leave traces """
    link = quic_init(cfg)

    trace_file = trace_events()
    link.run(count=3)
    link.check_no_keys_left()
    expected = ["add: netdev={} cid=[0-9a-f]+ gen=0 dir=tx pkt_num=1000 err=0",
                "del: netdev={} cid=[0-9a-f]+ gen=0 dir=tx"]
    if link.nsim:
        link.knob("refuse_add", errno.ENOSPC)
        defer(link.knob, "refuse_add", 0)
        link.run(count=1)
        expected.append("add: netdev={} .* err=-28 .*refused")

    trace = trace_file.read_text(encoding="ascii")
    for what in expected:
        pattern = "quic_device_" + what.format(link.ifname)
        ksft_true(re.search(pattern, trace), f"no trace of {pattern}")


@ksft_variants([("4", 1), ("4", 20), ("6", 1), ("6", 20)])
def ip_options(cfg, ipver, segments):
    """ Devices need not know their way around IP options """
    cfg.require_ipver(ipver)
    link = quic_init(cfg)

    traffic = link.run(address=cfg.remote_addr_v[ipver], ip_options=True,
                       segments=segments, settle_ms=0)
    check_clean(traffic)
    check_software(traffic)


def time_stamps(cfg):
    """ Copies of packets in error queues do not keep keys in the device """
    link = quic_init(cfg)

    with link.load(seconds=1, timestamps=True, delete_flows=True,
                   hold=True) as load:
        link.check_no_keys_left()
    check_safe(load)
    check(load, tx_quic_ctx=1)


def _unreachables():
    return (snmp("Icmp")["OutDestUnreachs"] +
            snmp6().get("Icmp6OutDestUnreachs", 0))


def _own_address(link, ipver):
    """ Move an address to the other end while it is in use """
    if ipver == "4":
        addr, via = "203.0.113.50", "192.0.2.2"
        ip(f"addr add {addr}/32 dev lo")
        undo = defer(ip, f"addr del {addr}/32 dev lo")
    else:
        addr, via = "2001:db8:2::50", "2001:db8::2"
        undo = None

    def move():
        if undo:
            undo.exec()
        ip(f"-{ipver} route replace {addr} via {via} dev {link.ifname}")
        defer(ip, f"-{ipver} route del {addr} via {via} dev {link.ifname}")

    return addr, move


@ksft_variants([("4", "own"), ("4", "moved"), ("6", "own"), ("6", "moved")])
def icmp_error(cfg, ipver, source):
    """
    The neighbour does not answer. ICMP errors quote packets that have not got
    as far as the device, and show nothing of them: neither to other hosts nor
    to packet sockets on the loopback device. The source address may belong to
    another host by then.
    """
    link = quic_init_nsim(cfg)

    pfx = cfg.nsim_v4_pfx if ipver == "4" else cfg.nsim_v6_pfx
    sysctl(f"net.ipv{ipver}.neigh.{link.ifname}.mcast_solicit", 1)
    defer(ip, f"neigh flush dev {link.ifname}")
    options = {"address": pfx + "99"}
    move = None
    if source == "moved":
        options["source"], move = _own_address(link, ipver)
        # The address moves before the neighbour is given up
        sysctl(f"net.ipv{ipver}.neigh.{link.ifname}.retrans_time_ms", 4000)

    errors = _unreachables()
    with link.load(interval_us=200000, segments=10, capture=[":lo"],
                   wait_ms=200, **options) as load:
        if move:
            move()
        wait_until(lambda: _unreachables() > errors, 10, "no ICMP error")
    # The first call was sealed by software
    ksft_ge(load["QuicTxDevicePackets"], 10)
    check(load, received=0, plain=0)


def neighbour(cfg):
    """ Packets may wait for an address to be resolved """
    link = quic_init(cfg)

    for _ in range(3):
        ip(f"neigh flush dev {link.ifname}")
        traffic = link.run(count=10)
        check_clean(traffic)
        check_device(traffic)


@ksft_variants([("4", 1), ("4", 20), ("6", 1), ("6", 20)])
def netem(cfg, ipver, segments):
    """ netem takes packets from their sockets """
    cfg.require_ipver(ipver)
    link = quic_init(cfg)

    link.add_qdisc("netem delay 1ms")
    # What is due at once must fit into the ring of the device, 256 packets
    traffic = link.run(address=cfg.remote_addr_v[ipver], segments=segments,
                       interval_us=2000)
    check_clean(traffic)
    check_device(traffic)


@ksft_variants([
    KsftNamedVariant("gso", {"key_update": 5, "segments": 4}, 20, .5),
    KsftNamedVariant("every_third_call", {"key_update": 3, "count": 102}, 34,
                     .25),
    KsftNamedVariant("flows", {"key_update": 4, "flows": 4}, None, .5),
])
def key_update(cfg, options, keys, share):
    """
    Every key goes into the device, where there is no room for it before the
    last key but one has left
    """
    link = quic_init(cfg)

    traffic = link.run(**options)
    check_clean(traffic)
    check_mostly_device(traffic, share)
    if keys:
        check(traffic, QuicTxDevice=keys)


def delete_load(cfg):
    """ Flows come and go """
    link = quic_init(cfg)

    traffic = link.run(replace_flow=3)
    check_clean(traffic)
    check_mostly_device(traffic)
    check(traffic, QuicTxDevice="QuicTxSwPackets")

    traffic = link.run(replace_flow=10, count=200, flows=3, segments=4,
                       key_update=4)
    check_clean(traffic)
    check_mostly_device(traffic)
    # Flows that are too short for a device
    check_clean(link.run(replace_flow=1, settle_ms=0))


def two_generations(cfg):
    """ A device has at most two generations, however long packets wait """
    link = quic_init(cfg)

    link.add_qdisc("tbf rate 1mbit burst 5k limit 1m")
    most = 0
    with link.load(key_update=4, interval_us=4000) as load:
        for _ in range(40):
            load.proceed(4)
            most = max(most, link.kernel_counters()["QuicCurrTxDevice"])
    check_clean(load)
    check_no_drops(load)
    ksft_eq(most, 2, "generations in the device")


@ksft_variants([
    KsftNamedVariant("delete", {"count": 40, "segments": 2,
                                "delete_flows": True}),
    KsftNamedVariant("replace", {"replace_flow": 10}),
    KsftNamedVariant("close", {"close": True}),
    KsftNamedVariant("close_gso", {"count": 20, "segments": 8,
                                   "close": True}),
    KsftNamedVariant("update", {"count": 60, "key_update": 20,
                                "settle_ms": 200}),
    KsftNamedVariant("v6_delete", {"count": 40, "segments": 2,
                                   "delete_flows": True}, "6"),
    KsftNamedVariant("v6_close", {"close": True}, "6"),
])
def in_flight(cfg, options, ipver="4"):
    """ A key goes when its last packet has gone """
    cfg.require_ipver(ipver)
    link = quic_init(cfg)

    link.add_qdisc("tbf rate 4mbit burst 5k limit 1m")
    traffic = link.run(address=cfg.remote_addr_v[ipver], **options)
    check_clean(traffic)
    check_mostly_device(traffic)


def toggle_gso(cfg):
    """ Segmentation and scatter-gather go and come back """
    link = quic_init(cfg)

    defer(link.offload_on)
    with link.load(segments=20) as load:
        for _ in rounds(5):
            for feature in ("tx-udp-segmentation", "sg", "gso"):
                for state in ("off", "on"):
                    cmd(f"ethtool -K {link.ifname} {feature} {state}",
                        fail=False)
                    load.proceed(20)
    check_clean(load)
    check_no_drops(load)


@ksft_variants([
    KsftNamedVariant("gcm", {"cipher": "aes-256-gcm"}, True),
    KsftNamedVariant("no_cid", {"cid_len": 0}, True),
    KsftNamedVariant("short_pn", {"pn_len": 1}, True),
    KsftNamedVariant("update", {"key_update": 20}, True),
    KsftNamedVariant("flows", {"flows": 4}, True),
    KsftNamedVariant("gso", {"segments": 5}, False),
    KsftNamedVariant("long_cid", {"cid_len": 20}, False),
    KsftNamedVariant("chacha", {"cipher": "chacha20-poly1305"}, False),
])
def stateful(cfg, options, device):
    """ A device like those that there are, which can do less """
    link = quic_init_nsim(cfg)

    link.knob("stateful", 1)
    defer(link.knob, "stateful", 0)
    if not device:
        options = {"settle_ms": 0, **options}
    traffic = link.run(**options)
    check_clean(traffic)
    if not device:
        check_software(traffic)
        return
    check_mostly_device(traffic)
    # Software has sealed the first packets, the device is told once a key
    ksft_ge(traffic["QuicTxDevice"], traffic["tx_quic_resync"])


def main() -> None:
    """ Ksft boiler plate main """

    with NetDrvEpEnv(__file__) as cfg:
        ksft_run(cases=[
            wire, layout, packet_number_gaps, flow_id, multipath,
            connected, user_space_packets,
            several_users, tap, caps, tap_unread,
            max_device_keys, max_user_device_keys, segmentation_off, sg_off,
            stats, tracepoints, ip_options, time_stamps, icmp_error, neighbour,
            netem, key_update, delete_load, two_generations, in_flight,
            toggle_gso, stateful,
        ], args=(cfg, ))
    ksft_exit()


if __name__ == "__main__":
    main()
