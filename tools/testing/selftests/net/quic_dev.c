// SPDX-License-Identifier: GPL-2.0
/*
 * Send QUIC packets for the kernel or a device to seal, from one network
 * namespace to another. Compare each packet that arrives, byte by byte, with
 * what libcrypto makes of the plaintext, and check that packet sockets on the
 * way see nothing unsealed. Print the result as JSON. drivers/net/quic.py runs
 * this program.
 */

#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>

#include <linux/bpf.h>
#include <linux/net_tstamp.h>
#include <linux/if_link.h>
#include <linux/if_packet.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "../kselftest.h"
#include "quic_dev_util.h"

#define MAX_CONNS	65536
#define GENS		256	/* that may still be waiting for a neighbour */
#define CID_LEN		8
#define PKT_MAX		1400

#define PN_FIRST	1000

/* With a new key, that may have to wait for the device */
#define FRESH_CALLS	3

/* What became of a packet number */
enum {
	PN_UNUSED,
	PN_SENT,
	PN_RECEIVED,
};

/**
 * struct conn - a connection
 * @gen: its latest generations, the newest first
 * @n_gen: how many
 * @fd: socket it is sent on
 * @next: number of the next packet
 * @pn: state of each number from PN_FIRST on
 * @size: elements of @pn
 * @max_rx: highest number received
 * @fresh: how many calls may still wait for the device to get the newest key
 */
struct conn {
	struct flow *gen;
	unsigned int n_gen;
	int fd;
	uint64_t next;
	uint8_t *pn;
	size_t size;
	uint64_t max_rx;
	unsigned int fresh;
};

static struct {
	const char *from, *to, *src, *dst, *cipher_name;
	uint16_t cipher;
	unsigned int port, calls, seconds, gso, size, cid_len, pn_len, flows;
	unsigned int threads, update, replace, own, gap_us, wait_ms, settle_ms;
	unsigned int path;
	bool ids, forever, room, del_first, close_first, hold, gaps, connected;
	bool stamps, options, at_once, nonblock, no_fixed;
} opt = {
	.dst = "127.0.0.1", .port = 4433, .cipher_name = "aes-128-gcm",
	.calls = 100, .gso = 1, .size = 1200, .cid_len = CID_LEN, .pn_len = 4,
	.flows = 1, .wait_ms = 1000,
};

static struct {
	unsigned long calls, sent, received, duplicate, reordered, bad, extra;
	unsigned long errors;
	int error;
	struct seen seen;
} stat;

/**
 * struct latency - how long calls took
 * @name: of the calls
 * @us: microseconds of each call
 * @n: number of calls
 */
struct latency {
	const char *name;
	unsigned int *us;
	size_t n;
};

static struct latency lat_send = { "send" }, lat_del = { "del" };
static struct latency lat_close = { "close" };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct conn *conns[MAX_CONNS];
static unsigned int n_conns;
static struct sockaddr_storage dst, src;
static int rx_fd = -1, stat_fd = -1;
static int stop;

static void on_signal(int sig)
{
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
}

static bool stopped(void)
{
	return __atomic_load_n(&stop, __ATOMIC_RELAXED);
}

/* Cuts the next part off @what, which @end ends. */
static char *cut(char **what, const char *end)
{
	char *part = strsep(what, end);

	if (!*what)
		errx(1, "something is missing after '%s'", part);
	return part;
}

/**
 * enum redirect_how - what BPF does with frames that leave by the first device
 * @REDIRECT_OUT: bpf_redirect() it to the second device
 * @REDIRECT_NEIGH: the same with bpf_redirect_neigh()
 * @REDIRECT_XDP: bpf_redirect() it to the ingress of the second device, where
 *	generic XDP sends it back
 * @REDIRECT_PEER: bpf_redirect() it to the ingress of the second device, where
 *	bpf_redirect_peer() takes it to the peer of that
 */
enum redirect_how {
	REDIRECT_OUT,
	REDIRECT_NEIGH,
	REDIRECT_XDP,
	REDIRECT_PEER,
};

/* @what is NAMESPACE:FROM:TO. */
static void bpf_redirect(char *what, enum redirect_how how, int home)
{
	bool ingress = how == REDIRECT_XDP || how == REDIRECT_PEER;
	unsigned int from, to;

	ns_enter(cut(&what, ":"));
	from = if_nametoindex(cut(&what, ":"));
	to = if_nametoindex(what);
	bpf_attach(bpf_redirector(how == REDIRECT_NEIGH ?
				  BPF_FUNC_redirect_neigh : BPF_FUNC_redirect,
				  to, ingress ? BPF_F_INGRESS : 0),
		   from, BPF_TCX_EGRESS, 0);
	if (how == REDIRECT_XDP)
		bpf_attach(bpf_xdp_tx(), to, BPF_XDP, XDP_FLAGS_SKB_MODE);
	if (how == REDIRECT_PEER)
		bpf_attach(bpf_redirector(BPF_FUNC_redirect_peer, to, 0), to,
			   BPF_TCX_INGRESS, 0);
	ns_leave(home);
}

