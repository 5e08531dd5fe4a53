// SPDX-License-Identifier: GPL-2.0
/* GnuTLS; the masks by nettle, below it, as GnuTLS offers no ECB. */
#include <stdlib.h>

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <nettle/aes.h>
#include <nettle/chacha.h>

#include "seal.h"

struct flow {
	gnutls_aead_cipher_hd_t aead;
	union {
		struct aes128_ctx aes128;
		struct aes256_ctx aes256;
		struct chacha_ctx chacha;
	} hp;
	enum cipher cipher;
	uint8_t iv[IV_LEN];
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
	f->cipher = keys->cipher;
	memcpy(f->iv, keys->iv, IV_LEN);
	if (f->cipher == CHACHA20)
		chacha_set_key(&f->hp.chacha, keys->hp);
	else if (f->cipher == AES_256_GCM)
		aes256_set_encrypt_key(&f->hp.aes256, keys->hp);
	else
		aes128_set_encrypt_key(&f->hp.aes128, keys->hp);
	return f;
}

static void masks(struct flow *f, uint8_t *mask, const uint8_t *sample,
		  unsigned int n)
{
	static const uint8_t zero[SAMPLE];
	unsigned int i;

	if (f->cipher == AES_256_GCM) {
		aes256_encrypt(&f->hp.aes256, n * SAMPLE, mask, sample);
		return;
	} else if (f->cipher != CHACHA20) {
		aes128_encrypt(&f->hp.aes128, n * SAMPLE, mask, sample);
		return;
	}
	for (i = 0; i < n; i++, mask += SAMPLE, sample += SAMPLE) {
		chacha_set_nonce96(&f->hp.chacha, sample + 4);
		chacha_set_counter32(&f->hp.chacha, sample);
		chacha_crypt32(&f->hp.chacha, 1 + PN_LEN, mask, zero);
	}
}

static int seal(void *flow, const struct batch *b)
{
	uint8_t sample[MAX_BATCH * SAMPLE], mask[MAX_BATCH * SAMPLE];
	size_t hdr = b->pn_off + PN_LEN, len = b->size - hdr - TAG, n;
	uint8_t nonce[IV_LEN], *pkt = b->pkt;
	struct flow *f = flow;
	unsigned int i;

	for (i = 0; i < b->n; i++, pkt += b->size) {
		n = len + TAG;
		seal_nonce(nonce, f->iv, b->pn + i);
		if (gnutls_aead_cipher_encrypt(f->aead, nonce, IV_LEN, pkt,
					       hdr, TAG, pkt + hdr, len,
					       pkt + hdr, &n))
			return -1;
	}
	seal_samples(b, sample);
	masks(f, mask, sample, b->n);
	seal_mask(b, mask);
	return 0;
}

const struct sealer sealer = {
	.version = version,
	.flow = flow,
	.seal = seal,
};
