/* SPDX-License-Identifier: GPL-2.0 */
/*
 * QUIC packet protection: the packets it is about, and what NIC drivers need
 * to take it over. See Documentation/networking/quic.rst.
 */
#ifndef _NET_QUIC_H
#define _NET_QUIC_H

#include <linux/in6.h>
#include <linux/netdevice.h>
#include <linux/skbuff.h>
#include <uapi/linux/quic.h>

#define QUIC_MAX_PKT_NUM	((1ULL << 62) - 1)
#define QUIC_MAX_PKT_NUM_LEN	4
/* First byte, destination connection ID, packet number: RFC 9000 17.3.1 */
#define QUIC_MAX_HDR_SIZE	(1 + QUIC_MAX_CONNECTION_ID_SIZE + \
				 QUIC_MAX_PKT_NUM_LEN)
#define QUIC_HP_SAMPLE_SIZE	16
#define QUIC_HP_MASK_SIZE	5

#define QUIC_HDR_LONG		0x80
#define QUIC_HDR_KEY_PHASE	0x04
#define QUIC_HDR_PN_LEN		0x03
/* What header protection hides in the first byte of a short header */
#define QUIC_HDR_PROTECTED	0x1f

struct netlink_ext_ack;
struct sock;

enum quicdev_direction {
	QUICDEV_TX,
	QUICDEV_RX,
};

#define QUICDEV_STATE_SIZE	64

/**
 * struct quicdev_flow - one key generation of a flow, in a device
 * @cipher_type: TLS_CIPHER_*
 * @key_size: bytes of @key and of @header_key
 * @key_gen: key generation; its low bit is the Key Phase bit
 * @cid_len: bytes of @cid
 * @iv: RFC 9001 5.3
 * @key: AEAD key
 * @header_key: header-protection key, the same in every generation
 * @cid: destination connection ID, left-aligned
 * @family: of @daddr: AF_INET or AF_INET6
 * @dport: destination port, 0 where the flow is for any
 * @daddr: address of the packet that made the core add the flow, IPv4 in the
 *	   first word. For steering and debugging: others may follow
 * @next_pkt_num: number of that packet
 * @ready: the core's: the device has said that it can seal
 * @driver_state: the driver's, zero when it gets it
 *
 * The core allocates it, and it stays where it is until quic_dev_del() has
 * returned. The driver must not write anything but @driver_state.
 */
struct quicdev_flow {
	u16 cipher_type;
	u8 key_size;
	u8 key_gen;
	u8 cid_len;
	u8 iv[QUIC_MAX_IV_SIZE];
	u8 key[QUIC_MAX_KEY_SIZE];
	u8 header_key[QUIC_MAX_KEY_SIZE];
	u8 cid[QUIC_MAX_CONNECTION_ID_SIZE];
	u16 family;
	__be16 dport;
	struct in6_addr daddr;
	u64 next_pkt_num;
	bool ready;

	u8 driver_state[QUICDEV_STATE_SIZE] __aligned(8);
};

/**
 * struct quicdev_caps - what a device can seal
 * @ciphers: bit (TLS_CIPHER_* - TLS_CIPHER_AES_GCM_128) for each cipher
 * @cid_lens: bit n for connection IDs of n bytes
 * @pkt_num_lens: bit n for packet numbers of n bytes
 *
 * The core does not bother the driver with anything else.
 */
struct quicdev_caps {
	u32 ciphers;
	u32 cid_lens;
	u32 pkt_num_lens;
};

#define QUICDEV_CIPHER(type)	BIT((type) - TLS_CIPHER_AES_GCM_128)

/**
 * struct quicdev_ops - packet protection offload of a device
 * @caps: what it can seal; fixed
 * @quic_dev_add: install a key. Context: process, may sleep, RTNL may or may
 *	not be held; calls on one device are serialised. Return: 0 when packets
 *	may follow at once, -EINPROGRESS when quicdev_add_done() will tell, or
 *	an error, such as -ENOSPC when the device is full. On an error software
 *	seals, now and until the device changes state. No user waits for the
 *	answer: what goes into extack shows in the quic_device_add tracepoint.
 * @quic_dev_del: forget a key and wipe it. No packet of it is queued above the
 *	driver any more, nor will be; what the driver itself still holds must
 *	be sealed or dropped. Called once for every successful @quic_dev_add
 *	(and for -EINPROGRESS), also while the device is going down. Context:
 *	process, may sleep, RTNL may or may not be held.
 *
 * Whoever takes one device down holds locks while the core calls
 * @quic_dev_del, and may wait for @quic_dev_add of another: neither may take
 * RTNL, a devlink instance lock, or a lock under which netdevs are closed.
 *
 * The contract of ndo_start_xmit(): where quicdev_skb_ext() returns something,
 * every packet in the skb must leave sealed or not at all. A driver that
 * cannot seal one, for whatever reason, drops and counts it.
 */
