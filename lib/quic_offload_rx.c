// SPDX-License-Identifier: GPL-2.0
/*
 * quic_offload.so: packets that the program receives. See quic_offload.c.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <gnutls/gnutls.h>

#include "quic_offload.h"

#define MAX_CONTROL	512	/* of the program, in one message */
#define MAX_MESSAGES	16	/* in one recvmmsg() */
#define MAX_PACKETS	128	/* in one message: UDP_MAX_SEGMENTS */
#define MAX_SOCKETS	65536
#define MAX_SCIDS	64
#define MAX_FLOWS	256	/* times that a connection changes the socket */
#define N_OPENED	65536
#define SAMPLE_OFFSET	4	/* from the packet number: RFC 9001 5.4.2 */

/* Written to where the tag was. An attacker could write anything there, but
 * does not know the secret.
 */
struct opened_mark {
	uint8_t secret[12];	/* random, one per process */
	uint32_t seq;		/* of the packet, in opened[] */
};

_Static_assert(sizeof(struct opened_mark) == QUIC_TAG_SIZE,
	       "a mark fits the tag");

/* A packet that the kernel has opened */
struct opened {
	uint32_t seq;
	uint32_t len;
	struct quic_rx_packet packet;
};

/* One message, as we ask the kernel for it */
struct call {
	struct msghdr msg;
	union {
		struct cmsghdr hdr;
		char data[CMSG_SPACE(MAX_PACKETS *
				     sizeof(struct quic_rx_packet)) +
			  MAX_CONTROL];
	} control;
};

/* What the kernel has said of it */
struct received {
	const struct quic_rx_packet *packets;
	unsigned int n_packets;
	size_t packet_size;
};

static uint8_t secret[sizeof(((struct opened_mark *)0)->secret)];
static struct opened opened[N_OPENED];
static uint32_t last_seq;

/* Sockets that have, or had, a flow: the kernel may open their packets. */
static bool rx_sockets[MAX_SOCKETS];

/* Where the datagrams came from that the program deals with now, and whether
 * the kernel knew no flow for one of them
 */
static __thread int last_fd = -1;
static __thread bool last_no_flow;

/* The datagram that ngtcp2 is at, if the kernel has opened it */
static __thread struct {
	const uint8_t *pkt;
	struct conn *conn;
	struct quic_rx_packet packet;
} feed;

/* Whether ngtcp2 has opened a packet, since it was given a datagram */
static __thread bool authentic;

/* Called once, before any key is known: false if nothing can be marked. */
bool rx_init(void)
{
	return getrandom(secret, sizeof(secret), 0) == sizeof(secret);
}

/* ----- flows: what the kernel is told ----- */

static void match_init(struct conn *conn, const ngtcp2_cid *cid,
		       struct quic_connection_info_key *match)
{
	const ngtcp2_addr *peer = &ngtcp2_conn_get_path(conn->ng)->remote;

	memset(match, 0, sizeof(*match));
	match->flags = QUIC_CONN_ALIAS;
	match->flow_id = conn->flow_id;
	match->conn_id_length = cid->datalen;
	memcpy(match->conn_id + sizeof(match->conn_id) - cid->datalen,
	       cid->data, cid->datalen);
	/* Only the address tells connections without an ID apart. */
	if (!cid->datalen && peer->addrlen <= sizeof(match->peer))
		memcpy(&match->peer, peer->addr, peer->addrlen);
}

/* The connection IDs that packets may carry, as matches */
static unsigned int wanted_matches(struct conn *conn,
				   struct quic_connection_info_key *matches)
{
	size_t i, n = ngtcp2_conn_get_scid(conn->ng, NULL);
	ngtcp2_cid cids[MAX_SCIDS];

	if (n > MAX_SCIDS)
		return 0;
	ngtcp2_conn_get_scid(conn->ng, cids);
	conn->n_scids = n;
	for (i = 0; i < n && i < N_MATCHES; i++)
		match_init(conn, &cids[i], &matches[i]);
	return i;
}

static bool match_in(const struct quic_connection_info_key *match,
		     const struct quic_connection_info_key *matches,
		     unsigned int n)
{
	while (n--)
		if (!memcmp(match, &matches[n], sizeof(*match)))
			return true;
	return false;
}

static int match_set(struct conn *conn, int option,
		     const struct quic_connection_info_key *match)
{
	return setsockopt(conn->rx.fd, SOL_UDP, option, match, sizeof(*match));
}

