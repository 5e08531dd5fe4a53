// SPDX-License-Identifier: GPL-2.0
/*
 * QUIC packet protection by devices: the part that is always built in, for code
 * that handles skbs and for drivers
 */

#include <linux/export.h>
#include <linux/netdevice.h>
#include <linux/notifier.h>
#include <linux/skbuff.h>
#include <net/quic_core.h>

/* How far the packet numbers in a GRO skb may be ahead of the first one, so
 * that each can be completed relative to it, even if it has one byte in the
 * header
 */
#define QUIC_GRO_MAX_AHEAD	127

DEFINE_STATIC_KEY_FALSE(quicdev_rx_key);
EXPORT_SYMBOL_GPL(quicdev_rx_key);

/* An skb that is decrypted; see quic_may_deliver() */
bool __quic_may_deliver(struct sk_buff *skb, const struct sock *sk)
{
	const struct quic_skb_ext *ext = skb_ext_find(skb, SKB_EXT_QUIC);
	bool may;

	/* Nobody knows whose plaintext it is */
	if (!ext || ext->key->direction != QUICDEV_RX)
		return false;
	rcu_read_lock();
	may = ext->ops->deliver(skb, sk, ext);
	rcu_read_unlock();
	return may;
}
EXPORT_SYMBOL_GPL(__quic_may_deliver);

/* One of both is decrypted; see quic_gro_differs() */
bool __quic_gro_differs(const struct sk_buff *p, const struct sk_buff *skb)
{
	const struct quic_skb_ext *first = quic_skb_opened(p);
	const struct quic_skb_ext *ext = quic_skb_opened(skb);

	return !first || !ext || first->key != ext->key ||
	       ext->pkt_num <= first->pkt_num ||
	       ext->pkt_num - first->pkt_num > QUIC_GRO_MAX_AHEAD;
}
EXPORT_SYMBOL_GPL(__quic_gro_differs);

/**
 * quic_validate_xmit_skb - &sock.sk_validate_xmit_skb of sockets with offload
 * @sk: socket, or NULL if the skb has lost its socket
 * @netdev: device that is about to transmit @skb
 * @skb: packets
 *
 * Context: softirq or BH disabled.
 * Return: @skb if @netdev may transmit it as it is. Otherwise @skb is freed:
 * another skb with its packets sealed, or NULL if that failed.
 */
struct sk_buff *quic_validate_xmit_skb(struct sock *sk,
				       struct net_device *netdev,
				       struct sk_buff *skb)
{
	const struct quic_skb_ext *ext;

	if (!skb_is_decrypted(skb))
		return skb;
	ext = skb_ext_find(skb, SKB_EXT_QUIC);
	if (ext)
		return ext->ops->validate(skb, netdev, ext);

	/* The key is not known any more */
	kfree_skb_reason(skb, SKB_DROP_REASON_QUIC_TX_NO_KEY);
	return NULL;
}
EXPORT_SYMBOL_GPL(quic_validate_xmit_skb);

/* @skb has an extension */
struct sk_buff *__quic_seal_skb(struct sk_buff *skb)
{
	const struct quic_skb_ext *ext = skb_ext_find(skb, SKB_EXT_QUIC);

	rcu_read_lock();
	skb = ext->ops->encrypt(skb, ext);
	rcu_read_unlock();
	return skb;
}
EXPORT_SYMBOL_GPL(__quic_seal_skb);

/**
 * quicdev_encrypt_skb - let software seal what the device is to seal
 * @skb: skb in ndo_start_xmit(), not segmented by the driver
 *
 * For packets that the driver cannot seal, or that an engine has no time for.
 * This costs the CPU more than sealing in sendmsg() would have done. If the
 * device must have no more packets of the key, call quicdev_key_stop() as well,
 * before this.
 *
 * Context: ndo_start_xmit().
 * Return: @skb if there is nothing to seal in it; otherwise @skb is freed:
 * another skb with its packets sealed, to be sent like any other, or NULL if
 * that failed. The key of @skb is not valid any more, unless another skb has
 * it.
 */
struct sk_buff *quicdev_encrypt_skb(struct sk_buff *skb)
{
	return quic_seal_skb(skb);
}
EXPORT_SYMBOL_GPL(quicdev_encrypt_skb);

