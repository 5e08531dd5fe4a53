#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

"""
Tests of devices that open QUIC packets.

libcrypto seals the packets that the other end of the link sends. Whatever
recvmsg() says of a packet must be true, whoever has opened it, and nobody but
the owner of its key may ever see its plaintext.

The tests run on any device, but both ends of the link have to be on the same
host: REMOTE_TYPE=netns. Most of them need netdevsim.
"""

import errno
import os
import re
import signal
import socket
import struct
from pathlib import Path

from lib.py import ksft_run, ksft_exit, ksft_eq, ksft_ge, ksft_gt, ksft_true
from lib.py import ksft_disruptive, ksft_variants, KsftNamedVariant
from lib.py import KsftSkipEx
from lib.py import NetDrvEpEnv, NetNS, cmd, defer, ethtool, ip, tc
from lib.py.quic import CIPHERS, RxMainLink, Shake, TIME_SCALE, add_link
from lib.py.quic import check
from lib.py.quic import check_rx_clean, check_rx_device
from lib.py.quic import check_rx_mostly_device, check_rx_safe
from lib.py.quic import check_rx_software, fail_slab, nsim_pair, or_skip
from lib.py.quic import quic_init, quic_init_nsim, rounds, spare_link, sysctl
from lib.py.quic import EXTRA_V4, EXTRA_REMOTE_V4, EXTRA_V6, EXTRA_REMOTE_V6
from lib.py.quic import trace_events, wait_until, write_file

ETH_P_ALL = 3

# What devices that there are can do, see "stateful" of netdevsim
GCM = [cipher for cipher in CIPHERS if "gcm" in cipher]


def _init(cfg):
    return quic_init(cfg, RxMainLink)


def _init_nsim(cfg):
    return quic_init_nsim(cfg, RxMainLink)


def _knob(link, name, value, undo=0):
    """ A knob of netdevsim, for the test """
    link.knob(name, value)
    return defer(link.knob, name, undo)


def _ends(cfg, ipver):
    """ Options for traffic of one IP version """
    return {"address": cfg.addr_v[ipver], "source": cfg.remote_addr_v[ipver]}


#
# Every packet is what it should be
#

def _wire_variants():
    for ipver in ("4", "6"):
        for cipher in CIPHERS:
            for segments in (1, 40):
                yield ipver, cipher, segments


