/* SPDX-License-Identifier: GPL-2.0 */
/*
 * QUIC packet protection: keys
 */
#ifndef _NET_QUIC_KEY_H
#define _NET_QUIC_KEY_H

#include <linux/refcount.h>
#include <linux/rhashtable-types.h>
#include <linux/spinlock.h>
#include <linux/uidgid.h>
#include <linux/workqueue.h>

#include "cipher.h"
#include "offload_slot.h"
#include "pktnum.h"

struct net;
struct quic_info_generation;

/**
 * struct quic_path - what a key has sealed on a path of multipath QUIC
 * @next: next path of the key
 * @id: number of the path
 * @users: slots of flows that use the key on this path; with 0, nothing may be
 *	   sealed on it. Changed under quic_keys_lock and &quic_key_tx.lock
 * @window: packet numbers sealed
 */
struct quic_path {
	struct quic_path *next;
	u32 id;
	unsigned int users;
	struct quic_pn_window window;
};

/**
 * struct quic_key_tx - what a key that seals has sealed
 * @lock: protects the other members; it is never held over crypto
 * @sealed: number of packets sealed, on all paths
 * @limit: upper limit of @sealed, RFC 9001 6.6
 * @path: first path, the only one as a rule; then those that are in use
 */
struct quic_key_tx {
	spinlock_t lock;	/* see above */
	u64 sealed;
	u64 limit;
	struct quic_path path;
};

/**
 * struct quic_key_id - identity of a key
 * @net: namespace
 * @uid: owner of the socket that installs the key
 * @cipher: cipher
 * @secret: @cipher->key_size bytes
 */
struct quic_key_id {
	struct net *net;
	kuid_t uid;
	const struct quic_cipher *cipher;
	const u8 *secret;
};

/**
 * struct quic_key - AEAD key of one generation, shared by all that installed it
 * @node: entry in the table of keys
 * @hash: keyed hash of @net, @uid and @secret
 * @ref: references, dropped in any context; the last one frees by @rwork
 * @users: slots of flows that hold the key, protected by quic_keys_lock
 * @net: namespace of these flows; valid while there are @users
 * @uid: owner of their sockets
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
	u64 hash;
	refcount_t ref;
	unsigned int users;
	struct net *net;
	kuid_t uid;
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
 * @dev: the key in a device
 */
struct quic_slot {
	struct quic_key __rcu *key;
	struct quic_offload_slot dev;
};

struct quic_key *quic_key_install(const struct quic_key_id *id, const u8 *iv,
				  u32 path_id);
void quic_key_uninstall(struct quic_key *key, u32 path_id);
bool quic_key_equal(const struct quic_key *key, const u8 *secret,
		    const u8 *iv);
void quic_key_put(struct quic_key *key);
int quic_key_reserve(struct quic_key *key, u32 path_id,
		     const struct quic_pkt *pkts, unsigned int n);
void quic_key_release(struct quic_key *key, u32 path_id,
		      const struct quic_pkt *pkts, unsigned int n);
void quic_key_info(struct quic_key *key, u32 path_id,
		   struct quic_info_generation *info);
int quic_keys_init(void);
void quic_keys_exit(void);

static inline void quic_key_hold(struct quic_key *key)
{
	refcount_inc(&key->ref);
}

/**
 * quic_key_prot - protection by a key in process context
 * @key: AEAD key
 * @path_id: path of multipath QUIC
 * @hp: header protection
 *
 * Return: the protection, valid as long as @key and @hp are held.
 */
static inline struct quic_prot quic_key_prot(const struct quic_key *key,
					     u32 path_id,
					     const struct quic_hp *hp)
{
	struct quic_prot prot = {
		.cipher	= key->cipher,
		.secret	= key->secret,
		.tfm	= key->tfm,
		.hp	= hp,
		.gfp	= GFP_KERNEL,
	};

	memcpy(prot.iv, key->iv, sizeof(prot.iv));
	quic_path_iv(prot.iv, path_id);
	return prot;
}

#endif /* _NET_QUIC_KEY_H */
