/* SPDX-License-Identifier: GPL-2.0 */
/*
 * QUIC packet protection: what drivers of devices that seal or open packets
 * need. See Documentation/networking/quic-offload.rst. The rest of the stack
 * includes <net/quic_core.h>.
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
#define QUIC_HDR_FIXED		0x40
#define QUIC_HDR_KEY_PHASE	0x04
#define QUIC_HDR_PN_LEN		0x03
/* Bits of the first byte of a short header that header protection hides */
#define QUIC_HDR_PROTECTED	0x1f

struct netlink_ext_ack;
struct quic_skb_ext_ops;
struct quicdev_key_ops;
struct sock;

/**
 * enum quicdev_direction - direction of the packets that a key is for
 * @QUICDEV_TX: packets that are sent
 * @QUICDEV_RX: packets that are received
 */
enum quicdev_direction {
	QUICDEV_TX,
	QUICDEV_RX,
};

#define QUICDEV_STATE_SIZE	64

/**
 * struct quicdev_key - one key generation of a flow, in a device
 * @cookie: number of the flow, never 0, unique since boot; all generations of a
 *	    flow have the same. A netdev has at most two at a time, with
 *	    different Key Phases. A flow has one direction
 * @cipher_type: TLS_CIPHER_*
 * @key_size: bytes of @key and of @header_key
 * @key_gen: key generation; its low bit is the Key Phase bit
 * @direction: enum quicdev_direction
 * @cid_len: bytes of @cid
 * @iv: IV of RFC 9001 5.3
 * @key: AEAD key
 * @header_key: header-protection key, equal in all generations of a flow
 * @path_id: path of multipath QUIC: XORed with the first 4 bytes of @iv, big
 *	     endian, it gives the IV of the nonces. 0 if the device lacks
 *	     QUICDEV_CAP_PATH_ID
 * @cid: destination connection ID of the packet that made the core add the key,
 *	 left-aligned. QUICDEV_TX: other packets may have other connection IDs
 *	 of @cid_len bytes. QUICDEV_RX: the device opens packets with this one
 *	 only
 * @family: address family of @daddr and @saddr: AF_INET or AF_INET6
 * @dport: destination port. QUICDEV_TX: 0 if the flow is for any destination
 * @sport: source port, 0 for QUICDEV_TX
 * @daddr: destination address of the packet that made the core add the key; an
 *	   IPv4 address is in the first word. QUICDEV_TX: for steering and
 *	   debugging, as other packets of the flow may have other addresses
 * @saddr: source address, likewise; unspecified for QUICDEV_TX
 * @vlan_proto: QUICDEV_RX: protocol of the VLAN tag, 0 if packets have none; 0
 *		for QUICDEV_TX
 * @vlan_id: number of the VLAN
 * @next_pkt_num: QUICDEV_TX: packet number of that packet; software may seal
 *		  the packet, and others, before the device gets its first one.
 *		  QUICDEV_RX: largest packet number opened so far plus one,
 *		  relative to which the device completes truncated numbers until
 *		  it has opened a larger one itself, or is told by
 *		  &quicdev_ops.quic_dev_resync
 * @ops: owned by the core
 * @ready: owned by the core: the device has said that it can seal, or open
 * @driver_state: owned by the driver, zero at first
 *
 * A QUICDEV_RX key is for exactly the packets of @family with @daddr, @dport,
 * @saddr, @sport and @cid whose Key Phase bit, which header protection hides,
 * is the low bit of @key_gen, that are addressed to the unicast MAC address of
 * the netdev, and that have the VLAN tag of @vlan_proto and @vlan_id and no
 * other. None of these is a wildcard: a packet for somebody else on this host,
 * such as a guest or a VLAN of another network namespace, must not be opened,
 * even if somebody on the link has sent it there again.
 *
 * The core allocates the struct, which stays where it is until quic_dev_del()
 * has returned, or quic_dev_add() an error, and then for an RCU grace period,
 * but without @iv, @key and @header_key. The driver must not write anything but
 * @driver_state.
 */
struct quicdev_key {
	u64 cookie;
	u16 cipher_type;
	u8 key_size;
	u8 key_gen;
	u8 direction;
	u8 cid_len;
	u8 iv[QUIC_MAX_IV_SIZE];
	u8 key[QUIC_MAX_KEY_SIZE];
	u8 header_key[QUIC_MAX_KEY_SIZE];
	u8 cid[QUIC_MAX_CONNECTION_ID_SIZE];
	u32 path_id;
	u16 family;
	__be16 dport;
	__be16 sport;
	struct in6_addr daddr;
	struct in6_addr saddr;
	__be16 vlan_proto;
	u16 vlan_id;
	u64 next_pkt_num;
	const struct quicdev_key_ops *ops;
	bool ready;

