# SPDX-License-Identifier: GPL-2.0
"""Every HTTP/3 server and client that is here, in pairs, with the kernel's help.

usage: python3 -m matrix [--table FILE] [few | SERVER/CLIENT[/OFFLOADED]...]

Run as root, in a machine of its own, in the directory lib after make. Prints KTAP,
and writes a table in reStructuredText. With arguments, only these pairs; OFFLOADED
is server, client or both. "few" are those that no other test has.

Each pair transfers a file, with a key update, with loss, and with devices that seal
and open. A pair of two programs that both can use the kernel does so with both, and
then transfers the file with each alone. What counts as a success:

* the file is the same at both ends;
* every 1-RTT packet between the devices opens with the secrets of the connection,
  so that none of them was in plaintext (quic_wire);
* in the network namespace of the side that is offloaded, the kernel has counted
  what the program has counted, and that is all but the packets around the
  handshake; in that of a side that is not, the kernel has counted nothing.

The network: the devices "server" and "client", each in a namespace of its own and
able to seal and open, and in a third namespace a bridge between them, where packets
are captured and lost. Neither end sees there what its own device has not done.
"""
import argparse
import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from .network import SIDES, Failed, Network, features
from .peers import LIB
from .table import COLUMNS, CROSS, LIBRARY, NO_HTTP, NOTHING, TICK, all_rows, rst_page
from .transfer import Run

# Bytes of the files. Keys change in the large one, or, if that has arrived too soon
# for it, in the larger one: RFC 9001 section 6 asks for some time before an update.
FILES = {"file": 1000000, "large": 2000000, "larger": 10000000}
FEW = ["nginx/gtlsclient", "haproxy/aioquic_kernel", "h3file/curl",
       "aioquic_kernel/h3file/both"]

#
# What the steps of a row find out: a value for each column
#


def value(check, *args):
    try:
        check(*args)
        return TICK, ""
    except Failed as failed:
        return CROSS, str(failed)


def all_values(checks):
    """The first of the values that is not good"""
    for check, *args in checks:
        result = value(check, *args)
        if result[1]:
            return result
    return TICK, ""


def transferred(run):
    yield (TICK, "") if run.row.client.http else (NOTHING, NO_HTTP)
    for side in SIDES:
        for check in run.check_sealed, run.check_opened:
            if side not in run.row.sides():
                mark, reason = value(run.check_nothing, side)
                yield (mark, reason) if reason else (LIBRARY, "")
            elif not run.row.client.http and not check(side, least=0):
                yield NOTHING, "the handshake left no packet to the kernel"
            else:
                yield value(check, side)


def both_ways(run):
    for side in run.row.sides():
        yield run.check_sealed, side
        yield run.check_opened, side


def updated(run):
    print("# key updates:", run.updates())
    if run.updates():
        yield all_values(both_ways(run))
    else:
        yield CROSS, "the keys have not changed"


def lost(run):
    yield all_values(both_ways(run))


def in_devices(run):
    sides = run.row.sides()
    yield all_values((run.check_device, side, "Tx", "tx_quic_encrypted_packets")
                     for side in sides)
    yield all_values((run.check_device, side, "Rx", "rx_quic_decrypted_packets")
                     for side in sides)


JUDGES = {"transfer": transferred, "update": updated, "loss": lost,
          "device": in_devices}


def take_step(network, base, row, step):
    """The values of its columns"""
    run = Run(network, base, row, step, "large" if step == "update" else "file")
    try:
        with contextlib.ExitStack() as stack:
            if step == "device":
                for side in SIDES:
                    features(side, "on")
                    stack.callback(features, side, "off")
            if step == "loss":
                dropped = stack.enter_context(network.loss())
            run.transfer()
            if step == "update" and not run.updates():
                run = Run(network, base, row, step, "larger")
                run.transfer()
            if step == "loss":
                print("# lost on the way:", dropped())
                if not dropped():
                    raise Failed("no packet was lost")
        values = list(JUDGES[step](run))
    except (Failed, subprocess.SubprocessError) as failed:
        values = [(CROSS, str(failed))] + [(NOTHING, "the transfer failed")] * (
            len(COLUMNS[step]) - 1)
    if any(mark == CROSS for mark, _ in values):
        for path in sorted(run.tmp.glob("*.log")) + sorted(run.tmp.glob("*-log")):
            for line in path.read_text(errors="replace").splitlines()[-8:]:
                print(f"# {path.name}:", re.sub("[^ -~]", "?", line[:200]))
    return values


def make_files(base):
    (base / "www").mkdir()
    for name, size in FILES.items():
        (base / "www" / name).write_bytes(os.urandom(size))
    # rustls does not take a certificate of an authority for one of a server.
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
         "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", base / "key.pem",
         "-out", base / "cert.pem", "-days", "30", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost",
         "-addext", "basicConstraints=critical,CA:FALSE"],
        check=True, stderr=subprocess.DEVNULL)
    (base / "both.pem").write_text((base / "cert.pem").read_text() +
                                   (base / "key.pem").read_text())


def run_all(rows, network, base):
    """Prints KTAP, fills the cells; returns the number of failures"""
    steps = []
    for row in rows:
        for step in COLUMNS:
            reason = row.why_not(step)
            if not reason:
                steps.append((row, step))
            row.cells.update(dict.fromkeys(COLUMNS[step], (NOTHING, reason)))
    absent = {peer.name: peer.missing() for row in rows
              for peer in (row.server, row.client) if peer.missing()}
    print(f"KTAP version 1\n1..{len(steps) + len(absent)}")
    failures = 0
    for number, (row, step) in enumerate(steps, 1):
        start = time.monotonic()
        values = take_step(network, base, row, step)
        bad = [why for mark, why in values if mark == CROSS]
        failures += bool(bad)
        for why in bad:
            print("#", why)
        print(f"{'not ok' if bad else 'ok'} {number} {row} {step} "
              f"# {time.monotonic() - start:.1f}s", flush=True)
        row.cells.update(zip(COLUMNS[step], values))
    for number, (name, reason) in enumerate(absent.items(), len(steps) + 1):
        print(f"ok {number} {name} # SKIP {reason}")
    return failures


def selected(names):
    if names == ["few"]:
        names = FEW
    rows = list(all_rows())
    for name in names:
        if not any(name in (str(row), str(row).rpartition("/")[0]) for row in rows):
            sys.exit(f"no such pair: {name}")
    return [row for row in rows if not names or str(row) in names or
            str(row).rpartition("/")[0] in names]


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--table", type=Path, help="file for the table")
    parser.add_argument("pairs", nargs="*", metavar="PAIR")
    options = parser.parse_args()
    rows = selected(options.pairs)
    os.chdir(LIB)
    if not Path("/proc/net/quic_stat").exists():
        print("1..0 # SKIP this kernel has no quic-crypto")
        return 4
    with tempfile.TemporaryDirectory() as tmp:
        make_files(Path(tmp))
        network = Network()
        try:
            failures = run_all(rows, network, Path(tmp))
        finally:
            network.close()
    if options.table:
        options.table.write_text(rst_page(rows))
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main())
