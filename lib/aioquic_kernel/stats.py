# SPDX-License-Identifier: GPL-2.0
"""Counters of a transport: who has sealed and opened what."""
from dataclasses import dataclass, fields

from . import uapi


@dataclass
class Stats:
    kernel_packets: int = 0         # sealed by the kernel
    kernel_calls: int = 0           # in so many calls of sendmsg()
    kernel_max_batch: int = 0
    library_packets: int = 0        # 1-RTT, never meant for the kernel
    fallback_packets: int = 0       # meant for the kernel, sealed by aioquic
    dropped_packets: int = 0        # refused with an error of UDP, or by a limit
    refused_calls: int = 0          # of sendmsg()
    flows: int = 0                  # for sending
    rx_flows: int = 0
    rx_kernel_packets: int = 0      # opened by the kernel
    rx_used_packets: int = 0        # those of them that a connection has taken
    rx_stray_packets: int = 0       # those of no connection that is there
    rx_library_packets: int = 0     # 1-RTT, opened by aioquic
    rx_failed_packets: int = 0      # 1-RTT, not opened there, either
    rx_key_phase: int = 0           # why the kernel has not opened packets
    rx_auth_failed: int = 0
    rx_no_flow: int = 0
    rx_not_1rtt: int = 0
    rx_too_short: int = 0
    rx_key_limit: int = 0
    rx_not_tried: int = 0
    rx_max_batch: int = 0           # packets of a call of recvmsg()

    def sent(self, packets):
        self.kernel_packets += packets
        self.kernel_calls += 1
        self.kernel_max_batch = max(self.kernel_max_batch, packets)

    def received(self, status):
        if status == uapi.QUIC_RX_OPENED:
            self.rx_kernel_packets += 1
        elif status < len(uapi.RX_STATUS):
            name = "rx_" + uapi.RX_STATUS[status]
            setattr(self, name, getattr(self, name) + 1)

    def __str__(self):
        return "".join(f"{field.name} {getattr(self, field.name)}\n"
                       for field in fields(self))
