// SPDX-License-Identifier: GPL-2.0
/*
 * Send QUIC packets that libcrypto has sealed from one network namespace to
 * another, where the kernel or a device opens them. Compare each packet that
 * recvmsg() returns with what was sent: its plaintext, number and generation,
 * or its bytes on the wire. Packet sockets on the way must see nothing in
 * plaintext. Print the result as JSON. drivers/net/quic_rx.py runs this
 * program.
 */

#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <net/if.h>
#include <netinet/in.h>

#include <linux/filter.h>
#include <linux/if_link.h>

#include "../kselftest.h"
#include "quic_dev_util.h"
#include "quic_rx_util.h"

#define MAX_CONNS	64
#define MAX_SOURCES	4
#define MAX_GENS	4096
#define NR_CIDS		8	/* of a connection, with --cids */
#define RING		2048
#define PKT_MAX		1400
#define PN_FIRST	1000
#define MIX_RUN		3	/* successive packets of a flow, with --mix */
#define FIRST_MS	1000	/* to wait for the first packets of a flow */
#define VAIN_MS		50	/* how long to wait for another key, */
#define MAX_VAIN	3	/* and how often */
#define MMSG		8	/* datagrams of a call of recvmmsg() */
#define FAIL_NTH	64	/* allocations of a call that fail in turn */

/**
 * struct conn - a connection
 * @gen: its generations, those of the receiver and one more
 * @cur: index of the generation that is sealed with
 * @installed: index of the newest generation that the receiver has
 * @next: number of the next packet
 */
struct conn {
	struct flow *gen;
	unsigned int cur;
	unsigned int installed;
	uint64_t next;
};

enum sent_state {
	SENT_NONE,
	SENT_OUT,
	SENT_RECEIVED,
};

/**
 * struct sent - a packet that was sent
 * @state: what has become of it
 * @conn: index of the connection
 * @gen: index of the generation
 * @want: status that it must be received with
 * @flow: how it was sealed
 * @pkt: how it was made
 * @wire: its bytes
 */
struct sent {
	enum sent_state state;
	unsigned int conn;
	unsigned int gen;
	uint8_t want;
	struct flow flow;
	struct pkt pkt;
	uint8_t wire[PKT_MAX];
};

static struct {
	const char *from, *to, *dst, *cipher_name, *queued, *astray, *how;
	const char *sources[MAX_SOURCES];
	unsigned int n_sources, port, calls, gso, size, cid_len, pn_len, flows;
	unsigned int update, cids, rebind, bad, jump, short_buf, gap_us;
	unsigned int settle_ms, step_ms, wait_ms, path, trim, replay;
	uint16_t cipher;
	bool forever, gro, mix, peer, peek, use_read, no_room, steal, seal;
	bool drop, reuseport, no_memory;
} opt = {
	.dst = "127.0.0.1", .port = 4433, .cipher_name = "aes-128-gcm",
	.queued = "", .astray = "", .how = "",
	.calls = 100, .gso = 1, .size = 1200, .cid_len = 8,
	.pn_len = 4, .flows = 1, .step_ms = 100, .wait_ms = 1000,
};

static struct {
	unsigned long calls, sent, received, reordered, bad, duplicate;
	unsigned long unexpected, merged, wire, errors;
	unsigned long status[NR_STATUS];
	unsigned int ifindex;
	struct seen seen;
} stat;

static const char * const status_names[NR_STATUS] = {
	[QUIC_RX_OPENED]	= "opened",
	[QUIC_RX_KEY_PHASE]	= "key_phase",
	[QUIC_RX_AUTH_FAILED]	= "auth_failed",
	[QUIC_RX_NO_FLOW]	= "no_flow",
	[QUIC_RX_NOT_1RTT]	= "not_1rtt",
	[QUIC_RX_TOO_SHORT]	= "too_short",
	[QUIC_RX_KEY_LIMIT]	= "key_limit",
	[QUIC_RX_NOT_TRIED]	= "not_tried",
};

static struct conn conns[MAX_CONNS];
static struct sent ring[RING];
static unsigned int ring_pos, outstanding;
static struct sockaddr_storage dst, src;
static int tx_fd = -1, rx_fd = -1, stat_fd = -1, home_ns;
static int group_fd = -1;	/* --reuseport */
static int fail_fd = -1;	/* --no-memory */
static unsigned long answered_before;	/* keys, see settle() */
static struct rx rx, again;
static struct ring uring;	/* --how io_uring or multishot */
static bool reading;	/* --read */
static int stop;

static void on_signal(int sig)
{
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
}

static bool stopped(void)
{
	return __atomic_load_n(&stop, __ATOMIC_RELAXED);
}

/*
 * Sender
 */

