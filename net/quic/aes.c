// SPDX-License-Identifier: GPL-2.0
/*
 * QUIC packet protection: AES-GCM, AES-CCM and AES header protection by the
 * crypto API. Fast transforms may be asynchronous, so these functions wait if
 * their context allows.
 */

#include <crypto/aead.h>
#include <crypto/skcipher.h>
#include <linux/skbuff.h>
#include <net/quic.h>

#include "batch.h"
#include "cipher.h"

static u32 quic_req_flags(gfp_t gfp)
{
	if (!gfpflags_allow_blocking(gfp))
		return 0;
	return CRYPTO_TFM_REQ_MAY_BACKLOG | CRYPTO_TFM_REQ_MAY_SLEEP;
}

/**
 * quic_aes_masks - &quic_cipher.masks of AES ciphers, RFC 9001 5.4.3
 * @op: operation
 *
 * Context: as the gfp flags of the protection say.
 * Return: 0 or a negative error.
 */
int quic_aes_masks(struct quic_op *op)
{
	struct skcipher_request *req = (struct skcipher_request *)op->req;
	unsigned int len = op->b->layout.npkts * QUIC_HP_SAMPLE_SIZE;

	crypto_init_wait(&op->wait);
	sg_set_buf(&op->sg, op->samples, len);
	skcipher_request_set_tfm(req, op->prot->hp->tfm);
	skcipher_request_set_callback(req, quic_req_flags(op->prot->gfp),
				      crypto_req_done, &op->wait);
	skcipher_request_set_crypt(req, &op->sg, &op->sg, len, NULL);
	return crypto_wait_req(crypto_skcipher_encrypt(req), &op->wait);
}

/* Put packet @i into a scatterlist */
static struct scatterlist *quic_aes_sg(struct quic_op *op, unsigned int i)
{
	const struct quic_batch *b = op->b;
	unsigned int len = quic_batch_pkt_len(b, i);
	int err;

	if (b->pkts[i].data) {
		sg_set_buf(&op->sg, b->pkts[i].data, len);
		return &op->sg;
	}
	sg_init_table(op->frags, MAX_SKB_FRAGS + 1);
	err = skb_to_sgvec(b->skb, op->frags, quic_batch_pkt_off(b, i), len);
	return err < 0 ? ERR_PTR(err) : op->frags;
}

/* RFC 9001 5.3 */
static int quic_aes_seal_one(struct quic_op *op, unsigned int i)
{
	struct aead_request *req = (struct aead_request *)op->req;
	struct scatterlist *sg = quic_aes_sg(op, i);
	const struct quic_prot *prot = op->prot;
	const struct quic_batch *b = op->b;
	unsigned int hdr_len, len;

	if (IS_ERR(sg))
		return PTR_ERR(sg);
	hdr_len = quic_batch_hdr_len(b, &b->pkts[i]);
	len = quic_batch_pkt_len(b, i) - hdr_len - QUIC_TAG_SIZE;
	quic_nonce(op->iv + prot->cipher->iv_off, prot->iv, b->pkts[i].pn);
	aead_request_set_ad(req, hdr_len);
	aead_request_set_crypt(req, sg, sg, len, op->iv);
	return crypto_wait_req(crypto_aead_encrypt(req), &op->wait);
}

/**
 * quic_aes_seal - &quic_cipher.seal of AES ciphers
 * @op: operation
 *
 * Context: as the gfp flags of the protection say.
 * Return: 0 or a negative error.
 */
int quic_aes_seal(struct quic_op *op)
{
	struct aead_request *req = (struct aead_request *)op->req;
	u8 *sample = op->samples;
	unsigned int i;
	int err = 0;

	crypto_init_wait(&op->wait);
	aead_request_set_tfm(req, op->prot->tfm);
	aead_request_set_callback(req, quic_req_flags(op->prot->gfp),
				  crypto_req_done, &op->wait);
	for (i = 0; i < op->b->layout.npkts && !err; i++) {
		err = quic_aes_seal_one(op, i);
		/* The packet is still in the cache: take its sample now */
		if (!err)
			err = quic_batch_sample(op->b, i, sample);
		sample += QUIC_HP_SAMPLE_SIZE;
	}
	return err;
}

/* A packet whose header is in @buf */
static struct scatterlist *quic_aes_src(struct quic_op *op,
					const struct quic_pkt *pkt, u8 *buf,
					unsigned int hdr_len, unsigned int len)
{
	if (!pkt->data)
		return &op->sg;
	sg_set_buf(&op->frags[0], buf, hdr_len);
	sg_set_buf(&op->frags[1], pkt->data + hdr_len, len - hdr_len);
	return op->frags;
}

/**
 * quic_aes_open - &quic_cipher.open of AES ciphers, RFC 9001 5.3
 * @op: operation
 * @i: index of the packet
 * @buf: its unprotected header; the payload is written behind it
 *
 * Context: as the gfp flags of the protection say.
 * Return: 0, -EBADMSG if the packet is not authentic, or another error.
 */
int quic_aes_open(struct quic_op *op, unsigned int i, u8 *buf)
{
	struct aead_request *req = (struct aead_request *)op->req;
	unsigned int len = quic_batch_pkt_len(op->b, i), hdr_len;
	const struct quic_pkt *pkt = &op->b->pkts[i];
	const struct quic_prot *prot = op->prot;

	hdr_len = quic_batch_hdr_len(op->b, pkt);
	crypto_init_wait(&op->wait);
	sg_set_buf(&op->sg, buf, len);
	quic_nonce(op->iv + prot->cipher->iv_off, prot->iv, pkt->pn);
	aead_request_set_tfm(req, prot->tfm);
	aead_request_set_callback(req, quic_req_flags(prot->gfp),
				  crypto_req_done, &op->wait);
	aead_request_set_ad(req, hdr_len);
	aead_request_set_crypt(req, quic_aes_src(op, pkt, buf, hdr_len, len),
			       &op->sg, len - hdr_len, op->iv);
	return crypto_wait_req(crypto_aead_decrypt(req), &op->wait);
}
