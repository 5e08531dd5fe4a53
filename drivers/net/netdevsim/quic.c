// SPDX-License-Identifier: GPL-2.0
/*
 * A device that seals QUIC packets, and opens them: see quic_rx.c.
 *
 * Nothing here comes from net/quic but what any driver sees of it, so that the
 * one can be tested against the other.
 */

#include <crypto/aead.h>
#include <crypto/aes.h>
#include <crypto/chacha.h>
#include <linux/debugfs.h>
#include <linux/ethtool.h>
#include <linux/once.h>
#include <linux/rtnetlink.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/udp.h>
#include <linux/unaligned.h>
#include <linux/wait_bit.h>
#include <linux/workqueue.h>
#include <net/checksum.h>
#include <net/gso.h>
#include <net/quic.h>
#include <net/sock.h>

#include "netdevsim.h"
#include "quic.h"

#define NSIM_QUIC_MAX_KEYS	1024

/* What goes out in place of packets that nobody seals */
#define NSIM_QUIC_PATTERN	0xff

/* ccm(aes) wants the length of its length field, less one, before the nonce */
#define NSIM_QUIC_CCM_IV_B0	2

/* Milliseconds until a device like real ones has taken a key */
#define NSIM_QUIC_STATEFUL_DELAY	1

static const char nsim_quic_stat_names[][ETH_GSTRING_LEN] = {
	[NSIM_QUIC_TX_PACKETS]		= "tx_quic_encrypted_packets",
	[NSIM_QUIC_TX_BYTES]		= "tx_quic_encrypted_bytes",
	[NSIM_QUIC_TX_CTX]		= "tx_quic_ctx",
	[NSIM_QUIC_TX_DEL]		= "tx_quic_del",
	[NSIM_QUIC_TX_DROP_NO_KEY]	= "tx_quic_drop_no_key",
	[NSIM_QUIC_TX_DROP_BAD]		= "tx_quic_drop_bad",
	[NSIM_QUIC_TX_FREE]		= "tx_quic_free_packets",
	[NSIM_QUIC_TX_RESYNC]		= "tx_quic_resync",
	[NSIM_QUIC_RX_PACKETS]		= "rx_quic_decrypted_packets",
	[NSIM_QUIC_RX_BYTES]		= "rx_quic_decrypted_bytes",
	[NSIM_QUIC_RX_CTX]		= "rx_quic_ctx",
	[NSIM_QUIC_RX_DEL]		= "rx_quic_del",
	[NSIM_QUIC_RX_ERR]		= "rx_quic_err",
	[NSIM_QUIC_RX_RESYNC_REQ]	= "rx_quic_resync_req",
	[NSIM_QUIC_RX_RESYNC_OK]	= "rx_quic_resync_ok",
	[NSIM_QUIC_RX_RESYNC_SKIP]	= "rx_quic_resync_skip",
};

int nsim_quic_get_sset_count(void)
{
	return NSIM_QUIC_STATS;
}

void nsim_quic_get_strings(u8 *data)
{
	memcpy(data, nsim_quic_stat_names, sizeof(nsim_quic_stat_names));
}

void nsim_quic_get_stats(struct netdevsim *ns, u64 *data)
{
	unsigned int i;

	for (i = 0; i < NSIM_QUIC_STATS; i++)
		data[i] = atomic64_read(&ns->quic.stats[i]);
}

/* RFC 9001 5.3 */
void nsim_quic_set_iv(struct nsim_quic_key *key, u64 pn)
{
	const struct quicdev_key *qkey = key->qkey;
	u8 *nonce = key->iv, *p;

	memset(key->iv, 0, sizeof(key->iv));
	if (qkey->cipher_type == TLS_CIPHER_AES_CCM_128)
		*nonce++ = NSIM_QUIC_CCM_IV_B0;
	memcpy(nonce, qkey->iv, QUIC_MAX_IV_SIZE);
	put_unaligned_be32(get_unaligned_be32(nonce) ^ qkey->path_id, nonce);
	p = nonce + QUIC_MAX_IV_SIZE - sizeof(pn);
	put_unaligned_be64(get_unaligned_be64(p) ^ pn, p);
}

static int nsim_quic_encrypt(struct nsim_quic_key *key, u8 *pkt,
			     unsigned int len, unsigned int hdr_len, u64 pn)
{
	int err;

	/* A real device has its own copy of the packet, and its own engine */
	spin_lock(&key->lock);
	nsim_quic_set_iv(key, pn);
	sg_init_one(&key->sg, pkt, len);
	aead_request_set_ad(key->req, hdr_len);
	aead_request_set_crypt(key->req, &key->sg, &key->sg,
			       len - hdr_len - QUIC_TAG_SIZE, key->iv);
	err = crypto_aead_encrypt(key->req);
	spin_unlock(&key->lock);
	return err;
}

/* RFC 9001 5.4.3 and 5.4.4 */
void nsim_quic_hp_mask(const struct nsim_quic_key *key, const u8 *sample,
		       u8 *mask)
{
	struct chacha_state state;

	if (key->qkey->cipher_type != TLS_CIPHER_CHACHA20_POLY1305) {
		aes_encrypt(&key->aes, mask, sample);
		return;
	}
	chacha_init(&state, key->chacha, sample);
	memset(mask, 0, QUIC_HP_MASK_SIZE);
	chacha20_crypt(&state, mask, mask, QUIC_HP_MASK_SIZE);
	chacha_zeroize_state(&state);
}

