/* SPDX-License-Identifier: GPL-2.0 */
/*
 * QUIC packet protection: ciphers
 */
#ifndef _NET_QUIC_CIPHER_H
#define _NET_QUIC_CIPHER_H

#include <crypto/aead.h>
#include <crypto/skcipher.h>
#include <linux/crypto.h>
#include <linux/minmax.h>
#include <linux/scatterlist.h>
#include <linux/skbuff.h>
#include <uapi/linux/quic.h>

struct quic_batch;
struct quic_op;
struct quic_pkt;

/**
 * struct quic_cipher - a row of the table of ciphers
 * @type: TLS_CIPHER_*
 * @key_size: bytes of the packet key, and of the header-protection key
 * @iv_size: bytes of IV that the AEAD transform expects
 * @iv_off: offset of the nonce of RFC 9001 5.3 in this IV
 * @iv_b0: first byte of this IV if @iv_off is 1
 * @seal_limit: packets that one key may seal, RFC 9001 6.6
 * @open_limit: packets of a connection that may fail to open, RFC 9001 6.6
 * @aead: crypto API name of the AEAD; NULL if @seal needs no transform
 * @hp: crypto API name of the header-protection cipher; NULL if @masks needs
 *	no transform
 * @seal: computes the AEAD of all packets of an operation in place, and writes
 *	  the header-protection sample of packet i to &quic_op.samples + i *
 *	  QUIC_HP_SAMPLE_SIZE. Context: as the gfp flags of the protection say.
 *	  Return: 0 or a negative error
 * @open: verifies packet i of an operation, and decrypts it to a buffer from
 *	  kmalloc() that begins with the unprotected header. The sealed payload
 *	  is read at &quic_pkt.data, or in the buffer if this is NULL. Context:
 *	  as of @seal. Return: 0; -EBADMSG if the packet is not authentic; or
 *	  another negative error. With an error the payload in the buffer is in
 *	  no defined state
 * @masks: computes the header-protection masks of all packets of an operation
 *	   (RFC 9001 5.4) from their samples; the first QUIC_HP_MASK_SIZE bytes
 *	   of each sample become its mask. Context and return value: as of @seal
 */
struct quic_cipher {
	u16 type;
	u8 key_size;
	u8 iv_size;
	u8 iv_off;
	u8 iv_b0;
	u64 seal_limit;
	u64 open_limit;
	const char *aead;
	const char *hp;
	int (*seal)(struct quic_op *op);
	int (*open)(struct quic_op *op, unsigned int i, u8 *buf);
	int (*masks)(struct quic_op *op);
};

/**
 * struct quic_hp - header protection of a flow
 * @cipher: cipher
 * @tfm: ECB transform, NULL for ChaCha20
 * @key: bytes of the key; header keys outlive key updates (RFC 9001 6.1)
 */
struct quic_hp {
	const struct quic_cipher *cipher;
	struct crypto_skcipher *tfm;
	u8 key[QUIC_MAX_KEY_SIZE];
};

/**
 * struct quic_prot - what protects a batch, for one context
 * @cipher: cipher
 * @iv: IV of the key and the path, see quic_path_iv()
 * @secret: bytes of the key
 * @tfm: AEAD transform with the key, NULL for ChaCha20-Poly1305
 * @hp: header protection
 * @gfp: GFP_KERNEL in process context. Any other flags demand that neither
 *	 @tfm nor the transform of @hp waits
 */
struct quic_prot {
	const struct quic_cipher *cipher;
	u8 iv[QUIC_MAX_IV_SIZE];
	const u8 *secret;
	struct crypto_aead *tfm;
	const struct quic_hp *hp;
	gfp_t gfp;
};

/**
 * struct quic_op - protecting one batch
 * @prot: protection; who opens packets may change it from packet to packet
 * @b: batch; parsed, if its packets are to be sealed; with the addresses of its
 *	packets, if they are to be opened
 * @wait: completion of an asynchronous request
 * @sg: a contiguous packet
 * @frags: room for a packet that spans fragments, or for header and sealed
 *	   payload of one; of two elements at first
 * @iv: nonce of a packet, as the AEAD transform expects it
 * @size: bytes of @req
 * @samples: samples of all packets, which become their header-protection masks
 * @req: a request of the AEAD transform, used for one packet after another, and
 *	 later of the header-protection transform
 *
 * Samples and the context of requests are in scatterlists, so they must not be
 * on the stack. For a request without a context, see quic_op_init_one().
 */
struct quic_op {
	const struct quic_prot *prot;
	struct quic_batch *b;
	struct crypto_wait wait;
	struct scatterlist sg;
	struct scatterlist *frags;
	u8 iv[16];
	size_t size;
	u8 *samples;
	u8 req[] CRYPTO_MINALIGN_ATTR;
};

/* Bytes of requests without a context */
#define QUIC_OP_ONE_SIZE	MAX(sizeof(struct aead_request),	\
				    sizeof(struct skcipher_request))

/* cipher.c */
const struct quic_cipher *quic_cipher_find(u16 type);
bool quic_cipher_usable(const struct quic_cipher *cipher);
struct crypto_aead *quic_aead_alloc(const struct quic_cipher *cipher,
				    const u8 *key, u32 mask);
void quic_aead_free(struct crypto_aead *tfm);
int quic_hp_init(struct quic_hp *hp, const struct quic_cipher *cipher,
		 const u8 *key, u32 mask);
void quic_hp_destroy(struct quic_hp *hp);
bool quic_hp_key_unset(const struct quic_cipher *cipher, const u8 *key);
bool quic_hp_same(const struct quic_hp *hp, u16 type, const u8 *key);
struct quic_op *quic_op_alloc(const struct quic_prot *prots, unsigned int n,
			      struct quic_batch *b);
void quic_op_free(struct quic_op *op);
bool quic_op_init_one(struct quic_op *op, const struct quic_prot *prot,
		      struct quic_batch *b);
void quic_op_wipe(struct quic_op *op);
#if IS_ENABLED(CONFIG_KUNIT)
int quic_alg_error(long err);
#endif

/* aes.c */
int quic_aes_seal(struct quic_op *op);
int quic_aes_open(struct quic_op *op, unsigned int i, u8 *buf);
int quic_aes_masks(struct quic_op *op);

/* chacha.c */
int quic_chacha_seal(struct quic_op *op);
int quic_chacha_open(struct quic_op *op, unsigned int i, u8 *buf);
int quic_chacha_masks(struct quic_op *op);

/* seal.c */
int quic_seal(const struct quic_prot *prot, struct quic_batch *b);

/* open.c */
int quic_open_masks(struct quic_op *op);
int quic_open_header(const struct quic_op *op, unsigned int i, u8 *buf,
		     u64 expected);
int quic_open(struct quic_op *op, unsigned int i, u8 *buf);

/**
 * quic_limit_near - does a key come near a limit?
 * @limit: limit of RFC 9001 6.6
 * @used: how much of it is used
 * @more: how much more is about to be used
 *
 * Return: true if at most an eighth is left afterwards, and more was before.
 */
static inline bool quic_limit_near(u64 limit, u64 used, u64 more)
{
	u64 near = limit - limit / 8;

	return used < near && used + more >= near;
}

#endif /* _NET_QUIC_CIPHER_H */
