/* SPDX-License-Identifier: GPL-2.0 */
/*
 * QUIC packet protection by devices
 */
#ifndef _NET_QUIC_OFFLOAD_H
#define _NET_QUIC_OFFLOAD_H

#include <linux/list.h>
#include <linux/llist.h>
#include <linux/mutex.h>
#include <linux/refcount.h>
#include <linux/workqueue.h>
#include <net/net_trackers.h>
#include <net/quic_core.h>

#include "diag.h"
#include "key.h"

struct mem_cgroup;
struct net_device;
struct quic_batch;
struct quic_flow;
struct quic_rx_flow;
struct quic_rx_key;
struct quic_rx_keys;
struct quic_rx_seen;
struct quic_skb_ext;
struct quic_user;
struct sk_buff;
struct sock;

#ifdef CONFIG_QUIC_CRYPTO_DEVICE
/**
 * struct quic_offload_dev - a device that can seal or open
 * @core: what the rest of the kernel knows of this struct
 * @netdev: device, NULL when it is unregistered; changed under @lock
 * @tracker: tracks the reference on @netdev
 * @ref: one reference of @netdev, one of each offload, one while @work is
 *	 queued
 * @lock: serialises calls of the driver
 * @keys: offloads that are in the device, protected by @lock
 * @full: bit n is set if the device refused a key of direction n for lack of
 *	  room, and no key has left it since; cleared under @lock, or when the
 *	  device has changed
 * @gen: changes when the device has changed, so that it may accept what it has
 *	 refused before; unique among all devices, never 0
 * @todo: offloads that @work has to look at
 * @offers: offloads that @work has to offer to the driver; used by @work only
 * @work: calls the driver
 * @rcu: deferred free
 */
struct quic_offload_dev {
	struct quicdev core;
	struct net_device *netdev;
	netdevice_tracker tracker;
	refcount_t ref;
	struct mutex lock;	/* see above */
	struct list_head keys;
	unsigned long full;
	unsigned long gen;
	struct llist_head todo;
	struct list_head offers;
	struct work_struct work;
	struct rcu_head rcu;
};

/**
 * struct quic_offload_flow - what devices have of a flow
 * @ref: one reference of the flow, one of each offload
 * @cookie: tells flows apart, never 0
 * @phases: bit n is set while a device has a key of the flow with Key Phase n
 * @keys: keys of the flow in devices that are in use
 */
struct quic_offload_flow {
	refcount_t ref;
	u64 cookie;
	unsigned long phases;
	atomic_t keys;
};

/**
 * enum quic_offload_state - where an offload is
 * @QUIC_OFFLOAD_NEW: not offered to the driver yet
 * @QUIC_OFFLOAD_IN: the driver has accepted the key, or has asked for time
 * @QUIC_OFFLOAD_OUT: the driver has refused the key, or has deleted it
 */
enum quic_offload_state {
	QUIC_OFFLOAD_NEW,
	QUIC_OFFLOAD_IN,
	QUIC_OFFLOAD_OUT,
};

/**
 * enum quic_offload_stop - why the device is not to have more packets
 * @QUIC_OFFLOAD_GO: no reason, the device may have more packets
 * @QUIC_OFFLOAD_STOP_KEY: the driver has asked for it; or packets that the
 *	device has opened went astray; or the device opens no packets; or so
 *	many packets of the flow failed to open that no more may be opened
 * @QUIC_OFFLOAD_STOP_PATH: something on the way to the device does to the
 *	packets what makes it impossible to seal them; this will not change with
 *	the next key
 */
enum quic_offload_stop {
	QUIC_OFFLOAD_GO,
	QUIC_OFFLOAD_STOP_KEY,
	QUIC_OFFLOAD_STOP_PATH,
};

