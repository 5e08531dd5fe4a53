// SPDX-License-Identifier: GPL-2.0
/*
 * What it costs to send QUIC packets: CPU time per packet, for several ways of
 * sealing them. See usage() and README.md.
 *
 * All modes do the same work but for sealing: write the headers of a batch,
 * then one sendmsg(). The payload stays in the buffer from call to call (user
 * space seals in place, so it encrypts its own ciphertext: ciphers do not
 * care). Modes take turns, A B C A B C ..., and each round gives one ratio of
 * each mode to the reference, which is what to look at: clocks and neighbours
 * that change during the run are in both of its terms.
 *
 * A mode is measured only after the packets of one of its calls have come out
 * of a loopback socket as another library seals them, byte by byte, and the
 * kernel's counters must account for all packets of a round.
 *
 * The modes "limit" and "crypto" send nothing: the kernel's AEAD seals the same
 * packets in a loop, by limit.patch, and in "crypto" its cipher for header
 * protection makes the masks. Less than that no kernel's sealing can cost.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <linux/errqueue.h>

#include "bench.h"

#define RING		16	/* buffers that MSG_ZEROCOPY takes turns with */
#define KEY_PACKETS	(1 << 21)	/* per key, what AES-CCM allows */

#define LIMIT_FILE	"/sys/kernel/debug/quic_limit"
#define LIMIT_MASKS	(1 << 17)	/* where they are in that file */

/**
 * struct call - arguments of a sendmsg(), one of those of a sendmmsg()
 * @to: destination
 * @iov: the data
 * @control: control messages
 * @anc: within @control, in modes that have it
 */
struct call {
	struct sockaddr_storage to;
	struct iovec iov;
	uint64_t control[16];
	struct quic_tx_ancillary_data *anc;
};

/**
 * struct worker - a thread that sends
 * @mode: what is measured
 * @flow: its flows
 * @flows: number of them
 * @next: which is next
 * @calls: how many it is to do
 * @to: destination
 * @msgs: calls that it does at once
 * @msg: their arguments
 * @call: and what those point to
 * @buf: buffers, RING of them
 * @sent: zerocopy calls so far
 * @done: those that are completed
 * @fd: socket
 * @cpu: where it is to run, -1 for anywhere
 * @start: all threads start together
 * @times: the result
 * @thread: the thread
 * @pid: or the process
 */
struct worker {
	const struct mode *mode;
	struct flow *flow;
	unsigned int flows;
	unsigned int next;
	unsigned long calls;
	struct sockaddr_storage to;
	unsigned int msgs;
	struct mmsghdr *msg;
	struct call *call;
	uint8_t *buf;
	uint32_t sent;
	uint32_t done;
	int fd;
	int cpu;
	pthread_barrier_t *start;
	struct times times;
	pthread_t thread;
	pid_t pid;
};

/* What the file of limit.patch wants to know, once and for each key */
struct quic_limit {
	char alg[64];
	char hp[64];
	uint32_t key_len;
	uint32_t iv_off;
	uint32_t size;
	uint32_t hdr;
};

struct quic_limit_key {
	uint8_t key[32];
	uint8_t hp[32];
	uint8_t iv[16];
	uint64_t pn;
};

/* Flows */

/* Make room for @packets below the limit of the key. Not timed. */
static void flow_update(struct flow *f, const struct worker *w,
			unsigned long packets)
{
	if (packets > KEY_PACKETS)
		die("more packets per round than a key may seal");
	if (f->sealed + packets > KEY_PACKETS) {
		f->gen++;
		f->sealed = 0;
		fill_random(f->keys.key, sizeof(f->keys.key));
		fill_random(f->keys.iv, sizeof(f->keys.iv));
		flow_opt(f, w->fd, UDP_QUIC_ADD_TX_CONNECTION, &w->to);
	}
	f->sealed += packets;
}

/* Packets */

static unsigned int pkt_stride(const struct mode *m)
{
	return in_kernel(m) && opt.packed ? opt.size - TAG : opt.size;
}

/* The limit */

static void limit_write(int fd, const void *data, size_t len)
{
	if (write(fd, data, len) != (ssize_t)len)
		die("%s: %m", LIMIT_FILE);
}

/* With packets, but without a key */
static int limit_open(const struct mode *m)
{
	size_t len = opt.batch * opt.size;
	struct quic_limit q = {
		.key_len = ciphers[opt.cipher].key_len,
		.iv_off = opt.cipher == AES_128_CCM,
		.size = opt.size,
		.hdr = 1 + opt.cid_len + PN_LEN,
	};
	int fd = open(LIMIT_FILE, O_RDWR);
	uint8_t *arg;

	if (fd < 0)
		die("%s: %s: %m; this kernel is without limit.patch", m->name,
		    LIMIT_FILE);
	/* in place of the API's AEAD, the ULP has the library's ChaCha20 */
	if (m->how == LIMIT || opt.cipher != CHACHA20)
		strcpy(q.alg, ciphers[opt.cipher].alg);
	if (m->how == CRYPTO)
		strcpy(q.hp, ciphers[opt.cipher].hp);
	arg = xcalloc(1, sizeof(q) + len);
	memcpy(arg, &q, sizeof(q));
	fill_random(arg + sizeof(q), len);
	limit_write(fd, arg, sizeof(q) + len);
	free(arg);
	return fd;
}