/* RFC 9001 5.4.1 */
static void nsim_quic_protect_header(const struct nsim_quic_key *key, u8 *pkt,
				     unsigned int pn_off, unsigned int pn_len)
{
	const u8 *sample = pkt + pn_off + QUIC_MAX_PKT_NUM_LEN;
	u8 mask[QUIC_HP_SAMPLE_SIZE];
	unsigned int i;

	BUILD_BUG_ON(QUIC_HP_SAMPLE_SIZE != AES_BLOCK_SIZE);
	nsim_quic_hp_mask(key, sample, mask);
	pkt[0] ^= mask[0] & QUIC_HDR_PROTECTED;
	for (i = 0; i < pn_len; i++)
		pkt[pn_off + i] ^= mask[1 + i];
}

static bool nsim_quic_pkt_num(const u8 *pkt, unsigned int pn_off,
			      unsigned int pn_len,
			      const struct quic_skb_ext *ext, u64 *pn)
{
	u32 truncated = get_unaligned_be32(pkt + pn_off);

	truncated >>= 8 * (QUIC_MAX_PKT_NUM_LEN - pn_len);
	return quic_skb_pkt_num(ext, truncated, pn_len, pn);
}

/* Devices that count packets themselves need to be told of a number that does
 * not follow. This one seals in any case with the number from the core.
 */
static void nsim_quic_tx_number(struct nsim_quic_key *key, u64 pn)
{
	struct netdevsim *ns = key->ns;
	bool follows;

	if (!READ_ONCE(ns->quic.stateful))
		return;
	spin_lock(&key->lock);
	follows = key->next == pn;
	key->next = pn + 1;
	spin_unlock(&key->lock);
	if (!follows)
		nsim_quic_count(ns, NSIM_QUIC_TX_RESYNC, 1);
}

/* @qkey contains all that is needed to seal. These checks detect packets that
 * are not what the core sent, so that the packet number would be wrong.
 */
static bool nsim_quic_pkt_ok(const struct quicdev_key *qkey, const u8 *pkt,
			     unsigned int len)
{
	if (len < nsim_quic_pn_off(qkey) + QUIC_MAX_PKT_NUM_LEN + QUIC_TAG_SIZE)
		return false;
	if (pkt[0] & QUIC_HDR_LONG ||
	    !(pkt[0] & QUIC_HDR_KEY_PHASE) != !(qkey->key_gen & 1))
		return false;
	/* Not that it matters here, but the core has promised */
	return !memchr_inv(pkt + len - QUIC_TAG_SIZE, 0, QUIC_TAG_SIZE);
}

/**
 * nsim_quic_seal - seal a packet in place
 * @key: key
 * @pkt: packet, with room for the tag
 * @len: bytes of it, on the wire
 * @ext: of the skb that it came in
 *
 * Return: bytes of payload, or a negative error.
 */
static int nsim_quic_seal(struct nsim_quic_key *key, u8 *pkt, unsigned int len,
			  const struct quic_skb_ext *ext)
{
	unsigned int pn_off = nsim_quic_pn_off(key->qkey), hdr_len, pn_len;
	u64 pn;
	int err;

	if (!nsim_quic_pkt_ok(key->qkey, pkt, len))
		return -EINVAL;
	pn_len = (pkt[0] & QUIC_HDR_PN_LEN) + 1;
	hdr_len = pn_off + pn_len;
	if (!nsim_quic_pkt_num(pkt, pn_off, pn_len, ext, &pn))
		return -EINVAL;

	nsim_quic_tx_number(key, pn);
	err = nsim_quic_encrypt(key, pkt, len, hdr_len, pn);
	if (err)
		return err;
	nsim_quic_protect_header(key, pkt, pn_off, pn_len);
	return len - hdr_len - QUIC_TAG_SIZE;
}

static bool nsim_quic_udp_ok(struct sk_buff *skb)
{
	int off = skb_transport_offset(skb);

	if (!skb_transport_header_was_set(skb) || skb->encapsulation ||
	    off < 0 || !pskb_may_pull(skb, off + sizeof(struct udphdr)))
		return false;
	return skb_is_gso(skb) ||
	       ntohs(udp_hdr(skb)->len) == skb->len - off;
}

static void nsim_quic_skb_done(struct sk_buff *skb)
{
	skb->decrypted = 0;
	skb_ext_del(skb, SKB_EXT_QUIC);
}

static __wsum nsim_quic_sum(const struct sk_buff *skb, unsigned int off)
{
	return csum_partial(skb->data + off, skb->len - off, 0);
}

/* Where TX checksums were turned off, the stack has made one that is right
 * for what has not been sealed. To turn them off must not hurt keys that are
 * in the device.
 */
static void nsim_quic_fix_checksum(struct sk_buff *skb, unsigned int off,
				   __wsum before)
{
	struct udphdr *uh = udp_hdr(skb);

	if (!uh->check)
		return;
	csum_replace_by_diff(&uh->check,
			     csum_sub(nsim_quic_sum(skb, off), before));
	if (!uh->check)
		uh->check = CSUM_MANGLED_0;
}

/* The key may be freed with the last skb that refers to it */
static int nsim_quic_seal_skb(struct netdevsim *ns, struct nsim_quic_key *key,
			      struct sk_buff *skb,
			      const struct quic_skb_ext *ext)
{
	bool partial = skb->ip_summed == CHECKSUM_PARTIAL;
	unsigned int off;
	__wsum sum = 0;
	int len;

	/* Taps may look at the data, and others may own it */
	if (skb_linearize_cow(skb))
		return -ENOMEM;
	if (!nsim_quic_udp_ok(skb))
		return -EINVAL;
	off = skb_transport_offset(skb) + sizeof(struct udphdr);
	if (!partial)
		sum = nsim_quic_sum(skb, off);
	len = nsim_quic_seal(key, skb->data + off, skb->len - off, ext);
	if (len < 0)
		return len;
	if (nsim_quic_fault(&ns->quic.corrupt))
		skb->data[skb->len - 1] ^= 1;

	nsim_quic_skb_done(skb);
	if (!partial)
		nsim_quic_fix_checksum(skb, off, sum);
	else if (skb_checksum_help(skb))
		return -ENOMEM;
	nsim_quic_count(ns, NSIM_QUIC_TX_PACKETS, 1);
	nsim_quic_count(ns, NSIM_QUIC_TX_BYTES, len);
	return 0;
}

