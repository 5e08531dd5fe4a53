# SPDX-License-Identifier: GPL-2.0
"""The rows of the table, and the page that has it"""
import os
from dataclasses import dataclass, field

from .network import LOSS, SIDES
from .peers import CLIENTS, LEFT_OUT, SERVERS, Peer

TICK, CROSS, NOTHING = "✓", "✗", "–"
COLUMNS = {"transfer": ["Transfer", "Server seals", "Server opens", "Client seals",
                        "Client opens"],
           "update": ["Key update"], "loss": ["Loss"],
           "device": ["Device seals", "Device opens"]}
LIBRARY = "library"         # of this side, does it

NO_HTTP = "handshake only, as s_client does not speak HTTP/3"


@dataclass
class Row:
    """A pair, and whose packets are left to the kernel"""
    server: Peer
    client: Peer
    offloaded: str          # server, client, both, or "" for none
    reason: str = ""        # why it is not run
    cells: dict = field(default_factory=dict)   # by column

    def __str__(self):
        return "/".join(filter(None, (self.server.name, self.client.name,
                                      self.offloaded)))

    def sides(self):
        return [s for s in SIDES if self.offloaded in (s, "both")]

    def peer(self, side):
        return getattr(self, side)

    def updater(self):
        """The side that starts a key update"""
        return next((s for s in reversed(SIDES) if self.peer(s).update is not None),
                    None)

    def why_not(self, step):
        """The reason not to take a step"""
        if self.reason or step == "transfer":
            return self.reason
        if not self.client.http:
            return NO_HTTP
        if self.offloaded != "both" and self.server.on is not None and \
                self.client.on is not None:
            return "done with both sides offloaded"
        if step == "update" and not self.updater():
            return "neither program can update its keys"
        return ""


def all_rows():
    for server in SERVERS:
        for client in CLIENTS:
            if server.on is not None and client.on is not None:
                offloaded = ["both", "server", "client"]
            elif server.on is not None:
                offloaded = ["server"]
            else:
                offloaded = ["client" if client.on is not None else ""]
            for which in offloaded:
                yield Row(server, client, which, reason_not(server, client, which))


def reason_not(server, client, offloaded):
    for peer in server, client:
        if peer.missing():
            return f"{peer.name}: {peer.missing()}"
    if not offloaded:
        return "neither program can leave packets to the kernel"
    return ""


def rst_table(rows):
    """A simple table, and its notes"""
    notes = []

    def cell(value):
        mark, reason = value
        if not reason:
            return mark
        if reason not in notes:
            notes.append(reason)
        return f"{mark} [{notes.index(reason) + 1}]_"

    columns = sum(COLUMNS.values(), [])
    # The first column is empty where the line above goes on.
    lines = [["Server", "Client", "Offloaded"], ["", "", ""]]
    for column in columns:
        first, _, second = column.partition(" ")
        lines[0].append(first)
        lines[1].append(second)
    for row in rows:
        lines.append([row.server.name, row.client.name, row.offloaded or "none"] +
                     [cell(row.cells[column]) for column in columns])
    widths = [max(map(len, column)) for column in zip(*lines)]
    rule = "  ".join("=" * width for width in widths)
    text = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
    text = [rule, *text[:2], rule, *text[2:], rule, ""]
    return text + [f".. [{n}] {note[0].upper()}{note[1:]}."
                   for n, note in enumerate(notes, 1)]


HEAD = """.. SPDX-License-Identifier: GPL-2.0

============================
Servers and clients in pairs
============================

``make -f Makefile.patchset interop-matrix MATRIX=update`` makes this page. It is
about {kernel} in User Mode Linux, with:

{versions}

``h3file`` is the example in ``ngtcp2-example/``; ``gtlsserver`` and ``gtlsclient``
have ``quic_offload.so`` preloaded where they are offloaded. In each line, the client
downloads a file over HTTP/3, several times: as it is; with a key update, which the
client starts if it can and the server otherwise; with {loss} of the packets lost in
either direction; and with devices of netdevsim that seal and open for the sides that
are offloaded. ``matrix/__main__.py`` says what is checked.

* {tick}: it works, as seen in the file that arrived, in the counters of the kernel and
  of the program, and on the wire, where each 1-RTT packet opens with the secrets of
  the connection. A side seals or opens if its kernel does so, but for some packets
  around the handshake.
* {library}: this side is not offloaded, and its kernel has counted nothing.
* {cross}: it does not work.
* {nothing}: it was not tried. Notes tell why.

"""


def rst_page(rows):
    versions = {}
    for peer in SERVERS + CLIENTS:
        if not peer.missing():
            versions.setdefault(peer.version(), []).append(peer.name)
    text = HEAD.format(
        kernel="Linux " + os.uname().release, tick=TICK, cross=CROSS,
        nothing=NOTHING, library=LIBRARY, loss=LOSS,
        versions="\n".join(f"* {version}: {', '.join(dict.fromkeys(names))}"
                           for version, names in versions.items()))
    left_out = ["", "Not in the table", "================", ""] + [
        f"* {name}: {reason}" for name, reason in LEFT_OUT]
    return text + "\n".join(rst_table(rows) + left_out) + "\n"
