// SPDX-License-Identifier: GPL-2.0
/*
 * QUIC packet protection by devices: which key is in which device
 */

#include <linux/crypto.h>
#include <linux/module.h>
#include <linux/netdevice.h>
#include <linux/netlink.h>
#include <linux/slab.h>
#include <net/dst.h>
#include <net/ip.h>
#include <net/lwtunnel.h>
#include <net/quic.h>
#include <net/route.h>
#include <net/sock.h>
#include <net/xfrm.h>

#include "quic.h"
#include "trace.h"

/* Nests inside RTNL (notifier) and quic_sock.lock (DEL). Drivers are called
 * with it held.
 */
static DEFINE_MUTEX(quic_dev_lock);
static LIST_HEAD(quic_dev_list);

/* Grows with every change of a device that may let it take what it refused */
static atomic_t quic_dev_seq = ATOMIC_INIT(1);

/* Never 0. Tells attempts with one device from those with another, and from
 * those before it has changed.
 */
static unsigned long quic_dev_attempt(const struct net_device *netdev)
{
	return (unsigned long)netdev + 2 * atomic_read(&quic_dev_seq) + 1;
}

static struct quic_dev_tx *quic_dev_tx(struct quicdev_flow *flow)
{
	return container_of(flow, struct quic_dev_tx, dev);
}

static struct net_device *quic_dev_netdev(const struct quic_dev_tx *dtx)
{
	return rcu_dereference_protected(dtx->netdev,
					 lockdep_is_held(&quic_dev_lock));
}

/* The driver forgets the key. Nothing of it is on the way to the driver. */
static void quic_dev_del(struct quic_dev_tx *dtx, struct net_device *netdev)
{
	lockdep_assert_held(&quic_dev_lock);
	trace_quic_device_del(netdev, &dtx->dev);
	WRITE_ONCE(netdev->quicdev_full, false);
	netdev->quicdev_ops->quic_dev_del(netdev, QUICDEV_TX, &dtx->dev);
	list_del_init(&dtx->list);
	netdev_put(netdev, &dtx->tracker);
}

static void quic_dev_tx_free(struct quic_dev_tx *dtx)
{
	if (!IS_ERR_OR_NULL(dtx->tfm))
		quic_aead_free(dtx->tfm);
	if (dtx->hp.cipher)
		quic_hp_destroy(&dtx->hp);
	quic_key_put(dtx->key);
	kfree_sensitive(dtx);
	/* Module exit waits for the work that this is part of */
	module_put(THIS_MODULE);
}

static void quic_dev_tx_free_work(struct work_struct *work)
{
	struct quic_dev_tx *dtx = container_of(to_rcu_work(work),
					       struct quic_dev_tx, rwork);
	struct net_device *netdev;

	mutex_lock(&quic_dev_lock);
	netdev = quic_dev_netdev(dtx);
	if (netdev)
		quic_dev_del(dtx, netdev);
	mutex_unlock(&quic_dev_lock);
	quic_dev_tx_free(dtx);
}

static void quic_dev_tx_put(struct quic_dev_tx *dtx)
{
	if (!refcount_dec_and_test(&dtx->ref))
		return;
	INIT_RCU_WORK(&dtx->rwork, quic_dev_tx_free_work);
	queue_rcu_work(quic_wq, &dtx->rwork);
}

static void quic_dev_skb_get(struct quicdev_flow *flow)
{
	refcount_inc(&quic_dev_tx(flow)->ref);
}

static void quic_dev_skb_put(struct quicdev_flow *flow)
{
	quic_dev_tx_put(quic_dev_tx(flow));
}

static const struct quic_skb_ext_ops quic_dev_skb_ops = {
	.get		= quic_dev_skb_get,
	.put		= quic_dev_skb_put,
	.validate	= quic_dev_validate,
};

/* The device does not count as having it any more, whatever comes of @dtx */
static void quic_dev_unbind(struct quic_dev_tx *dtx)
{
	lockdep_assert_held(&quic_dev_lock);
	if (!dtx->bound)
		return;
	dtx->bound = false;
	QUIC_DEC_STATS(dtx->net, CURR_TX_DEVICE);
}

