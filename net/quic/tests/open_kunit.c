// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of QUIC packet protection: opening
 */

#include <kunit/test.h>
#include <linux/skbuff.h>
#include <linux/string.h>
#include <net/quic.h>

#include "../batch.h"
#include "../cipher.h"
#include "../key.h"
#include "common.h"
#include "vectors.h"

KUNIT_ARRAY_PARAM_DESC(quic_open, quic_seal_vecs, desc);

/**
 * struct quic_test_open - a vector whose packets are to be opened
 * @plain: packets before they were sealed
 * @wire: sealed packets, with what is around them
 * @skb: skb with these bytes
 * @prot: protection
 * @b: packets in @skb
 * @op: operation, after quic_open_masks()
 * @buf: room for a packet
 */
struct quic_test_open {
	struct quic_test_plain *plain;
	u8 *wire;
	struct sk_buff *skb;
	struct quic_prot prot;
	struct quic_batch *b;
	struct quic_op *op;
	u8 *buf;
};

static void quic_test_op_free(void *op)
{
	quic_op_free(op);
}

static struct quic_test_open *quic_test_open_init(struct kunit *test)
{
	const struct quic_seal_vec *v = test->param_value;
	struct quic_test_open *o;

	o = kunit_kzalloc(test, sizeof(*o), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, o);
	o->plain = quic_test_plain(test, v, true);
	o->wire = kunit_kmalloc(test, o->plain->len, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, o->wire);
	memcpy(o->wire, o->plain->data, o->plain->len);
	memcpy(o->wire + QUIC_TEST_PREFIX, v->wire, o->plain->layout.wire_len);
	o->buf = kunit_kmalloc(test, o->plain->layout.stride, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, o->buf);
	o->prot = quic_key_prot(quic_test_key(test, v->cipher, v->key, v->iv),
				v->path_id,
				quic_test_hp(test, v->cipher, v->hp));
	return o;
}

/* Find the packets in an skb that has the wire bytes, and compute the masks */
static void quic_test_open_skb(struct kunit *test, struct quic_test_open *o,
			       struct sk_buff *skb)
{
	o->skb = skb;
	o->b = quic_test_batch(test, skb, &o->plain->layout, o->plain->cid_len);
	quic_pkts_locate(o->b->pkts, skb, o->b->off, &o->b->layout);
	o->op = quic_op_alloc(&o->prot, 1, o->b);
	KUNIT_ASSERT_NOT_NULL(test, o->op);
	quic_test_defer(test, quic_test_op_free, o->op);
	KUNIT_ASSERT_EQ(test, 0, quic_open_masks(o->op));
}

static void quic_test_open_begin(struct kunit *test, struct quic_test_open *o,
				 enum quic_test_place place)
{
	quic_test_open_skb(test, o, quic_test_skb(test, place, o->wire,
						  o->plain->len));
}

/* The skb must be what it was */
static void quic_test_open_end(struct kunit *test, struct quic_test_open *o)
{
	u8 *bytes = kunit_kmalloc(test, o->plain->len, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, bytes);
	KUNIT_ASSERT_EQ(test, 0,
			skb_copy_bits(o->skb, 0, bytes, o->plain->len));
	KUNIT_EXPECT_MEMEQ(test, bytes, o->wire, o->plain->len);
	kunit_kfree(test, bytes);
	kunit_release_action(test, quic_test_op_free, o->op);
	quic_test_batch_free(test, o->b);
	quic_test_skb_free(test, o->skb);
}

/* Unprotect the header of packet @i */
static struct quic_pkt *quic_test_open_hdr(struct kunit *test,
					   struct quic_test_open *o,
					   unsigned int i, u64 expected)
{
	KUNIT_ASSERT_EQ(test, 0, quic_open_header(o->op, i, o->buf, expected));
	return &o->b->pkts[i];
}

static void quic_test_open_all(struct kunit *test, struct quic_test_open *o)
{
	const struct quic_pkt *want = o->plain->pkts, *pkt;
	static const u8 no_tag[QUIC_TAG_SIZE];
	u64 expected = want->pn;
	unsigned int i, len;

	for (i = 0; i < o->b->layout.npkts; i++, want++) {
		len = quic_batch_pkt_len(o->b, i) - QUIC_TAG_SIZE;
		memset(o->buf, 0x5a, len + QUIC_TAG_SIZE);
		pkt = quic_test_open_hdr(test, o, i, expected);
		KUNIT_ASSERT_EQ(test, pkt->pn, want->pn);
		KUNIT_ASSERT_EQ(test, pkt->pn_len, want->pn_len);
		KUNIT_ASSERT_EQ(test, 0, quic_open(o->op, i, o->buf));
		KUNIT_ASSERT_MEMEQ(test, o->buf,
				   o->plain->data + QUIC_TEST_PREFIX +
				   i * o->b->layout.stride, len);
		KUNIT_ASSERT_MEMEQ(test, o->buf + len, no_tag, sizeof(no_tag));
		expected = pkt->pn + 1;
	}
}

