// SPDX-License-Identifier: GPL-2.0
/*
 * QUIC packet protection by devices: which key is in which device
 *
 * sendmsg() and recvmsg() only offer a key, and DEL only drops a reference: a
 * work item of the device calls the driver. So nobody but the owner of a device
 * waits for its driver. The DOC section "locking" in flow.h has the rules.
 */

#include <linux/memcontrol.h>
#include <linux/module.h>
#include <linux/netdevice.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <net/quic_core.h>
#include <net/sock.h>

#include "charge.h"
#include "key_rx.h"
#include "net.h"
#include "offload.h"
#include "trace.h"

/* How long to wait after a refusal whose reason will not last, such as a lack
 * of memory
 */
#define QUIC_OFFLOAD_RETRY	HZ

static atomic_long_t quic_offload_gen;

/* Counters of each direction */
static const struct {
	u8 curr;
	u8 added;
	u8 refused;
} quic_offload_mibs[] = {
	[QUICDEV_TX] = {
		.curr		= QUIC_MIB_CURR_TX_DEVICE,
		.added		= QUIC_MIB_TX_DEVICE,
		.refused	= QUIC_MIB_TX_DEVICE_ERROR,
	},
	[QUICDEV_RX] = {
		.curr		= QUIC_MIB_CURR_RX_DEVICE,
		.added		= QUIC_MIB_RX_DEVICE,
		.refused	= QUIC_MIB_RX_DEVICE_ERROR,
	},
};

static void quic_offload_count(const struct quic_offload *o, u8 mib, int val)
{
	SNMP_ADD_STATS(quic_crypto_net(o->net)->mib, mib, val);
}

/* The device has changed: it may accept what it has refused before */
static void quic_offload_dev_changed(struct quic_offload_dev *qdev)
{
	unsigned long gen;

	do {
		gen = atomic_long_inc_return(&quic_offload_gen);
	} while (!gen);
	/* Pairs with quic_offload_dev_full() */
	smp_store_mb(qdev->gen, gen);
	WRITE_ONCE(qdev->full, 0);
}

/* The device has refused a key that was offered when @qdev->gen was @o->gen. If
 * it has changed since, there may be room again.
 */
static void quic_offload_dev_full(const struct quic_offload *o)
{
	struct quic_offload_dev *qdev = o->qdev;

	set_bit(o->qkey.direction, &qdev->full);
	smp_mb__after_atomic();	/* Pairs with quic_offload_dev_changed() */
	if (READ_ONCE(qdev->gen) != o->gen)
		clear_bit(o->qkey.direction, &qdev->full);
}

/* @core may be NULL */
static struct quic_offload_dev *quic_offload_dev_of(struct quicdev *core)
{
	return core ? container_of(core, struct quic_offload_dev, core) : NULL;
}

static struct quic_offload_dev *
quic_offload_dev_rcu(const struct net_device *netdev)
{
	return quic_offload_dev_of(rcu_dereference(netdev->quicdev));
}

static void quic_offload_dev_put(struct quic_offload_dev *qdev)
{
	if (refcount_dec_and_test(&qdev->ref))
		kfree_rcu(qdev, rcu);
}

/* What the key counts as. Nothing but skbs may have @o any more, or nobody. */
static void quic_offload_release(struct quic_offload *o)
{
	if (!o->net)
		return;
	mem_cgroup_put(o->memcg);
	quic_user_uncharge(o->user, o->net, QUIC_DEVICE_KEYS);
	quic_user_put(o->user);
	put_net_track(o->net, &o->ns_tracker);
	o->memcg = NULL;
	o->user = NULL;
	o->net = NULL;
}

/* Drivers that have just looked up the key may read the other members */
static void quic_offload_wipe(struct quic_offload *o)
{
	memzero_explicit(o->qkey.iv, sizeof(o->qkey.iv));
	memzero_explicit(o->qkey.key, sizeof(o->qkey.key));
	memzero_explicit(o->qkey.header_key, sizeof(o->qkey.header_key));
}

/* The driver has forgotten the key. Packets that the device has opened may
 * still be there, but only for the memory of @o.
 */
