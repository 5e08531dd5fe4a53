#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

"""
Things happen to a device that seals QUIC packets while it is in use.

Features are toggled, the device is set down, reset, moved, removed; it
refuses keys, answers late, loses keys, is full. Nothing may leave unsealed,
and nothing may get lost without need.
"""

import errno
import json
import os
import re
import signal
import socket
import time
from pathlib import Path

from lib.py import ksft_run, ksft_exit, ksft_eq, ksft_ge, ksft_gt, ksft_lt
from lib.py import ksft_pr, ksft_true
from lib.py import ksft_disruptive, ksft_variants, KsftNamedVariant, KsftFailEx
from lib.py import KsftSkipEx
from lib.py import NetDrvEpEnv, NetNS, NetdevSimDev
from lib.py import cmd, defer, ethtool, ip, tc
from lib.py.quic import SLOW, Shake, TIME_SCALE, check, check_clean
from lib.py.quic import check_device, check_no_drops
from lib.py.quic import check_safe, fail_slab
from lib.py.quic import quic_init_nsim, rounds, second_port, spare_link
from lib.py.quic import or_skip
from lib.py.quic import wait_until


#
# Things happen to the device
#

def toggle(cfg):
    """ The feature flag governs new flows """
    link = quic_init_nsim(cfg)

    defer(link.offload_on)
    with link.load(segments=3) as load:
        load.until_device()
        link.offload("off")
        load.until_device("once the flag is off")
        traffic = link.start(port=4434, key_update=10).finish()
        check_clean(traffic)
        check(traffic, QuicTxDevice=0, QuicTxSwPackets="sent")
        link.offload("on")
    check_clean(load)
    check_no_drops(load)


def toggle_load(cfg):
    """ The feature flag changes while keys do """
    link = quic_init_nsim(cfg)

    defer(link.offload_on)
    with link.load(segments=3, key_update=7) as load:
        for _ in rounds(8):
            link.offload("off")
            load.proceed(20)
            link.offload("on")
            load.proceed(20)
    check_clean(load)
    check_no_drops(load)


def toggle_checksum(cfg):
    """ Without checksums in the device it takes no keys, but keeps its own """
    link = quic_init_nsim(cfg)

    with link.load(segments=3) as load:
        load.until_device()
        link.feature_off("tx-checksum-ip-generic")
        ksft_true(not link.is_offload_on(), "on without checksums")
        load.until_device("for an old flow without checksums")
        ethtool(f"-K {link.ifname} tx-checksum-ip-generic on")
        ksft_true(link.is_offload_on(), "on with checksums again")
        load.until_device()
    check_clean(load)
    check_no_drops(load)


@ksft_variants(["4", "6"])
@ksft_disruptive
def down_up(cfg, ipver):
    """ A flow leaves a device that is set down, and comes back """
    cfg.require_ipver(ipver)
    link = quic_init_nsim(cfg)

    times = rounds(5)
    with link.load(address=cfg.remote_addr_v[ipver], segments=3) as load:
        load.until_device()
        for _ in times:
            link.down()
            ksft_true(link.has_no_keys(), "no keys while it is down")
            load.proceed_anyhow()
            link.up()
            load.until_device("after it was down")
    check_safe(load)
    ksft_gt(load["QuicTxDevice"], len(times))
    check_no_drops(load)


@ksft_variants(["4", "6"])
@ksft_disruptive
def down_in_flight(cfg, ipver):
    """ A device is set down with packets queued """
    cfg.require_ipver(ipver)
    link = quic_init_nsim(cfg)

    link.add_qdisc("tbf rate 2mbit burst 5k limit 1m")
    with link.load(address=cfg.remote_addr_v[ipver], segments=4,
                   interval_us=3000) as load:
        for _ in range(3):
            load.proceed()
            link.down()
            link.up()
    check_safe(load)


def _set_mtu(link, value):
    ip(f"link set dev {link.ifname} mtu {value}")


@ksft_variants(["4", "6"])
def mtu(cfg, ipver):
    """ The MTU changes under load """
    cfg.require_ipver(ipver)
    link = quic_init_nsim(cfg)

    defer(link.up)
    defer(_set_mtu, link, 1500)
    options = {"address": cfg.remote_addr_v[ipver], "segments": 20}
    with link.load(size=1200, **options) as load:
        for value in (1300, 1500, 1280, 1500):
            _set_mtu(link, value)
            load.proceed()
    check_clean(load)
    check_no_drops(load)
    # Too small for some: refused, or sent, or lost, not sent otherwise
    with link.load(size=1400, **options) as load:
        for value in (1280, 1500, 1280, 1500):
            _set_mtu(link, value)
            load.proceed()
    check_safe(load)


