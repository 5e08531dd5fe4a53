// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of QUIC packet protection: keys, their limits and numbers
 */

#include <kunit/test.h>
#include <net/net_namespace.h>
#include <net/quic.h>

#include "../key.h"
#include "../net.h"
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
	return quic_key_reserve(key, pkts, n);
}

static void quic_test_key_give(struct quic_key *key, u64 pn)
{
	struct quic_pkt pkt = { .pn = pn };

	quic_key_release(key, &pkt, 1);
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

static void quic_test_key_sysctl(struct kunit *test)
{
	struct quic_crypto_net *qn = quic_crypto_net(&init_net);
	const struct quic_cipher *cipher;
	struct quic_key *key;

	cipher = quic_cipher_find(TLS_CIPHER_AES_GCM_128);
	KUNIT_ASSERT_NOT_NULL(test, cipher);
	quic_test_defer(test, quic_test_seal_limit_reset,
			(void *)READ_ONCE(qn->seal_limit));

	WRITE_ONCE(qn->seal_limit, 2);
	key = quic_key_install(&init_net, cipher, quic_test_secret,
			       quic_test_iv);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, key);
	KUNIT_EXPECT_EQ(test, key->tx.limit, 2);
	KUNIT_EXPECT_EQ(test, quic_test_key_take(key, 5, 2), 0);
	KUNIT_EXPECT_EQ(test, quic_test_key_take(key, 7, 1), -EKEYEXPIRED);
	quic_key_uninstall(key);

	WRITE_ONCE(qn->seal_limit, ULONG_MAX);
	key = quic_key_install(&init_net, cipher, quic_test_secret,
			       quic_test_iv);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, key);
	KUNIT_EXPECT_EQ(test, key->tx.limit, cipher->seal_limit);
	quic_key_uninstall(key);

	WRITE_ONCE(qn->seal_limit, 0);
	key = quic_key_install(&init_net, cipher, quic_test_secret,
			       quic_test_iv);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, key);
	KUNIT_EXPECT_EQ(test, key->tx.limit, cipher->seal_limit);
	quic_key_uninstall(key);
}

/* A key that is installed twice is one key */
static void quic_test_key_shared(struct kunit *test)
{
	const struct quic_cipher *cipher;
	struct quic_key *a, *b;

	cipher = quic_cipher_find(TLS_CIPHER_CHACHA20_POLY1305);
	KUNIT_ASSERT_NOT_NULL(test, cipher);
	a = quic_key_install(&init_net, cipher, quic_test_secret, quic_test_iv);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, a);
	b = quic_key_install(&init_net, cipher, quic_test_secret, quic_test_iv);
	KUNIT_EXPECT_PTR_EQ(test, a, b);

	/* With another IV, two packet numbers could share a nonce */
	KUNIT_EXPECT_EQ(test, -EINVAL,
			PTR_ERR_OR_ZERO(quic_key_install(&init_net, cipher,
							 quic_test_secret,
							 quic_test_iv2)));

	KUNIT_EXPECT_EQ(test, quic_test_key_take(a, 0, 4), 0);
	quic_key_uninstall(a);
	KUNIT_EXPECT_EQ(test, quic_test_key_take(b, 3, 1), -EALREADY);
	KUNIT_EXPECT_EQ(test, quic_test_key_take(b, 4, 1), 0);
	quic_key_uninstall(b);

	/* The last user is gone, and with it the record */
	a = quic_key_install(&init_net, cipher, quic_test_secret,
			     quic_test_iv2);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, a);
	KUNIT_EXPECT_EQ(test, quic_test_key_take(a, 3, 1), 0);
	quic_key_uninstall(a);
}

/* Two ciphers must not use the same bytes as their key at the same time */
static void quic_test_key_cipher(struct kunit *test)
{
	const struct quic_cipher *ccm;
	struct quic_key *other;

	ccm = quic_cipher_find(TLS_CIPHER_AES_CCM_128);
	quic_test_key(test, TLS_CIPHER_AES_GCM_128, quic_test_secret,
		      quic_test_iv);
	other = quic_key_install(&init_net, ccm, quic_test_secret,
				 quic_test_iv);
	KUNIT_EXPECT_TRUE(test, IS_ERR(other));
	if (IS_ERR(other))
		KUNIT_EXPECT_EQ(test, PTR_ERR(other), -EINVAL);
	else
		quic_key_uninstall(other);
}

static void quic_test_cipher_find(struct kunit *test)
{
	static const u16 unknown[] = { 0, 50, 55, 56, 57, 58, 59, 0xffff };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(unknown); i++)
		KUNIT_EXPECT_NULL(test, quic_cipher_find(unknown[i]));
}

static struct kunit_case quic_key_cases[] = {
	KUNIT_CASE_PARAM(quic_test_key_limit, quic_limit_gen_params),
	KUNIT_CASE(quic_test_key_sysctl),
	KUNIT_CASE(quic_test_key_shared),
	KUNIT_CASE(quic_test_key_cipher),
	KUNIT_CASE(quic_test_cipher_find),
	{}
};

static struct kunit_suite quic_key_suite = {
	.name = "quic_crypto_key",
	.test_cases = quic_key_cases,
};

kunit_test_suite(quic_key_suite);