static void quic_dev_drop_locked(struct quic_flow *flow, unsigned int phase)
{
	struct quic_dev_tx *dtx;

	dtx = rcu_dereference_protected(flow->dev[phase],
					lockdep_is_held(&quic_dev_lock));
	if (!dtx)
		return;
	RCU_INIT_POINTER(flow->dev[phase], NULL);
	quic_dev_unbind(dtx);
	quic_dev_tx_put(dtx);
}

/**
 * quic_dev_drop - a flow lets go of a key, so does its device
 * @flow: flow, whose slot no longer has the key
 * @phase: Key Phase of the slot
 *
 * The driver keeps the key until the last packet for it has been sent.
 *
 * Context: process, sleeps.
 */
void quic_dev_drop(struct quic_flow *flow, unsigned int phase)
{
	mutex_lock(&quic_dev_lock);
	quic_dev_drop_locked(flow, phase);
	WRITE_ONCE(flow->dev_tried[phase], 0);
	mutex_unlock(&quic_dev_lock);
}

static bool quic_dev_can(const struct net_device *netdev,
			 const struct quic_flow *flow)
{
	const struct quicdev_caps *caps = netdev->quicdev_ops->caps;

	return netdev->features & NETIF_F_HW_QUIC_TX &&
	       caps->ciphers & QUICDEV_CIPHER(flow->hp.cipher->type) &&
	       caps->cid_lens & BIT(flow->key.cid_len);
}

static void quic_dev_describe(struct quicdev_flow *dev, struct sk_buff *skb,
			      const struct quic_flow *flow,
			      const struct quic_key *key,
			      const struct quic_pkt *pkt)
{
	const struct quic_cipher *cipher = key->cipher;
	u8 gen = READ_ONCE(flow->gen);

	dev->cipher_type = cipher->type;
	dev->key_size = cipher->key_size;
	/* Of two live generations the low bit tells which is which */
	dev->key_gen = (gen & 1) == pkt->phase ? gen : gen - 1;
	memcpy(dev->iv, key->iv, sizeof(dev->iv));
	memcpy(dev->key, key->secret, cipher->key_size);
	memcpy(dev->header_key, flow->hp.key, cipher->key_size);
	dev->cid_len = flow->key.cid_len;
	memcpy(dev->cid, flow->key.cid, sizeof(dev->cid));
	dev->next_pkt_num = pkt->pn;
	dev->dport = flow->key.port;
	dev->family = skb_dst(skb)->ops->family;
	if (dev->family == AF_INET)
		dev->daddr.s6_addr32[0] = ip_hdr(skb)->daddr;
	else
		dev->daddr = ipv6_hdr(skb)->daddr;
}

static struct quic_dev_tx *quic_dev_tx_alloc(struct sk_buff *skb,
					     const struct quic_flow *flow,
					     struct quic_key *key,
					     const struct quic_pkt *pkt)
{
	struct quic_dev_tx *dtx;
	int err;

	dtx = kzalloc(sizeof(*dtx), GFP_KERNEL_ACCOUNT);
	if (!dtx)
		return NULL;
	__module_get(THIS_MODULE);
	refcount_inc(&key->ref);
	dtx->key = key;
	refcount_set(&dtx->ref, 1);
	INIT_LIST_HEAD(&dtx->list);
	dtx->tfm = quic_aead_alloc(key->cipher, key->secret, CRYPTO_ALG_ASYNC);
	if (IS_ERR(dtx->tfm))
		goto err_free;
	err = quic_hp_init(&dtx->hp, key->cipher, flow->hp.key,
			   CRYPTO_ALG_ASYNC);
	if (err) {
		dtx->hp.cipher = NULL;
		goto err_free;
	}
	quic_dev_describe(&dtx->dev, skb, flow, key, pkt);
	return dtx;

err_free:
	quic_dev_tx_free(dtx);
	return NULL;
}

static bool quic_dev_has_keys(const struct net_device *netdev)
{
	const struct quic_dev_tx *dtx;

	list_for_each_entry(dtx, &quic_dev_list, list) {
		if (quic_dev_netdev(dtx) == netdev)
			return true;
	}
	return false;
}

/* Called with quic_dev_lock held and @netdev known to be up, which it stays
 * until NETDEV_DOWN has got that lock.
 */
static int quic_dev_tx_add(struct sock *sk, struct quic_dev_tx *dtx,
			   struct net_device *netdev)
{
	struct netlink_ext_ack extack = {};
	int err;

