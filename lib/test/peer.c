// SPDX-License-Identifier: GPL-2.0
/* See peer.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>

#include "peer.h"

const ngtcp2_crypto_ctx *crypto;
unsigned int n_failed;

static unsigned int n_test;

/**
 * check - a result in KTAP
 * @ok: whether the test has passed
 * @name: its name
 */
void check(bool ok, const char *name)
{
	n_test++;
	printf("%s %u %s\n", ok ? "ok" : "not ok", n_test, name);
	n_failed += !ok;
}

/**
 * need - give up if something is not as every test needs it
 * @ok: whether it is
 * @what: what it is
 */
void need(bool ok, const char *what)
{
	if (ok)
		return;
	printf("Bail out! %s\n", what);
	exit(1);
}

static void expand(uint8_t *dest, size_t len, const uint8_t *secret,
		   const char *label)
{
	uint8_t info[64] = { 0, len };
	int n = snprintf((char *)info + 3, 60, "tls13 %s", label);

	info[2] = n;
	need(!ngtcp2_crypto_hkdf_expand(dest, len, &crypto->md, secret, 32,
					info, n + 4), "hkdf");
}

static void hp_init(ngtcp2_crypto_cipher_ctx *ctx, struct quic_pkt_keys *keys)
{
	gnutls_datum_t key = { keys->hp, 16 };
	gnutls_cipher_hd_t hd;

	need(!gnutls_cipher_init(&hd, GNUTLS_CIPHER_AES_128_CBC, &key, NULL),
	     "cipher");
	ctx->native_handle = hd;
}

/**
 * peer_start - a new connection, whose keys ngtcp2 installs
 * @p: connection
 * @name: two letters: of the secret, and of the connection ID
 */
void peer_start(struct peer *p, const char *name)
{
	struct quic_pkt_keys *keys = &p->keys[0];

	memset(p, 0, sizeof(*p));
	p->conn = malloc(1);
	memset(p->secret[0], name[0], 32);
	memset(p->cid, name[1], CID_LEN);
	keys->cipher = TLS_CIPHER_AES_GCM_128;
	expand(keys->key, 16, p->secret[0], "quic key");
	expand(keys->iv, 12, p->secret[0], "quic iv");
	expand(keys->hp, 16, p->secret[0], "quic hp");
	need(!ngtcp2_crypto_aead_ctx_encrypt_init(&p->tx_ctx[0], &crypto->aead,
						  keys->key, 12), "seal");
	need(!ngtcp2_crypto_aead_ctx_decrypt_init(&p->rx_ctx[0], &crypto->aead,
						  keys->key, 12), "open");
	hp_init(&p->tx_hp_ctx, keys);
	hp_init(&p->rx_hp_ctx, keys);
	ngtcp2_conn_install_tx_key(p->conn, p->secret[0], 32, &p->tx_ctx[0],
				   keys->iv, 12, &p->tx_hp_ctx);
	ngtcp2_conn_install_rx_key(p->conn, p->secret[0], 32, &p->rx_ctx[0],
				   keys->iv, 12, &p->rx_hp_ctx);
}

/**
 * peer_update - ngtcp2 derives the keys of the next generation
 * @p: connection
 */
void peer_update(struct peer *p)
{
	uint8_t rx_secret[32], rx_key[64], tx_key[64], rx_iv[12];
	unsigned int g = p->newest;
	struct quic_pkt_keys *next;

	need(g + 1 < MAX_GENS, "generations");
	next = &p->keys[g + 1];
	*next = p->keys[g];
	need(!ngtcp2_crypto_update_key(p->conn, rx_secret, p->secret[g + 1],
				       &p->rx_ctx[g + 1], rx_key, rx_iv,
				       &p->tx_ctx[g + 1], tx_key, next->iv,
				       p->secret[g], p->secret[g], 32),
	     "update_key");
	memcpy(next->key, tx_key, 16);
	p->newest++;
}
