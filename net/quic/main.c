// SPDX-License-Identifier: GPL-2.0
/*
 * QUIC packet protection for UDP sockets: the upper layer protocol and the
 * module
 */

#include <linux/module.h>
#include <net/sock.h>

#include "diag.h"
#include "net.h"
#include "netlink.h"
#include "offload.h"
#include "sock.h"

static struct udp_ulp *quic_ulp_init(struct sock *sk)
{
	struct quic_sock *qs = quic_sock_alloc(sk);

	if (IS_ERR(qs))
		return ERR_CAST(qs);
	qs->tx.notify = quic_nl_notify_tx;
	qs->rx.notify = quic_nl_notify_rx;
	return &qs->ulp;
}

static void quic_ulp_release(struct udp_ulp *ulp)
{
	quic_sock_release(container_of(ulp, struct quic_sock, ulp));
}

static struct udp_ulp_ops quic_ulp_ops = {
	.name		= QUIC_CRYPTO_ULP_NAME,
	.first_opt	= UDP_QUIC_ADD_TX_CONNECTION,
	.last_opt	= UDP_QUIC_RX_DROP,
	.cmsg		= UDP_QUIC_ENCRYPT,
	.owner		= THIS_MODULE,
	.init		= quic_ulp_init,
	.release	= quic_ulp_release,
	.setsockopt	= quic_setsockopt,
	.getsockopt	= quic_getsockopt,
	.sendmsg	= quic_sendmsg,
	.recv		= quic_recv,
	.drops		= quic_drops,
	.get_info	= quic_diag_get_info,
};

static int __init quic_init(void)
{
	int err;

	err = quic_keys_init();
	if (err)
		return err;
	err = quic_net_register();
	if (err)
		goto err_keys_exit;
	err = quic_offload_init();
	if (err)
		goto err_net_unregister;
	err = quic_netlink_init();
	if (err)
		goto err_offload_exit;
	err = udp_register_ulp(&quic_ulp_ops);
	if (err)
		goto err_netlink_exit;
	return 0;

err_netlink_exit:
	quic_netlink_exit();
err_offload_exit:
	quic_offload_exit();
err_net_unregister:
	quic_net_unregister();
err_keys_exit:
	quic_keys_exit();
	return err;
}

static void __exit quic_exit(void)
{
	udp_unregister_ulp(&quic_ulp_ops);
	quic_netlink_exit();
	quic_offload_exit();
	quic_net_unregister();
	quic_keys_exit();
}

module_init(quic_init);
module_exit(quic_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("QUIC packet protection for UDP sockets");
MODULE_ALIAS("udp-ulp-" QUIC_CRYPTO_ULP_NAME);
MODULE_ALIAS_UDP_ULP_OPT(UDP_QUIC_ADD_TX_CONNECTION);
MODULE_ALIAS_UDP_ULP_OPT(UDP_QUIC_DEL_TX_CONNECTION);
MODULE_ALIAS_UDP_ULP_OPT(UDP_QUIC_ADD_RX_CONNECTION);
MODULE_ALIAS_UDP_ULP_OPT(UDP_QUIC_DEL_RX_CONNECTION);
MODULE_ALIAS_UDP_ULP_OPT(UDP_QUIC_INFO);
MODULE_ALIAS_UDP_ULP_OPT(UDP_QUIC_RX_DROP);
