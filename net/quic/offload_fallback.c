// SPDX-License-Identifier: GPL-2.0
/*
 * QUIC packet protection by devices: seal packets in software that were left to
 * a device, but end up on another one. Runs in softirq.
 */

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
 * headroom, so that the offsets of the headers stay right.
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
		kfree_skb(nskb);
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
	struct quic_prot prot = quic_key_prot(o->key, &o->hp);

	prot.tfm = o->tfm;
	prot.gfp = GFP_ATOMIC;
	return prot;
}

static int quic_fallback_seal(const struct quic_offload *o, struct sk_buff *skb,
			      unsigned int off, const struct quic_skb_ext *ext)
{
	struct quic_prot prot = quic_fallback_prot(o);
	struct quic_batch b = {
		.skb = skb,
		.off = off,
		.cid = o->qkey.cid,
		.cid_len = o->qkey.cid_len,
	};
	int err;

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
		kfree_skb(nskb);
		return NULL;
	}
	quic_fallback_checksum(nskb, off, before);
	nskb->decrypted = 0;
	skb_ext_del(nskb, SKB_EXT_QUIC);
	quic_fallback_own(nskb, skb);
	/* validate_xmit_skb_list() expects a list of one */
	nskb->prev = nskb;
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

/* Is the skb still what quic_offload_xmit() made of it: one UDP datagram, or a
 * GSO skb of UDP datagrams?
 */
static bool quic_fallback_whole(const struct sk_buff *skb, unsigned int off)
{
	unsigned int len = skb->len - skb_transport_offset(skb);

	if (!skb_transport_header_was_set(skb) || skb->encapsulation ||
	    off >= skb->len || !pskb_may_pull((struct sk_buff *)skb, off))
		return false;
	if (skb->protocol == htons(ETH_P_IP) && ip_is_fragment(ip_hdr(skb)))
		return false;
	return ntohs(udp_hdr(skb)->len) == len;
}

/**
 * quic_offload_validate - may the device transmit unsealed packets?
 * @skb: unsealed packets of a socket
 * @netdev: device
 * @ext: extension of @skb
 *
 * Context: softirq or BH disabled.
 * Return: @skb if @netdev seals it, else an skb with sealed packets; NULL if
 * they cannot be sealed. In the last two cases @skb is freed.
 */
struct sk_buff *quic_offload_validate(struct sk_buff *skb,
				      struct net_device *netdev,
				      const struct quic_skb_ext *ext)
{
	unsigned int off = skb_transport_offset(skb) + sizeof(struct udphdr);
	struct net *net = skb->sk ? sock_net(skb->sk) : dev_net(netdev);
	struct quic_offload *o = quic_offload_of(ext->key);
	struct sk_buff *nskb = NULL;
	unsigned int npkts;

	npkts = quic_fallback_pkts(skb, off);
	if (quic_fallback_whole(skb, off)) {
		if (rcu_access_pointer(o->netdev) == netdev)
			return skb;
		nskb = quic_fallback(o, skb, off, ext);
	}
	trace_quic_device_fallback(netdev, &o->qkey, ext->pkt_num, npkts, nskb);
	if (nskb) {
		QUIC_ADD_STATS(net, TX_DEVICE_FALLBACK, npkts);
		consume_skb(skb);
	} else {
		QUIC_ADD_STATS(net, TX_DEVICE_DROP, npkts);
		kfree_skb(skb);
	}
	return nskb;
}
