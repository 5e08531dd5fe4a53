// SPDX-License-Identifier: GPL-2.0
//! A socket that has the kernel seal and open packets
use crate::cmsg::{self, Control, Received};
use crate::conn::{add, Conn, News, Opened, Shared, Unsealed};
use crate::flow::{refused_tx, Flow};
use crate::uapi::{self, RxPacket, TxData};
use quinn::udp::{RecvMeta, Transmit, UdpSocketState};
use quinn::{AsyncUdpSocket, UdpPoller};
use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, Weak};
use std::task::{ready, Context, Poll};
use tokio::io::Interest;

/// Packets and bytes of a call of sendmsg()
const MAX_SEGMENTS: usize = 64;
const MAX_BYTES: usize = 65000;

pub struct Inner {
    /// The ULP is attached.
    pub kernel: bool,
    pub news: Mutex<Vec<News>>,
    io: tokio::net::UdpSocket,
    udp: UdpSocketState,
    ipv6: bool,
    /// A route does not take more than one packet a call.
    no_gso: AtomicBool,
    shared: Arc<Shared>,
    /// Connections whose packets this socket sends
    pub flows: Mutex<HashMap<u32, (Weak<Conn>, Flow)>>,
}

pub struct KernelSocket(pub(crate) Arc<Inner>);

impl fmt::Debug for KernelSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KernelSocket").field("kernel", &self.0.kernel).finish()
    }
}

impl KernelSocket {
    pub(crate) fn new(socket: std::net::UdpSocket, shared: &Arc<Shared>) -> io::Result<Self> {
        let kernel = shared.enabled && attach(socket.as_raw_fd(), shared);
        Self::with(socket, shared, kernel)
    }

    pub(crate) fn with(
        socket: std::net::UdpSocket,
        shared: &Arc<Shared>,
        kernel: bool,
    ) -> io::Result<Self> {
        let udp = UdpSocketState::new((&socket).into())?;
        let inner = Arc::new(Inner {
            kernel,
            news: Mutex::default(),
            ipv6: socket.local_addr()?.is_ipv6(),
            io: tokio::net::UdpSocket::from_std(socket)?,
            udp,
            no_gso: AtomicBool::new(false),
            shared: shared.clone(),
            flows: Mutex::default(),
        });
        shared.add_socket(&inner);
        Ok(Self(inner))
    }
}

fn attach(fd: RawFd, shared: &Shared) -> bool {
    match uapi::set_option(fd, uapi::SOL_UDP, uapi::UDP_ULP, b"quic-crypto") {
        Ok(()) => true,
        Err(err) => {
            shared.refuse("not in this kernel, or its module is not loaded", &err);
            false
        }
    }
}

/// A datagram of a transmit, and what is known of the unsealed packet that ends it
struct Part<'a> {
    data: &'a [u8],
    mark: Option<u64>,
    packet: Option<(Arc<Conn>, Unsealed)>,
}

impl Part<'_> {
    /// The kernel seals packets that are alone in their datagrams.
    fn for_kernel(&self) -> Option<&(Arc<Conn>, Unsealed)> {
        self.packet.as_ref().filter(|(conn, packet)| {
            packet.len == self.data.len() && !conn.tx_off.load(Relaxed)
        })
    }

    /// Can both be sent in one call, sealed by the kernel or sealed already?
    fn same_call(&self, other: &Self) -> bool {
        match (self.for_kernel(), other.for_kernel()) {
            (Some((conn, a)), Some((other_conn, b))) => {
                Arc::ptr_eq(conn, other_conn)
                    && a.generation == b.generation
                    && cid_len(a, self.data) == cid_len(b, other.data)
            }
            (None, None) => self.mark.is_none() && other.mark.is_none(),
            _ => false,
        }
    }
}

/// Parts that follow each other in a transmit
fn bytes<'a>(transmit: &Transmit<'a>, run: &[Part]) -> &'a [u8] {
    let at = run[0].data.as_ptr() as usize - transmit.contents.as_ptr() as usize;
    let len: usize = run.iter().map(|part| part.data.len()).sum();
    &transmit.contents[at..at + len]
}

/// Bytes of the connection ID of a packet
fn cid_len(packet: &Unsealed, data: &[u8]) -> usize {
    packet.header_len - 1 - (usize::from(data[0] & 3) + 1)
}

