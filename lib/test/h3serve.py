#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Serve files over HTTP/3 with stock aioquic, as a peer for tests.

usage: h3serve.py ADDRESS PORT ROOT CERT KEY

SSLKEYLOGFILE names a file for the secrets. SIGINT ends the server.
"""
import asyncio
import os
import signal
import sys
from pathlib import Path

from aioquic.asyncio import QuicConnectionProtocol, serve
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ProtocolNegotiated


class FileServer(QuicConnectionProtocol):
    root = None
    http = None

    def quic_event_received(self, event):
        if isinstance(event, ProtocolNegotiated):
            self.http = H3Connection(self._quic)
        for ev in self.http.handle_event(event) if self.http else ():
            if isinstance(ev, HeadersReceived):
                self.answer(ev.stream_id, dict(ev.headers)[b":path"].decode())

    def answer(self, stream_id, path):
        body = (self.root / Path(path).name).read_bytes()
        self.http.send_headers(stream_id, [
            (b":status", b"200"), (b"content-length", b"%d" % len(body))])
        self.http.send_data(stream_id, body, end_stream=True)
        self.transmit()


async def main(address, port, root, cert, key):
    FileServer.root = Path(root)
    conf = QuicConfiguration(is_client=False, alpn_protocols=H3_ALPN)
    conf.load_cert_chain(cert, key)
    if "SSLKEYLOGFILE" in os.environ:
        conf.secrets_log_file = open(os.environ["SSLKEYLOGFILE"], "a")
    server = await serve(address, int(port), configuration=conf,
                         create_protocol=FileServer)
    end = asyncio.Event()
    for number in signal.SIGINT, signal.SIGTERM:
        asyncio.get_running_loop().add_signal_handler(number, end.set)
    await end.wait()
    server.close()

asyncio.run(main(*sys.argv[1:]))
