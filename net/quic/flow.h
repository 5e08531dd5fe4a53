/* SPDX-License-Identifier: GPL-2.0 */
/*
 * QUIC packet protection: flows of a socket
 */
#ifndef _NET_QUIC_FLOW_H
#define _NET_QUIC_FLOW_H

#include <linux/mutex.h>
#include <linux/refcount.h>
#include <linux/rhashtable-types.h>
#include <linux/workqueue.h>

#include "key.h"
#include "tuple.h"

struct net;

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
 * quic_offload_lock (mutex, offload.c) protects which key is in which device,
 * and serialises calls of drivers. It nests inside quic_flows.lock and inside
 * RTNL; senders only try to take it.
 */

/* Number of flows whose keys fit into the cache of a core, at 2 KB each */
#define QUIC_FLOWS_CACHED	256

/**
 * struct quic_flow - keys of a connection for one destination and connection ID
 * @node: entry in quic_flows.tuples
 * @id_node: entry in quic_flows.ids, if @id is not 0
 * @tuple: destination and connection ID
 * @id: handle chosen by the application, 0 if there is none
 * @gen: newest key generation
 * @ref: one reference of the tables and one of each sender; the last one frees
 *	 by @rwork
 * @slot: the two live generations, by Key Phase bit
 * @hp: header protection
 * @rwork: deferred free
 */
struct quic_flow {
	struct rhash_head node;
	struct rhash_head id_node;
	struct quic_tuple tuple;
	u32 id;
	u8 gen;
	refcount_t ref;
	struct quic_slot slot[2];
	struct quic_hp hp;
	struct rcu_work rwork;
};

/**
 * struct quic_flows - flows of a socket in one direction
 * @net: namespace of the socket, which outlives the socket
 * @dir: direction
 * @lock: serialises ADD and DEL
 * @tuples: flows by tuple
 * @ids: flows by id
 */
struct quic_flows {
	struct net *net;
	enum quic_dir dir;
	struct mutex lock;	/* ADD and DEL, see above */
	struct rhashtable tuples;
	struct rhashtable ids;
};

int quic_flows_init(struct quic_flows *fs, struct net *net, enum quic_dir dir);
void quic_flows_destroy(struct quic_flows *fs);
int quic_flow_add(struct quic_flows *fs, const struct quic_tuple *tuple,
		  const struct quic_connection_info *info);
int quic_flow_del(struct quic_flows *fs, const struct quic_tuple *tuple,
		  u32 id);
struct quic_flow *quic_flow_get(struct quic_flows *fs,
				struct quic_tuple *tuple);
struct quic_flow *quic_flow_get_id(struct quic_flows *fs, u32 id);
void quic_flow_prefetch(struct quic_flows *fs, struct quic_tuple *tuple,
			u64 pn);
void quic_flow_prefetch_id(struct quic_flows *fs, u32 id, u64 pn);
struct quic_key *quic_flow_get_key(struct quic_flow *flow, unsigned int phase);
void quic_flow_put(struct quic_flow *flow);

static inline bool quic_flows_many(const struct quic_flows *fs)
{
	return atomic_read(&fs->tuples.nelems) > QUIC_FLOWS_CACHED;
}

#endif /* _NET_QUIC_FLOW_H */
