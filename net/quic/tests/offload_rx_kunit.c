// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of QUIC packet protection: packets that a device has opened
 */

#include <kunit/test.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/netdevice.h>
#include <linux/skbuff.h>
#include <linux/string.h>
#include <linux/udp.h>
#include <net/net_namespace.h>
#include <net/quic_core.h>
#include <net/sock.h>

#include "../flow_rx.h"
#include "../key.h"
#include "../offload.h"
#include "../offload_rx.h"
#include "common.h"
#include "vectors.h"

#define QUIC_TEST_PORT	4433

static int quic_test_rx_refs;

static void quic_test_rx_get(struct quicdev_key *qkey)
{
	quic_test_rx_refs++;
}

static void quic_test_rx_put(struct quicdev_key *qkey)
{
	quic_test_rx_refs--;
}

/* As those of the module, but for the references */
static struct quic_skb_ext_ops quic_test_rx_skb_ops;

static bool quic_test_rx_key_stays = true;

static bool quic_test_rx_key_opened(struct quicdev_key *qkey)
{
	quic_test_rx_refs += quic_test_rx_key_stays;
	return quic_test_rx_key_stays;
}

static const struct quicdev_key_ops quic_test_rx_key_ops = {
	.skb	= &quic_test_rx_skb_ops,
	.opened	= quic_test_rx_key_opened,
};

/* A key that a device opens with */
static struct quic_offload *quic_test_rx_offload(struct kunit *test)
{
	struct quic_offload *o;

	o = kunit_kzalloc(test, sizeof(*o), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, o);
	o->rx_key = kunit_kzalloc(test, sizeof(*o->rx_key), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, o->rx_key);
	/* There is no device whose work item could be queued */
	o->queued = 1;
	o->qkey.direction = QUICDEV_RX;
	o->qkey.ops = &quic_test_rx_key_ops;
	return o;
}

static struct sk_buff *quic_test_rx_skb(struct kunit *test)
{
	const unsigned int len = sizeof(struct ipv6hdr) + sizeof(struct udphdr);
	struct sk_buff *skb;

	skb = alloc_skb(len, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, skb);
	quic_test_skb_defer_free(test, skb);
	skb_put_zero(skb, len);
	skb_reset_network_header(skb);
	skb_set_transport_header(skb, sizeof(struct ipv6hdr));
	udp_hdr(skb)->source = htons(QUIC_TEST_PORT);
	udp_hdr(skb)->dest = htons(QUIC_TEST_PORT + 1);
	return skb;
}

static bool quic_test_rx_open(struct sk_buff *skb, struct quic_offload *o,
			      u64 pn)
{
	bool opened;

	rcu_read_lock();
	opened = quicdev_opened(skb, &o->qkey, pn);
	rcu_read_unlock();
	return opened;
}

static struct sk_buff *quic_test_rx_opened(struct kunit *test,
					   struct quic_offload *o, u64 pn)
{
	struct sk_buff *skb = quic_test_rx_skb(test);

	skb->dev = init_net.loopback_dev;
	KUNIT_ASSERT_TRUE(test, quic_test_rx_open(skb, o, pn));
	return skb;
}

/* What a device leaves behind becomes what libcrypto has sealed */
static void quic_test_rx_protect(struct kunit *test)
{
	const struct quic_seal_vec *v = test->param_value;
	struct quic_test_plain *plain = quic_test_plain(test, v, true);
	const struct quic_prot prot =
		quic_key_prot(quic_test_key(test, v->cipher, v->key, v->iv),
			      v->path_id,
			      quic_test_hp(test, v->cipher, v->hp));
	unsigned int i, len, pos;
	struct sk_buff *skb;
	u64 expected;

	for (i = 0; i < plain->layout.npkts; i++) {
		len = quic_layout_pkt_len(&plain->layout, i);
		pos = i * plain->layout.stride;
		skb = alloc_skb(len, GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, skb);
		skb_put_data(skb, plain->data + QUIC_TEST_PREFIX + pos, len);
		/* Nobody knows what is there instead of the tag */
		memset(skb->data + len - QUIC_TAG_SIZE, 0xa5, QUIC_TAG_SIZE);
		expected = plain->pkts[0].pn;
		if (plain->pkts[i].pn - expected > 127)
			expected = plain->pkts[i].pn;
		KUNIT_EXPECT_EQ(test, 0,
				quic_offload_rx_protect(&prot, skb,
							plain->cid_len,
							expected));
		KUNIT_EXPECT_MEMEQ(test, skb->data, v->wire + pos, len);
		kfree_skb(skb);
	}
}