	u8 driver_state[QUICDEV_STATE_SIZE] __aligned(8);
};

#define QUICDEV_CAP_IPV4	BIT(0)
#define QUICDEV_CAP_IPV6	BIT(1)
#define QUICDEV_CAP_NO_FIXED	BIT(2)
#define QUICDEV_CAP_PATH_ID	BIT(3)

/**
 * struct quicdev_caps - packets that a device can seal, or open
 * @ciphers: bit (TLS_CIPHER_* - TLS_CIPHER_AES_GCM_128) for each cipher
 * @cid_lens: bit n for connection IDs of n bytes
 * @pkt_num_lens: bit n for packet numbers of n bytes; not used for QUICDEV_RX
 * @flags: QUICDEV_CAP_IPV4: the device can seal, or open, in IPv4.
 *	   QUICDEV_CAP_IPV6: the same in IPv6. QUICDEV_CAP_NO_FIXED: the fixed
 *	   bit of the first byte may be 0 (RFC 9287). QUICDEV_CAP_PATH_ID: keys
 *	   may have a path of multipath QUIC other than 0
 * @max_pkts: upper limit of packets in a call, which become one GSO skb; 0:
 *	      none; not used for QUICDEV_RX
 * @max_pkt_len: upper limit of the length of a packet, with its tag; 0: none;
 *		 not used for QUICDEV_RX
 * @max_vlans: upper limit of VLAN tags in front of the IP header, inserted or
 *	       to be inserted, stripped or to be stripped. Keys that open are
 *	       never for more than one
 *
 * The core never leaves packets to the device that do not fit these, and never
 * offers a QUICDEV_RX key that does not. A device hands up as it was on the
 * wire what it cannot open. The core reads the struct without a lock: it may
 * change while the netdev is not registered only.
 */
struct quicdev_caps {
	u32 ciphers;
	u32 cid_lens;
	u32 pkt_num_lens;
	u32 flags;
	u16 max_pkts;
	u16 max_pkt_len;
	u8 max_vlans;
};

#define QUICDEV_CIPHER(type)	BIT((type) - TLS_CIPHER_AES_GCM_128)

/**
 * struct quicdev_ops - packet protection offload of a device
 * @caps: packets that the device can seal. If this depends on the firmware, a
 *	driver has a copy of these structs for each netdev
 * @rx_caps: packets that the device can open, NULL if it cannot open any
 * @quic_dev_add: install a key. A work item calls this after the first
 *	sendmsg() that could use the key, or the first recvmsg() that has opened
 *	a packet with it whose number is new; software seals or opens meanwhile.
 *	@sk is the socket of that call and may be closed by now. A reason for a
 *	refusal, in extack, shows in the quic_device_add tracepoint. Context:
 *	process, may sleep, without RTNL; calls for one netdev are serialised.
 *	Return: 0 if packets may follow at once, -EINPROGRESS if
 *	quicdev_add_done() will tell, or another error. -ENOSPC: the core offers
 *	no keys of this direction until a key has left the netdev, or the driver
 *	calls quicdev_room(). -ENOMEM, -EINTR, -EAGAIN, -EBUSY: the core offers
 *	the key again after a while. Any other error: the core offers the key
 *	again when the netdev has changed
 * @quic_dev_del: forget a key and wipe it. QUICDEV_TX: no packet for the key is
 *	queued above the driver any more, nor will be; packets that the driver
 *	itself still holds must be sealed or dropped. QUICDEV_RX: packets that
 *	were opened with the key may still be anywhere above the driver; when
 *	this returns, the driver must not find the key for packets that arrive,
 *	but need not wait for those for which it has found the key under
 *	rcu_read_lock(). Called once for each @quic_dev_add that
 *	returned 0 or -EINPROGRESS, also while the device is going down.
 *	Context: process, may sleep, RTNL may or may not be held; calls for one
 *	netdev are serialised
 * @quic_dev_resync: software has opened packets that the device should have
 *	opened with a QUICDEV_RX key: @next_pkt_num is the largest packet number
 *	opened so far plus one. For devices that complete truncated packet
 *	numbers by what they have opened before; NULL otherwise. Context: as of
 *	@quic_dev_del, without RTNL
 *
 * The core holds a lock around these calls, one for each netdev. Whoever takes
 * the netdev down holds RTNL and waits for this lock: so none of the functions
 * may take RTNL, a devlink instance lock, or a lock under which netdevs are
 * closed, and none may call quicdev_keys_reset().
 *
 * Contract of ndo_start_xmit(): if quicdev_skb_ext() returns an extension,
 * every packet in the skb must leave sealed or not at all. A driver that cannot
 * seal a packet, for whatever reason, drops and counts it.
 *
 * Contract of reception: before GRO the driver either says by quicdev_opened()
 * that the device has opened a packet, or hands it up as it was on the wire. A
 * packet that is not authentic, or could not be opened for any other reason, is
 * handed up as it was on the wire.
 */
