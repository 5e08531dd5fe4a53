// SPDX-License-Identifier: GPL-2.0
/*
 * The modes that receive: CPU time from the socket's queue to plaintext.
 *
 * A call of send() puts a batch of sealed packets, one GSO datagram, into the
 * queue of the receiving socket; on the same host, the softirq that does so
 * runs in send(). After RX_CHUNK of them, the time that it takes to read them
 * all is measured: recvmsg() alone ("plain"), recvmsg() and opening in place
 * ("user-..."), or recvmsg() of a socket whose flow the kernel opens. Sealed
 * batches are made once and sent again and again: receivers do not look for
 * duplicates.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <netinet/in.h>
#include <sys/syscall.h>

#include "bench.h"

#define RX_CHUNK	32		/* batches in the queue */
#define RX_CHUNK_ONE	256		/* the same of single packets */
#define RX_BUF		(1 << 16)
#define RX_RCVBUF	(1 << 27)

/**
 * struct rx_call - arguments of one recvmsg()
 * @iov: the buffer
 * @control: room for control messages
 */
struct rx_call {
	struct iovec iov;
	uint64_t control[32 + 2 * MAX_BATCH];
};

/**
 * struct receiver - what a mode that receives needs
 * @tx: socket that sends to the one that receives
 * @sealed: a batch of each flow as it is on the wire
 * @plain: the same as it was before
 * @next: flow that sends next
 * @calls: buffers of one recvmmsg()
 * @msg: their arguments
 */
struct receiver {
	int tx;
	uint8_t *sealed;
	uint8_t *plain;
	unsigned int next;
	struct rx_call calls[MAX_MSGS];
	struct mmsghdr msg[MAX_MSGS];
};

static size_t rx_batch_len(void)
{
	return opt.batch * opt.size;
}

static unsigned int rx_chunk(void)
{
	unsigned int chunk = opt.batch > 1 ? RX_CHUNK : RX_CHUNK_ONE;

	return chunk > opt.msgs ? chunk : opt.msgs;
}

/* A socket of another network namespace, for packets that cross a device */
static int rx_socket_netns(int family, const char *netns)
{
	int own = open("/proc/thread-self/ns/net", O_RDONLY);
	int there = open(netns, O_RDONLY), fd;

	if (own < 0 || there < 0 || setns(there, CLONE_NEWNET))
		die("%s: %m", netns);
	fd = socket(family, SOCK_DGRAM, 0);
	if (setns(own, CLONE_NEWNET))
		die("back to the own network namespace: %m");
	close(own);
	close(there);
	return fd;
}

/* Connect the sender to the address that the receiver is bound to */
static void rx_sockets(struct mode *m)
{
	bool there = m->to == &opt.device;
	struct sockaddr_storage to = there ? opt.local : opt.to;
	int one = 1, size = RX_RCVBUF, gso = opt.size;
	socklen_t len = sizeof(to);

	if (!there)
		addr_parse(&to, "127.0.0.1");
	((struct sockaddr_in *)&to)->sin_port = 0;	/* sin6_port, too */
	m->fd[0] = socket(to.ss_family, SOCK_DGRAM, 0);
	if (m->fd[0] < 0 || bind(m->fd[0], (void *)&to, addr_len(&to)) ||
	    getsockname(m->fd[0], (void *)&to, &len))
		die("%s: socket: %m", m->name);
	if (setsockopt(m->fd[0], SOL_SOCKET, SO_RCVBUFFORCE, &size,
		       sizeof(size)) && opt.batch > 1)
		die("SO_RCVBUFFORCE: %m");
	if (opt.batch > 1 &&
	    setsockopt(m->fd[0], SOL_UDP, UDP_GRO, &one, sizeof(one)))
		die("UDP_GRO: %m");
	m->rx->tx = there ? rx_socket_netns(to.ss_family, opt.netns) :
			    socket(to.ss_family, SOCK_DGRAM, 0);
	if (m->rx->tx < 0 ||
	    connect(m->rx->tx, (void *)&to, addr_len(&to)))
		die("%s: sending socket: %m", m->name);
	if (opt.batch > 1 &&
	    setsockopt(m->rx->tx, SOL_UDP, UDP_SEGMENT, &gso, sizeof(gso)))
		die("UDP_SEGMENT: %m");
}

