// SPDX-License-Identifier: GPL-2.0
/*
 * QUIC packet protection: socket options
 */

#include <linux/in.h>
#include <linux/in6.h>
#include <linux/sockptr.h>
#include <linux/string.h>
#include <net/ipv6.h>
#include <net/quic.h>
#include <net/sock.h>

#include "quic.h"

static int quic_flow_key_set_dst4(struct quic_flow_key *key,
				  const struct sockaddr_in *sin)
{
	if (!sin->sin_port)
		return -EINVAL;
	key->family = AF_INET;
	key->port = sin->sin_port;
	key->addr.s6_addr32[0] = sin->sin_addr.s_addr;
	return 0;
}

static int quic_flow_key_set_dst6(struct quic_flow_key *key,
				  const struct sock *sk,
				  const struct sockaddr_in6 *sin6,
				  unsigned int len)
{
	if (!sin6->sin6_port)
		return -EINVAL;
	key->port = sin6->sin6_port;
	if (ipv6_addr_v4mapped(&sin6->sin6_addr)) {
		key->family = AF_INET;
		key->addr.s6_addr32[0] = sin6->sin6_addr.s6_addr32[3];
		return 0;
	}
	if (sk->sk_family != AF_INET6)
		return -EAFNOSUPPORT;
	key->family = AF_INET6;
	key->addr = sin6->sin6_addr;
	if (__ipv6_addr_needs_scope_id(ipv6_addr_type(&key->addr))) {
		if (len >= sizeof(*sin6))
			key->scope = sin6->sin6_scope_id;
		if (!key->scope)
			key->scope = READ_ONCE(sk->sk_bound_dev_if);
	}
	return 0;
}

/**
 * quic_flow_key_set_dst - the destination part of a flow's identity
 * @key: filled in; all zero before
 * @sk: socket
 * @addr: address as the application has it
 * @len: bytes of @addr
 *
 * IPv4-mapped addresses are IPv4 addresses.
 *
 * Return: 0, -EAFNOSUPPORT or -EINVAL.
 */
int quic_flow_key_set_dst(struct quic_flow_key *key, const struct sock *sk,
			  const void *addr, unsigned int len)
{
	const struct sockaddr *sa = addr;

	if (len < offsetofend(struct sockaddr, sa_family))
		return -EINVAL;
	switch (sa->sa_family) {
	case AF_INET:
		if (len < sizeof(struct sockaddr_in))
			return -EINVAL;
		return quic_flow_key_set_dst4(key, addr);
	case AF_INET6:
		if (len < SIN6_LEN_RFC2133)
			return -EINVAL;
		return quic_flow_key_set_dst6(key, sk, addr, len);
	default:
		return -EAFNOSUPPORT;
	}
}

static int quic_flow_key_init(struct quic_flow_key *key, const struct sock *sk,
			      const struct quic_connection_info_key *info)
{
	unsigned int off = QUIC_MAX_CONNECTION_ID_SIZE - info->conn_id_length;

	BUILD_BUG_ON(sizeof(*key) != 48);
	memset(key, 0, sizeof(*key));
	if (info->flags || info->reserved || info->reserved2)
		return -EINVAL;
	if (info->conn_id_length > QUIC_MAX_CONNECTION_ID_SIZE)
		return -EINVAL;
	if (memchr_inv(info->conn_id, 0, off))
		return -EINVAL;

	key->cid_len = info->conn_id_length;
	memcpy(key->cid, info->conn_id + off, key->cid_len);
	if (info->dst.ss_family == AF_UNSPEC)
		return 0;
	return quic_flow_key_set_dst(key, sk, &info->dst, sizeof(info->dst));
}

static int quic_copy_info(struct quic_connection_info *info, sockptr_t optval,
			  unsigned int optlen)
{
	int ret;

	if (optlen < sizeof(*info))
		return -EINVAL;
	if (optlen > PAGE_SIZE)
		return -E2BIG;
	ret = check_zeroed_sockptr(optval, sizeof(*info),
				   optlen - sizeof(*info));
	if (ret < 0)
		return ret;
	if (!ret)
		return -E2BIG;
	return copy_from_sockptr(info, optval, sizeof(*info)) ? -EFAULT : 0;
}

static int quic_do_add_tx(struct sock *sk,
			  const struct quic_connection_info *info)
{
	struct quic_flow_key key;
	struct udp_ulp *ulp;
	int err;

	err = quic_flow_key_init(&key, sk, &info->key);
	if (err)
		return err;
	if (!quic_cipher_find(info->cipher_type))
		return -EOPNOTSUPP;
	ulp = udp_ulp_attach(sk, &quic_ulp_ops);
	if (IS_ERR(ulp))
		return PTR_ERR(ulp);
	return quic_flow_add(quic_sock(ulp), &key, info);
}

static int quic_add_tx(struct sock *sk, sockptr_t optval, unsigned int optlen)
{
	struct quic_connection_info info;
	int err;

	err = quic_copy_info(&info, optval, optlen);
	if (!err)
		err = quic_do_add_tx(sk, &info);
	memzero_explicit(&info, sizeof(info));
	return err;
}

static int quic_del_tx(struct sock *sk, sockptr_t optval, unsigned int optlen)
{
	struct udp_ulp *ulp = udp_ulp_get(sk);
	struct quic_connection_info_key info;
	struct quic_flow_key key;
	int err;

	if (optlen < sizeof(info))
		return -EINVAL;
	if (copy_from_sockptr(&info, optval, sizeof(info)))
		return -EFAULT;
	err = quic_flow_key_init(&key, sk, &info);
	if (err)
		return err;
	if (!ulp || ulp->ops != &quic_ulp_ops)
		return -ENOENT;
	return quic_flow_del(quic_sock(ulp), &key, info.flow_id);
}

/**
 * quic_setsockopt - the ULP's socket options
 * @sk: UDP socket, attached or not
 * @optname: UDP_QUIC_*
 * @optval: struct quic_connection_info
 * @optlen: its size
 *
 * Context: process, sleeps.
 * Return: 0 or a negative error.
 */
int quic_setsockopt(struct sock *sk, int optname, sockptr_t optval,
		    unsigned int optlen)
{
	switch (optname) {
	case UDP_QUIC_ADD_TX_CONNECTION:
		return quic_add_tx(sk, optval, optlen);
	case UDP_QUIC_DEL_TX_CONNECTION:
		return quic_del_tx(sk, optval, optlen);
	default:
		return -ENOPROTOOPT;
	}
}
