/* SPDX-License-Identifier: GPL-2.0 */
/*
 * QUIC packet protection: flows of a socket
 */
#ifndef _NET_QUIC_FLOW_H
#define _NET_QUIC_FLOW_H

#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/refcount.h>
#include <linux/rhashtable-types.h>
#include <linux/workqueue.h>

#include "charge.h"
#include "diag.h"
#include "key.h"
#include "net.h"
#include "tuple.h"

struct net;
struct quic_offload_flow;
struct sock;

/**
 * DOC: locking
 *
 * quic_flows.lock (mutex) serialises ADD and DEL in one direction of a socket.
 * It protects membership in the hash tables, quic_flow.gen and changes of
 * quic_slot.key. quic_keys_lock (mutex, key.c) protects the table of keys and
 * quic_key.users; it nests inside quic_flows.lock.
 *
 * A sender takes neither. It finds the flow and the key under RCU, takes a
 * reference on each, and drops both when the packets are sealed.
 * quic_key_tx.lock (spinlock) covers the record of packet numbers, never
 * crypto. The last reference may be dropped in any context: what must sleep is
 * left to rcu_work on quic_crypto_wq, which module exit drains.
 *
 * Devices: quic_offload_dev.lock (mutex) serialises calls of a netdev's driver
 * and protects which keys are in the netdev. It nests inside RTNL. Only the
 * netdev's work item and notifiers of the netdev take it, never a sender or
 * receiver, DEL or close(): these change quic_offload_slot.offload by
 * cmpxchg(), under RCU, and leave the rest to the work item.
 *
 * - A sender publishes an offer in an empty slot, and then looks whether the
 *   slot still has the key. DEL and key updates take the key from the slot, and
 *   then the offload of this key, if there is one. With a barrier between the
 *   two steps on both sides, at least one of them removes an offer that comes
 *   too late. Whoever removes an offload from the slot drops the reference of
 *   the slot.
 * - The work item and notifiers remove offloads as well: a refused key, the
 *   keys of a device that goes down. They follow quic_offload.slot, under
 *   quic_offload.lock (spinlock), which nests inside all other locks here. DEL
 *   takes that lock to clear the pointer, so the flow, which is freed later,
 *   stays for as long as somebody is in there.
 * - The work item offers a key only if a slot still has the offload, and the
 *   netdev is registered, up and present, all checked under
 *   quic_offload_dev.lock. NETDEV_DOWN takes this lock after the netdev has
 *   lost IFF_UP, and deletes all keys in the netdev: so no key is in a netdev
 *   that is down, and an offer that is still waiting then is dropped, or
 *   offered when the netdev is up again. NETDEV_UNREGISTER takes the netdev
 *   away under the same lock.
 * - The last reference to an offload queues the work item, which deletes the
 *   key, unless NETDEV_DOWN was faster.
 * - A key that opens packets leaves the device as soon as its slot has let go
 *   of the offload, as no packet has to get to the device any more: whoever
 *   clears quic_offload.slot queues the work item. Being in the device is worth
 *   a reference of its own, so that packets which the device has opened only
 *   keep the memory of the offload.
 */

/* Number of flows whose keys fit into the cache of a core, at 2 KB each */
#define QUIC_FLOWS_CACHED	256

/**
 * struct quic_flow - keys of a connection
 * @node: entry in quic_flows.ids if @id is not 0, else in quic_flows.tuples
 * @list: entry in quic_flows.list
 * @tuple: destination and connection ID; zero if @id is not 0
 * @id: handle chosen by the application, 0 if there is none
 * @path_id: path of multipath QUIC
 * @retired: grace period after which the key that was lost last is freed
 * @gen: newest key generation
 * @removed: the flow has left the tables
 * @ref: one reference of the tables and one of each sender; the last one frees
 *	 by @rwork
 * @slot: the two live generations, by Key Phase bit
 * @hp: header protection
 * @charge: what the flow counts as in the limits
 * @offload: what devices have of the flow, NULL at first
 * @rwork: deferred free
 */
struct quic_flow {
	struct rhash_head node;
	struct list_head list;
	struct quic_tuple tuple;
	u32 id;
	u32 path_id;
	unsigned long retired;
	u8 gen;
	bool removed;
	refcount_t ref;
	struct quic_slot slot[2];
	struct quic_hp hp;
	struct quic_charge charge;
#ifdef CONFIG_QUIC_CRYPTO_DEVICE
	struct quic_offload_flow *offload;
#endif
	struct rcu_work rwork;
};

/**
 * struct quic_flows - flows of a socket that send
 * @sk: socket
 * @net: namespace of the socket, which outlives the socket
 * @lock: serialises ADD and DEL
 * @list: all flows, protected by @lock
 * @tuples: flows without an id, by tuple
 * @ids: the other flows, by id
 * @counts: counters
 * @notify: tells listeners of an event, NULL for nobody. The caller holds
 *	    @lock. Context: process, sleeps
 */
struct quic_flows {
	const struct sock *sk;
	struct net *net;
	struct mutex lock;	/* ADD and DEL, see above */
	struct list_head list;
	struct rhashtable tuples;
	struct rhashtable ids;
	struct quic_counts counts;
	void (*notify)(struct quic_flows *fs, const struct quic_flow *flow,
		       enum quic_nl_event event);
};

int quic_flows_init(struct quic_flows *fs, const struct sock *sk);
void quic_flows_destroy(struct quic_flows *fs);
int quic_flow_add(struct quic_flows *fs, const struct quic_tuple *tuple,
		  const struct quic_connection_info *info);
int quic_flow_del(struct quic_flows *fs, const struct quic_tuple *tuple,
		  const struct quic_connection_info *info);
void quic_flow_del_all(struct quic_flows *fs);
void quic_flow_describe(struct quic_flows *fs, const struct quic_flow *flow,
			struct quic_info *info);
int quic_flow_info(struct quic_flows *fs, const struct quic_tuple *tuple,
		   struct quic_info *info);
struct quic_flow *quic_flow_get(struct quic_flows *fs,
				struct quic_tuple *tuple);
struct quic_flow *quic_flow_get_id(struct quic_flows *fs, u32 id);
void quic_flow_prefetch(struct quic_flows *fs, struct quic_tuple *tuple,
			u64 pn);
void quic_flow_prefetch_id(struct quic_flows *fs, u32 id, u64 pn);
struct quic_key *quic_flow_get_key(struct quic_flow *flow, unsigned int phase);
void quic_flow_put(struct quic_flow *flow);

static inline unsigned int quic_flows_count(const struct quic_flows *fs)
{
	return atomic_read(&fs->tuples.nelems) + atomic_read(&fs->ids.nelems);
}

static inline bool quic_flows_many(const struct quic_flows *fs)
{
	return quic_flows_count(fs) > QUIC_FLOWS_CACHED;
}

static inline void quic_flow_notify(struct quic_flows *fs,
				    const struct quic_flow *flow,
				    enum quic_nl_event event)
{
	if (fs->notify)
		fs->notify(fs, flow, event);
}

#endif /* _NET_QUIC_FLOW_H */
