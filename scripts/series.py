#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""The patch set as mails, and as a git repository to work in.

usage: series.py mails PRISTINE TREE DIRECTORY [--signoff]
       series.py edit PRISTINE DIRECTORY
       series.py fold PRISTINE DIRECTORY

mails  a directory of mails, 1-tx and so on, for each section of patches/series.
       git am makes them a tree again, which has to be TREE, the one that is
       built.
edit   a repository with a commit for each patch, on top of those parts of the
       kernel that patches usually touch. For an older base the last commit
       holds what patches/BASE/backport.patch changes.
fold   write such a repository back to patches/ and the overlay. For an older
       base only what differs from the newest is written, to patches/BASE.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile

from patchset import (PATCHES, ROOTS, TOP, Error, File, PatchSet, is_executable,
                      read)

EDIT = ("Documentation/networking", "drivers/net/netdevsim", "include/linux",
        "include/net", "include/trace/events", "include/uapi/linux", "net",
        "tools/testing/selftests/drivers/net", "tools/testing/selftests/net")
TRAILER = "Patch: "
BACKPORT = "backport: what differs in Linux %s\n"


class Repo:
    """a git repository that nothing of the user's configuration changes"""

    def __init__(self, where):
        self.where = where
        os.makedirs(where, exist_ok=True)

    def git(self, *args, text=None, fail=None):
        """standard output of a git command"""
        done = subprocess.run(
            ["git", "-c", "core.autocrlf=false", "-c", "commit.gpgSign=false",
             "-c", "core.hooksPath=/dev/null", "-c", "gc.auto=0",
             "-c", "diff.algorithm=myers", "-c", "core.abbrev=12",
             "-C", self.where] + list(args),
            input=text, capture_output=True, check=False)
        if done.returncode:
            raise Error("%s\ngit %s: %s" % (
                fail or "git failed", args[0],
                (done.stderr + done.stdout).decode(errors="replace")))
        return done.stdout

    def put(self, files):
        """write {path: File} and add them to the index"""
        for path, file in files.items():
            full = os.path.join(self.where, path)
            if file.data is None:
                if os.path.lexists(full):
                    os.unlink(full)
                continue
            os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full, "wb") as f:
                f.write(file.data)
            os.chmod(full, 0o755 if file.executable else 0o644)
        self.git("add", "-f", "-A", ".")

    def commit(self, message, *args):
        """commit the index"""
        self.git("commit", "-q", "-F", "-", *args, text=message.encode())

    def file(self, commit, path):
        """a File as it is in a commit"""
        line = self.git("ls-tree", commit, "--", path).decode()
        if not line:
            return File()
        return File(self.git("cat-file", "blob", line.split()[2]),
                    line.startswith("100755"))

    def changed(self, one, two):
        """paths that differ between two commits"""
        return self.git("diff", "--name-only", "--no-renames", one,
                        two).decode().split()

    def diff(self, one, two, paths, *args):
        """diff of these files between two commits, without blob names"""
        if not paths:
            return ""
        out = self.git("diff", "--no-renames", "--no-color", *args, one, two,
                       "--", *paths).decode()
        return re.sub(r"^index [0-9a-f]+\.\.[0-9a-f]+( \d+)?\n", "", out,
                      flags=re.M)


def cover_letter(section):
    """subject and text of patches/SECTION/cover-letter.txt"""
    text = read(os.path.join(PATCHES, section, "cover-letter.txt"))
    if text is None:
        raise Error("patches/%s has no cover-letter.txt" % section)
    return text.decode()


def backport_all(patchset, state, changed):
    """changed, with the overlay files among state as this base wants them"""
    paths = patchset.backport.paths()
    return {p: patchset.backported(p, f) if p in paths else f
            for p, f in changed.items()}


def commit_patches(repo, patchset, *args):
    """one commit a patch; the last commit of each section"""
    ends = {}
    repo.git("init", "-q", "-b", "net-next")
    touched = {d.path for p in patchset.patches for d, _ in p.diffs}
    repo.put({p: patchset.pristine_file(p) for p in touched})
    repo.commit("Linux %s\n" % patchset.release, "--allow-empty")
    repo.git("tag", "base")
    state = {}
    for patch, changed in patchset.steps():
        state.update(changed)
        repo.put(backport_all(patchset, state, changed))
        repo.commit(patch.message, *args)
        ends[patch.section] = repo.git("rev-parse", "HEAD").decode().strip()
    return ends, state


def check_mails(repo, mails, tree, files):
    """what git am makes of the mails has to be what is built"""
    repo.git("checkout", "-q", "-b", "again", "base")
    repo.git("am", "-q", *mails, fail="git am refuses the series")
    if repo.changed("net-next", "again"):
        raise Error("git am gives another result")
    for path in repo.changed("base", "again"):
        want = read(os.path.join(tree, path))
        if repo.file("again", path).data != want:
            raise Error("%s of the series is not what is built" % path)
    lost = files - set(repo.changed("base", "again"))
    if lost:
        raise Error("no patch of the series adds: " + " ".join(sorted(lost)))


