// SPDX-License-Identifier: GPL-2.0
//! sendmsg() and recvmsg() with control messages.
use crate::uapi::{self, RxPacket};
use libc::{c_int, c_void};
use quinn::udp::{EcnCodepoint, RecvMeta, Transmit};
use socket2::SockAddr;
use std::cell::UnsafeCell;
use std::io;
use std::mem;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::RawFd;
use std::ptr;

/// 128 elements of UDP_QUIC_DECRYPT, and what UDP and IP have to say
const CONTROL: usize = 4096;

#[repr(C, align(16))]
pub struct Control {
    data: [u8; CONTROL],
    len: usize,
}

impl Control {
    pub fn new() -> Self {
        Self { data: [0; CONTROL], len: 0 }
    }

    pub fn push<T: Copy>(&mut self, level: c_int, kind: c_int, val: &T) {
        let size = mem::size_of::<T>() as u32;
        // SAFETY: there is room for some hundred of them, aligned as cmsghdr is
        unsafe {
            let cmsg = self.data.as_mut_ptr().add(self.len) as *mut libc::cmsghdr;
            (*cmsg).cmsg_level = level;
            (*cmsg).cmsg_type = kind;
            (*cmsg).cmsg_len = libc::CMSG_LEN(size) as usize;
            ptr::copy_nonoverlapping(
                val as *const T as *const u8,
                libc::CMSG_DATA(cmsg),
                mem::size_of::<T>(),
            );
            self.len += libc::CMSG_SPACE(size) as usize;
        }
    }

    /// ECN and source address
    pub fn push_path(&mut self, transmit: &Transmit, ipv6: bool) {
        let v4 = is_v4(transmit.destination.ip());
        let ecn = transmit.ecn.map_or(0, |ecn| ecn as c_int);
        if v4 {
            self.push(libc::IPPROTO_IP, libc::IP_TOS, &ecn);
        } else {
            self.push(libc::IPPROTO_IPV6, libc::IPV6_TCLASS, &ecn);
        }
        match transmit.src_ip {
            Some(IpAddr::V4(ip)) if !ipv6 => {
                // SAFETY: all of it are numbers
                let mut info: libc::in_pktinfo = unsafe { mem::zeroed() };
                info.ipi_spec_dst.s_addr = u32::from_ne_bytes(ip.octets());
                self.push(libc::IPPROTO_IP, libc::IP_PKTINFO, &info);
            }
            Some(ip) => {
                // SAFETY: all of it are numbers
                let mut info: libc::in6_pktinfo = unsafe { mem::zeroed() };
                info.ipi6_addr.s6_addr = to_v6(ip).octets();
                self.push(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info);
            }
            None => {}
        }
    }
}

fn is_v4(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(_) => true,
        IpAddr::V6(ip) => ip.to_ipv4_mapped().is_some(),
    }
}