/* GRO keeps packets apart that one key and one number do not describe */
static void quic_test_rx_gro(struct kunit *test)
{
	static const struct {
		u64 pn;
		bool differs;
	} numbers[] = {
		{ 1000, true }, { 999, true }, { 0, true }, { 1001, false },
		{ 1127, false }, { 1128, true }, { QUIC_MAX_PKT_NUM, true },
	};
	struct quic_offload *o = quic_test_rx_offload(test);
	struct quic_offload *other = quic_test_rx_offload(test);
	struct sk_buff *p = quic_test_rx_opened(test, o, 1000);
	struct sk_buff *wire = quic_test_rx_skb(test), *skb;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(numbers); i++) {
		skb = quic_test_rx_opened(test, o, numbers[i].pn);
		KUNIT_EXPECT_EQ_MSG(test, quic_gro_differs(p, skb),
				    numbers[i].differs, "%llu", numbers[i].pn);
	}
	skb = quic_test_rx_opened(test, other, 1001);
	KUNIT_EXPECT_TRUE(test, quic_gro_differs(p, skb));
	KUNIT_EXPECT_TRUE(test, quic_gro_differs(p, wire));
	KUNIT_EXPECT_TRUE(test, quic_gro_differs(wire, p));
	KUNIT_EXPECT_FALSE(test, quic_gro_differs(wire, wire));
	/* The mark alone is not enough */
	skb = quic_test_rx_skb(test);
	skb->decrypted = 1;
	KUNIT_EXPECT_TRUE(test, quic_gro_differs(p, skb));
	KUNIT_EXPECT_TRUE(test, quic_gro_differs(skb, skb));
}

/* Nobody but the socket of a key gets packets that were opened with it */
static void quic_test_rx_deliver(struct kunit *test)
{
	struct quic_offload *o = quic_test_rx_offload(test);
	struct sk_buff *skb = quic_test_rx_opened(test, o, 0);
	struct sock *sk, *other;

	sk = kunit_kzalloc(test, 2 * sizeof(*sk), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, sk);
	other = sk + 1;
	sock_net_set(sk, &init_net);
	sock_net_set(other, &init_net);
	o->owner = sk;

	KUNIT_EXPECT_TRUE(test, quic_may_deliver(skb, sk));
	KUNIT_EXPECT_EQ(test, (int)o->stop, QUIC_OFFLOAD_GO);
	KUNIT_EXPECT_FALSE(test, quic_may_deliver(skb, other));
	KUNIT_EXPECT_EQ(test, (int)o->stop, QUIC_OFFLOAD_STOP_KEY);

	o->stop = QUIC_OFFLOAD_GO;
	o->rx_key->retired = true;
	KUNIT_EXPECT_FALSE(test, quic_may_deliver(skb, sk));
	/* It is about to leave the device anyway */
	KUNIT_EXPECT_EQ(test, (int)o->stop, QUIC_OFFLOAD_GO);

	o->rx_key->retired = false;
	skb_ext_del(skb, SKB_EXT_QUIC);
	KUNIT_EXPECT_FALSE(test, quic_may_deliver(skb, sk));
	skb->decrypted = 0;
	KUNIT_EXPECT_TRUE(test, quic_may_deliver(skb, other));
	KUNIT_EXPECT_EQ(test, 0, quic_test_rx_refs);
}