/* Another port, and the next source address */
static void sender_open(void)
{
	static unsigned int n;
	const char *from = "";
	socklen_t len = sizeof(src);

	if (tx_fd >= 0)
		close(tx_fd);
	ns_enter(opt.from);
	tx_fd = sock_udp(dst.ss_family);
	if (tx_fd < 0)
		err(1, "socket");
	if (opt.n_sources)
		from = opt.sources[n++ % opt.n_sources];
	if (*from) {
		addr_parse(&src, from, 0);
		if (bind(tx_fd, (void *)&src, addr_len(&src)))
			err(1, "sending from %s", from);
	}
	if (connect(tx_fd, (void *)&dst, addr_len(&dst)) ||
	    getsockname(tx_fd, (void *)&src, &len))
		err(1, "connect to %s", opt.dst);
	ns_leave(home_ns);
}

/* The sender's kernel is told the newest keys, for any destination. */
static void conn_seal(const struct conn *c)
{
	struct flow f = c->gen[c->cur];
	int ret;

	if (!opt.seal)
		return;
	memset(&f.dst, 0, sizeof(f.dst));
	ret = flow_add(tx_fd, &f);
	if (ret)
		errx(1, "adding a flow that sends: %s", strerror(-ret));
}

/* As in QUIC, not before the receiver has seen the generation before. */
static void conn_update(struct conn *c)
{
	if (c->cur >= c->installed)
		return;
	c->cur++;
	conn_seal(c);
}

/* The flow of a packet, with the connection ID that is used now */
static struct flow conn_flow(const struct conn *c, unsigned int call)
{
	struct flow f = c->gen[c->cur];

	if (opt.cids && f.cid_len)
		f.cid[f.cid_len - 1] = call / opt.cids % NR_CIDS;
	return f;
}

static struct sent *sent_new(void)
{
	struct sent *s = &ring[ring_pos++ % RING];

	if (s->state == SENT_OUT)
		outstanding--;
	memset(s, 0, sizeof(*s));
	return s;
}

/* Packet @i of a call, which is entered into the ring */
static void send_prepare(struct batch *b, unsigned int i, unsigned int call)
{
	unsigned int idx = call;
	struct pkt *p = &b->pkt[i];
	struct sent *s = sent_new();
	struct conn *c;

	if (opt.mix)
		idx = i / MIX_RUN;
	idx %= opt.flows;
	c = &conns[idx];
	if (opt.jump && i == b->n / 2)
		c->next += opt.jump;
	s->conn = idx;
	s->gen = c->cur;
	s->flow = conn_flow(c, call / opt.flows);
	p->flow = &s->flow;
	p->pn = c->next++;
	p->pn_len = opt.pn_len;
	s->pkt = *p;
}

/* @b is sealed now. Every so many packets get a wrong tag. */
static void send_note(struct batch *b, unsigned int i, struct sent *s)
{
	uint8_t *wire = b->wire + wire_off(b, i);

	s->want = QUIC_RX_OPENED;
	if (opt.bad && stat.sent % opt.bad == opt.bad - 1) {
		wire[s->pkt.len - 1] ^= 1;
		s->want = QUIC_RX_AUTH_FAILED;
	}
	memcpy(s->wire, wire, s->pkt.len);
	s->state = SENT_OUT;
	stat.sent++;
	outstanding++;
}

/* Sealed by libcrypto, or still in plaintext */
static ssize_t send_batch(const struct batch *b)
{
	struct tx tx;

	if (!opt.seal)
		return wire_batch(tx_fd, NULL, b);
	tx_init(&tx, tx_fd, NULL);
	tx_batch(&tx, b);
	if (b->n > 1)
		tx.gso = b->size;
	return tx_send(&tx);
}

static void send_call(unsigned int call)
{
	static struct batch b;
	unsigned int i, first;

	batch_init(&b, NULL, 0, opt.gso, opt.size, opt.size);
	first = ring_pos;
	for (i = 0; i < b.n; i++)
		send_prepare(&b, i, call);
	batch_build(&b);
	for (i = 0; i < b.n; i++)
		send_note(&b, i, &ring[(first + i) % RING]);
	stat.calls++;
	if (send_batch(&b) < 0)
		stat.errors++;
}

/* A packet that no key is for, with another connection ID */
static void send_stranger(void)
{
	static struct batch b;
	struct sent *s = sent_new();

	s->flow = conns[0].gen[conns[0].cur];
	s->flow.cid[0] ^= 0xff;
	batch_init(&b, &s->flow, conns[0].next, 1, opt.size, opt.size);
	batch_build(&b);
	s->pkt = b.pkt[0];
	send_note(&b, 0, s);
	s->want = QUIC_RX_NO_FLOW;
	if (wire_batch(tx_fd, NULL, &b) < 0)
		stat.errors++;
}

