// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of QUIC packet protection: which generation opens a packet
 */

#include <kunit/test.h>
#include <net/quic.h>

#include "../key_rx.h"

/**
 * struct quic_choose_case - a packet, and the generation that it needs
 * @desc: name of the test's parameter
 * @first: smallest packet number opened with the current generation
 * @gen: current generation
 * @pn: number of the packet
 * @phase: its Key Phase bit
 * @want: generation that it needs
 */
struct quic_choose_case {
	const char *desc;
	u64 first;
	u8 gen;
	u64 pn;
	bool phase;
	u8 want;
};

static const struct quic_choose_case quic_choose_cases[] = {
	{ "first generation", 0, 0, 0, false, 0 },
	{ "first update", 0, 0, 0, true, 1 },
	{ "update out of order", 0, 0, 5, true, 1 },
	{ "current", 100, 1, 100, true, 1 },
	{ "current, late", 100, 1, 99, true, 1 },
	{ "previous", 100, 1, 99, false, 0 },
	{ "previous, oldest", 100, 1, 0, false, 0 },
	{ "next", 100, 1, 101, false, 2 },
	{ "next with a number of the current", 100, 1, 100, false, 2 },
	{ "wrap, previous", 100, 0, 1, true, 255 },
	{ "wrap, next", 100, 255, 101, false, 0 },
	{ "largest number", QUIC_MAX_PKT_NUM, 3, QUIC_MAX_PKT_NUM, false, 4 },
};

KUNIT_ARRAY_PARAM_DESC(quic_choose, quic_choose_cases, desc);

static void quic_test_choose(struct kunit *test)
{
	const struct quic_choose_case *c = test->param_value;
	const struct quic_rx_state s = {
		.first	= c->first,
		.gen	= c->gen,
	};
	enum quic_rx_age age = quic_rx_choose(&s, c->pn, c->phase);

	KUNIT_EXPECT_EQ(test, c->want, quic_rx_gen(&s, age));
	/* A generation has its own Key Phase bit */
	KUNIT_EXPECT_EQ(test, c->phase, c->want & 1);
}

static void quic_test_expect_state(struct kunit *test,
				   const struct quic_rx_state *s, u8 gen,
				   u64 first, u64 next)
{
	KUNIT_EXPECT_EQ(test, s->gen, gen);
	KUNIT_EXPECT_EQ(test, s->first, first);
	KUNIT_EXPECT_EQ(test, s->next, next);
}

static void quic_test_opened(struct kunit *test)
{
	struct quic_rx_state s = { .gen = 255, .next = 10 };

	quic_rx_opened(&s, QUIC_RX_CURRENT, 3);
	quic_test_expect_state(test, &s, 255, 0, 10);
	quic_rx_opened(&s, QUIC_RX_CURRENT, 10);
	quic_test_expect_state(test, &s, 255, 0, 11);
	quic_rx_opened(&s, QUIC_RX_NEXT, 20);
	quic_test_expect_state(test, &s, 0, 20, 21);
	quic_rx_opened(&s, QUIC_RX_CURRENT, 18);
	quic_test_expect_state(test, &s, 0, 18, 21);
	quic_rx_opened(&s, QUIC_RX_PREVIOUS, 4);
	quic_test_expect_state(test, &s, 0, 18, 21);
	quic_rx_opened(&s, QUIC_RX_CURRENT, 19);
	quic_test_expect_state(test, &s, 0, 18, 21);
	quic_rx_opened(&s, QUIC_RX_CURRENT, QUIC_MAX_PKT_NUM);
	quic_test_expect_state(test, &s, 0, 18, QUIC_MAX_PKT_NUM + 1);
}

/* Calls that run at the same time end in any order */
static void quic_test_merge(struct kunit *test)
{
	const struct quic_rx_state old = { .gen = 7, .first = 3, .next = 90 };
	const struct quic_rx_state new = { .gen = 8, .first = 80, .next = 85 };
	const struct quic_rx_state late = { .gen = 8, .first = 78, .next = 80 };
	struct quic_rx_state s = { .gen = 7, .first = 5, .next = 50 };

	KUNIT_EXPECT_FALSE(test, quic_rx_merge(&s, &s));
	quic_test_expect_state(test, &s, 7, 5, 50);
	KUNIT_EXPECT_TRUE(test, quic_rx_merge(&s, &new));
	quic_test_expect_state(test, &s, 8, 80, 85);
	KUNIT_EXPECT_FALSE(test, quic_rx_merge(&s, &old));
	quic_test_expect_state(test, &s, 8, 80, 90);
	KUNIT_EXPECT_FALSE(test, quic_rx_merge(&s, &late));
	quic_test_expect_state(test, &s, 8, 78, 90);
}

/* Three successive generations never share a slot, also where numbers wrap */
static void quic_test_slots(struct kunit *test)
{
	unsigned int gen;

	for (gen = 0; gen < 256; gen++) {
		const struct quic_rx_state s = { .gen = gen };
		u8 prev = quic_rx_gen(&s, QUIC_RX_PREVIOUS);
		u8 next = quic_rx_gen(&s, QUIC_RX_NEXT);

		KUNIT_EXPECT_NE(test, quic_rx_slot(gen), quic_rx_slot(prev));
		KUNIT_EXPECT_NE(test, quic_rx_slot(gen), quic_rx_slot(next));
		KUNIT_EXPECT_NE(test, quic_rx_slot(prev), quic_rx_slot(next));
	}
}

/* What a device has opened may wait for a long time, without the key */
static void quic_test_rx_wiped(struct kunit *test)
{
	static const u16 types[] = {
		TLS_CIPHER_AES_GCM_128, TLS_CIPHER_CHACHA20_POLY1305,
	};
	struct quic_connection_info info = {};
	struct quic_rx_key *key;
	unsigned int i;

	memset(info.payload_key, 1, sizeof(info.payload_key));
	memset(info.payload_iv, 2, sizeof(info.payload_iv));
	for (i = 0; i < ARRAY_SIZE(types); i++) {
		key = quic_rx_key_alloc(quic_cipher_find(types[i]), &info);
		KUNIT_ASSERT_FALSE(test, IS_ERR(key));
		quic_rx_key_id_hold(key);
		KUNIT_EXPECT_EQ(test, 1, key->secret[0]);
		quic_rx_key_put(key);
		KUNIT_EXPECT_NULL(test, key->tfm);
		KUNIT_EXPECT_NULL(test, memchr_inv(key->secret, 0,
						   sizeof(key->secret)));
		KUNIT_EXPECT_NULL(test, memchr_inv(key->iv, 0,
						   sizeof(key->iv)));
		quic_rx_key_id_put(key);
	}
}

static struct kunit_case quic_key_rx_cases[] = {
	KUNIT_CASE_PARAM(quic_test_choose, quic_choose_gen_params),
	KUNIT_CASE(quic_test_opened),
	KUNIT_CASE(quic_test_merge),
	KUNIT_CASE(quic_test_slots),
	KUNIT_CASE(quic_test_rx_wiped),
	{}
};

static struct kunit_suite quic_key_rx_suite = {
	.name = "quic_crypto_key_rx",
	.test_cases = quic_key_rx_cases,
};

kunit_test_suite(quic_key_rx_suite);