impl Inner {
    fn fd(&self) -> RawFd {
        self.io.as_raw_fd()
    }

    /// The connection has ended.
    pub fn forget(&self, id: u32) {
        let entry = self.flows.lock().unwrap().remove(&id);
        if let Some((_, mut flow)) = entry {
            flow.forget(self.fd(), id);
        }
    }

    fn with_flow<T>(&self, conn: &Arc<Conn>, act: impl FnOnce(&mut Flow) -> T) -> T {
        let mut flows = self.flows.lock().unwrap();
        let new = || (Arc::downgrade(conn), Flow::default());
        act(&mut flows.entry(conn.id).or_insert_with(new).1)
    }

    /// A connection whose packets this socket sends. It must not be dropped while
    /// flows are locked.
    fn conn(&self, id: u32) -> Option<Arc<Conn>> {
        self.flows.lock().unwrap().get(&id)?.0.upgrade()
    }

    // ----- sending -----

    fn max_segments(&self) -> usize {
        match self.no_gso.load(Relaxed) {
            true => 1,
            false => self.udp.max_gso_segments().min(MAX_SEGMENTS),
        }
    }

    fn parts<'a>(&self, transmit: &Transmit<'a>) -> Vec<Part<'a>> {
        let size = transmit.segment_size.unwrap_or(transmit.contents.len()).max(1);
        let unsealed = self.shared.unsealed.lock().unwrap();
        let parts = transmit.contents.chunks(size).map(|data| {
            let mark = self.shared.marked(data);
            let note = mark.and_then(|mark| unsealed.get(mark).cloned());
            let packet = note.and_then(|note| Some((note.conn.upgrade()?, note)));
            Part { data, mark, packet }
        });
        parts.collect()
    }

    /// From now on packets of these connections may be left to the kernel.
    fn meet(&self, parts: &[Part]) {
        for part in parts.iter().filter(|part| self.kernel && part.mark.is_none()) {
            if let Some(conn) = self.shared.first(part.data) {
                self.with_flow(&conn, |_| ());
                conn.here.store(true, Relaxed);
            }
        }
    }

    /// `WouldBlock` only if nothing was sent: quinn repeats all of it.
    pub fn send(&self, transmit: &Transmit) -> io::Result<()> {
        let parts = self.parts(transmit);
        self.meet(&parts);
        let mut rest = &parts[..];
        while let Some(first) = rest.first() {
            let most = self.max_segments().min(MAX_BYTES / first.data.len());
            let fit = rest.iter().take(most).take_while(|part| part.same_call(first));
            let (run, after) = rest.split_at(fit.count().max(1));
            if let Err(err) = self.send_run(transmit, run) {
                if rest.len() == parts.len() {
                    return Err(err);
                }
                // as if lost on the way
                add(&self.shared.stats.dropped_packets, rest.len());
                break;
            }
            rest = after;
        }
        let mut unsealed = self.shared.unsealed.lock().unwrap();
        for mark in parts.iter().filter_map(|part| part.mark) {
            unsealed.take(mark);
        }
        Ok(())
    }

    fn send_run(&self, transmit: &Transmit, run: &[Part]) -> io::Result<()> {
        match (run[0].mark, run[0].for_kernel()) {
            (None, _) => {
                let size = (run.len() > 1).then_some(run[0].data.len());
                self.send_plain(transmit, bytes(transmit, run), size)
            }
            (Some(_), Some((conn, packet))) => self.send_kernel(transmit, run, conn, packet),
            (Some(_), None) => self.send_sealed(transmit, run),
        }
    }

    /// What is not for the kernel: packets that are sealed already
    fn send_plain(&self, transmit: &Transmit, data: &[u8], size: Option<usize>) -> io::Result<()> {
        self.udp.send(
            (&self.io).into(),
            &Transmit {
                destination: transmit.destination,
                ecn: transmit.ecn,
                contents: data,
                segment_size: size,
                src_ip: transmit.src_ip,
            },
        )
    }

    /// What the kernel does not seal is sealed here. A packet of which nothing is known
    /// must not leave.
    fn send_sealed(&self, transmit: &Transmit, run: &[Part]) -> io::Result<()> {
        for part in run {
            let Some((conn, packet)) = &part.packet else {
                add(&self.shared.stats.dropped_packets, 1);
                continue;
            };
            let mut data = part.data.to_vec();
            let at = data.len() - packet.len;
            packet.seal(conn, &mut data[at..]);
            self.send_plain(transmit, &data, None)?;
            add(&self.shared.stats.fallback_packets, 1);
        }
        Ok(())
    }

    fn send_kernel(
        &self,
        transmit: &Transmit,
        run: &[Part],
        conn: &Arc<Conn>,
        packet: &Unsealed,
    ) -> io::Result<()> {
        for last_try in [false, true] {
            let install = |flow: &mut Flow| flow.install_tx(self.fd(), conn, packet.generation);
            if let Err(err) = self.with_flow(conn, install) {
                refused_tx(conn, &err);
                return self.send_sealed(transmit, run);
            }
            match self.call(transmit, run, conn, packet) {
                Err(err) if last_try || !self.try_again(conn, &err) => {
                    return self.refused(transmit, run, conn, err)
                }
                Err(_) => {}
                Ok(()) => break,
            }
        }
        self.with_flow(conn, |flow| flow.sent(self.fd(), conn, packet.generation));
        Ok(())
    }

    fn call(
        &self,
        transmit: &Transmit,
        run: &[Part],
        conn: &Conn,
        packet: &Unsealed,
    ) -> io::Result<()> {
        let mut control = Control::new();
        let data = TxData {
            next_pkt_num: packet.number,
            flags: uapi::TX_TAG_ROOM | uapi::TX_FLOW_ID,
            conn_id_length: cid_len(packet, run[0].data) as u8,
            pad: 0,
            flow_id: conn.id,
        };
        control.push(uapi::SOL_UDP, uapi::UDP_QUIC_ENCRYPT, &data);
        if run.len() > 1 {
            control.push(uapi::SOL_UDP, uapi::UDP_SEGMENT, &(run[0].data.len() as u16));
        }
        control.push_path(transmit, self.ipv6);
        let data = bytes(transmit, run);
        cmsg::send(self.fd(), transmit.destination, self.ipv6, data, &mut control)?;
        let stats = &self.shared.stats;
        add(&stats.kernel_packets, run.len());
        add(&stats.kernel_calls, 1);
        stats.kernel_max_batch.fetch_max(run.len() as u64, Relaxed);
        Ok(())
    }

    /// Is the call worth a second try? The kernel may have lost the flow, or its key;
    /// then both are installed again. If there is no room in a socket that is writable
    /// by now, nothing would wake quinn.
    fn try_again(&self, conn: &Arc<Conn>, err: &io::Error) -> bool {
        match err.raw_os_error() {
            Some(libc::ENOENT | libc::ENOKEY) => {
                add(&self.shared.stats.refused_calls, 1);
                self.with_flow(conn, |flow| flow.forget_tx(self.fd(), conn.id));
                true
            }
            Some(libc::EAGAIN) => uapi::writable(self.fd()),
            _ => false,
        }
    }

    /// See "What a library does about errors" in quic.rst.
    fn refused(
        &self,
        transmit: &Transmit,
        run: &[Part],
        conn: &Arc<Conn>,
        err: io::Error,
    ) -> io::Result<()> {
        let stats = &self.shared.stats;
        if err.kind() == io::ErrorKind::WouldBlock {
            return Err(err);
        }
        add(&stats.refused_calls, 1);
        match err.raw_os_error() {
            Some(libc::EIO) if run.len() > 1 => self.no_gso.store(true, Relaxed),
            Some(
                libc::ENOENT | libc::ENOKEY | libc::EINVAL | libc::EBADMSG | libc::EOPNOTSUPP,
            ) => {
                refused_tx(conn, &err);
                self.with_flow(conn, |flow| flow.forget_tx(self.fd(), conn.id));
            }
            // Lost, as packets that quinn-udp cannot send. With EKEYEXPIRED, nobody may
            // seal them.
            _ => {
                add(&stats.dropped_packets, run.len());
                return Ok(());
            }
        }
        self.send_sealed(transmit, run)
    }

    // ----- reception -----

    /// Add connection IDs of the connections whose packets this socket sends.
    fn read_news(&self) {
        for News(conn, id, number) in std::mem::take(&mut *self.news.lock().unwrap()) {
            let Some(conn) = conn.upgrade() else { continue };
            let mut flows = self.flows.lock().unwrap();
            if let Some((_, flow)) = flows.get_mut(&conn.id) {
                flow.add_id(self.fd(), &conn, id, number);
            }
        }
    }

    fn recv(&self, bufs: &mut [IoSliceMut<'_>], meta: &mut [RecvMeta]) -> io::Result<usize> {
        self.read_news();
        let mut n = 0;
        for (buf, meta) in bufs.iter_mut().zip(meta) {
            match cmsg::recv(self.fd(), buf) {
                Ok(received) => {
                    *meta = received.meta;
                    self.received(buf, &received);
                    n += 1;
                }
                Err(err) if n == 0 => return Err(err),
                Err(_) => break,
            }
        }
        Ok(n)
    }

    fn received(&self, buf: &mut [u8], received: &Received) {
        let meta = &received.meta;
        let mut last = None;
        for (i, packet) in buf[..meta.len].chunks_mut(meta.stride.max(1)).enumerate() {
            match received.packets.get(i) {
                Some(element) if element.status == uapi::RX_OPENED => {
                    self.opened(packet, element);
                    last = Some(element);
                }
                element => self.not_opened(packet, element),
            }
        }
        if let Some(element) = last {
            self.next_keys(element.flow_id, element.key_gen);
        }
    }

    fn opened(&self, packet: &mut [u8], element: &RxPacket) {
        let mark = self.shared.opened.lock().unwrap().push(Opened {
            flow_id: element.flow_id,
            generation: element.key_gen,
            number: element.pkt_num,
        });
        self.shared.mark(mark, packet);
        add(&self.shared.stats.rx_kernel_packets, 1);
    }

    fn next_keys(&self, flow_id: u32, generation: u8) {
        let Some(conn) = self.conn(flow_id) else { return };
        self.with_flow(&conn, |flow| {
            if flow.wants_next(generation) {
                flow.install_rx(self.fd(), &conn);
            }
        });
    }

    fn not_opened(&self, packet: &mut [u8], element: Option<&RxPacket>) {
        // Nobody else may make marks.
        if self.shared.marked(packet).is_some() {
            packet.fill(0);
        }
        let Some(element) = element else { return };
        let Some(conn) = self.conn(element.flow_id) else { return };
        let stats = &self.shared.stats;
        match element.status {
            uapi::RX_KEY_PHASE => {
                // quinn opens the packet as it was on the wire.
                conn.header_remote.encrypt(1 + usize::from(element.conn_id_length), packet);
                add(&stats.rx_key_phase, 1);
            }
            uapi::RX_AUTH_FAILED => add(&stats.rx_auth_failed, 1),
            uapi::RX_KEY_LIMIT => {
                conn.limit.store(true, Relaxed);
                add(&stats.rx_key_limit, 1);
            }
            _ => {}
        }
    }
}

