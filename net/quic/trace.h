/* SPDX-License-Identifier: GPL-2.0 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM quic

#if !defined(_NET_QUIC_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define _NET_QUIC_TRACE_H

#include <linux/netdevice.h>
#include <linux/tracepoint.h>

#include <net/quic.h>

#include "batch.h"
#include "tuple.h"

struct quic_flows;
struct quic_rx_flows;

TRACE_EVENT(quic_flow_add,

	TP_PROTO(const struct quic_flows *fs, const struct quic_tuple *tuple,
		 u32 id, u16 cipher, u8 gen, int err),

	TP_ARGS(fs, tuple, id, cipher, gen, err),

	TP_STRUCT__entry(
		__field(const void *, fs)
		__array(u8, cid, QUIC_MAX_CONNECTION_ID_SIZE)
		__field(u8, cid_len)
		__field(u8, gen)
		__field(u16, cipher)
		__field(u32, id)
		__field(int, err)
	),

	TP_fast_assign(
		__entry->fs = fs;
		memcpy(__entry->cid, tuple->cid, sizeof(tuple->cid));
		__entry->cid_len = tuple->cid_len;
		__entry->id = id;
		__entry->gen = gen;
		__entry->cipher = cipher;
		__entry->err = err;
	),

	TP_printk("sock=%p id=%u cid=%s cipher=%u gen=%u err=%d",
		  __entry->fs, __entry->id,
		  __print_hex_str(__entry->cid, __entry->cid_len),
		  __entry->cipher, __entry->gen, __entry->err)
);

TRACE_EVENT(quic_flow_del,

	/* @gen: -1 if the whole flow is removed */
	TP_PROTO(const struct quic_flows *fs, const struct quic_tuple *tuple,
		 u32 id, int gen),

	TP_ARGS(fs, tuple, id, gen),

	TP_STRUCT__entry(
		__field(const void *, fs)
		__array(u8, cid, QUIC_MAX_CONNECTION_ID_SIZE)
		__field(u8, cid_len)
		__field(u32, id)
		__field(int, gen)
	),

	TP_fast_assign(
		__entry->fs = fs;
		memcpy(__entry->cid, tuple->cid, sizeof(tuple->cid));
		__entry->cid_len = tuple->cid_len;
		__entry->id = id;
		__entry->gen = gen;
	),

	TP_printk("sock=%p id=%u cid=%s gen=%d", __entry->fs, __entry->id,
		  __print_hex_str(__entry->cid, __entry->cid_len),
		  __entry->gen)
);

#define quic_show_reason(reason)					\
	__print_symbolic(reason,					\
			 { QUIC_REASON_NONE, "error" },			\
			 { QUIC_REASON_CMSG, "cmsg" },			\
			 { QUIC_REASON_FLAGS, "flags" },		\
			 { QUIC_REASON_CID_LEN, "conn_id_length" },	\
			 { QUIC_REASON_NEXT_PKT_NUM, "next_pkt_num" },	\
			 { QUIC_REASON_LAYOUT, "layout" },		\
			 { QUIC_REASON_UDP, "udp" },			\
			 { QUIC_REASON_SOCKET, "socket" },		\
			 { QUIC_REASON_MTU, "mtu" },			\
			 { QUIC_REASON_SHORT, "short" },		\
			 { QUIC_REASON_LONG_HEADER, "long_header" },	\
			 { QUIC_REASON_PKT_NUM, "pkt_num" },		\
			 { QUIC_REASON_CID, "conn_id" },		\
			 { QUIC_REASON_PHASE, "key_phase" },		\
			 { QUIC_REASON_LOST, "lost" })

TRACE_EVENT(quic_seal_error,

	TP_PROTO(const struct quic_flows *fs, unsigned int npkts, int pkt,
		 enum quic_reason reason, int err),

	TP_ARGS(fs, npkts, pkt, reason, err),

	TP_STRUCT__entry(
		__field(const void *, fs)
		__field(unsigned int, npkts)
		__field(int, pkt)
		__field(u8, reason)
		__field(int, err)
	),

	TP_fast_assign(
		__entry->fs = fs;
		__entry->npkts = npkts;
		__entry->pkt = pkt;
		__entry->reason = reason;
		__entry->err = err;
	),

	TP_printk("sock=%p npkts=%u err=%d reason=%s pkt=%d", __entry->fs,
		  __entry->npkts, __entry->err,
		  quic_show_reason(__entry->reason), __entry->pkt)
);

