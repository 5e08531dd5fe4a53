// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of QUIC packet protection: packets that were left to a device,
 * and end up on another one
 */

#include <kunit/test.h>
#include <linux/crypto.h>
#include <linux/etherdevice.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/netdevice.h>
#include <linux/skbuff.h>
#include <linux/string.h>
#include <linux/udp.h>
#include <net/checksum.h>
#include <net/ip.h>
#include <net/net_namespace.h>
#include <net/quic_core.h>

#include "../offload.h"
#include "common.h"
#include "vectors.h"

static int quic_test_ext_refs;

static void quic_test_ext_get(struct quicdev_key *qkey)
{
	quic_test_ext_refs++;
}

static void quic_test_ext_put(struct quicdev_key *qkey)
{
	quic_test_ext_refs--;
}

static const struct quic_skb_ext_ops quic_test_ext_ops = {
	.get		= quic_test_ext_get,
	.put		= quic_test_ext_put,
	.validate	= quic_offload_validate,
	.encrypt	= quic_offload_encrypt,
};

KUNIT_DEFINE_ACTION_WRAPPER(quic_test_aead_free, quic_aead_free,
			    struct crypto_aead *);

/* The key of a vector, as if it were in a device */
static struct quic_offload *quic_test_offload(struct kunit *test,
					      const struct quic_seal_vec *v)
{
	struct quic_offload *o;

	o = kunit_kzalloc(test, sizeof(*o), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, o);
	o->key = quic_test_key(test, v->cipher, v->key, v->iv);
	o->tfm = quic_aead_alloc(o->key->cipher, v->key, CRYPTO_ALG_ASYNC);
	KUNIT_ASSERT_FALSE(test, IS_ERR(o->tfm));
	if (o->tfm)
		quic_test_defer(test, quic_test_aead_free, o->tfm);
	o->hp = *quic_test_hp(test, v->cipher, v->hp);
	o->net = &init_net;
	/* There is no device whose work item could be queued */
	o->queued = 1;
	o->qkey.cid_len = v->cid_len;
	o->qkey.path_id = v->path_id;
	quic_test_cid(o->qkey.cid, v->cid_len);
	return o;
}

/* 0 if the checksum is right. Nothing here changes the pseudo header, so the
 * tests leave it out.
 */
static __sum16 quic_test_udp_sum(const struct sk_buff *skb)
{
	unsigned int off = skb_transport_offset(skb);

	return csum_fold(skb_checksum(skb, off, skb->len - off, 0));
}

/* Headers of IP and UDP right before the packets */
static void quic_test_dev_headers(struct sk_buff *skb, __be16 protocol)
{
	bool v6 = protocol == htons(ETH_P_IPV6);
	unsigned int len, off;

	len = v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr);
	off = QUIC_TEST_PREFIX - sizeof(struct udphdr);
	skb->protocol = protocol;
	skb_set_transport_header(skb, off);
	skb_set_network_header(skb, off - len);
	memset(skb_network_header(skb), 0, len);
	if (v6) {
		ipv6_hdr(skb)->version = 6;
		ipv6_hdr(skb)->nexthdr = IPPROTO_UDP;
	} else {
		ip_hdr(skb)->version = 4;
		ip_hdr(skb)->ihl = sizeof(struct iphdr) / 4;
		ip_hdr(skb)->protocol = IPPROTO_UDP;
	}
}

