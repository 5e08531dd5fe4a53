#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Download a file over HTTP/3 with aioquic, with key updates on the way.

usage: h3get.py URL FILE [KEY_UPDATES]
"""
import asyncio
import ssl
import sys
from urllib.parse import urlparse

from aioquic.asyncio import QuicConnectionProtocol, connect
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration


class Client(QuicConnectionProtocol):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.http = H3Connection(self._quic)

    def get(self, url, out, updates):
        self.out, self.updates, self.last = out, updates, self._loop.time()
        self.done = self._loop.create_future()
        self.http.send_headers(self._quic.get_next_available_stream_id(), [
            (b":method", b"GET"), (b":scheme", b"https"),
            (b":authority", url.netloc.encode()), (b":path", url.path.encode())
        ], end_stream=True)
        self.transmit()
        return self.done

    def quic_event_received(self, event):
        for ev in self.http.handle_event(event):
            if isinstance(ev, HeadersReceived) and (b":status", b"200") not in ev.headers:
                self.done.set_exception(RuntimeError(str(ev.headers)))
            if isinstance(ev, DataReceived):
                self.out.write(ev.data)
                self.maybe_update()
            if getattr(ev, "stream_ended", False) and not self.done.done():
                self.done.set_result(None)

    def maybe_update(self):
        """RFC 9001 section 6.5 asks for three times the PTO in between."""
        wait = max(1.0, 6 * self._quic._loss.get_probe_timeout())
        if self.updates and self._loop.time() > self.last + wait:
            self.updates, self.last = self.updates - 1, self._loop.time()
            self._quic.request_key_update()


async def main(url, name, updates):
    conf = QuicConfiguration(alpn_protocols=H3_ALPN, verify_mode=ssl.CERT_NONE)
    async with connect(url.hostname, url.port, configuration=conf,
                       create_protocol=Client) as client:
        with open(name, "wb") as out:
            await client.get(url, out, updates)

asyncio.run(main(urlparse(sys.argv[1]), sys.argv[2], int((sys.argv + ["0"])[3])))
