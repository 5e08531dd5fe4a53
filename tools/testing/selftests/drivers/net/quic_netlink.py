#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

"""
What generic netlink tells of flows, see
Documentation/netlink/specs/quic-crypto.yaml
"""

import ctypes
import errno
import os
import socket
import struct

from lib.py import ksft_run, ksft_exit, ksft_eq, ksft_in, ksft_ge
from lib.py import ksft_raises, ksft_true, KsftSkipEx
from lib.py import NetNS, NlError, defer, ip
from lib.py.quic import ADD_RX, ADD_TX, AES_GCM_128, CONN_ALIAS
from lib.py.quic import CONN_GENERATION, DEL_RX, DEL_TX, ENCRYPT, HP, IV, KEY
from lib.py.quic import SOL_UDP, SO_COOKIE, TX_FLOW_ID, TX_TAG_ROOM, UDP_ULP
from net.lib.py.ynl import SPEC_PATH, YnlFamily

NETLINK_GENERIC = 16


class QuicFamily(YnlFamily):
    """ Flows of the network namespace """
    def __init__(self):
        super().__init__((SPEC_PATH / "quic-crypto.yaml").as_posix(), schema="")

    def flows(self, **select):
        """ Flows that the attributes select """
        return self.dump("flow-get", {k.replace("_", "-"): v
                                      for k, v in select.items()})

    def heard(self, s):
        """ Notifications about the flows of a socket that have arrived """
        self.check_ntf()
        # a list in older versions of the library
        msgs = getattr(self.async_msg_queue, "queue", self.async_msg_queue)
        got = [(m["name"], m["msg"]) for m in msgs
               if m["msg"]["sock-cookie"] == cookie(s)]
        msgs.clear()
        return got


def family():
    """ The family, or skip the test """
    sock()      # loads the module
    try:
        return QuicFamily()
    except (NlError, KeyError) as exc:
        raise KsftSkipEx("the kernel has no family quic-crypto") from exc


def listener():
    """ The family, with notifications """
    ynl = family()
    ynl.ntf_subscribe("flows")
    return ynl


def sysctl(name, value):
    """ Set a limit during the test """
    path = f"/proc/sys/net/quic_crypto/{name}"
    with open(path, encoding="ascii") as f:
        old = f.read()

    def write(what):
        with open(path, "w", encoding="ascii") as f:
            f.write(str(what))
    write(value)
    defer(write, old)


def seal(s, number):
    """ Send a packet of flow 1 """
    anc = struct.pack("=QBBHI", number, TX_TAG_ROOM | TX_FLOW_ID, 2, 0, 1)
    s.sendmsg([b"\x40id" + bytes([number]) + bytes(40)],
              [(SOL_UDP, ENCRYPT, anc)], 0, ("127.0.0.1", 9))


def info(flow_id=0, cid=b"", peer=None, gen=0, flags=0, path_id=0, key=KEY):
    """ struct quic_connection_info """
    addr = b""
    if peer:
        addr = struct.pack("=HH4s", socket.AF_INET, socket.htons(peer[1]),
                           socket.inet_aton(peer[0]))
    return struct.pack("=20sBBHII128sHB12s32s32sBQ", cid.rjust(20, b"\0"),
                       len(cid), flags, 0, flow_id, path_id, addr,
                       AES_GCM_128, gen, IV, key, HP, 0, 0)


def sock():
    """ A socket with the ULP, closed after the test """
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    defer(s.close)
    s.setsockopt(SOL_UDP, UDP_ULP, b"quic-crypto")
    return s


def cookie(s):
    """ SO_COOKIE """
    return struct.unpack("=Q", s.getsockopt(socket.SOL_SOCKET, SO_COOKIE,
                                            8))[0]


def mine(ynl, s, **select):
    """ Flows of a socket """
    return ynl.flows(sock_cookie=cookie(s), **select)


def test_none() -> None:
    """ A socket without flows is not listed """
    ynl = family()
    ksft_eq(mine(ynl, sock()), [])


def test_tx_id() -> None:
    """ A flow that sends, with a flow_id """
    ynl, s = family(), sock()
    s.setsockopt(SOL_UDP, ADD_TX, info(flow_id=7, path_id=3))
    flow, = mine(ynl, s)
    ksft_eq(flow["direction"], "tx")
    ksft_eq(flow["flow-id"], 7)
    ksft_eq(flow["path-id"], 3)
    ksft_eq(flow["cipher"], AES_GCM_128)
    ksft_eq(flow["uid"], os.geteuid())
    ksft_eq(flow["sock-ino"], os.fstat(s.fileno()).st_ino)
    ksft_true("match" not in flow)
    gen, = flow["generation"]
    ksft_eq((gen["gen"], gen["packets"], gen["remaining"]), (0, 0, 1 << 23))
    ksft_true("ifindex" not in gen)


