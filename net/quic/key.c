// SPDX-License-Identifier: GPL-2.0
/*
 * QUIC packet protection: keys, and the packet numbers that they have sealed.
 *
 * One key may be installed many times: for each connection ID and path of a
 * connection, and on each socket that sends for the connection. All of these
 * share one struct quic_key, since a packet number must not be sealed twice
 * with a key, whatever way the packet took to get here. Network namespaces do
 * not share keys: the peer knows the key, may be in another namespace, and
 * could use up the packet numbers.
 */

#include <crypto/utils.h>
#include <linux/jhash.h>
#include <linux/rhashtable.h>
#include <linux/slab.h>
#include <net/quic.h>

#include "key.h"
#include "net.h"

/* Identity of a key in the table */
struct quic_key_id {
	const struct net *net;
	const struct quic_cipher *cipher;
	const u8 *secret;
};

static struct rhashtable quic_keys;

/* Protects the table of keys and quic_key.users. Nests inside
 * quic_flows.lock.
 */
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

	key = kzalloc_obj(*key, GFP_KERNEL_ACCOUNT);
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
	memcpy(key->iv, iv, sizeof(key->iv));
	memcpy(key->secret, secret, cipher->key_size);
	refcount_set(&key->ref, 1);
	spin_lock_init(&key->tx.lock);
	key->tx.limit = cipher->seal_limit;
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
	queue_rcu_work(quic_crypto_wq, &key->rwork);
}

/* Insert @new, or return the equal key that is in the table */
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
	quic_key_hold(old);
	return old;
}

static void quic_key_lower_limit(struct quic_key *key, u64 limit)
{
	spin_lock(&key->tx.lock);
	if (limit && limit < key->tx.limit)
		key->tx.limit = limit;
	spin_unlock(&key->tx.lock);
}

/**
 * quic_key_install - get a key for a slot of a flow
 * @net: namespace of the flow
 * @cipher: cipher
 * @secret: @cipher->key_size bytes
 * @iv: QUIC_MAX_IV_SIZE bytes
 *
 * Context: process, sleeps.
 * Return: the key, to be given back by quic_key_uninstall(); or an ERR_PTR():
 * -EINVAL if the key is in use with another IV or cipher, since two packet
 * numbers could then share a nonce.
 */
struct quic_key *quic_key_install(struct net *net,
				  const struct quic_cipher *cipher,
				  const u8 *secret, const u8 *iv)
{
	const struct quic_crypto_net *qn = quic_crypto_net(net);
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
		quic_key_lower_limit(key, READ_ONCE(qn->seal_limit));
	return key;
}

/**
 * quic_key_uninstall - a slot lets go of its key
 * @key: key of quic_key_install()
 *
 * With the last slot, the record of what the key has sealed is forgotten.
 * Senders that are sealing packets keep the key itself until they are done.
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
 * @n: number of packets
 *
 * Context: process.
 * Return: 0, -EKEYEXPIRED if @key may not seal that many more packets (RFC 9001
 * 6.6), or -EALREADY as of quic_pn_reserve().
 */
int quic_key_reserve(struct quic_key *key, const struct quic_pkt *pkts,
		     unsigned int n)
{
	struct quic_key_tx *tx = &key->tx;
	int err;

	spin_lock(&tx->lock);
	if (tx->sealed + n > tx->limit)
		err = -EKEYEXPIRED;
	else
		err = quic_pn_reserve(&tx->window, pkts, n);
	if (!err)
		tx->sealed += n;
	spin_unlock(&tx->lock);
	return err;
}

/**
 * quic_key_release - undo quic_key_reserve() if nothing sealed has left
 * @key: key
 * @pkts: packets
 * @n: number of packets
 *
 * Context: process.
 */
void quic_key_release(struct quic_key *key, const struct quic_pkt *pkts,
		      unsigned int n)
{
	struct quic_key_tx *tx = &key->tx;

	spin_lock(&tx->lock);
	tx->sealed -= n;
	quic_pn_release(&tx->window, pkts, n);
	spin_unlock(&tx->lock);
}

int __init quic_keys_init(void)
{
	return rhashtable_init(&quic_keys, &quic_keys_params);
}

/* Every key has been uninstalled and freed */
void quic_keys_exit(void)
{
	rhashtable_destroy(&quic_keys);
}
