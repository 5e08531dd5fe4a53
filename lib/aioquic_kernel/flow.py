# SPDX-License-Identifier: GPL-2.0
"""The flows of a connection on a socket: what the kernel has of its keys."""
import errno
import logging

from . import uapi

logger = logging.getLogger("aioquic_kernel")

# Setting up a cipher may fail for a while.
AGAIN = (errno.EAGAIN, errno.EINTR)


class TxFlow:
    """A flow for sending. Without it, aioquic seals."""

    def __init__(self, sock, flow_id, pair):
        self.flow_id = flow_id
        self._sock = sock
        self._pair = pair
        self._newest = None     # generation in the kernel
        self._oldest = None
        self.refused = False    # the kernel is not asked again

    def ready(self):
        """Does the kernel have the newest keys, so that packets may stay clear?"""
        return not self.refused and self.install(self._pair.generation)

    def install(self, generation):
        """Install what is missing up to a generation, one after the other."""
        try:
            if self._newest is None:
                self._add(generation)
                self._newest = self._oldest = generation
                self._pair.stats.flows += 1
            while self._newest < generation:
                self._add(self._newest + 1)
                self._newest += 1
        except OSError as exc:
            if exc.errno not in AGAIN:
                self.refuse(exc)
            return False
        except KeyError:
            # The kernel was not to be had for some updates, and the secrets are
            # gone: the next packets begin with a flow of their own.
            self.remove()
            return False
        return True

    def _add(self, generation):
        info = uapi.connection_info(uapi.flow_key(self.flow_id),
                                    self._pair.send_keys(generation), generation)
        try:
            self._sock.setsockopt(uapi.SOL_UDP, uapi.UDP_QUIC_ADD_TX_CONNECTION, info)
        except OSError as exc:
            if exc.errno != errno.EEXIST:
                raise

    def reinstall(self, generation):
        """The kernel says that it does not have what it should have."""
        self.remove()
        return self.install(generation)

    def sent(self, generation):
        """Packets leave in order: the generation before has sent its last one."""
        if self._oldest is not None and self._oldest < generation:
            self._del(uapi.QUIC_CONN_GENERATION, generation - 1)
            self._oldest = generation

    def refuse(self, exc):
        """aioquic seals the packets of this connection from now on."""
        if not self.refused:
            logger.warning("flow %d: aioquic seals: %s", self.flow_id, exc)
        self.refused = True
        self.remove()

    def remove(self):
        if self._newest is not None:
            self._del()
        self._newest = self._oldest = None

    def close(self):
        """For good: aioquic seals what still waits to be sent."""
        self.refused = True
        self.remove()

    def _del(self, flags=0, generation=0):
        delete(self._sock, uapi.UDP_QUIC_DEL_TX_CONNECTION,
               uapi.flow_key(self.flow_id, flags=flags), generation)


class RxFlow:
    """A flow for reception, with the connection IDs that the peer may use."""

    def __init__(self, sock, flow_id, pair):
        self.flow_id = flow_id
        self._sock = sock
        self._pair = pair
        self._cids = set()
        self._newest = None     # generation in the kernel
        self._retire = None     # generation and time
        self.current = None     # generation opened last
        self.refused = False

    @property
    def active(self):
        return self._newest is not None

    def sync(self, cids, next_number):
        """Add the flow, if it is not there, and make its connection IDs those."""
        cids = set(cids)
        if self.refused or cids == self._cids:
            return
        try:
            if not self.active:
                self._install(self._pair.generation, min(cids), next_number)
                self.current = self._pair.generation
                self._pair.stats.rx_flows += 1
            for cid in cids - self._cids:
                self._alias(uapi.UDP_QUIC_ADD_RX_CONNECTION, cid)
            for cid in self._cids - cids:
                self._alias(uapi.UDP_QUIC_DEL_RX_CONNECTION, cid)
        except OSError as exc:
            if exc.errno not in AGAIN:
                self.refuse(exc)
            return
        self._cids = cids
        self._install_up_to(self.current + 1)

    def _install(self, generation, cid, next_number):
        key = uapi.flow_key(self.flow_id, cid)
        info = uapi.connection_info(key, self._pair.recv_keys(generation), generation,
                                    next_number)
        self._sock.setsockopt(uapi.SOL_UDP, uapi.UDP_QUIC_ADD_RX_CONNECTION, info)
        self._newest = generation
        self._cids.add(cid)

    def _install_up_to(self, generation):
        """The peer's next keys, ahead of its update.

        The kernel takes them when it has opened a packet with the current ones.
        """
        if self._newest >= generation:
            return
        info = uapi.connection_info(uapi.flow_key(self.flow_id),
                                    self._pair.recv_keys(generation), generation)
        try:
            self._sock.setsockopt(uapi.SOL_UDP, uapi.UDP_QUIC_ADD_RX_CONNECTION, info)
        except OSError as exc:
            logger.info("flow %d: no keys of generation %d: %s", self.flow_id,
                        generation, exc)
        else:
            self._newest = generation

    def opened(self, generation, retire_at):
        """A packet was opened with a generation; when to forget the one before."""
        if generation > self.current:
            self._retire = self.current, retire_at
            self.current = generation
            self._install_up_to(generation + 1)

    def catch_up(self):
        """aioquic has opened a packet for which the kernel had no keys."""
        if self.active:
            self._install_up_to(self._pair.generation)

    def expire(self, now):
        if self._retire and now >= self._retire[1]:
            delete(self._sock, uapi.UDP_QUIC_DEL_RX_CONNECTION,
                   uapi.flow_key(self.flow_id, flags=uapi.QUIC_CONN_GENERATION),
                   self._retire[0])
            self._retire = None

    def _alias(self, option, cid):
        key = uapi.flow_key(self.flow_id, cid, uapi.QUIC_CONN_ALIAS)
        self._sock.setsockopt(uapi.SOL_UDP, option, uapi.connection_info(key, None, 0))

    def refuse(self, exc):
        logger.warning("flow %d: aioquic opens: %s", self.flow_id, exc)
        self.refused = True
        self.remove()

    def remove(self):
        if self.active:
            delete(self._sock, uapi.UDP_QUIC_DEL_RX_CONNECTION,
                   uapi.flow_key(self.flow_id), 0)
        self._newest = self._retire = None
        self._cids = set()

    def close(self):
        self.refused = True
        self.remove()


def delete(sock, option, key, generation):
    """Remove a flow or a generation, unless the socket is closed already."""
    if sock.fileno() < 0:
        return
    try:
        sock.setsockopt(uapi.SOL_UDP, option,
                        uapi.connection_info(key, None, generation))
    except OSError as exc:
        logger.info("not removed: %s", exc)


def attach(sock):
    """Attach the ULP. False, and a line for the operator, if there is none."""
    try:
        sock.setsockopt(uapi.SOL_UDP, uapi.UDP_ULP, uapi.ULP_NAME)
    except OSError as exc:
        hint = ""
        if exc.errno == errno.ENOENT:
            hint = "; an administrator may load the module quic_crypto"
        logger.warning("not in this kernel: aioquic seals and opens: %s%s", exc, hint)
        return False
    return True
