// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of QUIC packet protection: what headers say, and geometry
 */

#include <kunit/test.h>
#include <linux/math64.h>
#include <linux/prandom.h>
#include <linux/skbuff.h>
#include <linux/string.h>
#include <net/quic.h>

#include "../batch.h"
#include "../pktnum.h"
#include "common.h"

struct quic_decode_case {
	const char *desc;
	u64 expected;
	u32 truncated;
	unsigned int pn_len;
	u64 pn;
};

static const struct quic_decode_case quic_decode_cases[] = {
	{ "RFC 9000 A.3", 0xa82f30eb, 0x9b32, 2, 0xa82f9b32 },
	{ "first packet", 0, 0, 1, 0 },
	{ "first packet, 4 bytes", 0, 0, 4, 0 },
	{ "none before 0, 1 byte", 0, 0xff, 1, 0xff },
	{ "none before 0, 2 bytes", 0, 0xffff, 2, 0xffff },
	{ "none before 0, 3 bytes", 0, 0xffffff, 3, 0xffffff },
	{ "none before 0, 4 bytes", 0, 0xffffffff, 4, 0xffffffff },
	{ "same window", 0x1234, 0x34, 1, 0x1234 },
	{ "1 byte, window's last", 0x1000, 0x80, 1, 0x1080 },
	{ "1 byte, beyond the last", 0x1000, 0x81, 1, 0xf81 },
	{ "1 byte, window's first", 0x1080, 0x01, 1, 0x1001 },
	{ "1 byte, before the first", 0x1080, 0x00, 1, 0x1100 },
	{ "2 bytes, window's last", 0x50000, 0x8000, 2, 0x58000 },
	{ "2 bytes, beyond the last", 0x50000, 0x8001, 2, 0x48001 },
	{ "2 bytes, window's first", 0x58000, 0x0001, 2, 0x50001 },
	{ "2 bytes, before the first", 0x58000, 0x0000, 2, 0x60000 },
	{ "3 bytes, window's last", 0x7000000, 0x800000, 3, 0x7800000 },
	{ "3 bytes, beyond the last", 0x7000000, 0x800001, 3, 0x6800001 },
	{ "3 bytes, window's first", 0x7800000, 0x000001, 3, 0x7000001 },
	{ "3 bytes, before the first", 0x7800000, 0x000000, 3, 0x8000000 },
	{ "4 bytes, window's last", 0x900000000, 0x80000000, 4, 0x980000000 },
	{ "4 bytes, beyond the last", 0x900000000, 0x80000001, 4, 0x880000001 },
	{ "4 bytes, window's first", 0x980000000, 0x00000001, 4, 0x900000001 },
	{ "4 bytes, before the first", 0x980000000, 0, 4, 0xa00000000 },
	{ "1 byte, up", 0x1ff, 0x02, 1, 0x202 },
	{ "1 byte, down", 0x202, 0xfe, 1, 0x1fe },
	{ "4 bytes, up", 0xfffffffe, 0x00000003, 4, 0x100000003 },
	{ "4 bytes, down", 0x100000003, 0xfffffffe, 4, 0xfffffffe },
	{ "greatest, 1 byte", QUIC_MAX_PKT_NUM, 0xff, 1, QUIC_MAX_PKT_NUM },
	{ "greatest, 2 bytes", QUIC_MAX_PKT_NUM, 0xffff, 2, QUIC_MAX_PKT_NUM },
	{ "greatest, 3 bytes", QUIC_MAX_PKT_NUM, 0xffffff, 3,
	  QUIC_MAX_PKT_NUM },
	{ "greatest, 4 bytes", QUIC_MAX_PKT_NUM, 0xffffffff, 4,
	  QUIC_MAX_PKT_NUM },
	{ "none after the greatest, 1 byte", QUIC_MAX_PKT_NUM, 0x00, 1,
	  QUIC_MAX_PKT_NUM - 0xff },
	{ "none after the greatest, 2 bytes", QUIC_MAX_PKT_NUM, 0x0000, 2,
	  QUIC_MAX_PKT_NUM - 0xffff },
	{ "none after the greatest, 3 bytes", QUIC_MAX_PKT_NUM, 0x000000, 3,
	  QUIC_MAX_PKT_NUM - 0xffffff },
	{ "none after the greatest, 4 bytes", QUIC_MAX_PKT_NUM, 0x00000000, 4,
	  QUIC_MAX_PKT_NUM - 0xffffffff },
	{ "up to the last window", QUIC_MAX_PKT_NUM - 0x100, 0x00, 1,
	  QUIC_MAX_PKT_NUM - 0xff },
	{ "after the greatest", QUIC_MAX_PKT_NUM + 1, 0xfe, 1,
	  QUIC_MAX_PKT_NUM - 1 },
};

