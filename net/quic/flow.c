// SPDX-License-Identifier: GPL-2.0
/*
 * QUIC packet protection: flows of a socket
 */

#include <linux/prefetch.h>
#include <linux/rhashtable.h>
#include <linux/slab.h>
#include <net/net_namespace.h>
#include <net/sock.h>

#include "flow.h"
#include "net.h"
#include "offload.h"
#include "trace.h"

static int quic_flow_cmp(struct rhashtable_compare_arg *arg, const void *obj)
{
	const struct quic_flow *flow = obj;

	return !quic_tuple_equal(&flow->tuple, arg->key);
}

static int quic_flow_cmp_id(struct rhashtable_compare_arg *arg, const void *obj)
{
	const struct quic_flow *flow = obj;

	return flow->id != *(const u32 *)arg->key;
}

static const struct rhashtable_params quic_tuples_params = {
	.head_offset = offsetof(struct quic_flow, node),
	.key_offset = offsetof(struct quic_flow, tuple),
	.key_len = sizeof_field(struct quic_flow, tuple),
	.obj_cmpfn = quic_flow_cmp,
	.min_size = QUIC_MIN_BUCKETS,
	.automatic_shrinking = true,
};

static const struct rhashtable_params quic_ids_params = {
	.head_offset = offsetof(struct quic_flow, node),
	.key_offset = offsetof(struct quic_flow, id),
	.key_len = sizeof_field(struct quic_flow, id),
	.obj_cmpfn = quic_flow_cmp_id,
	.min_size = QUIC_MIN_BUCKETS,
	.automatic_shrinking = true,
};

static struct quic_key *quic_flow_slot_key(const struct quic_flows *fs,
					   const struct quic_flow *flow,
					   unsigned int phase)
{
	return rcu_dereference_protected(flow->slot[phase].key,
					 lockdep_is_held(&fs->lock));
}

static void quic_flow_free(struct quic_flow *flow)
{
	struct quic_charge charge = flow->charge;

	quic_offload_flow_free(flow);
	quic_hp_destroy(&flow->hp);
	kfree_sensitive(flow);
	quic_charge_drop(&charge);
}

static void quic_flow_free_work(struct work_struct *work)
{
	quic_flow_free(container_of(to_rcu_work(work), struct quic_flow,
				    rwork));
}

/**
 * quic_flow_put - drop a reference
 * @flow: flow
 *
 * Context: any.
 */
void quic_flow_put(struct quic_flow *flow)
{
	if (!refcount_dec_and_test(&flow->ref))
		return;
	quic_charge_removed(&flow->charge);
	INIT_RCU_WORK(&flow->rwork, quic_flow_free_work);
	queue_rcu_work(quic_crypto_wq, &flow->rwork);
}

/* Empty a slot. A sender that has taken packet numbers of its key finishes its
 * call with it.
 */
static void quic_flow_drop_key(struct quic_flows *fs, struct quic_flow *flow,
			       unsigned int phase)
{
	struct quic_key *key = quic_flow_slot_key(fs, flow, phase);

	if (!key)
		return;
	RCU_INIT_POINTER(flow->slot[phase].key, NULL);
	quic_offload_drop(&flow->slot[phase].dev, key);
	quic_key_uninstall(key, flow->path_id);
	flow->retired = get_state_synchronize_rcu();
}

static void quic_flow_drop_keys(struct quic_flows *fs, struct quic_flow *flow)
{
	unsigned int phase;

	for (phase = 0; phase < ARRAY_SIZE(flow->slot); phase++)
		quic_flow_drop_key(fs, flow, phase);
}

/* Remove a flow from the tables, with its keys */
static void quic_flow_remove(struct quic_flows *fs, struct quic_flow *flow)
{
	quic_flow_notify(fs, flow, QUIC_NL_DEL);
	if (flow->id)
		rhashtable_remove_fast(&fs->ids, &flow->node, quic_ids_params);
	else
		rhashtable_remove_fast(&fs->tuples, &flow->node,
				       quic_tuples_params);
	list_del(&flow->list);
	WRITE_ONCE(flow->removed, true);
	quic_flow_drop_keys(fs, flow);
	QUIC_DEC_STATS(fs->net, CURR_TX_SW);
	quic_flow_put(flow);
}

