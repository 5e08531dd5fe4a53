/* SPDX-License-Identifier: GPL-2.0 */
/*
 * QUIC packet protection: packet numbers
 */
#ifndef _NET_QUIC_PKTNUM_H
#define _NET_QUIC_PKTNUM_H

#include <linux/types.h>

/* Packets that threads send out of order may lag this far behind */
#define QUIC_PN_WINDOW		4096

/**
 * struct quic_pkt - a packet of a batch
 * @data: first byte of the packet, NULL if the packet is not contiguous
 * @pn: full packet number
 * @pn_len: bytes of the packet number in the header, 1 to 4
 */
struct quic_pkt {
	u8 *data;
	u64 pn;
	u8 pn_len;
};

/**
 * struct quic_pn_window - packet numbers that a key has sealed
 * @top: highest packet number plus one, 0 if there is none
 * @map: bit (number % QUIC_PN_WINDOW) for the QUIC_PN_WINDOW numbers below @top
 */
struct quic_pn_window {
	u64 top;
	DECLARE_BITMAP(map, QUIC_PN_WINDOW);
};

void quic_path_iv(u8 *iv, u32 path_id);
void quic_nonce(u8 *nonce, const u8 *iv, u64 pn);
int quic_pn_reserve(struct quic_pn_window *w, const struct quic_pkt *pkts,
		    unsigned int n);
void quic_pn_release(struct quic_pn_window *w, const struct quic_pkt *pkts,
		     unsigned int n);
void quic_pn_restore(struct quic_pn_window *w, u64 top);

#endif /* _NET_QUIC_PKTNUM_H */
