// SPDX-License-Identifier: GPL-2.0
/*
 * QUIC packet protection by devices: let the device that packets come by open
 * them, and see to it that nobody but their socket gets what it has opened
 */

#include <linux/if_vlan.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/netdevice.h>
#include <linux/udp.h>
#include <net/ipv6.h>
#include <net/quic_core.h>
#include <net/sock.h>

#include "batch.h"
#include "flow_rx.h"
#include "net.h"
#include "offload.h"
#include "offload_rx.h"

/* Packets that were in the queue when the device got the key say nothing of the
 * device. They are gone when the first one comes that the device has opened, or
 * after this time.
 */
#define QUIC_RX_SETTLE		HZ
/* So many packets in a row say that something is wrong, rather than that a few
 * came out of order
 */
#define QUIC_RX_WATCH_MIN	8
/* A device that does not listen is told less and less often */
#define QUIC_RX_WATCH_MAX	BIT(20)
/* A device that has never opened a packet, though told eight times where the
 * numbers are, does not see the packets as they are here: something on this
 * host translates their addresses, for example.
 */
#define QUIC_RX_WATCH_VAIN	(QUIC_RX_WATCH_MIN << 8)
/* A key moves less and less often if the peer uses several addresses in turn,
 * but a peer that has moved for good does not wait for ever
 */
#define QUIC_RX_MOVE_MAX	BIT(12)
/* The device has to open so many times more packets than were needed for the
 * last move, until the key may move as fast as the first time
 */
#define QUIC_RX_MOVE_WORTH	8

/**
 * quic_rx_watch_opened - software had to open packets of a key in a device
 * @watch: updated
 * @n: number of packets
 * @match: they match the key in the device
 *
 * Context: any.
 * Return: what to do about it.
 */
enum quic_rx_advice quic_rx_watch_opened(struct quic_rx_watch *watch,
					 unsigned int n, bool match)
{
	unsigned int wait = READ_ONCE(watch->wait) ?: QUIC_RX_WATCH_MIN;
	unsigned int strays = match ? 0 : READ_ONCE(watch->strays) + n;
	unsigned int missed = match ? READ_ONCE(watch->missed) + n : 0;
	unsigned int move = READ_ONCE(watch->move) ?: QUIC_RX_WATCH_MIN;
	enum quic_rx_advice advice = QUIC_RX_STAY;

	if (strays >= move) {
		advice = QUIC_RX_MOVE;
		strays = 0;
		WRITE_ONCE(watch->served, 0);
		WRITE_ONCE(watch->move,
			   min_t(u32, 2 * move, QUIC_RX_MOVE_MAX));
	} else if (missed >= wait) {
		advice = QUIC_RX_RESYNC;
		missed = 0;
		if (wait >= QUIC_RX_WATCH_VAIN && !READ_ONCE(watch->serving))
			advice = QUIC_RX_GIVE_UP;
		WRITE_ONCE(watch->wait,
			   min_t(u32, 2 * wait, QUIC_RX_WATCH_MAX));
	}
	WRITE_ONCE(watch->strays, strays);
	WRITE_ONCE(watch->missed, missed);
	return advice;
}

static void quic_rx_watch_forget(struct quic_rx_watch *watch)
{
	WRITE_ONCE(watch->strays, 0);
	WRITE_ONCE(watch->missed, 0);
	WRITE_ONCE(watch->wait, 0);
}

/**
 * quic_rx_watch_start - a key is offered to a device
 * @watch: of the key, or of the one that had its place; remembers how often
 *	   keys have moved
 *
 * Context: any.
 */
void quic_rx_watch_start(struct quic_rx_watch *watch)
{
	quic_rx_watch_forget(watch);
	WRITE_ONCE(watch->serving, false);
}

/**
 * quic_rx_watch_served - the device has opened packets
 * @watch: updated
 * @n: number of packets
 *
 * Context: any.
 */