@ksft_disruptive
def close_and_down(cfg):
    """ Sockets are closed with packets in flight, then the device goes down """
    link = quic_init_nsim(cfg)

    link.add_qdisc("tbf rate 2mbit burst 5k limit 1m")
    frames = link.frames()
    traffic = link.start(count=200, close=True, wait_ms=1)
    wait_until(lambda: link.frames() >= frames + 200, 10, "no traffic")
    link.down()
    link.up()
    traffic.finish()
    check(traffic, plain=0, bad=0)


@ksft_disruptive
def threads(cfg):
    """ Nobody waits for anybody; packets may get lost in short queues """
    link = quic_init_nsim(cfg)

    defer(link.offload_on)
    with link.load(threads=4, flows=3, key_update=50, replace_flow=120,
                   segments=4, interval_us=5000, capture=[":lo"]) as load:
        for _ in rounds(4):
            load.proceed()
            link.offload("off")
            load.proceed()
            link.offload("on")
            load.proceed()
            link.down()
            link.up()
            load.proceed()
            link.knob("lose_keys", 1)
            load.proceed()
            link.knob("reset", 1)
    check_safe(load)


@ksft_variants([
    KsftNamedVariant("flows", "4", {"flows": 4, "segments": 4}),
    KsftNamedVariant("v6_threads", "6",
                     {"threads": 3, "flows": 3, "key_update": 30,
                      "replace_flow": 70, "segments": 3, "interval_us": 3000}),
])
@ksft_disruptive
def shake(cfg, ipver, options):
    """ Whatever happens to the device, nothing leaves unsealed """
    cfg.require_ipver(ipver)
    link = quic_init_nsim(cfg)

    order = Shake(link, {"ring": [0, 0, 5], "stop_key": [0, 1],
                         "software": [0, 0, 3]})
    with link.load(address=cfg.remote_addr_v[ipver], **options) as load:
        order.run(load)
    check_safe(load)


#
# netdevsim does what devices may do
#

def add_refused(cfg):
    """ A key that is refused is not offered again until something changes """
    link = quic_init_nsim(cfg)

    link.knob("refuse_add", errno.ENOSPC)
    defer(link.knob, "refuse_add", 0)
    before = link.counters()
    with link.load(segments=3) as load:
        wait_until(lambda: link.counters()["QuicTxDeviceError"] >
                   before["QuicTxDeviceError"], 10, "the key is not refused")
        load.proceed()
        after = link.counters()
        for name, grown in (("QuicTxDevicePackets", 0),
                            ("QuicTxDeviceError", 1), ("tx_quic_ctx", 0)):
            ksft_eq(after[name] - before[name], grown, name)
        link.knob("refuse_add", 0)
        link.offload("off")
        link.offload("on")
        load.until_device()
    check_clean(load)
    check(load, QuicTxDeviceError=1, tx_quic_ctx=1)


def add_delayed(cfg):
    """ The device acknowledges keys late """
    link = quic_init_nsim(cfg)

    link.knob("delay_ack", 300)
    defer(link.knob, "delay_ack", 0)
    with link.load(segments=3) as load:
        load.until_device()
    check_clean(load)
    ksft_gt(load["QuicTxSwPackets"], 0)
    check_no_drops(load)
    # The flow goes before the device has answered
    check_clean(link.run(count=1, settle_ms=0))
    check_clean(link.run(count=3, replace_flow=1, settle_ms=0))


@ksft_disruptive
def add_delayed_down(cfg):
    """ The device is set down before it has acknowledged keys """
    link = quic_init_nsim(cfg)

    link.knob("delay_ack", 300)
    defer(link.knob, "delay_ack", 0)
    with link.load(key_update=10) as load:
        for _ in range(3):
            load.proceed()
            link.down()
            link.up()
    check_safe(load)


def add_delayed_queue(cfg):
    """ Packets of the device stay behind those that software has sealed """
    link = quic_init_nsim(cfg)

    link.knob("delay_ack", 300)
    defer(link.knob, "delay_ack", 0)
    link.add_qdisc("tbf rate 4mbit burst 5k limit 1m")
    traffic = link.run(segments=2, interval_us=10000, settle_ms=0)
    check_clean(traffic)
    ksft_gt(traffic["QuicTxSwPackets"], 0)
    ksft_gt(traffic["QuicTxDevicePackets"], 0)