	netdev_hold(netdev, &dtx->tracker, GFP_KERNEL);
	err = netdev->quicdev_ops->quic_dev_add(netdev, sk, QUICDEV_TX,
						&dtx->dev, &extack);
	trace_quic_device_add(netdev, &dtx->dev, err, extack._msg);
	if (err && err != -EINPROGRESS) {
		if (err == -ENOSPC && quic_dev_has_keys(netdev))
			WRITE_ONCE(netdev->quicdev_full, true);
		netdev_put(netdev, &dtx->tracker);
		return err;
	}
	if (!err)
		quicdev_add_done(&dtx->dev, 0);
	list_add_tail(&dtx->list, &quic_dev_list);
	rcu_assign_pointer(dtx->netdev, netdev);
	return 0;
}

/* Return: true if @dtx is in use now */
static bool quic_dev_bind(struct sock *sk, struct quic_flow *flow,
			  unsigned int phase, struct quic_dev_tx *dtx,
			  struct net_device *netdev)
{
	struct net *net = sock_net(sk);
	struct quic_dev_tx *old;

	/* DEL and key update empty the slot before they ask for the lock */
	if (rcu_access_pointer(flow->slot[phase]) != dtx->key ||
	    !(netdev->flags & IFF_UP))
		return false;
	old = rcu_dereference_protected(flow->dev[phase],
					lockdep_is_held(&quic_dev_lock));
	if (old && quic_dev_netdev(old))
		return false;
	quic_dev_drop_locked(flow, phase);

	if (quic_dev_tx_add(sk, dtx, netdev)) {
		QUIC_INC_STATS(net, TX_DEVICE_ERROR);
		/* When there is room, the first to ask is to get it */
		if (!netdev->quicdev_full)
			WRITE_ONCE(flow->dev_tried[phase],
				   quic_dev_attempt(netdev));
		return false;
	}
	dtx->net = net;
	dtx->bound = true;
	QUIC_INC_STATS(net, CURR_TX_DEVICE);
	QUIC_INC_STATS(net, TX_DEVICE);
	/* Where @sk's packets end up on another device, they are sealed there.
	 * Before the first of them can be left to a device.
	 */
	smp_store_release(&sk->sk_validate_xmit_skb, quic_validate_xmit_skb);
	rcu_assign_pointer(flow->dev[phase], dtx);
	return true;
}

/* In a device, or offered to one that has yet to answer? */
static bool quic_dev_taken(const struct quic_flow *flow, unsigned int phase)
{
	struct quic_dev_tx *dtx;
	bool taken;

	rcu_read_lock();
	dtx = rcu_dereference(flow->dev[phase]);
	taken = dtx && rcu_access_pointer(dtx->netdev);
	rcu_read_unlock();
	return taken;
}

/* Is it worth offering the key to the device? What was refused is offered again
 * when something has changed, and only one sender at a time makes an offer: the
 * packets of all others are sealed in software meanwhile.
 */
static bool quic_dev_wanted(const struct quic_flow *flow, unsigned int phase,
			    const struct net_device *netdev)
{
	return quic_dev_can(netdev, flow) && !READ_ONCE(netdev->quicdev_full) &&
	       READ_ONCE(flow->dev_tried[phase]) != quic_dev_attempt(netdev) &&
	       !quic_dev_taken(flow, phase) && !mutex_is_locked(&quic_dev_lock);
}

/* Offer a key to the device. This sleeps, so the caller holds @netdev. */
static void quic_dev_try_bind(struct sock *sk, struct quic_flow *flow,
			      struct quic_key *key, struct sk_buff *skb,
			      const struct quic_pkt *pkt,
			      struct net_device *netdev)
{
	unsigned long attempt = quic_dev_attempt(netdev);
	unsigned int phase = pkt->phase;
	struct quic_dev_tx *dtx;
	bool bound;

	/* Not under the lock, as transforms may have to wait for a module */
	dtx = quic_dev_tx_alloc(skb, flow, key, pkt);
	if (!dtx) {
		WRITE_ONCE(flow->dev_tried[phase], attempt);
		return;
	}
	bound = mutex_trylock(&quic_dev_lock);
	if (bound) {
		bound = quic_dev_bind(sk, flow, phase, dtx, netdev);
		mutex_unlock(&quic_dev_lock);
	}
	if (!bound)
		quic_dev_tx_free(dtx);
}