struct quicdev_ops {
	const struct quicdev_caps *caps;
	const struct quicdev_caps *rx_caps;
	int (*quic_dev_add)(struct net_device *netdev, struct sock *sk,
			    enum quicdev_direction direction,
			    struct quicdev_key *key,
			    struct netlink_ext_ack *extack);
	void (*quic_dev_del)(struct net_device *netdev,
			     enum quicdev_direction direction,
			     struct quicdev_key *key);
	void (*quic_dev_resync)(struct net_device *netdev,
				struct quicdev_key *key, u64 next_pkt_num);
};

/**
 * struct quic_skb_ext - skb extension of packets that a device is to seal, or
 *			 has opened
 * @ops: owned by the core
 * @key: key to seal with, or that the device has opened the packets with
 * @pkt_num: full packet number of the first packet. QUICDEV_TX: the packets
 *	     that follow in a GSO skb have the numbers that follow. In a segment
 *	     of such an skb, the packet's own number is the one nearest to
 *	     @pkt_num that ends in the bytes of its header (RFC 9000 A.3), see
 *	     quic_skb_pkt_num(). QUICDEV_RX: all other packets' numbers are to
 *	     be found in the same way
 * @npkts: QUICDEV_TX: number of packets in the original skb; only the numbers
 *	   from @pkt_num to @pkt_num + @npkts - 1 may be sealed
 */
struct quic_skb_ext {
	const struct quic_skb_ext_ops *ops;
	struct quicdev_key *key;
	u64 pkt_num;
	u32 npkts;
};

/**
 * quic_pkt_num_decode - full packet number, RFC 9000 A.3
 * @expected: expected packet number
 * @truncated: packet number in the header
 * @pn_len: bytes of @truncated
 *
 * Return: the packet number nearest to @expected that ends in @truncated. It
 * exceeds QUIC_MAX_PKT_NUM only if @expected does.
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

/**
 * quic_skb_pkt_num - full packet number of a packet in an skb
 * @ext: extension of the skb
 * @truncated: packet number in the packet's header
 * @pn_len: bytes of @truncated
 * @pn: set to the full packet number
 *
 * Return: true; false if the number does not belong to the skb, since the
 * header has been changed on the way. Such a packet must not be sealed: its
 * number may belong to another packet.
 */
static inline bool quic_skb_pkt_num(const struct quic_skb_ext *ext,
				    u32 truncated, unsigned int pn_len,
				    u64 *pn)
{
	*pn = quic_pkt_num_decode(ext->pkt_num, truncated, pn_len);
	return *pn - ext->pkt_num < ext->npkts;
}

#if IS_ENABLED(CONFIG_QUIC_CRYPTO_DEVICE)
/**
 * quicdev_skb_ext - is the device to seal this skb?
 * @skb: skb in ndo_start_xmit()
 *
 * The skb is an IPv4 or IPv6 UDP datagram, or a GSO skb of UDP datagrams
 * (SKB_GSO_UDP_L4), whose UDP payload is unprotected 1-RTT packets. Each packet
 * ends in QUIC_TAG_SIZE bytes of zero for its tag, so that all sizes are those
 * of the wire. The UDP checksum has to be computed after sealing, even if the
 * skb is not CHECKSUM_PARTIAL, since checksum offload may have been switched
 * off after the device got the key.
 *
 * Return: the key to seal with and the packet numbers, valid as long as @skb;
 * NULL if there is nothing to seal for QUIC. The skb may still have
 * skb_is_decrypted(), which TLS uses, too: if neither protocol claims the skb,
 * it must not be sent.
 */
static inline const struct quic_skb_ext *
quicdev_skb_ext(const struct sk_buff *skb)
{
	const struct quic_skb_ext *ext;

	if (!skb_is_decrypted(skb))
		return NULL;
	ext = skb_ext_find(skb, SKB_EXT_QUIC);
	return ext && ext->key->direction == QUICDEV_TX ? ext : NULL;
}

/**
 * quicdev_state - the driver's state of a key
 * @key: key
 *
 * Return: QUICDEV_STATE_SIZE bytes, aligned to 8.
 */
static inline void *quicdev_state(struct quicdev_key *key)
{
	return key->driver_state;
}

struct sk_buff *quicdev_encrypt_skb(struct sk_buff *skb);
bool quicdev_opened(struct sk_buff *skb, struct quicdev_key *key, u64 pkt_num);
void quicdev_add_done(struct quicdev_key *key, int err);
void quicdev_key_stop(struct quicdev_key *key);
void quicdev_room(struct net_device *netdev);
void quicdev_keys_reset(struct net_device *netdev);
#endif

#endif /* _NET_QUIC_H */
