// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of QUIC packet protection: packets, packet number windows,
 * header protection, sealing, keys, and the software behind device offload.
 */

#include <crypto/skcipher.h>
#include <kunit/test.h>
#include <linux/bitmap.h>
#include <linux/crypto.h>
#include <linux/gfp.h>
#include <linux/ip.h>
#include <linux/math64.h>
#include <linux/prandom.h>
#include <linux/skbuff.h>
#include <linux/udp.h>
#include <linux/unaligned.h>
#include <net/ip.h>
#include <net/net_namespace.h>
#include <net/quic.h>

#include "quic.h"
#include "quic_test_vectors.h"

/* Bytes around the packets, which must stay */
#define QUIC_TEST_PREFIX	28
#define QUIC_TEST_SUFFIX	9

static void quic_test_defer(struct kunit *test, kunit_action_t *action,
			    void *arg)
{
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, action, arg));
}

static void quic_test_cid(u8 *cid, unsigned int cid_len)
{
	unsigned int i;

	for (i = 0; i < cid_len; i++)
		cid[i] = 0xc0 + i;
}

/* Write an unprotected short header; return how long it is. */
static unsigned int quic_test_header(u8 *p, u8 first, unsigned int cid_len,
				     u64 pn, unsigned int pn_len)
{
	unsigned int i;

	p[0] = first | (pn_len - 1);
	quic_test_cid(p + 1, cid_len);
	for (i = 0; i < pn_len; i++)
		p[1 + cid_len + i] = pn >> (8 * (pn_len - 1 - i));
	return 1 + cid_len + pn_len;
}

/*
 * quic_crypto_packet
 */

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

/* What RFC 9000 A.3 means: the candidate in the window around @expected, or
 * the one in the same block where that would be no packet number.
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
			if (i & 1) /* at the borders of the window */
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
	u64 acked;		/* U64_MAX: nothing yet */
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

/* The sender's choice, RFC 9000 A.2: twice as many as are not acknowledged */
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

	/* All that a peer may expect: any packet in flight may be its latest */
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
	u64 pn;
	u8 iv[QUIC_MAX_IV_SIZE];
	u8 nonce[QUIC_MAX_IV_SIZE];
};

static const struct quic_nonce_case quic_nonce_cases[] = {
	{
		"RFC 9001 A.5", 654360564,
		{ 0xe0, 0x45, 0x9b, 0x34, 0x74, 0xbd,
		  0xd0, 0xe4, 0x4a, 0x41, 0xc1, 0x44 },
		{ 0xe0, 0x45, 0x9b, 0x34, 0x74, 0xbd,
		  0xd0, 0xe4, 0x6d, 0x41, 0x7e, 0xb0 },
	}, {
		"packet 0", 0,
		{ 0xe0, 0x45, 0x9b, 0x34, 0x74, 0xbd,
		  0xd0, 0xe4, 0x4a, 0x41, 0xc1, 0x44 },
		{ 0xe0, 0x45, 0x9b, 0x34, 0x74, 0xbd,
		  0xd0, 0xe4, 0x4a, 0x41, 0xc1, 0x44 },
	}, {
		"order of bytes", 0x0102030405060708,
		{ 0 },
		{ 0, 0, 0, 0, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08 },
	}, {
		"greatest", QUIC_MAX_PKT_NUM,
		{ 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
		  0xff, 0xff, 0xff, 0xff, 0xff, 0xff },
		{ 0xff, 0xff, 0xff, 0xff, 0xc0, 0, 0, 0, 0, 0, 0, 0 },
	},
};

KUNIT_ARRAY_PARAM_DESC(quic_nonce, quic_nonce_cases, desc);

static void quic_test_nonce(struct kunit *test)
{
	const struct quic_nonce_case *c = test->param_value;
	u8 nonce[QUIC_MAX_IV_SIZE + 1] = { [QUIC_MAX_IV_SIZE] = 0xa5 };

	quic_nonce(nonce, c->iv, c->pn);
	KUNIT_EXPECT_MEMEQ(test, nonce, c->nonce, QUIC_MAX_IV_SIZE);
	KUNIT_EXPECT_EQ(test, nonce[QUIC_MAX_IV_SIZE], 0xa5);
}

/**
 * struct quic_parse_case - what quic_pkt_parse() makes of a packet
 * @desc: name
 * @first: first byte
 * @cid_len: connection ID expected
 * @flip: byte of the header to change, 0 for none
 * @len: size of the packet without tag
 * @expected: packet number expected
 * @pn: packet number it has
 * @err: 0 or -EINVAL
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
	{ "first byte of CID differs", 0x40, 8, 1, 100, 1, 1, -EINVAL },
	{ "last byte of CID differs", 0x40, 8, 8, 100, 1, 1, -EINVAL },
	{ "last byte of longest differs", 0x40, 20, 20, 100, 1, 1, -EINVAL },
	{ "only byte of CID differs", 0x40, 1, 1, 100, 1, 1, -EINVAL },
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

static void quic_test_parse(struct kunit *test)
{
	const struct quic_parse_case *c = test->param_value;
	u8 cid[QUIC_MAX_CONNECTION_ID_SIZE];
	u8 hdr[QUIC_MAX_HDR_SIZE + 1] = {};
	struct quic_pkt pkt = {};
	unsigned int have;
	u8 *p;

	quic_test_cid(cid, c->cid_len);
	quic_test_header(hdr, c->first & ~QUIC_HDR_PN_LEN, c->cid_len, c->pn,
			 1 + (c->first & QUIC_HDR_PN_LEN));
	if (c->flip)
		hdr[c->flip] ^= 0x10;

	/* Not a byte more than promised: KASAN watches */
	have = min(c->len, QUIC_MAX_HDR_SIZE);
	p = kunit_kzalloc(test, have, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, p);
	memcpy(p, hdr, have);

	KUNIT_ASSERT_EQ(test, c->err,
			quic_pkt_parse(&pkt, p, c->len, cid, c->cid_len,
				       c->expected));
	if (c->err)
		return;
	KUNIT_EXPECT_EQ(test, pkt.pn, c->pn);
	KUNIT_EXPECT_EQ(test, pkt.pn_len, 1 + (c->first & QUIC_HDR_PN_LEN));
	KUNIT_EXPECT_EQ(test, pkt.phase, !!(c->first & QUIC_HDR_KEY_PHASE));
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

