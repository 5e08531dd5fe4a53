// SPDX-License-Identifier: GPL-2.0
/*
 * QUIC packet protection: protect a batch of packets in place
 */

#include <linux/overflow.h>
#include <linux/skbuff.h>
#include <net/quic.h>

#include "batch.h"
#include "cipher.h"

static int quic_seal_header(struct quic_op *op, unsigned int i)
{
	const u8 *mask = op->samples + i * QUIC_HP_SAMPLE_SIZE;
	const struct quic_batch *b = op->b;
	unsigned int len = quic_sample_off(b->cid_len);
	const struct quic_pkt *pkt = &b->pkts[i];
	u8 buf[QUIC_MAX_HDR_SIZE], *hdr = pkt->data ?: buf;
	int err;

	if (!pkt->data) {
		err = skb_copy_bits(b->skb, quic_batch_pkt_off(b, i), hdr, len);
		if (err)
			return err;
	}
	quic_hp_xor(hdr, hdr + quic_pn_off(b->cid_len), mask, pkt->pn_len);
	if (pkt->data)
		return 0;
	return skb_store_bits(b->skb, quic_batch_pkt_off(b, i), hdr, len);
}

static int quic_seal_headers(struct quic_op *op)
{
	unsigned int i;
	int err;

	err = op->prot->cipher->masks(op);
	for (i = 0; i < op->b->layout.npkts && !err; i++)
		err = quic_seal_header(op, i);
	return err;
}

/**
 * quic_seal - protect packets in place, RFC 9001 5.3 and 5.4
 * @prot: AEAD key and header protection, for the caller's context
 * @b: parsed batch, whose packet numbers are reserved in the key. Its skb is
 *	neither shared nor cloned, and has no frag list
 *
 * Context: process, sleeps, if @prot->gfp is GFP_KERNEL; else any.
 * Return: 0, or a negative error; the packets are then in no defined state.
 */
int quic_seal(const struct quic_prot *prot, struct quic_batch *b)
{
	DEFINE_RAW_FLEX(struct quic_op, one, req, QUIC_OP_ONE_SIZE);
	struct quic_op *op = one;
	int err;

	if (!quic_op_init_one(one, prot, b)) {
		op = quic_op_alloc(prot, 1, b);
		if (!op)
			return -ENOMEM;
	}
	err = prot->cipher->seal(op);
	if (!err)
		err = quic_seal_headers(op);
	if (op == one)
		quic_op_wipe(op);
	else
		quic_op_free(op);
	return err;
}
