/* SPDX-License-Identifier: GPL-2.0 */
/*
 * QUIC packet protection: keys
 */
#ifndef _NET_QUIC_KEY_H
#define _NET_QUIC_KEY_H

#include <linux/refcount.h>
#include <linux/rhashtable-types.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>

#include "cipher.h"
#include "pktnum.h"

struct net;
struct quic_offload;

/**
 * enum quic_dir - direction of packets
 * @QUIC_TX: packets that are sent
 * @QUIC_DIRS: number of directions
 */
enum quic_dir {
	QUIC_TX,
	QUIC_DIRS,
};

/**
 * struct quic_key_tx - what a key that seals has sealed
 * @lock: protects the other members; it is never held over crypto
 * @sealed: number of packets sealed
 * @limit: upper limit of @sealed, RFC 9001 6.6
 * @window: packet numbers sealed
 */
struct quic_key_tx {
	spinlock_t lock;	/* see above */
	u64 sealed;
	u64 limit;
	struct quic_pn_window window;
};

/**
 * struct quic_key - AEAD key of one generation, shared by all that installed it
 * @node: entry in the table of keys
 * @ref: references, dropped in any context; the last one frees by @rwork
 * @users: slots of flows that hold the key, protected by quic_keys_lock
 * @net: namespace of these flows; valid while there are @users
 * @cipher: cipher
 * @tfm: AEAD transform, NULL for ChaCha20-Poly1305
 * @iv: IV, RFC 9001 5.3
 * @secret: bytes of the key, to recognise it when it is installed again
 * @rwork: deferred free
 * @tx: record of a key that seals; in cache lines of its own, as every sender
 *	writes it
 */
struct quic_key {
	struct rhash_head node;
	refcount_t ref;
	unsigned int users;
	const struct net *net;
	const struct quic_cipher *cipher;
	struct crypto_aead *tfm;
	u8 iv[QUIC_MAX_IV_SIZE];
	u8 secret[QUIC_MAX_KEY_SIZE];
	struct rcu_work rwork;

	struct quic_key_tx tx ____cacheline_aligned_in_smp;
};

/**
 * struct quic_slot - one of the live key generations of a flow
 * @key: key, NULL if the slot is empty
 * @offload: the key in a device, changed under quic_offload_lock
 * @tried: token of the last attempt to offer the key to a device, see
 *	   quic_offload_attempt()
 */
struct quic_slot {
	struct quic_key __rcu *key;
#ifdef CONFIG_QUIC_CRYPTO_DEVICE
	struct quic_offload __rcu *offload;
	unsigned long tried;
#endif
};

struct quic_key *quic_key_install(struct net *net,
				  const struct quic_cipher *cipher,
				  const u8 *secret, const u8 *iv);
void quic_key_uninstall(struct quic_key *key);
void quic_key_put(struct quic_key *key);
int quic_key_reserve(struct quic_key *key, const struct quic_pkt *pkts,
		     unsigned int n);
void quic_key_release(struct quic_key *key, const struct quic_pkt *pkts,
		      unsigned int n);
int quic_keys_init(void);
void quic_keys_exit(void);

static inline void quic_key_hold(struct quic_key *key)
{
	refcount_inc(&key->ref);
}

/**
 * quic_key_prot - protection by a key in process context
 * @key: AEAD key
 * @hp: header protection
 *
 * Return: the protection, valid as long as @key and @hp are held.
 */
static inline struct quic_prot quic_key_prot(const struct quic_key *key,
					     const struct quic_hp *hp)
{
	return (struct quic_prot) {
		.cipher	= key->cipher,
		.iv	= key->iv,
		.secret	= key->secret,
		.tfm	= key->tfm,
		.hp	= hp,
		.gfp	= GFP_KERNEL,
	};
}

#endif /* _NET_QUIC_KEY_H */
