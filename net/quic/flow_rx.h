/* SPDX-License-Identifier: GPL-2.0 */
/*
 * QUIC packet protection: flows of a socket that receive
 */
#ifndef _NET_QUIC_FLOW_RX_H
#define _NET_QUIC_FLOW_RX_H

#include <linux/atomic.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/refcount.h>
#include <linux/rhashtable-types.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>

#include "charge.h"
#include "diag.h"
#include "key_rx.h"
#include "net.h"
#include "offload_slot.h"
#include "tuple.h"

struct net;
struct quic_offload_flow;
struct quic_rx_flow;
struct sock;

/**
 * DOC: locking of reception
 *
 * quic_rx_flows.lock (mutex) serialises ADD and DEL on a socket. It protects
 * membership in the tables and lists, and the bitmaps of lengths.
 *
 * quic_rx_flow.lock (spinlock) nests inside it. It protects the state of the
 * flow and its keys, never crypto: a call copies the state, takes a reference
 * on each key, and adds what it has opened to the state when it is done. It is
 * not taken in softirq.
 *
 * Matches are looked up under RCU, in recvmsg() and, for UDP_QUIC_RX_DROP, in
 * softirq, even while the socket is being closed. So the tables stay for a
 * grace period. References on flows and keys are taken and dropped in process
 * context only.
 */

/* A connection has a handful of connection IDs, and seldom many paths */
#define QUIC_RX_MAX_MATCHES	64

/**
 * struct quic_rx_match - what packets of a flow look like
 * @node: entry in quic_rx_flows.matches
 * @list: entry in quic_rx_flow.matches
 * @tuple: source, or any, and connection ID
 * @flow: flow
 * @rcu: deferred free
 */
struct quic_rx_match {
	struct rhash_head node;
	struct list_head list;
	struct quic_tuple tuple;
	struct quic_rx_flow *flow;
	struct rcu_head rcu;
};

/**
 * struct quic_rx_watch - does a device open what it should? Callers may race:
 *			  then a packet may not be counted
 * @strays: successive packets that do not match the key in the device
 * @move: how many @strays make the key move, that is, leave the device to be
 *	  offered for the stray packets; doubled by each move, 0 when the device
 *	  has opened many packets; 0 stands for QUIC_RX_WATCH_MIN
 * @served: packets that the device has opened since the key has moved
 * @missed: successive packets that match the key in the device, but were opened
 *	    by software
 * @wait: how many @missed make the core tell the device where the packet
 *	  numbers are; doubled each time, 0 when the device has opened a packet;
 *	  0 stands for QUIC_RX_WATCH_MIN
 * @serving: the device has opened a packet
 */
struct quic_rx_watch {
	unsigned int strays;
	unsigned int move;
	unsigned int served;
	unsigned int missed;
	unsigned int wait;
	bool serving;
};

/**
 * struct quic_rx_dev - a key in a device that opens packets
 * @slot: the key in a device
 * @watch: what the device does with the packets
 */
struct quic_rx_dev {
	struct quic_offload_slot slot;
	struct quic_rx_watch watch;
};

/**
 * struct quic_rx_flow - keys of a connection
 * @node: entry in quic_rx_flows.ids if @id is not 0
 * @list: entry in quic_rx_flows.list
 * @matches: what packets of the flow look like
 * @nr_matches: number of entries in @matches
 * @id: handle chosen by the application, 0 if there is none
 * @path_id: path of multipath QUIC
 * @limit: upper limit of @failed, RFC 9001 6.6
 * @failed: packets that failed to open, with whatever key
 * @ref: one reference of the tables and one of each call; the last one frees by
 *	 @rwork
 * @hp: header protection
 * @charge: what the flow counts as in the limits
 * @lock: protects @state and @key
 * @state: what was opened
 * @key: live generations, by quic_rx_slot()
 * @dev: keys in devices, by quic_rx_slot()
 * @offload: what devices have of the flow, NULL at first
 * @rwork: deferred free
 */
struct quic_rx_flow {
	struct rhash_head node;
	struct list_head list;
	struct list_head matches;
	unsigned int nr_matches;
	u32 id;
	u32 path_id;
	u64 limit;
	atomic64_t failed;
	refcount_t ref;
	struct quic_hp hp;
	struct quic_charge charge;
	spinlock_t lock;	/* see above */
	struct quic_rx_state state;
	struct quic_rx_key *key[QUIC_RX_SLOTS];
#ifdef CONFIG_QUIC_CRYPTO_DEVICE
	struct quic_rx_dev dev[QUIC_RX_SLOTS];
	struct quic_offload_flow *offload;
#endif
	struct rcu_work rwork;
};

/**
 * struct quic_rx_lens - lengths of connection IDs in use
 * @map: bit n is set if there are matches with a connection ID of n bytes
 * @count: number of matches with a connection ID of so many bytes
 */
struct quic_rx_lens {
	u32 map;
	unsigned int count[QUIC_MAX_CONNECTION_ID_SIZE + 1];
};

