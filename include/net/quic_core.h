/* SPDX-License-Identifier: GPL-2.0 */
/*
 * QUIC packet protection: what the network stack needs. Drivers include
 * <net/quic.h>.
 */
#ifndef _NET_QUIC_CORE_H
#define _NET_QUIC_CORE_H

#include <net/quic.h>

struct notifier_block;

#if IS_ENABLED(CONFIG_QUIC_CRYPTO_DEVICE)
/**
 * struct quic_skb_ext_ops - calls back from the stack into the module
 * @get: take a reference on the key of an extension. Context: any
 * @put: drop it. Context: any, under rcu_read_lock()
 * @validate: see quic_offload_validate()
 */
struct quic_skb_ext_ops {
	void (*get)(struct quicdev_key *key);
	void (*put)(struct quicdev_key *key);
	struct sk_buff *(*validate)(struct sk_buff *skb,
				    struct net_device *netdev,
				    const struct quic_skb_ext *ext);
};

struct sk_buff *quic_validate_xmit_skb(struct sock *sk,
				       struct net_device *netdev,
				       struct sk_buff *skb);

static inline bool quic_skb_is_unsealed(const struct sk_buff *skb)
{
	return skb_is_decrypted(skb) && skb_ext_exist(skb, SKB_EXT_QUIC);
}

int quicdev_register_reset(struct notifier_block *nb);
int quicdev_unregister_reset(struct notifier_block *nb);
#else
static inline struct sk_buff *quic_validate_xmit_skb(struct sock *sk,
						     struct net_device *netdev,
						     struct sk_buff *skb)
{
	return skb;
}

static inline bool quic_skb_is_unsealed(const struct sk_buff *skb)
{
	return false;
}
#endif

#endif /* _NET_QUIC_CORE_H */