def write_mails(pristine, tree, out, *args):
    """see "mails" at the top of the file"""
    patchset = PatchSet(pristine)
    lts = os.path.isdir(patchset.override_dir) and patchset.base
    mails = []
    shutil.rmtree(out, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=os.path.dirname(out)) as work:
        repo = Repo(work)
        ends, state = commit_patches(repo, patchset, *args)
        behind = patchset.behind(state)
        if behind:
            raise Error("the patches do not give what the overlay has: " +
                        " ".join(behind))
        start = "base"
        for number, (section, end) in enumerate(ends.items(), 1):
            count = len(patchset.sections[section])
            if count > 15:
                raise Error("[%s] has %d patches, netdev takes 15" %
                            (section, count))
            repo.git("config", "branch.%s.description" % section,
                     cover_letter(section))
            repo.git("checkout", "-q", "-B", section, end)
            where = os.path.join(out, "%d-%s" % (number, section))
            to = lts or ("net" if section == "net" else "net-next")
            repo.git("format-patch", "-q", "--subject-prefix=PATCH " + to,
                     "--cover-letter", "--cover-from-description=subject",
                     "--thread=shallow", "--no-signature", "-o", where, start)
            mails += sorted(os.path.join(where, m) for m in os.listdir(where)
                            if not m.startswith("0000-"))
            print("%s: %d patches and a cover letter" % (where, count))
            start = end
        with open(tree + ".files", encoding="utf-8") as f:
            check_mails(repo, mails, tree, set(f.read().split()))
    print("git am makes the tree of them that is built")


def edit(pristine, where):
    """see "edit" at the top of the file"""
    patchset = PatchSet(pristine)
    if os.path.exists(os.path.join(where, ".git")):
        raise Error("%s is there already: fold or remove it first" % where)
    repo = Repo(where)
    repo.git("init", "-q", "-b", "net-next")
    for part in EDIT:
        shutil.copytree(os.path.join(pristine, part),
                        os.path.join(where, part), symlinks=True)
    touched = {d.path for p in patchset.patches for d, _ in p.diffs}
    repo.put({p: patchset.pristine_file(p) for p in touched})
    repo.commit("Linux %s\n" % patchset.release)
    repo.git("tag", "base")
    try:
        for patch, changed in patchset.steps():
            repo.put(changed)
            repo.commit("%s\n%s%s/%s\n" % (patch.message, TRAILER,
                                           patch.section, patch.name))
    except Error as e:
        raise Error("%s\n%s ends before that patch" % (e, where)) from e
    # an overlay that is ahead of the patches is changes to be sorted in
    repo.put({p: patchset.overlay_file(p) for p in patchset.overlay})
    if repo.git("status", "--porcelain"):
        repo.commit("overlay: what no patch has yet\n")
    if os.path.isdir(patchset.override_dir):
        repo.put({p: patchset.backported(p, patchset.overlay_file(p), False)
                  for p in patchset.overlay})
        repo.commit(BACKPORT % patchset.base, "--allow-empty")
    print("%s: one commit a patch, on Linux %s" % (where, patchset.release))


class Commit:
    """a commit of an edited repository, and the patch that it becomes"""

    def __init__(self, repo, name):
        self.name, self.parent = name, name + "^"
        message = repo.git("log", "-1", "--format=%B", name).decode().strip()
        m = re.search(r"^%s(\S+)/(\S+)$" % TRAILER, message, re.M)
        self.section, self.old = m.groups() if m else (None, None)
        self.message = re.sub(r"\n*^%s.*$" % TRAILER, "", message,
                              flags=re.M).strip() + "\n"
        self.paths = repo.changed(self.parent, name)
        self.new = None

    def slug(self):
        """name of the patch without its number"""
        if self.old:
            return re.sub(r"^\d+-", "", self.old)
        subject = self.message.splitlines()[0].lower()
        return re.sub(r"[^a-z0-9]+", "-", subject).strip("-")[:40] + ".patch"


def commits_of(repo, sections):
    """[Commit] of an edited repository, with sections and names"""
    names = repo.git("rev-list", "--reverse", "base..HEAD").decode().split()
    commits = [Commit(repo, n) for n in names]
    number, section = 0, next(iter(sections))
    seen = {section}
    for c in commits:
        if c.section and c.section != section:
            if c.section in seen:
                raise Error("commits of [%s] stand in two places" % c.section)
            number, section = 0, c.section
            seen.add(section)
        c.section = section
        number += 1
        c.new = "%04d-%s" % (number, c.slug())
        if c.old == "MAINTAINERS.patch":
            c.new = c.old
    return commits


def path_of(section, name):
    """where a patch of the newest base stands"""
    if name == "MAINTAINERS.patch":
        return os.path.join(TOP, name)
    return os.path.join(PATCHES, section, name)


def write(path, text):
    """write a file of the repository"""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)


def is_overlay(patchset, path):
    """does the file stand in the repository at its kernel path?"""
    return patchset.pristine_file(path).data is None