void quic_rx_watch_served(struct quic_rx_watch *watch, unsigned int n)
{
	unsigned int move = READ_ONCE(watch->move);

	quic_rx_watch_forget(watch);
	WRITE_ONCE(watch->serving, true);
	if (!move)
		return;
	n += READ_ONCE(watch->served);
	WRITE_ONCE(watch->served, n);
	if (n >= QUIC_RX_MOVE_WORTH * move)
		WRITE_ONCE(watch->move, 0);
}

/**
 * quic_offload_rx_match - is a packet one that a key in a device is for?
 * @qkey: key
 * @seen: packet
 *
 * Return: true if it is, provided that it has the Key Phase of the key.
 */
bool quic_offload_rx_match(const struct quicdev_key *qkey,
			   const struct quic_rx_seen *seen)
{
	const struct udphdr *uh = udp_hdr(seen->skb);
	const struct ipv6hdr *ip6;
	const struct iphdr *ip;

	if (qkey->sport != uh->source || qkey->dport != uh->dest ||
	    qkey->vlan_proto != seen->vlan_proto ||
	    qkey->vlan_id != seen->vlan_id ||
	    qkey->cid_len != seen->cid_len ||
	    memcmp(qkey->cid, seen->head + 1, seen->cid_len))
		return false;
	if (seen->skb->protocol == htons(ETH_P_IP)) {
		ip = ip_hdr(seen->skb);
		return qkey->family == AF_INET &&
		       qkey->saddr.s6_addr32[0] == ip->saddr &&
		       qkey->daddr.s6_addr32[0] == ip->daddr;
	}
	ip6 = ipv6_hdr(seen->skb);
	return qkey->family == AF_INET6 &&
	       ipv6_addr_equal(&qkey->saddr, &ip6->saddr) &&
	       ipv6_addr_equal(&qkey->daddr, &ip6->daddr);
}

/**
 * quic_offload_rx_address - describe the packets that a key is for
 * @qkey: filled in
 * @seen: one of them
 */
void quic_offload_rx_address(struct quicdev_key *qkey,
			     const struct quic_rx_seen *seen)
{
	const struct udphdr *uh = udp_hdr(seen->skb);

	qkey->direction = QUICDEV_RX;
	qkey->sport = uh->source;
	qkey->dport = uh->dest;
	qkey->vlan_proto = seen->vlan_proto;
	qkey->vlan_id = seen->vlan_id;
	qkey->cid_len = seen->cid_len;
	memcpy(qkey->cid, seen->head + 1, seen->cid_len);
	if (seen->skb->protocol == htons(ETH_P_IP)) {
		qkey->family = AF_INET;
		qkey->saddr.s6_addr32[0] = ip_hdr(seen->skb)->saddr;
		qkey->daddr.s6_addr32[0] = ip_hdr(seen->skb)->daddr;
	} else {
		qkey->family = AF_INET6;
		qkey->saddr = ipv6_hdr(seen->skb)->saddr;
		qkey->daddr = ipv6_hdr(seen->skb)->daddr;
	}
}

static void quic_offload_rx_describe(struct quicdev_key *qkey,
				     const struct quic_rx_flow *flow,
				     const struct quic_rx_key *key,
				     const struct quic_rx_seen *seen)
{
	const struct quic_cipher *cipher = key->cipher;

	quic_offload_rx_address(qkey, seen);
	qkey->cipher_type = cipher->type;
	qkey->key_size = cipher->key_size;
	qkey->key_gen = key->gen;
	memcpy(qkey->iv, key->iv, sizeof(qkey->iv));
	memcpy(qkey->key, key->secret, cipher->key_size);
	memcpy(qkey->header_key, flow->hp.key, cipher->key_size);
	qkey->path_id = flow->path_id;
	qkey->next_pkt_num = seen->next;
}

/* The device that a VLAN on top of it has its packets from. Of VLANs in VLANs a
 * key cannot say all tags: none of them is served.
 */
