/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * QUIC packet protection in the kernel, for UDP sockets.
 *
 * See Documentation/networking/quic.rst.
 */
#ifndef _UAPI_LINUX_QUIC_H
#define _UAPI_LINUX_QUIC_H

#include <linux/socket.h>
#include <linux/tls.h>	/* TLS_CIPHER_* */
#include <linux/types.h>

/* As in <linux/udp.h>, which programs cannot include together with the C
 * library's <netinet/udp.h>
 */
#ifndef UDP_ULP
#define UDP_ULP				105
#define UDP_QUIC_ADD_TX_CONNECTION	106
#define UDP_QUIC_DEL_TX_CONNECTION	107
#define UDP_QUIC_ENCRYPT		108
#define UDP_QUIC_ADD_RX_CONNECTION	109
#define UDP_QUIC_DEL_RX_CONNECTION	110
#define UDP_QUIC_DECRYPT		111
#define UDP_QUIC_INFO			112
#define UDP_QUIC_RX_DROP		113
#endif

/* Name of the upper layer protocol, for setsockopt(SOL_UDP, UDP_ULP) */
#define QUIC_CRYPTO_ULP_NAME		"quic-crypto"

#define QUIC_MAX_CONNECTION_ID_SIZE	20

#define QUIC_MAX_IV_SIZE		12
#define QUIC_MAX_KEY_SIZE		32
#define QUIC_TAG_SIZE			16	/* of every cipher above */

/* Flags in struct quic_connection_info_key */
#define QUIC_CONN_GENERATION	0x01	/* DEL: only conn_payload_key_gen */
#define QUIC_CONN_ALL		0x02	/* DEL: all flows of the socket */
#define QUIC_CONN_ALIAS		0x04	/* reception: only conn_id and peer */
#define QUIC_CONN_RX		0x08	/* UDP_QUIC_INFO: of reception */

/**
 * struct quic_connection_info_key - what identifies a flow on its socket
 *
 * A flow that sends and has a @flow_id is identified by it alone: @conn_id and
 * @peer must be zero. A flow that receives is added with @conn_id and @peer, by
 * which its packets are recognised, and a @flow_id if there is one; with both
 * zero, the @flow_id tells which flow is meant later. Flows without a @flow_id
 * are identified by @conn_id and @peer. Clear the whole of the struct before
 * filling it in.
 *
 * @conn_id: destination connection ID, right-aligned, leading bytes zero
 * @conn_id_length: bytes of @conn_id that count, 0 to 20
 * @flags: QUIC_CONN_GENERATION and the like; others must be 0
 * @reserved: must be 0
 * @flow_id: handle for QUIC_TX_FLOW_ID, unique on the socket; 0 for none
 * @path_id: path of multipath QUIC, the same as long as the flow exists; 0
 *	     without multipath
 * @peer: where the flow's packets go to, or for reception come from; AF_UNSPEC
 *	  for any
 */
struct quic_connection_info_key {
	__u8	conn_id[QUIC_MAX_CONNECTION_ID_SIZE];
	__u8	conn_id_length;
	__u8	flags;
	__u16	reserved;
	__u32	flow_id;
	__u32	path_id;
	struct __kernel_sockaddr_storage peer;
};

/**
 * struct quic_connection_info - argument of UDP_QUIC_ADD_TX_CONNECTION and
 *				 UDP_QUIC_ADD_RX_CONNECTION
 *
 * UDP_QUIC_DEL_TX_CONNECTION and UDP_QUIC_DEL_RX_CONNECTION take the same and
 * read only @key and, with QUIC_CONN_GENERATION, @conn_payload_key_gen. May
 * grow at its end: what a kernel does not know must be zero, what a program
 * does not pass is zero.
 *
 * @key: which flow
 * @cipher_type: TLS_CIPHER_*
 * @conn_payload_key_gen: key generation; its low bit is the Key Phase bit
 * @payload_iv: "quic iv" of RFC 9001 section 5.1
 * @payload_key: "quic key"; the cipher decides how many bytes are read
 * @header_key: "quic hp"; as long as the key, the same in every generation.
 *		Zero for the next generation of a flow: as before
 * @pad: ignored
 * @next_pkt_num: reception: largest packet number received so far plus one;
 *		  else ignored
 */