static void limit_add(int fd, const struct mode *m, struct flow *f)
{
	bool ccm = opt.cipher == AES_128_CCM;
	struct quic_limit_key k;

	/* that library's nonces have 8 bytes */
	if (m->how == CRYPTO && opt.cipher == CHACHA20)
		memset(f->keys.iv, 0, IV_LEN - 8);
	f->pn = FIRST_PN;
	memset(&k, 0, sizeof(k));
	k.pn = f->pn;
	memcpy(k.key, f->keys.key, sizeof(k.key));
	memcpy(k.hp, f->keys.hp, sizeof(k.hp));
	memcpy(k.iv + ccm, f->keys.iv, IV_LEN);
	if (ccm)	/* length of the length field, less one */
		k.iv[0] = 2;
	limit_write(fd, &k, sizeof(k));
}

static void limit_seal(int fd, unsigned long batches)
{
	if (ioctl(fd, 0, batches))
		die("%s: %m", LIMIT_FILE);
}

static void limit_read(int fd, void *data, size_t len, off_t off)
{
	if (pread(fd, data, len, off) != (ssize_t)len)
		die("%s: %m", LIMIT_FILE);
}

/* Calls */

static void call_init(struct call *c, struct msghdr *msg,
		      const struct mode *m, const struct sockaddr_storage *to)
{
	struct quic_tx_ancillary_data anc = {
		.flags = m->how == BYPASS ? QUIC_BYPASS_ENCRYPTION :
			 (opt.packed ? 0 : QUIC_TX_TAG_ROOM) |
			 (m->how == FLOWID ? QUIC_TX_FLOW_ID : 0),
		.conn_id_length = opt.cid_len,
	};
	uint16_t gso = opt.size;

	c->to = *to;
	c->iov.iov_len = (size_t)opt.batch * pkt_stride(m);
	msg->msg_name = &c->to;
	msg->msg_namelen = addr_len(to);
	msg->msg_iov = &c->iov;
	msg->msg_iovlen = 1;
	msg->msg_control = c->control;
	if (opt.batch > 1)
		cmsg_put(msg, UDP_SEGMENT, &gso, sizeof(gso));
	if (in_kernel(m) || m->how == BYPASS)
		c->anc = cmsg_put(msg, UDP_QUIC_ENCRYPT, &anc, sizeof(anc));
	if (!msg->msg_controllen)
		msg->msg_control = NULL;
}

static void worker_init(struct worker *w, const struct mode *m, int fd,
			struct flow *flow, unsigned int flows,
			const struct sockaddr_storage *to, unsigned int msgs)
{
	unsigned int i;

	memset(w, 0, sizeof(*w));
	w->mode = m;
	w->cpu = -1;
	w->fd = fd;
	w->flow = flow;
	w->flows = flows;
	w->to = *to;
	w->msgs = msgs;
	w->msg = xcalloc(msgs, sizeof(*w->msg));
	w->call = xcalloc(msgs, sizeof(*w->call));
	for (i = 0; i < msgs; i++)
		call_init(&w->call[i], &w->msg[i].msg_hdr, m, to);
	/* A private buffer would be copied after each fork. */
	w->buf = mmap(NULL, RING << 16, PROT_READ | PROT_WRITE,
		      (opt.processes ? MAP_SHARED : MAP_PRIVATE) |
		      MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (w->buf == MAP_FAILED)
		die("no memory");
	fill_random(w->buf, RING << 16);
}

static void worker_exit(struct worker *w)
{
	munmap(w->buf, RING << 16);
	free(w->call);
	free(w->msg);
}

/* Completions of zerocopy calls, until at most @left are outstanding */
static void worker_reap(struct worker *w, uint32_t left, bool copied_ok)
{
	struct pollfd p = { .fd = w->fd };
	struct sock_extended_err *ee;
	uint64_t control[32];

	while (w->sent - w->done > left) {
		struct msghdr msg = {
			.msg_control = control,
			.msg_controllen = sizeof(control),
		};

		if (recvmsg(w->fd, &msg, MSG_ERRQUEUE | MSG_DONTWAIT) < 0) {
			if (errno != EAGAIN || poll(&p, 1, 1000) != 1)
				die("no completion of zerocopy: %m");
			continue;
		}
		if (!CMSG_FIRSTHDR(&msg))
			die("the error queue has no control message");
		ee = (void *)CMSG_DATA(CMSG_FIRSTHDR(&msg));
		if (ee->ee_errno || ee->ee_origin != SO_EE_ORIGIN_ZEROCOPY)
			die("the error queue has something else");
		if ((ee->ee_code & SO_EE_CODE_ZEROCOPY_COPIED) && !copied_ok)
			die("the kernel copied what was sent with zerocopy");
		w->done += ee->ee_data - ee->ee_info + 1;
	}
}

/* Headers and, in user space, sealing */
static void call_fill(struct worker *w, struct call *c, uint8_t *buf)
{
	const struct mode *m = w->mode;
	struct flow *f = &w->flow[w->next];

	if (++w->next == w->flows)
		w->next = 0;
	pkt_headers(f, buf, pkt_stride(m));
	if (m->how == USER && pkt_seal(m->lib, f->ctx, f, buf))
		die("%s cannot seal", libs[m->lib]);
	if (c->anc) {
		c->anc->next_pkt_num = f->pn;
		c->anc->flow_id = f->id;
	}
	f->pn += opt.batch;
	c->iov.iov_base = buf;
}

static uint8_t *worker_zerocopy_buf(struct worker *w)
{
	if (w->sent - w->done == RING)
		worker_reap(w, RING - 1, false);
	return w->buf + (w->sent++ % RING << 16);
}

/* As many calls as are done at once: this is what is measured. */
static void worker_call(struct worker *w)
{
	size_t len = w->call[0].iov.iov_len;
	const struct mode *m = w->mode;
	int flags = 0, ret;
	uint8_t *buf;
	unsigned int i;

	buf = w->buf;
	if (m->zerocopy) {
		buf = worker_zerocopy_buf(w);
		flags = MSG_ZEROCOPY;
	}
	for (i = 0; i < w->msgs; i++)
		call_fill(w, &w->call[i], buf + i * len);
	if (m->how == SYSCALL) {
		syscall(SYS_getppid);
		return;
	}
	if (w->msgs == 1)
		ret = sendmsg(w->fd, &w->msg[0].msg_hdr, flags);
	else
		ret = sendmmsg(w->fd, w->msg, w->msgs, flags);
	if (ret != (w->msgs == 1 ? (int)len : (int)w->msgs))
		die("%s: sending returned %d: %m", m->name, ret);
}

/* The CPU of the thread @n of many: each has one, as long as there are any */
static int worker_cpu(unsigned int n)
{
	cpu_set_t set;
	int cpu;

	if (opt.threads == 1 || sched_getaffinity(0, sizeof(set), &set))
		return -1;
	for (cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &set) && !n--)
			return cpu;
	return -1;
}

