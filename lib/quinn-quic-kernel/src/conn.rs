// SPDX-License-Identifier: GPL-2.0
//! What sessions and sockets share: connections, their keys, and the packets on
//! their way between the two.
use crate::socket::Inner as Socket;
use quinn::crypto::{HeaderKey, PacketKey};
use std::collections::hash_map::RandomState;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

pub const TAG: usize = 16;
/// Packets that may be between the kernel and quinn at a time
pub const MAX_NOTES: u64 = 1 << 16;
/// Tags of first packets that may wait for a socket at a time
const MAX_FIRST: usize = 1024;
/// Generations whose keys are kept: the previous, the current and the next
const KEEP: usize = 3;

macro_rules! stats {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counters of a `Kernel`
        #[derive(Default)]
        pub struct Stats {
            $($(#[$doc])* pub $name: AtomicU64,)*
        }

        impl Stats {
            /// All counters with their names
            pub fn all(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name.load(Relaxed)),)*]
            }
        }
    };
}

stats! {
    /// 1-RTT packets that the kernel has sealed
    kernel_packets,
    /// Calls of `sendmsg()` for these
    kernel_calls,
    /// The most packets in one of these calls
    kernel_max_batch,
    /// 1-RTT packets that were never meant for the kernel
    library_packets,
    /// Those that were meant for the kernel and sealed here
    fallback_packets,
    /// Those that were not sent
    dropped_packets,
    /// Calls of `sendmsg()` that the kernel has refused
    refused_calls,
    /// Flows that were added for sending
    flows,
    /// Flows that were added for reception
    rx_flows,
    /// 1-RTT packets that the kernel has opened
    rx_kernel_packets,
    /// Those of them that quinn has taken
    rx_used_packets,
    /// Those that belonged to another key, number or connection, or came too late
    rx_refused_packets,
    /// 1-RTT packets that were opened here
    rx_library_packets,
    /// 1-RTT packets that did not open here, either
    rx_failed_packets,
    /// Packets that did not open in the kernel
    rx_auth_failed,
    /// Packets of which the kernel did not have the next keys yet
    rx_key_phase,
    /// Packets of connections of which too many did not open
    rx_key_limit,
}

pub fn add(counter: &AtomicU64, n: usize) {
    counter.fetch_add(n as u64, Relaxed);
}

/// Numbered notes about packets, of which the oldest ones are forgotten
pub struct Notes<T> {
    notes: HashMap<u64, T>,
    next: u64,
}

impl<T> Default for Notes<T> {
    fn default() -> Self {
        Self { notes: HashMap::new(), next: 1 }
    }
}

impl<T> Notes<T> {
    pub fn push(&mut self, note: T) -> u64 {
        let number = self.next;
        self.next += 1;
        self.notes.insert(number, note);
        if number > MAX_NOTES {
            self.notes.remove(&(number - MAX_NOTES));
        }
        number
    }

    pub fn get(&self, number: u64) -> Option<&T> {
        self.notes.get(&number)
    }

    pub fn take(&mut self, number: u64) -> Option<T> {
        self.notes.remove(&number)
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.notes.len()
    }
}

/// A packet that was left unsealed for the kernel
#[derive(Clone)]
pub struct Unsealed {
    pub conn: Weak<Conn>,
    pub key: Arc<dyn PacketKey>,
    pub generation: u64,
    pub number: u64,
    pub header_len: usize,
    pub len: usize,
}

impl Unsealed {
    /// Seal it here after all.
    pub fn seal(&self, conn: &Conn, packet: &mut [u8]) {
        let number_len = usize::from(packet[0] & 3) + 1;
        self.key.encrypt(self.number, packet, self.header_len);
        conn.header_local.encrypt(self.header_len - number_len, packet);
    }
}

/// A packet that the kernel has opened
#[derive(Clone, Copy)]
pub struct Opened {
    pub flow_id: u32,
    pub generation: u8,
    pub number: u64,
}

/// Keys as the kernel takes them
pub struct RawKey {
    pub generation: u64,
    pub key: Zeroizing<Vec<u8>>,
    pub iv: Zeroizing<Vec<u8>>,
}

/// The keys of one direction of a connection
pub struct Side {
    pub header: Zeroizing<Vec<u8>>,
    pub keys: VecDeque<RawKey>,
}

impl Side {
    pub fn push(&mut self, key: RawKey) {
        self.keys.push_back(key);
        if self.keys.len() > KEEP {
            self.keys.pop_front();
        }
    }

    pub fn key(&self, generation: u64) -> Option<&RawKey> {
        self.keys.iter().find(|key| key.generation == generation)
    }
}

/// The keys that quinn has for a connection keep it alive.
pub struct Conn {
    pub id: u32,
    pub cipher_type: u16,
    pub header_local: Box<dyn HeaderKey>,
    pub header_remote: Box<dyn HeaderKey>,
    pub local: Mutex<Side>,
    pub remote: Mutex<Side>,
    /// The newest generation that quinn has keys of: the one after the current one
    pub derived: AtomicU64,
    /// The newest generation of which a packet was opened, plus 1; and since when
    opened: AtomicU64,
    since: Mutex<Option<Instant>>,
    /// A socket of ours sends its packets.
    pub here: AtomicBool,
    /// The kernel has refused to seal.
    pub tx_off: AtomicBool,
    /// Too many packets have failed to open.
    pub limit: AtomicBool,
    pub shared: Arc<Shared>,
}

