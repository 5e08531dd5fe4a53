/* SPDX-License-Identifier: GPL-2.0 */
/*
 * QUIC packet protection: the packets of one call, in an skb
 */
#ifndef _NET_QUIC_BATCH_H
#define _NET_QUIC_BATCH_H

#include <linux/gfp_types.h>
#include <linux/minmax.h>
#include <linux/unaligned.h>
#include <net/quic.h>

#include "pktnum.h"

struct sk_buff;

/**
 * enum quic_reason - why a call is refused, for the tracepoint quic_seal_error
 * @QUIC_REASON_NONE: the error says it
 * @QUIC_REASON_CMSG: a control message is malformed, is there twice or has
 *		      another size
 * @QUIC_REASON_FLAGS: flags of the control message
 * @QUIC_REASON_CID_LEN: conn_id_length of the control message
 * @QUIC_REASON_NEXT_PKT_NUM: next_pkt_num of the control message
 * @QUIC_REASON_LAYOUT: the data do not make packets, or too many
 * @QUIC_REASON_UDP: UDP has refused the call before it came to sealing
 * @QUIC_REASON_SOCKET: checksums are off, or UDP_SEGMENT has changed
 * @QUIC_REASON_MTU: packets would become fragments
 * @QUIC_REASON_SHORT: a packet ends before the header-protection sample
 * @QUIC_REASON_LONG_HEADER: a packet has a long header
 * @QUIC_REASON_PKT_NUM: a packet number is more than QUIC_MAX_PKT_NUM
 * @QUIC_REASON_CID: a packet has another connection ID
 * @QUIC_REASON_PHASE: a packet has another Key Phase than the first
 * @QUIC_REASON_LOST: the packets were sealed, and refused afterwards
 */
enum quic_reason {
	QUIC_REASON_NONE,
	QUIC_REASON_CMSG,
	QUIC_REASON_FLAGS,
	QUIC_REASON_CID_LEN,
	QUIC_REASON_NEXT_PKT_NUM,
	QUIC_REASON_LAYOUT,
	QUIC_REASON_UDP,
	QUIC_REASON_SOCKET,
	QUIC_REASON_MTU,
	QUIC_REASON_SHORT,
	QUIC_REASON_LONG_HEADER,
	QUIC_REASON_PKT_NUM,
	QUIC_REASON_CID,
	QUIC_REASON_PHASE,
	QUIC_REASON_LOST,
};

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
 * @fixed: all packets have the fixed bit, which RFC 9287 allows to be 0; found
 *	   by quic_batch_parse()
 * @consecutive: each packet number is one more than the previous one, found by
 *		 quic_batch_parse()
 * @reason: why quic_batch_parse() has refused a packet
 * @refused: index of this packet
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
	bool fixed;
	bool consecutive;
	u8 reason;
	u8 refused;
	struct quic_pkt *pkts;
	struct quic_pkt one;
};

int quic_layout_init(struct quic_layout *l, size_t len, unsigned int gso_size,
		     bool tag_room);

int quic_batch_alloc(struct quic_batch *b, gfp_t gfp);
void quic_batch_free(struct quic_batch *b);
int quic_batch_parse(struct quic_batch *b, u64 expected);
void quic_batch_refuse(struct quic_batch *b, unsigned int i, const u8 *hdr);
int quic_batch_sample(const struct quic_batch *b, unsigned int i, u8 *sample);
int quic_batch_clear_tags(struct quic_batch *b);

void quic_pkts_locate(struct quic_pkt *pkts, const struct sk_buff *skb,
		      unsigned int off, const struct quic_layout *l);
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

/* Where the packet number is, behind the first byte and the connection ID */
static inline unsigned int quic_pn_off(unsigned int cid_len)
{
	return 1 + cid_len;
}

/* First byte, connection ID, packet number: the associated data of the AEAD */
static inline unsigned int quic_batch_hdr_len(const struct quic_batch *b,
					      const struct quic_pkt *pkt)
{
	return quic_pn_off(b->cid_len) + pkt->pn_len;
}

/* Where the header-protection sample is, RFC 9001 5.4.2: as if the packet
 * number had its full length
 */
static inline unsigned int quic_sample_off(unsigned int cid_len)
{
	return quic_pn_off(cid_len) + QUIC_MAX_PKT_NUM_LEN;
}

/* Truncated packet number; QUIC_MAX_PKT_NUM_LEN bytes at @p can be read */
static inline u32 quic_pkt_num_read(const u8 *p, unsigned int pn_len)
{
	return get_unaligned_be32(p) >> (8 * (QUIC_MAX_PKT_NUM_LEN - pn_len));
}

/* RFC 9001 5.4.1. QUIC_MAX_PKT_NUM_LEN bytes can be accessed at @pn. */
static inline void quic_hp_xor(u8 *first, u8 *pn, const u8 *mask,
			       unsigned int pn_len)
{
	u32 bits = ~0U << (8 * (QUIC_MAX_PKT_NUM_LEN - pn_len));

	*first ^= mask[0] & QUIC_HDR_PROTECTED;
	put_unaligned_be32(get_unaligned_be32(pn) ^
			   (get_unaligned_be32(mask + 1) & bits), pn);
}

#endif /* _NET_QUIC_BATCH_H */
