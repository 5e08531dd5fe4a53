#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Bring the kernel tree to: pristine source + overlay + patches.

usage: tree.py PRISTINE TREE

TREE is a copy of PRISTINE, perhaps with the result of an earlier call. A file
is written only when its content changes, so that a build in TREE stays
incremental. TREE.files lists what differs from PRISTINE.
"""

import os
import sys

from patchset import Error, File, PatchSet, is_executable, read


def put(file, dst):
    """write a File unless its content is there; breaks hard links"""
    if file.data is None:
        if not os.path.lexists(dst):
            return False
        os.unlink(dst)
        return True
    if read(dst) == file.data and is_executable(dst) == file.executable:
        return False
    os.makedirs(os.path.dirname(dst), exist_ok=True)
    with open(dst + ".new", "wb") as f:
        f.write(file.data)
    os.chmod(dst + ".new", 0o755 if file.executable else 0o644)
    os.replace(dst + ".new", dst)
    return True


def known_files(path):
    """what an earlier call has changed"""
    if not os.path.exists(path):
        return set()
    with open(path, encoding="utf-8") as f:
        return set(f.read().split())


def write_list(path, files):
    """TREE.files"""
    with open(path, "w", encoding="utf-8") as f:
        f.write("\n".join(sorted(files)) + "\n")


def main():
    """see the top of the file"""
    pristine, tree = sys.argv[1:3]
    patchset = PatchSet(pristine)
    want, behind = patchset.result()
    known = known_files(tree + ".files")

    # remember before writing, so that an interrupted run is mended
    write_list(tree + ".files", known | set(want))
    changed = [f for f in sorted(known | set(want))
               if put(want.get(f) or patchset.pristine_file(f),
                      os.path.join(tree, f))]
    write_list(tree + ".files", want)

    print("Linux %s: %d patches, %d overlay files, %d files updated" %
          (patchset.release, len(patchset.patches), len(patchset.overlay),
           len(changed)))
    for f in changed[:20]:
        print("  " + f)
    if behind:
        print("note: the patches do not give what the overlay has: " +
              " ".join(behind))


if __name__ == "__main__":
    try:
        main()
    except Error as e:
        sys.exit("error: %s" % e)
