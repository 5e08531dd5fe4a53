// SPDX-License-Identifier: GPL-2.0
/*
 * QUIC packet protection: ChaCha20-Poly1305 by library functions.
 *
 * The AEAD of the crypto API consists of two transforms, which cost more than
 * a small packet does, and the AEAD of the library takes nonces of 8 bytes.
 * Nothing here waits.
 */

#include <crypto/chacha.h>
#include <crypto/poly1305.h>
#include <crypto/utils.h>
#include <linux/skbuff.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/unaligned.h>
#include <net/quic.h>

#include "batch.h"
#include "cipher.h"

/* SIMD code computes several ChaCha20 blocks for the price of one: generate the
 * Poly1305 key block together with the first part of the payload.
 */
#define QUIC_CHACHA_HEAD	(8 * CHACHA_BLOCK_SIZE)

static void quic_chacha_key(u32 *key, const u8 *bytes)
{
	unsigned int i;

	for (i = 0; i < CHACHA_KEY_WORDS; i++)
		key[i] = get_unaligned_le32(bytes + i * sizeof(u32));
}

/**
 * quic_chacha_masks - &quic_cipher.masks of ChaCha20, RFC 9001 5.4.4
 * @op: operation
 *
 * A sample consists of the counter and the nonce, in the order in which
 * chacha_init() expects them.
 *
 * Context: any.
 * Return: 0.
 */
int quic_chacha_masks(struct quic_op *op)
{
	unsigned int n = op->b->layout.npkts;
	struct chacha_state state;
	u32 key[CHACHA_KEY_WORDS];
	u8 *p = op->samples;

	quic_chacha_key(key, op->prot->hp->key);
	for (; n; n--, p += QUIC_HP_SAMPLE_SIZE) {
		chacha_init(&state, key, p);
		memset(p, 0, QUIC_HP_MASK_SIZE);
		chacha20_crypt(&state, p, p, QUIC_HP_MASK_SIZE);
	}
	chacha_zeroize_state(&state);
	memzero_explicit(key, sizeof(key));
	return 0;
}

static void quic_poly1305_padded(struct poly1305_desc_ctx *poly, const u8 *data,
				 unsigned int len)
{
	static const u8 zero[POLY1305_BLOCK_SIZE];

	poly1305_update(poly, data, len);
	if (len % POLY1305_BLOCK_SIZE)
		poly1305_update(poly, zero, POLY1305_BLOCK_SIZE -
					    len % POLY1305_BLOCK_SIZE);
}

/* Encrypt or decrypt the first part of the payload to @head, behind the block
 * that precedes it, and key Poly1305 with this block. Return the bytes of
 * payload in @head.
 */
static unsigned int quic_chacha_head(struct chacha_state *state,
				     struct poly1305_desc_ctx *poly, u8 *head,
				     const u8 *data, unsigned int len)
{
	unsigned int n = min(len, QUIC_CHACHA_HEAD - CHACHA_BLOCK_SIZE);

	memset(head, 0, CHACHA_BLOCK_SIZE);
	memcpy(head + CHACHA_BLOCK_SIZE, data, n);
	chacha20_crypt(state, head, head, CHACHA_BLOCK_SIZE + n);
	poly1305_init(poly, head);
	return n;
}

/* Encrypt the payload, and key Poly1305 with the block that precedes it */
static void quic_chacha_crypt(struct chacha_state *state,
			      struct poly1305_desc_ctx *poly, u8 *data,
			      unsigned int len)
{
	u8 head[QUIC_CHACHA_HEAD];
	unsigned int n = quic_chacha_head(state, poly, head, data, len);

	memcpy(data, head + CHACHA_BLOCK_SIZE, n);
	chacha20_crypt(state, data + n, data + n, len - n);
	memzero_explicit(head, CHACHA_BLOCK_SIZE);
}

static void quic_chacha_init(struct chacha_state *state,
			     const struct quic_prot *prot, u64 pn)
{
	u8 iv[CHACHA_IV_SIZE] = {};
	u32 key[CHACHA_KEY_WORDS];

	quic_nonce(iv + sizeof(u32), prot->iv, pn);
	quic_chacha_key(key, prot->secret);
	chacha_init(state, key, iv);
	memzero_explicit(key, sizeof(key));
	memzero_explicit(iv, sizeof(iv));
}