KUNIT_ARRAY_PARAM_DESC(quic_decode, quic_decode_cases, desc);

static void quic_test_decode(struct kunit *test)
{
	const struct quic_decode_case *c = test->param_value;

	KUNIT_EXPECT_EQ(test, c->pn,
			quic_pkt_num_decode(c->expected, c->truncated,
					    c->pn_len));
}

/* What RFC 9000 A.3 means: the candidate in the window around @expected; if it
 * is not a packet number, the candidate in the block of @expected
 */
static u64 quic_test_ref_decode(u64 expected, u32 truncated,
				unsigned int pn_len)
{
	s64 win = 1LL << (8 * pn_len), same, pn;

	same = (s64)(expected & ~(win - 1)) + truncated;
	for (pn = same - win; pn <= same + win; pn += win) {
		if (pn >= 0 && pn <= (s64)QUIC_MAX_PKT_NUM &&
		    pn > (s64)expected - win / 2 &&
		    pn <= (s64)expected + win / 2)
			return pn;
	}
	return same;
}

static void quic_test_decode_sweep(struct kunit *test)
{
	static const u64 bases[] = {
		0, 0x80, 0x100, 0x8000, 0x10000, 0x800000, 0x1000000,
		0x80000000, 0x100000000, 0x123456789abc, 0x8000000000,
		QUIC_MAX_PKT_NUM - 0xffffffff, QUIC_MAX_PKT_NUM - 0x7fffffff,
		QUIC_MAX_PKT_NUM - 0xff, QUIC_MAX_PKT_NUM,
	};
	unsigned int pn_len, i, bad = 0;
	u64 expected, win, want, got;
	struct rnd_state rnd;
	s64 d, e;
	u32 t;

	prandom_seed_state(&rnd, 9000);
	for (pn_len = 1; pn_len <= 4; pn_len++) {
		win = 1ULL << (8 * pn_len);
		for (i = 0; i < 100 * ARRAY_SIZE(bases); i++) {
			d = (s64)(prandom_u32_state(&rnd) % 7) - 3;
			e = (s64)(prandom_u32_state(&rnd) % 7) - 3;
			d += bases[i % ARRAY_SIZE(bases)];
			expected = clamp_t(s64, d, 0, QUIC_MAX_PKT_NUM);
			if (i & 1) /* at the edges of the window */
				t = expected + win / 2 + e;
			else
				t = prandom_u32_state(&rnd);
			t &= win - 1;
			want = quic_test_ref_decode(expected, t, pn_len);
			got = quic_pkt_num_decode(expected, t, pn_len);
			if (want == got)
				continue;
			bad++;
			kunit_err(test, "%#llx, %#x/%u: %#llx, not %#llx\n",
				  expected, t, pn_len, got, want);
		}
	}
	KUNIT_EXPECT_EQ(test, bad, 0);
}

struct quic_encode_case {
	const char *desc;
	u64 pn;
	u64 acked;		/* U64_MAX: none */
	unsigned int pn_len;	/* 0: does not fit */
};

static const struct quic_encode_case quic_encode_cases[] = {
	{ "RFC 9000 A.2, 16 bits", 0xac5c02, 0xabe8b3, 2 },
	{ "RFC 9000 A.2, 24 bits", 0xace8fe, 0xabe8b3, 3 },
	{ "first", 0, U64_MAX, 1 },
	{ "nothing acknowledged, 1 byte", 127, U64_MAX, 1 },
	{ "nothing acknowledged, 2 bytes", 128, U64_MAX, 2 },
	{ "1 byte at most", 1128, 1000, 1 },
	{ "2 bytes at least", 1129, 1000, 2 },
	{ "2 bytes at most", 0x9000, 0x1000, 2 },
	{ "3 bytes at least", 0x9001, 0x1000, 3 },
	{ "3 bytes at most", 0x800001, 1, 3 },
	{ "4 bytes at least", 0x800002, 1, 4 },
	{ "4 bytes at most", 0x80000001, 1, 4 },
	{ "too many", 0x80000002, 1, 0 },
	{ "greatest, 1 byte", QUIC_MAX_PKT_NUM, QUIC_MAX_PKT_NUM - 1, 1 },
	{ "greatest, 4 bytes", QUIC_MAX_PKT_NUM,
	  QUIC_MAX_PKT_NUM - 0x80000000, 4 },
};

