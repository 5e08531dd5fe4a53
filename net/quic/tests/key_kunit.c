// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of QUIC packet protection: ciphers, keys, limits and numbers
 */

#include <crypto/internal/aead.h>
#include <kunit/test.h>
#include <linux/module.h>
#include <net/net_namespace.h>
#include <net/quic.h>

#include "../key.h"
#include "../net.h"
#include "../retired.h"
#include "common.h"

static const char quic_test_secret[] = "Another key of thirty-two bytes!";
static const char quic_test_iv[] = "twelve bytes";
static const char quic_test_iv2[] = "a dozen more";

static int quic_test_key_take(struct quic_key *key, u64 pn, unsigned int n)
{
	struct quic_pkt pkts[4] = {};
	unsigned int i;

	for (i = 0; i < n; i++)
		pkts[i].pn = pn + i;
	return quic_key_reserve(key, 0, pkts, n);
}

static void quic_test_key_give(struct quic_key *key, u64 pn)
{
	struct quic_pkt pkt = { .pn = pn };

	quic_key_release(key, 0, &pkt, 1);
}

struct quic_limit_case {
	const char *desc;
	u16 cipher;
	u64 limit;
};

/* RFC 9001 6.6 and B.1. ChaCha20-Poly1305 outlasts the packet numbers. */
static const struct quic_limit_case quic_limit_cases[] = {
	{ "aes-128-gcm", TLS_CIPHER_AES_GCM_128, 1 << 23 },
	{ "aes-256-gcm", TLS_CIPHER_AES_GCM_256, 1 << 23 },
	{ "aes-128-ccm, 2^21.5", TLS_CIPHER_AES_CCM_128, 2965820 },
	{ "chacha20-poly1305", TLS_CIPHER_CHACHA20_POLY1305, 1ULL << 62 },
};

KUNIT_ARRAY_PARAM_DESC(quic_limit, quic_limit_cases, desc);

static void quic_test_key_limit(struct kunit *test)
{
	const struct quic_limit_case *c = test->param_value;
	struct quic_key *key;

	key = quic_test_key(test, c->cipher, quic_test_secret, quic_test_iv);
	/* The sysctl may have lowered the limit of the key */
	KUNIT_EXPECT_EQ(test, key->cipher->seal_limit, c->limit);
	KUNIT_EXPECT_LE(test, key->tx.limit, c->limit);

	spin_lock(&key->tx.lock);
	key->tx.sealed = key->tx.limit - 3;
	spin_unlock(&key->tx.lock);

	KUNIT_EXPECT_EQ(test, quic_test_key_take(key, 0, 4), -EKEYEXPIRED);
	/* A call that is refused uses nothing up */
	KUNIT_EXPECT_EQ(test, quic_test_key_take(key, 0, 2), 0);
	KUNIT_EXPECT_EQ(test, quic_test_key_take(key, 1, 1), -EALREADY);
	KUNIT_EXPECT_EQ(test, quic_test_key_take(key, 2, 2), -EKEYEXPIRED);
	KUNIT_EXPECT_EQ(test, quic_test_key_take(key, 2, 1), 0);
	KUNIT_EXPECT_EQ(test, quic_test_key_take(key, 3, 1), -EKEYEXPIRED);
	/* A packet number that is given back does not count */
	quic_test_key_give(key, 1);
	KUNIT_EXPECT_EQ(test, quic_test_key_take(key, 3, 1), 0);
	KUNIT_EXPECT_EQ(test, quic_test_key_take(key, 1, 1), -EKEYEXPIRED);
}

static void quic_test_seal_limit_reset(void *old)
{
	WRITE_ONCE(quic_crypto_net(&init_net)->seal_limit, (unsigned long)old);
}

/* A key of a user of its own */
static void quic_test_key_id(struct kunit *test, struct quic_key_id *id,
			     u16 type)
{
	id->net = &init_net;
	id->uid = quic_test_uid();
	id->cipher = quic_cipher_find(type);
	id->secret = quic_test_secret;
	KUNIT_ASSERT_NOT_NULL(test, id->cipher);
}

