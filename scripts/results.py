#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Read (K)TAP results and kernel logs.

usage: results.py count FILE.tap...    sum of leaf results
       results.py stage NAME           the same of $RES/NAME*.tap
       results.py kernel FILE.log      a TAP result for each kind of dirt
       results.py kunit FILE.log       the KTAP part of a kernel log

The exit status is 1 after a failure, 2 when nothing ran.

A result with results nested under it is no leaf: it counts only when it
failed and none of its own did (a crash after the last test, a leak), or when
it promised more than it showed.
"""

import glob
import os
import re
import sys

RESULT = re.compile(r"^(\s*)(not ok|ok) (\d+)\b(.*)$")
VERSION = re.compile(r"^(\s*)K?TAP version")
PLAN = re.compile(r"^(\s*)1\.\.(\d+)\b(.*)")
# How many lines of what a failed test has said are shown
SAID = 20
STAMP = re.compile(r"^(<\d+>)?\[ *\d+\.\d+\](\[[ TC0-9]+\])? ?")

# What kmemleak finds is a result of guest-tests.sh, whose canary leaks.
DIRT = re.compile("|".join((
    r"\bWARNING: ", r"\bBUG: ", r"\bKASAN: ", r"\bUBSAN: ", r"Call Trace:",
    r"Kernel panic", r"\bOops\b", r"general protection fault",
    r"kernel BUG at", r"INFO: .*(task|rcu|stall|lock)", r"rcu: INFO",
    r"possible (circular|recursive|irq)", r"unreferenced object",
    r"suspicious RCU", r"refcount_t: ",
    r"ODEBUG: ", r"scheduling while atomic", r"sleeping function called",
    r"ref_tracker: ", r"unregister_netdevice: waiting",
    r"Sleeping in atomic", r"soft lockup", r"hung_task",
    r"Unable to handle", r"stack segment", r"Objects remaining in",
    r"Modules linked in")))
# pairs of text that name a feature, not an event
CLEAN = re.compile("KernelAddressSanitizer initialized|kmemleak: Kernel mem")


class Leaves:
    """The leaves of results that are read line by line, in self.out"""

    def __init__(self):
        self.out = []       # [(ok|not ok|skip, name)]
        self.kinds = {}     # depth -> kinds of the results there, not yet owned
        self.plans = {}     # depth -> how many were promised

    def close(self, least):
        """Nothing more follows that is as deep as this, or deeper."""
        for d in sorted(set(self.kinds) | set(self.plans)):
            if d < least:
                continue
            seen = len(self.kinds.pop(d, ()))
            if self.plans.pop(d, seen) != seen:
                self.out.append(("not ok", "not as many results as planned"))

    def plan(self, depth, number, comment):
        """A line 1..N"""
        self.plans[depth] = int(number)
        if number == "0":
            skip = "SKIP" in comment.upper()
            self.out.append(("skip" if skip else "not ok",
                             comment.strip(" #") or "no such test"))

    def result(self, depth, status, name):
        """A line ok or not ok"""
        if re.search(r"#\s*SKIP", name, re.I):
            kind = "skip"
        elif status == "ok" or re.search(r"#\s*XFAIL", name):
            kind = "ok"
        else:
            kind = "not ok"
        below = [k for d in self.kinds if d > depth for k in self.kinds[d]]
        self.close(depth + 1)
        self.kinds.setdefault(depth, []).append(kind)
        if not below or (kind == "not ok" and "not ok" not in below):
            self.out.append((kind, name.strip(" -")))

    def read(self, line):
        """Take in the next line."""
        m = VERSION.match(line)
        if m:
            self.close(len(m.group(1)))
            return
        m = PLAN.match(line)
        if m:
            self.plan(len(m.group(1)), m.group(2), m.group(3))
            return
        m = RESULT.match(line)
        if m:
            self.result(len(m.group(1)), m.group(2), m.group(4))


def leaves(lines):
    """[(ok|not ok|skip, name)] of the leaves"""
    found = Leaves()
    for raw in lines:
        found.read(STAMP.sub("", raw.rstrip("\n")))
    found.close(0)
    return found.out


def said_before(lines, failed):
    """the last lines that the tests of a file said before each failure"""
    out, said = {}, []
    left = [what for kind, what in failed if kind == "not ok"]
    for raw in lines:
        line = STAMP.sub("", raw.rstrip("\n"))
        m = RESULT.match(line)
        if not m:
            said.append(line)
            continue
        what = m.group(4).strip(" -")
        if m.group(2) == "not ok" and what in left:
            out.setdefault(what, said[-SAID:])
        said = []
    return out


def count(files, title=""):
    total = {"ok": 0, "not ok": 0, "skip": 0}
    for name in files:
        with open(name, encoding="utf-8", errors="replace") as f:
            lines = f.readlines()
        results = leaves(lines)
        said = said_before(lines, results)
        for kind, what in results:
            total[kind] += 1
            if kind != "not ok":
                continue
            print("FAILED %s: %s" % (name, what))
            for line in said.get(what, ()):
                print("    " + line)
    print("%s%d passed, %d failed, %d skipped" %
          (title, total["ok"], total["not ok"], total["skip"]))
    if total["not ok"]:
        return 1
    return 0 if total["ok"] else 2


def without_own_reports(lines):
    """User Mode Linux of 7.3 frees memory on its second CPU before that CPU is
    online, and lockdep reports it. Leave out this one report, by its place."""
    text = "\n".join(lines)
    return re.sub(r"(?m)^.*=====+\n.*WARNING: suspicious RCU usage\n"
                  r"(?:(?!.*=====).*\n){1,25}?.*Callback enqueued on offline CPU"
                  r"(?:(?!.*=====).*\n){1,60}?.*cpu_thread\+.*\n"
                  r"(?:.*\[<[0-9a-f]+>\].*\n)*", "", text).split("\n")


def kernel(name):
    with open(name, encoding="utf-8", errors="replace") as f:
        lines = without_own_reports(f.read().splitlines())
    dirt = [i for i, s in enumerate(lines)
            if DIRT.search(s) and not CLEAN.search(s)]
    if not dirt:
        print("ok 1 kernel log is clean (%d lines)" % len(lines))
        return not lines
    for i in dirt[:12]:
        print("# %s:%d: %s" % (name, i + 1, lines[i].strip()))
    first = dirt[0]
    print("# the first of them in full:")
    for s in lines[max(0, first - 2):first + 40]:
        print("#   " + s)
    print("not ok 1 kernel log is clean: %d lines, see %s" %
          (len(dirt), name))
    return 1


def kunit(name):
    """the results of a kernel log without time stamps and chatter"""
    inside = False
    with open(name, encoding="utf-8", errors="replace") as f:
        for raw in f:
            line = STAMP.sub("", raw.rstrip("\n"))
            inside = inside or line.startswith("KTAP version")
            if inside and re.match(r"\s*(KTAP|1\.\.|ok |not ok |#)", line):
                print(line)
    return not inside


def main():
    what, args = sys.argv[1], sys.argv[2:]
    if what == "count":
        return count(args)
    if what == "stage":
        files = sorted(glob.glob(
            os.path.join(os.environ["RES"], args[0] + "*.tap")))
        return count(files, "== %s: " % args[0])
    return {"kernel": kernel, "kunit": kunit}[what](args[0])


if __name__ == "__main__":
    sys.exit(main())
