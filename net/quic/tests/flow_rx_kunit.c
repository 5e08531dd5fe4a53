// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of QUIC packet protection: which flow a received packet belongs
 * to, and what ADD and DEL make of the flows
 */

#include <kunit/test.h>
#include <linux/in.h>
#include <linux/string.h>
#include <linux/unaligned.h>
#include <net/net_namespace.h>
#include <net/sock.h>

#include "../flow_rx.h"
#include "../net.h"
#include "../sock.h"

#define QUIC_TEST_ANY	0	/* peer */

static void quic_test_rx_flows_free(void *fs)
{
	quic_rx_flow_del_all(fs);
	quic_rx_flows_destroy(fs);
}

/* Flows of a socket that is not connected */
static struct quic_rx_flows *quic_test_rx_flows(struct kunit *test)
{
	struct quic_rx_flows *fs;
	struct quic_sock *qs;
	struct sock *sk;

	qs = kunit_kzalloc(test, sizeof(*qs), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, qs);
	fs = &qs->rx;
	sk = kunit_kzalloc(test, sizeof(*sk), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, sk);
	write_pnet(&sk->sk_net, &init_net);
	rwlock_init(&sk->sk_callback_lock);
	/* Who listens to flows looks at the socket */
	qs->tx.sk = sk;
	KUNIT_ASSERT_EQ(test, 0, quic_rx_flows_init(fs, sk));
	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test,
						  quic_test_rx_flows_free, fs));
	return fs;
}

/* Source with a port, or any. The connection ID is the first bytes of @cid. */
static struct quic_tuple quic_test_tuple(u16 peer, const char *cid, u8 cid_len)
{
	struct quic_tuple tuple = { .cid_len = cid_len };

	memcpy(tuple.cid, cid, cid_len);
	if (peer) {
		tuple.family = AF_INET;
		tuple.port = htons(peer);
		tuple.addr.s6_addr32[0] = htonl(INADDR_LOOPBACK);
	}
	return tuple;
}

static struct quic_connection_info quic_test_rx_info(u32 id, u8 gen)
{
	struct quic_connection_info info = {
		.key.flow_id = id,
		.cipher_type = TLS_CIPHER_AES_GCM_128,
		.conn_payload_key_gen = gen,
	};

	memset(info.header_key, 1 + id, sizeof(info.header_key));
	memset(info.payload_key, id, sizeof(info.payload_key));
	info.payload_key[0] = gen;
	return info;
}

static int quic_test_rx_add(struct quic_rx_flows *fs, u32 id, u8 gen,
			    struct quic_tuple tuple)
{
	const struct quic_connection_info info = quic_test_rx_info(id, gen);

	return quic_rx_flow_add(fs, &tuple, &info);
}

static int quic_test_rx_alias(struct quic_rx_flows *fs, u32 id,
			      struct quic_tuple tuple)
{
	const struct quic_connection_info_key key = { .flow_id = id };

	return quic_rx_flow_add_alias(fs, &tuple, &key);
}

static int quic_test_rx_del(struct quic_rx_flows *fs, u32 id, u8 flags, u8 gen,
			    struct quic_tuple tuple)
{
	struct quic_connection_info info = quic_test_rx_info(id, gen);

	info.key.flags = flags;
	return quic_rx_flow_del(fs, &tuple, &info);
}

/* Id of the flow of a packet; 0 if there is none */
static u32 quic_test_rx_find(struct quic_rx_flows *fs, u16 peer,
			     const char *cid, unsigned int len)
{
	const struct quic_tuple src = quic_test_tuple(peer, "", 0);
	struct quic_rx_flow *flow;
	u32 id;

	flow = quic_rx_flow_get(fs, &src, cid, &len);
	if (!flow)
		return 0;
	id = flow->id;
	quic_rx_flow_put(flow);
	return id;
}

/**
 * struct quic_match_case - a packet, and the flow that it belongs to
 * @desc: name of the test's parameter
 * @peer: port of its source
 * @cid: what follows the first byte
 * @want: flow_id, 0 for none
 *
 * The flows are those of quic_test_match().
 */
struct quic_match_case {
	const char *desc;
	u16 peer;
	const char *cid;
	u32 want;
};

