// SPDX-License-Identifier: GPL-2.0
//! quinn's own TLS sessions, with keys of which the kernel gets a copy.
use crate::capture::{capture, Raw};
use crate::conn::{add, Conn, RawKey, Shared, Side as Direction, Unsealed, TAG};
use bytes::BytesMut;
use quinn::crypto::{
    ClientConfig, CryptoError, ExportKeyingMaterialError, HeaderKey, KeyPair, Keys, PacketKey,
    ServerConfig, Session, UnsupportedVersion,
};
use quinn::{ConnectError, ConnectionId, Side};
use quinn_proto::transport_parameters::TransportParameters;
use quinn_proto::TransportError;
use rustls::CipherSuite;
use std::any::Any;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::Arc;
use std::time::Duration;
use zeroize::Zeroizing;

/// The label by which `export_keying_material()` answers whether the keys may be
/// updated, as the way by which `update_keys()` reaches the session: no TLS label.
pub const MAY_UPDATE: &[u8] = b"quinn-quic-kernel: may the keys be updated?";
pub const YES: &[u8; 16] = b"yes, update them";

/// `TLS_CIPHER_*` of `<linux/tls.h>`
fn cipher_type(suite: CipherSuite) -> Option<u16> {
    match suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => Some(51),
        CipherSuite::TLS13_AES_256_GCM_SHA384 => Some(52),
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => Some(54),
        _ => None,
    }
}

pub struct Client(pub Arc<Shared>, pub Arc<dyn ClientConfig>);

impl ClientConfig for Client {
    fn start_session(
        self: Arc<Self>,
        version: u32,
        server_name: &str,
        params: &TransportParameters,
    ) -> Result<Box<dyn Session>, ConnectError> {
        let inner = self.1.clone().start_session(version, server_name, params)?;
        Ok(Wrapped::new(&self.0, inner))
    }
}

pub struct Server(pub Arc<Shared>, pub Arc<dyn ServerConfig>);

impl ServerConfig for Server {
    fn initial_keys(&self, version: u32, cid: &ConnectionId) -> Result<Keys, UnsupportedVersion> {
        self.1.initial_keys(version, cid)
    }

    fn retry_tag(&self, version: u32, orig_dst_cid: &ConnectionId, packet: &[u8]) -> [u8; 16] {
        self.1.retry_tag(version, orig_dst_cid, packet)
    }

    fn start_session(
        self: Arc<Self>,
        version: u32,
        params: &TransportParameters,
    ) -> Box<dyn Session> {
        Wrapped::new(&self.0, self.1.clone().start_session(version, params))
    }
}

struct Wrapped {
    shared: Arc<Shared>,
    inner: Box<dyn Session>,
    /// Sets of keys that there were: the handshake's, then those of 1-RTT packets
    sets: usize,
    /// The connection, once there are keys of 1-RTT packets
    conn: Option<Arc<Conn>>,
}

impl Wrapped {
    fn new(shared: &Arc<Shared>, inner: Box<dyn Session>) -> Box<dyn Session> {
        Box::new(Self { shared: shared.clone(), inner, sets: 0, conn: None })
    }

    fn may_update(&self, output: &mut [u8], context: &[u8]) -> Option<()> {
        let wait = Duration::from_micros(u64::from_be_bytes(context.try_into().ok()?));
        if self.conn.as_ref()?.may_update(wait) && output.len() == YES.len() {
            output.copy_from_slice(YES);
        }
        Some(())
    }

    /// The keys of 1-RTT packets, or those of the handshake as they are
    fn wrap(&mut self, keys: Keys, raw: Vec<Raw>) -> Keys {
        self.sets += 1;
        let Some((cipher, local, remote)) = directions(raw) else { return keys };
        if self.sets != 2 || !self.shared.enabled {
            return keys;
        }
        let header = (keys.header.local, keys.header.remote);
        let conn = Conn::new(&self.shared, cipher, header, (local, remote));
        self.conn = Some(conn.clone());
        Keys {
            header: KeyPair {
                local: Box::new(Header(conn.clone(), true)),
                remote: Box::new(Header(conn.clone(), false)),
            },
            packet: Packet::pair(&conn, 0, keys.packet),
        }
    }
}

