// SPDX-License-Identifier: GPL-2.0
/*
 * QUIC packet protection: what socket diagnostics (ss -i) tell of a socket
 */

#include <linux/inet_diag.h>
#include <net/netlink.h>

#include "diag.h"
#include "sock.h"

static int quic_diag_put_dir(struct sk_buff *skb, int direction,
			     unsigned int flows,
			     const struct quic_counts *counts)
{
	struct nlattr *nest = nla_nest_start(skb, direction);

	if (!nest || nla_put_u32(skb, QUIC_DIAG_DIR_FLOWS, flows) ||
	    nla_put_u32(skb, QUIC_DIAG_DIR_DEV_FLOWS,
			atomic_read(&counts->dev_flows)) ||
	    nla_put_u64_64bit(skb, QUIC_DIAG_DIR_PACKETS,
			      atomic64_read(&counts->packets),
			      QUIC_DIAG_DIR_PAD) ||
	    nla_put_u64_64bit(skb, QUIC_DIAG_DIR_DEV_PACKETS,
			      atomic64_read(&counts->dev_packets),
			      QUIC_DIAG_DIR_PAD))
		return -EMSGSIZE;
	nla_nest_end(skb, nest);
	return 0;
}

/**
 * quic_diag_get_info - &udp_ulp_ops.get_info of this ULP
 * @ulp: state of this ULP
 * @skb: message
 * @net_admin: the reader has CAP_NET_ADMIN, as the netlink family demands it
 *
 * Only counters are read, as the socket's flows cannot be locked here, and
 * there may be very many of them.
 *
 * Context: any, the caller holds rcu_read_lock().
 * Return: 0 or -EMSGSIZE; the caller then cancels the nest around it.
 */
int quic_diag_get_info(struct udp_ulp *ulp, struct sk_buff *skb,
		       bool net_admin)
{
	const struct quic_flows *tx = quic_sock_tx(ulp);
	const struct quic_rx_flows *rx = quic_sock_rx(ulp);
	struct nlattr *nest;
	int err;

	if (!net_admin)
		return 0;
	nest = nla_nest_start_noflag(skb, INET_ULP_INFO_QUIC);
	if (!nest)
		return -EMSGSIZE;
	err = quic_diag_put_dir(skb, QUIC_DIAG_TX, quic_flows_count(tx),
				&tx->counts);
	if (!err)
		err = quic_diag_put_dir(skb, QUIC_DIAG_RX,
					READ_ONCE(rx->nr_flows), &rx->counts);
	if (!err)
		nla_nest_end(skb, nest);
	return err;
}
