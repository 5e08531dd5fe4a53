// SPDX-License-Identifier: GPL-2.0
/*
 * QUIC packet protection: /proc/sys/net/quic_crypto
 */

#include <linux/slab.h>
#include <linux/sysctl.h>
#include <net/net_namespace.h>

#include "quic.h"

static const struct ctl_table quic_sysctl_table[] = {
	{
		.procname	= "max_flows",
		.maxlen		= sizeof_field(struct quic_net, max_flows),
		.mode		= 0644,
		.proc_handler	= proc_dointvec_minmax,
		.extra1		= SYSCTL_ZERO,
	},
	{
		.procname	= "seal_limit",
		.maxlen		= sizeof_field(struct quic_net, seal_limit),
		.mode		= 0644,
		.proc_handler	= proc_doulongvec_minmax,
	},
};

int __net_init quic_sysctl_init(struct net *net)
{
	struct quic_net *qn = quic_net(net);
	struct ctl_table *table;

	table = kmemdup(quic_sysctl_table, sizeof(quic_sysctl_table),
			GFP_KERNEL);
	if (!table)
		return -ENOMEM;
	/* Transforms are not charged to anyone, this alone limits them */
	if (net->user_ns != &init_user_ns)
		table[0].mode = 0444;
	table[0].data = &qn->max_flows;
	table[1].data = &qn->seal_limit;

	qn->sysctl = register_net_sysctl_sz(net, "net/quic_crypto", table,
					    ARRAY_SIZE(quic_sysctl_table));
	if (!qn->sysctl) {
		kfree(table);
		return -ENOMEM;
	}
	return 0;
}

void __net_exit quic_sysctl_exit(struct net *net)
{
	struct quic_net *qn = quic_net(net);
	const struct ctl_table *table = qn->sysctl->ctl_table_arg;

	unregister_net_sysctl_table(qn->sysctl);
	kfree(table);
}
