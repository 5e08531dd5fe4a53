// SPDX-License-Identifier: GPL-2.0
/* See quic_pkt.h. */
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "quic_pkt.h"
#include "quic_uapi.h"

/* How far the sample is from the start of the packet number: RFC 9001 5.4.2 */
#define SAMPLE_OFFSET	4
#define SAMPLE_LEN	16

/* Contexts are kept from packet to packet: allocating one is expensive. */
static __thread EVP_CIPHER_CTX *aead_ctx, *mask_ctx;

static EVP_CIPHER_CTX *context(EVP_CIPHER_CTX **ctx)
{
	if (!*ctx)
		*ctx = EVP_CIPHER_CTX_new();
	if (!*ctx)
		abort();
	return *ctx;
}

static const EVP_CIPHER *aead_cipher(uint16_t cipher)
{
	switch (cipher) {
	case TLS_CIPHER_AES_GCM_128:
		return EVP_aes_128_gcm();
	case TLS_CIPHER_AES_GCM_256:
		return EVP_aes_256_gcm();
	case TLS_CIPHER_AES_CCM_128:
		return EVP_aes_128_ccm();
	case TLS_CIPHER_CHACHA20_POLY1305:
		return EVP_chacha20_poly1305();
	}
	return NULL;
}

/**
 * quic_pkt_key_len - bytes of the packet and header-protection keys
 * @cipher: TLS_CIPHER_*
 *
 * Return: the length, 0 if the cipher is unknown
 */
size_t quic_pkt_key_len(uint16_t cipher)
{
	const EVP_CIPHER *aead = aead_cipher(cipher);

	return aead ? EVP_CIPHER_key_length(aead) : 0;
}

/**
 * quic_pkt_number - complete a truncated packet number, RFC 9000 A.3
 * @expected: the highest number seen so far, plus 1
 * @pn: truncated number
 * @pn_len: bytes of @pn
 *
 * Return: the number
 */
uint64_t quic_pkt_number(uint64_t expected, const uint8_t *pn, size_t pn_len)
{
	uint64_t win = 1ULL << (8 * pn_len), truncated = 0, candidate;
	size_t i;

	for (i = 0; i < pn_len; i++)
		truncated = truncated << 8 | pn[i];
	candidate = (expected & ~(win - 1)) | truncated;
	if (candidate + win / 2 <= expected && candidate < (1ULL << 62) - win)
		return candidate + win;
	if (candidate > expected + win / 2 && candidate >= win)
		return candidate - win;
	return candidate;
}

/**
 * quic_pkt_nonce - make the nonce of a packet, RFC 9001 5.3
 * @nonce: result, QUIC_PKT_IV bytes
 * @iv: the key generation's IV
 * @number: packet number
 */
void quic_pkt_nonce(uint8_t *nonce, const uint8_t *iv, uint64_t number)
{
	int i;

	memcpy(nonce, iv, QUIC_PKT_IV);
	for (i = 0; i < 8; i++)
		nonce[QUIC_PKT_IV - 1 - i] ^= number >> (8 * i);
}

/**
 * quic_pkt_apply_mask - hide or show a short header, RFC 9001 5.4.1
 * @hdr: header
 * @cid_len: bytes of its connection ID
 * @pn_len: bytes of its packet number
 * @mask: header-protection mask
 */
void quic_pkt_apply_mask(uint8_t *hdr, size_t cid_len, size_t pn_len,
			 const uint8_t *mask)
{
	size_t i;

	hdr[0] ^= mask[0] & 0x1f;
	for (i = 0; i < pn_len; i++)
		hdr[1 + cid_len + i] ^= mask[1 + i];
}

/* RFC 9001 5.4.3 and 5.4.4; writes QUIC_PKT_MASK bytes. */
static bool make_mask(const struct quic_pkt_keys *keys, const uint8_t *sample,
		      uint8_t *mask)
{
	static const uint8_t zero[SAMPLE_LEN];
	EVP_CIPHER_CTX *ctx = context(&mask_ctx);
	int n;

	/* OpenSSL's IV of ChaCha20 is the counter, then the nonce. */
	if (keys->cipher == TLS_CIPHER_CHACHA20_POLY1305)
		return EVP_EncryptInit_ex(ctx, EVP_chacha20(), NULL, keys->hp,
					  sample) == 1 &&
		       EVP_EncryptUpdate(ctx, mask, &n, zero,
					 QUIC_PKT_MASK) == 1;
	return EVP_EncryptInit_ex(ctx, quic_pkt_key_len(keys->cipher) == 16 ?
				  EVP_aes_128_ecb() : EVP_aes_256_ecb(), NULL,
				  keys->hp, NULL) == 1 &&
	       EVP_EncryptUpdate(ctx, mask, &n, sample, QUIC_PKT_MASK) == 1;
}

/*
 * One AEAD operation: RFC 9001 5.3. @tag is written or compared. OpenSSL wants
 * to know the length first for CCM, which has no final step in decryption.
 */
