// SPDX-License-Identifier: GPL-2.0
/*
 * Tests of QUIC packet protection: what happens at the same time, in the wrong
 * order, at the end, and when memory runs out.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <linux/bpf.h>

#include "../kselftest_harness.h"
#include "quic_util.h"

#define RX_TIMEOUT	10000	/* ms, for what must arrive */
#define MAX_NUM		4096
#define PLAIN		84	/* of packets of 100 bytes */

#ifndef IPPROTO_UDPLITE
#define IPPROTO_UDPLITE	136
#endif

static const char *missing;
static uint8_t rxbuf[64 * 1024];

/**
 * struct sender - a thread that sends
 * @thread: itself
 * @fd: on this socket
 * @to: where to
 * @flow: current generation of the flow, &struct flow; may change
 * @first: packet number of its first call
 * @step: from call to call
 * @n: packets of a call
 * @calls: to be made
 * @done: calls made so far
 * @gen: generation of the last packet
 * @stop_at: error that ends it
 * @ret: what came of each call
 */
struct sender {
	pthread_t thread;
	int fd;
	const struct sockaddr_storage *to;
	atomic_uintptr_t flow;
	uint64_t first;
	unsigned int step;
	unsigned int n;
	unsigned int calls;
	atomic_uint done;
	atomic_uint gen;
	int stop_at;
	int ret[MAX_NUM];
};

static void *sender_run(void *arg)
{
	struct batch *b = calloc(1, sizeof(*b));
	struct sender *s = arg;
	const struct flow *f;
	unsigned int i;
	struct tx tx;

	for (i = 0; b && i < s->calls; i++) {
		f = (const struct flow *)atomic_load(&s->flow);
		batch_init(b, f, s->first + i * s->step, s->n, 100, 100);
		batch_build(b);
		tx_init(&tx, s->fd, s->to);
		tx_batch(&tx, b);
		tx.gso = s->n > 1 ? 100 : 0;
		s->ret[i] = tx_send(&tx);
		atomic_store(&s->gen, f->gen);
		atomic_store(&s->done, i + 1);
		if (s->ret[i] == s->stop_at)
			break;
	}
	free(b);
	return NULL;
}

static int sender_start(struct sender *s)
{
	return pthread_create(&s->thread, NULL, sender_run, s);
}

FIXTURE(life)
{
	int tx, rx;
	struct sockaddr_storage to;
	struct flow flow;
};

FIXTURE_SETUP(life)
{
	if (missing)
		SKIP(return, "%s", missing);
	self->rx = sock_bound(AF_INET, &self->to);
	ASSERT_LE(0, self->rx);
	self->tx = sock_udp(AF_INET);
	ASSERT_LE(0, self->tx);
	flow_init(&self->flow, TLS_CIPHER_AES_GCM_128, 8);
	ASSERT_EQ(0, flow_add(self->tx, &self->flow));
}

FIXTURE_TEARDOWN(life)
{
	close(self->tx);
	close(self->rx);
}

/* Takes a packet that has arrived; how often its number did is in @seen. */
static int collect_one(int fd, const struct flow *flows, unsigned int n,
		       unsigned int *seen, int timeout)
{
	static uint8_t buf[2048];
	ssize_t len = rx_recv(fd, rxbuf, sizeof(rxbuf), timeout);
	unsigned int i;
	uint64_t pn;

	if (len < 0)
		return len;
	for (i = 0; i < n; i++) {
		memcpy(buf, rxbuf, sizeof(buf));
		if (pkt_open(&flows[i], MAX_NUM / 2, buf, len, &pn) < 0)
			continue;
		if (pn >= MAX_NUM)
			return -ERANGE;
		seen[pn]++;
		return 0;
	}
	return -EBADMSG;
}

/* Waits for @n packets. */
static void collect(struct __test_metadata *_metadata, int fd,
		    const struct flow *f, unsigned int *seen, unsigned int n)
{
	unsigned int i;

	for (i = 0; i < n; i++) {
		ASSERT_EQ(0, collect_one(fd, f, 1, seen, RX_TIMEOUT))
			TH_LOG("packet %u of %u", i, n);
	}
	ASSERT_EQ(-EAGAIN, collect_one(fd, f, 1, seen, 0));
}

/* Takes what is there, with the keys of any of @n generations. */
static unsigned int drain(int fd, const struct flow *f, unsigned int n,
			  unsigned int *seen)
{
	unsigned int got = 0;

	while (!collect_one(fd, f, n, seen, 0))
		got++;
	return got;
}

