// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * libquickernel: have the kernel seal and open QUIC packets. See quickernel.h.
 *
 * What the library sees to:
 *  - No plaintext. qk_send() calls the kernel only if qk_attach() has found
 *    that it seals, as kernels before 4.18 ignore control messages of UDP and
 *    would send the packets as they are. A call that was refused is never
 *    repeated without the control message.
 *  - A flow_id in every call, so that neither the peer's address nor its
 *    connection ID decides whose key seals a packet.
 *  - Updates pass no header key, so that they never make a new flow.
 *  - No waiting: what the kernel cannot do now goes back to the caller.
 *  - No packet taken for what it is not: if there was too little room for what
 *    the kernel says, packets are as they were on the wire, or lost.
 *  - No key is left on the stack.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

#include "quickernel.h"

/* Of <linux/udp.h>, which cannot be included next to <netinet/udp.h> */
#ifndef SOL_UDP
#define SOL_UDP		17
#endif
#ifndef UDP_SEGMENT
#define UDP_SEGMENT	103
#endif
#ifndef UDP_GRO
#define UDP_GRO		104
#endif

#define MAX_DATAGRAM	65507	/* UDP over IPv4 */

/* ----- the kernel, and sockets ----- */

static int set_option(const struct qk_socket *sock, int option, const void *val,
		      socklen_t len)
{
	return setsockopt(sock->fd, SOL_UDP, option, val, len) ? -errno : 0;
}

static int get_info(int fd, struct quic_info *info)
{
	socklen_t len = sizeof(*info);

	if (getsockopt(fd, SOL_UDP, UDP_QUIC_INFO, info, &len))
		return -errno;
	return len < QUIC_INFO_SIZE_VER0 ? -ENOPROTOOPT : 0;
}

/**
 * qk_attach - have the kernel work for a socket
 * @sock: filled in; after an error, a socket for which the kernel does nothing
 * @fd: UDP socket
 *
 * Calling it again is no error. The ULP stays attached until the socket is
 * gone.
 *
 * Return: 0. -ENOPROTOOPT: this kernel has no quic-crypto. -ENOENT: its module
 * is not loaded, or just being loaded. -EBUSY: not on this socket, as it
 * encapsulates or is in a sockmap. -EEXIST: it has another ULP. -ENOMEM: no
 * memory just now, another attempt may work. In all cases the library seals and
 * opens its packets itself, as before. @sock->ciphers may lack a cipher that
 * another program is just setting up for the first time.
 */
int qk_attach(struct qk_socket *sock, int fd)
{
	const uint32_t flags = QUIC_TX_TAG_ROOM | QUIC_TX_FLOW_ID;
	struct quic_info info;
	int err;

	memset(sock, 0, sizeof(*sock));
	memset(&info, 0, sizeof(info));
	sock->fd = fd;
	err = set_option(sock, UDP_ULP, QUIC_CRYPTO_ULP_NAME,
			 strlen(QUIC_CRYPTO_ULP_NAME));
	if (!err)
		err = get_info(fd, &info);
	if (err)
		return err;
	sock->ciphers = info.ciphers;
	sock->directions = info.directions & QUIC_INFO_RX;
	if (info.directions & QUIC_INFO_TX && (info.tx_flags & flags) == flags)
		sock->directions |= QUIC_INFO_TX;
	return sock->directions ? 0 : -ENOPROTOOPT;
}

/**
 * qk_probe - what can this kernel do?
 * @what: filled in, with a descriptor of -1; NULL if only the result matters
 *
 * It attaches the ULP to a socket of its own.
 *
 * Return: as of qk_attach(), or why there is no socket. -ENOMEM, -ENOBUFS,
 * -EMFILE, -ENFILE, -EAGAIN and -EINTR say nothing about the kernel: ask again
 */
int qk_probe(struct qk_socket *what)
{
	struct qk_socket sock;
	int fd, err;

	memset(&sock, 0, sizeof(sock));
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 && errno == EAFNOSUPPORT)
		fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0) {
		err = -errno;
	} else {
		err = qk_attach(&sock, fd);
		close(fd);
	}
	sock.fd = -1;
	if (what)
		*what = sock;
	return err;
}

/**
 * qk_can - can the kernel do this for a socket?
 * @sock: socket
 * @direction: QUIC_INFO_TX or QUIC_INFO_RX
 * @cipher: TLS_CIPHER_*
 *
 * Return: whether it can
 */
