// SPDX-License-Identifier: GPL-2.0
//! quinn with 1-RTT packets that the Linux kernel seals and opens: see README.md.
mod capture;
mod cmsg;
mod conn;
mod flow;
mod session;
mod socket;
#[cfg(test)]
mod tests;
mod uapi;

pub use capture::provider;
pub use conn::Stats;
pub use socket::KernelSocket;

use quinn::crypto::{ClientConfig, ServerConfig};
use quinn::{AsyncTimer, AsyncUdpSocket, Connection, Runtime, TokioRuntime};
use std::fmt;
use std::future::Future;
use std::io;
use std::net::UdpSocket;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Joins the sessions and the sockets of a program.
#[derive(Clone)]
pub struct Kernel(Arc<conn::Shared>);

impl Kernel {
    /// `cid_len`: what `ConnectionIdGenerator::cid_len()` of the endpoints returns,
    /// which is 8 by default
    pub fn new(cid_len: usize) -> Self {
        Self(conn::Shared::new(cid_len, true))
    }

    /// quinn seals and opens everything.
    pub fn disabled() -> Self {
        Self(conn::Shared::new(0, false))
    }

    /// `inner` is made from a rustls configuration that has `provider()`.
    pub fn client(&self, inner: Arc<dyn ClientConfig>) -> Arc<dyn ClientConfig> {
        Arc::new(session::Client(self.0.clone(), inner))
    }

    /// `inner` is made from a rustls configuration that has `provider()`.
    pub fn server(&self, inner: Arc<dyn ServerConfig>) -> Arc<dyn ServerConfig> {
        Arc::new(session::Server(self.0.clone(), inner))
    }

    /// For `Endpoint::new()`: a runtime whose sockets are `socket()`
    pub fn runtime(&self) -> Arc<dyn Runtime> {
        Arc::new(KernelRuntime(self.clone()))
    }

    /// For `Endpoint::new_with_abstract_socket()` and `Endpoint::rebind_abstract()`
    pub fn socket(&self, socket: UdpSocket) -> io::Result<KernelSocket> {
        KernelSocket::new(socket, &self.0)
    }

    /// What the kernel has refused last, if anything
    pub fn refused(&self) -> Option<String> {
        self.0.refused.lock().unwrap().clone()
    }

    pub fn stats(&self) -> &Stats {
        &self.0.stats
    }
}

struct KernelRuntime(Kernel);

impl fmt::Debug for KernelRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KernelRuntime")
    }
}

impl Runtime for KernelRuntime {
    fn new_timer(&self, at: Instant) -> Pin<Box<dyn AsyncTimer>> {
        TokioRuntime.new_timer(at)
    }

    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) {
        TokioRuntime.spawn(future)
    }

    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        Ok(Arc::new(self.0.socket(socket)?))
    }

    fn now(&self) -> Instant {
        TokioRuntime.now()
    }
}

/// Update the keys of a connection, if RFC 9001 section 6.1 allows it now: the peer
/// uses the keys of the last update, and has for three PTO. quinn's
/// `force_key_update()` does it at any time: if the peer has not seen the update
/// before, it cannot read the connection any more.
pub fn update_keys(conn: &Connection) -> bool {
    // RFC 9002 6.2.1, with the default max_ack_delay and a cautious variance
    let wait = 3 * (3 * conn.rtt() + Duration::from_millis(25));
    let mut answer = [0; session::YES.len()];
    let context = (wait.as_micros() as u64).to_be_bytes();
    let asked = conn.export_keying_material(&mut answer, session::MAY_UPDATE, &context);
    let may = asked.is_ok() && answer == *session::YES && conn.close_reason().is_none();
    if may {
        conn.force_key_update();
    }
    may
}
