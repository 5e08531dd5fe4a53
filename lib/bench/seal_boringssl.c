// SPDX-License-Identifier: GPL-2.0
/* BoringSSL, as Debian has it in android-libboringssl-dev. No AES-CCM. */
#include <stdlib.h>

#include <openssl/aead.h>
#include <openssl/chacha.h>
#include <openssl/cipher.h>

#include "seal.h"

struct flow {
	EVP_AEAD_CTX aead;
	EVP_CIPHER_CTX hp;
	enum cipher cipher;
	uint8_t iv[IV_LEN];
	uint8_t chacha[32];
};

static const char *version(void)
{
	return "BoringSSL (android-libboringssl)";
}

static void *flow(const struct keys *keys)
{
	const EVP_AEAD *aead[N_CIPHERS] = {
		[AES_128_GCM] = EVP_aead_aes_128_gcm(),
		[AES_256_GCM] = EVP_aead_aes_256_gcm(),
		[CHACHA20] = EVP_aead_chacha20_poly1305(),
	};
	const EVP_AEAD *alg = aead[keys->cipher];
	struct flow *f = calloc(1, sizeof(*f));

	if (!f || !alg)
		return NULL;
	f->cipher = keys->cipher;
	memcpy(f->iv, keys->iv, IV_LEN);
	memcpy(f->chacha, keys->hp, sizeof(f->chacha));
	EVP_CIPHER_CTX_init(&f->hp);
	if (!EVP_AEAD_CTX_init(&f->aead, alg, keys->key,
			       EVP_AEAD_key_length(alg), TAG, NULL))
		return NULL;
	if (f->cipher != CHACHA20 &&
	    !EVP_EncryptInit_ex(&f->hp, f->cipher == AES_256_GCM ?
				EVP_aes_256_ecb() : EVP_aes_128_ecb(), NULL,
				keys->hp, NULL))
		return NULL;
	return f;
}

static int masks(struct flow *f, uint8_t *mask, const uint8_t *sample,
		 unsigned int n)
{
	static const uint8_t zero[SAMPLE];
	uint32_t counter;
	unsigned int i;
	int len;

	if (f->cipher != CHACHA20)
		return EVP_EncryptUpdate(&f->hp, mask, &len, sample,
					 n * SAMPLE);
	for (i = 0; i < n; i++, mask += SAMPLE, sample += SAMPLE) {
		memcpy(&counter, sample, sizeof(counter));
		CRYPTO_chacha_20(mask, zero, 1 + PN_LEN, f->chacha, sample + 4,
				 le32toh(counter));
	}
	return 1;
}

static int seal(void *flow, const struct batch *b)
{
	uint8_t sample[MAX_BATCH * SAMPLE], mask[MAX_BATCH * SAMPLE];
	size_t hdr = b->pn_off + PN_LEN, len = b->size - hdr - TAG, n;
	uint8_t nonce[IV_LEN], *pkt = b->pkt;
	struct flow *f = flow;
	unsigned int i;

	for (i = 0; i < b->n; i++, pkt += b->size) {
		seal_nonce(nonce, f->iv, b->pn + i);
		if (!EVP_AEAD_CTX_seal_scatter(&f->aead, pkt + hdr,
					       pkt + hdr + len, &n, TAG,
					       nonce, IV_LEN, pkt + hdr, len,
					       NULL, 0, pkt, hdr))
			return -1;
	}
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