static const struct quic_match_case quic_match_cases[] = {
	{ "long connection ID", 1, "abcdefgh....", 1 },
	{ "same from the flow's peer", 2, "abcdefgh....", 2 },
	{ "short connection ID", 1, "abcdXXXX....", 3 },
	{ "alias", 1, "ABCDEFGH....", 1 },
	{ "alias of another peer", 1, "ijklmnop....", 0 },
	{ "alias of the peer", 3, "ijklmnop....", 3 },
	{ "only the peer", 9, "zzzz", 4 },
	{ "peer, and known connection ID", 9, "abcdXXXX", 3 },
	{ "too short for the long ID", 1, "abcdefg", 3 },
	{ "too short for any", 1, "abc", 0 },
	{ "nothing but the first byte", 9, "", 4 },
	{ "unknown", 1, "qqqqqqqqqqqq", 0 },
};

KUNIT_ARRAY_PARAM_DESC(quic_match, quic_match_cases, desc);

static void quic_test_match(struct kunit *test)
{
	const struct quic_match_case *c = test->param_value;
	struct quic_rx_flows *fs = quic_test_rx_flows(test);
	const u16 any = QUIC_TEST_ANY;

	KUNIT_ASSERT_EQ(test, 0,
			quic_test_rx_add(fs, 1, 0,
					 quic_test_tuple(any, "abcdefgh", 8)));
	KUNIT_ASSERT_EQ(test, 0,
			quic_test_rx_add(fs, 2, 0,
					 quic_test_tuple(2, "abcdefgh", 8)));
	KUNIT_ASSERT_EQ(test, 0,
			quic_test_rx_add(fs, 3, 0,
					 quic_test_tuple(any, "abcd", 4)));
	KUNIT_ASSERT_EQ(test, 0,
			quic_test_rx_add(fs, 4, 0, quic_test_tuple(9, "", 0)));
	KUNIT_ASSERT_EQ(test, 0,
			quic_test_rx_alias(fs, 1, quic_test_tuple(any,
								  "ABCDEFGH",
								  8)));
	KUNIT_ASSERT_EQ(test, 0,
			quic_test_rx_alias(fs, 3, quic_test_tuple(3, "ijklmnop",
								  8)));
	KUNIT_EXPECT_EQ(test, c->want,
			quic_test_rx_find(fs, c->peer, c->cid,
					  strlen(c->cid)));
}

/* What identifies flows: ids, and matches */
static void quic_test_rx_identity(struct kunit *test)
{
	struct quic_rx_flows *fs = quic_test_rx_flows(test);
	const struct quic_tuple a = quic_test_tuple(QUIC_TEST_ANY, "aaaa", 4);
	const struct quic_tuple b = quic_test_tuple(QUIC_TEST_ANY, "bbbb", 4);
	const struct quic_tuple none = {};

	KUNIT_EXPECT_EQ(test, -EINVAL, quic_test_rx_add(fs, 1, 0, none));
	KUNIT_EXPECT_EQ(test, 0, quic_test_rx_add(fs, 1, 0, a));
	KUNIT_EXPECT_EQ(test, -EEXIST, quic_test_rx_add(fs, 1, 0, a));
	KUNIT_EXPECT_EQ(test, -EEXIST, quic_test_rx_add(fs, 1, 0, none));
	/* Neither may an id have a match of others, nor a match two flows */
	KUNIT_EXPECT_EQ(test, -EADDRINUSE, quic_test_rx_add(fs, 1, 0, b));
	KUNIT_EXPECT_EQ(test, -EADDRINUSE, quic_test_rx_add(fs, 2, 0, a));
	KUNIT_EXPECT_EQ(test, -EADDRINUSE, quic_test_rx_add(fs, 0, 0, a));
	KUNIT_EXPECT_EQ(test, 0, quic_test_rx_add(fs, 0, 0, b));
	KUNIT_EXPECT_EQ(test, -EADDRINUSE, quic_test_rx_alias(fs, 1, b));
	KUNIT_EXPECT_EQ(test, -EEXIST, quic_test_rx_alias(fs, 1, a));
	KUNIT_EXPECT_EQ(test, -ENOENT, quic_test_rx_alias(fs, 9, b));
	KUNIT_EXPECT_EQ(test, -EINVAL, quic_test_rx_alias(fs, 1, none));

	KUNIT_EXPECT_EQ(test, -ENOENT, quic_test_rx_del(fs, 0, 0, 0, a));
	KUNIT_EXPECT_EQ(test, -ENOENT, quic_test_rx_del(fs, 1, 0, 0, b));
	KUNIT_EXPECT_EQ(test, -EINVAL, quic_test_rx_del(fs, 0, 0, 0, none));
	KUNIT_EXPECT_EQ(test, 0, quic_test_rx_del(fs, 0, 0, 0, b));
	KUNIT_EXPECT_EQ(test, 0, quic_test_rx_alias(fs, 1, b));
	KUNIT_EXPECT_EQ(test, 0, quic_test_rx_del(fs, 1, 0, 0, none));
	KUNIT_EXPECT_EQ(test, 0, quic_test_rx_find(fs, 1, "bbbb", 4));
	KUNIT_EXPECT_EQ(test, 0, quic_rx_cid_lens(fs));
}