static bool aead_crypt(const struct quic_pkt_keys *keys, bool seal,
		       uint64_t number, const uint8_t *hdr, size_t hdr_len,
		       const uint8_t *in, size_t len, uint8_t *out,
		       uint8_t *tag)
{
	bool ccm = keys->cipher == TLS_CIPHER_AES_CCM_128;
	const EVP_CIPHER *aead = aead_cipher(keys->cipher);
	uint8_t nonce[QUIC_PKT_IV], rest[QUIC_PKT_TAG];
	EVP_CIPHER_CTX *ctx = context(&aead_ctx);
	int n;

	EVP_CIPHER_CTX_reset(ctx);
	quic_pkt_nonce(nonce, keys->iv, number);
	if (!aead ||
	    EVP_CipherInit_ex(ctx, aead, NULL, NULL, NULL, seal) != 1 ||
	    EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_IVLEN, QUIC_PKT_IV,
				NULL) != 1)
		return false;
	if ((!seal || ccm) &&
	    EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, QUIC_PKT_TAG,
				seal ? NULL : tag) != 1)
		return false;
	if (EVP_CipherInit_ex(ctx, NULL, NULL, keys->key, nonce, seal) != 1 ||
	    (ccm && EVP_CipherUpdate(ctx, NULL, &n, NULL, len) != 1) ||
	    EVP_CipherUpdate(ctx, NULL, &n, hdr, hdr_len) != 1 ||
	    EVP_CipherUpdate(ctx, out, &n, in, len) != 1)
		return false;
	if (ccm && !seal)
		return true;
	return EVP_CipherFinal_ex(ctx, rest, &n) == 1 &&
	       (!seal || EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG,
					     QUIC_PKT_TAG, tag) == 1);
}

/**
 * quic_pkt_seal - protect a packet in place
 * @keys: keys
 * @cid_len: bytes of connection ID in the header
 * @number: full packet number
 * @pkt: header, payload, room for the tag
 * @len: bytes of @pkt
 *
 * Return: true on success
 */
bool quic_pkt_seal(const struct quic_pkt_keys *keys, size_t cid_len,
		   uint64_t number, uint8_t *pkt, size_t len)
{
	size_t pn_len = (pkt[0] & 3) + 1, hdr_len = 1 + cid_len + pn_len;
	uint8_t mask[QUIC_PKT_MASK];

	if (len < 1 + cid_len + SAMPLE_OFFSET + SAMPLE_LEN ||
	    !aead_crypt(keys, true, number, pkt, hdr_len, pkt + hdr_len,
			len - hdr_len - QUIC_PKT_TAG, pkt + hdr_len,
			pkt + len - QUIC_PKT_TAG) ||
	    !make_mask(keys, pkt + 1 + cid_len + SAMPLE_OFFSET, mask))
		return false;
	quic_pkt_apply_mask(pkt, cid_len, pn_len, mask);
	return true;
}

/**
 * quic_pkt_open_header - show the header of a protected packet
 * @keys: keys, of which only the one for header protection is used
 * @cid_len: bytes of connection ID in the header
 * @pkt: packet
 * @len: bytes of @pkt
 * @hdr: the header without protection, up to QUIC_PKT_HDR bytes
 *
 * Return: bytes of @hdr, 0 if @pkt is too short to have a sample
 */
size_t quic_pkt_open_header(const struct quic_pkt_keys *keys, size_t cid_len,
			    const uint8_t *pkt, size_t len, uint8_t *hdr)
{
	uint8_t mask[QUIC_PKT_MASK];
	size_t pn_len;

	if (cid_len > 20 || len < 1 + cid_len + SAMPLE_OFFSET + SAMPLE_LEN ||
	    !make_mask(keys, pkt + 1 + cid_len + SAMPLE_OFFSET, mask))
		return 0;
	pn_len = ((pkt[0] ^ mask[0]) & 3) + 1;
	memcpy(hdr, pkt, 1 + cid_len + pn_len);
	quic_pkt_apply_mask(hdr, cid_len, pn_len, mask);
	return 1 + cid_len + pn_len;
}

/**
 * quic_pkt_open_payload - decrypt and authenticate a packet
 * @keys: keys, of which the one for header protection is not used
 * @number: full packet number
 * @hdr: header, as from quic_pkt_open_header()
 * @hdr_len: bytes of @hdr
 * @pkt: packet as received
 * @len: bytes of @pkt
 * @plain: payload, up to @len bytes
 *
 * Return: true if the packet is authentic
 */
bool quic_pkt_open_payload(const struct quic_pkt_keys *keys, uint64_t number,
			   const uint8_t *hdr, size_t hdr_len,
			   const uint8_t *pkt, size_t len, uint8_t *plain)
{
	uint8_t tag[QUIC_PKT_TAG];

	if (len < hdr_len + QUIC_PKT_TAG)
		return false;
	len -= QUIC_PKT_TAG;
	memcpy(tag, pkt + len, QUIC_PKT_TAG);
	return aead_crypt(keys, false, number, hdr, hdr_len, pkt + hdr_len,
			  len - hdr_len, plain, tag);
}
