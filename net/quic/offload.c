// SPDX-License-Identifier: GPL-2.0
/*
 * QUIC packet protection by devices: which key is in which device
 */

#include <linux/module.h>
#include <linux/netdevice.h>
#include <linux/netlink.h>
#include <linux/slab.h>
#include <net/quic_core.h>
#include <net/sock.h>

#include "net.h"
#include "offload.h"
#include "trace.h"

/* Nests inside RTNL (notifier) and quic_flows.lock (DEL). Held while drivers
 * are called.
 */
static DEFINE_MUTEX(quic_offload_lock);
static LIST_HEAD(quic_offload_list);

/* Incremented when a device has changed, so that it may accept what it has
 * refused before
 */
static atomic_t quic_offload_seq = ATOMIC_INIT(1);

/**
 * quic_offload_attempt - token for an attempt to offer a key
 * @netdev: device
 *
 * Return: non-zero token for (device, generation). Equal to &quic_slot.tried:
 * do not offer again.
 */
unsigned long quic_offload_attempt(const struct net_device *netdev)
{
	return (unsigned long)netdev + 2 * atomic_read(&quic_offload_seq) + 1;
}

static struct net_device *quic_offload_netdev(const struct quic_offload *o)
{
	return rcu_dereference_protected(o->netdev,
					 lockdep_is_held(&quic_offload_lock));
}

/* The driver forgets the key. No packet of it is on its way to the driver. */
static void quic_offload_del(struct quic_offload *o, struct net_device *netdev)
{
	lockdep_assert_held(&quic_offload_lock);
	trace_quic_device_del(netdev, &o->qkey);
	WRITE_ONCE(netdev->quicdev_full, false);
	netdev->quicdev_ops->quic_dev_del(netdev, QUICDEV_TX, &o->qkey);
	list_del_init(&o->list);
	netdev_put(netdev, &o->tracker);
}

static void quic_offload_free(struct quic_offload *o)
{
	if (!IS_ERR_OR_NULL(o->tfm))
		quic_aead_free(o->tfm);
	if (o->hp.cipher)
		quic_hp_destroy(&o->hp);
	quic_key_put(o->key);
	kfree_sensitive(o);
	/* Module exit waits for the work that calls this */
	module_put(THIS_MODULE);
}

static void quic_offload_free_work(struct work_struct *work)
{
	struct quic_offload *o = container_of(to_rcu_work(work),
					      struct quic_offload, rwork);
	struct net_device *netdev;

	mutex_lock(&quic_offload_lock);
	netdev = quic_offload_netdev(o);
	if (netdev)
		quic_offload_del(o, netdev);
	mutex_unlock(&quic_offload_lock);
	quic_offload_free(o);
}

/**
 * quic_offload_put - drop a reference
 * @offload: offload
 *
 * Context: any.
 */
void quic_offload_put(struct quic_offload *offload)
{
	if (!refcount_dec_and_test(&offload->ref))
		return;
	INIT_RCU_WORK(&offload->rwork, quic_offload_free_work);
	queue_rcu_work(quic_crypto_wq, &offload->rwork);
}

/**
 * quic_offload_alloc - prepare a key for a device
 * @key: key
 * @hp: header protection
 *
 * Sets up transforms that do not wait, for packets that end up on another
 * device. May load modules.
 *
 * Context: process, sleeps.
 * Return: an offload to be passed to quic_offload_bind(), or NULL.
 */
struct quic_offload *quic_offload_alloc(struct quic_key *key,
					const struct quic_hp *hp)
{
	struct quic_offload *o;
	int err;

	o = kzalloc_obj(*o, GFP_KERNEL_ACCOUNT);
	if (!o)
		return NULL;
	__module_get(THIS_MODULE);
	quic_key_hold(key);
	o->key = key;
	refcount_set(&o->ref, 1);
	INIT_LIST_HEAD(&o->list);
	o->tfm = quic_aead_alloc(key->cipher, key->secret, CRYPTO_ALG_ASYNC);
	if (IS_ERR(o->tfm))
		goto err_free;
	err = quic_hp_init(&o->hp, key->cipher, hp->key, CRYPTO_ALG_ASYNC);
	if (err) {
		o->hp.cipher = NULL;
		goto err_free;
	}
	return o;

err_free:
	quic_offload_free(o);
	return NULL;
}

/* The device no longer counts as having the key, whatever happens to @o */
static void quic_offload_unbind(struct quic_offload *o)
{
	lockdep_assert_held(&quic_offload_lock);
	if (!o->bound)
		return;
	o->bound = false;
	QUIC_DEC_STATS(o->net, CURR_TX_DEVICE);
}