def test_tx_match() -> None:
    """ A flow that sends, by destination and connection ID """
    ynl, s = family(), sock()
    s.setsockopt(SOL_UDP, ADD_TX,
                 info(cid=b"\1\2\3", peer=("192.0.2.7", 4433)))
    flow, = mine(ynl, s)
    ksft_true("flow-id" not in flow)
    match, = flow["match"]
    ksft_eq(match["addr"], "192.0.2.7")
    ksft_eq(match["port"], 4433)
    ksft_eq(match["conn-id"].replace(" ", ""), "010203")


def test_rx_alias() -> None:
    """ A flow that receives, with two connection IDs """
    ynl, s = family(), sock()
    s.setsockopt(SOL_UDP, ADD_RX, info(flow_id=9, cid=b"one"))
    s.setsockopt(SOL_UDP, ADD_RX, info(flow_id=9, cid=b"two",
                                       flags=CONN_ALIAS))
    flow, = mine(ynl, s)
    ksft_eq(flow["direction"], "rx")
    ksft_eq(sorted(bytes.fromhex(m["conn-id"].replace(" ", ""))
                   for m in flow["match"]), [b"one", b"two"])
    ksft_true(all("addr" not in m for m in flow["match"]))
    gen, = flow["generation"]
    ksft_eq((gen["gen"], gen["packets"]), (0, 0))


def test_many_matches() -> None:
    """ A flow with as many matches as there may be is listed by small reads """
    ynl, s = family(), sock()
    for n in range(64):
        s.setsockopt(SOL_UDP, ADD_RX,
                     info(flow_id=1, cid=bytes(19) + bytes([n]),
                          peer=("192.0.2.7", 4433),
                          flags=CONN_ALIAS if n else 0))
    s.setsockopt(SOL_UDP, ADD_RX, info(flow_id=2, cid=b"next"))
    first, second = mine(ynl, s)
    ksft_eq(len(first["match"]), 64)
    ksft_eq(second["flow-id"], 2)


def test_generations() -> None:
    """ A key update shows, newest first """
    ynl, s = family(), sock()
    s.setsockopt(SOL_UDP, ADD_TX, info(flow_id=1))
    s.setsockopt(SOL_UDP, ADD_TX, info(flow_id=1, gen=1,
                                       key=b"another key: 16b"))
    flow, = mine(ynl, s)
    ksft_eq([g["gen"] for g in flow["generation"]], [1, 0])


def test_packets() -> None:
    """ What was sealed is counted """
    ynl, s = family(), sock()
    s.setsockopt(SOL_UDP, ADD_TX, info(flow_id=1))
    seal(s, 41)
    flow, = mine(ynl, s)
    gen, = flow["generation"]
    ksft_eq(gen["packets"], 1)
    ksft_eq(gen["next-pkt-num"], 42)


def test_select() -> None:
    """ Attributes of the request select flows """
    ynl, s, other = family(), sock(), sock()
    s.setsockopt(SOL_UDP, ADD_TX, info(flow_id=1))
    s.setsockopt(SOL_UDP, ADD_RX, info(flow_id=2, cid=b"in"))
    other.setsockopt(SOL_UDP, ADD_TX, info(flow_id=3, key=b"k" * 16))
    ksft_eq([f["flow-id"] for f in mine(ynl, s)], [1, 2])
    ksft_eq([f["flow-id"] for f in mine(ynl, s, direction="tx")], [1])
    ksft_eq([f["flow-id"] for f in mine(ynl, s, direction="rx")], [2])
    ksft_eq([f["flow-id"] for f in mine(ynl, other)], [3])
    ksft_eq(sorted(f["flow-id"] for f in ynl.flows()
                   if f["sock-cookie"] in (cookie(s), cookie(other))),
            [1, 2, 3])
    ksft_eq(mine(ynl, s, ifindex=1), [])
    with ksft_raises(NlError) as cm:
        ynl.dump("flow-get", {"direction": 2})
    ksft_in(cm.exception.nl_msg.error, (-errno.EINVAL, -errno.ERANGE))