static void worker_pin(const struct worker *w)
{
	cpu_set_t set;

	if (w->cpu < 0)
		return;
	CPU_ZERO(&set);
	CPU_SET(w->cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		die("CPU %d: %m", w->cpu);
}

static void *worker_run(void *arg)
{
	struct worker *w = arg;
	struct times start;
	unsigned long i;

	worker_pin(w);
	if (w->start)
		pthread_barrier_wait(w->start);
	start = times_now();
	if (in_loop(w->mode))
		limit_seal(w->fd, w->calls);
	for (i = 0; !in_loop(w->mode) && i < w->calls; i += w->msgs)
		worker_call(w);
	if (w->mode->zerocopy)
		worker_reap(w, 0, false);
	w->times = times_since(&start);
	return NULL;
}

/* Modes */

/* @p: the name without prefix and suffixes */
static void mode_how(struct mode *m, const char *p)
{
	static const struct {
		const char *name;
		enum how how;
		bool device;
	} modes[] = {
		{ "syscall", SYSCALL, false },
		{ "plain", PLAIN, false },
		{ "plain-before", PLAIN, false },
		{ "plain-ulp", ULP, false },
		{ "bypass", BYPASS, false },
		{ "limit", LIMIT, false },
		{ "crypto", CRYPTO, false },
		{ "kernel", KERNEL, false },
		{ "kernel-flowid", FLOWID, false },
		{ "device", KERNEL, true },
		{ "device-flowid", FLOWID, true },
	};
	size_t i;

	if (!strncmp(p, "user-", 5)) {
		m->how = USER;
		m->lib = mode_lib(p + 5);
		return;
	}
	for (i = 0; strcmp(p, modes[i].name); )
		if (++i == sizeof(modes) / sizeof(*modes))
			die("no such mode: %s", m->name);
	m->how = modes[i].how;
	m->device = modes[i].device;
	if (m->zerocopy && m->how != PLAIN)
		die("%s: not with zerocopy", m->name);
}

static void mode_parse(struct mode *m, const char *name)
{
	char p[sizeof(m->name)];
	bool there;

	if (strlen(name) >= sizeof(p))
		die("no such mode: %s", name);
	strcpy(m->name, name);
	strcpy(p, name);
	m->receive = !strncmp(p, "rx-", 3);
	if (m->receive)
		memmove(p, p + 3, strlen(p + 3) + 1);
	m->flows = mode_suffix(p, "/1") ? 1 : opt.flows / opt.threads;
	there = mode_suffix(p, "@device");
	m->zerocopy = mode_suffix(p, "+zerocopy");
	mode_how(m, p);
	if (there && (in_kernel(m) || in_loop(m) || m->how == SYSCALL))
		die("no such mode: %s", name);
	if (m->receive && (in_loop(m) || m->how == BYPASS || m->zerocopy ||
			   m->how == FLOWID))
		die("no such mode: %s", name);
	m->to = there || m->device ? &opt.device : &opt.to;
	if (!m->to->ss_family)
		die("%s: needs -D", name);
}

static int mode_socket(const struct mode *m)
{
	int one = 1, fd;

	if (in_loop(m))
		return limit_open(m);
	fd = socket(m->to->ss_family, SOCK_DGRAM, 0);
	if (fd < 0)
		die("socket: %m");
	if (m->zerocopy &&
	    setsockopt(fd, SOL_SOCKET, SO_ZEROCOPY, &one, sizeof(one)))
		die("SO_ZEROCOPY: %m");
	if ((in_kernel(m) || m->how == ULP || m->how == BYPASS) &&
	    setsockopt(fd, SOL_UDP, UDP_ULP, QUIC_CRYPTO_ULP_NAME,
		       strlen(QUIC_CRYPTO_ULP_NAME)))
		die("%s: this kernel has no %s: %m", m->name,
		    QUIC_CRYPTO_ULP_NAME);
	return fd;
}

static void mode_init(struct mode *m)
{
	unsigned int n = m->flows, t, i;

	if (m->zerocopy && opt.threads > 1 && !opt.own_sockets)
		die("%s: threads need own sockets (-S)", m->name);
	if (m->zerocopy && opt.msgs > 1)
		die("%s: not with -M", m->name);
	m->round = xcalloc(opt.rounds, sizeof(*m->round));
	for (t = 0; t < opt.threads; t++) {
		m->fd[t] = t && !opt.own_sockets && !in_loop(m) ?
			   m->fd[0] : mode_socket(m);
		m->flow[t] = shared_alloc(n, sizeof(*m->flow[t]));
		for (i = 0; i < n; i++) {
			struct flow *f = &m->flow[t][i];

			flow_init(f, m->how == FLOWID ? t * n + i + 1 : 0);
			if (m->how == USER) {
				f->ctx = sealers[m->lib]->flow(&f->keys);
				if (!f->ctx)
					die("%s has no %s", libs[m->lib],
					    ciphers[opt.cipher].name);
			} else if (in_kernel(m)) {
				flow_opt(f, m->fd[t],
					 UDP_QUIC_ADD_TX_CONNECTION, m->to);
			} else if (in_loop(m)) {
				limit_add(m->fd[t], m, f);
			}
		}
	}
}

/* Die unless @got is what each other library makes of @plain */
static void verify_like(const struct mode *m, const struct flow *f,
			const uint8_t *plain, const uint8_t *got)
{
	/* the limit is without header protection */
	size_t skip = m->how == LIMIT ? 1 + opt.cid_len + PN_LEN : 0;
	unsigned int compared = 0, lib, i;
	uint8_t *want;
	void *ctx;

	want = xcalloc(opt.batch, opt.size);
	for (lib = 0; lib < N_LIBS; lib++) {
		if (!sealers[lib] || (m->how == USER && lib == m->lib))
			continue;
		ctx = sealers[lib]->flow(&f->keys);
		if (!ctx)
			continue;
		memcpy(want, plain, opt.batch * opt.size);
		if (pkt_seal(lib, ctx, f, want))
			die("%s cannot seal", libs[lib]);
		for (i = 0; i < opt.batch; i++)
			if (memcmp(want + i * opt.size + skip,
				   got + i * opt.size + skip, opt.size - skip))
				die("%s and %s do not seal alike", m->name,
				    libs[lib]);
		compared++;
	}
	if (!compared)
		die("%s: no other library to compare with", m->name);
	free(want);
}

/* A batch by each of the first keys, in turn */
static void limit_verify(const struct mode *m)
{
	size_t len = opt.batch * opt.size;
	uint8_t mask[MAX_BATCH * SAMPLE];
	uint8_t *plain, *got;
	unsigned int i;

	plain = xcalloc(opt.batch, opt.size);
	got = xcalloc(opt.batch, opt.size);
	for (i = 0; i < m->flows && i < 3; i++) {
		const struct flow *f = &m->flow[0][i];
		struct batch b = pkt_batch(f, got);

		limit_read(m->fd[0], plain, len, 0);
		limit_seal(m->fd[0], 1);
		limit_read(m->fd[0], got, len, 0);
		if (m->how == CRYPTO) {
			limit_read(m->fd[0], mask, opt.batch * SAMPLE,
				   LIMIT_MASKS);
			seal_mask(&b, mask);
		}
		verify_like(m, f, plain, got);
	}
	free(plain);
	free(got);
}

/* A socket on the loopback device, with its address in @to */
static int verify_socket(const struct mode *m, struct sockaddr_storage *to)
{
	struct timeval tv = { .tv_sec = 5 };
	socklen_t len = sizeof(*to);
	int size = 1 << 21, rx;

	addr_parse(to, m->to->ss_family == AF_INET ? "127.0.0.1" : "::1");
	((struct sockaddr_in *)to)->sin_port = 0;	/* sin6_port, too */
	rx = socket(to->ss_family, SOCK_DGRAM, 0);
	if (rx < 0 || bind(rx, (void *)to, addr_len(to)) ||
	    getsockname(rx, (void *)to, &len) ||
	    setsockopt(rx, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)))
		die("loopback socket: %m");
	setsockopt(rx, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	return rx;
}

/* The batch that the next call of @w is going to seal */
static uint8_t *verify_plain(const struct worker *w, const struct flow *f)
{
	size_t stride = pkt_stride(w->mode);
	uint8_t *plain = xcalloc(opt.batch, opt.size);
	unsigned int i;

	for (i = 0; i < opt.batch; i++)
		memcpy(plain + i * opt.size, w->buf + i * stride, stride);
	pkt_headers(f, plain, opt.size);
	return plain;
}

static uint8_t *verify_recv(const struct mode *m, int rx)
{
	uint8_t *got = xcalloc(opt.batch, opt.size + 1);
	unsigned int i;

	for (i = 0; i < opt.batch; i++)
		if (recv(rx, got + i * opt.size, opt.size + 1, 0) !=
		    (ssize_t)opt.size)
			die("%s: packet %u of %u did not arrive", m->name, i,
			    opt.batch);
	return got;
}

/*
 * Send one batch to a socket of our own, by the very socket that is going to
 * be measured, and compare what comes with what the other libraries make of it.
 */
static void mode_verify(const struct mode *m)
{
	struct sockaddr_storage to;
	uint8_t *plain, *got;
	struct worker w;
	struct flow f;
	int rx;

	if (m->how == SYSCALL)
		return;
	if (in_loop(m)) {
		limit_verify(m);
		return;
	}

	rx = verify_socket(m, &to);
	flow_init(&f, m->how == FLOWID ? UINT32_MAX : 0);
	f.pn = FIRST_PN;
	if (m->how == USER)
		f.ctx = sealers[m->lib]->flow(&f.keys);
	else if (in_kernel(m))
		flow_opt(&f, m->fd[0], UDP_QUIC_ADD_TX_CONNECTION, &to);
	worker_init(&w, m, m->fd[0], &f, 1, &to, 1);

	plain = verify_plain(&w, &f);
	worker_call(&w);
	f.pn -= opt.batch;
	got = verify_recv(m, rx);
	if (sealed(m))
		verify_like(m, &f, plain, got);
	else if (memcmp(plain, got, opt.batch * opt.size))
		die("%s: wrong packets", m->name);

	if (m->zerocopy)
		worker_reap(&w, 0, true);
	if (in_kernel(m))
		flow_opt(&f, m->fd[0], UDP_QUIC_DEL_TX_CONNECTION, &to);
	worker_exit(&w);
	close(rx);
	free(plain);
	free(got);
}

static void worker_start(struct worker *w)
{
	pid_t pid;

	if (!opt.processes) {
		if (pthread_create(&w->thread, NULL, worker_run, w))
			die("no thread");
		return;
	}
	pid = fork();
	if (pid < 0)
		die("no process: %m");
	if (!pid) {
		worker_run(w);
		_exit(0);
	}
	w->pid = pid;
}

static void worker_wait(struct worker *w)
{
	int status;

	if (!opt.processes)
		pthread_join(w->thread, NULL);
	else if (waitpid(w->pid, &status, 0) != w->pid || status)
		die("a process has failed");
}

/* Where all threads or processes wait for each other */
static pthread_barrier_t *barrier(void)
{
	static pthread_barrier_t *b;
	pthread_barrierattr_t attr;

	if (b)
		return b;
	b = shared_alloc(1, sizeof(*b));
	if (pthread_barrierattr_init(&attr) ||
	    pthread_barrierattr_setpshared(&attr, PTHREAD_PROCESS_SHARED) ||
	    pthread_barrier_init(b, &attr, opt.threads))
		die("no barrier");
	return b;
}

/* @calls calls, divided among the threads */
static struct times mode_run(const struct mode *m, struct worker *w,
			     unsigned long calls)
{
	unsigned int n = m->flows, t, i;
	unsigned long per = calls / opt.threads;
	struct times sum = { 0 };

	for (t = 0; t < opt.threads; t++) {
		w[t].calls = per;
		w[t].start = opt.threads > 1 ? barrier() : NULL;
		for (i = 0; in_kernel(m) && i < n; i++)
			flow_update(&w[t].flow[i], &w[t],
				    (per / n + 1) * opt.batch);
		if (t)
			worker_start(&w[t]);
	}
	worker_run(&w[0]);
	for (t = 0; t < opt.threads; t++) {
		if (t)
			worker_wait(&w[t]);
		sum.cpu += w[t].times.cpu;
		sum.rusage += w[t].times.rusage;
		if (w[t].times.wall > sum.wall)
			sum.wall = w[t].times.wall;
	}
	return sum;
}

/* A round that counts: who has sealed must be as the name of the mode says */
static struct times mode_round(const struct mode *m, struct worker *w,
			       unsigned long calls)
{
	unsigned long want = in_kernel(m) ? calls * opt.batch : 0;
	unsigned long sw = counter("QuicTxSwPackets");
	unsigned long dev = counter("QuicTxDevicePackets");
	struct times t = mode_run(m, w, calls);

	sw = counter("QuicTxSwPackets") - sw;
	dev = counter("QuicTxDevicePackets") - dev;
	/* software may have sealed until the device had a new key */
	if (sw + dev != want || (m->device ? dev < want / 100 * 99 : dev))
		die("%s: of %lu packets, %lu sealed by software, "
		    "%lu by the device", m->name, want, sw, dev);
	return t;
}

static struct times run(const struct mode *m, struct worker *w,
			unsigned long calls)
{
	return m->receive ? recv_run(m, calls) : mode_run(m, w, calls);
}

static struct times run_round(const struct mode *m, struct worker *w,
			      unsigned long calls)
{
	return m->receive ? recv_round(m, calls) : mode_round(m, w, calls);
}

/* Sockets, flows and threads of all modes, and a batch of each mode */
static void measure_init(struct mode *m, unsigned int n, struct worker **w)
{
	int cpu[MAX_THREADS];
	unsigned int i, t;

	for (t = 0; t < opt.threads; t++)
		cpu[t] = worker_cpu(t);
	for (i = 0; i < n; i++) {
		if (m[i].receive) {
			recv_init(&m[i]);
			recv_verify(&m[i]);
			continue;
		}
		mode_init(&m[i]);
		mode_verify(&m[i]);
		w[i] = shared_alloc(opt.threads, sizeof(*w[i]));
		for (t = 0; t < opt.threads; t++) {
			worker_init(&w[i][t], &m[i], m[i].fd[t], m[i].flow[t],
				    m[i].flows, m[i].to, opt.msgs);
			w[i][t].cpu = cpu[t];
		}
	}
	fprintf(stderr, "quic_bench: all modes do what they are to do\n");
}

/* Calls of a round: those of -n, or what takes @ref opt.ms milliseconds */
static unsigned long measure_calls(const struct mode *ref, struct worker *w)
{
	unsigned int unit = opt.threads * opt.msgs;
	unsigned long calls = opt.calls;
	uint64_t ns = 0;

	if (!calls) {
		for (calls = 4 * unit; ns < NSEC / 20; calls *= 2)
			ns = run(ref, w, calls).cpu;
		calls = calls / 2 * (double)opt.ms * 1000000 / ns + 1;
	}
	return (calls + unit - 1) / unit * unit;
}

static void compare_clocks(const struct mode *m, unsigned int n)
{
	unsigned int i, r;
	double off;

	for (i = 0; i < n; i++) {
		off = 0;
		for (r = 0; r < opt.rounds; r++)
			off += (double)m[i].round[r].rusage /
			       m[i].round[r].cpu / opt.rounds;
		if (!opt.insns && !opt.wall && (off < 0.95 || off > 1.05))
			fprintf(stderr,
				"quic_bench: %s: getrusage() disagrees with "
				"the CPU clock by %.0f%%\n",
				m[i].name, (off - 1) * 100);
	}
}

static void measure(struct mode *m, unsigned int n)
{
	const struct mode *less = opt.less ? mode_find(m, n, opt.less) : NULL;
	const struct mode *ref = less == &m[0] ? &m[n - 1] : &m[0];
	struct worker *w[MAX_MODES] = { NULL };
	unsigned long calls, packets;
	unsigned int i, r;

	if (opt.ref)
		ref = mode_find(m, n, opt.ref);
	if (ref == less)
		die("%s is all that is measured", less->name);
	measure_init(m, n, w);

	/* warm up */
	for (i = 0; i < n; i++)
		run(&m[i], w[i], 10 * opt.threads * opt.msgs);
	calls = measure_calls(ref, w[ref - m]);
	packets = calls * opt.batch;

	for (r = 0; r < opt.rounds; r++)
		for (i = 0; i < n; i++)
			m[i].round[r] = run_round(&m[i], w[i], calls);

	compare_clocks(m, n);
	print_table(m, n, ref, less, packets);
	print_ratios(m, n, less);
	if (opt.lines)
		print_lines(m, n, packets);
}

/* kB that programs could still have */
static long mem_available(void)
{
	FILE *f = fopen("/proc/meminfo", "r");
	char line[128];
	long kb = 0;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "MemAvailable: %ld", &kb) == 1)
			break;
	if (f)
		fclose(f);
	return kb;
}

