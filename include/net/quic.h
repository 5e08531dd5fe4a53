/* SPDX-License-Identifier: GPL-2.0 */
/*
 * QUIC packet protection: the packets it is about
 */
#ifndef _NET_QUIC_H
#define _NET_QUIC_H

#include <uapi/linux/quic.h>

#define QUIC_MAX_PKT_NUM	((1ULL << 62) - 1)
#define QUIC_MAX_PKT_NUM_LEN	4
/* First byte, destination connection ID, packet number: RFC 9000 17.3.1 */
#define QUIC_MAX_HDR_SIZE	(1 + QUIC_MAX_CONNECTION_ID_SIZE + \
				 QUIC_MAX_PKT_NUM_LEN)
#define QUIC_HP_SAMPLE_SIZE	16
#define QUIC_HP_MASK_SIZE	5

#define QUIC_HDR_LONG		0x80
#define QUIC_HDR_KEY_PHASE	0x04
#define QUIC_HDR_PN_LEN		0x03
/* What header protection hides in the first byte of a short header */
#define QUIC_HDR_PROTECTED	0x1f

#endif /* _NET_QUIC_H */
