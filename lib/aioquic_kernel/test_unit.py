# SPDX-License-Identifier: GPL-2.0
"""What programs do not do: calls that must not send plaintext, odd packets.

Two connections talk to each other without a network. The socket of one is a
stand-in that notes what is asked of it.
"""
import asyncio
import contextlib
import errno
import io
import ssl
import subprocess
import unittest
from tempfile import TemporaryDirectory
from unittest import mock

from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.tls import Epoch

from aioquic_kernel import KernelQuicConnection, KernelTransport, QuicConnectionProtocol
from aioquic_kernel import http3_server, uapi
from aioquic_kernel.crypto import MAX_PACKET, UPDATE_AFTER, KernelPacket

SECRET = b"what nobody must read"
ADDR = ("::1", 4433, 0, 0)


class FakeSocket:
    """Has the ULP. error is what sendmsg() fails with."""

    def __init__(self):
        self.options = []
        self.calls = []
        self.error = None

    def fileno(self):
        return 99

    def setblocking(self, flag):
        pass

    def getsockname(self):
        return ADDR

    def setsockopt(self, level, option, value):
        self.options.append((option, value))

    def sendmsg(self, buffers, control, flags, addr):
        if self.error:
            raise OSError(self.error, "not this time")
        self.calls.append(([bytes(data) for data in buffers], control))

    def sendto(self, data, addr):
        self.calls.append(([data], []))


class FakeLoop:
    def add_reader(self, *args):
        pass

    def add_writer(self, *args):
        pass


class Protocol(asyncio.DatagramProtocol):
    def __init__(self):
        self.received = []
        self.errors = []

    def datagram_received(self, data, addr):
        self.received.append(data)

    def error_received(self, exc):
        self.errors.append(exc)


def make_transport(protocol):
    real, asyncio.get_running_loop = asyncio.get_running_loop, FakeLoop
    try:
        return KernelTransport(FakeSocket(), protocol)
    finally:
        asyncio.get_running_loop = real


def certificate(directory):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=test",
                    "-keyout", directory + "/key", "-out", directory + "/cert"],
                   check=True, capture_output=True)
    configuration = QuicConfiguration(is_client=False, alpn_protocols=["test"])
    configuration.load_cert_chain(directory + "/cert", directory + "/key")
    return configuration


class Pair:
    """A client under test and a stock server, with a handshake behind them."""

    def __init__(self, configuration):
        self.client = KernelQuicConnection(configuration=QuicConfiguration(
            alpn_protocols=["test"], verify_mode=ssl.CERT_NONE))
        self.protocol = Protocol()
        self.transport = make_transport(self.protocol)
        self.sock = self.transport._sock
        self.client.attach(self.transport)
        self.client.connect(ADDR, now=0)
        self.server = QuicConnection(
            configuration=configuration,
            original_destination_connection_id=(
                self.client.original_destination_connection_id))
        for now in range(6):
            self.pass_on(self.client, self.server, now)
            self.pass_on(self.server, self.client, now)
        assert self.client._handshake_confirmed

    @staticmethod
    def pass_on(sender, receiver, now):
        for data, _ in sender.datagrams_to_send(now):
            receiver.receive_datagram(data, ADDR, now)

    def send(self, data=SECRET):
        self.client.send_stream_data(0, data)

    def transmit(self, now=10):
        """What a protocol's transmit() does: what it gets it sends as it is."""
        sent = []
        self.client.transmit_to(
            lambda: sent.extend(self.client.datagrams_to_send(now)))
        return sent

    def from_server(self, opened=True, now=11, data=SECRET, **change):
        """A packet of the server as the kernel would hand it over."""
        self.server.send_stream_data(1, data)
        packet = self.server.datagrams_to_send(now)[0][0]
        crypto = self.client._cryptos[Epoch.ONE_RTT]
        offset = 1 + len(self.client.host_cid)
        header, number = crypto.recv.hp.remove(packet, offset)
        element = dict(number=number, flow_id=self.client._rx.flow_id,
                       status=uapi.QUIC_RX_OPENED, generation=0,
                       number_length=len(header) - offset, cid_length=offset - 1)
        element.update(change)
        body = packet[len(header):]
        if opened:
            body = crypto.recv.aead.decrypt(body, header, number) + bytes(16)
        return KernelPacket.make(header + body, element.values())