def slow(cfg):
    """
    An add sleeps: nobody else waits, neither for the driver nor for the key.
    """
    link = quic_init_nsim(cfg)

    link.knob("slow", 60000 * TIME_SCALE)
    undo = defer(link.knob, "slow", 0)
    with link.load(segments=3, flows=4, key_update=20) as load:
        wait_until(lambda: link.read_knob("asleep") == 1, 10, "no add sleeps")
        # The sender itself goes on, updates keys, and so do others
        load.proceed(200)
        traffic = link.run(port=4434, count=20, replace_flow=1, flows=3,
                           settle_ms=0)
        check_clean(traffic)
        traffic = link.run(port=4434, to_netns="", address="127.0.0.1",
                           count=20, replace_flow=1, key_update=3, close=True,
                           settle_ms=0)
        check_clean(traffic)
        ksft_eq(link.read_knob("asleep"), 1, "the add has come back")
        ksft_eq(traffic["tx_quic_ctx"], 0)
        undo.exec()
        load.until_device("when the driver has woken up")
    check_clean(load)
    check_no_drops(load)

    # A delete sleeps
    with link.load(port=4435, flows=2, key_update=30) as load:
        load.until_device()
        link.knob("slow", 60000 * TIME_SCALE)
        undo = defer(link.knob, "slow", 0)
        wait_until(lambda: link.read_knob("asleep") == 1, 10, "nobody sleeps")
        load.proceed(200)
        undo.exec()
    check_clean(load)


def _close_us(link):
    """ How long close() of a socket with a new flow takes """
    traffic = link.start(port=4434, nonblock=True, count=3,
                         close=True).finish()
    check_safe(traffic)
    check(traffic, errors=0)
    return traffic["p99_close_us"]


def _latency(link, slow):
    """ How long calls take while each call of the driver takes @slow ms """
    link.knob("slow", slow)
    undo = defer(link.knob, "slow", 0)
    with link.load(flows=8, key_update=10, replace_flow=50) as load:
        if slow:
            wait_until(lambda: link.read_knob("asleep") == 1, 10,
                       "no add sleeps")
        else:
            load.until_device()
        traffic = link.start(port=4434, nonblock=True, count=100,
                             replace_flow=3).finish()
        check_safe(traffic)
        check(traffic, errors=0)
        closes = sorted(_close_us(link) for _ in range(100))
        ksft_pr(f"driver {slow} ms: 99 % of calls take at most "
                f"send {traffic['p99_send_us']} us, "
                f"del {traffic['p99_del_us']} us, close {closes[98]} us")
        if slow:
            ksft_lt(closes[50], slow * 1000, "us, half of them")
        undo.exec()
    check_clean(load)


def slow_latency(cfg):
    """ How long others take while a driver is fast, and while it is slow """
    link = quic_init_nsim(cfg)

    for slow in (0, 50, 0, 50):
        _latency(link, slow)


def slow_other_down(cfg):
    """ While an add sleeps, another device with a key goes down at once """
    link = quic_init_nsim(cfg)
    other = spare_link(link)

    with other.load(segments=3) as load:
        load.until_device()
        link.knob("slow", 60000 * TIME_SCALE)
        undo = defer(link.knob, "slow", 0)
        with link.load(port=4434) as sleeper:
            wait_until(lambda: link.read_knob("asleep") == 1, 10,
                       "no add sleeps")
            start = time.monotonic()
            other.down()
            ksft_lt(time.monotonic() - start, 6 * TIME_SCALE,
                    "seconds to set the device down")
            ksft_true(link.has_no_keys(), "no keys while it is down")
            ksft_eq(link.read_knob("asleep"), 1, "the add has come back")
            undo.exec()
        other.up()
        load.until_device("after it was down")
    check_clean(sleeper)
    check_safe(load)


@ksft_disruptive
def slow_down(cfg):
    """ The device goes down, and is removed, while an add sleeps """
    link = spare_link(quic_init_nsim(cfg))

    with link.load(segments=3, flows=4, key_update=20) as load:
        for _ in rounds(3):
            link.knob("slow", 300)
            wait_until(lambda: link.read_knob("asleep") == 1, 10,
                       "no add sleeps")
            link.down()
            ksft_true(link.has_no_keys(), "no keys while it is down")
            link.knob("slow", 0)
            link.up()
            load.until_device("after it was down")
        link.knob("slow", 300)
        wait_until(lambda: link.read_knob("asleep") == 1, 10, "no add sleeps")
        link.nsim.remove()
        ksft_true(link.has_no_keys(), "no keys without the device")
        load.proceed_anyhow()
    check_safe(load)


