// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of QUIC packet protection: header protection and sealing
 */

#include <kunit/test.h>
#include <linux/bits.h>
#include <linux/prandom.h>
#include <linux/skbuff.h>
#include <linux/string.h>
#include <linux/udp.h>
#include <linux/unaligned.h>
#include <net/quic.h>

#include "../batch.h"
#include "../cipher.h"
#include "../key.h"
#include "common.h"
#include "vectors.h"

KUNIT_ARRAY_PARAM_DESC(quic_mask, quic_mask_vecs, desc);

/* Compute @n masks of samples in @buf, and write them to @buf */
static void quic_test_masks(struct kunit *test, const struct quic_hp *hp,
			    u8 *buf, unsigned int n)
{
	const struct quic_prot prot = {
		.cipher	= hp->cipher,
		.hp	= hp,
		.gfp	= GFP_KERNEL,
	};
	struct quic_batch b = { .layout.npkts = n };
	struct quic_op *op = quic_op_alloc(&prot, 1, &b);
	int err;

	KUNIT_ASSERT_NOT_NULL(test, op);
	memcpy(op->samples, buf, n * QUIC_HP_SAMPLE_SIZE);
	err = prot.cipher->masks(op);
	memcpy(buf, op->samples, n * QUIC_HP_SAMPLE_SIZE);
	quic_op_free(op);
	KUNIT_ASSERT_EQ(test, 0, err);
}

static void quic_test_mask(struct kunit *test)
{
	const struct quic_mask_vec *v = test->param_value;
	struct quic_hp *hp;
	u8 *buf;

	hp = quic_test_hp(test, v->cipher, v->hp);
	buf = kunit_kmalloc(test, QUIC_HP_SAMPLE_SIZE, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, buf);
	memcpy(buf, v->sample, QUIC_HP_SAMPLE_SIZE);

	quic_test_masks(test, hp, buf, 1);
	KUNIT_EXPECT_MEMEQ(test, buf, v->mask, QUIC_HP_MASK_SIZE);
}

/* The masks of a batch equal the masks of its samples one by one */
static void quic_test_mask_batch(struct kunit *test)
{
	const struct quic_mask_vec *v = test->param_value;
	unsigned int i, n;
	struct quic_hp *hp;
	u8 *batch, *one;

	hp = quic_test_hp(test, v->cipher, v->hp);
	batch = kunit_kmalloc(test, UDP_MAX_SEGMENTS * QUIC_HP_SAMPLE_SIZE,
			      GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, batch);
	one = kunit_kmalloc(test, QUIC_HP_SAMPLE_SIZE, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, one);

	for (n = 1; n <= UDP_MAX_SEGMENTS; n = n < 4 ? n + 1 : 2 * n) {
		for (i = 0; i < n; i++) {
			memcpy(batch + i * QUIC_HP_SAMPLE_SIZE, v->sample,
			       QUIC_HP_SAMPLE_SIZE);
			put_unaligned_be32(i, batch + i * QUIC_HP_SAMPLE_SIZE +
					      i % 13);
		}
		quic_test_masks(test, hp, batch, n);

		for (i = 0; i < n; i++) {
			memcpy(one, v->sample, QUIC_HP_SAMPLE_SIZE);
			put_unaligned_be32(i, one + i % 13);
			quic_test_masks(test, hp, one, 1);
			KUNIT_ASSERT_MEMEQ_MSG(test, one,
					       batch + i * QUIC_HP_SAMPLE_SIZE,
					       QUIC_HP_MASK_SIZE, "%u of %u", i,
					       n);
		}
	}
}

static struct kunit_case quic_hp_cases[] = {
	KUNIT_CASE_PARAM(quic_test_mask, quic_mask_gen_params),
	KUNIT_CASE_PARAM(quic_test_mask_batch, quic_mask_gen_params),
	{}
};

static struct kunit_suite quic_hp_suite = {
	.name = "quic_crypto_hp",
	.test_cases = quic_hp_cases,
};

KUNIT_ARRAY_PARAM_DESC(quic_seal, quic_seal_vecs, desc);

/* Parse packets in @skb, and check that the result is what was written */
static struct quic_batch *quic_test_parsed(struct kunit *test,
					   const struct quic_test_plain *plain,
					   struct sk_buff *skb,
					   enum quic_test_place place)
{
	const u8 *cid = plain->data + QUIC_TEST_PREFIX + 1;
	unsigned int i, pieces = 0, lens = 0;
	const struct quic_pkt *want, *got;
	bool consecutive = true;
	struct quic_batch *b;

