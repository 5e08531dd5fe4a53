// SPDX-License-Identifier: GPL-2.0
/*
 * A device that opens QUIC packets.
 *
 * The device opens a packet as a whole, in memory of its own, and only then
 * writes to the skb: one that does not open goes up as it was on the wire. As
 * in quic.c, nothing here comes from net/quic but what any driver sees of it.
 */

#include <crypto/aead.h>
#include <linux/debugfs.h>
#include <linux/hashtable.h>
#include <linux/if_vlan.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/jhash.h>
#include <linux/rculist.h>
#include <linux/scatterlist.h>
#include <linux/skbuff.h>
#include <linux/slab.h>
#include <linux/udp.h>
#include <net/checksum.h>
#include <net/ip.h>
#include <net/ip6_checksum.h>
#include <net/quic.h>

#include "netdevsim.h"
#include "quic.h"

/**
 * struct nsim_quic_pkt - a packet that has arrived
 * @skb: skb, with the packet in it as it was on the wire
 * @tuple: addresses and ports
 * @uh_off: offset of the UDP header in @skb
 * @off: offset of the packet in @skb
 * @len: bytes of the packet
 * @data: copy of the packet, which the device works on
 */
struct nsim_quic_pkt {
	struct sk_buff *skb;
	struct nsim_quic_tuple tuple;
	unsigned int uh_off;
	unsigned int off;
	unsigned int len;
	u8 *data;
};

static u32 nsim_quic_tuple_hash(const struct nsim_quic_tuple *tuple)
{
	BUILD_BUG_ON(sizeof(*tuple) % sizeof(u32));
	return jhash2((const u32 *)tuple, sizeof(*tuple) / sizeof(u32), 0);
}

static void nsim_quic_vlan(struct nsim_quic_pkt *pkt, __be16 proto, u16 tci)
{
	pkt->tuple.vlan_proto = proto;
	pkt->tuple.vlan_id = tci & VLAN_VID_MASK;
}

/* The tag before the IP header. Return its offset, or a negative error. */
static int nsim_quic_vlans(const struct netdevsim *ns,
			   struct nsim_quic_pkt *pkt, __be16 *proto)
{
	const struct sk_buff *skb = pkt->skb;
	const struct vlan_hdr *vh;
	unsigned int vlans = 0;
	struct vlan_hdr buf;
	int off = 0;

	if (skb_vlan_tag_present(skb)) {
		nsim_quic_vlan(pkt, skb->vlan_proto, skb_vlan_tag_get(skb));
		vlans++;
	}
	*proto = skb->protocol;
	while (eth_type_vlan(*proto)) {
		vh = skb_header_pointer(skb, off, sizeof(buf), &buf);
		if (!vh)
			return -EINVAL;
		nsim_quic_vlan(pkt, *proto, ntohs(vh->h_vlan_TCI));
		*proto = vh->h_vlan_encapsulated_proto;
		off += sizeof(*vh);
		vlans++;
	}
	/* A key is for one tag, or for none */
	return vlans <= min(ns->quic.rx_caps.max_vlans, 1) ? off : -EOPNOTSUPP;
}

/* Return the offset of the UDP header, or a negative error. */
static int nsim_quic_parse_v4(struct nsim_quic_pkt *pkt, int off)
{
	const struct iphdr *ip;
	struct iphdr buf;

	ip = skb_header_pointer(pkt->skb, off, sizeof(buf), &buf);
	if (!ip || ip->ihl < 5 || ip->protocol != IPPROTO_UDP ||
	    ip_is_fragment(ip))
		return -EINVAL;
	pkt->tuple.family = AF_INET;
	pkt->tuple.saddr.s6_addr32[0] = ip->saddr;
	pkt->tuple.daddr.s6_addr32[0] = ip->daddr;
	return off + ip->ihl * 4;
}

/* The same; without extension headers */
static int nsim_quic_parse_v6(struct nsim_quic_pkt *pkt, int off)
{
	const struct ipv6hdr *ip;
	struct ipv6hdr buf;

	ip = skb_header_pointer(pkt->skb, off, sizeof(buf), &buf);
	if (!ip || ip->nexthdr != IPPROTO_UDP)
		return -EINVAL;
	pkt->tuple.family = AF_INET6;
	pkt->tuple.saddr = ip->saddr;
	pkt->tuple.daddr = ip->daddr;
	return off + sizeof(*ip);
}

static int nsim_quic_parse_ip(const struct netdevsim *ns,
			      struct nsim_quic_pkt *pkt)
{
	__be16 proto;
	int off;

	off = nsim_quic_vlans(ns, pkt, &proto);
	if (off < 0)
		return off;
	switch (proto) {
	case htons(ETH_P_IP):
		return nsim_quic_parse_v4(pkt, off);
	case htons(ETH_P_IPV6):
		return nsim_quic_parse_v6(pkt, off);
	default:
		return -EINVAL;
	}
}