static unsigned int nsim_quic_pkts(const struct sk_buff *skb)
{
	return skb_is_gso(skb) ? skb_shinfo(skb)->gso_segs : 1;
}

static struct sk_buff *nsim_quic_drop(struct netdevsim *ns,
				      struct sk_buff *skb,
				      enum nsim_quic_stat stat,
				      unsigned int *dropped)
{
	unsigned int n = nsim_quic_pkts(skb);

	nsim_quic_count(ns, stat, n);
	*dropped += n;
	kfree_skb_reason(skb, stat == NSIM_QUIC_TX_DROP_NO_KEY ?
			      SKB_DROP_REASON_QUIC_TX_NO_KEY :
			      SKB_DROP_REASON_QUIC_TX_SEAL);
	return NULL;
}

static bool nsim_quic_is_uso(const struct sk_buff *skb)
{
	return skb_is_gso(skb) &&
	       skb_shinfo(skb)->gso_type & SKB_GSO_UDP_L4;
}

/* With NETIF_F_SG segments share the data of @skb, else they have copies */
static struct sk_buff *nsim_quic_segment(struct netdevsim *ns,
					 struct sk_buff *skb,
					 netdev_features_t features,
					 unsigned int *dropped)
{
	struct sk_buff *segs;

	if (!nsim_quic_is_uso(skb))
		return skb;
	segs = skb_gso_segment(skb, features | NETIF_F_HW_CSUM);
	if (IS_ERR_OR_NULL(segs))
		return nsim_quic_drop(ns, skb, NSIM_QUIC_TX_DROP_BAD, dropped);
	consume_skb(skb);
	return segs;
}

static struct sk_buff *nsim_quic_seal_list(struct netdevsim *ns,
					   struct nsim_quic_key *key,
					   struct sk_buff *segs,
					   const struct quic_skb_ext *ext,
					   unsigned int *dropped)
{
	struct sk_buff *first = NULL, **last = &first, *skb, *next;

	skb_list_walk_safe(segs, skb, next) {
		skb_mark_not_on_list(skb);
		if (nsim_quic_seal_skb(ns, key, skb, ext)) {
			nsim_quic_drop(ns, skb, NSIM_QUIC_TX_DROP_BAD,
				       dropped);
			continue;
		}
		*last = skb;
		last = &skb->next;
	}
	return first;
}

/* A NIC seals without the host's CPU. So that benchmarks show what the rest of
 * the stack costs, free_crypto sends a pattern in place of the UDP payload,
 * QUIC headers included, the way that sealed packets go. The user's data is not
 * touched.
 */
static int nsim_quic_blank(struct netdevsim *ns, struct sk_buff *skb)
{
	unsigned int off, len, n, i;
	int err;

	if (!nsim_quic_udp_ok(skb))
		return -EINVAL;
	off = skb_transport_offset(skb) + sizeof(struct udphdr);
	len = skb->len - off;
	if (len > MAX_SKB_FRAGS * PAGE_SIZE)
		return -EMSGSIZE;
	err = pskb_trim(skb, off);
	if (err)
		return err;
	for (i = 0; len; i++, len -= n) {
		n = min_t(unsigned int, len, PAGE_SIZE);
		get_page(ns->quic.pattern);
		skb_fill_page_desc(skb, i, ns->quic.pattern, 0, n);
		skb->data_len += n;
		skb->len += n;
	}
	skb_shinfo(skb)->flags |= SKBFL_SHARED_FRAG;
	if (skb->ip_summed == CHECKSUM_NONE)
		skb->ip_summed = CHECKSUM_UNNECESSARY;
	nsim_quic_skb_done(skb);
	nsim_quic_count(ns, NSIM_QUIC_TX_FREE, nsim_quic_pkts(skb));
	return 0;
}

static struct nsim_quic_key *nsim_quic_find_key(struct netdevsim *ns,
						struct quicdev_key *qkey)
{
	struct nsim_quic_state *state = quicdev_state(qkey);
	struct nsim_quic_key *key = state->key;

	if (!key || key->ns != ns || key->direction != QUICDEV_TX ||
	    !nsim_quic_key_usable(key))
		return NULL;
	return key;
}

static struct sk_buff *nsim_quic_tx_key(struct netdevsim *ns,
					struct sk_buff *skb,
					unsigned int *dropped)
{
	/* A copy: segments drop the extension as they are sealed, and the last
	 * one still needs it.
	 */
	const struct quic_skb_ext ext = *quicdev_skb_ext(skb);
	struct nsim_quic_key *key;

	key = nsim_quic_find_key(ns, ext.key);
	if (!key)
		return nsim_quic_drop(ns, skb, NSIM_QUIC_TX_DROP_NO_KEY,
				      dropped);
	if (READ_ONCE(ns->quic.free_crypto)) {
		if (nsim_quic_blank(ns, skb))
			return nsim_quic_drop(ns, skb, NSIM_QUIC_TX_DROP_BAD,
					      dropped);
		return nsim_quic_segment(ns, skb, NETIF_F_SG, dropped);
	}
	skb = nsim_quic_segment(ns, skb, 0, dropped);
	return nsim_quic_seal_list(ns, key, skb, &ext, dropped);
}