/* DEL of an alias leaves the flow, and the lengths that are still in use */
static void quic_test_rx_aliases(struct kunit *test)
{
	struct quic_rx_flows *fs = quic_test_rx_flows(test);
	struct quic_tuple t = quic_test_tuple(QUIC_TEST_ANY, "aaaa", 4);
	const u8 alias = QUIC_CONN_ALIAS;
	unsigned int i;

	KUNIT_ASSERT_EQ(test, 0, quic_test_rx_add(fs, 1, 0, t));
	t.cid_len = 8;
	for (i = 1; i < QUIC_RX_MAX_MATCHES; i++) {
		put_unaligned_be32(i, t.cid);
		KUNIT_ASSERT_EQ(test, 0, quic_test_rx_alias(fs, 1, t));
	}
	put_unaligned_be32(i, t.cid);
	KUNIT_EXPECT_EQ(test, -ENOSPC, quic_test_rx_alias(fs, 1, t));
	KUNIT_EXPECT_EQ(test, BIT(4) | BIT(8), quic_rx_cid_lens(fs));
	while (--i) {
		put_unaligned_be32(i, t.cid);
		KUNIT_ASSERT_EQ(test, 1, quic_test_rx_find(fs, 1, t.cid, 8));
		KUNIT_ASSERT_EQ(test, -ENOENT,
				quic_test_rx_del(fs, 2, alias, 0, t));
		KUNIT_ASSERT_EQ(test, 0, quic_test_rx_del(fs, 1, alias, 0, t));
		KUNIT_ASSERT_EQ(test, 0, quic_test_rx_find(fs, 1, t.cid, 8));
	}
	KUNIT_EXPECT_EQ(test, BIT(4), quic_rx_cid_lens(fs));
	KUNIT_EXPECT_EQ(test, 1, quic_test_rx_find(fs, 1, "aaaa", 4));
}

/* A call opens @pn with the generation of @age, as recvmsg() does */
static void quic_test_rx_open(struct kunit *test, struct quic_rx_flows *fs,
			      enum quic_rx_age age, u64 pn, bool peek)
{
	const struct quic_tuple src = quic_test_tuple(1, "", 0);
	struct quic_rx_keys keys;
	struct quic_rx_flow *flow;
	unsigned int len = 4;

	flow = quic_rx_flow_get(fs, &src, "aaaa", &len);
	KUNIT_ASSERT_NOT_NULL(test, flow);
	quic_rx_keys_get(&keys, flow);
	quic_rx_opened(&keys.state, age, pn);
	if (!peek)
		quic_rx_keys_commit(&keys, flow);
	quic_rx_keys_put(&keys);
	quic_rx_flow_put(flow);
}

/* Three generations: the next one has to be in use before another is added, and
 * then the one before the previous one has gone
 */