/* The datagram, or GSO skb, that quic_offload_xmit() leaves to a device */
static struct sk_buff *quic_test_dev_skb(struct kunit *test,
					 struct quic_offload *o,
					 const struct quic_test_plain *plain,
					 enum quic_test_place place,
					 __be16 protocol)
{
	struct quic_skb_ext *ext;
	struct sk_buff *skb;

	skb = quic_test_skb(test, place, plain->data,
			    plain->len - QUIC_TEST_SUFFIX);
	quic_test_dev_headers(skb, protocol);
	udp_hdr(skb)->len = htons(sizeof(struct udphdr) +
				  plain->layout.wire_len);
	udp_hdr(skb)->check = 0;
	udp_hdr(skb)->check = quic_test_udp_sum(skb);
	if (plain->layout.npkts > 1)
		skb_shinfo(skb)->gso_size = plain->layout.stride;
	skb_shinfo(skb)->tx_flags = SKBTX_SW_TSTAMP;
	skb_shinfo(skb)->tskey = 7;

	ext = skb_ext_add(skb, SKB_EXT_QUIC);
	KUNIT_ASSERT_NOT_NULL(test, ext);
	quic_test_ext_refs++;
	ext->ops = &quic_test_ext_ops;
	ext->key = &o->qkey;
	ext->pkt_num = plain->pkts[0].pn;
	ext->npkts = plain->layout.npkts;
	skb->decrypted = 1;
	return skb;
}

/* The bytes of @skb, for a comparison */
static u8 *quic_test_skb_bytes(struct kunit *test, const struct sk_buff *skb)
{
	u8 *bytes = kunit_kzalloc(test, skb->len, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, bytes);
	KUNIT_ASSERT_EQ(test, 0, skb_copy_bits(skb, 0, bytes, skb->len));
	return bytes;
}

/* @out is @skb with sealed packets. Nothing else may differ, except for a
 * checksum that has been computed.
 */
static void quic_test_dev_expect(struct kunit *test, const struct sk_buff *skb,
				 const struct sk_buff *out,
				 unsigned int wire_len, const u8 *wire)
{
	u8 *before, *after;

	KUNIT_EXPECT_PTR_NE(test, out, skb);
	KUNIT_ASSERT_EQ(test, out->len, skb->len);
	before = quic_test_skb_bytes(test, skb);
	after = quic_test_skb_bytes(test, out);
	KUNIT_EXPECT_EQ(test, 0, memcmp(before, after, QUIC_TEST_PREFIX - 2));
	if (skb->ip_summed == CHECKSUM_PARTIAL)
		KUNIT_EXPECT_TRUE(test, udp_hdr(out)->check ==
					udp_hdr(skb)->check);
	else
		KUNIT_EXPECT_FALSE(test, quic_test_udp_sum(out));
	KUNIT_EXPECT_EQ(test, 0, memcmp(after + QUIC_TEST_PREFIX, wire,
					wire_len));
	KUNIT_EXPECT_FALSE(test, skb_is_decrypted(out));
	KUNIT_EXPECT_FALSE(test, skb_ext_exist(out, SKB_EXT_QUIC));
	KUNIT_EXPECT_EQ(test, skb_shinfo(out)->gso_size,
			skb_shinfo(skb)->gso_size);
	KUNIT_EXPECT_EQ(test, skb_shinfo(out)->tx_flags, SKBTX_SW_TSTAMP);
	KUNIT_EXPECT_EQ(test, skb_shinfo(out)->tskey, 7);
	KUNIT_EXPECT_TRUE(test, udp_hdr(out)->len == udp_hdr(skb)->len);
}

static void quic_test_dev_fallback(struct kunit *test, struct sk_buff *skb,
				   const struct quic_test_plain *plain,
				   const u8 *wire)
{
	struct sk_buff *clone, *out;
	u8 *before, *after;

	before = quic_test_skb_bytes(test, skb);
	clone = skb_clone(skb, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, clone);
	out = quic_validate_xmit_skb(NULL, init_net.loopback_dev, clone);
	KUNIT_ASSERT_NOT_NULL(test, out);
	quic_test_skb_defer_free(test, out);

	/* The clone shares its bytes with @skb, where they must not change */
	after = quic_test_skb_bytes(test, skb);
	KUNIT_EXPECT_EQ(test, 0, memcmp(before, after, skb->len));
	quic_test_dev_expect(test, skb, out, plain->layout.wire_len, wire);
}

static void quic_test_dev_dropped(struct kunit *test, struct sk_buff *skb)
{
	struct sk_buff *clone = skb_clone(skb, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, clone);
	KUNIT_EXPECT_NULL(test, quic_validate_xmit_skb(NULL,
						       init_net.loopback_dev,
						       clone));
}