/**
 * nsim_quic_busy - is there no room in the ring for an skb?
 * @ns: device
 * @skb: skb
 *
 * Context: ndo_start_xmit().
 * Return: true if @skb has to stay with the queueing discipline.
 */
bool nsim_quic_busy(struct netdevsim *ns, const struct sk_buff *skb)
{
	return READ_ONCE(ns->quic.busy) && quicdev_skb_ext(skb);
}

/**
 * nsim_quic_ring - put an skb into a ring, from which it is sent later
 * @ns: device
 * @skb: skb
 *
 * Context: ndo_start_xmit().
 * Return: false if there is no ring, and @skb has to be sent now.
 */
bool nsim_quic_ring(struct netdevsim *ns, struct sk_buff *skb)
{
	u32 ms = READ_ONCE(ns->quic.ring_ms);

	if (!ms && skb_queue_empty_lockless(&ns->quic.ring))
		return false;
	skb_queue_tail(&ns->quic.ring, skb);
	schedule_delayed_work(&ns->quic.ring_work, msecs_to_jiffies(ms));
	return true;
}

static void nsim_quic_ring_work(struct work_struct *work)
{
	struct netdevsim *ns = container_of(to_delayed_work(work),
					    struct netdevsim, quic.ring_work);
	struct sk_buff_head skbs;
	struct sk_buff *skb;

	__skb_queue_head_init(&skbs);
	spin_lock_bh(&ns->quic.ring.lock);
	skb_queue_splice_init(&ns->quic.ring, &skbs);
	while ((skb = __skb_dequeue(&skbs)))
		nsim_xmit(skb, ns->netdev);
	spin_unlock_bh(&ns->quic.ring.lock);
}

/**
 * nsim_quic_stop - drop what is in the ring
 * @ns: device
 *
 * Context: ndo_stop().
 */
void nsim_quic_stop(struct netdevsim *ns)
{
	cancel_delayed_work_sync(&ns->quic.ring_work);
	skb_queue_purge(&ns->quic.ring);
}

/* Devices may stop a key, or leave some packets to software */
static bool nsim_quic_give_back(struct netdevsim *ns, const struct sk_buff *skb)
{
	u32 software = READ_ONCE(ns->quic.software);

	if (READ_ONCE(ns->quic.stop_key)) {
		WRITE_ONCE(ns->quic.stop_key, false);
		quicdev_key_stop(quicdev_skb_ext(skb)->key);
	}
	return software &&
	       !((u32)atomic_inc_return(&ns->quic.skbs) % software);
}

/* Left to a device, but it does not say with which key. TLS has that mark,
 * too.
 */
static bool nsim_quic_lost_key(const struct sk_buff *skb)
{
	return skb_is_decrypted(skb) && (!skb->sk || sk_is_udp(skb->sk));
}

/**
 * nsim_quic_tx - what becomes of an skb on its way to the wire
 * @ns: device
 * @skb: skb, consumed
 * @dropped: packets that are dropped get added here
 *
 * Context: ndo_start_xmit().
 * Return: list of skbs to send, which may be empty. All that is to be sealed
 * is.
 */
struct sk_buff *nsim_quic_tx(struct netdevsim *ns, struct sk_buff *skb,
			     unsigned int *dropped)
{
	unsigned int n = nsim_quic_pkts(skb);

	if (quicdev_skb_ext(skb)) {
		if (!nsim_quic_give_back(ns, skb))
			return nsim_quic_tx_key(ns, skb, dropped);
		skb = quicdev_encrypt_skb(skb);
		if (!skb) {
			*dropped += n;
			return NULL;
		}
	}
	if (nsim_quic_lost_key(skb))
		return nsim_quic_drop(ns, skb, NSIM_QUIC_TX_DROP_BAD, dropped);
	return nsim_quic_segment(ns, skb, NETIF_F_SG, dropped);
}

/**
 * nsim_quic_discard - an skb that is going to be dropped for want of a link
 * @ns: device
 * @skb: skb
 *
 * A device without a peer is where benchmarks with free_crypto send to, so that
 * no receiver is in their figures. So that they can be sure of what they have
 * measured, what got this far with a key of the device is counted.
 *
 * Context: ndo_start_xmit().
 */
void nsim_quic_discard(struct netdevsim *ns, const struct sk_buff *skb)
{
	const struct quic_skb_ext *ext = quicdev_skb_ext(skb);

	if (READ_ONCE(ns->quic.free_crypto) && ext &&
	    nsim_quic_find_key(ns, ext->key))
		nsim_quic_count(ns, NSIM_QUIC_TX_FREE, nsim_quic_pkts(skb));
}

static const char *nsim_quic_alg(const struct quicdev_key *qkey)
{
	switch (qkey->cipher_type) {
	case TLS_CIPHER_AES_CCM_128:
		return "ccm(aes)";
	case TLS_CIPHER_CHACHA20_POLY1305:
		return "rfc7539(chacha20,poly1305)";
	default:
		return "gcm(aes)";
	}
}

static int nsim_quic_set_aead(struct nsim_quic_key *key,
			      const struct quicdev_key *qkey)
{
	struct crypto_aead *aead;
	int err;

	/* Nobody can wait in ndo_start_xmit() */
	aead = crypto_alloc_aead(nsim_quic_alg(qkey), 0, CRYPTO_ALG_ASYNC);
	if (IS_ERR(aead))
		return PTR_ERR(aead);
	key->aead = aead;
	err = crypto_aead_setkey(aead, qkey->key, qkey->key_size);
	if (!err)
		err = crypto_aead_setauthsize(aead, QUIC_TAG_SIZE);
	if (err)
		return err;
	key->req = aead_request_alloc(aead, GFP_KERNEL);
	if (!key->req)
		return -ENOMEM;
	aead_request_set_callback(key->req, 0, NULL, NULL);
	return 0;
}

