// SPDX-License-Identifier: GPL-2.0
/*
 * QUIC packet protection: flows of a socket
 */

#include <crypto/utils.h>
#include <linux/prefetch.h>
#include <linux/rhashtable.h>
#include <linux/slab.h>
#include <net/net_namespace.h>
#include <net/quic.h>

#include "quic.h"
#include "trace.h"

/* For each sendmsg(): memcmp() takes several times as long */
static int quic_flow_cmp(struct rhashtable_compare_arg *arg, const void *obj)
{
	const struct quic_flow *flow = obj;
	const u64 *a = arg->key, *b = (const u64 *)&flow->key;
	unsigned int i;

	BUILD_BUG_ON(sizeof(flow->key) % sizeof(u64));
	for (i = 0; i < sizeof(flow->key) / sizeof(u64); i++) {
		if (a[i] != b[i])
			return 1;
	}
	return 0;
}

static const struct rhashtable_params quic_flows_params = {
	.head_offset = offsetof(struct quic_flow, node),
	.key_offset = offsetof(struct quic_flow, key),
	.key_len = sizeof_field(struct quic_flow, key),
	.obj_cmpfn = quic_flow_cmp,
	.automatic_shrinking = true,
};

static const struct rhashtable_params quic_ids_params = {
	.head_offset = offsetof(struct quic_flow, id_node),
	.key_offset = offsetof(struct quic_flow, id),
	.key_len = sizeof_field(struct quic_flow, id),
	.automatic_shrinking = true,
};

static struct quic_key *quic_flow_slot(struct quic_flow *flow,
				       unsigned int phase)
{
	/* ADD and DEL exclude each other; or nobody else has the flow */
	return rcu_dereference_protected(flow->slot[phase], 1);
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
	queue_rcu_work(quic_wq, &flow->rwork);
}

/* The keys go now, and with them what they have sealed. A sender that already
 * has one finishes its call with it.
 */
static void quic_flow_drop_keys(struct quic_flow *flow)
{
	struct quic_key *key;
	unsigned int phase;

	for (phase = 0; phase < ARRAY_SIZE(flow->slot); phase++) {
		key = quic_flow_slot(flow, phase);
		if (!key)
			continue;
		RCU_INIT_POINTER(flow->slot[phase], NULL);
		quic_dev_drop(flow, phase);
		quic_key_uninstall(key);
	}
}

/* @flow has left the tables, or they have left it */
static void quic_flow_unlinked(struct quic_sock *qs, struct quic_flow *flow)
{
	quic_flow_drop_keys(flow);
	atomic_dec(&quic_net(qs->net)->nr_flows);
	QUIC_DEC_STATS(qs->net, CURR_TX_SW);
	quic_flow_put(flow);
}

static int quic_flow_set_key(struct quic_sock *qs, struct quic_flow *flow,
			     const struct quic_connection_info *info)
{
	u8 gen = info->conn_payload_key_gen;
	struct quic_key *key, *old;

	key = quic_key_install(qs->net, flow->hp.cipher, info->payload_key,
			       info->payload_iv);
	if (IS_ERR(key))
		return PTR_ERR(key);
	old = quic_flow_slot(flow, gen & 1);
	WRITE_ONCE(flow->gen, gen);
	rcu_assign_pointer(flow->slot[gen & 1], key);
	if (old) {
		quic_dev_drop(flow, gen & 1);
		quic_key_uninstall(old);
	}
	return 0;
}

/* The flow is there: this must be its next generation (RFC 9001 6.1) */
static int quic_flow_add_gen(struct quic_sock *qs, struct quic_flow *flow,
			     const struct quic_connection_info *info)
{
	u8 ahead = info->conn_payload_key_gen - flow->gen;

	if (!ahead)
		return -EEXIST;
	if (ahead == U8_MAX && quic_flow_slot(flow, !(flow->gen & 1)))
		return -EEXIST;
	if (ahead != 1 || info->cipher_type != flow->hp.cipher->type)
		return -EINVAL;
	if (info->key.flow_id && info->key.flow_id != flow->id)
		return -EINVAL;
	if (crypto_memneq(info->header_key, flow->hp.key,
			  flow->hp.cipher->key_size))
		return -EINVAL;
	return quic_flow_set_key(qs, flow, info);
}

