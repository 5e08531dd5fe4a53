// SPDX-License-Identifier: GPL-2.0
/*
 * QUIC packet protection: flows of a socket that receive
 */

#include <linux/rhashtable.h>
#include <linux/slab.h>
#include <net/net_namespace.h>
#include <net/sock.h>

#include "flow_rx.h"
#include "net.h"
#include "offload.h"
#include "trace.h"

static const struct rhashtable_params quic_rx_ids_params = {
	.head_offset = offsetof(struct quic_rx_flow, node),
	.key_offset = offsetof(struct quic_rx_flow, id),
	.key_len = sizeof_field(struct quic_rx_flow, id),
	.min_size = QUIC_MIN_BUCKETS,
	.automatic_shrinking = true,
};

static void quic_rx_flow_free(struct quic_rx_flow *flow)
{
	struct quic_charge charge = flow->charge;
	unsigned int i;

	for (i = 0; i < QUIC_RX_SLOTS; i++) {
		if (flow->key[i])
			quic_rx_key_put(flow->key[i]);
	}
	quic_offload_rx_flow_free(flow);
	quic_hp_destroy(&flow->hp);
	kfree_sensitive(flow);
	quic_charge_drop(&charge);
}

static void quic_rx_flow_free_work(struct work_struct *work)
{
	quic_rx_flow_free(container_of(to_rcu_work(work), struct quic_rx_flow,
				       rwork));
}

/**
 * quic_rx_flow_put - drop a reference
 * @flow: flow
 *
 * Context: process.
 */
void quic_rx_flow_put(struct quic_rx_flow *flow)
{
	if (!refcount_dec_and_test(&flow->ref))
		return;
	quic_charge_removed(&flow->charge);
	INIT_RCU_WORK(&flow->rwork, quic_rx_flow_free_work);
	queue_rcu_work(quic_crypto_wq, &flow->rwork);
}

static bool quic_rx_matches_all(const struct quic_tuple *tuple)
{
	return !tuple->cid_len && tuple->family == AF_UNSPEC;
}

/* A match without connection ID needs a source: that of a connected socket, if
 * the application names none. It stays this source if the socket is connected
 * to somebody else later.
 */
static int quic_rx_match_complete(const struct quic_rx_flows *fs,
				  struct quic_tuple *tuple)
{
	if (!quic_rx_matches_all(tuple))
		return 0;
	return quic_tuple_set_connected(tuple, fs->sk) ? -EINVAL : 0;
}

/* Find the flow that the argument of an option is about: by its id, or else by
 * one of its matches. An id and a match must not contradict each other. Return
 * NULL if neither is there. The caller holds quic_rx_flows.lock.
 */
static struct quic_rx_flow *
quic_rx_flow_find(struct quic_rx_flows *fs, struct quic_tuple *tuple,
		  const struct quic_connection_info_key *key)
{
	struct quic_rx_flow *flow = NULL;
	struct quic_rx_match *match;
	int err;

	if (key->flow_id)
		flow = rhashtable_lookup_fast(&fs->ids, &key->flow_id,
					      quic_rx_ids_params);
	if (flow && quic_rx_matches_all(tuple))
		return flow;
	err = quic_rx_match_complete(fs, tuple);
	if (err)
		return ERR_PTR(err);
	match = quic_rx_match_find(fs, tuple);
	if (!match && !flow)
		return NULL;
	if (match && match->flow->id == key->flow_id)
		return match->flow;
	return ERR_PTR(-EADDRINUSE);
}

/* The flow does not have @key any more. Packets that a device has opened with
 * it are not for anybody.
 */
static void quic_rx_flow_retire(struct quic_rx_flow *flow,
				struct quic_rx_key *key)
{
	WRITE_ONCE(key->retired, true);
	quic_offload_rx_drop(flow, key);
	quic_rx_key_put(key);
}

static struct quic_rx_key *quic_rx_flow_swap_slot(struct quic_rx_flow *flow,
						  unsigned int slot,
						  struct quic_rx_key *key)
{
	struct quic_rx_key *old;

