// SPDX-License-Identifier: GPL-2.0
/*
 * QUIC packet protection: packets, packet numbers, and where they are.
 * Nothing here sleeps, allocates or takes locks.
 */

#include <linux/bitmap.h>
#include <linux/math.h>
#include <linux/skbuff.h>
#include <linux/string.h>
#include <linux/udp.h>
#include <linux/unaligned.h>
#include <net/quic.h>

#include "quic.h"

/**
 * quic_layout_init - find the packets in what a call sends
 * @l: filled in
 * @len: bytes that the user passes
 * @gso_size: size of packets on the wire, tag included; 0 for a single packet
 * @tag_room: packets end in QUIC_TAG_SIZE bytes of room, else those are added
 *
 * Return: 0, -EINVAL where no packets come of it, -EMSGSIZE where more than a
 * UDP datagram may carry does.
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
	/* In 32 bits, where it takes a third of the time */
	l->npkts = DIV_ROUND_UP((u32)len, gso_size - room);
	if (l->npkts > UDP_MAX_SEGMENTS)
		return -EINVAL;

	l->user_len = len;
	l->wire_len = len + l->npkts * room;
	l->tag_room = tag_room;
	if (l->wire_len > 0xffff)
		return -EMSGSIZE;
	/* Every packet is longer than its tag, also the last */
	if (quic_layout_pkt_len(l, l->npkts - 1) <= QUIC_TAG_SIZE)
		return -EINVAL;
	return 0;
}

/* QUIC_MAX_PKT_NUM_LEN bytes are there, whatever @pn_len is */
static u32 quic_pkt_num_read(const u8 *p, unsigned int pn_len)
{
	return get_unaligned_be32(p) >> (8 * (QUIC_MAX_PKT_NUM_LEN - pn_len));
}

static bool quic_words_equal(const u8 *a, const u8 *b)
{
	return get_unaligned((const u64 *)a) == get_unaligned((const u64 *)b);
}

/* memcmp() takes as long as all the rest that is done for a packet's header.
 * The last word may overlap with the one before.
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
 * @pkt: filled in
 * @hdr: the packet, at least min(@len, QUIC_MAX_HDR_SIZE) bytes of it
 * @len: bytes of the packet without the tag
 * @cid: destination connection ID that it must have
 * @cid_len: bytes of @cid
 * @expected: expected packet number
 *
 * The fixed bit may be greased (RFC 9287), the reserved bits are the sender's.
 *
 * Return: 0, or -EINVAL for a long header, another connection ID, or a packet
 * that ends before the header-protection sample (RFC 9001 5.4.2).
 */
int quic_pkt_parse(struct quic_pkt *pkt, const u8 *hdr, unsigned int len,
		   const u8 *cid, unsigned int cid_len, u64 expected)
{
	/* The sample starts 4 bytes after the number does, and is as long as
	 * the tag; so those 4 bytes must be there.
	 */
	BUILD_BUG_ON(QUIC_HP_SAMPLE_SIZE != QUIC_TAG_SIZE);
	if (len < 1 + cid_len + QUIC_MAX_PKT_NUM_LEN)
		return -EINVAL;
	if (hdr[0] & QUIC_HDR_LONG)
		return -EINVAL;
	if (!quic_bytes_equal(hdr + 1, cid, cid_len))
		return -EINVAL;

	pkt->pn_len = (hdr[0] & QUIC_HDR_PN_LEN) + 1;
	pkt->phase = !!(hdr[0] & QUIC_HDR_KEY_PHASE);
	pkt->pn = quic_pkt_num_decode(expected,
				      quic_pkt_num_read(hdr + 1 + cid_len,
							pkt->pn_len),
				      pkt->pn_len);
	return pkt->pn > QUIC_MAX_PKT_NUM ? -EINVAL : 0;
}

/**
 * struct quic_piece - the linear part of an skb, or one of its fragments
 * @base: its bytes
 * @start: where in the skb it starts
 * @end: and where the next one does
 * @frag: the next one
 */
struct quic_piece {
	u8 *base;
	unsigned int start;
	unsigned int end;
	unsigned int frag;
};

/* Where @len bytes at @off are, or NULL where they are not in one piece. @off
 * ascends from call to call.
 */
static u8 *quic_piece_find(struct quic_piece *piece, const struct sk_buff *skb,
			   unsigned int off, unsigned int len)
{
	const skb_frag_t *frag;

	while (off >= piece->end) {
		if (piece->frag == skb_shinfo(skb)->nr_frags)
			return NULL;
		frag = &skb_shinfo(skb)->frags[piece->frag++];
		piece->base = skb_frag_address(frag);
		piece->start = piece->end;
		piece->end += skb_frag_size(frag);
	}
	return off + len <= piece->end ? piece->base + off - piece->start :
					 NULL;
}