static struct quic_offload *quic_offload_in(const struct quic_slot *slot)
{
	return rcu_dereference_protected(slot->offload,
					 lockdep_is_held(&quic_offload_lock));
}

static void quic_offload_release(struct quic_slot *slot)
{
	struct quic_offload *o = quic_offload_in(slot);

	if (!o)
		return;
	RCU_INIT_POINTER(slot->offload, NULL);
	quic_offload_unbind(o);
	quic_offload_put(o);
}

/**
 * quic_offload_drop - the key of a slot has gone, release its offload
 * @slot: slot that no longer has the key
 *
 * The driver keeps the key until the last packet for it has been sent.
 *
 * Context: process, sleeps.
 */
void quic_offload_drop(struct quic_slot *slot)
{
	mutex_lock(&quic_offload_lock);
	quic_offload_release(slot);
	WRITE_ONCE(slot->tried, 0);
	mutex_unlock(&quic_offload_lock);
}

static bool quic_offload_has_keys(const struct net_device *netdev)
{
	const struct quic_offload *o;

	list_for_each_entry(o, &quic_offload_list, list) {
		if (quic_offload_netdev(o) == netdev)
			return true;
	}
	return false;
}

/* @netdev is known to be up, and stays up until the notifier of NETDEV_DOWN has
 * got quic_offload_lock, which the caller holds.
 */
static int quic_offload_add(struct sock *sk, struct quic_offload *o,
			    struct net_device *netdev)
{
	struct netlink_ext_ack extack = {};
	int err;

	netdev_hold(netdev, &o->tracker, GFP_KERNEL);
	err = netdev->quicdev_ops->quic_dev_add(netdev, sk, QUICDEV_TX,
						&o->qkey, &extack);
	trace_quic_device_add(netdev, &o->qkey, err, extack._msg);
	if (err && err != -EINPROGRESS) {
		if (err == -ENOSPC && quic_offload_has_keys(netdev))
			WRITE_ONCE(netdev->quicdev_full, true);
		netdev_put(netdev, &o->tracker);
		return err;
	}
	if (!err)
		quicdev_add_done(&o->qkey, 0);
	list_add_tail(&o->list, &quic_offload_list);
	rcu_assign_pointer(o->netdev, netdev);
	return 0;
}

static bool quic_offload_bind_locked(struct sock *sk, struct quic_slot *slot,
				     struct quic_offload *o,
				     struct net_device *netdev)
{
	struct net *net = sock_net(sk);
	struct quic_offload *old;

	/* DEL and key update empty the slot before they ask for the lock */
	if (rcu_access_pointer(slot->key) != o->key ||
	    !(netdev->flags & IFF_UP))
		return false;
	old = quic_offload_in(slot);
	if (old && quic_offload_netdev(old))
		return false;
	quic_offload_release(slot);

	if (quic_offload_add(sk, o, netdev)) {
		QUIC_INC_STATS(net, TX_DEVICE_ERROR);
		/* A full device is offered the key again when it has room */
		if (!netdev->quicdev_full)
			WRITE_ONCE(slot->tried, quic_offload_attempt(netdev));
		return false;
	}
	o->net = net;
	o->bound = true;
	QUIC_INC_STATS(net, CURR_TX_DEVICE);
	QUIC_INC_STATS(net, TX_DEVICE);
	/* Packets of @sk that end up on another device are sealed there. Set
	 * this before the first of them can be left to a device.
	 */
	smp_store_release(&sk->sk_validate_xmit_skb, quic_validate_xmit_skb);
	rcu_assign_pointer(slot->offload, o);
	return true;
}

/**
 * quic_offload_bind - offer the key of a slot to a device
 * @sk: socket of the flow
 * @slot: slot of the flow
 * @offload: offload of quic_offload_alloc() with a description of the key;
 *	     freed if the device does not take it
 * @netdev: device, which the caller holds
 *
 * Only one sender at a time waits for a driver. Packets of all others are
 * sealed in software meanwhile.
 *
 * Context: process, sleeps.
 */
void quic_offload_bind(struct sock *sk, struct quic_slot *slot,
		       struct quic_offload *offload, struct net_device *netdev)
{
	bool bound;

	bound = mutex_trylock(&quic_offload_lock);
	if (bound) {
		bound = quic_offload_bind_locked(sk, slot, offload, netdev);
		mutex_unlock(&quic_offload_lock);
	}
	if (!bound)
		quic_offload_free(offload);
}

/* In a device, or offered to a device that has not answered yet? */
static bool quic_offload_taken(const struct quic_slot *slot)
{
	struct quic_offload *o;
	bool taken;

	rcu_read_lock();
	o = rcu_dereference(slot->offload);
	taken = o && rcu_access_pointer(o->netdev);
	rcu_read_unlock();
	return taken;
}

