#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Make the tables of lib/bench/results.rst from build/BASE/results, with BASE in
the environment, or of the newest kernel that has results.

usage: bench-rst.py show [name...]    those for which there are results
       bench-rst.py update            put them into lib/bench/results.rst

A table stands between the comments ".. BEGIN name" and ".. END name".
"""

import glob
import os
import re
import statistics
import sys

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
RES = max(glob.glob(os.path.join(TOP, "build", os.environ.get("BASE", "*"),
                                 "results")), default="build/BASE/results",
          key=lambda d: [int(n) for n in re.findall(r"\d+", d)])
PAGE = os.path.join(TOP, "lib", "bench", "results.rst")


def rows(name):
    """the lines of a file that quic_bench -j wrote, as dictionaries"""
    path = os.path.join(RES, name)
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8") as f:
        names = f.readline().lstrip("#").split()
        return [{k: int(v) if v.isdigit() else v for k, v in
                 zip(names, line.split())} for line in f]


def table(head, body):
    """a simple table of reStructuredText"""
    body = [[str(c) for c in line] for line in body]
    width = [max(len(line[i]) for line in [head] + body)
             for i in range(len(head))]
    rule = "  ".join("=" * w for w in width)
    out = [rule]
    for n, line in enumerate([head] + body):
        out.append("  ".join(c.ljust(w) for c, w in
                             zip(line, width)).rstrip())
        if n == 0:
            out.append(rule)
    return "\n".join(out + [rule]) + "\n"


class Run:
    """what one quic_bench has measured, round by round"""

    def __init__(self):
        self.mode, self.seen, self.what = {}, set(), None
        self.cipher = self.size = self.batch = 0
        self.threads = self.sockets = self.flows = 0

    def add(self, row):
        """false if the line is another run's"""
        what = tuple(row[k] for k in ("cipher", "size", "batch", "threads",
                                      "sockets", "msgs"))
        if (row["mode"], row["round"]) in self.seen or \
                self.what not in (None, what):
            return False
        self.what = what
        self.seen.add((row["mode"], row["round"]))
        self.cipher, self.size, self.batch = (
            row[k] for k in ("cipher", "size", "batch"))
        self.threads, self.sockets = row["threads"], row["sockets"]
        self.flows = max(self.flows, row["flows"])
        self.mode.setdefault(row["mode"], []).append(row)
        return True

    def has(self, mode):
        parts = ("bypass", "crypto") if mode == "least" else (mode,)
        return all(m in self.mode for m in parts)

    def rounds(self, mode, column="cpu_ns"):
        """per packet; without the system call, where that was measured"""
        if mode == "least":
            return [a + b for a, b in zip(self.rounds("bypass"),
                                          self.rounds("crypto"))]
        per = [r[column] / r["packets"] for r in self.mode[mode]]
        call = "rx-syscall" if mode.startswith("rx-") else "syscall"
        if call in self.mode and \
                not re.fullmatch("(limit|crypto)(/1)?", mode):
            less = self.mode[call]
            per = [a - b[column] / b["packets"] for a, b in zip(per, less)]
        return per

    def value(self, mode):
        if not self.has(mode):
            return "-"
        return "%.0f" % statistics.median(self.rounds(mode))

    def ratio(self, mode, ref):
        """how much faster mode is than ref"""
        if not self.has(mode) or not self.has(ref):
            return "-"
        return "%.2f" % statistics.median(
            b / a for a, b in zip(self.rounds(mode), self.rounds(ref)))

    def overhead(self, mode):
        """sealing, in units of the limit"""
        if not {mode, "plain", "limit"} <= set(self.mode):
            return "-"
        return "%.2f" % statistics.median((a - b) / c for a, b, c in zip(
            self.rounds(mode), self.rounds("plain"), self.rounds("limit")))

    def best(self, what=""):
        """the fastest of those that seal, or with "rx-" open, in user space"""
        user = [m for m in self.mode
                if re.fullmatch(what + r"user-[^@/]*", m)]
        return min(user, key=lambda m: statistics.median(self.rounds(m)),
                   default=None)


def runs(name):
    out = []
    for row in rows(name):
        if not out or not out[-1].add(row):
            out.append(Run())
            out[-1].add(row)
    return out


