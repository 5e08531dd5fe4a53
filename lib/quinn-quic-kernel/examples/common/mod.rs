// SPDX-License-Identifier: GPL-2.0
//! As much of HTTP/3 (RFC 9114) as a file needs, and the options of both programs
use quinn::Connection;
use quinn_quic_kernel::Kernel;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use std::fs::File;
use std::io::BufReader;
use std::sync::Arc;

pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

pub const DATA: u64 = 0;
pub const HEADERS: u64 = 1;
/// A control stream, and a SETTINGS frame that changes nothing
pub const CONTROL: [u8; 3] = [0, 4, 0];

/// A frame of less than 2^30 bytes
pub fn frame(kind: u8, data: &[u8]) -> Vec<u8> {
    let mut frame = vec![kind];
    frame.extend((data.len() as u32 | 0x8000_0000).to_be_bytes());
    frame.extend(data);
    frame
}

fn varint(data: &[u8], at: &mut usize) -> Option<u64> {
    let len = 1usize << (data.get(*at)? >> 6);
    let bytes = data.get(*at..*at + len)?;
    *at += len;
    let value = bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte));
    Some(value & ((1u64 << (8 * len - 2)) - 1))
}

/// The frames of a stream that has ended
pub fn frames(data: &[u8]) -> Vec<(u64, &[u8])> {
    let (mut at, mut frames) = (0, Vec::new());
    while let (Some(kind), Some(len)) = (varint(data, &mut at), varint(data, &mut at)) {
        let end = (at + len as usize).min(data.len());
        frames.push((kind, &data[at..end]));
        at = end;
    }
    frames
}

pub fn body(data: &[u8]) -> Vec<u8> {
    let data = frames(data).into_iter().filter(|frame| frame.0 == DATA);
    data.flat_map(|frame| frame.1).copied().collect()
}

/// The value of --NAME
pub fn option(name: &str) -> Option<String> {
    let mut args = std::env::args().skip_while(|arg| arg.strip_prefix("--") != Some(name));
    args.next()?;
    args.next()
}

pub fn millis(name: &str) -> Option<std::time::Duration> {
    Some(std::time::Duration::from_millis(option(name)?.parse().ok()?))
}

/// What counts at the end, and why the kernel did not do it
pub fn finish(kernel: &Kernel) -> Result<()> {
    if let Some(why) = kernel.refused() {
        eprintln!("quinn-quic-kernel: quinn seals and opens: {why}");
    }
    let all = kernel.stats().all().into_iter();
    let text: String = all.map(|(name, value)| format!("{name} {value}\n")).collect();
    match option("stats") {
        Some(file) => Ok(std::fs::write(file, text)?),
        None => Ok(()),
    }
}

/// --kernel no: quinn seals and opens.
pub fn kernel() -> Kernel {
    match option("kernel").as_deref() {
        Some("no") => Kernel::disabled(),
        _ => Kernel::new(8),
    }
}

/// --key-update-ms MS: update the keys so often, as far as the peer allows it.
pub fn update_now_and_then(conn: &Connection) {
    let Some(every) = millis("key-update-ms") else { return };
    let conn = conn.clone();
    tokio::spawn(async move {
        while conn.close_reason().is_none() {
            tokio::time::sleep(every).await;
            quinn_quic_kernel::update_keys(&conn);
        }
    });
}

/// --cipher N: prefer the suite N places further down. quinn needs AES-128-GCM for
/// the handshake, so all of them stay.
pub fn provider() -> Result<Arc<CryptoProvider>> {
    let mut provider = quinn_quic_kernel::provider(rustls::crypto::ring::default_provider());
    let suites = &mut provider.cipher_suites;
    suites.retain(|suite| suite.tls13().is_some());
    if let Some(n) = option("cipher") {
        suites.rotate_left(n.parse()?);
    }
    Ok(Arc::new(provider))
}

pub fn certs(name: &str) -> Result<Vec<CertificateDer<'static>>> {
    let file = option(name).ok_or("no certificate")?;
    let mut file = BufReader::new(File::open(file)?);
    Ok(rustls_pemfile::certs(&mut file).collect::<std::result::Result<_, _>>()?)
}
