/* SPDX-License-Identifier: GPL-2.0 */
/*
 * QUIC packet protection: private declarations
 */
#ifndef _NET_QUIC_QUIC_H
#define _NET_QUIC_QUIC_H

#include <linux/in6.h>
#include <linux/mutex.h>
#include <linux/refcount.h>
#include <linux/rhashtable-types.h>
#include <linux/skbuff.h>
#include <linux/socket.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>
#include <net/quic.h>
#include <net/snmp.h>
#include <net/udp_ulp.h>

struct crypto_aead;
struct crypto_skcipher;
struct net;
struct skcipher_request;

/**
 * DOC: locking
 *
 * quic_sock.lock (mutex) serialises ADD and DEL on one socket; it protects the
 * two hash tables' membership, quic_flow.gen and the replacing of
 * quic_flow.slot[]. quic_keys_lock (mutex, key.c) protects the table of keys
 * and quic_key.users; it nests inside quic_sock.lock.
 *
 * A sender takes neither. It finds the flow and the key under RCU, takes a
 * reference on each, and lets go of both when the packets are sealed.
 * quic_key.lock (spinlock) covers the packet-number window only, never crypto.
 * The last reference may be dropped in any context: what must sleep is left to
 * rcu_work on quic_wq, which module exit drains.
 *
 * quic_dev_lock (mutex, device.c) protects which flow is in which device, and
 * serialises the calls of drivers. It nests inside quic_sock.lock and inside
 * RTNL; senders only try to take it.
 */

/* Packets that threads send out of order may lag this far behind */
#define QUIC_PN_WINDOW		4096

/* As many flows' keys as a core's cache has room for, at some 2 KB each */
#define QUIC_FLOWS_CACHED	256

enum {
	QUIC_MIB_CURR_TX_SW,
	QUIC_MIB_TX_SW,
	QUIC_MIB_TX_SW_ERROR,
	QUIC_MIB_TX_SW_PACKETS,
	QUIC_MIB_TX_SW_BYTES,
	QUIC_MIB_TX_NO_FLOW,
	QUIC_MIB_TX_NO_KEY,
	QUIC_MIB_TX_PKT_NUM_REUSE,
	QUIC_MIB_TX_KEY_LIMIT,
	QUIC_MIB_TX_MALFORMED,
	QUIC_MIB_TX_OTHER_ERROR,
	QUIC_MIB_CURR_TX_DEVICE,
	QUIC_MIB_TX_DEVICE,
	QUIC_MIB_TX_DEVICE_ERROR,
	QUIC_MIB_TX_DEVICE_PACKETS,
	QUIC_MIB_TX_DEVICE_BYTES,
	QUIC_MIB_TX_DEVICE_FALLBACK,
	QUIC_MIB_TX_DEVICE_DROP,
	__QUIC_MIB_MAX
};

struct quic_mib {
	unsigned long mibs[__QUIC_MIB_MAX];
};

/**
 * struct quic_net - state of a network namespace
 * @mib: counters, shown in /proc/net/quic_stat
 * @nr_flows: flows installed
 * @max_flows: sysctl, the most that may be
 * @seal_limit: sysctl, packets per key where lower than the cipher's limit
 * @sysctl: registered table
 */
struct quic_net {
	struct quic_mib __percpu *mib;
	atomic_t nr_flows;
	int max_flows;
	unsigned long seal_limit;
	struct ctl_table_header *sysctl;
};

struct quic_net *quic_net(const struct net *net);