static struct quic_flow *
quic_flow_alloc(const struct quic_flow_key *key,
		const struct quic_connection_info *info)
{
	struct quic_flow *flow;
	int err;

	flow = kzalloc(sizeof(*flow), GFP_KERNEL_ACCOUNT);
	if (!flow)
		return ERR_PTR(-ENOMEM);
	err = quic_hp_init(&flow->hp, quic_cipher_find(info->cipher_type),
			   info->header_key, 0);
	if (err) {
		kfree(flow);
		return ERR_PTR(err);
	}
	flow->key = *key;
	flow->id = info->key.flow_id;
	refcount_set(&flow->ref, 1);
	return flow;
}

static int quic_flow_link(struct quic_sock *qs, struct quic_flow *flow)
{
	int err;

	if (flow->id) {
		err = rhashtable_lookup_insert_fast(&qs->ids, &flow->id_node,
						    quic_ids_params);
		if (err)
			return err;
	}
	err = rhashtable_lookup_insert_fast(&qs->flows, &flow->node,
					    quic_flows_params);
	if (err && flow->id)
		rhashtable_remove_fast(&qs->ids, &flow->id_node,
				       quic_ids_params);
	return err;
}

static int quic_flow_add_new(struct quic_sock *qs,
			     const struct quic_flow_key *key,
			     const struct quic_connection_info *info)
{
	struct quic_net *qn = quic_net(qs->net);
	struct quic_flow *flow;
	int err;

	if (atomic_inc_return(&qn->nr_flows) > READ_ONCE(qn->max_flows)) {
		err = -ENOSPC;
		goto err_uncount;
	}
	flow = quic_flow_alloc(key, info);
	if (IS_ERR(flow)) {
		err = PTR_ERR(flow);
		goto err_uncount;
	}
	err = quic_flow_set_key(qs, flow, info);
	if (err)
		goto err_put;
	err = quic_flow_link(qs, flow);
	if (err)
		goto err_drop_keys;

	QUIC_INC_STATS(qs->net, CURR_TX_SW);
	QUIC_INC_STATS(qs->net, TX_SW);
	return 0;

err_drop_keys:
	quic_flow_drop_keys(flow);
err_put:
	quic_flow_put(flow);
err_uncount:
	atomic_dec(&qn->nr_flows);
	return err;
}

/**
 * quic_flow_add - add a flow, or the next generation of one
 * @qs: socket
 * @key: identity of the flow
 * @info: the rest, checked as far as it does not depend on other flows
 *
 * Context: process, sleeps.
 * Return: 0 or a negative error, which has changed
 * nothing: -EEXIST where the flow has this generation or another flow has this
 * flow_id, -EINVAL where flow and @info do not go together, -ENOSPC.
 */
int quic_flow_add(struct quic_sock *qs, const struct quic_flow_key *key,
		  const struct quic_connection_info *info)
{
	struct quic_flow *flow;
	int err;

	mutex_lock(&qs->lock);
	flow = rhashtable_lookup_fast(&qs->flows, key, quic_flows_params);
	if (flow)
		err = quic_flow_add_gen(qs, flow, info);
	else
		err = quic_flow_add_new(qs, key, info);
	mutex_unlock(&qs->lock);
	trace_quic_flow_add(qs, key, info->cipher_type,
			    info->conn_payload_key_gen, err);
	return err;
}

/**
 * quic_flow_del - remove a flow with all its keys
 * @qs: socket
 * @key: identity of the flow
 * @id: its flow_id, or 0
 *
 * Context: process, sleeps.
 * Return: 0, or -ENOENT.
 */
int quic_flow_del(struct quic_sock *qs, const struct quic_flow_key *key,
		  u32 id)
{
	struct quic_flow *flow;

	mutex_lock(&qs->lock);
	flow = rhashtable_lookup_fast(&qs->flows, key, quic_flows_params);
	if (!flow || (id && id != flow->id)) {
		mutex_unlock(&qs->lock);
		return -ENOENT;
	}
	rhashtable_remove_fast(&qs->flows, &flow->node, quic_flows_params);
	if (flow->id)
		rhashtable_remove_fast(&qs->ids, &flow->id_node,
				       quic_ids_params);
	quic_flow_unlinked(qs, flow);
	mutex_unlock(&qs->lock);
	trace_quic_flow_del(qs, key);
	return 0;
}

/* The most specific match wins. Caller holds rcu_read_lock() */
static struct quic_flow *quic_flow_match(struct quic_sock *qs,
					 struct quic_flow_key *key)
{
	struct quic_flow *flow;

	flow = rhashtable_lookup(&qs->flows, key, quic_flows_params);
	if (flow)
		return flow;
	key->family = AF_UNSPEC;
	key->port = 0;
	key->scope = 0;
	memset(&key->addr, 0, sizeof(key->addr));
	return rhashtable_lookup(&qs->flows, key, quic_flows_params);
}