impl Conn {
    pub fn new(
        shared: &Arc<Shared>,
        cipher_type: u16,
        header: (Box<dyn HeaderKey>, Box<dyn HeaderKey>),
        sides: (Side, Side),
    ) -> Arc<Self> {
        Arc::new(Self {
            id: shared.next_id.fetch_add(1, Relaxed),
            cipher_type,
            header_local: header.0,
            header_remote: header.1,
            local: Mutex::new(sides.0),
            remote: Mutex::new(sides.1),
            derived: AtomicU64::new(0),
            opened: AtomicU64::new(0),
            since: Mutex::default(),
            here: AtomicBool::new(false),
            tx_off: AtomicBool::new(false),
            limit: AtomicBool::new(false),
            shared: shared.clone(),
        })
    }

    /// A packet of a generation was opened: the peer uses these keys.
    pub fn opened(&self, generation: u64) {
        if self.opened.fetch_max(generation + 1, Relaxed) <= generation {
            *self.since.lock().unwrap() = Some(Instant::now());
        }
    }

    /// The newest generation of which a packet was opened
    pub fn generation(&self) -> u64 {
        self.opened.load(Relaxed).saturating_sub(1)
    }

    /// Has the peer used the current keys for so long?
    pub fn may_update(&self, wait: Duration) -> bool {
        self.opened.load(Relaxed) == self.derived.load(Relaxed)
            && self.since.lock().unwrap().is_some_and(|since| since.elapsed() >= wait)
    }
}

impl Drop for Conn {
    fn drop(&mut self) {
        for socket in self.shared.sockets() {
            socket.forget(self.id);
        }
        let mut unsealed = self.shared.unsealed.lock().unwrap();
        unsealed.notes.retain(|_, note| note.conn.strong_count() > 0);
    }
}

/// A packet with this connection ID, and this number, was authentic.
pub struct News(pub Weak<Conn>, pub Vec<u8>, pub u64);

pub struct Shared {
    secret: [u8; 8],
    pub cid_len: usize,
    pub enabled: bool,
    next_id: AtomicU32,
    pub unsealed: Mutex<Notes<Unsealed>>,
    pub opened: Mutex<Notes<Opened>>,
    /// Connections by the tags of packets that may tell which socket is theirs
    first: Mutex<HashMap<[u8; TAG], Weak<Conn>>>,
    sockets: Mutex<Vec<Weak<Socket>>>,
    /// There was a socket that has the ULP.
    pub kernel: AtomicBool,
    pub refused: Mutex<Option<String>>,
    pub stats: Stats,
}

impl Shared {
    pub fn new(cid_len: usize, enabled: bool) -> Arc<Self> {
        // The keys of the standard library's hash maps are random.
        let secret = RandomState::new().build_hasher().finish().to_ne_bytes();
        Arc::new(Self {
            secret,
            cid_len,
            enabled,
            next_id: AtomicU32::new(1),
            unsealed: Mutex::default(),
            opened: Mutex::default(),
            first: Mutex::default(),
            sockets: Mutex::default(),
            kernel: AtomicBool::new(false),
            refused: Mutex::default(),
            stats: Stats::default(),
        })
    }

    pub fn add_socket(&self, socket: &Arc<Socket>) {
        self.kernel.fetch_or(socket.kernel, Relaxed);
        let mut sockets = self.sockets.lock().unwrap();
        sockets.retain(|socket| socket.strong_count() > 0);
        sockets.push(Arc::downgrade(socket));
    }

    fn sockets(&self) -> Vec<Arc<Socket>> {
        self.sockets.lock().unwrap().iter().filter_map(Weak::upgrade).collect()
    }

    #[cfg(test)]
    pub fn flows(&self) -> usize {
        self.sockets().iter().map(|socket| socket.flows.lock().unwrap().len()).sum()
    }

    pub fn tell(&self, conn: &Arc<Conn>, id: &[u8], number: u64) {
        for socket in self.sockets() {
            let news = News(Arc::downgrade(conn), id.to_vec(), number);
            socket.news.lock().unwrap().push(news);
        }
    }

    pub fn refuse(&self, what: &str, err: &std::io::Error) {
        *self.refused.lock().unwrap() = Some(format!("{what}: {err}"));
    }

    /// Nothing is left to the kernel before one of our sockets has sent a packet of
    /// the connection: another socket would send it in plaintext.
    pub fn sealed_first(&self, conn: &Arc<Conn>, packet: &[u8]) {
        if !self.kernel.load(Relaxed) {
            return;
        }
        let mut first = self.first.lock().unwrap();
        if first.len() >= MAX_FIRST {
            first.clear();
        }
        if let Some(tag) = packet.last_chunk() {
            first.insert(*tag, Arc::downgrade(conn));
        }
    }

    /// The connection of a datagram that ends in such a packet
    pub fn first(&self, datagram: &[u8]) -> Option<Arc<Conn>> {
        let mut first = self.first.lock().unwrap();
        if first.is_empty() {
            return None;
        }
        first.remove(datagram.last_chunk::<TAG>()?)?.upgrade()
    }

    /// Write a mark to the room for the tag.
    pub fn mark(&self, number: u64, packet: &mut [u8]) {
        let at = packet.len() - TAG;
        packet[at..at + 8].copy_from_slice(&self.secret);
        packet[at + 8..].copy_from_slice(&number.to_ne_bytes());
    }

    /// The number in the mark, if there is one
    pub fn marked(&self, packet: &[u8]) -> Option<u64> {
        let (secret, number) = packet.last_chunk::<TAG>()?.split_at(8);
        (secret == self.secret).then(|| u64::from_ne_bytes(number.try_into().unwrap()))
    }
}