bool qk_can(const struct qk_socket *sock, uint32_t direction, uint16_t cipher)
{
	return sock->directions & direction && qk_key_size(cipher) &&
	       sock->ciphers & QUIC_INFO_CIPHER(cipher);
}

/**
 * qk_key_size - bytes of the packet and header-protection keys
 * @cipher: TLS_CIPHER_*
 *
 * Return: the number, 0 if QUIC does not have this cipher
 */
size_t qk_key_size(uint16_t cipher)
{
	switch (cipher) {
	case TLS_CIPHER_AES_GCM_128:
	case TLS_CIPHER_AES_CCM_128:
		return 16;
	case TLS_CIPHER_AES_GCM_256:
	case TLS_CIPHER_CHACHA20_POLY1305:
		return 32;
	}
	return 0;
}

/**
 * qk_cipher_of_suite - the cipher of a cipher suite of TLS 1.3
 * @suite: number of the suite, such as 0x1301 for TLS_AES_128_GCM_SHA256. With
 *	   OpenSSL, that is SSL_CIPHER_get_protocol_id()
 *
 * Return: TLS_CIPHER_*, 0 if neither QUIC nor the kernel has it
 */
uint16_t qk_cipher_of_suite(uint16_t suite)
{
	switch (suite) {
	case 0x1301:
		return TLS_CIPHER_AES_GCM_128;
	case 0x1302:
		return TLS_CIPHER_AES_GCM_256;
	case 0x1303:
		return TLS_CIPHER_CHACHA20_POLY1305;
	case 0x1304:
		return TLS_CIPHER_AES_CCM_128;
	}
	return 0;
}

/* ----- flows of both directions ----- */

static int check_flow(const struct qk_socket *sock, uint32_t direction,
		      uint32_t flow_id)
{
	if (!(sock->directions & direction))
		return -ENOPROTOOPT;
	return flow_id ? 0 : -EINVAL;
}

static void set_match(struct quic_connection_info_key *key,
		      const struct qk_match *match)
{
	memcpy(key->conn_id + sizeof(key->conn_id) - match->cid_len,
	       match->cid, match->cid_len);
	key->conn_id_length = match->cid_len;
	memcpy(&key->peer, &match->peer, sizeof(key->peer));
}

/* Give the kernel the keys of a generation. @info has the rest, and is wiped.
 * A flow that has these very keys is no error.
 */
static int install(const struct qk_socket *sock, int option,
		   struct quic_connection_info *info,
		   const struct qk_keys *keys, const uint8_t *hp)
{
	size_t size = qk_key_size(keys->cipher);
	int err = -EOPNOTSUPP;

	if (size) {
		info->key.path_id = keys->path_id;
		info->cipher_type = keys->cipher;
		info->conn_payload_key_gen = keys->generation;
		memcpy(info->payload_key, keys->key, size);
		memcpy(info->payload_iv, keys->iv, sizeof(info->payload_iv));
		if (hp)
			memcpy(info->header_key, hp, size);
		err = set_option(sock, option, info, sizeof(*info));
	}
	explicit_bzero(info, sizeof(*info));
	return err == -EEXIST ? 0 : err;
}

/* A flow is new. The kernel takes a header key of zeroes for an update that has
 * none, and finds no flow: adding it once more would not help.
 */
static int add(const struct qk_socket *sock, int option,
	       struct quic_connection_info *info, const struct qk_keys *keys)
{
	int err = install(sock, option, info, keys, keys->hp);

	return err == -ENOENT ? -EINVAL : err;
}

static int update(const struct qk_socket *sock, int option, uint32_t flow_id,
		  const struct qk_keys *keys)
{
	struct quic_connection_info info;

	memset(&info, 0, sizeof(info));
	info.key.flow_id = flow_id;
	return install(sock, option, &info, keys, NULL);
}

static int retire(const struct qk_socket *sock, int option, uint32_t flow_id,
		  uint8_t generation)
{
	struct quic_connection_info info;

	memset(&info, 0, sizeof(info));
	info.key.flow_id = flow_id;
	info.key.flags = QUIC_CONN_GENERATION;
	info.conn_payload_key_gen = generation;
	return set_option(sock, option, &info, sizeof(info));
}

