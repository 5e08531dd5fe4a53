// SPDX-License-Identifier: GPL-2.0
/*
 * What the tests of QUIC reception share. Packets are sealed by libcrypto and
 * sent by plain sockets.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "quic_rx_util.h"

/* Buffers for multishot requests: header, control messages, data */
static _Alignas(16) uint8_t ring_buf[RING_POOL][RING_CONTROL + 72 * 1024];

/* A receiver's flow is found by connection ID and peer, with a flow_id, too. */
void rx_key(const struct flow *f, struct quic_connection_info_key *key)
{
	memset(key, 0, sizeof(*key));
	key->flow_id = f->id;
	key->path_id = f->path;
	memcpy(key->conn_id + sizeof(key->conn_id) - f->cid_len, f->cid,
	       f->cid_len);
	key->conn_id_length = f->cid_len;
	memcpy(&key->peer, &f->dst, sizeof(key->peer));
}

/* What the kernel must not look at is not zero. */
void rx_fill_info(const struct flow *f, uint64_t next,
		  struct quic_connection_info *ci)
{
	flow_info(f, ci);
	rx_key(f, &ci->key);
	ci->next_pkt_num = next;
}

static int rx_setsockopt(int fd, int opt, const void *val, size_t len)
{
	return setsockopt(fd, SOL_UDP, opt, val, len) ? -errno : 0;
}

int rx_add(int fd, const struct flow *f)
{
	return rx_add_next(fd, f, 0);
}

/* @next: largest number received so far plus one */
int rx_add_next(int fd, const struct flow *f, uint64_t next)
{
	struct quic_connection_info ci;

	rx_fill_info(f, next, &ci);
	return rx_setsockopt(fd, UDP_QUIC_ADD_RX_CONNECTION, &ci, sizeof(ci));
}

/* The connection ID and the peer of @f for the flow that has its id */
static int rx_alias(int fd, int opt, const struct flow *f)
{
	struct quic_connection_info ci;

	memset(&ci, 0xa5, sizeof(ci));
	rx_key(f, &ci.key);
	ci.key.flags = QUIC_CONN_ALIAS;
	return rx_setsockopt(fd, opt, &ci, sizeof(ci));
}

int rx_add_alias(int fd, const struct flow *f)
{
	return rx_alias(fd, UDP_QUIC_ADD_RX_CONNECTION, f);
}

int rx_del_alias(int fd, const struct flow *f)
{
	return rx_alias(fd, UDP_QUIC_DEL_RX_CONNECTION, f);
}

int rx_del(int fd, const struct flow *f)
{
	struct quic_connection_info ci;

	memset(&ci, 0xa5, sizeof(ci));
	rx_key(f, &ci.key);
	return rx_setsockopt(fd, UDP_QUIC_DEL_RX_CONNECTION, &ci, sizeof(ci));
}

/* Removes the keys of one generation. */
int rx_del_gen(int fd, const struct flow *f)
{
	struct quic_connection_info ci;

	memset(&ci, 0xa5, sizeof(ci));
	rx_key(f, &ci.key);
	ci.key.flags = QUIC_CONN_GENERATION;
	ci.conn_payload_key_gen = f->gen;
	return rx_setsockopt(fd, UDP_QUIC_DEL_RX_CONNECTION, &ci, sizeof(ci));
}

int rx_del_all(int fd)
{
	struct quic_connection_info_key key = { .flags = QUIC_CONN_ALL };

	return rx_setsockopt(fd, UDP_QUIC_DEL_RX_CONNECTION, &key, sizeof(key));
}

int rx_state(int fd, const struct flow *f, struct quic_info *info)
{
	socklen_t len = sizeof(*info);

	memset(info, 0, sizeof(*info));
	rx_key(f, &info->key);
	info->key.flags = QUIC_CONN_RX;
	if (getsockopt(fd, SOL_UDP, UDP_QUIC_INFO, info, &len))
		return -errno;
	return len == sizeof(*info) ? 0 : -EMSGSIZE;
}

