// SPDX-License-Identifier: GPL-2.0
/*
 * QUIC packet protection: socket options
 */

#include <linux/sockptr.h>
#include <linux/string.h>
#include <linux/uio.h>
#include <net/quic.h>
#include <net/sock.h>

#include "net.h"
#include "offload.h"
#include "sock.h"

/* Size of struct quic_connection_info before it has grown for the first time */
#define QUIC_CONN_SIZE_VER0	offsetof(struct quic_connection_info, \
					 next_pkt_num)

#define QUIC_TX_CONN_FLAGS	(QUIC_CONN_GENERATION | QUIC_CONN_ALL)
#define QUIC_RX_CONN_FLAGS	(QUIC_TX_CONN_FLAGS | QUIC_CONN_ALIAS)
#define QUIC_TX_FLAGS		(QUIC_BYPASS_ENCRYPTION | QUIC_TX_TAG_ROOM | \
				 QUIC_TX_FLOW_ID)

/* What a newer program has appended must be zero, as of copy_struct_from_user()
 */
static int quic_check_tail(sockptr_t optval, unsigned int optlen)
{
	const size_t size = sizeof(struct quic_connection_info);
	int ret;

	if (optlen <= size)
		return 0;
	if (optlen > PAGE_SIZE)
		return -E2BIG;
	ret = check_zeroed_sockptr(optval, size, optlen - size);
	if (ret < 0)
		return ret;
	return ret ? 0 : -E2BIG;
}

static int quic_copy_info(struct quic_connection_info *info, sockptr_t optval,
			  unsigned int optlen)
{
	size_t size = min_t(size_t, optlen, sizeof(*info));
	int err;

	if (optlen < QUIC_CONN_SIZE_VER0)
		return -EINVAL;
	err = quic_check_tail(optval, optlen);
	if (err)
		return err;
	memset(info, 0, sizeof(*info));
	return copy_from_sockptr(info, optval, size) ? -EFAULT : 0;
}

/* Read what DEL needs. The rest of @info may be uninitialised in programs. */
static int quic_copy_del(struct quic_connection_info *info, sockptr_t optval,
			 unsigned int optlen)
{
	const size_t off = offsetof(struct quic_connection_info,
				    conn_payload_key_gen);
	int err;

	memset(info, 0, sizeof(*info));
	if (optlen < sizeof(info->key))
		return -EINVAL;
	err = quic_check_tail(optval, optlen);
	if (err)
		return err;
	if (copy_from_sockptr(&info->key, optval, sizeof(info->key)))
		return -EFAULT;
	if (!(info->key.flags & QUIC_CONN_GENERATION))
		return 0;
	if (optlen <= off)
		return -EINVAL;
	return copy_from_sockptr_offset(&info->conn_payload_key_gen, optval,
					off, 1) ? -EFAULT : 0;
}

