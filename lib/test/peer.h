/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A connection as the tests of quic_offload.so have it: keys, and the contexts
 * that ngtcp2 would make of them. fake_ngtcp2.so stands for the rest.
 */
#ifndef PEER_H
#define PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ngtcp2/ngtcp2.h>
#include <ngtcp2/ngtcp2_crypto.h>

#include "../quic_pkt.h"
#include "../quic_uapi.h"

#define CID_LEN		8
#define PN_LEN		2
#define HDR_LEN		(1 + CID_LEN + PN_LEN)
#define PKT_LEN		300
#define MAX_GENS	6

/**
 * struct peer - a connection
 * @conn: an address, nothing more
 * @secret: of each generation; the same in both directions
 * @keys: made of them
 * @tx_ctx: AEAD contexts of the library that seal
 * @rx_ctx: those that open
 * @tx_hp_ctx: context that hides headers
 * @rx_hp_ctx: the one that shows them
 * @cid: connection ID of its packets
 * @newest: generation that the library has derived last
 */
struct peer {
	ngtcp2_conn *conn;
	uint8_t secret[MAX_GENS][32];
	struct quic_pkt_keys keys[MAX_GENS];
	ngtcp2_crypto_aead_ctx tx_ctx[MAX_GENS], rx_ctx[MAX_GENS];
	ngtcp2_crypto_cipher_ctx tx_hp_ctx, rx_hp_ctx;
	uint8_t cid[CID_LEN];
	unsigned int newest;
};

extern const ngtcp2_crypto_ctx *crypto;
extern unsigned int n_failed;

void check(bool ok, const char *name);
void need(bool ok, const char *what);
void peer_start(struct peer *p, const char *name);
void peer_update(struct peer *p);

#endif /* PEER_H */