/* @gso: size of the packets, 0 for a single one */
ssize_t wire_send(int fd, const struct sockaddr_storage *to, const void *buf,
		  size_t len, unsigned int gso)
{
	struct iovec iov = { (void *)buf, len };
	struct msghdr msg = {
		.msg_name = (void *)to,
		.msg_namelen = to ? addr_len(to) : 0,
		.msg_iov = &iov,
		.msg_iovlen = 1,
	};
	uint64_t control[CMSG_SPACE(sizeof(uint16_t)) / sizeof(uint64_t)] = {};
	struct cmsghdr *cmsg = (void *)control;
	uint16_t size = gso;
	ssize_t ret;

	if (gso) {
		cmsg->cmsg_level = SOL_UDP;
		cmsg->cmsg_type = UDP_SEGMENT;
		cmsg->cmsg_len = CMSG_LEN(sizeof(size));
		memcpy(CMSG_DATA(cmsg), &size, sizeof(size));
		msg.msg_control = control;
		msg.msg_controllen = sizeof(control);
	}
	ret = sendmsg(fd, &msg, 0);
	return ret < 0 ? -errno : ret;
}

ssize_t wire_batch(int fd, const struct sockaddr_storage *to,
		   const struct batch *b)
{
	const struct pkt *last = &b->pkt[b->n - 1];
	size_t len = wire_off(b, b->n - 1) + last->len;

	return wire_send(fd, to, b->wire, len, b->n > 1 ? b->size : 0);
}

size_t wire_off(const struct batch *b, unsigned int i)
{
	return i * b->size;
}

void want_init(struct want *w)
{
	unsigned int i;

	for (i = 0; i < MAX_PKTS; i++) {
		w->status[i] = QUIC_RX_OPENED;
		w->gen[i] = -1;
	}
}

/* Compares @got with what must come of @wire; returns where they differ. */
const char *rx_differs(const struct pkt *p, const uint8_t *wire,
		       const uint8_t *got, uint8_t status)
{
	static uint8_t plain[MAX_CALL];
	size_t hdr = pkt_hdr_len(p);

	if (status != QUIC_RX_OPENED && status != QUIC_RX_KEY_PHASE)
		return memcmp(wire, got, p->len) ? "wire" : NULL;
	pkt_plain(p, plain);
	if (memcmp(plain, got, hdr))
		return "header";
	if (status == QUIC_RX_KEY_PHASE)
		return memcmp(wire + hdr, got + hdr, p->len - hdr) ?
		       "ciphertext" : NULL;
	return memcmp(plain + hdr, got + hdr, p->len - TAG - hdr) ?
	       "plaintext" : NULL;
}

void rx_init(struct rx *rx, int fd)
{
	rx->fd = fd;
	rx->flags = MSG_DONTWAIT;
	rx->size = sizeof(rx->buf);
	rx->room = sizeof(rx->control);
}

/* What a call does not write must be seen as such. */
void rx_msg(struct rx *rx, struct msghdr *msg)
{
	memset(rx->buf, 0xee, sizeof(rx->buf));
	memset(rx->control, 0xee, sizeof(rx->control));
	memset(rx->pkt, 0xee, sizeof(rx->pkt));
	memset(&rx->from, 0, sizeof(rx->from));
	rx->iov.iov_base = rx->buf;
	rx->iov.iov_len = rx->size;
	memset(msg, 0, sizeof(*msg));
	msg->msg_name = &rx->from;
	msg->msg_namelen = sizeof(rx->from);
	msg->msg_iov = &rx->iov;
	msg->msg_iovlen = 1;
	msg->msg_control = rx->room ? rx->control : NULL;
	msg->msg_controllen = rx->room;
}