static void quic_offload_del_rx(struct quic_offload *o)
{
	quic_offload_wipe(o);
	quic_offload_release(o);
	quic_offload_put(o);
}

/* The driver forgets the key. No packet is on its way to the driver that would
 * need it. If it is a key that opens, its reference of the device is dropped.
 */
static void quic_offload_del(struct quic_offload *o)
{
	struct quic_offload_dev *qdev = o->qdev;
	struct net_device *netdev = qdev->netdev;

	lockdep_assert_held(&qdev->lock);
	if (o->state != QUIC_OFFLOAD_IN)
		return;
	RCU_INIT_POINTER(o->netdev, NULL);
	clear_bit(o->qkey.key_gen & 1, &o->flow->phases);
	trace_quic_device_del(netdev, &o->qkey);
	netdev->quicdev_ops->quic_dev_del(netdev, o->qkey.direction, &o->qkey);
	WRITE_ONCE(o->state, QUIC_OFFLOAD_OUT);
	list_del_init(&o->list);
	/* Both directions may share a table */
	WRITE_ONCE(qdev->full, 0);
	quic_offload_count(o, quic_offload_mibs[o->qkey.direction].curr, -1);
	if (quic_offload_is_rx(o))
		quic_offload_del_rx(o);
}

/**
 * quic_offload_flow_put - drop a reference
 * @oflow: what devices have of a flow, or NULL
 *
 * Context: any.
 */
void quic_offload_flow_put(struct quic_offload_flow *oflow)
{
	if (oflow && refcount_dec_and_test(&oflow->ref))
		kfree(oflow);
}

/* Return: what devices have of the flow, with a reference, or NULL */
static struct quic_offload_flow *
quic_offload_flow_get(struct quic_offload_flow **of_flow)
{
	static atomic64_t cookies;
	struct quic_offload_flow *oflow, *old;

	oflow = READ_ONCE(*of_flow);
	if (oflow)
		goto out;
	oflow = kzalloc_obj(*oflow, GFP_ATOMIC | __GFP_ACCOUNT | __GFP_NOWARN);
	if (!oflow)
		return NULL;
	refcount_set(&oflow->ref, 1);
	oflow->cookie = atomic64_inc_return(&cookies);
	old = cmpxchg(of_flow, NULL, oflow);
	if (old) {
		kfree(oflow);
		oflow = old;
	}
out:
	refcount_inc(&oflow->ref);
	return oflow;
}

static void quic_offload_free(struct quic_offload *o)
{
	if (!IS_ERR_OR_NULL(o->tfm))
		quic_aead_free(o->tfm);
	if (o->hp.cipher)
		quic_hp_destroy(&o->hp);
	if (o->sk)
		sock_put(o->sk);
	if (quic_offload_is_rx(o))
		quic_rx_key_id_put(o->rx_key);
	else
		quic_key_put(o->key);
	quic_offload_flow_put(o->flow);
	quic_offload_release(o);
	quic_offload_dev_put(o->qdev);
	quic_offload_wipe(o);
	kfree_rcu(o, rcu);
	/* Module exit waits for the work and for the sockets that call this */
	module_put(THIS_MODULE);
}

/* Let the work item of the device look at @o, which is not queued yet */
static void quic_offload_kick(struct quic_offload *o)
{
	struct quic_offload_dev *qdev = o->qdev;

	/* From llist_add() on, the work may free @o, with its reference */
	refcount_inc(&qdev->ref);
	llist_add(&o->todo, &qdev->todo);
	if (!queue_work(quic_crypto_wq, &qdev->work))
		quic_offload_dev_put(qdev);
}

/* The same at any time, for an offload that may be about to be freed */
static void quic_offload_queue(struct quic_offload *o)
{
	if (!test_and_set_bit(0, &o->queued) && refcount_inc_not_zero(&o->ref))
		quic_offload_kick(o);
}

/**
 * quic_offload_put - drop a reference
 * @offload: offload
 *
 * Context: any.
 */
void quic_offload_put(struct quic_offload *offload)
{
	if (refcount_dec_and_test(&offload->ref))
		quic_offload_kick(offload);
}

/**
 * quic_offload_skb_get - an skb takes a reference
 * @qkey: key that the device is to seal the packets with, or has opened them
 *	  with
 *
 * Context: any.
 */
