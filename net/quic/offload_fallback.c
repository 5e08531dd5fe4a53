// SPDX-License-Identifier: GPL-2.0
/*
 * QUIC packet protection by devices: seal packets in software that were left to
 * a device, but end up elsewhere. Runs in softirq.
 */

#include <linux/if_vlan.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/netdevice.h>
#include <linux/slab.h>
#include <net/checksum.h>
#include <net/ip.h>
#include <net/quic_core.h>
#include <net/sock.h>

#include "batch.h"
#include "net.h"
#include "offload.h"
#include "trace.h"

/* Clones and taps may share the packets, so seal a copy. The copy has the same
 * headroom, so that the offsets of the headers stay right. A link-layer header
 * may be in the headroom. Giving up a copy drops no packet.
 */
static struct sk_buff *quic_fallback_copy(const struct sk_buff *skb,
					  unsigned int hlen)
{
	unsigned int room = skb_headroom(skb), pos = hlen, size, i;
	struct sk_buff *nskb;
	skb_frag_t *frag;
	int err;

	nskb = alloc_skb_with_frags(room + hlen, skb->len - hlen,
				    PAGE_ALLOC_COSTLY_ORDER, &err, GFP_ATOMIC);
	if (!nskb)
		return NULL;
	memcpy(nskb->head, skb->head, room);
	skb_reserve(nskb, room);
	skb_put(nskb, hlen);
	nskb->data_len = skb->len - hlen;
	nskb->len += nskb->data_len;

	err = skb_copy_bits(skb, 0, nskb->data, hlen);
	for (i = 0; i < skb_shinfo(nskb)->nr_frags && !err; i++) {
		frag = &skb_shinfo(nskb)->frags[i];
		size = skb_frag_size(frag);
		err = skb_copy_bits(skb, pos, skb_frag_address(frag), size);
		pos += size;
	}
	if (err) {
		consume_skb(nskb);
		return NULL;
	}
	skb_copy_header(nskb, skb);
	skb_shinfo(nskb)->tx_flags = skb_shinfo(skb)->tx_flags;
	skb_shinfo(nskb)->tskey = skb_shinfo(skb)->tskey;
	return nskb;
}

/* Charge @nskb to the socket instead of @skb, if @skb still has its socket */
static void quic_fallback_own(struct sk_buff *nskb, struct sk_buff *skb)
{
	struct sock *sk = skb->sk;
	int delta;

	if (skb->destructor != sock_wfree)
		return;
	swap(nskb->sk, skb->sk);
	swap(nskb->destructor, skb->destructor);
	delta = nskb->truesize - skb->truesize;
	if (delta < 0)
		WARN_ON_ONCE(refcount_sub_and_test(-delta, &sk->sk_wmem_alloc));
	else if (delta)
		refcount_add(delta, &sk->sk_wmem_alloc);
}

/* Parse the packets. A packet number that does not belong to the skb may have
 * been sealed elsewhere, and must not be sealed again.
 */
static int quic_fallback_parse(const struct quic_skb_ext *ext,
			       struct quic_batch *b)
{
	u64 ahead;
	int err;

	err = quic_batch_parse(b, ext->pkt_num);
	if (err)
		return err;
	ahead = b->pkts[0].pn - ext->pkt_num;
	if (ahead >= ext->npkts || b->layout.npkts > ext->npkts - ahead ||
	    !b->consecutive)
		return -EINVAL;
	return 0;
}

static struct quic_prot quic_fallback_prot(const struct quic_offload *o)
{
	struct quic_prot prot = quic_key_prot(o->key, o->qkey.path_id, &o->hp);

	prot.tfm = o->tfm;
	prot.gfp = GFP_ATOMIC;
	return prot;
}