KUNIT_ARRAY_PARAM_DESC(quic_encode, quic_encode_cases, desc);

/* RFC 9000 A.2: the range must be twice the number of packets that are not
 * acknowledged
 */
static unsigned int quic_test_encode_len(u64 pn, u64 acked)
{
	u64 unacked = acked == U64_MAX ? pn + 1 : pn - acked;
	unsigned int pn_len;

	for (pn_len = 1; pn_len <= 4; pn_len++) {
		if (unacked * 2 <= 1ULL << (8 * pn_len))
			return pn_len;
	}
	return 0;
}

static void quic_test_encode(struct kunit *test)
{
	const struct quic_encode_case *c = test->param_value;
	u64 first = c->acked == U64_MAX ? 0 : c->acked + 1;
	u64 expected, step;
	u32 truncated;

	KUNIT_ASSERT_EQ(test, c->pn_len,
			quic_test_encode_len(c->pn, c->acked));
	if (!c->pn_len)
		return;

	/* The peer's latest packet may be any packet in flight, so the number
	 * that the peer expects may be any of these
	 */
	truncated = c->pn & ((1ULL << (8 * c->pn_len)) - 1);
	step = div_u64(c->pn - first, 61) + 1;
	for (expected = first; expected < c->pn; expected += step)
		KUNIT_EXPECT_EQ(test, c->pn,
				quic_pkt_num_decode(expected, truncated,
						    c->pn_len));
	KUNIT_EXPECT_EQ(test, c->pn,
			quic_pkt_num_decode(c->pn, truncated, c->pn_len));
}

struct quic_nonce_case {
	const char *desc;
	u32 path_id;
	u64 pn;
	u8 iv[QUIC_MAX_IV_SIZE];
	u8 nonce[QUIC_MAX_IV_SIZE];
};

static const struct quic_nonce_case quic_nonce_cases[] = {
	{
		"RFC 9001 A.5", 0, 654360564,
		{ 0xe0, 0x45, 0x9b, 0x34, 0x74, 0xbd,
		  0xd0, 0xe4, 0x4a, 0x41, 0xc1, 0x44 },
		{ 0xe0, 0x45, 0x9b, 0x34, 0x74, 0xbd,
		  0xd0, 0xe4, 0x6d, 0x41, 0x7e, 0xb0 },
	}, {
		"packet 0", 0, 0,
		{ 0xe0, 0x45, 0x9b, 0x34, 0x74, 0xbd,
		  0xd0, 0xe4, 0x4a, 0x41, 0xc1, 0x44 },
		{ 0xe0, 0x45, 0x9b, 0x34, 0x74, 0xbd,
		  0xd0, 0xe4, 0x4a, 0x41, 0xc1, 0x44 },
	}, {
		"order of bytes", 0, 0x0102030405060708,
		{ 0 },
		{ 0, 0, 0, 0, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08 },
	}, {
		"greatest", 0, QUIC_MAX_PKT_NUM,
		{ 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
		  0xff, 0xff, 0xff, 0xff, 0xff, 0xff },
		{ 0xff, 0xff, 0xff, 0xff, 0xc0, 0, 0, 0, 0, 0, 0, 0 },
	}, {
		/* The example of the multipath extension of QUIC */
		"path 3", 3, 0xaead,
		{ 0x6b, 0x26, 0x11, 0x4b, 0x9c, 0xba,
		  0x2b, 0x63, 0xa9, 0xe8, 0xdd, 0x4f },
		{ 0x6b, 0x26, 0x11, 0x48, 0x9c, 0xba,
		  0x2b, 0x63, 0xa9, 0xe8, 0x73, 0xe2 },
	}, {
		"order of the path's bytes", 0x01020304, 0,
		{ 0 },
		{ 0x01, 0x02, 0x03, 0x04 },
	},
};

KUNIT_ARRAY_PARAM_DESC(quic_nonce, quic_nonce_cases, desc);