void quic_offload_skb_get(struct quicdev_key *qkey)
{
	refcount_inc(&quic_offload_of(qkey)->ref);
}

/**
 * quic_offload_skb_put - an skb drops its reference
 * @qkey: key
 *
 * Context: any.
 */
void quic_offload_skb_put(struct quicdev_key *qkey)
{
	quic_offload_put(quic_offload_of(qkey));
}

/**
 * quic_offload_stop - the device is not to have more packets
 * @offload: offload that the device has, held by the caller
 * @why: reason, not QUIC_OFFLOAD_GO
 *
 * The next sendmsg() seals in software, and the key leaves the device after its
 * last packet. A key that opens leaves the device soon.
 *
 * Context: any.
 */
void quic_offload_stop(struct quic_offload *offload,
		       enum quic_offload_stop why)
{
	WRITE_ONCE(offload->stop, why);
	quic_offload_queue(offload);
}

/**
 * quic_offload_resync - tell the device which packet numbers to expect
 * @offload: offload that the device has, held by the caller
 * @next_pkt_num: largest packet number opened plus one
 *
 * Context: any.
 */
void quic_offload_resync(struct quic_offload *offload, u64 next_pkt_num)
{
	atomic64_set(&offload->resync, next_pkt_num);
	quic_offload_queue(offload);
}

/**
 * quic_offload_key_done - &quicdev_key_ops.done of both directions
 * @qkey: key
 * @err: 0 or a negative error
 *
 * Context: any.
 */
void quic_offload_key_done(struct quicdev_key *qkey, int err)
{
	struct quic_offload *o = quic_offload_of(qkey);

	if (err) {
		WRITE_ONCE(o->err, err);
		quic_offload_queue(o);
		return;
	}
	o->since = jiffies;
	/* Pairs with quic_offload_get(): the driver has set up its state */
	smp_store_release(&qkey->ready, true);
	/* Count last: whoever has seen the counter go up may rely on the key
	 * being in the device.
	 */
	quic_offload_count(o, quic_offload_mibs[qkey->direction].added, 1);
}

/**
 * quic_offload_key_stop - &quicdev_key_ops.stop of both directions
 * @qkey: key
 *
 * Context: any.
 */
void quic_offload_key_stop(struct quicdev_key *qkey)
{
	quic_offload_stop(quic_offload_of(qkey), QUIC_OFFLOAD_STOP_KEY);
}

/**
 * quic_offload_alloc - prepare to offer a key to a device
 * @sk: socket of the flow
 * @direction: direction of the key
 * @oflow: what devices have of the flow, which the caller holds; filled in if
 *	   it is NULL
 * @user: user for whom the key counts
 * @netdev: device, for which quic_offload_wanted()
 *
 * Context: process; the caller holds rcu_read_lock().
 * Return: an offload to be passed to quic_offload_offer() when it has the key,
 * with a reference, its operations and a description of it; or NULL.
 */
struct quic_offload *quic_offload_alloc(struct sock *sk,
					enum quicdev_direction direction,
					struct quic_offload_flow **oflow,
					struct quic_user *user,
					struct net_device *netdev)
{
	struct quic_offload_dev *qdev = quic_offload_dev_rcu(netdev);
	struct net *net = sock_net(sk);
	struct quic_offload *o;

	if (!qdev || quic_user_charge(user, net, QUIC_DEVICE_KEYS))
		return NULL;
	o = kzalloc_obj(*o, GFP_ATOMIC | __GFP_ACCOUNT | __GFP_NOWARN);
	if (o)
		o->flow = quic_offload_flow_get(oflow);
	if (!o || !o->flow) {
		SNMP_INC_STATS(quic_crypto_net(net)->mib,
			       quic_offload_mibs[direction].refused);
		goto err_free;
	}
	if (!refcount_inc_not_zero(&qdev->ref))
		goto err_flow_put;
	__module_get(THIS_MODULE);
	o->qdev = qdev;
	o->gen = READ_ONCE(qdev->gen);
	sock_hold(sk);
	o->sk = sk;
	quic_user_hold(user);
	o->user = user;
	o->memcg = get_mem_cgroup_from_mm(current->mm);
	o->net = get_net_track(net, &o->ns_tracker, GFP_ATOMIC);
	spin_lock_init(&o->lock);
	INIT_LIST_HEAD(&o->list);
	o->qkey.cookie = o->flow->cookie;
	return o;

err_flow_put:
	quic_offload_flow_put(o->flow);
err_free:
	kfree(o);
	quic_user_uncharge(user, net, QUIC_DEVICE_KEYS);
	return NULL;
}

