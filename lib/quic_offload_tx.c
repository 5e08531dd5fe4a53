// SPDX-License-Identifier: GPL-2.0
/*
 * quic_offload.so: packets that the program sends. See quic_offload.c.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "quic_offload.h"

#define PN_LIMIT	(1ULL << 43)	/* what fits into a mark */

/* Written where the tag will be. */
struct mark {
	uint32_t magic;		/* random, one per process */
	uint32_t key_id;
	uint64_t packet;	/* number << 21 | CID length << 16 | length */
};

_Static_assert(sizeof(struct mark) == QUIC_TAG_SIZE, "a mark fits the tag");

/* A packet with a mark, found in a buffer. */
struct packet {
	struct key *key;
	uint8_t *start;
	size_t len;
	uint64_t number;
	size_t cid_len;
};

static uint32_t magic;
static bool seen_sendmsg;
static bool any_left;

static __thread uint8_t bounce[MAX_DGRAM];

/* Called once, before any key is known: false if nothing can be marked. */
bool tx_init(void)
{
	return getrandom(&magic, sizeof(magic), 0) == sizeof(magic);
}

/* Leave the packet as it is, for sendmsg() to deal with? */
bool tx_leave(uint8_t *dest, const ngtcp2_crypto_aead_ctx *ctx,
	      const uint8_t *plain, size_t plain_len, const uint8_t *nonce,
	      const uint8_t *aad, size_t aad_len)
{
	size_t len = aad_len + plain_len + QUIC_TAG_SIZE;
	size_t pn_len = (aad[0] & 3) + 1;
	struct mark mark;
	uint64_t number;
	struct key *key;
	bool ret = false;

	pthread_mutex_lock(&lock);
	key = map_get(&key_by_handle, ctx->native_handle);
	if (!key)
		goto out;
	number = key_number(key, nonce);
	ret = seen_sendmsg && !key->side->off && !key->expired &&
	      ngtcp2_conn_get_handshake_completed(key->conn->ng) &&
	      dest == aad + aad_len && len <= MAX_DGRAM &&
	      aad_len > pn_len && number < PN_LIMIT &&
	      aad_len - 1 - pn_len <= QUIC_MAX_CONNECTION_ID_SIZE;
	key->conn->left = ret;
	if (!ret) {
		stats.library_packets++;
		goto out;
	}
	mark.magic = magic;
	mark.key_id = key->id;
	mark.packet = number << 21 | (aad_len - 1 - pn_len) << 16 | len;
	if (dest != plain)
		memmove(dest, plain, plain_len);
	memcpy(dest + plain_len, &mark, sizeof(mark));
	any_left = true;
out:
	pthread_mutex_unlock(&lock);
	return ret;
}

/* ngtcp2 asks for the mask of a packet right after having it encrypted. */
bool tx_zero_mask(const ngtcp2_crypto_cipher_ctx *hp_ctx)
{
	struct conn *conn;
	bool left;

	pthread_mutex_lock(&lock);
	conn = map_get(&conn_by_hp, hp_ctx->native_handle);
	left = conn && conn->left;
	pthread_mutex_unlock(&lock);
	return left;
}

/* 0: no mark, sealed or none of our business. -1: ours, and beyond use. */
static int find_mark(uint8_t *data, size_t len, struct packet *pkt)
{
	struct mark mark;

	if (len < sizeof(mark))
		return 0;
	memcpy(&mark, data + len - sizeof(mark), sizeof(mark));
	if (mark.magic != magic)
		return 0;
	pkt->key = map_get(&key_by_id, id_key(mark.key_id));
	pkt->number = mark.packet >> 21;
	pkt->cid_len = mark.packet >> 16 & 0x1f;
	pkt->len = mark.packet & 0xffff;
	pkt->start = data + len - pkt->len;
	if (!pkt->key || pkt->len > len ||
	    pkt->cid_len > QUIC_MAX_CONNECTION_ID_SIZE ||
	    pkt->len < pkt->cid_len + 5 + QUIC_TAG_SIZE ||
	    pkt->start[0] & 0x80)
		return -1;
	return 1;
}