/* As a rule a header differs from the one before in its number, which is the
 * next: there is no need to take it apart. @hdr is that of the packet before
 * @pkts, @off where its successor is, if that is in @piece. Return: how many
 * are so.
 */
static unsigned int quic_pkts_run(struct quic_pkt *pkts, const u8 *hdr,
				  unsigned int hdr_len,
				  const struct quic_piece *piece,
				  unsigned int off, unsigned int end,
				  unsigned int stride)
{
	struct quic_pkt pkt = pkts[-1];
	unsigned int shift = 8 * (QUIC_MAX_PKT_NUM_LEN - pkt.pn_len);
	unsigned int max, i;
	u32 pn;

	end = min(end, piece->end);
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

static int quic_pkts_parse_one(struct quic_pkt *pkts, unsigned int i,
			       const u8 *hdr, unsigned int len,
			       struct quic_layout *l, const u8 *cid,
			       unsigned int cid_len, u64 expected)
{
	struct quic_pkt *pkt = &pkts[i];
	int err;

	if (i)
		expected = pkt[-1].pn + 1;
	err = quic_pkt_parse(pkt, hdr, len - QUIC_TAG_SIZE, cid, cid_len,
			     expected);
	if (err)
		return err;
	if (pkt->phase != pkts->phase)
		return -EINVAL;
	if (i && pkt->pn != expected)
		l->consecutive = false;
	l->pn_lens |= BIT(pkt->pn_len);
	return 0;
}

/**
 * quic_pkts_parse - read and check the headers of all packets of a call
 * @pkts: filled in
 * @skb: packets, as of quic_seal()
 * @off: where in @skb the first packet starts
 * @l: where the others do; what it says of numbers is filled in
 * @cid: destination connection ID that they must have
 * @cid_len: bytes of @cid
 * @expected: expected number of the first; the others' follow from it
 *
 * Return: 0, or -EINVAL as of quic_pkt_parse(), or where packets differ in
 * their Key Phase.
 */
int quic_pkts_parse(struct quic_pkt *pkts, const struct sk_buff *skb,
		    unsigned int off, struct quic_layout *l, const u8 *cid,
		    unsigned int cid_len, u64 expected)
{
	unsigned int end = off + l->wire_len;
	unsigned int i = 0, len, run;
	struct quic_piece piece = {
		.base = skb->data,
		.end = skb_headlen(skb),
	};
	u8 buf[QUIC_MAX_HDR_SIZE];
	const u8 *hdr;
	int err;

	l->consecutive = true;
	l->pn_lens = 0;
	while (i < l->npkts) {
		len = min(l->stride, end - off);
		pkts[i].data = quic_piece_find(&piece, skb, off, len);
		hdr = pkts[i].data;
		if (!hdr) {
			err = skb_copy_bits(skb, off, buf,
					    min_t(size_t, len, sizeof(buf)));
			if (err)
				return err;
			hdr = buf;
		}
		err = quic_pkts_parse_one(pkts, i, hdr, len, l, cid, cid_len,
					  expected);
		if (err)
			return err;
		i++;
		off += len;
		run = quic_pkts_run(&pkts[i], hdr, 1 + cid_len, &piece, off,
				    end, l->stride);
		i += run;
		off += run * l->stride;
	}
	return 0;
}

/**
 * quic_pkts_clear_tags - zero the room that packets have for their tags
 * @pkts: packets as of quic_pkts_parse()
 * @skb: as there
 * @off: as there
 * @l: as there
 *
 * Return: 0 or a negative error.
 */
int quic_pkts_clear_tags(const struct quic_pkt *pkts, struct sk_buff *skb,
			 unsigned int off, const struct quic_layout *l)
{
	const struct quic_pkt *end = pkts + l->npkts;
	unsigned int pos = l->stride - QUIC_TAG_SIZE;
	static const u8 zero[QUIC_TAG_SIZE];
	unsigned int stride = l->stride;
	int err = 0;

	for (; pkts < end && !err; pkts++, off += stride) {
		if (pkts + 1 == end)
			pos = quic_layout_pkt_len(l, l->npkts - 1) -
			      QUIC_TAG_SIZE;
		if (pkts->data)
			memset(pkts->data + pos, 0, QUIC_TAG_SIZE);
		else
			err = skb_store_bits(skb, off + pos, zero,
					     QUIC_TAG_SIZE);
	}
	return err;
}

/**
 * quic_nonce - AEAD nonce of a packet, RFC 9001 5.3
 * @nonce: QUIC_MAX_IV_SIZE bytes, filled in
 * @iv: of the key
 * @pn: full packet number
 */
void quic_nonce(u8 *nonce, const u8 *iv, u64 pn)
{
	u8 *p = nonce + QUIC_MAX_IV_SIZE - sizeof(pn);

	memcpy(nonce, iv, QUIC_MAX_IV_SIZE);
	put_unaligned_be64(get_unaligned_be64(p) ^ pn, p);
}

static bool quic_pn_listed(const struct quic_pkt *pkts, unsigned int n, u64 pn)
{
	while (n--) {
		if (pkts[n].pn == pn)
			return true;
	}
	return false;
}

/* Would all of @pkts be new? Also finds the top of the window after them. */
static bool quic_pn_all_new(const struct quic_pn_window *w,
			    const struct quic_pkt *pkts, unsigned int n,
			    u64 *top)
{
	u64 max = 0, pn;
	unsigned int i;

	for (i = 0; i < n; i++) {
		pn = pkts[i].pn;
		/* Numbers ascend as a rule: only others are searched for */
		if (i && pn <= max && quic_pn_listed(pkts, i, pn))
			return false;
		max = max(max, pn);
		if (pn < w->top && pn + QUIC_PN_WINDOW >= w->top &&
		    test_bit(pn % QUIC_PN_WINDOW, w->map))
			return false;
	}

	*top = max(w->top, max + 1);
	for (i = 0; i < n; i++) {
		if (pkts[i].pn + QUIC_PN_WINDOW < *top)
			return false;
	}
	return true;
}

static void quic_pn_advance(struct quic_pn_window *w, u64 top)
{
	unsigned int from = w->top % QUIC_PN_WINDOW;
	u64 n = top - w->top;

	w->top = top;
	if (n >= QUIC_PN_WINDOW) {
		bitmap_zero(w->map, QUIC_PN_WINDOW);
	} else if (from + n > QUIC_PN_WINDOW) {
		bitmap_clear(w->map, from, QUIC_PN_WINDOW - from);
		bitmap_clear(w->map, 0, from + n - QUIC_PN_WINDOW);
	} else {
		bitmap_clear(w->map, from, n);
	}
}

static bool quic_pn_consecutive(const struct quic_pkt *pkts, unsigned int n)
{
	u64 first = pkts[0].pn;
	unsigned int i;

	for (i = 1; i < n; i++) {
		if (pkts[i].pn != first + i)
			return false;
	}
	return true;
}

/* @n numbers from @pn on, the first not below the top of the window */
static void quic_pn_take(struct quic_pn_window *w, u64 pn, unsigned int n)
{
	unsigned int from = pn % QUIC_PN_WINDOW;
	unsigned int end = min_t(unsigned int, n, QUIC_PN_WINDOW - from);

	if (pn != w->top)
		quic_pn_advance(w, pn);
	bitmap_set(w->map, from, end);
	bitmap_set(w->map, 0, n - end);
	w->top = pn + n;
}

/**
 * quic_pn_reserve - take the packet numbers of a call, all or none
 * @w: window; the caller serialises
 * @pkts: packets
 * @n: number of them
 *
 * Return: 0, or -EALREADY where one was taken before, stands twice in @pkts, or
 * is so old that nobody knows.
 */
int quic_pn_reserve(struct quic_pn_window *w, const struct quic_pkt *pkts,
		    unsigned int n)
{
	unsigned int i;
	u64 top;

	/* As a rule they continue what was sealed last */
	if (pkts[0].pn >= w->top && quic_pn_consecutive(pkts, n)) {
		quic_pn_take(w, pkts[0].pn, n);
		return 0;
	}
	if (!quic_pn_all_new(w, pkts, n, &top))
		return -EALREADY;
	quic_pn_advance(w, top);
	for (i = 0; i < n; i++)
		__set_bit(pkts[i].pn % QUIC_PN_WINDOW, w->map);
	return 0;
}

/**
 * quic_pn_release - give back numbers that nothing was sealed with
 * @w: window; the caller serialises
 * @pkts: packets of a successful quic_pn_reserve()
 * @n: number of them
 */
void quic_pn_release(struct quic_pn_window *w, const struct quic_pkt *pkts,
		     unsigned int n)
{
	unsigned int i;

	/* What the window has left behind cannot be given back */
	for (i = 0; i < n; i++) {
		if (pkts[i].pn + QUIC_PN_WINDOW >= w->top)
			__clear_bit(pkts[i].pn % QUIC_PN_WINDOW, w->map);
	}
}
