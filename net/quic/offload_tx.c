// SPDX-License-Identifier: GPL-2.0
/*
 * QUIC packet protection by devices: leave the packets of a call to the device
 * that they are routed to
 */

#include <linux/if_vlan.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/netdevice.h>
#include <net/dst.h>
#include <net/ip.h>
#include <net/lwtunnel.h>
#include <net/quic_core.h>
#include <net/route.h>
#include <net/xfrm.h>

#include "batch.h"
#include "flow.h"
#include "offload.h"
#include "sock.h"

static const struct quic_skb_ext_ops quic_offload_skb_ops = {
	.get		= quic_offload_skb_get,
	.put		= quic_offload_skb_put,
	.validate	= quic_offload_validate,
	.encrypt	= quic_offload_encrypt,
};

/**
 * quic_offload_flow_free - a flow is freed
 * @flow: flow
 *
 * Context: any.
 */
void quic_offload_flow_free(struct quic_flow *flow)
{
	quic_offload_flow_put(flow->offload);
}

/* A device gets one packet number for all packets of an skb, and may have
 * limits. No packet of a batch is longer than the first.
 */
static bool quic_offload_able(const struct net_device *netdev,
			      const struct quic_flow *flow,
			      const struct quic_batch *b)
{
	const struct quicdev_caps *caps = netdev->quicdev_ops->caps;
	bool ipv4 = skb_dst(b->skb)->ops->family == AF_INET;

	if (caps->max_pkts && b->layout.npkts > caps->max_pkts)
		return false;
	if (caps->max_pkt_len &&
	    quic_batch_pkt_len(b, 0) > caps->max_pkt_len)
		return false;
	return b->consecutive && !(b->pn_lens & ~caps->pkt_num_lens) &&
	       (b->fixed || caps->flags & QUICDEV_CAP_NO_FIXED) &&
	       caps->flags & (ipv4 ? QUICDEV_CAP_IPV4 : QUICDEV_CAP_IPV6) &&
	       caps->ciphers & QUICDEV_CIPHER(flow->hp.cipher->type) &&
	       caps->cid_lens & BIT(b->cid_len) &&
	       (!flow->path_id || caps->flags & QUICDEV_CAP_PATH_ID);
}

/* Multicast and broadcast packets are also delivered on this host, as copies
 * that nobody validates. Not every device can parse packets with options or
 * extension headers, which users may ask for.
 */
static bool quic_offload_headers_ok(const struct dst_entry *dst,
				    const struct sk_buff *skb)
{
	if (dst->ops->family != AF_INET)
		return !ipv6_addr_is_multicast(&ipv6_hdr(skb)->daddr) &&
		       ipv6_hdr(skb)->nexthdr == IPPROTO_UDP;
	return ip_hdr(skb)->ihl == sizeof(struct iphdr) / 4 &&
	       !(dst_rtable(dst)->rt_flags &
		 (RTCF_MULTICAST | RTCF_BROADCAST | RTCF_LOCAL));
}

/* Does nothing on the route change the packets? A VRF shows them to taps before
 * they get to the device. DST_XFRM_QUEUE stands for IPsec that is being
 * negotiated.
 */
static bool quic_offload_plain_route(const struct dst_entry *dst,
				     const struct net_device *netdev)
{
	return !dst_xfrm(dst) && !(dst->flags & DST_XFRM_QUEUE) &&
	       !dst->lwtstate && !netif_is_l3_slave(netdev);
}

/* The device that the packets leave by if the route leads to @netdev. A VLAN
 * passes them on. A bond that distributes by addresses and ports can tell for
 * connected sockets. If it decides otherwise later, software seals.
 */
static struct net_device *quic_offload_lowest(struct net_device *netdev,
					      struct sock *sk)
{
	struct net_device *lowest = netdev;
	unsigned int vlans = 0;

