// SPDX-License-Identifier: GPL-2.0
/*
 * Make a program that uses ngtcp2 update its keys as often as the protocol
 * lets it. For tests: preload it next to quic_offload.so.
 */
#define _GNU_SOURCE
#include <dlfcn.h>

#include <ngtcp2/ngtcp2.h>

/* gtlsserver calls this when it has written what it could. */
void ngtcp2_conn_update_pkt_tx_time(ngtcp2_conn *conn, ngtcp2_tstamp ts)
{
	static __typeof__(ngtcp2_conn_update_pkt_tx_time) *real;

	if (!real)
		real = dlsym(RTLD_NEXT, "ngtcp2_conn_update_pkt_tx_time");
	/* Refused until the peer has followed the last one, and a while more */
	if (ngtcp2_conn_get_handshake_completed(conn))
		ngtcp2_conn_initiate_key_update(conn, ts);
	real(conn, ts);
}