/* Somebody on the path sends the last packets again, from another port */
static void replay(unsigned int n)
{
	static int fd = -1;
	struct sent *s;

	if (fd < 0) {
		ns_enter(opt.from);
		fd = sock_udp(dst.ss_family);
		if (connect(fd, (void *)&dst, addr_len(&dst)))
			err(1, "connect to %s", opt.dst);
		ns_leave(home_ns);
	}
	for (; n; n--) {
		s = &ring[(ring_pos - n) % RING];
		if (send(fd, s->wire, s->pkt.len, 0) != (ssize_t)s->pkt.len)
			stat.errors++;
	}
}

/*
 * Receiver
 */

static int receiver_socket(void)
{
	int fd, one = 1;

	fd = sock_udp(dst.ss_family);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (opt.reuseport && set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1))
		err(1, "SO_REUSEPORT");
	if (set_int(fd, SOL_SOCKET, SO_RCVBUFFORCE, 16 << 20))
		set_int(fd, SOL_SOCKET, SO_RCVBUF, 16 << 20);
	if (fd < 0 || bind(fd, (void *)&dst, addr_len(&dst)))
		err(1, "receiving at %s", opt.dst);
	return fd;
}

/* From now on, io_uring puts datagrams into buffers that it has. */
static void multishot_start(void)
{
	static const struct msghdr msg = { .msg_controllen = RING_CONTROL };

	if (ring_multishot(&uring, rx_fd, &msg))
		errx(1, "io_uring: cannot start to receive");
}

static void receive_prepare(void)
{
	int ret;

	if (!strcmp(opt.how, "io_uring") || !strcmp(opt.how, "multishot")) {
		ret = ring_open(&uring);
		if (ret) {
			printf("io_uring: %s\n", strerror(-ret));
			exit(KSFT_SKIP);
		}
	}
	if (strcmp(opt.how, "multishot"))
		return;
	if (ring_pool(&uring, 0, RING_POOL))
		errx(1, "io_uring: no buffers");
	multishot_start();
}

static void receiver_open(void)
{
	ns_enter(opt.to);
	stat_fd = open("/proc/thread-self/net/quic_stat",
		       O_RDONLY | O_CLOEXEC);
	rx_fd = receiver_socket();
	if (opt.gro && set_int(rx_fd, SOL_UDP, UDP_GRO, 1))
		err(1, "UDP_GRO");
	if (opt.drop && set_int(rx_fd, SOL_UDP, UDP_QUIC_RX_DROP, 1))
		err(1, "UDP_QUIC_RX_DROP");
	if (opt.reuseport)
		group_fd = receiver_socket();
	ns_leave(home_ns);
	rx_init(&rx, rx_fd);
	receive_prepare();
}

/* A socket filter that leaves so many bytes of each datagram */
static void receiver_trim(void)
{
	struct sock_filter insn = BPF_STMT(BPF_RET | BPF_K,
					   sizeof(struct udphdr) + opt.trim);
	const struct sock_fprog prog = { .len = 1, .filter = &insn };

	if (setsockopt(rx_fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog,
		       sizeof(prog)))
		err(1, "SO_ATTACH_FILTER");
}

/* Allocations of recvmsg() fail, see receive_once(). */
static void receiver_no_memory(void)
{
	fail_fd = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	if (fail_fd < 0) {
		printf("the kernel does not let allocations fail\n");
		exit(KSFT_SKIP);
	}
}

/*
 * How packets are read once the device has the keys: it gets them only if
 * software has opened some.
 */
static void receiver_change(void)
{
	if (opt.no_room)
		rx.room = opt.gro ? RX_ROOM_GRO : CMSG_SPACE(1);
	if (opt.short_buf)
		rx.size = opt.short_buf;
	if (opt.trim)
		receiver_trim();
	if (opt.no_memory)
		receiver_no_memory();
	reading = opt.use_read;
}

static void conn_aliases(const struct conn *c)
{
	struct flow f = c->gen[0];
	unsigned int i;
	int ret;

	for (i = 0; i < NR_CIDS; i++) {
		f = c->gen[0];
		if (f.cid[f.cid_len - 1] == i)
			continue;
		f.cid[f.cid_len - 1] = i;
		ret = rx_add_alias(rx_fd, &f);
		if (ret)
			errx(1, "adding an alias: %s", strerror(-ret));
	}
}

/* The next generation of a flow */
static void conn_install(struct conn *c)
{
	int ret;

	if (c->installed + 1 >= MAX_GENS)
		return;
	c->installed++;
	flow_next(&c->gen[c->installed], &c->gen[c->installed - 1]);
	ret = rx_add(rx_fd, &c->gen[c->installed]);
	if (ret)
		errx(1, "adding a generation: %s", strerror(-ret));
}