/* RFC 8439 2.8: @hdr_len bytes of associated data, @len of ciphertext */
static void quic_chacha_tag(struct poly1305_desc_ctx *poly, const u8 *hdr,
			    unsigned int hdr_len, const u8 *data,
			    unsigned int len, u8 *tag)
{
	__le64 lens[2];

	quic_poly1305_padded(poly, hdr, hdr_len);
	quic_poly1305_padded(poly, data, len);
	lens[0] = cpu_to_le64(hdr_len);
	lens[1] = cpu_to_le64(len);
	poly1305_update(poly, (const u8 *)lens, sizeof(lens));
	poly1305_final(poly, tag);
	memzero_explicit(poly, sizeof(*poly));
}

static void quic_chacha_aead(const struct quic_prot *prot, u64 pn, u8 *data,
			     unsigned int hdr_len, unsigned int len)
{
	struct poly1305_desc_ctx poly;
	struct chacha_state state;

	quic_chacha_init(&state, prot, pn);
	quic_chacha_crypt(&state, &poly, data + hdr_len, len);
	quic_chacha_tag(&poly, data, hdr_len, data + hdr_len, len,
			data + hdr_len + len);
	chacha_zeroize_state(&state);
}

static void quic_chacha_seal_linear(struct quic_op *op, unsigned int i,
				    u8 *data)
{
	const struct quic_batch *b = op->b;
	unsigned int hdr_len = quic_batch_hdr_len(b, &b->pkts[i]);

	quic_chacha_aead(op->prot, b->pkts[i].pn, data, hdr_len,
			 quic_batch_pkt_len(b, i) - hdr_len - QUIC_TAG_SIZE);
}

/* A packet that spans fragments: the library cannot use a scatterlist */
static int quic_chacha_seal_bounce(struct quic_op *op, unsigned int i)
{
	const struct quic_batch *b = op->b;
	unsigned int off = quic_batch_pkt_off(b, i);
	unsigned int len = quic_batch_pkt_len(b, i);
	u8 *copy = kmalloc(len, op->prot->gfp);
	int err;

	if (!copy)
		return -ENOMEM;
	err = skb_copy_bits(b->skb, off, copy, len);
	if (!err) {
		quic_chacha_seal_linear(op, i, copy);
		err = skb_store_bits(b->skb, off, copy, len);
	}
	kfree_sensitive(copy);
	return err;
}

/**
 * quic_chacha_seal - &quic_cipher.seal of ChaCha20-Poly1305
 * @op: operation
 *
 * Context: as the gfp flags of the protection say.
 * Return: 0 or a negative error.
 */
int quic_chacha_seal(struct quic_op *op)
{
	struct quic_batch *b = op->b;
	u8 *sample = op->samples;
	unsigned int i;
	int err = 0;

	for (i = 0; i < b->layout.npkts && !err; i++) {
		if (b->pkts[i].data)
			quic_chacha_seal_linear(op, i, b->pkts[i].data);
		else
			err = quic_chacha_seal_bounce(op, i);
		if (!err)
			err = quic_batch_sample(b, i, sample);
		sample += QUIC_HP_SAMPLE_SIZE;
	}
	return err;
}

/**
 * quic_chacha_open - &quic_cipher.open of ChaCha20-Poly1305
 * @op: operation
 * @i: index of the packet
 * @buf: its unprotected header; the payload is written behind it
 *
 * Context: any.
 * Return: 0, or -EBADMSG if the packet is not authentic.
 */
int quic_chacha_open(struct quic_op *op, unsigned int i, u8 *buf)
{
	const struct quic_pkt *pkt = &op->b->pkts[i];
	unsigned int hdr_len = quic_batch_hdr_len(op->b, pkt), len, n;
	u8 head[QUIC_CHACHA_HEAD], tag[POLY1305_DIGEST_SIZE];
	const u8 *src = (pkt->data ?: buf) + hdr_len;
	struct poly1305_desc_ctx poly;
	u8 *dst = buf + hdr_len;
	struct chacha_state state;
	int err = -EBADMSG;

	len = quic_batch_pkt_len(op->b, i) - hdr_len - QUIC_TAG_SIZE;
	quic_chacha_init(&state, op->prot, pkt->pn);
	n = quic_chacha_head(&state, &poly, head, src, len);
	quic_chacha_tag(&poly, buf, hdr_len, src, len, tag);
	if (!crypto_memneq(tag, src + len, sizeof(tag))) {
		memcpy(dst, head + CHACHA_BLOCK_SIZE, n);
		chacha20_crypt(&state, dst + n, src + n, len - n);
		err = 0;
	}
	chacha_zeroize_state(&state);
	memzero_explicit(head, sizeof(head));
	memzero_explicit(tag, sizeof(tag));
	return err;
}