static ssize_t send_num(int fd, const struct sockaddr_storage *to,
			const struct flow *f, uint64_t pn)
{
	static struct batch b;
	struct tx tx;

	batch_init(&b, f, pn, 1, 100, 100);
	batch_build(&b);
	tx_init(&tx, fd, to);
	tx_batch(&tx, &b);
	return tx_send(&tx);
}

/* Threads */

enum { THREADS = 4, CALLS = 40, PKTS = 4 };

TEST_F_TIMEOUT(life, threads_one_flow, 120)
{
	static struct sender s[THREADS];
	static unsigned int seen[MAX_NUM];
	unsigned int i, j;

	for (i = 0; i < THREADS; i++) {
		s[i].fd = self->tx;
		s[i].to = &self->to;
		s[i].flow = (uintptr_t)&self->flow;
		s[i].first = i * PKTS;
		s[i].step = THREADS * PKTS;
		s[i].n = PKTS;
		s[i].calls = CALLS;
		ASSERT_EQ(0, sender_start(&s[i]));
	}
	collect(_metadata, self->rx, &self->flow, seen,
		THREADS * CALLS * PKTS);
	for (i = 0; i < THREADS; i++)
		pthread_join(s[i].thread, NULL);
	for (i = 0; i < THREADS; i++)
		for (j = 0; j < CALLS; j++)
			ASSERT_EQ(PKTS * PLAIN, s[i].ret[j]);
	for (i = 0; i < THREADS * CALLS * PKTS; i++) {
		ASSERT_EQ(1, seen[i])
			TH_LOG("number %u", i);
	}
}

/* All want the same numbers, on sockets of which each has the flow. */
static void race_numbers(struct __test_metadata *_metadata, const int *fds,
			 const struct sockaddr_storage *to, int rx,
			 const struct flow *f)
{
	static struct sender s[THREADS];
	static unsigned int seen[MAX_NUM];
	unsigned int i, j, won;

	for (i = 0; i < THREADS; i++) {
		s[i].fd = fds[i];
		s[i].to = to;
		s[i].flow = (uintptr_t)f;
		s[i].step = 1;
		s[i].n = 1;
		s[i].calls = CALLS * PKTS;
		ASSERT_EQ(0, sender_start(&s[i]));
	}
	collect(_metadata, rx, f, seen, CALLS * PKTS);
	for (i = 0; i < THREADS; i++)
		pthread_join(s[i].thread, NULL);
	for (j = 0; j < CALLS * PKTS; j++) {
		for (i = 0, won = 0; i < THREADS; i++) {
			won += s[i].ret[j] == PLAIN;
			if (s[i].ret[j] != PLAIN)
				ASSERT_EQ(-EALREADY, s[i].ret[j]);
		}
		ASSERT_EQ(1, won)
			TH_LOG("number %u", j);
	}
	ASSERT_EQ(0, drain(rx, f, 1, seen));
	for (j = 0; j < CALLS * PKTS; j++)
		ASSERT_EQ(1, seen[j]);
}

TEST_F_TIMEOUT(life, threads_same_numbers, 120)
{
	int fds[THREADS] = { self->tx, self->tx, self->tx, self->tx };

	race_numbers(_metadata, fds, &self->to, self->rx, &self->flow);
}

TEST_F_TIMEOUT(life, threads_same_key, 120)
{
	int i, fds[THREADS] = { self->tx };

	for (i = 1; i < THREADS; i++) {
		fds[i] = sock_udp(AF_INET);
		ASSERT_EQ(0, flow_add(fds[i], &self->flow));
	}
	race_numbers(_metadata, fds, &self->to, self->rx, &self->flow);
	for (i = 1; i < THREADS; i++)
		close(fds[i]);
}

/* The flow comes and goes: packets are sealed or not sent. */
TEST_F_TIMEOUT(life, threads_and_del, 120)
{
	static struct sender s;
	static unsigned int seen[MAX_NUM];
	unsigned int i, sent = 0, got = 0;

	s.fd = self->tx;
	s.to = &self->to;
	s.flow = (uintptr_t)&self->flow;
	s.step = 1;
	s.n = 1;
	s.calls = 500;
	ASSERT_EQ(0, sender_start(&s));
	while (atomic_load(&s.done) < s.calls) {
		ASSERT_EQ(0, flow_del(self->tx, &self->flow));
		ASSERT_EQ(-ENOENT, flow_del(self->tx, &self->flow));
		ASSERT_EQ(0, flow_add(self->tx, &self->flow));
		sched_yield();
		got += drain(self->rx, &self->flow, 1, seen);
	}
	pthread_join(s.thread, NULL);
	for (i = 0; i < s.calls; i++) {
		if (s.ret[i] == PLAIN)
			sent++;
		else if (s.ret[i] != -ENOKEY)
			ASSERT_EQ(-ENOENT, s.ret[i]);
	}
	collect(_metadata, self->rx, &self->flow, seen, sent - got);
	for (i = 0; i < s.calls; i++)
		ASSERT_EQ(s.ret[i] == PLAIN, seen[i]);
	ASSERT_EQ(PLAIN, send_num(self->tx, &self->to, &self->flow, 4000));
}

