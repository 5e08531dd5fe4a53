/* SPDX-License-Identifier: GPL-2.0 */
/* What fake_ngtcp2.so asks of the test */
#ifndef FAKE_NGTCP2_H
#define FAKE_NGTCP2_H

#include <ngtcp2/ngtcp2.h>

/**
 * struct fake_ngtcp2 - the variable of this name in fake_ngtcp2.so
 * @read_pkt: what ngtcp2_conn_read_pkt() does
 * @path: of every connection
 * @cids: connection IDs of every connection
 * @n_cids: their number
 */
struct fake_ngtcp2 {
	int (*read_pkt)(ngtcp2_conn *conn, const uint8_t *pkt, size_t len);
	ngtcp2_path path;
	ngtcp2_cid cids[8];
	size_t n_cids;
};

#endif /* FAKE_NGTCP2_H */
