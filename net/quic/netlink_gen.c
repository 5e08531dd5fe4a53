// SPDX-License-Identifier: ((GPL-2.0 WITH Linux-syscall-note) OR BSD-3-Clause)
/* Do not edit directly, auto-generated from: */
/*	Documentation/netlink/specs/quic-crypto.yaml */
/* YNL-GEN kernel source */
/* To regenerate run: tools/net/ynl/ynl-regen.sh */

#include <net/netlink.h>
#include <net/genetlink.h>

#include "netlink_gen.h"

#include <uapi/linux/quic_crypto.h>

/* QUIC_CRYPTO_CMD_FLOW_GET - dump */
static const struct nla_policy quic_crypto_flow_get_nl_policy[QUIC_CRYPTO_A_FLOW_IFINDEX + 1] = {
	[QUIC_CRYPTO_A_FLOW_SOCK_COOKIE] = { .type = NLA_UINT, },
	[QUIC_CRYPTO_A_FLOW_DIRECTION] = NLA_POLICY_MAX(NLA_U32, 1),
	[QUIC_CRYPTO_A_FLOW_IFINDEX] = { .type = NLA_U32, },
};

/* Ops table for quic_crypto */
static const struct genl_split_ops quic_crypto_nl_ops[] = {
	{
		.cmd		= QUIC_CRYPTO_CMD_FLOW_GET,
		.start		= quic_crypto_nl_flow_get_start,
		.dumpit		= quic_crypto_nl_flow_get_dumpit,
		.policy		= quic_crypto_flow_get_nl_policy,
		.maxattr	= QUIC_CRYPTO_A_FLOW_IFINDEX,
		.flags		= GENL_UNS_ADMIN_PERM | GENL_CMD_CAP_DUMP,
	},
};

static const struct genl_multicast_group quic_crypto_nl_mcgrps[] = {
	[QUIC_CRYPTO_NLGRP_FLOWS] = { "flows", .flags = GENL_MCAST_CAP_NET_ADMIN, },
};

struct genl_family quic_crypto_nl_family __ro_after_init = {
	.name		= QUIC_CRYPTO_FAMILY_NAME,
	.version	= QUIC_CRYPTO_FAMILY_VERSION,
	.netnsok	= true,
	.parallel_ops	= true,
	.module		= THIS_MODULE,
	.split_ops	= quic_crypto_nl_ops,
	.n_split_ops	= ARRAY_SIZE(quic_crypto_nl_ops),
	.mcgrps		= quic_crypto_nl_mcgrps,
	.n_mcgrps	= ARRAY_SIZE(quic_crypto_nl_mcgrps),
};