/* Let the kernel know the connection IDs that are new, and forget others. */
static void sync_matches(struct conn *conn)
{
	struct quic_connection_info_key want[N_MATCHES];
	unsigned int i, n = wanted_matches(conn, want), kept = 0;

	for (i = 0; i < n; i++)
		if (match_in(&want[i], conn->matches, conn->n_matches) ||
		    !match_set(conn, UDP_QUIC_ADD_RX_CONNECTION, &want[i]))
			want[kept++] = want[i];
	for (i = 0; i < conn->n_matches; i++)
		if (!match_in(&conn->matches[i], want, kept))
			match_set(conn, UDP_QUIC_DEL_RX_CONNECTION,
				  &conn->matches[i]);
	memcpy(conn->matches, want, kept * sizeof(want[0]));
	conn->n_matches = kept;
}

/* Add the flow: the current keys, the next ones, all connection IDs. */
static int rx_install(struct conn *conn, int fd)
{
	const struct key *key = conn->rx.keys[conn->rx_current % N_GENS];
	struct quic_connection_info info = { 0 };
	struct side *rx = &conn->rx;

	if (!key || key->gen != conn->rx_current ||
	    !wanted_matches(conn, conn->matches)) {
		errno = ENOKEY;
		return -1;
	}
	rx_sockets[fd] = true;
	info.key = conn->matches[0];
	info.key.flags = 0;
	info.next_pkt_num = conn->rx_next;
	if (flow_add(fd, key, &info))
		return -1;
	rx->fd = fd;
	rx->first = key->gen;
	rx->last = key->gen;
	conn->n_matches = 1;
	conn->rx_flows++;
	stats.rx_flows++;
	sync_matches(conn);
	return flow_sync(rx);
}

void rx_remove(struct conn *conn)
{
	flow_del(conn, &conn->rx);
	conn->n_matches = 0;
}

/* Packets of the connection arrive at this socket: the kernel may open them. */
static void rx_move(struct conn *conn, int fd)
{
	int err = EMLINK;

	rx_remove(conn);
	if (conn->rx_flows < MAX_FLOWS) {
		if (!rx_install(conn, fd))
			return;
		err = errno;
	}
	rx_remove(conn);
	give_up(&conn->rx, err);
}

/*
 * There is a key for the next generation. If the kernel does not take it, it
 * has not seen the last update, and gets the flow anew with the next packet.
 * ngtcp2 has dropped its previous key by now.
 */
void rx_update(struct conn *conn)
{
	struct quic_connection_info info = { 0 };
	struct side *rx = &conn->rx;

	if (rx->off || rx->fd < 0)
		return;
	if (flow_sync(rx)) {
		rx_remove(conn);
		return;
	}
	if (rx->newest < rx->first + 2)
		return;
	info.key.flow_id = conn->flow_id;
	info.key.flags = QUIC_CONN_GENERATION;
	info.conn_payload_key_gen = rx->newest - 2;
	setsockopt(rx->fd, SOL_UDP, UDP_QUIC_DEL_RX_CONNECTION, &info,
		   sizeof(info));
}

/* Has the kernel lost the flow? It ought to have known this packet. */
static bool rx_lost(const struct conn *conn, const uint8_t *pkt, size_t len)
{
	unsigned int i;

	for (i = 0; i < conn->n_matches; i++) {
		const struct quic_connection_info_key *m = &conn->matches[i];
		const uint8_t *cid = m->conn_id + sizeof(m->conn_id) -
				     m->conn_id_length;

		if (m->conn_id_length && len > m->conn_id_length &&
		    !memcmp(pkt + 1, cid, m->conn_id_length))
			return true;
	}
	return false;
}

/*
 * ngtcp2 has read a packet: look where it came from, and how. Only a packet that
 * is authentic moves the flow: anybody can send the connection ID anywhere.
 */
static void rx_follow(struct conn *conn, const uint8_t *pkt, size_t len,
		      bool is_open)
{
	bool no_flow = !is_open && last_no_flow && !(pkt[0] & 0x80);
	struct side *rx = &conn->rx;

	if (!rx->option || rx->off || last_fd < 0 || last_fd >= MAX_SOCKETS ||
	    !ngtcp2_conn_get_handshake_completed(conn->ng))
		return;
	if (rx->fd < 0 ||
	    (authentic && (rx->fd != last_fd || !rx_sockets[last_fd] ||
			   (no_flow && rx_lost(conn, pkt, len)))))
		rx_move(conn, last_fd);
	else if (no_flow ||
		 conn->n_scids != ngtcp2_conn_get_scid(conn->ng, NULL))
		sync_matches(conn);
}