static void quic_test_nonce(struct kunit *test)
{
	const struct quic_nonce_case *c = test->param_value;
	u8 nonce[QUIC_MAX_IV_SIZE + 1] = { [QUIC_MAX_IV_SIZE] = 0xa5 };
	u8 iv[QUIC_MAX_IV_SIZE];

	memcpy(iv, c->iv, sizeof(iv));
	quic_path_iv(iv, c->path_id);
	quic_nonce(nonce, iv, c->pn);
	KUNIT_EXPECT_MEMEQ(test, nonce, c->nonce, QUIC_MAX_IV_SIZE);
	KUNIT_EXPECT_EQ(test, nonce[QUIC_MAX_IV_SIZE], 0xa5);
}

/**
 * struct quic_parse_case - a packet, and the result of parsing it
 * @desc: name of the test's parameter
 * @first: first byte
 * @cid_len: bytes of the connection ID
 * @flip: index of a byte of the connection ID in the packet that differs from
 *	  the expected connection ID; 0 if all bytes are equal
 * @len: bytes of the packet without its tag
 * @expected: expected packet number
 * @pn: packet number
 * @err: result of quic_batch_parse()
 */
struct quic_parse_case {
	const char *desc;
	u8 first;
	u8 cid_len;
	u8 flip;
	unsigned int len;
	u64 expected;
	u64 pn;
	int err;
};

static const struct quic_parse_case quic_parse_cases[] = {
	{ "pn_len 1", 0x40, 8, 0, 100, 7, 7, 0 },
	{ "pn_len 2", 0x41, 8, 0, 100, 0x1234, 0x1234, 0 },
	{ "pn_len 3", 0x42, 8, 0, 100, 0x123456, 0x123456, 0 },
	{ "pn_len 4", 0x43, 8, 0, 100, 0x12345678, 0x12345678, 0 },
	{ "number up", 0x41, 8, 0, 100, 0x1fff0, 0x20010, 0 },
	{ "number down", 0x41, 8, 0, 100, 0x20010, 0x1fff0, 0 },
	{ "no CID", 0x40, 0, 0, 100, 1, 1, 0 },
	{ "no CID, pn_len 4", 0x43, 0, 0, 100, 1, 1, 0 },
	{ "longest CID", 0x40, 20, 0, 100, 1, 1, 0 },
	{ "longest CID, pn_len 4", 0x43, 20, 0, 100, 1, 1, 0 },
	{ "Key Phase 1", 0x45, 8, 0, 100, 1, 1, 0 },
	{ "Key Phase 1, no CID", 0x44, 0, 0, 100, 1, 1, 0 },
	{ "spin and reserved bits", 0x78, 8, 0, 100, 1, 1, 0 },
	{ "fixed bit 0", 0x00, 8, 0, 100, 1, 1, 0 },
	{ "fixed bit 0, Key Phase 1", 0x07, 8, 0, 100, 1, 1, 0 },
	{ "long header", 0xc0, 8, 0, 100, 1, 1, -EINVAL },
	{ "long header, fixed bit 0", 0x80, 8, 0, 100, 1, 1, -EINVAL },
	{ "first byte of CID differs", 0x40, 8, 1, 100, 1, 1, -EBADMSG },
	{ "last byte of CID differs", 0x40, 8, 8, 100, 1, 1, -EBADMSG },
	{ "last byte of longest differs", 0x40, 20, 20, 100, 1, 1, -EBADMSG },
	{ "only byte of CID differs", 0x40, 1, 1, 100, 1, 1, -EBADMSG },
	{ "nothing", 0x40, 0, 0, 0, 1, 1, -EINVAL },
	{ "nothing, with CID", 0x40, 8, 0, 0, 1, 1, -EINVAL },
	{ "one byte", 0x40, 0, 0, 1, 1, 1, -EINVAL },
	{ "ends in the CID", 0x40, 8, 0, 5, 1, 1, -EINVAL },
	{ "ends in the longest CID", 0x40, 20, 0, 20, 1, 1, -EINVAL },
	{ "ends with the CID", 0x40, 8, 0, 9, 1, 1, -EINVAL },
	{ "ends in the number", 0x43, 8, 0, 12, 1, 1, -EINVAL },
	{ "no CID, short by one", 0x40, 0, 0, 4, 1, 1, -EINVAL },
	{ "no CID, shortest", 0x40, 0, 0, 5, 1, 1, 0 },
	{ "no CID, pn_len 4, no payload", 0x43, 0, 0, 5, 1, 1, 0 },
	{ "CID 8, pn_len 2, short by one", 0x41, 8, 0, 12, 1, 1, -EINVAL },
	{ "CID 8, pn_len 2, shortest", 0x41, 8, 0, 13, 1, 1, 0 },
	{ "CID 20, pn_len 3, short by one", 0x42, 20, 0, 24, 1, 1, -EINVAL },
	{ "CID 20, pn_len 3, shortest", 0x42, 20, 0, 25, 1, 1, 0 },
	{ "CID 20, pn_len 4, no payload", 0x43, 20, 0, 25, 1, 1, 0 },
	{ "greatest number", 0x43, 8, 0, 100, QUIC_MAX_PKT_NUM,
	  QUIC_MAX_PKT_NUM, 0 },
	{ "greatest number, 1 byte", 0x40, 8, 0, 100, QUIC_MAX_PKT_NUM - 9,
	  QUIC_MAX_PKT_NUM, 0 },
	{ "beyond the greatest number", 0x43, 8, 0, 100, QUIC_MAX_PKT_NUM + 1,
	  QUIC_MAX_PKT_NUM + 1, -EINVAL },
	{ "beyond the greatest, 1 byte", 0x40, 8, 0, 100, QUIC_MAX_PKT_NUM + 1,
	  QUIC_MAX_PKT_NUM + 9, -EINVAL },
	{ "again after the greatest", 0x41, 8, 0, 100, QUIC_MAX_PKT_NUM + 1,
	  QUIC_MAX_PKT_NUM - 2, 0 },
};