	spin_lock(&flow->lock);
	old = flow->key[slot];
	flow->key[slot] = key;
	spin_unlock(&flow->lock);
	return old;
}

static void quic_rx_flow_retire_all(struct quic_rx_flow *flow)
{
	struct quic_rx_key *key;
	unsigned int i;

	for (i = 0; i < QUIC_RX_SLOTS; i++) {
		key = quic_rx_flow_swap_slot(flow, i, NULL);
		if (key)
			quic_rx_flow_retire(flow, key);
	}
}

/* Remove a flow from the tables. Calls that have its keys finish with them. */
static void quic_rx_flow_remove(struct quic_rx_flows *fs,
				struct quic_rx_flow *flow)
{
	struct quic_rx_match *match, *next;

	quic_rx_flow_notify(fs, flow, QUIC_NL_DEL);
	list_for_each_entry_safe(match, next, &flow->matches, list)
		quic_rx_match_remove(fs, match);
	if (flow->id)
		rhashtable_remove_fast(&fs->ids, &flow->node,
				       quic_rx_ids_params);
	list_del(&flow->list);
	WRITE_ONCE(fs->nr_flows, fs->nr_flows - 1);
	quic_rx_flow_retire_all(flow);
	QUIC_DEC_STATS(fs->net, CURR_RX_SW);
	quic_rx_flow_put(flow);
}

/* Key of a live generation, or NULL. Only holders of quic_rx_flows.lock add
 * keys, but a call may retire one at any time: take a reference.
 */
static struct quic_rx_key *quic_rx_flow_hold_key(struct quic_rx_flow *flow,
						 u8 gen)
{
	struct quic_rx_key *key;

	spin_lock(&flow->lock);
	key = flow->key[quic_rx_slot(gen)];
	if (key && key->gen == gen)
		refcount_inc(&key->ref);
	else
		key = NULL;
	spin_unlock(&flow->lock);
	return key;
}

/* Does @info say what never changes about the flow? */
static bool quic_rx_flow_same(const struct quic_rx_flow *flow,
			      const struct quic_connection_info *info)
{
	return info->key.path_id == flow->path_id &&
	       quic_hp_same(&flow->hp, info->cipher_type, info->header_key);
}

static int quic_rx_flow_set_key(struct quic_rx_flow *flow,
				const struct quic_connection_info *info)
{
	struct quic_rx_key *key;

	key = quic_rx_key_alloc(flow->hp.cipher, info);
	if (IS_ERR(key))
		return PTR_ERR(key);
	key = quic_rx_flow_swap_slot(flow, quic_rx_slot(key->gen), key);
	if (key)
		quic_rx_flow_retire(flow, key);
	return 0;
}

static u8 quic_rx_flow_gen(struct quic_rx_flow *flow)
{
	u8 gen;

	spin_lock(&flow->lock);
	gen = flow->state.gen;
	spin_unlock(&flow->lock);
	return gen;
}

/* The flow exists: @info must be the generation after the current one */
static int quic_rx_flow_add_gen(struct quic_rx_flows *fs,
				struct quic_rx_flow *flow,
				const struct quic_connection_info *info)
{
	u8 gen = info->conn_payload_key_gen;
	struct quic_rx_key *key;
	bool equal;
	int err;

	if (!quic_rx_flow_same(flow, info))
		return -EADDRINUSE;
	key = quic_rx_flow_hold_key(flow, gen);
	if (key) {
		equal = quic_rx_key_equal(key, info);
		quic_rx_key_put(key);
		return equal ? -EEXIST : -EADDRINUSE;
	}
	if ((u8)(gen - quic_rx_flow_gen(flow)) != 1)
		return -EINVAL;
	err = quic_rx_flow_set_key(flow, info);
	if (!err)
		quic_rx_flow_notify(fs, flow, QUIC_NL_UPDATE);
	return err;
}

/* Failures count for all keys of a connection: those who guess must not get
 * more attempts by key updates
 */
static u64 quic_rx_limit(struct net *net, const struct quic_cipher *cipher)
{
	u64 limit = READ_ONCE(quic_crypto_net(net)->open_limit);

	return limit ? min(limit, cipher->open_limit) : cipher->open_limit;
}

