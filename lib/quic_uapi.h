/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The kernel's interface, for programs built with headers of a kernel that
 * has no quic-crypto: the only place in lib/ that defines option numbers.
 *
 * <linux/udp.h> and <netinet/udp.h> both define struct udphdr. Include this
 * header instead of <netinet/udp.h>.
 */
#ifndef QUIC_UAPI_H
#define QUIC_UAPI_H

#include <sys/socket.h>

#include <linux/quic.h>
#include <linux/udp.h>

#ifndef SOL_UDP
#define SOL_UDP				17
#endif

#ifndef UDP_ULP
#define UDP_ULP				105
#define UDP_QUIC_ADD_TX_CONNECTION	106
#define UDP_QUIC_DEL_TX_CONNECTION	107
#define UDP_QUIC_ENCRYPT		108
#endif

#endif /* QUIC_UAPI_H */
