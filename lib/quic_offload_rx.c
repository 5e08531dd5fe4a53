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

#define MAX_MESSAGES	16	/* in one recvmmsg() */
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
	struct qk_packet packet;
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
	struct qk_packet packet;
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
		       struct qk_match *match)
{
	const ngtcp2_addr *peer = &ngtcp2_conn_get_path(conn->ng)->remote;

	/* Only the address tells connections without an ID apart. */
	qk_match_init(match, cid->data, cid->datalen,
		      cid->datalen ? NULL : (const struct sockaddr *)peer->addr,
		      peer->addrlen);
}

/* The connection IDs that packets may carry, as matches */
static unsigned int wanted_matches(struct conn *conn,
				   struct qk_match *matches)
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

static bool match_in(const struct qk_match *match,
		     const struct qk_match *matches, unsigned int n)
{
	while (n--)
		if (!memcmp(match, &matches[n], sizeof(*match)))
			return true;
	return false;
}

/* Let the kernel know the connection IDs that are new, and forget others. */
static void sync_matches(struct conn *conn)
{
	const struct qk_socket *sock = &conn->rx.sock;
	unsigned int i, n, kept = 0;
	struct qk_match want[N_MATCHES];

	n = wanted_matches(conn, want);
	for (i = 0; i < n; i++)
		if (match_in(&want[i], conn->matches, conn->n_matches) ||
		    !qk_rx_add_alias(sock, conn->flow_id, &want[i]))
			want[kept++] = want[i];
	for (i = 0; i < conn->n_matches; i++)
		if (!match_in(&conn->matches[i], want, kept))
			qk_rx_del_alias(sock, conn->flow_id,
					&conn->matches[i]);
	memcpy(conn->matches, want, kept * sizeof(want[0]));
	conn->n_matches = kept;
}

/* Add the flow: the current keys, the next ones, all connection IDs. */
static int rx_install(struct conn *conn, int fd)
{
	const struct key *key = conn->rx.keys[conn->rx_current % N_GENS];
	struct side *rx = &conn->rx;
	struct qk_socket sock;
	struct qk_keys keys;
	int err;

	if (!key || key->gen != conn->rx_current ||
	    !wanted_matches(conn, conn->matches))
		return -ENOKEY;
	rx_sockets[fd] = true;
	keys = key_keys(key);
	err = qk_attach(&sock, fd);
	if (!err)
		err = qk_rx_add(&sock, conn->flow_id, &conn->matches[0], &keys,
				conn->rx_next);
	if (err)
		return err;
	rx->sock = sock;
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
	int err = -EMLINK;

	rx_remove(conn);
	if (conn->rx_flows < MAX_FLOWS)
		err = rx_install(conn, fd);
	if (!err)
		return;
	rx_remove(conn);
	/* Not now: the next packet tries again. */
	if (qk_add_todo(err) != QK_RETRY)
		give_up(&conn->rx, -err);
}

/*
 * There is a key for the next generation. If the kernel does not take it, it
 * has not seen the last update, and gets the flow anew with the next packet.
 * ngtcp2 has dropped its previous key by now.
 */
void rx_update(struct conn *conn)
{
	struct side *rx = &conn->rx;

	if (rx->off || rx->sock.fd < 0)
		return;
	if (flow_sync(rx)) {
		rx_remove(conn);
		return;
	}
	if (rx->newest >= rx->first + 2)
		qk_rx_retire(&rx->sock, conn->flow_id, rx->newest - 2);
}

/* Has the kernel lost the flow? It ought to have known this packet. */
static bool rx_lost(const struct conn *conn, const uint8_t *pkt, size_t len)
{
	unsigned int i;

	for (i = 0; i < conn->n_matches; i++) {
		const struct qk_match *m = &conn->matches[i];

		if (m->cid_len && len > m->cid_len &&
		    !memcmp(pkt + 1, m->cid, m->cid_len))
			return true;
	}
	return false;
}

/*
 * ngtcp2 has read a packet: look where it came from, and how. Only an authentic
 * packet moves the flow: anybody can send the connection ID anywhere.
 */