static void rx_parse_cmsg(struct rx *rx, struct cmsghdr *cmsg)
{
	size_t len = cmsg->cmsg_len - CMSG_LEN(0);

	if (cmsg->cmsg_level != SOL_UDP)
		return;
	if (cmsg->cmsg_type == UDP_GRO)
		memcpy(&rx->gro, CMSG_DATA(cmsg), sizeof(rx->gro));
	if (cmsg->cmsg_type != UDP_QUIC_DECRYPT)
		return;
	/* Twice, or not whole elements: neither must ever be. */
	if (rx->elems >= 0 || len % sizeof(rx->pkt[0]) ||
	    len > sizeof(rx->pkt)) {
		rx->elems = MAX_PKTS + 1;
		return;
	}
	rx->elems = len / sizeof(rx->pkt[0]);
	memcpy(rx->pkt, CMSG_DATA(cmsg), len);
}

void rx_parse(struct rx *rx, struct msghdr *msg, ssize_t ret)
{
	struct cmsghdr *cmsg;

	rx->ret = ret;
	rx->msg_flags = msg->msg_flags;
	rx->elems = -1;
	rx->gro = 0;
	if (ret < 0)
		return;
	for (cmsg = CMSG_FIRSTHDR(msg); cmsg; cmsg = CMSG_NXTHDR(msg, cmsg))
		rx_parse_cmsg(rx, cmsg);
}

ssize_t rx_call(struct rx *rx)
{
	struct msghdr msg;
	ssize_t ret;

	rx_msg(rx, &msg);
	ret = recvmsg(rx->fd, &msg, rx->flags);
	rx_parse(rx, &msg, ret < 0 ? -errno : ret);
	return rx->ret;
}

int rx_wait(int fd, int timeout_ms)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };

	return poll(&pfd, 1, timeout_ms) == 1 && pfd.revents & POLLIN ?
	       0 : -EAGAIN;
}

int ring_open(struct ring *ring)
{
	struct io_uring_params p = {};
	size_t size, cq_size;
	char *sq, *cq;

	ring->fd = syscall(__NR_io_uring_setup, 8, &p);
	if (ring->fd < 0)
		return -errno;
	size = p.sq_off.array + p.sq_entries * sizeof(unsigned int);
	cq_size = p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe);
	sq = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd,
		  IORING_OFF_SQ_RING);
	cq = mmap(NULL, cq_size, PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd,
		  IORING_OFF_CQ_RING);
	ring->sqes = mmap(NULL, p.sq_entries * sizeof(struct io_uring_sqe),
			  PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd,
			  IORING_OFF_SQES);
	if (sq == MAP_FAILED || cq == MAP_FAILED || ring->sqes == MAP_FAILED)
		return -errno;
	ring->sq_tail = (void *)(sq + p.sq_off.tail);
	ring->sq_mask = (void *)(sq + p.sq_off.ring_mask);
	ring->sq_array = (void *)(sq + p.sq_off.array);
	ring->cq_head = (void *)(cq + p.cq_off.head);
	ring->cq_tail = (void *)(cq + p.cq_off.tail);
	ring->cq_mask = (void *)(cq + p.cq_off.ring_mask);
	ring->cqes = (void *)(cq + p.cq_off.cqes);
	return 0;
}

struct io_uring_sqe *ring_sqe(struct ring *ring)
{
	unsigned int i = *ring->sq_tail & *ring->sq_mask;

	memset(&ring->sqes[i], 0, sizeof(ring->sqes[i]));
	ring->sq_array[i] = i;
	__atomic_store_n(ring->sq_tail, *ring->sq_tail + 1, __ATOMIC_RELEASE);
	return &ring->sqes[i];
}

/* Submits @n requests and waits for as many results as @wait says. */
int ring_enter(struct ring *ring, unsigned int n, unsigned int wait)
{
	return syscall(__NR_io_uring_enter, ring->fd, n, wait,
		       IORING_ENTER_GETEVENTS, NULL, 0) < 0 ? -errno : 0;
}

int ring_result(struct ring *ring, struct io_uring_cqe *cqe)
{
	unsigned int head = *ring->cq_head;

	if (head == __atomic_load_n(ring->cq_tail, __ATOMIC_ACQUIRE))
		return -ENODATA;
	*cqe = ring->cqes[head & *ring->cq_mask];
	__atomic_store_n(ring->cq_head, head + 1, __ATOMIC_RELEASE);
	return 0;
}