static int remove_flow(const struct qk_socket *sock, int option,
		       uint32_t flow_id, uint8_t flags)
{
	struct quic_connection_info_key key;

	memset(&key, 0, sizeof(key));
	key.flow_id = flow_id;
	key.flags = flags;
	return set_option(sock, option, &key, sizeof(key));
}

/**
 * qk_add_todo - what to do after a call that gives the kernel a flow or keys?
 * @err: what qk_tx_add(), qk_tx_update(), qk_rx_add(), qk_rx_update() or
 *	 qk_rx_add_alias() has returned. Or an error of qk_attach(): then
 *	 anything but QK_RETRY, also QK_INSTALL, means that this socket is the
 *	 library's
 *
 * The kernel answers -EAGAIN while one of its tables is growing, or another
 * program is setting up the same cipher, and -EINTR if a signal has come
 * meanwhile. Both are over soon, but no event loop is to wait for that. Go on
 * without the kernel: seal packets in the library, those of the next generation
 * if it was an update, and open those that arrive. Repeat the call when there
 * are packets again; @next_number is then the one of that time.
 *
 * QK_LIBRARY for -EINVAL of qk_rx_update() need not be final: see there.
 *
 * Return: QK_DONE; QK_RETRY: repeat the call with the next packets; QK_INSTALL:
 * there is no such flow, add it; QK_LIBRARY: this direction of the connection
 * is the library's
 */
enum qk_todo qk_add_todo(int err)
{
	switch (-err) {
	case 0:
		return QK_DONE;
	case EAGAIN:
	case EINTR:
		return QK_RETRY;
	case ENOENT:
		return QK_INSTALL;
	}
	return QK_LIBRARY;
}

/* ----- sending ----- */

/**
 * qk_tx_add - add a flow that seals packets
 * @sock: socket
 * @flow_id: number of the caller's choice, not 0, unique on the socket
 * @keys: keys of the current generation
 *
 * Return: 0, also if the flow is there with these keys. -EADDRINUSE: the flow
 * has the keys of another connection, do not send with it. -ENOSPC, -EDQUOT,
 * -ENOMEM: no room for this one. -EOPNOTSUPP: not with this cipher.
 * -ENOPROTOOPT: not with this kernel. -EINVAL: @flow_id is 0, @keys->hp is all
 * zero, or the key is in use with another IV. -EAGAIN, -EINTR: not now, see
 * qk_add_todo()
 */
int qk_tx_add(const struct qk_socket *sock, uint32_t flow_id,
	      const struct qk_keys *keys)
{
	int err = check_flow(sock, QUIC_INFO_TX, flow_id);
	struct quic_connection_info info;

	if (err)
		return err;
	memset(&info, 0, sizeof(info));
	info.key.flow_id = flow_id;
	return add(sock, UDP_QUIC_ADD_TX_CONNECTION, &info, keys);
}

/**
 * qk_tx_update - install the keys of the next generation
 * @sock: socket
 * @flow_id: flow
 * @keys: keys; @keys->hp is not read
 *
 * Call it some time before the first packet with the other Key Phase bit. The
 * generation before the current one is forgotten.
 *
 * Return: 0, also if the flow has these keys. -ENOENT: no such flow. -EINVAL: a
 * generation was left out. -EADDRINUSE, -EAGAIN, -EINTR: as of qk_tx_add()
 */
int qk_tx_update(const struct qk_socket *sock, uint32_t flow_id,
		 const struct qk_keys *keys)
{
	int err = check_flow(sock, QUIC_INFO_TX, flow_id);

	return err ? err : update(sock, UDP_QUIC_ADD_TX_CONNECTION, flow_id,
				  keys);
}

/**
 * qk_tx_retire - forget the keys of a generation
 * @sock: socket
 * @flow_id: flow
 * @generation: generation whose last packet was sent
 *
 * Return: 0. -ENOENT: no such flow. -ENOKEY: no such generation
 */
int qk_tx_retire(const struct qk_socket *sock, uint32_t flow_id,
		 uint8_t generation)
{
	int err = check_flow(sock, QUIC_INFO_TX, flow_id);

	return err ? err : retire(sock, UDP_QUIC_DEL_TX_CONNECTION, flow_id,
				  generation);
}

/**
 * qk_tx_del - remove a flow with all its keys
 * @sock: socket
 * @flow_id: flow
 *
 * Return: 0, or -ENOENT: no such flow
 */