KUNIT_ARRAY_PARAM_DESC(quic_parse, quic_parse_cases, desc);

/* The header alone: this does not look at the connection ID */
static void quic_test_parse_header(struct kunit *test,
				   const struct quic_parse_case *c,
				   const u8 *hdr)
{
	unsigned int have = min(c->len, QUIC_MAX_HDR_SIZE);
	int err = c->flip ? 0 : c->err;
	struct quic_pkt pkt = {};
	u8 *p;

	/* KASAN sees reads behind the bytes that quic_pkt_parse() may read */
	p = kunit_kzalloc(test, have, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, p);
	memcpy(p, hdr, have);

	KUNIT_ASSERT_EQ(test, err,
			quic_pkt_parse(&pkt, p, c->len, c->cid_len,
				       c->expected));
	if (err)
		return;
	KUNIT_EXPECT_EQ(test, pkt.pn, c->pn);
	KUNIT_EXPECT_EQ(test, pkt.pn_len, 1 + (c->first & QUIC_HDR_PN_LEN));
}

/* The header in a batch of one packet, with connection ID and Key Phase */
static void quic_test_parse_batch(struct kunit *test,
				  const struct quic_parse_case *c,
				  struct quic_batch *b)
{
	u8 *cid;

	/* KASAN sees reads behind the connection ID */
	cid = kunit_kzalloc(test, c->cid_len, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, cid);
	quic_test_cid(cid, c->cid_len);

	KUNIT_ASSERT_EQ(test, c->err,
			quic_test_batch_parse(b, cid, c->expected));
	KUNIT_EXPECT_EQ(test, !c->err, b->reason == QUIC_REASON_NONE);
	if (c->err)
		return;
	KUNIT_EXPECT_EQ(test, b->pkts[0].pn, c->pn);
	KUNIT_EXPECT_EQ(test, b->pkts[0].pn_len,
			1 + (c->first & QUIC_HDR_PN_LEN));
	KUNIT_EXPECT_EQ(test, b->phase, !!(c->first & QUIC_HDR_KEY_PHASE));
	KUNIT_EXPECT_EQ(test, b->pn_lens, BIT(b->pkts[0].pn_len));
	KUNIT_EXPECT_TRUE(test, b->consecutive);
}

static void quic_test_parse(struct kunit *test)
{
	const struct quic_parse_case *c = test->param_value;
	unsigned int len = QUIC_TEST_PREFIX + c->len + QUIC_TAG_SIZE, place;
	u8 data[QUIC_TEST_PREFIX + 100 + QUIC_TAG_SIZE] = {};
	u8 *hdr = data + QUIC_TEST_PREFIX;
	struct quic_layout layout;
	struct sk_buff *skb;

	KUNIT_ASSERT_LE(test, len, sizeof(data));
	quic_test_header(hdr, c->first & ~QUIC_HDR_PN_LEN, c->cid_len, c->pn,
			 1 + (c->first & QUIC_HDR_PN_LEN));
	if (c->flip)
		hdr[c->flip] ^= 0x10;
	quic_test_parse_header(test, c, hdr);

	/* A layout does not have a packet of no bytes */
	if (!c->len)
		return;
	KUNIT_ASSERT_EQ(test, 0,
			quic_layout_init(&layout, c->len, 0, false));
	for (place = 0; place < QUIC_TEST_PLACES; place++) {
		skb = quic_test_skb(test, place, data, len);
		quic_test_parse_batch(test, c,
				      quic_test_batch(test, skb, &layout,
						      c->cid_len));
	}
}

