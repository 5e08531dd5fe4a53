// SPDX-License-Identifier: GPL-2.0
/*
 * QUIC packet protection: open packets, each to a buffer of its own. An skb
 * that was received is never written: others may see it, and a packet that does
 * not open has to reach the program as it was on the wire.
 */

#include <linux/skbuff.h>
#include <net/quic.h>

#include "batch.h"
#include "cipher.h"

/**
 * quic_open_masks - header-protection masks of all packets, RFC 9001 5.4
 * @op: operation; every packet of its batch has a sample
 *
 * Context: as the gfp flags of the protection say.
 * Return: 0 or a negative error.
 */
int quic_open_masks(struct quic_op *op)
{
	u8 *sample = op->samples;
	unsigned int i;
	int err;

	for (i = 0; i < op->b->layout.npkts; i++) {
		err = quic_batch_sample(op->b, i, sample);
		if (err)
			return err;
		sample += QUIC_HP_SAMPLE_SIZE;
	}
	return op->prot->hp->cipher->masks(op);
}

/* Copy what will be changed of a packet, or all of it if it is not contiguous
 */
static int quic_open_copy(const struct quic_op *op, unsigned int i, u8 *buf)
{
	const struct quic_batch *b = op->b;

	if (!b->pkts[i].data)
		return skb_copy_bits(b->skb, quic_batch_pkt_off(b, i), buf,
				     quic_batch_pkt_len(b, i));
	memcpy(buf, b->pkts[i].data, quic_sample_off(b->cid_len));
	return 0;
}

/**
 * quic_open_header - remove header protection from a packet, in a buffer
 * @op: operation, after quic_open_masks()
 * @i: index of the packet; its number is filled in
 * @buf: room for the packet
 * @expected: expected packet number
 *
 * Nothing of what this finds is authentic yet.
 *
 * Return: 0, and @buf begins with the header; or a negative error.
 */
int quic_open_header(const struct quic_op *op, unsigned int i, u8 *buf,
		     u64 expected)
{
	const u8 *mask = op->samples + i * QUIC_HP_SAMPLE_SIZE;
	u8 *pn = buf + quic_pn_off(op->b->cid_len);
	struct quic_pkt *pkt = &op->b->pkts[i];
	int err;

	err = quic_open_copy(op, i, buf);
	if (err)
		return err;
	pkt->pn_len = ((buf[0] ^ mask[0]) & QUIC_HDR_PN_LEN) + 1;
	quic_hp_xor(buf, pn, mask, pkt->pn_len);
	pkt->pn = quic_pkt_num_decode(expected,
				      quic_pkt_num_read(pn, pkt->pn_len),
				      pkt->pn_len);
	return 0;
}

/**
 * quic_open - verify and decrypt a packet, RFC 9001 5.3
 * @op: operation, with the protection to use
 * @i: index of the packet
 * @buf: buffer of quic_open_header(); gets the payload, and zeros for the tag
 *
 * Context: as the gfp flags of the protection say.
 * Return: 0; -EBADMSG if the packet is not authentic; or another negative
 * error. Unless this is 0, the buffer is in no defined state, and nobody may
 * see it.
 */
int quic_open(struct quic_op *op, unsigned int i, u8 *buf)
{
	int err;

	/* No authentic packet has such a number */
	if (op->b->pkts[i].pn > QUIC_MAX_PKT_NUM)
		return -EBADMSG;
	err = op->prot->cipher->open(op, i, buf);
	/* The buffer has not been initialized */
	if (!err)
		memset(buf + quic_batch_pkt_len(op->b, i) - QUIC_TAG_SIZE, 0,
		       QUIC_TAG_SIZE);
	return err;
}