def one_flow():
    """the runs with one flow, and the fastest library of each"""
    seen = set()
    for run in runs("bench.tsv"):
        best = run.best()
        what = run.cipher, run.size, run.batch
        # a datagram has no room for more of the large packets
        if run.flows == 1 and best and what not in seen:
            seen.add(what)
            yield run, best


def cpu():
    """CPU time per packet, one flow"""
    head = ["cipher", "size", "batch", "plain", "limit", "kernel", "flow_id",
            "user", "which", "kernel : user", "sealing : limit",
            "device : plain", "device : user"]
    body = []
    for run, best in one_flow():
        body.append([run.cipher, run.size, run.batch] + [
            run.value(m) for m in
            ("plain", "limit", "kernel", "kernel-flowid", best)] + [
            best[5:], run.ratio("kernel", best), run.overhead("kernel"),
            run.ratio("device", "plain@device"), run.ratio("device", best)])
    return head, body


def recv():
    """CPU time per packet that is received, one flow"""
    head = ["cipher", "size", "batch", "plain", "plain-ulp", "kernel", "user",
            "which", "kernel : user", "kernel : plain", "device : plain",
            "device : user"]
    body, seen = [], set()
    for run in runs("bench.tsv"):
        best = run.best("rx-")
        what = run.cipher, run.size, run.batch
        if run.flows != 1 or not best or what in seen:
            continue
        seen.add(what)
        body.append(list(what) + [run.value(m) for m in (
            "rx-plain", "rx-plain-ulp", "rx-kernel", best)] + [
            best[8:], run.ratio("rx-kernel", best),
            run.ratio("rx-kernel", "rx-plain"),
            run.ratio("rx-device", "rx-plain@device"),
            run.ratio("rx-device", best)])
    return head, body


def bounds():
    """what is left when all that the kernel adds to its ciphers is free"""
    head = ["cipher", "size", "batch", "plain", "bypass", "crypto", "least",
            "kernel", "user", "kernel : user", "least : user",
            "device : plain", "bypass : plain"]
    body = []
    for run, best in one_flow():
        if not run.has("least"):
            continue
        body.append([run.cipher, run.size, run.batch] + [
            run.value(m) for m in
            ("plain", "bypass", "crypto", "least", "kernel", best)] + [
            run.ratio("kernel", best), run.ratio("least", best),
            run.ratio("device", "plain@device"),
            run.ratio("bypass@device", "plain@device")])
    return head, body


def flows():
    """many flows on a socket, and one, in turn"""
    body = []
    for run in runs("bench.tsv"):
        for mode in run.mode:
            if mode + "/1" in run.mode:
                body.append([run.flows, mode, run.value(mode + "/1"),
                             run.value(mode), run.ratio(mode + "/1", mode)])
    return ["flows", "mode", "one flow", "all flows", "all : one"], body


def ulp():
    """what it costs those who do not use it"""
    body, seen = [], set()
    for run in runs("bench.tsv"):
        what = run.size, run.batch
        if "plain-ulp" in run.mode and what not in seen:
            seen.add(what)
            body.append([run.size, run.batch, run.value("plain"),
                         run.value("plain-ulp"),
                         run.ratio("plain", "plain-ulp")])
    return ["size", "batch", "plain", "plain-ulp", "plain-ulp : plain"], body


def install():
    """flows added, removed and replaced, and sockets with flows closed"""
    body = []
    for r in rows("bench-install.tsv"):
        n = r["to"] - r["from"]
        added = r["what"] == "add"
        body.append([r["what"], r["to"] if added else n,
                     "%.0f" % (r["cpu_ns"] / n),
                     "%.0f" % (n * 1e9 / r["wall_ns"]),
                     "%.0f" % (int(r["kbytes"]) * 1024 / n) if added else "-"])
    return ["what", "flows", "CPU ns each", "flows/s", "bytes each"], body


def medians(base):
    """(cipher, batch, mode): median of each run of `bench.sh bases`"""
    out = {}
    for run in runs(os.path.join("..", "..", base, "results", "bases.tsv")):
        for mode in run.mode:
            if not mode.endswith("syscall"):
                out.setdefault((run.cipher, run.batch, mode), []).append(
                    statistics.median(run.rounds(mode)))
    return out