static struct net_device *quic_offload_rx_vlan(struct net_device *netdev,
					       struct quic_rx_seen *seen)
{
	struct net_device *real = vlan_dev_real_dev(netdev);

	if (netdev->lower_level - real->lower_level != 1 ||
	    !rcu_access_pointer(real->quicdev) ||
	    !real->quicdev_ops->rx_caps ||
	    !real->quicdev_ops->rx_caps->max_vlans)
		return NULL;
	seen->vlan_proto = vlan_dev_vlan_proto(netdev);
	seen->vlan_id = vlan_dev_vlan_id(netdev);
	return real;
}

/* The device that packets came by, or NULL. Of devices on top of it other than
 * VLANs, nobody knows what they do to packets: these have no operations.
 */
static struct net_device *quic_offload_rx_dev(struct quic_rx_seen *seen)
{
	struct net_device *netdev;

	netdev = dev_get_by_index_rcu(sock_net(seen->sk), seen->skb->skb_iif);
	if (!netdev)
		return NULL;
	if (is_vlan_dev(netdev))
		return quic_offload_rx_vlan(netdev, seen);
	return rcu_access_pointer(netdev->quicdev) &&
	       netdev->quicdev_ops->rx_caps ? netdev : NULL;
}

/* Devices parse neither options nor extension headers. Others than the owner of
 * the key may want multicast packets.
 */
static bool quic_offload_rx_plain(const struct sk_buff *skb)
{
	if (skb->pkt_type != PACKET_HOST)
		return false;
	if (skb->protocol == htons(ETH_P_IP))
		return ip_hdr(skb)->ihl == sizeof(struct iphdr) / 4;
	return ipv6_hdr(skb)->nexthdr == IPPROTO_UDP;
}

static bool quic_offload_rx_able(const struct net_device *netdev,
				 const struct quic_rx_flow *flow,
				 const struct quic_rx_seen *seen)
{
	const struct quicdev_caps *caps = netdev->quicdev_ops->rx_caps;
	bool ipv4 = seen->skb->protocol == htons(ETH_P_IP);

	return quic_offload_rx_plain(seen->skb) &&
	       (seen->head[0] & QUIC_HDR_FIXED ||
		caps->flags & QUICDEV_CAP_NO_FIXED) &&
	       caps->flags & (ipv4 ? QUICDEV_CAP_IPV4 : QUICDEV_CAP_IPV6) &&
	       caps->ciphers & QUICDEV_CIPHER(flow->hp.cipher->type) &&
	       caps->cid_lens & BIT(seen->cid_len) &&
	       (!flow->path_id || caps->flags & QUICDEV_CAP_PATH_ID);
}

/* Do packets like these still belong to the flow? */
static bool quic_offload_rx_matches(const struct quic_rx_flow *flow,
				    const struct quic_rx_seen *seen)
{
	const struct quic_rx_match *match;

	match = quic_rx_match(seen->fs, seen->src, seen->head + 1,
			      seen->cid_len);
	return match && match->flow == flow &&
	       match->tuple.cid_len == seen->cid_len;
}

/* Offer a key to the device that packets came by. The flow may have lost the
 * key or the connection ID meanwhile: quic_offload_rx_drop() and
 * quic_offload_rx_unmatch() look for an offer after that. The caller holds
 * rcu_read_lock() and the key.
 */
static void quic_offload_rx_new(struct quic_rx_flow *flow,
				struct quic_rx_key *key,
				const struct quic_rx_seen *seen,
				struct net_device *netdev)
{
	struct quic_rx_dev *dev = &flow->dev[quic_rx_slot(key->gen)];
	struct quic_offload *offload;

	offload = quic_offload_alloc(seen->sk, QUICDEV_RX, &flow->offload,
				     flow->charge.user, netdev);
	if (!offload)
		return;
	offload->qkey.ops = &quic_offload_rx_key_ops;
	quic_rx_key_id_hold(key);
	offload->rx_key = key;
	offload->counts = &seen->fs->counts;
	offload->owner = seen->sk;
	quic_offload_rx_describe(&offload->qkey, flow, key, seen);
	quic_rx_watch_start(&dev->watch);
	if (quic_offload_offer(&dev->slot, offload) &&
	    (READ_ONCE(key->retired) || !quic_offload_rx_matches(flow, seen)))
		quic_offload_drop(&dev->slot, key);
}

