// SPDX-License-Identifier: GPL-2.0
/*
 * OpenSSL: contexts are kept, a packet sets its nonce only, and the masks of
 * a batch are one call where the cipher is AES.
 */
#include <stdlib.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "seal.h"

struct flow {
	EVP_CIPHER_CTX *aead;
	EVP_CIPHER_CTX *hp;
	enum cipher cipher;
	uint8_t iv[IV_LEN];
};

static const char *version(void)
{
	return OpenSSL_version(OPENSSL_VERSION);
}

static void *flow(const struct keys *keys)
{
	const EVP_CIPHER *aead[] = {
		EVP_aes_128_gcm(), EVP_aes_256_gcm(), EVP_aes_128_ccm(),
		EVP_chacha20_poly1305()
	};
	const EVP_CIPHER *hp[] = {
		EVP_aes_128_ecb(), EVP_aes_256_ecb(), EVP_aes_128_ecb(),
		EVP_chacha20()
	};
	struct flow *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	f->cipher = keys->cipher;
	memcpy(f->iv, keys->iv, IV_LEN);
	f->aead = EVP_CIPHER_CTX_new();
	f->hp = EVP_CIPHER_CTX_new();
	if (f->aead && f->hp &&
	    EVP_EncryptInit_ex(f->aead, aead[f->cipher], NULL, NULL, NULL) &&
	    EVP_CIPHER_CTX_ctrl(f->aead, EVP_CTRL_AEAD_SET_IVLEN, IV_LEN,
				NULL) &&
	    (f->cipher != AES_128_CCM ||
	     EVP_CIPHER_CTX_ctrl(f->aead, EVP_CTRL_AEAD_SET_TAG, TAG, NULL)) &&
	    EVP_EncryptInit_ex(f->aead, NULL, NULL, keys->key, NULL) &&
	    EVP_EncryptInit_ex(f->hp, hp[f->cipher], NULL, keys->hp, NULL))
		return f;
	return NULL;
}

static int seal_one(struct flow *f, uint8_t *pkt, size_t hdr, size_t size,
		    uint64_t pn)
{
	size_t len = size - hdr - TAG;
	uint8_t nonce[IV_LEN];
	int n;

	seal_nonce(nonce, f->iv, pn);
	return EVP_EncryptInit_ex(f->aead, NULL, NULL, NULL, nonce) &&
	       (f->cipher != AES_128_CCM ||
		EVP_EncryptUpdate(f->aead, NULL, &n, NULL, len)) &&
	       EVP_EncryptUpdate(f->aead, NULL, &n, pkt, hdr) &&
	       EVP_EncryptUpdate(f->aead, pkt + hdr, &n, pkt + hdr, len) &&
	       EVP_EncryptFinal_ex(f->aead, nonce, &n) &&
	       EVP_CIPHER_CTX_ctrl(f->aead, EVP_CTRL_AEAD_GET_TAG, TAG,
				   pkt + size - TAG);
}

static int masks(struct flow *f, uint8_t *mask, const uint8_t *sample,
		 unsigned int n)
{
	static const uint8_t zero[SAMPLE];
	unsigned int i;
	int len;

	if (f->cipher != CHACHA20)
		return EVP_EncryptUpdate(f->hp, mask, &len, sample,
					 n * SAMPLE);
	/* OpenSSL's IV is the counter, little endian, then the nonce. */
	for (i = 0; i < n; i++, mask += SAMPLE, sample += SAMPLE)
		if (!EVP_EncryptInit_ex(f->hp, NULL, NULL, NULL, sample) ||
		    !EVP_EncryptUpdate(f->hp, mask, &len, zero, 1 + PN_LEN))
			return 0;
	return 1;
}

static int seal(void *flow, const struct batch *b)
{
	uint8_t sample[MAX_BATCH * SAMPLE], mask[MAX_BATCH * SAMPLE];
	struct flow *f = flow;
	unsigned int i;

	for (i = 0; i < b->n; i++)
		if (!seal_one(f, b->pkt + i * b->size, b->pn_off + PN_LEN,
			      b->size, b->pn + i))
			return -1;
	seal_samples(b, sample);
	if (!masks(f, mask, sample, b->n))
		return -1;
	seal_mask(b, mask);
	return 0;
}

const struct sealer sealer = {
	.version = version,
	.flow = flow,
	.seal = seal,
};
