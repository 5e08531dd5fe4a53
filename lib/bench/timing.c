// SPDX-License-Identifier: GPL-2.0
/*
 * Does the time of recvmsg() tell the Key Phase of a packet that does not open?
 * It must not if the key of the next generation is there (RFC 9001 9.5): who
 * flips bits of a header could learn the mask of header protection from it.
 *
 * Packets with a wrong tag and either Key Phase arrive in random order. The
 * socket has the keys of both. A third kind shows what a difference looks like:
 * packets that are too short to be opened.
 */
#include <math.h>
#include <stdlib.h>
#include <unistd.h>
#include <netinet/in.h>

#include "bench.h"

#define TIMING_PACKETS	4000	/* of each kind and round */

enum kind { SAME_PHASE, OTHER_PHASE, SHORT, N_KINDS };

static const struct {
	const char *name;
	unsigned int status;
} kinds[] = {
	[SAME_PHASE] = { "wrong tag, current key", QUIC_RX_AUTH_FAILED },
	[OTHER_PHASE] = { "wrong tag, next key", QUIC_RX_AUTH_FAILED },
	[SHORT] = { "too short", QUIC_RX_TOO_SHORT },
};

/**
 * struct timing - the measurement
 * @tx: socket that sends
 * @rx: socket that receives
 * @pkt: a packet of each kind
 * @len: bytes of it
 * @times: of each packet of a kind
 * @n: number of these
 */
struct timing {
	int tx;
	int rx;
	uint8_t *pkt[N_KINDS];
	size_t len[N_KINDS];
	double *times[N_KINDS];
	unsigned int n[N_KINDS];
};

static void timing_sockets(struct timing *t)
{
	struct sockaddr_storage to;
	socklen_t len = sizeof(to);

	addr_parse(&to, "127.0.0.1");
	((struct sockaddr_in *)&to)->sin_port = 0;
	t->rx = socket(AF_INET, SOCK_DGRAM, 0);
	t->tx = socket(AF_INET, SOCK_DGRAM, 0);
	if (t->rx < 0 || t->tx < 0 ||
	    bind(t->rx, (void *)&to, addr_len(&to)) ||
	    getsockname(t->rx, (void *)&to, &len) ||
	    connect(t->tx, (void *)&to, addr_len(&to)))
		die("sockets: %m");
}

static void timing_packet(struct timing *t, enum kind kind,
			  const struct flow *f)
{
	void *ctx = sealers[OPENSSL]->flow(&f->keys);

	t->len[kind] = opt.size;
	t->pkt[kind] = xcalloc(1, opt.size);
	pkt_headers(f, t->pkt[kind], opt.size);
	if (!ctx || pkt_seal(OPENSSL, ctx, f, t->pkt[kind]))
		die("openssl cannot seal");
	t->pkt[kind][opt.size - 1] ^= 1;
}

/* Both generations have one key for header protection */
static void timing_flow(struct timing *t)
{
	struct flow f;

	opt.batch = 1;
	flow_init(&f, 1);
	f.pn = FIRST_PN;
	flow_opt(&f, t->rx, UDP_QUIC_ADD_RX_CONNECTION, NULL);
	timing_packet(t, SAME_PHASE, &f);
	f.gen++;
	fill_random(f.keys.key, sizeof(f.keys.key));
	fill_random(f.keys.iv, sizeof(f.keys.iv));
	flow_opt(&f, t->rx, UDP_QUIC_ADD_RX_CONNECTION, NULL);
	timing_packet(t, OTHER_PHASE, &f);
	t->pkt[SHORT] = t->pkt[SAME_PHASE];
	t->len[SHORT] = 1 + opt.cid_len + PN_LEN;
}

static void timing_one(struct timing *t, enum kind kind)
{
	uint64_t control[32];
	uint8_t buf[1 << 16];
	struct iovec iov = { .iov_base = buf, .iov_len = sizeof(buf) };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = sizeof(control),
	};
	const struct quic_rx_packet *p;
	struct times start, took;
	ssize_t n;

	if (send(t->tx, t->pkt[kind], t->len[kind], 0) < 0)
		die("send: %m");
	start = times_now();
	n = recvmsg(t->rx, &msg, 0);
	took = times_since(&start);
	p = CMSG_FIRSTHDR(&msg) ? (void *)CMSG_DATA(CMSG_FIRSTHDR(&msg)) : NULL;
	if (n != (ssize_t)t->len[kind] || !p || p->status != kinds[kind].status)
		die("%s: wrong result", kinds[kind].name);
	t->times[kind][t->n[kind]++] = opt.insns ? took.cpu : took.wall;
}

/* Mean and its standard error of the faster nine tenths: interrupts are in the
 * rest
 */
static double timing_mean(const double *v, unsigned int n, double *err)
{
	double sum = 0, sq = 0, mean;
	unsigned int i;

	n -= n / 10;
	for (i = 0; i < n; i++)
		sum += v[i];
	mean = sum / n;
	for (i = 0; i < n; i++)
		sq += (v[i] - mean) * (v[i] - mean);
	*err = sqrt(sq / (n - 1) / n);
	return mean;
}

static void timing_print(struct timing *t)
{
	double mean[N_KINDS], err[N_KINDS], diff, off;
	unsigned int k;

	printf("%s, %zu bytes: %s of recvmsg()\n%-28s%9s%9s%9s%9s\n",
	       ciphers[opt.cipher].name, opt.size,
	       opt.insns ? "instructions" : "nanoseconds", "", "packets",
	       "median", "mean", "error");
	for (k = 0; k < N_KINDS; k++) {
		sort(t->times[k], t->n[k]);
		mean[k] = timing_mean(t->times[k], t->n[k], &err[k]);
		printf("%-28s%9u%9.1f%9.1f%9.2f\n", kinds[k].name, t->n[k],
		       quantile(t->times[k], t->n[k], 0.5), mean[k], err[k]);
	}
	diff = mean[OTHER_PHASE] - mean[SAME_PHASE];
	off = diff / sqrt(err[0] * err[0] + err[1] * err[1] + 1e-9);
	printf("difference of the Key Phases: %.1f (%.2f%%), "
	       "%.1f standard errors\n",
	       diff, diff / mean[SAME_PHASE] * 100, off);
}

void timing(void)
{
	unsigned int n = TIMING_PACKETS * opt.rounds, k;
	struct timing t = { 0 };
	uint8_t random;

	if (!sealers[OPENSSL])
		die("seal_openssl.so was not built");
	timing_sockets(&t);
	timing_flow(&t);
	for (k = 0; k < N_KINDS; k++)
		t.times[k] = xcalloc(n, sizeof(double));
	while (t.n[SAME_PHASE] < n || t.n[OTHER_PHASE] < n || t.n[SHORT] < n) {
		fill_random(&random, 1);
		k = random % N_KINDS;
		if (t.n[k] < n)
			timing_one(&t, k);
	}
	timing_print(&t);
}
