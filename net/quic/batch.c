// SPDX-License-Identifier: GPL-2.0
/*
 * QUIC packet protection: geometry and headers of the packets of a call.
 * Nothing here sleeps, except as the caller's gfp flags allow, or takes locks.
 */

#include <linux/math.h>
#include <linux/skbuff.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/udp.h>
#include <linux/unaligned.h>
#include <net/quic.h>

#include "batch.h"

/**
 * quic_layout_init - find the packets in what a call sends
 * @l: filled in
 * @len: bytes that the user passes
 * @gso_size: size of packets on the wire, tag included; 0 for a single packet
 * @tag_room: the user's packets end in QUIC_TAG_SIZE bytes of room; if not,
 *	      this room is added to each packet
 *
 * Return: 0, -EINVAL if the bytes do not make packets, -EMSGSIZE if they
 * exceed a UDP datagram.
 */
int quic_layout_init(struct quic_layout *l, size_t len, unsigned int gso_size,
		     bool tag_room)
{
	unsigned int room = tag_room ? 0 : QUIC_TAG_SIZE;

	if (len > 0xffff)
		return -EMSGSIZE;
	if (!gso_size)
		gso_size = len + room;
	if (!len || gso_size <= QUIC_TAG_SIZE)
		return -EINVAL;

	l->stride = gso_size;
	/* A division of 32 bits takes a third of the time of one of 64 */
	l->npkts = DIV_ROUND_UP((u32)len, gso_size - room);
	if (l->npkts > UDP_MAX_SEGMENTS)
		return -EINVAL;

	l->user_len = len;
	l->wire_len = len + l->npkts * room;
	l->tag_room = tag_room;
	if (l->wire_len > 0xffff)
		return -EMSGSIZE;
	/* Every packet, the last one included, is longer than its tag */
	if (quic_layout_pkt_len(l, l->npkts - 1) <= QUIC_TAG_SIZE)
		return -EINVAL;
	return 0;
}

/**
 * quic_batch_alloc - memory for the parsed headers of a batch
 * @b: batch, with skb, offset, layout and connection ID set
 * @gfp: flags; a single packet needs no memory
 *
 * Context: as @gfp allows.
 * Return: 0 or -ENOMEM. quic_batch_free() undoes it.
 */
int quic_batch_alloc(struct quic_batch *b, gfp_t gfp)
{
	b->pkts = &b->one;
	if (b->layout.npkts > 1)
		b->pkts = kmalloc_array(b->layout.npkts, sizeof(*b->pkts),
					gfp);
	return b->pkts ? 0 : -ENOMEM;
}

/**
 * quic_batch_free - undo quic_batch_alloc()
 * @b: batch
 */
void quic_batch_free(struct quic_batch *b)
{
	if (b->pkts != &b->one)
		kfree(b->pkts);
	b->pkts = NULL;
}

static bool quic_words_equal(const u8 *a, const u8 *b)
{
	return get_unaligned((const u64 *)a) == get_unaligned((const u64 *)b);
}

/* memcmp() would take as long as everything else that is done for a packet's
 * header. The last word compared may overlap with the one before.
 */
static bool quic_bytes_equal(const u8 *a, const u8 *b, unsigned int len)
{
	unsigned int last = len - sizeof(u64), i;

	if (len < sizeof(u64)) {
		while (len--) {
			if (*a++ != *b++)
				return false;
		}
		return true;
	}
	for (i = 0; i < last; i += sizeof(u64)) {
		if (!quic_words_equal(a + i, b + i))
			return false;
	}
	return quic_words_equal(a + last, b + last);
}

/**
 * quic_pkt_parse - read and check an unprotected short header
 * @pkt: filled in with the packet number and its length
 * @hdr: first bytes of the packet, at least min(@len, QUIC_MAX_HDR_SIZE)
 * @len: bytes of the packet without the tag
 * @cid_len: bytes of the connection ID
 * @expected: expected packet number
 *
 * The fixed bit may be greased (RFC 9287), and the reserved bits are left to
 * the sender.
 *
 * Return: 0, or -EINVAL for a long header or a packet that ends before the
 * header-protection sample (RFC 9001 5.4.2).
 */
int quic_pkt_parse(struct quic_pkt *pkt, const u8 *hdr, unsigned int len,
		   unsigned int cid_len, u64 expected)
{
	const u8 *pn = hdr + quic_pn_off(cid_len);

	/* The sample starts 4 bytes after the packet number does and is as
	 * long as the tag, so these 4 bytes must be there.
	 */
	BUILD_BUG_ON(QUIC_HP_SAMPLE_SIZE != QUIC_TAG_SIZE);
	if (len < quic_sample_off(cid_len))
		return -EINVAL;
	if (hdr[0] & QUIC_HDR_LONG)
		return -EINVAL;

	pkt->pn_len = (hdr[0] & QUIC_HDR_PN_LEN) + 1;
	pkt->pn = quic_pkt_num_decode(expected,
				      quic_pkt_num_read(pn, pkt->pn_len),
				      pkt->pn_len);
	return pkt->pn > QUIC_MAX_PKT_NUM ? -EINVAL : 0;
}