/* A result of install(): what was done to flows, those from @from to @to */
static void install_print(FILE *lines, const char *what, unsigned long from,
			  unsigned long to, const struct times *t, long kb)
{
	unsigned long n = to - from;

	printf("%-9s%9lu%9lu%14.0f%11.0f%13.0f\n", what, from, to,
	       (double)t->cpu / n, (double)n * NSEC / t->wall, kb * 1024.0 / n);
	if (lines)
		fprintf(lines, "%s\t%s\t%lu\t%lu\t%lu\t%lu\t%ld\n", what,
			ciphers[opt.cipher].name, from, to, t->cpu, t->wall,
			kb);
}

static void install_add(FILE *lines, int fd, struct flow *flows,
			unsigned long from, unsigned long to)
{
	long before = mem_available();
	struct times start = times_now(), t;
	unsigned long i;

	for (i = from; i < to; i++) {
		flow_init(&flows[i], i + 1);
		flow_opt(&flows[i], fd, UDP_QUIC_ADD_TX_CONNECTION, &opt.to);
	}
	t = times_since(&start);
	install_print(lines, "add", from, to, &t, before - mem_available());
}

static void install_del(FILE *lines, int fd, struct flow *flows,
			unsigned long from, unsigned long to)
{
	struct times start = times_now(), t;
	unsigned long i;

	for (i = from; i < to; i++)
		flow_opt(&flows[i], fd, UDP_QUIC_DEL_TX_CONNECTION, &opt.to);
	t = times_since(&start);
	install_print(lines, "del", from, to, &t, 0);
}