/*
 * quic_crypto_layout
 */

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

/* True where the layout is wrong. */
static bool quic_test_layout_bad(size_t len, unsigned int gso, bool tag_room)
{
	unsigned int room = tag_room ? 0 : QUIC_TAG_SIZE;
	unsigned int npkts = 0, wire = 0, sum = 0, n = 0, i;
	struct quic_layout l;
	size_t left;
	int err;

	/* One packet after the other */
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
	/* Room for a tag, and nothing that it seals: n is the last packet */
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

static struct kunit_case quic_layout_kcases[] = {
	KUNIT_CASE_PARAM(quic_test_layout, quic_layout_gen_params),
	KUNIT_CASE(quic_test_layout_sweep),
	{}
};

static struct kunit_suite quic_layout_suite = {
	.name = "quic_crypto_layout",
	.test_cases = quic_layout_kcases,
};

/*
 * quic_crypto_window
 */

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
		/* 0 has left the window when 4096 is in */
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
	/* One up: the oldest goes out, its bit serves the newest */
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

static void quic_test_window_call(struct kunit *test)
{
	/* Twice in a call */
	KUNIT_EXPECT_EQ(test, quic_test_take2(test, 10, 10), -EALREADY);
	KUNIT_EXPECT_EQ(test, quic_test_take2(test, 10, 11), 0);
	/* One of the two is not new: the other is not used up */
	KUNIT_EXPECT_EQ(test, quic_test_take2(test, 12, 11), -EALREADY);
	KUNIT_EXPECT_EQ(test, quic_test_take2(test, 11, 12), -EALREADY);
	KUNIT_EXPECT_EQ(test, quic_test_take2(test, 12, 9), 0);
	/* A call longer than the window fails and does not move it */
	KUNIT_EXPECT_EQ(test, quic_test_take2(test, 14 + QUIC_PN_WINDOW, 14),
			-EALREADY);
	KUNIT_EXPECT_EQ(test, quic_test_take2(test, 14, 14 + QUIC_PN_WINDOW),
			-EALREADY);
	KUNIT_EXPECT_EQ(test, quic_test_take2(test, 1ULL << 40, 11), -EALREADY);
	KUNIT_EXPECT_EQ(test, quic_test_take(test, 0), 0);
	/* As long as the window */
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

	/* The very last of a call stands in it twice */
	for (i = 0; i < UDP_MAX_SEGMENTS; i++)
		pkts[i].pn = 20000 + 3 * (i ^ 5);
	pkts[UDP_MAX_SEGMENTS - 1].pn = pkts[0].pn;
	KUNIT_EXPECT_EQ(test, quic_pn_reserve(w, pkts, UDP_MAX_SEGMENTS),
			-EALREADY);
	pkts[UDP_MAX_SEGMENTS - 1].pn = 20001;
	KUNIT_EXPECT_EQ(test, quic_pn_reserve(w, pkts, UDP_MAX_SEGMENTS), 0);
}

/* What is just below a run can be taken, unless it has been */
static void quic_test_expect_before(struct kunit *test, const u64 *first,
				    unsigned int c)
{
	u64 pn = first[c] - 1;
	bool taken = first[c - 1] + UDP_MAX_SEGMENTS > pn;

	KUNIT_EXPECT_EQ(test, quic_test_take(test, pn), taken ? -EALREADY : 0);
	if (!taken)
		quic_test_give(test, pn);
}

/* As many as a call may have, ascending, wherever they lie in the map */
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

	/* The top moves on meanwhile, the number stays in the window */
	KUNIT_EXPECT_EQ(test, quic_test_take(test, 8), 0);
	KUNIT_EXPECT_EQ(test, quic_test_take(test, 7 + QUIC_PN_WINDOW - 1), 0);
	quic_test_give(test, 7);
	KUNIT_EXPECT_EQ(test, quic_test_take(test, 8), -EALREADY);
	KUNIT_EXPECT_EQ(test, quic_test_take(test, 7), 0);

	/* It leaves the window: its bit belongs to another number now */
	KUNIT_EXPECT_EQ(test, quic_test_take(test, 7 + QUIC_PN_WINDOW), 0);
	quic_test_give(test, 7);
	KUNIT_EXPECT_EQ(test, quic_test_take(test, 7), -EALREADY);
	KUNIT_EXPECT_EQ(test, quic_test_take(test, 7 + QUIC_PN_WINDOW),
			-EALREADY);
}

/* As simple as can be: a bit for every number there is */
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
		/* Some calls fail when others have come after them */
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

	/* At the end, number by number */
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

/*
 * quic_crypto_hp
 */

KUNIT_DEFINE_ACTION_WRAPPER(quic_test_hp_destroy, quic_hp_destroy,
			    struct quic_hp *);

static struct quic_hp *quic_test_hp(struct kunit *test, u16 type,
				    const char *secret)
{
	const struct quic_cipher *cipher = quic_cipher_find(type);
	struct quic_hp *hp;

	KUNIT_ASSERT_NOT_NULL(test, cipher);
	hp = kunit_kzalloc(test, sizeof(*hp), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, hp);
	KUNIT_ASSERT_EQ(test, 0, quic_hp_init(hp, cipher, secret, 0));
	quic_test_defer(test, quic_test_hp_destroy, hp);
	return hp;
}