fn raw_key(generation: u64, key: Vec<u8>, iv: Vec<u8>) -> RawKey {
    RawKey { generation, key: Zeroizing::new(key), iv: Zeroizing::new(iv) }
}

/// Header key and packet key of each direction, ours first
fn directions(raw: Vec<Raw>) -> Option<(u16, Direction, Direction)> {
    let mut raw = raw.into_iter();
    let mut next = || match (raw.next()?, raw.next()?) {
        (Raw::Header(suite, header), Raw::Packet(key, iv)) => {
            let keys = [raw_key(0, key, iv)].into();
            Some((cipher_type(suite)?, Direction { header: Zeroizing::new(header), keys }))
        }
        _ => None,
    };
    let (cipher, local) = next()?;
    let (_, remote) = next()?;
    Some((cipher, local, remote))
}

impl Session for Wrapped {
    fn initial_keys(&self, dst_cid: &ConnectionId, side: Side) -> Keys {
        self.inner.initial_keys(dst_cid, side)
    }

    fn handshake_data(&self) -> Option<Box<dyn Any>> {
        self.inner.handshake_data()
    }

    fn peer_identity(&self) -> Option<Box<dyn Any>> {
        self.inner.peer_identity()
    }

    fn early_crypto(&self) -> Option<(Box<dyn HeaderKey>, Box<dyn PacketKey>)> {
        self.inner.early_crypto()
    }

    fn early_data_accepted(&self) -> Option<bool> {
        self.inner.early_data_accepted()
    }

    fn is_handshaking(&self) -> bool {
        self.inner.is_handshaking()
    }

    fn read_handshake(&mut self, buf: &[u8]) -> Result<bool, TransportError> {
        self.inner.read_handshake(buf)
    }

    fn transport_parameters(&self) -> Result<Option<TransportParameters>, TransportError> {
        self.inner.transport_parameters()
    }

    fn write_handshake(&mut self, buf: &mut Vec<u8>) -> Option<Keys> {
        let (keys, raw) = capture(|| self.inner.write_handshake(buf));
        Some(self.wrap(keys?, raw))
    }

    fn next_1rtt_keys(&mut self) -> Option<KeyPair<Box<dyn PacketKey>>> {
        let (keys, raw) = capture(|| self.inner.next_1rtt_keys());
        let Some(conn) = &self.conn else { return keys };
        let generation = conn.derived.fetch_add(1, Relaxed) + 1;
        let mut raw = raw.into_iter();
        for side in [&conn.local, &conn.remote] {
            if let Some(Raw::Packet(key, iv)) = raw.next() {
                side.lock().unwrap().push(raw_key(generation, key, iv));
            }
        }
        Some(Packet::pair(conn, generation, keys?))
    }

    fn is_valid_retry(&self, orig_dst_cid: &ConnectionId, header: &[u8], payload: &[u8]) -> bool {
        self.inner.is_valid_retry(orig_dst_cid, header, payload)
    }

    fn export_keying_material(
        &self,
        output: &mut [u8],
        label: &[u8],
        context: &[u8],
    ) -> Result<(), ExportKeyingMaterialError> {
        if label == MAY_UPDATE {
            return self.may_update(output, context).ok_or(ExportKeyingMaterialError);
        }
        self.inner.export_keying_material(output, label, context)
    }
}

/// A header key, ours or the peer's
struct Header(Arc<Conn>, bool);

impl Header {
    fn inner(&self) -> &dyn HeaderKey {
        match self.1 {
            true => &*self.0.header_local,
            false => &*self.0.header_remote,
        }
    }
}