struct quicdev_ops {
	const struct quicdev_caps *caps;
	int (*quic_dev_add)(struct net_device *netdev, struct sock *sk,
			    enum quicdev_direction direction,
			    struct quicdev_flow *flow,
			    struct netlink_ext_ack *extack);
	void (*quic_dev_del)(struct net_device *netdev,
			     enum quicdev_direction direction,
			     struct quicdev_flow *flow);
};

/**
 * struct quic_skb_ext - skb extension of packets that a device is to seal
 * @ops: of who put it there
 * @flow: key to seal with
 * @pkt_num: full number of the first packet; those that follow in a GSO skb
 *	     have the numbers that follow. In a segment of such an skb, the
 *	     packet's own number is the one nearest to this that ends in the
 *	     bytes of its header (RFC 9000 appendix A.3)
 * @npkts: packets there were at first, and so numbers from @pkt_num on that may
 *	   be sealed
 */
struct quic_skb_ext {
	const struct quic_skb_ext_ops *ops;
	struct quicdev_flow *flow;
	u64 pkt_num;
	u32 npkts;
};

/* How those who free, copy and transmit skbs call back into the module */
struct quic_skb_ext_ops {
	void (*get)(struct quicdev_flow *flow);
	void (*put)(struct quicdev_flow *flow);
	struct sk_buff *(*validate)(struct sk_buff *skb, struct net_device *dev,
				    const struct quic_skb_ext *ext);
};

/**
 * quic_pkt_num_decode - full packet number, RFC 9000 appendix A.3
 * @expected: the number that would be the next
 * @truncated: as the header has it
 * @pn_len: bytes of it
 *
 * Return: the number nearest to @expected that ends in @truncated; it may be
 * more than QUIC_MAX_PKT_NUM only where @expected is.
 */
static inline u64 quic_pkt_num_decode(u64 expected, u32 truncated,
				      unsigned int pn_len)
{
	u64 win = 1ULL << (pn_len * 8);
	u64 pn = (expected & ~(win - 1)) | truncated;

	if (pn + win / 2 <= expected && pn + win <= QUIC_MAX_PKT_NUM)
		return pn + win;
	if (pn > expected + win / 2 && pn >= win)
		return pn - win;
	return pn;
}

/* Core-facing API, built in */
struct sk_buff *quic_validate_xmit_skb(struct sock *sk, struct net_device *dev,
				       struct sk_buff *skb);

/**
 * quic_skb_pkt_num - full number of a packet in an skb
 * @ext: the skb's
 * @truncated: as the packet's header has it
 * @pn_len: bytes of it
 * @pn: set to the number
 *
 * Return: true; false where the number is none of those that were meant for the
 * skb, as something on the way has changed the header. Such a packet must not
 * be sealed: its number may be another's.
 */
static inline bool quic_skb_pkt_num(const struct quic_skb_ext *ext,
				    u32 truncated, unsigned int pn_len,
				    u64 *pn)
{
	*pn = quic_pkt_num_decode(ext->pkt_num, truncated, pn_len);
	return *pn - ext->pkt_num < ext->npkts;
}

#if IS_ENABLED(CONFIG_QUIC_CRYPTO_DEVICE)
static inline bool quic_skb_is_unsealed(const struct sk_buff *skb)
{
	return skb_is_decrypted(skb) && skb_ext_exist(skb, SKB_EXT_QUIC);
}

/* Driver-facing API */

/**
 * quicdev_skb_ext - is this skb to be sealed by the device?
 * @skb: skb in ndo_start_xmit()
 *
 * The skb is an IPv4 or IPv6 UDP datagram, or a GSO skb of them
 * (SKB_GSO_UDP_L4), whose UDP payload is unprotected 1-RTT packets. Each ends
 * in QUIC_TAG_SIZE bytes of zero, where the tag goes, so all sizes are already
 * those of the wire. The UDP checksum has to be computed after sealing, also
 * where the skb is not CHECKSUM_PARTIAL, as checksum offload may have been
 * switched off since the device got the flow.
 *
 * Return: the key to seal with, and the numbers of the packets, valid as long
 * as @skb; NULL where the skb is none of QUIC's business. It may still have
 * skb_is_decrypted(), as TLS uses that, too: what neither claims must not be
 * sent.
 */
static inline const struct quic_skb_ext *
quicdev_skb_ext(const struct sk_buff *skb)
{
	if (!skb_is_decrypted(skb))
		return NULL;
	return skb_ext_find(skb, SKB_EXT_QUIC);
}

/**
 * quicdev_state - the driver's part of a flow
 * @flow: flow
 *
 * Return: QUICDEV_STATE_SIZE bytes, aligned to 8.
 */
static inline void *quicdev_state(struct quicdev_flow *flow)
{
	return flow->driver_state;
}

void quicdev_add_done(struct quicdev_flow *flow, int err);
void quicdev_keys_lost(struct net_device *netdev);

/* For net/quic */
struct notifier_block;
int quicdev_register_lost(struct notifier_block *nb);
int quicdev_unregister_lost(struct notifier_block *nb);
#else
static inline bool quic_skb_is_unsealed(const struct sk_buff *skb)
{
	return false;
}
#endif

#endif /* _NET_QUIC_H */