static void quic_test_masks(struct kunit *test, const struct quic_hp *hp,
			    u8 *samples, unsigned int n)
{
	struct skcipher_request *req = NULL;

	if (hp->tfm)
		req = skcipher_request_alloc(hp->tfm, GFP_KERNEL);
	KUNIT_ASSERT_EQ(test, 0,
			quic_hp_masks(hp, req, samples, n, GFP_KERNEL));
	if (req)
		skcipher_request_free(req);
}

KUNIT_ARRAY_PARAM_DESC(quic_mask, quic_mask_vecs, desc);

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

/* A batch gives what its samples give one by one. */
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

/*
 * quic_crypto_seal
 */

KUNIT_DEFINE_ACTION_WRAPPER(quic_test_key_uninstall, quic_key_uninstall,
			    struct quic_key *);
KUNIT_DEFINE_ACTION_WRAPPER(quic_test_kfree_skb, kfree_skb, struct sk_buff *);

static struct quic_key *quic_test_key(struct kunit *test, u16 type,
				      const char *secret, const char *iv)
{
	const struct quic_cipher *cipher = quic_cipher_find(type);
	struct quic_key *key;

	KUNIT_ASSERT_NOT_NULL(test, cipher);
	key = quic_key_install(&init_net, cipher, secret, iv);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, key);
	quic_test_defer(test, quic_test_key_uninstall, key);
	return key;
}

/* How packets lie in an skb */
enum {
	QUIC_TEST_LINEAR,	/* in its head */
	QUIC_TEST_FRAGS,	/* in as many page fragments as there may be */
	QUIC_TEST_PAGES,	/* in one fragment of several pages */
	QUIC_TEST_MIXED,	/* the head ends in a packet */
	QUIC_TEST_PLACES
};

static void quic_test_add_frag(struct kunit *test, struct sk_buff *skb,
			       const u8 *data, unsigned int len,
			       unsigned int off)
{
	unsigned int order = get_order(off + len);
	struct page *page;

	page = alloc_pages(GFP_KERNEL | __GFP_COMP, order);
	KUNIT_ASSERT_NOT_NULL(test, page);
	memset(page_address(page), 0x5a, PAGE_SIZE << order);
	memcpy(page_address(page) + off, data, len);
	skb_add_rx_frag(skb, skb_shinfo(skb)->nr_frags, page, off, len,
			PAGE_SIZE << order);
}

/* An skb of @data; the first QUIC_TEST_PREFIX bytes are always in the head. */
static struct sk_buff *quic_test_skb(struct kunit *test, unsigned int place,
				     const u8 *data, unsigned int len)
{
	unsigned int head, size;
	struct sk_buff *skb;

	switch (place) {
	case QUIC_TEST_LINEAR:
		head = len;
		break;
	case QUIC_TEST_MIXED:
		head = QUIC_TEST_PREFIX + (len - QUIC_TEST_PREFIX) / 3;
		break;
	default:
		head = QUIC_TEST_PREFIX;
	}

	skb = alloc_skb(head, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, skb);
	quic_test_defer(test, quic_test_kfree_skb, skb);
	skb_put_data(skb, data, head);
	data += head;
	len -= head;

	size = place == QUIC_TEST_PAGES ? len : len / MAX_SKB_FRAGS + 1;
	while (len) {
		size = min(size, len);
		quic_test_add_frag(test, skb, data, size, 13);
		data += size;
		len -= size;
	}
	return skb;
}

/**
 * struct quic_test_batch - packets to be sealed, and where they will be
 * @l: layout
 * @pkts: packets
 * @cid_len: connection ID
 * @len: bytes of @data
 * @data: prefix, packets as on the wire, suffix
 */
struct quic_test_batch {
	struct quic_layout l;
	struct quic_pkt pkts[UDP_MAX_SEGMENTS];
	unsigned int cid_len;
	unsigned int len;
	u8 *data;
};

/* The batch that a vector tells of, before sealing. */
static struct quic_test_batch *
quic_test_batch(struct kunit *test, const struct quic_seal_vec *v,
		bool tag_room)
{
	unsigned int i, j, size, user_len;
	struct quic_test_batch *b;
	struct quic_pkt *pkt;
	u8 *p;

	b = kunit_kzalloc(test, sizeof(*b), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, b);
	user_len = (v->npkts - 1) * v->size + v->last;
	if (tag_room)
		user_len += v->npkts * QUIC_TAG_SIZE;
	KUNIT_ASSERT_EQ(test, 0,
			quic_layout_init(&b->l, user_len,
					 v->size + QUIC_TAG_SIZE, tag_room));
	KUNIT_ASSERT_EQ(test, b->l.npkts, v->npkts);

	b->cid_len = v->cid_len;
	b->len = QUIC_TEST_PREFIX + b->l.wire_len + QUIC_TEST_SUFFIX;
	b->data = kunit_kmalloc(test, b->len, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, b->data);
	memset(b->data, 0x5a, b->len);

	for (i = 0; i < v->npkts; i++) {
		pkt = &b->pkts[i];
		pkt->pn = v->pn + i * v->gap;
		pkt->pn_len = v->pn_len ?: 1 + i % 4;
		pkt->phase = !!(v->first & QUIC_HDR_KEY_PHASE);

		p = b->data + QUIC_TEST_PREFIX + i * b->l.stride;
		size = i == v->npkts - 1 ? v->last : v->size;
		j = quic_test_header(p, v->first, v->cid_len, pkt->pn,
				     pkt->pn_len);
		p += j;
		size -= j;
		for (j = 0; j < size; j++)
			p[j] = v->payload ? v->payload[j] :
			       pkt->pn + 3 * j + (j >> 8);
	}
	return b;
}

