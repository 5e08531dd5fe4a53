#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Download files over HTTP/3, or upload one.

usage: python3 -m aioquic_kernel.http3_client [OPTIONS] URL FILE

SSLKEYLOGFILE names a file for the secrets.
"""
import argparse
import asyncio
import os
import ssl
import sys
from pathlib import Path
from urllib.parse import urlparse

from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated
from aioquic.quic.packet import QuicProtocolVersion
from aioquic.tls import CipherSuite

from aioquic_kernel import QuicConnectionProtocol, connect, migrate

CIPHERS = {
    "AES-128-GCM": CipherSuite.AES_128_GCM_SHA256,
    "AES-256-GCM": CipherSuite.AES_256_GCM_SHA384,
    "CHACHA20-POLY1305": CipherSuite.CHACHA20_POLY1305_SHA256,
}


class Client(QuicConnectionProtocol):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._http = H3Connection(self._quic)
        self._path = None
        self._out = None
        self._done = None

    def request(self, url, method, body, path):
        """Returns a future: None, or what is wrong. The body of the answer goes to
        a file, which is made only if the server has the answer.
        """
        self._path = path
        self._done = self._loop.create_future()
        stream_id = self._quic.get_next_available_stream_id()
        self._http.send_headers(stream_id, [
            (b":method", method), (b":scheme", b"https"),
            (b":authority", url.netloc.encode()), (b":path", url.path.encode()),
        ], end_stream=not body)
        if body:
            self._http.send_data(stream_id, body, end_stream=True)
        self.transmit()
        return self._done

    def quic_event_received(self, event):
        if isinstance(event, ConnectionTerminated):
            self._end(f"connection closed: {event.reason_phrase or event.error_code}")
        for http_event in self._http.handle_event(event):
            if self._done is None or self._done.done():
                return
            if isinstance(http_event, HeadersReceived) and not self._out:
                status = dict(http_event.headers).get(b":status", b"none").decode()
                if status != "200":
                    return self._end(f"status {status}")
                self._out = open(self._path, "wb")
            if isinstance(http_event, DataReceived):
                self._out.write(http_event.data)
            if getattr(http_event, "stream_ended", False):
                self._end(None)

    def _end(self, error):
        if self._out:
            self._out.close()
        if self._done and not self._done.done():
            self._done.set_result(error)

    def every(self, seconds, call):
        def again():
            if not self._closed.is_set():
                call()
                self._loop.call_later(seconds, again)
        self._loop.call_later(seconds, again)

    def when_sealed(self, packets, call, *args):
        """Call once, when the kernel has sealed so many packets"""
        if self._transport.stats.kernel_packets >= packets:
            call(*args)
        elif not self._closed.is_set():
            self._loop.call_later(0.005, self.when_sealed, packets, call, *args)

    def move(self, new_connection_id):
        """Another socket, so another port: a migration, or as if a NAT did that."""
        if new_connection_id:
            self._quic.change_connection_id()
        migrate(self)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("url", type=urlparse)
    parser.add_argument("file", help="for the body of the answer")
    parser.add_argument("--upload", metavar="FILE", help="send this file")
    parser.add_argument("--cipher", choices=CIPHERS)
    parser.add_argument("--v2", action="store_true", help="QUIC version 2")
    parser.add_argument("--key-update", type=float, metavar="SECONDS",
                        help="update the keys so often")
    parser.add_argument("--migrate", type=int, metavar="PACKETS",
                        help="move to another port when the kernel has sealed so many")
    parser.add_argument("--rebind", type=int, metavar="PACKETS",
                        help="the same, with the same connection ID, like a NAT")
    parser.add_argument("--no-kernel", action="store_true", help="aioquic only")
    parser.add_argument("--stats", help="file for the counters, at the end")
    return parser.parse_args()


def configure(options):
    configuration = QuicConfiguration(alpn_protocols=H3_ALPN,
                                      verify_mode=ssl.CERT_NONE,
                                      max_data=1 << 24, max_stream_data=1 << 24)
    if options.cipher:
        configuration.cipher_suites = [CIPHERS[options.cipher]]
    if options.v2:
        configuration.supported_versions = [QuicProtocolVersion.VERSION_2]
    if "SSLKEYLOGFILE" in os.environ:
        configuration.secrets_log_file = open(os.environ["SSLKEYLOGFILE"], "a")
    return configuration


async def main(options):
    body = Path(options.upload).read_bytes() if options.upload else b""
    async with connect(options.url.hostname, options.url.port,
                       configuration=configure(options), create_protocol=Client,
                       kernel=not options.no_kernel) as client:
        stats = client._transport.stats
        if options.key_update:
            client.every(options.key_update, client._quic.update_keys)
        for packets, new_id in (options.migrate, True), (options.rebind, False):
            if packets:
                client.when_sealed(packets, client.move, new_id)
        error = await client.request(options.url, b"POST" if body else b"GET", body,
                                     options.file)
    if options.stats:
        Path(options.stats).write_text(str(stats))
    return error and f"{options.url.geturl()}: {error}"


if __name__ == "__main__":
    sys.exit(asyncio.run(main(arguments())))
