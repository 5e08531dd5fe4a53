// SPDX-License-Identifier: GPL-2.0
/*
 * QUIC packet protection: the table of ciphers, their transforms and keys
 */

#include <crypto/aead.h>
#include <crypto/chacha.h>
#include <crypto/skcipher.h>
#include <crypto/utils.h>
#include <kunit/visibility.h>
#include <linux/dma-mapping.h>
#include <linux/fips.h>
#include <linux/overflow.h>
#include <linux/slab.h>
#include <net/quic.h>

#include "batch.h"
#include "cipher.h"

/* RFC 9001 6.6 and B.1. ChaCha20-Poly1305 outlasts the packet numbers. */
#define QUIC_GCM_SEAL_LIMIT	BIT_ULL(23)
#define QUIC_CCM_SEAL_LIMIT	2965820ULL		/* 2^21.5 */
#define QUIC_CHACHA_SEAL_LIMIT	(QUIC_MAX_PKT_NUM + 1)

#define QUIC_GCM_OPEN_LIMIT	BIT_ULL(52)
#define QUIC_CCM_OPEN_LIMIT	2965820ULL		/* 2^21.5 */
#define QUIC_CHACHA_OPEN_LIMIT	BIT_ULL(36)

/* ccm(aes) expects the size of its length field, less one, before the nonce */
#define QUIC_CCM_IV_B0		2

#define QUIC_CIPHER_GCM(bits) {						\
	.type		= TLS_CIPHER_AES_GCM_##bits,			\
	.key_size	= (bits) / 8,					\
	.iv_size	= QUIC_MAX_IV_SIZE,				\
	.seal_limit	= QUIC_GCM_SEAL_LIMIT,				\
	.open_limit	= QUIC_GCM_OPEN_LIMIT,				\
	.aead		= "gcm(aes)",					\
	.hp		= "ecb(aes)",					\
	.seal		= quic_aes_seal,				\
	.open		= quic_aes_open,				\
	.masks		= quic_aes_masks,				\
}

static const struct quic_cipher quic_ciphers[] = {
	QUIC_CIPHER_GCM(128),
	QUIC_CIPHER_GCM(256),
	{
		.type		= TLS_CIPHER_AES_CCM_128,
		.key_size	= 16,
		.iv_size	= 16,
		.iv_off		= 1,
		.iv_b0		= QUIC_CCM_IV_B0,
		.seal_limit	= QUIC_CCM_SEAL_LIMIT,
		.open_limit	= QUIC_CCM_OPEN_LIMIT,
		.aead		= "ccm(aes)",
		.hp		= "ecb(aes)",
		.seal		= quic_aes_seal,
		.open		= quic_aes_open,
		.masks		= quic_aes_masks,
	},
	{
		.type		= TLS_CIPHER_CHACHA20_POLY1305,
		.key_size	= CHACHA_KEY_SIZE,
		.iv_size	= QUIC_MAX_IV_SIZE,
		.seal_limit	= QUIC_CHACHA_SEAL_LIMIT,
		.open_limit	= QUIC_CHACHA_OPEN_LIMIT,
		.seal		= quic_chacha_seal,
		.open		= quic_chacha_open,
		.masks		= quic_chacha_masks,
	},
};

/**
 * quic_cipher_find - look a cipher up
 * @type: TLS_CIPHER_*
 *
 * Return: its row, or NULL.
 */
const struct quic_cipher *quic_cipher_find(u16 type)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(quic_ciphers); i++) {
		if (quic_ciphers[i].type == type)
			return &quic_ciphers[i];
	}
	return NULL;
}

/**
 * quic_cipher_usable - can keys of a cipher be installed now?
 * @cipher: cipher
 *
 * That depends on modules and on FIPS mode. May load modules.
 *
 * Context: process, sleeps.
 * Return: true if they can.
 */
bool quic_cipher_usable(const struct quic_cipher *cipher)
{
	/* The library ignores FIPS mode, which the crypto API obeys */
	if (!cipher->aead)
		return !fips_enabled;
	return crypto_has_aead(cipher->aead, 0, CRYPTO_ALG_KERN_DRIVER_ONLY) &&
	       crypto_has_skcipher(cipher->hp, 0, CRYPTO_ALG_KERN_DRIVER_ONLY);
}

/* What crypto_alloc_*() may answer has other meanings for options. The kernel
 * lacks the cipher, FIPS mode forbids it, or it has failed its self-test; or
 * others are just setting it up, which the next call will find done.
 */
