/* SPDX-License-Identifier: GPL-2.0 */
/*
 * QUIC packet protection: what the network stack needs. Drivers include
 * <net/quic.h>.
 */
#ifndef _NET_QUIC_CORE_H
#define _NET_QUIC_CORE_H

#include <net/quic.h>

struct notifier_block;

/**
 * struct quicdev - what the module keeps for a device, as others see it
 * @room: see quicdev_room(). Context: any, under rcu_read_lock()
 */
struct quicdev {
	void (*room)(struct quicdev *quicdev);
};

/**
 * struct quicdev_key_ops - calls from a driver into the module
 * @done: see quicdev_add_done(). Context: any
 * @stop: see quicdev_key_stop(). Context: any
 */
struct quicdev_key_ops {
	void (*done)(struct quicdev_key *key, int err);
	void (*stop)(struct quicdev_key *key);
};

#if IS_ENABLED(CONFIG_QUIC_CRYPTO_DEVICE)
/**
 * struct quic_skb_ext_ops - calls back from the stack into the module
 * @get: take a reference on the key of an extension. Context: any
 * @put: drop it. Context: any, under rcu_read_lock()
 * @validate: see quic_offload_validate()
 * @encrypt: see quic_offload_encrypt()
 */
struct quic_skb_ext_ops {
	void (*get)(struct quicdev_key *key);
	void (*put)(struct quicdev_key *key);
	struct sk_buff *(*validate)(struct sk_buff *skb,
				    struct net_device *netdev,
				    const struct quic_skb_ext *ext);
	struct sk_buff *(*encrypt)(struct sk_buff *skb,
				   const struct quic_skb_ext *ext);
};

struct sk_buff *quic_validate_xmit_skb(struct sock *sk,
				       struct net_device *netdev,
				       struct sk_buff *skb);

static inline bool quic_skb_is_unsealed(const struct sk_buff *skb)
{
	return skb_is_decrypted(skb) && skb_ext_exist(skb, SKB_EXT_QUIC);
}

struct sk_buff *__quic_seal_skb(struct sk_buff *skb);

/**
 * quic_seal_skb - seal in software what was left to a device
 * @skb: skb that is about to leave the way to the device
 *
 * Context: any but hard interrupts.
 * Return: @skb if it has nothing to seal; otherwise @skb is freed: another skb
 * with its packets sealed, or NULL if that failed.
 */
static inline struct sk_buff *quic_seal_skb(struct sk_buff *skb)
{
	return quic_skb_is_unsealed(skb) ? __quic_seal_skb(skb) : skb;
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

static inline struct sk_buff *quic_seal_skb(struct sk_buff *skb)
{
	return skb;
}
#endif

#endif /* _NET_QUIC_CORE_H */
