#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

"""
usage: test_docs.py DOCUMENTATION [SS]

The names in quic.rst and quic-offload.rst are those that the kernel and the
tools have, all of them. DOCUMENTATION is the kernel's directory of this name.
Needs root, a kernel with our patches, and netdevsim. PYTHONPATH is where
uapi.py of lib/aioquic_kernel is.
"""

import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import uapi
from tap import run_tests

TRACEFS = Path("/sys/kernel/tracing")
NETDEVSIM = Path("/sys/bus/netdevsim")
DEVICE = 77


def run(*args):
    """ Output of a program """
    return subprocess.run(args, check=True, stdout=subprocess.PIPE,
                          text=True).stdout


class Pages:
    """ What the two pages say """

    def __init__(self, where):
        self.quic, self.offload = (
            Path(where, "networking", name).read_text(encoding="utf-8")
            for name in ("quic.rst", "quic-offload.rst"))

    def section(self, title):
        """ Text of a section of quic.rst """
        return re.search(rf"^{title}\n-+\n(.*?)^\S[^\n]*\n[-=]+$",
                         self.quic, re.M | re.S)[1]

    def table(self, title):
        """ First column of the table in a section """
        return re.findall(r"^``(\w+)``  ", self.section(title), re.M)

    def terms(self):
        """ Terms that either page defines """
        lines = re.findall(r"^(``.*``)$", self.quic + self.offload, re.M)
        return [name for line in lines
                for name in re.findall(r"``([\w:]+)``", line)]

    def shown(self, command):
        """ What quic-offload.rst shows below a command """
        lines = self.offload.splitlines()
        start = lines.index("\t# " + command) + 1
        out = []
        for line in lines[start:]:
            if not line.startswith("\t") or line.startswith("\t# "):
                break
            out.append(line[1:])
        return out


def equal(got, want):
    """ Or fail """
    if got != want:
        raise AssertionError(f"{got}, expected {want}")


class Device:
    """ A netdevsim device """

    def __enter__(self):
        (NETDEVSIM / "new_device").write_text(f"{DEVICE} 1", encoding="ascii")
        net = NETDEVSIM / f"devices/netdevsim{DEVICE}/net"
        for _ in range(100):
            if net.exists() and any(net.iterdir()):
                break
            time.sleep(0.1)
        self.name = next(net.iterdir()).name
        return self

    def __exit__(self, *args):
        (NETDEVSIM / "del_device").write_text(str(DEVICE), encoding="ascii")


def test_counters(pages):
    """ /proc/net/quic_stat: in the table, in this order, and explained """
    text = Path("/proc/net/quic_stat").read_text(encoding="ascii")
    names = [line.split()[0] for line in text.splitlines()]
    equal(pages.table("Monitoring"), names)
    terms = pages.terms()
    equal([name for name in names if name not in terms], [])
    known = set(re.findall(r"\bQuic(?:Curr|Tx|Rx|Decrypt)\w*",
                           pages.quic + pages.offload))
    equal(known - set(names), set())


def test_drop_reasons(pages):
    """ Reasons of drops """
    text = (TRACEFS / "events/skb/kfree_skb/format").read_text(
        encoding="ascii")
    equal(pages.table("Reasons of drops"),
          re.findall(r'"(QUIC_\w+)"', text))


def test_tracepoints(pages):
    """ Tracepoints """
    events = {path.name for path in (TRACEFS / "events/quic").iterdir()
              if path.is_dir()}
    equal({name[5:] for name in pages.terms() if name.startswith("quic:")},
          events)


def test_ethtool_stats(pages):
    """ ethtool -S """
    with Device() as dev:
        shown = run("ethtool", "-S", dev.name).splitlines()
    equal([re.sub(r"\d+$", "N", line) for line in
           pages.shown("ethtool -S eth0")],
          [re.sub(r"\d+$", "N", line) for line in shown])


def test_ethtool_features(pages):
    """ ethtool -k """
    features = "quic-hw-tx-offload on quic-hw-rx-offload on"
    with Device() as dev:
        run("ethtool", "-K", dev.name, *"tx on rx on sg on".split(),
            *features.split())
        shown = run("ethtool", "-k", dev.name)
    equal(pages.shown("ethtool -k eth0 | grep quic"),
          [line for line in shown.splitlines() if "quic" in line])


def test_devlink(pages):
    """ devlink resource show """
    name = f"netdevsim/netdevsim{DEVICE}"
    with Device():
        shown = run("devlink", "resource", "show", name)
    line, = [line.strip() for line in
             pages.shown("devlink resource show netdevsim/netdevsim1")
             if "quic" in line]
    if not shown.strip():
        raise AssertionError("devlink shows nothing")
    assert re.sub(r"occ \d+", "occ 0", line) in \
        [re.sub(r"occ \d+", "occ 0", l.strip()) for l in shown.splitlines()], \
        shown


def test_ss(pages):
    """ ss -i """
    if len(sys.argv) < 3:
        return "no ss with the patch"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind(("127.0.0.1", 0))
        s.setsockopt(uapi.SOL_UDP, uapi.UDP_ULP, uapi.ULP_NAME)
        shown = run(sys.argv[2], "-uani")
    pattern = r"^\s+udp-ulp-quic-crypto (.*)$"
    ours, = re.findall(pattern, pages.section("Socket diagnostics"), re.M)
    theirs = re.findall(pattern, shown, re.M)
    equal([re.sub(r":\d+", "", ours).split()],
          [re.sub(r":\d+", "", line).split() for line in theirs])
    equal(pages.section("Socket diagnostics").count("\tState  Recv-Q"), 1)
    return None


def main():
    """ TAP """
    tests = [test_counters, test_drop_reasons, test_tracepoints,
             test_ethtool_stats, test_ethtool_features, test_devlink, test_ss]
    pages = Pages(sys.argv[1])
    if not (TRACEFS / "events").exists():
        run("mount", "-t", "tracefs", "none", str(TRACEFS))
    return run_tests(tests, pages)


if __name__ == "__main__":
    sys.exit(main())
