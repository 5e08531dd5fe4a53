#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Ask a server by DNS over QUIC, with stock dnspython on aioquic.

usage: doq.py ADDRESS PORT txt CONNECTIONS <NAMES
       doq.py ADDRESS PORT axfr ZONE
       doq.py ADDRESS PORT hold NAME

txt asks for the TXT records of each name, one a line. The names take turns on the
connections, which are open at the same time, with a query on each before an answer is
read: Knot DNS 3.4 stalls if a connection has more answers to come than it sends for a
packet that arrives. axfr transfers a zone. hold asks once, says so, and leaves the
connection open until it is killed.
"""
import contextlib
import signal
import ssl
import sys

import dns.message
import dns.quic
import dns.rcode
import dns.rdatatype

TIMEOUT = 30


def connect(stack, address, port):
    """A connection of its own, which ends with stack"""
    manager = dns.quic.SyncQuicManager(verify_mode=ssl.CERT_NONE)
    return stack.enter_context(manager).connect(address, port)


def ask(connection, name, kind):
    """A stream on which the query is on its way"""
    stream = connection.make_stream(TIMEOUT)
    stream.send(dns.message.make_query(name, kind, id=0).to_wire(), True)
    return stream


def answer(stream):
    """The next message of a stream: its records, as kdig prints them"""
    message = dns.message.from_wire(stream.receive(TIMEOUT), one_rr_per_rrset=True,
                                    xfr=True)
    if message.rcode() != dns.rcode.NOERROR:
        sys.exit(f"{message.question}: {dns.rcode.to_text(message.rcode())}")
    return message.answer


def txt(stack, address, port, number):
    connections = [connect(stack, address, port) for _ in range(int(number))]
    names = sys.stdin.read().split()
    for i in range(0, len(names), len(connections)):
        streams = [ask(connection, name, "TXT")
                   for connection, name in zip(connections, names[i:])]
        for stream in streams:
            for record in answer(stream):
                print(record)
            stream.close()


def axfr(stack, address, port, zone):
    stream = ask(connect(stack, address, port), zone, "AXFR")
    ends = 0
    while ends < 2:
        for record in answer(stream):
            print(record)
            ends += record.rdtype == dns.rdatatype.SOA


def hold(stack, address, port, name):
    print(answer(ask(connect(stack, address, port), name, "TXT"))[0], flush=True)
    signal.pause()


COMMANDS = {"txt": txt, "axfr": axfr, "hold": hold}

if len(sys.argv) != 5 or sys.argv[3] not in COMMANDS:
    sys.exit(__doc__)
with contextlib.ExitStack() as opened:
    COMMANDS[sys.argv[3]](opened, sys.argv[1], int(sys.argv[2]), sys.argv[4])