static bool nsim_quic_parse(const struct netdevsim *ns,
			    struct nsim_quic_pkt *pkt)
{
	const struct udphdr *uh;
	struct udphdr buf;
	int off;

	off = nsim_quic_parse_ip(ns, pkt);
	if (off < 0)
		return false;
	uh = skb_header_pointer(pkt->skb, off, sizeof(buf), &buf);
	if (!uh || ntohs(uh->len) != pkt->skb->len - off ||
	    ntohs(uh->len) <= sizeof(*uh))
		return false;
	pkt->tuple.sport = uh->source;
	pkt->tuple.dport = uh->dest;
	pkt->uh_off = off;
	pkt->off = off + sizeof(*uh);
	pkt->len = pkt->skb->len - pkt->off;
	return true;
}

/* The link may leave the checksum to the receiver. A device that opens packets
 * compares all others: whoever comes later has the plaintext only.
 */
static bool nsim_quic_checksum_ok(const struct nsim_quic_pkt *pkt)
{
	const struct nsim_quic_tuple *tuple = &pkt->tuple;
	unsigned int len = pkt->len + sizeof(struct udphdr);
	const struct sk_buff *skb = pkt->skb;
	const struct udphdr *uh;
	struct udphdr buf;
	__wsum sum;

	if (skb->ip_summed == CHECKSUM_PARTIAL ||
	    skb->ip_summed == CHECKSUM_UNNECESSARY)
		return true;
	uh = skb_header_pointer(skb, pkt->uh_off, sizeof(buf), &buf);
	if (!uh || (!uh->check && tuple->family == AF_INET6))
		return false;
	if (!uh->check)
		return true;
	sum = skb_checksum(skb, pkt->uh_off, len, 0);
	if (tuple->family == AF_INET)
		return !csum_tcpudp_magic(tuple->saddr.s6_addr32[0],
					  tuple->daddr.s6_addr32[0], len,
					  IPPROTO_UDP, sum);
	return !csum_ipv6_magic(&tuple->saddr, &tuple->daddr, len,
				IPPROTO_UDP, sum);
}

/* Everything that a packet on the wire shows of its key */
static bool nsim_quic_rx_match(const struct nsim_quic_key *key,
			       const struct nsim_quic_pkt *pkt)
{
	const struct quicdev_key *qkey = key->qkey;

	return nsim_quic_key_usable(key) &&
	       !memcmp(&key->tuple, &pkt->tuple, sizeof(pkt->tuple)) &&
	       pkt->len >= nsim_quic_pn_off(qkey) + QUIC_MAX_PKT_NUM_LEN +
			   QUIC_HP_SAMPLE_SIZE &&
	       !memcmp(pkt->data + 1, qkey->cid, qkey->cid_len);
}

/* RFC 9001 5.4.1. Return the length of the packet number. */
static unsigned int nsim_quic_show_header(const struct nsim_quic_key *key,
					  const u8 *wire, u8 *hdr, u32 *pn)
{
	unsigned int off = nsim_quic_pn_off(key->qkey), len, i;
	u8 mask[QUIC_HP_SAMPLE_SIZE];

	nsim_quic_hp_mask(key, wire + off + QUIC_MAX_PKT_NUM_LEN, mask);
	hdr[0] = wire[0] ^ (mask[0] & QUIC_HDR_PROTECTED);
	memcpy(hdr + 1, wire + 1, off - 1);
	len = (hdr[0] & QUIC_HDR_PN_LEN) + 1;
	*pn = 0;
	for (i = 0; i < len; i++) {
		hdr[off + i] = wire[off + i] ^ mask[1 + i];
		*pn = *pn << 8 | hdr[off + i];
	}
	return len;
}

static int nsim_quic_decrypt(struct nsim_quic_key *key,
			     const struct nsim_quic_pkt *pkt,
			     unsigned int hdr_len, u64 pn)
{
	lockdep_assert_held(&key->lock);
	nsim_quic_set_iv(key, pn);
	sg_init_one(&key->sg, pkt->data, pkt->len);
	aead_request_set_ad(key->req, hdr_len);
	aead_request_set_crypt(key->req, &key->sg, &key->sg,
			       pkt->len - hdr_len, key->iv);
	return crypto_aead_decrypt(key->req);
}

/* Nothing may fail once the skb has been marked: so its data becomes writable
 * first.
 */
static bool nsim_quic_hand_over(struct nsim_quic_key *key,
				struct nsim_quic_pkt *pkt, u64 pn)
{
	struct sk_buff *skb = pkt->skb;

