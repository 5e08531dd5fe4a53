// SPDX-License-Identifier: GPL-2.0
/*
 * QUIC packet protection for UDP sockets: the upper layer protocol, its state
 * per socket and per namespace, and the module
 */

#include <linux/module.h>
#include <linux/slab.h>
#include <net/net_namespace.h>
#include <net/netns/generic.h>
#include <net/quic.h>
#include <net/sock.h>

#include "quic.h"

#define QUIC_DEFAULT_MAX_FLOWS	65536

struct workqueue_struct *quic_wq;

static unsigned int quic_net_id __read_mostly;

/**
 * quic_net - state of a network namespace
 * @net: namespace
 *
 * Return: the state, which lives as long as @net and this module.
 */
struct quic_net *quic_net(const struct net *net)
{
	return net_generic(net, quic_net_id);
}

static struct udp_ulp *quic_ulp_init(struct sock *sk)
{
	struct quic_sock *qs;
	int err;

	qs = kzalloc(sizeof(*qs), GFP_KERNEL_ACCOUNT);
	if (!qs)
		return ERR_PTR(-ENOMEM);
	qs->net = sock_net(sk);
	err = quic_flows_init(qs);
	if (err) {
		kfree(qs);
		return ERR_PTR(err);
	}
	return &qs->ulp;
}

static void quic_ulp_release(struct udp_ulp *ulp)
{
	struct quic_sock *qs = quic_sock(ulp);

	quic_flows_destroy(qs);
	kfree(qs);
}

struct udp_ulp_ops quic_ulp_ops = {
	.name		= QUIC_CRYPTO_ULP_NAME,
	.owner		= THIS_MODULE,
	.init		= quic_ulp_init,
	.release	= quic_ulp_release,
	.setsockopt	= quic_setsockopt,
	.sendmsg	= quic_sendmsg,
};

static int __net_init quic_net_init(struct net *net)
{
	struct quic_net *qn = quic_net(net);
	int err;

	qn->max_flows = QUIC_DEFAULT_MAX_FLOWS;
	qn->mib = alloc_percpu(struct quic_mib);
	if (!qn->mib)
		return -ENOMEM;
	err = quic_proc_init(net);
	if (err)
		goto err_free_mib;
	err = quic_sysctl_init(net);
	if (err)
		goto err_proc_exit;
	return 0;

err_proc_exit:
	quic_proc_exit(net);
err_free_mib:
	free_percpu(qn->mib);
	return err;
}

static void __net_exit quic_net_exit(struct net *net)
{
	quic_sysctl_exit(net);
	quic_proc_exit(net);
	free_percpu(quic_net(net)->mib);
}

static struct pernet_operations quic_net_ops = {
	.init	= quic_net_init,
	.exit	= quic_net_exit,
	.id	= &quic_net_id,
	.size	= sizeof(struct quic_net),
};

static int __init quic_init(void)
{
	int err;

	quic_wq = alloc_workqueue("quic_crypto", WQ_UNBOUND, 0);
	if (!quic_wq)
		return -ENOMEM;
	err = quic_keys_init();
	if (err)
		goto err_destroy_wq;
	err = register_pernet_subsys(&quic_net_ops);
	if (err)
		goto err_keys_exit;
	err = quic_dev_init();
	if (err)
		goto err_unregister_pernet;
	err = udp_register_ulp(&quic_ulp_ops);
	if (err)
		goto err_dev_exit;
	return 0;

err_dev_exit:
	quic_dev_exit();
err_unregister_pernet:
	unregister_pernet_subsys(&quic_net_ops);
err_keys_exit:
	quic_keys_exit();
err_destroy_wq:
	destroy_workqueue(quic_wq);
	return err;
}

static void __exit quic_exit(void)
{
	udp_unregister_ulp(&quic_ulp_ops);
	quic_dev_exit();
	unregister_pernet_subsys(&quic_net_ops);
	/* No socket is left, but flows and keys may still wait to be freed */
	rcu_barrier();
	destroy_workqueue(quic_wq);
	quic_keys_exit();
}

module_init(quic_init);
module_exit(quic_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("QUIC packet protection for UDP sockets");
MODULE_ALIAS("udp-ulp-" QUIC_CRYPTO_ULP_NAME);