/* The device has the key. As long as the slot has @o, the socket is there, and
 * who closes the socket frees its counters after a grace period.
 */
static void quic_offload_count_flow(struct quic_offload *o)
{
	spin_lock(&o->lock);
	if (o->slot) {
		o->counted = true;
		if (atomic_inc_return(&o->flow->keys) == 1)
			atomic_inc(&o->counts->dev_flows);
	}
	spin_unlock(&o->lock);
}

/* The slot is about to let go of @o */
static void quic_offload_uncount_flow(struct quic_offload *o)
{
	lockdep_assert_held(&o->lock);
	if (!o->counted)
		return;
	o->counted = false;
	if (atomic_dec_and_test(&o->flow->keys))
		atomic_dec(&o->counts->dev_flows);
}

/* The slot lets go of @o. The caller has removed @o from the slot, and must
 * not touch @o any more. A key that opens has to leave the device; if it is on
 * its way there, quic_offload_enter() will see that the slot has let go.
 */
static void quic_offload_detached(struct quic_offload *o)
{
	bool leave;

	spin_lock(&o->lock);
	quic_offload_uncount_flow(o);
	o->slot = NULL;
	leave = quic_offload_is_rx(o) &&
		READ_ONCE(o->state) == QUIC_OFFLOAD_IN;
	spin_unlock(&o->lock);
	if (leave)
		quic_offload_queue(o);
	quic_offload_put(o);
}

static bool quic_slot_remove(struct quic_offload_slot *slot,
			     struct quic_offload *o)
{
	return unrcu_pointer(cmpxchg(&slot->offload, RCU_INITIALIZER(o),
				     NULL)) == o;
}

/**
 * quic_offload_drop - a key has left its slot, release its offload
 * @slot: slot that no longer has the key
 * @key: key, held by the caller
 *
 * The driver keeps the key until the last packet for it has been sent; a key
 * that opens leaves the device soon.
 *
 * Context: process.
 */
void quic_offload_drop(struct quic_offload_slot *slot, const void *key)
{
	struct quic_offload *o;

	/* The slot was emptied before, see quic_offload_offer() */
	smp_mb();
	rcu_read_lock();
	o = rcu_dereference(slot->offload);
	if (o && o->key == key && quic_slot_remove(slot, o))
		quic_offload_detached(o);
	rcu_read_unlock();
	WRITE_ONCE(slot->tried, 0);
}

/* The driver's answer or the device's fate makes the slot let go of @o. The
 * slot and its flow stay as long as o->slot is set and o->lock is held.
 */
static void quic_offload_detach(struct quic_offload *o, int err)
{
	enum quic_offload_stop stop = READ_ONCE(o->stop);
	struct quic_offload_slot *slot;
	bool removed = false;

	spin_lock(&o->lock);
	slot = o->slot;
	if (slot) {
		quic_offload_uncount_flow(o);
		o->slot = NULL;
		WRITE_ONCE(slot->retry, err == -ENOMEM || err == -EINTR ||
			   err == -EAGAIN || err == -EBUSY ?
			   (jiffies + QUIC_OFFLOAD_RETRY) | 1 : 0);
		if (err || stop == QUIC_OFFLOAD_STOP_KEY)
			WRITE_ONCE(slot->tried, o->gen);
		if (stop == QUIC_OFFLOAD_STOP_PATH)
			WRITE_ONCE(slot->blocked, o->gen);
		removed = quic_slot_remove(slot, o);
	}
	spin_unlock(&o->lock);
	if (removed)
		quic_offload_put(o);
}

static bool quic_offload_is_attached(struct quic_offload *o)
{
	bool attached;

	spin_lock(&o->lock);
	attached = o->slot;
	spin_unlock(&o->lock);
	return attached;
}