	b = quic_test_batch(test, skb, &plain->layout, plain->cid_len);
	KUNIT_ASSERT_EQ(test, 0,
			quic_test_batch_parse(b, cid, plain->pkts[0].pn));
	for (i = 0; i < b->layout.npkts; i++) {
		want = &plain->pkts[i];
		got = &b->pkts[i];
		KUNIT_ASSERT_EQ(test, got->pn, want->pn);
		KUNIT_ASSERT_EQ(test, got->pn_len, want->pn_len);
		pieces += !got->data;
		lens |= BIT(got->pn_len);
		if (i && want->pn != want[-1].pn + 1)
			consecutive = false;
	}
	KUNIT_ASSERT_EQ(test, b->phase, plain->phase);
	KUNIT_EXPECT_EQ(test, b->pn_lens, lens);
	KUNIT_EXPECT_EQ(test, b->consecutive, consecutive);
	/* Is it also known which packets are contiguous? */
	if (place == QUIC_TEST_LINEAR || place == QUIC_TEST_PAGES)
		KUNIT_ASSERT_EQ(test, pieces, 0);
	else if (b->layout.npkts == 1)
		KUNIT_ASSERT_EQ(test, pieces, 1);
	return b;
}

/* Seal packets in a new skb. Return its bytes, for kunit_kfree(). */
static u8 *quic_test_seal(struct kunit *test, const struct quic_key *key,
			  const struct quic_hp *hp,
			  const struct quic_test_plain *plain,
			  enum quic_test_place place)
{
	struct quic_prot prot = quic_key_prot(key, plain->path_id, hp);
	struct quic_batch *b;
	struct sk_buff *skb;
	u8 *out;

	out = kunit_kzalloc(test, plain->len, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, out);
	skb = quic_test_skb(test, place, plain->data, plain->len);
	b = quic_test_parsed(test, plain, skb, place);
	KUNIT_ASSERT_EQ(test, 0, quic_seal(&prot, b));
	KUNIT_ASSERT_EQ(test, skb->len, plain->len);
	KUNIT_ASSERT_EQ(test, 0, skb_copy_bits(skb, 0, out, plain->len));
	quic_test_batch_free(test, b);
	quic_test_skb_free(test, skb);
	return out;
}

/* Sealing must change nothing but the packets */
static void quic_test_expect_around(struct kunit *test,
				    const struct quic_test_plain *plain,
				    const u8 *out)
{
	const u8 *end = out + QUIC_TEST_PREFIX + plain->layout.wire_len;

	KUNIT_EXPECT_MEMEQ(test, out, plain->data, QUIC_TEST_PREFIX);
	KUNIT_EXPECT_MEMEQ(test, end, plain->data, QUIC_TEST_SUFFIX);
}

static void quic_test_seal_vec(struct kunit *test)
{
	const struct quic_seal_vec *v = test->param_value;
	struct quic_test_plain *plain;
	unsigned int place, room;
	struct quic_key *key;
	struct quic_hp *hp;
	u8 *out;

	key = quic_test_key(test, v->cipher, v->key, v->iv);
	hp = quic_test_hp(test, v->cipher, v->hp);
	for (room = 0; room < 2; room++) {
		plain = quic_test_plain(test, v, room);
		for (place = 0; place < QUIC_TEST_PLACES; place++) {
			out = quic_test_seal(test, key, hp, plain, place);
			KUNIT_ASSERT_MEMEQ_MSG(test, out + QUIC_TEST_PREFIX,
					       v->wire, plain->layout.wire_len,
					       "place %u, tag room %u", place,
					       room);
			quic_test_expect_around(test, plain, out);
			kunit_kfree(test, out);
		}
	}
}

/* The tags of @out must be zero; write the bytes of the suffix over them */
static void quic_test_expect_tags(struct kunit *test,
				  const struct quic_layout *l, u8 *out)
{
	u8 *tag = out + QUIC_TEST_PREFIX - QUIC_TAG_SIZE;
	unsigned int i;

	for (i = 0; i < l->npkts; i++) {
		tag += quic_layout_pkt_len(l, i);
		KUNIT_EXPECT_NULL(test, memchr_inv(tag, 0, QUIC_TAG_SIZE));
		memset(tag, 0x5a, QUIC_TAG_SIZE);
	}
}