/* Keys are updated while packets are sent: there is no gap. */
TEST_F_TIMEOUT(life, threads_and_key_update, 120)
{
	enum { GENS = 20 };
	static struct flow g[GENS];
	static unsigned int seen[MAX_NUM];
	static struct sender s;
	unsigned int i, got = 0;

	g[0] = self->flow;
	s.fd = self->tx;
	s.to = &self->to;
	s.flow = (uintptr_t)&g[0];
	s.step = 2;
	s.n = 2;
	s.calls = 400;
	ASSERT_EQ(0, sender_start(&s));
	for (i = 1; i < GENS; i++) {
		flow_next(&g[i], &g[i - 1]);
		ASSERT_EQ(0, flow_add(self->tx, &g[i]));
		atomic_store(&s.flow, (uintptr_t)&g[i]);
		while (atomic_load(&s.gen) != i &&
		       atomic_load(&s.done) < s.calls) {
			got += drain(self->rx, g, i + 1, seen);
			sched_yield();
		}
	}
	while (atomic_load(&s.done) < s.calls)
		got += drain(self->rx, g, GENS, seen);
	pthread_join(s.thread, NULL);
	for (i = 0; i < s.calls; i++) {
		ASSERT_EQ(2 * PLAIN, s.ret[i])
			TH_LOG("call %u", i);
	}
	got += drain(self->rx, g, GENS, seen);
	ASSERT_EQ(2 * s.calls, got);
	for (i = 0; i < 2 * s.calls; i++)
		ASSERT_EQ(1, seen[i]);
}

TEST_F_TIMEOUT(life, threads_and_close, 120)
{
	static unsigned int seen[MAX_NUM];
	static struct sender s[THREADS];
	unsigned int i, j, sent = 0;

	for (i = 0; i < THREADS; i++) {
		s[i].fd = self->tx;
		s[i].to = &self->to;
		s[i].flow = (uintptr_t)&self->flow;
		s[i].first = i;
		s[i].step = THREADS;
		s[i].n = 1;
		s[i].calls = 1000;
		s[i].stop_at = -EBADF;
		ASSERT_EQ(0, sender_start(&s[i]));
	}
	while (atomic_load(&s[0].done) < 20)
		sched_yield();
	close(self->tx);
	for (i = 0; i < THREADS; i++)
		pthread_join(s[i].thread, NULL);
	self->tx = sock_udp(AF_INET);
	for (i = 0; i < THREADS; i++) {
		for (j = 0; j < s[i].calls && s[i].ret[j] == PLAIN; j++)
			sent++;
		if (j < s[i].calls)
			ASSERT_EQ(-EBADF, s[i].ret[j]);
	}
	collect(_metadata, self->rx, &self->flow, seen, sent);
	/* The flow went with the socket, but not the record of its key. */
	ASSERT_EQ(0, flow_add(self->tx, &self->flow));
	ASSERT_EQ(-EALREADY, send_num(self->tx, &self->to, &self->flow, 0));
	ASSERT_EQ(PLAIN, send_num(self->tx, &self->to, &self->flow, MAX_NUM));
}

/**
 * struct flipper - a thread that changes what a call is about
 * @thread: itself
 * @b: plaintext that is sent
 * @cid: byte of the connection ID that it changes
 * @fd: socket
 * @done: it is to end
 */
struct flipper {
	pthread_t thread;
	struct batch *b;
	uint8_t cid;
	int fd;
	atomic_bool done;
};

static void put_byte(uint8_t *p, uint8_t val)
{
	__atomic_store_n(p, val, __ATOMIC_RELAXED);
}

static void *flip_headers(void *arg)
{
	struct flipper *fl = arg;
	uint8_t *p = fl->b->plain;
	unsigned int i;

	for (i = 0; !atomic_load(&fl->done); i++) {
		put_byte(p, HDR_FIXED | 3 | HDR_LONG);
		put_byte(p + PLAIN, HDR_FIXED | 3 | HDR_PHASE);
		put_byte(p + 2 * PLAIN + 1, ~fl->cid);
		if (i % 64 == 0)
			sched_yield();
		put_byte(p, HDR_FIXED | 3);
		put_byte(p + PLAIN, HDR_FIXED | 3);
		put_byte(p + 2 * PLAIN + 1, fl->cid);
		if (i % 64 == 32)
			sched_yield();
	}
	return NULL;
}