/* @what is NAMESPACE:DEVICE:OFFSET:BYTE. Frames that leave have BYTE at OFFSET,
 * and go on.
 */
static void bpf_mangle(char *what, int home)
{
	struct bpf_insn insns[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_2 },
		{ .code = BPF_ST | BPF_MEM | BPF_B, .dst_reg = BPF_REG_10,
		  .off = -1 },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = BPF_REG_3,
		  .src_reg = BPF_REG_10 },
		{ .code = BPF_ALU64 | BPF_ADD | BPF_K, .dst_reg = BPF_REG_3,
		  .imm = -1 },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_4,
		  .imm = 1 },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_5 },
		{ .code = BPF_JMP | BPF_CALL,
		  .imm = BPF_FUNC_skb_store_bytes },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0,
		  .imm = TCX_NEXT },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	unsigned int ifindex;

	ns_enter(cut(&what, ":"));
	ifindex = if_nametoindex(cut(&what, ":"));
	insns[0].imm = atoi(cut(&what, ":"));
	insns[1].imm = atoi(what);
	bpf_attach(bpf_load(BPF_PROG_TYPE_SCHED_CLS, insns,
			    ARRAY_SIZE(insns)), ifindex, BPF_TCX_EGRESS, 0);
	ns_leave(home);
}

/**
 * union encap - header of a tunnel in front of a packet of the same IP version
 * @v4: over IPv4
 * @v6: over IPv6
 * @words: in words
 */
union encap {
	struct iphdr v4;
	struct ip6_hdr v6;
	uint32_t words[sizeof(struct ip6_hdr) / 4];
};

static uint16_t ip_checksum(const struct iphdr *ip)
{
	unsigned int i, sum = 0;
	uint16_t w;

	for (i = 0; i < sizeof(*ip); i += 2) {
		memcpy(&w, (char *)ip + i, 2);
		sum += w;
	}
	sum = (sum & 0xffff) + (sum >> 16);
	return ~(sum + (sum >> 16));
}

/* For a UDP payload of --size bytes. Returns the length of the header. */
static unsigned int encap_header(union encap *h, const char *from,
				 const char *to)
{
	unsigned int len = sizeof(struct udphdr) + opt.size;

	memset(h, 0, sizeof(*h));
	if (inet_pton(AF_INET, from, &h->v4.saddr) == 1 &&
	    inet_pton(AF_INET, to, &h->v4.daddr) == 1) {
		h->v4.version = 4;
		h->v4.ihl = sizeof(h->v4) / 4;
		h->v4.tot_len = htons(2 * sizeof(h->v4) + len);
		h->v4.frag_off = htons(IP_DF);
		h->v4.ttl = 64;
		h->v4.protocol = IPPROTO_IPIP;
		h->v4.check = ip_checksum(&h->v4);
		return sizeof(h->v4);
	}
	if (inet_pton(AF_INET6, from, &h->v6.ip6_src) != 1 ||
	    inet_pton(AF_INET6, to, &h->v6.ip6_dst) != 1)
		errx(1, "encapsulation from %s to %s", from, to);
	h->v6.ip6_flow = htonl(6 << 28);
	h->v6.ip6_plen = htons(sizeof(h->v6) + len);
	h->v6.ip6_nxt = IPPROTO_IPV6;
	h->v6.ip6_hlim = 64;
	return sizeof(h->v6);
}

/* Word @i of the header of a tunnel, on the stack */
#define ENCAP_WORD(i)							\
	{ .code = BPF_ST | BPF_MEM | BPF_W, .dst_reg = BPF_REG_10,	\
	  .off = 4 * (i) - (int)sizeof(union encap) }

/* The first of them in bpf_encap() */
#define ENCAP_WORDS	5

/* @what is NETNS:DEVICE:SOURCE,DESTINATION,FLAGS. Frames that leave get another
 * IP header; the flags are those of bpf_skb_adjust_room().
 */