static struct quic_rx_flow *
quic_rx_flow_alloc(struct net *net, const struct quic_connection_info *info)
{
	const struct quic_cipher *cipher = quic_cipher_find(info->cipher_type);
	struct quic_rx_flow *flow;
	int err;

	flow = kzalloc_obj(*flow, GFP_KERNEL_ACCOUNT);
	if (!flow)
		return ERR_PTR(-ENOMEM);
	err = quic_hp_init(&flow->hp, cipher, info->header_key, 0);
	if (err) {
		kfree(flow);
		return ERR_PTR(err);
	}
	INIT_LIST_HEAD(&flow->matches);
	spin_lock_init(&flow->lock);
	refcount_set(&flow->ref, 1);
	flow->id = info->key.flow_id;
	flow->path_id = info->key.path_id;
	flow->limit = quic_rx_limit(net, cipher);
	flow->state.next = info->next_pkt_num;
	flow->state.gen = info->conn_payload_key_gen;
	return flow;
}

static int quic_rx_flow_link(struct quic_rx_flows *fs,
			     struct quic_rx_flow *flow,
			     const struct quic_tuple *tuple)
{
	int err = 0;

	if (flow->id)
		err = rhashtable_lookup_insert_fast(&fs->ids, &flow->node,
						    quic_rx_ids_params);
	if (err)
		return err == -EBUSY ? -EAGAIN : err;
	err = quic_rx_match_add(fs, flow, tuple);
	if (err) {
		if (flow->id)
			rhashtable_remove_fast(&fs->ids, &flow->node,
					       quic_rx_ids_params);
		return err;
	}
	list_add_tail(&flow->list, &fs->list);
	WRITE_ONCE(fs->nr_flows, fs->nr_flows + 1);
	return 0;
}

static int quic_rx_flow_add_new(struct quic_rx_flows *fs,
				const struct quic_tuple *tuple,
				const struct quic_connection_info *info)
{
	struct quic_rx_flow *flow;
	int err;

	if (quic_hp_key_unset(quic_cipher_find(info->cipher_type),
			      info->header_key))
		return -ENOENT;
	flow = quic_rx_flow_alloc(fs->net, info);
	if (IS_ERR(flow))
		return PTR_ERR(flow);
	err = quic_charge_flow(&flow->charge, fs->net);
	if (!err)
		err = quic_rx_flow_set_key(flow, info);
	if (!err)
		err = quic_rx_flow_link(fs, flow, tuple);
	if (err) {
		quic_rx_flow_put(flow);
		return err;
	}
	QUIC_INC_STATS(fs->net, CURR_RX_SW);
	QUIC_INC_STATS(fs->net, RX_SW);
	quic_rx_flow_notify(fs, flow, QUIC_NL_ADD);
	return 0;
}

/**
 * quic_rx_flow_add - add a flow, or the next key generation of a flow
 * @fs: flows of the socket
 * @tuple: source and connection ID; of a connected socket, its source may be
 *	   filled in. Nothing of it is needed to update a flow with an id
 * @info: the rest, checked as far as it does not depend on other flows
 *
 * Context: process, sleeps.
 * Return: 0 or a negative error, which has changed nothing: -EEXIST if the flow
 * has this very generation, -EADDRINUSE if the id or the match belongs to other
 * keys, -EINVAL if this is not its next generation or the flow would match all
 * packets, -ENOENT if there is no flow to update, -EDQUOT or -ENOSPC at the
 * limit of the user or of the namespace.
 */
int quic_rx_flow_add(struct quic_rx_flows *fs, struct quic_tuple *tuple,
		     const struct quic_connection_info *info)
{
	struct quic_rx_flow *flow;
	int err;

	mutex_lock(&fs->lock);
	flow = quic_rx_flow_find(fs, tuple, &info->key);
	if (IS_ERR(flow))
		err = PTR_ERR(flow);
	else if (flow)
		err = quic_rx_flow_add_gen(fs, flow, info);
	else
		err = quic_rx_flow_add_new(fs, tuple, info);
	mutex_unlock(&fs->lock);
	trace_quic_rx_flow_add(fs, tuple, info->key.flow_id, info->cipher_type,
			       info->conn_payload_key_gen, err);
	return err;
}