static void conn_new(unsigned int idx)
{
	struct conn *c = &conns[idx];
	int ret;

	c->gen = calloc(MAX_GENS, sizeof(*c->gen));
	if (!c->gen)
		errx(1, "no memory");
	flow_init(&c->gen[0], opt.cipher, opt.cid_len);
	c->gen[0].id = idx + 1;
	c->gen[0].path = opt.path;
	if (opt.peer)
		c->gen[0].dst = src;
	c->next = PN_FIRST;
	ret = rx_add_next(rx_fd, &c->gen[0], PN_FIRST);
	if (ret)
		errx(1, "adding a flow: %s", strerror(-ret));
	if (opt.cids && opt.cid_len)
		conn_aliases(c);
	if (opt.update)
		conn_install(c);
	conn_seal(c);
}

/* The packet that an element of the control message is about */
static struct sent *sent_by_element(const struct quic_rx_packet *e)
{
	unsigned int i;
	struct sent *s;

	for (i = 0; i < RING; i++) {
		s = &ring[i];
		if (s->state != SENT_NONE && s->want == QUIC_RX_OPENED &&
		    s->pkt.pn == e->pkt_num && s->conn + 1 == e->flow_id &&
		    (uint8_t)s->gen == e->key_gen)
			return s;
	}
	return NULL;
}

static struct sent *sent_by_wire(const uint8_t *data, size_t len)
{
	unsigned int i;

	for (i = 0; i < RING; i++) {
		if (ring[i].state != SENT_NONE && len <= ring[i].pkt.len &&
		    !memcmp(ring[i].wire, data, len))
			return &ring[i];
	}
	return NULL;
}

static void sent_received(struct sent *s)
{
	static unsigned int last;
	unsigned int idx = s - ring;

	if (s->state == SENT_RECEIVED) {
		stat.duplicate++;
		return;
	}
	s->state = SENT_RECEIVED;
	outstanding--;
	stat.received++;
	if ((idx - last) % RING > RING / 2)
		stat.reordered++;
	last = idx;
}

static void receive_opened(const struct quic_rx_packet *e, const uint8_t *data,
			   size_t len)
{
	struct sent *s = sent_by_element(e);
	struct conn *c;

	if (!s || len != s->pkt.len || e->pkt_num_length != s->pkt.pn_len ||
	    e->conn_id_length != s->flow.cid_len ||
	    rx_differs(&s->pkt, s->wire, data, QUIC_RX_OPENED)) {
		stat.bad++;
		return;
	}
	sent_received(s);
	c = &conns[s->conn];
	if (opt.update && s->gen == c->installed)
		conn_install(c);
}

/* @e: the packet's element, or NULL if there is none */
static void receive_wire(const struct quic_rx_packet *e, const uint8_t *data,
			 size_t len)
{
	struct sent *s = sent_by_wire(data, len);
	uint8_t want;

	if (has_marker(data, len))
		stat.seen.plain++;
	if (!s || (len < s->pkt.len && !opt.short_buf && !opt.trim)) {
		stat.bad++;
		return;
	}
	sent_received(s);
	want = s->want;
	if (len < s->pkt.len)
		want = opt.trim ? QUIC_RX_AUTH_FAILED : QUIC_RX_NOT_TRIED;
	if (e && e->status != want)
		stat.unexpected++;
	if (!e)
		stat.wire++;
}

static void receive_one(const struct quic_rx_packet *e, const uint8_t *data,
			size_t len)
{
	if (e && e->status >= NR_STATUS) {
		stat.bad++;
		return;
	}
	if (e)
		stat.status[e->status]++;
	if (e && e->status == QUIC_RX_OPENED)
		receive_opened(e, data, len);
	else
		receive_wire(e, data, len);
}

static void receive(const struct rx *r)
{
	size_t len = r->ret, size, off;
	unsigned int i = 0;

	size = r->gro && len > opt.size ? r->gro : opt.size;
	if (len > size)
		stat.merged++;
	/* A packet is told about, or the program is told that it is not. */
	if (r->elems < 0 && !reading && !(r->msg_flags & MSG_CTRUNC))
		stat.unexpected++;
	if (r->elems >= 0 && r->elems != (int)((len + size - 1) / size))
		stat.bad++;
	for (off = 0; off < len; off += size, i++)
		receive_one(r->elems > (int)i ? &r->pkt[i] : NULL,
			    r->buf + off, len - off < size ? len - off : size);
}

/* recvmsg() twice: the second call has to say what the first one has. */
static void peek(void)
{
	again = rx;
	again.flags |= MSG_PEEK;
	rx_call(&again);
}