/**
 * struct quic_test_ipver - packets of an IP version
 * @desc: name of the test's parameter
 * @protocol: protocol of the skb
 */
struct quic_test_ipver {
	const char *desc;
	__be16 protocol;
};

static const struct quic_test_ipver quic_test_ipvers[] = {
	{ "IPv4", htons(ETH_P_IP) },
	{ "IPv6", htons(ETH_P_IPV6) },
};

/* On another device, packets are sealed as the vector says */
static void quic_test_dev_other(struct kunit *test)
{
	const struct quic_seal_vec *v = test->param_value;
	struct quic_test_plain *plain;
	struct quic_offload *o;
	struct sk_buff *skb;
	unsigned int i;

	o = quic_test_offload(test, v);
	plain = quic_test_plain(test, v, true);
	for (i = 0; i < QUIC_TEST_PLACES * ARRAY_SIZE(quic_test_ipvers); i++) {
		skb = quic_test_dev_skb(test, o, plain, i % QUIC_TEST_PLACES,
					quic_test_ipvers[i / QUIC_TEST_PLACES]
					.protocol);
		skb->ip_summed = i & 1 ? CHECKSUM_PARTIAL : CHECKSUM_NONE;
		/* Devices only get packets with consecutive numbers */
		if (v->npkts == 1 || v->gap == 1)
			quic_test_dev_fallback(test, skb, plain, v->wire);
		else
			quic_test_dev_dropped(test, skb);
		quic_test_skb_free(test, skb);
	}
	KUNIT_EXPECT_EQ(test, 0, quic_test_ext_refs);
}

/* A vector of several packets that a device may get */
static const struct quic_seal_vec *quic_test_some_vec(void)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(quic_seal_vecs); i++)
		if (quic_seal_vecs[i].npkts > 1 && quic_seal_vecs[i].gap == 1)
			break;
	return &quic_seal_vecs[i % ARRAY_SIZE(quic_seal_vecs)];
}

static const struct quicdev_caps quic_test_quicdev_caps;

static const struct quicdev_ops quic_test_quicdev_ops = {
	.caps	= &quic_test_quicdev_caps,
};

static netdev_tx_t quic_test_netdev_xmit(struct sk_buff *skb,
					 struct net_device *netdev)
{
	kfree_skb(skb);
	return NETDEV_TX_OK;
}

static const struct net_device_ops quic_test_netdev_ops = {
	.ndo_start_xmit = quic_test_netdev_xmit,
};

static int quic_test_quicdev_add(struct net_device *netdev, struct sock *sk,
				 enum quicdev_direction direction,
				 struct quicdev_key *qkey,
				 struct netlink_ext_ack *extack)
{
	return -EOPNOTSUPP;
}

static void quic_test_quicdev_del(struct net_device *netdev,
				  enum quicdev_direction direction,
				  struct quicdev_key *qkey)
{
}

/* Is a device with these operations one that can seal? */
static bool quic_test_dev_followed(struct kunit *test,
				   const struct quicdev_ops *ops)
{
	struct net_device *netdev;
	bool followed;

	netdev = alloc_netdev(0, "quictest%d", NET_NAME_UNKNOWN, ether_setup);
	KUNIT_ASSERT_NOT_NULL(test, netdev);
	netdev->netdev_ops = &quic_test_netdev_ops;
	netdev->quicdev_ops = ops;
	if (register_netdev(netdev)) {
		free_netdev(netdev);
		KUNIT_FAIL_AND_ABORT(test, "cannot register a device");
	}
	followed = rcu_access_pointer(netdev->quicdev);
	unregister_netdev(netdev);
	KUNIT_EXPECT_NULL(test, rcu_access_pointer(netdev->quicdev));
	free_netdev(netdev);
	return followed;
}