fn to_v6(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

/// What an IPv6 socket has to be told of an IPv4 address
fn name(addr: SocketAddr, ipv6: bool) -> SockAddr {
    match addr {
        SocketAddr::V4(_) if ipv6 => (to_v6(addr.ip()), addr.port()).into(),
        addr => addr,
    }
    .into()
}

/// Repeat a call that was interrupted.
fn repeated(call: impl Fn() -> isize) -> io::Result<usize> {
    loop {
        match call() {
            -1 => match io::Error::last_os_error() {
                err if err.kind() == io::ErrorKind::Interrupted => {}
                err => return Err(err),
            },
            len => return Ok(len as usize),
        }
    }
}

pub fn send(
    fd: RawFd,
    to: SocketAddr,
    ipv6: bool,
    data: &[u8],
    control: &mut Control,
) -> io::Result<()> {
    let name = name(to, ipv6);
    let mut iov = libc::iovec { iov_base: data.as_ptr() as *mut c_void, iov_len: data.len() };
    // SAFETY: all of it are numbers and pointers
    let mut msg: libc::msghdr = unsafe { mem::zeroed() };
    msg.msg_name = name.as_ptr() as *mut c_void;
    msg.msg_namelen = name.len();
    msg.msg_iov = &mut iov;
    msg.msg_iovlen = 1;
    msg.msg_control = control.data.as_mut_ptr() as *mut c_void;
    msg.msg_controllen = control.len;
    // SAFETY: what msg points to lives longer
    repeated(|| unsafe { libc::sendmsg(fd, &msg, 0) }).map(|_| ())
}

/// What a call of recvmsg() says of the data
pub struct Received {
    pub meta: RecvMeta,
    pub packets: Vec<RxPacket>,
}

pub fn recv(fd: RawFd, buf: &mut [u8]) -> io::Result<Received> {
    let mut control = Control::new();
    let mut iov = libc::iovec { iov_base: buf.as_mut_ptr() as *mut c_void, iov_len: buf.len() };
    // SAFETY: all of it are numbers and pointers
    let mut msg: libc::msghdr = unsafe { mem::zeroed() };
    msg.msg_iov = &mut iov;
    msg.msg_iovlen = 1;
    msg.msg_control = control.data.as_mut_ptr() as *mut c_void;
    msg.msg_controllen = CONTROL;
    let msg = UnsafeCell::new(msg);
    // SAFETY: what msg points to lives longer
    let (len, name) = unsafe {
        SockAddr::try_init(|name, name_len| {
            (*msg.get()).msg_name = name as *mut c_void;
            (*msg.get()).msg_namelen = *name_len;
            let len = repeated(|| libc::recvmsg(fd, msg.get(), 0))?;
            *name_len = (*msg.get()).msg_namelen;
            Ok(len)
        })
    }?;
    let addr = name.as_socket().ok_or(io::ErrorKind::InvalidData)?;
    let mut received = Received {
        meta: RecvMeta { addr, len, stride: len, ecn: None, dst_ip: None },
        packets: Vec::new(),
    };
    let msg = msg.into_inner();
    // SAFETY: the kernel has filled it in
    unsafe {
        let mut cmsg = libc::CMSG_FIRSTHDR(&msg);
        while !cmsg.is_null() {
            received.take(&*cmsg);
            cmsg = libc::CMSG_NXTHDR(&msg, cmsg);
        }
    }
    Ok(received)
}

impl Received {
    /// # Safety
    ///
    /// As for `CMSG_DATA()`
    unsafe fn take(&mut self, cmsg: &libc::cmsghdr) {
        let data = libc::CMSG_DATA(cmsg);
        let len = cmsg.cmsg_len - libc::CMSG_LEN(0) as usize;
        match (cmsg.cmsg_level, cmsg.cmsg_type) {
            (uapi::SOL_UDP, uapi::UDP_GRO) => {
                self.meta.stride = ptr::read_unaligned(data as *const c_int) as usize;
            }
            (uapi::SOL_UDP, uapi::UDP_QUIC_DECRYPT) => {
                let n = len / mem::size_of::<RxPacket>();
                let elements = data as *const RxPacket;
                self.packets = (0..n).map(|i| ptr::read_unaligned(elements.add(i))).collect();
            }
            (libc::IPPROTO_IP, libc::IP_TOS) => self.meta.ecn = EcnCodepoint::from_bits(*data),
            (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => {
                let class = ptr::read_unaligned(data as *const c_int);
                self.meta.ecn = EcnCodepoint::from_bits(class as u8);
            }
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                let info = ptr::read_unaligned(data as *const libc::in_pktinfo);
                self.meta.dst_ip = Some(Ipv4Addr::from(info.ipi_addr.s_addr.to_ne_bytes()).into());
            }
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                let info = ptr::read_unaligned(data as *const libc::in6_pktinfo);
                self.meta.dst_ip = Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).into());
            }
            _ => {}
        }
    }
}
