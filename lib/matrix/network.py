# SPDX-License-Identifier: GPL-2.0
"""The network: three namespaces with devices of netdevsim, and a capture"""
import contextlib
import os
import re
import signal
import subprocess
import time
from pathlib import Path

ADDRESS, PORT = "192.0.2.1", 4433   # of the server
SIDES = ("server", "client")
NETNS = SIDES + ("wire",)
NSIM = Path("/sys/bus/netdevsim")
LOSS = "2 %"


class Failed(Exception):
    """Its text is the reason."""


def wait_until(what, done, seconds=30):
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            raise Failed(what)
        time.sleep(0.05)


def run_command(*words):
    """Returns what it prints"""
    return subprocess.run(words, check=True, stdout=subprocess.PIPE,
                          text=True).stdout


def inside(netns):
    return ["nsenter", f"--net=/run/netns/{netns}"]


def add_device(number, name, netns):
    (NSIM / "new_device").write_text(f"{number}")
    made = os.listdir(NSIM / f"devices/netdevsim{number}/net")[0]
    run_command("ip", "link", "set", "dev", made, "name", name, "netns", netns)
    # Router solicitations would be captured.
    run_command("ip", "-n", netns, "link", "set", name, "addrgenmode", "none")


def link(one, other):
    """one, other: (name, netns)"""
    ends = []
    with contextlib.ExitStack() as stack:
        for name, netns in one, other:
            fd = stack.enter_context(open(f"/run/netns/{netns}", "rb")).fileno()
            shown = run_command("ip", "-n", netns, "-o", "link", "show", name)
            ends.append(f"{fd}:{shown.split(':')[0]}")
        (NSIM / "link_device").write_text(" ".join(ends))


def features(side, state):
    run_command(*inside(side), "ethtool", "-K", side, "quic-hw-tx-offload", state,
                "quic-hw-rx-offload", state)


class Network:
    def __init__(self):
        self.holders = {}
        # Room for a window of the peer
        Path("/proc/sys/net/core/rmem_default").write_text("20000000")
        for netns in NETNS:
            run_command("ip", "netns", "add", netns)
            run_command("ip", "-n", netns, "link", "set", "lo", "up")
            self.holders[netns] = subprocess.Popen([*inside(netns), "sleep", "inf"])
        for number, side in enumerate(SIDES, 1):
            add_device(number, side, side)
            add_device(number + 2, f"to-{side}", "wire")
            link((side, side), (f"to-{side}", "wire"))
            run_command("ip", "-n", side, "addr", "add", f"192.0.2.{number}/24",
                        "dev", side)
            run_command(*inside(side), "ethtool", "-K", side, "rx", "on", "sg", "on",
                        "tx-checksum-ip-generic", "on", "tx-udp-segmentation", "on")
        run_command("ip", "-n", "wire", "link", "add", "bridge", "type", "bridge")
        run_command("ip", "-n", "wire", "link", "set", "bridge", "addrgenmode", "none")
        for name in ("to-server", "to-client"):
            run_command("ip", "-n", "wire", "link", "set", name, "master", "bridge")
        for netns, name in [("wire", "bridge"), ("wire", "to-server"),
                            ("wire", "to-client"), *zip(SIDES, SIDES)]:
            run_command("ip", "-n", netns, "link", "set", name, "up")

    def close(self):
        for holder in self.holders.values():
            holder.kill()
            holder.wait()
        for number in range(1, 5):
            (NSIM / "del_device").write_text(f"{number}")
        for netns in NETNS:
            run_command("ip", "netns", "del", netns)

    def counters(self, side):
        """What the kernel and the device of a side have counted"""
        text = Path(f"/proc/{self.holders[side].pid}/net/quic_stat").read_text()
        text += run_command(*inside(side), "ethtool", "-S", side)
        return {name: int(value)
                for name, value in re.findall(r"(\w+):?\s+(\d+)$", text, re.M)}

    def listening(self, pid, kind, port):
        """Does a socket of the namespace of this process have the port?"""
        for suffix in "", "6":
            text = Path(f"/proc/{pid}/net/{kind}{suffix}").read_text()
            if re.search(r"^ *\d+: \w+:%04X " % port, text, re.M):
                return True
        return False

    @contextlib.contextmanager
    def loss(self):
        """Returns a function: how many packets were lost"""
        for name in ("to-server", "to-client"):
            run_command("tc", "-n", "wire", "qdisc", "add", "dev", name, "root",
                        "netem", "loss", LOSS.replace(" ", ""))
        try:
            yield lambda: sum(map(int, re.findall(r"dropped (\d+)", run_command(
                "tc", "-n", "wire", "-s", "qdisc", "show"))))
        finally:
            for name in ("to-server", "to-client"):
                run_command("tc", "-n", "wire", "qdisc", "del", "dev", name, "root")


class Capture:
    def __init__(self, directory):
        self.log = directory / "tcpdump.log"
        self.pcap = directory / "wire.pcap"
        with self.log.open("w") as log:
            self.proc = subprocess.Popen(
                [*inside("wire"), "tcpdump", "-Z", "root", "-i", "to-server", "-s",
                 "0", "-B", "16384", "-w", self.pcap, f"udp port {PORT}"],
                stderr=log)
        wait_until("tcpdump does not start",
                   lambda: "listening on" in self.log.read_text())

    def written(self):
        """Is all that was captured in the file?"""
        self.proc.send_signal(signal.SIGUSR1)
        time.sleep(0.1)
        found = re.findall(r"(\d+) packets? captured, (\d+) packets? received by "
                           "filter", self.log.read_text())
        # Received are also those from before there was a filter, which are not
        # captured. The kernel hands over what it has within a second.
        return found and (found[-1][0] == found[-1][1] or found[-20:] == 20 * found[-1:])

    def stop(self):
        try:
            wait_until("tcpdump does not write all of it", self.written)
        finally:
            self.proc.send_signal(signal.SIGINT)
            self.proc.wait()
        if "\n0 packets dropped by kernel" not in self.log.read_text():
            raise Failed("the capture is not complete")