/* ----- packets, as the program receives them ----- */

/* Copy between a buffer and the pieces of a message. */
static void msg_copy(const struct msghdr *msg, size_t off, void *buf,
		     size_t len, bool to_msg)
{
	size_t i, n;

	for (i = 0; i < msg->msg_iovlen && len; i++) {
		const struct iovec *iov = &msg->msg_iov[i];
		uint8_t *data = (uint8_t *)iov->iov_base + off;

		if (off >= iov->iov_len) {
			off -= iov->iov_len;
			continue;
		}
		n = iov->iov_len - off < len ? iov->iov_len - off : len;
		if (to_msg)
			memcpy(data, buf, n);
		else
			memcpy(buf, data, n);
		buf = (uint8_t *)buf + n;
		len -= n;
		off = 0;
	}
}

static void mark_opened(const struct msghdr *msg, size_t off, size_t len,
			const struct quic_rx_packet *packet)
{
	struct opened_mark mark = { .seq = ++last_seq };
	struct opened *o = &opened[mark.seq % N_OPENED];

	o->seq = mark.seq;
	o->len = len;
	o->packet = *packet;
	memcpy(mark.secret, secret, sizeof(secret));
	msg_copy(msg, off + len - sizeof(mark), &mark, sizeof(mark), true);
}

/* The kernel has shown the header of a packet that it has no key for. To the
 * library the packet is to be what it was on the wire.
 */
static void hide_header(const struct msghdr *msg, size_t off,
			const struct quic_rx_packet *packet)
{
	struct conn *conn = map_get(&conn_by_flow, id_key(packet->flow_id));
	size_t hdr_len = 1 + packet->conn_id_length + packet->pkt_num_length;
	size_t pn = 1 + packet->conn_id_length;
	uint8_t buf[1 + QUIC_MAX_CONNECTION_ID_SIZE + SAMPLE_OFFSET +
		    NGTCP2_HP_SAMPLELEN];
	uint8_t mask[NGTCP2_HP_SAMPLELEN];
	size_t i;

	if (!conn || pn + SAMPLE_OFFSET + NGTCP2_HP_SAMPLELEN > sizeof(buf))
		return;
	msg_copy(msg, off, buf, pn + SAMPLE_OFFSET + NGTCP2_HP_SAMPLELEN,
		 false);
	if (REAL(ngtcp2_crypto_hp_mask)(mask, &conn->hp, &conn->rx.hp_ctx,
					buf + pn + SAMPLE_OFFSET))
		return;
	buf[0] ^= mask[0] & 0x1f;
	for (i = pn; i < hdr_len; i++)
		buf[i] ^= mask[1 + i - pn];
	msg_copy(msg, off, buf, hdr_len, true);
}

/* One packet, at @off of the message, whose size is @len */
static void take_packet(const struct msghdr *msg, size_t off, size_t len,
			const struct quic_rx_packet *packet, bool peek)
{
	if (!peek && packet->status <= QUIC_RX_NOT_TRIED)
		stats.rx_status[packet->status]++;
	switch (packet->status) {
	case QUIC_RX_OPENED:
		mark_opened(msg, off, len, packet);
		if (!peek)
			stats.rx_bytes += len;
		break;
	case QUIC_RX_KEY_PHASE:
		hide_header(msg, off, packet);
		break;
	case QUIC_RX_NO_FLOW:
		last_no_flow = true;
		break;
	}
}

static void take_packets(const struct msghdr *msg, size_t len,
			 const struct received *r, bool peek)
{
	size_t off, size = r->packet_size ? r->packet_size : len;
	unsigned long n = stats.rx_status[QUIC_RX_OPENED];
	unsigned int i;

	for (i = 0, off = 0; i < r->n_packets && off < len; i++, off += size)
		take_packet(msg, off, len - off < size ? len - off : size,
			    &r->packets[i], peek);
	/* Another socket has the descriptor now? */
	if (!r->n_packets) {
		last_no_flow = true;
		stats.rx_no_element += !peek;
	}
	n = stats.rx_status[QUIC_RX_OPENED] - n;
	stats.rx_calls += !!n;
	if (n > stats.rx_max_batch)
		stats.rx_max_batch = n;
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
	memcpy(at + offsetof(struct cmsghdr, cmsg_len), &len, sizeof(len));
	len = CMSG_ALIGN(len);
	msg->msg_controllen += len < room ? len : room;
}