/* What the kernel would have done, RFC 9001 sections 5.3 and 5.4 */
static int seal(const struct packet *pkt)
{
	const struct conn *conn = pkt->key->conn;
	size_t pn_len = (pkt->start[0] & 3) + 1;
	size_t hdr_len = 1 + pkt->cid_len + pn_len;
	uint8_t *pn = pkt->start + 1 + pkt->cid_len;
	uint8_t nonce[QUIC_MAX_IV_SIZE];
	uint8_t mask[NGTCP2_HP_SAMPLELEN];
	size_t i;

	memcpy(nonce, pkt->key->iv, sizeof(nonce));
	for (i = 0; i < 8; i++)
		nonce[sizeof(nonce) - 1 - i] ^= pkt->number >> (8 * i);
	if (ngtcp2_crypto_encrypt(pkt->start + hdr_len, &conn->aead,
				  &pkt->key->ctx, pkt->start + hdr_len,
				  pkt->len - hdr_len - QUIC_TAG_SIZE,
				  nonce, sizeof(nonce), pkt->start, hdr_len))
		return -1;
	if (REAL(ngtcp2_crypto_hp_mask)(mask, &conn->hp, &conn->tx.hp_ctx,
					pn + 4))
		return -1;
	pkt->start[0] ^= mask[0] & 0x1f;
	for (i = 0; i < pn_len; i++)
		pn[i] ^= mask[1 + i];
	return 0;
}

/* The same for all descriptors of a socket, 0 for none */
static uint64_t socket_cookie(int fd)
{
	socklen_t len = sizeof(uint64_t);
	uint64_t cookie;

	if (getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &len))
		return 0;
	return cookie;
}

/* Does the socket of @fd have the flow by another descriptor? Use @fd for the
 * flow from now on if that one was closed.
 */
static bool flow_is_there(struct side *tx, int fd)
{
	if (tx->sock.fd < 0 || !tx->cookie || socket_cookie(fd) != tx->cookie)
		return false;
	if (socket_cookie(tx->sock.fd) != tx->cookie)
		tx->sock.fd = fd;
	return true;
}

/*
 * Let the kernel have the key of a packet, on this socket. If the connection
 * moves to another socket, the key is there before it leaves the old one: to
 * the kernel it stays one key, with one record of packet numbers.
 */
static int flow_move(const struct packet *pkt, int fd)
{
	struct qk_keys keys = key_keys(pkt->key);
	struct conn *conn = pkt->key->conn;
	struct side *tx = pkt->key->side;
	struct qk_socket sock;
	int err;

	err = qk_attach(&sock, fd);
	if (!err)
		err = qk_tx_add(&sock, conn->flow_id, &keys);
	if (err)
		return err;
	flow_del(conn, tx);
	tx->sock = sock;
	tx->cookie = socket_cookie(fd);
	tx->first = pkt->key->gen;
	tx->last = pkt->key->gen;
	stats.flows++;
	return 0;
}

static int flow_get(const struct packet *pkt, int fd)
{
	struct side *tx = pkt->key->side;
	bool there = tx->sock.fd == fd || flow_is_there(tx, fd);
	int err = 0;

	if (there)
		err = flow_keep(pkt->key->conn, tx);
	/* Another socket has the descriptor now? */
	if (!there || tx->sock.fd < 0) {
		err = flow_move(pkt, fd);
		if (!err)
			err = flow_sync(tx);
	}
	/* The kernel keeps two generations. */
	if (!err && (pkt->key->gen < tx->first || pkt->key->gen + 1 < tx->last))
		err = -ENOKEY;
	return err;
}

/* Seal in a copy whatever has a mark, and send that. Called locked. */
static ssize_t send_user(int fd, const struct msghdr *msg, int flags,
			 const uint8_t *data, size_t len, size_t gso)
{
	struct iovec iov = { .iov_base = bounce, .iov_len = len };
	struct msghdr copy = *msg;
	unsigned int n = 0;
	ssize_t ret;
	size_t off;

	if (data != bounce)
		memcpy(bounce, data, len);
	for (off = 0; off < len; off += gso) {
		struct packet pkt;
		int found;

		found = find_mark(bounce + off,
				  len - off < gso ? len - off : gso, &pkt);
		if (found < 0 || (found && seal(&pkt))) {
			stats.dropped_packets++;
			pthread_mutex_unlock(&lock);
			return len;
		}
		n += found;
	}
	pthread_mutex_unlock(&lock);

	copy.msg_iov = &iov;
	copy.msg_iovlen = 1;
	ret = REAL(sendmsg)(fd, &copy, flags);
	if (ret >= 0) {
		stats.fallback_calls++;
		stats.fallback_packets += n;
	}
	return ret;
}

