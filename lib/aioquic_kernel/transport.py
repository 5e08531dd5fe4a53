# SPDX-License-Identifier: GPL-2.0
"""A datagram transport of asyncio that has the kernel seal and open packets."""
import asyncio
import errno
import logging
import sys
from collections import deque
from dataclasses import dataclass
from typing import Any

from aioquic.quic.packet_builder import PACKET_NUMBER_SEND_SIZE

from . import flow, uapi
from .crypto import KernelPacket
from .stats import Stats

logger = logging.getLogger("aioquic_kernel")

# Bytes of a call of sendmsg(), as many as IPv4 allows
MAX_CALL = 65507
# Calls of recvmsg() before other callbacks have their turn
READS = 16

# What the kernel says of a call that it will not take another time, either
REFUSALS = (errno.EINVAL, errno.EBADMSG, errno.EOPNOTSUPP)
# No room now. BlockingIOError is no sign of that: it is EALREADY, too.
FULL = (errno.EAGAIN, errno.EINTR)
# What it says if it does not have the keys
NOT_THERE = (errno.ENOENT, errno.ENOKEY)


@dataclass
class Batch:
    """Packets of one call: one flow, one address, one generation, one size."""
    connection: Any
    flow: flow.TxFlow
    packets: list
    addr: Any

    def fits(self, packet, limit):
        first, last = self.packets[0], self.packets[-1]
        size = len(first.data)
        return (len(self.packets) < limit and len(last.data) == size and
                len(packet.data) <= size and
                packet.generation == first.generation and
                packet.number == last.number + 1 and
                (len(self.packets) + 1) * size <= MAX_CALL)

    def control(self):
        first = self.packets[0]
        cid_length = first.header_size - 1 - PACKET_NUMBER_SEND_SIZE
        size = len(first.data) if len(self.packets) > 1 else 0
        return uapi.tx_control(self.flow.flow_id, first.number, cid_length, size)


@dataclass
class Datagram:
    data: bytes
    addr: Any