static void peek_compare(void)
{
	if (!opt.peek || again.ret < 0)
		return;
	if (again.ret != rx.ret || again.elems != rx.elems ||
	    memcmp(again.pkt, rx.pkt, sizeof(rx.pkt)) ||
	    memcmp(again.buf, rx.buf, rx.ret))
		stat.unexpected++;
}

static void fail_nth(unsigned int nth)
{
	char text[16];

	snprintf(text, sizeof(text), "%u", nth);
	/* What has not failed yet may be the copy of this text. */
	while (write(fail_fd, text, strlen(text)) < 0)
		if (errno != EFAULT)
			err(1, "fail-nth");
}

/* Another allocation fails in each call, so that datagrams may get lost. */
static ssize_t receive_without_memory(void)
{
	static unsigned int nth;

	do {
		if (rx_wait(rx_fd, 0))
			return -EAGAIN;
		fail_nth(nth++ % FAIL_NTH + 1);
		rx_call(&rx);
		fail_nth(0);
	} while (rx.ret < 0);
	return rx.ret;
}

static ssize_t receive_call(void)
{
	struct msghdr msg;
	ssize_t ret;

	if (opt.peek)
		peek();
	if (fail_fd >= 0)
		return receive_without_memory();
	if (!reading)
		return rx_call(&rx);
	rx_msg(&rx, &msg);
	ret = rx_wait(rx_fd, 0) ? -1 : read(rx_fd, rx.buf, rx.size);
	rx_parse(&rx, &msg, ret);
	return ret;
}

static bool drain_calls(void)
{
	bool some = false;

	while (receive_call() >= 0) {
		peek_compare();
		receive(&rx);
		some = true;
	}
	return some;
}

static bool drain_mmsg(void)
{
	static struct rx calls[MMSG];
	struct mmsghdr mmsg[MMSG];
	bool some = false;
	int i, n;

	do {
		for (i = 0; i < MMSG; i++) {
			rx_init(&calls[i], rx_fd);
			rx_msg(&calls[i], &mmsg[i].msg_hdr);
		}
		n = recvmmsg(rx_fd, mmsg, MMSG, MSG_DONTWAIT, NULL);
		for (i = 0; i < n; i++) {
			rx_parse(&calls[i], &mmsg[i].msg_hdr, mmsg[i].msg_len);
			receive(&calls[i]);
			some = true;
		}
	} while (n > 0);
	return some;
}

/* One request for each datagram */
static bool drain_ring(void)
{
	struct io_uring_cqe cqe;
	struct io_uring_sqe *sqe;
	struct msghdr msg;
	bool some = false;

	for (;;) {
		rx_msg(&rx, &msg);
		sqe = ring_sqe(&uring);
		sqe->opcode = IORING_OP_RECVMSG;
		sqe->fd = rx_fd;
		sqe->addr = (uintptr_t)&msg;
		sqe->len = 1;
		sqe->msg_flags = MSG_DONTWAIT;
		if (ring_enter(&uring, 1, 1) || ring_result(&uring, &cqe))
			errx(1, "io_uring: no result");
		if (cqe.res < 0)
			return some;
		rx_parse(&rx, &msg, cqe.res);
		receive(&rx);
		some = true;
	}
}

/* What the kernel has put into buffers so far. These are given back at once. A
 * request that has found none has ended.
 */
static bool drain_multishot(void)
{
	struct io_uring_cqe cqe;
	unsigned int idx;
	bool some = false;

	ring_enter(&uring, 0, 0);
	while (!ring_result(&uring, &cqe)) {
		some = true;
		if (cqe.res >= 0 && cqe.flags & IORING_CQE_F_BUFFER) {
			idx = cqe.flags >> IORING_CQE_BUFFER_SHIFT;
			ring_parse(&rx, idx);
			receive(&rx);
			ring_pool(&uring, idx, 1);
		} else if (cqe.res != -ENOBUFS) {
			stat.errors++;
		}
		if (!(cqe.flags & IORING_CQE_F_MORE))
			multishot_start();
	}
	return some;
}

/* Another socket of the group has no keys: it gets packets as on the wire. */
static bool drain_group(void)
{
	static uint8_t buf[FRAME_MAX];
	bool some = false;
	ssize_t ret;

	while (group_fd >= 0 && (ret = rx_recv(group_fd, buf, sizeof(buf),
					       0)) >= 0) {
		receive_wire(NULL, buf, ret);
		some = true;
	}
	return some;
}

/* Everything that has arrived by now */
static bool drain(void)
{
	bool some;

	if (!strcmp(opt.how, "recvmmsg"))
		some = drain_mmsg();
	else if (!strcmp(opt.how, "io_uring"))
		some = drain_ring();
	else if (!strcmp(opt.how, "multishot"))
		some = drain_multishot();
	else
		some = drain_calls();
	some |= drain_group();
	captures_drain(&stat.seen);
	return some;
}