def add_refused_late(cfg):
    """ An answer that comes late is as good as one that comes at once """
    link = quic_init_nsim(cfg)

    link.knob("delay_ack", 50)
    defer(link.knob, "delay_ack", 0)
    link.knob("refuse_add", errno.EIO)
    defer(link.knob, "refuse_add", 0)
    with link.load(segments=3) as load:
        wait_until(lambda: link.has_no_keys() and link.counters()
                   ["tx_quic_del"] > load.before("tx_quic_del"), 10,
                   "the refused key is still there")
        load.proceed()
        link.knob("refuse_add", 0)
        load.proceed()
        link.offload("off")
        link.offload("on")
        load.until_device()
    check_clean(load)
    check(load, QuicTxDeviceError=1, QuicTxDevice=1, tx_quic_ctx=2)


@ksft_variants([KsftNamedVariant("now", "4", 0),
                KsftNamedVariant("v6_late", "6", 50)])
def add_refused_busy(cfg, ipver, delay):
    """ What will not last is tried again after a while """
    cfg.require_ipver(ipver)
    link = quic_init_nsim(cfg)

    link.knob("delay_ack", delay)
    defer(link.knob, "delay_ack", 0)
    link.knob("refuse_add", errno.ENOMEM)
    defer(link.knob, "refuse_add", 0)
    with link.load(address=cfg.remote_addr_v[ipver], segments=3) as load:
        wait_until(lambda: link.counters()["QuicTxDeviceError"] >
                   load.before("QuicTxDeviceError"), 10, "not refused")
        link.knob("refuse_add", 0)
        load.until_device("without any other reason")
    check_clean(load)


def add_refused_full(cfg):
    """ Who learns late that a device is full does not ask for each flow """
    link = quic_init_nsim(cfg)

    with link.load() as holder:
        holder.until_device()
        link.knob("delay_ack", 50)
        defer(link.knob, "delay_ack", 0)
        link.knob("refuse_add", errno.ENOSPC)
        undo = defer(link.knob, "refuse_add", 0)
        with link.load(port=4434) as refused:
            wait_until(lambda: link.counters()["QuicTxDeviceError"] >
                       refused.before("QuicTxDeviceError"), 10, "not refused")
            many = link.start(port=4435, flows=20, count=20).finish()
            check_clean(many)
            check(many, QuicTxDeviceError=0, QuicTxDevice=0)
            undo.exec()
    check_clean(holder)
    check_clean(refused)


@ksft_variants([
    KsftNamedVariant("offer", "quic_offload_alloc"),
    KsftNamedVariant("transform", "quic_aead_alloc"),
])
def add_no_memory(cfg, function):
    """ Software seals while there is no memory to offer the key """
    link = quic_init_nsim(cfg)

    link.offload("off")
    defer(link.offload_on)
    with link.load(segments=3) as load:
        undo = fail_slab(function)
        link.offload("on")
        wait_until(lambda: link.counters()["QuicTxDeviceError"] >
                   load.before("QuicTxDeviceError"), 10, "nothing is counted")
        load.until_software("without memory")
        undo.exec()
        load.until_device("when there is memory")
    check_clean(load)
    check_no_drops(load)
    # The driver was not asked in vain
    check(load, QuicTxDevice=1, tx_quic_ctx=1)


@ksft_variants(["4", "6"])
def detached(cfg, ipver):
    """ A device that is detached is not offered keys """
    cfg.require_ipver(ipver)
    link = quic_init_nsim(cfg)

    # Without a queue, the stack complains
    link.add_qdisc("pfifo limit 1000")
    link.knob("detach", 1)
    undo = defer(link.knob, "detach", 0)
    with link.load(address=cfg.remote_addr_v[ipver], flows=3) as load:
        load.proceed_anyhow(50)
        ksft_true(link.has_no_keys(), "no keys while it is detached")
        undo.exec()
        load.until_device("after it was attached")
    check_safe(load)
    check(load, QuicTxDeviceError=0)