/* quic_batch_clear_tags() must change nothing but the tags */
static void quic_test_clear_tags(struct kunit *test)
{
	const struct quic_seal_vec *v = test->param_value;
	struct quic_test_plain *plain;
	struct quic_batch *b;
	struct sk_buff *skb;
	unsigned int place;
	u8 *out;

	plain = quic_test_plain(test, v, true);
	out = kunit_kzalloc(test, plain->len, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, out);
	for (place = 0; place < QUIC_TEST_PLACES; place++) {
		skb = quic_test_skb(test, place, plain->data, plain->len);
		b = quic_test_parsed(test, plain, skb, place);
		KUNIT_ASSERT_EQ(test, 0, quic_batch_clear_tags(b));
		KUNIT_ASSERT_EQ(test, 0,
				skb_copy_bits(skb, 0, out, plain->len));
		quic_test_expect_tags(test, &plain->layout, out);
		KUNIT_EXPECT_MEMEQ(test, out, plain->data, plain->len);
		quic_test_batch_free(test, b);
		quic_test_skb_free(test, skb);
	}
}

/**
 * struct quic_second_case - header of the second of two packets
 * @desc: name of the test's parameter
 * @at: index of the byte that differs from the header of the first packet
 * @xor: bits of this byte that differ
 * @pn: packet number of the first packet
 * @ret: result of quic_batch_parse()
 */
struct quic_second_case {
	const char *desc;
	u8 at;
	u8 xor;
	u64 pn;
	int ret;
};

static const struct quic_second_case quic_second_cases[] = {
	{ "the next", 0, 0, 77, 0 },
	{ "reserved bits", 0, 0x18, 77, 0 },
	{ "no fixed bit", 0, 0x40, 77, 0 },
	{ "long header", 0, QUIC_HDR_LONG, 77, -EINVAL },
	{ "other phase", 0, QUIC_HDR_KEY_PHASE, 77, -EBADMSG },
	{ "start of the connection ID", 1, 0x01, 77, -EBADMSG },
	{ "end of the connection ID", 11, 0x80, 77, -EBADMSG },
	{ "the last number", 0, 0, QUIC_MAX_PKT_NUM - 1, 0 },
	{ "more than the last number", 0, 0, QUIC_MAX_PKT_NUM, -EINVAL },
};

KUNIT_ARRAY_PARAM_DESC(quic_second, quic_second_cases, desc);

/* quic_batch_parse() compares the second header with the first: it must not
 * miss a difference that matters
 */
static void quic_test_second(struct kunit *test)
{
	const struct quic_second_case *c = test->param_value;
	struct quic_seal_vec v = {
		.first = 0x40, .cid_len = 11, .pn = c->pn, .pn_len = 2,
		.gap = 1, .npkts = 2, .size = 40, .last = 40,
	};
	struct quic_test_plain *plain = quic_test_plain(test, &v, false);
	u8 *first = plain->data + QUIC_TEST_PREFIX;
	struct quic_batch *b;
	struct sk_buff *skb;
	unsigned int place;

	first[plain->layout.stride + c->at] ^= c->xor;
	for (place = 0; place < QUIC_TEST_PLACES; place++) {
		skb = quic_test_skb(test, place, plain->data, plain->len);
		b = quic_test_batch(test, skb, &plain->layout, plain->cid_len);
		KUNIT_EXPECT_EQ(test, c->ret,
				quic_test_batch_parse(b, first + 1, c->pn));
		if (!c->ret)
			KUNIT_EXPECT_EQ(test, b->pkts[1].pn, c->pn + 1);
		quic_test_batch_free(test, b);
		quic_test_skb_free(test, skb);
	}
}

#define QUIC_TEST_ROUNDS	500
#define QUIC_TEST_FEW		16	/* packets */

/* Packets as users send them. Every other time, some bits of headers differ. */
static struct quic_test_plain *quic_test_random_plain(struct kunit *test,
						      struct rnd_state *rnd)
{
	struct quic_seal_vec v = {
		.first = 0x40, .pn = prandom_u32_state(rnd) % 4 ?
				     prandom_u32_state(rnd) :
				     QUIC_MAX_PKT_NUM - 12,
		.cid_len = prandom_u32_state(rnd) % 21, .gap = 1,
		.pn_len = 1 + prandom_u32_state(rnd) % 4,
		.npkts = 1 + prandom_u32_state(rnd) % QUIC_TEST_FEW,
	};
	struct quic_test_plain *plain;
	unsigned int at;