	if (skb_linearize_cow(skb))
		return false;
	if (!quicdev_opened(skb, key->qkey, pn))
		return false;
	/* The tag stays */
	memcpy(skb->data + pkt->off, pkt->data, pkt->len - QUIC_TAG_SIZE);
	skb->ip_summed = CHECKSUM_UNNECESSARY;
	skb->csum_level = 0;
	return true;
}

/* Return the bytes of payload, -ENOENT if the packet is not for this key,
 * -EAGAIN if it could not be handed over, or another error.
 */
static int nsim_quic_open_locked(struct nsim_quic_key *key,
				 struct nsim_quic_pkt *pkt)
{
	const struct quicdev_key *qkey = key->qkey;
	unsigned int pn_len, hdr_len;
	u8 hdr[QUIC_MAX_HDR_SIZE];
	u32 truncated;
	u64 pn;
	int err;

	pn_len = nsim_quic_show_header(key, pkt->data, hdr, &truncated);
	if (!(hdr[0] & QUIC_HDR_KEY_PHASE) != !(qkey->key_gen & 1))
		return -ENOENT;
	hdr_len = nsim_quic_pn_off(qkey) + pn_len;
	pn = quic_pkt_num_decode(key->next, truncated, pn_len);
	memcpy(pkt->data, hdr, hdr_len);
	err = nsim_quic_decrypt(key, pkt, hdr_len, pn);
	if (err)
		return err;
	if (!nsim_quic_hand_over(key, pkt, pn))
		return -EAGAIN;
	key->next = max(key->next, pn + 1);
	return pkt->len - hdr_len - QUIC_TAG_SIZE;
}

/* @pkt->data is as it was on the wire */
static int nsim_quic_open(struct nsim_quic_key *key, struct nsim_quic_pkt *pkt)
{
	int ret = -ENOENT;

	spin_lock(&key->lock);
	/* It may have been deleted since it was looked up */
	if (key->aead)
		ret = nsim_quic_open_locked(key, pkt);
	spin_unlock(&key->lock);
	return ret;
}

/* Two generations of a flow differ in their Key Phase, which only the right
 * header key shows. A key that shows another one has not touched the copy.
 */
static int nsim_quic_rx_keys(struct netdevsim *ns, struct nsim_quic_pkt *pkt)
{
	struct nsim_quic_key *key;
	int ret;

	hash_for_each_possible_rcu(ns->quic.rx_keys, key, node,
				   nsim_quic_tuple_hash(&pkt->tuple)) {
		if (!nsim_quic_rx_match(key, pkt))
			continue;
		ret = nsim_quic_open(key, pkt);
		if (ret != -ENOENT)
			return ret;
	}
	return -ENOENT;
}

static bool nsim_quic_short_header(const struct netdevsim *ns, u8 first)
{
	return !(first & QUIC_HDR_LONG) &&
	       (first & QUIC_HDR_FIXED ||
		ns->quic.rx_caps.flags & QUICDEV_CAP_NO_FIXED);
}

static void nsim_quic_rx_pkt(struct netdevsim *ns, struct nsim_quic_pkt *pkt)
{
	int ret;

	if (skb_copy_bits(pkt->skb, pkt->off, pkt->data, pkt->len) ||
	    !nsim_quic_short_header(ns, pkt->data[0]) ||
	    !nsim_quic_checksum_ok(pkt))
		return;
	if (nsim_quic_fault(&ns->quic.rx_corrupt))
		pkt->data[pkt->len - 1] ^= 1;
	ret = nsim_quic_rx_keys(ns, pkt);
	/* No key, or one that leaves, or no memory to hand over the packet */
	if (ret == -ENOENT || ret == -EAGAIN)
		return;
	if (ret < 0) {
		nsim_quic_count(ns, NSIM_QUIC_RX_ERR, 1);
		return;
	}
	nsim_quic_count(ns, NSIM_QUIC_RX_PACKETS, 1);
	nsim_quic_count(ns, NSIM_QUIC_RX_BYTES, ret);
}

/**
 * nsim_quic_rx - open the packet that has arrived, if there is a key for it
 * @ns: device
 * @skb: skb, not GSO
 *
 * The link hands over what is not segmented, too; this device opens single
 * packets only. What is addressed to somebody else is not for the host.
 *
 * Context: NAPI.
 */
void nsim_quic_rx(struct netdevsim *ns, struct sk_buff *skb)
{
	struct nsim_quic_pkt pkt = { .skb = skb };

	if (!atomic_read(&ns->quic.nr_rx_keys) || skb_is_gso(skb) ||
	    skb->pkt_type != PACKET_HOST || skb->encapsulation ||
	    !nsim_quic_parse(ns, &pkt))
		return;
	/* On this link the skb is still the sender's. GRO does not compare it
	 * with those that have no socket, and may hand it up after later ones.
	 */
	skb_orphan(skb);
	pkt.data = kmalloc(pkt.len, GFP_ATOMIC | __GFP_NOWARN);
	if (!pkt.data)
		return;
	rcu_read_lock();
	nsim_quic_rx_pkt(ns, &pkt);
	rcu_read_unlock();
	kfree_sensitive(pkt.data);
}

