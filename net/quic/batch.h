/* SPDX-License-Identifier: GPL-2.0 */
/*
 * QUIC packet protection: the packets of one call, in an skb
 */
#ifndef _NET_QUIC_BATCH_H
#define _NET_QUIC_BATCH_H

#include <linux/gfp_types.h>
#include <linux/minmax.h>
#include <uapi/linux/quic.h>

#include "pktnum.h"

struct sk_buff;

/**
 * struct quic_layout - geometry of the packets of a call
 * @user_len: bytes that the user passes
 * @wire_len: bytes on the wire, tags included
 * @stride: distance between packets on the wire
 * @npkts: number of packets, at most UDP_MAX_SEGMENTS
 * @tag_room: the user's packets end in room for the tag
 */
struct quic_layout {
	unsigned int user_len;
	unsigned int wire_len;
	unsigned int stride;
	unsigned int npkts;
	bool tag_room;
};

/**
 * struct quic_batch - the packets of a call, in an skb
 * @skb: skb that holds the packets, each with QUIC_TAG_SIZE bytes for its tag
 * @off: offset of the first packet in @skb
 * @layout: geometry, constant once it is set
 * @cid: connection ID that every packet must have
 * @cid_len: bytes of @cid
 * @phase: Key Phase bit of all packets, found by quic_batch_parse()
 * @pn_lens: bit n is set if a packet has a packet number of n bytes, found by
 *	     quic_batch_parse()
 * @consecutive: each packet number is one more than the previous one, found by
 *		 quic_batch_parse()
 * @pkts: parsed headers, filled in by quic_batch_parse()
 * @one: storage of @pkts for a single packet
 */
struct quic_batch {
	struct sk_buff *skb;
	unsigned int off;
	struct quic_layout layout;
	const u8 *cid;
	u8 cid_len;
	u8 phase;
	u8 pn_lens;
	bool consecutive;
	struct quic_pkt *pkts;
	struct quic_pkt one;
};

int quic_layout_init(struct quic_layout *l, size_t len, unsigned int gso_size,
		     bool tag_room);

int quic_batch_alloc(struct quic_batch *b, gfp_t gfp);
void quic_batch_free(struct quic_batch *b);
int quic_batch_parse(struct quic_batch *b, u64 expected);
int quic_batch_sample(const struct quic_batch *b, unsigned int i, u8 *sample);
int quic_batch_clear_tags(struct quic_batch *b);

int quic_pkt_parse(struct quic_pkt *pkt, const u8 *hdr, unsigned int len,
		   unsigned int cid_len, u64 expected);

/**
 * quic_layout_pkt_len - size of a packet on the wire
 * @l: layout
 * @i: index of the packet
 *
 * Return: bytes, tag included. Only the last packet may be shorter than the
 * stride.
 */
static inline unsigned int quic_layout_pkt_len(const struct quic_layout *l,
					       unsigned int i)
{
	return min(l->stride, l->wire_len - i * l->stride);
}

static inline unsigned int quic_batch_pkt_len(const struct quic_batch *b,
					      unsigned int i)
{
	return quic_layout_pkt_len(&b->layout, i);
}

static inline unsigned int quic_batch_pkt_off(const struct quic_batch *b,
					      unsigned int i)
{
	return b->off + i * b->layout.stride;
}

/* First byte, connection ID, packet number: the associated data of the AEAD */
static inline unsigned int quic_batch_hdr_len(const struct quic_batch *b,
					      const struct quic_pkt *pkt)
{
	return 1 + b->cid_len + pkt->pn_len;
}

#endif /* _NET_QUIC_BATCH_H */