/* Gives @n buffers of the pool to the kernel, from @first on. */
int ring_pool(struct ring *ring, unsigned int first, unsigned int n)
{
	struct io_uring_sqe *sqe = ring_sqe(ring);

	sqe->opcode = IORING_OP_PROVIDE_BUFFERS;
	/* Only a failure has a result. */
	sqe->flags = IOSQE_CQE_SKIP_SUCCESS;
	sqe->fd = n;
	sqe->addr = (uintptr_t)ring_buf[first];
	sqe->len = sizeof(ring_buf[0]);
	sqe->off = first;
	return ring_enter(ring, 1, 0);
}

/* One request, many datagrams; the kernel chooses buffers from the pool. @msg
 * has the size of the control buffer, and has to stay.
 */
int ring_multishot(struct ring *ring, int fd, const struct msghdr *msg)
{
	struct io_uring_sqe *sqe = ring_sqe(ring);

	sqe->opcode = IORING_OP_RECVMSG;
	sqe->flags = IOSQE_BUFFER_SELECT;
	sqe->ioprio = IORING_RECV_MULTISHOT;
	sqe->fd = fd;
	sqe->addr = (uintptr_t)msg;
	sqe->len = 1;
	return ring_enter(ring, 1, 0);
}

/* Takes apart what is in a buffer of the pool, behind the header, where there
 * is no room for a name.
 */
void ring_parse(struct rx *rx, unsigned int idx)
{
	const struct io_uring_recvmsg_out *out = (const void *)ring_buf[idx];
	const uint8_t *data = ring_buf[idx] + sizeof(*out);
	struct msghdr msg = {
		.msg_control = rx->control,
		.msg_controllen = out->controllen,
		.msg_flags = out->flags,
	};

	memcpy(rx->control, data, RING_CONTROL);
	memcpy(rx->buf, data + RING_CONTROL, out->payloadlen);
	rx_parse(rx, &msg, out->payloadlen);
}

int rx_counters_read(struct rx_counters *c)
{
	static const char * const names[NR_RX_COUNTERS] = {
		[CURR_RX_SW]	= "QuicCurrRxSw",
		[RX_SW]		= "QuicRxSw",
		[RX_SW_PACKETS]	= "QuicRxSwPackets",
		[RX_SW_BYTES]	= "QuicRxSwBytes",
		[DECRYPT_ERROR]	= "QuicDecryptError",
		[RX_NO_FLOW]	= "QuicRxNoFlow",
		[RX_KEY_PHASE]	= "QuicRxKeyPhase",
		[RX_MALFORMED]	= "QuicRxMalformed",
		[RX_KEY_LIMIT]	= "QuicRxKeyLimit",
		[RX_NO_ROOM]	= "QuicRxNoRoom",
		[RX_DROPPED]	= "QuicRxDropped",
	};
	unsigned int i, seen = 0;
	unsigned long v;
	char name[33];
	FILE *f;

	f = fopen("/proc/self/net/quic_stat", "r");
	if (!f)
		return -errno;
	while (fscanf(f, "%32s %lu", name, &v) == 2) {
		for (i = 0; i < NR_RX_COUNTERS && strcmp(name, names[i]); i++)
			;
		if (i < NR_RX_COUNTERS) {
			c->v[i] = v;
			seen |= 1 << i;
		}
	}
	fclose(f);
	return seen == (1 << NR_RX_COUNTERS) - 1 ? 0 : -ENOENT;
}

/* Returns NULL when the kernel opens packets, else what it lacks. */
const char *quic_rx_missing(void)
{
	const char *missing = quic_missing();
	struct quic_info info;
	int fd, err;

	if (missing)
		return missing;
	fd = sock_udp(AF_INET);
	err = flow_state(fd, NULL, &info);
	close(fd);
	if (err)
		return strerror(-err);
	return info.directions & QUIC_INFO_RX ? NULL :
	       "the kernel does not open QUIC packets";
}