impl AsyncUdpSocket for KernelSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Poller { socket: self, waiting: None })
    }

    fn try_send(&self, transmit: &Transmit) -> io::Result<()> {
        self.0.io.try_io(Interest::WRITABLE, || self.0.send(transmit))
    }

    fn poll_recv(
        &self,
        cx: &mut Context,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.io.poll_recv_ready(cx))?;
            match self.0.io.try_io(Interest::READABLE, || self.0.recv(bufs, meta)) {
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.io.local_addr()
    }

    fn may_fragment(&self) -> bool {
        self.0.udp.may_fragment()
    }

    fn max_transmit_segments(&self) -> usize {
        self.0.max_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.0.udp.gro_segments()
    }
}

type Waiting = Pin<Box<dyn Future<Output = io::Result<()>> + Send + Sync>>;

struct Poller {
    socket: Arc<KernelSocket>,
    waiting: Option<Waiting>,
}

impl fmt::Debug for Poller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Poller")
    }
}

impl UdpPoller for Poller {
    fn poll_writable(mut self: Pin<&mut Self>, cx: &mut Context) -> Poll<io::Result<()>> {
        let inner = self.socket.0.clone();
        let waiting = self
            .waiting
            .get_or_insert_with(|| Box::pin(async move { inner.io.writable().await }));
        let done = ready!(waiting.as_mut().poll(cx));
        self.waiting = None;
        Poll::Ready(done)
    }
}