VISIBLE_IF_KUNIT int quic_alg_error(long err)
{
	switch (err) {
	case -ENOMEM:
	case -EINTR:
		return err;
	case -EAGAIN:
	case -EEXIST:
	case -ETIMEDOUT:
		return -EAGAIN;
	default:
		return -EOPNOTSUPP;
	}
}

/**
 * quic_aead_alloc - AEAD transform for a key
 * @cipher: cipher
 * @key: @cipher->key_size bytes
 * @mask: CRYPTO_ALG_ASYNC if the transform must not wait, else 0
 *
 * Drivers of hardware that is not part of the CPU are not wanted, whatever
 * their priority: sendmsg() would wait for the hardware once for each packet.
 *
 * Context: process, sleeps.
 * Return: the transform, NULL for a cipher that needs none, or an ERR_PTR():
 * -EOPNOTSUPP if the kernel lacks the cipher.
 */
struct crypto_aead *quic_aead_alloc(const struct quic_cipher *cipher,
				    const u8 *key, u32 mask)
{
	struct crypto_aead *tfm;
	int err;

	/* The library ignores FIPS mode, which the crypto API obeys */
	if (!cipher->aead)
		return fips_enabled ? ERR_PTR(-EOPNOTSUPP) : NULL;
	tfm = crypto_alloc_aead(cipher->aead, 0,
				mask | CRYPTO_ALG_KERN_DRIVER_ONLY);
	if (IS_ERR(tfm))
		return ERR_PTR(quic_alg_error(PTR_ERR(tfm)));

	err = crypto_aead_setkey(tfm, key, cipher->key_size);
	if (!err)
		err = crypto_aead_setauthsize(tfm, QUIC_TAG_SIZE);
	if (err) {
		crypto_free_aead(tfm);
		return ERR_PTR(err);
	}
	return tfm;
}

/**
 * quic_aead_free - free an AEAD transform and wipe its key
 * @tfm: transform of quic_aead_alloc()
 *
 * Context: process, sleeps.
 */
void quic_aead_free(struct crypto_aead *tfm)
{
	crypto_free_aead(tfm);
}

/**
 * quic_hp_init - set up header protection
 * @hp: filled in
 * @cipher: cipher
 * @key: @cipher->key_size bytes
 * @mask: CRYPTO_ALG_ASYNC if the transform must not wait, else 0
 *
 * Context: process, sleeps.
 * Return: 0 or a negative error: -EOPNOTSUPP if the kernel lacks the cipher.
 */
int quic_hp_init(struct quic_hp *hp, const struct quic_cipher *cipher,
		 const u8 *key, u32 mask)
{
	struct crypto_skcipher *tfm;
	int err;

	hp->cipher = cipher;
	hp->tfm = NULL;
	if (cipher->hp) {
		tfm = crypto_alloc_skcipher(cipher->hp, 0,
					    mask | CRYPTO_ALG_KERN_DRIVER_ONLY);
		if (IS_ERR(tfm))
			return quic_alg_error(PTR_ERR(tfm));
		err = crypto_skcipher_setkey(tfm, key, cipher->key_size);
		if (err) {
			crypto_free_skcipher(tfm);
			return err;
		}
		hp->tfm = tfm;
	}
	memcpy(hp->key, key, cipher->key_size);
	return 0;
}

/**
 * quic_hp_destroy - undo quic_hp_init() and wipe the key
 * @hp: header protection
 *
 * Context: process, sleeps.
 */
void quic_hp_destroy(struct quic_hp *hp)
{
	crypto_free_skcipher(hp->tfm);
	memzero_explicit(hp->key, sizeof(hp->key));
}

/**
 * quic_hp_key_unset - is a header key left zero?
 * @cipher: cipher
 * @key: @cipher->key_size bytes
 *
 * Context: any.
 * Return: true if it is.
 */
bool quic_hp_key_unset(const struct quic_cipher *cipher, const u8 *key)
{
	static const u8 zero[QUIC_MAX_KEY_SIZE];

	return !crypto_memneq(key, zero, cipher->key_size);
}

/**
 * quic_hp_same - does a key update leave header protection as it is?
 * @hp: header protection
 * @type: TLS_CIPHER_* of the update
 * @key: header key of the update, zero if it was left out
 *
 * Context: any.
 * Return: true if it does.
 */
