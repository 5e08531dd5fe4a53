// SPDX-License-Identifier: GPL-2.0
/*
 * QUIC packet protection by devices: the built-in part, for code that handles
 * skbs and for drivers
 */

#include <linux/export.h>
#include <linux/notifier.h>
#include <linux/skbuff.h>
#include <net/quic.h>

/**
 * quic_validate_xmit_skb - &sock.sk_validate_xmit_skb of sockets with offload
 * @sk: socket, or NULL for an skb that has none any more
 * @dev: device that is about to transmit @skb
 * @skb: packets
 *
 * Context: softirq or BH disabled.
 * Return: @skb where @dev may have it as it is, its packets sealed in another
 * skb where not, or NULL where that failed; @skb is then freed.
 */
struct sk_buff *quic_validate_xmit_skb(struct sock *sk, struct net_device *dev,
				       struct sk_buff *skb)
{
	const struct quic_skb_ext *ext;

	if (!skb_is_decrypted(skb))
		return skb;
	ext = skb_ext_find(skb, SKB_EXT_QUIC);
	if (ext)
		return ext->ops->validate(skb, dev, ext);

	/* Nobody knows the key any more */
	kfree_skb(skb);
	return NULL;
}
EXPORT_SYMBOL_GPL(quic_validate_xmit_skb);

/**
 * quicdev_add_done - the answer to a quic_dev_add() that was -EINPROGRESS
 * @flow: flow
 * @err: 0 when packets may follow, else software goes on sealing them
 *
 * Not to be called once quic_dev_del() for @flow has been: the driver sees to
 * that.
 *
 * Context: any.
 */
void quicdev_add_done(struct quicdev_flow *flow, int err)
{
	if (err)
		return;
	/* Pairs with quic_dev_tx_get(): the driver has set up its state */
	smp_store_release(&flow->ready, true);
}
EXPORT_SYMBOL_GPL(quicdev_add_done);

static BLOCKING_NOTIFIER_HEAD(quicdev_lost_chain);

int quicdev_register_lost(struct notifier_block *nb)
{
	return blocking_notifier_chain_register(&quicdev_lost_chain, nb);
}
EXPORT_SYMBOL_GPL(quicdev_register_lost);

int quicdev_unregister_lost(struct notifier_block *nb)
{
	return blocking_notifier_chain_unregister(&quicdev_lost_chain, nb);
}
EXPORT_SYMBOL_GPL(quicdev_unregister_lost);

/**
 * quicdev_keys_lost - a device was reset, or resumed, without its keys
 * @netdev: device
 *
 * The core calls quic_dev_del() for all keys that it has given to the device,
 * and offers them again with the packets that follow.
 *
 * Context: process, sleeps; RTNL may or may not be held, but no lock
 * that quic_dev_del() takes.
 */
void quicdev_keys_lost(struct net_device *netdev)
{
	blocking_notifier_call_chain(&quicdev_lost_chain, 0, netdev);
}
EXPORT_SYMBOL_GPL(quicdev_keys_lost);
