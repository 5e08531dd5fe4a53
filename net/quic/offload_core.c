// SPDX-License-Identifier: GPL-2.0
/*
 * QUIC packet protection by devices: the part that is always built in, for code
 * that handles skbs and for drivers
 */

#include <linux/export.h>
#include <linux/notifier.h>
#include <linux/skbuff.h>
#include <net/quic_core.h>

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
	kfree_skb(skb);
	return NULL;
}
EXPORT_SYMBOL_GPL(quic_validate_xmit_skb);

/**
 * quicdev_add_done - the answer to a quic_dev_add() that was -EINPROGRESS
 * @key: key
 * @err: 0 if packets may follow, else software continues to seal them
 *
 * The driver must not call this after quic_dev_del() for @key.
 *
 * Context: any.
 */
void quicdev_add_done(struct quicdev_key *key, int err)
{
	if (err)
		return;
	/* Pairs with quic_offload_get(): the driver has set up its state */
	smp_store_release(&key->ready, true);
}
EXPORT_SYMBOL_GPL(quicdev_add_done);

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
