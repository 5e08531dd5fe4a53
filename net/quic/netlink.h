/* SPDX-License-Identifier: GPL-2.0 */
/*
 * QUIC packet protection: what operators see of flows
 */
#ifndef _NET_QUIC_NETLINK_H
#define _NET_QUIC_NETLINK_H

int quic_netlink_init(void);
void quic_netlink_exit(void);

#endif /* _NET_QUIC_NETLINK_H */