impl HeaderKey for Header {
    fn decrypt(&self, pn_offset: usize, packet: &mut [u8]) {
        if self.0.shared.marked(packet).is_none() {
            self.inner().decrypt(pn_offset, packet);
        }
    }

    fn encrypt(&self, pn_offset: usize, packet: &mut [u8]) {
        if self.0.shared.marked(packet).is_none() {
            self.inner().encrypt(pn_offset, packet);
        }
    }

    fn sample_size(&self) -> usize {
        self.inner().sample_size()
    }
}

struct Packet {
    conn: Arc<Conn>,
    generation: u64,
    inner: Arc<dyn PacketKey>,
}

impl Packet {
    fn pair(
        conn: &Arc<Conn>,
        generation: u64,
        keys: KeyPair<Box<dyn PacketKey>>,
    ) -> KeyPair<Box<dyn PacketKey>> {
        let wrap = |inner: Box<dyn PacketKey>| -> Box<dyn PacketKey> {
            Box::new(Self { conn: conn.clone(), generation, inner: Arc::from(inner) })
        };
        KeyPair { local: wrap(keys.local), remote: wrap(keys.remote) }
    }

    /// Is it about a packet that the kernel has opened, for this very key?
    fn is_opened(&self, mark: u64, number: u64) -> bool {
        let note = self.conn.shared.opened.lock().unwrap().take(mark);
        note.is_some_and(|note| {
            note.flow_id == self.conn.id
                && note.generation == self.generation as u8
                && note.number == number
        })
    }

    /// Is the packet to be sealed here?
    fn seals(&self) -> bool {
        !self.conn.here.load(Relaxed) || self.conn.tx_off.load(Relaxed)
    }
}

impl PacketKey for Packet {
    fn encrypt(&self, number: u64, buf: &mut [u8], header_len: usize) {
        let shared = &self.conn.shared;
        if self.seals() {
            add(&shared.stats.library_packets, 1);
            self.inner.encrypt(number, buf, header_len);
            if !self.conn.here.load(Relaxed) {
                shared.sealed_first(&self.conn, buf);
            }
            return;
        }
        let mark = shared.unsealed.lock().unwrap().push(Unsealed {
            conn: Arc::downgrade(&self.conn),
            key: self.inner.clone(),
            generation: self.generation,
            number,
            header_len,
            len: buf.len(),
        });
        shared.mark(mark, buf);
    }

    fn decrypt(
        &self,
        number: u64,
        header: &[u8],
        payload: &mut BytesMut,
    ) -> Result<(), CryptoError> {
        let shared = &self.conn.shared;
        if self.conn.limit.load(Relaxed) {
            return Err(CryptoError);
        }
        if let Some(mark) = shared.marked(payload) {
            if !self.is_opened(mark, number) {
                add(&shared.stats.rx_refused_packets, 1);
                return Err(CryptoError);
            }
            payload.truncate(payload.len() - TAG);
            add(&shared.stats.rx_used_packets, 1);
            self.conn.opened(self.generation);
            return Ok(());
        }
        if let Err(err) = self.inner.decrypt(number, header, payload) {
            add(&shared.stats.rx_failed_packets, 1);
            return Err(err);
        }
        add(&shared.stats.rx_library_packets, 1);
        self.conn.opened(self.generation);
        if let Some(id) = header.get(1..1 + shared.cid_len) {
            shared.tell(&self.conn, id, number);
        }
        Ok(())
    }

    fn tag_len(&self) -> usize {
        self.inner.tag_len()
    }

    // quinn updates the keys ahead of that: before the kernel says EKEYEXPIRED.
    fn confidentiality_limit(&self) -> u64 {
        self.inner.confidentiality_limit() / 2
    }

    // quinn closes the connection when more packets than that have failed here.
    fn integrity_limit(&self) -> u64 {
        match self.conn.limit.load(Relaxed) {
            true => 0,
            false => self.inner.integrity_limit(),
        }
    }
}