struct quic_connection_info {
	struct quic_connection_info_key key;
	__u16	cipher_type;
	__u8	conn_payload_key_gen;
	__u8	payload_iv[QUIC_MAX_IV_SIZE];
	__u8	payload_key[QUIC_MAX_KEY_SIZE];
	__u8	header_key[QUIC_MAX_KEY_SIZE];
	__u8	pad;
	__aligned_u64	next_pkt_num;
};

/**
 * struct quic_info_generation - a key generation of a flow
 *
 * @sealed: packets sealed with the key, on all paths, by all sockets; of a flow
 *	    that receives: packets opened with the key
 * @remaining: packets that may still be sealed before EKEYEXPIRED; of a flow
 *	       that receives: packets that may still fail to open, whatever
 *	       their key, before QUIC_RX_KEY_LIMIT
 * @next_pkt_num: highest packet number sealed on the flow's path, plus one; of
 *		  a flow that receives: highest packet number opened plus one
 * @ifindex: device that has the key, 0 for none
 * @gen: key generation
 * @installed: 1, or 0 if the other members mean nothing
 * @pad: 0
 */
struct quic_info_generation {
	__aligned_u64	sealed;
	__aligned_u64	remaining;
	__aligned_u64	next_pkt_num;
	__u32	ifindex;
	__u8	gen;
	__u8	installed;
	__u16	pad;
};

/* Directions in struct quic_info */
#define QUIC_INFO_TX		0x01
#define QUIC_INFO_RX		0x02

/* Ciphers in struct quic_info */
#define QUIC_INFO_CIPHER(type)	(1U << ((type) - TLS_CIPHER_AES_GCM_128))

/**
 * struct quic_info - argument of UDP_QUIC_INFO, for getsockopt()
 *
 * A kernel writes as much of it as it knows and the program has room for, and
 * says how much. Clear it before the call: a program that is newer than the
 * kernel then finds zeros.
 *
 * @key: read: the flow to describe; all zero for none. With the flag
 *	 QUIC_CONN_RX this is about flows that receive
 * @directions: QUIC_INFO_TX and the like: what is implemented
 * @ciphers: QUIC_INFO_CIPHER(TLS_CIPHER_*): ciphers that can be used now; only
 *	     if @key is zero
 * @conn_flags: flags that UDP_QUIC_ADD_TX_CONNECTION or
 *		UDP_QUIC_DEL_TX_CONNECTION accept; with QUIC_CONN_RX those of
 *		reception
 * @tx_flags: flags in struct quic_tx_ancillary_data that are known
 * @flows: flows of the socket that send; with QUIC_CONN_RX those that receive
 * @max_flows: flows that the network namespace may have
 * @generations: of the flow, newest first; two of a flow that sends, up to
 *		 three of one that receives: next, current, previous
 * @devices: QUIC_INFO_TX and the like: what a device could do for new keys: the
 *	     one that the socket is bound to, or that the route of a connected
 *	     socket leads to; 0 if there is none
 * @pad: 0
 */
struct quic_info {
	struct quic_connection_info_key key;
	__u32	directions;
	__u32	ciphers;
	__u32	conn_flags;
	__u32	tx_flags;
	__u32	flows;
	__u32	max_flows;
	struct quic_info_generation generations[3];
	__u32	devices;
	__u32	pad;
};

/* Bytes that a program has to have room for; the struct may grow */
#define QUIC_INFO_SIZE_VER0	248

/* Flags in struct quic_tx_ancillary_data */
#define QUIC_BYPASS_ENCRYPTION	0x01	/* send the datagrams as they are */
#define QUIC_TX_TAG_ROOM	0x02	/* packets end in room for the tag */
#define QUIC_TX_FLOW_ID		0x04	/* flow_id selects the flow */

