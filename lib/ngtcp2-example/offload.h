/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * What a program on ngtcp2 needs to have the kernel seal and open its 1-RTT
 * packets by libquickernel: offload.c, the part to copy. h3file.c uses it.
 */
#ifndef OFFLOAD_H
#define OFFLOAD_H

#include <stdbool.h>
#include <stdint.h>

#include <gnutls/gnutls.h>
#include <ngtcp2/ngtcp2.h>
#include <ngtcp2/ngtcp2_crypto.h>

#include "../quickernel/quickernel.h"

#define OFFLOAD_GENS	3	/* key generations kept, in each direction */

/* The keys of a generation, and a context for what the kernel refuses */
struct offload_key {
	bool there;
	uint8_t gen;
	uint8_t key[QUIC_MAX_KEY_SIZE];
	uint8_t iv[QUIC_MAX_IV_SIZE];
	ngtcp2_crypto_aead_ctx ctx;
};

/* A direction of a connection */
struct offload_dir {
	bool on;			/* the kernel has a flow */
	bool again;			/* ... or will be asked again for one */
	uint64_t newest;
	uint8_t hp[QUIC_MAX_KEY_SIZE];
	struct offload_key keys[OFFLOAD_GENS];	/* at generation % 3 */
};

/**
 * struct offload - what there is to know of a connection
 * @conn: connection
 * @sock: socket that it uses; the kernel may be unable to help
 * @flow_id: of its flows, in both directions
 * @cipher: TLS_CIPHER_*, 0 if the kernel does not have it
 * @tx: what is sent
 * @rx: what is received
 * @hp_ctx: context for header protection of what the kernel refuses to seal
 * @sealed_gen: generation that was sealed with last
 * @rx_next: largest packet number received plus 1
 */
struct offload {
	ngtcp2_conn *conn;
	const struct qk_socket *sock;
	uint32_t flow_id;
	uint16_t cipher;
	struct offload_dir tx, rx;
	ngtcp2_crypto_cipher_ctx hp_ctx;
	uint64_t sealed_gen;
	uint64_t rx_next;
};

/**
 * struct offload_packet - a packet that ngtcp2 has written
 * @left: it is in plaintext, and offload_send() has it sealed
 * @number: its number
 * @cid_len: bytes of its connection ID
 * @gen: its key generation
 */
struct offload_packet {
	bool left;
	uint64_t number;
	uint8_t cid_len;
	uint64_t gen;
};

/* Counters, of all connections */
struct offload_stats {
	unsigned long sealed;		/* packets, by the kernel */
	unsigned long refused;		/* ... that it would not seal */
	unsigned long opened;		/* packets, by the kernel */
	unsigned long mismatched;	/* ... that ngtcp2 did not take */
	unsigned long updates;		/* generations installed */
};

extern struct offload_stats offload_stats;

void offload_set_callbacks(ngtcp2_callbacks *callbacks);
void offload_set_session(gnutls_session_t session);
void offload_init(struct offload *o, ngtcp2_conn *conn,
		  const struct qk_socket *sock, uint32_t flow_id);
void offload_free(struct offload *o);
void offload_start(struct offload *o);
void offload_cid(struct offload *o, const ngtcp2_cid *cid, bool add);

void offload_write_begin(struct offload *o, const uint8_t *datagram);
struct offload_packet offload_write_end(void);
ssize_t offload_send(struct offload *o, const struct offload_packet *first,
		     struct msghdr *msg, uint16_t packet_size,
		     ngtcp2_tstamp ts);
int offload_read(struct offload *o, const ngtcp2_path *path,
		 const struct qk_packet *p, const uint8_t *pkt,
		 ngtcp2_tstamp ts);

#endif /* OFFLOAD_H */
