/* SPDX-License-Identifier: GPL-2.0 */
/*
 * QUIC packet protection: what socket diagnostics tell of a socket
 */
#ifndef _NET_QUIC_DIAG_H
#define _NET_QUIC_DIAG_H

#include <linux/atomic.h>
#include <linux/cache.h>

struct sk_buff;
struct udp_ulp;

/**
 * struct quic_counts - counters of a socket, for one direction
 * @packets: packets sealed, or opened, on the CPU
 * @dev_packets: packets left to devices, or opened by devices
 * @dev_flows: flows with a key in a device that is in use
 *
 * In a cache line of their own, as every call writes them.
 */
struct quic_counts {
	atomic64_t packets;
	atomic64_t dev_packets;
	atomic_t dev_flows;
} ____cacheline_aligned_in_smp;

static inline void quic_counts_add(struct quic_counts *counts, bool device,
				   unsigned int npkts)
{
	atomic64_add(npkts, device ? &counts->dev_packets : &counts->packets);
}

int quic_diag_get_info(struct udp_ulp *ulp, struct sk_buff *skb,
		       bool net_admin);

#endif /* _NET_QUIC_DIAG_H */