class Test(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with TemporaryDirectory() as directory:
            cls.configuration = certificate(directory)

    def setUp(self):
        self.pair = Pair(self.configuration)
        self.client = self.pair.client

    def stream_data(self):
        event, data = self.client.next_event(), b""
        while event is not None:
            data += getattr(event, "data", b"")
            event = self.client.next_event()
        return data

    def test_kernel_gets_clear_packets(self):
        self.pair.send()
        self.assertEqual(self.pair.transmit(), [])
        (packets, control), = self.pair.sock.calls
        self.assertIn(SECRET, packets[0])
        self.assertEqual(control[0][:2], (uapi.SOL_UDP, uapi.UDP_QUIC_ENCRYPT))
        options = [option for option, _ in self.pair.sock.options]
        self.assertIn(uapi.UDP_QUIC_ADD_TX_CONNECTION, options)
        self.assertIn(uapi.UDP_QUIC_ADD_RX_CONNECTION, options)

    def test_datagrams_to_send_is_sealed(self):
        self.pair.send()
        datagrams = self.client.datagrams_to_send(10)
        self.assertTrue(datagrams)
        self.assertEqual(self.pair.sock.calls, [])
        for data, _ in datagrams:
            self.assertNotIn(SECRET, data)
            self.pair.server.receive_datagram(data, ADDR, 10)
        self.assertIn(SECRET, self.server_data())

    def server_data(self):
        event, data = self.pair.server.next_event(), b""
        while event is not None:
            data += getattr(event, "data", b"")
            event = self.pair.server.next_event()
        return data

    def test_refused_packets_are_sealed(self):
        for error in errno.EINVAL, errno.ENOENT, errno.EOPNOTSUPP, errno.EBADMSG:
            with self.subTest(errno.errorcode[error]):
                self.setUp()
                self.pair.sock.error = error
                self.pair.send()
                self.assertEqual(self.pair.transmit(), [])
                self.assertTrue(self.pair.sock.calls)
                for (data,), control in self.pair.sock.calls:
                    self.assertEqual(control, [])
                    self.assertNotIn(SECRET, data)
                    self.pair.server.receive_datagram(data, ADDR, 10)
                self.assertIn(SECRET, self.server_data())

    def test_other_errors_drop_packets(self):
        for error in errno.EALREADY, errno.EKEYEXPIRED, errno.EMSGSIZE:
            with self.subTest(errno.errorcode[error]):
                self.setUp()
                self.pair.sock.error = error
                self.pair.send()
                self.assertEqual(self.pair.transmit(), [])
                self.assertEqual(self.pair.sock.calls, [])
                self.assertEqual(len(self.pair.transport._queue), 0)
                self.assertEqual(self.client.stats.dropped_packets, 1)

    def test_full_socket(self):
        self.pair.sock.error = errno.EAGAIN
        self.pair.send()
        self.pair.transmit()
        self.assertEqual(self.pair.sock.calls, [])
        self.assertEqual(len(self.pair.transport._queue), 1)
        # the connection is gone by the time there is room
        self.client._remove_flows()
        self.pair.sock.error = None
        self.pair.transport._loop.remove_writer = lambda sock: None
        self.pair.transport._writable()
        for (data,), _ in self.pair.sock.calls:
            self.assertNotIn(SECRET, data)
            self.pair.server.receive_datagram(data, ADDR, 10)
        self.assertIn(SECRET, self.server_data())

    def test_not_all_are_1rtt(self):
        self.client._pair.encrypt_packet = lambda *args: b"@" + SECRET
        self.pair.send()
        with self.assertRaises(AssertionError):
            self.pair.transmit()
        self.assertEqual(self.pair.sock.calls, [])

    def test_key_update_is_installed_first(self):
        self.pair.send()
        self.pair.transmit()
        self.client.request_key_update()
        self.pair.sock.options.clear()
        self.pair.send()
        self.pair.transmit()
        options = [(option, value[162]) for option, value in self.pair.sock.options]
        self.assertEqual(options[:2], [(uapi.UDP_QUIC_ADD_TX_CONNECTION, 1),
                                       (uapi.UDP_QUIC_DEL_TX_CONNECTION, 0)])
        self.assertTrue(self.pair.sock.calls[-1][0][0][0] & 4)

    def test_flow_is_far_behind(self):
        """Updates while the kernel could not take keys: a new flow begins."""
        pair = self.client._pair
        self.pair.transmit()
        for _ in range(4):
            pair._update_key("test")
        self.assertFalse(self.client._tx.install(pair.generation))
        self.assertFalse(self.client._tx.refused)
        self.pair.send()
        self.pair.transmit()
        self.assertEqual(self.client.stats.fallback_packets, 0)
        self.assertIn(SECRET, self.pair.sock.calls[-1][0][0])

    def test_keys_are_updated_in_time(self):
        pair = self.client._pair
        self.pair.transmit()
        pair.sealed = UPDATE_AFTER
        pair.first_number = self.client._packet_number + 100
        self.pair.send()
        self.pair.transmit()
        self.assertEqual(pair.generation, 0, "before the peer has acknowledged")
        pair.first_number = 0
        self.pair.send()
        self.pair.transmit()
        self.assertEqual(pair.generation, 1)
        self.assertLess(pair.sealed, UPDATE_AFTER)

    def test_old_keys_are_removed(self):
        self.pair.transmit()
        self.client.receive_datagram(self.pair.from_server(generation=1), ADDR, 11)
        removed = uapi.UDP_QUIC_DEL_RX_CONNECTION
        self.assertNotIn(removed, [option for option, _ in self.pair.sock.options])
        self.pair.transmit(now=100)
        self.assertEqual([(value[21], value[162])
                          for option, value in self.pair.sock.options
                          if option == removed], [(uapi.QUIC_CONN_GENERATION, 0)])

    def test_opened_packet(self):
        self.pair.transmit()
        self.client.receive_datagram(self.pair.from_server(), ADDR, 11)
        self.assertEqual(self.stream_data(), SECRET)
        self.assertEqual(self.client.stats.rx_used_packets, 1)

    def test_copy_is_not_taken(self):
        self.pair.transmit()
        copy = bytes(self.pair.from_server())
        self.assertNotIsInstance(copy, KernelPacket)
        self.client.receive_datagram(copy, ADDR, 11)
        self.assertEqual(self.stream_data(), b"")
        self.assertEqual(self.client.stats.rx_failed_packets, 1)

    def test_other_flow_is_not_taken(self):
        self.pair.transmit()
        packet = self.pair.from_server(flow_id=77)
        self.client.receive_datagram(packet, ADDR, 11)
        self.assertEqual(self.stream_data(), b"")
        self.assertEqual(self.client.stats.rx_stray_packets, 1)

    def test_generation_to_come(self):
        self.pair.transmit()
        self.client.receive_datagram(self.pair.from_server(generation=2), ADDR, 11)
        self.assertEqual(self.stream_data(), b"")
        self.assertEqual(self.client._pair.generation, 0)
        self.client.receive_datagram(self.pair.from_server(generation=1), ADDR, 11)
        self.assertEqual(self.client._pair.generation, 1)
        self.assertEqual(self.client._rx.current, 1)

    def test_generation_is_counted_modulo_256(self):
        pair = self.client._pair
        for generation, low, full in ((0, 255, -1), (0, 1, 1), (255, 0, 256),
                                      (256, 255, 255), (511, 0, 512)):
            pair.generation = generation
            self.assertEqual(pair.full_generation(low), full)

    def test_key_phase_packet_is_opened_here(self):
        self.pair.transmit()
        packet = self.pair.from_server(opened=False, status=uapi.QUIC_RX_KEY_PHASE)
        self.client.receive_datagram(packet, ADDR, 11)
        self.assertEqual(self.stream_data(), SECRET)

    def test_long_key_phase_packet_is_dropped(self):
        self.pair.transmit()
        packet = self.pair.from_server(opened=False, status=uapi.QUIC_RX_KEY_PHASE)
        longer = KernelPacket(packet + bytes(MAX_PACKET))
        longer.__dict__.update(packet.__dict__)
        self.assertIsNone(self.client._pair.hide(longer))
        self.client.receive_datagram(longer, ADDR, 11)
        self.assertEqual(self.stream_data(), b"")

    def test_key_limit_closes(self):
        self.pair.transmit()
        packet = self.pair.from_server(status=uapi.QUIC_RX_KEY_LIMIT)
        self.client.receive_datagram(packet, ADDR, 11)
        self.assertEqual(self.client._close_event.error_code, 0xf)

    def test_without_control_message(self):
        """Short control buffers leave packets as they were on the wire."""
        protocol = self.pair.protocol
        self.pair.transport._buffer[:3] = b"abc"
        self.pair.transport._received(3, [], ADDR)
        self.assertIs(type(protocol.received[0]), bytes)

    def test_fewer_elements_than_packets(self):
        element = uapi.RX_PACKET.pack(7, 1, uapi.QUIC_RX_OPENED, 0, 2, 8)
        self.pair.transport._buffer[:4] = b"abcd"
        self.pair.transport._received(4, [
            (uapi.SOL_UDP, uapi.UDP_GRO, b"\2\0\0\0"),
            (uapi.SOL_UDP, uapi.UDP_QUIC_DECRYPT, element)], ADDR)
        first, second = self.pair.protocol.received
        self.assertIsInstance(first, KernelPacket)
        self.assertEqual((first.number, first.header_size), (7, 11))
        self.assertIs(type(second), bytes)

    def test_flows_end_with_the_connection(self):
        self.pair.transmit()
        self.client.close()
        self.pair.transmit()
        self.client.handle_timer(now=1000)
        removed = [option for option, value in self.pair.sock.options
                   if option in (uapi.UDP_QUIC_DEL_TX_CONNECTION,
                                 uapi.UDP_QUIC_DEL_RX_CONNECTION)]
        self.assertEqual(len(removed), 2)

    def test_stock_protocol_is_refused(self):
        from aioquic.asyncio import QuicConnectionProtocol as Stock
        from aioquic_kernel.endpoint import _checked
        self.assertFalse(issubclass(Stock, QuicConnectionProtocol))
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        with self.assertRaises(TypeError):
            _checked(Stock(self.client))
        loop.close()

    def test_size_of_structs(self):
        key = uapi.flow_key(5, b"\1\2")
        self.assertEqual((len(key), key[18:22]), (160, b"\1\2\2\0"))
        self.assertEqual(len(uapi.connection_info(key, None, 0)), 248)
        control = uapi.tx_control(1, 2, 8, 1200)
        self.assertEqual([len(data) for _, _, data in control], [16, 2])


class ServerArguments(unittest.TestCase):
    """A directory that is missing ends the example server at once."""

    def parse(self, *args):
        """The options, or what argparse has said before it ended the program"""
        said = io.StringIO()
        with mock.patch("sys.argv", ["http3_server", *args]):
            with contextlib.redirect_stderr(said):
                try:
                    return http3_server.arguments()
                except SystemExit as end:
                    self.assertEqual(end.code, 2)
        return said.getvalue()

    def test_directories(self):
        with TemporaryDirectory() as there:
            missing = there + "/missing"
            options = self.parse("--uploads", there, "4433", there, "cert", "key")
            self.assertEqual((options.root, options.uploads), (there, there))
            self.assertIn(missing + " is not a directory",
                          self.parse("4433", missing, "cert", "key"))
            self.assertIn(missing + " is not a directory",
                          self.parse("--uploads", missing, "4433", there, "cert",
                                     "key"))


if __name__ == "__main__":
    unittest.main()
