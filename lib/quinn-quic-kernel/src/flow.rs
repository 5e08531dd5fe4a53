// SPDX-License-Identifier: GPL-2.0
//! What the kernel has of a connection on a socket
use crate::conn::{add, Conn, RawKey, Side};
use crate::uapi::{self, ConnectionInfo};
use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;
use std::sync::atomic::Ordering::Relaxed;

/// Connection IDs of a connection: quinn issues five at a time.
const MAX_IDS: usize = 8;

#[derive(Default)]
pub struct Flow {
    /// The oldest and the newest generation for sending
    tx: Option<(u64, u64)>,
    /// The newest generation for reception
    rx: Option<u64>,
    rx_off: bool,
    ids: VecDeque<Vec<u8>>,
}

fn info(conn: &Conn, side: &Side, key: &RawKey) -> ConnectionInfo {
    let mut info = ConnectionInfo::new(conn.id);
    info.cipher_type = conn.cipher_type;
    info.generation = key.generation as u8;
    info.iv.copy_from_slice(&key.iv);
    info.key[..key.key.len()].copy_from_slice(&key.key);
    info.header_key[..side.header.len()].copy_from_slice(&side.header);
    info
}

/// Install a key; the flow may have it already.
fn install(conn: &Conn, side: &Side, generation: u64, fd: RawFd, option: i32) -> io::Result<()> {
    let key = side.key(generation).ok_or(io::ErrorKind::NotFound)?;
    match info(conn, side, key).set(fd, option) {
        Err(err) if err.raw_os_error() == Some(libc::EEXIST) => Ok(()),
        done => done,
    }
}

/// The kernel may say otherwise the next time.
pub fn for_now(err: &io::Error) -> bool {
    matches!(err.raw_os_error(), Some(libc::EAGAIN | libc::EINTR))
}

impl Flow {
    /// Have the kernel know the keys of a generation for sending.
    pub fn install_tx(&mut self, fd: RawFd, conn: &Conn, generation: u64) -> io::Result<()> {
        let side = conn.local.lock().unwrap();
        let first = self.tx.map_or(generation, |tx| tx.1 + 1);
        for generation in first..=generation {
            install(conn, &side, generation, fd, uapi::ADD_TX)?;
            if self.tx.is_none() {
                add(&conn.shared.stats.flows, 1);
            }
            self.tx = Some((self.tx.map_or(generation, |tx| tx.0), generation));
        }
        Ok(())
    }

    /// A packet of a generation was sent: none of those before follows.
    pub fn sent(&mut self, fd: RawFd, conn: &Conn, generation: u64) {
        let Some((oldest, newest)) = self.tx else { return };
        for old in oldest..generation {
            let mut info = ConnectionInfo::new(conn.id);
            info.flags = uapi::CONN_GENERATION;
            info.generation = old as u8;
            let _ = info.set(fd, uapi::DEL_TX);
        }
        self.tx = Some((oldest.max(generation), newest));
    }

    /// A connection ID of ours that the peer uses
    pub fn add_id(&mut self, fd: RawFd, conn: &Conn, id: Vec<u8>, number: u64) {
        if self.rx_off || id.is_empty() {
            return;
        }
        if self.ids.contains(&id) {
            return self.install_rx(fd, conn);
        }
        let done = match self.rx {
            None => self.add_rx(fd, conn, &id, number),
            Some(_) => self.alias(fd, conn, &id, uapi::ADD_RX),
        };
        if let Err(err) = done {
            conn.shared.refuse("flow for reception", &err);
            self.rx_off = !for_now(&err);
            return;
        }
        self.ids.push_back(id);
        if self.ids.len() > MAX_IDS {
            if let Some(old) = self.ids.pop_front() {
                let _ = self.alias(fd, conn, &old, uapi::DEL_RX);
            }
        }
        self.install_rx(fd, conn);
    }

    fn add_rx(&mut self, fd: RawFd, conn: &Conn, id: &[u8], number: u64) -> io::Result<()> {
        let side = conn.remote.lock().unwrap();
        let generation = conn.generation();
        let key = side.key(generation).ok_or(io::ErrorKind::NotFound)?;
        let mut info = info(conn, &side, key).conn_id(id);
        info.next_pkt_num = number + 1;
        info.set(fd, uapi::ADD_RX)?;
        self.rx = Some(generation);
        add(&conn.shared.stats.rx_flows, 1);
        Ok(())
    }

    fn alias(&self, fd: RawFd, conn: &Conn, id: &[u8], option: i32) -> io::Result<()> {
        let mut info = ConnectionInfo::new(conn.id).conn_id(id);
        info.flags = uapi::CONN_ALIAS;
        info.set(fd, option)
    }

    /// Is the newest generation for reception in use, so that the next one is due?
    pub fn wants_next(&self, generation: u8) -> bool {
        self.rx.is_some_and(|newest| newest as u8 == generation)
    }

    /// Have the kernel know the keys that the peer will update to, as soon as quinn has
    /// derived them. The kernel takes them when it has opened a packet with the newest
    /// ones that it has.
    pub fn install_rx(&mut self, fd: RawFd, conn: &Conn) {
        let Some(newest) = self.rx else { return };
        let side = conn.remote.lock().unwrap();
        if newest > conn.generation() {
            return;
        }
        if install(conn, &side, newest + 1, fd, uapi::ADD_RX).is_ok() {
            self.rx = Some(newest + 1);
        }
    }

    pub fn forget_tx(&mut self, fd: RawFd, id: u32) {
        if self.tx.take().is_some() {
            let _ = ConnectionInfo::new(id).set(fd, uapi::DEL_TX);
        }
    }

    pub fn forget(&mut self, fd: RawFd, id: u32) {
        self.forget_tx(fd, id);
        if self.rx.take().is_some() {
            let _ = ConnectionInfo::new(id).set(fd, uapi::DEL_RX);
        }
    }
}

/// Remember why the kernel does not seal.
pub fn refused_tx(conn: &Conn, err: &io::Error) {
    conn.shared.refuse("flow for sending", err);
    conn.tx_off.store(!for_now(err), Relaxed);
}
