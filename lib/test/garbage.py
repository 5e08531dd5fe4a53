#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Send packets that have the connection ID of a connection, and no key of it.

usage: garbage.py INTERFACE PORT CID_LENGTH FROM_PORT NUMBER

Looks on INTERFACE for short header packets to PORT, and answers NUMBER of them
with a packet of each kind, from FROM_PORT: the packet once more as it was, one
that has nothing but the connection ID, one that is cut short, and one with a bit
that was changed. Ends when there is nothing more to answer, and prints how many
of each it has sent.
"""
import os
import random
import socket
import struct
import sys

ETH_P_ALL = 3
TAG = 16


def udp_payload(frame, port, from_port):
    """Address and data of a frame to port that is not our own, or None"""
    packet = frame[14:]
    header = (packet[0] & 15) * 4
    if packet[0] >> 4 != 4 or packet[9] != socket.IPPROTO_UDP:
        return None
    source, dest = struct.unpack_from("!HH", packet, header)
    if dest != port or source == from_port:
        return None
    return socket.inet_ntoa(packet[16:20]), packet[header + 8:]


def random_payload(packet, cid_len):
    return packet[:1 + cid_len] + os.urandom(random.randint(20, 1200))


def cut(packet, cid_len):
    return packet[:random.randint(1 + cid_len, len(packet) - 1)]


def changed(packet, cid_len):
    at = random.randint(1 + cid_len, len(packet) - 1)
    return packet[:at] + bytes([packet[at] ^ 1 << random.randint(0, 7)]) + packet[at + 1:]


def again(packet, _cid_len):
    return packet


def main():
    interface, port, cid_len, from_port, number = sys.argv[1], *map(int, sys.argv[2:6])
    tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    tap.bind((interface, 0))
    tap.settimeout(60)
    out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    out.bind(("0.0.0.0", from_port))
    kinds = again, random_payload, cut, changed
    sent = dict.fromkeys(kinds, 0)
    print("ready", flush=True)
    while number:
        try:
            frame, address = tap.recvfrom(65536)
        except TimeoutError:
            break
        tap.settimeout(5)
        if address[2] != socket.PACKET_OUTGOING:
            continue
        found = udp_payload(frame, port, from_port)
        # A GSO datagram is no packet.
        if not found or not 1 + cid_len + 4 + TAG < len(found[1]) <= 1500 or found[1][0] & 0x80:
            continue
        number -= 1
        for kind in kinds:
            out.sendto(kind(found[1], cid_len), (found[0], port))
            sent[kind] += 1
    for kind, count in sent.items():
        print(kind.__name__, count)


main()