#define QUIC_INC_STATS(net, field) \
	SNMP_INC_STATS(quic_net(net)->mib, QUIC_MIB_##field)
#define QUIC_DEC_STATS(net, field) \
	SNMP_DEC_STATS(quic_net(net)->mib, QUIC_MIB_##field)
#define QUIC_ADD_STATS(net, field, val) \
	SNMP_ADD_STATS(quic_net(net)->mib, QUIC_MIB_##field, val)

/**
 * struct quic_cipher - what differs from cipher to cipher
 * @type: TLS_CIPHER_*
 * @key_size: bytes of the packet key, and of the header-protection key
 * @iv_size: bytes of IV that the AEAD transform expects
 * @iv_off: where the nonce of RFC 9001 5.3 stands in them
 * @iv_b0: first byte of the IV when @iv_off is 1
 * @seal_limit: packets that one key may seal, RFC 9001 6.6
 * @aead: crypto API name of the AEAD; NULL for ChaCha20-Poly1305
 * @hp: crypto API name of the header-protection cipher; NULL for ChaCha20
 */
struct quic_cipher {
	u16 type;
	u8 key_size;
	u8 iv_size;
	u8 iv_off;
	u8 iv_b0;
	u64 seal_limit;
	const char *aead;
	const char *hp;
};

/**
 * struct quic_pn_window - which packet numbers were sealed
 * @top: one more than the highest, 0 when there is none
 * @map: bit (number % QUIC_PN_WINDOW) for the QUIC_PN_WINDOW numbers below @top
 */
struct quic_pn_window {
	u64 top;
	DECLARE_BITMAP(map, QUIC_PN_WINDOW);
};

/**
 * struct quic_pkt - a packet of a call, as its header tells
 * @data: its bytes, where they are in one piece, else NULL
 * @pn: full packet number
 * @pn_len: bytes of it in the header, 1 to 4
 * @phase: Key Phase bit
 */
struct quic_pkt {
	u8 *data;
	u64 pn;
	u8 pn_len;
	u8 phase;
};

/**
 * struct quic_layout - where the packets of a call are
 * @user_len: bytes that the user passes
 * @wire_len: bytes that go out
 * @stride: distance between packets on the wire
 * @npkts: number of packets, at most UDP_MAX_SEGMENTS
 * @tag_room: the user's packets end in room for the tag
 * @consecutive: their numbers follow one another, as quic_pkts_parse() tells
 * @pn_lens: bit n if one has a number of n bytes, as that tells, too
 */
struct quic_layout {
	unsigned int user_len;
	unsigned int wire_len;
	unsigned int stride;
	unsigned int npkts;
	bool tag_room;
	bool consecutive;
	u8 pn_lens;
};

/**
 * struct quic_key - key of one generation, shared by all who installed it
 * @node: member of the table of keys
 * @ref: users in any context; the last frees by @rwork
 * @users: slots of flows that hold it, under quic_keys_lock
 * @net: namespace of those flows; not to be followed without @users
 * @cipher: which
 * @tfm: AEAD transform, NULL for ChaCha20-Poly1305
 * @iv: RFC 9001 5.3
 * @secret: the key's bytes, to recognise it when it is installed again
 * @lock: protects what follows
 * @sealed: packets sealed
 * @limit: most that may be
 * @window: their numbers
 * @rwork: frees
 */
struct quic_key {
	struct rhash_head node;
	refcount_t ref;
	unsigned int users;
	const struct net *net;
	const struct quic_cipher *cipher;
	struct crypto_aead *tfm;
	u8 iv[QUIC_MAX_IV_SIZE];
	u8 secret[QUIC_MAX_KEY_SIZE];

	spinlock_t lock ____cacheline_aligned_in_smp;
	u64 sealed;
	u64 limit;
	struct quic_pn_window window;

	struct rcu_work rwork;
};

/**
 * struct quic_hp - header protection of a flow
 * @cipher: which
 * @tfm: ECB transform, NULL for ChaCha20
 * @key: the key's bytes; header keys outlive key updates (RFC 9001 6.1)
 */
struct quic_hp {
	const struct quic_cipher *cipher;
	struct crypto_skcipher *tfm;
	u8 key[QUIC_MAX_KEY_SIZE];
};

/**
 * struct quic_flow_key - identity of a flow on its socket, no holes
 * @family: AF_INET, AF_INET6, or AF_UNSPEC for any destination
 * @port: destination port
 * @scope: interface of a link-local destination
 * @addr: destination, IPv4 in the first word
 * @cid_len: bytes of @cid
 * @cid: destination connection ID, left-aligned, rest zero
 * @pad: zero
 */
struct quic_flow_key {
	__be16 port;
	u16 family;
	u32 scope;
	struct in6_addr addr;
	u8 cid_len;
	u8 cid[QUIC_MAX_CONNECTION_ID_SIZE];
	u8 pad[3];
} __aligned(8);

/**
 * struct quic_flow - a connection's keys towards one destination and CID
 * @node: member of quic_sock.flows
 * @id_node: member of quic_sock.ids, where @id is not 0
 * @key: identity
 * @id: the application's handle
 * @gen: newest key generation
 * @ref: the table's and one per sender; the last frees by @rwork
 * @slot: keys of the two live generations, by Key Phase bit
 * @hp: header protection
 * @dev: their offload, by Key Phase bit, changed under quic_dev_lock
 * @dev_tried: which attempt at that was the last, see quic_dev_attempt()
 * @rwork: frees
 */
struct quic_flow {
	struct rhash_head node;
	struct rhash_head id_node;
	struct quic_flow_key key;
	u32 id;
	u8 gen;
	refcount_t ref;
	struct quic_key __rcu *slot[2];
	struct quic_hp hp;
#ifdef CONFIG_QUIC_CRYPTO_DEVICE
	struct quic_dev_tx __rcu *dev[2];
	unsigned long dev_tried[2];
#endif
	struct rcu_work rwork;
};

/**
 * struct quic_dev_tx - a key of a flow that a device seals with
 * @list: member of quic_dev_list as long as @netdev is set
 * @ref: the flow's, and one per skb; the last frees by @rwork
 * @netdev: device, NULL once it is gone
 * @tracker: of the reference on @netdev
 * @net: the flow's namespace, which is there while @bound
 * @bound: the flow has it, under quic_dev_lock
 * @key: key, for its nonces
 * @tfm: AEAD transform for softirq
 * @hp: header protection for softirq
 * @rwork: frees
 * @dev: what the driver sees, with its state at the end
 */
struct quic_dev_tx {
	struct list_head list;
	refcount_t ref;
	struct net_device __rcu *netdev;
	netdevice_tracker tracker;
	struct net *net;
	bool bound;
	struct quic_key *key;
	struct crypto_aead *tfm;
	struct quic_hp hp;
	struct rcu_work rwork;
	struct quicdev_flow dev;
};

/**
 * struct quic_sock - the ULP's state of a socket
 * @ulp: how UDP knows us
 * @net: the socket's namespace, which outlives it
 * @lock: serialises ADD and DEL
 * @flows: by quic_flow_key
 * @ids: by quic_flow.id
 */
struct quic_sock {
	struct udp_ulp ulp;
	struct net *net;
	struct mutex lock;	/* ADD and DEL, see above */
	struct rhashtable flows;
	struct rhashtable ids;
};

extern struct workqueue_struct *quic_wq;
extern struct udp_ulp_ops quic_ulp_ops;

/* packet.c */
int quic_layout_init(struct quic_layout *l, size_t len, unsigned int gso_size,
		     bool tag_room);
int quic_pkt_parse(struct quic_pkt *pkt, const u8 *hdr, unsigned int len,
		   const u8 *cid, unsigned int cid_len, u64 expected);
int quic_pkts_parse(struct quic_pkt *pkts, const struct sk_buff *skb,
		    unsigned int off, struct quic_layout *l, const u8 *cid,
		    unsigned int cid_len, u64 expected);
int quic_pkts_clear_tags(const struct quic_pkt *pkts, struct sk_buff *skb,
			 unsigned int off, const struct quic_layout *l);
void quic_nonce(u8 *nonce, const u8 *iv, u64 pn);
int quic_pn_reserve(struct quic_pn_window *w, const struct quic_pkt *pkts,
		    unsigned int n);
void quic_pn_release(struct quic_pn_window *w, const struct quic_pkt *pkts,
		     unsigned int n);

/* crypto.c */
const struct quic_cipher *quic_cipher_find(u16 type);
struct crypto_aead *quic_aead_alloc(const struct quic_cipher *cipher,
				    const u8 *key, u32 mask);
void quic_aead_free(struct crypto_aead *tfm);
int quic_hp_init(struct quic_hp *hp, const struct quic_cipher *cipher,
		 const u8 *key, u32 mask);
void quic_hp_destroy(struct quic_hp *hp);
int quic_hp_masks(const struct quic_hp *hp, struct skcipher_request *req,
		  u8 *samples, unsigned int n, gfp_t gfp);
int __quic_seal(struct crypto_aead *tfm, const struct quic_key *key,
		const struct quic_hp *hp, struct sk_buff *skb,
		unsigned int off, const struct quic_layout *l,
		const struct quic_pkt *pkts, unsigned int cid_len, gfp_t gfp);
int quic_seal(const struct quic_key *key, const struct quic_hp *hp,
	      struct sk_buff *skb, unsigned int off,
	      const struct quic_layout *l, const struct quic_pkt *pkts,
	      unsigned int cid_len);

/* key.c */
struct quic_key *quic_key_install(struct net *net,
				  const struct quic_cipher *cipher,
				  const u8 *secret, const u8 *iv);
void quic_key_uninstall(struct quic_key *key);
void quic_key_put(struct quic_key *key);
int quic_key_reserve(struct quic_key *key, const struct quic_pkt *pkts,
		     unsigned int n);
void quic_key_release(struct quic_key *key, const struct quic_pkt *pkts,
		      unsigned int n);
int quic_keys_init(void);
void quic_keys_exit(void);

/* flow.c */
int quic_flows_init(struct quic_sock *qs);
void quic_flows_destroy(struct quic_sock *qs);
int quic_flow_add(struct quic_sock *qs, const struct quic_flow_key *key,
		  const struct quic_connection_info *info);
int quic_flow_del(struct quic_sock *qs, const struct quic_flow_key *key,
		  u32 id);
struct quic_flow *quic_flow_get(struct quic_sock *qs,
				struct quic_flow_key *key);
struct quic_flow *quic_flow_get_id(struct quic_sock *qs, u32 id);
void quic_flow_prefetch(struct quic_sock *qs, struct quic_flow_key *key,
			u64 pn);
void quic_flow_prefetch_id(struct quic_sock *qs, u32 id, u64 pn);
struct quic_key *quic_flow_key_get(struct quic_flow *flow, unsigned int phase);
void quic_flow_put(struct quic_flow *flow);

/* sockopt.c */
int quic_setsockopt(struct sock *sk, int optname, sockptr_t optval,
		    unsigned int optlen);
int quic_flow_key_set_dst(struct quic_flow_key *key, const struct sock *sk,
			  const void *addr, unsigned int len);

/* tx.c */
int quic_sendmsg(struct sock *sk, struct udp_ulp *ulp, struct msghdr *msg,
		 size_t len, udp_ulp_send_t send);

/* device.c, device_fallback.c */
#ifdef CONFIG_QUIC_CRYPTO_DEVICE
bool quic_dev_seal(struct sock *sk, struct quic_flow *flow,
		   struct quic_key *key, struct sk_buff *skb, unsigned int off,
		   const struct quic_layout *l, const struct quic_pkt *pkts);
void quic_dev_drop(struct quic_flow *flow, unsigned int phase);
struct sk_buff *quic_dev_validate(struct sk_buff *skb, struct net_device *dev,
				  const struct quic_skb_ext *ext);
int quic_dev_init(void);
void quic_dev_exit(void);
#else
static inline bool quic_dev_seal(struct sock *sk, struct quic_flow *flow,
				 struct quic_key *key, struct sk_buff *skb,
				 unsigned int off, const struct quic_layout *l,
				 const struct quic_pkt *pkts)
{
	return false;
}

static inline void quic_dev_drop(struct quic_flow *flow, unsigned int phase)
{
}

static inline int quic_dev_init(void)
{
	return 0;
}

static inline void quic_dev_exit(void)
{
}
#endif

/**
 * quic_layout_pkt_len - size of a packet on the wire
 * @l: layout
 * @i: which, from 0
 *
 * Return: bytes, tag included. Only the last packet may be short of the stride.
 */
static inline unsigned int quic_layout_pkt_len(const struct quic_layout *l,
					       unsigned int i)
{
	return min(l->stride, l->wire_len - i * l->stride);
}

static inline bool quic_flows_many(const struct quic_sock *qs)
{
	return atomic_read(&qs->flows.nelems) > QUIC_FLOWS_CACHED;
}

/* proc.c */
#ifdef CONFIG_PROC_FS
int quic_proc_init(struct net *net);
void quic_proc_exit(struct net *net);
#else
static inline int quic_proc_init(struct net *net)
{
	return 0;
}

static inline void quic_proc_exit(struct net *net)
{
}
#endif

/* sysctl.c */
#ifdef CONFIG_SYSCTL
int quic_sysctl_init(struct net *net);
void quic_sysctl_exit(struct net *net);
#else
static inline int quic_sysctl_init(struct net *net)
{
	return 0;
}

static inline void quic_sysctl_exit(struct net *net)
{
}
#endif

static inline struct quic_sock *quic_sock(struct udp_ulp *ulp)
{
	return container_of(ulp, struct quic_sock, ulp);
}

#endif /* _NET_QUIC_QUIC_H */
