// SPDX-License-Identifier: GPL-2.0
/*
 * QUIC packet protection: flows of a socket
 */

#include <crypto/utils.h>
#include <linux/prefetch.h>
#include <linux/rhashtable.h>
#include <linux/slab.h>
#include <net/net_namespace.h>

#include "flow.h"
#include "net.h"
#include "offload.h"
#include "trace.h"

/* Every sendmsg() compares tuples, and memcmp() takes several times as long */
static int quic_flow_cmp(struct rhashtable_compare_arg *arg, const void *obj)
{
	const struct quic_flow *flow = obj;
	const u64 *a = arg->key, *b = (const u64 *)&flow->tuple;
	unsigned int i;

	BUILD_BUG_ON(sizeof(flow->tuple) % sizeof(u64));
	for (i = 0; i < sizeof(flow->tuple) / sizeof(u64); i++) {
		if (a[i] != b[i])
			return 1;
	}
	return 0;
}

static const struct rhashtable_params quic_tuples_params = {
	.head_offset = offsetof(struct quic_flow, node),
	.key_offset = offsetof(struct quic_flow, tuple),
	.key_len = sizeof_field(struct quic_flow, tuple),
	.obj_cmpfn = quic_flow_cmp,
	.automatic_shrinking = true,
};

static const struct rhashtable_params quic_ids_params = {
	.head_offset = offsetof(struct quic_flow, id_node),
	.key_offset = offsetof(struct quic_flow, id),
	.key_len = sizeof_field(struct quic_flow, id),
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
	quic_hp_destroy(&flow->hp);
	kfree_sensitive(flow);
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
	INIT_RCU_WORK(&flow->rwork, quic_flow_free_work);
	queue_rcu_work(quic_crypto_wq, &flow->rwork);
}

/* Empty the slots. The record of what a key has sealed goes with its last slot.
 * A sender that already holds a key finishes its call with it.
 */
static void quic_flow_drop_keys(struct quic_flows *fs, struct quic_flow *flow)
{
	struct quic_key *key;
	unsigned int phase;

	for (phase = 0; phase < ARRAY_SIZE(flow->slot); phase++) {
		key = quic_flow_slot_key(fs, flow, phase);
		if (!key)
			continue;
		RCU_INIT_POINTER(flow->slot[phase].key, NULL);
		quic_offload_drop(&flow->slot[phase]);
		quic_key_uninstall(key);
	}
}

/* Called after removal from the tables, or while they are destroyed */
static void quic_flow_unlinked(struct quic_flows *fs, struct quic_flow *flow)
{
	quic_flow_drop_keys(fs, flow);
	atomic_dec(&quic_crypto_net(fs->net)->nr_flows);
	QUIC_DEC_STATS(fs->net, CURR_TX_SW);
	quic_flow_put(flow);
}

static int quic_flow_set_key(struct quic_flows *fs, struct quic_flow *flow,
			     const struct quic_connection_info *info)
{
	u8 gen = info->conn_payload_key_gen;
	struct quic_slot *slot = &flow->slot[gen & 1];
	struct quic_key *key, *old;

	key = quic_key_install(fs->net, flow->hp.cipher, info->payload_key,
			       info->payload_iv);
	if (IS_ERR(key))
		return PTR_ERR(key);
	old = quic_flow_slot_key(fs, flow, gen & 1);
	WRITE_ONCE(flow->gen, gen);
	rcu_assign_pointer(slot->key, key);
	if (old) {
		quic_offload_drop(slot);
		quic_key_uninstall(old);
	}
	return 0;
}

/* The flow exists: @info must be its next generation (RFC 9001 6.1) */
static int quic_flow_add_gen(struct quic_flows *fs, struct quic_flow *flow,
			     const struct quic_connection_info *info)
{
	u8 ahead = info->conn_payload_key_gen - flow->gen;

	if (!ahead)
		return -EEXIST;
	if (ahead == U8_MAX && quic_flow_slot_key(fs, flow, !(flow->gen & 1)))
		return -EEXIST;
	if (ahead != 1 || info->cipher_type != flow->hp.cipher->type)
		return -EINVAL;
	if (info->key.flow_id && info->key.flow_id != flow->id)
		return -EINVAL;
	if (crypto_memneq(info->header_key, flow->hp.key,
			  flow->hp.cipher->key_size))
		return -EINVAL;
	return quic_flow_set_key(fs, flow, info);
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
	refcount_set(&flow->ref, 1);
	return flow;
}

static int quic_flow_link(struct quic_flows *fs, struct quic_flow *flow)
{
	int err;

	if (flow->id) {
		err = rhashtable_lookup_insert_fast(&fs->ids, &flow->id_node,
						    quic_ids_params);
		if (err)
			return err;
	}
	err = rhashtable_lookup_insert_fast(&fs->tuples, &flow->node,
					    quic_tuples_params);
	if (err && flow->id)
		rhashtable_remove_fast(&fs->ids, &flow->id_node,
				       quic_ids_params);
	return err;
}

