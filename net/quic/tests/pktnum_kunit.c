// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of QUIC packet protection: packet numbers that a key has sealed
 */

#include <kunit/test.h>
#include <linux/bitmap.h>
#include <linux/prandom.h>
#include <linux/udp.h>
#include <net/quic.h>

#include "../pktnum.h"

static int quic_window_init(struct kunit *test)
{
	test->priv = kunit_kzalloc(test, sizeof(struct quic_pn_window),
				   GFP_KERNEL);
	return test->priv ? 0 : -ENOMEM;
}

static int quic_test_take(struct kunit *test, u64 pn)
{
	struct quic_pkt pkt = { .pn = pn, .pn_len = 4 };

	return quic_pn_reserve(test->priv, &pkt, 1);
}

static int quic_test_take2(struct kunit *test, u64 a, u64 b)
{
	struct quic_pkt pkts[] = { { .pn = a }, { .pn = b } };

	return quic_pn_reserve(test->priv, pkts, ARRAY_SIZE(pkts));
}

static void quic_test_give(struct kunit *test, u64 pn)
{
	struct quic_pkt pkt = { .pn = pn, .pn_len = 4 };

	quic_pn_release(test->priv, &pkt, 1);
}

static void quic_test_window_once(struct kunit *test)
{
	static const u64 pns[] = { 0, 1, 5, 3, 4, 2, 4095, 4096, 4094 };
	unsigned int i, j;

	for (i = 0; i < ARRAY_SIZE(pns); i++) {
		KUNIT_EXPECT_EQ(test, quic_test_take(test, pns[i]), 0);
		/* Once 4096 is in the window, 0 is too old for it */
		for (j = 0; j <= i; j++)
			KUNIT_EXPECT_EQ(test, quic_test_take(test, pns[j]),
					-EALREADY);
	}
	KUNIT_EXPECT_EQ(test, quic_test_take(test, 6), 0);
}

static void quic_test_window_edge(struct kunit *test)
{
	const u64 top = 100000;

	KUNIT_EXPECT_EQ(test, quic_test_take(test, top - 1), 0);
	KUNIT_EXPECT_EQ(test, quic_test_take(test, top - QUIC_PN_WINDOW - 1),
			-EALREADY);
	KUNIT_EXPECT_EQ(test, quic_test_take(test, 0), -EALREADY);
	KUNIT_EXPECT_EQ(test, quic_test_take(test, top - QUIC_PN_WINDOW), 0);
	KUNIT_EXPECT_EQ(test, quic_test_take(test, top - QUIC_PN_WINDOW),
			-EALREADY);
	/* The top moves by one: the newest number gets the bit of the oldest */
	KUNIT_EXPECT_EQ(test, quic_test_take(test, top), 0);
	KUNIT_EXPECT_EQ(test, quic_test_take(test, top), -EALREADY);
	KUNIT_EXPECT_EQ(test, quic_test_take(test, top - QUIC_PN_WINDOW),
			-EALREADY);
	KUNIT_EXPECT_EQ(test, quic_test_take(test, top - QUIC_PN_WINDOW + 1),
			0);
}

static void quic_test_window_jump(struct kunit *test)
{
	static const u64 jumps[] = {
		1, 2, QUIC_PN_WINDOW - 1, QUIC_PN_WINDOW, QUIC_PN_WINDOW + 1,
		2 * QUIC_PN_WINDOW, 1ULL << 32, 1ULL << 61,
	};
	unsigned int i;
	u64 pn = 0;

	for (i = 0; i < ARRAY_SIZE(jumps); i++) {
		KUNIT_EXPECT_EQ(test, quic_test_take(test, pn), 0);
		pn += jumps[i];
		KUNIT_EXPECT_EQ(test, quic_test_take(test, pn), 0);
		KUNIT_EXPECT_EQ(test, quic_test_take(test, pn), -EALREADY);
		if (jumps[i] > 1)
			KUNIT_EXPECT_EQ(test, quic_test_take(test, pn - 1), 0);
		KUNIT_EXPECT_EQ(test, quic_test_take(test, pn + 2), 0);
		KUNIT_EXPECT_EQ(test, quic_test_take(test, pn + 1), 0);
		pn += 3;
	}
	KUNIT_EXPECT_EQ(test, quic_test_take(test, QUIC_MAX_PKT_NUM), 0);
	KUNIT_EXPECT_EQ(test, quic_test_take(test, QUIC_MAX_PKT_NUM - 1), 0);
	KUNIT_EXPECT_EQ(test, quic_test_take(test, QUIC_MAX_PKT_NUM),
			-EALREADY);
}