/* What is read from an skb must be what was written */
static struct quic_pkt *quic_test_parsed(struct kunit *test,
					 const struct quic_test_batch *b,
					 const struct sk_buff *skb,
					 unsigned int place)
{
	struct quic_pkt *pkts = kunit_kcalloc(test, b->l.npkts, sizeof(*pkts),
					      GFP_KERNEL);
	const u8 *cid = b->data + QUIC_TEST_PREFIX + 1;
	unsigned int i, pieces = 0, lens = 0;
	struct quic_layout l = b->l;
	bool consecutive = true;

	KUNIT_ASSERT_NOT_NULL(test, pkts);
	KUNIT_ASSERT_EQ(test, 0,
			quic_pkts_parse(pkts, skb, QUIC_TEST_PREFIX, &l, cid,
					b->cid_len, b->pkts[0].pn));
	for (i = 0; i < b->l.npkts; i++) {
		KUNIT_ASSERT_EQ(test, pkts[i].pn, b->pkts[i].pn);
		KUNIT_ASSERT_EQ(test, pkts[i].pn_len, b->pkts[i].pn_len);
		KUNIT_ASSERT_EQ(test, pkts[i].phase, b->pkts[i].phase);
		pieces += !pkts[i].data;
		lens |= BIT(pkts[i].pn_len);
		if (i && pkts[i].pn != pkts[i - 1].pn + 1)
			consecutive = false;
	}
	KUNIT_EXPECT_EQ(test, l.pn_lens, lens);
	KUNIT_EXPECT_EQ(test, l.consecutive, consecutive);
	/* Also where a packet is in one piece, and where it is not */
	if (place == QUIC_TEST_LINEAR || place == QUIC_TEST_PAGES)
		KUNIT_ASSERT_EQ(test, pieces, 0);
	else if (b->l.npkts == 1)
		KUNIT_ASSERT_EQ(test, pieces, 1);
	return pkts;
}

/* Seal in a new skb. Return all of it, kunit_kfree() it. */
static u8 *quic_test_seal(struct kunit *test, const struct quic_key *key,
			  const struct quic_hp *hp,
			  const struct quic_test_batch *b, unsigned int place)
{
	struct sk_buff *skb;
	u8 *out;

	out = kunit_kzalloc(test, b->len, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, out);
	skb = quic_test_skb(test, place, b->data, b->len);
	KUNIT_ASSERT_EQ(test, 0,
			quic_seal(key, hp, skb, QUIC_TEST_PREFIX, &b->l,
				  quic_test_parsed(test, b, skb, place),
				  b->cid_len));
	KUNIT_ASSERT_EQ(test, skb->len, b->len);
	KUNIT_ASSERT_EQ(test, 0, skb_copy_bits(skb, 0, out, b->len));
	kunit_release_action(test, quic_test_kfree_skb, skb);
	return out;
}

/* Nothing but the packets may change. */
static void quic_test_expect_around(struct kunit *test,
				    const struct quic_test_batch *b,
				    const u8 *out)
{
	const u8 *end = out + QUIC_TEST_PREFIX + b->l.wire_len;

	KUNIT_EXPECT_MEMEQ(test, out, b->data, QUIC_TEST_PREFIX);
	KUNIT_EXPECT_MEMEQ(test, end, b->data, QUIC_TEST_SUFFIX);
}

KUNIT_ARRAY_PARAM_DESC(quic_seal, quic_seal_vecs, desc);

static void quic_test_seal_vec(struct kunit *test)
{
	const struct quic_seal_vec *v = test->param_value;
	struct quic_test_batch *b;
	unsigned int place, room;
	struct quic_key *key;
	struct quic_hp *hp;
	u8 *out;

	key = quic_test_key(test, v->cipher, v->key, v->iv);
	hp = quic_test_hp(test, v->cipher, v->hp);
	for (room = 0; room < 2; room++) {
		b = quic_test_batch(test, v, room);
		for (place = 0; place < QUIC_TEST_PLACES; place++) {
			out = quic_test_seal(test, key, hp, b, place);
			KUNIT_ASSERT_MEMEQ_MSG(test, out + QUIC_TEST_PREFIX,
					       v->wire, b->l.wire_len,
					       "place %u, tag room %u", place,
					       room);
			quic_test_expect_around(test, b, out);
			kunit_kfree(test, out);
		}
	}
}

/* The room of the tags gets zero, and nothing else changes. */
static void quic_test_clear_tags(struct kunit *test)
{
	const struct quic_seal_vec *v = test->param_value;
	struct quic_test_batch *b;
	struct sk_buff *skb;
	unsigned int i, place;
	u8 *out, *tag;

	b = quic_test_batch(test, v, true);
	out = kunit_kzalloc(test, b->len, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, out);
	for (place = 0; place < QUIC_TEST_PLACES; place++) {
		skb = quic_test_skb(test, place, b->data, b->len);
		KUNIT_ASSERT_EQ(test, 0,
				quic_pkts_clear_tags(quic_test_parsed(test, b,
								      skb,
								      place),
						     skb, QUIC_TEST_PREFIX,
						     &b->l));
		KUNIT_ASSERT_EQ(test, 0, skb_copy_bits(skb, 0, out, b->len));
		tag = out + QUIC_TEST_PREFIX - QUIC_TAG_SIZE;
		for (i = 0; i < b->l.npkts; i++) {
			tag += quic_layout_pkt_len(&b->l, i);
			KUNIT_EXPECT_NULL(test,
					  memchr_inv(tag, 0, QUIC_TAG_SIZE));
			memset(tag, 0x5a, QUIC_TAG_SIZE);
		}
		KUNIT_EXPECT_MEMEQ(test, out, b->data, b->len);
		kunit_release_action(test, quic_test_kfree_skb, skb);
	}
}