static void rx_follow(struct conn *conn, const uint8_t *pkt, size_t len,
		      bool is_open)
{
	bool no_flow = !is_open && last_no_flow && !(pkt[0] & 0x80);
	struct side *rx = &conn->rx;

	if (!rx->direction || rx->off ||
	    last_fd < 0 || last_fd >= MAX_SOCKETS ||
	    !ngtcp2_conn_get_handshake_completed(conn->ng))
		return;
	if (rx->sock.fd < 0 ||
	    (authentic && (rx->sock.fd != last_fd || !rx_sockets[last_fd] ||
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

static void mark_opened(const struct msghdr *msg,
			const struct qk_packet *packet)
{
	struct opened_mark mark = { .seq = ++last_seq };
	struct opened *o = &opened[mark.seq % N_OPENED];

	o->seq = mark.seq;
	o->packet = *packet;
	memcpy(mark.secret, secret, sizeof(secret));
	msg_copy(msg, packet->offset + packet->length - sizeof(mark), &mark,
		 sizeof(mark), true);
}

/* The kernel has shown the header of a packet that it has no key for. To the
 * library the packet is to be what it was on the wire.
 */
static void hide_header(const struct msghdr *msg,
			const struct qk_packet *packet)
{
	struct conn *conn = map_get(&conn_by_flow, id_key(packet->flow_id));
	size_t pn = 1 + packet->cid_len, off = packet->offset;
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
	for (i = pn; i < packet->header_len; i++)
		buf[i] ^= mask[1 + i - pn];
	msg_copy(msg, off, buf, packet->header_len, true);
}

static void take_packet(const struct msghdr *msg,
			const struct qk_packet *packet, bool peek)
{
	if (!peek && packet->status <= QUIC_RX_NOT_TRIED)
		stats.rx_status[packet->status]++;
	switch (packet->status) {
	case QUIC_RX_OPENED:
		mark_opened(msg, packet);
		if (!peek)
			stats.rx_bytes += packet->length;
		break;
	case QUIC_RX_KEY_PHASE:
		hide_header(msg, packet);
		break;
	case QUIC_RX_NO_FLOW:
		last_no_flow = true;
		break;
	}
}

static void take_packets(const struct msghdr *msg,
			 const struct qk_rx_call *call, bool peek)
{
	unsigned long n = stats.rx_status[QUIC_RX_OPENED];
	struct qk_packet packet;
	unsigned int i;

	for (i = 0; i < call->n_elements && qk_recv_packet(call, i, &packet);
	     i++)
		take_packet(msg, &packet, peek);
	/* Another socket has the descriptor now? */
	if (!call->n_elements) {
		last_no_flow = true;
		stats.rx_no_element += !peek;
	}
	n = stats.rx_status[QUIC_RX_OPENED] - n;
	stats.rx_calls += !!n;
	if (n > stats.rx_max_batch)
		stats.rx_max_batch = n;
}

/* The kernel may have opened packets, and there was no room to say where they
 * end, so that none can be marked. Plaintext must not pass for ciphertext: what
 * the program gets is no packet.
 */
static void lose_packets(const struct msghdr *msg,
			 const struct qk_rx_call *call, bool peek)
{
	size_t i, n, left = call->length;

	for (i = 0; i < msg->msg_iovlen && left; i++, left -= n) {
		n = msg->msg_iov[i].iov_len < left ? msg->msg_iov[i].iov_len :
						     left;
		memset(msg->msg_iov[i].iov_base, 0, n);
	}
	if (!peek)
		stats.rx_lost_packets += call->n_elements;
}

/* Give the program what it would have got without us. */
static void call_end(struct qk_rx_call *call, struct msghdr *msg, size_t len,
		     int flags)
{
	bool peek = flags & MSG_PEEK;

	qk_recv_finish(call, msg, len);
	if (flags & MSG_ERRQUEUE)
		return;
	if (call->n_elements && !call->n_packets)
		lose_packets(msg, call, peek);
	else
		take_packets(msg, call, peek);
}

static bool may_open(int fd)
{
	last_fd = fd;
	last_no_flow = false;
	return fd >= 0 && fd < MAX_SOCKETS && rx_sockets[fd];
}

ssize_t recvmsg(int fd, struct msghdr *msg, int flags)
{
	char room[QK_RX_ROOM(QK_MAX_PACKETS)];
	struct qk_rx_call call;
	ssize_t ret;

	if (!may_open(fd))
		return REAL(recvmsg)(fd, msg, flags);
	qk_recv_prepare(&call, room, sizeof(room), msg);
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
	char rooms[MAX_MESSAGES][QK_RX_ROOM(QK_MAX_PACKETS)];
	struct qk_rx_call calls[MAX_MESSAGES];
	struct mmsghdr copy[MAX_MESSAGES];
	int i, ret;

	if (!may_open(fd))
		return REAL(recvmmsg)(fd, vec, n, flags, timeout);
	if (n > MAX_MESSAGES)
		n = MAX_MESSAGES;
	for (i = 0; i < (int)n; i++) {
		qk_recv_prepare(&calls[i], rooms[i], sizeof(rooms[i]),
				&vec[i].msg_hdr);
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
	if (!conn || o->seq != mark.seq || o->packet.length != len ||
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
	int found = 0, ret;

	pthread_mutex_lock(&lock);
	if (last_seq)
		found = feed_begin(map_get(&conn_by_ng, ng), pkt, pktlen);
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
	return feed.pkt && sample == feed.pkt + 1 + feed.packet.cid_len +
				     SAMPLE_OFFSET;
}

/* Is this the payload of a packet that is in the clear? */
bool rx_is_open(const uint8_t *payload)
{
	return feed.pkt && payload == feed.pkt + feed.packet.header_len;
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
	       key_number(key, nonce) == feed.packet.number;
	if (same) {
		advance(key, feed.packet.number);
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