/* A record of which only the top is known */
static void quic_test_window_restore(struct kunit *test)
{
	static const u64 tops[] = {
		1, 6, QUIC_PN_WINDOW, 100000, QUIC_MAX_PKT_NUM,
	};
	struct quic_pn_window *w = test->priv;
	unsigned int i;
	u64 top;

	for (i = 0; i < ARRAY_SIZE(tops); i++) {
		top = tops[i];
		memset(w, 0, sizeof(*w));
		quic_pn_restore(w, top);
		KUNIT_EXPECT_EQ(test, quic_test_take(test, top - 1), -EALREADY);
		KUNIT_EXPECT_EQ(test, quic_test_take(test, top / 2), -EALREADY);
		KUNIT_EXPECT_EQ(test, quic_test_take(test, 0), -EALREADY);
		KUNIT_EXPECT_EQ(test, quic_test_take2(test, top + 2, top), 0);
		KUNIT_EXPECT_EQ(test, quic_test_take(test, top), -EALREADY);
		KUNIT_EXPECT_EQ(test, quic_test_take(test, top + 1), 0);
		KUNIT_EXPECT_EQ(test, quic_test_take(test, top + 1), -EALREADY);
	}
}

static void quic_test_window_call(struct kunit *test)
{
	/* A number occurs twice in a call */
	KUNIT_EXPECT_EQ(test, quic_test_take2(test, 10, 10), -EALREADY);
	KUNIT_EXPECT_EQ(test, quic_test_take2(test, 10, 11), 0);
	/* If one of two numbers is not new, the other stays unused */
	KUNIT_EXPECT_EQ(test, quic_test_take2(test, 12, 11), -EALREADY);
	KUNIT_EXPECT_EQ(test, quic_test_take2(test, 11, 12), -EALREADY);
	KUNIT_EXPECT_EQ(test, quic_test_take2(test, 12, 9), 0);
	/* A call that spans more than the window fails, and does not move it */
	KUNIT_EXPECT_EQ(test, quic_test_take2(test, 14 + QUIC_PN_WINDOW, 14),
			-EALREADY);
	KUNIT_EXPECT_EQ(test, quic_test_take2(test, 14, 14 + QUIC_PN_WINDOW),
			-EALREADY);
	KUNIT_EXPECT_EQ(test, quic_test_take2(test, 1ULL << 40, 11), -EALREADY);
	KUNIT_EXPECT_EQ(test, quic_test_take(test, 0), 0);
	/* A call that spans exactly the window */
	KUNIT_EXPECT_EQ(test, quic_test_take2(test, 14 + QUIC_PN_WINDOW, 15),
			0);
	KUNIT_EXPECT_EQ(test, quic_test_take(test, 14), -EALREADY);
	KUNIT_EXPECT_EQ(test, quic_test_take(test, 15), -EALREADY);
	KUNIT_EXPECT_EQ(test, quic_test_take(test, 16), 0);
}

static void quic_test_window_order(struct kunit *test)
{
	struct quic_pn_window *w = test->priv;
	struct quic_pkt *pkts;
	unsigned int i;

	pkts = kunit_kcalloc(test, UDP_MAX_SEGMENTS, sizeof(*pkts), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, pkts);

	/* Descending, across the end of the bitmap */
	for (i = 0; i < UDP_MAX_SEGMENTS; i++)
		pkts[i].pn = QUIC_PN_WINDOW + 50 - i;
	KUNIT_EXPECT_EQ(test, quic_pn_reserve(w, pkts, UDP_MAX_SEGMENTS), 0);
	for (i = 0; i < UDP_MAX_SEGMENTS; i++)
		KUNIT_EXPECT_EQ(test, quic_test_take(test, pkts[i].pn),
				-EALREADY);
	KUNIT_EXPECT_EQ(test,
			quic_test_take(test, pkts[UDP_MAX_SEGMENTS - 1].pn - 1),
			0);

	/* The last number of a call equals its first */
	for (i = 0; i < UDP_MAX_SEGMENTS; i++)
		pkts[i].pn = 20000 + 3 * (i ^ 5);
	pkts[UDP_MAX_SEGMENTS - 1].pn = pkts[0].pn;
	KUNIT_EXPECT_EQ(test, quic_pn_reserve(w, pkts, UDP_MAX_SEGMENTS),
			-EALREADY);
	pkts[UDP_MAX_SEGMENTS - 1].pn = 20001;
	KUNIT_EXPECT_EQ(test, quic_pn_reserve(w, pkts, UDP_MAX_SEGMENTS), 0);
}

