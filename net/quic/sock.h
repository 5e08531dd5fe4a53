/* SPDX-License-Identifier: GPL-2.0 */
/*
 * QUIC packet protection: the ULP's state of a socket, and its entry points
 */
#ifndef _NET_QUIC_SOCK_H
#define _NET_QUIC_SOCK_H

#include <net/udp_ulp.h>

#include "flow.h"
#include "flow_rx.h"

struct quic_crypto_net;

/**
 * struct quic_sock_id - which socket
 * @number: of quic_sock
 * @cookie: cookie, as sock_diag has it
 * @ino: inode, 0 if the socket has none
 */
struct quic_sock_id {
	u32 number;
	u64 cookie;
	u64 ino;
};

/**
 * struct quic_sock - the ULP's state of a socket
 * @ulp: what UDP knows of it
 * @number: index in quic_crypto_net.socks, where it is until the socket is
 *	    destroyed; never 0
 * @ref: one reference of the socket, and one of whoever looks at its flows; the
 *	 last one frees by @rwork
 * @tx: flows that send
 * @rx: flows that receive
 * @drop: UDP_QUIC_RX_DROP
 * @rwork: deferred free, as udp_ulp_get_rcu() demands
 */
struct quic_sock {
	struct udp_ulp ulp;
	u32 number;
	refcount_t ref;
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

/* A socket that has the ULP and is in use */
static inline struct quic_sock *quic_sock_of(const struct sock *sk)
{
	return container_of(udp_ulp_get(sk), struct quic_sock, ulp);
}

/* sock.c */
struct quic_sock *quic_sock_alloc(struct sock *sk);
void quic_sock_release(struct quic_sock *qs);
void quic_sock_put(struct quic_sock *qs);
void quic_sock_identify(const struct quic_sock *qs, struct quic_sock_id *id);
struct quic_sock *quic_sock_next(struct quic_crypto_net *qn, u32 from,
				 struct quic_sock_id *id);

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
enum skb_drop_reason quic_drops(struct udp_ulp *ulp,
				const struct sk_buff *skb);

#endif /* _NET_QUIC_SOCK_H */
