/* SPDX-License-Identifier: GPL-2.0 */
/*
 * QUIC packet protection by devices: what the place of a key in a flow knows of
 * them
 */
#ifndef _NET_QUIC_OFFLOAD_SLOT_H
#define _NET_QUIC_OFFLOAD_SLOT_H

#include <linux/compiler_types.h>

struct quic_offload;

/**
 * struct quic_offload_slot - a key of a flow in devices
 * @offload: the key in a device, or offered to a device
 * @tried: &quic_offload_dev.gen of the device that has refused the key
 * @retry: when to offer the key to the device of @tried again, in jiffies; 0:
 *	   never
 * @blocked: &quic_offload_dev.gen of the device that packets of the flow cannot
 *	     get to without being changed on the way; survives key updates
 */
struct quic_offload_slot {
#ifdef CONFIG_QUIC_CRYPTO_DEVICE
	struct quic_offload __rcu *offload;
	unsigned long tried;
	unsigned long retry;
	unsigned long blocked;
#endif
};

#endif /* _NET_QUIC_OFFLOAD_SLOT_H */