/* The number just below a run is new unless the previous run contains it */
static void quic_test_expect_before(struct kunit *test, const u64 *first,
				    unsigned int c)
{
	u64 pn = first[c] - 1;
	bool taken = first[c - 1] + UDP_MAX_SEGMENTS > pn;

	KUNIT_EXPECT_EQ(test, quic_test_take(test, pn), taken ? -EALREADY : 0);
	if (!taken)
		quic_test_give(test, pn);
}

/* Consecutive numbers, as many as a call may have, anywhere in the map */
static void quic_test_window_run(struct kunit *test)
{
	static const u64 first[] = {
		0, UDP_MAX_SEGMENTS, QUIC_PN_WINDOW - 1,
		2 * QUIC_PN_WINDOW - 63, 5 * QUIC_PN_WINDOW + 64,
		QUIC_MAX_PKT_NUM - UDP_MAX_SEGMENTS + 1,
	};
	struct quic_pn_window *w = test->priv;
	struct quic_pkt *pkts;
	unsigned int c, i;

	pkts = kunit_kcalloc(test, UDP_MAX_SEGMENTS, sizeof(*pkts), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, pkts);
	for (c = 0; c < ARRAY_SIZE(first); c++) {
		for (i = 0; i < UDP_MAX_SEGMENTS; i++)
			pkts[i].pn = first[c] + i;
		KUNIT_EXPECT_EQ(test, 0,
				quic_pn_reserve(w, pkts, UDP_MAX_SEGMENTS));
		for (i = 0; i < UDP_MAX_SEGMENTS; i++)
			KUNIT_EXPECT_EQ(test, quic_test_take(test,
							     first[c] + i),
					-EALREADY);
		KUNIT_EXPECT_EQ(test, quic_pn_reserve(w, pkts,
						      UDP_MAX_SEGMENTS),
				-EALREADY);
		if (first[c])
			quic_test_expect_before(test, first, c);
	}
}

static void quic_test_window_release(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, quic_test_take(test, 7), 0);
	quic_test_give(test, 7);
	KUNIT_EXPECT_EQ(test, quic_test_take(test, 7), 0);
	KUNIT_EXPECT_EQ(test, quic_test_take(test, 7), -EALREADY);

	/* The top moves before the release; 7 is still in the window */
	KUNIT_EXPECT_EQ(test, quic_test_take(test, 8), 0);
	KUNIT_EXPECT_EQ(test, quic_test_take(test, 7 + QUIC_PN_WINDOW - 1), 0);
	quic_test_give(test, 7);
	KUNIT_EXPECT_EQ(test, quic_test_take(test, 8), -EALREADY);
	KUNIT_EXPECT_EQ(test, quic_test_take(test, 7), 0);

	/* 7 has left the window: another number has its bit */
	KUNIT_EXPECT_EQ(test, quic_test_take(test, 7 + QUIC_PN_WINDOW), 0);
	quic_test_give(test, 7);
	KUNIT_EXPECT_EQ(test, quic_test_take(test, 7), -EALREADY);
	KUNIT_EXPECT_EQ(test, quic_test_take(test, 7 + QUIC_PN_WINDOW),
			-EALREADY);
}

/* Reference model of the window: a bit for every packet number */
#define QUIC_TEST_NUMBERS	0x20000

#define QUIC_TEST_CALLS		4
#define QUIC_TEST_CALL_MAX	8

struct quic_test_model {
	struct quic_pkt calls[QUIC_TEST_CALLS][QUIC_TEST_CALL_MAX];
	u64 top;
	DECLARE_BITMAP(taken, QUIC_TEST_NUMBERS);
};

