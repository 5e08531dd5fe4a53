// SPDX-License-Identifier: GPL-2.0
/* OpenSSL: contexts are kept, a packet sets only its nonce. */
#include <stdlib.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "seal.h"

struct flow {
	struct seal_flow common;
	EVP_CIPHER_CTX *aead;
	EVP_CIPHER_CTX *hp;
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
	f->common.cipher = keys->cipher;
	memcpy(f->common.iv, keys->iv, IV_LEN);
	f->aead = EVP_CIPHER_CTX_new();
	f->hp = EVP_CIPHER_CTX_new();
	if (f->aead && f->hp &&
	    EVP_EncryptInit_ex(f->aead, aead[keys->cipher], NULL, NULL,
			       NULL) &&
	    EVP_CIPHER_CTX_ctrl(f->aead, EVP_CTRL_AEAD_SET_IVLEN, IV_LEN,
				NULL) &&
	    (keys->cipher != AES_128_CCM ||
	     EVP_CIPHER_CTX_ctrl(f->aead, EVP_CTRL_AEAD_SET_TAG, TAG, NULL)) &&
	    EVP_EncryptInit_ex(f->aead, NULL, NULL, keys->key, NULL) &&
	    EVP_EncryptInit_ex(f->hp, hp[keys->cipher], NULL, keys->hp, NULL))
		return f;
	return NULL;
}

static bool seal_one(void *flow, const uint8_t *nonce, uint8_t *pkt,
		     size_t hdr, size_t len)
{
	struct flow *f = flow;
	uint8_t none[TAG];
	int n;

	return EVP_EncryptInit_ex(f->aead, NULL, NULL, NULL, nonce) &&
	       (f->common.cipher != AES_128_CCM ||
		EVP_EncryptUpdate(f->aead, NULL, &n, NULL, len)) &&
	       EVP_EncryptUpdate(f->aead, NULL, &n, pkt, hdr) &&
	       EVP_EncryptUpdate(f->aead, pkt + hdr, &n, pkt + hdr, len) &&
	       EVP_EncryptFinal_ex(f->aead, none, &n) &&
	       EVP_CIPHER_CTX_ctrl(f->aead, EVP_CTRL_AEAD_GET_TAG, TAG,
				   pkt + hdr + len);
}

static bool aes(void *flow, uint8_t *mask, const uint8_t *sample, size_t len)
{
	struct flow *f = flow;
	int n;

	return EVP_EncryptUpdate(f->hp, mask, &n, sample, len);
}

/* OpenSSL's IV is the counter, little endian, then the nonce. */
static bool chacha(void *flow, uint8_t *mask, const uint8_t *sample)
{
	static const uint8_t zero[SAMPLE];
	struct flow *f = flow;
	int n;

	return EVP_EncryptInit_ex(f->hp, NULL, NULL, NULL, sample) &&
	       EVP_EncryptUpdate(f->hp, mask, &n, zero, 1 + PN_LEN);
}

static int seal(void *flow, const struct batch *b)
{
	static const struct seal_ops ops = {
		.seal = seal_one, .aes = aes, .chacha = chacha,
	};

	return seal_batch(&ops, flow, b);
}

const struct sealer sealer = {
	.version = version,
	.flow = flow,
	.seal = seal,
};