/* The offload of @key in @netdev, with a reference, or NULL */
static struct quic_dev_tx *quic_dev_tx_get(const struct quic_flow *flow,
					   const struct quic_key *key,
					   unsigned int phase,
					   const struct net_device *netdev)
{
	struct quic_dev_tx *dtx;

	rcu_read_lock();
	dtx = rcu_dereference(flow->dev[phase]);
	/* Pairs with the store by who has seen the driver set up its state */
	if (dtx && !smp_load_acquire(&dtx->dev.ready))
		dtx = NULL;
	if (dtx && (dtx->key != key ||
		    rcu_access_pointer(dtx->netdev) != netdev ||
		    !refcount_inc_not_zero(&dtx->ref)))
		dtx = NULL;
	rcu_read_unlock();
	return dtx;
}

/* A device gets one number for all packets of an skb, and may not know how to
 * write each of them.
 */
static bool quic_dev_pkts_ok(const struct net_device *netdev,
			     const struct quic_layout *l)
{
	return l->consecutive &&
	       !(l->pn_lens & ~netdev->quicdev_ops->caps->pkt_num_lens);
}

/* Multicast and broadcast packets are also delivered on this host, by way of
 * copies that nobody validates. Not every device's parser gets by options and
 * extension headers, which users may ask for.
 */
static bool quic_dev_headers_ok(const struct dst_entry *dst,
				const struct sk_buff *skb)
{
	if (dst->ops->family != AF_INET)
		return !ipv6_addr_is_multicast(&ipv6_hdr(skb)->daddr) &&
		       ipv6_hdr(skb)->nexthdr == IPPROTO_UDP;
	return ip_hdr(skb)->ihl == sizeof(struct iphdr) / 4 &&
	       !(dst_rtable(dst)->rt_flags &
		 (RTCF_MULTICAST | RTCF_BROADCAST | RTCF_LOCAL));
}

/* Does the route end at the device, with nothing in between? A VRF shows
 * packets to taps before they get to it.
 */
static bool quic_dev_direct(const struct dst_entry *dst,
			    const struct net_device *netdev)
{
	return netdev->quicdev_ops && !dst_xfrm(dst) && !dst->lwtstate &&
	       !netif_is_l3_slave(netdev);
}

/* Find the offload of a key in the device that @skb is routed to. Offer the key
 * to the device if it does not have it.
 *
 * A route may lose its device at any time, and the device is then freed after a
 * grace period: RCU protects it until it is held, and it must be held before
 * anything sleeps.
 *
 * Return: the offload, with a reference, or NULL.
 */
static struct quic_dev_tx *quic_dev_offer(struct sock *sk,
					  struct quic_flow *flow,
					  struct quic_key *key,
					  struct sk_buff *skb,
					  const struct quic_layout *l,
					  const struct quic_pkt *pkt)
{
	struct dst_entry *dst = skb_dst(skb);
	struct quic_dev_tx *dtx = NULL;
	netdevice_tracker tracker;
	struct net_device *netdev;
	bool wanted = false;

	rcu_read_lock();
	netdev = dst_dev_rcu(dst);
	if (quic_dev_direct(dst, netdev) && quic_dev_headers_ok(dst, skb) &&
	    quic_dev_pkts_ok(netdev, l)) {
		dtx = quic_dev_tx_get(flow, key, pkt->phase, netdev);
		wanted = !dtx && quic_dev_wanted(flow, pkt->phase, netdev);
	}
	if (wanted)
		netdev_hold(netdev, &tracker, GFP_ATOMIC);
	rcu_read_unlock();

	if (wanted) {
		quic_dev_try_bind(sk, flow, key, skb, pkt, netdev);
		dtx = quic_dev_tx_get(flow, key, pkt->phase, netdev);
		netdev_put(netdev, &tracker);
	}
	return dtx;
}

/* From here on the packets must not be taken apart by anything but GSO */
static void quic_dev_no_fragments(struct sk_buff *skb)
{
	skb->ignore_df = 0;
	if (skb_dst(skb)->ops->family == AF_INET)
		ip_hdr(skb)->frag_off |= htons(IP_DF);
}

