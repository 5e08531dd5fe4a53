# SPDX-License-Identifier: GPL-2.0
"""The patch set as data: what every patch makes of a pristine kernel.

patches/series has a section for each series of mails, and in it one patch a
line, in order:

    [tx]
    0001-uapi.patch: include/uapi/linux/quic.h
    0002-udp-ulp.patch

The patch is patches/tx/0001-uapi.patch: a commit message, "---", and a diff
that may be empty. Files after the colon are added whole by that patch, as
they stand in the repository at their kernel paths (the overlay). A file of
the overlay may as well be made step by step by the diffs of several patches;
all patches together have to give what stands in the repository.

That is for the newest kernel. For an older one, patches/BASE has
  SECTION/NAME.patch  diffs that replace those of the same files in the patch
                      of that name (a diff without hunks: leave the file)
  backport.patch      what changes in files of the overlay. A hunk takes
                      effect with the first patch after which its lines are
                      there.
"""

import os
import re
import subprocess
from dataclasses import dataclass, field

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PATCHES = os.path.join(TOP, "patches")
ROOTS = ("Documentation", "drivers", "include", "net", "tools")


class Error(Exception):
    """something that the user has to mend"""


def read(path):
    """content of a file as bytes, None if there is none"""
    try:
        with open(path, "rb") as f:
            return f.read()
    except FileNotFoundError:
        return None


def is_executable(path):
    """file mode of the repository"""
    return bool(os.stat(path).st_mode & 0o111)


@dataclass
class File:
    """a file of the tree; data is None where it does not exist"""
    data: bytes = None
    executable: bool = False


@dataclass
class Hunk:
    """lines that are replaced, and those that replace them"""
    number: int
    line: int
    old: list = field(default_factory=list)
    new: list = field(default_factory=list)

    def index(self):
        """index of the line that the diff says it starts at"""
        return max(self.line - 1, 0) if self.old else self.line

    def find(self, lines, want):
        """index in lines that is nearest to want, None if there is none"""
        size = len(self.old)
        found = [i for i in range(len(lines) - size + 1)
                 if lines[i:i + size] == self.old]
        return min(found, key=lambda i: abs(i - want), default=None)


@dataclass
class Diff:
    """what a patch does to one file"""
    path: str
    hunks: list = field(default_factory=list)
    creates: bool = False
    deletes: bool = False
    executable: bool = None

    def apply(self, old, where):
        """the File that results from the File old"""
        if self.creates != (old.data is None):
            raise Error("%s: %s %s" % (where, self.path, "exists already"
                                       if self.creates else "does not exist"))
        lines = (old.data or b"").splitlines(True)
        shift = 0
        for hunk in self.hunks:
            at = hunk.find(lines, hunk.index() + shift)
            if at is None:
                raise Error("%s: hunk %d of %s does not apply (near line %d)" %
                            (where, hunk.number, self.path, hunk.line))
            lines[at:at + len(hunk.old)] = hunk.new
            shift = at - hunk.index() + len(hunk.new) - len(hunk.old)
        executable = old.executable
        if self.executable is not None:
            executable = self.executable
        return File(None if self.deletes else b"".join(lines), executable)


def parse_hunk(number, header, lines):
    """the Hunk whose header and following lines these are; consumes them"""
    m = re.match(rb"@@ -(\d+)(?:,(\d+))? \+\d+(?:,(\d+))? @@", header)
    if not m:
        raise Error("not a hunk: %r" % header)
    counts = [1 if c is None else int(c) for c in m.group(2, 3)]
    hunk = Hunk(number, int(m.group(1)))
    while counts != [len(hunk.old), len(hunk.new)]:
        line = lines.pop(0) if lines else b""
        if line[:1] in b" -" and line[:1]:
            hunk.old.append(line[1:])
        elif line[:1] == b"\n":
            hunk.old.append(line)
        if line[:1] in b" +" and line[:1]:
            hunk.new.append(line[1:])
        elif line[:1] == b"\n":
            hunk.new.append(line)
        if line[:1] not in (b" ", b"-", b"+", b"\n"):
            raise Error("a hunk is shorter than its header says: %r" % header)
    if lines and lines[0].startswith(b"\\ No newline"):
        raise Error("a file without a newline at its end is not supported")
    return hunk


