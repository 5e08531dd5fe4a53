#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

"""
usage: test_ss.py SS

What ss -i shows of sockets with quic-crypto is what happened to them. Needs
root, and a kernel with our patches. PYTHONPATH is where uapi.py of
lib/aioquic_kernel is.
"""

import os
import re
import socket
import subprocess
import sys
from collections import namedtuple

import uapi
from tap import run_tests

SOL_TCP, TCP_ULP = 6, 31
AES_GCM_128 = 51
KEY, IV, HP = b"secret key of 16", b"iv for 12 by", b"header key of 16"

Keys = namedtuple("Keys", ("cipher_type", "key", "iv", "header_key"))

NAMES = [f"{way}_{what}" for way in ("tx", "rx")
         for what in ("flows", "dev_flows", "packets", "dev_packets")]


def ss(*args):
    """ {local port: (its line, what -i adds)} """
    out = subprocess.run([sys.argv[1], "-nH"] + list(args), check=True,
                         stdout=subprocess.PIPE, text=True).stdout
    found = {}
    for line in re.sub(r"\n\t", "\x00", out).splitlines():
        head, _, info = line.partition("\x00")
        port = re.search(r"127\.0\.0\.1:(\d+)\s", head)
        if port:
            found[int(port[1])] = (head, info)
    return found


def numbers(text):
    """ What ss says of QUIC """
    return {name: int(re.search(rf"\b{name}:(\d+)", text)[1])
            for name in NAMES}


def sock(ulp=True):
    """ A socket and its port """
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(("127.0.0.1", 0))
    s.settimeout(5)
    if ulp:
        s.setsockopt(uapi.SOL_UDP, uapi.UDP_ULP, uapi.ULP_NAME)
    return s, s.getsockname()[1]


def add(s, optname, flow_id, cid=b"", key=KEY):
    """ Give a socket the keys of a flow """
    keys = Keys(AES_GCM_128, key, IV, HP)
    s.setsockopt(uapi.SOL_UDP, optname, uapi.connection_info(
        uapi.flow_key(flow_id, cid), keys, 0))


def traffic():
    """ Two sockets; one seals three packets, the other opens two of them """
    (s, _), (peer, port) = sock(), sock()
    add(s, uapi.UDP_QUIC_ADD_TX_CONNECTION, 1)
    add(s, uapi.UDP_QUIC_ADD_TX_CONNECTION, 2, key=b"k" * 16)
    add(peer, uapi.UDP_QUIC_ADD_RX_CONNECTION, 1, cid=b"id")
    for n in range(3):
        s.sendmsg([b"\x40id" + bytes([n]) + bytes(40)],
                  uapi.tx_control(1, n, 2, 0), 0, ("127.0.0.1", port))
    for _ in range(2):
        peer.recvmsg(2000, 200)
    return s, peer


def equal(got, want):
    """ Or fail """
    if got != want:
        raise AssertionError(f"{got!r}, expected {want!r}")


def test_counts():
    """ Flows and packets """
    s, peer = traffic()
    zero = dict.fromkeys(NAMES, 0)
    for args in (["-uai"], ["-uai", "-m"], ["-uai", "-e"], ["-uaiO"]):
        shown = ss(*args)
        for one, want in ((s, {"tx_flows": 2, "tx_packets": 3}),
                          (peer, {"rx_flows": 1, "rx_packets": 2})):
            text = " ".join(shown[one.getsockname()[1]])
            equal(text.count(" udp-ulp-quic-crypto "), 1)
            equal(numbers(text), {**zero, **want})
            assert "tcp-ulp" not in text, text
            for secret in (KEY, IV, HP):
                assert secret.decode() not in text, text


def test_plain():
    """ Nothing of a socket without ULP, nor without -i """
    s, port = sock(ulp=False)
    equal(ss("-uai")[port][1], "")
    s.setsockopt(uapi.SOL_UDP, uapi.UDP_ULP, uapi.ULP_NAME)
    equal(numbers(ss("-uai")[port][1]), dict.fromkeys(NAMES, 0))
    assert "ulp" not in " ".join(ss("-ua")[port])


def test_unprivileged():
    """ The name alone, for those who may not administer the network """
    s, port = sock()
    add(s, uapi.UDP_QUIC_ADD_TX_CONNECTION, 1)
    os.seteuid(65534)
    try:
        equal(ss("-uai")[port][1].strip(), "udp-ulp-quic-crypto")
    finally:
        os.seteuid(0)


def test_tcp():
    """ TCP sockets are shown as before """
    server = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(server.getsockname())
    port = client.getsockname()[1]
    text = ss("-ti")[port][1]
    assert re.search("rto:.*cwnd:", text) and "ulp" not in text, text
    try:
        client.setsockopt(SOL_TCP, TCP_ULP, b"tls")
    except FileNotFoundError:
        return "the kernel has no TLS; without it the output is as before"
    text = ss("-ti")[port][1]
    assert re.search(r"rto:.* tcp-ulp-tls rxconf: none txconf: none", text), \
        text
    return None


def main():
    """ TAP """
    tests = [test_counts, test_plain, test_unprivileged, test_tcp]
    return run_tests(tests)


if __name__ == "__main__":
    sys.exit(main())