static void *flip_gso(void *arg)
{
	struct flipper *fl = arg;
	unsigned int i;

	for (i = 0; !atomic_load(&fl->done); i++) {
		set_int(fl->fd, SOL_UDP, UDP_SEGMENT, i & 1 ? 100 : 0);
		sched_yield();
	}
	return NULL;
}

/* Calls fail or send sealed packets, whatever becomes of them meanwhile. */
static void send_flipped(struct __test_metadata *_metadata,
			 struct flipper *fl, uint16_t gso,
			 const struct sockaddr_storage *to, int rx,
			 const struct flow *f)
{
	static unsigned int seen[MAX_NUM];
	unsigned int i, sent = 0;
	struct tx tx;
	ssize_t ret;

	for (i = 0; i < 400; i++) {
		batch_init(fl->b, f, 3 * i, 3, 100, 100);
		batch_build(fl->b);
		tx_init(&tx, fl->fd, to);
		tx_batch(&tx, fl->b);
		tx.gso = gso;
		ret = tx_send(&tx);
		sent += ret > 0;
		/* Of several wrong headers, any may be seen. */
		if (ret < 0 && ret != -EBADMSG)
			ASSERT_EQ(-EINVAL, ret);
		while (!(ret = collect_one(rx, f, 1, seen, 0)))
			;
		ASSERT_EQ(-EAGAIN, ret);
		sched_yield();
	}
	ASSERT_LT(0, sent);
}

TEST_F_TIMEOUT(life, threads_and_headers, 120)
{
	static struct batch b;
	struct flipper fl = {
		.b = &b,
		.cid = self->flow.cid[0],
		.fd = self->tx,
	};

	ASSERT_EQ(0, pthread_create(&fl.thread, NULL, flip_headers, &fl));
	send_flipped(_metadata, &fl, 100, &self->to, self->rx, &self->flow);
	atomic_store(&fl.done, true);
	pthread_join(fl.thread, NULL);
}

TEST_F_TIMEOUT(life, threads_and_gso_size, 120)
{
	static struct batch b;
	struct flipper fl = { .b = &b, .fd = self->tx };

	ASSERT_EQ(0, pthread_create(&fl.thread, NULL, flip_gso, &fl));
	send_flipped(_metadata, &fl, 0, &self->to, self->rx, &self->flow);
	atomic_store(&fl.done, true);
	pthread_join(fl.thread, NULL);
}

/* Sockets and processes that end */

TEST_F(life, fork_exit)
{
	static unsigned int seen[MAX_NUM];
	int status;
	pid_t pid;

	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		_exit(send_num(self->tx, &self->to, &self->flow, 1) != PLAIN);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	ASSERT_EQ(0, status);
	/* One socket, one window; and it is still there. */
	ASSERT_EQ(-EALREADY, send_num(self->tx, &self->to, &self->flow, 1));
	ASSERT_EQ(PLAIN, send_num(self->tx, &self->to, &self->flow, 2));
	collect(_metadata, self->rx, &self->flow, seen, 2);
	ASSERT_EQ(1, seen[1]);
	ASSERT_EQ(1, seen[2]);
}

static int exit_child(void)
{
	static struct sender s[2];
	struct sockaddr_storage to;
	struct flow f;
	int i, tx;

	if (netns_enter() || sock_bound(AF_INET, &to) < 0)
		return 1;
	tx = sock_udp(AF_INET);
	for (i = 0; i < 20; i++) {
		flow_init(&f, TLS_CIPHER_AES_GCM_128, 8);
		f.id = i + 1;
		if (flow_add(tx, &f))
			return 2;
	}
	for (i = 0; i < 2; i++) {
		s[i].fd = tx;
		s[i].to = &to;
		s[i].flow = (uintptr_t)&f;
		s[i].first = i;
		s[i].step = 2;
		s[i].n = 1;
		s[i].calls = MAX_NUM;
		if (sender_start(&s[i]))
			return 3;
	}
	while (atomic_load(&s[0].done) < 20)
		sched_yield();
	return s[0].ret[0] == PLAIN ? 0 : 4;
}