int qk_tx_del(const struct qk_socket *sock, uint32_t flow_id)
{
	int err = check_flow(sock, QUIC_INFO_TX, flow_id);

	return err ? err : remove_flow(sock, UDP_QUIC_DEL_TX_CONNECTION,
				       flow_id, 0);
}

/**
 * qk_tx_del_all - remove all flows of a socket that seal
 * @sock: socket
 *
 * Return: 0, also if there is none
 */
int qk_tx_del_all(const struct qk_socket *sock)
{
	int err = check_flow(sock, QUIC_INFO_TX, 1);

	return err ? err : remove_flow(sock, UDP_QUIC_DEL_TX_CONNECTION, 0,
				       QUIC_CONN_ALL);
}

/**
 * qk_tx_info - ask for the state of a flow that seals
 * @sock: socket
 * @flow_id: flow
 * @info: filled in; generations[0].remaining is how many packets may follow
 *
 * Return: 0, or -ENOENT: no such flow
 */
int qk_tx_info(const struct qk_socket *sock, uint32_t flow_id,
	       struct quic_info *info)
{
	int err = check_flow(sock, QUIC_INFO_TX, flow_id);

	memset(info, 0, sizeof(*info));
	info->key.flow_id = flow_id;
	return err ? err : get_info(sock->fd, info);
}

/**
 * qk_max_packets - how many packets may be in a call?
 * @packet_size: bytes of each on the wire
 *
 * Return: the number, at least 1
 */
unsigned int qk_max_packets(size_t packet_size)
{
	size_t n = packet_size ? MAX_DATAGRAM / packet_size : 1;

	if (n > QK_MAX_PACKETS)
		return QK_MAX_PACKETS;
	return n ? n : 1;
}

/* Append a control message to what @msg has. */
static void put_cmsg(struct msghdr *msg, int type, const void *data, size_t len)
{
	struct cmsghdr *cmsg;

	cmsg = (void *)((char *)msg->msg_control + msg->msg_controllen);
	memset(cmsg, 0, CMSG_SPACE(len));
	cmsg->cmsg_level = SOL_UDP;
	cmsg->cmsg_type = type;
	cmsg->cmsg_len = CMSG_LEN(len);
	memcpy(CMSG_DATA(cmsg), data, len);
	msg->msg_controllen += CMSG_SPACE(len);
}

/**
 * qk_send_prepare - the half of qk_send() before the call, for sendmmsg() and
 *		     io_uring
 * @call: filled in; must stay where it is until @call->msg is sent
 * @sock: socket that @call->msg will be sent on, and no other
 * @batch: what packets these are
 * @msg: destination, data, and control messages of the program
 *
 * Return: 0, or an error as of qk_send()
 */
int qk_send_prepare(struct qk_tx_call *call, const struct qk_socket *sock,
		    const struct qk_batch *batch, const struct msghdr *msg)
{
	int err = check_flow(sock, QUIC_INFO_TX, batch->flow_id);
	struct quic_tx_ancillary_data anc;

	if (err)
		return err;
	if (msg->msg_controllen > QK_MAX_CONTROL)
		return -EINVAL;
	memset(&anc, 0, sizeof(anc));
	anc.next_pkt_num = batch->number;
	anc.flags = QUIC_TX_FLOW_ID;
	if (!batch->no_tag_room)
		anc.flags |= QUIC_TX_TAG_ROOM;
	anc.conn_id_length = batch->cid_len;
	anc.flow_id = batch->flow_id;

	call->msg = *msg;
	call->msg.msg_control = &call->control;
	call->msg.msg_controllen = 0;
	put_cmsg(&call->msg, UDP_QUIC_ENCRYPT, &anc, sizeof(anc));
	if (batch->packet_size)
		put_cmsg(&call->msg, UDP_SEGMENT, &batch->packet_size,
			 sizeof(batch->packet_size));
	if (msg->msg_controllen)
		memcpy(call->control.data + call->msg.msg_controllen,
		       msg->msg_control, msg->msg_controllen);
	call->msg.msg_controllen += msg->msg_controllen;
	return 0;
}