static int quic_fallback_seal(const struct quic_offload *o, struct sk_buff *skb,
			      unsigned int off, const struct quic_skb_ext *ext)
{
	struct quic_prot prot = quic_fallback_prot(o);
	u8 cid[QUIC_MAX_CONNECTION_ID_SIZE];
	struct quic_batch b = {
		.skb = skb,
		.off = off,
		.cid = cid,
		.cid_len = o->qkey.cid_len,
	};
	int err;

	/* Not every call of a flow has the ID that the key was added for */
	err = skb_copy_bits(skb, off + 1, cid, b.cid_len);
	if (err)
		return err;
	err = quic_layout_init(&b.layout, skb->len - off,
			       skb_shinfo(skb)->gso_size, true);
	if (err)
		return err;
	err = quic_batch_alloc(&b, GFP_ATOMIC);
	if (err)
		return err;
	err = quic_fallback_parse(ext, &b);
	if (!err)
		err = quic_seal(&prot, &b);
	quic_batch_free(&b);
	return err;
}

/* If the checksum has been computed already, it is that of the plaintext */
static void quic_fallback_checksum(struct sk_buff *skb, unsigned int off,
				   __wsum before)
{
	struct udphdr *uh = udp_hdr(skb);
	__wsum after;

	if (skb->ip_summed == CHECKSUM_PARTIAL || !uh->check)
		return;
	after = skb_checksum(skb, off, skb->len - off, 0);
	csum_replace_by_diff(&uh->check, csum_sub(after, before));
	if (!uh->check)
		uh->check = CSUM_MANGLED_0;
}

static struct sk_buff *quic_fallback(const struct quic_offload *o,
				     struct sk_buff *skb, unsigned int off,
				     const struct quic_skb_ext *ext)
{
	struct sk_buff *nskb;
	__wsum before = 0;

	nskb = quic_fallback_copy(skb, off);
	if (!nskb)
		return NULL;
	if (nskb->ip_summed != CHECKSUM_PARTIAL)
		before = skb_checksum(nskb, off, nskb->len - off, 0);
	if (quic_fallback_seal(o, nskb, off, ext)) {
		consume_skb(nskb);
		return NULL;
	}
	quic_fallback_checksum(nskb, off, before);
	nskb->decrypted = 0;
	skb_ext_del(nskb, SKB_EXT_QUIC);
	quic_fallback_own(nskb, skb);
	return nskb;
}

static unsigned int quic_fallback_pkts(const struct sk_buff *skb,
				       unsigned int off)
{
	unsigned int gso_size = skb_shinfo(skb)->gso_size;

	if (!gso_size || off >= skb->len)
		return 1;
	return DIV_ROUND_UP(skb->len - off, gso_size);
}

/* The headers that drivers are promised. The protocol of @skb tells what is in
 * front of them, such as MPLS labels or another IP header.
 */
static bool quic_fallback_ip_ok(const struct sk_buff *skb)
{
	unsigned int hlen = skb_network_header_len(skb);

	switch (vlan_get_protocol(skb)) {
	case htons(ETH_P_IP):
		return hlen == sizeof(struct iphdr) && ip_hdr(skb)->ihl == 5 &&
		       ip_hdr(skb)->version == 4 &&
		       ip_hdr(skb)->protocol == IPPROTO_UDP &&
		       !ip_is_fragment(ip_hdr(skb));
	case htons(ETH_P_IPV6):
		return hlen == sizeof(struct ipv6hdr) &&
		       ipv6_hdr(skb)->version == 6 &&
		       ipv6_hdr(skb)->nexthdr == IPPROTO_UDP;
	default:
		return false;
	}
}

/* Is the skb still what quic_offload_xmit() made of it: one UDP datagram, or a
 * GSO skb of UDP datagrams, right behind an IP header without options or
 * extension headers?
 */
static bool quic_fallback_whole(const struct sk_buff *skb, unsigned int off)
{
	unsigned int len = skb->len - skb_transport_offset(skb);

	if (!skb_transport_header_was_set(skb) || skb->encapsulation ||
	    off >= skb->len || !pskb_may_pull((struct sk_buff *)skb, off))
		return false;
	return quic_fallback_ip_ok(skb) && ntohs(udp_hdr(skb)->len) == len;
}

