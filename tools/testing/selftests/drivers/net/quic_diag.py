#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

"""
What socket diagnostics tell of sockets with quic-crypto, and the reasons that
dropped packets have.
"""

import collections
import ctypes
import os
import re
import socket
import struct

from lib.py import ksft_run, ksft_exit, ksft_eq, ksft_ge, ksft_gt
from lib.py import ksft_true, ksft_variants, KsftSkipEx
from lib.py import NetDrvEpEnv, defer, ip
from lib.py.quic import ADD_RX, ADD_TX, AES_GCM_128, DEL_TX, ENCRYPT, HP
from lib.py.quic import INFO_OPT, IV, KEY, RX_DROP, SOL_UDP, SO_COOKIE
from lib.py.quic import TX_FLOW_ID, TX_TAG_ROOM, UDP_ULP
from lib.py.quic import RxMainLink, check, quic_init_nsim
from lib.py.quic import trace_events, wait_until

NETLINK_SOCK_DIAG = 4
SOCK_DIAG_BY_FAMILY = 20
NLM_F_REQUEST, NLM_F_DUMP = 1, 0x300
NLMSG_ERROR, NLMSG_DONE = 2, 3
INFO = 2                # INET_DIAG_INFO, the extension that ss -i asks for
ULP_INFO = 19           # INET_DIAG_ULP_INFO
ULP_NAME, ULP_QUIC = 1, 4
FLOWS, DEV_FLOWS, PACKETS, DEV_PACKETS = 2, 3, 4, 5


#
# Sockets
#

def _sock(ulp=True):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    defer(s.close)
    s.bind(("127.0.0.1", 0))
    s.settimeout(5)
    if ulp:
        s.setsockopt(SOL_UDP, UDP_ULP, b"quic-crypto")
    return s


def _info(flow_id, cid=b"", key=KEY):
    """ struct quic_connection_info """
    return struct.pack("=20sBBHII128sHB12s32s32sBQ", cid.rjust(20, b"\0"),
                       len(cid), 0, 0, flow_id, 0, b"", AES_GCM_128, 0, IV,
                       key, HP, 0, 0)


def _send(s, to, number, cid=b"id", flow_id=1, count=1):
    """ Let the kernel seal packets with a flow """
    anc = struct.pack("=QBBHI", number, TX_TAG_ROOM | TX_FLOW_ID, len(cid), 0,
                      flow_id)
    for n in range(number, number + count):
        anc = struct.pack("=Q", n) + anc[8:]
        s.sendmsg([b"\x40" + cid + bytes([n]) + bytes(40)],
                  [(SOL_UDP, ENCRYPT, anc)], 0, to.getsockname())


def _init_rx(cfg):
    """ The link with a device that opens, after tests of one that seals """
    link = quic_init_nsim(cfg, RxMainLink)
    link.offload_on()
    return link


#
# Netlink
#

def _attrs(data):
    """ {type: payload} of attributes """
    attrs = {}
    while len(data) >= 4:
        length, kind = struct.unpack_from("=HH", data)
        attrs[kind & 0x3fff] = data[4:length]
        data = data[(length + 3) & ~3:]
    return attrs


def _request(ext, flags, local=None):
    """ struct nlmsghdr and struct inet_diag_req_v2 """
    ids = bytes(48)
    if local:
        # Source and destination are swapped in UDP
        ids = struct.pack("!HH", 0, local[1]) + bytes(16) + \
              socket.inet_aton(local[0]) + bytes(12) + bytes(4) + b"\xff" * 8
    body = struct.pack("=BBBBI", socket.AF_INET, socket.IPPROTO_UDP,
                       1 << (ext - 1) if ext else 0, 0, 0xffffffff) + ids
    return struct.pack("=IHHII", 16 + len(body), SOCK_DIAG_BY_FAMILY, flags, 1,
                       0) + body


def _messages(request):
    """ Answers of sock_diag: payload of each message """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW,
                       NETLINK_SOCK_DIAG) as nl:
        nl.settimeout(10)
        nl.send(request)
        dump = struct.unpack_from("=H", request, 6)[0] & NLM_F_DUMP
        while True:
            data = nl.recv(1 << 17)
            while data:
                length, kind = struct.unpack_from("=IH", data)
                if kind == NLMSG_DONE:
                    return
                if kind == NLMSG_ERROR:
                    if dump:
                        raise KsftSkipEx("no CONFIG_INET_UDP_DIAG")
                    raise OSError(-struct.unpack_from("=i", data, 16)[0],
                                  "sock_diag")
                yield data[16:length]
                data = data[(length + 3) & ~3:]
            if not dump:
                return


