// SPDX-License-Identifier: GPL-2.0
/*
 * QUIC packet protection: keys, and the packet numbers that they have sealed.
 *
 * One key may be installed many times: for each connection ID and path of a
 * connection, and on each socket that sends for the connection. All of these
 * share one struct quic_key, since a packet number must not be sealed twice
 * with a key, whatever way the packet took to get here. On each path of
 * multipath QUIC, packet numbers start again, and so the record does.
 *
 * Network namespaces and users do not share keys: the peer knows the key, may
 * be another user or in another namespace, and could use up the packet numbers
 * or install the key with another IV.
 */

#include <crypto/utils.h>
#include <linux/random.h>
#include <linux/rhashtable.h>
#include <linux/siphash.h>
#include <linux/slab.h>
#include <linux/timekeeping.h>
#include <linux/unaligned.h>
#include <net/netns/hash.h>
#include <net/quic.h>

#include "key.h"
#include "net.h"
#include "retired.h"

/* Senders search the paths of a key one after the other */
#define QUIC_MAX_PATHS	32

/**
 * struct quic_key_arg - key to look up
 * @hash: keyed hash, what the table hashes
 * @id: identity
 */
struct quic_key_arg {
	u64 hash;
	const struct quic_key_id *id;
};

/**
 * struct quic_key_room - what installing a key may need
 * @key: new key, or NULL
 * @path: new record of a path, or NULL
 * @need_path: a path is missing, and not a key
 */
struct quic_key_room {
	struct quic_key *key;
	struct quic_path *path;
	bool need_path;
};

static struct rhashtable quic_keys;
static siphash_key_t quic_keys_secret __read_mostly;

/* Protects the table of keys, quic_key.users and the records of retired keys.
 * Nests inside quic_flows.lock.
 */
static DEFINE_MUTEX(quic_keys_lock);

/* Programs choose keys, and the same key may be in many namespaces. A hash that
 * nobody can predict, of all that identifies a key, keeps them from filling a
 * bucket. It also recognises keys that have been retired.
 */
static u64 quic_key_hash(const struct quic_key_id *id)
{
	struct {
		u8 secret[QUIC_MAX_KEY_SIZE];
		u32 net;
		u32 uid;
	} __aligned(SIPHASH_ALIGNMENT) data = {
		.net = net_hash_mix(id->net),
		.uid = __kuid_val(id->uid),
	};
	u64 hash;

	memcpy(data.secret, id->secret, id->cipher->key_size);
	hash = siphash(&data, sizeof(data), &quic_keys_secret);
	memzero_explicit(&data, sizeof(data));
	return hash;
}

static int quic_key_cmp(struct rhashtable_compare_arg *arg, const void *obj)
{
	const struct quic_key_arg *a = arg->key;
	const struct quic_key_id *id = a->id;
	const struct quic_key *key = obj;

	return key->hash != a->hash || key->net != id->net ||
	       !uid_eq(key->uid, id->uid) ||
	       key->cipher->key_size != id->cipher->key_size ||
	       crypto_memneq(key->secret, id->secret, id->cipher->key_size);
}

static const struct rhashtable_params quic_keys_params = {
	.head_offset = offsetof(struct quic_key, node),
	.key_offset = offsetof(struct quic_key, hash),
	.key_len = sizeof_field(struct quic_key, hash),
	.obj_cmpfn = quic_key_cmp,
	.automatic_shrinking = true,
};

