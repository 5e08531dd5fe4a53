/* SPDX-License-Identifier: GPL-2.0 */
/*
 * QUIC packet protection: state of a network namespace
 */
#ifndef _NET_QUIC_NET_H
#define _NET_QUIC_NET_H

#include <linux/atomic.h>
#include <linux/xarray.h>
#include <net/snmp.h>

struct ctl_table_header;
struct net;
struct quic_retired;
struct workqueue_struct;

/* Buckets of the hash tables of a socket, at least. It is what a table begins
 * with: if it shrank below, the first removal from almost every table would
 * begin to resize it, and close() wait for that.
 */
#define QUIC_MIN_BUCKETS	64

enum {
	QUIC_MIB_CURR_TX_SW,
	QUIC_MIB_TX_SW,
	QUIC_MIB_TX_SW_ERROR,
	QUIC_MIB_TX_SW_PACKETS,
	QUIC_MIB_TX_SW_BYTES,
	QUIC_MIB_TX_NO_FLOW,
	QUIC_MIB_TX_NO_KEY,
	QUIC_MIB_TX_PKT_NUM_REUSE,
	QUIC_MIB_TX_KEY_LIMIT,
	QUIC_MIB_TX_MALFORMED,
	QUIC_MIB_TX_OTHER_ERROR,
	QUIC_MIB_TX_LOST,
	QUIC_MIB_CURR_TX_DEVICE,
	QUIC_MIB_TX_DEVICE,
	QUIC_MIB_TX_DEVICE_ERROR,
	QUIC_MIB_TX_DEVICE_PACKETS,
	QUIC_MIB_TX_DEVICE_BYTES,
	QUIC_MIB_TX_DEVICE_FALLBACK,
	QUIC_MIB_TX_DEVICE_DROP,
	QUIC_MIB_CURR_RX_SW,
	QUIC_MIB_RX_SW,
	QUIC_MIB_RX_SW_PACKETS,
	QUIC_MIB_RX_SW_BYTES,
	QUIC_MIB_DECRYPT_ERROR,
	QUIC_MIB_RX_NO_FLOW,
	QUIC_MIB_RX_KEY_PHASE,
	QUIC_MIB_RX_MALFORMED,
	QUIC_MIB_RX_KEY_LIMIT,
	QUIC_MIB_RX_NO_ROOM,
	QUIC_MIB_RX_DROPPED,
	QUIC_MIB_CURR_RX_DEVICE,
	QUIC_MIB_RX_DEVICE,
	QUIC_MIB_RX_DEVICE_ERROR,
	QUIC_MIB_RX_DEVICE_PACKETS,
	QUIC_MIB_RX_DEVICE_BYTES,
	QUIC_MIB_RX_DEVICE_RESYNC,
	QUIC_MIB_RX_DEVICE_MISDELIVERED,
	__QUIC_MIB_MAX
};

struct quic_mib {
	unsigned long mibs[__QUIC_MIB_MAX];
};

/**
 * enum quic_resource - what is limited, see charge.c
 * @QUIC_FLOWS: flows that are installed, or not freed yet
 * @QUIC_DEVICE_KEYS: keys that are in devices, or offered to devices
 * @QUIC_RESOURCES: number of limited resources
 */
enum quic_resource {
	QUIC_FLOWS,
	QUIC_DEVICE_KEYS,
	QUIC_RESOURCES
};

/**
 * struct quic_limit - limits of a resource in a network namespace
 * @used: how much is in use
 * @max: upper limit of @used, a sysctl
 * @user_max: what a user may use in all namespaces, a sysctl
 */
struct quic_limit {
	atomic_t used;
	int max;
	int user_max;
};

/**
 * enum quic_nl_event - what listeners are told
 * @QUIC_NL_ADD: a flow is new
 * @QUIC_NL_UPDATE: a flow was given another key or match, or lost one, by an
 *		    option
 * @QUIC_NL_DEL: a flow is removed
 * @QUIC_NL_LIMIT: a flow is near a limit, see quic_limit_near()
 */
enum quic_nl_event {
	QUIC_NL_ADD,
	QUIC_NL_UPDATE,
	QUIC_NL_DEL,
	QUIC_NL_LIMIT,
};

/**
 * struct quic_crypto_net - state of a network namespace
 * @mib: counters, shown in /proc/net/quic_stat
 * @limits: of each resource
 * @removed: how many flows were ever removed, modulo 2^32
 * @freed: how many removed flows were ever freed, modulo 2^32
 * @seal_limit: packets that a key may seal, a sysctl; 0, and what exceeds the
 *		limit of the cipher, has no effect
 * @open_limit: packets of a flow that may fail to open, a sysctl
 * @retired: records of keys that nobody has any more, made with the first key
 * @sysctl: registered table
 * @socks: sockets that have this ULP, by quic_sock.number
 * @next_sock: where to look for the number of the next socket
 * @changes: how many flows were ever added or removed, modulo 2^32
 */
struct quic_crypto_net {
	struct quic_mib __percpu *mib;
	struct quic_limit limits[QUIC_RESOURCES];
	atomic_t removed;
	atomic_t freed;
	unsigned long seal_limit;
	unsigned long open_limit;
	struct quic_retired *retired;
	struct ctl_table_header *sysctl;
	struct xarray socks;
	u32 next_sock;
	atomic_t changes;
};

/* Frees what must sleep: flows, keys, offloads. Module exit drains it. */
extern struct workqueue_struct *quic_crypto_wq;

struct quic_crypto_net *quic_crypto_net(const struct net *net);
int quic_net_register(void);
void quic_net_unregister(void);

#define QUIC_INC_STATS(net, field) \
	SNMP_INC_STATS(quic_crypto_net(net)->mib, QUIC_MIB_##field)
#define QUIC_DEC_STATS(net, field) \
	SNMP_DEC_STATS(quic_crypto_net(net)->mib, QUIC_MIB_##field)
#define QUIC_ADD_STATS(net, field, val) \
	SNMP_ADD_STATS(quic_crypto_net(net)->mib, QUIC_MIB_##field, val)

#endif /* _NET_QUIC_NET_H */