static int nsim_quic_set_hp(struct nsim_quic_key *key,
			    const struct quicdev_key *qkey)
{
	unsigned int i;

	if (qkey->cipher_type != TLS_CIPHER_CHACHA20_POLY1305)
		return aes_prepareenckey(&key->aes, qkey->header_key,
					 qkey->key_size);
	for (i = 0; i < ARRAY_SIZE(key->chacha); i++)
		key->chacha[i] = get_unaligned_le32(qkey->header_key +
						    i * sizeof(u32));
	return 0;
}

/* Packets for which the key was looked up before may be about to use it: the
 * struct stays for a grace period, but there is nothing to use.
 */
static void nsim_quic_key_free(struct nsim_quic_key *key)
{
	struct crypto_aead *aead = key->aead;
	struct aead_request *req = key->req;

	spin_lock_bh(&key->lock);
	key->aead = NULL;
	key->req = NULL;
	memzero_explicit(&key->aes, sizeof(key->aes));
	memzero_explicit(key->chacha, sizeof(key->chacha));
	memzero_explicit(key->iv, sizeof(key->iv));
	spin_unlock_bh(&key->lock);
	aead_request_free(req);
	crypto_free_aead(aead);
	kfree_rcu(key, rcu);
}

static void nsim_quic_ack(struct work_struct *work)
{
	struct nsim_quic_key *key = container_of(to_delayed_work(work),
						 struct nsim_quic_key, ack);
	int err = -(int)READ_ONCE(key->ns->quic.refuse_add);

	WRITE_ONCE(key->ready, !err);
	quicdev_add_done(key->qkey, err);
}

static struct nsim_quic_key *
nsim_quic_key_alloc(struct netdevsim *ns, enum quicdev_direction direction,
		    struct quicdev_key *qkey)
{
	struct nsim_quic_key *key;
	int err;

	key = kzalloc_obj(*key, GFP_KERNEL);
	if (!key)
		return ERR_PTR(-ENOMEM);
	key->ns = ns;
	key->qkey = qkey;
	key->direction = direction;
	key->next = qkey->next_pkt_num;
	key->epoch = atomic_read(&ns->quic.epoch);
	spin_lock_init(&key->lock);
	INIT_DELAYED_WORK(&key->ack, nsim_quic_ack);
	err = nsim_quic_set_aead(key, qkey);
	if (!err)
		err = nsim_quic_set_hp(key, qkey);
	if (err) {
		nsim_quic_key_free(key);
		return ERR_PTR(err);
	}
	return key;
}

/* What the core has promised: a flow has one direction, and at most two keys
 * at a time, with different Key Phases. There is no third slot.
 */
static bool nsim_quic_slot_free(struct netdevsim *ns,
				enum quicdev_direction direction,
				const struct quicdev_key *qkey)
{
	const struct nsim_quic_key *key;

	list_for_each_entry(key, &ns->quic.list, list) {
		if (key->qkey->cookie == qkey->cookie &&
		    (key->direction != direction ||
		     !((key->qkey->key_gen ^ qkey->key_gen) & 1)))
			return false;
	}
	return true;
}

/* The core serialises changes of the list */
static void nsim_quic_key_link(struct nsim_quic_key *key)
{
	struct nsim_quic_state *state = quicdev_state(key->qkey);
	struct netdevsim *ns = key->ns;

	state->key = key;
	list_add(&key->list, &ns->quic.list);
	atomic_inc(&ns->quic.keys);
	if (key->direction == QUICDEV_TX) {
		nsim_quic_count(ns, NSIM_QUIC_TX_CTX, 1);
		return;
	}
	nsim_quic_rx_add(key);
	nsim_quic_count(ns, NSIM_QUIC_RX_CTX, 1);
}

static void nsim_quic_key_unlink(struct nsim_quic_key *key)
{
	struct nsim_quic_state *state = quicdev_state(key->qkey);
	struct netdevsim *ns = key->ns;

	if (key->direction == QUICDEV_RX)
		nsim_quic_rx_del(key);
	state->key = NULL;
	list_del(&key->list);
	atomic_dec(&ns->quic.keys);
	nsim_quic_count(ns, key->direction == QUICDEV_TX ?
			NSIM_QUIC_TX_DEL : NSIM_QUIC_RX_DEL, 1);
}

static int nsim_quic_key_add(struct netdevsim *ns,
			     enum quicdev_direction direction,
			     struct quicdev_key *qkey,
			     struct netlink_ext_ack *extack)
{
	struct nsim_dev *nsim_dev = ns->nsim_dev;
	struct nsim_quic_key *key;

	BUILD_BUG_ON(sizeof(struct nsim_quic_state) > QUICDEV_STATE_SIZE);
	if (WARN_ON_ONCE(!nsim_quic_slot_free(ns, direction, qkey))) {
		NSIM_EA(extack, "The QUIC flow has keys in both slots");
		return -EEXIST;
	}
	if (!atomic_add_unless(&nsim_dev->quic.keys, 1,
			       nsim_dev->quic.max_keys)) {
		NSIM_EA(extack, "No room for more QUIC keys");
		return -ENOSPC;
	}
	key = nsim_quic_key_alloc(ns, direction, qkey);
	if (IS_ERR(key)) {
		atomic_dec(&nsim_dev->quic.keys);
		NSIM_EA(extack, "Failed to set up QUIC key");
		return PTR_ERR(key);
	}
	nsim_quic_key_link(key);
	return 0;
}