static struct quic_key *quic_key_alloc(const struct quic_key_id *id,
				       const u8 *iv)
{
	const struct quic_cipher *cipher = id->cipher;
	struct quic_key *key;

	key = kzalloc_obj(*key, GFP_KERNEL_ACCOUNT);
	if (!key)
		return ERR_PTR(-ENOMEM);
	key->tfm = quic_aead_alloc(cipher, id->secret, 0);
	if (IS_ERR(key->tfm)) {
		struct crypto_aead *tfm = key->tfm;

		kfree(key);
		return ERR_CAST(tfm);
	}
	key->net = id->net;
	key->uid = id->uid;
	key->cipher = cipher;
	memcpy(key->iv, iv, sizeof(key->iv));
	memcpy(key->secret, id->secret, cipher->key_size);
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

static struct quic_path *quic_path_find(struct quic_key_tx *tx, u32 id)
{
	struct quic_path *path;

	for (path = &tx->path; path; path = path->next) {
		if (path->users && path->id == id)
			return path;
	}
	return NULL;
}

static u32 quic_key_now(void)
{
	return ktime_get_seconds();
}

/* Record of path 0, and of the key itself, or of another path */
static u64 quic_path_hash(const struct quic_key *key, u32 path_id)
{
	if (!path_id)
		return key->hash;
	return siphash_2u64(key->hash, path_id, &quic_keys_secret);
}

/* Tells IVs of a retired key apart, as two of them could share a nonce */
static u32 quic_key_iv_hash(const struct quic_key *key)
{
	return siphash_3u64(key->cipher->type, get_unaligned_be64(key->iv),
			    get_unaligned_be32(key->iv + sizeof(u64)),
			    &quic_keys_secret);
}

static struct quic_retired *quic_key_retired(const struct quic_key *key)
{
	return quic_crypto_net(key->net)->retired;
}

/* A record that is not in use, linked to the key; NULL if @room has none */
static struct quic_path *quic_path_unused(struct quic_key_tx *tx,
					  struct quic_key_room *room)
{
	struct quic_path *path;
	unsigned int n = 0;

	lockdep_assert_held(&quic_keys_lock);
	if (!tx->path.users)
		return &tx->path;
	for (path = &tx->path; path; path = path->next)
		n++;
	if (n >= QUIC_MAX_PATHS)
		return ERR_PTR(-ENOSPC);
	path = room->path;
	if (!path)
		return NULL;
	room->path = NULL;
	spin_lock(&tx->lock);
	path->next = tx->path.next;
	tx->path.next = path;
	spin_unlock(&tx->lock);
	return path;
}

/* One more slot uses @key on a path. Continue the record of the path, if it is
 * remembered. Return 1 on success, 0 if @room has no path.
 */
static int quic_path_get(struct quic_key *key, u32 path_id,
			 struct quic_key_room *room)
{
	struct quic_path *path = quic_path_find(&key->tx, path_id);
	const struct quic_retired_rec *rec = NULL;
	bool found = path;

	if (!found) {
		path = quic_path_unused(&key->tx, room);
		if (IS_ERR_OR_NULL(path))
			return PTR_ERR_OR_ZERO(path);
		rec = quic_retired_find(quic_key_retired(key),
					quic_path_hash(key, path_id),
					quic_key_now());
	}
	spin_lock(&key->tx.lock);
	if (!found) {
		memset(&path->window, 0, sizeof(path->window));
		if (rec)
			quic_pn_restore(&path->window, rec->top);
		path->id = path_id;
	}
	path->users++;
	spin_unlock(&key->tx.lock);
	return 1;
}

/* Remember what @key has sealed on a path. The count goes with path 0. */
static void quic_key_remember(const struct quic_key *key, u32 path_id, u64 top,
			      u64 sealed)
{
	struct quic_retired_rec rec = {
		.hash	= quic_path_hash(key, path_id),
		.top	= top,
		.sealed	= sealed,
		.iv	= quic_key_iv_hash(key),
		.uid	= __kuid_val(key->uid),
	};

	if (top || sealed)
		quic_retired_add(quic_key_retired(key), &rec, quic_key_now());
}

/* A slot no longer uses @key on a path. Senders that have the key, but have not
 * taken their packet numbers yet, fail.
 */
static void quic_path_put(struct quic_key *key, u32 path_id)
{
	struct quic_key_tx *tx = &key->tx;
	struct quic_path *path, *prev;
	u64 top, sealed;

	lockdep_assert_held(&quic_keys_lock);
	spin_lock(&tx->lock);
	path = quic_path_find(tx, path_id);
	if (--path->users) {
		spin_unlock(&tx->lock);
		return;
	}
	if (path != &tx->path) {
		for (prev = &tx->path; prev->next != path; prev = prev->next)
			;
		prev->next = path->next;
	}
	top = path->window.top;
	sealed = tx->sealed;
	spin_unlock(&tx->lock);

	quic_key_remember(key, path_id, top, path_id ? 0 : sealed);
	if (path != &tx->path)
		kfree(path);
}

/* A new key, which nobody else can see yet, continues the count that is
 * remembered of it.
 */
static int quic_key_recall(struct quic_key *key)
{
	const struct quic_retired_rec *rec;

	rec = quic_retired_find(quic_key_retired(key), key->hash,
				quic_key_now());
	if (!rec)
		return 0;
	if (rec->iv != quic_key_iv_hash(key))
		return -EINVAL;
	key->tx.sealed = rec->sealed;
	return 0;
}

/* The key in the table that equals @id, or the key of @room, which is inserted.
 * NULL if @room has none.
 */
static struct quic_key *quic_key_find(const struct quic_key_id *id,
				      const u8 *iv, struct quic_key_room *room)
{
	struct quic_key_arg arg = { quic_key_hash(id), id };
	struct quic_key *key, *new = room->key;
	int err;

	key = rhashtable_lookup_fast(&quic_keys, &arg, quic_keys_params);
	if (key) {
		if (key->cipher != id->cipher ||
		    memcmp(key->iv, iv, sizeof(key->iv)))
			return ERR_PTR(-EINVAL);
		quic_key_hold(key);
		return key;
	}
	if (!new)
		return NULL;
	new->hash = arg.hash;
	err = quic_key_recall(new);
	if (!err)
		err = rhashtable_insert_fast(&quic_keys, &new->node,
					     quic_keys_params);
	/* EBUSY: the table is growing */
	if (err)
		return ERR_PTR(err == -EBUSY ? -EAGAIN : err);
	room->key = NULL;
	return new;
}

/* Find or insert a key, and use it once more on a path. NULL if @room lacks
 * something.
 */
static struct quic_key *quic_key_use(const struct quic_key_id *id, const u8 *iv,
				     u32 path_id, struct quic_key_room *room)
{
	struct quic_key *key;
	int ret;

	mutex_lock(&quic_keys_lock);
	key = quic_key_find(id, iv, room);
	room->need_path = key;
	if (IS_ERR_OR_NULL(key))
		goto out;
	/* Never fails for a new key, which has room for a path */
	ret = quic_path_get(key, path_id, room);
	if (ret > 0) {
		key->users++;
	} else {
		quic_key_put(key);
		key = ret ? ERR_PTR(ret) : NULL;
	}
out:
	mutex_unlock(&quic_keys_lock);
	return key;
}

/* Nobody may have to wait for the memory of somebody else: allocate without
 * quic_keys_lock
 */
static int quic_key_make_room(struct quic_key_room *room,
			      const struct quic_key_id *id, const u8 *iv)
{
	struct quic_key *key;

	if (room->need_path) {
		room->path = kzalloc_obj(*room->path, GFP_KERNEL_ACCOUNT);
		return room->path ? 0 : -ENOMEM;
	}
	key = quic_key_alloc(id, iv);
	if (IS_ERR(key))
		return PTR_ERR(key);
	room->key = key;
	return 0;
}

static void quic_key_lower_limit(struct quic_key *key, u64 limit)
{
	spin_lock(&key->tx.lock);
	if (limit && limit < key->tx.limit)
		key->tx.limit = limit;
	spin_unlock(&key->tx.lock);
}

/* The table of retired keys must be there before a key can be retired */
static int quic_key_prepare_net(struct quic_crypto_net *qn)
{
	struct quic_retired *table;

	if (READ_ONCE(qn->retired))
		return 0;
	table = quic_retired_alloc();
	if (!table)
		return -ENOMEM;
	mutex_lock(&quic_keys_lock);
	if (!qn->retired) {
		WRITE_ONCE(qn->retired, table);
		table = NULL;
	}
	mutex_unlock(&quic_keys_lock);
	quic_retired_free(table);
	return 0;
}

/**
 * quic_key_install - get a key for a slot of a flow
 * @id: identity of the key
 * @iv: QUIC_MAX_IV_SIZE bytes
 * @path_id: path of multipath QUIC that the flow belongs to
 *
 * What was sealed before with the key, on the path, is not forgotten, even if
 * nobody has the key now: see retired.c.
 *
 * Context: process, sleeps.
 * Return: the key, to be given back by quic_key_uninstall(); or an ERR_PTR():
 * -EINVAL if the key is or was in use with another IV or cipher, since two
 * packet numbers could then share a nonce; -ENOSPC if the key has too many
 * paths.
 */
struct quic_key *quic_key_install(const struct quic_key_id *id, const u8 *iv,
				  u32 path_id)
{
	struct quic_crypto_net *qn = quic_crypto_net(id->net);
	struct quic_key_room room = {};
	struct quic_key *key = NULL;
	int err;

	err = quic_key_prepare_net(qn);
	while (!err && !key) {
		key = quic_key_use(id, iv, path_id, &room);
		if (!key)
			err = quic_key_make_room(&room, id, iv);
	}
	if (room.key)
		quic_key_free(room.key);
	kfree(room.path);
	if (err)
		return ERR_PTR(err);
	if (!IS_ERR(key))
		quic_key_lower_limit(key, READ_ONCE(qn->seal_limit));
	return key;
}

/**
 * quic_key_uninstall - a slot lets go of its key
 * @key: key of quic_key_install()
 * @path_id: path that it was installed for
 *
 * With the last slot, the key leaves the table, and only its record stays.
 * Senders that have taken packet numbers keep the key until they are done.
 *
 * Context: process, sleeps.
 */
void quic_key_uninstall(struct quic_key *key, u32 path_id)
{
	mutex_lock(&quic_keys_lock);
	quic_path_put(key, path_id);
	if (!--key->users) {
		quic_key_remember(key, 0, 0, READ_ONCE(key->tx.sealed));
		rhashtable_remove_fast(&quic_keys, &key->node,
				       quic_keys_params);
	}
	mutex_unlock(&quic_keys_lock);
	quic_key_put(key);
}

/**
 * quic_key_equal - is this the key?
 * @key: key
 * @secret: bytes of a key of the same cipher
 * @iv: its IV
 *
 * Return: true if it is; takes as long if it is not.
 */
bool quic_key_equal(const struct quic_key *key, const u8 *secret, const u8 *iv)
{
	return !(crypto_memneq(key->secret, secret, key->cipher->key_size) |
		 crypto_memneq(key->iv, iv, sizeof(key->iv)));
}

/**
 * quic_key_reserve - take the packet numbers of a call, all or none
 * @key: key
 * @path_id: path of multipath QUIC
 * @pkts: packets
 * @n: number of packets
 *
 * Context: process.
 * Return: 0, or 1 if @key comes near its limit, see quic_limit_near();
 * -EKEYEXPIRED if @key may not seal that many more packets (RFC 9001
 * 6.6), -EALREADY as of quic_pn_reserve(), or -ENOKEY if the key has just been
 * removed.
 */
int quic_key_reserve(struct quic_key *key, u32 path_id,
		     const struct quic_pkt *pkts, unsigned int n)
{
	struct quic_key_tx *tx = &key->tx;
	struct quic_path *path;
	bool near;
	int err;

	spin_lock(&tx->lock);
	near = quic_limit_near(tx->limit, tx->sealed, n);
	path = quic_path_find(tx, path_id);
	if (!path)
		err = -ENOKEY;
	else if (tx->sealed + n > tx->limit)
		err = -EKEYEXPIRED;
	else
		err = quic_pn_reserve(&path->window, pkts, n);
	if (!err)
		tx->sealed += n;
	spin_unlock(&tx->lock);
	return err ?: near;
}

/**
 * quic_key_release - undo quic_key_reserve() if nothing sealed has left
 * @key: key
 * @path_id: path of multipath QUIC
 * @pkts: packets
 * @n: number of packets
 *
 * Context: process.
 */
void quic_key_release(struct quic_key *key, u32 path_id,
		      const struct quic_pkt *pkts, unsigned int n)
{
	struct quic_key_tx *tx = &key->tx;
	struct quic_path *path;

	spin_lock(&tx->lock);
	tx->sealed -= n;
	path = quic_path_find(tx, path_id);
	if (path)
		quic_pn_release(&path->window, pkts, n);
	spin_unlock(&tx->lock);
}

/**
 * quic_key_info - describe what a key has sealed
 * @key: key
 * @path_id: path of multipath QUIC
 * @info: counts and numbers are filled in
 *
 * Context: process.
 */
void quic_key_info(struct quic_key *key, u32 path_id,
		   struct quic_info_generation *info)
{
	struct quic_key_tx *tx = &key->tx;
	const struct quic_path *path;

	spin_lock(&tx->lock);
	path = quic_path_find(tx, path_id);
	info->sealed = tx->sealed;
	info->remaining = tx->limit - min(tx->sealed, tx->limit);
	info->next_pkt_num = path ? path->window.top : 0;
	spin_unlock(&tx->lock);
}

int __init quic_keys_init(void)
{
	get_random_bytes(&quic_keys_secret, sizeof(quic_keys_secret));
	return rhashtable_init(&quic_keys, &quic_keys_params);
}

/* Every key has been uninstalled and freed */
void quic_keys_exit(void)
{
	rhashtable_destroy(&quic_keys);
}