/* Connections that come and go: one more flow, again and again */
static void install_replace(FILE *lines, int fd, unsigned long n)
{
	struct times start = times_now(), t;
	struct flow f;
	unsigned long i;

	for (i = 0; i < n; i++) {
		flow_init(&f, UINT32_MAX);
		flow_opt(&f, fd, UDP_QUIC_ADD_TX_CONNECTION, &opt.to);
		flow_opt(&f, fd, UDP_QUIC_DEL_TX_CONNECTION, &opt.to);
	}
	t = times_since(&start);
	install_print(lines, "replace", 0, n, &t, 0);
}

static void install_close(FILE *lines, int fd, unsigned long n)
{
	struct times start = times_now(), t;

	close(fd);
	t = times_since(&start);
	install_print(lines, "close", 0, n, &t, 0);
}

/* How long it takes to add, remove and replace flows and to close a socket that
 * has some, and the memory of flows
 */
static void install(void)
{
	static const struct mode m = {
		.name = "install", .how = KERNEL, .to = &opt.to,
	};
	unsigned long from = 0, to, left = opt.install - opt.install / 2;
	struct flow *flows = xcalloc(opt.install, sizeof(*flows));
	int fd = mode_socket(&m);
	FILE *lines = NULL;

	/* the pages are not to be counted as memory of flows */
	memset(flows, 0xff, opt.install * sizeof(*flows));
	printf("%s: flows of a socket\n%9s%9s%9s%14s%11s%13s\n",
	       ciphers[opt.cipher].name, "", "from", "to", "CPU ns/flow",
	       "flows/s", "bytes/flow");
	if (opt.lines)
		lines = lines_open("what\tcipher\tfrom\tto\t"
				   "cpu_ns\twall_ns\tkbytes");
	for (to = 1; from < opt.install; to = to == 1 ? 1000 : to * 10) {
		if (to == 10000)	/* 1, 1000, 100000, 1000000 */
			continue;
		if (to > opt.install)
			to = opt.install;
		install_add(lines, fd, flows, from, to);
		from = to;
	}
	if (left < opt.install)
		install_del(lines, fd, flows, left, opt.install);
	install_replace(lines, fd, opt.install);
	install_close(lines, fd, left);
	if (lines)
		lines_close(lines);
	free(flows);
}

