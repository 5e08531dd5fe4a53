/* SPDX-License-Identifier: GPL-2.0 */
/*
 * QUIC packet protection: what operators see of flows
 */
#ifndef _NET_QUIC_NETLINK_H
#define _NET_QUIC_NETLINK_H

#include "net.h"

struct quic_flow;
struct quic_flows;
struct quic_rx_flow;
struct quic_rx_flows;

void quic_nl_notify_tx(struct quic_flows *fs, const struct quic_flow *flow,
		       enum quic_nl_event event);
void quic_nl_notify_rx(struct quic_rx_flows *fs, struct quic_rx_flow *flow,
		       enum quic_nl_event event);
void quic_nl_notify_tx_limit(struct quic_flows *fs,
			     const struct quic_flow *flow);
void quic_nl_notify_rx_limit(struct quic_rx_flows *fs,
			     struct quic_rx_flow *flow);
int quic_netlink_init(void);
void quic_netlink_exit(void);

#endif /* _NET_QUIC_NETLINK_H */