/**
 * struct quic_second_case - what the header of a second packet may be
 * @desc: for the log
 * @at: which byte of it differs from the first's
 * @xor: by which bits
 * @pn: number of the first
 * @ret: what comes of it
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
	{ "other phase", 0, QUIC_HDR_KEY_PHASE, 77, -EINVAL },
	{ "start of the connection ID", 1, 0x01, 77, -EINVAL },
	{ "end of the connection ID", 11, 0x80, 77, -EINVAL },
	{ "the last number", 0, 0, QUIC_MAX_PKT_NUM - 1, 0 },
	{ "more than the last number", 0, 0, QUIC_MAX_PKT_NUM, -EINVAL },
};

KUNIT_ARRAY_PARAM_DESC(quic_second, quic_second_cases, desc);

/* Most of a second packet is taken to be as the first: not too much of it. */
static void quic_test_second(struct kunit *test)
{
	const struct quic_second_case *c = test->param_value;
	struct quic_seal_vec v = {
		.first = 0x40, .cid_len = 11, .pn = c->pn, .pn_len = 2,
		.gap = 1, .npkts = 2, .size = 40, .last = 40,
	};
	struct quic_test_batch *b = quic_test_batch(test, &v, false);
	struct quic_pkt pkts[2];
	unsigned int place;
	struct sk_buff *skb;

	b->data[QUIC_TEST_PREFIX + b->l.stride + c->at] ^= c->xor;
	for (place = 0; place < QUIC_TEST_PLACES; place++) {
		skb = quic_test_skb(test, place, b->data, b->len);
		KUNIT_EXPECT_EQ(test, c->ret,
				quic_pkts_parse(pkts, skb, QUIC_TEST_PREFIX,
						&b->l, b->data +
						QUIC_TEST_PREFIX + 1,
						b->cid_len, c->pn));
		if (!c->ret)
			KUNIT_EXPECT_EQ(test, pkts[1].pn, c->pn + 1);
		kunit_release_action(test, quic_test_kfree_skb, skb);
	}
}

#define QUIC_TEST_ROUNDS	500
#define QUIC_TEST_FEW		16	/* packets */

/* A batch as users send it, now and then with a header that is not the next */
static struct quic_test_batch *quic_test_random_batch(struct kunit *test,
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
	struct quic_test_batch *b;
	unsigned int at;

	v.size = 1 + v.cid_len + QUIC_MAX_PKT_NUM_LEN +
		 prandom_u32_state(rnd) % 40;
	v.last = v.size - (prandom_u32_state(rnd) % 4 ? 0 :
			   prandom_u32_state(rnd) %
			   (v.size - v.cid_len - v.pn_len));
	b = quic_test_batch(test, &v, false);
	while (!(prandom_u32_state(rnd) % 2)) {
		at = prandom_u32_state(rnd) % v.npkts * b->l.stride;
		at += prandom_u32_state(rnd) % (1 + v.cid_len + v.pn_len);
		b->data[QUIC_TEST_PREFIX + at] ^=
			BIT(prandom_u32_state(rnd) % 8);
	}
	return b;
}

/* What quic_pkts_parse() is a faster way of */
static int quic_test_parse_each(const struct quic_test_batch *b,
				const u8 *cid, struct quic_pkt *pkts,
				struct quic_layout *l)
{
	u64 expected = b->pkts[0].pn;
	unsigned int i;
	int err;

	l->consecutive = true;
	l->pn_lens = 0;
	for (i = 0; i < l->npkts; i++) {
		err = quic_pkt_parse(&pkts[i], b->data + QUIC_TEST_PREFIX +
				     i * l->stride, quic_layout_pkt_len(l, i) -
				     QUIC_TAG_SIZE, cid, b->cid_len, expected);
		if (err || pkts[i].phase != pkts[0].phase)
			return -EINVAL;
		if (i && pkts[i].pn != expected)
			l->consecutive = false;
		l->pn_lens |= BIT(pkts[i].pn_len);
		expected = pkts[i].pn + 1;
	}
	return 0;
}

static bool quic_test_parse_same(struct kunit *test,
				 const struct quic_test_batch *b,
				 const u8 *cid, unsigned int place, int *ret)
{
	struct quic_pkt want[QUIC_TEST_FEW], got[QUIC_TEST_FEW];
	struct quic_layout l = b->l, m = b->l;
	struct sk_buff *skb;
	unsigned int i;
	int err;

	skb = quic_test_skb(test, place, b->data, b->len);
	*ret = quic_test_parse_each(b, cid, want, &l);
	err = quic_pkts_parse(got, skb, QUIC_TEST_PREFIX, &m, cid, b->cid_len,
			      b->pkts[0].pn);
	kunit_release_action(test, quic_test_kfree_skb, skb);
	if (err || *ret)
		return err == *ret;
	for (i = 0; i < l.npkts; i++) {
		if (got[i].pn != want[i].pn || got[i].phase != want[i].phase ||
		    got[i].pn_len != want[i].pn_len)
			return false;
	}
	return l.consecutive == m.consecutive && l.pn_lens == m.pn_lens;
}