/**
 * struct quic_offload - a key of a flow in a device, of either direction
 * @qdev: device that the key is offered to
 * @flow: shared by all offloads of the flow
 * @netdev: device that seals or opens packets for this offload; NULL before the
 *	    driver has accepted the key, and when the device is going to lose it
 * @ref: one reference of the slot, one of each skb, one while @todo or @list
 *	 are in use; for a key that opens, one while @state is QUIC_OFFLOAD_IN.
 *	 When the last one is dropped, @qdev->work deletes the key and frees the
 *	 offload
 * @queued: bit 0 is set while @todo is in use with a reference
 * @state: where the key is, changed under @qdev->lock
 * @err: the driver has refused the key after it had asked for time
 * @stop: why no more packets may be left to the device
 * @lock: protects @slot, @counted, and the slot's members about the last
 *	  attempt
 * @slot: slot that has this offload, NULL when it has let go of it
 * @counts: counters of the socket, valid while @slot is set
 * @counted: the key counts in quic_offload_flow.keys
 * @gen: of @qdev when the key was offered
 * @todo: entry in @qdev->todo
 * @list: entry in @qdev->offers, later in @qdev->keys
 * @net: namespace of the flow; it and the next three are NULL when a key that
 *	 opens has left the device
 * @ns_tracker: tracks the reference on @net
 * @user: user for whom the key counts
 * @memcg: memory cgroup that pays for @tfm and @hp
 * @sk: socket, until the driver was asked
 * @key: key, to seal in software what ends up on another device
 * @rx_key: key, if it is one that opens; only its identity, see &quic_rx_key
 * @owner: socket of @rx_key, to be compared while the key is not retired
 * @since: when the driver has accepted the key, in jiffies
 * @resync: number for quic_dev_resync() to be called with, 0 for none
 * @tfm: AEAD transform for softirq
 * @hp: header protection for softirq
 * @rcu: deferred free
 * @qkey: what the driver sees, with the driver's state at the end
 */
struct quic_offload {
	struct quic_offload_dev *qdev;
	struct quic_offload_flow *flow;
	struct net_device __rcu *netdev;
	refcount_t ref;
	unsigned long queued;
	enum quic_offload_state state;
	int err;
	enum quic_offload_stop stop;
	spinlock_t lock;	/* see above */
	struct quic_offload_slot *slot;
	struct quic_counts *counts;
	bool counted;
	unsigned long gen;
	struct llist_node todo;
	struct list_head list;
	struct net *net;
	netns_tracker ns_tracker;
	struct quic_user *user;
	struct mem_cgroup *memcg;
	struct sock *sk;
	union {
		struct quic_key *key;
		struct quic_rx_key *rx_key;
	};
	const struct sock *owner;
	unsigned long since;
	atomic64_t resync;
	struct crypto_aead *tfm;
	struct quic_hp hp;
	struct rcu_head rcu;
	struct quicdev_key qkey;
};

static inline struct quic_offload *quic_offload_of(struct quicdev_key *qkey)
{
	return container_of(qkey, struct quic_offload, qkey);
}

static inline bool quic_offload_is_rx(const struct quic_offload *offload)
{
	return offload->qkey.direction == QUICDEV_RX;
}

/* offload.c */
struct quic_offload *quic_offload_alloc(struct sock *sk,
					enum quicdev_direction direction,
					struct quic_offload_flow **oflow,
					struct quic_user *user,
					struct net_device *netdev);
void quic_offload_flow_put(struct quic_offload_flow *oflow);
void quic_offload_skb_get(struct quicdev_key *qkey);
void quic_offload_skb_put(struct quicdev_key *qkey);
void quic_offload_put(struct quic_offload *offload);
void quic_offload_stop(struct quic_offload *offload,
		       enum quic_offload_stop why);
void quic_offload_key_done(struct quicdev_key *qkey, int err);
void quic_offload_key_stop(struct quicdev_key *qkey);
void quic_offload_resync(struct quic_offload *offload, u64 next_pkt_num);
struct quic_offload *quic_offload_get(const struct quic_offload_slot *slot,
				      const struct quic_key *key,
				      const struct net_device *netdev);
bool quic_offload_has_room(const struct net_device *netdev,
			   enum quicdev_direction direction);
bool quic_offload_wanted(const struct quic_offload_slot *slot,
			 const struct quic_offload_flow *oflow,
			 unsigned int phase, const struct net_device *netdev);
