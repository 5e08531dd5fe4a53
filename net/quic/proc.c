// SPDX-License-Identifier: GPL-2.0
/*
 * QUIC packet protection: /proc/net/quic_stat
 */

#include <linux/proc_fs.h>
#include <linux/seq_file.h>
#include <net/ip.h>
#include <net/net_namespace.h>
#include <net/snmp.h>

#include "quic.h"

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
	SNMP_MIB_ITEM("QuicCurrTxDevice", QUIC_MIB_CURR_TX_DEVICE),
	SNMP_MIB_ITEM("QuicTxDevice", QUIC_MIB_TX_DEVICE),
	SNMP_MIB_ITEM("QuicTxDeviceError", QUIC_MIB_TX_DEVICE_ERROR),
	SNMP_MIB_ITEM("QuicTxDevicePackets", QUIC_MIB_TX_DEVICE_PACKETS),
	SNMP_MIB_ITEM("QuicTxDeviceBytes", QUIC_MIB_TX_DEVICE_BYTES),
	SNMP_MIB_ITEM("QuicTxDeviceFallback", QUIC_MIB_TX_DEVICE_FALLBACK),
	SNMP_MIB_ITEM("QuicTxDeviceDrop", QUIC_MIB_TX_DEVICE_DROP),
};

static int quic_stat_seq_show(struct seq_file *seq, void *v)
{
	unsigned long buf[ARRAY_SIZE(quic_mib_list)] = {};
	const int cnt = ARRAY_SIZE(quic_mib_list);
	struct net *net = seq->private;
	int i;

	snmp_get_cpu_field_batch_cnt(buf, quic_mib_list, cnt,
				     quic_net(net)->mib);
	for (i = 0; i < cnt; i++)
		seq_printf(seq, "%-32s\t%lu\n", quic_mib_list[i].name, buf[i]);
	return 0;
}

int __net_init quic_proc_init(struct net *net)
{
	if (!proc_create_net_single("quic_stat", 0444, net->proc_net,
				    quic_stat_seq_show, NULL))
		return -ENOMEM;
	return 0;
}

void __net_exit quic_proc_exit(struct net *net)
{
	remove_proc_entry("quic_stat", net->proc_net);
}
