/* SPDX-License-Identifier: GPL-2.0 */
/* What the files of quic_offload.so share. See quic_offload.c. */
#ifndef QUIC_OFFLOAD_H
#define QUIC_OFFLOAD_H

#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>

#include <ngtcp2/ngtcp2.h>
#include <ngtcp2/ngtcp2_crypto.h>

#include "quickernel/quickernel.h"
#include "quic_uapi.h"

#define N_GENS		4	/* generations kept: old, current, next */
#define N_MATCHES	16	/* own connection IDs that the kernel gets */
#define N_BUCKETS	1024
#define MAX_DGRAM	65535

struct conn;
struct side;

/* What protects the packets of one generation, in one direction */
struct key {
	struct conn *conn;
	struct side *side;
	uint32_t id;			/* in marks, when sending */
	uint64_t gen;
	void *handle;			/* the library's AEAD context */
	ngtcp2_crypto_aead_ctx ctx;	/* ours, as that one may go earlier */
	uint8_t key[QUIC_MAX_KEY_SIZE];
	uint8_t iv[QUIC_MAX_IV_SIZE];
	bool expired;			/* the kernel will not seal with it */
};

/* A direction of a connection */
struct side {
	uint32_t direction;		/* QUIC_INFO_*, 0: no keys yet */
	ngtcp2_crypto_cipher_ctx hp_ctx;	/* the library's */
	uint8_t hp_key[QUIC_MAX_KEY_SIZE];
	uint64_t newest;
	struct key *keys[N_GENS];	/* at generation % N_GENS */
	struct qk_socket sock;		/* has the keys; fd is -1 for none */
	uint64_t cookie;		/* of that socket, when sending */
	uint64_t first;			/* oldest generation of the flow */
	uint64_t last;			/* ... and newest */
	bool off;			/* left to the library, from now on */
};

struct conn {
	ngtcp2_conn *ng;
	ngtcp2_crypto_aead aead;
	ngtcp2_crypto_cipher hp;
	size_t key_len;
	uint16_t cipher_type;
	uint32_t flow_id;		/* of both flows, for any address */
	struct side tx, rx;

	bool left;			/* the last packet was left unsealed */

	uint64_t rx_next;		/* largest number opened, plus 1 */
	uint64_t rx_current;		/* generation opened last */
	unsigned int rx_flows;		/* how often the flow was added */
	/* What the kernel has, and what ngtcp2_conn_get_scid() said then */
	struct qk_match matches[N_MATCHES];
	unsigned int n_matches;
	size_t n_scids;
};

struct stats {
	unsigned long connections;
	unsigned long given_up;		/* connections, after an error */
	unsigned long flows;
	unsigned long keys;
	unsigned long retired_keys;	/* from the kernel, after an update */
	unsigned long kernel_calls;
	unsigned long kernel_packets;
	unsigned long kernel_bytes;
	unsigned long kernel_max_batch;
	unsigned long library_packets;	/* 1-RTT, sealed in the callback */
	unsigned long fallback_calls;
	unsigned long fallback_packets;	/* left, then sealed here after all */
	unsigned long refused_calls;	/* by the kernel, error passed on */
	unsigned long dropped_packets;

	unsigned long rx_given_up;
	unsigned long rx_flows;
	unsigned long rx_calls;		/* of recvmsg() that opened any */
	unsigned long rx_bytes;
	unsigned long rx_max_batch;
	unsigned long rx_status[QUIC_RX_NOT_TRIED + 1];
	unsigned long rx_no_element;	/* datagrams without a quic_rx_packet */
	unsigned long rx_lost_packets;	/* nobody knows where they end */
	unsigned long rx_used_packets;	/* opened by the kernel, and taken */
	unsigned long rx_stray_packets;	/* ... but not for this connection */
	unsigned long rx_refused_packets; /* ... with another key or number */
	unsigned long rx_library_packets; /* 1-RTT, opened in the callback */
	unsigned long rx_failed_packets;	/* ... that did not open */
};

/* A map from pointers, or small numbers, to what belongs to them. */
struct map_node {
	struct map_node *next;
	const void *key;
	void *value;
};

struct map {
	struct map_node *buckets[N_BUCKETS];
};

#define REAL(name) ({						\
	static __typeof__(name) *real_##name;			\
	if (!real_##name)					\
		real_##name = dlsym(RTLD_NEXT, #name);		\
	if (!real_##name) {					\
		fprintf(stderr, "quic_offload: no %s\n", #name);\
		abort();					\
	}							\
	real_##name; })

/* The program may have the same names. */
#pragma GCC visibility push(hidden)

/* Guards all that follows. Not held while in the kernel to send or receive. */
extern pthread_mutex_t lock;
extern struct stats stats;
extern struct map conn_by_ng, conn_by_hp, conn_by_flow;
extern struct map key_by_handle, key_by_id;

void *map_get(struct map *map, const void *key);
bool map_set(struct map *map, const void *key, void *value);
void map_del(struct map *map, const void *key, const void *value);
const void *id_key(uint32_t id);

uint64_t key_number(const struct key *key, const uint8_t *nonce);
struct qk_keys key_keys(const struct key *key);
int flow_sync(struct side *side);
int flow_keep(struct conn *conn, struct side *side);
void flow_del(struct conn *conn, struct side *side);
void give_up(struct side *side, int err);

/* Sending */
bool tx_leave(uint8_t *dest, const ngtcp2_crypto_aead_ctx *ctx,
	      const uint8_t *plain, size_t plain_len, const uint8_t *nonce,
	      const uint8_t *aad, size_t aad_len);
bool tx_zero_mask(const ngtcp2_crypto_cipher_ctx *hp_ctx);
bool tx_init(void);

/* Receiving */
bool rx_zero_mask(const uint8_t *sample);
bool rx_is_open(const uint8_t *payload);
int rx_take(uint8_t *dest, const ngtcp2_crypto_aead_ctx *ctx,
	    const uint8_t *payload, size_t len, const uint8_t *nonce);
void rx_note(const ngtcp2_crypto_aead_ctx *ctx, const uint8_t *nonce,
	     bool opened);
void rx_update(struct conn *conn);
void rx_remove(struct conn *conn);
bool rx_init(void);

#pragma GCC visibility pop

#endif /* QUIC_OFFLOAD_H */