static void bpf_encap(char *what, int home)
{
	struct bpf_insn insns[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = BPF_REG_6,
		  .src_reg = BPF_REG_1 },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_2 },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_3,
		  .imm = BPF_ADJ_ROOM_MAC },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_4 },
		{ .code = BPF_JMP | BPF_CALL,
		  .imm = BPF_FUNC_skb_adjust_room },
		ENCAP_WORD(0), ENCAP_WORD(1), ENCAP_WORD(2), ENCAP_WORD(3),
		ENCAP_WORD(4), ENCAP_WORD(5), ENCAP_WORD(6), ENCAP_WORD(7),
		ENCAP_WORD(8), ENCAP_WORD(9),
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_4 },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = BPF_REG_1,
		  .src_reg = BPF_REG_6 },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_2,
		  .imm = ETH_HLEN },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = BPF_REG_3,
		  .src_reg = BPF_REG_10 },
		{ .code = BPF_ALU64 | BPF_ADD | BPF_K, .dst_reg = BPF_REG_3,
		  .imm = -(int)sizeof(union encap) },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_5 },
		{ .code = BPF_JMP | BPF_CALL,
		  .imm = BPF_FUNC_skb_store_bytes },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0,
		  .imm = TCX_NEXT },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	const unsigned int n = ARRAY_SIZE(((union encap *)0)->words);
	unsigned int ifindex, i, len;
	const char *from, *to;
	union encap h;

	ns_enter(cut(&what, ":"));
	ifindex = if_nametoindex(cut(&what, ":"));
	from = cut(&what, ",");
	to = cut(&what, ",");
	len = encap_header(&h, from, to);
	insns[1].imm = len;
	insns[3].imm = atoi(what);
	for (i = 0; i < n; i++)
		insns[ENCAP_WORDS + i].imm = h.words[i];
	insns[ENCAP_WORDS + n].imm = len;
	bpf_attach(bpf_load(BPF_PROG_TYPE_SCHED_CLS, insns,
			    ARRAY_SIZE(insns)), ifindex, BPF_TCX_EGRESS, 0);
	ns_leave(home);
}

/* Where the route to it leads */
static void join_group(void)
{
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&dst;
	struct sockaddr_in *v4 = (struct sockaddr_in *)&dst;
	struct ipv6_mreq mreq6 = { .ipv6mr_multiaddr = v6->sin6_addr };
	struct ip_mreqn mreq = { .imr_multiaddr = v4->sin_addr };
	int ret = 0;

	if (dst.ss_family == AF_INET6 &&
	    IN6_IS_ADDR_MULTICAST(&v6->sin6_addr))
		ret = setsockopt(rx_fd, IPPROTO_IPV6, IPV6_ADD_MEMBERSHIP,
				 &mreq6, sizeof(mreq6));
	if (dst.ss_family == AF_INET &&
	    IN_MULTICAST(ntohl(v4->sin_addr.s_addr)))
		ret = setsockopt(rx_fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &mreq,
				 sizeof(mreq));
	if (ret)
		err(1, "joining %s", opt.dst);
}

static void receiver_open(int home)
{
	int one = 1;

	ns_enter(opt.to);
	rx_fd = sock_udp(dst.ss_family);
	setsockopt(rx_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	/* It may be an address that nobody has. */
	setsockopt(rx_fd, IPPROTO_IP, IP_FREEBIND, &one, sizeof(one));
	if (set_int(rx_fd, SOL_SOCKET, SO_RCVBUFFORCE, 16 << 20))
		set_int(rx_fd, SOL_SOCKET, SO_RCVBUF, 16 << 20);
	if (rx_fd < 0 || bind(rx_fd, (void *)&dst, addr_len(&dst)))
		err(1, "receiving at %s", opt.dst);
	join_group();
	ns_leave(home);
}

static unsigned long long now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000ULL + ts.tv_nsec / 1000;
}

static void latency_add(struct latency *l, unsigned long long since)
{
	unsigned int us = now_us() - since;

	pthread_mutex_lock(&lock);
	l->us = realloc(l->us, (l->n + 1) * sizeof(*l->us));
	if (!l->us)
		errx(1, "no memory");
	l->us[l->n++] = us;
	pthread_mutex_unlock(&lock);
}

static int latency_cmp(const void *a, const void *b)
{
	unsigned int x = *(const unsigned int *)a;
	unsigned int y = *(const unsigned int *)b;

	return x < y ? -1 : x > y;
}

/* The 99th percentile */
static unsigned int latency_p99(struct latency *l)
{
	if (!l->n)
		return 0;
	qsort(l->us, l->n, sizeof(*l->us), latency_cmp);
	return l->us[(l->n - 1) * 99 / 100];
}

