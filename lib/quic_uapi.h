/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The kernel's interface.
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

#endif /* QUIC_UAPI_H */