/* The process, its threads, and the namespace with its flows end at once. */
TEST_F_TIMEOUT(life, netns_exit, 120)
{
	int i, status;
	pid_t pid;

	for (i = 0; i < 4; i++) {
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid)
			_exit(exit_child());
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		ASSERT_EQ(0, status);
	}
	ASSERT_EQ(PLAIN, send_num(self->tx, &self->to, &self->flow, 1));
}

TEST_F(life, unprivileged)
{
	static unsigned int seen[MAX_NUM];
	struct flow f;
	int tx;

	if (geteuid() == 0 && setresuid(65534, 65534, 65534))
		SKIP(return, "no other user to be: %s", strerror(errno));
	flow_init(&f, TLS_CIPHER_CHACHA20_POLY1305, 20);
	tx = sock_udp(AF_INET);
	ASSERT_EQ(0, attach_ulp(tx));
	ASSERT_EQ(0, flow_add(tx, &f));
	ASSERT_EQ(PLAIN, send_num(tx, &self->to, &f, 1));
	collect(_metadata, self->rx, &f, seen, 1);
	ASSERT_EQ(0, flow_del(tx, &f));
	close(tx);
}

static long module_refs(void)
{
	long refs = -1;
	FILE *f;

	f = fopen("/sys/module/quic_crypto/refcnt", "r");
	if (!f)
		return -1;
	if (fscanf(f, "%ld", &refs) != 1)
		refs = -1;
	fclose(f);
	return refs;
}

TEST_F(life, module_in_use)
{
	long refs = module_refs();
	int tx;

	if (refs < 0)
		SKIP(return, "quic_crypto is not a module");
	ASSERT_LT(0, refs);
	tx = sock_udp(AF_INET);
	ASSERT_EQ(refs, module_refs());
	ASSERT_EQ(0, attach_ulp(tx));
	ASSERT_EQ(refs + 1, module_refs());
	ASSERT_EQ(0, flow_add(tx, &self->flow));
	ASSERT_EQ(refs + 1, module_refs());
	if (!geteuid())
		ASSERT_EQ(-1, syscall(__NR_delete_module, "quic_crypto",
				      O_NONBLOCK));
	ASSERT_EQ(PLAIN, send_num(tx, &self->to, &self->flow, 1));
	close(tx);
	ASSERT_EQ(refs, module_refs());
}

/* A socket whose flows only receive */
TEST_F(life, module_in_use_rx)
{
	struct quic_connection_info ci;
	long refs = module_refs();
	struct sockaddr_storage to;
	char buf[8];
	int rx;

	if (refs < 0)
		SKIP(return, "quic_crypto is not a module");
	flow_info(&self->flow, &ci);
	ci.next_pkt_num = 0;
	rx = sock_bound(AF_INET, &to);
	ASSERT_EQ(0, setsockopt(rx, SOL_UDP, UDP_QUIC_ADD_RX_CONNECTION, &ci,
				sizeof(ci)));
	ASSERT_EQ(refs + 1, module_refs());
	if (!geteuid())
		ASSERT_EQ(-1, syscall(__NR_delete_module, "quic_crypto",
				      O_NONBLOCK));
	ASSERT_EQ(4, sendto(self->rx, "wire", 4, 0, (void *)&to,
			    addr_len(&to)));
	ASSERT_EQ(4, rx_recv(rx, buf, sizeof(buf), RX_TIMEOUT));
	/* The socket keeps its ULP without flows. */
	ASSERT_EQ(0, setsockopt(rx, SOL_UDP, UDP_QUIC_DEL_RX_CONNECTION,
				&ci.key, sizeof(ci.key)));
	ASSERT_EQ(refs + 1, module_refs());
	close(rx);
	ASSERT_EQ(refs, module_refs());
}

/* What does not go together */

TEST_F(life, addrform)
{
	struct sockaddr_storage to = self->to;
	static unsigned int seen[MAX_NUM];
	int tx, val = AF_INET;

	addr_mapped(&to);
	tx = sock_udp(AF_INET6);
	ASSERT_EQ(0, connect(tx, (void *)&to, addr_len(&to)));
	ASSERT_EQ(0, set_int(tx, SOL_IPV6, IPV6_ADDRFORM, val));
	close(tx);

	tx = sock_udp(AF_INET6);
	ASSERT_EQ(0, flow_add(tx, &self->flow));
	ASSERT_EQ(0, connect(tx, (void *)&to, addr_len(&to)));
	ASSERT_EQ(-EBUSY, set_int(tx, SOL_IPV6, IPV6_ADDRFORM, val));
	ASSERT_EQ(PLAIN, send_num(tx, NULL, &self->flow, 1));
	collect(_metadata, self->rx, &self->flow, seen, 1);
	close(tx);
}

