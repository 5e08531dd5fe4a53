#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Write the body of an HTTP/3 request to standard output.

usage: h3body.py FILE, which has the bytes of a request stream (RFC 9114 7.1)
"""
import sys

DATA = 0


def varint(data, at):
    """RFC 9000 section 16: the value, and where the next one begins."""
    size = 1 << (data[at] >> 6)
    value = int.from_bytes(data[at:at + size], "big")
    return value & ((1 << (8 * size - 2)) - 1), at + size


def main():
    with open(sys.argv[1], "rb") as f:
        data = f.read()
    at = 0
    while at < len(data):
        kind, at = varint(data, at)
        size, at = varint(data, at)
        if kind == DATA:
            sys.stdout.buffer.write(data[at:at + size])
        at += size


main()