class KernelTransport(asyncio.DatagramTransport):
    """Owns a bound UDP socket. kernel=False: aioquic does all of the crypto."""

    def __init__(self, sock, protocol, kernel=True, stats=None):
        super().__init__({"socket": sock, "sockname": sock.getsockname()})
        self.stats = stats or Stats()
        self._loop = asyncio.get_running_loop()
        self._sock = sock
        self._protocol = protocol
        self._queue = deque()       # what waits for room in the socket
        self._closing = False
        self._flow_id = 0
        self._max_batch = uapi.MAX_SEGMENTS
        self._buffer = memoryview(bytearray(65536))
        sock.setblocking(False)
        self.kernel = kernel and flow.attach(sock)
        try:
            sock.setsockopt(uapi.SOL_UDP, uapi.UDP_GRO, 1)
        except OSError as exc:
            logger.info("no UDP_GRO: %s", exc)
        self._loop.add_reader(sock, self._readable)
        protocol.connection_made(self)

    # ----- flows -----

    def _new_flow_id(self):
        self._flow_id += 1
        return self._flow_id

    def add_tx_flow(self, pair):
        return flow.TxFlow(self._sock, self._new_flow_id(), pair)

    def add_rx_flow(self, pair):
        return flow.RxFlow(self._sock, self._new_flow_id(), pair)

    # ----- sending -----

    def send_packets(self, connection, tx, packets, addr):
        """Send ClearPackets, sealed, in as few calls as possible."""
        batch = None
        for packet in packets:
            if batch and batch.fits(packet, self._max_batch):
                batch.packets.append(packet)
                continue
            if batch:
                self._send(batch)
            batch = Batch(connection, tx, [packet], addr)
        if batch:
            self._send(batch)

    def sendto(self, data, addr=None):
        """Send a datagram as it is. Without an address, the socket has a peer."""
        self._send(Datagram(bytes(data), addr))

    def _send(self, item):
        if self._closing:
            return
        if not self._queue and self._try(item):
            return
        if not self._queue:
            self._loop.add_writer(self._sock, self._writable)
        self._queue.append(item)

    def _writable(self):
        while self._queue:
            if not self._try(self._queue[0]):
                return
            self._queue.popleft()
        self._loop.remove_writer(self._sock)
        if self._closing:
            self._close()

    def _try(self, item):
        """False if there is no room and the same call has to be repeated."""
        try:
            if isinstance(item, Batch):
                return self._try_batch(item)
            if item.addr is None:
                self._sock.send(item.data)
            else:
                self._sock.sendto(item.data, item.addr)
        except OSError as exc:
            if exc.errno in FULL:
                return False
            self._protocol.error_received(exc)
        return True

    def _try_batch(self, batch):
        generation = batch.packets[0].generation
        if not batch.flow.refused and batch.flow.install(generation):
            try:
                self._send_batch(batch)
                return True
            except OSError as exc:
                if exc.errno in FULL:
                    return False
                self.stats.refused_calls += 1
                if self._refused(batch, exc):
                    return True
        self._seal(batch)
        return True

    def _send_batch(self, batch):
        self._sock.sendmsg([packet.data for packet in batch.packets],
                           batch.control(), 0, batch.addr)
        self.stats.sent(len(batch.packets))
        batch.flow.sent(batch.packets[0].generation)

    def _refused(self, batch, exc):
        """Is there nothing left to do about these packets? Else seal them here.

        See "What a library does about errors" in quic.rst.
        """
        generation = batch.packets[0].generation
        if exc.errno in NOT_THERE and batch.flow.reinstall(generation):
            try:
                self._send_batch(batch)
                return True
            except OSError as again:
                exc = again
            if exc.errno in FULL:
                return False    # what is sealed here can wait like any datagram
        if exc.errno in NOT_THERE + REFUSALS:
            batch.flow.refuse(exc)
            return False
        if exc.errno == errno.EIO and len(batch.packets) > 1:
            # No GSO on this route. Once the batch is sealed, each packet of those
            # that follow is a call.
            self._max_batch = 1
            return False
        # These packets are lost, and QUIC sends what is in them again.
        self.stats.dropped_packets += len(batch.packets)
        if exc.errno == errno.EKEYEXPIRED:
            batch.connection.update_keys()
        else:
            self._protocol.error_received(exc)
        return True

    def _seal(self, batch):
        """Have aioquic seal what the kernel has not taken."""
        self.stats.fallback_packets += len(batch.packets)
        for packet in batch.packets:
            self._sealed(Datagram(packet.seal(), batch.addr))

    def _sealed(self, datagram):
        """As _send(); nothing may overtake what is queued."""
        if self._queue:
            # The batch itself is at the head of the queue.
            self._queue.append(datagram)
        else:
            self._send(datagram)

    # ----- reception -----

    def _readable(self):
        for _ in range(READS):
            if self._closing:
                return
            try:
                length, control, flags, addr = self._sock.recvmsg_into(
                    [self._buffer], uapi.RX_CONTROL)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as exc:
                self._protocol.error_received(exc)
                return
            self._received(length, control, addr)

    def _received(self, length, control, addr):
        size, elements = length, []
        for level, kind, data in control:
            if level == uapi.SOL_UDP and kind == uapi.UDP_GRO:
                size = int.from_bytes(data[:4], sys.byteorder)
            elif level == uapi.SOL_UDP and kind == uapi.UDP_QUIC_DECRYPT:
                elements = list(uapi.RX_PACKET.iter_unpack(data))
        pieces = range(0, length, size) if length else ()
        self.stats.rx_max_batch = max(self.stats.rx_max_batch, len(pieces))
        for i, at in enumerate(pieces):
            data = self._buffer[at:min(at + size, length)]
            # without an element, it is as it was on the wire
            self._deliver(data, elements[i] if i < len(elements) else None, addr)

    def _deliver(self, data, element, addr):
        if element is None:
            packet = bytes(data)
        else:
            packet = KernelPacket.make(data, element)
            self.stats.received(packet.status)
            if packet.status not in (uapi.QUIC_RX_OPENED, uapi.QUIC_RX_KEY_PHASE,
                                     uapi.QUIC_RX_KEY_LIMIT):
                packet = bytes(data)
        self._protocol.datagram_received(packet, addr)

    # ----- the end -----

    def close(self):
        """Close the socket, and with it all flows, when the queue is empty."""
        if self._closing:
            return
        self._closing = True
        self._loop.remove_reader(self._sock)
        if not self._queue:
            self._loop.call_soon(self._close)

    def abort(self):
        self._queue.clear()
        self._loop.remove_writer(self._sock)
        self.close()

    def is_closing(self):
        return self._closing

    def _close(self):
        if self._sock.fileno() >= 0:
            self._sock.close()
            self._protocol.connection_lost(None)
