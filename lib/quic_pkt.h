/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Packet protection of QUIC short header packets (RFC 9001 section 5) with
 * libcrypto: for the wire checker and the tests, which must not share code
 * with what they check. Ciphers are TLS_CIPHER_* as in <linux/quic.h>.
 */
#ifndef QUIC_PKT_H
#define QUIC_PKT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define QUIC_PKT_TAG	16
#define QUIC_PKT_IV	12
#define QUIC_PKT_KEY	32	/* upper limit, see quic_pkt_key_len() */
#define QUIC_PKT_MASK	16	/* the first 5 bytes are the mask */
#define QUIC_PKT_HDR	(1 + 20 + 4)	/* upper limit of a header */

/**
 * struct quic_pkt_keys - what protects packets of one key generation
 * @cipher: TLS_CIPHER_*
 * @key: packet key
 * @iv: IV that packet numbers are XORed into
 * @hp: header-protection key
 */
struct quic_pkt_keys {
	uint16_t cipher;
	uint8_t key[QUIC_PKT_KEY];
	uint8_t iv[QUIC_PKT_IV];
	uint8_t hp[QUIC_PKT_KEY];
};

size_t quic_pkt_key_len(uint16_t cipher);
uint64_t quic_pkt_number(uint64_t expected, const uint8_t *pn, size_t pn_len);
void quic_pkt_nonce(uint8_t *nonce, const uint8_t *iv, uint64_t number);
void quic_pkt_apply_mask(uint8_t *hdr, size_t cid_len, size_t pn_len,
			 const uint8_t *mask);
bool quic_pkt_seal(const struct quic_pkt_keys *keys, size_t cid_len,
		   uint64_t number, uint8_t *pkt, size_t len);
size_t quic_pkt_open_header(const struct quic_pkt_keys *keys, size_t cid_len,
			    const uint8_t *pkt, size_t len, uint8_t *hdr);
bool quic_pkt_open_payload(const struct quic_pkt_keys *keys, uint64_t number,
			   const uint8_t *hdr, size_t hdr_len,
			   const uint8_t *pkt, size_t len, uint8_t *plain);

#endif /* QUIC_PKT_H */
