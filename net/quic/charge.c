// SPDX-License-Identifier: GPL-2.0
/*
 * QUIC packet protection: what users and network namespaces may have
 *
 * Memory is charged to memory cgroups. Limits by number keep a user from taking
 * what others need: flows of a network namespace, room in devices. As for keys
 * of the kernel's key service, each user has one record for the whole host, so
 * that nobody gets more by creating namespaces.
 */

#include <linux/cred.h>
#include <linux/hashtable.h>
#include <linux/refcount.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/uidgid.h>
#include <linux/wait_bit.h>
#include <net/net_namespace.h>

#include "charge.h"

/* How long ADD waits at a limit for flows that are removed already */
#define QUIC_FREE_TIMEOUT	HZ

/**
 * struct quic_user - what a user has
 * @node: entry in quic_users
 * @uid: user
 * @ref: one reference of each flow, and one of each key in a device
 * @used: how much of each resource
 */
struct quic_user {
	struct hlist_node node;
	kuid_t uid;
	refcount_t ref;
	atomic_t used[QUIC_RESOURCES];
};

static DEFINE_HASHTABLE(quic_users, 8);
static DEFINE_SPINLOCK(quic_users_lock);

static struct quic_user *quic_user_find(kuid_t uid)
{
	struct quic_user *user;

	lockdep_assert_held(&quic_users_lock);
	hash_for_each_possible(quic_users, user, node, __kuid_val(uid)) {
		if (uid_eq(user->uid, uid)) {
			refcount_inc(&user->ref);
			return user;
		}
	}
	return NULL;
}

/* Return: the record of @uid, with a reference, or NULL without memory */
static struct quic_user *quic_user_get(kuid_t uid)
{
	struct quic_user *user, *new;

	spin_lock_bh(&quic_users_lock);
	user = quic_user_find(uid);
	spin_unlock_bh(&quic_users_lock);
	if (user)
		return user;

	new = kzalloc_obj(*new, GFP_KERNEL_ACCOUNT);
	if (!new)
		return NULL;
	new->uid = uid;
	refcount_set(&new->ref, 1);
	spin_lock_bh(&quic_users_lock);
	user = quic_user_find(uid);
	if (!user)
		hash_add(quic_users, &new->node, __kuid_val(uid));
	spin_unlock_bh(&quic_users_lock);
	if (!user)
		return new;
	kfree(new);
	return user;
}

/**
 * quic_user_uid - who is it?
 * @user: user
 *
 * Context: any.
 * Return: the user.
 */
kuid_t quic_user_uid(const struct quic_user *user)
{
	return user->uid;
}

/**
 * quic_user_hold - take another reference
 * @user: user
 *
 * Context: any.
 */
void quic_user_hold(struct quic_user *user)
{
	refcount_inc(&user->ref);
}

/**
 * quic_user_put - drop a reference
 * @user: user
 *
 * Context: process or softirq.
 */
void quic_user_put(struct quic_user *user)
{
	bool last;

	if (refcount_dec_not_one(&user->ref))
		return;
	spin_lock_bh(&quic_users_lock);
	last = refcount_dec_and_test(&user->ref);
	if (last)
		hash_del(&user->node);
	spin_unlock_bh(&quic_users_lock);
	if (last)
		kfree(user);
}

static bool quic_count(atomic_t *used, int max)
{
	if (atomic_inc_return(used) <= max)
		return true;
	atomic_dec(used);
	return false;
}

/**
 * quic_user_charge - count one in the limits of a user and of a namespace
 * @user: user
 * @net: network namespace
 * @res: what is counted
 *
 * Context: any.
 * Return: 0, -EDQUOT at the limit of the user, or -ENOSPC at that of @net.
 */
int quic_user_charge(struct quic_user *user, const struct net *net,
		     enum quic_resource res)
{
	struct quic_limit *limit = &quic_crypto_net(net)->limits[res];

	/* First the user: who is at the limit must not even for a moment take
	 * one of those of the namespace.
	 */
	if (!quic_count(&user->used[res], READ_ONCE(limit->user_max)))
		return -EDQUOT;
	if (quic_count(&limit->used, READ_ONCE(limit->max)))
		return 0;
	atomic_dec(&user->used[res]);
	return -ENOSPC;
}

/**
 * quic_user_uncharge - undo quic_user_charge()
 * @user: user
 * @net: network namespace
 * @res: what is counted
 *
 * Context: any.
 */
void quic_user_uncharge(struct quic_user *user, const struct net *net,
			enum quic_resource res)
{
	atomic_dec(&quic_crypto_net(net)->limits[res].used);
	atomic_dec(&user->used[res]);
}

static bool quic_charge_freed(const struct quic_crypto_net *qn, int removed)
{
	return removed - atomic_read(&qn->freed) <= 0;
}

/**
 * quic_charge_flow - count a flow in the limits of the caller and a namespace
 * @charge: filled in
 * @net: network namespace
 *
 * A flow counts until its memory is freed. At a limit, this waits once for the
 * flows that are removed already, or else a program that replaces a flow would
 * fail because of RCU.
 *
 * Context: process, sleeps.
 * Return: 0, -EDQUOT at the limit of the user, -ENOSPC at that of @net, or
 * -ENOMEM.
 */
int quic_charge_flow(struct quic_charge *charge, struct net *net)
{
	struct quic_user *user = quic_user_get(current_euid());
	struct quic_crypto_net *qn = quic_crypto_net(net);
	int removed = atomic_read(&qn->removed);
	int err;

	if (!user)
		return -ENOMEM;
	err = quic_user_charge(user, net, QUIC_FLOWS);
	if (err && !quic_charge_freed(qn, removed)) {
		wait_var_event_timeout(&qn->freed,
				       quic_charge_freed(qn, removed),
				       QUIC_FREE_TIMEOUT);
		err = quic_user_charge(user, net, QUIC_FLOWS);
	}
	if (err) {
		quic_user_put(user);
		return err;
	}
	atomic_inc(&qn->changes);
	charge->user = user;
	charge->net = get_net_track(net, &charge->ns_tracker, GFP_KERNEL);
	return 0;
}

/**
 * quic_charge_removed - a flow is removed, and about to be freed
 * @charge: what the flow counts as
 *
 * Context: any.
 */
void quic_charge_removed(const struct quic_charge *charge)
{
	struct quic_crypto_net *qn;

	if (!charge->user)
		return;
	qn = quic_crypto_net(charge->net);
	atomic_inc(&qn->removed);
	atomic_inc(&qn->changes);
}

/**
 * quic_charge_drop - no longer count a flow, whose memory is freed
 * @charge: what the flow has counted as; after quic_charge_removed()
 *
 * Context: process.
 */
void quic_charge_drop(struct quic_charge *charge)
{
	struct quic_crypto_net *qn;

	if (!charge->user)
		return;
	qn = quic_crypto_net(charge->net);
	quic_user_uncharge(charge->user, charge->net, QUIC_FLOWS);
	quic_user_put(charge->user);
	/* Ordered after both, for quic_charge_flow() */
	atomic_inc_return(&qn->freed);
	wake_up_var(&qn->freed);
	put_net_track(charge->net, &charge->ns_tracker);
}
