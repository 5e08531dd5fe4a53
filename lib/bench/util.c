// SPDX-License-Identifier: GPL-2.0
/* What sending and receiving have in common: options, clocks, flows, packets */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdarg.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "bench.h"

#define PORT		4433

const char * const libs[N_LIBS] = { "openssl", "boringssl", "gnutls" };
const struct sealer *sealers[N_LIBS];

const struct cipher_desc ciphers[N_CIPHERS] = {
	[AES_128_GCM] = { "aes-128-gcm", TLS_CIPHER_AES_GCM_128, 16,
			  "gcm(aes)", "ecb(aes)" },
	[AES_256_GCM] = { "aes-256-gcm", TLS_CIPHER_AES_GCM_256, 32,
			  "gcm(aes)", "ecb(aes)" },
	[AES_128_CCM] = { "aes-128-ccm", TLS_CIPHER_AES_CCM_128, 16,
			  "ccm(aes)", "ecb(aes)" },
	[CHACHA20] = { "chacha20", TLS_CIPHER_CHACHA20_POLY1305, 32,
		       "rfc7539(chacha20,poly1305)", "chacha20" },
};

struct opt opt = {
	.size = 1200, .batch = 50, .flows = 1, .threads = 1, .rounds = 15,
	.ms = 200, .msgs = 1, .cid_len = 8,
};