TRACE_EVENT(quic_rx_flow_add,

	TP_PROTO(const struct quic_rx_flows *fs,
		 const struct quic_tuple *tuple, u32 id, u16 cipher,
		 u8 gen, int err),

	TP_ARGS(fs, tuple, id, cipher, gen, err),

	TP_STRUCT__entry(
		__field(const void *, fs)
		__array(u8, cid, QUIC_MAX_CONNECTION_ID_SIZE)
		__field(u8, cid_len)
		__field(u8, gen)
		__field(u16, cipher)
		__field(u32, id)
		__field(int, err)
	),

	TP_fast_assign(
		__entry->fs = fs;
		memcpy(__entry->cid, tuple->cid, sizeof(tuple->cid));
		__entry->cid_len = tuple->cid_len;
		__entry->id = id;
		__entry->gen = gen;
		__entry->cipher = cipher;
		__entry->err = err;
	),

	TP_printk("sock=%p id=%u cid=%s cipher=%u gen=%u err=%d",
		  __entry->fs, __entry->id,
		  __print_hex_str(__entry->cid, __entry->cid_len),
		  __entry->cipher, __entry->gen, __entry->err)
);

TRACE_EVENT(quic_rx_flow_del,

	/* @gen: -1 if the whole flow is removed */
	TP_PROTO(const struct quic_rx_flows *fs,
		 const struct quic_tuple *tuple, u32 id, int gen),

	TP_ARGS(fs, tuple, id, gen),

	TP_STRUCT__entry(
		__field(const void *, fs)
		__array(u8, cid, QUIC_MAX_CONNECTION_ID_SIZE)
		__field(u8, cid_len)
		__field(u32, id)
		__field(int, gen)
	),

	TP_fast_assign(
		__entry->fs = fs;
		memcpy(__entry->cid, tuple->cid, sizeof(tuple->cid));
		__entry->cid_len = tuple->cid_len;
		__entry->id = id;
		__entry->gen = gen;
	),

	TP_printk("sock=%p id=%u cid=%s gen=%d", __entry->fs, __entry->id,
		  __print_hex_str(__entry->cid, __entry->cid_len),
		  __entry->gen)
);

#define quic_show_rx_status(status)					\
	__print_symbolic(status,					\
			 { QUIC_RX_OPENED, "opened" },			\
			 { QUIC_RX_KEY_PHASE, "key_phase" },		\
			 { QUIC_RX_AUTH_FAILED, "auth_failed" },	\
			 { QUIC_RX_NO_FLOW, "no_flow" },		\
			 { QUIC_RX_NOT_1RTT, "not_1rtt" },		\
			 { QUIC_RX_TOO_SHORT, "too_short" },		\
			 { QUIC_RX_KEY_LIMIT, "key_limit" },		\
			 { QUIC_RX_NOT_TRIED, "not_tried" })

TRACE_EVENT(quic_open_error,

	TP_PROTO(const struct quic_rx_flows *fs,
		 const struct quic_rx_packet *packet, unsigned int pkt,
		 unsigned int npkts),

	TP_ARGS(fs, packet, pkt, npkts),

	TP_STRUCT__entry(
		__field(const void *, fs)
		__field(unsigned int, npkts)
		__field(unsigned int, pkt)
		__field(u32, id)
		__field(u8, status)
	),

	TP_fast_assign(
		__entry->fs = fs;
		__entry->npkts = npkts;
		__entry->pkt = pkt;
		__entry->id = packet->flow_id;
		__entry->status = packet->status;
	),

	TP_printk("sock=%p id=%u npkts=%u pkt=%u status=%s", __entry->fs,
		  __entry->id, __entry->npkts, __entry->pkt,
		  quic_show_rx_status(__entry->status))
);

#ifdef CONFIG_QUIC_CRYPTO_DEVICE
#define quic_show_direction(direction)					\
	__print_symbolic(direction,					\
			 { QUICDEV_TX, "tx" },				\
			 { QUICDEV_RX, "rx" })