def shared_table(cfg):
    """ Two ports share a table: room that one makes is room for both """
    link = spare_link(quic_init_nsim(cfg), table_size=2, ports=2)
    other = second_port(link)

    before = other.counters()
    first = link.start(count=5, hold=True)
    wait_until(lambda: link.kernel_counters()["QuicCurrTxDevice"] == 1, 10,
               "the first port does not have its key")
    with other.load(flows=2, segments=3) as load:
        wait_until(lambda: other.counters()["QuicTxDeviceError"] >
                   before["QuicTxDeviceError"], 10, "nothing is refused")
        load.until_software()
        ksft_eq(other.counters()["tx_quic_ctx"] - before["tx_quic_ctx"], 1)
        first.finish(terminate=True)
        wait_until(lambda: other.counters()["tx_quic_ctx"] ==
                   before["tx_quic_ctx"] + 2, 10, "the room is not used")
    check_clean(load)

    # The same for a port that has no keys at all
    link.check_no_keys_left()
    first = link.start(count=5, flows=2, hold=True)
    wait_until(lambda: link.kernel_counters()["QuicCurrTxDevice"] == 2, 10,
               "the first port does not have its keys")
    with other.load(segments=3) as load:
        wait_until(lambda: other.counters()["QuicTxDeviceError"] >
                   load.before("QuicTxDeviceError"), 10, "not refused")
        first.finish(terminate=True)
        load.until_device("when there is room")
    check_clean(load)


def virtual_function(cfg):
    """ The port of a virtual function has no keys, but it sends """
    cfg.require_nsim()
    nsim = NetdevSimDev()
    defer(nsim.remove)
    name = f"netdevsim{nsim.addr}"
    Path(f"/sys/bus/netdevsim/devices/{name}/sriov_numvfs").write_text(
        "1", encoding="ascii")
    or_skip(cmd, f"devlink dev eswitch set netdevsim/{name} mode switchdev")
    port, = set(nsim.get_ifnames()) - {nsim.nsims[0].ifname}
    ip(f"link set {port} up")
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
        sock.bind((port, 0))
        sock.send(bytes(64))
    # There is nothing at the other end
    stats = ip(f"-s link show {port}", json=True)[0]["stats64"]["tx"]
    ksft_ge(stats["dropped"], 1)


@ksft_variants(["4", "6"])
@ksft_disruptive
def ring(cfg, ipver):
    """ Packets are in the transmit ring when keys or the device go """
    cfg.require_ipver(ipver)
    link = quic_init_nsim(cfg)

    address = cfg.remote_addr_v[ipver]
    # Packets that wait for a slow answer to who has the address may get lost
    check_clean(link.run(address=address, count=1, settle_ms=0))
    link.knob("ring", 20)
    undo = defer(link.knob, "ring", 0)
    for options in ({"replace_flow": 5, "segments": 2}, {"key_update": 7},
                    {"close": True, "count": 20}):
        traffic = link.run(address=address, **options)
        check_clean(traffic)
        check_no_drops(traffic)
        ksft_gt(traffic["tx_quic_encrypted_packets"], 0)
    with link.load(address=address, flows=2, segments=3,
                   key_update=20) as load:
        for _ in rounds(4):
            load.until_device()
            link.knob("reset", 1)
            load.until_device("after a reset")
            link.down()
            ksft_true(link.has_no_keys(), "no keys while it is down")
            link.up()
        undo.exec()
    check_safe(load)


@ksft_variants([("4", 1), ("4", 10), ("6", 1), ("6", 10)])
def give_back(cfg, ipver, segments):
    """ The driver lets software seal some of its packets """
    cfg.require_ipver(ipver)
    link = quic_init_nsim(cfg)

    link.knob("software", 3)
    defer(link.knob, "software", 0)
    traffic = link.run(address=cfg.remote_addr_v[ipver], segments=segments,
                       count=60)
    check_clean(traffic)
    check_no_drops(traffic)
    ksft_gt(traffic["QuicTxDeviceFallback"], 0)
    check(traffic, QuicTxDevicePackets=traffic["QuicTxDeviceFallback"] +
          traffic["tx_quic_encrypted_packets"])


def stop_key(cfg):
    """ The driver wants no more packets for a key """
    link = quic_init_nsim(cfg)

    with link.load(segments=3) as load:
        load.until_device()
        link.knob("stop_key", 1)
        load.until_software("once the key is stopped")
        wait_until(link.has_no_keys, 10, "the key is still in the device")
        load.proceed()
        ksft_true(link.has_no_keys(), "the key was not offered again")
        link.offload("off")
        link.offload("on")
        load.until_device("after the device has changed")
    check_clean(load)
    check_no_drops(load)
    check(load, QuicTxDevice=2, QuicTxDeviceError=0)

    with link.load(port=4435, key_update=20) as load:
        load.until_device()
        link.knob("stop_key", 1)
        load.until_software("once the key is stopped")
        load.until_device("with the next generation")
    check_clean(load)


def _check_occupied(link, occupied):
    name = f"netdevsim/netdevsim{link.nsim.addr}"
    shown = json.loads(cmd(f"devlink -j resource show {name}").stdout)
    for resource in shown["resources"][name]:
        if resource["name"] == "quic":
            ksft_eq((resource["size"], resource["occ"]), (3, occupied))
            return
    raise KsftFailEx("no devlink resource quic")