	if (is_vlan_dev(netdev)) {
		lowest = vlan_dev_real_dev(netdev);
		vlans = netdev->lower_level - lowest->lower_level;
	}
	if (sk->sk_state == TCP_ESTABLISHED)
		lowest = netdev_sk_get_lowest_dev(lowest, sk);
	if (!rcu_access_pointer(lowest->quicdev) ||
	    vlans > lowest->quicdev_ops->caps->max_vlans)
		return NULL;
	return lowest;
}

static void quic_offload_describe(struct quic_offload *offload,
				  const struct quic_flow *flow,
				  const struct quic_batch *b)
{
	const struct quic_key *key = offload->key;
	const struct quic_cipher *cipher = key->cipher;
	struct quicdev_key *qkey = &offload->qkey;
	u8 gen = READ_ONCE(flow->gen);

	qkey->cipher_type = cipher->type;
	qkey->key_size = cipher->key_size;
	/* The low bit tells the two live generations apart */
	qkey->key_gen = (gen & 1) == b->phase ? gen : gen - 1;
	memcpy(qkey->iv, key->iv, sizeof(qkey->iv));
	memcpy(qkey->key, key->secret, cipher->key_size);
	memcpy(qkey->header_key, flow->hp.key, cipher->key_size);
	qkey->path_id = flow->path_id;
	qkey->cid_len = b->cid_len;
	memcpy(qkey->cid, b->cid, b->cid_len);
	qkey->next_pkt_num = b->pkts[0].pn;
	qkey->dport = flow->tuple.port;
	qkey->family = skb_dst(b->skb)->ops->family;
	if (qkey->family == AF_INET)
		qkey->daddr.s6_addr32[0] = ip_hdr(b->skb)->daddr;
	else
		qkey->daddr = ipv6_hdr(b->skb)->daddr;
}

static const struct quicdev_key_ops quic_offload_tx_key_ops = {
	.done	= quic_offload_key_done,
	.stop	= quic_offload_key_stop,
};

/* The packets of a call, and the socket, flow and key that they belong to */
struct quic_offload_call {
	struct sock *sk;
	struct quic_flow *flow;
	struct quic_key *key;
	const struct quic_batch *b;
};

/* Offer the key of a slot to the device. The caller holds rcu_read_lock(). */
static void quic_offload_new(const struct quic_offload_call *c,
			     struct net_device *netdev)
{
	struct quic_slot *slot = &c->flow->slot[c->b->phase];
	struct quic_offload *offload;

	offload = quic_offload_alloc(c->sk, QUICDEV_TX, &c->flow->offload,
				     c->flow->charge.user, netdev);
	if (!offload)
		return;
	offload->qkey.ops = &quic_offload_tx_key_ops;
	quic_key_hold(c->key);
	offload->key = c->key;
	offload->counts = &quic_sock_of(c->sk)->tx.counts;
	quic_offload_describe(offload, c->flow, c->b);
	/* Packets that end up on another device are sealed there. Set this
	 * before the first of them can be left to a device.
	 */
	smp_store_release(&c->sk->sk_validate_xmit_skb,
			  quic_validate_xmit_skb);
	quic_offload_offer(&slot->dev, offload);
	if (rcu_access_pointer(slot->key) != c->key)
		quic_offload_drop(&slot->dev, c->key);
}

/* Find the offload of a key in the device that the packets leave by. Offer
 * the key to the device if it does not have the key yet.
 *
 * A route may lose its device at any time, and the device is freed after a
 * grace period: RCU protects it, so nothing here may sleep.
 */
