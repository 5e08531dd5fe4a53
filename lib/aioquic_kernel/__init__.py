# SPDX-License-Identifier: GPL-2.0
"""aioquic with 1-RTT packets that the Linux kernel seals and opens."""
from .connection import KernelQuicConnection
from .endpoint import QuicConnectionProtocol, connect, migrate, serve
from .stats import Stats
from .transport import KernelTransport

__all__ = ["KernelQuicConnection", "KernelTransport", "QuicConnectionProtocol",
           "Stats", "connect", "migrate", "serve"]