static int quic_rx_alias_add_locked(struct quic_rx_flows *fs,
				    struct quic_tuple *tuple, u32 id)
{
	struct quic_rx_match *match;
	struct quic_rx_flow *flow;
	int err;

	flow = rhashtable_lookup_fast(&fs->ids, &id, quic_rx_ids_params);
	if (!flow)
		return -ENOENT;
	err = quic_rx_match_complete(fs, tuple);
	if (err)
		return err;
	match = quic_rx_match_find(fs, tuple);
	if (match)
		return match->flow == flow ? -EEXIST : -EADDRINUSE;
	err = quic_rx_match_add(fs, flow, tuple);
	if (!err)
		quic_rx_flow_notify(fs, flow, QUIC_NL_UPDATE);
	return err;
}

/**
 * quic_rx_flow_add_alias - let more packets match a flow
 * @fs: flows of the socket
 * @tuple: source and connection ID of these packets
 * @key: id of the flow
 *
 * Context: process, sleeps.
 * Return: 0, -ENOENT if there is no such flow, -EEXIST if it has the match,
 * -EADDRINUSE if another flow does, -EINVAL if the match would match all
 * packets, or -ENOSPC if the flow has too many.
 */
int quic_rx_flow_add_alias(struct quic_rx_flows *fs, struct quic_tuple *tuple,
			   const struct quic_connection_info_key *key)
{
	int err;

	mutex_lock(&fs->lock);
	err = quic_rx_alias_add_locked(fs, tuple, key->flow_id);
	mutex_unlock(&fs->lock);
	return err;
}

static int quic_rx_flow_del_gen(struct quic_rx_flows *fs,
				struct quic_rx_flow *flow, u8 gen)
{
	struct quic_rx_key *key = quic_rx_flow_hold_key(flow, gen);
	bool mine;

	if (!key)
		return -ENOKEY;
	spin_lock(&flow->lock);
	mine = flow->key[quic_rx_slot(gen)] == key;
	if (mine)
		flow->key[quic_rx_slot(gen)] = NULL;
	spin_unlock(&flow->lock);
	if (mine) {
		quic_rx_flow_retire(flow, key);
		quic_rx_flow_notify(fs, flow, QUIC_NL_UPDATE);
	}
	quic_rx_key_put(key);
	return mine ? 0 : -ENOKEY;
}

static int quic_rx_flow_del_alias(struct quic_rx_flows *fs,
				  struct quic_tuple *tuple, u32 id)
{
	struct quic_rx_match *match;
	struct quic_rx_flow *flow;

	if (quic_rx_match_complete(fs, tuple))
		return -EINVAL;
	match = quic_rx_match_find(fs, tuple);
	if (!match || match->flow->id != id)
		return -ENOENT;
	flow = match->flow;
	quic_rx_match_remove(fs, match);
	quic_offload_rx_unmatch(flow, tuple->cid, tuple->cid_len);
	quic_rx_flow_notify(fs, flow, QUIC_NL_UPDATE);
	return 0;
}

static int quic_rx_flow_del_locked(struct quic_rx_flows *fs,
				   struct quic_tuple *tuple,
				   const struct quic_connection_info *info)
{
	struct quic_rx_flow *flow;

	if (info->key.flags & QUIC_CONN_ALIAS)
		return quic_rx_flow_del_alias(fs, tuple, info->key.flow_id);
	flow = quic_rx_flow_find(fs, tuple, &info->key);
	if (PTR_ERR_OR_ZERO(flow) == -EINVAL && !info->key.flow_id)
		return -EINVAL;
	if (IS_ERR_OR_NULL(flow))
		return -ENOENT;
	if (info->key.path_id && info->key.path_id != flow->path_id)
		return -ENOENT;
	if (info->key.flags & QUIC_CONN_GENERATION)
		return quic_rx_flow_del_gen(fs, flow,
					    info->conn_payload_key_gen);
	quic_rx_flow_remove(fs, flow);
	return 0;
}