static int quic_flow_add_new(struct quic_flows *fs,
			     const struct quic_tuple *tuple,
			     const struct quic_connection_info *info)
{
	struct quic_crypto_net *qn = quic_crypto_net(fs->net);
	struct quic_flow *flow;
	int err;

	if (atomic_inc_return(&qn->nr_flows) > READ_ONCE(qn->max_flows)) {
		err = -ENOSPC;
		goto err_uncount;
	}
	flow = quic_flow_alloc(tuple, info);
	if (IS_ERR(flow)) {
		err = PTR_ERR(flow);
		goto err_uncount;
	}
	err = quic_flow_set_key(fs, flow, info);
	if (err)
		goto err_put;
	err = quic_flow_link(fs, flow);
	if (err)
		goto err_drop_keys;

	QUIC_INC_STATS(fs->net, CURR_TX_SW);
	QUIC_INC_STATS(fs->net, TX_SW);
	return 0;

err_drop_keys:
	quic_flow_drop_keys(fs, flow);
err_put:
	quic_flow_put(flow);
err_uncount:
	atomic_dec(&qn->nr_flows);
	return err;
}

/**
 * quic_flow_add - add a flow, or the next key generation of a flow
 * @fs: flows of the socket
 * @tuple: destination and connection ID of the flow
 * @info: the rest, checked as far as it does not depend on other flows
 *
 * Context: process, sleeps.
 * Return: 0 or a negative error, which has changed nothing: -EEXIST if the flow
 * has this generation or another flow has this flow_id, -EINVAL if the flow and
 * @info do not go together, -ENOSPC at the namespace's limit.
 */
int quic_flow_add(struct quic_flows *fs, const struct quic_tuple *tuple,
		  const struct quic_connection_info *info)
{
	struct quic_flow *flow;
	int err;

	mutex_lock(&fs->lock);
	flow = rhashtable_lookup_fast(&fs->tuples, tuple, quic_tuples_params);
	if (flow)
		err = quic_flow_add_gen(fs, flow, info);
	else
		err = quic_flow_add_new(fs, tuple, info);
	mutex_unlock(&fs->lock);
	trace_quic_flow_add(fs, tuple, info->cipher_type,
			    info->conn_payload_key_gen, err);
	return err;
}

/**
 * quic_flow_del - remove a flow with all its keys
 * @fs: flows of the socket
 * @tuple: destination and connection ID of the flow
 * @id: flow_id of the flow, or 0 to compare only @tuple
 *
 * Context: process, sleeps.
 * Return: 0, or -ENOENT.
 */
int quic_flow_del(struct quic_flows *fs, const struct quic_tuple *tuple,
		  u32 id)
{
	struct quic_flow *flow;

	mutex_lock(&fs->lock);
	flow = rhashtable_lookup_fast(&fs->tuples, tuple, quic_tuples_params);
	if (!flow || (id && id != flow->id)) {
		mutex_unlock(&fs->lock);
		return -ENOENT;
	}
	rhashtable_remove_fast(&fs->tuples, &flow->node, quic_tuples_params);
	if (flow->id)
		rhashtable_remove_fast(&fs->ids, &flow->id_node,
				       quic_ids_params);
	quic_flow_unlinked(fs, flow);
	mutex_unlock(&fs->lock);
	trace_quic_flow_del(fs, tuple);
	return 0;
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
	prefetchw(&key->tx.window.map[BIT_WORD(pn % QUIC_PN_WINDOW)]);
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
	return ERR_PTR(rcu_access_pointer(flow->slot[!phase].key) ? -ENOKEY :
								    -ENOENT);
}

/**
 * quic_flows_init - set up the tables of a socket in one direction
 * @fs: filled in
 * @net: namespace of the socket
 * @dir: direction
 *
 * Context: process, sleeps.
 * Return: 0 or a negative error.
 */
int quic_flows_init(struct quic_flows *fs, struct net *net, enum quic_dir dir)
{
	int err;

	fs->net = net;
	fs->dir = dir;
	mutex_init(&fs->lock);
	err = rhashtable_init(&fs->tuples, &quic_tuples_params);
	if (err)
		return err;
	err = rhashtable_init(&fs->ids, &quic_ids_params);
	if (err)
		rhashtable_destroy(&fs->tuples);
	return err;
}

static void quic_flows_destroy_one(void *ptr, void *arg)
{
	quic_flow_unlinked(arg, ptr);
}

/**
 * quic_flows_destroy - remove all flows, and the tables
 * @fs: flows of a socket that nobody sends on any more
 *
 * Context: process, sleeps.
 */
void quic_flows_destroy(struct quic_flows *fs)
{
	mutex_lock(&fs->lock);
	rhashtable_destroy(&fs->ids);
	rhashtable_free_and_destroy(&fs->tuples, quic_flows_destroy_one, fs);
	mutex_unlock(&fs->lock);
}