/**
 * qk_send - have packets sealed and sent
 * @sock: socket
 * @batch: what packets these are
 * @msg: destination, data, and control messages of the program, at most
 *	 QK_MAX_CONTROL bytes of them
 * @flags: of sendmsg()
 *
 * All packets are sealed and sent, or none is.
 *
 * Return: bytes of @msg. Any error: nothing was sent, and no packet number was
 * used up; qk_send_todo() says what to do. -EAGAIN: the socket is not writable.
 * -ENOKEY: no key for the Key Phase. -ENOENT: no flow. -EKEYEXPIRED: the limit
 * of the key. -EALREADY: a packet number was used before. -EMSGSIZE: packets
 * too large, or too many. -EIO: several packets, and IPsec. -EBADMSG: several
 * connection IDs or Key Phases. -ENOPROTOOPT: not on this socket. Others: as of
 * sendmsg()
 */
ssize_t qk_send(const struct qk_socket *sock, const struct qk_batch *batch,
		const struct msghdr *msg, int flags)
{
	struct qk_tx_call call;
	ssize_t ret;

	ret = qk_send_prepare(&call, sock, batch, msg);
	if (ret)
		return ret;
	ret = sendmsg(sock->fd, &call.msg, flags);
	return ret < 0 ? -errno : ret;
}

/**
 * qk_send_todo - what to do after a call that sends?
 * @ret: what qk_send() or qk_send_prepare() has returned, or io_uring; of
 *	 sendmmsg(), -errno
 * @installed: whether the flow was installed again for this very call
 *
 * Packets that were refused are still in plaintext, and must never be sent as
 * they are.
 *
 * Return: QK_DONE; QK_RETRY: when the socket is writable; QK_INSTALL: then call
 * this with @installed, so that what does not help is done once; QK_UPDATE,
 * QK_COUNT_SENT, QK_LIBRARY, QK_UDP
 */
enum qk_todo qk_send_todo(ssize_t ret, bool installed)
{
	if (ret >= 0)
		return QK_DONE;
	switch (-ret) {
	case EAGAIN:
	case EINTR:
		return QK_RETRY;
	case ENOENT:
	case ENOKEY:
		return installed ? QK_LIBRARY : QK_INSTALL;
	case EKEYEXPIRED:
		return QK_UPDATE;
	case EALREADY:
		return QK_COUNT_SENT;
	case EINVAL:
	case EBADMSG:
	case EOPNOTSUPP:
	case ENOPROTOOPT:
		return QK_LIBRARY;
	}
	return QK_UDP;
}

/* ----- receiving ----- */

/**
 * qk_match_init - say what packets a flow is for
 * @match: filled in
 * @cid: connection ID that they carry, chosen by this side
 * @cid_len: bytes of @cid
 * @peer: address that they come from; NULL for any, which is right if the
 *	  connection ID is long enough to be unique
 * @peer_len: bytes of @peer
 *
 * Return: 0, or -EINVAL if something is too long
 */
int qk_match_init(struct qk_match *match, const uint8_t *cid, size_t cid_len,
		  const struct sockaddr *peer, socklen_t peer_len)
{
	memset(match, 0, sizeof(*match));
	if (cid_len > sizeof(match->cid) || peer_len > sizeof(match->peer))
		return -EINVAL;
	if (cid_len)
		memcpy(match->cid, cid, cid_len);
	match->cid_len = cid_len;
	if (peer)
		memcpy(&match->peer, peer, peer_len);
	return 0;
}

/**
 * qk_rx_add - add a flow that opens packets
 * @sock: socket
 * @flow_id: number of the caller's choice, not 0, that comes with each packet;
 *	     may be the one of the flow that seals
 * @match: what its packets look like
 * @keys: keys with which the peer seals, of the current generation
 * @next_number: largest packet number received so far plus 1, 0 if there is
 *	    none
 *
 * Return: as of qk_tx_add(); -EADDRINUSE: connection ID and peer, or @flow_id,
 * are those of another flow. -EOPNOTSUPP: or the socket has SO_PEEK_OFF
 */
int qk_rx_add(const struct qk_socket *sock, uint32_t flow_id,
	      const struct qk_match *match, const struct qk_keys *keys,
	      uint64_t next_number)
{
	int err = check_flow(sock, QUIC_INFO_RX, flow_id);
	struct quic_connection_info info;

	if (err)
		return err;
	memset(&info, 0, sizeof(info));
	set_match(&info.key, match);
	info.key.flow_id = flow_id;
	info.next_pkt_num = next_number;
	return add(sock, UDP_QUIC_ADD_RX_CONNECTION, &info, keys);
}