/* Software had to open @n packets of a key in a device. Either the device can
 * do something about it, or a new offer for these packets, if the peer, the
 * connection ID or the device that they come by has changed.
 */
static void quic_offload_rx_missed(struct quic_rx_dev *dev,
				   struct quic_offload *o, unsigned int n,
				   const struct quic_rx_seen *seen, bool match)
{
	if (!READ_ONCE(dev->watch.serving) &&
	    time_before(jiffies, o->since + QUIC_RX_SETTLE))
		return;
	switch (quic_rx_watch_opened(&dev->watch, n, match)) {
	case QUIC_RX_MOVE:
		quic_offload_drop(&dev->slot, o->rx_key);
		break;
	case QUIC_RX_RESYNC:
		quic_offload_resync(o, seen->next);
		break;
	case QUIC_RX_GIVE_UP:
		quic_offload_stop(o, QUIC_OFFLOAD_STOP_KEY);
		break;
	case QUIC_RX_STAY:
		break;
	}
}

/* The same for a key that may be in a device or not. The feature flag only
 * governs keys that are new.
 */
static void quic_offload_rx_key_seen(struct quic_rx_flow *flow,
				     struct quic_rx_key *key, unsigned int n,
				     const struct quic_rx_seen *seen,
				     struct net_device *netdev)
{
	struct quic_rx_dev *dev = &flow->dev[quic_rx_slot(key->gen)];
	struct quic_offload *o = rcu_dereference(dev->slot.offload);
	bool on, match;

	on = netdev->features & NETIF_F_HW_QUIC_RX &&
	     quic_offload_has_room(netdev, QUICDEV_RX);
	/* Not the flow's phases: the old key with this Key Phase is queued to
	 * be deleted before this one is offered.
	 */
	if (!o && on && quic_offload_wanted(&dev->slot, NULL, key->gen & 1,
					    netdev))
		quic_offload_rx_new(flow, key, seen, netdev);
	/* Pairs with quic_offload_key_done() */
	if (!o || o->rx_key != key || !smp_load_acquire(&o->qkey.ready))
		return;
	match = rcu_access_pointer(o->netdev) == netdev &&
		quic_offload_rx_match(&o->qkey, seen);
	if (on || match)
		quic_offload_rx_missed(dev, o, n, seen, match);
}

/**
 * quic_offload_rx_seen - software has opened packets: could a device do it?
 * @flow: flow of the packets
 * @keys: keys of @flow, after the packets were opened
 * @seen: the packets, whose source and connection ID are the same
 *
 * Only packets with new numbers tell where the peer is, and what the device
 * misses.
 *
 * Context: process.
 */
void quic_offload_rx_seen(struct quic_rx_flow *flow,
			  const struct quic_rx_keys *keys,
			  struct quic_rx_seen *seen)
{
	struct net_device *netdev;
	unsigned int i;

	if (!static_branch_unlikely(&quicdev_rx_key))
		return;
	seen->next = keys->state.next;
	rcu_read_lock();
	netdev = quic_offload_rx_dev(seen);
	if (!netdev || !quic_offload_rx_able(netdev, flow, seen))
		goto out;
	for (i = 0; i < QUIC_RX_SLOTS; i++) {
		if (keys->fresh[i])
			quic_offload_rx_key_seen(flow, keys->key[i],
						 keys->fresh[i], seen, netdev);
	}
out:
	rcu_read_unlock();
}

/**
 * quic_offload_rx_served - a device has opened packets
 * @flow: flow of the packets
 * @ext: their extension
 * @n: number of packets with new numbers
 *
 * They may have been opened before the key has moved.
 *
 * Context: process.
 */
