// SPDX-License-Identifier: GPL-2.0
/*
 * QUIC packet protection: nonces, and the packet numbers that a key has sealed.
 * Nothing here sleeps, allocates or takes locks.
 */

#include <linux/bitmap.h>
#include <linux/errno.h>
#include <linux/minmax.h>
#include <linux/string.h>
#include <linux/unaligned.h>
#include <uapi/linux/quic.h>

#include "pktnum.h"

/**
 * quic_path_iv - make the IV of a key that of a path
 * @iv: IV of the key, changed
 * @path_id: path of multipath QUIC
 *
 * The nonce is the IV XOR the path's number in 4 bytes and the packet number in
 * 8 bytes. So packets of two paths never share a nonce.
 */
void quic_path_iv(u8 *iv, u32 path_id)
{
	put_unaligned_be32(get_unaligned_be32(iv) ^ path_id, iv);
}

/**
 * quic_nonce - AEAD nonce of a packet, RFC 9001 5.3
 * @nonce: filled in, QUIC_MAX_IV_SIZE bytes
 * @iv: IV of the key and the path
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

/* Are all numbers of @pkts new? Also computes the top of the window that
 * contains them.
 */
static bool quic_pn_all_new(const struct quic_pn_window *w,
			    const struct quic_pkt *pkts, unsigned int n,
			    u64 *top)
{
	u64 max = 0, pn;
	unsigned int i;

	for (i = 0; i < n; i++) {
		pn = pkts[i].pn;
		/* Numbers usually ascend: search only for those that do not */
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

/* Mark @n numbers from @pn on; @pn is not below the top of the window */
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
 * @n: number of packets
 *
 * Whether a number may be sealed depends on nothing but the numbers. So this
 * does not rely on what the parser has found out about them.
 *
 * Return: 0, or -EALREADY if a number was taken before, occurs twice in @pkts,
 * or is too old for the window to tell.
 */
int quic_pn_reserve(struct quic_pn_window *w, const struct quic_pkt *pkts,
		    unsigned int n)
{
	unsigned int i;
	u64 top;

	/* Fast path: the numbers continue what was sealed last */
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
 * quic_pn_release - give back packet numbers that no packet was sealed with
 * @w: window; the caller serialises
 * @pkts: packets of a successful quic_pn_reserve()
 * @n: number of packets
 */
void quic_pn_release(struct quic_pn_window *w, const struct quic_pkt *pkts,
		     unsigned int n)
{
	unsigned int i;

	/* A number that the window has left behind cannot be given back */
	for (i = 0; i < n; i++) {
		if (pkts[i].pn + QUIC_PN_WINDOW >= w->top)
			__clear_bit(pkts[i].pn % QUIC_PN_WINDOW, w->map);
	}
}

/**
 * quic_pn_restore - start with a record of which only the top is known
 * @w: empty window
 * @top: highest packet number that was sealed plus one
 */
void quic_pn_restore(struct quic_pn_window *w, u64 top)
{
	w->top = top;
	bitmap_fill(w->map, QUIC_PN_WINDOW);
}
