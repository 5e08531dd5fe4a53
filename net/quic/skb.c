// SPDX-License-Identifier: GPL-2.0
/*
 * QUIC packet protection by devices: the built-in part, for code that handles
 * skbs and for drivers
 */

#include <linux/export.h>
#include <linux/skbuff.h>
#include <net/quic.h>

/**
 * quic_validate_xmit_skb - &sock.sk_validate_xmit_skb of sockets with offload
 * @sk: socket
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
	if (!err)
		smp_store_release(&flow->ready, true);
}
EXPORT_SYMBOL_GPL(quicdev_add_done);