def table_limit(cfg):
    """ What does not fit is sealed in software, until there is room """
    link = spare_link(quic_init_nsim(cfg), table_size=3)

    traffic = link.run(flows=8, count=400, interval_us=1000, settle_ms=0)
    check_clean(traffic)
    ksft_ge(traffic["QuicTxDeviceError"], 1)
    check(traffic, QuicTxDevice=3, tx_quic_ctx=3)
    # At most 3 of 8 flows, without their first packets
    ksft_gt(traffic["QuicTxDevicePackets"], 0)
    ksft_ge(3 * 50 - 3, traffic["QuicTxDevicePackets"])
    link.check_no_keys_left()

    with link.load(flows=8) as load:
        _check_occupied(link, 3)
    check_clean(load)
    link.check_no_keys_left()
    _check_occupied(link, 0)

    check_clean(link.run(flows=3, key_update=2, count=60))
    link.check_no_keys_left()

    holder = link.start(port=4434, flows=3, count=3, hold=True)
    wait_until(lambda: link.kernel_counters()["QuicCurrTxDevice"] >= 3, 10,
               "the table is not full")
    with link.load(segments=3) as load:
        load.until_software()
        holder.finish(terminate=True)
        load.until_device("when there is room")
    check_clean(load)


def many_flows(cfg):
    """ Thousands of keys go with the device, after one grace period for all """
    flows = 2000 if SLOW else 10000
    link = spare_link(quic_init_nsim(cfg), table_size=flows)

    start = time.monotonic()
    traffic = link.start(flows=flows, count=flows, hold=True)
    wait_until(lambda: link.kernel_counters()["QuicCurrTxDevice"] >= flows,
               300, "not all keys are in the device")
    added = time.monotonic()
    link.down()
    # A grace period for each would take longer than everything else
    ksft_lt(time.monotonic() - added, (added - start) / 2,
            "seconds to remove the keys")
    ksft_true(link.has_no_keys(), "no keys while it is down")
    traffic.finish(terminate=True)
    check_safe(traffic)


def keys_lost(cfg):
    """ The device has lost its keys, the kernel does not know: drop """
    link = quic_init_nsim(cfg)

    with link.load() as load:
        load.until_device()
        link.knob("lose_keys", 1)
        load.proceed()
    check_safe(load)
    ksft_gt(load["lost"], 0)
    check(load, tx_quic_drop_no_key="lost")


def keys_lost_load(cfg):
    """ The same while keys come and go """
    link = quic_init_nsim(cfg)

    with link.load(segments=10, key_update=10) as load:
        for _ in rounds(6):
            link.knob("lose_keys", 1)
            load.proceed()
    check_safe(load)
    ksft_gt(load["tx_quic_drop_no_key"], 0)
    check(load, tx_quic_drop_no_key="lost")


def corrupt(cfg):
    """ These tests are able to fail """
    link = quic_init_nsim(cfg)

    link.knob("corrupt", 3)
    traffic = link.run(count=10, wait_ms=200)
    check(traffic, received=7, bad=3, plain=0)


@ksft_variants(["4", "6"])
def reset(cfg, ipver):
    """ The device says that it has lost its keys: they are installed again """
    cfg.require_ipver(ipver)
    link = quic_init_nsim(cfg)

    address = cfg.remote_addr_v[ipver]
    with link.load(address=address, segments=3) as load:
        load.until_device()
        # With RTNL, and without
        for how in (1, 2, 1):
            link.knob("reset", how)
            load.proceed()
        load.until_device("after a reset")
    check_safe(load)
    check(load, errors=0)
    ksft_ge(load["QuicTxDevice"], 4)

    traffic = link.run(address=address)
    check_clean(traffic)
    check_device(traffic)


def _requeues(link):
    qdiscs = tc(f"-s qdisc show dev {link.ifname}", json=True)
    return next(q["requeues"] for q in qdiscs if q.get("root"))


@ksft_variants(["4", "6"])
def reset_requeued(cfg, ipver):
    """
    Packets that the driver has left to its qdisc are validated again: they
    meet a device without their key.
    """
    cfg.require_ipver(ipver)
    link = quic_init_nsim(cfg)

    link.feature_off("tx-udp-segmentation")
    link.add_qdisc("pfifo limit 10000")
    defer(link.knob, "busy", 0)
    # The other end does not have much room
    with link.load(address=cfg.remote_addr_v[ipver], segments=5,
                   interval_us=100000) as load:
        for _ in rounds(3):
            load.until_device()
            requeues = _requeues(link)
            link.knob("busy", 1)
            wait_until(lambda seen=requeues: _requeues(link) > seen, 10,
                       "nothing was requeued")
            link.knob("reset", 1)
            link.knob("busy", 0)
    check_clean(load)
    check_no_drops(load)
    ksft_gt(load["QuicTxDeviceFallback"], 0)


