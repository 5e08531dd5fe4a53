/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the tests of QUIC reception share: flows of a receiver, calls of
 * recvmsg(), what must come of a packet, counters.
 */
#ifndef QUIC_RX_UTIL_H
#define QUIC_RX_UTIL_H

#include <linux/io_uring.h>

#include "quic_util.h"

#define NR_STATUS	(QUIC_RX_NOT_TRIED + 1)

/**
 * struct rx - a call of recvmsg(), and what it has returned
 * @fd: socket
 * @flags: of recvmsg
 * @size: bytes of @buf that the call may use
 * @room: bytes of @control that the call may use
 * @ret: what recvmsg() has returned, or a negative error
 * @msg_flags: of the message
 * @from: where the datagram came from
 * @elems: elements of the UDP_QUIC_DECRYPT cmsg, -1 if it is not there
 * @gro: data of the UDP_GRO cmsg, 0 if it is not there
 * @pkt: data of the UDP_QUIC_DECRYPT cmsg
 * @iov: points to @buf
 * @control: control buffer
 * @buf: data
 */
struct rx {
	int fd;
	int flags;
	size_t size;
	size_t room;
	ssize_t ret;
	int msg_flags;
	struct sockaddr_storage from;
	int elems;
	int gro;
	struct quic_rx_packet pkt[MAX_PKTS];
	struct iovec iov;
	uint64_t control[512];
	uint8_t buf[64 * 1024];
};

/**
 * struct want - what must come of a batch
 * @status: of each packet
 * @gen: generation that must open it, -1 for the flow's
 */
struct want {
	uint8_t status[MAX_PKTS];
	int gen[MAX_PKTS];
};

#define RING_POOL	8	/* buffers */
#define RING_CONTROL	2048

/**
 * struct ring - an io_uring, mapped
 * @fd: file
 * @sq_tail: number of the next request
 * @sq_mask: for indices of requests
 * @sq_array: indices of requests in the order of their submission
 * @cq_head: number of the next result
 * @cq_tail: number of the result that comes after the last one
 * @cq_mask: for indices of results
 * @sqes: requests
 * @cqes: results
 */
struct ring {
	int fd;
	unsigned int *sq_tail, *sq_mask, *sq_array, *cq_head, *cq_tail,
		     *cq_mask;
	struct io_uring_sqe *sqes;
	struct io_uring_cqe *cqes;
};

enum rx_counter {
	CURR_RX_SW,
	RX_SW,
	RX_SW_PACKETS,
	RX_SW_BYTES,
	DECRYPT_ERROR,
	RX_NO_FLOW,
	RX_KEY_PHASE,
	RX_MALFORMED,
	RX_KEY_LIMIT,
	RX_NO_ROOM,
	RX_DROPPED,
	NR_RX_COUNTERS
};

struct rx_counters {
	unsigned long v[NR_RX_COUNTERS];
};

/* Control buffers */
#define RX_ROOM(n)	CMSG_SPACE((n) * sizeof(struct quic_rx_packet))
#define RX_ROOM_GRO	CMSG_SPACE(sizeof(int))

/* Flows */
void rx_key(const struct flow *f, struct quic_connection_info_key *key);
void rx_fill_info(const struct flow *f, uint64_t next,
		  struct quic_connection_info *ci);
int rx_add(int fd, const struct flow *f);
int rx_add_next(int fd, const struct flow *f, uint64_t next);
int rx_add_alias(int fd, const struct flow *f);
int rx_del(int fd, const struct flow *f);
int rx_del_gen(int fd, const struct flow *f);
int rx_del_alias(int fd, const struct flow *f);
int rx_del_all(int fd);
int rx_state(int fd, const struct flow *f, struct quic_info *info);

/* Packets */
ssize_t wire_send(int fd, const struct sockaddr_storage *to, const void *buf,
		  size_t len, unsigned int gso);
ssize_t wire_batch(int fd, const struct sockaddr_storage *to,
		   const struct batch *b);
size_t wire_off(const struct batch *b, unsigned int i);
void want_init(struct want *w);
const char *rx_differs(const struct pkt *p, const uint8_t *wire,
		       const uint8_t *got, uint8_t status);

/* Calls */
void rx_init(struct rx *rx, int fd);
void rx_msg(struct rx *rx, struct msghdr *msg);
void rx_parse(struct rx *rx, struct msghdr *msg, ssize_t ret);
ssize_t rx_call(struct rx *rx);
int rx_wait(int fd, int timeout_ms);

/* io_uring */
int ring_open(struct ring *ring);
struct io_uring_sqe *ring_sqe(struct ring *ring);
int ring_enter(struct ring *ring, unsigned int n, unsigned int wait);
int ring_result(struct ring *ring, struct io_uring_cqe *cqe);
int ring_pool(struct ring *ring, unsigned int first, unsigned int n);
int ring_multishot(struct ring *ring, int fd, const struct msghdr *msg);
void ring_parse(struct rx *rx, unsigned int idx);

/* Environment */
int rx_counters_read(struct rx_counters *c);
const char *quic_rx_missing(void);

#endif /* QUIC_RX_UTIL_H */