def parse_diffs(text, where):
    """[Diff] of a patch's text"""
    diffs, lines = [], text.splitlines(True)
    while lines:
        line = lines.pop(0)
        m = re.match(rb"diff --git a/(\S+) b/(\S+)\n", line)
        if m:
            if m.group(1) != m.group(2):
                raise Error("%s: renames are not supported" % where)
            diffs.append(Diff(m.group(2).decode()))
        elif not diffs:
            continue
        elif line.startswith(b"new file mode "):
            diffs[-1].creates = True
            diffs[-1].executable = line.endswith(b"755\n")
        elif line.startswith(b"new mode "):
            diffs[-1].executable = line.endswith(b"755\n")
        elif line.startswith(b"deleted file mode "):
            diffs[-1].deletes = True
        elif line.startswith(b"--- /dev/null"):
            diffs[-1].creates = True
        elif line.startswith(b"+++ /dev/null"):
            diffs[-1].deletes = True
        elif line.startswith(b"@@ "):
            number = len(diffs[-1].hunks) + 1
            diffs[-1].hunks.append(parse_hunk(number, line, lines))
    return diffs


class Patch:
    """a patch of a series, as it is for one base"""

    def __init__(self, section, name, whole, override_dir):
        self.section, self.name, self.whole = section, name, whole
        self.path = os.path.join(PATCHES, section, name)
        if name == "MAINTAINERS.patch":
            self.path = os.path.join(TOP, name)
        self.where = os.path.relpath(self.path, TOP)
        text = read(self.path)
        if text is None:
            raise Error("patches/series names %s, which does not exist" %
                        self.where)
        at = re.search(rb"^(---|diff --git .*)$", text, re.M)
        self.message = text[:at.start() if at else len(text)].decode()
        self.diffs = [(d, self.where) for d in
                      parse_diffs(text[len(self.message.encode()):],
                                  self.where)]
        self.override(os.path.join(override_dir, section, name))

    def override(self, path):
        """replace diffs of files that an older base has other diffs of"""
        text = read(path)
        if text is None:
            return
        where = os.path.relpath(path, TOP)
        other = parse_diffs(text, where)
        paths = {d.path for d in other}
        self.diffs = [d for d in self.diffs if d[0].path not in paths]
        self.diffs += [(d, where) for d in other
                       if d.hunks or d.creates or d.deletes]
        self.diffs.sort(key=lambda d: d[0].path)


class Backport:
    """patches/BASE/backport.patch: hunks that wait for their lines"""

    def __init__(self, override_dir):
        self.where = os.path.join(os.path.relpath(override_dir, TOP),
                                  "backport.patch")
        text = read(os.path.join(override_dir, "backport.patch"))
        self.diffs = parse_diffs(text or b"", self.where)

    def paths(self):
        """files that it changes"""
        return {d.path for d in self.diffs}

    def apply(self, path, data, partly):
        """content of an overlay file for the older base"""
        for diff in self.diffs:
            if diff.path != path or data is None:
                continue
            lines = data.splitlines(True)
            for hunk in diff.hunks:
                at = hunk.find(lines, hunk.index())
                if at is not None:
                    lines[at:at + len(hunk.old)] = hunk.new
                elif not partly:
                    raise Error("%s: hunk %d of %s does not apply" %
                                (self.where, hunk.number, path))
            data = b"".join(lines)
        return data