static int quic_flow_set_key(struct quic_flows *fs, struct quic_flow *flow,
			     const struct quic_connection_info *info)
{
	const struct quic_key_id id = {
		.net	= fs->net,
		.uid	= sk_uid(fs->sk),
		.cipher	= flow->hp.cipher,
		.secret	= info->payload_key,
	};
	u8 gen = info->conn_payload_key_gen;
	struct quic_slot *slot = &flow->slot[gen & 1];
	struct quic_key *key, *old;

	/* Keys that wait to be freed count in no limit, so a flow may lose one
	 * in a grace period. Updates are three PTOs apart, RFC 9001 6.5.
	 */
	cond_synchronize_rcu(flow->retired);
	key = quic_key_install(&id, info->payload_iv, flow->path_id);
	if (IS_ERR(key))
		return PTR_ERR(key);
	old = quic_flow_slot_key(fs, flow, gen & 1);
	WRITE_ONCE(flow->gen, gen);
	rcu_assign_pointer(slot->key, key);
	if (old) {
		quic_offload_drop(&slot->dev, old);
		quic_key_uninstall(old, flow->path_id);
		flow->retired = get_state_synchronize_rcu();
	}
	return 0;
}

/* Does @info say what never changes about the flow? */
static bool quic_flow_same(const struct quic_flow *flow,
			   const struct quic_connection_info *info)
{
	return info->key.path_id == flow->path_id &&
	       quic_hp_same(&flow->hp, info->cipher_type, info->header_key);
}

/* Key of a live generation, or NULL */
static struct quic_key *quic_flow_gen_key(const struct quic_flows *fs,
					  const struct quic_flow *flow, u8 gen)
{
	u8 behind = flow->gen - gen;

	return behind <= 1 ? quic_flow_slot_key(fs, flow, gen & 1) : NULL;
}

/* The flow exists: @info must be its next generation (RFC 9001 6.1). Never take
 * keys of one connection for those of another one.
 */
static int quic_flow_add_gen(struct quic_flows *fs, struct quic_flow *flow,
			     const struct quic_connection_info *info)
{
	u8 gen = info->conn_payload_key_gen;
	const struct quic_key *key;
	int err;

	if (!quic_flow_same(flow, info))
		return -EADDRINUSE;
	key = quic_flow_gen_key(fs, flow, gen);
	if (key)
		return quic_key_equal(key, info->payload_key,
				      info->payload_iv) ?
		       -EEXIST : -EADDRINUSE;
	if ((u8)(gen - flow->gen) != 1)
		return -EINVAL;
	err = quic_flow_set_key(fs, flow, info);
	if (!err)
		quic_flow_notify(fs, flow, QUIC_NL_UPDATE);
	return err;
}

static struct quic_flow *
quic_flow_alloc(const struct quic_tuple *tuple,
		const struct quic_connection_info *info)
{
	struct quic_flow *flow;
	int err;

	flow = kzalloc_obj(*flow, GFP_KERNEL_ACCOUNT);
	if (!flow)
		return ERR_PTR(-ENOMEM);
	err = quic_hp_init(&flow->hp, quic_cipher_find(info->cipher_type),
			   info->header_key, 0);
	if (err) {
		kfree(flow);
		return ERR_PTR(err);
	}
	flow->tuple = *tuple;
	flow->id = info->key.flow_id;
	flow->path_id = info->key.path_id;
	flow->retired = get_completed_synchronize_rcu();
	refcount_set(&flow->ref, 1);
	return flow;
}

static int quic_flow_link(struct quic_flows *fs, struct quic_flow *flow)
{
	int err;

	if (flow->id)
		err = rhashtable_lookup_insert_fast(&fs->ids, &flow->node,
						    quic_ids_params);
	else
		err = rhashtable_lookup_insert_fast(&fs->tuples, &flow->node,
						    quic_tuples_params);
	if (!err)
		list_add_tail(&flow->list, &fs->list);
	/* The table is growing */
	return err == -EBUSY ? -EAGAIN : err;
}