/**
 * struct quic_piece - the linear part of an skb, or one of its fragments
 * @skb: the skb, or a member of its fragment list
 * @base: first byte, NULL if the kernel has no address for it
 * @start: offset of the first byte in the skb
 * @end: offset behind the last byte
 * @frag: index of the fragment that follows
 */
struct quic_piece {
	const struct sk_buff *skb;
	u8 *base;
	unsigned int start;
	unsigned int end;
	unsigned int frag;
};

static struct quic_piece quic_piece_first(const struct sk_buff *skb)
{
	return (struct quic_piece) {
		.skb	= skb,
		.base	= skb->data,
		.end	= skb_headlen(skb),
	};
}

/* Go on to the next piece of @skb. Return false if there is none. */
static bool quic_piece_next(struct quic_piece *piece, const struct sk_buff *skb)
{
	const struct sk_buff *next;
	const skb_frag_t *frag;

	piece->start = piece->end;
	if (piece->frag < skb_shinfo(piece->skb)->nr_frags) {
		frag = &skb_shinfo(piece->skb)->frags[piece->frag++];
		piece->base = skb_frag_address_safe(frag);
		piece->end += skb_frag_size(frag);
		return true;
	}
	next = piece->skb == skb ? skb_shinfo(skb)->frag_list :
				   piece->skb->next;
	if (!next)
		return false;
	piece->skb = next;
	piece->base = next->data;
	piece->end += skb_headlen(next);
	piece->frag = 0;
	return true;
}

/* Find @len bytes at @off, which ascends from call to call. Return NULL if they
 * are not contiguous.
 */
static u8 *quic_piece_find(struct quic_piece *piece, const struct sk_buff *skb,
			   unsigned int off, unsigned int len)
{
	while (off >= piece->end) {
		if (!quic_piece_next(piece, skb))
			return NULL;
	}
	return piece->base && off + len <= piece->end ?
	       piece->base + off - piece->start : NULL;
}

/**
 * quic_pkts_locate - find which packets of an skb can be read in place
 * @pkts: packets; the addresses of their data are filled in
 * @skb: skb
 * @off: offset of the first packet in @skb
 * @l: geometry of the packets
 *
 * A packet has no address if it is not contiguous, or if somebody else may
 * write to its pages, as after splice(): then what is decrypted could be
 * something else than what was authenticated.
 */
void quic_pkts_locate(struct quic_pkt *pkts, const struct sk_buff *skb,
		      unsigned int off, const struct quic_layout *l)
{
	struct quic_piece piece = quic_piece_first(skb);
	unsigned int i;

	for (i = 0; i < l->npkts; i++, off += l->stride) {
		pkts[i].data = quic_piece_find(&piece, skb, off,
					       quic_layout_pkt_len(l, i));
		if (skb_has_shared_frag(piece.skb))
			pkts[i].data = NULL;
	}
}

/* Fast path: most headers equal the previous one except for a packet number
 * that is one higher. @hdr is the header of packet @i - 1. Return how many
 * packets from @i on are like that; they are parsed.
 */
static unsigned int quic_batch_parse_run(struct quic_batch *b, unsigned int i,
					 const u8 *hdr,
					 const struct quic_piece *piece)
{
	struct quic_pkt *pkts = &b->pkts[i], pkt = pkts[-1];
	unsigned int shift = 8 * (QUIC_MAX_PKT_NUM_LEN - pkt.pn_len);
	unsigned int off = quic_batch_pkt_off(b, i), end, max;
	unsigned int stride = b->layout.stride;
	unsigned int hdr_len = quic_pn_off(b->cid_len);
	u32 pn;

	end = min(b->off + b->layout.wire_len, piece->end);
	if (off >= end)
		return 0;
	max = min_t(u64, (end - off) / stride, QUIC_MAX_PKT_NUM - pkt.pn);
	pkt.data = piece->base + off - piece->start;
	for (i = 0; i < max; i++, pkt.data += stride) {
		pkt.pn++;
		pn = (u32)pkt.pn << shift;
		if ((get_unaligned_be32(pkt.data + hdr_len) ^ pn) >> shift ||
		    !quic_bytes_equal(pkt.data, hdr, hdr_len))
			break;
		pkts[i] = pkt;
	}
	return i;
}

/**
 * quic_batch_refuse - note which packet is refused, and why
 * @b: batch
 * @i: index of the packet
 * @hdr: its header, which quic_pkt_parse() would refuse
 */
void quic_batch_refuse(struct quic_batch *b, unsigned int i, const u8 *hdr)
{
	b->refused = i;
	if (quic_batch_pkt_len(b, i) - QUIC_TAG_SIZE <
	    quic_sample_off(b->cid_len))
		b->reason = QUIC_REASON_SHORT;
	else if (hdr[0] & QUIC_HDR_LONG)
		b->reason = QUIC_REASON_LONG_HEADER;
	else
		b->reason = QUIC_REASON_PKT_NUM;
}

