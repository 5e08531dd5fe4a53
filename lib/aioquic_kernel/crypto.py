# SPDX-License-Identifier: GPL-2.0
"""The keys of 1-RTT packets, which the kernel may use instead of aioquic."""
from dataclasses import dataclass

from aioquic.quic.crypto import (
    CryptoContext,
    CryptoError,
    CryptoPair,
    derive_key_iv_hp,
    next_key_phase,
)
from aioquic.tls import CipherSuite

from . import uapi

# TLS_CIPHER_* of <linux/tls.h>
CIPHER_TYPES = {
    CipherSuite.AES_128_GCM_SHA256: 51,
    CipherSuite.AES_256_GCM_SHA384: 52,
    CipherSuite.CHACHA20_POLY1305_SHA256: 54,
}

# Packets after which the keys are updated. RFC 9001 section 6.6 allows AES-GCM
# twice as many; an update waits until the peer has acknowledged a packet.
UPDATE_AFTER = 1 << 22

# Generations before the newest one whose secrets are kept. A flow lacks as many at
# most, as it gets the keys of a generation with the first packets of it.
KEEP = 2

# PACKET_LENGTH_MAX of aioquic/_crypto.c, which does not check it everywhere
MAX_PACKET = 1500


@dataclass(frozen=True)
class Keys:
    """What the kernel needs of one direction and generation."""
    cipher_type: int
    key: bytes
    iv: bytes
    header_key: bytes


class ClearPacket:
    """A 1-RTT packet that the kernel is to seal.

    It keeps what is needed to seal it here, if the kernel refuses. The AEAD is
    that of its generation, also when the keys have been updated meanwhile.
    """

    __slots__ = ("data", "number", "generation", "header_size", "_aead", "_hp")

    def __init__(self, context, generation, header, payload, number):
        self.data = header + payload + bytes(uapi.TAG_SIZE)
        self.number = number
        self.generation = generation
        self.header_size = len(header)
        self._aead = context.aead
        self._hp = context.hp

    def seal(self):
        """The packet as it has to be on the wire."""
        header = self.data[:self.header_size]
        payload = self.data[self.header_size:-uapi.TAG_SIZE]
        return self._hp.apply(header, self._aead.encrypt(payload, header, self.number))


class KernelPacket(bytes):
    """A received datagram of which the kernel has more to say than its bytes.

    aioquic passes it on like any other datagram. Whatever makes a copy of it gets
    plain bytes, which are then taken for a packet as it was on the wire: an
    opened packet does not open once more, and is dropped.
    """

    number = flow_id = status = key_generation = header_size = 0

    @classmethod
    def make(cls, data, element):
        packet = cls(data)
        (packet.number, packet.flow_id, packet.status, packet.key_generation,
         number_length, cid_length) = element
        packet.header_size = 1 + cid_length + number_length
        return packet


class KernelCryptoContext(CryptoContext):
    """Remembers the header key, which is the same in all generations."""

    header_key = None

    def setup(self, *, cipher_suite, secret, version):
        super().setup(cipher_suite=cipher_suite, secret=secret, version=version)
        self.header_key = derive_key_iv_hp(cipher_suite=cipher_suite, secret=secret,
                                           version=version)[2]

    def teardown(self):
        super().teardown()
        self.header_key = None

    def keys(self, secret):
        key, iv, _ = derive_key_iv_hp(cipher_suite=self.cipher_suite, secret=secret,
                                      version=self.version)
        return Keys(CIPHER_TYPES[self.cipher_suite], key, iv, self.header_key)


class KernelCryptoPair(CryptoPair):
    """Takes the place of aioquic's pair for 1-RTT packets.

    By itself it seals and opens like that one. While `clear` is a list, packets
    are put there, and stay as they are. While `opened` is a packet that the kernel
    has opened, this is what decrypt_packet() is asked about.
    """

    def __init__(self, stock, stats):
        super().__init__()
        self.recv = KernelCryptoContext(setup_cb=stock.recv._setup_cb,
                                        teardown_cb=stock.recv._teardown_cb)
        self.send = KernelCryptoContext(setup_cb=stock.send._setup_cb,
                                        teardown_cb=stock.send._teardown_cb)
        self.stats = stats
        self.generation = 0
        self.first_number = None    # sealed with the newest keys
        self.sealed = 0             # packets, with the newest keys
        self.clear = None
        self.opened = None
        self._old_secrets = {}      # (receive, send) of generations before

    def encrypt_packet(self, plain_header, plain_payload, packet_number):
        if self._update_key_requested:
            self._update_key("local_update")
        if self.first_number is None:
            self.first_number = packet_number
        self.sealed += 1
        if self.clear is None:
            self.stats.library_packets += 1
            return super().encrypt_packet(plain_header, plain_payload, packet_number)
        packet = ClearPacket(self.send, self.generation, plain_header, plain_payload,
                             packet_number)
        self.clear.append(packet)
        return packet.data

    def decrypt_packet(self, packet, encrypted_offset, expected_packet_number):
        opened, self.opened = self.opened, None
        if opened is not None:
            return self._take(packet, opened)
        try:
            result = super().decrypt_packet(packet, encrypted_offset,
                                            expected_packet_number)
        except CryptoError:
            self.stats.rx_failed_packets += 1
            raise
        self.stats.rx_library_packets += 1
        return result

    def _take(self, packet, opened):
        """What decrypt_packet() returns for a packet that the kernel has opened."""
        if self.full_generation(opened.key_generation) > self.generation:
            self._update_key("remote_update")
        self.stats.rx_used_packets += 1
        return (packet[:opened.header_size],
                packet[opened.header_size:-uapi.TAG_SIZE], opened.number)

    def full_generation(self, low):
        """The kernel counts generations modulo 256."""
        return self.generation + (low - self.generation + 128) % 256 - 128

    def hide(self, packet):
        """A packet of which the kernel has opened the header, as it was before.

        None if it is longer than aioquic's buffers, so that it would not open.
        """
        if len(packet) > MAX_PACKET:
            return None
        return self.recv.hp.apply(packet[:packet.header_size],
                                  packet[packet.header_size:])

    def _update_key(self, trigger):
        self._old_secrets[self.generation] = self.recv.secret, self.send.secret
        self._old_secrets.pop(self.generation - KEEP, None)
        super()._update_key(trigger)
        self.generation += 1
        self.first_number = None
        self.sealed = 0

    def send_keys(self, generation):
        """Keys of the newest generation or of the two before."""
        if generation == self.generation:
            return self.send.keys(self.send.secret)
        return self.send.keys(self._old_secrets[generation][1])

    def recv_keys(self, generation):
        """The same, and those of the generation that is to come."""
        if generation > self.generation:
            return self.recv.keys(next_key_phase(self.recv).secret)
        if generation == self.generation:
            return self.recv.keys(self.recv.secret)
        return self.recv.keys(self._old_secrets[generation][0])

    def teardown(self):
        super().teardown()
        self._old_secrets.clear()