	v.size = 1 + v.cid_len + QUIC_MAX_PKT_NUM_LEN +
		 prandom_u32_state(rnd) % 40;
	v.last = v.size - (prandom_u32_state(rnd) % 4 ? 0 :
			   prandom_u32_state(rnd) %
			   (v.size - v.cid_len - v.pn_len));
	plain = quic_test_plain(test, &v, false);
	while (!(prandom_u32_state(rnd) % 2)) {
		at = prandom_u32_state(rnd) % v.npkts * plain->layout.stride;
		at += prandom_u32_state(rnd) % (1 + v.cid_len + v.pn_len);
		plain->data[QUIC_TEST_PREFIX + at] ^=
			BIT(prandom_u32_state(rnd) % 8);
	}
	return plain;
}

/* Reference for quic_batch_parse(), without its fast path. Fills in what @want
 * says of headers; @want->pkts has room.
 */
static int quic_test_parse_each(const struct quic_test_plain *plain,
				const u8 *cid, struct quic_batch *want)
{
	const u8 *first = plain->data + QUIC_TEST_PREFIX, *hdr = first;
	u64 expected = plain->pkts[0].pn;
	unsigned int i, len;
	int err;

	want->phase = !!(first[0] & QUIC_HDR_KEY_PHASE);
	want->consecutive = true;
	want->pn_lens = 0;
	for (i = 0; i < plain->layout.npkts; i++) {
		len = quic_layout_pkt_len(&plain->layout, i) - QUIC_TAG_SIZE;
		err = quic_pkt_parse(&want->pkts[i], hdr, len, plain->cid_len,
				     expected);
		if (err)
			return err;
		if (memcmp(hdr + 1, cid, plain->cid_len) ||
		    (hdr[0] ^ first[0]) & QUIC_HDR_KEY_PHASE)
			return -EBADMSG;
		if (i && want->pkts[i].pn != expected)
			want->consecutive = false;
		want->pn_lens |= BIT(want->pkts[i].pn_len);
		expected = want->pkts[i].pn + 1;
		hdr += plain->layout.stride;
	}
	return 0;
}

static bool quic_test_headers_equal(const struct quic_batch *a,
				    const struct quic_batch *b,
				    unsigned int npkts)
{
	unsigned int i;

	for (i = 0; i < npkts; i++) {
		if (a->pkts[i].pn != b->pkts[i].pn ||
		    a->pkts[i].pn_len != b->pkts[i].pn_len)
			return false;
	}
	return a->phase == b->phase && a->pn_lens == b->pn_lens &&
	       a->consecutive == b->consecutive;
}

/* Is the result of quic_batch_parse() that of the reference? @ret gets the
 * return value of the reference.
 */
static bool quic_test_parse_same(struct kunit *test,
				 const struct quic_test_plain *plain,
				 const u8 *cid, enum quic_test_place place,
				 int *ret)
{
	struct quic_pkt pkts[QUIC_TEST_FEW];
	struct quic_batch want = { .pkts = pkts }, *got;
	struct sk_buff *skb;
	bool same;
	int err;

	*ret = quic_test_parse_each(plain, cid, &want);
	skb = quic_test_skb(test, place, plain->data, plain->len);
	got = quic_test_batch(test, skb, &plain->layout, plain->cid_len);
	err = quic_test_batch_parse(got, cid, plain->pkts[0].pn);
	same = err == *ret;
	if (same && !err)
		same = quic_test_headers_equal(got, &want,
					       plain->layout.npkts);
	quic_test_batch_free(test, got);
	quic_test_skb_free(test, skb);
	return same;
}

static void quic_test_parse_random(struct kunit *test)
{
	unsigned int i, place, bad = 0, refused = 0;
	u8 cid[QUIC_MAX_CONNECTION_ID_SIZE];
	struct quic_test_plain *plain;
	struct rnd_state rnd;
	int err;

	prandom_seed_state(&rnd, 9000);
	for (i = 0; i < QUIC_TEST_ROUNDS; i++) {
		plain = quic_test_random_plain(test, &rnd);
		memcpy(cid, plain->data + QUIC_TEST_PREFIX + 1, plain->cid_len);
		for (place = 0; place < QUIC_TEST_PLACES; place++)
			bad += !quic_test_parse_same(test, plain, cid, place,
						     &err);
		refused += !!err;
		quic_test_plain_free(test, plain);
	}
	KUNIT_EXPECT_EQ(test, bad, 0);
	KUNIT_EXPECT_GT(test, refused, QUIC_TEST_ROUNDS / 10);
	KUNIT_EXPECT_LT(test, refused, QUIC_TEST_ROUNDS / 2);
}