static void quic_test_parse_random(struct kunit *test)
{
	unsigned int i, place, bad = 0, refused = 0;
	u8 cid[QUIC_MAX_CONNECTION_ID_SIZE];
	struct quic_test_batch *b;
	struct rnd_state rnd;
	int err;

	prandom_seed_state(&rnd, 9000);
	for (i = 0; i < QUIC_TEST_ROUNDS; i++) {
		b = quic_test_random_batch(test, &rnd);
		memcpy(cid, b->data + QUIC_TEST_PREFIX + 1, b->cid_len);
		for (place = 0; place < QUIC_TEST_PLACES; place++)
			bad += !quic_test_parse_same(test, b, cid, place,
						     &err);
		refused += err == -EINVAL;
		kunit_kfree(test, b->data);
		kunit_kfree(test, b);
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

struct quic_batch_case {
	const char *desc;
	u16 cipher;
};

static const struct quic_batch_case quic_batch_cases[] = {
	{ "aes-128-gcm", TLS_CIPHER_AES_GCM_128 },
	{ "aes-256-gcm", TLS_CIPHER_AES_GCM_256 },
	{ "aes-128-ccm", TLS_CIPHER_AES_CCM_128 },
	{ "chacha20-poly1305", TLS_CIPHER_CHACHA20_POLY1305 },
};

KUNIT_ARRAY_PARAM_DESC(quic_batch, quic_batch_cases, desc);

/* What the packets of @v are when each is sealed alone. */
static u8 *quic_test_seal_singly(struct kunit *test, const struct quic_key *key,
				 const struct quic_hp *hp,
				 const struct quic_seal_vec *v,
				 unsigned int len)
{
	struct quic_seal_vec single = *v;
	struct quic_test_batch *s;
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
		s = quic_test_batch(test, &single, false);
		out = quic_test_seal(test, key, hp, s, QUIC_TEST_LINEAR);
		memcpy(p, out + QUIC_TEST_PREFIX, s->l.wire_len);
		p += s->l.wire_len;
		kunit_kfree(test, out);
		kunit_kfree(test, s->data);
		kunit_kfree(test, s);
	}
	KUNIT_EXPECT_EQ(test, p - want, len);
	return want;
}

/* Packets sealed together are what they are when sealed one by one. */
static void quic_test_seal_batch(struct kunit *test)
{
	static const char secret[] = "A key of thirty-two bytes, 01234";
	const struct quic_batch_case *c = test->param_value;
	struct quic_seal_vec v = {
		.first = 0x64, .cid_len = 3, .pn = 77777, .gap = 2,
	};
	struct quic_test_batch *b;
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
		b = quic_test_batch(test, &v, false);
		want = quic_test_seal_singly(test, key, hp, &v, b->l.wire_len);
		for (place = 0; place < QUIC_TEST_PLACES; place++) {
			out = quic_test_seal(test, key, hp, b, place);
			/* KUNIT_ASSERT_MEMEQ would print all of it */
			KUNIT_ASSERT_EQ_MSG(test, 0,
					    memcmp(out + QUIC_TEST_PREFIX, want,
						   b->l.wire_len),
					    "shape %u, place %u", i, place);
			quic_test_expect_around(test, b, out);
			kunit_kfree(test, out);
		}
		kunit_kfree(test, want);
	}
}

static struct kunit_case quic_seal_cases[] = {
	KUNIT_CASE_PARAM(quic_test_seal_vec, quic_seal_gen_params),
	KUNIT_CASE_PARAM(quic_test_seal_batch, quic_batch_gen_params),
	KUNIT_CASE_PARAM(quic_test_clear_tags, quic_seal_gen_params),
	KUNIT_CASE_PARAM(quic_test_second, quic_second_gen_params),
	KUNIT_CASE(quic_test_parse_random),
	{}
};

static struct kunit_suite quic_seal_suite = {
	.name = "quic_crypto_seal",
	.test_cases = quic_seal_cases,
};

/*
 * quic_crypto_key
 */

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

/* RFC 9001 6.6, B.2; for ChaCha20-Poly1305 more than there are packets */
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
	/* Not a sysctl's: that may only lower it */
	KUNIT_EXPECT_EQ(test, key->cipher->seal_limit, c->limit);
	KUNIT_EXPECT_LE(test, key->limit, c->limit);

	spin_lock(&key->lock);
	key->sealed = key->limit - 3;
	spin_unlock(&key->lock);

	KUNIT_EXPECT_EQ(test, quic_test_key_take(key, 0, 4), -EKEYEXPIRED);
	/* That has used up nothing */
	KUNIT_EXPECT_EQ(test, quic_test_key_take(key, 0, 2), 0);
	KUNIT_EXPECT_EQ(test, quic_test_key_take(key, 1, 1), -EALREADY);
	KUNIT_EXPECT_EQ(test, quic_test_key_take(key, 2, 2), -EKEYEXPIRED);
	KUNIT_EXPECT_EQ(test, quic_test_key_take(key, 2, 1), 0);
	KUNIT_EXPECT_EQ(test, quic_test_key_take(key, 3, 1), -EKEYEXPIRED);
	/* A packet that was not sealed does not count */
	quic_test_key_give(key, 1);
	KUNIT_EXPECT_EQ(test, quic_test_key_take(key, 3, 1), 0);
	KUNIT_EXPECT_EQ(test, quic_test_key_take(key, 1, 1), -EKEYEXPIRED);
}

static void quic_test_seal_limit_reset(void *old)
{
	WRITE_ONCE(quic_net(&init_net)->seal_limit, (unsigned long)old);
}

static void quic_test_key_sysctl(struct kunit *test)
{
	struct quic_net *qn = quic_net(&init_net);
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
	KUNIT_EXPECT_EQ(test, key->limit, 2);
	KUNIT_EXPECT_EQ(test, quic_test_key_take(key, 5, 2), 0);
	KUNIT_EXPECT_EQ(test, quic_test_key_take(key, 7, 1), -EKEYEXPIRED);
	quic_key_uninstall(key);

	WRITE_ONCE(qn->seal_limit, ULONG_MAX);
	key = quic_key_install(&init_net, cipher, quic_test_secret,
			       quic_test_iv);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, key);
	KUNIT_EXPECT_EQ(test, key->limit, cipher->seal_limit);
	quic_key_uninstall(key);

	WRITE_ONCE(qn->seal_limit, 0);
	key = quic_key_install(&init_net, cipher, quic_test_secret,
			       quic_test_iv);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, key);
	KUNIT_EXPECT_EQ(test, key->limit, cipher->seal_limit);
	quic_key_uninstall(key);
}

