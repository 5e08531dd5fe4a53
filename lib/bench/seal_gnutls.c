// SPDX-License-Identifier: GPL-2.0
/* GnuTLS; the masks by nettle, below it, as GnuTLS offers no ECB. */
#include <stdlib.h>

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <nettle/aes.h>
#include <nettle/chacha.h>

#include "seal.h"

struct flow {
	struct seal_flow common;
	gnutls_aead_cipher_hd_t aead;
	union {
		struct aes128_ctx aes128;
		struct aes256_ctx aes256;
		struct chacha_ctx chacha;
	} hp;
};

static const char *version(void)
{
	return gnutls_check_version(NULL);
}

static void *flow(const struct keys *keys)
{
	static const gnutls_cipher_algorithm_t aead[] = {
		GNUTLS_CIPHER_AES_128_GCM, GNUTLS_CIPHER_AES_256_GCM,
		GNUTLS_CIPHER_AES_128_CCM, GNUTLS_CIPHER_CHACHA20_POLY1305
	};
	gnutls_cipher_algorithm_t alg = aead[keys->cipher];
	struct flow *f = calloc(1, sizeof(*f));
	gnutls_datum_t key = {
		.data = (void *)keys->key,
		.size = gnutls_cipher_get_key_size(alg),
	};

	if (!f || gnutls_aead_cipher_init(&f->aead, alg, &key))
		return NULL;
	f->common.cipher = keys->cipher;
	memcpy(f->common.iv, keys->iv, IV_LEN);
	if (keys->cipher == CHACHA20)
		chacha_set_key(&f->hp.chacha, keys->hp);
	else if (keys->cipher == AES_256_GCM)
		aes256_set_encrypt_key(&f->hp.aes256, keys->hp);
	else
		aes128_set_encrypt_key(&f->hp.aes128, keys->hp);
	return f;
}

static bool seal_one(void *flow, const uint8_t *nonce, uint8_t *pkt,
		     size_t hdr, size_t len)
{
	struct flow *f = flow;
	size_t n = len + TAG;

	return !gnutls_aead_cipher_encrypt(f->aead, nonce, IV_LEN, pkt, hdr,
					   TAG, pkt + hdr, len, pkt + hdr, &n);
}

static bool open_one(void *flow, const uint8_t *nonce, uint8_t *pkt,
		     size_t hdr, size_t len)
{
	struct flow *f = flow;
	size_t n = len;

	return !gnutls_aead_cipher_decrypt(f->aead, nonce, IV_LEN, pkt, hdr,
					   TAG, pkt + hdr, len + TAG,
					   pkt + hdr, &n);
}

static bool aes(void *flow, uint8_t *mask, const uint8_t *sample, size_t len)
{
	struct flow *f = flow;

	if (f->common.cipher == AES_256_GCM)
		aes256_encrypt(&f->hp.aes256, len, mask, sample);
	else
		aes128_encrypt(&f->hp.aes128, len, mask, sample);
	return true;
}

static bool chacha(void *flow, uint8_t *mask, const uint8_t *sample)
{
	static const uint8_t zero[SAMPLE];
	struct flow *f = flow;

	chacha_set_nonce96(&f->hp.chacha, sample + 4);
	chacha_set_counter32(&f->hp.chacha, sample);
	chacha_crypt32(&f->hp.chacha, 1 + PN_LEN, mask, zero);
	return true;
}

static const struct seal_ops ops = {
	.seal = seal_one, .open = open_one, .aes = aes, .chacha = chacha,
};

static int seal(void *flow, const struct batch *b)
{
	return seal_batch(&ops, flow, b);
}

static int open_pkts(void *flow, const struct batch *b)
{
	return open_batch(&ops, flow, b);
}

const struct sealer sealer = {
	.version = version,
	.flow = flow,
	.seal = seal,
	.open = open_pkts,
};
