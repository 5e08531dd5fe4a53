// SPDX-License-Identifier: GPL-2.0
//! A crypto provider that shows the keys that it makes for QUIC. rustls hands out
//! no secrets otherwise, but passes keys to the algorithm of the cipher suite.
use rustls::crypto::cipher::{AeadKey, Iv};
use rustls::crypto::CryptoProvider;
use rustls::quic::{Algorithm, HeaderProtectionKey, PacketKey};
use rustls::{CipherSuite, CipherSuiteCommon, SupportedCipherSuite, Tls13CipherSuite};
use std::cell::RefCell;

/// What was made: a header-protection key, or a packet key and its IV
pub enum Raw {
    Header(CipherSuite, Vec<u8>),
    Packet(Vec<u8>, Vec<u8>),
}

thread_local!(static SEEN: RefCell<Option<Vec<Raw>>> = const { RefCell::new(None) });

/// Call make(), and return what keys it has made.
pub fn capture<T>(make: impl FnOnce() -> T) -> (T, Vec<Raw>) {
    SEEN.set(Some(Vec::new()));
    let made = make();
    (made, SEEN.take().unwrap_or_default())
}

fn note(raw: impl FnOnce() -> Raw) {
    SEEN.with_borrow_mut(|seen| {
        if let Some(seen) = seen {
            seen.push(raw());
        }
    });
}

struct Wrapped(CipherSuite, &'static dyn Algorithm);

impl Algorithm for Wrapped {
    fn packet_key(&self, key: AeadKey, iv: Iv) -> Box<dyn PacketKey> {
        note(|| Raw::Packet(key.as_ref().to_vec(), iv.as_ref().to_vec()));
        self.1.packet_key(key, iv)
    }

    fn header_protection_key(&self, key: AeadKey) -> Box<dyn HeaderProtectionKey> {
        note(|| Raw::Header(self.0, key.as_ref().to_vec()));
        self.1.header_protection_key(key)
    }

    fn aead_key_len(&self) -> usize {
        self.1.aead_key_len()
    }
}

/// The provider for configurations that are given to `Kernel::client()` and
/// `Kernel::server()`. Call it once: cipher suites are `&'static`.
pub fn provider(mut provider: CryptoProvider) -> CryptoProvider {
    for suite in &mut provider.cipher_suites {
        let Some(inner) = suite.tls13() else { continue };
        let Some(quic) = inner.quic else { continue };
        let id = inner.common.suite;
        let quic: &'static Wrapped = Box::leak(Box::new(Wrapped(id, quic)));
        *suite = SupportedCipherSuite::Tls13(Box::leak(Box::new(Tls13CipherSuite {
            common: CipherSuiteCommon {
                suite: id,
                hash_provider: inner.common.hash_provider,
                confidentiality_limit: inner.common.confidentiality_limit,
            },
            hkdf_provider: inner.hkdf_provider,
            aead_alg: inner.aead_alg,
            quic: Some(quic),
        })));
    }
    provider
}
