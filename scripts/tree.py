#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Bring the kernel tree to: pristine source + overlay + patches.

usage: tree.py BASE TREE

BASE is the pristine source, TREE a copy of it. A file is written only when
its content changes, so that a build in TREE stays incremental.
"""

import filecmp
import os
import re
import shutil
import subprocess
import sys
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ROOTS = ("Documentation", "drivers", "include", "net", "tools")


def die(text):
    sys.exit("error: " + text)


def series():
    """[(patch, [overlay files])] in the order of patches/series"""
    path = os.path.join(TOP, "patches", "series")
    out = []
    if not os.path.exists(path):
        return out
    with open(path, encoding="utf-8") as f:
        for line in f:
            line = line.split("#")[0].strip()
            if line:
                name, _, files = line.partition(":")
                where = "" if name == "MAINTAINERS.patch" else "patches"
                out.append((os.path.join(TOP, where, name), files.split()))
    return out


def overlay():
    """files that stand at their kernel paths in the repository"""
    listed = {f for _, files in series() for f in files}
    git = subprocess.run(["git", "-c", "safe.directory=*", "-C", TOP,
                          "ls-files", "-co", "-z", "--exclude-standard",
                          "--"] + list(ROOTS),
                         capture_output=True, check=False)
    if git.returncode == 0:
        found = set(git.stdout.decode().split("\0")) - {""}
    else:
        found = {os.path.relpath(os.path.join(d, f), TOP)
                 for r in ROOTS for d, _, names in
                 os.walk(os.path.join(TOP, r)) for f in names}
    # other directories of ours are not in ROOTS
    missing = sorted(f for f in listed
                     if not os.path.exists(os.path.join(TOP, f)))
    if missing:
        die("patches/series names files that do not exist: " +
            " ".join(missing))
    return sorted(f for f in found if os.path.exists(os.path.join(TOP, f)))


def touched(patch):
    """files of the kernel that a patch changes"""
    with open(patch, encoding="utf-8", errors="surrogateescape") as f:
        return [m.group(1) for m in
                re.finditer(r"^\+\+\+ b/(\S+)", f.read(), re.M)]


def put(src, dst):
    """copy unless the content is there already; breaks hard links"""
    if os.path.exists(dst) and filecmp.cmp(src, dst, shallow=False) and \
            os.stat(src).st_mode & 0o111 == os.stat(dst).st_mode & 0o111:
        return False
    os.makedirs(os.path.dirname(dst), exist_ok=True)
    shutil.copyfile(src, dst + ".new")
    shutil.copymode(src, dst + ".new")
    os.replace(dst + ".new", dst)
    return True


def apply(patch, where, log):
    cmd = ["patch", "-p1", "-s", "-N", "-F0", "--no-backup-if-mismatch",
           "-r", "-", "-d", where, "-i", patch]
    out = subprocess.run(cmd, stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, check=False)
    log.write(out.stdout.decode(errors="replace"))
    if out.returncode:
        log.flush()
        die("%s does not apply, see %s\n%s" %
            (os.path.relpath(patch, TOP), log.name,
             out.stdout.decode(errors="replace")))


def main():
    base, tree = sys.argv[1:3]
    state = tree + ".files"
    changed = []
    known = set()
    if os.path.exists(state):
        with open(state, encoding="utf-8") as f:
            known = set(f.read().split())

    ours = overlay()
    patches = [p for p, _ in series()]
    theirs = []
    for p in patches:
        if not os.path.exists(p):
            die("patches/series names %s, which does not exist" % p)
        theirs += [f for f in touched(p) if f not in theirs]

    os.makedirs(os.path.join(TOP, "build", "log"), exist_ok=True)
    with tempfile.TemporaryDirectory(dir=os.path.dirname(tree)) as stage, \
            open(os.path.join(TOP, "build/log/patch.log"), "w",
                 encoding="utf-8") as log:
        # what the patches change, from pristine files, apart from the tree
        for f in theirs:
            if os.path.exists(os.path.join(base, f)):
                os.makedirs(os.path.dirname(os.path.join(stage, f)),
                            exist_ok=True)
                shutil.copy2(os.path.join(base, f), os.path.join(stage, f))
        for p in patches:
            if touched(p):
                apply(p, stage, log)
        want = {f: os.path.join(stage, f) for f in theirs
                if os.path.exists(os.path.join(stage, f))}
        for f in ours:
            if os.path.exists(os.path.join(base, f)) or f in want:
                die("%s is an overlay file, but the kernel or a patch "
                    "has it, too" % f)
            want[f] = os.path.join(TOP, f)

        # remember before writing, so that an interrupted run is mended
        with open(state, "w", encoding="utf-8") as f:
            f.write("\n".join(sorted(known | set(want) | set(theirs))) + "\n")
        for f, src in want.items():
            if put(src, os.path.join(tree, f)):
                changed.append(f)
        for f in sorted((known | set(theirs)) - set(want)):
            src, dst = os.path.join(base, f), os.path.join(tree, f)
            if os.path.exists(src) and f not in theirs:
                if put(src, dst):
                    changed.append(f)
            elif os.path.exists(dst):
                os.unlink(dst)
                changed.append(f)
        with open(state, "w", encoding="utf-8") as f:
            f.write("\n".join(sorted(set(want) | set(theirs))) + "\n")

    print("%d patches, %d overlay files, %d files updated" %
          (len(patches), len(ours), len(changed)))
    for f in changed[:20]:
        print("  " + f)


if __name__ == "__main__":
    main()
