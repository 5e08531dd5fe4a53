// SPDX-License-Identifier: GPL-2.0
/*
 * QUIC packet protection: packets, packet numbers, and where they are.
 * Nothing here sleeps, allocates or takes locks.
 */

#include <linux/bitmap.h>
#include <linux/math.h>
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
	l->npkts = DIV_ROUND_UP(len, gso_size - room);
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

/**
 * quic_layout_pkt_len - size of a packet on the wire
 * @l: layout
 * @i: which, from 0
 *
 * Return: bytes, tag included. Only the last packet may be short of the stride.
 */
unsigned int quic_layout_pkt_len(const struct quic_layout *l, unsigned int i)
{
	return min(l->stride, l->wire_len - i * l->stride);
}

static u32 quic_pkt_num_read(const u8 *p, unsigned int pn_len)
{
	u32 pn = 0;

	while (pn_len--)
		pn = pn << 8 | *p++;
	return pn;
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
	if (memcmp(hdr + 1, cid, cid_len))
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
