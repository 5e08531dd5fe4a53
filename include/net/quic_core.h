/* SPDX-License-Identifier: GPL-2.0 */
/*
 * QUIC packet protection: what the network stack needs. Drivers include
 * <net/quic.h>.
 */
#ifndef _NET_QUIC_CORE_H
#define _NET_QUIC_CORE_H

#include <linux/jump_label.h>
#include <net/quic.h>

struct notifier_block;
struct sock;

/**
 * struct quicdev - what the module keeps for a device, as others see it
 * @room: see quicdev_room(). Context: any, under rcu_read_lock()
 */
struct quicdev {
	void (*room)(struct quicdev *quicdev);
};

/**
 * struct quicdev_key_ops - calls from a driver into the module
 * @skb: for skbs whose packets a device has opened with the key; NULL if the
 *	 key seals
 * @opened: take a reference on the key for such an skb, see quicdev_opened();
 *	    NULL if the key seals.
 *	    Context: any, under rcu_read_lock(). Return: false if the key is
 *	    leaving the device
 * @done: see quicdev_add_done(). Context: any
 * @stop: see quicdev_key_stop(). Context: any
 */
struct quicdev_key_ops {
	const struct quic_skb_ext_ops *skb;
	bool (*opened)(struct quicdev_key *key);
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
 * @deliver: see quic_may_deliver(); only for keys that open
 *
 * Packets that a device has opened must not be transmitted: @validate and
 * @encrypt drop them.
 */
struct quic_skb_ext_ops {
	void (*get)(struct quicdev_key *key);
	void (*put)(struct quicdev_key *key);
	struct sk_buff *(*validate)(struct sk_buff *skb,
				    struct net_device *netdev,
				    const struct quic_skb_ext *ext);
	struct sk_buff *(*encrypt)(struct sk_buff *skb,
				   const struct quic_skb_ext *ext);
	bool (*deliver)(struct sk_buff *skb, const struct sock *sk,
			const struct quic_skb_ext *ext);
};

/* A device that can open packets is, or was, there */
DECLARE_STATIC_KEY_FALSE(quicdev_rx_key);

struct sk_buff *quic_validate_xmit_skb(struct sock *sk,
				       struct net_device *netdev,
				       struct sk_buff *skb);

/* Packets that a device is to seal, or has opened: they must not be transmitted
 * as they are.
 */
static inline bool quic_skb_is_unsealed(const struct sk_buff *skb)
{
	return skb_is_decrypted(skb) && skb_ext_exist(skb, SKB_EXT_QUIC);
}

/**
 * quic_skb_opened - which key has a device opened these packets with?
 * @skb: packets in the receive path
 *
 * Return: the key and the first packet number, valid as long as @skb; NULL if
 * the packets are as they were on the wire.
 */
static inline const struct quic_skb_ext *
quic_skb_opened(const struct sk_buff *skb)
{
	const struct quic_skb_ext *ext;

	if (!static_branch_unlikely(&quicdev_rx_key) || !skb_is_decrypted(skb))
		return NULL;
	ext = skb_ext_find(skb, SKB_EXT_QUIC);
	return ext && ext->key->direction == QUICDEV_RX ? ext : NULL;
}

bool __quic_may_deliver(struct sk_buff *skb, const struct sock *sk);

/**
 * quic_may_deliver - may a UDP socket have these packets?
 * @skb: packets that are about to be queued, or are queued
 * @sk: socket, of any kind
 *
 * Plaintext is for the socket that has the key, and for no other.
 *
 * Context: any but hard interrupts.
 * Return: true if it may; false: drop them.
 */
static inline bool quic_may_deliver(struct sk_buff *skb, const struct sock *sk)
{
	return !static_branch_unlikely(&quicdev_rx_key) ||
	       !skb_is_decrypted(skb) || __quic_may_deliver(skb, sk);
}

bool __quic_gro_differs(const struct sk_buff *p, const struct sk_buff *skb);

/**
 * quic_gro_differs - must GRO not append a packet to others?
 * @p: the others
 * @skb: packet
 *
 * Return: true if one of them was opened by a device and the other was not, or
 * with another key, or has a number that cannot be completed relative to the
 * first one's.
 */
static inline bool quic_gro_differs(const struct sk_buff *p,
				    const struct sk_buff *skb)
{
	return static_branch_unlikely(&quicdev_rx_key) &&
	       (skb_is_decrypted(p) || skb_is_decrypted(skb)) &&
	       __quic_gro_differs(p, skb);
}

/* A socket that nobody reads must not pin a key: forget which one it is */
static inline void quic_skb_forget_key(struct sk_buff *skb)
{
	skb_ext_del(skb, SKB_EXT_QUIC);
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

static inline const struct quic_skb_ext *
quic_skb_opened(const struct sk_buff *skb)
{
	return NULL;
}

static inline bool quic_may_deliver(struct sk_buff *skb, const struct sock *sk)
{
	return true;
}

static inline bool quic_gro_differs(const struct sk_buff *p,
				    const struct sk_buff *skb)
{
	return false;
}

static inline void quic_skb_forget_key(struct sk_buff *skb)
{
}

static inline struct sk_buff *quic_seal_skb(struct sk_buff *skb)
{
	return skb;
}
#endif

#endif /* _NET_QUIC_CORE_H */