static struct quic_key *quic_test_install(struct kunit *test,
					  const struct quic_key_id *id,
					  u32 path_id)
{
	struct quic_key *key = quic_key_install(id, quic_test_iv, path_id);

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, key);
	return key;
}

static void quic_test_install_refused(struct kunit *test,
				      const struct quic_key_id *id,
				      const char *iv, int err)
{
	struct quic_key *key = quic_key_install(id, iv, 0);

	KUNIT_EXPECT_EQ(test, err, PTR_ERR_OR_ZERO(key));
	if (!IS_ERR(key))
		quic_key_uninstall(key, 0);
}

static void quic_test_limit_near(struct kunit *test)
{
	/* An eighth, rounded down, may be left */
	KUNIT_EXPECT_FALSE(test, quic_limit_near(16, 0, 13));
	KUNIT_EXPECT_FALSE(test, quic_limit_near(16, 12, 1));
	KUNIT_EXPECT_TRUE(test, quic_limit_near(16, 13, 1));
	KUNIT_EXPECT_TRUE(test, quic_limit_near(16, 0, 16));
	KUNIT_EXPECT_FALSE(test, quic_limit_near(16, 14, 1));
	KUNIT_EXPECT_FALSE(test, quic_limit_near(7, 5, 1));
	KUNIT_EXPECT_TRUE(test, quic_limit_near(7, 6, 1));
	KUNIT_EXPECT_TRUE(test, quic_limit_near(1, 0, 1));
	KUNIT_EXPECT_FALSE(test, quic_limit_near(U64_MAX, 0, 1));
}

static void quic_test_key_sysctl(struct kunit *test)
{
	struct quic_crypto_net *qn = quic_crypto_net(&init_net);
	struct quic_key_id id;
	struct quic_key *key;

	quic_test_key_id(test, &id, TLS_CIPHER_AES_GCM_128);
	quic_test_defer(test, quic_test_seal_limit_reset,
			(void *)READ_ONCE(qn->seal_limit));

	WRITE_ONCE(qn->seal_limit, 2);
	key = quic_test_install(test, &id, 0);
	KUNIT_EXPECT_EQ(test, key->tx.limit, 2);
	KUNIT_EXPECT_EQ(test, quic_test_key_take(key, 5, 2), 1);
	KUNIT_EXPECT_EQ(test, quic_test_key_take(key, 7, 1), -EKEYEXPIRED);
	quic_key_uninstall(key, 0);

	WRITE_ONCE(qn->seal_limit, ULONG_MAX);
	key = quic_test_install(test, &id, 0);
	KUNIT_EXPECT_EQ(test, key->tx.limit, id.cipher->seal_limit);
	quic_key_uninstall(key, 0);

	WRITE_ONCE(qn->seal_limit, 0);
	key = quic_test_install(test, &id, 0);
	KUNIT_EXPECT_EQ(test, key->tx.limit, id.cipher->seal_limit);
	quic_key_uninstall(key, 0);
}

/* A key that is installed twice is one key */
static void quic_test_key_shared(struct kunit *test)
{
	struct quic_key_id id;
	struct quic_key *a, *b;

	quic_test_key_id(test, &id, TLS_CIPHER_CHACHA20_POLY1305);
	a = quic_test_install(test, &id, 0);
	b = quic_test_install(test, &id, 0);
	KUNIT_EXPECT_PTR_EQ(test, a, b);

	/* With another IV, two packet numbers could share a nonce */
	quic_test_install_refused(test, &id, quic_test_iv2, -EINVAL);

	KUNIT_EXPECT_EQ(test, quic_test_key_take(a, 0, 4), 0);
	quic_key_uninstall(a, 0);
	KUNIT_EXPECT_EQ(test, quic_test_key_take(b, 3, 1), -EALREADY);
	KUNIT_EXPECT_EQ(test, quic_test_key_take(b, 4, 1), 0);
	quic_key_uninstall(b, 0);
}