/* Size of the datagrams that the call makes out of its data */
static size_t gso_size(int fd, const struct msghdr *msg, size_t len)
{
	struct cmsghdr *cmsg;
	socklen_t opt_len = sizeof(int);
	uint16_t size;
	int val = 0;

	for (cmsg = CMSG_FIRSTHDR(msg); cmsg;
	     cmsg = CMSG_NXTHDR((struct msghdr *)msg, cmsg)) {
		if (cmsg->cmsg_level != SOL_UDP ||
		    cmsg->cmsg_type != UDP_SEGMENT)
			continue;
		memcpy(&size, CMSG_DATA(cmsg), sizeof(size));
		return size ? size : len;
	}
	if (getsockopt(fd, SOL_UDP, UDP_SEGMENT, &val, &opt_len) || val <= 0)
		return len;
	return val;
}

/* The data in one piece, as packets may straddle the pieces. */
static uint8_t *one_piece(const struct msghdr *msg, size_t *len)
{
	size_t i, off = 0;

	for (i = 0, *len = 0; i < msg->msg_iovlen; i++)
		*len += msg->msg_iov[i].iov_len;
	if (*len > MAX_DGRAM)	/* no datagram, sendmsg() will say so */
		return NULL;
	if (msg->msg_iovlen == 1)
		return msg->msg_iov[0].iov_base;
	for (i = 0; i < msg->msg_iovlen; i++) {
		memcpy(bounce + off, msg->msg_iov[i].iov_base,
		       msg->msg_iov[i].iov_len);
		off += msg->msg_iov[i].iov_len;
	}
	return bounce;
}

/* What a call of sendmsg() sends */
struct batch {
	uint8_t *data;
	size_t len, gso;
	size_t n, n_marked;	/* packets */
	struct packet first;	/* with a mark */
	bool same;		/* one key, one connection ID, in order */
};

/* Look for marks. -1: there is one beyond use. */
static int batch_parse(struct batch *b)
{
	uint64_t expected = 0;
	struct packet pkt;
	size_t off;
	int found;

	b->same = true;
	for (off = 0; off < b->len; off += b->gso, b->n++) {
		found = find_mark(b->data + off, b->len - off < b->gso ?
						 b->len - off : b->gso, &pkt);
		if (found < 0)
			return -1;
		if (!found)
			continue;
		if (!b->n_marked++)
			b->first = pkt;
		/* Nothing may stand before the packet, either. */
		if (pkt.key != b->first.key || pkt.start != b->data + off ||
		    pkt.number < expected || pkt.cid_len != b->first.cid_len ||
		    memcmp(pkt.start + 1, b->first.start + 1, pkt.cid_len))
			b->same = false;
		expected = pkt.number + 1;
	}
	return 0;
}

static void count_sent(const struct batch *b)
{
	stats.kernel_calls++;
	stats.kernel_packets += b->n;
	stats.kernel_bytes += b->len;
	if (b->n > stats.kernel_max_batch)
		stats.kernel_max_batch = b->n;
}

/*
 * The kernel has sealed packets. With the first of a generation, the generation
 * before is not needed there any more: what comes late is sealed here.
 */
static void tx_retire(const struct key *key)
{
	struct side *tx = key->side;

	if (key->gen <= tx->first || tx->sock.fd < 0)
		return;
	if (!qk_tx_retire(&tx->sock, key->conn->flow_id, key->gen - 1))
		stats.retired_keys++;
	tx->first = key->gen;
}

/* Has another thread retired the key, while this one was sending with it? */
static bool is_retired(const struct key *key)
{
	return key->gen < key->side->first;
}

enum what_next { AGAIN, SEAL, PASS_ON };

/*
 * Nothing was sent. What is about sealing is dealt with here; anything else is
 * what the program would have met without us.
 */
static enum what_next refused(struct packet *pkt, int err, bool retried)
{
	enum qk_todo todo = qk_send_todo(-err, retried);

	/* Another socket has the descriptor now, one without the ULP? */
	if (err == EINVAL && !retried)
		todo = QK_INSTALL;
	switch (todo) {
	case QK_INSTALL:
		flow_del(pkt->key->conn, pkt->key->side);
		return AGAIN;
	case QK_LIBRARY:
		give_up(pkt->key->side, err);
		return SEAL;
	case QK_COUNT_SENT:	/* sent again: the same bytes, sealed alike */
		return SEAL;
	case QK_UPDATE:		/* only ngtcp2 could do that */
		pkt->key->expired = true;
		return SEAL;
	default:
		stats.refused_calls++;
		return PASS_ON;
	}
}