/**
 * struct quic_tx_ancillary_data - data of the UDP_QUIC_ENCRYPT cmsg
 *
 * @next_pkt_num: number expected of the first packet, which its truncated
 *		  number is relative to (RFC 9000 appendix A.3)
 * @flags: QUIC_BYPASS_ENCRYPTION and the like; others must be 0
 * @conn_id_length: of the destination connection ID in every packet
 * @pad: ignored
 * @flow_id: read only with QUIC_TX_FLOW_ID
 */
struct quic_tx_ancillary_data {
	__aligned_u64	next_pkt_num;
	__u8	flags;
	__u8	conn_id_length;
	__u16	pad;
	__u32	flow_id;
};

/**
 * enum quic_rx_status - what recvmsg() has done to a packet
 *
 * @QUIC_RX_OPENED: header unprotected, payload in plaintext; the content of the
 *		    last QUIC_TAG_SIZE bytes is undefined
 * @QUIC_RX_KEY_PHASE: there is no key for the Key Phase: header unprotected,
 *		       payload as it was on the wire; nothing is authentic, and
 *		       this may be a stateless reset, too
 * @QUIC_RX_AUTH_FAILED: as it was on the wire; may be a stateless reset
 * @QUIC_RX_NO_FLOW: as it was on the wire
 * @QUIC_RX_NOT_1RTT: long header: the whole datagram as it was on the wire
 * @QUIC_RX_TOO_SHORT: no room for a sample and a tag: as it was on the wire
 * @QUIC_RX_KEY_LIMIT: as it was on the wire: as many packets of the connection
 *		       have failed as may (RFC 9001 6.6); close it
 * @QUIC_RX_NOT_TRIED: as it was on the wire: memory was short, or the buffer
 */
enum quic_rx_status {
	QUIC_RX_OPENED,
	QUIC_RX_KEY_PHASE,
	QUIC_RX_AUTH_FAILED,
	QUIC_RX_NO_FLOW,
	QUIC_RX_NOT_1RTT,
	QUIC_RX_TOO_SHORT,
	QUIC_RX_KEY_LIMIT,
	QUIC_RX_NOT_TRIED,
};

/**
 * struct quic_rx_packet - element of the data of the UDP_QUIC_DECRYPT cmsg
 *
 * The control message has one for each packet, in their order: several with
 * UDP_GRO. Without room for all of them no packet is opened, and MSG_CTRUNC is
 * set.
 *
 * @pkt_num: full packet number; of QUIC_RX_OPENED and QUIC_RX_KEY_PHASE only
 * @flow_id: flow_id of the flow; 0 if the flow has none, or no flow was found
 * @status: enum quic_rx_status
 * @key_gen: key generation that has opened the packet; of QUIC_RX_OPENED only
 * @pkt_num_length: bytes of the packet number in the header; as of @pkt_num
 * @conn_id_length: bytes of the connection ID that the flow was found by, or 0
 */
struct quic_rx_packet {
	__aligned_u64	pkt_num;
	__u32	flow_id;
	__u8	status;
	__u8	key_gen;
	__u8	pkt_num_length;
	__u8	conn_id_length;
};

/* INET_ULP_INFO_QUIC of socket diagnostics, for CAP_NET_ADMIN: a nest of
 * QUIC_DIAG_DIR_* for each direction
 */
enum {
	QUIC_DIAG_UNSPEC,
	QUIC_DIAG_TX,
	QUIC_DIAG_RX,
	__QUIC_DIAG_MAX,
};

#define QUIC_DIAG_MAX (__QUIC_DIAG_MAX - 1)

enum {
	QUIC_DIAG_DIR_UNSPEC,
	QUIC_DIAG_DIR_PAD,
	QUIC_DIAG_DIR_FLOWS,		/* u32: flows of the socket */
	QUIC_DIAG_DIR_DEV_FLOWS,	/* u32: those with a key in a device */
	QUIC_DIAG_DIR_PACKETS,		/* u64: sealed, or opened, on the CPU */
	QUIC_DIAG_DIR_DEV_PACKETS,	/* u64: the same by devices */
	__QUIC_DIAG_DIR_MAX,
};

#define QUIC_DIAG_DIR_MAX (__QUIC_DIAG_DIR_MAX - 1)

#endif /* _UAPI_LINUX_QUIC_H */
