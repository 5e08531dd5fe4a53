#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Compare instructions per packet with those that were committed.

usage: insns.py check MEASURED.tsv EXPECTED COMPILER    as TAP
       insns.py update MEASURED.tsv EXPECTED COMPILER

MEASURED.tsv is what quic_bench -j -i wrote. What user space does depends on the
versions of its libraries: it is shown, not compared. Other compilers make
other code, so that only figures of the same one are compared.
"""

import sys

LIMIT = 0.03
KEYS = ("cipher", "size", "batch", "flows", "mode")
# what user space does depends on its libraries
USER = ("user-", "rx-user-")
WIDTH = " %-13s%6s%6s%8s  %-22s"


def measured(name):
    """{key: instructions per packet}, of the round without interrupts"""
    rounds = {}
    with open(name, encoding="utf-8") as f:
        names = f.readline().lstrip("#").split()
        for line in f:
            row = dict(zip(names, line.split()))
            key = tuple(row[k] for k in KEYS)
            rounds.setdefault(key, []).append(
                int(row["cpu_ns"]) / int(row["packets"]))
    return {k: min(v) for k, v in rounds.items()}


def expected(name):
    """{key: instructions per packet} and the compiler"""
    out, compiler = {}, ""
    with open(name, encoding="utf-8") as f:
        for line in f:
            if line.startswith("# compiler: "):
                compiler = line[12:].strip()
            elif not line.startswith("#"):
                *key, value = line.split()
                out[tuple(key)] = float(value)
    return out, compiler


def update(have, name, compiler):
    with open(name, "w", encoding="utf-8") as f:
        f.write("# SPDX-License-Identifier: GPL-2.0\n"
                "# Instructions per packet, written by scripts/insns.sh "
                "update\n# compiler: %s\n#" % compiler +
                (WIDTH + "%9s" % "insns") % KEYS + "\n")
        for key, value in have.items():
            if not key[-1].startswith(USER):
                f.write(" " + (WIDTH % key) + "%9.1f\n" % value)


def check(have, name, compiler):
    want, with_compiler = expected(name)
    same = compiler == with_compiler
    failed, number = 0, 0

    print("TAP version 13")
    for key in list(have) + [k for k in want if k not in have]:
        text = " ".join("%s" % k for k in key)
        if key[-1].startswith(USER):
            print("# %s: %.1f" % (text, have[key]))
            continue
        number += 1
        result, why = "ok", ""
        if key not in have:
            result, why = "not ok", ": was not measured"
        elif key not in want:
            result = "not ok"
            why = ": %.1f, and nothing to compare with" % have[key]
        elif not same:
            why = ": %.1f # SKIP %s made the code, not %s" % (
                have[key], compiler, with_compiler)
        else:
            off = have[key] / want[key] - 1
            why = ": %.1f, %+.1f%%" % (have[key], round(off * 100, 1) + 0.)
            if off > LIMIT:
                result = "not ok"
            elif off < -LIMIT:
                print("# %s is better: scripts/insns.sh update" % text)
        failed += result != "ok"
        print("%s %d %s%s" % (result, number, text, why))
    print("1..%d" % number)
    return failed > 0


def main():
    what, tsv, name, compiler = sys.argv[1:]
    have = measured(tsv)
    if what == "update":
        return update(have, name, compiler)
    return check(have, name, compiler)


if __name__ == "__main__":
    sys.exit(main())