/**
 * struct quic_rx_flows - flows of a socket that receive
 * @sk: socket
 * @net: namespace of the socket, which outlives the socket
 * @lock: serialises ADD and DEL
 * @list: all flows, protected by @lock
 * @matches: matches of all flows, by tuple
 * @ids: flows with an id
 * @nr_flows: number of all flows, changed under @lock
 * @any: lengths of connection IDs in matches with any source
 * @peer: lengths of connection IDs in matches with a certain source
 * @counts: counters
 * @notify: tells listeners of an event, NULL for nobody. The caller holds
 *	    @lock. Context: process, sleeps
 */
struct quic_rx_flows {
	const struct sock *sk;
	struct net *net;
	struct mutex lock;	/* ADD and DEL, see above */
	struct list_head list;
	struct rhashtable matches;
	struct rhashtable ids;
	unsigned int nr_flows;
	struct quic_rx_lens any;
	struct quic_rx_lens peer;
	struct quic_counts counts;
	void (*notify)(struct quic_rx_flows *fs, struct quic_rx_flow *flow,
		       enum quic_nl_event event);
};

/**
 * struct quic_rx_keys - the keys of a flow, as one call uses them
 * @state: copy of the flow's state, updated by quic_rx_opened()
 * @key: live generations, with a reference, by quic_rx_slot()
 * @prot: protection by each @key, or header protection alone where @key is NULL
 * @opened: packets that this call has opened with each @key
 * @fresh: packets in @opened that had a larger number than all before. Others
 *	   may be copies, which anybody on the path can send from anywhere
 */
struct quic_rx_keys {
	struct quic_rx_state state;
	struct quic_rx_key *key[QUIC_RX_SLOTS];
	struct quic_prot prot[QUIC_RX_SLOTS];
	unsigned int opened[QUIC_RX_SLOTS];
	unsigned int fresh[QUIC_RX_SLOTS];
};

/* match_rx.c */
int quic_rx_matches_init(struct quic_rx_flows *fs);
void quic_rx_matches_destroy(struct quic_rx_flows *fs);
int quic_rx_match_add(struct quic_rx_flows *fs, struct quic_rx_flow *flow,
		      const struct quic_tuple *tuple);
void quic_rx_match_remove(struct quic_rx_flows *fs,
			  struct quic_rx_match *match);
struct quic_rx_match *quic_rx_match_find(struct quic_rx_flows *fs,
					 const struct quic_tuple *tuple);
const struct quic_rx_match *quic_rx_match(struct quic_rx_flows *fs,
					  const struct quic_tuple *src,
					  const u8 *cid, unsigned int len);

/* flow_rx.c */
int quic_rx_flows_init(struct quic_rx_flows *fs, const struct sock *sk);
void quic_rx_flows_destroy(struct quic_rx_flows *fs);
int quic_rx_flow_add(struct quic_rx_flows *fs, struct quic_tuple *tuple,
		     const struct quic_connection_info *info);
int quic_rx_flow_add_alias(struct quic_rx_flows *fs, struct quic_tuple *tuple,
			   const struct quic_connection_info_key *key);
int quic_rx_flow_del(struct quic_rx_flows *fs, struct quic_tuple *tuple,
		     const struct quic_connection_info *info);
void quic_rx_flow_del_all(struct quic_rx_flows *fs);
void quic_rx_flow_describe(struct quic_rx_flow *flow, struct quic_info *info);
int quic_rx_flow_info(struct quic_rx_flows *fs, struct quic_tuple *tuple,
		      struct quic_info *info);
struct quic_rx_flow *quic_rx_flow_get(struct quic_rx_flows *fs,
				      const struct quic_tuple *src,
				      const u8 *cid, unsigned int *len);
void quic_rx_flow_put(struct quic_rx_flow *flow);
void quic_rx_keys_get(struct quic_rx_keys *keys, struct quic_rx_flow *flow);
void quic_rx_keys_commit(struct quic_rx_keys *keys, struct quic_rx_flow *flow);
void quic_rx_keys_put(struct quic_rx_keys *keys);

/* A packet has opened with the key in @slot, which is of generation @age */
static inline void quic_rx_keys_opened(struct quic_rx_keys *keys,
				       unsigned int slot, enum quic_rx_age age,
				       u64 pn)
{
	keys->opened[slot]++;
	keys->fresh[slot] += pn >= keys->state.next;
	quic_rx_opened(&keys->state, age, pn);
}

/* Lengths of connection IDs in use, as a bitmap */
static inline u32 quic_rx_cid_lens(const struct quic_rx_flows *fs)
{
	return READ_ONCE(fs->any.map) | READ_ONCE(fs->peer.map);
}

/* A packet has failed to open. Return true near the limit. */
static inline bool quic_rx_flow_failed(struct quic_rx_flow *flow)
{
	return quic_limit_near(flow->limit,
			       atomic64_inc_return(&flow->failed) - 1, 1);
}

/* May no more packets of the flow fail, once @more have failed? */
static inline bool quic_rx_flow_expired(const struct quic_rx_flow *flow,
					unsigned int more)
{
	return atomic64_read(&flow->failed) + more >= flow->limit;
}

static inline void quic_rx_flow_notify(struct quic_rx_flows *fs,
				       struct quic_rx_flow *flow,
				       enum quic_nl_event event)
{
	if (fs->notify)
		fs->notify(fs, flow, event);
}

#endif /* _NET_QUIC_FLOW_RX_H */
