// SPDX-License-Identifier: GPL-2.0
//! Unit tests, which run on any kernel. With test/fake_kernel.so preloaded, or on a
//! kernel that has quic-crypto, that seals and opens.
use crate::conn::{Notes, Shared, MAX_NOTES, TAG};
use crate::{provider, update_keys, Kernel, KernelSocket};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::udp::Transmit;
use quinn::{ClientConfig, Connection, Endpoint, EndpointConfig, ServerConfig, TokioRuntime};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::TLS13;
use rustls::RootCertStore;
use std::net::UdpSocket;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

const SIZE: usize = 300_000;

type Identity = (Vec<u8>, Vec<u8>);

fn openssl(args: &[&str]) -> Vec<u8> {
    let done = Command::new("openssl").args(args).output().expect("openssl runs");
    assert!(done.status.success(), "{done:?}");
    done.stdout
}

/// A certificate and its key
fn identity() -> &'static Identity {
    static IDENTITY: OnceLock<Identity> = OnceLock::new();
    IDENTITY.get_or_init(|| {
        let file = std::env::temp_dir().join(format!("quinn-quic-kernel.{}", std::process::id()));
        let key = file.to_str().unwrap();
        let new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
        let what = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"];
        let not_ca = ["-addext", "basicConstraints=critical,CA:FALSE"];
        let x509 = ["req", "-x509", "-outform", "DER", "-keyout", key];
        let cert = openssl(&[&x509[..], &new, &what, &not_ca].concat());
        let key_der = openssl(&["pkcs8", "-topk8", "-nocrypt", "-outform", "DER", "-in", key]);
        std::fs::remove_file(file).unwrap();
        (cert, key_der)
    })
}

fn server_config(kernel: &Kernel) -> ServerConfig {
    let (cert, key) = identity();
    let key = PrivateKeyDer::try_from(key.clone()).unwrap();
    let crypto = Arc::new(provider(rustls::crypto::ring::default_provider()));
    let tls = rustls::ServerConfig::builder_with_provider(crypto)
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![CertificateDer::from(cert.clone())], key)
        .unwrap();
    ServerConfig::with_crypto(kernel.server(Arc::new(QuicServerConfig::try_from(tls).unwrap())))
}

fn client_config(kernel: &Kernel) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(identity().0.clone())).unwrap();
    let crypto = Arc::new(provider(rustls::crypto::ring::default_provider()));
    let tls = rustls::ClientConfig::builder_with_provider(crypto)
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    ClientConfig::new(kernel.client(Arc::new(QuicClientConfig::try_from(tls).unwrap())))
}

fn bind() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").unwrap()
}

/// A server that sends back what it gets, and a connection to it from an endpoint
async fn connect(server: &Kernel, client: &Kernel, mut from: Endpoint) -> Connection {
    let config = server_config(server);
    let none = EndpointConfig::default();
    let to = Endpoint::new(none, Some(config), bind(), server.runtime()).unwrap();
    let address = to.local_addr().unwrap();
    tokio::spawn(async move {
        let conn = to.accept().await.unwrap().await.unwrap();
        while let Ok((mut send, mut recv)) = conn.accept_bi().await {
            send.write_all(&recv.read_to_end(SIZE).await.unwrap()).await.unwrap();
            send.finish().unwrap();
        }
    });
    from.set_default_client_config(client_config(client));
    from.connect(address, "localhost").unwrap().await.unwrap()
}

fn endpoint(kernel: &Kernel) -> Endpoint {
    Endpoint::new(EndpointConfig::default(), None, bind(), kernel.runtime()).unwrap()
}

async fn echo(conn: &Connection) {
    let data: Vec<u8> = (0..SIZE).map(|i| (i / 7) as u8).collect();
    let all = async {
        let (mut send, mut recv) = conn.open_bi().await.unwrap();
        send.write_all(&data).await.unwrap();
        send.finish().unwrap();
        recv.read_to_end(SIZE).await.unwrap()
    };
    let back = tokio::time::timeout(Duration::from_secs(20), all).await;
    assert!(back.expect("an answer") == data);
}

fn count(counter: &AtomicU64) -> u64 {
    counter.load(Relaxed)
}

#[test]
fn oldest_notes_are_forgotten() {
    let mut notes = Notes::default();
    for i in 1..=MAX_NOTES + 1 {
        assert_eq!(notes.push(i), i);
    }
    assert_eq!(notes.get(1), None);
    assert_eq!(notes.take(2), Some(2));
    assert_eq!(notes.take(2), None);
    assert_eq!(notes.len() as u64, MAX_NOTES - 1);
}