def free_crypto(cfg):
    """ The device sends a pattern instead of sealing, as benchmarks need it """
    link = quic_init_nsim(cfg)

    link.knob("free_crypto", 1)
    undo = defer(link.knob, "free_crypto", 0)
    traffic = link.run(count=10, segments=3, wait_ms=200)
    check(traffic, received=3, plain=0,
          tx_quic_free_packets=traffic["sent"] - 3)

    undo.exec()
    traffic = link.run()
    check_clean(traffic)
    check_device(traffic)
    check(traffic, tx_quic_free_packets=0)


#
# The device goes
#

@ksft_variants(["4", "6"])
def netns_move(cfg, ipver):
    """ The device moves to another namespace """
    cfg.require_ipver(ipver)
    link = spare_link(quic_init_nsim(cfg), ipver=ipver)
    other = NetNS()
    defer(other.__exit__, None, None, None)

    with link.load(segments=3, flows=3) as load:
        load.until_device()
        ip(f"link set dev {link.ifname} netns {other}")
        wait_until(link.has_no_keys, 5, "keys left")
        load.proceed_anyhow()
    check_safe(load)


@ksft_variants(["4", "6"])
def netns_exit(cfg, ipver):
    """
    Sockets in use keep the namespace until they are closed: then it goes,
    with packets in flight.
    """
    cfg.require_ipver(ipver)
    env_link = quic_init_nsim(cfg)
    netns = NetNS()
    undo = defer(netns.__exit__, None, None, None)
    link = spare_link(env_link, ns=netns.name, ipver=ipver)

    or_skip(tc, f"qdisc replace dev {link.ifname} root "
                "tbf rate 1mbit burst 5k limit 1m", ns=netns.name)
    traffic = link.run(count=200, close=True, wait_ms=1)
    check(traffic, plain=0)

    frames = link.frames()
    traffic = link.start(count=200, hold=True)
    wait_until(lambda: link.frames() >= frames + 20, 10, "no traffic")
    undo.exec()
    traffic.finish(terminate=True, counters=False)
    # Packets of the first run may still come: their keys are not known here
    check(traffic, plain=0)
    device = Path("/sys/bus/netdevsim/devices",
                  f"netdevsim{link.nsim.addr}")
    wait_until(lambda: list(device.glob("net/*")), 10, "the device is gone")


def unregister(cfg):
    """ The device is removed when it is idle """
    link = spare_link(quic_init_nsim(cfg))

    check_clean(link.run(count=200, flows=5))
    link.nsim.remove()
    ksft_true(not Path("/sys/bus/netdevsim/devices",
                       f"netdevsim{link.nsim.addr}").exists(),
              "the device is gone")


@ksft_variants([
    KsftNamedVariant("plain", "4", None),
    KsftNamedVariant("queue", "4", "tbf rate 4mbit burst 5k limit 1m"),
    KsftNamedVariant("v6_plain", "6", None),
    KsftNamedVariant("v6_queue", "6", "tbf rate 4mbit burst 5k limit 1m"),
])
def unregister_load(cfg, ipver, qdisc):
    """ The device is removed under load """
    cfg.require_ipver(ipver)
    link = spare_link(quic_init_nsim(cfg), ipver=ipver)

    if qdisc:
        or_skip(tc, f"qdisc replace dev {link.ifname} root {qdisc}")
    with link.load(segments=3, flows=3, key_update=20) as load:
        load.until_device()
        link.nsim.remove()
        wait_until(link.has_no_keys, 5, "keys left")
        load.proceed_anyhow()
    check_safe(load)


def _memory_cgroup():
    """ A cgroup in which everything is over memory.high """
    root = Path("/sys/fs/cgroup")
    group = root / f"quic-{os.getpid()}"
    try:
        if not (root / "cgroup.procs").exists():
            or_skip(cmd, "mount -t cgroup2 none /sys/fs/cgroup")
        (root / "cgroup.subtree_control").write_text("+memory",
                                                     encoding="ascii")
        group.mkdir()
        defer(group.rmdir)
        (group / "memory.high").write_text("0", encoding="ascii")
    except OSError as exc:
        raise KsftSkipEx("no memory cgroup") from exc
    return group


def _task_state(pid):
    stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    return stat.rsplit(")", 1)[1].split()[0]