/* Seal the batch of a flow by the first library that can */
static void rx_seal(const struct mode *m, unsigned int i)
{
	struct flow *f = &m->flow[0][i];
	uint8_t *pkt = m->rx->plain + i * rx_batch_len();
	unsigned int lib;
	void *ctx;

	f->pn = FIRST_PN;
	fill_random(pkt, rx_batch_len());
	pkt_headers(f, pkt, opt.size);
	memcpy(m->rx->sealed + i * rx_batch_len(), pkt, rx_batch_len());
	for (lib = 0; lib < N_LIBS; lib++) {
		ctx = sealers[lib] ? sealers[lib]->flow(&f->keys) : NULL;
		/* if possible, another library than the one that opens */
		if (!ctx || (m->how == USER && lib == m->lib && !lib))
			continue;
		if (pkt_seal(lib, ctx, f, m->rx->sealed + i * rx_batch_len()))
			die("%s cannot seal", libs[lib]);
		return;
	}
	die("%s: no library seals %s", m->name, ciphers[opt.cipher].name);
}

/* The connection ID begins with the number of the flow, in place of a table */
static void rx_flow(struct mode *m, unsigned int i)
{
	struct flow *f = &m->flow[0][i];
	uint32_t id = i;

	flow_init(f, i + 1);
	if (m->flows > 1) {
		if (opt.cid_len < sizeof(id))
			die("many flows need longer connection IDs");
		memcpy(f->cid, &id, sizeof(id));
	}
	rx_seal(m, i);
	if (m->how == USER) {
		f->ctx = sealers[m->lib]->flow(&f->keys);
		if (!f->ctx)
			die("%s has no %s", libs[m->lib],
			    ciphers[opt.cipher].name);
	} else if (in_kernel(m)) {
		flow_opt(f, m->fd[0], UDP_QUIC_ADD_RX_CONNECTION, NULL);
	}
}

void recv_init(struct mode *m)
{
	unsigned int i;

	if (opt.threads > 1)
		die("%s: not with -t", m->name);
	if (m->to == &opt.device && (!opt.netns || !opt.local.ss_family))
		die("%s: needs -L and -N", m->name);
	m->rx = xcalloc(1, sizeof(*m->rx));
	m->rx->sealed = xcalloc(m->flows, rx_batch_len());
	m->rx->plain = xcalloc(m->flows, rx_batch_len());
	m->flow[0] = xcalloc(m->flows, sizeof(*m->flow[0]));
	m->round = xcalloc(opt.rounds, sizeof(*m->round));
	rx_sockets(m);
	if ((in_kernel(m) || m->how == ULP) &&
	    setsockopt(m->fd[0], SOL_UDP, UDP_ULP, QUIC_CRYPTO_ULP_NAME,
		       strlen(QUIC_CRYPTO_ULP_NAME)))
		die("%s: this kernel has no %s: %m", m->name,
		    QUIC_CRYPTO_ULP_NAME);
	for (i = 0; i < m->flows; i++)
		rx_flow(m, i);
	for (i = 0; i < MAX_MSGS; i++)
		m->rx->calls[i].iov.iov_base = xcalloc(1, RX_BUF);
}

/* Put @n batches into the queue. Not timed. */
static void rx_send(const struct mode *m, unsigned int n)
{
	struct receiver *rx = m->rx;

	while (n--) {
		if (send(rx->tx, rx->sealed + rx->next * rx_batch_len(),
			 rx_batch_len(), 0) != (ssize_t)rx_batch_len())
			die("%s: send: %m", m->name);
		if (++rx->next == m->flows)
			rx->next = 0;
	}
}

/* Up to opt.msgs datagrams; returns their number */
static unsigned int rx_recv(const struct mode *m)
{
	struct receiver *rx = m->rx;
	unsigned int i;
	int ret;

	for (i = 0; i < opt.msgs; i++) {
		struct msghdr *msg = &rx->msg[i].msg_hdr;

		rx->calls[i].iov.iov_len = RX_BUF;
		msg->msg_iov = &rx->calls[i].iov;
		msg->msg_iovlen = 1;
		msg->msg_control = rx->calls[i].control;
		msg->msg_controllen = sizeof(rx->calls[i].control);
	}
	if (m->how == SYSCALL) {
		syscall(SYS_getppid);
		return 0;
	}
	if (opt.msgs == 1) {
		ret = recvmsg(m->fd[0], &rx->msg[0].msg_hdr, 0);
		if (ret < 0)
			die("%s: recvmsg: %m", m->name);
		rx->msg[0].msg_len = ret;
		return 1;
	}
	ret = recvmmsg(m->fd[0], rx->msg, opt.msgs, MSG_WAITFORONE, NULL);
	if (ret < 1)
		die("%s: recvmmsg: %m", m->name);
	return ret;
}

/* Control message of a type, or NULL */
static void *rx_cmsg(struct msghdr *msg, int type, size_t *len)
{
	struct cmsghdr *c;

	for (c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		if (c->cmsg_level != SOL_UDP || c->cmsg_type != type)
			continue;
		*len = c->cmsg_len - CMSG_LEN(0);
		return CMSG_DATA(c);
	}
	return NULL;
}

