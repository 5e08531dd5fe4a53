// SPDX-License-Identifier: GPL-2.0
/*
 * QUIC packet protection: keys and the packet numbers they have sealed.
 *
 * One key may be installed many times: for each connection ID and path of a
 * connection, and on each socket that sends for it. All share one struct
 * quic_key, as a number must not be sealed twice with a key, however the
 * packet was routed here. But not with other network namespaces: the peer, who
 * knows the key, may be in one of them, and could use it up.
 */

#include <crypto/utils.h>
#include <linux/jhash.h>
#include <linux/rhashtable.h>
#include <linux/slab.h>
#include <net/quic.h>

#include "quic.h"

struct quic_key_id {
	const struct net *net;
	const struct quic_cipher *cipher;
	const u8 *secret;
};

static struct rhashtable quic_keys;
static DEFINE_MUTEX(quic_keys_lock);

static u32 quic_key_hash(const void *data, u32 len, u32 seed)
{
	const struct quic_key_id *id = data;

	return jhash(id->secret, id->cipher->key_size, seed);
}

static u32 quic_key_obj_hash(const void *data, u32 len, u32 seed)
{
	const struct quic_key *key = data;

	return jhash(key->secret, key->cipher->key_size, seed);
}

static int quic_key_cmp(struct rhashtable_compare_arg *arg, const void *obj)
{
	const struct quic_key_id *id = arg->key;
	const struct quic_key *key = obj;

	return key->net != id->net ||
	       key->cipher->key_size != id->cipher->key_size ||
	       crypto_memneq(key->secret, id->secret, id->cipher->key_size);
}

static const struct rhashtable_params quic_keys_params = {
	.head_offset = offsetof(struct quic_key, node),
	.hashfn = quic_key_hash,
	.obj_hashfn = quic_key_obj_hash,
	.obj_cmpfn = quic_key_cmp,
	.automatic_shrinking = true,
};

static struct quic_key *quic_key_alloc(struct net *net,
				       const struct quic_cipher *cipher,
				       const u8 *secret, const u8 *iv)
{
	struct quic_key *key;

	key = kzalloc(sizeof(*key), GFP_KERNEL_ACCOUNT);
	if (!key)
		return ERR_PTR(-ENOMEM);
	key->tfm = quic_aead_alloc(cipher, secret, 0);
	if (IS_ERR(key->tfm)) {
		struct crypto_aead *tfm = key->tfm;

		kfree(key);
		return ERR_CAST(tfm);
	}
	key->net = net;
	key->cipher = cipher;
	key->limit = cipher->seal_limit;
	memcpy(key->iv, iv, sizeof(key->iv));
	memcpy(key->secret, secret, cipher->key_size);
	refcount_set(&key->ref, 1);
	spin_lock_init(&key->lock);
	return key;
}

static void quic_key_free(struct quic_key *key)
{
	quic_aead_free(key->tfm);
	kfree_sensitive(key);
}

static void quic_key_free_work(struct work_struct *work)
{
	quic_key_free(container_of(to_rcu_work(work), struct quic_key, rwork));
}

/**
 * quic_key_put - drop a reference
 * @key: key
 *
 * Context: any.
 */
void quic_key_put(struct quic_key *key)
{
	if (!refcount_dec_and_test(&key->ref))
		return;
	INIT_RCU_WORK(&key->rwork, quic_key_free_work);
	queue_rcu_work(quic_wq, &key->rwork);
}

/* Insert @new, or find the one that is there */
static struct quic_key *quic_key_insert(struct quic_key *new)
{
	struct quic_key_id id = { new->net, new->cipher, new->secret };
	struct quic_key *old;

	old = rhashtable_lookup_get_insert_key(&quic_keys, &id, &new->node,
					       quic_keys_params);
	if (IS_ERR(old))
		return old;
	if (!old)
		return new;
	if (old->cipher != new->cipher ||
	    memcmp(old->iv, new->iv, sizeof(old->iv)))
		return ERR_PTR(-EINVAL);
	refcount_inc(&old->ref);
	return old;
}

static void quic_key_lower_limit(struct quic_key *key, u64 limit)
{
	spin_lock(&key->lock);
	if (limit && limit < key->limit)
		key->limit = limit;
	spin_unlock(&key->lock);
}

/**
 * quic_key_install - get a key for a slot of a flow
 * @net: namespace of the flow
 * @cipher: which
 * @secret: @cipher->key_size bytes
 * @iv: QUIC_MAX_IV_SIZE bytes
 *
 * Context: process, sleeps.
 * Return: the key, which quic_key_uninstall() lets go of; or an ERR_PTR():
 * -EINVAL where the key is in use with another IV or cipher, which would let
 * two packet numbers share a nonce.
 */
struct quic_key *quic_key_install(struct net *net,
				  const struct quic_cipher *cipher,
				  const u8 *secret, const u8 *iv)
{
	struct quic_key *new, *key;

	new = quic_key_alloc(net, cipher, secret, iv);
	if (IS_ERR(new))
		return new;

	mutex_lock(&quic_keys_lock);
	key = quic_key_insert(new);
	if (!IS_ERR(key))
		key->users++;
	mutex_unlock(&quic_keys_lock);

	if (key != new)
		quic_key_free(new);
	if (!IS_ERR(key))
		quic_key_lower_limit(key, READ_ONCE(quic_net(net)->seal_limit));
	return key;
}

/**
 * quic_key_uninstall - a slot lets go of its key
 * @key: of quic_key_install()
 *
 * With the last slot, what the key has sealed is forgotten. Packets that are
 * being sealed keep the key itself for as long as that takes.
 *
 * Context: process, sleeps.
 */
void quic_key_uninstall(struct quic_key *key)
{
	mutex_lock(&quic_keys_lock);
	if (!--key->users)
		rhashtable_remove_fast(&quic_keys, &key->node,
				       quic_keys_params);
	mutex_unlock(&quic_keys_lock);
	quic_key_put(key);
}

/**
 * quic_key_reserve - take the packet numbers of a call, all or none
 * @key: key
 * @pkts: packets
 * @n: number of them
 *
 * Context: process.
 * Return: 0, -EKEYEXPIRED where @key may not seal that many
 * more (RFC 9001 6.6), -EALREADY as of quic_pn_reserve().
 */
int quic_key_reserve(struct quic_key *key, const struct quic_pkt *pkts,
		     unsigned int n)
{
	int err;

	spin_lock(&key->lock);
	if (key->sealed + n > key->limit)
		err = -EKEYEXPIRED;
	else
		err = quic_pn_reserve(&key->window, pkts, n);
	if (!err)
		key->sealed += n;
	spin_unlock(&key->lock);
	return err;
}

/**
 * quic_key_release - undo quic_key_reserve(): nothing sealed has left
 * @key: key
 * @pkts: packets
 * @n: number of them
 *
 * Context: process.
 */
void quic_key_release(struct quic_key *key, const struct quic_pkt *pkts,
		      unsigned int n)
{
	spin_lock(&key->lock);
	key->sealed -= n;
	quic_pn_release(&key->window, pkts, n);
	spin_unlock(&key->lock);
}

int __init quic_keys_init(void)
{
	return rhashtable_init(&quic_keys, &quic_keys_params);
}

/* Every key has been uninstalled */
void quic_keys_exit(void)
{
	rhashtable_destroy(&quic_keys);
}