static struct kunit_case quic_packet_cases[] = {
	KUNIT_CASE_PARAM(quic_test_decode, quic_decode_gen_params),
	KUNIT_CASE(quic_test_decode_sweep),
	KUNIT_CASE_PARAM(quic_test_encode, quic_encode_gen_params),
	KUNIT_CASE_PARAM(quic_test_nonce, quic_nonce_gen_params),
	KUNIT_CASE_PARAM(quic_test_parse, quic_parse_gen_params),
	{}
};

static struct kunit_suite quic_packet_suite = {
	.name = "quic_crypto_packet",
	.test_cases = quic_packet_cases,
};

struct quic_layout_case {
	const char *desc;
	size_t len;
	unsigned int gso_size;
	bool tag_room;
	int err;
	unsigned int npkts;
	unsigned int wire_len;
	unsigned int last;
};

static const struct quic_layout_case quic_layout_cases[] = {
	{ "one packet", 100, 0, false, 0, 1, 116, 116 },
	{ "one packet, room", 100, 0, true, 0, 1, 100, 100 },
	{ "one byte", 1, 0, false, 0, 1, 17, 17 },
	{ "one byte, room", 17, 0, true, 0, 1, 17, 17 },
	{ "exactly one packet", 1184, 1200, false, 0, 1, 1200, 1200 },
	{ "exactly one packet, room", 1200, 1200, true, 0, 1, 1200, 1200 },
	{ "short packet", 1183, 1200, false, 0, 1, 1199, 1199 },
	{ "short packet, room", 1199, 1200, true, 0, 1, 1199, 1199 },
	{ "one byte over", 1185, 1200, false, 0, 2, 1217, 17 },
	{ "tag and a byte over, room", 1217, 1200, true, 0, 2, 1217, 17 },
	{ "ten full", 11840, 1200, false, 0, 10, 12000, 1200 },
	{ "ten full, room", 12000, 1200, true, 0, 10, 12000, 1200 },
	{ "ten, the last short", 11000, 1200, false, 0, 10, 11160, 360 },
	{ "ten, the last short, room", 11000, 1200, true, 0, 10, 11000, 200 },
	{ "smallest stride", 3, 17, false, 0, 3, 51, 17 },
	{ "smallest stride, room", 51, 17, true, 0, 3, 51, 17 },
	{ "gso_size larger than all", 300, 9000, false, 0, 1, 316, 316 },
	{ "gso_size larger than all, room", 300, 9000, true, 0, 1, 300, 300 },
	{ "greatest gso_size", 300, 65535, false, 0, 1, 316, 316 },
	{ "128 full", 128 * 84, 100, false, 0, 128, 12800, 100 },
	{ "128 full, room", 12800, 100, true, 0, 128, 12800, 100 },
	{ "128, the last short", 127 * 84 + 1, 100, false, 0, 128, 12717, 17 },
	{ "129", 128 * 84 + 1, 100, false, -EINVAL },
	{ "129, room", 128 * 100 + 17, 100, true, -EINVAL },
	{ "nothing", 0, 1200, false, -EINVAL },
	{ "nothing, room", 0, 1200, true, -EINVAL },
	{ "nothing, no gso_size", 0, 0, false, -EINVAL },
	{ "nothing, no gso_size, room", 0, 0, true, -EINVAL },
	{ "gso_size 1", 100, 1, false, -EINVAL },
	{ "gso_size 1, room", 100, 1, true, -EINVAL },
	{ "gso_size 15", 100, 15, false, -EINVAL },
	{ "gso_size 16", 100, 16, false, -EINVAL },
	{ "gso_size 16, room", 100, 16, true, -EINVAL },
	{ "only a tag, room", 16, 0, true, -EINVAL },
	{ "greatest", 65535 - 16, 0, false, 0, 1, 65535, 65535 },
	{ "greatest, room", 65535, 0, true, 0, 1, 65535, 65535 },
	{ "tag does not fit", 65535 - 15, 0, false, -EMSGSIZE },
	{ "64 KiB", 65536, 0, false, -EMSGSIZE },
	{ "64 KiB, room", 65536, 0, true, -EMSGSIZE },
	{ "tags do not fit", 65535 - 44 * 16, 1472, false, -EMSGSIZE },
	{ "tags just fit", 65535 - 45 * 16, 1472, false, 0, 45, 65535, 767 },
	{ "all there is", SIZE_MAX, 1200, false, -EMSGSIZE },
	{ "all there is, room", SIZE_MAX, 1200, true, -EMSGSIZE },
	{ "all there is, one packet", SIZE_MAX, 0, false, -EMSGSIZE },
	{ "wraps with the tag", SIZE_MAX - 15, 0, false, -EMSGSIZE },
};