/* VLAN tags that are in the skb, or that the device has to insert */
static unsigned int quic_fallback_vlans(const struct sk_buff *skb)
{
	unsigned int n = skb_vlan_tag_present(skb);

	if (eth_type_vlan(skb->protocol))
		n += (skb_network_offset(skb) - ETH_HLEN) / VLAN_HLEN;
	return n;
}

static bool quic_fallback_device_can(const struct sk_buff *skb,
				     const struct net_device *netdev)
{
	unsigned int off = skb_transport_offset(skb) + sizeof(struct udphdr);

	return quic_fallback_whole(skb, off) &&
	       quic_fallback_vlans(skb) <= netdev->quicdev_ops->caps->max_vlans;
}

/* Does @netdev pass packets on to the device? See quic_offload_lowest(). */
static bool quic_fallback_passes_on(const struct quic_offload *o,
				    const struct net_device *netdev)
{
	struct net_device *to;

	if (!is_vlan_dev(netdev) && !netif_is_bond_master(netdev))
		return false;
	to = rcu_dereference_bh(o->netdev);
	if (is_vlan_dev(netdev))
		netdev = vlan_dev_real_dev(netdev);
	return to && (netdev == to ||
		      (netif_is_bond_master(netdev) &&
		       netdev_master_upper_dev_get_rcu(to) == netdev));
}

/**
 * quic_offload_encrypt - seal in software what was left to a device
 * @skb: unsealed packets of a socket
 * @ext: extension of @skb
 *
 * Context: any but hard interrupts; the caller holds rcu_read_lock().
 * Return: an skb with sealed packets; NULL if they cannot be sealed. @skb is
 * freed.
 */
struct sk_buff *quic_offload_encrypt(struct sk_buff *skb,
				     const struct quic_skb_ext *ext)
{
	unsigned int off = skb_transport_offset(skb) + sizeof(struct udphdr);
	struct quic_offload *o = quic_offload_of(ext->key);
	unsigned int npkts = quic_fallback_pkts(skb, off);
	SKB_DR_INIT(reason, QUIC_TX_SEAL);
	struct sk_buff *nskb = NULL;

	if (quic_fallback_whole(skb, off)) {
		nskb = quic_fallback(o, skb, off, ext);
	} else {
		/* What has changed these packets will change the next ones */
		quic_offload_stop(o, QUIC_OFFLOAD_STOP_PATH);
		SKB_DR_SET(reason, QUIC_TX_CHANGED);
	}
	trace_quic_device_fallback(skb->dev, &o->qkey, ext->pkt_num, npkts,
				   nskb);
	if (nskb) {
		QUIC_ADD_STATS(o->net, TX_DEVICE_FALLBACK, npkts);
		consume_skb(skb);
	} else {
		QUIC_ADD_STATS(o->net, TX_DEVICE_DROP, npkts);
		kfree_skb_reason(skb, reason);
	}
	return nskb;
}

/**
 * quic_offload_validate - may the device transmit unsealed packets?
 * @skb: unsealed packets of a socket
 * @netdev: device
 * @ext: extension of @skb
 *
 * Context: softirq or BH disabled.
 * Return: @skb if @netdev seals it or passes it on to the device that does,
 * else as quic_offload_encrypt().
 */
struct sk_buff *quic_offload_validate(struct sk_buff *skb,
				      struct net_device *netdev,
				      const struct quic_skb_ext *ext)
{
	const struct quic_offload *o = quic_offload_of(ext->key);

	if (rcu_access_pointer(o->netdev) == netdev ?
	    quic_fallback_device_can(skb, netdev) :
	    quic_fallback_passes_on(o, netdev))
		return skb;
	skb = quic_offload_encrypt(skb, ext);
	/* validate_xmit_skb_list() expects a list of one */
	if (skb)
		skb->prev = skb;
	return skb;
}