@ksft_variants(_wire_variants())
def wire(cfg, ipver, cipher, segments):
    """ The device opens what libcrypto has sealed """
    cfg.require_ipver(ipver)
    link = _init(cfg)

    traffic = link.run(cipher=cipher, segments=segments, gro=segments > 1,
                       count=20 // segments + 4, **_ends(cfg, ipver))
    check_rx_clean(traffic)
    check_rx_device(traffic)
    ksft_gt(traffic["captured"], 20, "captured")
    check(traffic, QuicRxDevice=1, rx_quic_ctx=1)
    if segments > 1:
        ksft_gt(traffic["merged"], 0, "merged")


LAYOUTS = [
    KsftNamedVariant("no_cid", {"cid_len": 0}),
    KsftNamedVariant("short_cid", {"cid_len": 4}),
    KsftNamedVariant("long_cid", {"cid_len": 20, "segments": 11}),
    KsftNamedVariant("peer", {"peer": True}),
    KsftNamedVariant("small", {"size": 200, "segments": 100, "count": 20}),
    KsftNamedVariant("odd", {"size": 217, "segments": 7}),
    KsftNamedVariant("large", {"size": 1400, "segments": 40, "count": 20}),
    KsftNamedVariant("short_pn", {"pn_len": 1}),
    KsftNamedVariant("short_pn_gro", {"pn_len": 1, "size": 300, "gro": True,
                                      "segments": 120, "count": 20}),
    KsftNamedVariant("pn_2", {"pn_len": 2, "segments": 40, "count": 20}),
    KsftNamedVariant("pn_3", {"pn_len": 3, "segments": 40, "gro": True,
                              "count": 20}),
    KsftNamedVariant("v6_odd", {"size": 217, "segments": 7}, "6"),
    KsftNamedVariant("v6_short_pn_gro", {"pn_len": 1, "size": 300, "gro": True,
                                         "segments": 120, "count": 20}, "6"),
]


@ksft_variants(LAYOUTS)
def layout(cfg, options, ipver="4"):
    """ Packets of different sizes and headers """
    cfg.require_ipver(ipver)
    link = _init(cfg)

    traffic = link.run(**_ends(cfg, ipver), **options)
    check_rx_clean(traffic)
    check_rx_device(traffic)


@ksft_variants(CIPHERS)
def multipath(cfg, cipher):
    """ The number of the path is a part of the nonce """
    link = _init_nsim(cfg)

    traffic = link.run(cipher=cipher, path=0x01020304, segments=3)
    check_rx_clean(traffic)
    check_rx_device(traffic)


@ksft_variants([
    KsftNamedVariant("turns", {"segments": 3}),
    KsftNamedVariant("gro", {"segments": 10, "gro": True}),
    KsftNamedVariant("mixed", {"segments": 30, "mix": True}),
    KsftNamedVariant("mixed_gro", {"segments": 30, "mix": True, "gro": True}),
    KsftNamedVariant("v6_mixed_gro",
                     {"segments": 30, "mix": True, "gro": True}, "6"),
])
def flows(cfg, options, ipver="4"):
    """ Packets of different keys are never merged """
    cfg.require_ipver(ipver)
    link = _init(cfg)

    traffic = link.run(flows=5, count=50, **_ends(cfg, ipver), **options)
    check_rx_clean(traffic)
    check_rx_device(traffic)
    check(traffic, QuicRxDevice=5)
    if options.get("gro"):
        ksft_gt(traffic["merged"], 0, "merged")


@ksft_variants([(1, 100), (2, 300), (4, 300)])
def number_jump(cfg, pn_len, jump):
    """ GRO merges only packets whose numbers can be told from the first """
    link = _init(cfg)

    traffic = link.run(pn_len=pn_len, pn_jump=jump, segments=40, gro=True,
                       count=20)
    check_rx_clean(traffic)
    check_rx_device(traffic)
    ksft_gt(traffic["merged"], 0, "merged")


@ksft_variants([("4", False), ("4", True), ("6", True)])
def wrong_tag(cfg, ipver, gro):
    """ What is not authentic comes as it was on the wire, never merged """
    link = _init(cfg)

    traffic = link.run(wrong_tag=7, segments=20, gro=gro, count=20,
                       **_ends(cfg, ipver))
    check_rx_clean(traffic)
    wrong = traffic["sent"] // 7
    check(traffic, auth_failed=wrong, opened=traffic["sent"] - wrong,
          QuicDecryptError=wrong, QuicRxDeviceMisdelivered=0,
          rx_quic_decrypted_packets="QuicRxDevicePackets")
    # Software gets the first call, and never takes part otherwise
    check(traffic, QuicRxSwPackets=20 - 20 // 7,
          rx_quic_err=wrong - 20 // 7)


def corrupt(cfg):
    """ What the device fails to open for another reason, software opens """
    link = _init_nsim(cfg)

    _knob(link, "rx_corrupt", 5)
    traffic = link.run(segments=3, gro=True)
    check_rx_clean(traffic)
    check(traffic, opened="sent", rx_quic_err=5,
          QuicRxSwPackets=traffic.first + 5,
          rx_quic_decrypted_packets=traffic["sent"] - traffic.first - 5)


#
# Every way to receive
#

@ksft_variants([
    KsftNamedVariant("read", {"read": True}),
    KsftNamedVariant("read_gro", {"read": True, "gro": True, "segments": 20}),
    KsftNamedVariant("no_room", {"no_room": True}),
    KsftNamedVariant("no_room_gro", {"no_room": True, "gro": True,
                                     "segments": 20}),
    KsftNamedVariant("v6_read_gro", {"read": True, "gro": True,
                                     "segments": 20}, "6"),
])
def no_element(cfg, options, ipver="4"):
    """
    A program that cannot be told what the packets are gets what was on the
    wire, although the device has opened them.
    """
    cfg.require_ipver(ipver)
    link = _init(cfg)

    for cipher in CIPHERS:
        traffic = link.run(count=20, cipher=cipher, **_ends(cfg, ipver),
                           **options)
        check_rx_clean(traffic)
        check(traffic, opened=traffic.first,
              wire=traffic["sent"] - traffic.first,
              rx_quic_decrypted_packets="wire", QuicRxDeviceMisdelivered=0)


def short_buffer(cfg):
    """ A packet that is cut off comes as it was on the wire """
    link = _init(cfg)

    traffic = link.run(count=20, short_buffer=500)
    check_rx_clean(traffic)
    check(traffic, opened=1, not_tried=19, rx_quic_decrypted_packets=19)


@ksft_variants([("4", 1, False), ("4", 20, False), ("4", 20, True),
                ("6", 20, True)])
def peek(cfg, ipver, segments, gro):
    """ MSG_PEEK tells the same as the call that follows """
    cfg.require_ipver(ipver)
    link = _init(cfg)

    traffic = link.run(peek=True, segments=segments, gro=gro, count=20,
                       **_ends(cfg, ipver))
    check_rx_clean(traffic)
    check_rx_device(traffic)


@ksft_variants([("4", 1), ("4", 20), ("6", 20)])
def rx_drop(cfg, ipver, segments):
    """ UDP_QUIC_RX_DROP keeps what the device has opened """
    cfg.require_ipver(ipver)
    link = _init(cfg)

    traffic = link.run(rx_drop=True, segments=segments, gro=True, count=20,
                       **_ends(cfg, ipver))
    check_rx_clean(traffic)
    check_rx_device(traffic)


@ksft_variants([
    KsftNamedVariant(f"{how}_{name}", how, options)
    for how in ("recvmmsg", "io_uring", "multishot")
    for name, options in (("turns", {"flows": 3}),
                          ("many", {"segments": 20}),
                          ("gro", {"segments": 20, "gro": True}))])
def receive(cfg, how, options):
    """ Calls for many datagrams, and those that do not wait for any """
    link = _init(cfg)

    traffic = link.run(how=how, count=30, **options)
    check_rx_clean(traffic)
    check_rx_device(traffic)
    if options.get("gro"):
        ksft_gt(traffic["merged"], 0, "merged")


@ksft_variants([("4", 1), ("4", 20), ("6", 20)])
def trimmed(cfg, ipver, segments):
    """
    A socket filter cuts what the device has opened. The rest is not authentic:
    nobody gets it, and those that follow come as they were on the wire.
    """
    cfg.require_ipver(ipver)
    link = _init(cfg)

    traffic = link.run(trim=500, segments=segments, count=20, step_ms=20,
                       **_ends(cfg, ipver))
    check(traffic, bad=0, plain=0, duplicate=0, unexpected=0, errors=0,
          opened=segments, QuicRxDevicePackets=0,
          QuicRxDeviceMisdelivered="lost",
          auth_failed=19 * segments - traffic["lost"])
    ksft_gt(traffic["lost"], 0, "lost")
    ksft_gt(traffic["auth_failed"], 0, "packets as on the wire")


@ksft_variants([("4", 1), ("4", 20), ("6", 20)])
def reuseport(cfg, ipver, segments):
    """ Packets for another socket of the group come as on the wire """
    cfg.require_ipver(ipver)
    link = _init(cfg)

    traffic = link.run(reuseport=True, rebind=12, count=240,
                       segments=segments, gro=segments > 1,
                       interval_us=1000, **_ends(cfg, ipver))
    check(traffic, lost=0, bad=0, plain=0, duplicate=0, unexpected=0,
          errors=0, opened=traffic["sent"] - traffic["wire"],
          QuicRxDeviceMisdelivered=0,
          rx_quic_decrypted_packets="QuicRxDevicePackets")
    ksft_gt(traffic["wire"], 0, "packets of the other socket")
    ksft_gt(traffic["QuicRxDevicePackets"], 0, "QuicRxDevicePackets")


def _fail_slab():
    """ Let programs choose allocations that fail """
    for name in ("ignore-gfp-wait", "cache-filter"):
        path = Path("/sys/kernel/debug/failslab", name)
        if not path.exists():
            raise KsftSkipEx("no fault injection")
        write_file(path, "N")


@ksft_variants([
    KsftNamedVariant("single", {}),
    KsftNamedVariant("gro", {"gro": True, "segments": 10}),
])
def no_memory(cfg, options):
    """
    There is no memory to make a packet what it was on the wire. It is lost,
    but the device keeps the key.
    """
    link = _init(cfg)

    _fail_slab()
    traffic = link.run(no_room=True, no_memory=True, count=100, step_ms=20,
                       **options)
    check(traffic, bad=0, plain=0, duplicate=0, unexpected=0, errors=0,
          opened=traffic.first, QuicRxDevice=1,
          wire=traffic["sent"] - traffic.first - traffic["lost"],
          rx_quic_decrypted_packets=traffic["sent"] - traffic.first)
    ksft_gt(traffic["QuicRxDeviceMisdelivered"], 0, "dropped")
    ksft_ge(traffic["lost"], traffic["QuicRxDeviceMisdelivered"], "lost")
    ksft_gt(traffic["wire"], 0, "packets as on the wire")


def open_limit(cfg):
    """ Beyond the limit of failed packets, nobody opens any more """
    link = _init(cfg)

    sysctl("net.quic_crypto.open_limit", 5)
    traffic = link.run(wrong_tag=10, count=100)
    check(traffic, lost=0, bad=0, plain=0, duplicate=0, errors=0,
          auth_failed=5, key_limit=50, opened=45)
    check(traffic, QuicRxKeyLimit=50)
    # It does not open for nothing
    ksft_ge(60, traffic["rx_quic_decrypted_packets"], "opened by the device")


@ksft_variants([
    KsftNamedVariant("list", "4", "rx-gro-list"),
    KsftNamedVariant("forwarding", "4", "rx-udp-gro-forwarding"),
    KsftNamedVariant("v6_list", "6", "rx-gro-list"),
    KsftNamedVariant("v6_forwarding", "6", "rx-udp-gro-forwarding"),
])
def gro_kind(cfg, ipver, feature):
    """ Packets that GRO merges for forwarding are the same when they arrive """
    cfg.require_ipver(ipver)
    link = _init_nsim(cfg)

    or_skip(ethtool, f"-K {link.ifname} {feature} on")
    defer(ethtool, f"-K {link.ifname} {feature} off")
    for gro in (False, True):
        for options in ({"flows": 5, "mix": True, "segments": 30},
                        {"pn_len": 1, "segments": 40},
                        {"pn_jump": 300, "segments": 40}):
            traffic = link.run(gro=gro, count=10, **_ends(cfg, ipver),
                               **options)
            check_rx_clean(traffic)
            check_rx_device(traffic)


def _seal(link):
    """ Let the device at the other end seal """
    def remote(args):
        or_skip(ethtool, f"-K {link.remote_ifname} {args}", ns=link.remote_ns)

    remote("sg on tx-checksum-ip-generic on tx-udp-segmentation on")
    remote("quic-hw-tx-offload on")
    defer(remote, "quic-hw-tx-offload off")
    defer(remote, "sg off tx-checksum-ip-generic off")


def _sealed(link):
    text = cmd("cat /proc/net/quic_stat", ns=link.remote_ns).stdout
    return int(dict(map(str.split, text.splitlines()))["QuicTxDevicePackets"])


@ksft_variants([(ipver, segments) for ipver in ("4", "6")
                for segments in (1, 20)])
def both_directions(cfg, ipver, segments):
    """ A device seals, a device opens """
    cfg.require_ipver(ipver)
    link = _init_nsim(cfg)

    _seal(link)
    before = _sealed(link)
    traffic = link.run(kernel_seals=True, segments=segments,
                       gro=segments > 1, interval_us=1000, key_update=50,
                       **_ends(cfg, ipver))
    check_rx_clean(traffic)
    check_rx_mostly_device(traffic)
    ksft_gt(_sealed(link) - before, traffic["sent"] // 2, "sealed")


#
# The flow changes
#

@ksft_variants([
    KsftNamedVariant("single", {"key_update": 10, "count": 60}, 6),
    KsftNamedVariant("gro", {"key_update": 5, "segments": 4, "gro": True}, 20),
    KsftNamedVariant("flows", {"key_update": 4, "flows": 4}, None),
])
def key_update(cfg, options, keys):
    """ Every generation goes into the device """
    link = _init(cfg)

    traffic = link.run(**options)
    check_rx_clean(traffic)
    check_rx_mostly_device(traffic)
    if keys:
        check(traffic, QuicRxDevice=keys)


def two_generations(cfg):
    """ A device has at most two generations of a flow """
    link = _init(cfg)

    most = 0
    with link.load(key_update=5, interval_us=2000) as load:
        for _ in range(30):
            load.proceed(3)
            most = max(most, link.kernel_counters()["QuicCurrRxDevice"])
    check_rx_clean(load)
    ksft_ge(2, most, "generations in the device")


@ksft_variants([
    KsftNamedVariant("cid", {"cids": 60}),
    KsftNamedVariant("cid_gro", {"cids": 30, "segments": 8, "gro": True}),
    KsftNamedVariant("port", {"rebind": 60}),
    KsftNamedVariant("port_gro", {"rebind": 30, "segments": 8, "gro": True}),
    KsftNamedVariant("port_update", {"rebind": 40, "key_update": 60}),
    KsftNamedVariant("v6_cid_gro", {"cids": 30, "segments": 8, "gro": True},
                     "6"),
    KsftNamedVariant("v6_port", {"rebind": 60}, "6"),
])
def follow(cfg, options, ipver="4"):
    """ The key in the device follows the packets of the flow """
    cfg.require_ipver(ipver)
    link = _init(cfg)

    traffic = link.run(count=240, interval_us=2000, **_ends(cfg, ipver),
                       **options)
    check_rx_clean(traffic)
    check_rx_mostly_device(traffic)
    ksft_ge(traffic["QuicRxDevice"], 3, "keys")


def replay(cfg):
    """ Copies of packets, from elsewhere, do not move the key """
    link = _init(cfg)

    traffic = link.run(count=200, replay=20)
    check(traffic, lost=0, bad=0, plain=0, duplicate=200, errors=0,
          opened=400, QuicRxDevice=1, QuicRxDeviceMisdelivered=0)
    # all but the copies
    ksft_ge(traffic["QuicRxDevicePackets"], 190, "QuicRxDevicePackets")


def in_vain(cfg):
    """ A device that never opens a packet does not keep the key """
    link = _init_nsim(cfg)

    _knob(link, "rx_corrupt", 1000000)
    # The first second does not count
    traffic = link.run(count=400, segments=40, gro=True, interval_us=5000)
    check_rx_clean(traffic)
    check(traffic, opened="sent", QuicRxDevice=1, QuicRxDevicePackets=0,
          QuicRxDeviceResync=8)
    ksft_gt(traffic["sent"] - traffic["rx_quic_err"], 1000,
            "packets without a key in the device")


@ksft_variants(["4", "6"])
def follow_address(cfg, ipver):
    """ The peer has another address now and then """
    cfg.require_ipver(ipver)
    link = _init_nsim(cfg)

    other = (cfg.nsim_v4_pfx if ipver == "4" else cfg.nsim_v6_pfx) + "77"
    link.add_remote_addr(other + ("/24" if ipver == "4" else "/64 nodad"))
    ends = _ends(cfg, ipver)
    ends["source"] = [ends["source"], other]
    traffic = link.run(count=240, rebind=60, interval_us=2000, **ends)
    check_rx_clean(traffic)
    check_rx_mostly_device(traffic)
    ksft_ge(traffic["QuicRxDevice"], 3, "keys")


def alternate(cfg):
    """ Packets by two paths in turn: no key moves with each of them """
    link = _init(cfg)

    traffic = link.run(count=200, cids=1)
    check_rx_clean(traffic)
    check(traffic, opened="sent")
    ksft_ge(10, traffic["QuicRxDevice"], "keys")


def alternate_runs(cfg):
    """ Packets by several paths in turn, many by each: a key moves seldom """
    link = _init(cfg)

    traffic = link.run(count=1000, cids=20, interval_us=1000)
    check_rx_clean(traffic)
    check(traffic, opened="sent")
    ksft_ge(traffic["QuicRxDevice"], 3, "keys")
    ksft_ge(12, traffic["QuicRxDevice"], "keys")


@ksft_variants([1, 20])
def unalias(cfg, segments):
    """ Packets with a connection ID that was removed are not opened """
    link = _init(cfg)

    traffic = link.run(count=10, cids=100, segments=segments,
                       queued="unalias")
    check(traffic, lost=0, bad=0, plain=0, duplicate=0, unexpected=0,
          errors=0, no_flow=segments, opened=traffic["sent"] - segments,
          QuicRxDeviceMisdelivered=0, QuicRxDevicePackets=9 * segments,
          rx_quic_decrypted_packets="QuicRxDevicePackets")


#
# Packets that wait while the key goes
#

@ksft_variants([
    KsftNamedVariant("single", {}),
    KsftNamedVariant("gro", {"gro": True}),
    KsftNamedVariant("peek", {"peek": True}),
    KsftNamedVariant("peek_gro", {"peek": True, "gro": True}),
    KsftNamedVariant("v6_peek_gro", {"peek": True, "gro": True}, "6"),
])
def queued_delete(cfg, options, ipver="4"):
    """ The flow is deleted: the next datagram is the one that is read """
    cfg.require_ipver(ipver)
    link = _init(cfg)

    traffic = link.run(count=10, segments=4, queued="delete",
                       **_ends(cfg, ipver), **options)
    check(traffic, lost=4, bad=0, plain=0, unexpected=0, errors=0,
          opened=40, no_flow=1, QuicRxDeviceMisdelivered=4,
          QuicRxDevicePackets=36, rx_quic_decrypted_packets=40)


@ksft_variants([False, True])
def queued_replace(cfg, gro):
    """ The flow gets other keys: nothing opened with the old ones is read """
    link = _init(cfg)

    traffic = link.run(count=10, segments=4, gro=gro, queued="replace")
    check(traffic, lost=4, bad=0, plain=0, unexpected=0, errors=0,
          opened=40, no_flow=1, QuicRxDeviceMisdelivered=4)


def queued_close(cfg):
    """ The socket is closed: no key stays, nor does anything leak """
    link = _init(cfg)

    traffic = link.run(count=10, segments=4, queued="close")
    check(traffic, lost=4, bad=0, plain=0, unexpected=0, opened=40,
          rx_quic_decrypted_packets=40)
    link.check_no_keys_left()


def _stopped(traffic):
    stat = Path(f"/proc/{traffic.pid}/stat").read_text(encoding="ascii")
    return stat.rsplit(")", 1)[1].split()[0] == "T"


def _while_queued(link, func, **options):
    """ Call @func with opened packets in the queue of the socket """
    traffic = link.start(count=10, segments=4, queued="stop",
                         settle_ms=2000 * TIME_SCALE, **options)
    wait_until(lambda: _stopped(traffic), 20, "the receiver does not stop")
    func()
    os.kill(traffic.pid, signal.SIGCONT)
    traffic.finish()
    check(traffic, bad=0, plain=0, unexpected=0, errors=0,
          rx_quic_decrypted_packets=40)
    return traffic


def queued(cfg):
    """ Nothing happens: the packets are handed up """
    link = _init(cfg)

    traffic = _while_queued(link, lambda: None)
    check_rx_clean(traffic)
    check_rx_device(traffic)


@ksft_variants(["4", "6"])
@ksft_disruptive
def queued_down(cfg, ipver):
    """ The device goes down: what it has opened is handed up all the same """
    cfg.require_ipver(ipver)
    link = _init(cfg)

    def down_up():
        link.down()
        ksft_true(link.has_no_keys(), "no keys while it is down")
        link.up()

    traffic = _while_queued(link, down_up, **_ends(cfg, ipver))
    check_rx_clean(traffic)
    check_rx_device(traffic)


def queued_reset(cfg):
    """ The device is reset: the same """
    link = _init_nsim(cfg)

    traffic = _while_queued(link, lambda: link.knob("reset", 1))
    check_rx_clean(traffic)
    check_rx_device(traffic)


@ksft_variants([("4", 1), ("4", 20), ("6", 20)])
def steal(cfg, ipver, segments):
    """
    Another socket gets the packets. It never reads plaintext: what the device
    has opened is dropped, until packets come as they were on the wire.
    """
    cfg.require_ipver(ipver)
    link = _init(cfg)

    traffic = link.run(count=20, segments=segments, steal=True,
                       **_ends(cfg, ipver))
    check(traffic, bad=0, plain=0, duplicate=0, unexpected=0, errors=0,
          opened=20 * segments, QuicRxDeviceMisdelivered="lost")
    ksft_gt(traffic["lost"], 0, "lost")
    ksft_gt(traffic["wire"], 10 * segments, "packets as on the wire")


#
# Things happen to the device
#

def toggle(cfg):
    """ The feature flag governs new keys """
    link = _init_nsim(cfg)

    defer(link.offload_on)
    with link.load(segments=3) as load:
        load.until_device()
        link.offload("off")
        load.until_device("once the flag is off")
        traffic = link.start(port=4434, key_update=10).finish()
        check_rx_clean(traffic)
        check(traffic, QuicRxDevice=0, opened="sent")
        link.offload("on")
    check_rx_clean(load)


def toggle_load(cfg):
    """ The feature flag changes while keys do """
    link = _init_nsim(cfg)

    defer(link.offload_on)
    with link.load(segments=3, key_update=7) as load:
        for _ in rounds(8):
            link.offload("off")
            load.proceed(20)
            link.offload("on")
            load.proceed(20)
    check_rx_clean(load)


def toggle_checksum(cfg):
    """ Without checksums in the device it takes no keys, but keeps its own """
    link = _init_nsim(cfg)

    defer(link.offload_on)
    with link.load(segments=3) as load:
        load.until_device()
        ethtool(f"-K {link.ifname} rx off")
        ksft_true(not link.is_offload_on(), "on without checksums")
        load.until_device("for an old flow without checksums")
        ethtool(f"-K {link.ifname} rx on")
        ksft_true(link.is_offload_on(), "on with checksums again")
        load.until_device()
    check_rx_clean(load)


@ksft_variants(["4", "6"])
@ksft_disruptive
def down_up(cfg, ipver):
    """ A flow leaves a device that is set down, and comes back """
    cfg.require_ipver(ipver)
    link = _init_nsim(cfg)

    times = rounds(4)
    with link.load(segments=3, step_ms=20, **_ends(cfg, ipver)) as load:
        for _ in times:
            load.until_device()
            link.down()
            ksft_true(link.has_no_keys(), "no keys while it is down")
            link.up()
        load.until_device("after it was down")
    check(load, plain=0, bad=0, unexpected=0, duplicate=0)
    ksft_gt(load["QuicRxDevice"], len(times))


@ksft_variants([
    KsftNamedVariant("flows", {"flows": 4, "segments": 3, "step_ms": 20}, True),
    KsftNamedVariant("update", {"flows": 3, "segments": 3, "key_update": 20},
                     False),
])
@ksft_disruptive
def shake(cfg, options, disruptive):
    """ Whatever happens to the device, recvmsg() tells the truth """
    link = _init_nsim(cfg)

    defer(link.up)
    order = Shake(link, {"rx_drop": [0, 0, 5]}, disruptive)
    with link.load(**options) as load:
        order.run(load)
    check_rx_safe(load)


def add_refused(cfg):
    """ A key that is refused is not offered again until something changes """
    link = _init_nsim(cfg)

    _knob(link, "refuse_add", errno.ENOSPC)
    with link.load(segments=3) as load:
        wait_until(lambda: link.counters()["QuicRxDeviceError"] >
                   load.before("QuicRxDeviceError"), 10, "not refused")
        load.proceed()
        ksft_eq(link.counters()["rx_quic_ctx"], load.before("rx_quic_ctx"))
        link.knob("refuse_add", 0)
        link.offload("off")
        link.offload("on")
        load.until_device()
    check_rx_clean(load)
    check(load, QuicRxDeviceError=1, rx_quic_ctx=1)


def add_refused_busy(cfg):
    """ What will not last is tried again after a while """
    link = _init_nsim(cfg)

    _knob(link, "refuse_add", errno.ENOMEM)
    with link.load(segments=3) as load:
        wait_until(lambda: link.counters()["QuicRxDeviceError"] >
                   load.before("QuicRxDeviceError"), 10, "not refused")
        link.knob("refuse_add", 0)
        load.until_device("without any other reason")
    check_rx_clean(load)


def add_no_memory(cfg):
    """ Software opens while there is no memory to offer the key """
    link = _init_nsim(cfg)

    link.offload("off")
    defer(link.offload_on)
    with link.load(segments=3) as load:
        undo = fail_slab("quic_offload_alloc")
        link.offload("on")
        wait_until(lambda: link.counters()["QuicRxDeviceError"] >
                   load.before("QuicRxDeviceError"), 10, "nothing is counted")
        load.until_software("without memory")
        undo.exec()
        load.until_device("when there is memory")
    check_rx_clean(load)
    # The driver was not asked in vain
    check(load, QuicRxDevice=1, rx_quic_ctx=1)


def add_refused_late(cfg):
    """ An answer that comes late is as good as one that comes at once """
    link = _init_nsim(cfg)

    _knob(link, "delay_ack", 50)
    _knob(link, "refuse_add", errno.EIO)
    with link.load(segments=3) as load:
        wait_until(lambda: link.has_no_keys() and link.counters()
                   ["rx_quic_del"] > load.before("rx_quic_del"), 10,
                   "the refused key is still there")
        link.knob("refuse_add", 0)
        link.offload("off")
        link.offload("on")
        load.until_device()
    check_rx_clean(load)
    check(load, QuicRxDeviceError=1, QuicRxDevice=1, rx_quic_ctx=2)


def add_delayed(cfg):
    """ The device acknowledges keys late """
    link = _init_nsim(cfg)

    _knob(link, "delay_ack", 300)
    with link.load(segments=3) as load:
        load.until_device()
    check_rx_clean(load)
    ksft_gt(load["QuicRxSwPackets"], 0)
    # The flow goes before the device has answered
    traffic = link.run(count=1, settle_ms=0)
    check_rx_clean(traffic)
    check_rx_clean(link.run(count=20, key_update=2, settle_ms=0))


def slow(cfg):
    """ An add sleeps: nobody else waits """
    link = _init_nsim(cfg)

    link.knob("slow", 60000 * TIME_SCALE)
    undo = defer(link.knob, "slow", 0)
    with link.load(segments=3, flows=4, key_update=20) as load:
        wait_until(lambda: link.read_knob("asleep") == 1, 10, "no add sleeps")
        load.proceed(200)
        undo.exec()
        load.until_device("when the driver has woken up")
    check_rx_clean(load)


@ksft_variants([(3, 8), (20, 60)])
def table_limit(cfg, size, flows):
    """ What does not fit is opened in software, until there is room """
    link = spare_link(_init_nsim(cfg), table_size=size)

    traffic = link.run(flows=flows, count=flows * 30, interval_us=1000,
                       settle_ms=0)
    check_rx_clean(traffic)
    ksft_ge(traffic["QuicRxDeviceError"], 1)
    check(traffic, opened="sent", QuicRxDevice=size, rx_quic_ctx=size)
    ksft_gt(traffic["QuicRxDevicePackets"], 0)
    link.check_no_keys_left()
    check_rx_clean(link.run(flows=size, key_update=4, count=20 * size))


def max_device_keys(cfg):
    """ A namespace may have so many keys in devices """
    link = _init(cfg)

    sysctl("net.quic_crypto.max_device_keys", 2)
    traffic = link.run(flows=5, settle_ms=0, interval_us=1000, count=200)
    check_rx_clean(traffic)
    check(traffic, opened="sent", QuicRxDevice=2, QuicRxDeviceError=0)
    link.check_no_keys_left()
    traffic = link.run(flows=2)
    check_rx_clean(traffic)
    check_rx_device(traffic)


@ksft_variants([
    KsftNamedVariant("cipher", "rx_cap_ciphers", 2, {}),
    KsftNamedVariant("cid_len", "rx_cap_cid_lens", 0x10, {}),
    KsftNamedVariant("ipv4", "rx_cap_flags", 0xe, {}),
    KsftNamedVariant("ipv6", "rx_cap_flags", 0xd, {}, "6"),
    KsftNamedVariant("path", "rx_cap_flags", 7, {"path": 5}),
])
def caps(cfg, knob, value, options, ipver="4"):
    """ Software opens what the device says that it cannot """
    cfg.require_ipver(ipver)
    link = _init_nsim(cfg)

    options = {**options, **_ends(cfg, ipver)}
    traffic = link.run(count=10, **options)
    check_rx_clean(traffic)
    check_rx_device(traffic)
    _knob(link, knob, value, undo=link.read_knob(knob))
    traffic = link.run(count=10, settle_ms=0, **options)
    check_rx_clean(traffic)
    check_rx_software(traffic)
    check(traffic, QuicRxDeviceError=0)


def keys_lost(cfg):
    """ The device has lost its keys, the kernel does not know """
    link = _init_nsim(cfg)

    with link.load(segments=3) as load:
        load.until_device()
        link.knob("lose_keys", 1)
        load.until_software("once the keys are lost")
        load.proceed()
        link.knob("reset", 1)
        load.until_device("after a reset")
    check_rx_clean(load)
    ksft_gt(load["rx_quic_resync_skip"], 0)


def _fall_behind(link):
    """ Let the device lose track of packet numbers until it is told """
    seen = link.counters()["rx_quic_resync_ok"]
    link.knob("rx_behind", 1000)
    wait_until(lambda: link.counters()["rx_quic_resync_ok"] > seen, 10,
               "the device is not told")


@ksft_variants([1, 10])
def resync(cfg, segments):
    """ A device that has fallen behind is told where the peer is """
    link = _init_nsim(cfg)

    with link.load(segments=segments, pn_len=1, gro=segments > 1) as load:
        load.until_device()
        for _ in range(3):
            _fall_behind(link)
            load.until_device("once it was told")
    check_rx_clean(load)
    ksft_ge(load["rx_quic_err"], 24, "packets that it could not open")
    check(load, QuicRxDeviceResync="rx_quic_resync_req", opened="sent",
          QuicRxDevice=1)


def resync_backoff(cfg):
    """ A device that cannot be helped is not told again and again """
    link = _init_nsim(cfg)

    with link.load() as load:
        load.until_device()
        link.knob("rx_corrupt", 1000000)
        defer(link.knob, "rx_corrupt", 0)
        load.proceed(600)
        link.knob("rx_corrupt", 0)
        load.until_device("when it works again")
    check_rx_clean(load)
    ksft_ge(load["QuicRxDeviceResync"], 2)
    ksft_ge(12, load["QuicRxDeviceResync"])


@ksft_variants([1, 20])
def loss(cfg, segments):
    """ Numbers are completed across gaps """
    link = _init_nsim(cfg)

    _knob(link, "rx_drop", 5)
    traffic = link.run(pn_len=1, segments=segments, gro=segments > 1,
                       count=60, step_ms=20, wait_ms=200)
    check(traffic, bad=0, plain=0, duplicate=0, unexpected=0, errors=0,
          opened="received", rx_quic_err=0)
    ksft_gt(traffic["lost"], traffic["sent"] // 10, "lost")
    ksft_gt(traffic["QuicRxDevicePackets"], traffic["sent"] // 2)


def reorder(cfg):
    """ The device completes numbers of packets that have been overtaken """
    link = _init_nsim(cfg)

    or_skip(tc, f"qdisc replace dev {link.remote_ifname} root "
                "netem delay 5ms reorder 30% 50%", ns=link.remote_ns)
    defer(tc, f"qdisc del dev {link.remote_ifname} root", ns=link.remote_ns)
    traffic = link.run(pn_len=1, count=200, step_ms=0, interval_us=500)
    check(traffic, lost=0, bad=0, plain=0, duplicate=0, unexpected=0,
          errors=0, opened="sent", rx_quic_err=0)
    ksft_gt(traffic["reordered"], 0, "reordered")
    check_rx_mostly_device(traffic)


@ksft_disruptive
def netns_move(cfg):
    """ The device moves to another namespace """
    link = spare_link(_init_nsim(cfg))
    other = NetNS()
    defer(other.__exit__, None, None, None)

    with link.load(segments=3, flows=3, step_ms=10) as load:
        load.until_device()
        ip(f"link set dev {link.ifname} netns {other}")
        wait_until(link.has_no_keys, 5, "keys left")
    check_rx_safe(load)


@ksft_variants(["4", "6"])
@ksft_disruptive
def unregister_load(cfg, ipver):
    """ The device is removed under load """
    cfg.require_ipver(ipver)
    link = spare_link(_init_nsim(cfg), ipver=ipver)

    with link.load(segments=3, flows=3, key_update=20, step_ms=10) as load:
        load.until_device()
        link.nsim.remove()
        wait_until(link.has_no_keys, 5, "keys left")
    check_rx_safe(load)


#
# Plaintext stays where it belongs
#

def _ingress(link, action):
    or_skip(tc, f"qdisc add dev {link.ifname} clsact")
    undo = defer(tc, f"qdisc del dev {link.ifname} clsact")
    or_skip(tc, f"filter add dev {link.ifname} ingress matchall "
                f"action {action}")
    return undo


def _check_kept(load):
    """ The device has opened packets that then took another way """
    check(load, bad=0, plain=0, duplicate=0, unexpected=0)
    ksft_gt(load["captured"], 0, "captured")


@ksft_variants([("4", 1), ("4", 20), ("6", 20)])
def mirred_back(cfg, ipver, segments):
    """ tc sends what has arrived back to where it came from """
    cfg.require_ipver(ipver)
    link = _init_nsim(cfg)

    with link.load(segments=segments, step_ms=20,
                   **_ends(cfg, ipver)) as load:
        load.until_device()
        undo = _ingress(link, f"mirred egress redirect dev {link.ifname}")
        load.until_misdelivered()
        undo.exec()
        load.proceed(30)
    _check_kept(load)


@ksft_variants([("4", 1), ("4", 20), ("6", 20)])
def mirred_other(cfg, ipver, segments):
    """ tc sends what has arrived to another device """
    cfg.require_ipver(ipver)
    link = _init_nsim(cfg)

    other = nsim_pair(link, "3")
    with link.load(segments=segments, step_ms=20,
                   **_ends(cfg, ipver)) as load:
        load.until_device()
        undo = _ingress(link, f"mirred egress redirect dev {other.ifname}")
        load.until_misdelivered()
        undo.exec()
        load.proceed(30)
    _check_kept(load)


def mirred_mirror(cfg):
    """ A copy of what has arrived does not leave, the socket gets its own """
    link = _init_nsim(cfg)

    other = nsim_pair(link, "3")
    with link.load(segments=5) as load:
        load.until_device()
        _ingress(link, f"mirred egress mirror dev {other.ifname}")
        load.proceed()
    check_rx_clean(load)
    ksft_gt(load["QuicRxDeviceMisdelivered"], 0, "misdelivered")


@ksft_variants([(how, ipver, segments)
                for how in ("xdp", "redirect", "clone")
                for ipver, segments in (("4", 1), ("4", 20), ("6", 20))])
def bpf(cfg, how, ipver, segments):
    """ BPF sends back what has arrived """
    cfg.require_ipver(ipver)
    link = _init_nsim(cfg)

    traffic = link.run(astray=f"{how}:{link.ifname}", segments=segments,
                       count=10, gro=segments > 1, wait_ms=200,
                       **_ends(cfg, ipver))
    check(traffic, bad=0, plain=0, duplicate=0, unexpected=0)
    ksft_gt(traffic["captured"], 0, "captured")
    ksft_gt(traffic["QuicRxDeviceMisdelivered"], 0, "misdelivered")
    if how == "clone":
        check_rx_clean(traffic)
    else:
        ksft_ge(traffic["lost"], 10, "lost")


@ksft_variants([("4", 1), ("4", 20), ("6", 1), ("6", 20)])
def forward(cfg, ipver, segments):
    """ The address moves on: what the device has opened is not forwarded """
    cfg.require_ipver(ipver)
    link = _init_nsim(cfg)

    if ipver == "4":
        addr, via, bits = "203.0.113.50", cfg.remote_addr_v["4"], 32
        sysctl("net.ipv4.ip_forward", 1)
    else:
        addr, via, bits = "2001:db8:2::50", cfg.remote_addr_v["6"], 128
        sysctl("net.ipv6.conf.all.forwarding", 1)
    ip(f"-{ipver} addr add {addr}/{bits} dev lo")
    undo = defer(ip, f"-{ipver} addr del {addr}/{bits} dev lo")
    link.remote_ip(f"-{ipver} route add {addr} via {cfg.addr_v[ipver]}")
    defer(link.remote_ip, f"-{ipver} route del {addr}")
    with link.load(segments=segments, step_ms=20, address=addr,
                   source=cfg.remote_addr_v[ipver]) as load:
        load.until_device()
        undo.exec()
        ip(f"-{ipver} route add {addr} via {via} dev {link.ifname}")
        defer(ip, f"-{ipver} route del {addr}")
        load.until_misdelivered()
    _check_kept(load)


@ksft_variants([("4", 1), ("4", 20), ("6", 20)])
def tap(cfg, ipver, segments):
    """ Packet sockets on the device see what the device has opened """
    cfg.require_ipver(ipver)
    link = _init(cfg)

    traffic = link.run(tap=f":{link.ifname}", segments=segments,
                       **_ends(cfg, ipver))
    check_rx_clean(traffic)
    check_rx_device(traffic)
    ksft_gt(traffic["tapped"], 0, "tapped")


def tap_unread(cfg):
    """ A packet socket that nobody reads does not keep keys in the device """
    link = _init(cfg)

    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW,
                       socket.htons(ETH_P_ALL)) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        sock.bind((link.ifname, 0))
        traffic = link.run()
        check_rx_clean(traffic)
        check_rx_device(traffic)
        link.check_no_keys_left()


def _raw(family):
    sock = socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_UDP)
    defer(sock.close)
    return sock


def _ring(ifname):
    """ A packet ring whose frames are too small: packets are queued, too """
    sol_packet, packet_rx_ring, packet_copy_thresh = 263, 5, 7

    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    defer(sock.close)
    sock.setsockopt(sol_packet, packet_copy_thresh, 1)
    # Blocks of 64 KiB, frames of 256 bytes
    sock.setsockopt(sol_packet, packet_rx_ring,
                    struct.pack("4I", 1 << 16, 8, 256, 8 << 8))
    sock.bind((ifname, ETH_P_ALL))
    return sock


def _slab_objects(name):
    """ Objects in a slab cache """
    try:
        text = Path("/proc/slabinfo").read_text(encoding="ascii")
    except OSError as exc:
        raise KsftSkipEx("no slabinfo") from exc
    found = re.search(rf"^{name} +([0-9]+)", text, re.MULTILINE)
    if not found:
        raise KsftSkipEx(f"{name} is not a slab cache of its own")
    return int(found[1])


def _queued(sock):
    """ Bytes of packets with plaintext in the queue of a socket """
    sock.setblocking(False)
    count = 0
    try:
        while True:
            data = sock.recv(65536)
            if b"QUIC-PLAINTEXT!!" in data:
                count += len(data)
    except BlockingIOError:
        pass
    return count


def _debugged():
    """ With KASAN and kmemleak, what was freed is not free yet """
    return Path("/sys/kernel/debug/kmemleak").exists()


@ksft_variants(["raw4", "raw6", "ring"])
def unread(cfg, kind):
    """
    What waits in a socket that nobody reads does not keep the memory of keys:
    it has no extension that would.
    """
    ipver = "6" if kind == "raw6" else "4"
    cfg.require_ipver(ipver)
    link = _init(cfg)

    _slab_objects("skbuff_ext_cache")
    if kind == "ring":
        sock = _ring(link.ifname)
    else:
        sock = _raw(socket.AF_INET6 if ipver == "6" else socket.AF_INET)
    so_rcvbufforce = 33
    sock.setsockopt(socket.SOL_SOCKET, so_rcvbufforce, 16 << 20)
    before = _slab_objects("skbuff_ext_cache")
    traffic = link.run(segments=20, count=60, **_ends(cfg, ipver))
    check_rx_clean(traffic)
    check_rx_device(traffic)
    link.check_no_keys_left()
    grown = _slab_objects("skbuff_ext_cache") - before
    ksft_gt(_queued(sock), 1000 * 1000, "bytes in the queue")
    if not _debugged():
        ksft_ge(500, grown, "extensions in use")


#
# Where the device is, and what operators see
#

def _over_vlan(link, ipver):
    add_link(f"link {link.ifname} name vl1 type vlan id 5", "vl1")
    add_link(f"link {link.remote_ifname} name vl2 type vlan id 5", "vl2",
             ns=link.remote_ns)
    if ipver == "4":
        addr, remote, suffix = EXTRA_V4, EXTRA_REMOTE_V4, "/24"
    else:
        addr, remote, suffix = EXTRA_V6, EXTRA_REMOTE_V6, "/64 nodad"
    ip(f"addr add {addr}{suffix} dev vl1")
    ip("link set dev vl1 up")
    link.remote_ip(f"addr add {remote}{suffix} dev vl2")
    link.remote_ip("link set dev vl2 up")
    return {"address": addr, "source": remote}


@ksft_variants([("4", 1), ("4", 20), ("6", 20)])
def vlan(cfg, ipver, segments):
    """ The device opens what is under a VLAN, if it says so """
    cfg.require_ipver(ipver)
    link = _init_nsim(cfg)

    options = {"segments": segments, "gro": segments > 1,
               **_over_vlan(link, ipver)}
    traffic = link.run(**options)
    check_rx_clean(traffic)
    check_rx_device(traffic)
    _knob(link, "rx_cap_max_vlans", 0, undo=255)
    traffic = link.run(settle_ms=0, **options)
    check_rx_clean(traffic)
    check_rx_software(traffic)


def _received(ifname):
    path = Path(f"/sys/class/net/{ifname}/statistics/rx_packets")
    return int(path.read_text(encoding="ascii"))


@ksft_variants(["4", "6"])
def other_vlan(cfg, ipver):
    """ A copy with the tag of a VLAN stays sealed, the packet is opened """
    cfg.require_ipver(ipver)
    link = _init_nsim(cfg)

    _over_vlan(link, ipver)
    protocol = "ip" if ipver == "4" else "ipv6"
    or_skip(tc, "qdisc add dev vl1 clsact")
    or_skip(tc, "filter add dev vl1 ingress matchall action drop")
    or_skip(tc, f"qdisc add dev {link.remote_ifname} clsact",
            ns=link.remote_ns)
    defer(tc, f"qdisc del dev {link.remote_ifname} clsact", ns=link.remote_ns)
    with link.load(capture=[":vl1"], **_ends(cfg, ipver)) as load:
        load.until_device()
        or_skip(tc, f"filter add dev {link.remote_ifname} egress "
                f"protocol {protocol} matchall "
                "action mirred egress mirror dev vl2", ns=link.remote_ns)
        load.proceed(100)
        load.until_device("with copies on the VLAN")
    check_rx_clean(load)
    ksft_gt(_received("vl1"), 50, "copies")
    ksft_gt(load["QuicRxDevicePackets"], load["QuicRxSwPackets"])


@ksft_variants(["4", "6"])
def other_mac(cfg, ipver):
    """ What is for the MAC address of a macvlan stays sealed """
    cfg.require_ipver(ipver)
    link = _init_nsim(cfg)

    mac = "02:00:00:00:77:77"
    add_link(f"link {link.ifname} name mv0 address {mac} type macvlan "
             "mode bridge", "mv0")
    # Only one of both addresses is to answer ARP requests
    ip("link set dev mv0 arp off up")
    own = Path(f"/sys/class/net/{link.ifname}/address").read_text(
        encoding="ascii").strip()
    addr = cfg.addr_v[ipver]
    neigh = f"{addr} dev {link.remote_ifname} nud permanent lladdr"
    with link.load(capture=[":mv0"], **_ends(cfg, ipver)) as load:
        load.until_device()
        link.remote_ip(f"neigh replace {neigh} {mac}")
        defer(link.remote_ip, f"neigh del {addr} dev {link.remote_ifname}")
        load.until_software("for another MAC address")
        opened = link.kernel_counters()["QuicRxDevicePackets"]
        load.proceed(100)
        ksft_ge(opened + 5, link.kernel_counters()["QuicRxDevicePackets"])
        link.remote_ip(f"neigh replace {neigh} {own}")
        load.until_device("for its own MAC address again")
    check_rx_clean(load)
    ksft_gt(_received("mv0"), 50, "packets of the macvlan")


def stats(cfg):
    """ Counters of the kernel and of the device agree """
    link = _init(cfg)

    before = link.counters()
    traffic = link.run(size=1000, count=10)
    check_rx_clean(traffic)
    check(traffic, QuicRxDeviceBytes=9000, QuicRxSwBytes=1000,
          QuicRxDevicePackets=9, QuicRxSwPackets=1)
    ksft_gt(traffic["rx_quic_decrypted_bytes"], 8000)
    ksft_ge(9000, traffic["rx_quic_decrypted_bytes"])
    link.check_no_keys_left()
    after = link.counters()
    for name in ("rx_quic_ctx", "rx_quic_del"):
        ksft_eq(after[name] - before[name], 1, name)


def info(cfg):
    """ UDP_QUIC_INFO tells which device has the key """
    link = _init(cfg)

    index = int(Path(f"/sys/class/net/{link.ifname}/ifindex").read_text(
        encoding="ascii"))
    check(link.run(count=5), ifindex=index)
    check(link.run(count=1, settle_ms=0, address="127.0.0.1",
                   source="127.0.0.1", from_netns=""), ifindex=0)


def tracepoints(cfg):
    """ Keys that come, go, or are synchronised leave traces """
    link = _init_nsim(cfg)

    trace_file = trace_events()
    with link.load(pn_len=1) as load:
        load.until_device()
        _fall_behind(link)
        load.until_device("once it was told")
    link.check_no_keys_left()
    trace = trace_file.read_text(encoding="ascii")
    for what in ("add: {} dir=rx pkt_num=[0-9]+ err=0", "resync: {} pkt_num=",
                 "del: {} dir=rx"):
        pattern = "quic_device_" + what.format(
            f"netdev={link.ifname} cid=[0-9a-f]+ gen=0")
        ksft_true(re.search(pattern, trace), f"no trace of {pattern}")


#
# Devices that there are
#

def _stateful(cfg):
    link = _init_nsim(cfg)
    _knob(link, "stateful", 1)
    return link


@ksft_variants([(ipver, cipher, segments) for ipver in ("4", "6")
                for cipher in GCM for segments in (1, 40)])
def stateful_wire(cfg, ipver, cipher, segments):
    """ Such a device opens what it can """
    cfg.require_ipver(ipver)
    link = _stateful(cfg)

    traffic = link.run(cipher=cipher, segments=segments, gro=segments > 1,
                       count=20 // segments + 4, **_ends(cfg, ipver))
    check_rx_clean(traffic)
    # The key takes time, after the core has counted it
    check_rx_mostly_device(traffic)


@ksft_variants(LAYOUTS)
def stateful_layout(cfg, options, ipver="4"):
    """ Such a device leaves connection IDs of other lengths to software """
    cfg.require_ipver(ipver)
    link = _stateful(cfg)

    traffic = link.run(**_ends(cfg, ipver), **options)
    check_rx_clean(traffic)
    if options.get("cid_len", 8) in (0, 8):
        check_rx_mostly_device(traffic)
    else:
        check_rx_software(traffic)


def stateful_cipher(cfg):
    """ Such a device leaves other ciphers to software """
    link = _stateful(cfg)

    traffic = link.run(cipher="chacha20-poly1305", settle_ms=0)
    check_rx_clean(traffic)
    check_rx_software(traffic)
    check(traffic, QuicRxDeviceError=0)


@ksft_variants([
    KsftNamedVariant("update", {"key_update": 20, "count": 120}),
    KsftNamedVariant("follow", {"cids": 60, "count": 240,
                                "interval_us": 2000}),
    KsftNamedVariant("flows", {"flows": 5, "segments": 30, "mix": True,
                               "gro": True, "count": 50}),
])
def stateful_changes(cfg, options):
    """ Such a device keeps up with what happens to flows """
    link = _stateful(cfg)

    traffic = link.run(**options)
    check_rx_clean(traffic)
    check_rx_mostly_device(traffic)


def stateful_resync(cfg):
    """ Such a device falls behind """
    link = _stateful(cfg)

    with link.load(pn_len=1) as load:
        load.until_device()
        _fall_behind(link)
        load.until_device("once it was told")
    check_rx_clean(load)


def main() -> None:
    """ Ksft boiler plate main """

    with NetDrvEpEnv(__file__) as cfg:
        ksft_run(cases=[
            wire, layout, multipath, flows, number_jump, wrong_tag, corrupt,
            no_element, short_buffer, peek, rx_drop, receive, trimmed,
            reuseport, no_memory, open_limit, gro_kind, both_directions,
            key_update, two_generations, follow, follow_address, alternate,
            alternate_runs, replay, unalias,
            queued_delete, queued_replace, queued_close, queued, queued_down,
            queued_reset, steal,
            toggle, toggle_load, toggle_checksum, down_up, shake, add_refused,
            add_refused_busy, add_no_memory, add_refused_late, add_delayed,
            slow,
            table_limit, max_device_keys, caps, keys_lost, resync,
            resync_backoff, in_vain, loss, reorder, netns_move, unregister_load,
            mirred_back, mirred_other, mirred_mirror, bpf, forward, tap,
            tap_unread, unread, vlan, other_vlan, other_mac, stats, info,
            tracepoints,
            stateful_wire, stateful_layout, stateful_cipher,
            stateful_changes, stateful_resync,
        ], args=(cfg, ))
    ksft_exit()


if __name__ == "__main__":
    main()
