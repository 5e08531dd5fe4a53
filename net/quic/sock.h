/* SPDX-License-Identifier: GPL-2.0 */
/*
 * QUIC packet protection: the ULP's state of a socket, and its entry points
 */
#ifndef _NET_QUIC_SOCK_H
#define _NET_QUIC_SOCK_H

#include <net/udp_ulp.h>

#include "flow.h"
#include "flow_rx.h"

/**
 * struct quic_sock - the ULP's state of a socket
 * @ulp: what UDP knows of it
 * @tx: flows that send
 * @rx: flows that receive
 * @drop: UDP_QUIC_RX_DROP
 * @rwork: deferred free, as udp_ulp_get_rcu() demands
 */
struct quic_sock {
	struct udp_ulp ulp;
	struct quic_flows tx;
	struct quic_rx_flows rx;
	bool drop;
	struct rcu_work rwork;
};

static inline struct quic_flows *quic_sock_tx(struct udp_ulp *ulp)
{
	return &container_of(ulp, struct quic_sock, ulp)->tx;
}

static inline struct quic_rx_flows *quic_sock_rx(struct udp_ulp *ulp)
{
	return &container_of(ulp, struct quic_sock, ulp)->rx;
}

/* sockopt.c */
int quic_setsockopt(struct sock *sk, const struct udp_ulp_ops *ops,
		    int optname, sockptr_t optval, unsigned int optlen);
int quic_getsockopt(struct sock *sk, const struct udp_ulp_ops *ops, int optname,
		    sockopt_t *opt);

/* tx.c */
int quic_sendmsg(struct sock *sk, struct udp_ulp *ulp, struct msghdr *msg,
		 size_t len, udp_ulp_send_t send);

/* rx.c */
int quic_recv(struct sock *sk, struct udp_ulp *ulp,
	      const struct udp_ulp_rx *urx);
bool quic_drops(struct udp_ulp *ulp, const struct sk_buff *skb);

#endif /* _NET_QUIC_SOCK_H */
