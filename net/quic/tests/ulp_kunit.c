// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the registry of upper layer protocols over UDP: each option
 * and control message has one owner
 */

#include <kunit/test.h>
#include <linux/errno.h>
#include <linux/net.h>
#include <linux/string.h>
#include <net/net_namespace.h>
#include <net/sock.h>
#include <net/udp_ulp.h>
#include <uapi/linux/quic.h>

/**
 * struct quic_ulp_case - a ULP, and the result of registering it
 * @desc: name of the test's parameter, and of the ULP if @name is NULL
 * @name: name of the ULP
 * @first_opt: its first socket option
 * @last_opt: its last socket option
 * @cmsg: its control message
 * @err: result of udp_register_ulp()
 */
struct quic_ulp_case {
	const char *desc;
	const char *name;
	int first_opt;
	int last_opt;
	int cmsg;
	int err;
};

static const struct quic_ulp_case quic_ulp_cases[] = {
	{ "free options", NULL, UDP_ULP_LAST - 1, UDP_ULP_LAST, UDP_ULP_LAST },
	{ "no message", NULL, UDP_ULP_LAST, UDP_ULP_LAST, 0 },
	{ "name taken", QUIC_CRYPTO_ULP_NAME, UDP_ULP_LAST, UDP_ULP_LAST, 0,
	  -EEXIST },
	{ "option taken", NULL, UDP_QUIC_ADD_TX_CONNECTION,
	  UDP_QUIC_ADD_TX_CONNECTION, 0, -EEXIST },
	{ "last taken", NULL, UDP_QUIC_INFO, UDP_ULP_LAST, 0, -EEXIST },
	{ "all", NULL, UDP_ULP_FIRST, UDP_ULP_LAST, 0, -EEXIST },
	{ "UDP's own", NULL, UDP_GRO, UDP_GRO, 0, -EINVAL },
	{ "UDP_ULP", NULL, UDP_ULP, UDP_ULP_LAST, 0, -EINVAL },
	{ "beyond", NULL, UDP_ULP_LAST, UDP_ULP_LAST + 1, 0, -EINVAL },
	{ "backwards", NULL, UDP_ULP_LAST, UDP_ULP_LAST - 1, 0, -EINVAL },
	{ "foreign message", NULL, UDP_ULP_LAST, UDP_ULP_LAST,
	  UDP_QUIC_ENCRYPT, -EINVAL },
	{ "UDP's message", NULL, UDP_ULP_LAST, UDP_ULP_LAST, UDP_SEGMENT,
	  -EINVAL },
};

KUNIT_ARRAY_PARAM_DESC(quic_ulp, quic_ulp_cases, desc);

static void quic_test_ulp_register(struct kunit *test)
{
	const struct quic_ulp_case *c = test->param_value;
	struct udp_ulp_ops ops = {
		.first_opt = c->first_opt,
		.last_opt = c->last_opt,
		.cmsg = c->cmsg,
		.owner = THIS_MODULE,
	};
	int err;

	strscpy(ops.name, c->name ?: c->desc);
	err = udp_register_ulp(&ops);
	KUNIT_EXPECT_EQ(test, c->err, err);
	if (err)
		return;
	KUNIT_EXPECT_EQ(test, -EEXIST, udp_register_ulp(&ops));
	udp_unregister_ulp(&ops);
}

static struct udp_ulp *quic_test_ulp_init(struct sock *sk)
{
	static struct udp_ulp ulp;

	return &ulp;
}

static void quic_test_ulp_release(struct udp_ulp *ulp)
{
}

static struct udp_ulp_ops quic_other_ulp = {
	.name = "other",
	.first_opt = UDP_ULP_LAST,
	.last_opt = UDP_ULP_LAST,
	.init = quic_test_ulp_init,
	.release = quic_test_ulp_release,
	.owner = THIS_MODULE,
};

static int quic_test_ulp_set(struct socket *sock, int opt, void *val,
			     unsigned int len)
{
	return sock->ops->setsockopt(sock, SOL_UDP, opt, KERNEL_SOCKPTR(val),
				     len);
}

/* A socket has one ULP, whatever asks for another one */
static void quic_test_ulp_attached(struct kunit *test)
{
	struct quic_connection_info info = {
		.cipher_type = TLS_CIPHER_AES_GCM_128,
		.header_key[0] = 1,
	};
	char name[] = QUIC_CRYPTO_ULP_NAME;
	struct udp_ulp *ulp;
	struct socket *sock;
	int err;

	err = sock_create_kern(&init_net, AF_INET, SOCK_DGRAM, IPPROTO_UDP,
			       &sock);
	KUNIT_ASSERT_EQ(test, 0, err);
	ulp = udp_ulp_attach(sock->sk, &quic_other_ulp);
	KUNIT_EXPECT_NOT_ERR_OR_NULL(test, ulp);
	err = quic_test_ulp_set(sock, UDP_ULP, name, sizeof(name));
	KUNIT_EXPECT_EQ(test, -EEXIST, err);
	err = quic_test_ulp_set(sock, UDP_QUIC_ADD_TX_CONNECTION, &info,
				sizeof(info));
	KUNIT_EXPECT_EQ(test, -EEXIST, err);
	err = quic_test_ulp_set(sock, UDP_QUIC_DEL_TX_CONNECTION, &info.key,
				sizeof(info.key));
	KUNIT_EXPECT_EQ(test, -ENOENT, err);
	KUNIT_EXPECT_PTR_EQ(test, ulp,
			    udp_ulp_attach(sock->sk, &quic_other_ulp));
	sock_release(sock);
}

/* A ULP that consumes a control message has not consumed that of another ULP */
static void quic_test_ulp_cmsg(struct kunit *test)
{
	const struct udp_ulp_ops ops = { .cmsg = UDP_ULP_LAST };
	struct udp_ulp_tx tx = {};

	KUNIT_EXPECT_FALSE(test, udp_ulp_owns_cmsg(NULL, UDP_ULP_LAST));
	KUNIT_EXPECT_FALSE(test, udp_ulp_owns_cmsg(&tx, UDP_ULP_LAST));
	tx.cmsg_ops = &ops;
	KUNIT_EXPECT_TRUE(test, udp_ulp_owns_cmsg(&tx, UDP_ULP_LAST));
	KUNIT_EXPECT_FALSE(test, udp_ulp_owns_cmsg(&tx, UDP_QUIC_ENCRYPT));
	KUNIT_EXPECT_FALSE(test, udp_ulp_owns_cmsg(&tx, UDP_GRO));
}

static struct kunit_case quic_ulp_test_cases[] = {
	KUNIT_CASE_PARAM(quic_test_ulp_register, quic_ulp_gen_params),
	KUNIT_CASE(quic_test_ulp_attached),
	KUNIT_CASE(quic_test_ulp_cmsg),
	{}
};

static struct kunit_suite quic_ulp_suite = {
	.name = "quic_crypto_ulp",
	.test_cases = quic_ulp_test_cases,
};

kunit_test_suite(quic_ulp_suite);