TRACE_EVENT(quic_device_add,

	TP_PROTO(const struct net_device *netdev,
		 const struct quicdev_key *key, int err, const char *msg),

	TP_ARGS(netdev, key, err, msg),

	TP_STRUCT__entry(
		__string(netdev, netdev->name)
		__string(msg, msg ?: "")
		__array(u8, cid, QUIC_MAX_CONNECTION_ID_SIZE)
		__field(u8, cid_len)
		__field(u8, gen)
		__field(u8, direction)
		__field(u64, pkt_num)
		__field(int, err)
	),

	TP_fast_assign(
		__assign_str(netdev);
		__assign_str(msg);
		memcpy(__entry->cid, key->cid, sizeof(key->cid));
		__entry->cid_len = key->cid_len;
		__entry->gen = key->key_gen;
		__entry->direction = key->direction;
		__entry->pkt_num = key->next_pkt_num;
		__entry->err = err;
	),

	TP_printk("netdev=%s cid=%s gen=%u dir=%s pkt_num=%llu err=%d %s",
		  __get_str(netdev),
		  __print_hex_str(__entry->cid, __entry->cid_len),
		  __entry->gen, quic_show_direction(__entry->direction),
		  __entry->pkt_num, __entry->err, __get_str(msg))
);

TRACE_EVENT(quic_device_del,

	TP_PROTO(const struct net_device *netdev,
		 const struct quicdev_key *key),

	TP_ARGS(netdev, key),

	TP_STRUCT__entry(
		__string(netdev, netdev->name)
		__array(u8, cid, QUIC_MAX_CONNECTION_ID_SIZE)
		__field(u8, cid_len)
		__field(u8, gen)
		__field(u8, direction)
	),

	TP_fast_assign(
		__assign_str(netdev);
		memcpy(__entry->cid, key->cid, sizeof(key->cid));
		__entry->cid_len = key->cid_len;
		__entry->gen = key->key_gen;
		__entry->direction = key->direction;
	),

	TP_printk("netdev=%s cid=%s gen=%u dir=%s", __get_str(netdev),
		  __print_hex_str(__entry->cid, __entry->cid_len),
		  __entry->gen, quic_show_direction(__entry->direction))
);

TRACE_EVENT(quic_device_resync,

	TP_PROTO(const struct net_device *netdev,
		 const struct quicdev_key *key, u64 pkt_num),

	TP_ARGS(netdev, key, pkt_num),

	TP_STRUCT__entry(
		__string(netdev, netdev->name)
		__array(u8, cid, QUIC_MAX_CONNECTION_ID_SIZE)
		__field(u8, cid_len)
		__field(u8, gen)
		__field(u64, pkt_num)
	),

	TP_fast_assign(
		__assign_str(netdev);
		memcpy(__entry->cid, key->cid, sizeof(key->cid));
		__entry->cid_len = key->cid_len;
		__entry->gen = key->key_gen;
		__entry->pkt_num = pkt_num;
	),

	TP_printk("netdev=%s cid=%s gen=%u pkt_num=%llu", __get_str(netdev),
		  __print_hex_str(__entry->cid, __entry->cid_len),
		  __entry->gen, __entry->pkt_num)
);

TRACE_EVENT(quic_device_fallback,

	TP_PROTO(const struct net_device *netdev,
		 const struct quicdev_key *key, u64 pkt_num,
		 unsigned int npkts, bool sealed),

	TP_ARGS(netdev, key, pkt_num, npkts, sealed),

	TP_STRUCT__entry(
		__string(netdev, netdev ? netdev->name : "")
		__array(u8, cid, QUIC_MAX_CONNECTION_ID_SIZE)
		__field(u8, cid_len)
		__field(u8, gen)
		__field(bool, sealed)
		__field(unsigned int, npkts)
		__field(u64, pkt_num)
	),

	TP_fast_assign(
		__assign_str(netdev);
		memcpy(__entry->cid, key->cid, sizeof(key->cid));
		__entry->cid_len = key->cid_len;
		__entry->gen = key->key_gen;
		__entry->sealed = sealed;
		__entry->npkts = npkts;
		__entry->pkt_num = pkt_num;
	),

	TP_printk("netdev=%s cid=%s gen=%u pkt_num=%llu npkts=%u sealed=%d",
		  __get_str(netdev),
		  __print_hex_str(__entry->cid, __entry->cid_len),
		  __entry->gen, __entry->pkt_num, __entry->npkts,
		  __entry->sealed)
);
#endif

#endif /* _NET_QUIC_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .

#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace

#include <trace/define_trace.h>