#[test]
fn marks_are_of_one_kernel() {
    let (ours, other) = (Shared::new(8, true), Shared::new(8, true));
    let mut packet = [7; 40];
    assert_eq!(ours.marked(&packet), None);
    ours.mark(9, &mut packet);
    assert_eq!(ours.marked(&packet), Some(9));
    assert_eq!(other.marked(&packet), None);
    assert_eq!(packet[..40 - TAG], [7; 40 - TAG]);
    assert_eq!(ours.marked(&packet[..TAG - 1]), None);
}

#[tokio::test]
async fn files_go_both_ways() {
    let (server, client) = (Kernel::new(8), Kernel::new(8));
    let conn = connect(&server, &client, endpoint(&client)).await;
    echo(&conn).await;
    for kernel in [&server, &client] {
        let stats = kernel.stats();
        let by_kernel = count(&stats.kernel_packets) > 0 && count(&stats.rx_kernel_packets) > 0;
        assert_ne!(by_kernel, kernel.refused().is_some());
        assert_eq!(count(&stats.fallback_packets), 0);
        assert_eq!(count(&stats.dropped_packets), 0);
    }
}

#[tokio::test]
async fn disabled_leaves_all_to_quinn() {
    let (server, client) = (Kernel::disabled(), Kernel::disabled());
    let conn = connect(&server, &client, endpoint(&client)).await;
    echo(&conn).await;
    assert_eq!(client.stats().all().iter().map(|stat| stat.1).sum::<u64>(), 0);
    assert_eq!(client.refused(), None);
}

/// A socket that knows nothing of marks would send plaintext.
#[tokio::test]
async fn another_socket_gets_sealed_packets_only() {
    let (server, client) = (Kernel::new(8), Kernel::new(8));
    client.0.kernel.store(true, Relaxed);
    let none = EndpointConfig::default();
    let stock = Endpoint::new(none, None, bind(), Arc::new(TokioRuntime)).unwrap();
    let conn = connect(&server, &client, stock).await;
    echo(&conn).await;
    assert_eq!(client.0.unsealed.lock().unwrap().len(), 0);
    assert!(count(&client.stats().library_packets) > 100);
}

/// The socket says that it has the ULP, but the kernel takes no flow, if it has no ULP.
#[tokio::test]
async fn refused_packets_are_sealed_here() {
    let (server, client) = (Kernel::new(8), Kernel::new(8));
    let socket = Arc::new(KernelSocket::with(bind(), &client.0, true).unwrap());
    let (none, runtime) = (EndpointConfig::default(), client.runtime());
    let from = Endpoint::new_with_abstract_socket(none, None, socket, runtime).unwrap();
    let conn = connect(&server, &client, from).await;
    echo(&conn).await;
    let stats = client.stats();
    assert_ne!(count(&stats.kernel_packets) > 0, count(&stats.fallback_packets) > 0);
    assert_eq!(count(&stats.dropped_packets), 0);
}

#[tokio::test]
async fn unknown_marks_are_not_sent() {
    let kernel = Kernel::new(8);
    let socket = KernelSocket::with(bind(), &kernel.0, true).unwrap();
    let to = bind();
    to.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let mut transmit = Transmit {
        destination: to.local_addr().unwrap(),
        ecn: None,
        contents: &[0x40; 50],
        segment_size: None,
        src_ip: None,
    };
    let mut got = [0; 100];
    socket.0.send(&transmit).unwrap();
    assert_eq!(to.recv(&mut got).unwrap(), 50);
    let mut packet = [0x40; 50];
    kernel.0.mark(1, &mut packet);
    transmit.contents = &packet;
    socket.0.send(&transmit).unwrap();
    assert!(to.recv(&mut got).is_err());
    assert_eq!(count(&kernel.stats().dropped_packets), 1);
}

/// RFC 9001 section 6.1: not before the peer has acknowledged the last update
#[tokio::test]
async fn key_updates_wait_for_the_peer() {
    let (server, client) = (Kernel::new(8), Kernel::new(8));
    let conn = connect(&server, &client, endpoint(&client)).await;
    assert!(!update_keys(&conn));
    let mut updates = 0;
    for _ in 0..4 {
        echo(&conn).await;
        tokio::time::sleep(Duration::from_millis(400)).await;
        updates += (0..50).filter(|_| update_keys(&conn)).count();
    }
    echo(&conn).await;
    assert_eq!(updates, 4);
    let stats = client.stats();
    assert_eq!(count(&stats.rx_failed_packets) + count(&stats.rx_refused_packets), 0);
}

#[tokio::test]
async fn nothing_is_left_of_a_connection() {
    let kernel = Kernel::new(8);
    let from = endpoint(&kernel);
    let conn = connect(&kernel, &kernel, from.clone()).await;
    echo(&conn).await;
    conn.close(0u32.into(), b"");
    drop(conn);
    from.wait_idle().await;
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        if kernel.0.flows() == 0 {
            break;
        }
    }
    assert_eq!(kernel.0.flows(), 0);
    assert_eq!(kernel.0.unsealed.lock().unwrap().len(), 0);
}