/* Set up transforms that do not wait, for packets that end up on another
 * device. This may load modules, which may want RTNL.
 */
static int quic_offload_prepare(struct quic_offload *o)
{
	const struct quic_cipher *cipher;
	struct mem_cgroup *memcg;
	int err;

	if (quic_offload_is_rx(o))
		return 0;
	cipher = o->key->cipher;
	/* The work item belongs to nobody */
	memcg = set_active_memcg(o->memcg);
	o->tfm = quic_aead_alloc(cipher, o->key->secret, CRYPTO_ALG_ASYNC);
	if (IS_ERR(o->tfm))
		err = PTR_ERR(o->tfm);
	else
		err = quic_hp_init(&o->hp, cipher, o->qkey.header_key,
				   CRYPTO_ALG_ASYNC);
	if (err)
		o->hp.cipher = NULL;
	set_active_memcg(memcg);
	return err;
}

/* A device that is up stays up until the notifier of NETDEV_DOWN has got the
 * lock. Return: 1 if the driver was not asked, as the device is not there.
 */
static int quic_offload_add(struct quic_offload *o)
{
	struct quic_offload_dev *qdev = o->qdev;
	struct net_device *netdev = qdev->netdev;
	unsigned int phase = o->qkey.key_gen & 1;
	struct netlink_ext_ack extack = {};
	int err;

	lockdep_assert_held(&qdev->lock);
	if (!netdev || !(netdev->flags & IFF_UP) ||
	    !netif_device_present(netdev) ||
	    test_bit(o->qkey.direction, &qdev->full))
		return 1;
	/* The generation before the last is still on its way out */
	if (test_and_set_bit(phase, &o->flow->phases))
		return 1;
	o->gen = READ_ONCE(qdev->gen);
	err = netdev->quicdev_ops->quic_dev_add(netdev, o->sk,
						o->qkey.direction, &o->qkey,
						&extack);
	trace_quic_device_add(netdev, &o->qkey, err, extack._msg);
	if (err && err != -EINPROGRESS) {
		clear_bit(phase, &o->flow->phases);
		return err;
	}
	quic_offload_count(o, quic_offload_mibs[o->qkey.direction].curr, 1);
	WRITE_ONCE(o->state, QUIC_OFFLOAD_IN);
	if (quic_offload_is_rx(o))
		refcount_inc(&o->ref);
	list_add_tail(&o->list, &qdev->keys);
	quic_offload_count_flow(o);
	rcu_assign_pointer(o->netdev, netdev);
	if (!err)
		quic_offload_key_done(&o->qkey, 0);
	return 0;
}

static void quic_offload_count_refused(const struct quic_offload *o)
{
	/* A key that opens may have left the device before */
	if (o->net)
		quic_offload_count(o,
				   quic_offload_mibs[o->qkey.direction].refused,
				   1);
}

/* The driver has refused the key of @o, now or after it had asked for time */
static void quic_offload_refused(struct quic_offload *o, int err)
{
	struct quic_offload_dev *qdev = o->qdev;

	lockdep_assert_held(&qdev->lock);
	WRITE_ONCE(o->state, QUIC_OFFLOAD_OUT);
	/* The driver may have opened packets before it refused the key */
	if (quic_offload_is_rx(o)) {
		quic_offload_wipe(o);
		quic_offload_release(o);
	}
	/* A full device is offered the key again when it has room. A device
	 * without keys will not get room by losing one.
	 */
	if (err == -ENOSPC && !list_empty(&qdev->keys)) {
		quic_offload_dev_full(o);
		err = 0;
	}
	quic_offload_detach(o, err);
}

/* Offer a key to the driver */
static void quic_offload_enter(struct quic_offload *o)
{
	struct quic_offload_dev *qdev = o->qdev;
	int err = 1;

	if (quic_offload_is_attached(o))
		err = quic_offload_prepare(o);

	mutex_lock(&qdev->lock);
	/* The slot may have let go of it meanwhile */
	if (!err)
		err = quic_offload_is_attached(o) ? quic_offload_add(o) : 1;
	if (err < 0) {
		quic_offload_count_refused(o);
		quic_offload_refused(o, err);
	} else if (err) {
		quic_offload_detach(o, 0);
	} else if (quic_offload_is_rx(o) && !quic_offload_is_attached(o)) {
		/* It has done so while the driver was asked */
		quic_offload_del(o);
	}
	mutex_unlock(&qdev->lock);

	sock_put(o->sk);
	o->sk = NULL;
	quic_offload_put(o);
}

