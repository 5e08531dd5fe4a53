// SPDX-License-Identifier: GPL-2.0
/* BoringSSL, as Debian has it in android-libboringssl-dev. No AES-CCM. */
#include <stdlib.h>

#include <openssl/aead.h>
#include <openssl/chacha.h>
#include <openssl/cipher.h>

#include "seal.h"

struct flow {
	struct seal_flow common;
	EVP_AEAD_CTX aead;
	EVP_CIPHER_CTX hp;
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
	f->common.cipher = keys->cipher;
	memcpy(f->common.iv, keys->iv, IV_LEN);
	memcpy(f->chacha, keys->hp, sizeof(f->chacha));
	EVP_CIPHER_CTX_init(&f->hp);
	if (!EVP_AEAD_CTX_init(&f->aead, alg, keys->key,
			       EVP_AEAD_key_length(alg), TAG, NULL))
		return NULL;
	if (keys->cipher != CHACHA20 &&
	    !EVP_EncryptInit_ex(&f->hp, keys->cipher == AES_256_GCM ?
				EVP_aes_256_ecb() : EVP_aes_128_ecb(), NULL,
				keys->hp, NULL))
		return NULL;
	return f;
}

static bool seal_one(void *flow, const uint8_t *nonce, uint8_t *pkt,
		     size_t hdr, size_t len)
{
	struct flow *f = flow;
	size_t n;

	return EVP_AEAD_CTX_seal_scatter(&f->aead, pkt + hdr, pkt + hdr + len,
					 &n, TAG, nonce, IV_LEN, pkt + hdr,
					 len, NULL, 0, pkt, hdr);
}

static bool open_one(void *flow, const uint8_t *nonce, uint8_t *pkt,
		     size_t hdr, size_t len)
{
	struct flow *f = flow;

	return EVP_AEAD_CTX_open_gather(&f->aead, pkt + hdr, nonce, IV_LEN,
					pkt + hdr, len, pkt + hdr + len, TAG,
					pkt, hdr);
}

static bool aes(void *flow, uint8_t *mask, const uint8_t *sample, size_t len)
{
	struct flow *f = flow;
	int n;

	return EVP_EncryptUpdate(&f->hp, mask, &n, sample, len);
}

static bool chacha(void *flow, uint8_t *mask, const uint8_t *sample)
{
	static const uint8_t zero[SAMPLE];
	struct flow *f = flow;
	uint32_t counter;

	memcpy(&counter, sample, sizeof(counter));
	CRYPTO_chacha_20(mask, zero, 1 + PN_LEN, f->chacha, sample + 4,
			 le32toh(counter));
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
