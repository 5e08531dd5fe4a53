// SPDX-License-Identifier: GPL-2.0
/* OpenSSL: contexts are kept, a packet sets only its nonce. */
#include <stdlib.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "seal.h"

struct flow {
	struct seal_flow common;
	EVP_CIPHER_CTX *aead;
	EVP_CIPHER_CTX *open;
	EVP_CIPHER_CTX *hp;
};

static const char *version(void)
{
	return OpenSSL_version(OPENSSL_VERSION);
}

static EVP_CIPHER_CTX *aead_new(const struct keys *keys,
				const EVP_CIPHER *cipher, int enc)
{
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();

	if (ctx &&
	    EVP_CipherInit_ex(ctx, cipher, NULL, NULL, NULL, enc) &&
	    EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_IVLEN, IV_LEN, NULL) &&
	    (keys->cipher != AES_128_CCM ||
	     EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, TAG, NULL)) &&
	    EVP_CipherInit_ex(ctx, NULL, NULL, keys->key, NULL, enc))
		return ctx;
	return NULL;
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
	f->aead = aead_new(keys, aead[keys->cipher], 1);
	f->open = aead_new(keys, aead[keys->cipher], 0);
	f->hp = EVP_CIPHER_CTX_new();
	if (f->aead && f->open && f->hp &&
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

/* CCM has no final step: the update says whether the tag is right */
static bool open_one(void *flow, const uint8_t *nonce, uint8_t *pkt,
		     size_t hdr, size_t len)
{
	struct flow *f = flow;
	bool ccm = f->common.cipher == AES_128_CCM;
	uint8_t none[TAG];
	int n;

	return EVP_DecryptInit_ex(f->open, NULL, NULL, NULL, nonce) &&
	       EVP_CIPHER_CTX_ctrl(f->open, EVP_CTRL_AEAD_SET_TAG, TAG,
				   pkt + hdr + len) &&
	       (!ccm || EVP_DecryptUpdate(f->open, NULL, &n, NULL, len)) &&
	       EVP_DecryptUpdate(f->open, NULL, &n, pkt, hdr) &&
	       EVP_DecryptUpdate(f->open, pkt + hdr, &n, pkt + hdr, len) > 0 &&
	       (ccm || EVP_DecryptFinal_ex(f->open, none, &n) > 0);
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