/* A driver has looked up a key that leaves the device */
static void quic_test_rx_leaving(struct kunit *test)
{
	struct quic_offload *o = quic_test_rx_offload(test);
	struct sk_buff *skb = quic_test_rx_skb(test);

	quic_test_rx_key_stays = false;
	KUNIT_EXPECT_FALSE(test, quic_test_rx_open(skb, o, 0));
	quic_test_rx_key_stays = true;
	KUNIT_EXPECT_EQ(test, 0, quic_test_rx_refs);
	KUNIT_EXPECT_FALSE(test, skb_is_decrypted(skb));
	KUNIT_EXPECT_FALSE(test, skb_ext_exist(skb, SKB_EXT_QUIC));
	KUNIT_EXPECT_TRUE(test, quic_test_rx_open(skb, o, 0));
	KUNIT_EXPECT_EQ(test, 1, quic_test_rx_refs);

	o->state = QUIC_OFFLOAD_IN;
	KUNIT_EXPECT_FALSE(test, quic_offload_rx_opened(&o->qkey));
	refcount_set(&o->ref, 1);
	KUNIT_EXPECT_TRUE(test, quic_offload_rx_opened(&o->qkey));
	o->state = QUIC_OFFLOAD_NEW;
	KUNIT_EXPECT_TRUE(test, quic_offload_rx_opened(&o->qkey));
	o->state = QUIC_OFFLOAD_OUT;
	KUNIT_EXPECT_FALSE(test, quic_offload_rx_opened(&o->qkey));
	KUNIT_EXPECT_EQ(test, 3, refcount_read(&o->ref));
}

/* What a device has opened is never transmitted */
static void quic_test_rx_transmit(struct kunit *test)
{
	struct quic_offload *o = quic_test_rx_offload(test);
	struct net_device *lo = init_net.loopback_dev;
	struct sk_buff *skb, *clone;

	skb = quic_test_rx_opened(test, o, 0);
	KUNIT_EXPECT_NULL(test, quicdev_skb_ext(skb));
	clone = skb_clone(skb, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, clone);
	KUNIT_EXPECT_NULL(test, quic_validate_xmit_skb(NULL, lo, clone));
	KUNIT_EXPECT_EQ(test, (int)o->stop, QUIC_OFFLOAD_STOP_KEY);

	o->stop = QUIC_OFFLOAD_GO;
	clone = skb_clone(skb, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, clone);
	KUNIT_EXPECT_NULL(test, quic_seal_skb(clone));
	KUNIT_EXPECT_EQ(test, (int)o->stop, QUIC_OFFLOAD_STOP_KEY);
	KUNIT_EXPECT_EQ(test, 1, quic_test_rx_refs);
	quic_skb_forget_key(skb);
	KUNIT_EXPECT_EQ(test, 0, quic_test_rx_refs);
	KUNIT_EXPECT_NULL(test, quic_skb_opened(skb));
}

static void quic_test_rx_seen(struct kunit *test, struct quic_rx_seen *seen,
			      bool ipv4)
{
	struct sk_buff *skb = quic_test_rx_skb(test);
	u8 *head = kunit_kzalloc(test, 1 + 8, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, head);
	memset(seen, 0, sizeof(*seen));
	seen->skb = skb;
	seen->cid_len = 8;
	head[0] = QUIC_HDR_FIXED;
	quic_test_cid(head + 1, seen->cid_len);
	seen->head = head;
	skb->protocol = htons(ipv4 ? ETH_P_IP : ETH_P_IPV6);
	if (ipv4) {
		ip_hdr(skb)->saddr = htonl(0xc0000201);
		ip_hdr(skb)->daddr = htonl(0xc0000202);
		return;
	}
	ipv6_hdr(skb)->saddr.s6_addr[0] = 0x20;
	ipv6_hdr(skb)->saddr.s6_addr[15] = 1;
	ipv6_hdr(skb)->daddr.s6_addr[0] = 0x20;
	ipv6_hdr(skb)->daddr.s6_addr[15] = 2;
}