/* A key of another user is another key, so that a peer who knows the key can
 * neither use up its numbers nor make it unusable
 */
static void quic_test_key_users(struct kunit *test)
{
	struct quic_key_id id, peer;
	struct quic_key *a, *b;

	quic_test_key_id(test, &id, TLS_CIPHER_AES_GCM_128);
	quic_test_key_id(test, &peer, TLS_CIPHER_AES_GCM_128);
	b = quic_key_install(&peer, quic_test_iv2, 0);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, b);
	KUNIT_EXPECT_EQ(test, quic_test_key_take(b, QUIC_MAX_PKT_NUM, 1), 0);
	a = quic_test_install(test, &id, 0);
	KUNIT_EXPECT_PTR_NE(test, a, b);
	/* Nobody fills the bucket of another user */
	KUNIT_EXPECT_NE(test, a->hash, b->hash);
	KUNIT_EXPECT_EQ(test, quic_test_key_take(a, 0, 1), 0);
	quic_key_uninstall(b, 0);
	quic_key_uninstall(a, 0);
}

/* A key that was retired continues its record when it comes back */
static void quic_test_key_retired(struct kunit *test)
{
	struct quic_key_id id, other;
	struct quic_key *key;

	quic_test_key_id(test, &id, TLS_CIPHER_CHACHA20_POLY1305);
	key = quic_test_install(test, &id, 0);
	KUNIT_EXPECT_EQ(test, quic_test_key_take(key, 5, 3), 0);
	KUNIT_EXPECT_EQ(test, quic_test_key_take(key, 1, 1), 0);
	quic_key_uninstall(key, 0);
	quic_test_install_refused(test, &id, quic_test_iv2, -EINVAL);

	key = quic_test_install(test, &id, 0);
	KUNIT_EXPECT_EQ(test, key->tx.sealed, 4);
	KUNIT_EXPECT_EQ(test, quic_test_key_take(key, 7, 1), -EALREADY);
	KUNIT_EXPECT_EQ(test, quic_test_key_take(key, 0, 1), -EALREADY);
	KUNIT_EXPECT_EQ(test, quic_test_key_take(key, 7, 2), -EALREADY);
	KUNIT_EXPECT_EQ(test, quic_test_key_take(key, 9, 1), 0);
	KUNIT_EXPECT_EQ(test, quic_test_key_take(key, 8, 1), 0);
	KUNIT_EXPECT_EQ(test, key->tx.sealed, 6);
	quic_key_uninstall(key, 0);

	other = id;
	other.secret = "A key of 32 bytes which is other";
	key = quic_test_install(test, &other, 0);
	KUNIT_EXPECT_EQ(test, key->tx.sealed, 0);
	KUNIT_EXPECT_EQ(test, quic_test_key_take(key, 0, 1), 0);
	quic_key_uninstall(key, 0);
}

/* Nobody takes numbers of a key that has been retired */
static void quic_test_key_retired_held(struct kunit *test)
{
	struct quic_key_id id;
	struct quic_key *key;

	quic_test_key_id(test, &id, TLS_CIPHER_CHACHA20_POLY1305);
	key = quic_test_install(test, &id, 0);
	quic_key_hold(key);
	KUNIT_EXPECT_EQ(test, quic_test_key_take(key, 1, 1), 0);
	quic_key_uninstall(key, 0);
	KUNIT_EXPECT_EQ(test, quic_test_key_take(key, 2, 1), -ENOKEY);
	quic_test_key_give(key, 1);
	quic_key_put(key);
}