/**
 * quic_dev_seal - leave the packets of a call to the device, if it can seal
 * @sk: socket
 * @flow: flow
 * @key: its key for the packets
 * @skb: packets
 * @off: where in @skb the first one starts
 * @l: where the others do
 * @pkts: parsed headers, with numbers reserved in @key
 *
 * Context: process, sleeps.
 * Return: true if so; @skb then has to be sent. false: nothing has changed but
 * what is in the room of the tags.
 */
bool quic_dev_seal(struct sock *sk, struct quic_flow *flow,
		   struct quic_key *key, struct sk_buff *skb, unsigned int off,
		   const struct quic_layout *l, const struct quic_pkt *pkts)
{
	struct quic_dev_tx *dtx;
	struct quic_skb_ext *ext;

	dtx = quic_dev_offer(sk, flow, key, skb, l, &pkts[0]);
	if (!dtx)
		return false;

	/* What the user has in the tags' room is no device's business */
	ext = quic_pkts_clear_tags(pkts, skb, off, l) ?
	      NULL : skb_ext_add(skb, SKB_EXT_QUIC);
	if (!ext) {
		quic_dev_tx_put(dtx);
		return false;
	}
	ext->ops = &quic_dev_skb_ops;
	ext->flow = &dtx->dev;
	ext->pkt_num = pkts[0].pn;
	ext->npkts = l->npkts;
	skb->decrypted = 1;
	quic_dev_no_fragments(skb);
	return true;
}

/* All keys at once: a grace period for each would take minutes */
static void quic_dev_down(struct net_device *netdev)
{
	struct quic_dev_tx *dtx, *tmp;
	LIST_HEAD(down);

	mutex_lock(&quic_dev_lock);
	list_for_each_entry_safe(dtx, tmp, &quic_dev_list, list) {
		if (quic_dev_netdev(dtx) != netdev)
			continue;
		RCU_INIT_POINTER(dtx->netdev, NULL);
		list_move_tail(&dtx->list, &down);
		quic_dev_unbind(dtx);
	}
	/* After this quic_dev_validate() lets nothing pass to the driver */
	if (!list_empty(&down))
		synchronize_net();
	list_for_each_entry_safe(dtx, tmp, &down, list)
		quic_dev_del(dtx, netdev);
	mutex_unlock(&quic_dev_lock);
}

static bool quic_dev_ops_ok(const struct net_device *netdev)
{
	const struct quicdev_ops *ops = netdev->quicdev_ops;

	if (!((netdev->features | netdev->hw_features) &
	      (NETIF_F_HW_QUIC_TX | NETIF_F_HW_QUIC_RX)))
		return true;
	return ops && ops->caps && ops->quic_dev_add && ops->quic_dev_del;
}

static int quic_dev_event(struct notifier_block *nb, unsigned long event,
			  void *ptr)
{
	struct net_device *netdev = netdev_notifier_info_to_dev(ptr);

	switch (event) {
	case NETDEV_REGISTER:
	case NETDEV_FEAT_CHANGE:
		if (!quic_dev_ops_ok(netdev))
			return NOTIFY_BAD;
		fallthrough;
	case NETDEV_UP:
		if (netdev->quicdev_ops) {
			WRITE_ONCE(netdev->quicdev_full, false);
			atomic_inc(&quic_dev_seq);
		}
		break;
	case NETDEV_DOWN:
		if (netdev->quicdev_ops)
			quic_dev_down(netdev);
		break;
	}
	return NOTIFY_DONE;
}

static struct notifier_block quic_dev_notifier = {
	.notifier_call = quic_dev_event,
};

static int quic_dev_lost(struct notifier_block *nb, unsigned long event,
			 void *netdev)
{
	quic_dev_down(netdev);
	atomic_inc(&quic_dev_seq);
	return NOTIFY_DONE;
}

static struct notifier_block quic_dev_lost_notifier = {
	.notifier_call = quic_dev_lost,
};

int __init quic_dev_init(void)
{
	int err;

	err = register_netdevice_notifier(&quic_dev_notifier);
	if (err)
		return err;
	return quicdev_register_lost(&quic_dev_lost_notifier);
}

/* Every offload holds the module, so there is none any more */
void quic_dev_exit(void)
{
	quicdev_unregister_lost(&quic_dev_lost_notifier);
	unregister_netdevice_notifier(&quic_dev_notifier);
}
