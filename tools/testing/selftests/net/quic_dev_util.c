// SPDX-License-Identifier: GPL-2.0
/*
 * What the programs share that drivers/net/quic*.py run.
 */

#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/in.h>

#include <linux/bpf.h>
#include <linux/if_packet.h>
#include <sys/syscall.h>

#include "../kselftest.h"
#include "quic_dev_util.h"

#define MAX_CAPS	8

struct capture {
	int fd;
	bool plain;
};

static const struct {
	const char *name;
	uint16_t type;
} ciphers[] = {
	{ "aes-128-gcm", TLS_CIPHER_AES_GCM_128 },
	{ "aes-256-gcm", TLS_CIPHER_AES_GCM_256 },
	{ "aes-128-ccm", TLS_CIPHER_AES_CCM_128 },
	{ "chacha20-poly1305", TLS_CIPHER_CHACHA20_POLY1305 },
};

static const struct option_desc *all_options;
static unsigned int n_options;
static const char *program;

static struct capture caps[MAX_CAPS];
static unsigned int n_caps;

/* Our own namespace */
int ns_home(void)
{
	int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);

	if (home < 0)
		err(1, "/proc/self/ns/net");
	return home;
}

/* NULL and "" are the namespace that we are in. */
void ns_enter(const char *ns)
{
	char path[128];
	int fd;

	if (!ns || !*ns)
		return;
	snprintf(path, sizeof(path), "/var/run/netns/%s", ns);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || setns(fd, CLONE_NEWNET))
		err(1, "namespace %s", ns);
	close(fd);
}

void ns_leave(int home)
{
	if (setns(home, CLONE_NEWNET))
		err(1, "going back to the namespace");
}

/* @what is NAMESPACE:DEVICE; either may be empty. */
void capture_add(char *what, bool plain, int home)
{
	struct sockaddr_ll ll = { .sll_family = AF_PACKET,
				  .sll_protocol = htons(ETH_P_ALL) };
	char *dev = strchr(what, ':');
	int fd;

	if (!dev || n_caps == MAX_CAPS)
		errx(1, "cannot capture at '%s'", what);
	*dev++ = 0;
	ns_enter(what);
	fd = capture_open();
	if (fd < 0)
		errx(1, "packet socket: %s", strerror(-fd));
	if (*dev) {
		ll.sll_ifindex = if_nametoindex(dev);
		if (!ll.sll_ifindex || bind(fd, (void *)&ll, sizeof(ll)))
			err(1, "capture on %s", dev);
	}
	ns_leave(home);
	caps[n_caps].fd = fd;
	caps[n_caps++].plain = plain;
}

static void capture_count(const struct capture *cap, struct seen *seen,
			  const void *buf, ssize_t len)
{
	bool marker = has_marker(buf, len);

	if (!cap->plain)
		seen->captured++;
	if (!marker)
		return;
	if (cap->plain)
		seen->tapped++;
	else
		seen->plain++;
}

/* What is too short for a packet does not count. */
void captures_drain(struct seen *seen)
{
	static uint8_t buf[FRAME_MAX];
	unsigned int i;
	ssize_t ret;

	for (i = 0; i < n_caps; i++) {
		while ((ret = recv(caps[i].fd, buf, sizeof(buf),
				   MSG_DONTWAIT)) >= 0) {
			if (ret >= 60 + TAG)
				capture_count(&caps[i], seen, buf, ret);
		}
	}
}

static int sys_bpf(int cmd, union bpf_attr *attr)
{
	return syscall(__NR_bpf, cmd, attr, sizeof(*attr));
}

int bpf_load(int type, const struct bpf_insn *insns, unsigned int n)
{
	union bpf_attr attr = {
		.prog_type = type,
		.insns = (unsigned long)insns,
		.insn_cnt = n,
		.license = (unsigned long)"GPL",
	};

	return sys_bpf(BPF_PROG_LOAD, &attr);
}