static int quic_flow_add_new(struct quic_flows *fs,
			     const struct quic_tuple *tuple,
			     const struct quic_connection_info *info)
{
	struct quic_flow *flow;
	int err;

	if (quic_hp_key_unset(quic_cipher_find(info->cipher_type),
			      info->header_key))
		return -ENOENT;
	flow = quic_flow_alloc(tuple, info);
	if (IS_ERR(flow))
		return PTR_ERR(flow);
	err = quic_charge_flow(&flow->charge, fs->net);
	if (err)
		goto err_free;
	err = quic_flow_set_key(fs, flow, info);
	if (err)
		goto err_free;
	err = quic_flow_link(fs, flow);
	if (err)
		goto err_drop_keys;

	QUIC_INC_STATS(fs->net, CURR_TX_SW);
	QUIC_INC_STATS(fs->net, TX_SW);
	quic_flow_notify(fs, flow, QUIC_NL_ADD);
	return 0;

err_drop_keys:
	quic_flow_drop_keys(fs, flow);
	quic_flow_put(flow);
	return err;
err_free:
	/* Nobody has seen it, so it need not wait for RCU */
	quic_charge_removed(&flow->charge);
	quic_flow_free(flow);
	return err;
}

/* The caller holds quic_flows.lock. A flow with an id is that id and nothing
 * else: peers and NATs choose connection IDs and addresses.
 */
static struct quic_flow *quic_flow_find(struct quic_flows *fs,
					const struct quic_tuple *tuple, u32 id)
{
	if (id)
		return rhashtable_lookup_fast(&fs->ids, &id, quic_ids_params);
	return rhashtable_lookup_fast(&fs->tuples, tuple, quic_tuples_params);
}

/**
 * quic_flow_add - add a flow, or the next key generation of a flow
 * @fs: flows of the socket
 * @tuple: destination and connection ID of a flow without an id
 * @info: the rest, checked as far as it does not depend on other flows
 *
 * Context: process, sleeps.
 * Return: 0 or a negative error, which has changed nothing: -EEXIST if the flow
 * has this very generation, -EADDRINUSE if the flow has other keys, -EINVAL if
 * this is not its next generation, -ENOENT if there is no flow to update,
 * -EDQUOT or -ENOSPC at the limit of the user or of the namespace.
 */
int quic_flow_add(struct quic_flows *fs, const struct quic_tuple *tuple,
		  const struct quic_connection_info *info)
{
	struct quic_flow *flow;
	int err;

	mutex_lock(&fs->lock);
	flow = quic_flow_find(fs, tuple, info->key.flow_id);
	if (flow)
		err = quic_flow_add_gen(fs, flow, info);
	else
		err = quic_flow_add_new(fs, tuple, info);
	mutex_unlock(&fs->lock);
	trace_quic_flow_add(fs, tuple, info->key.flow_id, info->cipher_type,
			    info->conn_payload_key_gen, err);
	return err;
}

/* The same, for options that say which flow they are about. Without a path, the
 * flow may have any.
 */
static struct quic_flow *
quic_flow_find_key(struct quic_flows *fs, const struct quic_tuple *tuple,
		   const struct quic_connection_info_key *key)
{
	struct quic_flow *flow = quic_flow_find(fs, tuple, key->flow_id);

	if (flow && key->path_id && key->path_id != flow->path_id)
		return NULL;
	return flow;
}

static int quic_flow_del_locked(struct quic_flows *fs,
				const struct quic_tuple *tuple,
				const struct quic_connection_info *info)
{
	u8 gen = info->conn_payload_key_gen;
	struct quic_flow *flow;

	flow = quic_flow_find_key(fs, tuple, &info->key);
	if (!flow)
		return -ENOENT;
	if (!(info->key.flags & QUIC_CONN_GENERATION)) {
		quic_flow_remove(fs, flow);
		return 0;
	}
	if (!quic_flow_gen_key(fs, flow, gen))
		return -ENOKEY;
	quic_flow_drop_key(fs, flow, gen & 1);
	quic_flow_notify(fs, flow, QUIC_NL_UPDATE);
	return 0;
}

/**
 * quic_flow_del - remove a flow with all its keys, or one of its generations
 * @fs: flows of the socket
 * @tuple: destination and connection ID of a flow without an id
 * @info: flow_id, path_id and flags; with QUIC_CONN_GENERATION the generation
 *
 * A flow stays without its only generation, until it gets the next one.
 *
 * Context: process, sleeps.
 * Return: 0, -ENOENT if there is no such flow, or -ENOKEY if it does not have
 * the generation.
 */