/* A key is for packets like the one that it is described from, and others */
static void quic_test_rx_match(struct kunit *test)
{
	static const u16 off[] = {
		offsetof(struct quicdev_key, sport),
		offsetof(struct quicdev_key, dport),
		offsetof(struct quicdev_key, saddr),
		offsetof(struct quicdev_key, daddr),
		offsetof(struct quicdev_key, family),
		offsetof(struct quicdev_key, cid_len),
		offsetof(struct quicdev_key, cid) + 7,
	};
	struct quic_rx_seen seen;
	struct quicdev_key *qkey;
	unsigned int ipv4, i;

	qkey = kunit_kzalloc(test, sizeof(*qkey), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, qkey);
	for (ipv4 = 0; ipv4 < 2; ipv4++) {
		quic_test_rx_seen(test, &seen, ipv4);
		memset(qkey, 0, sizeof(*qkey));
		quic_offload_rx_address(qkey, &seen);
		KUNIT_EXPECT_EQ(test, qkey->direction, QUICDEV_RX);
		KUNIT_EXPECT_EQ(test, qkey->family, ipv4 ? AF_INET : AF_INET6);
		KUNIT_EXPECT_EQ(test, ntohs(qkey->sport), QUIC_TEST_PORT);
		KUNIT_EXPECT_TRUE(test, quic_offload_rx_match(qkey, &seen));
		for (i = 0; i < ARRAY_SIZE(off); i++) {
			((u8 *)qkey)[off[i]] ^= 1;
			KUNIT_EXPECT_FALSE_MSG(test,
					       quic_offload_rx_match(qkey,
								     &seen),
					       "offset %u", off[i]);
			((u8 *)qkey)[off[i]] ^= 1;
		}
	}
}

/* Say @n times that software had to open a packet. Return after how many of
 * them there was something to do; 0: never.
 */
static unsigned int quic_test_rx_misses(struct quic_rx_watch *watch,
					unsigned int n, bool match,
					enum quic_rx_advice advice)
{
	unsigned int i;

	for (i = 1; i <= n; i++) {
		if (quic_rx_watch_opened(watch, 1, match) == advice)
			return i;
	}
	return 0;
}

static void quic_test_rx_resync(struct kunit *test)
{
	struct quic_rx_watch w = {};
	unsigned int i;

	for (i = 8; i <= 1024; i *= 2)
		KUNIT_EXPECT_EQ(test, i,
				quic_test_rx_misses(&w, 2048, true,
						    QUIC_RX_RESYNC));
	/* The device has woken up */
	KUNIT_EXPECT_FALSE(test, w.serving);
	quic_rx_watch_served(&w, 1);
	KUNIT_EXPECT_TRUE(test, w.serving);
	KUNIT_EXPECT_EQ(test, 0, quic_test_rx_misses(&w, 7, true,
						     QUIC_RX_RESYNC));
	quic_rx_watch_served(&w, 1);
	KUNIT_EXPECT_EQ(test, 8, quic_test_rx_misses(&w, 9, true,
						     QUIC_RX_RESYNC));
	/* Many at once */
	w = (struct quic_rx_watch){};
	KUNIT_EXPECT_EQ(test, (int)quic_rx_watch_opened(&w, 64, true),
			QUIC_RX_RESYNC);
	/* There is an end to it, without an overflow */
	w.serving = true;
	for (i = 0; i < 40; i++)
		quic_rx_watch_opened(&w, U32_MAX / 2, true);
	KUNIT_EXPECT_EQ(test, (int)quic_rx_watch_opened(&w, 1 << 20, true),
			QUIC_RX_RESYNC);
}

/* A device that never opens anything does not see the packets as they are */
static void quic_test_rx_give_up(struct kunit *test)
{
	struct quic_rx_watch w = {};

	KUNIT_EXPECT_EQ(test, 8 * 511, quic_test_rx_misses(&w, 10000, true,
							   QUIC_RX_GIVE_UP));
	/* With the next offer it has as much time again */
	quic_rx_watch_start(&w);
	KUNIT_EXPECT_EQ(test, 8 * 511, quic_test_rx_misses(&w, 10000, true,
							   QUIC_RX_GIVE_UP));
	/* It has only fallen behind */
	quic_rx_watch_start(&w);
	quic_rx_watch_served(&w, 1);
	KUNIT_EXPECT_EQ(test, 0, quic_test_rx_misses(&w, 10000, true,
						     QUIC_RX_GIVE_UP));
}