def bases():
    """the newest kernel against the oldest, guests in turn"""
    dirs = sorted(glob.glob(os.path.join(TOP, "build", "*", "results",
                                         "bases.tsv")),
                  key=lambda d: [int(n) for n in re.findall(r"\d+", d)])
    names = [os.path.relpath(d, TOP).split(os.sep)[1] for d in dirs]
    if len(names) < 2:
        return [], []
    old, new = medians(names[0]), medians(names[-1])
    body = []
    for key in (k for k in old if k in new):
        n = min(len(old[key]), len(new[key]))
        old[key], new[key] = old[key][:n], new[key][:n]
        by = sorted(b / a for a, b in zip(old[key], new[key]))
        body.append(list(key) + ["%.0f" % statistics.median(v[key])
                                 for v in (old, new)] + [
                    "%.2f" % v for v in (statistics.median(by), by[0],
                                         by[-1])])
    return ["cipher", "batch", "mode", names[0], names[-1],
            f"{names[-1]} : {names[0]}", "least", "most"], body


def insns():
    """instructions per packet"""
    at, modes = {}, []
    for run in runs("insns.tsv"):
        for mode, lines in run.mode.items():
            if mode not in modes:
                modes.append(mode)
            key = (run.cipher, run.flows, run.size, run.batch)
            at.setdefault(key, {})[mode] = "%.0f" % min(
                r["cpu_ns"] / r["packets"] for r in lines)
    head = ["mode"] + [
        ("" if c == "aes-128-gcm" else c + ", ") +
        ("" if f == 1 else "%d flows, " % f) + "%d x %d" % (b, s)
        for c, f, s, b in at]
    return head, [[m] + [v.get(m, "-") for v in at.values()] for m in modes]


def base():
    """UDP without the ULP, in instructions: without and with the patches"""
    at, modes = {}, ["without"]
    for name, column in ("base.tsv", "without"), ("off.tsv", "off"), \
            ("insns.tsv", None):
        for run in runs(name):
            for mode in run.mode:
                if run.flows > 1 or run.cipher != "aes-128-gcm" or \
                        not re.fullmatch("plain|plain-before|plain-ulp", mode):
                    continue
                as_name = column or mode
                if as_name not in modes:
                    modes.append(as_name)
                at.setdefault((run.size, run.batch), {})[as_name] = \
                    "%.1f" % min(run.rounds(mode))
    return ["size", "batch"] + modes, [
        [size, batch] + [v.get(m, "-") for m in modes]
        for (size, batch), v in at.items() if "without" in v]


def threads():
    """two threads against one, in turn"""
    by = {}
    for run in runs("threads.tsv"):
        for mode in run.mode:
            at = by.setdefault(mode, {}).setdefault(
                (run.threads, run.sockets), [])
            at.append(statistics.median(run.rounds(mode, "wall_ns")))
    body = []
    for mode, at in by.items():
        for many in sorted(k for k in at if k != (1, 1)):
            times = sorted(a / b for a, b in zip(at[1, 1], at[many]))
            body.append([mode, many[1], "%.0f" % statistics.median(at[1, 1]),
                         "%.0f" % statistics.median(at[many])] + [
                         "%.2f" % v for v in (statistics.median(times),
                                              times[0], times[-1])])
    return ["mode", "sockets", "1 thread, ns", "2 threads, ns",
            "times", "least", "most"], body


TABLES = {f.__name__: f for f in (cpu, recv, bounds, flows, ulp, install, bases,
                                  insns, base, threads)}


def main():
    made = {}
    for name, make in TABLES.items():
        head, body = make()
        if body:
            made[name] = table(head, body)
    if sys.argv[1:] == ["update"]:
        with open(PAGE, encoding="utf-8") as f:
            text = f.read()
        for name, lines in made.items():
            text, n = re.subn(
                r"(?s)(\.\. BEGIN %s\n).*?(\.\. END %s\n)" % (name, name),
                lambda m, t=lines: m[1] + "\n" + t + "\n" + m[2], text)
            if n != 1:
                sys.exit("error: %s has no place for %s" % (PAGE, name))
        with open(PAGE, "w", encoding="utf-8") as f:
            f.write(text)
    elif sys.argv[1:2] == ["show"]:
        for name in sys.argv[2:] or made:
            print(made.get(name, "nothing for %s in %s" % (name, RES)))
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