int quic_flow_del(struct quic_flows *fs, const struct quic_tuple *tuple,
		  const struct quic_connection_info *info)
{
	int err;

	mutex_lock(&fs->lock);
	err = quic_flow_del_locked(fs, tuple, info);
	mutex_unlock(&fs->lock);
	if (!err)
		trace_quic_flow_del(fs, tuple, info->key.flow_id,
				    info->key.flags & QUIC_CONN_GENERATION ?
				    info->conn_payload_key_gen : -1);
	return err;
}

/**
 * quic_flow_del_all - remove all flows with their keys
 * @fs: flows of the socket
 *
 * Context: process, sleeps.
 */
void quic_flow_del_all(struct quic_flows *fs)
{
	struct quic_flow *flow, *next;

	mutex_lock(&fs->lock);
	list_for_each_entry_safe(flow, next, &fs->list, list) {
		quic_flow_remove(fs, flow);
		cond_resched();
	}
	mutex_unlock(&fs->lock);
}

/* Describe a live generation. The caller holds quic_flows.lock. */
static void quic_flow_info_gen(struct quic_flows *fs,
			       const struct quic_flow *flow, u8 gen,
			       struct quic_info_generation *info)
{
	struct quic_key *key = quic_flow_gen_key(fs, flow, gen);

	if (!key)
		return;
	quic_key_info(key, flow->path_id, info);
	info->ifindex = quic_offload_ifindex(&flow->slot[gen & 1].dev);
	info->gen = gen;
	info->installed = 1;
}

/**
 * quic_flow_describe - describe the generations of a flow
 * @fs: flows of the socket, whose lock the caller holds
 * @flow: one of them
 * @info: its generations are filled in
 *
 * Context: process.
 */
void quic_flow_describe(struct quic_flows *fs, const struct quic_flow *flow,
			struct quic_info *info)
{
	quic_flow_info_gen(fs, flow, flow->gen, &info->generations[0]);
	quic_flow_info_gen(fs, flow, flow->gen - 1, &info->generations[1]);
}

/**
 * quic_flow_info - describe a flow
 * @fs: flows of the socket
 * @tuple: destination and connection ID of a flow without an id
 * @info: flow_id and path_id of the flow; its generations are filled in
 *
 * Context: process, sleeps.
 * Return: 0, or -ENOENT if there is no such flow.
 */
int quic_flow_info(struct quic_flows *fs, const struct quic_tuple *tuple,
		   struct quic_info *info)
{
	const struct quic_flow *flow;

	mutex_lock(&fs->lock);
	info->flows = quic_flows_count(fs);
	flow = quic_flow_find_key(fs, tuple, &info->key);
	if (flow)
		quic_flow_describe(fs, flow, info);
	mutex_unlock(&fs->lock);
	return flow ? 0 : -ENOENT;
}

/* The most specific match wins. The caller holds rcu_read_lock(). */
static struct quic_flow *quic_flow_match(struct quic_flows *fs,
					 struct quic_tuple *tuple)
{
	struct quic_flow *flow;

	flow = rhashtable_lookup(&fs->tuples, tuple, quic_tuples_params);
	if (flow)
		return flow;
	quic_tuple_clear_dst(tuple);
	return rhashtable_lookup(&fs->tuples, tuple, quic_tuples_params);
}

/* The caller holds rcu_read_lock() */
static struct quic_flow *quic_flow_match_id(struct quic_flows *fs, u32 id)
{
	return rhashtable_lookup(&fs->ids, &id, quic_ids_params);
}

/* The caller holds rcu_read_lock() */
static struct quic_flow *quic_flow_hold(struct quic_flow *flow)
{
	if (flow && refcount_inc_not_zero(&flow->ref))
		return flow;
	return NULL;
}

/**
 * quic_flow_get - find the flow of a packet
 * @fs: flows of the socket
 * @tuple: destination and connection ID; the destination is cleared if no flow
 *	   has this very destination
 *
 * Context: any.
 * Return: the flow, with a reference, or NULL.
 */
