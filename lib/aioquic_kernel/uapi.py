# SPDX-License-Identifier: GPL-2.0
"""What <linux/quic.h> and <linux/udp.h> define, as far as it is used here.

The structs are described in Documentation/networking/quic.rst.
"""
import socket
import struct

SOL_UDP = socket.IPPROTO_UDP
UDP_SEGMENT = 103
UDP_GRO = 104
UDP_ULP = 105
UDP_QUIC_ADD_TX_CONNECTION = 106
UDP_QUIC_DEL_TX_CONNECTION = 107
UDP_QUIC_ENCRYPT = 108
UDP_QUIC_ADD_RX_CONNECTION = 109
UDP_QUIC_DEL_RX_CONNECTION = 110
UDP_QUIC_DECRYPT = 111

ULP_NAME = b"quic-crypto"
TAG_SIZE = 16
MAX_SEGMENTS = 128

# Flags of the key that identifies a flow
QUIC_CONN_GENERATION = 0x01
QUIC_CONN_ALIAS = 0x04

# Flags of the control message for sending
QUIC_TX_TAG_ROOM = 0x02
QUIC_TX_FLOW_ID = 0x04

# What recvmsg() has done to a packet
QUIC_RX_OPENED = 0
QUIC_RX_KEY_PHASE = 1
QUIC_RX_KEY_LIMIT = 6
RX_STATUS = ("opened", "key_phase", "auth_failed", "no_flow", "not_1rtt",
             "too_short", "key_limit", "not_tried")

# struct quic_connection_info_key, the rest of struct quic_connection_info,
# struct quic_tx_ancillary_data, struct quic_rx_packet
_KEY = struct.Struct("=20sBBHII128s")
_INFO = struct.Struct("=HB12s32s32sBQ")
_TX = struct.Struct("=QBBHI")
RX_PACKET = struct.Struct("=QIBBBB")

# Room for the control messages of a recvmsg() call with UDP_GRO
RX_CONTROL = (socket.CMSG_SPACE(MAX_SEGMENTS * RX_PACKET.size) +
              socket.CMSG_SPACE(4))


def flow_key(flow_id, cid=b"", flags=0):
    """struct quic_connection_info_key for any peer.

    The connection ID is right-aligned in its 20 bytes.
    """
    return _KEY.pack(cid.rjust(20, b"\0"), len(cid), flags, 0, flow_id, 0, b"")


def connection_info(key, keys, generation, next_pkt_num=0):
    """struct quic_connection_info; keys is a crypto.Keys or None."""
    if keys is None:
        return key + _INFO.pack(0, generation & 255, b"", b"", b"", 0, 0)
    return key + _INFO.pack(keys.cipher_type, generation & 255, keys.iv, keys.key,
                            keys.header_key, 0, next_pkt_num)


def tx_control(flow_id, first_number, cid_length, packet_size):
    """The control messages of a sendmsg() call; packet_size is 0 without GSO."""
    control = [(SOL_UDP, UDP_QUIC_ENCRYPT,
                _TX.pack(first_number, QUIC_TX_TAG_ROOM | QUIC_TX_FLOW_ID,
                         cid_length, 0, flow_id))]
    if packet_size:
        control.append((SOL_UDP, UDP_SEGMENT, struct.pack("=H", packet_size)))
    return control
