// SPDX-License-Identifier: GPL-2.0
//! An HTTP/3 server of one file, which saves what clients upload.
//!
//! server --port PORT --file FILE --cert CERT --key KEY [--upload FILE]
//!     [--retry yes] [--key-update-ms MS] [--cipher N] [--kernel no] [--stats FILE]
//!
//! SSLKEYLOGFILE is written. It ends at SIGINT.
mod common;

use common::{body, certs, finish, frame, option, Result, CONTROL, DATA, HEADERS};
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Endpoint, EndpointConfig, Incoming, RecvStream, SendStream, ServerConfig};
use quinn_quic_kernel::Kernel;
use std::fs::File;
use std::io::BufReader;
use std::net::UdpSocket;
use std::sync::Arc;

fn config(kernel: &Kernel) -> Result<ServerConfig> {
    let mut key = BufReader::new(File::open(option("key").ok_or("no key")?)?);
    let key = rustls_pemfile::private_key(&mut key)?.ok_or("no key in the file")?;
    let mut tls = rustls::ServerConfig::builder_with_provider(common::provider()?)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(certs("cert")?, key)?;
    tls.alpn_protocols = vec![b"h3".to_vec()];
    tls.key_log = Arc::new(rustls::KeyLogFile::new());
    let crypto = kernel.server(Arc::new(QuicServerConfig::try_from(tls)?));
    Ok(ServerConfig::with_crypto(crypto))
}

async fn answer(mut send: SendStream, mut recv: RecvStream, file: Arc<Vec<u8>>) -> Result<()> {
    let request = body(&recv.read_to_end(1 << 30).await?);
    if let (false, Some(name)) = (request.is_empty(), option("upload")) {
        std::fs::write(name, &request)?;
    }
    // ":status: 200" is entry 25 of QPACK's static table.
    send.write_all(&frame(HEADERS as u8, &[0, 0, 0xc0 | 25])).await?;
    let answer = if request.is_empty() { &file[..] } else { b"saved\n" };
    send.write_all(&frame(DATA as u8, answer)).await?;
    send.finish()?;
    Ok(())
}

async fn serve(incoming: Incoming, file: Arc<Vec<u8>>) -> Result<()> {
    if option("retry").is_some() && !incoming.remote_address_validated() {
        return Ok(incoming.retry()?);
    }
    let conn = incoming.await?;
    common::update_now_and_then(&conn);
    let mut control = conn.open_uni().await?;
    control.write_all(&CONTROL).await?;
    loop {
        let (send, recv) = conn.accept_bi().await?;
        tokio::spawn(answer(send, recv, file.clone()));
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let kernel = common::kernel();
    let socket = UdpSocket::bind(("::", option("port").ok_or("no port")?.parse()?))?;
    let config = config(&kernel)?;
    let runtime = kernel.runtime();
    let endpoint = Endpoint::new(EndpointConfig::default(), Some(config), socket, runtime)?;
    let file = Arc::new(std::fs::read(option("file").ok_or("no file")?)?);
    loop {
        tokio::select! {
            incoming = endpoint.accept() => {
                let Some(incoming) = incoming else { break };
                tokio::spawn(serve(incoming, file.clone()));
            }
            _ = tokio::signal::ctrl_c() => break,
        }
    }
    endpoint.close(0u32.into(), b"");
    finish(&kernel)
}