/* How many keys have devices accepted or refused? */
static unsigned long keys_answered(void)
{
	static const char * const names[] = {
		"QuicTxDevice ", "QuicTxDeviceError ",
	};

	return stats_sum(stat_fd, names, ARRAY_SIZE(names));
}

/* Devices are offered a key with its first packet. Wait until the device has
 * answered, so that the second packet meets the key there. The first packet
 * may come before the key of the same Key Phase has left the device; then the
 * second one offers the key. Returns whether there was an answer.
 */
static bool settle(unsigned long answered)
{
	unsigned long since = now_ms();

	while (keys_answered() == answered) {
		if (now_ms() - since >= opt.settle_ms / FRESH_CALLS)
			return false;
		usleep(1000);
	}
	return true;
}

/* Three NOPs, or an extension header with padding only */
static void send_options(int fd)
{
	static const char dstopts[8] = { 0, 0, 1, 4 };
	int ret;

	if (dst.ss_family == AF_INET)
		ret = setsockopt(fd, IPPROTO_IP, IP_OPTIONS, "\1\1\1", 4);
	else
		ret = setsockopt(fd, IPPROTO_IPV6, IPV6_DSTOPTS, dstopts,
				 sizeof(dstopts));
	if (ret)
		err(1, "IP options");
}

static int sender_open(int home)
{
	int fd;

	ns_enter(opt.from);
	if (stat_fd < 0)
		stat_fd = open("/proc/thread-self/net/quic_stat",
			       O_RDONLY | O_CLOEXEC);
	fd = sock_udp(dst.ss_family);
	if (fd < 0)
		err(1, "socket");
	/* It need not be an address of this host. */
	if (opt.src && (set_int(fd, IPPROTO_IP, IP_FREEBIND, 1) ||
			bind(fd, (void *)&src, addr_len(&src))))
		err(1, "sending from %s", opt.src);
	if (opt.options)
		send_options(fd);
	if (opt.stamps && set_int(fd, SOL_SOCKET, SO_TIMESTAMPING,
				  SOF_TIMESTAMPING_TX_SOFTWARE |
				  SOF_TIMESTAMPING_SOFTWARE))
		err(1, "time stamps");
	if (opt.connected && connect(fd, (void *)&dst, addr_len(&dst)))
		err(1, "connect to %s", opt.dst);
	if (set_int(fd, SOL_SOCKET, SO_SNDBUFFORCE, 4 << 20))
		set_int(fd, SOL_SOCKET, SO_SNDBUF, 4 << 20);
	ns_leave(home);
	return fd;
}

/* The connection ID says which connection it is, if it is long enough. */
static struct conn *conn_new(int fd)
{
	struct flow *f = calloc(1, sizeof(*f));
	struct conn *c = calloc(1, sizeof(*c));
	int ret;

	pthread_mutex_lock(&lock);
	if (!c || !f || n_conns == MAX_CONNS)
		errx(1, "too many connections");
	c->gen = f;
	flow_init(f, opt.cipher, opt.cid_len);
	if (opt.cid_len >= 4)
		memcpy(f->cid, &n_conns, 4);
	if (opt.ids)
		f->id = n_conns + 1;
	f->path = opt.path;
	c->n_gen = 1;
	c->fd = fd;
	c->next = PN_FIRST;
	c->max_rx = 0;
	c->fresh = FRESH_CALLS;
	ret = flow_add(fd, f);
	if (ret)
		errx(1, "adding a flow: %s", strerror(-ret));
	conns[n_conns++] = c;
	pthread_mutex_unlock(&lock);
	return c;
}

static void conn_del(struct conn *c)
{
	unsigned long long since = now_us();

	flow_del(c->fd, &c->gen[0]);
	latency_add(&lat_del, since);
}

/* Called with the lock held */
static void pn_set(struct conn *c, uint64_t pn, uint8_t state)
{
	size_t i = pn - PN_FIRST, size;

	if (i >= c->size) {
		size = (i + 1) * 2;
		c->pn = realloc(c->pn, size);
		if (!c->pn)
			errx(1, "no memory");
		memset(c->pn + c->size, PN_UNUSED, size - c->size);
		c->size = size;
	}
	c->pn[i] = state;
}