static const char usage_text[] =
	"usage: quic_bench [option...]\n"
	"CPU time per packet of sending and receiving QUIC packets, sealed\n"
	"and opened in different ways\n"
	"  -m a,b,...  modes: syscall, plain, plain-ulp, user-openssl,\n"
	"              user-boringssl, user-gnutls, kernel, kernel-flowid,\n"
	"              device, device-flowid, bypass, limit, crypto;\n"
	"              plain-before is plain, before any socket of this\n"
	"              kernel had the ULP; bypass asks the ULP to do nothing;\n"
	"              limit is the kernel's AEAD in a loop, crypto that and\n"
	"              the masks of header protection; after plain or\n"
	"              user-...: +zerocopy; after those, plain-ulp, and\n"
	"              bypass: @device, sent to the address of -D; after any:\n"
	"              /1, with one flow whatever -f says\n"
	"              rx-plain, rx-plain-ulp, rx-user-..., rx-kernel,\n"
	"              rx-device, rx-syscall receive; rx-...@device: from the\n"
	"              namespace of -N\n"
	"  -R mode     what the others are compared with (first, or last)\n"
	"  -E mode     leave what is in this mode out of the table: with\n"
	"              syscall, the cost of system calls where they are\n"
	"              emulated\n"
	"  -d address  destination, to be one that discards (192.0.2.2)\n"
	"  -D address  the same, by a device that seals; for the device modes\n"
	"  -L address  own address that packets of -N have to be sent to\n"
	"  -N netns    file of the network namespace on the other side of the\n"
	"              device that opens\n"
	"  -c cipher   aes-128-gcm, aes-256-gcm, aes-128-ccm, chacha20\n"
	"  -s bytes    size of a packet, UDP payload (1200)\n"
	"  -b packets  per call (50, or what a datagram has room for)\n"
	"  -M calls    at once, by sendmmsg(), where system calls are\n"
	"              emulated (1)\n"
	"  -f flows    per run, one call each in turn (1)\n"
	"  -t threads  (1), which share one socket and divide the flows\n"
	"  -S          a socket for each thread\n"
	"  -F          processes in place of threads\n"
	"  -P          the kernel gets packets without room for tags\n"
	"  -l bytes    length of connection IDs (8)\n"
	"  -r rounds   (15)\n"
	"  -T ms       per round and mode (200)\n"
	"  -n calls    per round and mode, in place of -T\n"
	"  -i          count instructions, for QEMU with -icount shift=0\n"
	"  -w          measure elapsed time in place of CPU time\n"
	"  -I flows    only measure adding, removing and replacing that many\n"
	"              flows, and closing their socket\n"
	"  -W          only compare the times of packets that do not open\n"
	"  -j file     append a line per round and mode, for programs\n";

