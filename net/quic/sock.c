// SPDX-License-Identifier: GPL-2.0
/*
 * QUIC packet protection: the state the ULP has of a socket, and the list
 * of such sockets of a network namespace
 */

#include <linux/slab.h>
#include <linux/sock_diag.h>
#include <net/sock.h>

#include "net.h"
#include "sock.h"

static void quic_sock_free_work(struct work_struct *work)
{
	struct quic_sock *qs = container_of(to_rcu_work(work),
					    struct quic_sock, rwork);

	/* Freeing a table may wait until it has shrunk, or for a grace period:
	 * close() must not.
	 */
	quic_flows_destroy(&qs->tx);
	quic_rx_flows_destroy(&qs->rx);
	kfree(qs);
}

/**
 * quic_sock_put - drop a reference
 * @qs: state of a socket
 *
 * Context: process.
 */
void quic_sock_put(struct quic_sock *qs)
{
	if (!refcount_dec_and_test(&qs->ref))
		return;
	INIT_RCU_WORK(&qs->rwork, quic_sock_free_work);
	queue_rcu_work(quic_crypto_wq, &qs->rwork);
}

/**
 * quic_sock_alloc - make the state of a socket
 * @sk: UDP socket
 *
 * Context: process, sleeps.
 * Return: the state, with a reference, or an ERR_PTR().
 */
struct quic_sock *quic_sock_alloc(struct sock *sk)
{
	struct quic_crypto_net *qn = quic_crypto_net(sock_net(sk));
	struct quic_sock *qs;
	int err;

	qs = kzalloc_obj(*qs, GFP_KERNEL_ACCOUNT);
	if (!qs)
		return ERR_PTR(-ENOMEM);
	err = quic_rx_flows_init(&qs->rx, sk);
	if (err)
		goto err_free;
	err = quic_flows_init(&qs->tx, sk);
	if (err)
		goto err_rx_destroy;
	refcount_set(&qs->ref, 1);
	/* quic_sock_next() goes through the sockets in the order of numbers */
	err = xa_alloc_cyclic(&qn->socks, &qs->number, qs,
			      XA_LIMIT(1, U32_MAX - 1), &qn->next_sock,
			      GFP_KERNEL_ACCOUNT);
	if (err < 0)
		goto err_tx_destroy;
	return qs;

err_tx_destroy:
	quic_flows_destroy(&qs->tx);
err_rx_destroy:
	quic_rx_flows_destroy(&qs->rx);
err_free:
	kfree(qs);
	return ERR_PTR(err);
}

/**
 * quic_sock_release - the socket is destroyed
 * @qs: its state
 *
 * Context: process, sleeps.
 */
void quic_sock_release(struct quic_sock *qs)
{
	struct quic_crypto_net *qn = quic_crypto_net(qs->tx.net);

	xa_erase(&qn->socks, qs->number);
	quic_flow_del_all(&qs->tx);
	quic_rx_flow_del_all(&qs->rx);
	quic_sock_put(qs);
}

/**
 * quic_sock_identify - which socket is this?
 * @qs: state of a socket
 * @id: filled in
 *
 * Context: process; the caller uses the socket, or holds the lock of
 * quic_crypto_net.socks, so that the socket is there.
 */
void quic_sock_identify(const struct quic_sock *qs, struct quic_sock_id *id)
{
	struct sock *sk = (struct sock *)qs->tx.sk;
	u32 cookie[2];

	sock_diag_save_cookie(sk, cookie);
	id->number = qs->number;
	id->cookie = cookie[0] | (u64)cookie[1] << 32;
	id->ino = sock_i_ino(sk);
}

/**
 * quic_sock_next - go through the sockets of a network namespace
 * @qn: namespace
 * @from: number of a socket
 * @id: filled in, as the socket itself may be closed soon
 *
 * Context: process.
 * Return: the socket with this number, or else the next one, with a reference;
 * NULL at the end.
 */
struct quic_sock *quic_sock_next(struct quic_crypto_net *qn, u32 from,
				 struct quic_sock_id *id)
{
	unsigned long number = from;
	struct quic_sock *qs;

	xa_lock(&qn->socks);
	qs = xa_find(&qn->socks, &number, ULONG_MAX, XA_PRESENT);
	if (qs) {
		refcount_inc(&qs->ref);
		quic_sock_identify(qs, id);
	}
	xa_unlock(&qn->socks);
	return qs;
}