KUNIT_ARRAY_PARAM_DESC(quic_layout, quic_layout_cases, desc);

static void quic_test_layout(struct kunit *test)
{
	const struct quic_layout_case *c = test->param_value;
	struct quic_layout l = {};

	KUNIT_ASSERT_EQ(test, c->err,
			quic_layout_init(&l, c->len, c->gso_size, c->tag_room));
	if (c->err)
		return;
	KUNIT_EXPECT_EQ(test, l.user_len, c->len);
	KUNIT_EXPECT_EQ(test, l.wire_len, c->wire_len);
	KUNIT_EXPECT_EQ(test, l.npkts, c->npkts);
	KUNIT_EXPECT_EQ(test, l.tag_room, c->tag_room);
	KUNIT_EXPECT_EQ(test, quic_layout_pkt_len(&l, c->npkts - 1), c->last);
	if (c->npkts > 1)
		KUNIT_EXPECT_EQ(test, l.stride, c->gso_size);
}

/* Is the layout wrong? Compares it with packets laid out one by one. */
static bool quic_test_layout_bad(size_t len, unsigned int gso, bool tag_room)
{
	unsigned int room = tag_room ? 0 : QUIC_TAG_SIZE;
	unsigned int npkts = 0, wire = 0, sum = 0, n = 0, i;
	struct quic_layout l;
	size_t left;
	int err;

	for (left = len; left && npkts <= UDP_MAX_SEGMENTS; left -= n) {
		n = min_t(size_t, left, gso - room);
		wire += n + room;
		npkts++;
	}

	err = quic_layout_init(&l, len, gso, tag_room);
	if (npkts > UDP_MAX_SEGMENTS)
		return err != (len > 65535 ? -EMSGSIZE : -EINVAL);
	if (wire > 65535)
		return err != -EMSGSIZE;
	/* n is the length of the last packet, which must exceed its tag */
	if (tag_room && n <= QUIC_TAG_SIZE)
		return err && err != -EINVAL;
	if (err || l.npkts != npkts || l.wire_len != wire || l.user_len != len)
		return true;

	for (i = 0; i < npkts; i++) {
		n = quic_layout_pkt_len(&l, i);
		if (n <= QUIC_TAG_SIZE || n > gso || i * l.stride != sum)
			return true;
		if (i < npkts - 1 && n != gso)
			return true;
		sum += n;
	}
	return sum != wire;
}

static void quic_test_layout_sweep(struct kunit *test)
{
	static const unsigned int gso[] = {
		17, 18, 31, 32, 33, 48, 100, 511, 512, 513, 1200, 1472, 9000,
		65535
	};
	unsigned int i, bad = 0;
	size_t len;

	for (i = 0; i < ARRAY_SIZE(gso); i++) {
		for (len = 1; len < 66000; len += len < 3000 ? 1 : 97) {
			bad += quic_test_layout_bad(len, gso[i], false);
			bad += quic_test_layout_bad(len, gso[i], true);
		}
	}
	KUNIT_EXPECT_EQ(test, bad, 0);
}

static struct kunit_case quic_layout_tests[] = {
	KUNIT_CASE_PARAM(quic_test_layout, quic_layout_gen_params),
	KUNIT_CASE(quic_test_layout_sweep),
	{}
};

static struct kunit_suite quic_layout_suite = {
	.name = "quic_crypto_layout",
	.test_cases = quic_layout_tests,
};

kunit_test_suites(&quic_packet_suite, &quic_layout_suite);