/* Firmware may take its time */
static void nsim_quic_sleep(struct netdevsim *ns)
{
	u32 ms = READ_ONCE(ns->quic.slow);

	if (!ms)
		return;
	atomic_inc(&ns->quic.asleep);
	wait_var_event_timeout(&ns->quic.slow, !READ_ONCE(ns->quic.slow),
			       msecs_to_jiffies(ms));
	atomic_dec(&ns->quic.asleep);
}

/* Ports share a table: when it is not full any more, tell all of them */
static void nsim_quic_room(struct nsim_dev *nsim_dev)
{
	struct netdevsim *ns;

	spin_lock(&nsim_dev->quic.lock);
	list_for_each_entry(ns, &nsim_dev->quic.ports, quic.port)
		quicdev_room(ns->netdev);
	spin_unlock(&nsim_dev->quic.lock);
}

/* Milliseconds until a key is acknowledged, 0 if that needs no time */
static u32 nsim_quic_delay(const struct netdevsim *ns)
{
	u32 delay = READ_ONCE(ns->quic.delay_ack);

	if (!delay && READ_ONCE(ns->quic.stateful))
		delay = NSIM_QUIC_STATEFUL_DELAY;
	return delay;
}

static int nsim_quic_dev_add(struct net_device *netdev, struct sock *sk,
			     enum quicdev_direction direction,
			     struct quicdev_key *qkey,
			     struct netlink_ext_ack *extack)
{
	struct nsim_quic_state *state = quicdev_state(qkey);
	struct netdevsim *ns = netdev_priv(netdev);
	u32 delay, refuse;
	int err;

	nsim_quic_sleep(ns);
	delay = nsim_quic_delay(ns);
	refuse = READ_ONCE(ns->quic.refuse_add);
	if (refuse && !delay) {
		NSIM_EA(extack, "QUIC key refused, as debugfs says");
		return -(int)refuse;
	}
	err = nsim_quic_key_add(ns, direction, qkey, extack);
	if (err)
		return err;
	if (delay) {
		schedule_delayed_work(&state->key->ack,
				      msecs_to_jiffies(delay));
		return -EINPROGRESS;
	}
	WRITE_ONCE(state->key->ready, true);
	return 0;
}

static void nsim_quic_dev_del(struct net_device *netdev,
			      enum quicdev_direction direction,
			      struct quicdev_key *qkey)
{
	struct nsim_quic_state *state = quicdev_state(qkey);
	struct netdevsim *ns = netdev_priv(netdev);
	struct nsim_dev *nsim_dev = ns->nsim_dev;
	struct nsim_quic_key *key = state->key;
	bool ready;

	nsim_quic_sleep(ns);
	/* The ring may still have packets for the key */
	if (direction == QUICDEV_TX)
		flush_delayed_work(&ns->quic.ring_work);
	cancel_delayed_work_sync(&key->ack);
	ready = key->ready;
	nsim_quic_key_unlink(key);
	nsim_quic_key_free(key);
	/* A key that was refused has not taken anybody's place */
	if (atomic_dec_return(&nsim_dev->quic.keys) ==
	    nsim_dev->quic.max_keys - 1 && ready)
		nsim_quic_room(nsim_dev);
}

static int nsim_quic_refuse_add_get(void *data, u64 *val)
{
	struct netdevsim *ns = data;

	*val = ns->quic.refuse_add;
	return 0;
}