/* A device that lacks an operation is like any other device */
static void quic_test_dev_ops(struct kunit *test)
{
	const struct quicdev_ops all = {
		.caps		= &quic_test_quicdev_caps,
		.quic_dev_add	= quic_test_quicdev_add,
		.quic_dev_del	= quic_test_quicdev_del,
	};
	struct quicdev_ops ops;

	KUNIT_EXPECT_FALSE(test, quic_test_dev_followed(test, NULL));
	ops = all;
	ops.caps = NULL;
	KUNIT_EXPECT_FALSE(test, quic_test_dev_followed(test, &ops));
	ops = all;
	ops.quic_dev_add = NULL;
	KUNIT_EXPECT_FALSE(test, quic_test_dev_followed(test, &ops));
	ops = all;
	ops.quic_dev_del = NULL;
	KUNIT_EXPECT_FALSE(test, quic_test_dev_followed(test, &ops));
	KUNIT_EXPECT_TRUE(test, quic_test_dev_followed(test, &all));
}

/* The device that has the key gets the packets unsealed */
static void quic_test_dev_same(struct kunit *test)
{
	const struct quic_seal_vec *v = quic_test_some_vec();
	const struct quic_test_ipver *ipver = test->param_value;
	struct quic_test_plain *plain;
	struct net_device *netdev;
	struct quic_offload *o;
	struct sk_buff *skb;

	o = quic_test_offload(test, v);
	plain = quic_test_plain(test, v, true);
	skb = quic_test_dev_skb(test, o, plain, QUIC_TEST_MIXED,
				ipver->protocol);
	netdev = kunit_kzalloc(test, sizeof(*netdev), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, netdev);
	netdev->quicdev_ops = &quic_test_quicdev_ops;
	RCU_INIT_POINTER(o->netdev, netdev);
	KUNIT_EXPECT_PTR_EQ(test, skb,
			    quic_validate_xmit_skb(NULL, netdev, skb));
	KUNIT_EXPECT_TRUE(test, skb_is_decrypted(skb));
}

/* Off the way to that device, software seals all the same */
static void quic_test_dev_off_path(struct kunit *test)
{
	const struct quic_seal_vec *v = quic_test_some_vec();
	const struct quic_test_ipver *ipver = test->param_value;
	struct quic_test_plain *plain;
	struct sk_buff *skb, *out;
	struct quic_offload *o;

	o = quic_test_offload(test, v);
	plain = quic_test_plain(test, v, true);
	skb = quic_test_dev_skb(test, o, plain, QUIC_TEST_MIXED,
				ipver->protocol);
	RCU_INIT_POINTER(o->netdev, init_net.loopback_dev);
	out = quic_seal_skb(skb_clone(skb, GFP_KERNEL));
	KUNIT_ASSERT_NOT_NULL(test, out);
	quic_test_skb_defer_free(test, out);
	quic_test_dev_expect(test, skb, out, plain->layout.wire_len, v->wire);
	KUNIT_EXPECT_PTR_EQ(test, out, quic_seal_skb(out));
	KUNIT_EXPECT_EQ(test, o->stop, QUIC_OFFLOAD_GO);
	quic_test_skb_free(test, skb);
}

/* Damages come in this order: those of IP headers; others that the path of the
 * packets is to blame for, and that the next ones will suffer, too; the rest
 */
#define QUIC_TEST_IP_DAMAGES	5
#define QUIC_TEST_PATH_DAMAGES	10
#define QUIC_TEST_DAMAGES	13

static void quic_test_dev_damage_v4(struct iphdr *iph, unsigned int i)
{
	switch (i) {
	case 0:
		iph->frag_off = htons(IP_MF);
		break;
	case 1:
		iph->frag_off = htons(1);
		break;
	case 2:
		iph->ihl++;
		break;
	case 3:
		iph->protocol = IPPROTO_IPIP;
		break;
	case 4:
		iph->version = 6;
		break;
	}
}

static void quic_test_dev_damage_v6(struct ipv6hdr *iph, unsigned int i)
{
	static const u8 nexthdrs[] = {
		IPPROTO_FRAGMENT, IPPROTO_HOPOPTS, IPPROTO_DSTOPTS, IPPROTO_IPV6
	};

	if (i < ARRAY_SIZE(nexthdrs))
		iph->nexthdr = nexthdrs[i];
	else
		iph->version = 4;
}