/**
 * quic_offload_wanted - is it worth offering the key of a slot to a device?
 * @slot: slot
 * @netdev: device
 *
 * A key that was refused is offered again when the device has changed. While
 * somebody else calls a driver, nothing is offered.
 *
 * Context: any; the caller holds @netdev or rcu_read_lock().
 * Return: true if it is.
 */
bool quic_offload_wanted(const struct quic_slot *slot,
			 const struct net_device *netdev)
{
	return !READ_ONCE(netdev->quicdev_full) &&
	       READ_ONCE(slot->tried) != quic_offload_attempt(netdev) &&
	       !quic_offload_taken(slot) &&
	       !mutex_is_locked(&quic_offload_lock);
}

/**
 * quic_offload_get - the offload of a key in a device
 * @slot: slot of the key
 * @key: key
 * @netdev: device
 *
 * Context: any.
 * Return: the offload, with a reference, or NULL if the device does not have
 * the key or has not acknowledged it.
 */
struct quic_offload *quic_offload_get(const struct quic_slot *slot,
				      const struct quic_key *key,
				      const struct net_device *netdev)
{
	struct quic_offload *o;

	rcu_read_lock();
	o = rcu_dereference(slot->offload);
	/* Pairs with quicdev_add_done(): the driver has set up its state */
	if (o && !smp_load_acquire(&o->qkey.ready))
		o = NULL;
	if (o && (o->key != key || rcu_access_pointer(o->netdev) != netdev ||
		  !refcount_inc_not_zero(&o->ref)))
		o = NULL;
	rcu_read_unlock();
	return o;
}

/* All keys at once: one grace period for each key would take minutes */
static void quic_offload_down(struct net_device *netdev)
{
	struct quic_offload *o, *tmp;
	LIST_HEAD(down);

	mutex_lock(&quic_offload_lock);
	list_for_each_entry_safe(o, tmp, &quic_offload_list, list) {
		if (quic_offload_netdev(o) != netdev)
			continue;
		RCU_INIT_POINTER(o->netdev, NULL);
		list_move_tail(&o->list, &down);
		quic_offload_unbind(o);
	}
	/* Then quic_offload_validate() lets nothing pass to the driver */
	if (!list_empty(&down))
		synchronize_net();
	list_for_each_entry_safe(o, tmp, &down, list)
		quic_offload_del(o, netdev);
	mutex_unlock(&quic_offload_lock);
}

static bool quic_offload_ops_ok(const struct net_device *netdev)
{
	const struct quicdev_ops *ops = netdev->quicdev_ops;

	if (!((netdev->features | netdev->hw_features) &
	      (NETIF_F_HW_QUIC_TX | NETIF_F_HW_QUIC_RX)))
		return true;
	return ops && ops->caps && ops->quic_dev_add && ops->quic_dev_del;
}

static int quic_offload_event(struct notifier_block *nb, unsigned long event,
			      void *ptr)
{
	struct net_device *netdev = netdev_notifier_info_to_dev(ptr);

	switch (event) {
	case NETDEV_REGISTER:
	case NETDEV_FEAT_CHANGE:
		if (!quic_offload_ops_ok(netdev))
			return NOTIFY_BAD;
		fallthrough;
	case NETDEV_UP:
		if (netdev->quicdev_ops) {
			WRITE_ONCE(netdev->quicdev_full, false);
			atomic_inc(&quic_offload_seq);
		}
		break;
	case NETDEV_DOWN:
		if (netdev->quicdev_ops)
			quic_offload_down(netdev);
		break;
	}
	return NOTIFY_DONE;
}

static struct notifier_block quic_offload_notifier = {
	.notifier_call = quic_offload_event,
};

static int quic_offload_reset(struct notifier_block *nb, unsigned long event,
			      void *netdev)
{
	quic_offload_down(netdev);
	atomic_inc(&quic_offload_seq);
	return NOTIFY_DONE;
}

static struct notifier_block quic_offload_reset_notifier = {
	.notifier_call = quic_offload_reset,
};

/**
 * quic_offload_init - start to follow the events of devices
 *
 * Context: process, sleeps.
 * Return: 0 or a negative error.
 */
int __init quic_offload_init(void)
{
	int err;

	err = register_netdevice_notifier(&quic_offload_notifier);
	if (err)
		return err;
	return quicdev_register_reset(&quic_offload_reset_notifier);
}

/**
 * quic_offload_exit - undo quic_offload_init()
 *
 * Every offload holds a reference on the module, so there is none left.
 *
 * Context: process, sleeps.
 */
void quic_offload_exit(void)
{
	quicdev_unregister_reset(&quic_offload_reset_notifier);
	unregister_netdevice_notifier(&quic_offload_notifier);
}