/* Installed twice, a key is still one key. */
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

	/* Another IV would hide a number that comes again */
	KUNIT_EXPECT_EQ(test, -EINVAL,
			PTR_ERR_OR_ZERO(quic_key_install(&init_net, cipher,
							 quic_test_secret,
							 quic_test_iv2)));

	KUNIT_EXPECT_EQ(test, quic_test_key_take(a, 0, 4), 0);
	quic_key_uninstall(a);
	KUNIT_EXPECT_EQ(test, quic_test_key_take(b, 3, 1), -EALREADY);
	KUNIT_EXPECT_EQ(test, quic_test_key_take(b, 4, 1), 0);
	quic_key_uninstall(b);

	/* The last has gone: all is forgotten */
	a = quic_key_install(&init_net, cipher, quic_test_secret,
			     quic_test_iv2);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, a);
	KUNIT_EXPECT_EQ(test, quic_test_key_take(a, 3, 1), 0);
	quic_key_uninstall(a);
}

/* The same bytes are no key for another cipher while this one has them. */
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

#ifdef CONFIG_QUIC_CRYPTO_DEVICE
/*
 * quic_crypto_device
 */

static int quic_test_ext_refs;

static void quic_test_ext_get(struct quicdev_flow *flow)
{
	quic_test_ext_refs++;
}

static void quic_test_ext_put(struct quicdev_flow *flow)
{
	quic_test_ext_refs--;
}

static const struct quic_skb_ext_ops quic_test_ext_ops = {
	.get		= quic_test_ext_get,
	.put		= quic_test_ext_put,
	.validate	= quic_dev_validate,
};

KUNIT_DEFINE_ACTION_WRAPPER(quic_test_aead_free, quic_aead_free,
			    struct crypto_aead *);

static struct quic_dev_tx *quic_test_dev_tx(struct kunit *test,
					    const struct quic_seal_vec *v)
{
	struct quic_dev_tx *dtx;

	dtx = kunit_kzalloc(test, sizeof(*dtx), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, dtx);
	dtx->key = quic_test_key(test, v->cipher, v->key, v->iv);
	dtx->tfm = quic_aead_alloc(dtx->key->cipher, v->key, CRYPTO_ALG_ASYNC);
	KUNIT_ASSERT_FALSE(test, IS_ERR(dtx->tfm));
	if (dtx->tfm)
		quic_test_defer(test, quic_test_aead_free, dtx->tfm);
	dtx->hp = *quic_test_hp(test, v->cipher, v->hp);
	dtx->dev.cid_len = v->cid_len;
	quic_test_cid(dtx->dev.cid, v->cid_len);
	return dtx;
}

/* Without a pseudo header, which nothing here changes: 0 once it is right */
static __sum16 quic_test_udp_sum(const struct sk_buff *skb)
{
	unsigned int off = skb_transport_offset(skb);

	return csum_fold(skb_checksum(skb, off, skb->len - off, 0));
}

/* The datagram, or GSO skb, that quic_dev_seal() would leave to a device */
static struct sk_buff *quic_test_dev_skb(struct kunit *test,
					 struct quic_dev_tx *dtx,
					 const struct quic_test_batch *b,
					 unsigned int place)
{
	struct quic_skb_ext *ext;
	struct sk_buff *skb;

	skb = quic_test_skb(test, place, b->data, b->len - QUIC_TEST_SUFFIX);
	skb->protocol = htons(ETH_P_IP);
	skb_reset_network_header(skb);
	skb_set_transport_header(skb, sizeof(struct iphdr));
	memset(ip_hdr(skb), 0, sizeof(struct iphdr));
	udp_hdr(skb)->len = htons(sizeof(struct udphdr) + b->l.wire_len);
	udp_hdr(skb)->check = 0;
	udp_hdr(skb)->check = quic_test_udp_sum(skb);
	if (b->l.npkts > 1)
		skb_shinfo(skb)->gso_size = b->l.stride;
	skb_shinfo(skb)->tx_flags = SKBTX_SW_TSTAMP;
	skb_shinfo(skb)->tskey = 7;

	ext = skb_ext_add(skb, SKB_EXT_QUIC);
	KUNIT_ASSERT_NOT_NULL(test, ext);
	quic_test_ext_refs++;
	ext->ops = &quic_test_ext_ops;
	ext->flow = &dtx->dev;
	ext->pkt_num = b->pkts[0].pn;
	ext->npkts = b->l.npkts;
	skb->decrypted = 1;
	return skb;
}

static void quic_test_dev_fallback(struct kunit *test, struct sk_buff *skb,
				   const struct quic_test_batch *b,
				   const u8 *wire)
{
	unsigned int len = skb->len;
	struct sk_buff *clone, *out;
	u8 *before, *after;

	before = kunit_kzalloc(test, len, GFP_KERNEL);
	after = kunit_kzalloc(test, len, GFP_KERNEL);
	KUNIT_ASSERT_TRUE(test, before && after);
	skb_copy_bits(skb, 0, before, len);

	/* What is shared must stay as it is */
	clone = skb_clone(skb, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, clone);
	out = quic_validate_xmit_skb(NULL, init_net.loopback_dev, clone);
	KUNIT_ASSERT_NOT_NULL(test, out);
	quic_test_defer(test, quic_test_kfree_skb, out);
	skb_copy_bits(skb, 0, after, len);
	KUNIT_EXPECT_EQ(test, 0, memcmp(before, after, len));

	KUNIT_EXPECT_PTR_NE(test, out, skb);
	KUNIT_ASSERT_EQ(test, out->len, len);
	skb_copy_bits(out, 0, after, len);
	KUNIT_EXPECT_EQ(test, 0, memcmp(before, after, QUIC_TEST_PREFIX - 2));
	if (skb->ip_summed == CHECKSUM_PARTIAL)
		KUNIT_EXPECT_TRUE(test, udp_hdr(out)->check ==
					udp_hdr(skb)->check);
	else
		KUNIT_EXPECT_FALSE(test, quic_test_udp_sum(out));
	KUNIT_EXPECT_EQ(test, 0, memcmp(after + QUIC_TEST_PREFIX, wire,
					b->l.wire_len));
	KUNIT_EXPECT_FALSE(test, skb_is_decrypted(out));
	KUNIT_EXPECT_FALSE(test, skb_ext_exist(out, SKB_EXT_QUIC));
	KUNIT_EXPECT_EQ(test, skb_shinfo(out)->gso_size,
			skb_shinfo(skb)->gso_size);
	KUNIT_EXPECT_EQ(test, skb_shinfo(out)->tx_flags, SKBTX_SW_TSTAMP);
	KUNIT_EXPECT_EQ(test, skb_shinfo(out)->tskey, 7);
	KUNIT_EXPECT_TRUE(test, udp_hdr(out)->len == udp_hdr(skb)->len);
}