static void conn_update(struct conn *c)
{
	struct flow next;
	int ret;

	pthread_mutex_lock(&lock);
	flow_next(&next, &c->gen[0]);
	if (c->n_gen < GENS)
		c->n_gen++;
	c->gen = realloc(c->gen, sizeof(next) * c->n_gen);
	if (!c->gen)
		errx(1, "no memory");
	memmove(&c->gen[1], &c->gen[0], sizeof(next) * (c->n_gen - 1));
	c->gen[0] = next;
	pthread_mutex_unlock(&lock);
	ret = flow_add(c->fd, &next);
	c->fresh = FRESH_CALLS;
	if (ret)
		errx(1, "key update: %s", strerror(-ret));
}

/* Writes one call of @n packets; @own: sealed by libcrypto, sent as it is. */
static void conn_send(struct conn *c, struct batch *b, unsigned int n, bool own)
{
	bool wait = opt.settle_ms && !opt.threads && c->fresh && !own;
	struct flow f = c->gen[0];
	unsigned long long since;
	unsigned long answered;
	unsigned int i;
	struct tx tx;
	ssize_t ret;

	if (opt.ids && opt.cid_len > 4)
		f.cid[opt.cid_len - 1] = c->next;
	batch_init(b, &f, c->next, n, opt.size,
		   n > 1 ? opt.size - 100 : opt.size);
	b->room = opt.room;
	for (i = 0; i < n; i++) {
		b->pkt[i].pn_len = opt.pn_len;
		if (opt.gaps)
			b->pkt[i].pn += i;
		if (opt.no_fixed)
			b->pkt[i].first &= ~HDR_FIXED;
	}
	batch_build(b);
	tx_init(&tx, c->fd, opt.connected ? NULL : &dst);
	tx_batch(&tx, b);
	if (own) {
		tx.n_anc = 0;
		tx.one.iov_base = b->wire;
		tx.one.iov_len = opt.size * (n - 1) + b->pkt[n - 1].len;
	}
	if (n > 1)
		tx.gso = opt.size;

	pthread_mutex_lock(&lock);
	for (i = 0; i < n; i++)
		pn_set(c, b->pkt[i].pn, PN_SENT);
	c->next = b->pkt[n - 1].pn + 1;
	stat.calls++;
	stat.sent += n;
	pthread_mutex_unlock(&lock);

	if (opt.nonblock)
		tx.flags = MSG_DONTWAIT;
	answered = wait ? keys_answered() : 0;
	since = now_us();
	ret = tx_send(&tx);
	latency_add(&lat_send, since);
	if (wait)
		c->fresh = settle(answered) ? 0 : c->fresh - 1;
	if (ret >= 0)
		return;

	/* It depends on the error whether the numbers are used up now. */
	pthread_mutex_lock(&lock);
	stat.errors++;
	stat.error = -ret;
	for (i = 0; i < n; i++) {
		if (c->pn[b->pkt[i].pn - PN_FIRST] != PN_SENT)
			continue;
		pn_set(c, b->pkt[i].pn, PN_UNUSED);
		stat.sent--;
	}
	pthread_mutex_unlock(&lock);
}

/*
 * Is this what libcrypto would have made of the packet? With a flow_id, the
 * connection ID ends as it likes.
 */
static bool open_and_compare(struct conn *c, const struct flow *flow,
			     const uint8_t *buf, size_t len, uint64_t *pn)
{
	static uint8_t plain[2048], again[2048];
	struct flow f = *flow;
	struct pkt p = { .flow = &f };
	int ret;

	if (len > sizeof(plain) || len < 1 + sizeof(f.cid))
		return false;
	if (opt.ids && opt.cid_len > 4)
		f.cid[opt.cid_len - 1] = buf[opt.cid_len];
	memcpy(plain, buf, len);
	ret = pkt_open(&f, c->next, plain, len, pn);
	if (ret < 0)
		return false;
	p.pn = *pn;
	p.pn_len = (plain[0] & 3) + 1;
	p.first = plain[0] & ~(HDR_PHASE | 3);
	p.len = len;
	pkt_plain(&p, again);
	return !memcmp(plain, again, len - TAG) && !pkt_seal(&p, again) &&
	       !memcmp(buf, again, len);
}

static void receive(const uint8_t *buf, size_t len)
{
	unsigned int i, idx = 0;
	struct conn *c;
	uint64_t pn;

	if (has_marker(buf, len))
		stat.seen.plain++;
	if (opt.cid_len >= 4)
		memcpy(&idx, buf + 1, 4);
	c = len > 20 && idx < n_conns ? conns[idx] : NULL;
	for (i = 0; c && i < c->n_gen; i++)
		if (open_and_compare(c, &c->gen[i], buf, len, &pn))
			break;
	if (!c || i == c->n_gen || pn < PN_FIRST || pn - PN_FIRST >= c->size) {
		stat.bad++;
		return;
	}
	switch (c->pn[pn - PN_FIRST]) {
	case PN_SENT:
		stat.received++;
		pn_set(c, pn, PN_RECEIVED);
		if (pn < c->max_rx)
			stat.reordered++;
		else
			c->max_rx = pn;
		break;
	case PN_RECEIVED:
		stat.duplicate++;
		break;
	default:
		stat.extra++;	/* the call had failed */
	}
}

