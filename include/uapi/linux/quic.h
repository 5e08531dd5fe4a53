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

/* Name of the upper layer protocol, for setsockopt(SOL_UDP, UDP_ULP) */
#define QUIC_CRYPTO_ULP_NAME		"quic-crypto"

#define QUIC_MAX_CONNECTION_ID_SIZE	20

#define QUIC_MAX_IV_SIZE		12
#define QUIC_MAX_KEY_SIZE		32
#define QUIC_TAG_SIZE			16	/* of every cipher above */

/**
 * struct quic_connection_info_key - what identifies a flow on its socket
 *
 * Clear the whole of it before filling it in.
 *
 * @conn_id: destination connection ID, right-aligned, leading bytes zero
 * @conn_id_length: bytes of @conn_id that count, 0 to 20
 * @flags: must be 0
 * @reserved: must be 0
 * @flow_id: handle for QUIC_TX_FLOW_ID, unique on the socket; 0 for none
 * @reserved2: must be 0
 * @dst: destination of the flow's packets; AF_UNSPEC for any
 */
struct quic_connection_info_key {
	__u8	conn_id[QUIC_MAX_CONNECTION_ID_SIZE];
	__u8	conn_id_length;
	__u8	flags;
	__u16	reserved;
	__u32	flow_id;
	__u32	reserved2;
	struct __kernel_sockaddr_storage dst;
};

/**
 * struct quic_connection_info - argument of UDP_QUIC_ADD_TX_CONNECTION
 *
 * UDP_QUIC_DEL_TX_CONNECTION takes the same and reads only @key. May grow at
 * its end; what a kernel does not know must be zero.
 *
 * @key: which flow
 * @cipher_type: TLS_CIPHER_*
 * @conn_payload_key_gen: key generation; its low bit is the Key Phase bit
 * @payload_iv: "quic iv" of RFC 9001 section 5.1
 * @payload_key: "quic key"; the cipher decides how many bytes are read
 * @header_key: "quic hp"; as long as the key, the same in every generation
 * @pad: ignored
 */
struct quic_connection_info {
	struct quic_connection_info_key key;
	__u16	cipher_type;
	__u8	conn_payload_key_gen;
	__u8	payload_iv[QUIC_MAX_IV_SIZE];
	__u8	payload_key[QUIC_MAX_KEY_SIZE];
	__u8	header_key[QUIC_MAX_KEY_SIZE];
	__u8	pad;
};

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

#endif /* _UAPI_LINUX_QUIC_H */