/* Take the kernel's control message, and hand on those of others. */
static void take_cmsgs(struct msghdr *from, struct msghdr *to,
		       struct received *r)
{
	size_t room = to->msg_controllen;
	struct cmsghdr *cmsg;

	to->msg_controllen = 0;
	for (cmsg = CMSG_FIRSTHDR(from); cmsg;
	     cmsg = CMSG_NXTHDR(from, cmsg)) {
		int size;

		if (cmsg->cmsg_level == SOL_UDP &&
		    cmsg->cmsg_type == UDP_QUIC_DECRYPT) {
			r->packets = (void *)CMSG_DATA(cmsg);
			r->n_packets = (cmsg->cmsg_len - CMSG_LEN(0)) /
				       sizeof(*r->packets);
			continue;
		}
		if (cmsg->cmsg_level == SOL_UDP && cmsg->cmsg_type == UDP_GRO) {
			memcpy(&size, CMSG_DATA(cmsg), sizeof(size));
			r->packet_size = size;
		}
		give_cmsg(to, room, cmsg);
	}
}

/* Ask with a control buffer of our own, ... */
static void call_begin(struct call *call, const struct msghdr *msg)
{
	call->msg = *msg;
	call->msg.msg_control = &call->control;
	call->msg.msg_controllen = sizeof(call->control);
}

/* ... and give the program what it would have got without us. */
static void call_end(struct call *call, struct msghdr *msg, size_t len,
		     int flags)
{
	struct received r = { 0 };
	size_t i, room = 0;

	for (i = 0; i < msg->msg_iovlen; i++)
		room += msg->msg_iov[i].iov_len;
	msg->msg_namelen = call->msg.msg_namelen;
	msg->msg_flags = call->msg.msg_flags;
	if (!msg->msg_control)
		msg->msg_controllen = 0;
	take_cmsgs(&call->msg, msg, &r);
	/* With MSG_TRUNC, the length may be more than there is. */
	if (!(flags & MSG_ERRQUEUE))
		take_packets(msg, len < room ? len : room, &r,
			     flags & MSG_PEEK);
}

static bool may_open(int fd)
{
	last_fd = fd;
	last_no_flow = false;
	return fd >= 0 && fd < MAX_SOCKETS && rx_sockets[fd];
}

ssize_t recvmsg(int fd, struct msghdr *msg, int flags)
{
	struct call call;
	ssize_t ret;

	if (!may_open(fd))
		return REAL(recvmsg)(fd, msg, flags);
	call_begin(&call, msg);
	ret = REAL(recvmsg)(fd, &call.msg, flags);
	if (ret < 0)
		return ret;
	pthread_mutex_lock(&lock);
	call_end(&call, msg, ret, flags);
	pthread_mutex_unlock(&lock);
	return ret;
}

/* At most MAX_MESSAGES at a time */
int recvmmsg(int fd, struct mmsghdr *vec, unsigned int n, int flags,
	     struct timespec *timeout)
{
	struct call calls[MAX_MESSAGES];
	struct mmsghdr copy[MAX_MESSAGES];
	int i, ret;

	if (!may_open(fd))
		return REAL(recvmmsg)(fd, vec, n, flags, timeout);
	if (n > MAX_MESSAGES)
		n = MAX_MESSAGES;
	for (i = 0; i < (int)n; i++) {
		call_begin(&calls[i], &vec[i].msg_hdr);
		copy[i].msg_hdr = calls[i].msg;
	}
	ret = REAL(recvmmsg)(fd, copy, n, flags, timeout);
	pthread_mutex_lock(&lock);
	for (i = 0; i < ret; i++) {
		calls[i].msg = copy[i].msg_hdr;
		vec[i].msg_len = copy[i].msg_len;
		call_end(&calls[i], &vec[i].msg_hdr, copy[i].msg_len, flags);
	}
	pthread_mutex_unlock(&lock);
	return ret;
}

/* Whatever gets this descriptor next has no flow. */
int close(int fd)
{
	if (fd >= 0 && fd < MAX_SOCKETS)
		rx_sockets[fd] = false;
	return REAL(close)(fd);
}

/* ----- packets, as ngtcp2 reads them ----- */