/* Tell the driver what quic_offload_resync() has noted */
static void quic_offload_do_resync(struct quic_offload *o)
{
	struct net_device *netdev = o->qdev->netdev;
	const struct quicdev_ops *ops;
	u64 pn;

	lockdep_assert_held(&o->qdev->lock);
	pn = atomic64_xchg(&o->resync, 0);
	if (!pn || o->state != QUIC_OFFLOAD_IN)
		return;
	ops = netdev->quicdev_ops;
	if (!ops->quic_dev_resync)
		return;
	trace_quic_device_resync(netdev, &o->qkey, pn);
	ops->quic_dev_resync(netdev, &o->qkey, pn);
	QUIC_INC_STATS(o->net, RX_DEVICE_RESYNC);
}

/* Something has happened to a key that opens */
static void quic_offload_leave_rx(struct quic_offload *o)
{
	struct quic_offload_dev *qdev = o->qdev;

	mutex_lock(&qdev->lock);
	if (quic_offload_is_attached(o))
		quic_offload_do_resync(o);
	else
		quic_offload_del(o);
	mutex_unlock(&qdev->lock);
}

/* Something has happened to an offload that the driver knows */
static void quic_offload_leave(struct quic_offload *o)
{
	struct quic_offload_dev *qdev = o->qdev;
	bool last = !refcount_read(&o->ref);
	int err;

	clear_bit(0, &o->queued);
	/* What happens from here on queues the work again */
	smp_mb__after_atomic();
	err = READ_ONCE(o->err);
	if (last || err) {
		mutex_lock(&qdev->lock);
		if (!last && o->state == QUIC_OFFLOAD_IN)
			trace_quic_device_add(qdev->netdev, &o->qkey, err,
					      "(late)");
		if (!last)
			quic_offload_count_refused(o);
		/* No packet was left to a device that has refused the key */
		quic_offload_del(o);
		if (!last)
			quic_offload_refused(o, err);
		mutex_unlock(&qdev->lock);
	}
	if (last) {
		quic_offload_free(o);
		return;
	}
	if (READ_ONCE(o->stop))
		quic_offload_detach(o, 0);
	if (quic_offload_is_rx(o))
		quic_offload_leave_rx(o);
	quic_offload_put(o);
}

/* Keys that leave go first: they make room */
static void quic_offload_collect(struct quic_offload_dev *qdev)
{
	struct quic_offload *o, *tmp;
	struct llist_node *list;

	list = llist_reverse_order(llist_del_all(&qdev->todo));
	llist_for_each_entry_safe(o, tmp, list, todo) {
		if (o->state == QUIC_OFFLOAD_NEW && refcount_read(&o->ref)) {
			clear_bit(0, &o->queued);
			list_add_tail(&o->list, &qdev->offers);
		} else {
			quic_offload_leave(o);
		}
		cond_resched();
	}
}

static void quic_offload_work(struct work_struct *work)
{
	struct quic_offload_dev *qdev = container_of(work,
						     struct quic_offload_dev,
						     work);
	struct quic_offload *o;

	do {
		quic_offload_collect(qdev);
		o = list_first_entry_or_null(&qdev->offers,
					     struct quic_offload, list);
		if (o) {
			list_del_init(&o->list);
			quic_offload_enter(o);
		}
	} while (o || !llist_empty(&qdev->todo));
	quic_offload_dev_put(qdev);
}

/**
 * quic_offload_offer - offer the key of a slot to a device
 * @slot: slot of the flow, which the caller holds
 * @offload: offload of quic_offload_alloc() with a description of the key
 *
 * DEL and key updates empty the slot first, and then look for an offload there,
 * with a barrier between both. The caller does it the other way round: after
 * this, which has a barrier, it calls quic_offload_drop() if the slot does not
 * have the key any more. So at least one of the two finds out.
 *
 * Context: process; the caller holds rcu_read_lock(), and the key.
 * Return: false if another thread was faster.
 */
