/* SPDX-License-Identifier: GPL-2.0 */
/*
 * QUIC packet protection by devices: parts of reception that are tested one by
 * one
 */
#ifndef _NET_QUIC_OFFLOAD_RX_H
#define _NET_QUIC_OFFLOAD_RX_H

#include <net/quic.h>

struct quic_rx_flows;
struct quic_rx_watch;
struct quic_tuple;
struct sk_buff;
struct sock;

/**
 * enum quic_rx_advice - what to do about packets that software had to open
 * @QUIC_RX_STAY: nothing
 * @QUIC_RX_MOVE: the packets of the flow look different now: offer the key for
 *		  those
 * @QUIC_RX_RESYNC: tell the device which packet numbers to expect
 * @QUIC_RX_GIVE_UP: the device will never open any: take the key away
 */
enum quic_rx_advice {
	QUIC_RX_STAY,
	QUIC_RX_MOVE,
	QUIC_RX_RESYNC,
	QUIC_RX_GIVE_UP,
};

/**
 * struct quic_rx_seen - packets that software has opened
 * @sk: socket
 * @fs: flows of the socket
 * @skb: the packets, in the receive queue
 * @src: their source
 * @head: first byte and connection ID, by which their flow was found
 * @cid_len: bytes of the connection ID
 * @next: largest packet number opened plus one
 * @vlan_proto: protocol of the VLAN tag that they came with, 0 if with none
 * @vlan_id: number of the VLAN
 */
struct quic_rx_seen {
	struct sock *sk;
	struct quic_rx_flows *fs;
	const struct sk_buff *skb;
	const struct quic_tuple *src;
	const u8 *head;
	u8 cid_len;
	u64 next;
	__be16 vlan_proto;
	u16 vlan_id;
};

enum quic_rx_advice quic_rx_watch_opened(struct quic_rx_watch *watch,
					 unsigned int n, bool match);
void quic_rx_watch_start(struct quic_rx_watch *watch);
void quic_rx_watch_served(struct quic_rx_watch *watch, unsigned int n);
bool quic_offload_rx_match(const struct quicdev_key *qkey,
			   const struct quic_rx_seen *seen);
void quic_offload_rx_address(struct quicdev_key *qkey,
			     const struct quic_rx_seen *seen);

#endif /* _NET_QUIC_OFFLOAD_RX_H */