/* Another IP header in front of the one that there is */
static void quic_test_dev_encap(struct sk_buff *skb)
{
	unsigned int len = skb_network_header_len(skb);
	const u8 *old = skb_network_header(skb);

	skb_set_network_header(skb, skb_network_offset(skb) -
				    (int)sizeof(struct iphdr));
	memmove(skb_network_header(skb), old, len);
}

/* Damage number @i of packets on their way to a device */
static void quic_test_dev_damage(struct sk_buff *skb, unsigned int i,
				 const struct quic_test_plain *plain)
{
	u8 *cid = skb->data + QUIC_TEST_PREFIX + 1;

	switch (i) {
	case 0 ... QUIC_TEST_IP_DAMAGES - 1:
		if (skb->protocol == htons(ETH_P_IP))
			quic_test_dev_damage_v4(ip_hdr(skb), i);
		else
			quic_test_dev_damage_v6(ipv6_hdr(skb), i);
		break;
	case 5:
		skb_trim(skb, skb->len - 1);
		break;
	case 6:
		skb->encapsulation = 1;
		break;
	case 7:
		skb->protocol = htons(ETH_P_MPLS_UC);
		break;
	case 8:
		skb->protocol ^= htons(ETH_P_IP) ^ htons(ETH_P_IPV6);
		break;
	case 9:
		quic_test_dev_encap(skb);
		break;
	case 10:
		skb_ext_del(skb, SKB_EXT_QUIC);
		break;
	case 11:
		/* The packet number becomes one that is not the skb's */
		cid[plain->cid_len + plain->pkts[0].pn_len - 1] ^= 1;
		break;
	case 12:
		/* The other packets have the connection ID that they had */
		cid[plain->cid_len - 1] ^= 1;
		break;
	}
}

/* Packets that are not what they were when the socket sent them are dropped */
static void quic_test_dev_drop(struct kunit *test)
{
	const struct quic_seal_vec *v = quic_test_some_vec();
	const struct quic_test_ipver *ipver = test->param_value;
	struct quic_test_plain *plain;
	struct quic_offload *o;
	struct sk_buff *skb;
	unsigned int i;

	o = quic_test_offload(test, v);
	plain = quic_test_plain(test, v, true);
	for (i = 0; i < QUIC_TEST_DAMAGES; i++) {
		skb = quic_test_dev_skb(test, o, plain, QUIC_TEST_LINEAR,
					ipver->protocol);
		quic_test_dev_damage(skb, i, plain);
		quic_test_dev_dropped(test, skb);
		quic_test_skb_free(test, skb);
		/* No more packets for the device, if the path is to blame */
		KUNIT_EXPECT_EQ_MSG(test, o->stop == QUIC_OFFLOAD_STOP_PATH,
				    i < QUIC_TEST_PATH_DAMAGES, "damage %u", i);
		o->stop = QUIC_OFFLOAD_GO;
	}
	KUNIT_EXPECT_EQ(test, 0, quic_test_ext_refs);
}

static int quic_test_dev_init(struct kunit *test)
{
	quic_test_ext_refs = 0;
	return 0;
}

KUNIT_ARRAY_PARAM_DESC(quic_seal, quic_seal_vecs, desc);
KUNIT_ARRAY_PARAM_DESC(quic_ipver, quic_test_ipvers, desc);

static struct kunit_case quic_dev_cases[] = {
	KUNIT_CASE(quic_test_dev_ops),
	KUNIT_CASE_PARAM(quic_test_dev_other, quic_seal_gen_params),
	KUNIT_CASE_PARAM(quic_test_dev_same, quic_ipver_gen_params),
	KUNIT_CASE_PARAM(quic_test_dev_off_path, quic_ipver_gen_params),
	KUNIT_CASE_PARAM(quic_test_dev_drop, quic_ipver_gen_params),
	{}
};

static struct kunit_suite quic_dev_suite = {
	.name = "quic_crypto_device",
	.init = quic_test_dev_init,
	.test_cases = quic_dev_cases,
};

kunit_test_suite(quic_dev_suite);
