/* SPDX-License-Identifier: ((GPL-2.0 WITH Linux-syscall-note) OR BSD-3-Clause) */
/* Do not edit directly, auto-generated from: */
/*	Documentation/netlink/specs/quic-crypto.yaml */
/* YNL-GEN kernel header */
/* To regenerate run: tools/net/ynl/ynl-regen.sh */

#ifndef _LINUX_QUIC_CRYPTO_GEN_H
#define _LINUX_QUIC_CRYPTO_GEN_H

#include <net/netlink.h>
#include <net/genetlink.h>

#include <uapi/linux/quic_crypto.h>

int quic_crypto_nl_flow_get_start(struct netlink_callback *cb);

int quic_crypto_nl_flow_get_dumpit(struct sk_buff *skb,
				   struct netlink_callback *cb);

enum {
	QUIC_CRYPTO_NLGRP_FLOWS,
};

extern struct genl_family quic_crypto_nl_family;

#endif /* _LINUX_QUIC_CRYPTO_GEN_H */