/* 0: not opened. -1: opened, but not for this connection, or too long ago */
static int feed_begin(struct conn *conn, const uint8_t *pkt, size_t len)
{
	struct opened_mark mark;
	const struct opened *o;

	feed.pkt = NULL;
	if (len < sizeof(mark) || pkt[0] & 0x80)
		return 0;
	memcpy(&mark, pkt + len - sizeof(mark), sizeof(mark));
	if (gnutls_memcmp(mark.secret, secret, sizeof(secret)))
		return 0;
	o = &opened[mark.seq % N_OPENED];
	if (!conn || o->seq != mark.seq || o->len != len ||
	    o->packet.flow_id != conn->flow_id)
		return -1;
	feed.pkt = pkt;
	feed.conn = conn;
	feed.packet = o->packet;
	return 1;
}

int ngtcp2_conn_read_pkt_versioned(ngtcp2_conn *ng, const ngtcp2_path *path,
				   int pkt_info_version,
				   const ngtcp2_pkt_info *pi,
				   const uint8_t *pkt, size_t pktlen,
				   ngtcp2_tstamp ts)
{
	struct conn *conn;
	int found, ret;

	pthread_mutex_lock(&lock);
	found = last_seq ? feed_begin(map_get(&conn_by_ng, ng), pkt, pktlen) : 0;
	stats.rx_stray_packets += found < 0;
	pthread_mutex_unlock(&lock);
	if (found < 0)
		return 0;

	authentic = false;
	ret = REAL(ngtcp2_conn_read_pkt_versioned)(ng, path, pkt_info_version,
						   pi, pkt, pktlen, ts);
	feed.pkt = NULL;
	if (ret || !pktlen)
		return ret;
	pthread_mutex_lock(&lock);
	conn = map_get(&conn_by_ng, ng);
	if (conn)
		rx_follow(conn, pkt, pktlen, found);
	pthread_mutex_unlock(&lock);
	return 0;
}

/* Is this the sample of a packet whose header is in the clear? */
bool rx_zero_mask(const uint8_t *sample)
{
	return feed.pkt && sample == feed.pkt + 1 +
				     feed.packet.conn_id_length + SAMPLE_OFFSET;
}

/* Is this the payload of a packet that is in the clear? */
bool rx_is_open(const uint8_t *payload)
{
	return feed.pkt && payload == feed.pkt + 1 +
				      feed.packet.conn_id_length +
				      feed.packet.pkt_num_length;
}

/* ngtcp2 has opened a packet of @key, one way or the other. */
static void advance(const struct key *key, uint64_t number)
{
	struct conn *conn = key->conn;

	authentic = true;
	if (number >= conn->rx_next)
		conn->rx_next = number + 1;
	if (key->gen > conn->rx_current)
		conn->rx_current = key->gen;
}

/* The kernel has opened the packet; has ngtcp2 come to the same key and number?
 * If not, the packet is one that does not open.
 */
int rx_take(uint8_t *dest, const ngtcp2_crypto_aead_ctx *ctx,
	    const uint8_t *payload, size_t len, const uint8_t *nonce)
{
	const struct key *key;
	bool same;

	pthread_mutex_lock(&lock);
	key = map_get(&key_by_handle, ctx->native_handle);
	same = key && key->side == &feed.conn->rx && len >= QUIC_TAG_SIZE &&
	       (uint8_t)key->gen == feed.packet.key_gen &&
	       key_number(key, nonce) == feed.packet.pkt_num;
	if (same) {
		advance(key, feed.packet.pkt_num);
		stats.rx_used_packets++;
	} else {
		stats.rx_refused_packets++;
	}
	pthread_mutex_unlock(&lock);
	if (!same)
		return NGTCP2_ERR_DECRYPT;
	memmove(dest, payload, len - QUIC_TAG_SIZE);
	return 0;
}

/* The library has opened a packet itself, or has failed to. */
void rx_note(const ngtcp2_crypto_aead_ctx *ctx, const uint8_t *nonce,
	     bool opened)
{
	const struct key *key;

	pthread_mutex_lock(&lock);
	key = map_get(&key_by_handle, ctx->native_handle);
	if (key && key->side == &key->conn->rx) {
		if (opened)
			advance(key, key_number(key, nonce));
		stats.rx_library_packets += opened;
		stats.rx_failed_packets += !opened;
	}
	pthread_mutex_unlock(&lock);
}