/* Give the kernel the keys of a batch, if it needs them, and make the call. */
static int batch_prepare(struct packet *first, int fd, const struct msghdr *msg,
			 struct qk_tx_call *call)
{
	struct qk_batch batch = {
		.number = first->number,
		.flow_id = first->key->conn->flow_id,
		.cid_len = first->cid_len,
	};
	int err;

	err = flow_get(first, fd);
	if (!err)
		err = qk_send_prepare(call, &first->key->side->sock, &batch,
				      msg);
	/* Not now: that is for the next packets to try. */
	if (err && err != -ENOKEY && qk_add_todo(err) != QK_RETRY)
		give_up(first->key->side, -err);
	return err;
}

/* Is the first packet of the batch what it was? Its connection may have gone
 * while it was sent.
 */
static bool batch_is_ours(struct batch *b)
{
	return find_mark(b->data, b->n > 1 ? b->gso : b->len, &b->first) > 0;
}

/* Let the kernel seal, and do it here if it will not. Called locked. */
static ssize_t send_batch(int fd, const struct msghdr *msg, int flags,
			  struct batch *b)
{
	struct packet *first = &b->first;
	enum what_next what = AGAIN;
	struct qk_tx_call call;
	int n_tries = 0, err;
	ssize_t ret;
	bool ours;

	while (what == AGAIN) {
		err = batch_prepare(first, fd, msg, &call);
		if (err)
			break;
		pthread_mutex_unlock(&lock);

		ret = REAL(sendmsg)(fd, &call.msg, flags);
		err = errno;
		pthread_mutex_lock(&lock);
		ours = batch_is_ours(b);
		if (ret >= 0) {
			count_sent(b);
			if (ours)
				tx_retire(first->key);
			pthread_mutex_unlock(&lock);
			return ret;
		}
		if (!ours)
			err = ECONNABORTED;
		if (ours && err == ENOKEY && is_retired(first->key))
			what = SEAL;
		else
			what = refused(first, err, n_tries++);
	}
	if (what != PASS_ON)
		return send_user(fd, msg, flags, b->data, b->len, b->gso);
	pthread_mutex_unlock(&lock);
	errno = err;
	return -1;
}

ssize_t sendmsg(int fd, const struct msghdr *msg, int flags)
{
	struct batch b = { 0 };

	seen_sendmsg = true;
	if (!any_left)
		return REAL(sendmsg)(fd, msg, flags);
	b.data = one_piece(msg, &b.len);
	if (!b.data || !b.len)
		return REAL(sendmsg)(fd, msg, flags);
	b.gso = gso_size(fd, msg, b.len);

	pthread_mutex_lock(&lock);
	if (batch_parse(&b)) {
		stats.dropped_packets++;
		pthread_mutex_unlock(&lock);
		return b.len;
	}
	if (!b.n_marked) {
		pthread_mutex_unlock(&lock);
		return REAL(sendmsg)(fd, msg, flags);
	}
	if (!b.same || b.n_marked != b.n ||
	    msg->msg_controllen > QK_MAX_CONTROL ||
	    b.first.key->expired || b.first.key->side->off)
		return send_user(fd, msg, flags, b.data, b.len, b.gso);
	return send_batch(fd, msg, flags, &b);
}

/* No other way out for a packet that was left unsealed. */
ssize_t sendto(int fd, const void *buf, size_t len, int flags,
	       const struct sockaddr *addr, socklen_t addr_len)
{
	struct iovec iov = { .iov_base = (void *)buf, .iov_len = len };
	struct msghdr msg = {
		.msg_name = (void *)addr,
		.msg_namelen = addr ? addr_len : 0,
		.msg_iov = &iov,
		.msg_iovlen = 1,
	};

	if (!any_left)
		return REAL(sendto)(fd, buf, len, flags, addr, addr_len);
	return sendmsg(fd, &msg, flags);
}

ssize_t send(int fd, const void *buf, size_t len, int flags)
{
	return sendto(fd, buf, len, flags, NULL, 0);
}

int sendmmsg(int fd, struct mmsghdr *vec, unsigned int n, int flags)
{
	unsigned int i;
	ssize_t ret;

	if (!any_left)
		return REAL(sendmmsg)(fd, vec, n, flags);
	for (i = 0; i < n; i++) {
		ret = sendmsg(fd, &vec[i].msg_hdr, flags);
		if (ret < 0)
			return i ? (int)i : -1;
		vec[i].msg_len = ret;
	}
	return n;
}