/**
 * quic_rx_flow_del - remove a flow, or one of its generations or matches
 * @fs: flows of the socket
 * @tuple: source and connection ID; not needed for a flow with an id
 * @info: flow_id, path_id and flags; with QUIC_CONN_GENERATION the generation
 *
 * Context: process, sleeps.
 * Return: 0; -ENOENT if there is no such flow, or no such match of the flow;
 * -ENOKEY if it does not have the generation; -EINVAL if nothing is named.
 */
int quic_rx_flow_del(struct quic_rx_flows *fs, struct quic_tuple *tuple,
		     const struct quic_connection_info *info)
{
	int err;

	mutex_lock(&fs->lock);
	err = quic_rx_flow_del_locked(fs, tuple, info);
	mutex_unlock(&fs->lock);
	if (!err)
		trace_quic_rx_flow_del(fs, tuple, info->key.flow_id,
				       info->key.flags & QUIC_CONN_GENERATION ?
				       info->conn_payload_key_gen : -1);
	return err;
}

/**
 * quic_rx_flow_del_all - remove all flows
 * @fs: flows of the socket
 *
 * Context: process, sleeps.
 */
void quic_rx_flow_del_all(struct quic_rx_flows *fs)
{
	struct quic_rx_flow *flow, *next;

	mutex_lock(&fs->lock);
	list_for_each_entry_safe(flow, next, &fs->list, list) {
		quic_rx_flow_remove(fs, flow);
		cond_resched();
	}
	mutex_unlock(&fs->lock);
}

/**
 * quic_rx_flow_describe - describe the live generations of a flow
 * @flow: flow; the caller holds a reference, or the lock of its table
 * @info: its generations are filled in, newest first
 *
 * Context: process.
 */
void quic_rx_flow_describe(struct quic_rx_flow *flow, struct quic_info *info)
{
	struct quic_info_generation *gen = info->generations;
	u64 failed = atomic64_read(&flow->failed);
	const struct quic_rx_key *key;
	int age;

	spin_lock(&flow->lock);
	for (age = QUIC_RX_NEXT; age >= QUIC_RX_PREVIOUS; age--) {
		key = flow->key[quic_rx_slot(quic_rx_gen(&flow->state, age))];
		if (!key)
			continue;
		gen->sealed = key->opened;
		gen->remaining = flow->limit - min(failed, flow->limit);
		gen->next_pkt_num = flow->state.next;
		gen->ifindex = quic_offload_rx_ifindex(flow, key->gen);
		gen->gen = key->gen;
		gen->installed = 1;
		gen++;
	}
	spin_unlock(&flow->lock);
}

/**
 * quic_rx_flow_info - describe a flow
 * @fs: flows of the socket
 * @tuple: source and connection ID; not needed for a flow with an id
 * @info: flow_id of the flow; its generations are filled in
 *
 * Context: process, sleeps.
 * Return: 0, or -ENOENT if there is no such flow.
 */
int quic_rx_flow_info(struct quic_rx_flows *fs, struct quic_tuple *tuple,
		      struct quic_info *info)
{
	struct quic_rx_flow *flow;

	mutex_lock(&fs->lock);
	info->flows = fs->nr_flows;
	flow = quic_rx_flow_find(fs, tuple, &info->key);
	if (IS_ERR(flow) ||
	    (flow && info->key.path_id && info->key.path_id != flow->path_id))
		flow = NULL;
	if (flow)
		quic_rx_flow_describe(flow, info);
	mutex_unlock(&fs->lock);
	return flow ? 0 : -ENOENT;
}

/**
 * quic_rx_flow_get - find the flow of a packet
 * @fs: flows of the socket
 * @src: source of the packet
 * @cid: what follows the first byte
 * @len: bytes that can be read at @cid; becomes the length of the connection ID
 *
 * Context: process.
 * Return: the flow, with a reference, or NULL.
 */