bool quic_offload_offer(struct quic_offload_slot *slot,
			struct quic_offload *offload)
{
	/* One of the slot, and one of the work */
	refcount_set(&offload->ref, 2);
	offload->slot = slot;
	if (unrcu_pointer(cmpxchg(&slot->offload, NULL,
				  RCU_INITIALIZER(offload)))) {
		quic_offload_free(offload);
		return false;
	}
	set_bit(0, &offload->queued);
	quic_offload_kick(offload);
	return true;
}

/**
 * quic_offload_has_room - may a device have room for a key?
 * @netdev: device
 * @direction: direction of the key
 *
 * Context: any; the caller holds rcu_read_lock().
 * Return: false if it has said that it has none, and has lost no key since.
 */
bool quic_offload_has_room(const struct net_device *netdev,
			   enum quicdev_direction direction)
{
	const struct quic_offload_dev *qdev = quic_offload_dev_rcu(netdev);

	return qdev && !test_bit(direction, &qdev->full);
}

/**
 * quic_offload_wanted - is it worth offering the key of a slot to a device?
 * @slot: slot
 * @oflow: what devices have of the flow, or NULL; also NULL if the work item of
 *	   @netdev, which deletes keys before it adds others, is going to make
 *	   room for @phase
 * @phase: Key Phase of the key
 * @netdev: device
 *
 * A key that was refused is offered again when the device has changed. At most
 * two generations of a flow are in devices, so the next but one has to wait
 * until the first has left: if packets are sent, when the last one was.
 *
 * Context: any; the caller holds rcu_read_lock().
 * Return: true if it is.
 */
bool quic_offload_wanted(const struct quic_offload_slot *slot,
			 const struct quic_offload_flow *oflow,
			 unsigned int phase, const struct net_device *netdev)
{
	const struct quic_offload_dev *qdev = quic_offload_dev_rcu(netdev);
	unsigned long gen, retry;

	if (oflow && test_bit(phase, &oflow->phases))
		return false;
	if (!qdev || rcu_access_pointer(slot->offload) ||
	    !netif_running(netdev) || !netif_device_present(netdev))
		return false;
	gen = READ_ONCE(qdev->gen);
	if (READ_ONCE(slot->blocked) == gen)
		return false;
	if (READ_ONCE(slot->tried) != gen)
		return true;
	retry = READ_ONCE(slot->retry);
	return retry && time_after(jiffies, retry);
}

/**
 * quic_offload_get - the offload of a key in a device
 * @slot: slot of the key
 * @key: key
 * @netdev: device
 *
 * Context: any.
 * Return: the offload, with a reference, or NULL if the device does not have
 * the key, has not acknowledged it, or is not to get more packets for it.
 */
struct quic_offload *quic_offload_get(const struct quic_offload_slot *slot,
				      const struct quic_key *key,
				      const struct net_device *netdev)
{
	struct quic_offload *o;

	rcu_read_lock();
	o = rcu_dereference(slot->offload);
	/* Pairs with quic_offload_key_done(): the driver is ready */
	if (o && !smp_load_acquire(&o->qkey.ready))
		o = NULL;
	if (o && (o->key != key || READ_ONCE(o->stop) ||
		  rcu_access_pointer(o->netdev) != netdev ||
		  !refcount_inc_not_zero(&o->ref)))
		o = NULL;
	rcu_read_unlock();
	return o;
}

/**
 * quic_offload_ifindex - which device has the key of a slot?
 * @slot: slot
 *
 * Context: any.
 * Return: index of the device, 0 if there is none or it has not acknowledged
 * the key.
 */
int quic_offload_ifindex(const struct quic_offload_slot *slot)
{
	const struct net_device *netdev = NULL;
	const struct quic_offload *o;
	int ifindex;

	rcu_read_lock();
	o = rcu_dereference(slot->offload);
	if (o && READ_ONCE(o->qkey.ready))
		netdev = rcu_dereference(o->netdev);
	ifindex = netdev ? netdev->ifindex : 0;
	rcu_read_unlock();
	return ifindex;
}

/* All keys at once: one grace period for each key would take minutes. Keys stay
 * in the list until they are deleted, so none of them is freed here.
 */