def _dump(ext=INFO):
    """ {cookie: attributes} of all UDP sockets """
    # struct inet_diag_msg: idiag_cookie is at 44, attributes follow at 72
    return {struct.unpack_from("=Q", m, 44)[0]: _attrs(m[72:])
            for m in _messages(_request(ext, NLM_F_REQUEST | NLM_F_DUMP))}


def _cookie(s):
    return struct.unpack("=Q", s.getsockopt(socket.SOL_SOCKET, SO_COOKIE,
                                            8))[0]


def _ulp(attrs):
    """ Name of the ULP, and {attribute: value} of each direction """
    if ULP_INFO not in attrs:
        return None, None, None
    info = _attrs(attrs[ULP_INFO])
    name = info[ULP_NAME].rstrip(b"\0").decode()
    if ULP_QUIC not in info:
        return name, None, None
    return name, *[{kind: int.from_bytes(value, "little")
                    for kind, value in _attrs(nest).items() if value}
                   for _, nest in sorted(_attrs(info[ULP_QUIC]).items())]


def _of(s, ext=INFO):
    return _ulp(_dump(ext)[_cookie(s)])


def _counts(flows=0, dev_flows=0, packets=0, dev_packets=0):
    return {FLOWS: flows, DEV_FLOWS: dev_flows, PACKETS: packets,
            DEV_PACKETS: dev_packets}


def name(cfg):
    """ The ULP's name is there if it is attached and asked for """
    quic_init_nsim(cfg)
    plain, s = _sock(ulp=False), _sock()

    ksft_eq(_of(plain), (None, None, None))
    ksft_eq(_of(s, ext=0), (None, None, None))
    ksft_eq(_of(s), ("quic-crypto", _counts(), _counts()))


def counts(cfg):
    """ Flows and packets of each direction """
    quic_init_nsim(cfg)
    s, peer = _sock(), _sock()

    s.setsockopt(SOL_UDP, ADD_TX, _info(1))
    s.setsockopt(SOL_UDP, ADD_TX, _info(2, key=b"k" * 16))
    s.setsockopt(SOL_UDP, ADD_RX, _info(1, cid=b"in"))
    peer.setsockopt(SOL_UDP, ADD_RX, _info(1, cid=b"id"))
    ksft_eq(_of(s)[1:], (_counts(flows=2), _counts(flows=1)))

    _send(s, peer, 0, count=3)
    ksft_eq(_of(s)[1:], (_counts(flows=2, packets=3), _counts(flows=1)))
    # What is in the queue is not opened yet
    ksft_eq(_of(peer)[1:], (_counts(), _counts(flows=1)))
    for _ in range(2):
        peer.recvmsg(2000, 200)
    ksft_eq(_of(peer)[1:], (_counts(), _counts(flows=1, packets=2)))

    s.setsockopt(SOL_UDP, DEL_TX, _info(1))
    ksft_eq(_of(s)[1:], (_counts(flows=1, packets=3), _counts(flows=1)))


def one(cfg):
    """ The answer for a single socket has room for everything """
    quic_init_nsim(cfg)
    s = _sock()

    s.setsockopt(SOL_UDP, ADD_TX, _info(1))
    answer, = _messages(_request(INFO, NLM_F_REQUEST, s.getsockname()))
    ksft_eq(struct.unpack_from("=Q", answer, 44)[0], _cookie(s))
    ksft_eq(_ulp(_attrs(answer[72:])),
            ("quic-crypto", _counts(flows=1), _counts()))


def many(cfg):
    """ Each of many sockets is listed once, in many messages """
    quic_init_nsim(cfg)
    socks = [_sock() for _ in range(300)]

    for n, s in enumerate(socks):
        s.setsockopt(SOL_UDP, ADD_TX, _info(1, key=struct.pack("=QQ", n, 1)))
    dump = _dump()
    for s in socks:
        ksft_eq(_ulp(dump[_cookie(s)])[1], _counts(flows=1))


def unprivileged(cfg):
    """ Without CAP_NET_ADMIN there is the name alone """
    quic_init_nsim(cfg)
    s = _sock()

    s.setsockopt(SOL_UDP, ADD_TX, _info(1))
    os.seteuid(65534)
    try:
        ksft_eq(_of(s), ("quic-crypto", None, None))
    finally:
        os.seteuid(0)
    ksft_eq(_of(s)[1], _counts(flows=1))


def no_keys(cfg):
    """ No message contains a key """
    quic_init_nsim(cfg)
    s = _sock()

    s.setsockopt(SOL_UDP, ADD_TX, _info(1))
    s.setsockopt(SOL_UDP, ADD_RX, _info(1, cid=b"in"))
    answer, = _messages(_request(INFO, NLM_F_REQUEST, s.getsockname()))
    ksft_gt(len(answer), 100)
    for secret in (KEY, IV, HP):
        ksft_true(secret not in answer)