int quic_offload_ifindex(const struct quic_offload_slot *slot);
bool quic_offload_offer(struct quic_offload_slot *slot,
			struct quic_offload *offload);
void quic_offload_drop(struct quic_offload_slot *slot, const void *key);
int quic_offload_init(void);
void quic_offload_exit(void);

/* offload_tx.c */
void quic_offload_flow_free(struct quic_flow *flow);
bool quic_offload_xmit(struct sock *sk, struct quic_flow *flow,
		       struct quic_key *key, struct quic_batch *b);
u32 quic_offload_directions(struct sock *sk);

/* offload_fallback.c */
struct sk_buff *quic_offload_encrypt(struct sk_buff *skb,
				     const struct quic_skb_ext *ext);
struct sk_buff *quic_offload_validate(struct sk_buff *skb,
				      struct net_device *netdev,
				      const struct quic_skb_ext *ext);

/* offload_rx.c */
extern const struct quic_skb_ext_ops quic_offload_rx_skb_ops;
extern const struct quicdev_key_ops quic_offload_rx_key_ops;
bool quic_offload_rx_opened(struct quicdev_key *qkey);
void quic_offload_rx_flow_free(struct quic_rx_flow *flow);
void quic_offload_rx_drop(struct quic_rx_flow *flow,
			  const struct quic_rx_key *key);
int quic_offload_rx_ifindex(const struct quic_rx_flow *flow, u8 gen);
void quic_offload_rx_seen(struct quic_rx_flow *flow,
			  const struct quic_rx_keys *keys,
			  struct quic_rx_seen *seen);
void quic_offload_rx_served(struct quic_rx_flow *flow,
			    const struct quic_skb_ext *ext, unsigned int n);
void quic_offload_rx_unmatch(struct quic_rx_flow *flow, const u8 *cid,
			     unsigned int cid_len);
void quic_offload_rx_stop(const struct quic_skb_ext *ext);
void quic_offload_rx_astray(struct net *net, const struct sk_buff *skb,
			    const struct quic_skb_ext *ext);
const struct quic_rx_key *quic_offload_rx_key(const struct quic_skb_ext *ext);
int quic_offload_rx_protect(const struct quic_prot *prot, struct sk_buff *skb,
			    unsigned int cid_len, u64 expected);
#else
static inline void quic_offload_flow_free(struct quic_flow *flow)
{
}

static inline void quic_offload_drop(struct quic_offload_slot *slot,
				     const void *key)
{
}

static inline int quic_offload_ifindex(const struct quic_offload_slot *slot)
{
	return 0;
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

static inline u32 quic_offload_directions(struct sock *sk)
{
	return 0;
}

static inline void quic_offload_rx_flow_free(struct quic_rx_flow *flow)
{
}

static inline void quic_offload_rx_drop(struct quic_rx_flow *flow,
					const struct quic_rx_key *key)
{
}

static inline int quic_offload_rx_ifindex(const struct quic_rx_flow *flow,
					  u8 gen)
{
	return 0;
}

static inline void quic_offload_rx_seen(struct quic_rx_flow *flow,
					const struct quic_rx_keys *keys,
					struct quic_rx_seen *seen)
{
}

static inline void quic_offload_rx_served(struct quic_rx_flow *flow,
					  const struct quic_skb_ext *ext,
					  unsigned int n)
{
}

static inline void quic_offload_rx_unmatch(struct quic_rx_flow *flow,
					   const u8 *cid, unsigned int cid_len)
{
}

static inline void quic_offload_rx_stop(const struct quic_skb_ext *ext)
{
}

static inline void quic_offload_rx_astray(struct net *net,
					  const struct sk_buff *skb,
					  const struct quic_skb_ext *ext)
{
}

static inline const struct quic_rx_key *
quic_offload_rx_key(const struct quic_skb_ext *ext)
{
	return NULL;
}

static inline int quic_offload_rx_protect(const struct quic_prot *prot,
					  struct sk_buff *skb,
					  unsigned int cid_len, u64 expected)
{
	return -EOPNOTSUPP;
}
#endif

#endif /* _NET_QUIC_OFFLOAD_H */