/* Caller holds rcu_read_lock() */
static struct quic_flow *quic_flow_hold(struct quic_flow *flow)
{
	if (flow && refcount_inc_not_zero(&flow->ref))
		return flow;
	return NULL;
}

/**
 * quic_flow_get - find the flow of a packet
 * @qs: socket
 * @key: destination and connection ID; the destination is cleared where only a
 *	 flow to any destination may be meant
 *
 * Context: any.
 * Return: the flow, with a reference, or NULL.
 */
struct quic_flow *quic_flow_get(struct quic_sock *qs,
				struct quic_flow_key *key)
{
	struct quic_flow *flow;

	rcu_read_lock();
	flow = quic_flow_hold(quic_flow_match(qs, key));
	rcu_read_unlock();
	return flow;
}

/**
 * quic_flow_get_id - find a flow by the application's handle
 * @qs: socket
 * @id: handle
 *
 * Context: any.
 * Return: the flow, with a reference, or NULL.
 */
struct quic_flow *quic_flow_get_id(struct quic_sock *qs, u32 id)
{
	struct quic_flow *flow;

	rcu_read_lock();
	flow = quic_flow_hold(rhashtable_lookup(&qs->ids, &id,
						quic_ids_params));
	rcu_read_unlock();
	return flow;
}

/* Caller holds rcu_read_lock() */
static void quic_flow_prefetch_key(const struct quic_flow *flow, u64 pn)
{
	const struct quic_key *key;

	if (!flow)
		return;
	/* Most likely it is the newest */
	key = rcu_dereference(flow->slot[READ_ONCE(flow->gen) & 1]);
	if (!key)
		return;
	prefetchw(&key->ref);
	prefetchw(&key->lock);
	prefetchw(&key->window.map[BIT_WORD(pn % QUIC_PN_WINDOW)]);
	prefetch(&flow->hp);
}

/**
 * quic_flow_prefetch - let what sealing needs of a flow come into the cache
 * @qs: socket
 * @key: as for quic_flow_get()
 * @pn: packet number
 *
 * Context: any.
 */
void quic_flow_prefetch(struct quic_sock *qs, struct quic_flow_key *key, u64 pn)
{
	rcu_read_lock();
	quic_flow_prefetch_key(quic_flow_match(qs, key), pn);
	rcu_read_unlock();
}

/**
 * quic_flow_prefetch_id - the same, by the application's handle
 * @qs: socket
 * @id: handle
 * @pn: packet number
 *
 * Context: any.
 */
void quic_flow_prefetch_id(struct quic_sock *qs, u32 id, u64 pn)
{
	rcu_read_lock();
	quic_flow_prefetch_key(rhashtable_lookup(&qs->ids, &id,
						 quic_ids_params), pn);
	rcu_read_unlock();
}

/**
 * quic_flow_key_get - the key for a Key Phase
 * @flow: flow
 * @phase: Key Phase bit
 *
 * Context: any.
 * Return: the key, with a reference, or an ERR_PTR(): -ENOKEY where that
 * generation is not installed, -ENOENT where the flow has just been removed.
 */
struct quic_key *quic_flow_key_get(struct quic_flow *flow, unsigned int phase)
{
	struct quic_key *key;

	rcu_read_lock();
	/* A key that is going away has left the slot already: look again */
	do {
		key = rcu_dereference(flow->slot[phase]);
	} while (key && !refcount_inc_not_zero(&key->ref));
	rcu_read_unlock();
	if (key)
		return key;
	return ERR_PTR(rcu_access_pointer(flow->slot[!phase]) ? -ENOKEY :
								-ENOENT);
}

/**
 * quic_flows_init - set up the tables of a socket
 * @qs: socket
 *
 * Context: process, sleeps.
 * Return: 0 or a negative error.
 */
int quic_flows_init(struct quic_sock *qs)
{
	int err;

	mutex_init(&qs->lock);
	err = rhashtable_init(&qs->flows, &quic_flows_params);
	if (err)
		return err;
	err = rhashtable_init(&qs->ids, &quic_ids_params);
	if (err)
		rhashtable_destroy(&qs->flows);
	return err;
}

static void quic_flows_destroy_one(void *ptr, void *arg)
{
	quic_flow_unlinked(arg, ptr);
}

/**
 * quic_flows_destroy - remove all flows of a socket, and the tables
 * @qs: socket, which nobody sends on any more
 *
 * Context: process, sleeps.
 */
void quic_flows_destroy(struct quic_sock *qs)
{
	rhashtable_destroy(&qs->ids);
	rhashtable_free_and_destroy(&qs->flows, quic_flows_destroy_one, qs);
}