static void quic_test_rx_generations(struct kunit *test)
{
	struct quic_rx_flows *fs = quic_test_rx_flows(test);
	const struct quic_tuple a = quic_test_tuple(QUIC_TEST_ANY, "aaaa", 4);
	const u8 gen = QUIC_CONN_GENERATION;

	KUNIT_ASSERT_EQ(test, 0, quic_test_rx_add(fs, 1, 254, a));
	KUNIT_EXPECT_EQ(test, -EINVAL, quic_test_rx_add(fs, 1, 253, a));
	KUNIT_EXPECT_EQ(test, -EINVAL, quic_test_rx_add(fs, 1, 0, a));
	KUNIT_EXPECT_EQ(test, 0, quic_test_rx_add(fs, 1, 255, a));
	KUNIT_EXPECT_EQ(test, -EINVAL, quic_test_rx_add(fs, 1, 0, a));
	quic_test_rx_open(test, fs, QUIC_RX_NEXT, 7, true);
	KUNIT_EXPECT_EQ(test, -EINVAL, quic_test_rx_add(fs, 1, 0, a));
	quic_test_rx_open(test, fs, QUIC_RX_NEXT, 7, false);
	KUNIT_EXPECT_EQ(test, 0, quic_test_rx_add(fs, 1, 0, a));
	KUNIT_EXPECT_EQ(test, -EEXIST, quic_test_rx_add(fs, 1, 254, a));
	quic_test_rx_open(test, fs, QUIC_RX_NEXT, 9, false);
	KUNIT_EXPECT_EQ(test, -EINVAL, quic_test_rx_add(fs, 1, 254, a));
	KUNIT_EXPECT_EQ(test, -ENOKEY, quic_test_rx_del(fs, 1, gen, 254, a));
	KUNIT_EXPECT_EQ(test, 0, quic_test_rx_del(fs, 1, gen, 255, a));
	KUNIT_EXPECT_EQ(test, -ENOKEY, quic_test_rx_del(fs, 1, gen, 255, a));
	KUNIT_EXPECT_EQ(test, -EEXIST, quic_test_rx_add(fs, 1, 0, a));
	KUNIT_EXPECT_EQ(test, 0, quic_test_rx_add(fs, 1, 1, a));
}

/* Packets that somebody sends again open, but say nothing new */
static void quic_test_rx_fresh(struct kunit *test)
{
	struct quic_rx_keys keys = { .state.next = 10 };

	quic_rx_keys_opened(&keys, 1, QUIC_RX_CURRENT, 9);
	KUNIT_EXPECT_EQ(test, 1, keys.opened[1]);
	KUNIT_EXPECT_EQ(test, 0, keys.fresh[1]);
	quic_rx_keys_opened(&keys, 1, QUIC_RX_CURRENT, 12);
	KUNIT_EXPECT_EQ(test, 1, keys.fresh[1]);
	quic_rx_keys_opened(&keys, 1, QUIC_RX_CURRENT, 12);
	quic_rx_keys_opened(&keys, 1, QUIC_RX_CURRENT, 11);
	KUNIT_EXPECT_EQ(test, 4, keys.opened[1]);
	KUNIT_EXPECT_EQ(test, 1, keys.fresh[1]);
	quic_rx_keys_opened(&keys, 2, QUIC_RX_NEXT, 13);
	KUNIT_EXPECT_EQ(test, 1, keys.fresh[2]);
}

/* Whoever goes through the sockets of a namespace looks for the number after
 * the one of a socket: this must not be 0
 */
static void quic_test_sock_numbers(struct kunit *test)
{
	struct quic_crypto_net *qn = quic_crypto_net(&init_net);
	struct quic_sock *qs[2];
	struct sock *sk;
	unsigned int i;
	u32 next;

	sk = kunit_kzalloc(test, sizeof(*sk), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, sk);
	write_pnet(&sk->sk_net, &init_net);
	next = qn->next_sock;
	qn->next_sock = U32_MAX;
	for (i = 0; i < ARRAY_SIZE(qs); i++) {
		qs[i] = quic_sock_alloc(sk);
		KUNIT_ASSERT_FALSE(test, IS_ERR(qs[i]));
		KUNIT_EXPECT_NE(test, 0, qs[i]->number);
		KUNIT_EXPECT_NE(test, 0, qs[i]->number + 1);
	}
	KUNIT_EXPECT_NE(test, qs[0]->number, qs[1]->number);
	for (i = 0; i < ARRAY_SIZE(qs); i++)
		quic_sock_release(qs[i]);
	qn->next_sock = next;
}

static struct kunit_case quic_flow_rx_cases[] = {
	KUNIT_CASE_PARAM(quic_test_match, quic_match_gen_params),
	KUNIT_CASE(quic_test_rx_identity),
	KUNIT_CASE(quic_test_rx_aliases),
	KUNIT_CASE(quic_test_rx_generations),
	KUNIT_CASE(quic_test_rx_fresh),
	KUNIT_CASE(quic_test_sock_numbers),
	{}
};

static struct kunit_suite quic_flow_rx_suite = {
	.name = "quic_crypto_flow_rx",
	.test_cases = quic_flow_rx_cases,
};

kunit_test_suite(quic_flow_rx_suite);