/* Numbers are unique on a path, the limit counts all paths */
static void quic_test_key_paths(struct kunit *test)
{
	struct quic_pkt pkt = { .pn = 7 };
	struct quic_key_id id;
	struct quic_key *key;
	u32 path;

	quic_test_key_id(test, &id, TLS_CIPHER_CHACHA20_POLY1305);
	for (path = 0; path < 4; path++) {
		key = quic_test_install(test, &id, path);
		KUNIT_EXPECT_EQ(test, quic_key_reserve(key, path, &pkt, 1), 0);
		KUNIT_EXPECT_EQ(test, quic_key_reserve(key, path, &pkt, 1),
				-EALREADY);
		KUNIT_EXPECT_EQ(test, key->tx.sealed, path + 1);
	}
	KUNIT_EXPECT_EQ(test, quic_key_reserve(key, 4, &pkt, 1), -ENOKEY);

	/* Paths that come back, the key being there all the time */
	for (path = 0; path < 3; path++)
		quic_key_uninstall(key, path);
	KUNIT_EXPECT_EQ(test, quic_key_reserve(key, 1, &pkt, 1), -ENOKEY);
	for (path = 0; path < 3; path++) {
		quic_test_install(test, &id, path);
		KUNIT_EXPECT_EQ(test, quic_key_reserve(key, path, &pkt, 1),
				-EALREADY);
	}
	KUNIT_EXPECT_EQ(test, key->tx.sealed, 4);
	for (path = 0; path < 4; path++)
		quic_key_uninstall(key, path);

	/* The key comes back with another path first */
	key = quic_test_install(test, &id, 3);
	KUNIT_EXPECT_EQ(test, key->tx.sealed, 4);
	KUNIT_EXPECT_EQ(test, quic_key_reserve(key, 3, &pkt, 1), -EALREADY);
	pkt.pn = 8;
	KUNIT_EXPECT_EQ(test, quic_key_reserve(key, 3, &pkt, 1), 0);
	quic_key_uninstall(key, 3);
}

static void quic_test_key_many_paths(struct kunit *test)
{
	struct quic_key *key, *last = NULL;
	struct quic_key_id id;
	u32 path, n;

	quic_test_key_id(test, &id, TLS_CIPHER_CHACHA20_POLY1305);
	for (n = 0; n < 1000; n++) {
		key = quic_key_install(&id, quic_test_iv, ~n);
		if (IS_ERR(key))
			break;
		last = key;
	}
	KUNIT_EXPECT_EQ(test, PTR_ERR_OR_ZERO(key), -ENOSPC);
	KUNIT_ASSERT_GT(test, n, 8);
	for (path = 0; path < n; path++)
		quic_key_uninstall(last, ~path);
}

KUNIT_DEFINE_ACTION_WRAPPER(quic_test_retired_free, quic_retired_free,
			    struct quic_retired *);

static struct quic_retired *quic_test_retired(struct kunit *test)
{
	struct quic_retired *table = quic_retired_alloc();

	KUNIT_ASSERT_NOT_NULL(test, table);
	quic_test_defer(test, quic_test_retired_free, table);
	return table;
}

/* Hashes that look random, different for different @n */
static u64 quic_test_hash(u64 n)
{
	return ((n + 1) * 0x9e3779b97f4a7c15ULL) ^ (n >> 3);
}

static void quic_test_retire(struct quic_retired *table, u32 uid, u64 n,
			     u32 now)
{
	struct quic_retired_rec rec = {
		.hash	= quic_test_hash(n),
		.top	= n + 1,
		.uid	= uid,
	};

	quic_retired_add(table, &rec, now);
}

static void quic_test_retired_join(struct kunit *test)
{
	struct quic_retired *table = quic_test_retired(test);
	struct quic_retired_rec rec = { .hash = 9, .top = 5 };
	const struct quic_retired_rec *found;

	KUNIT_EXPECT_NULL(test, quic_retired_find(table, 9, 0));
	quic_retired_add(table, &rec, 0);
	rec.top = 3;
	rec.sealed = 7;
	quic_retired_add(table, &rec, 300);
	found = quic_retired_find(table, 9, 300);
	KUNIT_ASSERT_NOT_NULL(test, found);
	KUNIT_EXPECT_EQ(test, found->top, 5);
	KUNIT_EXPECT_EQ(test, found->sealed, 7);
	KUNIT_EXPECT_NULL(test, quic_retired_find(table, 10, 300));
	/* The time counts from the last time */
	KUNIT_EXPECT_NOT_NULL(test, quic_retired_find(table, 9, 899));
	KUNIT_EXPECT_NULL(test, quic_retired_find(table, 9, 900));
}