def test_many() -> None:
    """ Each of many flows of two sockets is listed once """
    ynl, socks = family(), [sock(), sock()]
    for n in range(1000):
        key = struct.pack("=IIQ", n, 1, 0)
        socks[n % 2].setsockopt(SOL_UDP, ADD_TX, info(flow_id=n + 1, key=key))
        socks[n % 2].setsockopt(SOL_UDP, ADD_RX,
                                info(flow_id=n + 1, key=key,
                                     cid=struct.pack("=I", n)))
    cookies = {cookie(s) for s in socks}
    got = [(f["flow-id"], f["direction"]) for f in ynl.flows()
           if f["sock-cookie"] in cookies]
    ksft_eq(len(got), 2000)
    ksft_eq(len(set(got)), 2000)


def test_removed() -> None:
    """ What is removed or closed is gone """
    ynl, s = family(), sock()
    s.setsockopt(SOL_UDP, ADD_TX, info(flow_id=1))
    s.setsockopt(SOL_UDP, ADD_TX, info(flow_id=2, key=b"k" * 16))
    s.setsockopt(SOL_UDP, DEL_TX, info(flow_id=1))
    ksft_eq([f["flow-id"] for f in mine(ynl, s)], [2])
    which = cookie(s)
    s.close()
    ksft_eq(ynl.flows(sock_cookie=which), [])


def test_netns() -> None:
    """ A namespace shows its own flows """
    ynl, s = family(), sock()
    s.setsockopt(SOL_UDP, ADD_TX, info(flow_id=1))
    setns = ctypes.CDLL(None, use_errno=True).setns
    with open("/proc/thread-self/ns/net", "rb") as here, NetNS() as ns, \
            open(f"/run/netns/{ns}", "rb") as there:
        ksft_eq(setns(there.fileno(), 0), 0)
        try:
            ksft_eq(QuicFamily().flows(), [])
        finally:
            ksft_eq(setns(here.fileno(), 0), 0)
    ksft_ge(len(ynl.flows()), 1)


def test_unprivileged() -> None:
    """ Only CAP_NET_ADMIN may look """
    ynl, s = family(), sock()
    s.setsockopt(SOL_UDP, ADD_TX, info(flow_id=1))
    os.seteuid(65534)
    try:
        with ksft_raises(NlError) as cm:
            ynl.flows()
        ksft_eq(cm.exception.nl_msg.error, -errno.EPERM)
    finally:
        os.seteuid(0)


def test_no_keys() -> None:
    """ No message contains a key """
    ynl, s = family(), sock()
    s.setsockopt(SOL_UDP, ADD_TX, info(flow_id=1))
    s.setsockopt(SOL_UDP, ADD_RX, info(flow_id=1, cid=b"in"))
    ksft_eq(len(mine(ynl, s)), 2)
    nl = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_GENERIC)
    defer(nl.close)
    nl.settimeout(5)
    # struct nlmsghdr with NLM_F_REQUEST and NLM_F_DUMP, struct genlmsghdr
    nl.send(struct.pack("=IHHIIBBH", 20, ynl.nlproto.family_id, 0x301, 1, 0,
                        1, 1, 0))
    data = nl.recv(1 << 16)
    ksft_true(len(data) > 100)
    for secret in (KEY, IV, HP):
        ksft_true(secret not in data)


def test_ntf_tx() -> None:
    """ Listeners hear about flows that send """
    ynl, s = listener(), sock()
    s.setsockopt(SOL_UDP, ADD_TX, info(flow_id=1, key=b"a key of its own"))
    seal(s, 5)
    s.setsockopt(SOL_UDP, ADD_TX, info(flow_id=1, gen=1,
                                       key=b"another key: 16b"))
    s.setsockopt(SOL_UDP, DEL_TX, info(flow_id=1, flags=CONN_GENERATION))
    s.setsockopt(SOL_UDP, ADD_TX, info(cid=b"by tuple",
                                       peer=("192.0.2.7", 4433),
                                       key=b"the third key..."))
    s.setsockopt(SOL_UDP, DEL_TX, info(flow_id=1))
    got = ynl.heard(s)
    ksft_eq([(name, [g["gen"] for g in flow["generation"]])
             for name, flow in got],
            [("flow-add-ntf", [0]), ("flow-update-ntf", [1, 0]),
             ("flow-update-ntf", [1]), ("flow-add-ntf", [0]),
             ("flow-del-ntf", [1])])
    flow = got[1][1]
    ksft_eq((flow["direction"], flow["flow-id"], flow["cipher"], flow["uid"]),
            ("tx", 1, AES_GCM_128, os.geteuid()))
    ksft_eq(flow["generation"][1]["next-pkt-num"], 6)
    ksft_eq(got[3][1]["match"][0]["addr"], "192.0.2.7")
    ksft_eq(mine(ynl, s), [got[3][1]])