void quic_offload_rx_served(struct quic_rx_flow *flow,
			    const struct quic_skb_ext *ext, unsigned int n)
{
	struct quic_rx_dev *dev = &flow->dev[quic_rx_slot(ext->key->key_gen)];

	if (n && rcu_access_pointer(dev->slot.offload) ==
		 quic_offload_of(ext->key))
		quic_rx_watch_served(&dev->watch, n);
}

/**
 * quic_offload_rx_drop - a flow does not have a key any more
 * @flow: flow
 * @key: key, marked as retired, held by the caller
 *
 * Context: process.
 */
void quic_offload_rx_drop(struct quic_rx_flow *flow,
			  const struct quic_rx_key *key)
{
	quic_offload_drop(&flow->dev[quic_rx_slot(key->gen)].slot, key);
}

/**
 * quic_offload_rx_unmatch - packets with a connection ID are not the flow's now
 * @flow: flow
 * @cid: connection ID
 * @cid_len: bytes of it
 *
 * A device that went on opening them would do so for nobody.
 *
 * Context: process.
 */
void quic_offload_rx_unmatch(struct quic_rx_flow *flow, const u8 *cid,
			     unsigned int cid_len)
{
	const struct quic_offload *o;
	unsigned int i;

	/* The connection ID has left the table, see quic_offload_rx_new() */
	smp_mb();
	rcu_read_lock();
	for (i = 0; i < QUIC_RX_SLOTS; i++) {
		o = rcu_dereference(flow->dev[i].slot.offload);
		/* The key may have left the device because packets with this
		 * connection ID went astray. It may be offered again, for
		 * packets with other connection IDs.
		 */
		if (!o)
			WRITE_ONCE(flow->dev[i].slot.tried, 0);
		else if (o->qkey.cid_len == cid_len &&
			 !memcmp(o->qkey.cid, cid, cid_len))
			quic_offload_drop(&flow->dev[i].slot, o->rx_key);
	}
	rcu_read_unlock();
}

/**
 * quic_offload_rx_flow_free - a flow is freed
 * @flow: flow
 *
 * Context: any.
 */
void quic_offload_rx_flow_free(struct quic_rx_flow *flow)
{
	quic_offload_flow_put(flow->offload);
}

/**
 * quic_offload_rx_ifindex - which device has a key of a flow?
 * @flow: flow
 * @gen: key generation
 *
 * Context: any.
 * Return: as quic_offload_ifindex().
 */
int quic_offload_rx_ifindex(const struct quic_rx_flow *flow, u8 gen)
{
	return quic_offload_ifindex(&flow->dev[quic_rx_slot(gen)].slot);
}

/**
 * quic_offload_rx_opened - an skb whose packets a device has opened takes a
 *			    reference
 * @qkey: key
 *
 * The driver may have packets for it before quic_dev_add() has returned.
 *
 * Context: any; the caller holds rcu_read_lock(), so that @qkey is there, but
 * it may be about to be freed.
 * Return: true; false if the device does not have the key any more.
 */
bool quic_offload_rx_opened(struct quicdev_key *qkey)
{
	struct quic_offload *o = quic_offload_of(qkey);

	return READ_ONCE(o->state) != QUIC_OFFLOAD_OUT &&
	       refcount_inc_not_zero(&o->ref);
}

/**
 * quic_offload_rx_key - the key that a device has opened packets with
 * @ext: extension of the packets
 *
 * Return: the key, to be compared with those of a flow: if it is none of them,
 * it may be wiped. Valid as long as the packets.
 */
const struct quic_rx_key *quic_offload_rx_key(const struct quic_skb_ext *ext)
{
	return quic_offload_of(ext->key)->rx_key;
}

/**
 * quic_offload_rx_protect - make a packet what it was on the wire
 * @prot: protection by the key that a device has opened the packet with
 * @skb: copy of the packet, linear, which nobody else has
 * @cid_len: bytes of its connection ID
 * @expected: number relative to which that of the packet can be completed
 *
 * The key, the packet number and the payload are those that the peer has used,
 * so the result is what the peer has sent: no nonce protects two payloads.
 *
 * Context: process, sleeps, if the protection is for this.
 * Return: 0 or a negative error.
 */
