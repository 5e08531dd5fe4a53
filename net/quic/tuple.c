// SPDX-License-Identifier: GPL-2.0
/*
 * QUIC packet protection: identity of a flow by address and connection ID
 */

#include <linux/in.h>
#include <linux/if_ether.h>
#include <linux/in6.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/skbuff.h>
#include <linux/string.h>
#include <linux/udp.h>
#include <net/inet_sock.h>
#include <net/ipv6.h>
#include <net/sock.h>
#include <net/tcp_states.h>

#include "tuple.h"

/* Zeros are an address of this host. Take the one that connect() takes for a
 * socket without an address of its own, so that both mean the same.
 */
static __be32 quic_tuple_addr4(__be32 addr)
{
	return addr ?: htonl(INADDR_LOOPBACK);
}

static int quic_tuple_set_dst4(struct quic_tuple *tuple,
			       const struct sockaddr_in *sin)
{
	if (!sin->sin_port)
		return -EINVAL;
	tuple->family = AF_INET;
	tuple->port = sin->sin_port;
	tuple->addr.s6_addr32[0] = quic_tuple_addr4(sin->sin_addr.s_addr);
	return 0;
}

static int quic_tuple_set_dst6(struct quic_tuple *tuple, const struct sock *sk,
			       const struct sockaddr_in6 *sin6,
			       unsigned int len)
{
	const struct in6_addr *addr = &sin6->sin6_addr;

	if (!sin6->sin6_port)
		return -EINVAL;
	tuple->port = sin6->sin6_port;
	if (ipv6_addr_v4mapped(addr)) {
		tuple->family = AF_INET;
		tuple->addr.s6_addr32[0] = quic_tuple_addr4(addr->s6_addr32[3]);
		return 0;
	}
	if (sk->sk_family != AF_INET6)
		return -EAFNOSUPPORT;
	tuple->family = AF_INET6;
	tuple->addr = ipv6_addr_any(addr) ? in6addr_loopback : *addr;
	if (__ipv6_addr_needs_scope_id(ipv6_addr_type(&tuple->addr))) {
		if (len >= sizeof(*sin6))
			tuple->scope = sin6->sin6_scope_id;
		if (!tuple->scope)
			tuple->scope = READ_ONCE(sk->sk_bound_dev_if);
	}
	return 0;
}

/**
 * quic_tuple_set_dst - set the destination
 * @tuple: tuple; its destination was zero before
 * @sk: socket
 * @addr: address as the application passed it
 * @len: bytes of @addr
 *
 * IPv4-mapped addresses are IPv4 addresses.
 *
 * Return: 0, -EAFNOSUPPORT or -EINVAL.
 */
int quic_tuple_set_dst(struct quic_tuple *tuple, const struct sock *sk,
		       const void *addr, unsigned int len)
{
	const struct sockaddr *sa = addr;

	if (len < offsetofend(struct sockaddr, sa_family))
		return -EINVAL;
	switch (sa->sa_family) {
	case AF_INET:
		if (len < sizeof(struct sockaddr_in))
			return -EINVAL;
		return quic_tuple_set_dst4(tuple, addr);
	case AF_INET6:
		if (len < SIN6_LEN_RFC2133)
			return -EINVAL;
		return quic_tuple_set_dst6(tuple, sk, addr, len);
	default:
		return -EAFNOSUPPORT;
	}
}

/**
 * quic_tuple_set_connected - set the address to that of the socket's peer
 * @tuple: tuple; its address was zero before
 * @sk: socket
 *
 * Return: 0, or -EDESTADDRREQ if the socket is not connected.
 */
int quic_tuple_set_connected(struct quic_tuple *tuple, const struct sock *sk)
{
	if (sk->sk_state != TCP_ESTABLISHED)
		return -EDESTADDRREQ;
	tuple->port = inet_sk(sk)->inet_dport;
	tuple->family = AF_INET;
	tuple->addr.s6_addr32[0] = inet_sk(sk)->inet_daddr;
#if IS_ENABLED(CONFIG_IPV6)
	if (sk->sk_family != AF_INET6)
		return 0;
	if (ipv6_addr_v4mapped(&sk->sk_v6_daddr)) {
		tuple->addr.s6_addr32[0] = sk->sk_v6_daddr.s6_addr32[3];
		return 0;
	}
	tuple->family = AF_INET6;
	tuple->addr = sk->sk_v6_daddr;
	if (__ipv6_addr_needs_scope_id(ipv6_addr_type(&tuple->addr)))
		tuple->scope = READ_ONCE(sk->sk_bound_dev_if);
#endif
	return 0;
}

/**
 * quic_tuple_set_src - set the address to the source of a datagram
 * @tuple: tuple; its address was zero before
 * @skb: datagram in the receive queue of a socket, or on its way there
 */
void quic_tuple_set_src(struct quic_tuple *tuple, const struct sk_buff *skb)
{
	tuple->port = udp_hdr(skb)->source;
	if (skb->protocol == htons(ETH_P_IP)) {
		tuple->family = AF_INET;
		tuple->addr.s6_addr32[0] = ip_hdr(skb)->saddr;
		return;
	}
#if IS_ENABLED(CONFIG_IPV6)
	tuple->family = AF_INET6;
	tuple->addr = ipv6_hdr(skb)->saddr;
	tuple->scope = ipv6_iface_scope_id(&tuple->addr, inet6_iif(skb));
#endif
}

/**
 * quic_tuple_clear_dst - change the destination to any
 * @tuple: tuple
 */
void quic_tuple_clear_dst(struct quic_tuple *tuple)
{
	tuple->family = AF_UNSPEC;
	tuple->port = 0;
	tuple->scope = 0;
	memset(&tuple->addr, 0, sizeof(tuple->addr));
}

/**
 * quic_tuple_init_rx - tuple that packets match, from the argument of an option
 * @tuple: filled in
 * @sk: socket
 * @info: argument; its flags and flow_id are not looked at
 *
 * Return: 0, -EAFNOSUPPORT or -EINVAL.
 */
int quic_tuple_init_rx(struct quic_tuple *tuple, const struct sock *sk,
		       const struct quic_connection_info_key *info)
{
	unsigned int off = QUIC_MAX_CONNECTION_ID_SIZE - info->conn_id_length;

	BUILD_BUG_ON(sizeof(*tuple) != 48);
	memset(tuple, 0, sizeof(*tuple));
	if (info->reserved)
		return -EINVAL;
	if (info->conn_id_length > QUIC_MAX_CONNECTION_ID_SIZE)
		return -EINVAL;
	if (memchr_inv(info->conn_id, 0, off))
		return -EINVAL;

	tuple->cid_len = info->conn_id_length;
	memcpy(tuple->cid, info->conn_id + off, tuple->cid_len);
	if (info->peer.ss_family == AF_UNSPEC)
		return 0;
	return quic_tuple_set_dst(tuple, sk, &info->peer, sizeof(info->peer));
}

/**
 * quic_tuple_init - tuple of a flow that sends, from the argument of an option
 * @tuple: filled in
 * @sk: socket
 * @info: argument; its flags are not looked at
 *
 * The tuple of a flow with a flow_id is zero.
 *
 * Return: 0, -EAFNOSUPPORT or -EINVAL.
 */
int quic_tuple_init(struct quic_tuple *tuple, const struct sock *sk,
		    const struct quic_connection_info_key *info)
{
	/* An id is all that identifies a flow: nothing may seem to limit it */
	if (info->flow_id &&
	    (info->conn_id_length || info->peer.ss_family != AF_UNSPEC))
		return -EINVAL;
	return quic_tuple_init_rx(tuple, sk, info);
}