def test_ntf_rx() -> None:
    """ Listeners hear about flows that receive """
    ynl, s = listener(), sock()
    add = (info(flow_id=9, cid=b"one"),
           info(flow_id=9, cid=b"two", flags=CONN_ALIAS),
           info(flow_id=9, gen=1, key=b"another key: 16b"))
    for what in add:
        s.setsockopt(SOL_UDP, ADD_RX, what)
    # older versions of the library mix replies up with what waits there
    listed = mine(QuicFamily(), s)
    s.setsockopt(SOL_UDP, DEL_RX, add[1])
    s.setsockopt(SOL_UDP, DEL_RX, info(flow_id=9, flags=CONN_GENERATION))
    s.setsockopt(SOL_UDP, DEL_RX, info(flow_id=9))
    got = ynl.heard(s)
    ksft_eq([(name, len(flow["match"]), len(flow["generation"]))
             for name, flow in got],
            [("flow-add-ntf", 1, 1), ("flow-update-ntf", 2, 1),
             ("flow-update-ntf", 2, 2), ("flow-update-ntf", 1, 2),
             ("flow-update-ntf", 1, 1), ("flow-del-ntf", 1, 1)])
    ksft_eq([got[2][1]], listed)


def test_ntf_refused() -> None:
    """ What is refused is not heard of """
    ynl, s = listener(), sock()
    s.setsockopt(SOL_UDP, ADD_TX, info(flow_id=1))
    s.setsockopt(SOL_UDP, ADD_RX, info(flow_id=1, cid=b"in"))
    ksft_eq(len(ynl.heard(s)), 2)
    for opt, what, code in (
            (ADD_TX, info(flow_id=1), errno.EEXIST),
            (ADD_TX, info(flow_id=1, key=b"k" * 16), errno.EADDRINUSE),
            (ADD_TX, info(flow_id=1, gen=3), errno.EINVAL),
            (DEL_TX, info(flow_id=2), errno.ENOENT),
            (ADD_RX, info(flow_id=1, cid=b"in"), errno.EEXIST),
            (ADD_RX, info(flow_id=1, cid=b"in", flags=CONN_ALIAS),
             errno.EEXIST),
            (DEL_RX, info(flow_id=1, gen=1, flags=CONN_GENERATION),
             errno.ENOKEY)):
        try:
            s.setsockopt(SOL_UDP, opt, what)
            ksft_true(False, f"{opt} was not refused")
        except OSError as exc:
            ksft_eq(exc.errno, code)
    ksft_eq(ynl.heard(s), [])


def test_ntf_close() -> None:
    """ A socket that is closed loses its flows """
    ynl, s = listener(), sock()
    s.setsockopt(SOL_UDP, ADD_TX, info(flow_id=1))
    s.setsockopt(SOL_UDP, ADD_RX, info(flow_id=2, cid=b"in"))
    copy = s.dup()
    defer(copy.close)
    which = cookie(s)
    s.close()
    ksft_eq([name for name, _ in ynl.heard(copy)], ["flow-add-ntf"] * 2)
    copy.close()
    ynl.check_ntf()
    msgs = getattr(ynl.async_msg_queue, "queue", ynl.async_msg_queue)
    ksft_eq([(m["name"], m["msg"]["flow-id"]) for m in msgs
             if m["msg"]["sock-cookie"] == which],
            [("flow-del-ntf", 1), ("flow-del-ntf", 2)])


def test_ntf_tx_limit() -> None:
    """ Few packets are left that a key may seal """
    ynl, s = listener(), sock()
    sysctl("seal_limit", 16)
    s.setsockopt(SOL_UDP, ADD_TX, info(flow_id=1, gen=6,
                                       key=b"a key for limits"))
    ynl.heard(s)
    for number in range(13):
        seal(s, number)
    ksft_eq(ynl.heard(s), [])
    for number in range(13, 16):
        seal(s, number)
    (name, flow), = ynl.heard(s)
    gen, = flow["generation"]
    ksft_eq((name, flow["flow-id"], gen["gen"], gen["packets"],
             gen["remaining"]), ("flow-limit-ntf", 1, 6, 14, 2))