__attribute__((noreturn))
static void usage(void)
{
	fputs(usage_text, stderr);
	exit(2);
}

static void option_cipher(const char *name)
{
	while (opt.cipher < N_CIPHERS &&
	       strcmp(ciphers[opt.cipher].name, name))
		opt.cipher++;
	if (opt.cipher == N_CIPHERS)
		die("no such cipher: %s", name);
}

/* Is @c an option with a number? */
static bool option_number(int c, const char *arg)
{
	switch (c) {
	case 's':
		opt.size = number(arg, 64, MAX_CALL);
		return true;
	case 'b':
		opt.batch = number(arg, 1, MAX_BATCH);
		return true;
	case 'M':
		opt.msgs = number(arg, 1, MAX_MSGS);
		return true;
	case 'f':
		opt.flows = number(arg, 1, 10000000);
		return true;
	case 't':
		opt.threads = number(arg, 1, MAX_THREADS);
		return true;
	case 'l':
		opt.cid_len = number(arg, 0, QUIC_MAX_CONNECTION_ID_SIZE);
		return true;
	case 'r':
		opt.rounds = number(arg, 1, 10000);
		return true;
	case 'T':
		opt.ms = number(arg, 1, 100000);
		return true;
	case 'n':
		opt.calls = number(arg, 1, 1000000000);
		return true;
	case 'I':
		opt.install = number(arg, 1, 100000000);
		return true;
	}
	return false;
}