class PatchSet:
    """all patches for the base whose pristine source is given"""

    def __init__(self, pristine, overrides=True):
        self.pristine = pristine
        makefile = read(os.path.join(pristine, "Makefile")).decode()
        version = [re.search(r"^%s =[ \t]*(\S*)" % v, makefile, re.M).group(1)
                   for v in ("VERSION", "PATCHLEVEL", "SUBLEVEL")]
        self.base = ".".join(version[:2])
        self.release = ".".join(version)
        self.override_dir = os.path.join(PATCHES,
                                         self.base if overrides else "none")
        self.sections = {}
        self.patches = []
        self.read_series()
        self.check_overrides()
        self.backport = Backport(self.override_dir)
        self.overlay = self.find_overlay()

    def read_series(self):
        """fill sections: {name: [Patch]}, in order"""
        section = None
        with open(os.path.join(PATCHES, "series"), encoding="utf-8") as f:
            for line in f:
                line = line.split("#")[0].strip()
                m = re.fullmatch(r"\[([\w-]+)\]", line)
                if m:
                    section = m.group(1)
                    self.sections[section] = []
                elif line:
                    name, _, files = line.partition(":")
                    self.sections[section].append(Patch(
                        section, name, files.split(), self.override_dir))
        self.patches = [p for s in self.sections.values() for p in s]

    def check_overrides(self):
        """a file in patches/BASE that no patch of the series has the name of
        would be overlooked"""
        known = {os.path.join(p.section, p.name) for p in self.patches}
        known.add("backport.patch")
        for d, _, names in os.walk(self.override_dir):
            for name in names:
                path = os.path.relpath(os.path.join(d, name),
                                       self.override_dir)
                if path not in known:
                    raise Error("patches/%s/%s is not in patches/series" %
                                (self.base, path))

    def find_overlay(self):
        """files that stand at their kernel paths in the repository"""
        git = subprocess.run(["git", "-c", "safe.directory=*", "-C", TOP,
                              "ls-files", "-co", "-z", "--exclude-standard",
                              "--"] + list(ROOTS),
                             capture_output=True, check=False)
        if git.returncode == 0:
            found = git.stdout.decode().split("\0")
        else:
            found = [os.path.relpath(os.path.join(d, f), TOP)
                     for r in ROOTS for d, _, names in
                     os.walk(os.path.join(TOP, r)) for f in names]
        found = sorted(f for f in found
                       if f and os.path.exists(os.path.join(TOP, f)))
        for f in found:
            if os.path.exists(os.path.join(self.pristine, f)):
                raise Error("%s is an overlay file, but Linux %s has it, too" %
                            (f, self.release))
        missing = self.backport.paths() - set(found)
        if missing:
            raise Error("%s changes files that the overlay does not have: %s" %
                        (self.backport.where, " ".join(sorted(missing))))
        return found

    def overlay_file(self, path):
        """a File of the overlay, for the newest base"""
        full = os.path.join(TOP, path)
        data = read(full)
        if data is None:
            raise Error("patches/series names %s, which does not exist" % path)
        return File(data, is_executable(full))

    def pristine_file(self, path):
        """a File of the source that the patches are for"""
        full = os.path.join(self.pristine, path)
        data = read(full)
        return File(data, data is not None and is_executable(full))

    def steps(self):
        """yield (patch, {path: File}): what is changed after each patch

        Files of the overlay are as for the newest base, see backported().
        """
        state = {}
        for patch in self.patches:
            changed = {}
            for path in patch.whole:
                if path in state:
                    raise Error("%s adds %s, which an earlier patch did" %
                                (patch.where, path))
                state[path] = changed[path] = self.overlay_file(path)
            for diff, where in patch.diffs:
                if diff.path in patch.whole:
                    raise Error("%s: %s is added whole and by a diff" %
                                (where, diff.path))
                old = state.get(diff.path) or self.pristine_file(diff.path)
                state[diff.path] = changed[diff.path] = diff.apply(
                    old, "Linux %s: %s" % (self.release, where))
            yield patch, changed

    def backported(self, path, file, partly=True):
        """an overlay File as this base wants it"""
        return File(self.backport.apply(path, file.data, partly),
                    file.executable)

    def behind(self, state):
        """overlay files that are not what the patches give"""
        return [f for f in self.overlay
                if f not in state or state[f] != self.overlay_file(f)] + \
               [f for f, file in sorted(state.items())
                if file.data is not None and f not in self.overlay and
                self.pristine_file(f).data is None]

    def result(self):
        """({path: File}, overlay files that the patches lag behind in)"""
        state = {}
        for _, changed in self.steps():
            state.update(changed)
        behind = self.behind(state)
        for path in behind:
            state.pop(path, None)
        for path in self.overlay:
            state[path] = self.backported(path, self.overlay_file(path),
                                          partly=False)
        return state, behind