/* Packets are read in place, unless somebody else may write to their pages */
static void quic_test_open_place(struct kunit *test)
{
	struct quic_test_open *o = quic_test_open_init(test);
	const struct quic_pkt *pkt;

	quic_test_open_begin(test, o, QUIC_TEST_LINEAR);
	pkt = o->b->pkts;
	KUNIT_EXPECT_PTR_EQ(test, pkt->data, o->skb->data + QUIC_TEST_PREFIX);
	quic_test_open_end(test, o);

	quic_test_open_begin(test, o, QUIC_TEST_PAGES);
	pkt = o->b->pkts;
	KUNIT_EXPECT_NOT_NULL(test, pkt->data);
	skb_shinfo(o->skb)->flags |= SKBFL_SHARED_FRAG;
	quic_pkts_locate(o->b->pkts, o->skb, o->b->off, &o->b->layout);
	KUNIT_EXPECT_NULL(test, pkt->data);
	quic_test_open_all(test, o);
	quic_test_open_end(test, o);
}

/* What libcrypto has sealed opens, wherever its bytes are, in any order */
static void quic_test_open_vec(struct kunit *test)
{
	struct quic_test_open *o = quic_test_open_init(test);
	unsigned int place;

	for (place = 0; place < QUIC_TEST_PLACES; place++) {
		quic_test_open_begin(test, o, place);
		quic_test_open_all(test, o);
		quic_test_open_all(test, o);
		quic_test_open_end(test, o);
	}
}

/* Each packet but the first in an skb of its own, as GRO makes them */
static struct sk_buff *quic_test_open_list(struct kunit *test,
					   const struct quic_test_open *o)
{
	unsigned int len = QUIC_TEST_PREFIX + o->plain->layout.stride, done;
	struct sk_buff *skb, *next, **link;

	len = min(len, o->plain->len);
	skb = quic_test_skb(test, QUIC_TEST_LINEAR, o->wire, len);
	link = &skb_shinfo(skb)->frag_list;
	for (done = len; done < o->plain->len; done += len) {
		len = min(o->plain->layout.stride, o->plain->len - done);
		next = alloc_skb(len, GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, next);
		skb_put_data(next, o->wire + done, len);
		skb->len += len;
		skb->data_len += len;
		*link = next;
		link = &next->next;
	}
	return skb;
}

static void quic_test_open_merged(struct kunit *test)
{
	struct quic_test_open *o = quic_test_open_init(test);
	unsigned int i;

	quic_test_open_skb(test, o, quic_test_open_list(test, o));
	for (i = 0; i < o->b->layout.npkts; i++)
		KUNIT_EXPECT_NOT_NULL(test, o->b->pkts[i].data);
	quic_test_open_all(test, o);
	quic_test_open_end(test, o);
}

/* A packet with a wrong bit does not open, nor does one after it suffer */
static void quic_test_open_corrupt(struct kunit *test)
{
	struct quic_test_open *o = quic_test_open_init(test);
	unsigned int len = quic_layout_pkt_len(&o->plain->layout, 0);
	u8 *first = o->wire + QUIC_TEST_PREFIX;
	unsigned int i;

	for (i = 0; i < len; i += 1 + len / 64) {
		first[i] ^= 1 << i % 7;
		quic_test_open_begin(test, o, QUIC_TEST_LINEAR);
		quic_test_open_hdr(test, o, 0, o->plain->pkts[0].pn);
		KUNIT_EXPECT_EQ_MSG(test, -EBADMSG,
				    quic_open(o->op, 0, o->buf), "byte %u", i);
		quic_test_open_end(test, o);
		first[i] ^= 1 << i % 7;
	}
	quic_test_open_begin(test, o, QUIC_TEST_LINEAR);
	quic_test_open_all(test, o);
	quic_test_open_end(test, o);
}

/* A packet does not open as one with another number */
static void quic_test_open_number(struct kunit *test)
{
	struct quic_test_open *o = quic_test_open_init(test);
	const u64 pn = o->plain->pkts[0].pn;
	const u64 others[] = { pn + 1, pn ^ BIT_ULL(61), QUIC_MAX_PKT_NUM + 1 };
	struct quic_pkt *pkt;
	unsigned int i;

	quic_test_open_begin(test, o, QUIC_TEST_LINEAR);
	for (i = 0; i < ARRAY_SIZE(others); i++) {
		pkt = quic_test_open_hdr(test, o, 0, pn);
		pkt->pn = others[i];
		KUNIT_EXPECT_EQ(test, -EBADMSG, quic_open(o->op, 0, o->buf));
	}
	quic_test_open_end(test, o);
}

static struct kunit_case quic_open_cases[] = {
	KUNIT_CASE_PARAM(quic_test_open_vec, quic_open_gen_params),
	KUNIT_CASE_PARAM(quic_test_open_place, quic_open_gen_params),
	KUNIT_CASE_PARAM(quic_test_open_merged, quic_open_gen_params),
	KUNIT_CASE_PARAM(quic_test_open_corrupt, quic_open_gen_params),
	KUNIT_CASE_PARAM(quic_test_open_number, quic_open_gen_params),
	{}
};

static struct kunit_suite quic_open_suite = {
	.name = "quic_crypto_open",
	.test_cases = quic_open_cases,
};

kunit_test_suite(quic_open_suite);