/**
 * qk_rx_update - install the keys of the next generation
 * @sock: socket
 * @flow_id: flow
 * @keys: keys; @keys->hp is not read
 *
 * Call it well before the peer may update its keys: right after qk_rx_add(),
 * and again whenever a packet comes with a higher key_gen.
 *
 * Return: as of qk_tx_update(); -EINVAL: or the kernel has opened no packet of
 * the generation before it yet, as if the caller has opened those itself. Then
 * either repeat the call when a packet has come with that key_gen; or remove
 * the flow, add it with the keys of the generation before, and repeat the call
 */
int qk_rx_update(const struct qk_socket *sock, uint32_t flow_id,
		 const struct qk_keys *keys)
{
	int err = check_flow(sock, QUIC_INFO_RX, flow_id);

	return err ? err : update(sock, UDP_QUIC_ADD_RX_CONNECTION, flow_id,
				  keys);
}

/**
 * qk_rx_retire - forget the keys of a generation
 * @sock: socket
 * @flow_id: flow
 * @generation: generation of which no more packets are expected, three times
 *		the PTO after the update
 *
 * Return: as of qk_tx_retire()
 */
int qk_rx_retire(const struct qk_socket *sock, uint32_t flow_id,
		 uint8_t generation)
{
	int err = check_flow(sock, QUIC_INFO_RX, flow_id);

	return err ? err : retire(sock, UDP_QUIC_DEL_RX_CONNECTION, flow_id,
				  generation);
}

static int set_alias(const struct qk_socket *sock, int option,
		     uint32_t flow_id, const struct qk_match *match)
{
	int err = check_flow(sock, QUIC_INFO_RX, flow_id);
	struct quic_connection_info_key key;
	struct quic_connection_info info;

	if (err)
		return err;
	memset(&key, 0, sizeof(key));
	memset(&info, 0, sizeof(info));
	set_match(&key, match);
	key.flow_id = flow_id;
	key.flags = QUIC_CONN_ALIAS;
	info.key = key;
	return set_option(sock, option, &info, sizeof(info));
}

/**
 * qk_rx_add_alias - more packets of a flow
 * @sock: socket
 * @flow_id: flow
 * @match: what they look like
 *
 * Call it before NEW_CONNECTION_ID is sent.
 *
 * Return: 0, also if the flow has it. -ENOENT: no such flow. -EADDRINUSE:
 * another flow has it. -ENOSPC: the flow has 64. -EAGAIN: not now
 */
int qk_rx_add_alias(const struct qk_socket *sock, uint32_t flow_id,
		    const struct qk_match *match)
{
	int err = set_alias(sock, UDP_QUIC_ADD_RX_CONNECTION, flow_id, match);

	return err == -EEXIST ? 0 : err;
}

/**
 * qk_rx_del_alias - no more packets that look like this
 * @sock: socket
 * @flow_id: flow
 * @match: what they look like; may be what the flow was added with
 *
 * Return: 0, or -ENOENT: the flow does not have it
 */
int qk_rx_del_alias(const struct qk_socket *sock, uint32_t flow_id,
		    const struct qk_match *match)
{
	return set_alias(sock, UDP_QUIC_DEL_RX_CONNECTION, flow_id, match);
}

/**
 * qk_rx_del - remove a flow with all its keys and connection IDs
 * @sock: socket
 * @flow_id: flow
 *
 * Return: 0, or -ENOENT: no such flow
 */
int qk_rx_del(const struct qk_socket *sock, uint32_t flow_id)
{
	int err = check_flow(sock, QUIC_INFO_RX, flow_id);

	return err ? err : remove_flow(sock, UDP_QUIC_DEL_RX_CONNECTION,
				       flow_id, 0);
}

/**
 * qk_rx_del_all - remove all flows of a socket that open
 * @sock: socket
 *
 * Return: 0, also if there is none
 */
int qk_rx_del_all(const struct qk_socket *sock)
{
	int err = check_flow(sock, QUIC_INFO_RX, 1);

	return err ? err : remove_flow(sock, UDP_QUIC_DEL_RX_CONNECTION, 0,
				       QUIC_CONN_ALL);
}