TEST_F(life, encap)
{
	int tx = sock_udp(AF_INET);

	ASSERT_EQ(0, set_int(tx, SOL_UDP, UDP_ENCAP, UDP_ENCAP_L2TPINUDP));
	ASSERT_EQ(-EBUSY, attach_ulp(tx));
	ASSERT_EQ(-EBUSY, flow_add(tx, &self->flow));
	ASSERT_EQ(-EINVAL, send_num(tx, &self->to, &self->flow, 1));
	close(tx);
	ASSERT_EQ(-EBUSY, set_int(self->tx, SOL_UDP, UDP_ENCAP,
				  UDP_ENCAP_L2TPINUDP));
	ASSERT_EQ(PLAIN, send_num(self->tx, &self->to, &self->flow, 1));
}

TEST_F(life, udplite)
{
	int tx = socket(AF_INET, SOCK_DGRAM, IPPROTO_UDPLITE);

	if (tx < 0)
		SKIP(return, "UDP-Lite: %s", strerror(errno));
	ASSERT_EQ(-EINVAL, attach_ulp(tx));
	ASSERT_EQ(-EINVAL, flow_add(tx, &self->flow));
	ASSERT_EQ(-EINVAL, send_num(tx, &self->to, &self->flow, 1));
	close(tx);
}

static int sockmap_insert(int map, int fd)
{
	uint32_t key = 0, value = fd;
	union bpf_attr attr = {
		.map_fd = map,
		.key = (uintptr_t)&key,
		.value = (uintptr_t)&value,
	};

	return bpf_call(BPF_MAP_UPDATE_ELEM, &attr);
}

TEST_F(life, sockmap)
{
	union bpf_attr attr = {
		.map_type = BPF_MAP_TYPE_SOCKMAP,
		.key_size = 4,
		.value_size = 4,
		.max_entries = 1,
	};
	struct sockaddr_storage addr;
	int fd, map;

	map = bpf_call(BPF_MAP_CREATE, &attr);
	if (map < 0)
		SKIP(return, "sockmap: %s", strerror(-map));
	fd = sock_bound(AF_INET, &addr);
	ASSERT_EQ(0, sockmap_insert(map, fd));
	ASSERT_EQ(-EBUSY, attach_ulp(fd));
	ASSERT_EQ(-EBUSY, flow_add(fd, &self->flow));
	ASSERT_EQ(-EINVAL, send_num(fd, &self->to, &self->flow, 1));
	close(fd);

	fd = sock_bound(AF_INET, &addr);
	ASSERT_EQ(0, flow_add(fd, &self->flow));
	ASSERT_EQ(-EINVAL, sockmap_insert(map, fd));
	ASSERT_EQ(PLAIN, send_num(fd, &self->to, &self->flow, 1));
	close(fd);
	close(map);
}

/* Through IPsec: no GSO there, and no plaintext anywhere */

static const char ipsec_setup[] =
	"exec 2>&1; set -e; ip link add quic0 type dummy;"
	"ip addr add 10.9.0.1/24 dev quic0; ip link set quic0 up;"
	"path='src 10.9.0.1 dst 10.9.0.2'; esp='mode transport';"
	"gcm='rfc4106(gcm(aes)) 0x000102030405060708090a0b0c0d0e0f10111213';"
	"ip xfrm state add $path proto esp spi 1 $esp aead $gcm 128;"
	"ip xfrm policy add dir out $path tmpl proto esp $esp;";

TEST_F(life, ipsec)
{
	struct sockaddr_storage to = {};
	struct sockaddr_in *sin = (struct sockaddr_in *)&to;
	static struct batch b;
	int tx, cap, seen = 0;
	struct tx call;
	ssize_t len;

	ASSERT_EQ(0, netns_enter());
	if (system(ipsec_setup))
		SKIP(return, "no dummy device, no IPsec, or no ip tool");
	cap = capture_open();
	ASSERT_LE(0, cap);
	sin->sin_family = AF_INET;
	sin->sin_port = htons(4433);
	sin->sin_addr.s_addr = htonl(0x0a090002);
	tx = sock_udp(AF_INET);
	ASSERT_EQ(0, flow_add(tx, &self->flow));
	batch_init(&b, &self->flow, 1, 3, 100, 100);
	batch_build(&b);
	tx_init(&call, tx, &to);
	tx_batch(&call, &b);
	call.gso = 100;
	EXPECT_EQ(-EIO, tx_send(&call));
	EXPECT_EQ(PLAIN, send_num(tx, &to, &self->flow, 1));
	while ((len = rx_recv(cap, rxbuf, sizeof(rxbuf), 0)) >= 0) {
		EXPECT_FALSE(has_marker(rxbuf, len));
		seen++;
	}
	EXPECT_EQ(1, seen);
	close(tx);
	close(cap);
}