static struct flow *rx_find(const struct mode *m, const uint8_t *pkt)
{
	uint32_t id = 0;

	if (m->flows > 1)
		memcpy(&id, pkt + 1, sizeof(id));
	return &m->flow[0][id];
}

/* Open the packets of a datagram in user space; they are of one flow */
static void rx_open_user(const struct mode *m, uint8_t *pkt, unsigned int n)
{
	struct flow *f = rx_find(m, pkt);
	struct batch b = pkt_batch(f, pkt);

	b.n = n;
	if (sealers[m->lib]->open(f->ctx, &b))
		die("%s: a packet did not open", m->name);
}

/* What a library looks at before it believes the kernel */
static void rx_check_kernel(const struct mode *m, struct msghdr *msg,
			    unsigned int n)
{
	const struct quic_rx_packet *p;
	size_t len;

	p = rx_cmsg(msg, UDP_QUIC_DECRYPT, &len);
	if (!p || len != n * sizeof(*p))
		die("%s: no control message", m->name);
	for (; n--; p++)
		if (p->status != QUIC_RX_OPENED)
			die("%s: a packet has the status %u", m->name,
			    p->status);
}

static unsigned int rx_pkts(struct mmsghdr *msg)
{
	size_t len;
	int *gso = rx_cmsg(&msg->msg_hdr, UDP_GRO, &len);
	size_t size = gso ? (size_t)*gso : msg->msg_len;

	if (!size || msg->msg_len % size || size != opt.size)
		die("packets of another size have arrived");
	return msg->msg_len / size;
}

/* This is what is measured: returns the number of packets */
static unsigned int rx_call(const struct mode *m)
{
	struct receiver *rx = m->rx;
	unsigned int n, i, pkts, sum = 0;

	n = rx_recv(m);
	for (i = 0; i < n; i++) {
		pkts = rx_pkts(&rx->msg[i]);
		if (m->how == USER)
			rx_open_user(m, rx->calls[i].iov.iov_base, pkts);
		else if (in_kernel(m))
			rx_check_kernel(m, &rx->msg[i].msg_hdr, pkts);
		sum += pkts;
	}
	return sum;
}

static void times_add(struct times *sum, const struct times *t)
{
	sum->cpu += t->cpu;
	sum->rusage += t->rusage;
	sum->wall += t->wall;
}

/* As many empty calls as other modes make */
static struct times rx_run_empty(const struct mode *m, unsigned long calls)
{
	struct times start = times_now();
	unsigned long i;

	for (i = 0; i < calls; i += opt.msgs)
		rx_recv(m);
	return times_since(&start);
}

struct times recv_run(const struct mode *m, unsigned long calls)
{
	struct times sum = { 0 }, start, t;
	unsigned long left, n;

	for (; calls; calls -= n) {
		n = calls < rx_chunk() ? calls : rx_chunk();
		if (m->how == SYSCALL) {
			t = rx_run_empty(m, n);
		} else {
			rx_send(m, n);
			start = times_now();
			for (left = n * opt.batch; left; )
				left -= rx_call(m);
			t = times_since(&start);
		}
		times_add(&sum, &t);
	}
	return sum;
}

/* A round that counts: who has opened must be as the name of the mode says */
struct times recv_round(const struct mode *m, unsigned long calls)
{
	unsigned long want = in_kernel(m) ? calls * opt.batch : 0;
	unsigned long sw = counter("QuicRxSwPackets");
	unsigned long dev = counter("QuicRxDevicePackets");
	struct times t = recv_run(m, calls);

	sw = counter("QuicRxSwPackets") - sw;
	dev = counter("QuicRxDevicePackets") - dev;
	if (sw + dev != want || (m->device ? dev < want / 100 * 99 : dev))
		die("%s: of %lu packets, %lu opened by software, "
		    "%lu by the device", m->name, want, sw, dev);
	return t;
}

/* What the user has must be the plaintext, or without a key what was sent. Who
 * opens leaves something else in place of the tags.
 */
void recv_verify(const struct mode *m)
{
	size_t cmp = sealed(m) ? opt.size - TAG : opt.size;
	const uint8_t *want = sealed(m) ? m->rx->plain : m->rx->sealed;
	unsigned int i, n, sum = 0;

	if (m->how == SYSCALL)
		return;
	want += m->rx->next * rx_batch_len();
	rx_send(m, 1);
	while (sum < opt.batch) {
		if (opt.msgs > 1 && opt.batch > 1)
			die("-M is for single packets");
		n = rx_call(m);
		for (i = 0; i < n; i++)
			if (memcmp(m->rx->calls[0].iov.iov_base + i * opt.size,
				   want + (sum + i) * opt.size, cmp))
				die("%s: packet %u is wrong", m->name, sum + i);
		sum += n;
	}
}