__attribute__((format(printf, 1, 2), noreturn))
void die(const char *fmt, ...)
{
	va_list ap;

	fputs("quic_bench: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(1);
}

void *xcalloc(size_t n, size_t size)
{
	void *p = calloc(n, size);

	if (!p)
		die("no memory");
	return p;
}

/* Memory that is shared with processes forked later */
void *shared_alloc(size_t n, size_t size)
{
	void *p = mmap(NULL, n * size, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		die("no memory");
	return p;
}

/*
 * Keys and the like. Each process has its own, as the kernel goes on with the
 * record of packet numbers of a key that another process has had.
 */
void fill_random(void *buf, size_t len)
{
	static uint64_t state;
	size_t i, n;
	uint64_t x;

	if (!state)
		state = 0x51554943 + ((uint64_t)getpid() << 32);
	for (i = 0; i < len; i += n) {	/* splitmix64 */
		x = state += 0x9e3779b97f4a7c15;
		x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
		x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
		x ^= x >> 31;
		n = len - i < sizeof(x) ? len - i : sizeof(x);
		memcpy((uint8_t *)buf + i, &x, n);
	}
}

static uint64_t now(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return ts.tv_sec * NSEC + ts.tv_nsec;
}

/* Instructions that the machine has executed, by QEMU's -icount shift=0 */
static uint64_t insns(void)
{
#ifdef __x86_64__
	return __builtin_ia32_rdtsc();
#else
	die("-i is for x86-64");
#endif
}

/* A guest on a busy host may have found no clock but its timer's ticks */
void check_clock(void)
{
	struct timespec ts;

	if (clock_getres(CLOCK_MONOTONIC, &ts) || ts.tv_sec ||
	    ts.tv_nsec > 1000)
		die("this machine has no clock that is good enough");
}

struct times times_now(void)
{
	const clockid_t clock = opt.wall ? CLOCK_MONOTONIC :
					   CLOCK_THREAD_CPUTIME_ID;
	struct times t = {
		.cpu = opt.insns ? insns() : now(clock),
		.wall = now(CLOCK_MONOTONIC),
	};
	struct rusage ru;

	getrusage(RUSAGE_THREAD, &ru);
	t.rusage = (ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) * NSEC +
		   (ru.ru_utime.tv_usec + ru.ru_stime.tv_usec) * 1000ULL;
	return t;
}

struct times times_since(const struct times *then)
{
	struct times t = times_now();

	t.cpu -= then->cpu;
	t.rusage -= then->rusage;
	t.wall -= then->wall;
	return t;
}

/* A counter of /proc/net/quic_stat, 0 where there is none */
unsigned long counter(const char *name)
{
	FILE *f = fopen("/proc/net/quic_stat", "r");
	unsigned long val, ret = 0;
	char key[64];

	if (!f)
		return 0;
	while (fscanf(f, "%63s %lu", key, &val) == 2)
		if (!strcmp(key, name))
			ret = val;
	fclose(f);
	return ret;
}

socklen_t addr_len(const struct sockaddr_storage *a)
{
	return a->ss_family == AF_INET ? sizeof(struct sockaddr_in) :
					 sizeof(struct sockaddr_in6);
}

void addr_parse(struct sockaddr_storage *a, const char *s)
{
	struct sockaddr_in6 *in6 = (void *)a;
	struct sockaddr_in *in = (void *)a;

	memset(a, 0, sizeof(*a));
	if (inet_pton(AF_INET, s, &in->sin_addr) == 1) {
		in->sin_family = AF_INET;
		in->sin_port = htons(PORT);
	} else if (inet_pton(AF_INET6, s, &in6->sin6_addr) == 1) {
		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons(PORT);
	} else {
		die("%s is no address", s);
	}
}

void flow_init(struct flow *f, uint32_t id)
{
	memset(f, 0, sizeof(*f));
	f->keys.cipher = opt.cipher;
	fill_random(f->keys.key, sizeof(f->keys.key));
	fill_random(f->keys.iv, sizeof(f->keys.iv));
	fill_random(f->keys.hp, sizeof(f->keys.hp));
	fill_random(f->cid, opt.cid_len);
	f->id = id;
}

/* Add or remove a flow. One that receives has no @to: packets may come from
 * anywhere.
 */
void flow_opt(const struct flow *f, int fd, int name,
	      const struct sockaddr_storage *to)
{
	size_t len = ciphers[opt.cipher].key_len;
	struct quic_connection_info ci;

	memset(&ci, 0, sizeof(ci));
	ci.key.flow_id = f->id;
	if (!f->id || !to) {
		memcpy(ci.key.conn_id + sizeof(ci.key.conn_id) - opt.cid_len,
		       f->cid, opt.cid_len);
		ci.key.conn_id_length = opt.cid_len;
	}
	if (!f->id && to)
		memcpy(&ci.key.peer, to, addr_len(to));
	ci.cipher_type = ciphers[opt.cipher].type;
	ci.conn_payload_key_gen = f->gen;
	memcpy(ci.payload_key, f->keys.key, len);
	memcpy(ci.payload_iv, f->keys.iv, IV_LEN);
	memcpy(ci.header_key, f->keys.hp, len);
	ci.next_pkt_num = f->pn;
	if (setsockopt(fd, SOL_UDP, name, &ci, sizeof(ci)))
		die("option %d for a flow: %m", name);
}

void pkt_headers(const struct flow *f, uint8_t *pkt, size_t stride)
{
	uint8_t first = 0x40 | (f->gen & 1) << 2 | (PN_LEN - 1);
	unsigned int i;
	uint32_t pn;

	for (i = 0; i < opt.batch; i++, pkt += stride) {
		pkt[0] = first;
		memcpy(pkt + 1, f->cid, opt.cid_len);
		pn = htobe32(f->pn + i);
		memcpy(pkt + 1 + opt.cid_len, &pn, PN_LEN);
	}
}

struct batch pkt_batch(const struct flow *f, uint8_t *pkt)
{
	return (struct batch) {
		.pkt = pkt,
		.size = opt.size,
		.n = opt.batch,
		.pn_off = 1 + opt.cid_len,
		.pn = f->pn,
	};
}

int pkt_seal(enum lib lib, void *ctx, const struct flow *f,
	     uint8_t *pkt)
{
	struct batch b = pkt_batch(f, pkt);

	return sealers[lib]->seal(ctx, &b);
}

void *cmsg_put(struct msghdr *msg, int type, const void *data,
	       size_t len)
{
	struct cmsghdr *c = (void *)((char *)msg->msg_control +
				     msg->msg_controllen);

	c->cmsg_level = SOL_UDP;
	c->cmsg_type = type;
	c->cmsg_len = CMSG_LEN(len);
	msg->msg_controllen += CMSG_SPACE(len);
	return memcpy(CMSG_DATA(c), data, len);
}

/* If @name ends in @suffix, cuts it off */
bool mode_suffix(char *name, const char *suffix)
{
	size_t n = strlen(name), len = strlen(suffix);

	if (n < len || strcmp(name + n - len, suffix))
		return false;
	name[n - len] = 0;
	return true;
}

enum lib mode_lib(const char *name)
{
	int i;

	for (i = 0; i < N_LIBS; i++) {
		if (strcmp(name, libs[i]))
			continue;
		if (!sealers[i])
			die("seal_%s.so was not built", name);
		return i;
	}
	die("no such library: %s", name);
}

void load_sealers(void)
{
	char path[4096], *slash;
	ssize_t len;
	void *so;
	int i;

	len = readlink("/proc/self/exe", path, sizeof(path) - 32);
	if (len < 0)
		die("/proc/self/exe: %m");
	path[len] = 0;
	slash = strrchr(path, '/') + 1;
	for (i = 0; i < N_LIBS; i++) {
		sprintf(slash, "seal_%s.so", libs[i]);
		if (access(path, F_OK))
			continue;
		so = dlopen(path, RTLD_NOW | RTLD_LOCAL);
		sealers[i] = so ? dlsym(so, "sealer") : NULL;
		if (!sealers[i])
			die("%s", dlerror());
		fprintf(stderr, "quic_bench: %s: %s\n", libs[i],
			sealers[i]->version());
	}
}

unsigned long number(const char *s, unsigned long min,
		     unsigned long max)
{
	char *end;
	unsigned long n = strtoul(s, &end, 0);

	if (*end || end == s || n < min || n > max)
		die("%s is not a number from %lu to %lu", s, min, max);
	return n;
}