/* The table has room for so many, and forgets the oldest first */
static void quic_test_retired_bounded(struct kunit *test)
{
	struct quic_retired *table = quic_test_retired(test);
	unsigned int i, found = 0;

	for (i = 0; i < 100000; i++)
		quic_test_retire(table, 1, i, i / 1000);
	for (i = 0; i < 100000; i++)
		found += !!quic_retired_find(table, quic_test_hash(i), 100);
	KUNIT_EXPECT_EQ(test, found, 2048);
	for (i = 99000, found = 0; i < 100000; i++)
		found += !!quic_retired_find(table, quic_test_hash(i), 100);
	KUNIT_EXPECT_GT(test, found, 900);
}

/* A user who retires keys all the time does not make the kernel forget those
 * of others
 */
static void quic_test_retired_users(struct kunit *test)
{
	struct quic_retired *table = quic_test_retired(test);
	unsigned int i, found = 0;

	for (i = 0; i < 10000; i++)
		quic_test_retire(table, 1, i, 0);
	for (i = 0; i < 100000; i++)
		quic_test_retire(table, 2, 1000000 + i, 1);
	for (i = 0; i < 10000; i++)
		found += !!quic_retired_find(table, quic_test_hash(i), 1);
	KUNIT_EXPECT_EQ(test, found, 2048 / 8 * 7);
	/* Unless they have expired */
	for (i = 0; i < 100000; i++)
		quic_test_retire(table, 2, 1000000 + i, 600);
	for (i = 0, found = 0; i < 100000; i++)
		found += !!quic_retired_find(table,
					     quic_test_hash(1000000 + i), 600);
	KUNIT_EXPECT_EQ(test, found, 2048);
}

/* Two ciphers must not use the same bytes as their key at the same time */
static void quic_test_key_cipher(struct kunit *test)
{
	struct quic_key_id id;
	struct quic_key *key;

	quic_test_key_id(test, &id, TLS_CIPHER_AES_GCM_128);
	key = quic_test_install(test, &id, 0);
	id.cipher = quic_cipher_find(TLS_CIPHER_AES_CCM_128);
	quic_test_install_refused(test, &id, quic_test_iv, -EINVAL);
	KUNIT_EXPECT_EQ(test, quic_test_key_take(key, 0, 1), 0);
	quic_key_uninstall(key, 0);
	/* Nor one after the other */
	quic_test_install_refused(test, &id, quic_test_iv, -EINVAL);
}

static void quic_test_cipher_find(struct kunit *test)
{
	static const u16 unknown[] = { 0, 50, 55, 56, 57, 58, 59, 0xffff };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(unknown); i++)
		KUNIT_EXPECT_NULL(test, quic_cipher_find(unknown[i]));
}

static int quic_test_aead_setkey(struct crypto_aead *tfm, const u8 *key,
				 unsigned int len)
{
	return 0;
}

static int quic_test_aead_crypt(struct aead_request *req)
{
	return -EIO;
}

/* What the driver of a crypto accelerator registers */
static struct aead_alg quic_test_off_cpu = {
	.base = {
		.cra_name		= "gcm(aes)",
		.cra_driver_name	= "quic-test-off-cpu",
		.cra_priority		= 30000,
		.cra_flags		= CRYPTO_ALG_ASYNC |
					  CRYPTO_ALG_KERN_DRIVER_ONLY,
		.cra_blocksize		= 1,
		.cra_module		= THIS_MODULE,
	},
	.setkey		= quic_test_aead_setkey,
	.encrypt	= quic_test_aead_crypt,
	.decrypt	= quic_test_aead_crypt,
	.ivsize		= QUIC_MAX_IV_SIZE,
	.maxauthsize	= QUIC_TAG_SIZE,
};

