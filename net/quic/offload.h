/* SPDX-License-Identifier: GPL-2.0 */
/*
 * QUIC packet protection by devices
 */
#ifndef _NET_QUIC_OFFLOAD_H
#define _NET_QUIC_OFFLOAD_H

#include <linux/list.h>
#include <linux/refcount.h>
#include <linux/workqueue.h>
#include <net/quic.h>

#include "key.h"

struct net_device;
struct quic_batch;
struct quic_flow;
struct quic_skb_ext;
struct sk_buff;
struct sock;

#ifdef CONFIG_QUIC_CRYPTO_DEVICE
/**
 * struct quic_offload - a key of a flow that a device seals with
 * @list: entry in quic_offload_list while @netdev is set
 * @ref: one reference of the slot and one of each skb; the last one frees by
 *	 @rwork
 * @netdev: device, NULL when the device has lost the key
 * @tracker: tracks the reference on @netdev
 * @net: namespace of the flow, valid while @bound
 * @bound: the slot has this offload and the device has the key; protected by
 *	   quic_offload_lock
 * @key: key, to seal in software what ends up on another device
 * @tfm: AEAD transform for softirq
 * @hp: header protection for softirq
 * @rwork: deferred free
 * @qkey: what the driver sees, with the driver's state at the end
 */
struct quic_offload {
	struct list_head list;
	refcount_t ref;
	struct net_device __rcu *netdev;
	netdevice_tracker tracker;
	struct net *net;
	bool bound;
	struct quic_key *key;
	struct crypto_aead *tfm;
	struct quic_hp hp;
	struct rcu_work rwork;
	struct quicdev_key qkey;
};

static inline struct quic_offload *quic_offload_of(struct quicdev_key *qkey)
{
	return container_of(qkey, struct quic_offload, qkey);
}

/* offload.c */
struct quic_offload *quic_offload_alloc(struct quic_key *key,
					const struct quic_hp *hp);
void quic_offload_put(struct quic_offload *offload);
struct quic_offload *quic_offload_get(const struct quic_slot *slot,
				      const struct quic_key *key,
				      const struct net_device *netdev);
unsigned long quic_offload_attempt(const struct net_device *netdev);
bool quic_offload_wanted(const struct quic_slot *slot,
			 const struct net_device *netdev);
void quic_offload_bind(struct sock *sk, struct quic_slot *slot,
		       struct quic_offload *offload,
		       struct net_device *netdev);
void quic_offload_drop(struct quic_slot *slot);
int quic_offload_init(void);
void quic_offload_exit(void);

/* offload_tx.c */
bool quic_offload_xmit(struct sock *sk, struct quic_flow *flow,
		       struct quic_key *key, struct quic_batch *b);

/* offload_fallback.c */
struct sk_buff *quic_offload_validate(struct sk_buff *skb,
				      struct net_device *netdev,
				      const struct quic_skb_ext *ext);
#else
static inline void quic_offload_drop(struct quic_slot *slot)
{
}

static inline int quic_offload_init(void)
{
	return 0;
}

static inline void quic_offload_exit(void)
{
}

static inline bool quic_offload_xmit(struct sock *sk, struct quic_flow *flow,
				     struct quic_key *key,
				     struct quic_batch *b)
{
	return false;
}
#endif

#endif /* _NET_QUIC_OFFLOAD_H */
