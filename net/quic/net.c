// SPDX-License-Identifier: GPL-2.0
/*
 * QUIC packet protection: state of a network namespace, its counters in
 * /proc/net/quic_stat and its limits in /proc/sys/net/quic_crypto
 */

#include <linux/capability.h>
#include <linux/nsproxy.h>
#include <linux/proc_fs.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/sysctl.h>
#include <linux/workqueue.h>
#include <net/ip.h>
#include <net/net_namespace.h>
#include <net/netns/generic.h>

#include "net.h"
#include "retired.h"

/* One user must not be able to take all that a namespace has */
#define QUIC_DEFAULT_USERS	16
#define QUIC_NR_SYSCTLS		6

/* What a user may have by default. A connection has one flow at a time. */
static const int quic_default_user_max[QUIC_RESOURCES] = {
	[QUIC_FLOWS]		= 65536,
	[QUIC_DEVICE_KEYS]	= 16384,
};

struct workqueue_struct *quic_crypto_wq;

static unsigned int quic_net_id __read_mostly;

/* Set when the namespaces that are older than this module have a state, too */
static bool quic_net_ready __read_mostly;

/**
 * quic_crypto_net - state of a network namespace
 * @net: namespace
 *
 * Return: the state, which lives as long as @net and this module.
 */
struct quic_crypto_net *quic_crypto_net(const struct net *net)
{
	return net_generic(net, quic_net_id);
}

#ifdef CONFIG_PROC_FS
static const struct snmp_mib quic_mib_list[] = {
	SNMP_MIB_ITEM("QuicCurrTxSw", QUIC_MIB_CURR_TX_SW),
	SNMP_MIB_ITEM("QuicTxSw", QUIC_MIB_TX_SW),
	SNMP_MIB_ITEM("QuicTxSwError", QUIC_MIB_TX_SW_ERROR),
	SNMP_MIB_ITEM("QuicTxSwPackets", QUIC_MIB_TX_SW_PACKETS),
	SNMP_MIB_ITEM("QuicTxSwBytes", QUIC_MIB_TX_SW_BYTES),
	SNMP_MIB_ITEM("QuicTxNoFlow", QUIC_MIB_TX_NO_FLOW),
	SNMP_MIB_ITEM("QuicTxNoKey", QUIC_MIB_TX_NO_KEY),
	SNMP_MIB_ITEM("QuicTxPktNumReuse", QUIC_MIB_TX_PKT_NUM_REUSE),
	SNMP_MIB_ITEM("QuicTxKeyLimit", QUIC_MIB_TX_KEY_LIMIT),
	SNMP_MIB_ITEM("QuicTxMalformed", QUIC_MIB_TX_MALFORMED),
	SNMP_MIB_ITEM("QuicTxOtherError", QUIC_MIB_TX_OTHER_ERROR),
	SNMP_MIB_ITEM("QuicTxLost", QUIC_MIB_TX_LOST),
	SNMP_MIB_ITEM("QuicCurrTxDevice", QUIC_MIB_CURR_TX_DEVICE),
	SNMP_MIB_ITEM("QuicTxDevice", QUIC_MIB_TX_DEVICE),
	SNMP_MIB_ITEM("QuicTxDeviceError", QUIC_MIB_TX_DEVICE_ERROR),
	SNMP_MIB_ITEM("QuicTxDevicePackets", QUIC_MIB_TX_DEVICE_PACKETS),
	SNMP_MIB_ITEM("QuicTxDeviceBytes", QUIC_MIB_TX_DEVICE_BYTES),
	SNMP_MIB_ITEM("QuicTxDeviceFallback", QUIC_MIB_TX_DEVICE_FALLBACK),
	SNMP_MIB_ITEM("QuicTxDeviceDrop", QUIC_MIB_TX_DEVICE_DROP),
	SNMP_MIB_ITEM("QuicCurrRxSw", QUIC_MIB_CURR_RX_SW),
	SNMP_MIB_ITEM("QuicRxSw", QUIC_MIB_RX_SW),
	SNMP_MIB_ITEM("QuicRxSwPackets", QUIC_MIB_RX_SW_PACKETS),
	SNMP_MIB_ITEM("QuicRxSwBytes", QUIC_MIB_RX_SW_BYTES),
	SNMP_MIB_ITEM("QuicDecryptError", QUIC_MIB_DECRYPT_ERROR),
	SNMP_MIB_ITEM("QuicRxNoFlow", QUIC_MIB_RX_NO_FLOW),
	SNMP_MIB_ITEM("QuicRxKeyPhase", QUIC_MIB_RX_KEY_PHASE),
	SNMP_MIB_ITEM("QuicRxMalformed", QUIC_MIB_RX_MALFORMED),
	SNMP_MIB_ITEM("QuicRxKeyLimit", QUIC_MIB_RX_KEY_LIMIT),
	SNMP_MIB_ITEM("QuicRxNoRoom", QUIC_MIB_RX_NO_ROOM),
	SNMP_MIB_ITEM("QuicRxDropped", QUIC_MIB_RX_DROPPED),
	SNMP_MIB_ITEM("QuicCurrRxDevice", QUIC_MIB_CURR_RX_DEVICE),
	SNMP_MIB_ITEM("QuicRxDevice", QUIC_MIB_RX_DEVICE),
	SNMP_MIB_ITEM("QuicRxDeviceError", QUIC_MIB_RX_DEVICE_ERROR),
	SNMP_MIB_ITEM("QuicRxDevicePackets", QUIC_MIB_RX_DEVICE_PACKETS),
	SNMP_MIB_ITEM("QuicRxDeviceBytes", QUIC_MIB_RX_DEVICE_BYTES),
	SNMP_MIB_ITEM("QuicRxDeviceResync", QUIC_MIB_RX_DEVICE_RESYNC),
	SNMP_MIB_ITEM("QuicRxDeviceMisdelivered",
		      QUIC_MIB_RX_DEVICE_MISDELIVERED),
};