static void quic_test_aead_unregister(void *alg)
{
	crypto_unregister_aead(alg);
}

static bool quic_test_is_off_cpu(struct crypto_aead *tfm)
{
	return crypto_aead_alg(tfm)->base.cra_flags &
	       CRYPTO_ALG_KERN_DRIVER_ONLY;
}

/* The crypto API prefers hardware. Keys of flows must not. */
static void quic_test_aead_off_cpu(struct kunit *test)
{
	struct crypto_aead *tfm;

	if (IS_ENABLED(CONFIG_CRYPTO_SELFTESTS))
		kunit_skip(test, "CRYPTO_SELFTESTS refuse a cipher of no use");
	KUNIT_ASSERT_EQ(test, 0, crypto_register_aead(&quic_test_off_cpu));
	quic_test_defer(test, quic_test_aead_unregister, &quic_test_off_cpu);

	tfm = crypto_alloc_aead("gcm(aes)", 0, 0);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, tfm);
	KUNIT_EXPECT_TRUE(test, quic_test_is_off_cpu(tfm));
	crypto_free_aead(tfm);

	tfm = quic_aead_alloc(quic_cipher_find(TLS_CIPHER_AES_GCM_128),
			      quic_test_secret, 0);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, tfm);
	KUNIT_EXPECT_FALSE(test, quic_test_is_off_cpu(tfm));
	quic_aead_free(tfm);
}

struct quic_alg_error_case {
	const char *desc;
	int alg;
	int err;
};

/* EEXIST, ENOENT and ETIMEDOUT would mean something else to users */
static const struct quic_alg_error_case quic_alg_error_cases[] = {
	{ "no memory", -ENOMEM, -ENOMEM },
	{ "signal", -EINTR, -EINTR },
	{ "being set up", -EAGAIN, -EAGAIN },
	{ "was set up meanwhile", -EEXIST, -EAGAIN },
	{ "being tested", -ETIMEDOUT, -EAGAIN },
	{ "not there", -ENOENT, -EOPNOTSUPP },
	{ "failed its test", -ELIBBAD, -EOPNOTSUPP },
};

KUNIT_ARRAY_PARAM_DESC(quic_alg_error, quic_alg_error_cases, desc);

static void quic_test_alg_error(struct kunit *test)
{
	const struct quic_alg_error_case *c = test->param_value;

	KUNIT_EXPECT_EQ(test, c->err, quic_alg_error(c->alg));
}

static struct kunit_case quic_key_cases[] = {
	KUNIT_CASE_PARAM(quic_test_key_limit, quic_limit_gen_params),
	KUNIT_CASE(quic_test_limit_near),
	KUNIT_CASE(quic_test_key_sysctl),
	KUNIT_CASE(quic_test_key_shared),
	KUNIT_CASE(quic_test_key_users),
	KUNIT_CASE(quic_test_key_retired),
	KUNIT_CASE(quic_test_key_retired_held),
	KUNIT_CASE(quic_test_key_paths),
	KUNIT_CASE(quic_test_key_many_paths),
	KUNIT_CASE(quic_test_key_cipher),
	KUNIT_CASE(quic_test_retired_join),
	KUNIT_CASE(quic_test_retired_bounded),
	KUNIT_CASE(quic_test_retired_users),
	KUNIT_CASE(quic_test_cipher_find),
	KUNIT_CASE(quic_test_aead_off_cpu),
	KUNIT_CASE_PARAM(quic_test_alg_error, quic_alg_error_gen_params),
	{}
};

static struct kunit_suite quic_key_suite = {
	.name = "quic_crypto_key",
	.test_cases = quic_key_cases,
};

kunit_test_suite(quic_key_suite);