def _wait_until_asleep(pid):
    """ Wait until a task has been asleep for a while, and not for a signal """
    seen = 0

    def look():
        nonlocal seen
        seen = seen + 1 if _task_state(pid) == "D" else 0
        return seen == 3

    wait_until(look, 10, "the sender is not throttled")


def _kernel_log():
    """ The kernel log from now on: a function that returns it """
    kmsg = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
    defer(os.close, kmsg)
    os.lseek(kmsg, 0, os.SEEK_END)

    def read():
        log = ""
        try:
            while True:
                log += os.read(kmsg, 8192).decode(errors="replace")
        except BlockingIOError:
            return log

    return read


def unregister_throttled(cfg):
    """
    The device is removed while a sender that has offered it keys sleeps in the
    kernel: a task that is over memory.high sleeps for up to two seconds once
    more than 64 pages have been charged in one system call.
    """
    link = spare_link(quic_init_nsim(cfg))
    group = _memory_cgroup()

    link.ip(f"neigh replace {link.remote_addr} dev {link.ifname} "
            f"lladdr {link.remote_mac()} nud permanent")
    log = _kernel_log()
    traffic = link.start(flows=512, at_once=True, wait_ms=500)
    wait_until(lambda: _task_state(traffic.pid) == "T", 60, "no sender")
    (group / "cgroup.procs").write_text(str(traffic.pid), encoding="ascii")
    os.kill(traffic.pid, signal.SIGCONT)
    _wait_until_asleep(traffic.pid)
    link.nsim.remove()
    traffic.finish()
    check_safe(traffic)
    ksft_gt(traffic["QuicTxDevice"], 0)
    complaints = re.findall(
        "BUG: .*|WARNING: .*|waiting for .* to become free.*", log())
    ksft_eq(complaints, [])


def devlink_reload(cfg):
    """ The device is reloaded under load """
    link = spare_link(quic_init_nsim(cfg))

    with link.load(segments=3) as load:
        load.until_device()
        or_skip(cmd, f"devlink dev reload netdevsim/netdevsim{link.nsim.addr}")
        wait_until(link.has_no_keys, 5, "keys left")
    check_safe(load)


def _only_ours(link):
    devices = Path("/sys/bus/netdevsim/devices").iterdir()
    # The two of the environment
    return len(list(devices)) == 2 and link.nsim


@ksft_variants(["both"] if SLOW else ["plain", "queue", "ack"])
def module_unload(cfg, how):
    """
    The driver is unloaded with all of its devices under load: from a device
    without a queue, from one with, while keys wait to be acknowledged.
    """
    cfg.require_nsim()
    if "netdevsim " not in Path("/proc/modules").read_text(encoding="ascii"):
        raise KsftSkipEx("netdevsim is no module")
    link = quic_init_nsim(cfg)
    if not _only_ours(link):
        raise KsftSkipEx("others have netdevsim devices")

    # The environment needs new devices
    defer(type(cfg).__init__, cfg, __file__)
    defer(delattr, cfg, "quic_checked")
    defer(cmd, "modprobe netdevsim")
    if how in ("queue", "both"):
        or_skip(tc, f"qdisc replace dev {link.ifname} root "
                    "tbf rate 4mbit burst 5k limit 1m")
    with link.load(threads=2, flows=3, segments=3, key_update=20,
                   interval_us=2000) as load:
        load.until_device()
        if how in ("ack", "both"):
            link.knob("delay_ack", 100)
            load.proceed()
        cmd("rmmod netdevsim")
        ksft_true(link.has_no_keys(), "no keys without the module")
        load.proceed_anyhow()
    check_safe(load)
    check(load, QuicTxDeviceDrop=0)


def main() -> None:
    """ Ksft boiler plate main """

    with NetDrvEpEnv(__file__) as cfg:
        ksft_run(cases=[
            toggle, toggle_load, toggle_checksum, down_up, shake,
            down_in_flight, mtu, close_and_down, threads, add_refused,
            add_delayed, add_delayed_down, add_delayed_queue, slow,
            slow_latency, slow_other_down, slow_down,
            ring, give_back, stop_key, add_refused_late, add_refused_busy,
            add_refused_full, add_no_memory, detached, shared_table,
            virtual_function, table_limit, many_flows,
            keys_lost, keys_lost_load, corrupt, reset, reset_requeued,
            free_crypto, netns_move, netns_exit, unregister,
            unregister_load, unregister_throttled, devlink_reload,
            module_unload,
        ], args=(cfg, ))
    ksft_exit()


if __name__ == "__main__":
    main()