def test_ntf_rx_limit() -> None:
    """ Few packets more may fail to open """
    ynl, s, peer = listener(), sock(), sock()
    sysctl("open_limit", 8)
    s.bind(("127.0.0.1", 0))
    s.settimeout(5)
    s.setsockopt(SOL_UDP, ADD_RX, info(flow_id=1, cid=b"in"))
    ynl.heard(s)
    # half of them have the other Key Phase, for which there is no key
    for number in range(64):
        peer.sendto(b"\x40in" + bytes([number]) * 40, s.getsockname())
        s.recvmsg(100, 100)
        if number == 5:
            ksft_eq(ynl.heard(s), [])
    (name, flow), = ynl.heard(s)
    gen, = flow["generation"]
    ksft_eq((name, flow["direction"], flow["flow-id"], gen["remaining"]),
            ("flow-limit-ntf", "rx", 1, 1))


def test_ntf_unprivileged() -> None:
    """ Only CAP_NET_ADMIN may listen """
    ynl = family()
    os.seteuid(65534)
    try:
        with ksft_raises(PermissionError):
            ynl.ntf_subscribe("flows")
    finally:
        os.seteuid(0)


def test_ntf_netns() -> None:
    """ Nobody hears of the flows of another namespace """
    setns = ctypes.CDLL(None, use_errno=True).setns
    sock()      # loads the module
    with open("/proc/thread-self/ns/net", "rb") as here, NetNS() as ns, \
            open(f"/run/netns/{ns}", "rb") as there:
        ksft_eq(setns(there.fileno(), 0), 0)
        try:
            ynl = listener()
        finally:
            ksft_eq(setns(here.fileno(), 0), 0)
    s = sock()
    s.setsockopt(SOL_UDP, ADD_TX, info(flow_id=1))
    ksft_eq(ynl.heard(s), [])


def test_ntf_no_keys() -> None:
    """ No notification contains a key """
    ynl, s = listener(), sock()
    s.setsockopt(SOL_UDP, ADD_TX, info(flow_id=1))
    s.setsockopt(SOL_UDP, ADD_RX, info(flow_id=1, cid=b"in"))
    for _ in range(2):
        data = ynl.sock.recv(1 << 16, socket.MSG_DONTWAIT)
        ksft_true(len(data) > 50)
        for secret in (KEY, IV, HP):
            ksft_true(secret not in data)


def ovpn_family():
    """ ovpn's family, or skip the test """
    try:
        return YnlFamily((SPEC_PATH / "ovpn.yaml").as_posix(), schema="")
    except (NlError, KeyError, OSError) as exc:
        raise KsftSkipEx("the kernel has no family ovpn") from exc


def test_ovpn() -> None:
    """ A socket belongs to ovpn or to the ULP """
    ynl = ovpn_family()
    ip("link add ovpn-quic type ovpn")
    defer(ip, "link del ovpn-quic")
    ifindex = socket.if_nametoindex("ovpn-quic")

    def take(s):
        ynl.do("peer-new", {"ifindex": ifindex, "peer": {
            "id": 1, "socket": s.fileno(), "remote-ipv4": "127.0.0.1",
            "remote-port": 9}})

    with ksft_raises(NlError) as raised:
        take(sock())
    ksft_in(f"-{errno.EBUSY}", raised.exception.nl_msg.extack["msg"])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        take(s)
        for option, value in ((UDP_ULP, b"quic-crypto"),
                              (ADD_TX, info(flow_id=1)),
                              (ADD_RX, info(flow_id=1))):
            with ksft_raises(OSError) as raised:
                s.setsockopt(SOL_UDP, option, value)
            ksft_eq(raised.exception.errno, errno.EBUSY)


def main() -> None:
    """ Ksft boilerplate main """
    ksft_run([test_none, test_tx_id, test_tx_match, test_rx_alias,
              test_many_matches, test_generations, test_packets,
              test_select, test_many, test_removed, test_netns,
              test_unprivileged, test_no_keys, test_ovpn, test_ntf_tx,
              test_ntf_rx,
              test_ntf_refused, test_ntf_close, test_ntf_tx_limit,
              test_ntf_rx_limit, test_ntf_unprivileged, test_ntf_netns,
              test_ntf_no_keys])
    ksft_exit()


if __name__ == "__main__":
    main()
