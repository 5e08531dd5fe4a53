// SPDX-License-Identifier: GPL-2.0
/* What quic_bench prints. */
#include <stdarg.h>
#include <stdlib.h>

#include "bench.h"

static int cmp_double(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

/* Smallest first, as quantile() wants it */
void sort(double *v, unsigned int n)
{
	qsort(v, n, sizeof(*v), cmp_double);
}

/* @q of the sorted values: 0.5 is the median */
double quantile(const double *v, unsigned int n, double q)
{
	double pos = q * (n - 1);
	unsigned int i = pos;

	return i + 1 < n ? v[i] + (pos - i) * (v[i + 1] - v[i]) : v[n - 1];
}

/* The file of -j, which may have lines of other runs */
FILE *lines_open(const char *columns)
{
	FILE *f = fopen(opt.lines, "a");

	if (!f)
		die("%s: %m", opt.lines);
	fseek(f, 0, SEEK_END);
	if (!ftell(f))
		fprintf(f, "#%s\n", columns);
	return f;
}

void lines_close(FILE *f)
{
	if (ferror(f) | fclose(f))
		die("%s: %m", opt.lines);
}

void print_lines(const struct mode *m, unsigned int n,
		 unsigned long packets)
{
	FILE *f = lines_open("mode\tcipher\tsize\tbatch\tflows\tthreads\t"
			     "sockets\tround\tpackets\tcpu_ns\trusage_ns\t"
			     "wall_ns\tmsgs");
	unsigned int sockets = opt.own_sockets ? opt.threads : 1, r, i;

	for (r = 0; r < opt.rounds; r++)
		for (i = 0; i < n; i++)
			fprintf(f, "%s\t%s\t%zu\t%u\t%u\t%u\t%u\t%u\t"
				"%lu\t%lu\t%lu\t%lu\t%u\n",
				m[i].name, ciphers[opt.cipher].name, opt.size,
				opt.batch, m[i].flows * opt.threads,
				opt.threads, sockets, r,
				packets, m[i].round[r].cpu,
				m[i].round[r].rusage, m[i].round[r].wall,
				opt.msgs);
	lines_close(f);
}

/* The CPU time of a round, without what @less has of it */
static double round_cpu(const struct mode *m, const struct mode *less,
			unsigned int r)
{
	if (!less || in_loop(m))	/* no system calls */
		return m->round[r].cpu;
	return (double)m->round[r].cpu - less->round[r].cpu;
}

/* Fills and sorts @v, a value of each round per packet */
static void rounds_of(double *v, const struct mode *m, const struct mode *less,
		      unsigned long packets)
{
	unsigned int r;

	for (r = 0; r < opt.rounds; r++)
		v[r] = round_cpu(m, less, r) / packets;
	sort(v, opt.rounds);
}

static void walls_of(double *v, const struct mode *m, const struct mode *less,
		     unsigned long packets)
{
	unsigned int r;

	for (r = 0; r < opt.rounds; r++) {
		v[r] = m->round[r].wall;
		if (less && !in_loop(m))
			v[r] -= less->round[r].wall;
		v[r] /= packets;
	}
	sort(v, opt.rounds);
}

/* Fills and sorts @v, by what @m is faster than @ref in each round */
static void ratios_of(double *v, const struct mode *m, const struct mode *ref,
		      const struct mode *less)
{
	unsigned int r;

	for (r = 0; r < opt.rounds; r++)
		v[r] = round_cpu(ref, less, r) / round_cpu(m, less, r);
	sort(v, opt.rounds);
}

/* The mode that does @how where @like does what it does, or NULL */
static const struct mode *mode_like(const struct mode *m, unsigned int n,
				    enum how how, const struct mode *like)
{
	unsigned int i;

	for (i = 0; i < n; i++)
		if (m[i].how == how && m[i].to == like->to &&
		    m[i].receive == like->receive &&
		    m[i].flows == like->flows && !m[i].zerocopy)
			return &m[i];
	return NULL;
}

/* The mode that is @like but with one flow, or NULL */
static const struct mode *mode_one(const struct mode *m, unsigned int n,
				   const struct mode *like)
{
	unsigned int i;

	for (i = 0; i < n && like->flows > 1; i++)
		if (m[i].flows == 1 && m[i].how == like->how &&
		    m[i].lib == like->lib && m[i].to == like->to &&
		    m[i].receive == like->receive &&
		    m[i].zerocopy == like->zerocopy)
			return &m[i];
	return NULL;
}

__attribute__((format(printf, 2, 3)))
static void print_ratio(const double *v, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vprintf(fmt, ap);
	va_end(ap);
	printf("%*s%9.3f%9.3f%9.3f\n", n < 42 ? 42 - n : 0, "",
	       quantile(v, opt.rounds, 0.5), quantile(v, opt.rounds, 0.25),
	       quantile(v, opt.rounds, 0.75));
}

/* What is to be compared with something of its own */
void print_ratios(const struct mode *m, unsigned int n,
		  const struct mode *less)
{
	const struct mode *limit, *plain, *one;
	double v[opt.rounds];
	unsigned int i, r;

	printf("%-42s%9s%9s%9s\n", "", "ratio", "quartile", "quartile");
	for (i = 0; i < n; i++) {
		one = mode_one(m, n, &m[i]);
		if (one) {
			ratios_of(v, &m[i], one, less);
			print_ratio(v, "packets of %s / %s", m[i].name,
				    one->name);
		}
		plain = mode_like(m, n, PLAIN, &m[i]);
		if (!in_kernel(&m[i]) || !plain)
			continue;
		ratios_of(v, &m[i], plain, less);
		print_ratio(v, "packets of %s / %s", m[i].name, plain->name);
		limit = mode_like(m, n, LIMIT, &m[i]);
		if (!limit)
			continue;
		for (r = 0; r < opt.rounds; r++)
			v[r] = ((double)m[i].round[r].cpu -
				plain->round[r].cpu) / limit->round[r].cpu;
		sort(v, opt.rounds);
		print_ratio(v, "time of (%s - %s) / %s", m[i].name,
			    plain->name, limit->name);
	}
}

void print_table(const struct mode *m, unsigned int n,
		 const struct mode *ref, const struct mode *less,
		 unsigned long packets)
{
	double ns[opt.rounds], wall[opt.rounds], ratio[opt.rounds], med;
	const char *what = "CPU ns/";
	unsigned int i;

	if (opt.insns)
		what = "insns/";
	else if (opt.wall)
		what = "ns/";
	printf("%s, %zu bytes, %u per call, %u flow(s), %u thread(s), "
	       "%u socket(s)\n"
	       "%u call(s) at once, %u rounds of %lu packets%s%s\n",
	       ciphers[opt.cipher].name, opt.size, opt.batch, opt.flows,
	       opt.threads, opt.own_sockets ? opt.threads : 1, opt.msgs,
	       opt.rounds,
	       packets, less ? "; all figures are without what is in " : "",
	       less ? less->name : "");
	printf("%-24s%9s%9s%9s%9s%9s   %s = 1\n"
	       "%-24s%9s%9s%9s%9s%9s%9s%9s%9s\n",
	       "", what, "", "", "", "Gbit/s", ref->name, "mode", "packet",
	       "min", "max", "wall", "per core", "faster", "quartile",
	       "quartile");
	for (i = 0; i < n; i++) {
		if (&m[i] == less)
			continue;
		rounds_of(ns, &m[i], less, packets);
		walls_of(wall, &m[i], less, packets);
		ratios_of(ratio, &m[i], ref, less);
		med = quantile(ns, opt.rounds, 0.5);
		printf("%-24s%9.1f%9.1f%9.1f%9.1f%9.2f%9.3f%9.3f%9.3f\n",
		       m[i].name, med, ns[0], ns[opt.rounds - 1],
		       quantile(wall, opt.rounds, 0.5), opt.size * 8 / med,
		       quantile(ratio, opt.rounds, 0.5),
		       quantile(ratio, opt.rounds, 0.25),
		       quantile(ratio, opt.rounds, 0.75));
	}
}

const struct mode *mode_find(const struct mode *m, unsigned int n,
			     const char *name)
{
	unsigned int i;

	for (i = 0; i < n; i++)
		if (!strcmp(m[i].name, name))
			return &m[i];
	die("%s is none of the modes", name);
}