static int quic_stat_seq_show(struct seq_file *seq, void *v)
{
	unsigned long buf[ARRAY_SIZE(quic_mib_list)] = {};
	struct net *net = seq->private;
	int i;

	snmp_get_cpu_field_batch_cnt(buf, quic_mib_list,
				     ARRAY_SIZE(quic_mib_list),
				     quic_crypto_net(net)->mib);
	for (i = 0; i < ARRAY_SIZE(quic_mib_list); i++)
		seq_printf(seq, "%-32s\t%lu\n", quic_mib_list[i].name, buf[i]);
	return 0;
}

static int __net_init quic_proc_init(struct net *net)
{
	if (!proc_create_net_single("quic_stat", 0444, net->proc_net,
				    quic_stat_seq_show, NULL))
		return -ENOMEM;
	return 0;
}

static void __net_exit quic_proc_exit(struct net *net)
{
	remove_proc_entry("quic_stat", net->proc_net);
}
#else
static int __net_init quic_proc_init(struct net *net)
{
	return 0;
}

static void __net_exit quic_proc_exit(struct net *net)
{
}
#endif

#ifdef CONFIG_SYSCTL
/* Limits are what the host's administrator decides about namespaces. Who owns a
 * namespace cannot change them.
 */
static int quic_sysctl_limit(const struct ctl_table *table, int write,
			     void *buffer, size_t *lenp, loff_t *ppos)
{
	if (write && !capable(CAP_NET_ADMIN))
		return -EPERM;
	return proc_dointvec_minmax(table, write, buffer, lenp, ppos);
}

#define QUIC_SYSCTL_LIMIT(name, ptr) {				\
	.procname	= name,						\
	.data		= ptr,						\
	.maxlen		= sizeof(int),					\
	.mode		= 0644,						\
	.proc_handler	= quic_sysctl_limit,				\
	.extra1		= SYSCTL_ZERO,					\
}

static const struct ctl_table *quic_sysctl_table(struct net *net)
{
	struct quic_crypto_net *qn = quic_crypto_net(net);
	struct quic_limit *l = qn->limits;
	const struct ctl_table table[] = {
		QUIC_SYSCTL_LIMIT("max_flows", &l[QUIC_FLOWS].max),
		QUIC_SYSCTL_LIMIT("max_user_flows", &l[QUIC_FLOWS].user_max),
		QUIC_SYSCTL_LIMIT("max_device_keys", &l[QUIC_DEVICE_KEYS].max),
		QUIC_SYSCTL_LIMIT("max_user_device_keys",
				  &l[QUIC_DEVICE_KEYS].user_max),
		{
			.procname	= "seal_limit",
			.data		= &qn->seal_limit,
			.maxlen		= sizeof(qn->seal_limit),
			.mode		= 0644,
			.proc_handler	= proc_doulongvec_minmax,
		},
		{
			.procname	= "open_limit",
			.data		= &qn->open_limit,
			.maxlen		= sizeof(qn->open_limit),
			.mode		= 0644,
			.proc_handler	= proc_doulongvec_minmax,
		},
	};

	BUILD_BUG_ON(ARRAY_SIZE(table) != QUIC_NR_SYSCTLS);
	return kmemdup(table, sizeof(table), GFP_KERNEL);
}