static struct quic_offload *
quic_offload_find(const struct quic_offload_call *c)
{
	const struct quic_slot *slot = &c->flow->slot[c->b->phase];
	struct dst_entry *dst = skb_dst(c->b->skb);
	struct quic_offload *offload = NULL;
	struct net_device *netdev;

	rcu_read_lock();
	netdev = dst_dev_rcu(dst);
	if (!quic_offload_plain_route(dst, netdev) ||
	    !quic_offload_headers_ok(dst, c->b->skb))
		goto out;
	netdev = quic_offload_lowest(netdev, c->sk);
	if (!netdev || !quic_offload_able(netdev, c->flow, c->b))
		goto out;
	offload = quic_offload_get(&slot->dev, c->key, netdev);
	/* The feature flag only governs keys that are new */
	if (!offload && netdev->features & NETIF_F_HW_QUIC_TX &&
	    quic_offload_has_room(netdev, QUICDEV_TX) &&
	    quic_offload_wanted(&slot->dev, READ_ONCE(c->flow->offload),
				c->b->phase, netdev))
		quic_offload_new(c, netdev);
out:
	rcu_read_unlock();
	return offload;
}

/* From here on nothing but GSO may take the packets apart */
static void quic_offload_no_fragments(struct sk_buff *skb)
{
	skb->ignore_df = 0;
	if (skb_dst(skb)->ops->family == AF_INET)
		ip_hdr(skb)->frag_off |= htons(IP_DF);
}

/**
 * quic_offload_xmit - leave the packets of a call to the device, if it can seal
 * @sk: socket
 * @flow: flow
 * @key: key of the flow for the packets
 * @b: parsed batch, whose packet numbers are reserved in @key
 *
 * Context: process.
 * Return: true if the device seals; the skb then has to be sent. If false,
 * nothing has changed but the content of the room for the tags.
 */
bool quic_offload_xmit(struct sock *sk, struct quic_flow *flow,
		       struct quic_key *key, struct quic_batch *b)
{
	const struct quic_offload_call call = {
		.sk = sk, .flow = flow, .key = key, .b = b,
	};
	struct quic_offload *offload;
	struct quic_skb_ext *ext;

	offload = quic_offload_find(&call);
	if (!offload)
		return false;
	/* The device finds the packet number by the length of the ID */
	if (offload->qkey.cid_len != b->cid_len) {
		quic_offload_put(offload);
		return false;
	}

	/* No device may see what the user left in the room for the tags */
	ext = quic_batch_clear_tags(b) ?
	      NULL : skb_ext_add(b->skb, SKB_EXT_QUIC);
	if (!ext) {
		quic_offload_put(offload);
		return false;
	}
	ext->ops = &quic_offload_skb_ops;
	ext->key = &offload->qkey;
	ext->pkt_num = b->pkts[0].pn;
	ext->npkts = b->layout.npkts;
	b->skb->decrypted = 1;
	quic_offload_no_fragments(b->skb);
	return true;
}

/* The device that a socket is bound to, or its route leads to. The caller holds
 * rcu_read_lock().
 */
static struct net_device *quic_offload_route(struct sock *sk)
{
	struct dst_entry *dst = __sk_dst_get(sk);
	struct net_device *netdev;

	if (dst && sk->sk_state == TCP_ESTABLISHED)
		netdev = dst_dev_rcu(dst);
	else
		netdev = dev_get_by_index_rcu(sock_net(sk),
					      READ_ONCE(sk->sk_bound_dev_if));
	return netdev ? quic_offload_lowest(netdev, sk) : NULL;
}

/**
 * quic_offload_directions - what could a device do for the keys of a socket?
 * @sk: socket
 *
 * Context: process.
 * Return: QUIC_INFO_TX, QUIC_INFO_RX, both or 0.
 */
u32 quic_offload_directions(struct sock *sk)
{
	struct net_device *netdev;
	u32 directions = 0;

	rcu_read_lock();
	netdev = quic_offload_route(sk);
	if (netdev && netdev->features & NETIF_F_HW_QUIC_TX)
		directions |= QUIC_INFO_TX;
	if (netdev && netdev->features & NETIF_F_HW_QUIC_RX)
		directions |= QUIC_INFO_RX;
	rcu_read_unlock();
	return directions;
}