static int nsim_quic_refuse_add_set(void *data, u64 val)
{
	struct netdevsim *ns = data;

	/* -EINPROGRESS asks for time, and does not refuse the key */
	if (val > MAX_ERRNO || val == EINPROGRESS)
		return -EINVAL;
	WRITE_ONCE(ns->quic.refuse_add, val);
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(nsim_quic_refuse_add_fops, nsim_quic_refuse_add_get,
			 nsim_quic_refuse_add_set, "%llu\n");

static int nsim_quic_slow_get(void *data, u64 *val)
{
	struct netdevsim *ns = data;

	*val = ns->quic.slow;
	return 0;
}

static int nsim_quic_slow_set(void *data, u64 val)
{
	struct netdevsim *ns = data;

	WRITE_ONCE(ns->quic.slow, val);
	wake_up_var(&ns->quic.slow);
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(nsim_quic_slow_fops, nsim_quic_slow_get,
			 nsim_quic_slow_set, "%llu\n");

static int nsim_quic_detach_get(void *data, u64 *val)
{
	struct netdevsim *ns = data;

	*val = !netif_device_present(ns->netdev);
	return 0;
}

static int nsim_quic_detach_set(void *data, u64 val)
{
	struct netdevsim *ns = data;

	rtnl_lock();
	if (val)
		netif_device_detach(ns->netdev);
	else
		netif_device_attach(ns->netdev);
	rtnl_unlock();
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(nsim_quic_detach_fops, nsim_quic_detach_get,
			 nsim_quic_detach_set, "%llu\n");

static int nsim_quic_lose_keys(void *data, u64 val)
{
	struct netdevsim *ns = data;

	atomic_inc(&ns->quic.epoch);
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(nsim_quic_lose_keys_fops, NULL, nsim_quic_lose_keys,
			 "%llu\n");

/* As drivers recover from firmware that has hung: with RTNL, or, if @val is 2,
 * without. The device stays while the file is in use.
 */
static int nsim_quic_reset(void *data, u64 val)
{
	struct netdevsim *ns = data;
	bool locked = val != 2;

	if (locked)
		rtnl_lock();
	atomic_inc(&ns->quic.epoch);
	quicdev_keys_reset(ns->netdev);
	if (locked)
		rtnl_unlock();
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(nsim_quic_reset_fops, NULL, nsim_quic_reset,
			 "%llu\n");

static const struct quicdev_caps nsim_quic_caps = {
	.ciphers	= QUICDEV_CIPHER(TLS_CIPHER_AES_GCM_128) |
			  QUICDEV_CIPHER(TLS_CIPHER_AES_GCM_256) |
			  QUICDEV_CIPHER(TLS_CIPHER_AES_CCM_128) |
			  QUICDEV_CIPHER(TLS_CIPHER_CHACHA20_POLY1305),
	.cid_lens	= GENMASK(QUIC_MAX_CONNECTION_ID_SIZE, 0),
	.pkt_num_lens	= GENMASK(QUIC_MAX_PKT_NUM_LEN, 1),
	.flags		= QUICDEV_CAP_IPV4 | QUICDEV_CAP_IPV6 |
			  QUICDEV_CAP_NO_FIXED | QUICDEV_CAP_PATH_ID,
	.max_vlans	= U8_MAX,
};

/* The core does not look at pkt_num_lens of devices that open packets */
static const struct quicdev_caps nsim_quic_rx_caps = {
	.ciphers	= QUICDEV_CIPHER(TLS_CIPHER_AES_GCM_128) |
			  QUICDEV_CIPHER(TLS_CIPHER_AES_GCM_256) |
			  QUICDEV_CIPHER(TLS_CIPHER_AES_CCM_128) |
			  QUICDEV_CIPHER(TLS_CIPHER_CHACHA20_POLY1305),
	.cid_lens	= GENMASK(QUIC_MAX_CONNECTION_ID_SIZE, 0),
	.flags		= QUICDEV_CAP_IPV4 | QUICDEV_CAP_IPV6 |
			  QUICDEV_CAP_NO_FIXED | QUICDEV_CAP_PATH_ID,
	.max_vlans	= U8_MAX,
};

static const struct quicdev_ops nsim_quicdev_ops = {
	.quic_dev_add		= nsim_quic_dev_add,
	.quic_dev_del		= nsim_quic_dev_del,
	.quic_dev_resync	= nsim_quic_rx_resync,
};

/* Existing hardware has fewer ciphers and lengths of connection IDs */
static void nsim_quic_stateful_caps(struct quicdev_caps *caps)
{
	caps->ciphers = QUICDEV_CIPHER(TLS_CIPHER_AES_GCM_128) |
			QUICDEV_CIPHER(TLS_CIPHER_AES_GCM_256);
	caps->cid_lens = BIT(0) | BIT(8);
	caps->max_pkts = 1;
}

static int nsim_quic_stateful_get(void *data, u64 *val)
{
	struct netdevsim *ns = data;

	*val = ns->quic.stateful;
	return 0;
}

static int nsim_quic_stateful_set(void *data, u64 val)
{
	struct netdevsim *ns = data;

	WRITE_ONCE(ns->quic.stateful, !!val);
	ns->quic.caps = nsim_quic_caps;
	ns->quic.rx_caps = nsim_quic_rx_caps;
	if (!val)
		return 0;
	nsim_quic_stateful_caps(&ns->quic.caps);
	nsim_quic_stateful_caps(&ns->quic.rx_caps);
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(nsim_quic_stateful_fops, nsim_quic_stateful_get,
			 nsim_quic_stateful_set, "%llu\n");

static void nsim_quic_debugfs_caps(struct quicdev_caps *caps,
				   struct dentry *ddir)
{
	debugfs_create_x32("cap_ciphers", 0600, ddir, &caps->ciphers);
	debugfs_create_x32("cap_cid_lens", 0600, ddir, &caps->cid_lens);
	debugfs_create_x32("cap_pkt_num_lens", 0600, ddir, &caps->pkt_num_lens);
	debugfs_create_x32("cap_flags", 0600, ddir, &caps->flags);
	debugfs_create_u16("cap_max_pkts", 0600, ddir, &caps->max_pkts);
	debugfs_create_u16("cap_max_pkt_len", 0600, ddir, &caps->max_pkt_len);
	debugfs_create_u8("cap_max_vlans", 0600, ddir, &caps->max_vlans);
}

/**
 * nsim_quic_debugfs_init - let tests provoke what devices do rarely
 * @ns: device
 *
 * refuse_add: errno to refuse keys with, 0 to take them
 * delay_ack: milliseconds until a key is acknowledged, or refused
 * ring: milliseconds that packets stay in the transmit ring
 * slow: milliseconds that each add and delete sleeps; 0 wakes them up
 * asleep: number of calls that sleep now
 * detach: what netif_device_detach() does, 0 attaches the device again
 * lose_keys: forget all keys that are installed
 * reset: the same, and say so
 * busy: leave packets for a key to the queueing discipline, as a full ring does
 * stop_key: 1 stops the key of the next packet
 * software: software is to seal every Nth skb
 * corrupt: number of sealed packets to flip a bit in
 * free_crypto: send a pattern instead of sealing
 * cap_*: what struct quicdev_caps says. For tests a race with the core is fine
 * rx_cap_*: the same of &quicdev_ops.rx_caps
 * rx_corrupt: number of packets to flip a bit in before they are opened; the
 *	skb stays as it is
 * rx_behind: packet numbers that all keys are to fall behind by
 * rx_drop: lose every Nth skb that arrives
 * stateful: be like existing hardware: fewer ciphers and lengths of connection
 *	IDs, no GSO, keys take time, packet numbers are counted
 *
 * Keys for either direction are refused, delayed and lost alike.
 */
void nsim_quic_debugfs_init(struct netdevsim *ns)
{
	struct dentry *ddir;

	ddir = debugfs_create_dir("quic", ns->nsim_dev_port->ddir);
	ns->quic.ddir = ddir;
	debugfs_create_file("refuse_add", 0600, ddir, ns,
			    &nsim_quic_refuse_add_fops);
	debugfs_create_u32("delay_ack", 0600, ddir, &ns->quic.delay_ack);
	debugfs_create_u32("ring", 0600, ddir, &ns->quic.ring_ms);
	debugfs_create_file("slow", 0600, ddir, ns, &nsim_quic_slow_fops);
	debugfs_create_atomic_t("asleep", 0400, ddir, &ns->quic.asleep);
	debugfs_create_file("detach", 0600, ddir, ns, &nsim_quic_detach_fops);
	debugfs_create_file("lose_keys", 0200, ddir, ns,
			    &nsim_quic_lose_keys_fops);
	debugfs_create_file("reset", 0200, ddir, ns, &nsim_quic_reset_fops);
	debugfs_create_bool("busy", 0600, ddir, &ns->quic.busy);
	debugfs_create_bool("stop_key", 0600, ddir, &ns->quic.stop_key);
	debugfs_create_u32("software", 0600, ddir, &ns->quic.software);
	debugfs_create_atomic_t("corrupt", 0600, ddir, &ns->quic.corrupt);
	nsim_quic_debugfs_caps(&ns->quic.caps, ddir);
	debugfs_create_bool("free_crypto", 0600, ddir, &ns->quic.free_crypto);
	debugfs_create_file("stateful", 0600, ddir, ns,
			    &nsim_quic_stateful_fops);
	nsim_quic_rx_debugfs_init(ns, ddir);
}

/* Before RTNL is taken, as reset takes it */
void nsim_quic_debugfs_exit(struct netdevsim *ns)
{
	debugfs_remove(ns->quic.ddir);
}

/* The core holds a lock when it adds keys: modules cannot be loaded then */
static void nsim_quic_load_modules(void)
{
	static const char * const algs[] = {
		"gcm(aes)", "ccm(aes)", "rfc7539(chacha20,poly1305)",
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(algs); i++)
		crypto_has_alg(algs[i], 0, CRYPTO_ALG_ASYNC);
}

int nsim_quic_init(struct netdevsim *ns)
{
	struct nsim_dev *nsim_dev = ns->nsim_dev;
	struct net_device *dev = ns->netdev;

	BUILD_BUG_ON(ARRAY_SIZE(nsim_quic_stat_names) != NSIM_QUIC_STATS);
	DO_ONCE_SLEEPABLE(nsim_quic_load_modules);
	ns->quic.pattern = alloc_page(GFP_KERNEL);
	if (!ns->quic.pattern)
		return -ENOMEM;
	memset(page_address(ns->quic.pattern), NSIM_QUIC_PATTERN, PAGE_SIZE);
	INIT_LIST_HEAD(&ns->quic.list);
	nsim_quic_rx_init(ns);
	skb_queue_head_init(&ns->quic.ring);
	INIT_DELAYED_WORK(&ns->quic.ring_work, nsim_quic_ring_work);
	spin_lock(&nsim_dev->quic.lock);
	list_add(&ns->quic.port, &nsim_dev->quic.ports);
	spin_unlock(&nsim_dev->quic.lock);

	ns->quic.ops = nsim_quicdev_ops;
	ns->quic.caps = nsim_quic_caps;
	ns->quic.rx_caps = nsim_quic_rx_caps;
	ns->quic.ops.caps = &ns->quic.caps;
	ns->quic.ops.rx_caps = &ns->quic.rx_caps;
	dev->quicdev_ops = &ns->quic.ops;
	/* QUIC depends on checksums, and the rest on scatter-gather. So let
	 * them change, and come back.
	 */
	dev->hw_features |= NETIF_F_HW_QUIC_TX | NETIF_F_GSO_UDP_L4 |
			    NETIF_F_HW_CSUM | NETIF_F_SG | NETIF_F_TSO |
			    NETIF_F_HW_QUIC_RX | NETIF_F_RXCSUM;
	return 0;
}

void nsim_quic_teardown(struct netdevsim *ns)
{
	struct nsim_dev *nsim_dev = ns->nsim_dev;

	WARN_ON(atomic_read(&ns->quic.keys));
	nsim_quic_stop(ns);
	spin_lock(&nsim_dev->quic.lock);
	list_del(&ns->quic.port);
	spin_unlock(&nsim_dev->quic.lock);
	put_page(ns->quic.pattern);
}

static u64 nsim_quic_occ_get(void *priv)
{
	struct nsim_dev *nsim_dev = priv;

	return atomic_read(&nsim_dev->quic.keys);
}

int nsim_quic_resource_register(struct devlink *devlink)
{
	struct devlink_resource_size_params params = {
		.size_max = INT_MAX,
		.size_granularity = 1,
		.unit = DEVLINK_RESOURCE_UNIT_ENTRY
	};

	return devl_resource_register(devlink, "quic", NSIM_QUIC_MAX_KEYS,
				      NSIM_RESOURCE_QUIC,
				      DEVLINK_RESOURCE_ID_PARENT_TOP, &params);
}

void nsim_quic_dev_init(struct nsim_dev *nsim_dev)
{
	struct devlink *devlink = priv_to_devlink(nsim_dev);
	u64 max_keys;

	if (devl_resource_size_get(devlink, NSIM_RESOURCE_QUIC, &max_keys))
		max_keys = NSIM_QUIC_MAX_KEYS;
	spin_lock_init(&nsim_dev->quic.lock);
	INIT_LIST_HEAD(&nsim_dev->quic.ports);
	nsim_dev->quic.max_keys = max_keys;
	devl_resource_occ_get_register(devlink, NSIM_RESOURCE_QUIC,
				       nsim_quic_occ_get, nsim_dev);
}

void nsim_quic_dev_exit(struct nsim_dev *nsim_dev)
{
	devl_resource_occ_get_unregister(priv_to_devlink(nsim_dev),
					 NSIM_RESOURCE_QUIC);
}