static int __net_init quic_sysctl_init(struct net *net)
{
	const struct ctl_table *table = quic_sysctl_table(net);
	struct quic_crypto_net *qn = quic_crypto_net(net);

	if (!table)
		return -ENOMEM;
	qn->sysctl = register_net_sysctl_sz(net, "net/quic_crypto", table,
					    QUIC_NR_SYSCTLS);
	if (!qn->sysctl) {
		kfree(table);
		return -ENOMEM;
	}
	return 0;
}

static void __net_exit quic_sysctl_exit(struct net *net)
{
	struct quic_crypto_net *qn = quic_crypto_net(net);
	const struct ctl_table *table = qn->sysctl->ctl_table_arg;

	unregister_net_sysctl_table(qn->sysctl);
	kfree(table);
}
#else
static int __net_init quic_sysctl_init(struct net *net)
{
	return 0;
}

static void __net_exit quic_sysctl_exit(struct net *net)
{
}
#endif

/* A new namespace has the limits of the one in which it is created, or else
 * creating one would be a way to get rid of them.
 */
static void __net_init quic_net_limits(struct quic_crypto_net *qn)
{
	const struct quic_crypto_net *creator;
	int i;

	for (i = 0; i < QUIC_RESOURCES; i++) {
		qn->limits[i].user_max = quic_default_user_max[i];
		qn->limits[i].max = QUIC_DEFAULT_USERS *
				    quic_default_user_max[i];
	}
	if (!READ_ONCE(quic_net_ready))
		return;
	creator = quic_crypto_net(current->nsproxy->net_ns);
	for (i = 0; i < QUIC_RESOURCES; i++) {
		qn->limits[i].user_max = READ_ONCE(creator->limits[i].user_max);
		qn->limits[i].max = READ_ONCE(creator->limits[i].max);
	}
	qn->seal_limit = READ_ONCE(creator->seal_limit);
	qn->open_limit = READ_ONCE(creator->open_limit);
}

static int __net_init quic_net_init(struct net *net)
{
	struct quic_crypto_net *qn = quic_crypto_net(net);
	int err;

	quic_net_limits(qn);
	xa_init_flags(&qn->socks, XA_FLAGS_ALLOC1);
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
	quic_retired_free(quic_crypto_net(net)->retired);
	free_percpu(quic_crypto_net(net)->mib);
}

static struct pernet_operations quic_net_ops = {
	.init	= quic_net_init,
	.exit	= quic_net_exit,
	.id	= &quic_net_id,
	.size	= sizeof(struct quic_crypto_net),
};

/**
 * quic_net_register - set up the work queue and the state of every namespace
 *
 * Context: process, sleeps.
 * Return: 0 or a negative error.
 */
int __init quic_net_register(void)
{
	int err;

	quic_crypto_wq = alloc_workqueue("quic_crypto", WQ_UNBOUND, 0);
	if (!quic_crypto_wq)
		return -ENOMEM;
	err = register_pernet_subsys(&quic_net_ops);
	if (err)
		destroy_workqueue(quic_crypto_wq);
	else
		WRITE_ONCE(quic_net_ready, true);
	return err;
}

/**
 * quic_net_unregister - undo quic_net_register()
 *
 * No socket is left, but flows and keys may still wait to be freed. Waits for
 * them.
 *
 * Context: process, sleeps.
 */
void quic_net_unregister(void)
{
	/* Flows count in the state of their namespace until they are freed */
	rcu_barrier();
	flush_workqueue(quic_crypto_wq);
	unregister_pernet_subsys(&quic_net_ops);
	rcu_barrier();
	destroy_workqueue(quic_crypto_wq);
}
