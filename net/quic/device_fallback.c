// SPDX-License-Identifier: GPL-2.0
/*
 * QUIC packet protection by devices: software for packets that were left to a
 * device, but end up on another one. Runs in softirq.
 */

#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/netdevice.h>
#include <linux/slab.h>
#include <net/checksum.h>
#include <net/ip.h>
#include <net/quic.h>
#include <net/sock.h>

#include "quic.h"
#include "trace.h"

/* A copy, as the packets may be shared with clones and taps. Same headroom, so
 * that the offsets of the headers stay right.
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

/* @nskb takes the place of @skb towards the socket, if that has not been left
 * behind
 */
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

/* A number that is not one of the call's may have been sealed elsewhere */
static int quic_fallback_parse(const struct quic_skb_ext *ext,
			       const struct sk_buff *skb, unsigned int off,
			       struct quic_layout *l, struct quic_pkt *pkts)
{
	const struct quicdev_flow *flow = ext->flow;
	u64 ahead;
	int err;

	err = quic_pkts_parse(pkts, skb, off, l, flow->cid, flow->cid_len,
			      ext->pkt_num);
	if (err)
		return err;
	ahead = pkts[0].pn - ext->pkt_num;
	if (ahead >= ext->npkts || l->npkts > ext->npkts - ahead ||
	    !l->consecutive)
		return -EINVAL;
	return 0;
}

static int quic_fallback_seal(struct quic_dev_tx *dtx, struct sk_buff *skb,
			      unsigned int off, const struct quic_skb_ext *ext)
{
	struct quic_layout l;
	struct quic_pkt *pkts;
	int err;

	err = quic_layout_init(&l, skb->len - off, skb_shinfo(skb)->gso_size,
			       true);
	if (err)
		return err;
	pkts = kmalloc_array(l.npkts, sizeof(*pkts), GFP_ATOMIC);
	if (!pkts)
		return -ENOMEM;
	err = quic_fallback_parse(ext, skb, off, &l, pkts);
	if (!err)
		err = __quic_seal(dtx->tfm, dtx->key, &dtx->hp, skb, off, &l,
				  pkts, dtx->dev.cid_len, GFP_ATOMIC);
	kfree(pkts);
	return err;
}

/* Where somebody has calculated the checksum already, it is that of packets
 * that were not sealed.
 */
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

static struct sk_buff *quic_fallback(struct quic_dev_tx *dtx,
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
	if (quic_fallback_seal(dtx, nskb, off, ext)) {
		kfree_skb(nskb);
		return NULL;
	}
	quic_fallback_checksum(nskb, off, before);
	nskb->decrypted = 0;
	skb_ext_del(nskb, SKB_EXT_QUIC);
	quic_fallback_own(nskb, skb);
	/* As validate_xmit_skb_list() wants a list of one */
	nskb->prev = nskb;
	return nskb;
}

static unsigned int quic_dev_skb_pkts(const struct sk_buff *skb,
				      unsigned int off)
{
	unsigned int gso_size = skb_shinfo(skb)->gso_size;

	if (!gso_size || off >= skb->len)
		return 1;
	return DIV_ROUND_UP(skb->len - off, gso_size);
}

/* Still what quic_dev_seal() made: one UDP datagram, or a GSO skb of them */
static bool quic_dev_skb_whole(const struct sk_buff *skb, unsigned int off)
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
 * quic_dev_validate - may the device transmit packets as they are?
 * @skb: unsealed packets of a socket
 * @dev: device
 * @ext: @skb's
 *
 * Context: softirq or BH disabled.
 * Return: @skb if so, else an skb with sealed packets; NULL where that cannot
 * be had.
 */
struct sk_buff *quic_dev_validate(struct sk_buff *skb, struct net_device *dev,
				  const struct quic_skb_ext *ext)
{
	struct quic_dev_tx *dtx = container_of(ext->flow, struct quic_dev_tx,
					       dev);
	unsigned int off = skb_transport_offset(skb) + sizeof(struct udphdr);
	struct net *net = skb->sk ? sock_net(skb->sk) : dev_net(dev);
	struct sk_buff *nskb = NULL;
	unsigned int npkts;

	npkts = quic_dev_skb_pkts(skb, off);
	if (quic_dev_skb_whole(skb, off)) {
		if (rcu_access_pointer(dtx->netdev) == dev)
			return skb;
		nskb = quic_fallback(dtx, skb, off, ext);
	}
	trace_quic_device_fallback(dev, &dtx->dev, ext->pkt_num, npkts, nskb);
	if (nskb) {
		QUIC_ADD_STATS(net, TX_DEVICE_FALLBACK, npkts);
		consume_skb(skb);
	} else {
		QUIC_ADD_STATS(net, TX_DEVICE_DROP, npkts);
		kfree_skb(skb);
	}
	return nskb;
}
