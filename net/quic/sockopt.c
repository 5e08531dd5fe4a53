// SPDX-License-Identifier: GPL-2.0
/*
 * QUIC packet protection: socket options
 */

#include <linux/sockptr.h>
#include <linux/string.h>
#include <net/sock.h>

#include "sock.h"

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

static int quic_do_add_tx(struct sock *sk, const struct udp_ulp_ops *ops,
			  const struct quic_connection_info *info)
{
	struct quic_tuple tuple;
	struct udp_ulp *ulp;
	int err;

	err = quic_tuple_init(&tuple, sk, &info->key);
	if (err)
		return err;
	if (!quic_cipher_find(info->cipher_type))
		return -EOPNOTSUPP;
	ulp = udp_ulp_attach(sk, ops);
	if (IS_ERR(ulp))
		return PTR_ERR(ulp);
	return quic_flow_add(quic_sock_flows(ulp, QUIC_TX), &tuple, info);
}

static int quic_add_tx(struct sock *sk, const struct udp_ulp_ops *ops,
		       sockptr_t optval, unsigned int optlen)
{
	struct quic_connection_info info;
	int err;

	err = quic_copy_info(&info, optval, optlen);
	if (!err)
		err = quic_do_add_tx(sk, ops, &info);
	memzero_explicit(&info, sizeof(info));
	return err;
}

static int quic_del_tx(struct sock *sk, const struct udp_ulp_ops *ops,
		       sockptr_t optval, unsigned int optlen)
{
	struct udp_ulp *ulp = udp_ulp_get(sk);
	struct quic_connection_info_key info;
	struct quic_tuple tuple;
	int err;

	if (optlen < sizeof(info))
		return -EINVAL;
	if (copy_from_sockptr(&info, optval, sizeof(info)))
		return -EFAULT;
	err = quic_tuple_init(&tuple, sk, &info);
	if (err)
		return err;
	if (!ulp || ulp->ops != ops)
		return -ENOENT;
	return quic_flow_del(quic_sock_flows(ulp, QUIC_TX), &tuple,
			     info.flow_id);
}

/**
 * quic_setsockopt - the ULP's socket options
 * @sk: UDP socket, which may not have the ULP attached yet
 * @ops: this ULP
 * @optname: UDP_QUIC_*
 * @optval: struct quic_connection_info
 * @optlen: bytes of @optval
 *
 * Context: process, sleeps.
 * Return: 0 or a negative error.
 */
int quic_setsockopt(struct sock *sk, const struct udp_ulp_ops *ops,
		    int optname, sockptr_t optval, unsigned int optlen)
{
	switch (optname) {
	case UDP_QUIC_ADD_TX_CONNECTION:
		return quic_add_tx(sk, ops, optval, optlen);
	case UDP_QUIC_DEL_TX_CONNECTION:
		return quic_del_tx(sk, ops, optval, optlen);
	default:
		return -ENOPROTOOPT;
	}
}