/* Everything that has arrived by now */
static bool drain(void)
{
	static uint8_t buf[FRAME_MAX];
	bool some = false;
	ssize_t ret;

	for (;;) {
		ret = rx_recv(rx_fd, buf, sizeof(buf), 0);
		if (ret < 0)
			break;
		some = true;
		pthread_mutex_lock(&lock);
		receive(buf, ret);
		pthread_mutex_unlock(&lock);
	}
	captures_drain(&stat.seen);
	return some;
}

/**
 * struct sender - those who send
 * @thread: this one
 * @fd: socket
 * @conns: connections, used in turn
 * @lockstep: receive after every call
 */
struct sender {
	pthread_t thread;
	int fd;
	struct conn **conns;
	bool lockstep;
};

static void *sender(void *arg)
{
	unsigned long end = now_ms() + opt.seconds * 1000UL;
	struct batch *b = malloc(sizeof(*b));
	struct sender *s = arg;
	unsigned int i, round;
	struct conn *c;

	if (!b)
		errx(1, "no memory");
	for (i = 0; !stopped(); i++) {
		if (opt.seconds ? now_ms() >= end :
				  !opt.forever && i >= opt.calls)
			break;
		c = s->conns[i % opt.flows];
		round = i / opt.flows;
		if (opt.update && round && !(round % opt.update))
			conn_update(c);
		conn_send(c, b, opt.gso, opt.own && i % opt.own == opt.own - 1);
		if (opt.replace && round % opt.replace == opt.replace - 1) {
			conn_del(c);
			s->conns[i % opt.flows] = conn_new(s->fd);
		}
		if (s->lockstep)
			drain();
		if (opt.gap_us)
			usleep(opt.gap_us);
	}
	free(b);
	return NULL;
}

/**
 * struct first - the first packet of a connection, for sendmmsg()
 * @tx: arguments of the call
 * @data: packet
 */
struct first {
	struct tx tx;
	uint8_t data[PKT_MAX];
};

static void first_build(struct first *first, struct msghdr *msg,
			struct conn *c, struct batch *b)
{
	batch_init(b, &c->gen[0], PN_FIRST, 1, opt.size, opt.size);
	b->pkt[0].pn_len = opt.pn_len;
	b->room = opt.room;
	batch_build(b);
	tx_init(&first->tx, c->fd, opt.connected ? NULL : &dst);
	tx_batch(&first->tx, b);
	memcpy(first->data, b->plain, b->plain_len);
	first->tx.one.iov_base = first->data;
	tx_msg(&first->tx, msg);
}

/* Stop until SIGCONT. All memory has been allocated by then: if this process is
 * moved to a memory cgroup meanwhile, the next call of sendmmsg() is the first
 * that is charged for memory.
 */
static void stop_until_continued(void)
{
	if (mlockall(MCL_CURRENT))
		err(1, "locking memory");
	raise(SIGSTOP);
}

/* Send the first packets of all connections in one call. */
static void send_at_once(struct sender *s)
{
	struct mmsghdr *msgs = calloc(opt.flows, sizeof(*msgs));
	struct first *first = calloc(opt.flows, sizeof(*first));
	struct batch *b = malloc(sizeof(*b));
	int i, n;

	if (!msgs || !first || !b)
		errx(1, "no memory");
	for (i = 0; i < (int)opt.flows; i++)
		first_build(&first[i], &msgs[i].msg_hdr, s->conns[i], b);
	stop_until_continued();
	n = sendmmsg(s->fd, msgs, opt.flows, 0);
	if (n < 0) {
		stat.errors++;
		stat.error = errno;
	}
	for (i = 0; i < n; i++) {
		pn_set(s->conns[i], PN_FIRST, PN_SENT);
		s->conns[i]->next = PN_FIRST + 1;
		stat.sent++;
	}
	stat.calls++;
	free(b);
	free(first);
	free(msgs);
}

static void sender_init(struct sender *s, int home)
{
	unsigned int i;

	s->fd = sender_open(home);
	s->conns = calloc(opt.flows, sizeof(*s->conns));
	if (!s->conns)
		errx(1, "no memory");
	for (i = 0; i < opt.flows; i++)
		s->conns[i] = conn_new(s->fd);
}

