# SPDX-License-Identifier: GPL-2.0
"""What takes the place of aioquic.asyncio: serve(), connect(), the protocol."""
import asyncio
import socket
from contextlib import asynccontextmanager

from aioquic.asyncio import protocol as stock_protocol
from aioquic.asyncio.server import QuicServer
from aioquic.quic.configuration import QuicConfiguration

from .connection import KernelQuicConnection
from .transport import KernelTransport


class QuicConnectionProtocol(stock_protocol.QuicConnectionProtocol):
    """A base class for programs, in the place of aioquic's of the same name."""

    def connection_made(self, transport):
        super().connection_made(transport)
        self._quic.attach(transport if isinstance(transport, KernelTransport) else None)

    def transmit(self):
        self._quic.transmit_to(super().transmit)

    def datagram_received(self, data, addr):
        # Answer all packets that have arrived together in one go: this is what
        # makes large batches.
        self._quic.receive_datagram(data, addr, now=self._loop.time())
        self._process_events()
        self._transmit_soon()


def _checked(protocol):
    if not isinstance(protocol, QuicConnectionProtocol):
        raise TypeError("create_protocol has to return an "
                        "aioquic_kernel.QuicConnectionProtocol")
    return protocol


def _bound_socket(family, addr):
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind(addr)
    except OSError:
        sock.close()
        raise
    return sock


async def serve(host, port, *, configuration, create_protocol=QuicConnectionProtocol,
                kernel=True, **kwargs):
    """As aioquic.asyncio.serve(). Other arguments are those of its QuicServer."""
    def create(connection, **kwargs):
        return _checked(create_protocol(KernelQuicConnection.adopt(connection),
                                        **kwargs))

    loop = asyncio.get_running_loop()
    infos = await loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM,
                                   flags=socket.AI_PASSIVE)
    sock = _bound_socket(infos[0][0], infos[0][4])
    server = QuicServer(configuration=configuration, create_protocol=create, **kwargs)
    KernelTransport(sock, server, kernel)
    return server


@asynccontextmanager
async def connect(host, port, *, configuration=None,
                  create_protocol=QuicConnectionProtocol, session_ticket_handler=None,
                  stream_handler=None, token_handler=None, wait_connected=True,
                  local_port=0, kernel=True):
    """As aioquic.asyncio.connect()."""
    loop = asyncio.get_running_loop()
    infos = await loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    addr = infos[0][4]
    if len(addr) == 2:
        addr = "::ffff:" + addr[0], addr[1], 0, 0
    configuration = configuration or QuicConfiguration(is_client=True)
    if configuration.server_name is None:
        configuration.server_name = host
    connection = KernelQuicConnection(configuration=configuration,
                                      session_ticket_handler=session_ticket_handler,
                                      token_handler=token_handler)
    protocol = _checked(create_protocol(connection, stream_handler=stream_handler))
    KernelTransport(_bound_socket(socket.AF_INET6, ("::", local_port, 0, 0)), protocol,
                    kernel)
    try:
        protocol.connect(addr, transmit=wait_connected)
        if wait_connected:
            await protocol.wait_connected()
        yield protocol
    finally:
        protocol.close()
        await protocol.wait_closed()
        protocol._transport.close()


def migrate(protocol, local_port=0):
    """Move a client's connection to another socket, as when its address changes.

    Call protocol.change_connection_id() before, so that the paths cannot be linked
    by who sees both (RFC 9000 section 9.5).
    """
    old = protocol._transport
    sock = _bound_socket(socket.AF_INET6, ("::", local_port, 0, 0))
    KernelTransport(sock, protocol, old.kernel, old.stats)
    old.abort()
    protocol.transmit()