def _devices(s):
    """ quic_info.devices """
    buf, size = ctypes.create_string_buffer(288), ctypes.c_uint32(288)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.getsockopt(s.fileno(), SOL_UDP, INFO_OPT, buf, ctypes.byref(size)):
        raise OSError(ctypes.get_errno(), "UDP_QUIC_INFO")
    ksft_eq(size.value, 288)
    return struct.unpack_from("=I", buf, 280)[0]


def info_devices(cfg):
    """ UDP_QUIC_INFO tells what the device of the route could do """
    links = quic_init_nsim(cfg), _init_rx(cfg)
    connected = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    for s in connected, bound:
        defer(s.close)
    ksft_eq(_devices(connected), 0, "no device is known")
    connected.connect((cfg.remote_addr_v["4"], 4433))
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE,
                     links[0].ifname.encode())
    # QUIC_INFO_TX, QUIC_INFO_RX
    for link, bit in zip(links, (1, 2)):
        for s in connected, bound:
            ksft_eq(_devices(s), 3)
            link.offload("off")
            ksft_eq(_devices(s), 3 - bit)
            link.offload("on")
    connected.connect(("127.0.0.1", 4433))
    ksft_eq(_devices(connected), 0, "the route leads to lo")


def _only(direction):
    """ The counts of the one socket that has flows in this direction """
    found = [_ulp(attrs) for attrs in _dump().values()]
    found = [ulp[direction] for ulp in found
             if ulp[direction] and ulp[direction][FLOWS]]
    return found[0] if len(found) == 1 else _counts()


def device_tx(cfg):
    """ Flows that a device seals, whatever number of generations they have """
    link = quic_init_nsim(cfg)

    with link.load(flows=3, key_update=20) as load:
        wait_until(lambda: _only(1)[DEV_FLOWS] == 3, 20, "flows in the device")
        load.until_device()
        for _ in range(20):
            load.proceed(10)
            ksft_ge(3, _only(1)[DEV_FLOWS], "flows in the device")
        seen = _only(1)
        ksft_eq(seen[FLOWS], 3)
        ksft_gt(seen[PACKETS], 0)
        ksft_gt(seen[DEV_PACKETS], 0)
        link.offload("off")
        defer(link.offload, "on")
        link.down()
        ksft_eq(_only(1)[DEV_FLOWS], 0, "flows in a device that is down")
        link.up()
        ksft_eq(_only(1)[FLOWS], 3)


def device_tx_packets(cfg):
    """ What a socket counts is what the namespace counts """
    link = quic_init_nsim(cfg)

    with link.load(flows=2) as load:
        load.until_device()
        for name, kind in (("QuicTxDevicePackets", DEV_PACKETS),
                           ("QuicTxSwPackets", PACKETS)):
            ksft_ge(link.kernel_counters()[name], _only(1)[kind], name)
        before = _only(1)
        load.proceed(40)
        after = _only(1)
        ksft_ge(after[PACKETS] - before[PACKETS] +
                after[DEV_PACKETS] - before[DEV_PACKETS], 40)
        ksft_gt(after[DEV_PACKETS], before[DEV_PACKETS])
    check(load, QuicTxSwError=0)


def device_rx(cfg):
    """ Flows that a device opens """
    link = _init_rx(cfg)

    with link.load() as load:
        load.until_device()
        seen = _only(2)
        ksft_eq((seen[FLOWS], seen[DEV_FLOWS]), (1, 1))
        ksft_gt(seen[PACKETS], 0)
        ksft_gt(seen[DEV_PACKETS], 0)
        link.offload("off")
        defer(link.offload, "on")
        link.down()
        ksft_eq(_only(2)[DEV_FLOWS], 0, "flows in a device that is down")
        link.up()


#
# Reasons of drops
#

class Drops:
    """ Reasons of the packets that are dropped from now on """

    def __init__(self):
        self._trace = trace_events("skb/kfree_skb")

    def _found(self):
        return re.findall(r"location=(\S+) reason: (\w+)",
                          self._trace.read_text(encoding="ascii"))

    def count(self, reason):
        """ How many skbs """
        return collections.Counter(r for _, r in self._found())[reason]

    def check(self):
        """ Nothing of QUIC is dropped without a reason """
        ksft_eq([where for where, reason in self._found()
                 if reason == "NOT_SPECIFIED" and
                 re.search("quic|udp_ulp|^udpv?6?_recvmsg", where)], [])


