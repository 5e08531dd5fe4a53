/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the programs share that drivers/net/quic*.py run: namespaces, packet
 * sockets on the way, BPF programs, options of the command line.
 */
#ifndef QUIC_DEV_UTIL_H
#define QUIC_DEV_UTIL_H

#include <linux/bpf.h>

#include "quic_util.h"

#define FRAME_MAX	(80 * 1024)

/**
 * struct seen - what packet sockets have seen
 * @captured: packets where none may be in plaintext
 * @tapped: packets in plaintext where they are expected
 * @plain: packets in plaintext where they are not
 */
struct seen {
	unsigned long captured, tapped, plain;
};

/**
 * struct option_desc - an option of the command line
 * @name: what follows "--"
 * @arg: name of the argument in the help text, NULL for a flag
 * @help: one line of help
 * @num: number to set, or NULL
 * @str: string to set, or NULL
 * @flag: flag to set, or NULL
 * @add: function to call with the argument, or NULL
 */
struct option_desc {
	const char *name, *arg, *help;
	unsigned int *num;
	const char **str;
	bool *flag;
	void (*add)(char *arg, int home);
};

/* Namespaces */
int ns_home(void);
void ns_enter(const char *ns);
void ns_leave(int home);

/* Packet sockets */
void capture_add(char *what, bool plain, int home);
void captures_drain(struct seen *seen);

/* BPF programs */
int bpf_load(int type, const struct bpf_insn *insns, unsigned int n);
void bpf_attach(int prog, unsigned int ifindex, int type, unsigned int flags);
int bpf_redirector(int func, unsigned int ifindex, int flags);
int bpf_cloner(unsigned int ifindex);
int bpf_xdp_tx(void);

/* Command line */
void options_parse(const struct option_desc *options, unsigned int n, int argc,
		   char **argv, int home);
void options_usage(void);
uint16_t cipher_by_name(const char *name);
void addr_parse(struct sockaddr_storage *addr, const char *text,
		unsigned int port);

unsigned long stats_sum(int fd, const char * const *names, unsigned int n);
unsigned long now_ms(void);

#endif /* QUIC_DEV_UTIL_H */