static void drain_for(unsigned int ms)
{
	unsigned long since = now_ms();

	while (outstanding && now_ms() - since < ms) {
		if (drain())
			since = now_ms();
		else
			rx_wait(rx_fd, 1);
	}
}

/* How many keys has the device accepted or refused? */
static unsigned long keys_answered(void)
{
	static const char * const names[] = {
		"QuicRxDevice ", "QuicRxDeviceError ",
	};

	return stats_sum(stat_fd, names, ARRAY_SIZE(names));
}

/*
 * The device is offered a key with a packet that software has opened: with the
 * first one, unless the key before the last one has not left the device yet.
 * After each call, wait until the device has answered for all keys so far, but
 * not for ever.
 */
static void settle(unsigned int fresh, bool first)
{
	static unsigned long wanted;
	static unsigned int vain;
	unsigned long since = now_ms(), answered;

	if (!opt.settle_ms)
		return;
	if (first && !wanted)
		wanted = answered_before;
	if (fresh)
		vain = 0;
	wanted += fresh;
	while ((answered = keys_answered()) < wanted && vain < MAX_VAIN) {
		if (now_ms() - since >= (first ? opt.settle_ms : VAIN_MS)) {
			vain++;
			return;
		}
		usleep(1000);
	}
	if (answered < wanted)
		wanted = answered;
}

static void drain_copies(unsigned int n)
{
	unsigned long want = stat.duplicate + n, since = now_ms();

	while (stat.duplicate < want && now_ms() - since < 1000) {
		rx_wait(rx_fd, 10);
		drain();
	}
}

/* Keys that the receiver's first packet of this call makes fresh */
static unsigned int call_fresh(unsigned int call)
{
	unsigned int round = call / opt.flows;

	if (opt.mix)
		return call ? 0 : opt.flows;
	return !round || (opt.update && !(round % opt.update));
}

static void run_call(unsigned int call)
{
	unsigned int round = call / opt.flows, fresh = call_fresh(call);

	if (opt.update && round && !(round % opt.update))
		conn_update(&conns[call % opt.flows]);
	if (call == opt.flows)
		receiver_change();
	if (opt.rebind && call && !(call % opt.rebind))
		sender_open();
	send_call(call);
	drain_for(round ? opt.step_ms : FIRST_MS);
	drain();
	settle(fresh, !round);
	if (opt.replay && call % opt.replay == opt.replay - 1) {
		replay(opt.replay);
		drain_copies(opt.replay);
	}
}

/*
 * What happens to packets in the queue, or to those of somebody else
 */

static void queue_call(void)
{
	send_call(opt.calls);
	rx_wait(rx_fd, 1000);
	usleep(50000);
}

/* As long as the caller needs to do something to the device */
static void queued_stop(void)
{
	queue_call();
	raise(SIGSTOP);
}

/* The keys go before the packets are read. A stranger's packet comes next. */
static void queued_delete(void)
{
	unsigned int i;

	queue_call();
	for (i = 0; i < opt.flows; i++)
		if (rx_del(rx_fd, &conns[i].gen[0]))
			stat.errors++;
	send_stranger();
}

/* The same flow gets other keys: those of the packets in the queue are gone. */
static void queued_replace(void)
{
	struct flow f = conns[0].gen[0];

	queue_call();
	keys_init(&f.keys, opt.cipher);
	if (rx_del(rx_fd, &f) || rx_add_next(rx_fd, &f, conns[0].next))
		stat.errors++;
	send_stranger();
}

static void wait_no_keys(void)
{
	static const char * const names[] = { "QuicCurrRxDevice " };
	unsigned long since = now_ms();

	while (stats_sum(stat_fd, names, 1) && now_ms() - since < 5000)
		usleep(1000);
}

/* The flow has given up the connection ID of the packets so far, but it has
 * others. The device must not go on opening them.
 */
static void queued_unalias(void)
{
	struct flow f = conn_flow(&conns[0], 0);
	unsigned int i, first;

	if (rx_del_alias(rx_fd, &f))
		stat.errors++;
	wait_no_keys();
	first = ring_pos;
	send_call(0);
	for (i = first; i < ring_pos; i++)
		ring[i % RING].want = QUIC_RX_NO_FLOW;
	drain_for(1000);
	send_call(opt.cids);
}

static void queued_close(void)
{
	queue_call();
	close(rx_fd);
	rx_fd = -1;
}

/* A socket without keys gets the packets, as it is connected to the sender. */
static void steal(void)
{
	unsigned int i;
	int fd;

	ns_enter(opt.to);
	fd = receiver_socket();
	if (connect(fd, (void *)&src, addr_len(&src)))
		err(1, "connect");
	ns_leave(home_ns);
	for (i = 0; i < opt.calls; i++) {
		send_call(i);
		usleep(20000);
		while ((rx.ret = rx_recv(fd, rx.buf, sizeof(rx.buf), 0)) >= 0)
			receive_wire(NULL, rx.buf, rx.ret);
	}
	close(fd);
}