static void senders_run(struct sender *s, unsigned int n)
{
	unsigned int i;

	for (i = 0; i < n; i++)
		if (pthread_create(&s[i].thread, NULL, sender, &s[i]))
			errx(1, "no thread");
	for (i = 0; i < n; i++)
		while (pthread_tryjoin_np(s[i].thread, NULL)) {
			if (!drain())
				usleep(1000);
		}
}

/* Until everything has arrived, or nothing more arrives */
static void wait_for_rest(void)
{
	unsigned long since = now_ms();

	while (stat.received < stat.sent && now_ms() - since < opt.wait_ms) {
		if (drain())
			since = now_ms();
		else
			usleep(1000);
	}
	/* What comes late, or twice, and the packet sockets */
	usleep(10000);
	drain();
}

static void add_capture(char *what, int home)
{
	capture_add(what, false, home);
}

static void add_tap(char *what, int home)
{
	capture_add(what, true, home);
}

static void add_redirect(char *what, int home)
{
	bpf_redirect(what, REDIRECT_OUT, home);
}

static void add_redirect_neigh(char *what, int home)
{
	bpf_redirect(what, REDIRECT_NEIGH, home);
}

static void add_redirect_xdp(char *what, int home)
{
	bpf_redirect(what, REDIRECT_XDP, home);
}

static void add_redirect_peer(char *what, int home)
{
	bpf_redirect(what, REDIRECT_PEER, home);
}

static const struct option_desc options[] = {
	{ "from-netns", "NETNS", "the sender's network namespace",
	  .str = &opt.from },
	{ "to-netns", "NETNS", "the receiver's network namespace",
	  .str = &opt.to },
	{ "source", "ADDR", "source address, need not be a local one",
	  .str = &opt.src },
	{ "address", "ADDR", "destination address", .str = &opt.dst },
	{ "port", "PORT", "destination port", .num = &opt.port },
	{ "connected", NULL, "connect the sockets", .flag = &opt.connected },
	{ "ip-options", NULL, "send IP options", .flag = &opt.options },
	{ "timestamps", NULL, "request transmit time stamps, never read them",
	  .flag = &opt.stamps },

	{ "capture", "NETNS:DEV", "no packet here may be unsealed",
	  .add = add_capture },
	{ "tap", "NETNS:DEV", "unsealed packets are expected here",
	  .add = add_tap },
	{ "bpf-redirect", "NETNS:DEV:DEV2", "bpf_redirect() to DEV2",
	  .add = add_redirect },
	{ "bpf-redirect-neigh", "NETNS:DEV:DEV2",
	  "bpf_redirect_neigh() to DEV2", .add = add_redirect_neigh },
	{ "bpf-redirect-xdp", "NETNS:DEV:DEV2",
	  "bpf_redirect() to the ingress of DEV2, XDP_TX there",
	  .add = add_redirect_xdp },
	{ "bpf-redirect-peer", "NETNS:DEV:DEV2",
	  "the same, and bpf_redirect_peer() there", .add = add_redirect_peer },
	{ "bpf-store", "NETNS:DEV:OFFSET:BYTE",
	  "BPF changes a byte of each frame", .add = bpf_mangle },

	{ "bpf-encap", "NETNS:DEV:SRC,DST,FLAGS",
	  "BPF puts an IP header in front of each packet, not for GSO",
	  .add = bpf_encap },

	{ "count", "N", "calls of sendmsg() per thread", .num = &opt.calls },
	{ "seconds", "N", "send for so long instead", .num = &opt.seconds },
	{ "forever", NULL, "send until SIGTERM instead",
	  .flag = &opt.forever },
	{ "nonblock", NULL, "send with MSG_DONTWAIT", .flag = &opt.nonblock },
	{ "at-once", NULL,
	  "stop; after SIGCONT, send one packet per flow in one call",
	  .flag = &opt.at_once },
	{ "interval-us", "US", "time between calls", .num = &opt.gap_us },
	{ "cipher", "NAME", "AEAD of the connections",
	  .str = &opt.cipher_name },
	{ "segments", "N", "packets per call, by GSO", .num = &opt.gso },
	{ "size", "BYTES", "length of the packets", .num = &opt.size },
	{ "tag-room", NULL, "the plaintext has room for the tags",
	  .flag = &opt.room },
	{ "cid-len", "BYTES", "connection ID length", .num = &opt.cid_len },
	{ "pn-len", "BYTES", "packet number length", .num = &opt.pn_len },
	{ "path", "N", "path of multipath QUIC", .num = &opt.path },
	{ "flow-id", NULL, "a flow_id, and another connection ID in each call",
	  .flag = &opt.ids },
	{ "no-fixed-bit", NULL, "the fixed bit of the packets is 0",
	  .flag = &opt.no_fixed },
	{ "pn-gaps", NULL, "leave gaps in the packet numbers of a call",
	  .flag = &opt.gaps },
	{ "flows", "N", "connections per socket", .num = &opt.flows },
	{ "threads", "N", "threads, each with a socket", .num = &opt.threads },
	{ "key-update", "N", "update keys after so many calls",
	  .num = &opt.update },
	{ "replace-flow", "N", "delete and add the flow after so many calls",
	  .num = &opt.replace },
	{ "sealed-here", "N", "every Nth call is sealed in user space",
	  .num = &opt.own },
	{ "delete-flows", NULL, "delete the flows before receiving the rest",
	  .flag = &opt.del_first },
	{ "close", NULL, "close the sockets before receiving the rest",
	  .flag = &opt.close_first },
	{ "hold", NULL, "hold the sockets until SIGTERM", .flag = &opt.hold },
	{ "settle-ms", "MS",
	  "after the first packet of a key, wait for the device to take it",
	  .num = &opt.settle_ms },
	{ "wait-ms", "MS", "how long to wait for the next packet",
	  .num = &opt.wait_ms },
};