int quic_offload_rx_protect(const struct quic_prot *prot, struct sk_buff *skb,
			    unsigned int cid_len, u64 expected)
{
	u8 cid[QUIC_MAX_CONNECTION_ID_SIZE];
	struct quic_batch b = {
		.skb		= skb,
		.cid		= cid,
		.cid_len	= cid_len,
	};
	int err;

	err = skb_copy_bits(skb, 1, cid, cid_len);
	if (err)
		return err;
	err = quic_layout_init(&b.layout, skb->len, 0, true);
	if (err)
		return err;
	err = quic_batch_alloc(&b, prot->gfp);
	if (err)
		return err;
	err = quic_batch_parse(&b, expected);
	if (!err)
		err = quic_seal(prot, &b);
	quic_batch_free(&b);
	return err;
}

/**
 * quic_offload_rx_stop - let packets come as they are on the wire
 * @ext: extension of packets that a device has opened
 *
 * A key that is retired is about to leave the device anyway.
 *
 * Context: any.
 */
void quic_offload_rx_stop(const struct quic_skb_ext *ext)
{
	struct quic_offload *o = quic_offload_of(ext->key);

	if (!READ_ONCE(o->rx_key->retired))
		quic_offload_stop(o, QUIC_OFFLOAD_STOP_KEY);
}

/**
 * quic_offload_rx_astray - opened packets are where they must not be
 * @net: network namespace that counts them
 * @skb: the packets
 * @ext: their extension
 *
 * The next packets would go astray, too, so the key leaves the device.
 *
 * Context: any.
 */
void quic_offload_rx_astray(struct net *net, const struct sk_buff *skb,
			    const struct quic_skb_ext *ext)
{
	QUIC_ADD_STATS(net, RX_DEVICE_MISDELIVERED,
		       max_t(u16, skb_shinfo(skb)->gso_segs, 1));
	quic_offload_rx_stop(ext);
}

/* quic_may_deliver(): is @sk the socket of the key? The sockets of keys that
 * are not retired are still there, so that no other has the same address.
 */
static bool quic_offload_rx_deliver(struct sk_buff *skb, const struct sock *sk,
				    const struct quic_skb_ext *ext)
{
	const struct quic_offload *o = quic_offload_of(ext->key);

	if (!READ_ONCE(o->rx_key->retired) && o->owner == sk)
		return true;
	quic_offload_rx_astray(sock_net(sk), skb, ext);
	return false;
}

/* An opened packet is about to be transmitted, or to be taken back into the
 * host as another one.
 */
static struct sk_buff *quic_offload_rx_refuse(struct sk_buff *skb,
					      const struct quic_skb_ext *ext)
{
	if (skb->dev)
		quic_offload_rx_astray(dev_net(skb->dev), skb, ext);
	kfree_skb_reason(skb, SKB_DROP_REASON_QUIC_RX_MISDELIVERED);
	return NULL;
}

static struct sk_buff *quic_offload_rx_validate(struct sk_buff *skb,
						struct net_device *netdev,
						const struct quic_skb_ext *ext)
{
	return quic_offload_rx_refuse(skb, ext);
}

const struct quic_skb_ext_ops quic_offload_rx_skb_ops = {
	.get		= quic_offload_skb_get,
	.put		= quic_offload_skb_put,
	.validate	= quic_offload_rx_validate,
	.encrypt	= quic_offload_rx_refuse,
	.deliver	= quic_offload_rx_deliver,
};

const struct quicdev_key_ops quic_offload_rx_key_ops = {
	.skb	= &quic_offload_rx_skb_ops,
	.opened	= quic_offload_rx_opened,
	.done	= quic_offload_key_done,
	.stop	= quic_offload_key_stop,
};