struct quic_flow *quic_flow_get(struct quic_flows *fs,
				struct quic_tuple *tuple)
{
	struct quic_flow *flow;

	rcu_read_lock();
	flow = quic_flow_hold(quic_flow_match(fs, tuple));
	rcu_read_unlock();
	return flow;
}

/**
 * quic_flow_get_id - find a flow by the application's handle
 * @fs: flows of the socket
 * @id: handle
 *
 * Context: any.
 * Return: the flow, with a reference, or NULL.
 */
struct quic_flow *quic_flow_get_id(struct quic_flows *fs, u32 id)
{
	struct quic_flow *flow;

	rcu_read_lock();
	flow = quic_flow_hold(quic_flow_match_id(fs, id));
	rcu_read_unlock();
	return flow;
}

/* The caller holds rcu_read_lock() */
static void quic_flow_prefetch_key(const struct quic_flow *flow, u64 pn)
{
	struct quic_key *key;

	if (!flow)
		return;
	/* Most packets have the Key Phase of the newest generation */
	key = rcu_dereference(flow->slot[READ_ONCE(flow->gen) & 1].key);
	if (!key)
		return;
	prefetchw(&key->ref);
	prefetchw(&key->tx.lock);
	prefetchw(&key->tx.path.window.map[BIT_WORD(pn % QUIC_PN_WINDOW)]);
	prefetch(&flow->hp);
}

/**
 * quic_flow_prefetch - prefetch what sealing needs of a flow
 * @fs: flows of the socket
 * @tuple: destination and connection ID, as for quic_flow_get()
 * @pn: packet number
 *
 * Context: any.
 */
void quic_flow_prefetch(struct quic_flows *fs, struct quic_tuple *tuple,
			u64 pn)
{
	rcu_read_lock();
	quic_flow_prefetch_key(quic_flow_match(fs, tuple), pn);
	rcu_read_unlock();
}

/**
 * quic_flow_prefetch_id - prefetch a flow found by the application's handle
 * @fs: flows of the socket
 * @id: handle
 * @pn: packet number
 *
 * Context: any.
 */
void quic_flow_prefetch_id(struct quic_flows *fs, u32 id, u64 pn)
{
	rcu_read_lock();
	quic_flow_prefetch_key(quic_flow_match_id(fs, id), pn);
	rcu_read_unlock();
}

/**
 * quic_flow_get_key - get the key for a Key Phase
 * @flow: flow
 * @phase: Key Phase bit
 *
 * Context: any.
 * Return: the key, with a reference, or an ERR_PTR(): -ENOKEY if that
 * generation is not installed, -ENOENT if the flow has just been removed.
 */
struct quic_key *quic_flow_get_key(struct quic_flow *flow, unsigned int phase)
{
	struct quic_key *key;

	rcu_read_lock();
	/* A key without references has left the slot already: look again */
	do {
		key = rcu_dereference(flow->slot[phase].key);
	} while (key && !refcount_inc_not_zero(&key->ref));
	rcu_read_unlock();
	if (key)
		return key;
	return ERR_PTR(READ_ONCE(flow->removed) ? -ENOENT : -ENOKEY);
}

/**
 * quic_flows_init - set up the tables of a socket
 * @fs: filled in
 * @sk: socket
 *
 * Context: process, sleeps.
 * Return: 0 or a negative error.
 */
int quic_flows_init(struct quic_flows *fs, const struct sock *sk)
{
	int err;

	fs->sk = sk;
	fs->net = sock_net(sk);
	mutex_init(&fs->lock);
	INIT_LIST_HEAD(&fs->list);
	err = rhashtable_init(&fs->tuples, &quic_tuples_params);
	if (err)
		return err;
	err = rhashtable_init(&fs->ids, &quic_ids_params);
	if (err)
		rhashtable_destroy(&fs->tuples);
	return err;
}

/**
 * quic_flows_destroy - free the tables
 * @fs: flows of a socket, all removed, that nobody sends on any more
 *
 * Context: process, sleeps.
 */
void quic_flows_destroy(struct quic_flows *fs)
{
	rhashtable_destroy(&fs->ids);
	rhashtable_destroy(&fs->tuples);
}