def move_overrides(commits):
    """give the patches of older bases the new names of those they override"""
    new = {c.old: os.path.join(c.section, c.new) for c in commits if c.old}
    for base in sorted(os.listdir(PATCHES)):
        if not re.fullmatch(r"\d+\.\d+", base):
            continue
        top = os.path.join(PATCHES, base)
        moves = [(os.path.join(d, n), os.path.join(top, new[n]))
                 for d, _, names in os.walk(top) for n in names if n in new]
        for old, _ in moves:
            os.rename(old, old + ".moving")
        for old, dst in moves:
            os.makedirs(os.path.dirname(dst), exist_ok=True)
            os.rename(old + ".moving", dst)


def fold_newest(repo, patchset):
    """write patches/ and the overlay"""
    commits = commits_of(repo, patchset.sections)
    last = {}
    for c in commits:
        for path in c.paths:
            last[path] = c
    lines = {s: [] for s in patchset.sections}
    for p in patchset.patches:
        os.unlink(p.path)
    for c in commits:
        whole = [p for p in c.paths
                 if is_overlay(patchset, p) and last[p] is c and
                 repo.file(c.parent, p).data is None]
        rest = [p for p in c.paths if p not in whole]
        write(path_of(c.section, c.new), c.message + "---\n" +
              repo.diff(c.parent, c.name, rest))
        lines.setdefault(c.section, []).append(
            c.new + ":" + "".join(" " + w for w in whole))
    series = os.path.join(PATCHES, "series")
    head = re.match(r"(#.*\n|\n)*", read(series).decode()).group()
    write(series, head + "\n".join(
        "[%s]\n%s" % (s, "".join(line + "\n" for line in ls))
        for s, ls in lines.items()))
    move_overrides(commits)

    ours = {p for p in last if is_overlay(patchset, p) and
            p.split("/")[0] in ROOTS}
    for path in sorted(ours | set(patchset.overlay)):
        file, full = repo.file("HEAD", path), os.path.join(TOP, path)
        if file.data is None:
            if os.path.exists(full):
                os.unlink(full)
            continue
        if read(full) != file.data or is_executable(full) != file.executable:
            os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full, "wb") as f:
                f.write(file.data)
            os.chmod(full, 0o755 if file.executable else 0o644)
    print("patches/ has %d patches" % len(commits))


def override_of(repo, plain, patch, newest, commit):
    """diffs of the files in which a commit differs from the patch

    newest: {path: File} of the overlay after the patch
    """
    wanted = {d.path: d for d, _ in patch.diffs
              if d.path not in plain.overlay}
    differ = []
    for path in commit.paths:
        file = repo.file(commit.name, path)
        if path in plain.overlay:
            if newest.get(path) != file:
                raise Error("%s: change %s in the newest base" %
                            (commit.old, path))
            continue
        try:
            same = wanted.pop(path).apply(repo.file(commit.parent, path),
                                          "") == file
        except (Error, KeyError):
            same = False
        if not same:
            differ.append(path)
    return repo.diff(commit.parent, commit.name, differ) + "".join(
        "diff --git a/%s b/%s\n" % (p, p) for p in sorted(wanted))


def overlay_steps(plain):
    """{patch name: {path: File}}: the overlay after each patch"""
    state, steps = {}, {}
    for patch in plain.patches:
        for path in patch.whole:
            state[path] = plain.overlay_file(path)
        for diff, where in patch.diffs:
            if diff.path in plain.overlay:
                state[diff.path] = diff.apply(state.get(diff.path) or File(),
                                              where)
        steps[patch.name] = dict(state)
    return steps


def fold_older(repo, patchset):
    """write patches/BASE"""
    commits = commits_of(repo, patchset.sections)
    backport = commits.pop()
    if not backport.message.startswith("backport: "):
        raise Error("the last commit is not the backport")
    plain = PatchSet(patchset.pristine, overrides=False)
    newest = overlay_steps(plain)
    patches = {p.name: p for p in plain.patches}
    texts = {}
    for c in commits:
        if c.old not in patches:
            raise Error("no patch of the newest base is called " + str(c.old))
        texts[os.path.join(c.section, c.old)] = override_of(
            repo, plain, patches[c.old], newest[c.old], c)
    for path in backport.paths:
        if path not in plain.overlay:
            raise Error("the backport changes %s, which is no overlay file" %
                        path)
    texts["backport.patch"] = repo.diff(backport.parent, backport.name,
                                        backport.paths, "-U1")
    texts = {p: t for p, t in texts.items() if t}

    shutil.rmtree(patchset.override_dir)
    for path, text in texts.items():
        write(os.path.join(patchset.override_dir, path), text)
    print("patches/%s: %s" % (patchset.base, " ".join(sorted(texts))))


def fold(pristine, where):
    """see "fold" at the top of the file"""
    repo, patchset = Repo(where), PatchSet(pristine)
    if repo.git("status", "--porcelain"):
        raise Error("%s has changes that are not committed" % where)
    if os.path.isdir(patchset.override_dir):
        fold_older(repo, patchset)
    else:
        fold_newest(repo, patchset)


COMMANDS = {"mails": write_mails, "edit": edit, "fold": fold}

if __name__ == "__main__":
    try:
        COMMANDS[sys.argv[1]](*sys.argv[2:])
    except Error as e:
        sys.exit("error: %s" % e)