/**
 * qk_rx_drop_unknown - drop packets with short headers that have no flow
 * @sock: socket
 * @drop: whether to
 *
 * Only for programs that have all their connections in the kernel, and do
 * without stateless resets.
 *
 * Return: 0 or an error
 */
int qk_rx_drop_unknown(const struct qk_socket *sock, bool drop)
{
	int err = check_flow(sock, QUIC_INFO_RX, 1), val = drop;

	return err ? err : set_option(sock, UDP_QUIC_RX_DROP, &val,
				      sizeof(val));
}

/**
 * qk_rx_info - ask for the state of a flow that opens
 * @sock: socket
 * @flow_id: flow
 * @info: filled in; generations[0].remaining is how many packets may still fail
 *
 * Return: 0, or -ENOENT: no such flow
 */
int qk_rx_info(const struct qk_socket *sock, uint32_t flow_id,
	       struct quic_info *info)
{
	int err = check_flow(sock, QUIC_INFO_RX, flow_id);

	memset(info, 0, sizeof(*info));
	info->key.flow_id = flow_id;
	info->key.flags = QUIC_CONN_RX;
	return err ? err : get_info(sock->fd, info);
}

/**
 * qk_recv_prepare - the half of qk_recv() before the call, for recvmmsg() and
 *		     io_uring
 * @call: filled in
 * @room: memory for what the kernel says of packets, and for other control
 *	  messages; is in use until the last qk_recv_packet()
 * @room_len: bytes of @room, at least QK_RX_ROOM(1), always enough are
 *	      QK_RX_ROOM(QK_MAX_PACKETS)
 * @msg: as for recvmsg()
 */
void qk_recv_prepare(struct qk_rx_call *call, void *room, size_t room_len,
		     const struct msghdr *msg)
{
	size_t pad = -(uintptr_t)room % sizeof(size_t);

	call->msg = *msg;
	call->msg.msg_control = NULL;
	call->msg.msg_controllen = 0;
	if (room_len > pad) {
		call->msg.msg_control = (char *)room + pad;
		call->msg.msg_controllen = room_len - pad;
	}
	call->msg.msg_flags = 0;
	call->length = 0;
	call->packet_size = 0;
	call->n_packets = 0;
	call->n_elements = 0;
	call->elements = NULL;
}

/* Append a control message, or as much as there is room for: as put_cmsg() in
 * the kernel does it.
 */
static void give_cmsg(struct msghdr *msg, size_t room,
		      const struct cmsghdr *cmsg)
{
	char *at = (char *)msg->msg_control + msg->msg_controllen;
	size_t len = cmsg->cmsg_len;

	room -= msg->msg_controllen;
	if (len > room) {
		msg->msg_flags |= MSG_CTRUNC;
		len = room;
	}
	if (len < sizeof(*cmsg))
		return;
	memcpy(at, cmsg, len);
	memcpy(at + offsetof(struct cmsghdr, cmsg_len), &len,
	       sizeof(cmsg->cmsg_len));
	len = CMSG_ALIGN(len);
	msg->msg_controllen += len < room ? len : room;
}

/* Take the kernel's message: true if it was. */
static bool take_cmsg(struct qk_rx_call *call, const struct cmsghdr *cmsg,
		      bool *has_size)
{
	size_t len = cmsg->cmsg_len - CMSG_LEN(0);
	int size;

	if (cmsg->cmsg_level != SOL_UDP)
		return false;
	if (cmsg->cmsg_type == UDP_GRO && len >= sizeof(size)) {
		memcpy(&size, CMSG_DATA(cmsg), sizeof(size));
		*has_size = size > 0;
		if (size > 0 && (size_t)size < call->packet_size)
			call->packet_size = size;
	}
	if (cmsg->cmsg_type != UDP_QUIC_DECRYPT)
		return false;
	call->elements = CMSG_DATA(cmsg);
	call->n_elements = len / sizeof(struct quic_rx_packet);
	return true;
}

/* If several packets have come, UDP says how long they are, in a message that
 * comes after the one about packets. The kernel opens nothing if that finds no
 * room. If it was missing all the same, nobody would know where a packet ends;
 * and if the kernel says something of some packets, others may be in plaintext,
 * too. They count as lost.
 */