struct quic_batch_shape {
	u8 npkts;
	u16 size;
	u16 last;
};

static const struct quic_batch_shape quic_batch_shapes[] = {
	{ 1, 40, 40 },
	{ 1, 64984, 64984 },
	{ 2, 1184, 9 },
	{ 128, 30, 30 },
	{ 128, 495, 400 },
	{ 44, 1456, 8 },
};

struct quic_cipher_case {
	const char *desc;
	u16 cipher;
};

static const struct quic_cipher_case quic_cipher_cases[] = {
	{ "aes-128-gcm", TLS_CIPHER_AES_GCM_128 },
	{ "aes-256-gcm", TLS_CIPHER_AES_GCM_256 },
	{ "aes-128-ccm", TLS_CIPHER_AES_CCM_128 },
	{ "chacha20-poly1305", TLS_CIPHER_CHACHA20_POLY1305 },
};

KUNIT_ARRAY_PARAM_DESC(quic_cipher, quic_cipher_cases, desc);

/* Seal each packet of @v alone. Return all packets, for kunit_kfree(). */
static u8 *quic_test_seal_singly(struct kunit *test, const struct quic_key *key,
				 const struct quic_hp *hp,
				 const struct quic_seal_vec *v,
				 unsigned int len)
{
	struct quic_seal_vec single = *v;
	struct quic_test_plain *plain;
	u8 *want, *out, *p;
	unsigned int i;

	want = kunit_kzalloc(test, len, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, want);
	p = want;

	single.npkts = 1;
	for (i = 0; i < v->npkts; i++) {
		single.pn = v->pn + i * v->gap;
		single.pn_len = 1 + i % 4;
		single.size = i == v->npkts - 1 ? v->last : v->size;
		single.last = single.size;
		plain = quic_test_plain(test, &single, false);
		out = quic_test_seal(test, key, hp, plain, QUIC_TEST_LINEAR);
		memcpy(p, out + QUIC_TEST_PREFIX, plain->layout.wire_len);
		p += plain->layout.wire_len;
		kunit_kfree(test, out);
		quic_test_plain_free(test, plain);
	}
	KUNIT_EXPECT_EQ(test, p - want, len);
	return want;
}

/* Packets sealed together equal packets sealed one by one */
static void quic_test_seal_batch(struct kunit *test)
{
	static const char secret[] = "A key of thirty-two bytes, 01234";
	const struct quic_cipher_case *c = test->param_value;
	struct quic_seal_vec v = {
		.first = 0x64, .cid_len = 3, .pn = 77777, .gap = 2,
	};
	struct quic_test_plain *plain;
	unsigned int i, place;
	struct quic_key *key;
	struct quic_hp *hp;
	u8 *want, *out;

	key = quic_test_key(test, c->cipher, secret, "twelve bytes");
	hp = quic_test_hp(test, c->cipher, secret);
	for (i = 0; i < ARRAY_SIZE(quic_batch_shapes); i++) {
		v.npkts = quic_batch_shapes[i].npkts;
		v.size = quic_batch_shapes[i].size;
		v.last = quic_batch_shapes[i].last;
		plain = quic_test_plain(test, &v, false);
		want = quic_test_seal_singly(test, key, hp, &v,
					     plain->layout.wire_len);
		for (place = 0; place < QUIC_TEST_PLACES; place++) {
			out = quic_test_seal(test, key, hp, plain, place);
			/* KUNIT_ASSERT_MEMEQ would print all bytes */
			KUNIT_ASSERT_EQ_MSG(test, 0,
					    memcmp(out + QUIC_TEST_PREFIX, want,
						   plain->layout.wire_len),
					    "shape %u, place %u", i, place);
			quic_test_expect_around(test, plain, out);
			kunit_kfree(test, out);
		}
		kunit_kfree(test, want);
	}
}

static struct kunit_case quic_seal_cases[] = {
	KUNIT_CASE_PARAM(quic_test_seal_vec, quic_seal_gen_params),
	KUNIT_CASE_PARAM(quic_test_seal_batch, quic_cipher_gen_params),
	KUNIT_CASE_PARAM(quic_test_clear_tags, quic_seal_gen_params),
	KUNIT_CASE_PARAM(quic_test_second, quic_second_gen_params),
	KUNIT_CASE(quic_test_parse_random),
	{}
};

static struct kunit_suite quic_seal_suite = {
	.name = "quic_crypto_seal",
	.test_cases = quic_seal_cases,
};

kunit_test_suites(&quic_hp_suite, &quic_seal_suite);