/**
 * quicdev_opened - a device has opened a packet
 * @skb: packet in the receive path of the driver, before GRO
 * @key: QUICDEV_RX key that the driver has looked up under rcu_read_lock(),
 *	 which it still holds; quic_dev_del() may have been called meanwhile
 * @pkt_num: full packet number
 *
 * Before it is handed up, the skb must hold the packet with header protection
 * removed, the payload in plaintext, the tag still in place, and all lengths as
 * on the wire, and must be CHECKSUM_UNNECESSARY, as its UDP checksum is that of
 * the wire. This may be so before or after the call. Nobody but the driver has
 * the skb, which has no extension of QUIC yet.
 *
 * Context: any but hard interrupts, under rcu_read_lock().
 * Return: true; false if there is no memory, or the key is leaving the device:
 * the driver then has to hand up the packet as it was on the wire, or to drop
 * it.
 */
bool quicdev_opened(struct sk_buff *skb, struct quicdev_key *key, u64 pkt_num)
{
	struct quic_skb_ext *ext;

	RCU_LOCKDEP_WARN(!rcu_read_lock_any_held(), "no rcu_read_lock()");
	if (!key->ops->opened(key))
		return false;
	ext = skb_ext_add(skb, SKB_EXT_QUIC);
	if (!ext) {
		key->ops->skb->put(key);
		return false;
	}
	ext->ops = key->ops->skb;
	ext->key = key;
	ext->pkt_num = pkt_num;
	ext->npkts = 1;
	skb->decrypted = 1;
	return true;
}
EXPORT_SYMBOL_GPL(quicdev_opened);

/**
 * quicdev_add_done - the answer to a quic_dev_add() that was -EINPROGRESS
 * @key: key
 * @err: 0 if packets may follow. Any error is handled as if quic_dev_add() had
 *	 returned it, but quic_dev_del() follows soon
 *
 * The driver must not call this after quic_dev_del() for @key.
 *
 * Context: any.
 */
void quicdev_add_done(struct quicdev_key *key, int err)
{
	key->ops->done(key, err);
}
EXPORT_SYMBOL_GPL(quicdev_add_done);

/**
 * quicdev_key_stop - ask the core not to use a key any more
 * @key: key that the device has
 *
 * For a single key that is lost or has become bad, and to shed load. The next
 * sendmsg() seals in software. Packets that are on their way still come; then
 * quic_dev_del() follows. The core does not offer the key again unless the
 * netdev changes, but it offers the next generation.
 *
 * Context: any; for packets in ndo_start_xmit(), the skb holds the key.
 */
void quicdev_key_stop(struct quicdev_key *key)
{
	key->ops->stop(key);
}
EXPORT_SYMBOL_GPL(quicdev_key_stop);

/**
 * quicdev_room - a device can take keys that it has refused before
 * @netdev: registered netdev
 *
 * The core knows that there is room when a key has left the same netdev. For
 * netdevs that share a table, and for anything else that makes a driver change
 * its mind, the driver has to tell. The core then offers keys again with the
 * packets that follow.
 *
 * Context: any.
 */
void quicdev_room(struct net_device *netdev)
{
	struct quicdev *quicdev;

	rcu_read_lock();
	quicdev = rcu_dereference(netdev->quicdev);
	if (quicdev)
		quicdev->room(quicdev);
	rcu_read_unlock();
}
EXPORT_SYMBOL_GPL(quicdev_room);

static BLOCKING_NOTIFIER_HEAD(quicdev_reset_chain);

/**
 * quicdev_register_reset - get notified of quicdev_keys_reset()
 * @nb: notifier, called with the device
 *
 * Context: process, sleeps.
 * Return: 0.
 */
int quicdev_register_reset(struct notifier_block *nb)
{
	return blocking_notifier_chain_register(&quicdev_reset_chain, nb);
}
EXPORT_SYMBOL_GPL(quicdev_register_reset);

/**
 * quicdev_unregister_reset - undo quicdev_register_reset()
 * @nb: notifier
 *
 * Context: process, sleeps.
 * Return: 0, or -ENOENT.
 */
int quicdev_unregister_reset(struct notifier_block *nb)
{
	return blocking_notifier_chain_unregister(&quicdev_reset_chain, nb);
}
EXPORT_SYMBOL_GPL(quicdev_unregister_reset);

/**
 * quicdev_keys_reset - a device was reset, or resumed, without its keys
 * @netdev: device
 *
 * The core calls quic_dev_del() for all keys that it has given to the device,
 * and offers the keys again with the packets that follow.
 *
 * Context: process, sleeps; RTNL may or may not be held, but no lock that
 * quic_dev_add() or quic_dev_del() takes. Not from within these two.
 */
void quicdev_keys_reset(struct net_device *netdev)
{
	blocking_notifier_call_chain(&quicdev_reset_chain, 0, netdev);
}
EXPORT_SYMBOL_GPL(quicdev_keys_reset);