/* What the device has opened is sent back, and must not get to the wire. */
static void astray(void)
{
	char *how = strdup(opt.astray), *dev = strchr(how, ':');
	unsigned int ifindex, i;

	if (!dev)
		options_usage();
	*dev++ = 0;
	ns_enter(opt.to);
	ifindex = if_nametoindex(dev);
	if (!strcmp(how, "xdp"))
		bpf_attach(bpf_xdp_tx(), ifindex, BPF_XDP, XDP_FLAGS_SKB_MODE);
	else
		bpf_attach(!strcmp(how, "clone") ? bpf_cloner(ifindex) :
			   bpf_redirector(BPF_FUNC_redirect, ifindex, 0),
			   ifindex, BPF_TCX_INGRESS, 0);
	ns_leave(home_ns);
	for (i = 0; i < opt.calls; i++) {
		send_call(i);
		usleep(20000);
		drain();
	}
	free(how);
}

static void do_queued(void)
{
	if (!strcmp(opt.queued, "stop"))
		queued_stop();
	else if (!strcmp(opt.queued, "delete"))
		queued_delete();
	else if (!strcmp(opt.queued, "replace"))
		queued_replace();
	else if (!strcmp(opt.queued, "close"))
		queued_close();
	else if (!strcmp(opt.queued, "unalias"))
		queued_unalias();
	else if (*opt.queued)
		options_usage();
	if (opt.steal)
		steal();
	if (*opt.astray)
		astray();
}

/* The device that has a key of the first flow */
static void note_device(void)
{
	struct quic_info info;
	unsigned int i;

	if (rx_state(rx_fd, &conns[0].gen[0], &info))
		return;
	for (i = 0; i < ARRAY_SIZE(info.generations); i++)
		if (info.generations[i].ifindex)
			stat.ifindex = info.generations[i].ifindex;
}

/*
 * Command line
 */

static void add_capture(char *what, int home)
{
	capture_add(what, false, home);
}

static void add_tap(char *what, int home)
{
	capture_add(what, true, home);
}

static void add_source(char *what, int home)
{
	if (opt.n_sources == MAX_SOURCES)
		errx(1, "too many sources");
	opt.sources[opt.n_sources++] = what;
}

static const struct option_desc options[] = {
	{ "from-netns", "NETNS", "the sender's network namespace",
	  .str = &opt.from },
	{ "to-netns", "NETNS", "the receiver's network namespace",
	  .str = &opt.to },
	{ "source", "ADDR", "source address; several are used in turn",
	  .add = add_source },
	{ "address", "ADDR", "destination address", .str = &opt.dst },
	{ "port", "PORT", "destination port", .num = &opt.port },
	{ "capture", "NETNS:DEV", "no packet here may be in plaintext",
	  .add = add_capture },
	{ "tap", "NETNS:DEV", "packets in plaintext are expected here",
	  .add = add_tap },

	{ "count", "N", "calls of sendmsg()", .num = &opt.calls },
	{ "forever", NULL, "send until SIGTERM instead",
	  .flag = &opt.forever },
	{ "interval-us", "US", "time between calls", .num = &opt.gap_us },
	{ "cipher", "NAME", "AEAD of the connections",
	  .str = &opt.cipher_name },
	{ "segments", "N", "packets per call, by GSO", .num = &opt.gso },
	{ "size", "BYTES", "length of the packets", .num = &opt.size },
	{ "cid-len", "BYTES", "connection ID length", .num = &opt.cid_len },
	{ "pn-len", "BYTES", "packet number length", .num = &opt.pn_len },
	{ "pn-jump", "N", "numbers to leave out in the middle of a call",
	  .num = &opt.jump },
	{ "path", "N", "path of multipath QUIC", .num = &opt.path },
	{ "flows", "N", "connections, used in turn", .num = &opt.flows },
	{ "mix", NULL, "packets of all connections in each call",
	  .flag = &opt.mix },
	{ "key-update", "N", "update keys after so many calls",
	  .num = &opt.update },
	{ "cids", "N", "another connection ID after so many calls",
	  .num = &opt.cids },
	{ "rebind", "N", "another port, and --source, after so many calls",
	  .num = &opt.rebind },
	{ "replay", "N", "copies of N packets from another port after N calls",
	  .num = &opt.replay },
	{ "kernel-seals", NULL, "the sender's kernel, or device, seals",
	  .flag = &opt.seal },
	{ "wrong-tag", "N", "every Nth packet has a wrong tag",
	  .num = &opt.bad },

	{ "gro", NULL, "receive with UDP_GRO", .flag = &opt.gro },
	{ "peer", NULL, "the flows are for the sender's address only",
	  .flag = &opt.peer },
	{ "peek", NULL, "receive each datagram with MSG_PEEK first",
	  .flag = &opt.peek },
	{ "read", NULL, "receive with read(), after the first packets",
	  .flag = &opt.use_read },
	{ "no-room", NULL, "no room for control messages, likewise",
	  .flag = &opt.no_room },
	{ "short-buffer", "BYTES", "a buffer that is too short, likewise",
	  .num = &opt.short_buf },
	{ "rx-drop", NULL, "set UDP_QUIC_RX_DROP", .flag = &opt.drop },
	{ "how", "recvmmsg|io_uring|multishot",
	  "how to receive, other than by recvmsg()", .str = &opt.how },
	{ "no-memory", NULL, "allocations fail while packets are received",
	  .flag = &opt.no_memory },
	{ "trim", "BYTES", "a socket filter that cuts datagrams, likewise",
	  .num = &opt.trim },
	{ "reuseport", NULL, "a second socket shares the port",
	  .flag = &opt.reuseport },
	{ "queued", "stop|delete|replace|close|unalias",
	  "at last, do this with the packets of a call in the queue",
	  .str = &opt.queued },
	{ "steal", NULL, "at last, another socket gets the packets",
	  .flag = &opt.steal },
	{ "astray", "xdp|redirect|clone:DEV",
	  "at last, BPF sends back what arrives by the device",
	  .str = &opt.astray },
	{ "settle-ms", "MS",
	  "after the first packet of a key, wait for the device to take it",
	  .num = &opt.settle_ms },
	{ "step-ms", "MS", "how long to wait for the packets of each call",
	  .num = &opt.step_ms },
	{ "wait-ms", "MS", "how long to wait for the rest",
	  .num = &opt.wait_ms },
};

