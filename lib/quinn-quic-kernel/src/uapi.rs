// SPDX-License-Identifier: GPL-2.0
//! `<linux/quic.h>` and `<linux/udp.h>`, as far as they are used here.
use libc::{c_int, c_void, socklen_t};
use std::io;
use std::mem;
use std::os::fd::RawFd;
use zeroize::Zeroize;

pub const SOL_UDP: c_int = libc::IPPROTO_UDP;
pub const UDP_SEGMENT: c_int = 103;
pub const UDP_GRO: c_int = 104;
pub const UDP_ULP: c_int = 105;
pub const ADD_TX: c_int = 106;
pub const DEL_TX: c_int = 107;
pub const UDP_QUIC_ENCRYPT: c_int = 108;
pub const ADD_RX: c_int = 109;
pub const DEL_RX: c_int = 110;
pub const UDP_QUIC_DECRYPT: c_int = 111;

pub const CONN_GENERATION: u8 = 0x01;
pub const CONN_ALIAS: u8 = 0x04;
pub const TX_TAG_ROOM: u8 = 0x02;
pub const TX_FLOW_ID: u8 = 0x04;

pub const RX_OPENED: u8 = 0;
pub const RX_KEY_PHASE: u8 = 1;
pub const RX_AUTH_FAILED: u8 = 2;
pub const RX_KEY_LIMIT: u8 = 6;

/// `struct quic_connection_info`, with its key
#[repr(C)]
pub struct ConnectionInfo {
    pub conn_id: [u8; 20],
    pub conn_id_length: u8,
    pub flags: u8,
    pub reserved: u16,
    pub flow_id: u32,
    pub path_id: u32,
    pub peer: libc::sockaddr_storage,
    pub cipher_type: u16,
    pub generation: u8,
    pub iv: [u8; 12],
    pub key: [u8; 32],
    pub header_key: [u8; 32],
    pub pad: u8,
    pub next_pkt_num: u64,
}

impl ConnectionInfo {
    pub fn new(flow_id: u32) -> Self {
        // SAFETY: all of it are numbers
        let mut info: Self = unsafe { mem::zeroed() };
        info.flow_id = flow_id;
        info
    }

    /// The ID is right-aligned.
    pub fn conn_id(mut self, id: &[u8]) -> Self {
        self.conn_id[20 - id.len()..].copy_from_slice(id);
        self.conn_id_length = id.len() as u8;
        self
    }

    /// The keys in it are wiped.
    pub fn set(&mut self, fd: RawFd, option: c_int) -> io::Result<()> {
        let done = set_option(fd, SOL_UDP, option, self);
        self.key.zeroize();
        self.header_key.zeroize();
        done
    }
}

/// `struct quic_tx_ancillary_data`
#[repr(C)]
#[derive(Clone, Copy)]
pub struct TxData {
    pub next_pkt_num: u64,
    pub flags: u8,
    pub conn_id_length: u8,
    pub pad: u16,
    pub flow_id: u32,
}

/// `struct quic_rx_packet`
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct RxPacket {
    pub pkt_num: u64,
    pub flow_id: u32,
    pub status: u8,
    pub key_gen: u8,
    pub pkt_num_length: u8,
    pub conn_id_length: u8,
}

pub fn writable(fd: RawFd) -> bool {
    let mut poll = libc::pollfd { fd, events: libc::POLLOUT, revents: 0 };
    // SAFETY: it is one struct
    unsafe { libc::poll(&mut poll, 1, 0) == 1 && poll.revents & libc::POLLOUT != 0 }
}

pub fn set_option<T: ?Sized>(fd: RawFd, level: c_int, name: c_int, val: &T) -> io::Result<()> {
    let len = mem::size_of_val(val) as socklen_t;
    // SAFETY: the kernel reads so many bytes
    let ret = unsafe { libc::setsockopt(fd, level, name, val as *const T as *const c_void, len) };
    match ret {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