static int quic_do_add_tx(struct sock *sk, const struct udp_ulp_ops *ops,
			  const struct quic_connection_info *info)
{
	struct quic_tuple tuple;
	struct udp_ulp *ulp;
	int err;

	if (info->key.flags)
		return -EINVAL;
	err = quic_tuple_init(&tuple, sk, &info->key);
	if (err)
		return err;
	if (!quic_cipher_find(info->cipher_type))
		return -EOPNOTSUPP;
	ulp = udp_ulp_attach(sk, ops);
	if (IS_ERR(ulp))
		return PTR_ERR(ulp);
	return quic_flow_add(quic_sock_tx(ulp), &tuple, info);
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

static struct udp_ulp *quic_ulp_of(const struct sock *sk,
				   const struct udp_ulp_ops *ops)
{
	struct udp_ulp *ulp = udp_ulp_get(sk);

	return ulp && ulp->ops == ops ? ulp : NULL;
}

static struct quic_flows *quic_flows_of(const struct sock *sk,
					const struct udp_ulp_ops *ops)
{
	struct udp_ulp *ulp = quic_ulp_of(sk, ops);

	return ulp ? quic_sock_tx(ulp) : NULL;
}

static struct quic_rx_flows *quic_rx_flows_of(const struct sock *sk,
					      const struct udp_ulp_ops *ops)
{
	struct udp_ulp *ulp = quic_ulp_of(sk, ops);

	return ulp ? quic_sock_rx(ulp) : NULL;
}

static bool quic_key_is_zero(const struct quic_connection_info_key *key)
{
	return !memchr_inv(key, 0, offsetof(typeof(*key), peer)) &&
	       key->peer.ss_family == AF_UNSPEC;
}

/* A worker that died has left its flows on a socket that others share */
static int quic_del_all(struct quic_flows *fs,
			struct quic_connection_info_key *key)
{
	key->flags = 0;
	if (!quic_key_is_zero(key))
		return -EINVAL;
	if (fs)
		quic_flow_del_all(fs);
	return 0;
}

static int quic_del_tx(struct sock *sk, const struct udp_ulp_ops *ops,
		       sockptr_t optval, unsigned int optlen)
{
	struct quic_flows *fs = quic_flows_of(sk, ops);
	struct quic_connection_info info;
	struct quic_tuple tuple;
	int err;

	err = quic_copy_del(&info, optval, optlen);
	if (err)
		return err;
	if (info.key.flags == QUIC_CONN_ALL)
		return quic_del_all(fs, &info.key);
	if (info.key.flags & ~QUIC_CONN_GENERATION)
		return -EINVAL;
	err = quic_tuple_init(&tuple, sk, &info.key);
	if (err)
		return err;
	if (!fs)
		return -ENOENT;
	return quic_flow_del(fs, &tuple, &info);
}

static int quic_do_add_rx(struct sock *sk, const struct udp_ulp_ops *ops,
			  const struct quic_connection_info *info)
{
	struct quic_tuple tuple;
	struct udp_ulp *ulp;
	int err;

	if (info->key.flags || info->next_pkt_num > QUIC_MAX_PKT_NUM)
		return -EINVAL;
	err = quic_tuple_init_rx(&tuple, sk, &info->key);
	if (err)
		return err;
	if (!quic_cipher_find(info->cipher_type) || !udp_ulp_may_receive(sk))
		return -EOPNOTSUPP;
	ulp = udp_ulp_attach(sk, ops);
	if (IS_ERR(ulp))
		return PTR_ERR(ulp);
	err = quic_rx_flow_add(quic_sock_rx(ulp), &tuple, info);
	if (!err)
		udp_ulp_receive(sk);
	return err;
}

static int quic_add_alias(struct sock *sk, const struct udp_ulp_ops *ops,
			  const struct quic_connection_info_key *key)
{
	struct quic_rx_flows *fs = quic_rx_flows_of(sk, ops);
	struct quic_tuple tuple;
	int err;

	if (!key->flow_id)
		return -EINVAL;
	err = quic_tuple_init_rx(&tuple, sk, key);
	if (err)
		return err;
	return fs ? quic_rx_flow_add_alias(fs, &tuple, key) : -ENOENT;
}

static int quic_add_rx(struct sock *sk, const struct udp_ulp_ops *ops,
		       sockptr_t optval, unsigned int optlen)
{
	struct quic_connection_info info;
	int err;

	/* An alias has no keys, so that these may be uninitialised */
	err = quic_copy_del(&info, optval, optlen);
	if (err)
		return err;
	if (info.key.flags == QUIC_CONN_ALIAS)
		return quic_add_alias(sk, ops, &info.key);
	err = quic_copy_info(&info, optval, optlen);
	if (!err)
		err = quic_do_add_rx(sk, ops, &info);
	memzero_explicit(&info, sizeof(info));
	return err;
}

static int quic_del_all_rx(struct quic_rx_flows *fs,
			   struct quic_connection_info_key *key)
{
	key->flags = 0;
	if (!quic_key_is_zero(key))
		return -EINVAL;
	if (fs)
		quic_rx_flow_del_all(fs);
	return 0;
}

static int quic_del_rx(struct sock *sk, const struct udp_ulp_ops *ops,
		       sockptr_t optval, unsigned int optlen)
{
	struct quic_rx_flows *fs = quic_rx_flows_of(sk, ops);
	struct quic_connection_info info;
	struct quic_tuple tuple;
	int err;

	err = quic_copy_del(&info, optval, optlen);
	if (err)
		return err;
	if (info.key.flags == QUIC_CONN_ALL)
		return quic_del_all_rx(fs, &info.key);
	if (info.key.flags && info.key.flags != QUIC_CONN_GENERATION &&
	    info.key.flags != QUIC_CONN_ALIAS)
		return -EINVAL;
	if (info.key.flags == QUIC_CONN_ALIAS && !info.key.flow_id)
		return -EINVAL;
	err = quic_tuple_init_rx(&tuple, sk, &info.key);
	if (err)
		return err;
	return fs ? quic_rx_flow_del(fs, &tuple, &info) : -ENOENT;
}

static int quic_set_drop(struct sock *sk, const struct udp_ulp_ops *ops,
			 sockptr_t optval, unsigned int optlen)
{
	struct udp_ulp *ulp;
	int val;

	if (optlen < sizeof(val))
		return -EINVAL;
	if (copy_from_sockptr(&val, optval, sizeof(val)))
		return -EFAULT;
	if (val < 0 || val > 1)
		return -EINVAL;
	ulp = udp_ulp_attach(sk, ops);
	if (IS_ERR(ulp))
		return PTR_ERR(ulp);
	WRITE_ONCE(container_of(ulp, struct quic_sock, ulp)->drop, val);
	return 0;
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
	case UDP_QUIC_ADD_RX_CONNECTION:
		return quic_add_rx(sk, ops, optval, optlen);
	case UDP_QUIC_DEL_RX_CONNECTION:
		return quic_del_rx(sk, ops, optval, optlen);
	case UDP_QUIC_RX_DROP:
		return quic_set_drop(sk, ops, optval, optlen);
	default:
		return -ENOPROTOOPT;
	}
}