static unsigned int count_packets(const struct qk_rx_call *call, bool has_size)
{
	size_t n, size = call->packet_size;

	if (!size || (call->n_elements > 1 && !has_size))
		return 0;
	n = (call->length + size - 1) / size;
	return call->n_elements && n > call->n_elements ? call->n_elements : n;
}

/**
 * qk_recv_finish - the half of qk_recv() after the call
 * @call: call whose msg has returned
 * @msg: what was passed to qk_recv_prepare(); filled in as by recvmsg(), with
 *	 the control messages that are the program's
 * @len: what recvmsg() has returned, 0 or more
 */
void qk_recv_finish(struct qk_rx_call *call, struct msghdr *msg, size_t len)
{
	size_t i, room = 0, control = 0;
	struct cmsghdr *cmsg;
	bool has_size = false;

	/* With MSG_TRUNC, the length may be more than there is. */
	for (i = 0; i < msg->msg_iovlen; i++)
		room += msg->msg_iov[i].iov_len;
	call->length = len < room ? len : room;
	call->packet_size = call->length;
	if (msg->msg_control)
		control = msg->msg_controllen;
	msg->msg_namelen = call->msg.msg_namelen;
	msg->msg_flags = call->msg.msg_flags;
	msg->msg_controllen = 0;
	for (cmsg = CMSG_FIRSTHDR(&call->msg); cmsg;
	     cmsg = CMSG_NXTHDR(&call->msg, cmsg))
		if (!take_cmsg(call, cmsg, &has_size))
			give_cmsg(msg, control, cmsg);
	call->n_packets = count_packets(call, has_size);
}

/**
 * qk_recv - receive packets, of which the kernel has opened some
 * @sock: socket
 * @call: filled in, see qk_recv_packet()
 * @room: as for qk_recv_prepare()
 * @room_len: bytes of @room, as for qk_recv_prepare()
 * @msg: as for recvmsg(); afterwards as after recvmsg(), without the kernel's
 *	 message about packets. At most QK_MAX_CONTROL bytes of other control
 *	 messages
 * @flags: of recvmsg(). Not MSG_ERRQUEUE: read the error queue with recvmsg()
 *
 * If @room is too small for what the kernel would say of the packets, and UDP
 * of their size, the kernel opens none, all have QUIC_RX_NOT_TRIED, and
 * MSG_CTRUNC is set. With less room than QK_RX_ROOM(1), not even the size may
 * fit: packets then look like a single one that does not open.
 *
 * Return: as recvmsg(), and -errno
 */
ssize_t qk_recv(const struct qk_socket *sock, struct qk_rx_call *call,
		void *room, size_t room_len, struct msghdr *msg, int flags)
{
	ssize_t ret;

	qk_recv_prepare(call, room, room_len, msg);
	ret = recvmsg(sock->fd, &call->msg, flags);
	if (ret < 0)
		return -errno;
	qk_recv_finish(call, msg, ret);
	return ret;
}

/**
 * qk_recv_packet - a packet that was received
 * @call: what qk_recv() or qk_recv_finish() have filled in
 * @i: which packet, from 0 on
 * @packet: filled in, from the room that the caller has given
 *
 * Return: false if there are not that many
 */
bool qk_recv_packet(const struct qk_rx_call *call, unsigned int i,
		    struct qk_packet *packet)
{
	struct quic_rx_packet p;
	size_t room;

	memset(packet, 0, sizeof(*packet));
	if (i >= call->n_packets)
		return false;
	packet->offset = i * call->packet_size;
	packet->length = call->length - packet->offset;
	if (packet->length > call->packet_size)
		packet->length = call->packet_size;
	packet->status = QUIC_RX_NOT_TRIED;
	if (i >= call->n_elements)
		return true;

	memcpy(&p, (const char *)call->elements + i * sizeof(p), sizeof(p));
	packet->number = p.pkt_num;
	packet->flow_id = p.flow_id;
	packet->status = p.status;
	packet->key_gen = p.key_gen;
	packet->cid_len = p.conn_id_length;
	packet->pn_len = p.pkt_num_length;
	if (p.status != QUIC_RX_OPENED && p.status != QUIC_RX_KEY_PHASE)
		return true;
	packet->header_len = 1 + packet->cid_len + packet->pn_len;
	room = packet->header_len + QUIC_TAG_SIZE;
	if (p.status == QUIC_RX_OPENED && packet->length >= room)
		packet->payload_len = packet->length - room;
	return true;
}
