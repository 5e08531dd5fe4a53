/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the files of quic_bench share.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stdio.h>
#include <sys/socket.h>

#include "../quic_uapi.h"
#include "seal.h"

#define MAX_CALL	65507	/* payload of a UDP datagram over IPv4 */
#define MAX_MODES	24
#define MAX_MSGS	64
#define MAX_THREADS	64
#define NSEC		1000000000ULL

#define FIRST_PN	0xfffffff0	/* with more bits than are in headers */

enum how {
	SYSCALL, PLAIN, ULP, BYPASS, LIMIT, CRYPTO, USER, KERNEL, FLOWID
};

enum lib { OPENSSL, BORINGSSL, GNUTLS, N_LIBS };

struct receiver;

/**
 * struct cipher_desc - a cipher
 * @name: as on the command line
 * @type: as the kernel's interface names it
 * @key_len: bytes of a key
 * @alg: AEAD of the kernel's crypto API
 * @hp: cipher for header protection there
 */
struct cipher_desc {
	const char *name;
	uint16_t type;
	size_t key_len;
	const char *alg;
	const char *hp;
};

/* Options, see usage() */
struct opt {
	enum cipher cipher;
	size_t size;
	unsigned int batch;
	unsigned int flows;
	unsigned int threads;
	unsigned int rounds;
	unsigned int ms;
	unsigned long calls;
	unsigned int msgs;
	unsigned int cid_len;
	unsigned long install;
	bool own_sockets;
	bool processes;
	bool packed;
	bool insns;
	bool wall;
	bool timing;
	const char *lines;
	const char *ref;
	const char *less;
	const char *netns;
	struct sockaddr_storage to;
	struct sockaddr_storage device;
	struct sockaddr_storage local;
};

/**
 * struct flow - a connection
 * @keys: of its current generation
 * @gen: the generation
 * @id: flow_id, 0 for none
 * @cid: destination connection ID
 * @pn: next packet number
 * @sealed: packets of this generation
 * @ctx: what the library keeps
 */
struct flow {
	struct keys keys;
	uint8_t gen;
	uint32_t id;
	uint8_t cid[QUIC_MAX_CONNECTION_ID_SIZE];
	uint64_t pn;
	uint64_t sealed;
	void *ctx;
};

/* Nanoseconds, by three clocks */
struct times {
	uint64_t cpu;
	uint64_t rusage;
	uint64_t wall;
};

/**
 * struct mode - a way of sending or receiving
 * @name: as on the command line
 * @how: who seals or opens
 * @lib: which library, where user space does
 * @receive: packets are received, see recv.c
 * @zerocopy: send with MSG_ZEROCOPY
 * @device: the network device is to seal or open
 * @flows: of each thread
 * @to: destination
 * @fd: socket of each thread
 * @flow: of each thread, @flows of them
 * @rx: what recv.c keeps, if @receive
 * @round: results
 */
struct mode {
	char name[40];
	enum how how;
	enum lib lib;
	bool receive;
	bool zerocopy;
	bool device;
	unsigned int flows;
	const struct sockaddr_storage *to;
	int fd[MAX_THREADS];
	struct flow *flow[MAX_THREADS];
	struct receiver *rx;
	struct times *round;
};

static inline bool in_kernel(const struct mode *m)
{
	return m->how == KERNEL || m->how == FLOWID;
}

/* By the file of limit.patch, without system calls */
static inline bool in_loop(const struct mode *m)
{
	return m->how == LIMIT || m->how == CRYPTO;
}

/* Does the mode seal, or open, packets? */
static inline bool sealed(const struct mode *m)
{
	return m->how == USER || in_kernel(m);
}

extern const struct cipher_desc ciphers[N_CIPHERS];
extern const char * const libs[N_LIBS];
extern const struct sealer *sealers[N_LIBS];
extern struct opt opt;

/* util.c */
__attribute__((format(printf, 1, 2), noreturn))
void die(const char *fmt, ...);
void *xcalloc(size_t n, size_t size);
void *shared_alloc(size_t n, size_t size);
void fill_random(void *buf, size_t len);
void check_clock(void);
struct times times_now(void);
struct times times_since(const struct times *then);
unsigned long counter(const char *name);
unsigned long number(const char *s, unsigned long min, unsigned long max);
socklen_t addr_len(const struct sockaddr_storage *a);
void addr_parse(struct sockaddr_storage *a, const char *s);
void load_sealers(void);
bool mode_suffix(char *name, const char *suffix);
enum lib mode_lib(const char *name);
void flow_init(struct flow *f, uint32_t id);
void flow_opt(const struct flow *f, int fd, int name,
	      const struct sockaddr_storage *to);
void pkt_headers(const struct flow *f, uint8_t *pkt, size_t stride);
struct batch pkt_batch(const struct flow *f, uint8_t *pkt);
int pkt_seal(enum lib lib, void *ctx, const struct flow *f, uint8_t *pkt);
void *cmsg_put(struct msghdr *msg, int type, const void *data, size_t len);

/* results.c */
void sort(double *v, unsigned int n);
double quantile(const double *v, unsigned int n, double q);
FILE *lines_open(const char *columns);
void lines_close(FILE *f);
void print_lines(const struct mode *m, unsigned int n, unsigned long packets);
void print_table(const struct mode *m, unsigned int n, const struct mode *ref,
		 const struct mode *less, unsigned long packets);
void print_ratios(const struct mode *m, unsigned int n,
		  const struct mode *less);
const struct mode *mode_find(const struct mode *m, unsigned int n,
			     const char *name);

/* recv.c */
void recv_init(struct mode *m);
void recv_verify(const struct mode *m);
struct times recv_run(const struct mode *m, unsigned long calls);
struct times recv_round(const struct mode *m, unsigned long calls);

/* timing.c */
void timing(void);

#endif /* BENCH_H */