bool quic_hp_same(const struct quic_hp *hp, u16 type, const u8 *key)
{
	return type == hp->cipher->type &&
	       (!crypto_memneq(key, hp->key, hp->cipher->key_size) ||
		quic_hp_key_unset(hp->cipher, key));
}

/* Bytes of the largest context of a request. Two keys of a cipher may have
 * transforms of different drivers.
 */
static size_t quic_op_ctx_size(const struct quic_prot *prots, unsigned int n)
{
	const struct quic_hp *hp = prots->hp;
	size_t size = 0;

	if (hp->tfm)
		size = crypto_skcipher_reqsize(hp->tfm);
	for (; n; n--, prots++) {
		if (prots->tfm)
			size = max(size, crypto_aead_reqsize(prots->tfm));
	}
	return size;
}

static void quic_op_init(struct quic_op *op, const struct quic_prot *prots,
			 struct quic_batch *b)
{
	op->prot = prots;
	op->b = b;
	memset(op->iv, 0, sizeof(op->iv));
	op->iv[0] = prots->hp->cipher->iv_b0;
	sg_init_table(&op->sg, 1);
}

/**
 * quic_op_alloc - prepare to protect a batch, or to open it
 * @prots: protection; more than one with the same header protection if the
 *	   packets may need several keys. The operation begins with the first
 * @n: number of elements of @prots
 * @b: batch
 *
 * Context: as the gfp flags of @prots allow.
 * Return: the operation, or NULL. quic_op_free() undoes it.
 */
struct quic_op *quic_op_alloc(const struct quic_prot *prots, unsigned int n,
			      struct quic_batch *b)
{
	size_t req = QUIC_OP_ONE_SIZE + quic_op_ctx_size(prots, n);
	/* A device may write the masks: they share no cache line */
	size_t align = max(dma_get_cache_alignment(), QUIC_HP_SAMPLE_SIZE);
	size_t masks = ALIGN(b->layout.npkts * QUIC_HP_SAMPLE_SIZE, align);
	struct quic_op *op;
	size_t frags;

	/* The list of fragments has no secrets: it is not wiped */
	BUILD_BUG_ON(__alignof__(*op->frags) > QUIC_HP_SAMPLE_SIZE);
	frags = array_size(MAX_SKB_FRAGS + 1, sizeof(*op->frags));
	op = kmalloc(struct_size(op, req, req + align + masks + frags),
		     prots->gfp);
	if (!op)
		return NULL;
	quic_op_init(op, prots, b);
	op->size = req + align + masks;
	op->samples = PTR_ALIGN(op->req + req, align);
	op->frags = (struct scatterlist *)(op->samples + masks);
	sg_init_table(op->frags, 2);
	return op;
}

/**
 * quic_op_init_one - prepare to protect a packet without allocating memory
 * @op: filled in, with %QUIC_OP_ONE_SIZE bytes of request. It may be on the
 *	stack
 * @prot: protection
 * @b: batch, with the address of its packet
 *
 * The mask takes the room that the skb has for headers, in which sendmsg() has
 * written nothing yet.
 *
 * Context: any.
 * Return: true, and quic_op_wipe() undoes it; or false if protecting needs
 * memory: there are several packets, one that is not contiguous or has no room
 * in front of it, or transforms whose requests have a context.
 */
bool quic_op_init_one(struct quic_op *op, const struct quic_prot *prot,
		      struct quic_batch *b)
{
	if (b->layout.npkts > 1 || !b->one.data ||
	    !gfpflags_allow_blocking(prot->gfp) ||
	    skb_headroom(b->skb) < QUIC_HP_SAMPLE_SIZE ||
	    quic_op_ctx_size(prot, 1))
		return false;
	quic_op_init(op, prot, b);
	op->size = QUIC_OP_ONE_SIZE;
	op->samples = b->skb->head;
	return true;
}

/**
 * quic_op_wipe - wipe an operation
 * @op: operation
 */
void quic_op_wipe(struct quic_op *op)
{
	memzero_explicit(op->iv, sizeof(op->iv));
	memzero_explicit(op->req, op->size);
}

/**
 * quic_op_free - wipe and free an operation
 * @op: operation of quic_op_alloc()
 *
 * kfree_sensitive() would wipe the unused rest of the allocation, too.
 */
void quic_op_free(struct quic_op *op)
{
	quic_op_wipe(op);
	kfree(op);
}
