// SPDX-License-Identifier: GPL-2.0
//! Download or upload a file over HTTP/3.
//!
//! client --to ADDRESS:PORT --path PATH --out FILE --ca CERT [--upload FILE]
//!     [--connections N] [--key-update-ms MS] [--rebind-ms MS] [--cipher N]
//!     [--kernel no] [--stats FILE]
//!
//! Of several connections, connection I writes FILE.I. SSLKEYLOGFILE is written.
mod common;

use common::{body, certs, finish, frame, millis, option, Result, CONTROL, DATA, HEADERS};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Endpoint, EndpointConfig};
use quinn_quic_kernel::Kernel;
use rustls::RootCertStore;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

fn config(kernel: &Kernel) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for cert in certs("ca")? {
        roots.add(cert)?;
    }
    let mut tls = rustls::ClientConfig::builder_with_provider(common::provider()?)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h3".to_vec()];
    tls.key_log = Arc::new(rustls::KeyLogFile::new());
    Ok(ClientConfig::new(kernel.client(Arc::new(QuicClientConfig::try_from(tls)?))))
}

/// Entries of QPACK's static table, and literals with names of it
fn headers(method: u8, path: &str) -> Vec<u8> {
    let mut headers = vec![0, 0, 0xc0 | method, 0xc0 | 23];
    for (name, value) in [(0x50, "localhost"), (0x51, path)] {
        headers.push(name);
        headers.push(value.len() as u8);
        headers.extend(value.bytes());
    }
    headers
}

async fn transfer(endpoint: Endpoint, to: SocketAddr, out: String) -> Result<()> {
    let conn = endpoint.connect(to, "localhost")?.await?;
    common::update_now_and_then(&conn);
    let mut control = conn.open_uni().await?;
    control.write_all(&CONTROL).await?;
    let (mut send, mut recv) = conn.open_bi().await?;
    let path = option("path").unwrap_or("/".into());
    match option("upload") {
        None => send.write_all(&frame(HEADERS as u8, &headers(17, &path))).await?,
        Some(file) => {
            send.write_all(&frame(HEADERS as u8, &headers(20, &path))).await?;
            send.write_all(&frame(DATA as u8, &std::fs::read(file)?)).await?;
        }
    }
    send.finish()?;
    let answer = body(&recv.read_to_end(1 << 30).await?);
    conn.close(0x100u32.into(), b"");
    Ok(std::fs::write(out, answer)?)
}

fn bind() -> Result<UdpSocket> {
    Ok(UdpSocket::bind("[::]:0")?)
}

async fn transfers(endpoint: &Endpoint) -> Result<()> {
    let to: SocketAddr = option("to").ok_or("no address")?.parse()?;
    let out = option("out").ok_or("no file to write")?;
    let n: usize = option("connections").unwrap_or("1".into()).parse()?;
    let out = |i| if n > 1 { format!("{out}.{i}") } else { out.clone() };
    let start = |i| tokio::spawn(transfer(endpoint.clone(), to, out(i)));
    let all: Vec<_> = (1..=n).map(start).collect();
    for transfer in all {
        transfer.await??;
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<()> {
    let kernel = common::kernel();
    let mut endpoint = Endpoint::new(EndpointConfig::default(), None, bind()?, kernel.runtime())?;
    endpoint.set_default_client_config(config(&kernel)?);
    if let Some(after) = millis("rebind-ms") {
        let endpoint = endpoint.clone();
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            endpoint.rebind(bind()?)?;
            Result::Ok(())
        });
    }
    let done = transfers(&endpoint).await;
    endpoint.wait_idle().await;
    finish(&kernel)?;
    done
}