static bool quic_test_model_take(struct quic_test_model *m,
				 const struct quic_pkt *pkts, unsigned int n)
{
	u64 top = m->top;
	unsigned int i, j;

	for (i = 0; i < n; i++)
		top = max(top, pkts[i].pn + 1);
	for (i = 0; i < n; i++) {
		if (test_bit(pkts[i].pn, m->taken) ||
		    pkts[i].pn + QUIC_PN_WINDOW < top)
			return false;
		for (j = 0; j < i; j++) {
			if (pkts[i].pn == pkts[j].pn)
				return false;
		}
	}
	for (i = 0; i < n; i++)
		set_bit(pkts[i].pn, m->taken);
	m->top = top;
	return true;
}

static void quic_test_model_give(struct quic_test_model *m,
				 const struct quic_pkt *pkts, unsigned int n)
{
	while (n--)
		clear_bit(pkts[n].pn, m->taken);
}

static unsigned int quic_test_random_call(struct rnd_state *rnd, u64 top,
					  struct quic_pkt *pkts)
{
	unsigned int n = 1 + prandom_u32_state(rnd) % QUIC_TEST_CALL_MAX, i;
	u64 back = prandom_u32_state(rnd) % 5000;
	u64 pn = top;

	if (!(prandom_u32_state(rnd) % 3))
		pn = top > back ? top - back : 0;
	else if (!(prandom_u32_state(rnd) % 200))
		pn += prandom_u32_state(rnd) % (2 * QUIC_PN_WINDOW);

	for (i = 0; i < n; i++) {
		pkts[i].pn = pn;
		pn += prandom_u32_state(rnd) % 16 ? 1 : 3;
		if (!(prandom_u32_state(rnd) % 24))
			pn -= min_t(u64, pn, prandom_u32_state(rnd) % 8);
	}
	return n;
}

static void quic_test_window_model(struct kunit *test)
{
	unsigned int n[QUIC_TEST_CALLS] = {}, taken = 0, refused = 0, bad = 0;
	struct quic_pn_window *w = test->priv;
	struct quic_test_model *m;
	struct rnd_state rnd;
	struct quic_pkt *pkts;
	unsigned int i, c;
	bool ok;

	m = kunit_kzalloc(test, sizeof(*m), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, m);
	prandom_seed_state(&rnd, 9001);

	for (i = 0; m->top < QUIC_TEST_NUMBERS - 3 * QUIC_PN_WINDOW; i++) {
		c = i % QUIC_TEST_CALLS;
		pkts = m->calls[c];
		/* Some calls fail after later calls have succeeded */
		if (n[c] && !(prandom_u32_state(&rnd) % 4)) {
			quic_pn_release(w, pkts, n[c]);
			quic_test_model_give(m, pkts, n[c]);
		}
		n[c] = quic_test_random_call(&rnd, m->top, pkts);
		ok = quic_test_model_take(m, pkts, n[c]);
		bad += quic_pn_reserve(w, pkts, n[c]) != (ok ? 0 : -EALREADY);
		taken += ok;
		refused += !ok;
		if (!ok)
			n[c] = 0;
	}
	KUNIT_EXPECT_EQ(test, bad, 0);
	KUNIT_EXPECT_EQ(test, w->top, m->top);
	KUNIT_EXPECT_GT(test, taken, 500);
	KUNIT_EXPECT_GT(test, refused, 500);

	/* In the end, every number of the window is as the model says */
	for (i = m->top - QUIC_PN_WINDOW; i < m->top; i++) {
		ok = !test_bit(i, m->taken);
		bad += quic_test_take(test, i) != (ok ? 0 : -EALREADY);
	}
	KUNIT_EXPECT_EQ(test, bad, 0);
}

static struct kunit_case quic_window_cases[] = {
	KUNIT_CASE(quic_test_window_once),
	KUNIT_CASE(quic_test_window_edge),
	KUNIT_CASE(quic_test_window_jump),
	KUNIT_CASE(quic_test_window_restore),
	KUNIT_CASE(quic_test_window_call),
	KUNIT_CASE(quic_test_window_order),
	KUNIT_CASE(quic_test_window_run),
	KUNIT_CASE(quic_test_window_release),
	KUNIT_CASE(quic_test_window_model),
	{}
};

static struct kunit_suite quic_window_suite = {
	.name = "quic_crypto_window",
	.init = quic_window_init,
	.test_cases = quic_window_cases,
};

kunit_test_suite(quic_window_suite);