/* Does a packet belong to those before it? */
static int quic_batch_compare(struct quic_batch *b, unsigned int i,
			      const u8 *hdr)
{
	u8 phase = !!(hdr[0] & QUIC_HDR_KEY_PHASE);

	if (!i)
		b->phase = phase;
	b->refused = i;
	if (!quic_bytes_equal(hdr + 1, b->cid, b->cid_len))
		b->reason = QUIC_REASON_CID;
	else if (phase != b->phase)
		b->reason = QUIC_REASON_PHASE;
	return b->reason ? -EBADMSG : 0;
}

/* Parse packet @i from @hdr, and compare it with its predecessors */
static int quic_batch_parse_one(struct quic_batch *b, unsigned int i,
				const u8 *hdr, u64 expected)
{
	unsigned int len = quic_batch_pkt_len(b, i) - QUIC_TAG_SIZE;
	struct quic_pkt *pkt = &b->pkts[i];
	int err;

	if (i)
		expected = pkt[-1].pn + 1;
	err = quic_pkt_parse(pkt, hdr, len, b->cid_len, expected);
	if (err) {
		quic_batch_refuse(b, i, hdr);
		return err;
	}
	err = quic_batch_compare(b, i, hdr);
	if (err)
		return err;
	if (i && pkt->pn != expected)
		b->consecutive = false;
	b->pn_lens |= BIT(pkt->pn_len);
	if (!(hdr[0] & QUIC_HDR_FIXED))
		b->fixed = false;
	return 0;
}

/**
 * quic_batch_parse - read and check the headers of all packets of a call
 * @b: batch of quic_batch_alloc(); what it says of headers is filled in
 * @expected: expected number of the first packet; the others' follow from it
 *
 * Return: 0; -EINVAL as of quic_pkt_parse(); -EBADMSG for another connection
 * ID, or if packets differ in their Key Phase.
 */
int quic_batch_parse(struct quic_batch *b, u64 expected)
{
	struct quic_piece piece = quic_piece_first(b->skb);
	u8 buf[QUIC_MAX_HDR_SIZE];
	unsigned int i = 0, len;
	const u8 *hdr;
	int err;

	b->fixed = true;
	b->consecutive = true;
	b->reason = QUIC_REASON_NONE;
	b->pn_lens = 0;
	while (i < b->layout.npkts) {
		len = quic_batch_pkt_len(b, i);
		hdr = quic_piece_find(&piece, b->skb, quic_batch_pkt_off(b, i),
				      len);
		b->pkts[i].data = (u8 *)hdr;
		if (!hdr) {
			err = skb_copy_bits(b->skb, quic_batch_pkt_off(b, i),
					    buf, min_t(size_t, len,
						       sizeof(buf)));
			if (err)
				return err;
			hdr = buf;
		}
		err = quic_batch_parse_one(b, i, hdr, expected);
		if (err)
			return err;
		i++;
		i += quic_batch_parse_run(b, i, hdr, &piece);
	}
	return 0;
}

/**
 * quic_batch_sample - header-protection sample of a packet, RFC 9001 5.4.2
 * @b: batch, with the addresses of its packets
 * @i: index of the packet
 * @sample: filled in, QUIC_HP_SAMPLE_SIZE bytes
 *
 * Return: 0 or a negative error.
 */
int quic_batch_sample(const struct quic_batch *b, unsigned int i, u8 *sample)
{
	unsigned int pos = quic_sample_off(b->cid_len);
	const u8 *data = b->pkts[i].data;

	if (!data)
		return skb_copy_bits(b->skb, quic_batch_pkt_off(b, i) + pos,
				     sample, QUIC_HP_SAMPLE_SIZE);
	memcpy(sample, data + pos, QUIC_HP_SAMPLE_SIZE);
	return 0;
}

/**
 * quic_batch_clear_tags - zero the room that packets have for their tags
 * @b: parsed batch
 *
 * Return: 0 or a negative error.
 */
int quic_batch_clear_tags(struct quic_batch *b)
{
	const struct quic_pkt *pkt = b->pkts, *end = pkt + b->layout.npkts;
	unsigned int pos = b->layout.stride - QUIC_TAG_SIZE;
	static const u8 zero[QUIC_TAG_SIZE];
	unsigned int off = b->off;
	int err = 0;

	for (; pkt < end && !err; pkt++, off += b->layout.stride) {
		if (pkt + 1 == end)
			pos = quic_batch_pkt_len(b, b->layout.npkts - 1) -
			      QUIC_TAG_SIZE;
		if (pkt->data)
			memset(pkt->data + pos, 0, QUIC_TAG_SIZE);
		else
			err = skb_store_bits(b->skb, off + pos, zero,
					     QUIC_TAG_SIZE);
	}
	return err;
}