/**
 * nsim_quic_rx_lost - does the link lose the skb that has arrived?
 * @ns: device
 *
 * Context: NAPI.
 * Return: true if the skb is to be dropped.
 */
bool nsim_quic_rx_lost(struct netdevsim *ns)
{
	u32 every = READ_ONCE(ns->quic.rx_drop);

	return every && !((u32)atomic_inc_return(&ns->quic.rx_skbs) % every);
}

/* Takes packets once the key is ready */
void nsim_quic_rx_add(struct nsim_quic_key *key)
{
	const struct quicdev_key *qkey = key->qkey;
	struct netdevsim *ns = key->ns;

	key->tuple.family = qkey->family;
	key->tuple.saddr = qkey->saddr;
	key->tuple.daddr = qkey->daddr;
	key->tuple.sport = qkey->sport;
	key->tuple.dport = qkey->dport;
	key->tuple.vlan_proto = qkey->vlan_proto;
	key->tuple.vlan_id = qkey->vlan_id;
	spin_lock(&ns->quic.rx_lock);
	hash_add_rcu(ns->quic.rx_keys, &key->node,
		     nsim_quic_tuple_hash(&key->tuple));
	spin_unlock(&ns->quic.rx_lock);
	atomic_inc(&ns->quic.nr_rx_keys);
}

/* Packets that arrive do not find the key when this returns; for others see
 * nsim_quic_key_free().
 */
void nsim_quic_rx_del(struct nsim_quic_key *key)
{
	struct netdevsim *ns = key->ns;

	atomic_dec(&ns->quic.nr_rx_keys);
	spin_lock(&ns->quic.rx_lock);
	hash_del_rcu(&key->node);
	spin_unlock(&ns->quic.rx_lock);
}

/**
 * nsim_quic_rx_resync - &quicdev_ops.quic_dev_resync
 * @netdev: device
 * @qkey: key
 * @next_pkt_num: largest packet number that software has opened, plus one
 */
void nsim_quic_rx_resync(struct net_device *netdev, struct quicdev_key *qkey,
			 u64 next_pkt_num)
{
	struct nsim_quic_state *state = quicdev_state(qkey);
	struct netdevsim *ns = netdev_priv(netdev);
	struct nsim_quic_key *key = state->key;
	enum nsim_quic_stat stat;

	nsim_quic_count(ns, NSIM_QUIC_RX_RESYNC_REQ, 1);
	stat = NSIM_QUIC_RX_RESYNC_SKIP;
	spin_lock_bh(&key->lock);
	if (nsim_quic_key_usable(key) && key->next < next_pkt_num) {
		key->next = next_pkt_num;
		stat = NSIM_QUIC_RX_RESYNC_OK;
	}
	spin_unlock_bh(&key->lock);
	nsim_quic_count(ns, stat, 1);
}

/* As if packets had passed by, which the device has not seen */
static int nsim_quic_rx_behind(void *data, u64 val)
{
	struct netdevsim *ns = data;
	struct nsim_quic_key *key;
	unsigned int bucket;

	rcu_read_lock();
	hash_for_each_rcu(ns->quic.rx_keys, bucket, key, node) {
		spin_lock_bh(&key->lock);
		key->next -= min(key->next, val);
		spin_unlock_bh(&key->lock);
	}
	rcu_read_unlock();
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(nsim_quic_rx_behind_fops, NULL, nsim_quic_rx_behind,
			 "%llu\n");

/* See nsim_quic_debugfs_init() */
void nsim_quic_rx_debugfs_init(struct netdevsim *ns, struct dentry *ddir)
{
	debugfs_create_atomic_t("rx_corrupt", 0600, ddir, &ns->quic.rx_corrupt);
	debugfs_create_u32("rx_drop", 0600, ddir, &ns->quic.rx_drop);
	debugfs_create_file("rx_behind", 0200, ddir, ns,
			    &nsim_quic_rx_behind_fops);
	debugfs_create_x32("rx_cap_ciphers", 0600, ddir,
			   &ns->quic.rx_caps.ciphers);
	debugfs_create_x32("rx_cap_cid_lens", 0600, ddir,
			   &ns->quic.rx_caps.cid_lens);
	debugfs_create_x32("rx_cap_flags", 0600, ddir,
			   &ns->quic.rx_caps.flags);
	debugfs_create_u8("rx_cap_max_vlans", 0600, ddir,
			  &ns->quic.rx_caps.max_vlans);
}

void nsim_quic_rx_init(struct netdevsim *ns)
{
	spin_lock_init(&ns->quic.rx_lock);
	hash_init(ns->quic.rx_keys);
}
