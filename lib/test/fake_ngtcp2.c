// SPDX-License-Identifier: GPL-2.0
/*
 * What offload_unit needs of a connection of ngtcp2, so that it can do without
 * one: AES-128-GCM, the handshake over. Preload it after quic_offload.so.
 */
#include <string.h>

#include <gnutls/gnutls.h>
#include <ngtcp2/ngtcp2.h>

#include "fake_ngtcp2.h"

struct fake_ngtcp2 fake_ngtcp2;

const ngtcp2_crypto_ctx *ngtcp2_conn_get_crypto_ctx(ngtcp2_conn *conn)
{
	static ngtcp2_crypto_ctx ctx = {
		.aead.native_handle = (void *)GNUTLS_CIPHER_AES_128_GCM,
		.aead.max_overhead = 16,
		.md.native_handle = (void *)GNUTLS_DIG_SHA256,
		.hp.native_handle = (void *)GNUTLS_CIPHER_AES_128_CBC,
	};

	return &ctx;
}

uint32_t ngtcp2_conn_get_negotiated_version(ngtcp2_conn *conn)
{
	return NGTCP2_PROTO_VER_V1;
}

int ngtcp2_conn_get_handshake_completed(ngtcp2_conn *conn)
{
	return 1;
}

int ngtcp2_conn_install_tx_key(ngtcp2_conn *conn, const uint8_t *secret,
			       size_t secretlen,
			       const ngtcp2_crypto_aead_ctx *aead_ctx,
			       const uint8_t *iv, size_t ivlen,
			       const ngtcp2_crypto_cipher_ctx *hp_ctx)
{
	return 0;
}

void ngtcp2_conn_del(ngtcp2_conn *conn)
{
}

int ngtcp2_conn_install_rx_key(ngtcp2_conn *conn, const uint8_t *secret,
			       size_t secretlen,
			       const ngtcp2_crypto_aead_ctx *aead_ctx,
			       const uint8_t *iv, size_t ivlen,
			       const ngtcp2_crypto_cipher_ctx *hp_ctx)
{
	return 0;
}

size_t ngtcp2_conn_get_scid(ngtcp2_conn *conn, ngtcp2_cid *dest)
{
	if (dest)
		memcpy(dest, fake_ngtcp2.cids,
		       fake_ngtcp2.n_cids * sizeof(*dest));
	return fake_ngtcp2.n_cids;
}

const ngtcp2_path *ngtcp2_conn_get_path(ngtcp2_conn *conn)
{
	return &fake_ngtcp2.path;
}

int ngtcp2_conn_read_pkt_versioned(ngtcp2_conn *conn, const ngtcp2_path *path,
				   int pkt_info_version,
				   const ngtcp2_pkt_info *pi,
				   const uint8_t *pkt, size_t pktlen,
				   ngtcp2_tstamp ts)
{
	return fake_ngtcp2.read_pkt(conn, pkt, pktlen);
}
