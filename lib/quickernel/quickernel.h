/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * libquickernel: have the kernel seal and open QUIC packets.
 *
 * For authors of QUIC libraries; see README.md and libquickernel(3). The
 * library has no global state, no threads and no memory of its own, and writes
 * nothing anywhere. Functions that can fail return -errno; the errors are those
 * of the kernel, Documentation/networking/quic.rst explains each.
 */
#ifndef QUICKERNEL_H
#define QUICKERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#include <linux/quic.h>

#ifdef __cplusplus
extern "C" {
#endif

#define QK_MAX_PACKETS	128	/* in a call: UDP_MAX_SEGMENTS */
#define QK_MAX_CONTROL	512	/* control messages of the program in a call */

/**
 * struct qk_socket - a UDP socket, and what the kernel can do for it
 *
 * Fill it in by qk_attach(). All zero, it is a socket for which the kernel can
 * do nothing: qk_send() then refuses to send, and qk_recv() is recvmsg().
 *
 * @fd: descriptor, which stays the program's
 * @directions: QUIC_INFO_TX if the kernel seals, QUIC_INFO_RX if it opens
 * @ciphers: QUIC_INFO_CIPHER(TLS_CIPHER_*) for each cipher that can be used
 */
struct qk_socket {
	int fd;
	uint32_t directions;
	uint32_t ciphers;
};

/**
 * struct qk_keys - what protects one direction in one key generation
 *
 * Keys are derived by the caller, with the labels of its QUIC version: "quic
 * key", "quic iv" and "quic hp" (RFC 9001 section 5.1), or "quicv2 key" and the
 * like (RFC 9369). Nothing is kept of what the pointers refer to.
 *
 * @cipher: TLS_CIPHER_AES_GCM_128, TLS_CIPHER_AES_GCM_256,
 *	    TLS_CIPHER_AES_CCM_128 or TLS_CIPHER_CHACHA20_POLY1305
 * @generation: number of key updates so far, modulo 256; the low bit is the Key
 *		Phase bit
 * @path_id: path of multipath QUIC, 0 without multipath
 * @key: qk_key_size() bytes
 * @iv: 12 bytes
 * @hp: header-protection key, qk_key_size() bytes; not read for an update, as
 *	it is the same in every generation
 */
struct qk_keys {
	uint16_t cipher;
	uint8_t generation;
	uint32_t path_id;
	const uint8_t *key;
	const uint8_t *iv;
	const uint8_t *hp;
};

/**
 * struct qk_match - what packets of a flow look like that arrive
 *
 * Fill it in by qk_match_init(). Two that mean the same are equal, byte by
 * byte.
 *
 * @peer: address that they come from, AF_UNSPEC for any
 * @cid: their connection ID
 * @cid_len: bytes of @cid, 0 to 20
 */
struct qk_match {
	struct sockaddr_storage peer;
	uint8_t cid[QUIC_MAX_CONNECTION_ID_SIZE];
	uint8_t cid_len;
};

/**
 * struct qk_batch - what there is to say about the packets of a call
 *
 * @number: full packet number of the first packet
 * @flow_id: flow that seals them
 * @packet_size: bytes of each packet on the wire, tag included; the last one
 *		 may be shorter. 0 adds no UDP_SEGMENT: one packet, unless the
 *		 socket or the program's control messages have a size
 * @cid_len: bytes of the destination connection ID in each packet
 * @no_tag_room: packets do not end in 16 bytes of room for the tag.
 *		 @packet_size includes the tag all the same
 */
struct qk_batch {
	uint64_t number;
	uint32_t flow_id;
	uint16_t packet_size;
	uint8_t cid_len;
	bool no_tag_room;
};

/**
 * struct qk_tx_call - a call that sends, see qk_send_prepare()
 *
 * @msg: for sendmsg(), sendmmsg() or io_uring; refers to @control
 * @control: control messages
 */
struct qk_tx_call {
	struct msghdr msg;
	union {
		size_t align;	/* as of struct cmsghdr */
		char data[CMSG_SPACE(sizeof(struct quic_tx_ancillary_data)) +
			  CMSG_SPACE(sizeof(uint16_t)) + QK_MAX_CONTROL];
	} control;
};

/**
 * QK_RX_ROOM - bytes of room for what the kernel says of a call that receives
 * @n: packets that the call may receive: 1 without UDP_GRO, else up to
 *     QK_MAX_PACKETS; never 0
 *
 * For an array of char, whatever its alignment. It includes QK_MAX_CONTROL
 * bytes for control messages of the program.
 */
#define QK_RX_ROOM(n)	(sizeof(size_t) +				\
			 CMSG_SPACE((n) * sizeof(struct quic_rx_packet)) + \
			 CMSG_SPACE(sizeof(int)) + QK_MAX_CONTROL)

/**
 * struct qk_rx_call - a call that receives, and what it has received
 *
 * @msg: for recvmsg(), recvmmsg() or io_uring; refers to the caller's room
 * @length: bytes that are in the buffer
 * @packet_size: bytes of each packet but the last
 * @n_packets: packets that are in the buffer, see qk_recv_packet()
 * @n_elements: packets that the kernel says something about; 0 if the socket
 *		has had no flow for reception, or there was no room
 * @elements: what the kernel says, in the caller's room
 */
struct qk_rx_call {
	struct msghdr msg;
	size_t length;
	size_t packet_size;
	unsigned int n_packets;
	unsigned int n_elements;
	const void *elements;
};

