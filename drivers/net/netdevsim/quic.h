/* SPDX-License-Identifier: GPL-2.0 */
/*
 * QUIC packet protection of netdevsim: what both directions share. Include
 * "netdevsim.h" before this.
 */
#ifndef _NETDEVSIM_QUIC_H
#define _NETDEVSIM_QUIC_H

#include <crypto/aead.h>
#include <crypto/aes.h>
#include <crypto/chacha.h>
#include <linux/in6.h>
#include <linux/list.h>
#include <linux/scatterlist.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>
#include <net/quic.h>

/**
 * struct nsim_quic_tuple - what the packets of an RX key have in common
 * @saddr: source address; an IPv4 address is in the first word
 * @daddr: destination address
 * @sport: source port
 * @dport: destination port
 * @family: AF_INET or AF_INET6
 * @vlan_proto: protocol of the VLAN tag, 0 for none
 * @vlan_id: number of the VLAN
 * @pad: 0, so that tuples can be hashed and compared as bytes
 */
struct nsim_quic_tuple {
	struct in6_addr saddr;
	struct in6_addr daddr;
	__be16 sport;
	__be16 dport;
	u16 family;
	__be16 vlan_proto;
	u16 vlan_id;
	u16 pad;
};

/**
 * struct nsim_quic_key - a key in the device
 * @ns: device
 * @qkey: description by the core
 * @direction: of the packets that the key is for
 * @epoch: of the device when it got the key, see struct nsim_quic
 * @ready: acknowledged
 * @ack: acknowledges, where that is delayed
 * @list: entry in the list of the device's keys
 * @node: entry in the table of RX keys
 * @tuple: packets of an RX key
 * @aes: header protection, for ciphers with AES
 * @chacha: header protection, for ChaCha20
 * @rcu: deferred free
 * @lock: protects what is needed for a packet, that is, what follows
 * @aead: AEAD transform, synchronous; NULL when the key is deleted
 * @next: largest packet number so far plus one, as the device knows it
 * @req: AEAD request
 * @sg: the packet
 * @iv: the packet's nonce, as @aead wants it
 */
struct nsim_quic_key {
	struct netdevsim *ns;
	struct quicdev_key *qkey;
	enum quicdev_direction direction;
	int epoch;
	bool ready;
	struct delayed_work ack;
	struct list_head list;
	struct hlist_node node;
	struct nsim_quic_tuple tuple;
	union {
		struct aes_enckey aes;
		u32 chacha[CHACHA_KEY_WORDS];
	};
	struct rcu_head rcu;

	spinlock_t lock;	/* see above */
	struct crypto_aead *aead;
	u64 next;
	struct aead_request *req;
	struct scatterlist sg;
	u8 iv[AES_BLOCK_SIZE];
};

/* In struct quicdev_key */
struct nsim_quic_state {
	struct nsim_quic_key *key;
};

/* Offset of the packet number in a packet of @qkey, RFC 9000 17.3.1 */
static inline unsigned int nsim_quic_pn_off(const struct quicdev_key *qkey)
{
	return 1 + qkey->cid_len;
}

static inline void nsim_quic_count(struct netdevsim *ns,
				   enum nsim_quic_stat stat, unsigned int n)
{
	atomic64_add(n, &ns->quic.stats[stat]);
}

/* Has the device acknowledged the key, and not lost it since? */
static inline bool nsim_quic_key_usable(const struct nsim_quic_key *key)
{
	return READ_ONCE(key->ready) &&
	       key->epoch == atomic_read(&key->ns->quic.epoch);
}

/* A fault that debugfs has asked for so many times */
static inline bool nsim_quic_fault(atomic_t *times)
{
	return atomic_read(times) > 0 && atomic_dec_if_positive(times) >= 0;
}

void nsim_quic_set_iv(struct nsim_quic_key *key, u64 pn);
void nsim_quic_hp_mask(const struct nsim_quic_key *key, const u8 *sample,
		       u8 *mask);

void nsim_quic_rx_init(struct netdevsim *ns);
void nsim_quic_rx_add(struct nsim_quic_key *key);
void nsim_quic_rx_del(struct nsim_quic_key *key);
void nsim_quic_rx_resync(struct net_device *netdev, struct quicdev_key *qkey,
			 u64 next_pkt_num);
void nsim_quic_rx_debugfs_init(struct netdevsim *ns, struct dentry *ddir);

#endif /* _NETDEVSIM_QUIC_H */
