# SPDX-License-Identifier: GPL-2.0
"""A QuicConnection that leaves its 1-RTT packets to the kernel."""
import logging

from aioquic.quic.connection import QuicConnection
from aioquic.quic.packet import QuicErrorCode, QuicFrameType
from aioquic.tls import Epoch

from . import uapi
from .crypto import UPDATE_AFTER, KernelCryptoPair, KernelPacket
from .stats import Stats

logger = logging.getLogger("aioquic_kernel")


class KernelQuicConnection(QuicConnection):
    """Without a transport of this package, it does what QuicConnection does.

    attach() gives it such a transport. From then on, received packets may be
    KernelPackets. Packets that are to be sent are left unsealed only within
    transmit_to(), and go to that transport, and to no other place:
    datagrams_to_send() never returns one.
    """

    _link = None            # the transport that has our flows
    _clear = False          # within transmit_to()
    _tx = _rx = None
    stats = None            # counters, those of the transport if there is one

    @classmethod
    def adopt(cls, connection):
        """Turn a QuicConnection that has not begun yet into one of this class.

        aioquic's QuicServer creates its connections itself.
        """
        connection.__class__ = cls
        return connection

    def attach(self, transport):
        """Use the flows of another socket, or of none."""
        if self._link is transport:
            return
        self._remove_flows()
        self._link = transport
        self.stats = transport.stats if transport else Stats()
        if self._pair is not None:
            self._pair.stats = self.stats

    @property
    def _pair(self):
        return self._cryptos.get(Epoch.ONE_RTT)

    def _initialize(self, peer_cid):
        super()._initialize(peer_cid)
        self.stats = self.stats or Stats()
        self._cryptos[Epoch.ONE_RTT] = KernelCryptoPair(self._pair, self.stats)

    # ----- sending -----

    def transmit_to(self, transmit):
        """Call transmit(), which gets datagrams_to_send() and sends them."""
        self._clear = self._link is not None
        try:
            transmit()
        finally:
            self._clear = False

    def datagrams_to_send(self, now):
        """What the transport has to send as it is. The rest it gets from here."""
        if self._pair is None:
            return super().datagrams_to_send(now)
        self._update_if_due()
        if not self._clear or not self._handshake_confirmed or not self._seals():
            datagrams = super().datagrams_to_send(now)
            self._sync_rx(now)
            return datagrams
        datagrams, packets = self._build(now)
        self._sync_rx(now)
        if datagrams:
            self._link.send_packets(self, self._tx, packets, datagrams[0][1])
        return []

    def _build(self, now):
        """Datagrams of one unsealed packet each, as nothing shares a datagram with
        a 1-RTT packet when the handshake is confirmed.
        """
        pair = self._pair
        pair.clear = packets = []
        try:
            datagrams = super().datagrams_to_send(now)
        finally:
            pair.clear = None
        if [packet.data for packet in packets] != [data for data, _ in datagrams]:
            raise AssertionError("not all of the datagrams are 1-RTT packets")
        return datagrams, packets

    def _seals(self):
        """Is there a flow for sending?"""
        if not self._link.kernel or not self._pair.send.is_valid():
            return False
        if self._tx is None:
            self._tx = self._link.add_tx_flow(self._pair)
        return self._tx.ready()

    def _update_if_due(self):
        if self._handshake_complete and self._pair.sealed >= UPDATE_AFTER:
            self.update_keys()

    def update_keys(self):
        """Update the keys, if the peer has acknowledged the update before."""
        first = self._pair.first_number
        space = self._spaces[Epoch.ONE_RTT]
        if first is not None and space.largest_acked_packet >= first:
            self.request_key_update()

    # ----- reception -----

    def receive_datagram(self, data, addr, now):
        if isinstance(data, KernelPacket):
            self._receive_from_kernel(data, addr, now)
        else:
            super().receive_datagram(data, addr, now)

    def _receive_from_kernel(self, packet, addr, now):
        if self._rx is None or packet.flow_id != self._rx.flow_id:
            self.stats.rx_stray_packets += 1
        elif packet.status == uapi.QUIC_RX_OPENED:
            self._receive_opened(packet, addr, now)
        elif packet.status == uapi.QUIC_RX_KEY_PHASE:
            data = self._pair.hide(packet)
            if data is not None:
                super().receive_datagram(data, addr, now)
                self._rx.catch_up()
        elif packet.status == uapi.QUIC_RX_KEY_LIMIT:
            if self._close_event is None:
                logger.warning("closed: too many packets do not open")
            self.close(error_code=QuicErrorCode.AEAD_LIMIT_REACHED,
                       frame_type=QuicFrameType.PADDING,
                       reason_phrase="Too many packets do not open")

    def _receive_opened(self, packet, addr, now):
        pair, rx = self._pair, self._rx
        generation = pair.full_generation(packet.key_generation)
        if generation > pair.generation + 1:
            self.stats.rx_stray_packets += 1
            return
        pair.opened = packet
        try:
            super().receive_datagram(packet, addr, now)
        finally:
            pair.opened = None
        # not if the connection has dropped the packet before it looked at the keys
        if rx.active and generation <= pair.generation:
            rx.opened(generation, now + 3 * self._loss.get_probe_timeout())

    def _sync_rx(self, now):
        """Keep the flow for reception up to date, before frames about it leave."""
        if self._link is None or not self._link.kernel:
            return
        # With no connection ID, which aioquic does not support either, the address
        # would have to tell what belongs to the flow.
        if not self._pair.recv.is_valid() or not self.host_cid:
            return
        if self._rx is None:
            self._rx = self._link.add_rx_flow(self._pair)
        cids = [connection_id.cid for connection_id in self._host_cids]
        self._rx.sync(cids, self._spaces[Epoch.ONE_RTT].largest_received_packet + 1)
        self._rx.expire(now)

    # ----- the end -----

    def _close_end(self):
        self._remove_flows()
        super()._close_end()

    def _remove_flows(self):
        for flow in self._tx, self._rx:
            if flow is not None:
                flow.close()
        self._tx = self._rx = None