/* Is @c an option without an argument? */
static bool option_flag(int c)
{
	switch (c) {
	case 'S':
		opt.own_sockets = true;
		return true;
	case 'F':
		opt.processes = true;
		return true;
	case 'P':
		opt.packed = true;
		return true;
	case 'i':
		opt.insns = true;
		return true;
	case 'w':
		opt.wall = true;
		return true;
	case 'W':
		opt.timing = true;
		return true;
	}
	return false;
}

/* Is @c an option with a name or an address? */
static bool option_name(int c, const char *arg)
{
	switch (c) {
	case 'R':
		opt.ref = arg;
		return true;
	case 'E':
		opt.less = arg;
		return true;
	case 'd':
		addr_parse(&opt.to, arg);
		return true;
	case 'D':
		addr_parse(&opt.device, arg);
		return true;
	case 'L':
		addr_parse(&opt.local, arg);
		return true;
	case 'N':
		opt.netns = arg;
		return true;
	case 'c':
		option_cipher(arg);
		return true;
	case 'j':
		opt.lines = arg;
		return true;
	}
	return false;
}

/* Return the argument of -m, or NULL */
static char *options(int argc, char **argv)
{
	static const char letters[] =
		"m:R:E:d:D:L:N:c:s:b:M:f:t:SFPl:r:T:n:iwI:Wj:";
	char *modes = NULL;
	int c;

	addr_parse(&opt.to, "192.0.2.2");
	while ((c = getopt(argc, argv, letters)) != -1) {
		if (c == 'm')
			modes = optarg;
		else if (!option_number(c, optarg) && !option_flag(c) &&
			 !option_name(c, optarg))
			usage();
	}
	if (optind != argc || (!modes && !opt.install && !opt.timing))
		usage();
	return modes;
}

/* Options that depend on each other */
static void options_fit(void)
{
	if (opt.batch > MAX_CALL / opt.size)
		opt.batch = MAX_CALL / opt.size;
	if ((size_t)opt.msgs * opt.batch * opt.size > RING << 16)
		die("too much for one sendmmsg()");
	if (opt.flows % opt.threads)
		opt.flows += opt.threads - opt.flows % opt.threads;
}

int main(int argc, char **argv)
{
	static struct mode mode[MAX_MODES];
	char *modes = options(argc, argv), *name;
	unsigned int n = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (!opt.insns)
		check_clock();
	if (opt.install) {
		install();
		return 0;
	}
	options_fit();
	load_sealers();
	if (opt.timing) {
		timing();
		return 0;
	}
	for (name = strtok(modes, ","); name; name = strtok(NULL, ",")) {
		if (n == MAX_MODES)
			die("too many modes");
		mode_parse(&mode[n++], name);
	}
	if (!n)
		usage();
	measure(mode, n);
	return 0;
}
