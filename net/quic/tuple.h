/* SPDX-License-Identifier: GPL-2.0 */
/*
 * QUIC packet protection: identity of a flow by address and connection ID
 */
#ifndef _NET_QUIC_TUPLE_H
#define _NET_QUIC_TUPLE_H

#include <linux/build_bug.h>
#include <linux/in6.h>
#include <uapi/linux/quic.h>

struct sk_buff;
struct sock;

/**
 * struct quic_tuple - address and connection ID of a flow, without holes
 * @port: destination port; for reception, here and below, that of the source
 * @family: AF_INET, AF_INET6, or AF_UNSPEC for any destination
 * @scope: interface of a link-local destination
 * @addr: destination address; an IPv4 address is in the first word
 * @cid_len: bytes of @cid
 * @cid: destination connection ID, left-aligned, the rest zero
 * @pad: zero
 */
struct quic_tuple {
	__be16 port;
	u16 family;
	u32 scope;
	struct in6_addr addr;
	u8 cid_len;
	u8 cid[QUIC_MAX_CONNECTION_ID_SIZE];
	u8 pad[3];
} __aligned(8);

int quic_tuple_init(struct quic_tuple *tuple, const struct sock *sk,
		    const struct quic_connection_info_key *info);
int quic_tuple_init_rx(struct quic_tuple *tuple, const struct sock *sk,
		       const struct quic_connection_info_key *info);
int quic_tuple_set_dst(struct quic_tuple *tuple, const struct sock *sk,
		       const void *addr, unsigned int len);
int quic_tuple_set_connected(struct quic_tuple *tuple, const struct sock *sk);
void quic_tuple_set_src(struct quic_tuple *tuple, const struct sk_buff *skb);
void quic_tuple_clear_dst(struct quic_tuple *tuple);

/**
 * quic_tuple_equal - are two tuples the same?
 * @a: tuple
 * @b: tuple
 *
 * Every packet needs this, and memcmp() takes several times as long.
 *
 * Return: true if they are.
 */
static inline bool quic_tuple_equal(const struct quic_tuple *a,
				    const struct quic_tuple *b)
{
	const u64 *x = (const u64 *)a, *y = (const u64 *)b;
	unsigned int i;

	BUILD_BUG_ON(sizeof(*a) % sizeof(u64));
	for (i = 0; i < sizeof(*a) / sizeof(u64); i++) {
		if (x[i] != y[i])
			return false;
	}
	return true;
}

#endif /* _NET_QUIC_TUPLE_H */
