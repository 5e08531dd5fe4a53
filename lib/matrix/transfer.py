# SPDX-License-Identifier: GPL-2.0
"""A transfer of a pair: what it takes, and what was counted meanwhile"""
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

from .network import ADDRESS, PORT, SIDES, Capture, Failed, inside, wait_until
from .peers import BACKEND, LIB, QUINN

TIMEOUT = 90                        # seconds
# Packets that a library may seal or open although it leaves packets to the kernel:
# those from before the handshake is confirmed, and those that come at the end, when
# nobody reads any more. With loss, the handshake takes longer.
AROUND, AROUND_LOSS = 60, 150


def numbers(path):
    """The counters in a file of lines NAME VALUE"""
    if not path.exists():
        return {}
    return {name: int(value) for name, value in
            re.findall(r"^(\w+) +(\d+)$", path.read_text(errors="replace"), re.M)}


class Run:
    """One transfer of a pair, and what was counted"""
    def __init__(self, network, base, row, step, file):
        self.network, self.row, self.step, self.file = network, row, step, file
        self.tmp = base / "run"
        shutil.rmtree(self.tmp, ignore_errors=True)
        (self.tmp / "out").mkdir(parents=True)
        self.procs = []
        # by side: what its kernel and its program have counted, what it has sent
        self.kernel, self.program, self.wire = {}, {}, {}

    def names(self, side):
        """What the strings of peers name"""
        base, tmp = self.tmp.parent, self.tmp
        return {
            "lib": LIB, "quinn": QUINN / "debug/examples", "tmp": tmp,
            "address": ADDRESS, "port": PORT, "backend": BACKEND,
            "www": base / "www", "out": tmp / "out", "file": self.file,
            "url": f"https://{ADDRESS}:{PORT}/{self.file}",
            "cert": base / "cert.pem", "key": base / "key.pem",
            "both": base / "both.pem", "stats": tmp / f"{side}-stats",
            "log": tmp / f"{side}-log", "keylog": tmp / f"{side}-keylog",
            "config": tmp / f"{side}-config",
        }

    def words(self, side):
        """Its command and its environment"""
        peer, names = self.row.peer(side), self.names(side)
        extra = peer.on if side in self.row.sides() else peer.off
        if self.step == "update" and side == self.row.updater():
            extra += " " + peer.update
        env = {**os.environ, "SSLKEYLOGFILE": str(names["keylog"]),
               "PYTHONDONTWRITEBYTECODE": "1"}
        options = []
        for word in extra.format(**names).split():
            name, is_env, value = word.partition("=")
            if not is_env or not re.fullmatch("[A-Z_]+", name):
                options.append(word)
            elif name == "LD_PRELOAD" and name in env:
                env[name] += ":" + value
            else:
                env[name] = value
        command = []
        for word in peer.command.split():
            command += options if word == "{options}" else [word.format(**names)]
        return command, env

    def start(self, side):
        command, env = self.words(side)
        names = self.names(side)
        names["config"].write_text(self.row.peer(side).config.format(**names))
        with names["log"].open("w") as log:
            proc = subprocess.Popen([*inside(side), *command], env=env, cwd=LIB,
                                    stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.procs.append(proc)
        return proc

    def serve(self):
        if self.row.server.backend:
            backend = subprocess.Popen(
                [*inside("server"), "python3", "-m", "http.server", "-d",
                 self.names("server")["www"], "--bind", "127.0.0.1", str(BACKEND)],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            self.procs.append(backend)
            wait_until("the server of HTTP/1 does not start",
                       lambda: self.network.listening(backend.pid, "tcp", BACKEND))
        server = self.start("server")

        def ready():
            if server.poll() is not None:
                raise Failed(f"the server ends with status {server.returncode}")
            return self.network.listening(server.pid, "udp", PORT)
        wait_until("the server does not start", ready)
        return server

    def fetch(self):
        for tries in range(self.row.client.tries, 0, -1):
            client = self.start("client")
            try:
                client.wait(TIMEOUT)
            except subprocess.TimeoutExpired:
                raise Failed(f"the client takes longer than {TIMEOUT} s") from None
            if not client.returncode:
                break
            if tries == 1:
                raise Failed(f"the client ends with status {client.returncode}")
            print("# the client ends with status", client.returncode)
        sent, got = (self.names("client")[place] / self.file
                     for place in ("www", "out"))
        if not got.exists() or sent.read_bytes() != got.read_bytes():
            raise Failed("the file that arrives is another one")

    def handshake(self):
        """For a client without HTTP/3"""
        client = self.start("client")
        log = self.names("client")["log"]
        wait_until("no handshake", lambda: "ALPN protocol: h3" in
                   log.read_text(errors="replace"))
        time.sleep(1)       # for what a server sends once it is confirmed
        client.send_signal(signal.SIGINT)
        client.wait(10)

    def transfer(self):
        before = {side: self.network.counters(side) for side in SIDES}
        capture = Capture(self.tmp)
        try:
            server = self.serve()
            (self.fetch if self.row.client.http else self.handshake)()
            server.send_signal(signal.SIGINT)
            if server.wait(10) < 0 and server.returncode != -signal.SIGINT:
                raise Failed(f"the server ends with status {server.returncode}")
        finally:
            for proc in self.procs:
                proc.kill()
                proc.wait()
            capture.stop()
        for side in SIDES:
            self.count(side, before[side])
        self.check_wire()

    def count(self, side, before):
        after = self.network.counters(side)
        self.kernel[side] = {name: after[name] - before[name] for name in after}
        peer = self.row.peer(side)
        counted = numbers(Path(peer.stats.format(**self.names(side))))
        self.program[side] = (counted.get(peer.sealed, 0), counted.get(peer.opened, 0))

    def keylog(self):
        for side in SIDES:
            path = self.names(side)["keylog"]
            if path.exists() and "CLIENT_TRAFFIC_SECRET_0" in path.read_text():
                return path
        raise Failed("neither side has written its secrets")

    def check_wire(self):
        for side in SIDES:
            report = self.tmp / f"wire-{side}"
            with report.open("w") as out:
                proc = subprocess.run(
                    [LIB / "quic_wire", self.tmp / "wire.pcap", self.keylog(),
                     str(PORT), *(["client"] if side == "client" else [])],
                    stdout=out, stderr=out, check=False)
            if proc.returncode:
                print(re.sub("(?m)^", "# ", report.read_text().strip()))
                raise Failed(f"not every packet of the {side} is sealed")
            self.wire[side] = numbers(report)

    # what the kernel and the programs have done

    def updates(self):
        """Of the side that has seen fewer: the other one has to follow"""
        return min(self.wire[side]["wire_key_updates"] for side in SIDES)

    def around(self):
        return AROUND_LOSS if self.step == "loss" else AROUND

    def check_sealed(self, side, least=1):
        """Returns how many the kernel has sealed"""
        count = self.kernel[side]
        sealed = count["QuicTxSwPackets"] + count["QuicTxDevicePackets"]
        self.check_count(side, "sealed", sealed, self.program[side][0],
                         self.wire[side]["wire_sealed_packets"], least)
        if sealed != self.program[side][0]:
            raise Failed(f"the {side} counts {self.program[side][0]} sealed packets, "
                         f"its kernel {sealed}")
        return sealed

    def check_opened(self, side, least=1):
        """Returns how many the kernel has opened"""
        count = self.kernel[side]
        opened = count["QuicRxSwPackets"] + count["QuicRxDevicePackets"]
        other = SIDES[side == "server"]
        self.check_count(side, "opened", opened, self.program[side][1],
                         self.wire[other]["wire_sealed_packets"], least)
        return opened

    def check_count(self, side, what, kernel, program, wire, least):
        """The program may not have looked at all that the kernel has opened, and it
        may have sent some that were lost before they came to the wire."""
        print(f"# {what} by the kernel of the {side}: {kernel}, the program says "
              f"{program}, on the wire {wire}")
        if program < least or kernel < program:
            raise Failed(f"the {side} counts {program} packets {what} by the kernel, "
                         f"the kernel {kernel}")
        if wire - kernel > self.around():
            raise Failed(f"the kernel of the {side} has {what} {kernel} packets of "
                         f"{wire}")

    def took_part(self, side):
        return any(self.kernel[side][f"Quic{name}Packets"]
                   for name in ("TxSw", "TxDevice", "RxSw", "RxDevice"))

    def check_nothing(self, side):
        if self.took_part(side):
            raise Failed(f"the kernel of the {side} has taken part")

    def check_device(self, side, which, name):
        """Nearly all by the device: software has the first call."""
        count = self.kernel[side]
        device, software = (count[f"Quic{which}{by}Packets"] for by in ("Device", "Sw"))
        print(f"# {side}: {which} device {device}, software {software}; the device "
              f"says {count[name]}")
        if not device or device < software or count[name] < device:
            raise Failed(f"software did {software} packets on the {side}, the device "
                         f"{device}, and it counts {count[name]}")