/* Memory */

static int file_write(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), ret = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

static long file_read_long(const char *path)
{
	long val = -1;
	FILE *f;

	f = fopen(path, "r");
	if (!f)
		return -1;
	if (fscanf(f, "%ld", &val) != 1)
		val = -1;
	fclose(f);
	return val;
}

#define CGROUP	"/sys/fs/cgroup/quic_life"

/* Flows are paid for by who installs them. */
TEST_F_TIMEOUT(life, memcg, 120)
{
	enum { FLOWS = 1000 };
	char pid[16];
	long before, after;
	struct flow f;
	int i;

	file_write("/sys/fs/cgroup/cgroup.subtree_control", "+memory");
	if (mkdir(CGROUP, 0755))
		SKIP(return, "no cgroup of our own: %s", strerror(errno));
	snprintf(pid, sizeof(pid), "%d", getpid());
	before = file_read_long(CGROUP "/memory.current");
	if (before < 0 || file_write(CGROUP "/cgroup.procs", pid)) {
		rmdir(CGROUP);
		SKIP(return, "no memory controller");
	}
	before = file_read_long(CGROUP "/memory.current");
	for (i = 0; i < FLOWS; i++) {
		flow_init(&f, TLS_CIPHER_CHACHA20_POLY1305, 8);
		EXPECT_EQ(0, flow_add(self->tx, &f));
	}
	after = file_read_long(CGROUP "/memory.current");
	/* The window of packet numbers alone has 512 bytes. */
	EXPECT_LE(before + FLOWS * 512L, after);
	close(self->tx);
	file_write("/sys/fs/cgroup/cgroup.procs", pid);
	rmdir(CGROUP);
}

/* The @nth allocation from now on fails, in this thread. */
static int fail_nth(int nth)
{
	char num[16];

	snprintf(num, sizeof(num), "%d", nth);
	return file_write("/proc/thread-self/fail-nth", num);
}

/* Did it come to that? Ends it. */
static bool failed_nth(void)
{
	long left = file_read_long("/proc/thread-self/fail-nth");

	fail_nth(0);
	return left == 0;
}

static int fail_setup(void)
{
	static const char * const files[] = {
		"failslab/ignore-gfp-wait", "failslab/cache-filter",
		"fail_page_alloc/ignore-gfp-wait",
		"fail_page_alloc/ignore-gfp-highmem",
	};
	char path[64];
	unsigned int i;
	int err;

	for (i = 0; i < ARRAY_SIZE(files); i++) {
		snprintf(path, sizeof(path), "/sys/kernel/debug/%s", files[i]);
		err = file_write(path, "N");
		if (err)
			return err;
	}
	file_write("/sys/kernel/debug/fail_page_alloc/min-order", "0");
	file_write("/sys/kernel/debug/fail_page_alloc/verbose", "0");
	file_write("/sys/kernel/debug/failslab/verbose", "0");
	file_write("/sys/kernel/debug/fail_usercopy/verbose", "0");
	return fail_nth(0);
}

/* Some allocations have a substitute; no other error comes of one failing. */
static bool fail_is_fine(int err)
{
	return err == -ENOMEM || err == -ENOBUFS || err == -EFAULT;
}

TEST_F_TIMEOUT(life, fault_add, 120)
{
	struct flow f, next;
	int i, err, tx;
	bool hit = true;

	err = fail_setup();
	if (err)
		SKIP(return, "no fault injection: %s", strerror(-err));
	for (i = 1; hit && i < 300; i++) {
		flow_init(&f, i & 1 ? TLS_CIPHER_AES_CCM_128 :
				      TLS_CIPHER_CHACHA20_POLY1305, 8);
		f.id = 1;
		tx = sock_udp(AF_INET);
		ASSERT_EQ(0, fail_nth(i / 2 + 1));
		err = flow_add(tx, &f);
		hit = failed_nth();
		if (err) {
			ASSERT_TRUE(hit);
			ASSERT_TRUE(fail_is_fine(err))
				TH_LOG("allocation %d: %s", i, strerror(-err));
			ASSERT_EQ(0, flow_add(tx, &f));
		}
		ASSERT_EQ(-EEXIST, flow_add(tx, &f));
		flow_next(&next, &f);
		fail_nth(i / 2 + 1);
		err = flow_add(tx, &next);
		failed_nth();
		if (err) {
			ASSERT_TRUE(fail_is_fine(err));
			ASSERT_EQ(-ENOKEY, send_num(tx, &self->to, &next, 1));
			ASSERT_EQ(0, flow_add(tx, &next));
		}
		ASSERT_EQ(PLAIN, send_num(tx, &self->to, &next, 1));
		ASSERT_EQ(PLAIN, send_num(tx, &self->to, &f, 1));
		close(tx);
	}
	ASSERT_FALSE(hit);
	ASSERT_LT(5, i);
}