static u32 quic_usable_ciphers(void)
{
	const struct quic_cipher *cipher;
	u32 usable = 0;
	u16 type;

	for (type = TLS_CIPHER_AES_GCM_128;
	     type <= TLS_CIPHER_CHACHA20_POLY1305; type++) {
		cipher = quic_cipher_find(type);
		if (cipher && quic_cipher_usable(cipher))
			usable |= QUIC_INFO_CIPHER(type);
	}
	return usable;
}

static int quic_fill_rx_info(struct quic_rx_flows *fs, const struct sock *sk,
			     struct quic_info *info)
{
	struct quic_tuple tuple;
	int err;

	err = quic_tuple_init_rx(&tuple, sk, &info->key);
	if (err)
		return err;
	info->conn_flags = QUIC_RX_CONN_FLAGS;
	return fs ? quic_rx_flow_info(fs, &tuple, info) : -ENOENT;
}

static int quic_fill_tx_info(struct quic_flows *fs, const struct sock *sk,
			     struct quic_info *info)
{
	struct quic_tuple tuple;
	int err;

	err = quic_tuple_init(&tuple, sk, &info->key);
	if (err)
		return err;
	info->conn_flags = QUIC_TX_CONN_FLAGS;
	info->tx_flags = QUIC_TX_FLAGS;
	return fs ? quic_flow_info(fs, &tuple, info) : -ENOENT;
}

static int quic_fill_info(struct sock *sk, const struct udp_ulp_ops *ops,
			  struct quic_info *info)
{
	const struct quic_crypto_net *qn = quic_crypto_net(sock_net(sk));
	u8 flags = info->key.flags;
	bool none;
	int err;

	if (flags & ~QUIC_CONN_RX)
		return -EINVAL;
	info->directions = QUIC_INFO_TX | QUIC_INFO_RX;
	info->max_flows = READ_ONCE(qn->limits[QUIC_FLOWS].max);
	info->devices = quic_offload_directions(sk);
	info->key.flags = 0;
	none = quic_key_is_zero(&info->key);
	/* May load modules, and flows may be asked for often */
	if (none)
		info->ciphers = quic_usable_ciphers();
	if (flags & QUIC_CONN_RX)
		err = quic_fill_rx_info(quic_rx_flows_of(sk, ops), sk, info);
	else
		err = quic_fill_tx_info(quic_flows_of(sk, ops), sk, info);
	info->key.flags = flags;
	/* A key of zeros asks about no flow, so there need not be one. If there
	 * is a flow that matches all packets, a key of zeros describes it, too.
	 */
	return none ? 0 : err;
}

static int quic_get_info(struct sock *sk, const struct udp_ulp_ops *ops,
			 sockopt_t *opt)
{
	struct quic_info info = {};
	int err;

	if (opt->optlen < QUIC_INFO_SIZE_VER0)
		return -EINVAL;
	if (copy_from_iter(&info.key, sizeof(info.key), &opt->iter_in) !=
	    sizeof(info.key))
		return -EFAULT;
	err = quic_fill_info(sk, ops, &info);
	if (err)
		return err;
	opt->optlen = min_t(int, opt->optlen, sizeof(info));
	return copy_to_iter(&info, opt->optlen, &opt->iter_out) ==
	       opt->optlen ? 0 : -EFAULT;
}

static int quic_get_drop(const struct sock *sk, const struct udp_ulp_ops *ops,
			 sockopt_t *opt)
{
	struct udp_ulp *ulp = quic_ulp_of(sk, ops);
	int val = 0;

	if (ulp)
		val = READ_ONCE(container_of(ulp, struct quic_sock, ulp)->drop);
	if (opt->optlen < 0)
		return -EINVAL;
	opt->optlen = min_t(int, opt->optlen, sizeof(val));
	return copy_to_iter(&val, opt->optlen, &opt->iter_out) ==
	       opt->optlen ? 0 : -EFAULT;
}

/**
 * quic_getsockopt - the ULP's socket options
 * @sk: UDP socket, which may not have the ULP attached
 * @ops: this ULP
 * @optname: UDP_QUIC_INFO or UDP_QUIC_RX_DROP
 * @opt: struct quic_info or int
 *
 * Context: process, sleeps.
 * Return: 0 or a negative error.
 */
int quic_getsockopt(struct sock *sk, const struct udp_ulp_ops *ops, int optname,
		    sockopt_t *opt)
{
	switch (optname) {
	case UDP_QUIC_INFO:
		return quic_get_info(sk, ops, opt);
	case UDP_QUIC_RX_DROP:
		return quic_get_drop(sk, ops, opt);
	default:
		return -ENOPROTOOPT;
	}
}