static void parse(int argc, char **argv)
{
	options_parse(options, ARRAY_SIZE(options), argc, argv, home_ns);
	opt.cipher = cipher_by_name(opt.cipher_name);
	if (!opt.gso || opt.gso > MAX_PKTS || !opt.flows ||
	    opt.flows > MAX_CONNS || !opt.pn_len || opt.pn_len > 4 ||
	    opt.cid_len > QUIC_MAX_CONNECTION_ID_SIZE || opt.size < 200 ||
	    opt.size > PKT_MAX || (opt.cid_len < 4 && opt.flows > 1))
		options_usage();
	/* Nothing else tells whose the packets are. */
	if (!opt.cid_len)
		opt.peer = true;
	addr_parse(&dst, opt.dst, opt.port);
}

static void report(void)
{
	const struct {
		const char *name;
		unsigned long value;
	} fields[] = {
		{ "calls", stat.calls },
		{ "sent", stat.sent },
		{ "received", stat.received },
		{ "bad", stat.bad },
		{ "plain", stat.seen.plain },
		{ "duplicate", stat.duplicate },
		{ "reordered", stat.reordered },
		{ "unexpected", stat.unexpected },
		{ "merged", stat.merged },
		{ "wire", stat.wire },
		{ "captured", stat.seen.captured },
		{ "tapped", stat.seen.tapped },
		{ "errors", stat.errors },
		{ "ifindex", stat.ifindex },
	};
	unsigned int i;

	printf("{");
	for (i = 0; i < ARRAY_SIZE(fields); i++)
		printf("\"%s\": %lu, ", fields[i].name, fields[i].value);
	for (i = 0; i < NR_STATUS; i++)
		printf("\"%s\": %lu, ", status_names[i], stat.status[i]);
	printf("\"lost\": %lu}\n", stat.sent - stat.received);
}

int main(int argc, char **argv)
{
	const char *lacks;
	unsigned int i;

	home_ns = ns_home();
	parse(argc, argv);
	lacks = quic_rx_missing();
	if (lacks) {
		printf("%s\n", lacks);
		return KSFT_SKIP;
	}
	signal(SIGTERM, on_signal);
	signal(SIGINT, on_signal);
	receiver_open();
	sender_open();
	for (i = 0; i < opt.flows; i++)
		conn_new(i);
	answered_before = keys_answered();

	for (i = 0; !stopped() && (opt.forever || i < opt.calls); i++) {
		run_call(i);
		if (opt.gap_us)
			usleep(opt.gap_us);
	}
	note_device();
	do_queued();
	if (rx_fd >= 0)
		drain_for(opt.wait_ms);
	/* What comes late, or twice, and the packet sockets */
	usleep(10000);
	if (rx_fd >= 0)
		drain();
	captures_drain(&stat.seen);
	report();
	return stat.seen.plain ? 1 : 0;
}