/**
 * struct qk_packet - a packet that was received
 *
 * @number: full packet number, of QUIC_RX_OPENED and QUIC_RX_KEY_PHASE
 * @offset: where it begins in the buffer
 * @length: its bytes, those of the tag included
 * @header_len: bytes of its header, of QUIC_RX_OPENED and QUIC_RX_KEY_PHASE;
 *		else 0. The payload comes next
 * @payload_len: bytes of its frames, of QUIC_RX_OPENED; else 0
 * @flow_id: its flow, 0 for none
 * @status: QUIC_RX_*. QUIC_RX_NOT_TRIED if the kernel says nothing of the
 *	    packet: it is as it was on the wire, with a long or a short header
 * @key_gen: key generation, of QUIC_RX_OPENED
 * @cid_len: bytes of its connection ID, if it has a flow
 * @pn_len: bytes of its packet number; as of @number
 */
struct qk_packet {
	uint64_t number;
	size_t offset;
	size_t length;
	size_t header_len;
	size_t payload_len;
	uint32_t flow_id;
	uint8_t status;
	uint8_t key_gen;
	uint8_t cid_len;
	uint8_t pn_len;
};

/**
 * enum qk_todo - what the caller does after a call, see qk_send_todo() and
 *		  qk_add_todo()
 *
 * @QK_DONE: nothing, the call has done what it was to do
 * @QK_RETRY: repeat the call later; no packet number was used up
 * @QK_INSTALL: install what the kernel lacks, the flow or the keys of the
 *		generation, and repeat the call
 * @QK_UPDATE: update the keys. The packets count as lost: neither kernel nor
 *	       library may seal anything more with this key
 * @QK_COUNT_SENT: count the packets as sent; some number of theirs was sealed
 *		   before. To repeat a packet on purpose, seal the identical one
 *		   in the library
 * @QK_LIBRARY: seal these packets in the library, and all that follow on this
 *		connection; or, if it is about reception, open them
 * @QK_UDP: what the caller does without the kernel's help, as UDP has this
 *	    error, too
 */
enum qk_todo {
	QK_DONE,
	QK_RETRY,
	QK_INSTALL,
	QK_UPDATE,
	QK_COUNT_SENT,
	QK_LIBRARY,
	QK_UDP,
};

/* The kernel, and sockets */
int qk_probe(struct qk_socket *what);
int qk_attach(struct qk_socket *sock, int fd);
bool qk_can(const struct qk_socket *sock, uint32_t direction, uint16_t cipher);
size_t qk_key_size(uint16_t cipher);
uint16_t qk_cipher_of_suite(uint16_t suite);
enum qk_todo qk_add_todo(int err);

/* Sending */
int qk_tx_add(const struct qk_socket *sock, uint32_t flow_id,
	      const struct qk_keys *keys);
int qk_tx_update(const struct qk_socket *sock, uint32_t flow_id,
		 const struct qk_keys *keys);
int qk_tx_retire(const struct qk_socket *sock, uint32_t flow_id,
		 uint8_t generation);
int qk_tx_del(const struct qk_socket *sock, uint32_t flow_id);
int qk_tx_del_all(const struct qk_socket *sock);
int qk_tx_info(const struct qk_socket *sock, uint32_t flow_id,
	       struct quic_info *info);

unsigned int qk_max_packets(size_t packet_size);
int qk_send_prepare(struct qk_tx_call *call, const struct qk_socket *sock,
		    const struct qk_batch *batch, const struct msghdr *msg);
ssize_t qk_send(const struct qk_socket *sock, const struct qk_batch *batch,
		const struct msghdr *msg, int flags);
enum qk_todo qk_send_todo(ssize_t ret, bool installed);

/* Receiving */
int qk_match_init(struct qk_match *match, const uint8_t *cid, size_t cid_len,
		  const struct sockaddr *peer, socklen_t peer_len);
int qk_rx_add(const struct qk_socket *sock, uint32_t flow_id,
	      const struct qk_match *match, const struct qk_keys *keys,
	      uint64_t next_number);
int qk_rx_update(const struct qk_socket *sock, uint32_t flow_id,
		 const struct qk_keys *keys);
int qk_rx_retire(const struct qk_socket *sock, uint32_t flow_id,
		 uint8_t generation);
int qk_rx_add_alias(const struct qk_socket *sock, uint32_t flow_id,
		    const struct qk_match *match);
int qk_rx_del_alias(const struct qk_socket *sock, uint32_t flow_id,
		    const struct qk_match *match);
int qk_rx_del(const struct qk_socket *sock, uint32_t flow_id);
int qk_rx_del_all(const struct qk_socket *sock);
int qk_rx_drop_unknown(const struct qk_socket *sock, bool drop);
int qk_rx_info(const struct qk_socket *sock, uint32_t flow_id,
	       struct quic_info *info);

void qk_recv_prepare(struct qk_rx_call *call, void *room, size_t room_len,
		     const struct msghdr *msg);
void qk_recv_finish(struct qk_rx_call *call, struct msghdr *msg, size_t len);
ssize_t qk_recv(const struct qk_socket *sock, struct qk_rx_call *call,
		void *room, size_t room_len, struct msghdr *msg, int flags);
bool qk_recv_packet(const struct qk_rx_call *call, unsigned int i,
		    struct qk_packet *packet);

#ifdef __cplusplus
}
#endif

#endif /* QUICKERNEL_H */