/* For as long as this process lives */
void bpf_attach(int prog, unsigned int ifindex, int type, unsigned int flags)
{
	union bpf_attr attr = {
		.link_create = {
			.prog_fd = prog,
			.target_ifindex = ifindex,
			.attach_type = type,
			.flags = flags,
		},
	};

	if (prog < 0 || sys_bpf(BPF_LINK_CREATE, &attr) < 0) {
		printf("cannot attach a BPF program: %s\n", strerror(errno));
		exit(KSFT_SKIP);
	}
}

/* Calls a helper of the bpf_redirect() kind. */
int bpf_redirector(int func, unsigned int ifindex, int flags)
{
	const struct bpf_insn insns[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_1,
		  .imm = ifindex },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_2,
		  .imm = flags },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_3 },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_4 },
		{ .code = BPF_JMP | BPF_CALL, .imm = func },
		{ .code = BPF_JMP | BPF_EXIT },
	};

	return bpf_load(BPF_PROG_TYPE_SCHED_CLS, insns, ARRAY_SIZE(insns));
}

int bpf_xdp_tx(void)
{
	const struct bpf_insn insns[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0,
		  .imm = XDP_TX },
		{ .code = BPF_JMP | BPF_EXIT },
	};

	return bpf_load(BPF_PROG_TYPE_XDP, insns, ARRAY_SIZE(insns));
}

/* Calls bpf_clone_redirect(), and lets the original go on. */
int bpf_cloner(unsigned int ifindex)
{
	const struct bpf_insn insns[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_2,
		  .imm = ifindex },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_3 },
		{ .code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_clone_redirect },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0,
		  .imm = TCX_NEXT },
		{ .code = BPF_JMP | BPF_EXIT },
	};

	return bpf_load(BPF_PROG_TYPE_SCHED_CLS, insns, ARRAY_SIZE(insns));
}

/* Sum of counters, whose names end in a space; 0 for what is not there. @fd is
 * /proc/net/quic_stat of a network namespace.
 */
unsigned long stats_sum(int fd, const char * const *names, unsigned int n)
{
	unsigned long sum = 0;
	char buf[4096], *p;
	ssize_t len;

	len = pread(fd, buf, sizeof(buf) - 1, 0);
	if (len < 0)
		return 0;
	buf[len] = 0;
	while (n--) {
		p = strstr(buf, names[n]);
		if (p)
			sum += strtoul(p + strlen(names[n]), NULL, 10);
	}
	return sum;
}

unsigned long now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

void options_usage(void)
{
	const struct option_desc *o;

	fprintf(stderr, "%s [OPTION...]\n", program);
	for (o = all_options; o < all_options + n_options; o++)
		fprintf(stderr, "  --%-18s %-22s %s\n", o->name, o->arg ?: "",
			o->help);
	exit(1);
}

static void option(const struct option_desc *o, char *arg, int home)
{
	if (o->num)
		*o->num = atoi(arg);
	else if (o->str)
		*o->str = arg;
	else if (o->flag)
		*o->flag = true;
	else
		o->add(arg, home);
}

void options_parse(const struct option_desc *options, unsigned int n, int argc,
		   char **argv, int home)
{
	struct option longs[n + 1];
	unsigned int i;
	int c, idx;

	all_options = options;
	n_options = n;
	program = argv[0];
	memset(longs, 0, sizeof(longs));
	for (i = 0; i < n; i++) {
		longs[i].name = options[i].name;
		longs[i].has_arg = options[i].arg ? required_argument :
						    no_argument;
	}
	while ((c = getopt_long(argc, argv, "", longs, &idx)) >= 0) {
		if (c)
			options_usage();
		option(&options[idx], optarg, home);
	}
	if (optind != argc)
		options_usage();
}

uint16_t cipher_by_name(const char *name)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(ciphers); i++)
		if (!strcmp(name, ciphers[i].name))
			return ciphers[i].type;
	options_usage();
	return 0;
}

void addr_parse(struct sockaddr_storage *addr, const char *text,
		unsigned int port)
{
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)addr;
	struct sockaddr_in *v4 = (struct sockaddr_in *)addr;

	memset(addr, 0, sizeof(*addr));
	if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(port);
	} else if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons(port);
	} else {
		options_usage();
	}
}