static void parse_options(int argc, char **argv, int home)
{
	options_parse(options, ARRAY_SIZE(options), argc, argv, home);
	opt.cipher = cipher_by_name(opt.cipher_name);
	/* Shorter connection IDs do not tell connections apart. */
	if (!opt.gso || opt.gso > MAX_PKTS || !opt.flows ||
	    opt.cid_len > QUIC_MAX_CONNECTION_ID_SIZE || !opt.pn_len ||
	    opt.pn_len > 4 || opt.size < 200 || opt.size > PKT_MAX ||
	    (opt.at_once && (opt.gso > 1 || opt.threads)) ||
	    (opt.cid_len < 4 && (opt.flows > 1 || opt.threads > 1 ||
				 opt.replace)))
		options_usage();
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
		{ "lost", stat.sent - stat.received },
		{ "bad", stat.bad },
		{ "plain", stat.seen.plain },
		{ "duplicate", stat.duplicate },
		{ "reordered", stat.reordered },
		{ "captured", stat.seen.captured },
		{ "tapped", stat.seen.tapped },
		{ "extra", stat.extra },
		{ "errors", stat.errors },
	};
	struct latency *lats[] = { &lat_send, &lat_del, &lat_close };
	unsigned int i;

	printf("{");
	for (i = 0; i < ARRAY_SIZE(fields); i++)
		printf("\"%s\": %lu, ", fields[i].name, fields[i].value);
	for (i = 0; i < ARRAY_SIZE(lats); i++)
		printf("\"p99_%s_us\": %u, ", lats[i]->name,
		       latency_p99(lats[i]));
	printf("\"error\": \"%s\"}\n",
	       stat.errors ? strerrorname_np(stat.error) : "");
}

int main(int argc, char **argv)
{
	unsigned long long since;
	struct sender *senders;
	unsigned int i, n;
	const char *lacks;
	int home;

	home = ns_home();
	parse_options(argc, argv, home);
	addr_parse(&dst, opt.dst, opt.port);
	if (opt.src)
		addr_parse(&src, opt.src, 0);
	lacks = quic_missing();
	if (lacks) {
		printf("%s\n", lacks);
		return KSFT_SKIP;
	}
	signal(SIGTERM, on_signal);
	signal(SIGINT, on_signal);
	receiver_open(home);

	n = opt.threads ?: 1;
	senders = calloc(n, sizeof(*senders));
	if (!senders)
		errx(1, "no memory");
	for (i = 0; i < n; i++) {
		sender_init(&senders[i], home);
		senders[i].lockstep = !opt.threads;
	}
	if (opt.at_once)
		send_at_once(&senders[0]);
	else if (opt.threads)
		senders_run(senders, n);
	else
		sender(&senders[0]);

	for (i = 0; opt.del_first && i < n_conns; i++)
		conn_del(conns[i]);
	while (opt.hold && !stopped())
		if (!drain())
			usleep(1000);
	for (i = 0; opt.close_first && i < n; i++) {
		since = now_us();
		close(senders[i].fd);
		latency_add(&lat_close, since);
	}
	wait_for_rest();
	report();
	return stat.seen.plain ? 1 : 0;
}