@ksft_variants([0, 1])
def drop_no_flow(cfg, option):
    """ UDP_QUIC_RX_DROP drops what no flow is for """
    link = quic_init_nsim(cfg)
    s, peer = _sock(), _sock()

    s.setsockopt(SOL_UDP, ADD_TX, _info(1, key=os.urandom(16)))
    peer.setsockopt(SOL_UDP, ADD_RX, _info(1, cid=b"in"))
    peer.setsockopt(SOL_UDP, RX_DROP, option)
    drops = Drops()
    dropped = link.kernel_counters()["QuicRxDropped"]
    _send(s, peer, 0, count=3)
    if option:
        wait_until(lambda: drops.count("QUIC_RX_NO_FLOW") >= 3, 5, "no drops")
    ksft_eq(drops.count("QUIC_RX_NO_FLOW"), 3 * option)
    ksft_eq(link.kernel_counters()["QuicRxDropped"] - dropped, 3 * option)
    drops.check()


def drop_not(cfg):
    """ A call that fails drops nothing """
    quic_init_nsim(cfg)
    s, peer = _sock(), _sock()

    s.setsockopt(SOL_UDP, ADD_TX, _info(1, key=os.urandom(16)))
    _send(s, peer, 0)
    drops = Drops()
    try:
        _send(s, peer, 0)
        ksft_true(False, "a packet number was sealed twice")
    except OSError:
        pass
    drops.check()


def drop_no_key(cfg):
    """ The device has lost its keys """
    link = quic_init_nsim(cfg)

    drops = Drops()
    with link.load() as load:
        load.until_device()
        link.knob("lose_keys", 1)
        load.proceed()
    ksft_gt(load["tx_quic_drop_no_key"], 0)
    ksft_eq(drops.count("QUIC_TX_NO_KEY"), load["tx_quic_drop_no_key"])
    drops.check()


def drop_damaged(cfg):
    """ What is no packet of the flow any more cannot be sealed """
    link = quic_init_nsim(cfg)

    drops = Drops()
    # The first byte of QUIC, behind Ethernet, IPv4 and UDP: a long header
    traffic = link.run(bpf_store=f":{link.ifname}:{14 + 20 + 8}:{0xc0}",
                       wait_ms=200)
    check(traffic, plain=0, tx_quic_drop_bad=traffic["calls"] - 1)
    ksft_eq(drops.count("QUIC_TX_SEAL"), traffic["tx_quic_drop_bad"])
    drops.check()


def drop_changed(cfg):
    """ Packets that are encapsulated on their way cannot be sealed """
    link = quic_init_nsim(cfg)

    local, remote = cfg.addr_v["4"], cfg.remote_addr_v["4"]
    ip(f"neigh replace {remote} dev {link.ifname} "
       f"lladdr {link.remote_mac()} nud permanent")
    defer(ip, f"neigh del {remote} dev {link.ifname}")
    link.add_qdisc("pfifo limit 1000")
    drops = Drops()
    # 2: BPF_F_ADJ_ROOM_ENCAP_L3_IPV4
    traffic = link.run(bpf_encap=f":{link.ifname}:{local},{remote},2",
                       count=20, wait_ms=200, settle_ms=300)
    check(traffic, plain=0, tx_quic_encrypted_packets=0)
    ksft_gt(traffic["QuicTxDeviceDrop"], 0)
    ksft_eq(drops.count("QUIC_TX_CHANGED"), traffic["QuicTxDeviceDrop"])
    drops.check()


@ksft_variants(["delete", "replace"])
def drop_gone(cfg, how):
    """ The key of packets in the queue has gone before they are read """
    link = _init_rx(cfg)

    drops = Drops()
    traffic = link.run(count=10, segments=4, queued=how)
    check(traffic, QuicRxDeviceMisdelivered=4)
    ksft_gt(drops.count("QUIC_RX_MISDELIVERED"), 0)
    ksft_ge(4, drops.count("QUIC_RX_MISDELIVERED"))
    drops.check()


def drop_stolen(cfg):
    """ Another socket gets the packets """
    link = _init_rx(cfg)

    drops = Drops()
    traffic = link.run(count=20, steal=True)
    ksft_gt(traffic["lost"], 0)
    ksft_eq(drops.count("QUIC_RX_MISDELIVERED"), traffic["lost"])
    drops.check()


def main() -> None:
    """ Ksft boilerplate main """
    with NetDrvEpEnv(__file__) as cfg:
        ksft_run([name, counts, one, many, unprivileged, no_keys,
                  info_devices, device_tx,
                  device_tx_packets, device_rx, drop_no_flow, drop_not,
                  drop_no_key, drop_damaged, drop_changed, drop_gone,
                  drop_stolen], args=(cfg, ))
    ksft_exit()


if __name__ == "__main__":
    main()