static void three_packets(struct tx *tx, struct batch *b, int fd,
			  const struct sockaddr_storage *to,
			  const struct flow *f, uint64_t pn)
{
	batch_init(b, f, pn, 3, 1000, 1000);
	batch_build(b);
	tx_init(tx, fd, to);
	tx_batch(tx, b);
	tx->gso = 1000;
}

/* A call that fails has sent nothing and has used up no number. */
TEST_F_TIMEOUT(life, fault_send, 120)
{
	static unsigned int seen[MAX_NUM];
	static struct batch b;
	int i, err, n = 0, failures = 0;
	struct tx tx;
	bool hit = true;

	err = fail_setup();
	if (err)
		SKIP(return, "no fault injection: %s", strerror(-err));
	for (i = 1; hit && i < 100; i++, n += 3) {
		three_packets(&tx, &b, self->tx, &self->to, &self->flow, n);
		fail_nth(i);
		err = tx_send(&tx);
		hit = failed_nth();
		if (err < 0) {
			ASSERT_TRUE(fail_is_fine(err))
				TH_LOG("allocation %d: %s", i, strerror(-err));
			ASSERT_EQ(-EAGAIN, rx_recv(self->rx, rxbuf,
						   sizeof(rxbuf), 0));
			err = tx_send(&tx);
			failures++;
		}
		ASSERT_EQ((int)b.plain_len, err)
			TH_LOG("allocation %d", i);
		/* Without memory at the receiver, packets are lost. */
		while (!collect_one(self->rx, &self->flow, 1, seen, 0))
			;
	}
	ASSERT_FALSE(hit);
	ASSERT_LT(2, failures);
	for (i = 0; i < n; i++)
		ASSERT_GE(1, seen[i]);
	ASSERT_EQ(1, seen[n - 1]);
}

/* Where packets are segmented after they were sealed, and there is no memory
 * for that, they are lost: the call has not failed.
 */
TEST_F_TIMEOUT(life, fault_segment, 120)
{
	static unsigned int seen[MAX_NUM];
	struct counters old, now;
	int i, err, losses = 0;
	static struct batch b;
	bool hit = true;
	struct tx tx;

	err = fail_setup();
	if (err)
		SKIP(return, "no fault injection: %s", strerror(-err));
	if (system("ethtool -K lo tx-udp-segmentation off"))
		SKIP(return, "no ethtool");
	/* The namespace is that of the other tests, too. */
	for (i = 1; hit && i < 100; i++) {
		three_packets(&tx, &b, self->tx, &self->to, &self->flow, 3 * i);
		ASSERT_EQ(0, counters_read(&old));
		fail_nth(i);
		err = tx_send(&tx);
		hit = failed_nth();
		ASSERT_EQ(0, counters_read(&now));
		if (now.v[TX_LOST] == old.v[TX_LOST]) {
			if (err < 0)
				err = tx_send(&tx);
			ASSERT_EQ((int)b.plain_len, err);
			drain(self->rx, &self->flow, 1, seen);
			continue;
		}
		losses++;
		ASSERT_EQ((int)b.plain_len, err)
			TH_LOG("allocation %d", i);
		EXPECT_EQ(old.v[TX_LOST] + 3, now.v[TX_LOST]);
		EXPECT_EQ(old.v[TX_SW_PACKETS] + 3, now.v[TX_SW_PACKETS]);
		EXPECT_EQ(old.v[TX_SW_ERROR], now.v[TX_SW_ERROR]);
		ASSERT_EQ(-EALREADY, tx_send(&tx));
		ASSERT_EQ(0, drain(self->rx, &self->flow, 1, seen));
	}
	/* Other tests have this namespace, too. */
	EXPECT_EQ(0, system("ethtool -K lo tx-udp-segmentation on"));
	ASSERT_FALSE(hit);
	ASSERT_LT(0, losses);
}

int main(int argc, char **argv)
{
	if (netns_enter())
		missing = "no network namespace of our own";
	else
		missing = quic_missing();
	return test_harness_run(argc, argv);
}
