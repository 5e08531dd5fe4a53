#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""A small HTTP/3 file server: GET sends a file, POST and PUT save one.

usage: python3 -m aioquic_kernel.http3_server [OPTIONS] PORT ROOT CERT KEY

SSLKEYLOGFILE names a file for the secrets. SIGINT ends the server.
"""
import argparse
import asyncio
import os
import signal
from functools import partial
from pathlib import Path

from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ProtocolNegotiated

from aioquic_kernel import QuicConnectionProtocol, serve


class FileServer(QuicConnectionProtocol):
    def __init__(self, *args, options, **kwargs):
        super().__init__(*args, **kwargs)
        self._options = options
        self._http = None
        self._paths = {}        # of requests, by stream
        self._bodies = {}       # files that are being saved, by stream

    def quic_event_received(self, event):
        if isinstance(event, ProtocolNegotiated):
            self._http = H3Connection(self._quic)
            if self._options.key_update:
                self._loop.call_later(self._options.key_update, self._update)
        for http_event in self._http.handle_event(event) if self._http else ():
            if isinstance(http_event, HeadersReceived):
                self._request(http_event)
            elif isinstance(http_event, DataReceived):
                self._body(http_event)

    def _update(self):
        if not self._closed.is_set():
            self._quic.update_keys()
            self._loop.call_later(self._options.key_update, self._update)

    def _request(self, event):
        headers = dict(event.headers)
        name = os.path.basename(headers[b":path"].decode()) or "index"
        if headers[b":method"] == b"GET":
            path = Path(self._options.root, name)
            if path.is_file():
                self._answer(event.stream_id, 200, path.read_bytes())
            else:
                self._answer(event.stream_id, 404, b"")
        elif self._options.uploads and headers[b":method"] in (b"POST", b"PUT"):
            path = Path(self._options.uploads, name)
            self._bodies[event.stream_id] = path.open("wb")
            if event.stream_ended:
                self._saved(event.stream_id)
        else:
            self._answer(event.stream_id, 405, b"")

    def _body(self, event):
        if event.stream_id in self._bodies:
            self._bodies[event.stream_id].write(event.data)
            if event.stream_ended:
                self._saved(event.stream_id)

    def _saved(self, stream_id):
        self._bodies.pop(stream_id).close()
        self._answer(stream_id, 200, b"saved\n")

    def _answer(self, stream_id, status, body):
        self._http.send_headers(stream_id, [
            (b":status", b"%d" % status), (b"content-length", b"%d" % len(body))])
        self._http.send_data(stream_id, body, end_stream=True)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("port", type=int)
    parser.add_argument("root")
    parser.add_argument("cert")
    parser.add_argument("key")
    parser.add_argument("--address", default="::", help="to bind to (default ::)")
    parser.add_argument("--uploads", help="directory for what clients send")
    parser.add_argument("--key-update", type=float, metavar="SECONDS",
                        help="update the keys so often")
    parser.add_argument("--retry", action="store_true", help="validate addresses")
    parser.add_argument("--no-kernel", action="store_true", help="aioquic only")
    parser.add_argument("--stats", help="file for the counters, at the end")
    options = parser.parse_args()
    # A directory that is missing must not be noticed by clients only.
    for directory in filter(None, (options.root, options.uploads)):
        if not Path(directory).is_dir():
            parser.error(f"{directory} is not a directory")
    return options


async def main(options):
    configuration = QuicConfiguration(is_client=False, alpn_protocols=H3_ALPN)
    configuration.load_cert_chain(options.cert, options.key)
    if "SSLKEYLOGFILE" in os.environ:
        configuration.secrets_log_file = open(os.environ["SSLKEYLOGFILE"], "a")
    server = await serve(options.address, options.port, configuration=configuration,
                         create_protocol=partial(FileServer, options=options),
                         retry=options.retry, kernel=not options.no_kernel)
    end = asyncio.Event()
    for number in signal.SIGINT, signal.SIGTERM:
        asyncio.get_running_loop().add_signal_handler(number, end.set)
    await end.wait()
    transport = server._transport
    server.close()
    if options.stats:
        Path(options.stats).write_text(str(transport.stats))


if __name__ == "__main__":
    asyncio.run(main(arguments()))