static void quic_test_dev_dropped(struct kunit *test, struct sk_buff *skb)
{
	struct sk_buff *clone = skb_clone(skb, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, clone);
	KUNIT_EXPECT_NULL(test, quic_validate_xmit_skb(NULL,
						       init_net.loopback_dev,
						       clone));
}

/* Another device: what is sent there is what the vectors say. */
static void quic_test_dev_other(struct kunit *test)
{
	const struct quic_seal_vec *v = test->param_value;
	struct quic_test_batch *b;
	struct quic_dev_tx *dtx;
	struct sk_buff *skb;
	unsigned int place;

	dtx = quic_test_dev_tx(test, v);
	b = quic_test_batch(test, v, true);
	for (place = 0; place < QUIC_TEST_PLACES; place++) {
		skb = quic_test_dev_skb(test, dtx, b, place);
		skb->ip_summed = place & 1 ? CHECKSUM_PARTIAL : CHECKSUM_NONE;
		/* No device is given packets with gaps in their numbers */
		if (v->npkts == 1 || v->gap == 1)
			quic_test_dev_fallback(test, skb, b, v->wire);
		else
			quic_test_dev_dropped(test, skb);
		kunit_release_action(test, quic_test_kfree_skb, skb);
	}
	KUNIT_EXPECT_EQ(test, 0, quic_test_ext_refs);
}

static const struct quic_seal_vec *quic_test_some_vec(void)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(quic_seal_vecs); i++)
		if (quic_seal_vecs[i].npkts > 1 && quic_seal_vecs[i].gap == 1)
			break;
	return &quic_seal_vecs[i % ARRAY_SIZE(quic_seal_vecs)];
}

/* The device that has the key gets the packets as they are. */
static void quic_test_dev_same(struct kunit *test)
{
	const struct quic_seal_vec *v = quic_test_some_vec();
	struct net_device *netdev = init_net.loopback_dev;
	struct quic_test_batch *b;
	struct quic_dev_tx *dtx;
	struct sk_buff *skb;

	dtx = quic_test_dev_tx(test, v);
	b = quic_test_batch(test, v, true);
	skb = quic_test_dev_skb(test, dtx, b, QUIC_TEST_MIXED);
	RCU_INIT_POINTER(dtx->netdev, netdev);
	KUNIT_EXPECT_PTR_EQ(test, skb,
			    quic_validate_xmit_skb(NULL, netdev, skb));
	KUNIT_EXPECT_TRUE(test, skb_is_decrypted(skb));
}

/* Not what was to be sealed any more: nobody gets it. */
static void quic_test_dev_drop(struct kunit *test)
{
	const struct quic_seal_vec *v = quic_test_some_vec();
	struct quic_test_batch *b;
	struct quic_dev_tx *dtx;
	struct sk_buff *skb;
	unsigned int i;

	dtx = quic_test_dev_tx(test, v);
	b = quic_test_batch(test, v, true);
	for (i = 0; i < 7; i++) {
		skb = quic_test_dev_skb(test, dtx, b, QUIC_TEST_LINEAR);
		switch (i) {
		case 0:
			ip_hdr(skb)->frag_off = htons(IP_MF);
			break;
		case 1:
			ip_hdr(skb)->frag_off = htons(1);
			break;
		case 2:
			skb_trim(skb, skb->len - 1);
			break;
		case 3:
			skb->encapsulation = 1;
			break;
		case 4:
			skb_ext_del(skb, SKB_EXT_QUIC);
			break;
		case 5:
			/* the packet number, into one that is not the skb's */
			skb->data[QUIC_TEST_PREFIX + v->cid_len +
				  b->pkts[0].pn_len] ^= 1;
			break;
		case 6:
			/* the connection ID */
			skb->data[QUIC_TEST_PREFIX + v->cid_len] ^= 1;
			break;
		}
		quic_test_dev_dropped(test, skb);
		kunit_release_action(test, quic_test_kfree_skb, skb);
	}
	KUNIT_EXPECT_EQ(test, 0, quic_test_ext_refs);
}

static int quic_test_dev_init(struct kunit *test)
{
	quic_test_ext_refs = 0;
	return 0;
}

static struct kunit_case quic_dev_cases[] = {
	KUNIT_CASE_PARAM(quic_test_dev_other, quic_seal_gen_params),
	KUNIT_CASE(quic_test_dev_same),
	KUNIT_CASE(quic_test_dev_drop),
	{}
};

static struct kunit_suite quic_dev_suite = {
	.name = "quic_crypto_device",
	.init = quic_test_dev_init,
	.test_cases = quic_dev_cases,
};

kunit_test_suite(quic_dev_suite);
#endif

kunit_test_suites(&quic_packet_suite, &quic_layout_suite, &quic_window_suite,
		  &quic_hp_suite, &quic_seal_suite, &quic_key_suite);