static void quic_test_rx_move(struct kunit *test)
{
	struct quic_rx_watch w = {};

	KUNIT_EXPECT_EQ(test, 0, quic_test_rx_misses(&w, 7, false,
						     QUIC_RX_MOVE));
	/* Only a few of them: the old connection ID is still in use */
	KUNIT_EXPECT_EQ(test, (int)quic_rx_watch_opened(&w, 1, true),
			QUIC_RX_STAY);
	KUNIT_EXPECT_EQ(test, 8, quic_test_rx_misses(&w, 9, false,
						     QUIC_RX_MOVE));
	KUNIT_EXPECT_EQ(test, 0, quic_test_rx_misses(&w, 7, false,
						     QUIC_RX_MOVE));
	/* Strays in a row are what counts */
	quic_rx_watch_served(&w, 1);
	KUNIT_EXPECT_EQ(test, 16, quic_test_rx_misses(&w, 17, false,
						      QUIC_RX_MOVE));
	KUNIT_EXPECT_EQ(test, 0, quic_test_rx_misses(&w, 100, false,
						     QUIC_RX_RESYNC));
}

/* A peer with several addresses does not make a key move all the time, one that
 * moves now and then is followed at once
 */
static void quic_test_rx_move_backoff(struct kunit *test)
{
	struct quic_rx_watch w = {};
	unsigned int i, moves = 0;

	for (i = 8; i <= 4096; i *= 2) {
		quic_rx_watch_start(&w);
		quic_rx_watch_served(&w, i - 1);
		KUNIT_EXPECT_EQ(test, i,
				quic_test_rx_misses(&w, 8192, false,
						    QUIC_RX_MOVE));
	}
	/* There is an end to it */
	KUNIT_EXPECT_EQ(test, 4096, quic_test_rx_misses(&w, 8192, false,
							QUIC_RX_MOVE));
	/* The device was of use for long enough */
	quic_rx_watch_served(&w, 8 * 4096 - 1);
	KUNIT_EXPECT_EQ(test, 0, quic_test_rx_misses(&w, 4095, false,
						     QUIC_RX_MOVE));
	quic_rx_watch_served(&w, 1);
	KUNIT_EXPECT_EQ(test, 8, quic_test_rx_misses(&w, 9, false,
						     QUIC_RX_MOVE));

	/* The device has half of the packets, wherever the key is */
	w = (struct quic_rx_watch){};
	for (i = 0; i < 1000; i++) {
		moves += !!quic_test_rx_misses(&w, 12, false, QUIC_RX_MOVE);
		quic_rx_watch_served(&w, 12);
	}
	KUNIT_EXPECT_GT(test, moves, 1);
	KUNIT_EXPECT_LT(test, moves, 120);
}

static int quic_test_rx_init(struct kunit *test)
{
	quic_test_rx_refs = 0;
	return 0;
}

static int quic_test_rx_suite_init(struct kunit_suite *suite)
{
	quic_test_rx_skb_ops = quic_offload_rx_skb_ops;
	quic_test_rx_skb_ops.get = quic_test_rx_get;
	quic_test_rx_skb_ops.put = quic_test_rx_put;
	/* There is no device yet */
	static_branch_inc(&quicdev_rx_key);
	return 0;
}

static void quic_test_rx_suite_exit(struct kunit_suite *suite)
{
	static_branch_dec(&quicdev_rx_key);
}

KUNIT_ARRAY_PARAM_DESC(quic_seal, quic_seal_vecs, desc);

static struct kunit_case quic_rx_dev_cases[] = {
	KUNIT_CASE_PARAM(quic_test_rx_protect, quic_seal_gen_params),
	KUNIT_CASE(quic_test_rx_gro),
	KUNIT_CASE(quic_test_rx_deliver),
	KUNIT_CASE(quic_test_rx_leaving),
	KUNIT_CASE(quic_test_rx_transmit),
	KUNIT_CASE(quic_test_rx_match),
	KUNIT_CASE(quic_test_rx_resync),
	KUNIT_CASE(quic_test_rx_give_up),
	KUNIT_CASE(quic_test_rx_move),
	KUNIT_CASE(quic_test_rx_move_backoff),
	{}
};

static struct kunit_suite quic_rx_dev_suite = {
	.name = "quic_crypto_device_rx",
	.init = quic_test_rx_init,
	.suite_init = quic_test_rx_suite_init,
	.suite_exit = quic_test_rx_suite_exit,
	.test_cases = quic_rx_dev_cases,
};

kunit_test_suite(quic_rx_dev_suite);
