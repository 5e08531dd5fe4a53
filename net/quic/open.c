// SPDX-License-Identifier: GPL-2.0
/*
 * QUIC packet protection: open packets, each in a copy of its own. An skb that
 * was received is never written: others may see it, and a packet that does not
 * open has to reach the program as it was on the wire.
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
	const struct quic_batch *b = op->b;
	unsigned int pos = quic_sample_off(b->cid_len), i;
	u8 *sample = op->samples;
	int err;

	for (i = 0; i < b->layout.npkts; i++) {
		err = skb_copy_bits(b->skb, quic_batch_pkt_off(b, i) + pos,
				    sample, QUIC_HP_SAMPLE_SIZE);
		if (err)
			return err;
		sample += QUIC_HP_SAMPLE_SIZE;
	}
	return op->prot->hp->cipher->masks(op);
}

/**
 * quic_open_header - remove header protection from the copy of a packet
 * @op: operation, after quic_open_masks()
 * @i: index of the packet
 * @pkt: its data are the copy; its number is filled in
 * @expected: expected packet number
 *
 * Nothing of what this finds is authentic yet.
 */
void quic_open_header(const struct quic_op *op, unsigned int i,
		      struct quic_pkt *pkt, u64 expected)
{
	const u8 *mask = op->samples + i * QUIC_HP_SAMPLE_SIZE;
	u8 *hdr = pkt->data, *pn = hdr + quic_pn_off(op->b->cid_len);

	pkt->pn_len = ((hdr[0] ^ mask[0]) & QUIC_HDR_PN_LEN) + 1;
	quic_hp_xor(hdr, pn, mask, pkt->pn_len);
	pkt->pn = quic_pkt_num_decode(expected,
				      quic_pkt_num_read(pn, pkt->pn_len),
				      pkt->pn_len);
}

/**
 * quic_open - verify and decrypt a packet in its copy, RFC 9001 5.3
 * @op: operation, with the protection to use
 * @pkt: packet of quic_open_header()
 * @len: bytes of the packet, with the tag, which stays as it is
 *
 * Context: as the gfp flags of the protection say.
 * Return: 0; -EBADMSG if the packet is not authentic; or another negative
 * error. Unless this is 0, the copy is in no defined state, and nobody may see
 * it.
 */
int quic_open(struct quic_op *op, const struct quic_pkt *pkt, unsigned int len)
{
	/* No authentic packet has such a number */
	if (pkt->pn > QUIC_MAX_PKT_NUM)
		return -EBADMSG;
	return op->prot->cipher->open(op, pkt, len);
}