struct quic_rx_flow *quic_rx_flow_get(struct quic_rx_flows *fs,
				      const struct quic_tuple *src,
				      const u8 *cid, unsigned int *len)
{
	const struct quic_rx_match *match;
	struct quic_rx_flow *flow = NULL;

	rcu_read_lock();
	match = quic_rx_match(fs, src, cid, *len);
	if (match && refcount_inc_not_zero(&match->flow->ref)) {
		flow = match->flow;
		*len = match->tuple.cid_len;
	}
	rcu_read_unlock();
	return flow;
}

/**
 * quic_rx_keys_get - get the keys of a flow for one call
 * @keys: filled in
 * @flow: flow
 *
 * Context: process.
 */
void quic_rx_keys_get(struct quic_rx_keys *keys, struct quic_rx_flow *flow)
{
	unsigned int i;

	memset(keys->opened, 0, sizeof(keys->opened));
	memset(keys->fresh, 0, sizeof(keys->fresh));
	spin_lock(&flow->lock);
	keys->state = flow->state;
	for (i = 0; i < QUIC_RX_SLOTS; i++) {
		keys->key[i] = flow->key[i];
		if (keys->key[i])
			refcount_inc(&keys->key[i]->ref);
	}
	spin_unlock(&flow->lock);
	for (i = 0; i < QUIC_RX_SLOTS; i++)
		keys->prot[i] = quic_rx_key_prot(keys->key[i], flow->path_id,
						 &flow->hp);
}

/* Add what a call has opened. Return the key that is retired by this, if any:
 * with a new current generation, the one before the previous one has to go.
 */
static struct quic_rx_key *quic_rx_keys_merge(struct quic_rx_keys *keys,
					      struct quic_rx_flow *flow)
{
	struct quic_rx_key *old = NULL;
	unsigned int i;

	spin_lock(&flow->lock);
	for (i = 0; i < QUIC_RX_SLOTS; i++) {
		if (keys->key[i])
			keys->key[i]->opened += keys->opened[i];
	}
	if (quic_rx_merge(&flow->state, &keys->state)) {
		i = quic_rx_slot(flow->state.gen - 2);
		old = flow->key[i];
		flow->key[i] = NULL;
	}
	spin_unlock(&flow->lock);
	return old;
}

/**
 * quic_rx_keys_commit - let a flow know what a call has opened
 * @keys: keys of quic_rx_keys_get(), used for packets that leave the queue
 * @flow: flow
 *
 * Context: process, sleeps.
 */
void quic_rx_keys_commit(struct quic_rx_keys *keys, struct quic_rx_flow *flow)
{
	struct quic_rx_key *old = quic_rx_keys_merge(keys, flow);

	if (old)
		quic_rx_flow_retire(flow, old);
}

/**
 * quic_rx_keys_put - give back the keys of a flow
 * @keys: keys of quic_rx_keys_get()
 *
 * Context: process, sleeps.
 */
void quic_rx_keys_put(struct quic_rx_keys *keys)
{
	unsigned int i;

	for (i = 0; i < QUIC_RX_SLOTS; i++) {
		if (keys->key[i])
			quic_rx_key_put(keys->key[i]);
	}
}

/**
 * quic_rx_flows_init - set up the tables of a socket
 * @fs: filled in
 * @sk: socket
 *
 * Context: process, sleeps.
 * Return: 0 or a negative error.
 */
int quic_rx_flows_init(struct quic_rx_flows *fs, const struct sock *sk)
{
	int err;

	fs->sk = sk;
	fs->net = sock_net(sk);
	mutex_init(&fs->lock);
	INIT_LIST_HEAD(&fs->list);
	err = quic_rx_matches_init(fs);
	if (err)
		return err;
	err = rhashtable_init(&fs->ids, &quic_rx_ids_params);
	if (err)
		quic_rx_matches_destroy(fs);
	return err;
}

/**
 * quic_rx_flows_destroy - free the tables
 * @fs: flows of a socket, all removed, a grace period after nobody finds the
 *	socket any more
 *
 * Context: process, sleeps.
 */
void quic_rx_flows_destroy(struct quic_rx_flows *fs)
{
	rhashtable_destroy(&fs->ids);
	quic_rx_matches_destroy(fs);
}