static void quic_offload_dev_down(struct quic_offload_dev *qdev)
{
	struct quic_offload *o, *tmp;

	mutex_lock(&qdev->lock);
	list_for_each_entry(o, &qdev->keys, list)
		RCU_INIT_POINTER(o->netdev, NULL);
	/* Then quic_offload_validate() lets nothing pass to the driver */
	if (!list_empty(&qdev->keys))
		synchronize_net();
	/* The work item, which frees them, has to wait for the lock */
	list_for_each_entry_safe(o, tmp, &qdev->keys, list) {
		quic_offload_detach(o, 0);
		quic_offload_del(o);
	}
	mutex_unlock(&qdev->lock);
}

static bool quic_offload_ops_ok(const struct net_device *netdev)
{
	const struct quicdev_ops *ops = netdev->quicdev_ops;

	return ops && ops->caps && ops->quic_dev_add && ops->quic_dev_del;
}

static void quic_offload_room(struct quicdev *core)
{
	quic_offload_dev_changed(quic_offload_dev_of(core));
}

static int quic_offload_dev_add(struct net_device *netdev)
{
	struct quic_offload_dev *qdev;

	if (!quic_offload_ops_ok(netdev))
		return 0;
	qdev = kzalloc_obj(*qdev, GFP_KERNEL);
	if (!qdev)
		return -ENOMEM;
	qdev->core.room = quic_offload_room;
	qdev->netdev = netdev;
	netdev_hold(netdev, &qdev->tracker, GFP_KERNEL);
	refcount_set(&qdev->ref, 1);
	mutex_init(&qdev->lock);
	INIT_LIST_HEAD(&qdev->keys);
	INIT_LIST_HEAD(&qdev->offers);
	init_llist_head(&qdev->todo);
	INIT_WORK(&qdev->work, quic_offload_work);
	quic_offload_dev_changed(qdev);
	/* It stays on: packets that were opened may outlive the device */
	if (netdev->quicdev_ops->rx_caps)
		static_branch_enable(&quicdev_rx_key);
	rcu_assign_pointer(netdev->quicdev, &qdev->core);
	return 0;
}

/* The device is down. Offers that are left will find that it has gone. */
static void quic_offload_dev_remove(struct quic_offload_dev *qdev)
{
	struct net_device *netdev = qdev->netdev;

	RCU_INIT_POINTER(netdev->quicdev, NULL);
	mutex_lock(&qdev->lock);
	qdev->netdev = NULL;
	mutex_unlock(&qdev->lock);
	netdev_put(netdev, &qdev->tracker);
	quic_offload_dev_put(qdev);
}

static struct quic_offload_dev *
quic_offload_dev_rtnl(const struct net_device *netdev)
{
	return quic_offload_dev_of(rtnl_dereference(netdev->quicdev));
}

static int quic_offload_event(struct notifier_block *nb, unsigned long event,
			      void *ptr)
{
	struct net_device *netdev = netdev_notifier_info_to_dev(ptr);
	struct quic_offload_dev *qdev = quic_offload_dev_rtnl(netdev);

	if (event == NETDEV_REGISTER && !qdev)
		return notifier_from_errno(quic_offload_dev_add(netdev));
	if (!qdev)
		return NOTIFY_DONE;
	switch (event) {
	case NETDEV_UP:
	case NETDEV_FEAT_CHANGE:
		quic_offload_dev_changed(qdev);
		break;
	case NETDEV_DOWN:
		quic_offload_dev_down(qdev);
		break;
	case NETDEV_UNREGISTER:
		quic_offload_dev_remove(qdev);
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
	struct quic_offload_dev *qdev;

	rcu_read_lock();
	qdev = quic_offload_dev_rcu(netdev);
	if (qdev && !refcount_inc_not_zero(&qdev->ref))
		qdev = NULL;
	rcu_read_unlock();
	if (!qdev)
		return NOTIFY_DONE;
	quic_offload_dev_down(qdev);
	quic_offload_dev_changed(qdev);
	quic_offload_dev_put(qdev);
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
	/* quicdev_room() and quicdev_opened() may still be at it */
	synchronize_net();
}
