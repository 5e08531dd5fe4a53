// SPDX-License-Identifier: GPL-2.0
/*
 * QUIC packet protection: recvmsg()
 *
 * UDP calls quic_recv() to copy a datagram to the user. Each packet is
 * decrypted to a buffer, and copied on only after its tag was verified. What
 * does not open is copied from the skb, which is never written.
 *
 * Packets that a device has opened are copied as they are. If they have to be
 * handed up as they were on the wire, they are protected again, in a copy.
 */

#include <linux/math.h>
#include <linux/skbuff.h>
#include <linux/slab.h>
#include <linux/socket.h>
#include <linux/udp.h>
#include <linux/uio.h>
#include <net/compat.h>
#include <net/quic_core.h>
#include <net/sock.h>

#include "batch.h"
#include "net.h"
#include "netlink.h"
#include "offload.h"
#include "offload_rx.h"
#include "sock.h"
#include "trace.h"

/* First byte and connection ID */
#define QUIC_RX_HEAD	(1 + QUIC_MAX_CONNECTION_ID_SIZE)
/* Opened packets that are copied to the user at once stay in the cache */
#define QUIC_RX_BUF	8192U

/**
 * struct quic_rx_peeked - what a call that peeks has made of a flow
 * @next: next flow of the call
 * @flow: flow, with a reference
 * @state: state that the flow would have now
 * @failed: packets that failed to open
 */
struct quic_rx_peeked {
	struct quic_rx_peeked *next;
	struct quic_rx_flow *flow;
	struct quic_rx_state state;
	unsigned int failed;
};

/**
 * struct quic_rx - one recvmsg() call
 * @sk: socket
 * @urx: what UDP knows of the call
 * @fs: flows of the socket
 * @layout: geometry of the packets
 * @src: source of the packets
 * @packets: control message UDP_QUIC_DECRYPT, an element for each packet
 * @one: storage of @packets for a single packet
 * @pkts: the packets in the skb
 * @one_pkt: storage of @pkts for a single packet
 * @buf: buffer for opened packets, NULL at first
 * @size: bytes that @buf has
 * @used: bytes of opened packets in @buf that the user does not have yet
 * @peeked: flows of the packets that were opened, if the call peeks
 * @device: a device has opened the packets
 */
struct quic_rx {
	struct sock *sk;
	const struct udp_ulp_rx *urx;
	struct quic_rx_flows *fs;
	struct quic_layout layout;
	struct quic_tuple src;
	struct quic_rx_packet *packets;
	struct quic_rx_packet one;
	struct quic_pkt *pkts;
	struct quic_pkt one_pkt;
	u8 *buf;
	unsigned int size;
	unsigned int used;
	struct quic_rx_peeked *peeked;
	bool device;
};

/**
 * struct quic_rx_run - successive packets of a flow
 * @flow: flow
 * @keys: keys of the flow
 * @op: operation
 * @batch: the packets
 * @head: first bytes of the first one
 * @first: index of the first one in the call
 * @failed: packets that failed to open, of a call that peeks
 */
struct quic_rx_run {
	struct quic_rx_flow *flow;
	struct quic_rx_keys keys;
	struct quic_op *op;
	struct quic_batch batch;
	const u8 *head;
	unsigned int first;
	unsigned int failed;
};

/**
 * enum quic_rx_lost - why the user does not get what a device has opened;
 *		       errors of the call are negative
 * @QUIC_RX_LOST_ASTRAY: the flow does not have the key, or the device cannot
 *			 have opened the packets with it
 * @QUIC_RX_LOST_MEMORY: there is no memory to protect the packets again
 */
enum quic_rx_lost {
	QUIC_RX_LOST_ASTRAY = 1,
	QUIC_RX_LOST_MEMORY,
};

/**
 * struct quic_rx_opened - packets that a device has opened
 * @ext: extension of the skb
 * @flow: flow
 * @keys: keys of the flow
 * @key: the one that the device has opened the packets with, among @keys
 */
struct quic_rx_opened {
	const struct quic_skb_ext *ext;
	struct quic_rx_flow *flow;
	struct quic_rx_keys keys;
	const struct quic_rx_key *key;
};

/* Bytes of packet @i that the user gets */
static unsigned int quic_rx_user_len(const struct quic_rx *rx, unsigned int i)
{
	unsigned int off = i * rx->layout.stride;

	return off < rx->urx->len ?
	       min(quic_layout_pkt_len(&rx->layout, i), rx->urx->len - off) : 0;
}

static bool quic_rx_truncated(const struct quic_rx *rx, unsigned int i)
{
	return quic_rx_user_len(rx, i) < quic_layout_pkt_len(&rx->layout, i);
}

/* Hand up a packet as it was on the wire */
static int quic_rx_wire(const struct quic_rx *rx, unsigned int i)
{
	unsigned int len = quic_rx_user_len(rx, i);

	if (!len)
		return 0;
	return skb_copy_datagram_msg(rx->urx->skb, i * rx->layout.stride,
				     rx->urx->msg, len);
}

/* Hand up what is in the buffer. The user has room for it. */
static int quic_rx_flush(struct quic_rx *rx)
{
	size_t len = rx->used;

	rx->used = 0;
	return copy_to_iter(rx->buf, len, &rx->urx->msg->msg_iter) == len ?
	       0 : -EFAULT;
}

/* Hand up a packet that was opened in the buffer, soon */
static int quic_rx_plain(struct quic_rx *rx, unsigned int len)
{
	rx->used += len;
	return rx->size - rx->used < rx->layout.stride ? quic_rx_flush(rx) : 0;
}

/* Hand up a packet whose header, in the buffer, is all that was unprotected */
static int quic_rx_key_phase(struct quic_rx *rx, unsigned int i)
{
	const struct quic_rx_packet *p = &rx->packets[i];
	unsigned int hdr_len = quic_pn_off(p->conn_id_length) +
			       p->pkt_num_length;
	unsigned int len = quic_layout_pkt_len(&rx->layout, i);

	rx->used += hdr_len;
	return quic_rx_flush(rx) ?:
	       skb_copy_datagram_msg(rx->urx->skb,
				     i * rx->layout.stride + hdr_len,
				     rx->urx->msg, len - hdr_len);
}

/* First bytes of a packet, at most QUIC_RX_HEAD. @n is set to their number, and
 * @buf may be used to hold them.
 */
static const u8 *quic_rx_head(const struct quic_rx *rx, unsigned int i,
			      u8 *buf, unsigned int *n)
{
	*n = min(quic_layout_pkt_len(&rx->layout, i), QUIC_RX_HEAD);
	if (rx->pkts && rx->pkts[i].data)
		return rx->pkts[i].data;
	if (skb_copy_bits(rx->urx->skb, i * rx->layout.stride, buf, *n))
		*n = 0;
	return buf;
}

static bool quic_rx_too_short(unsigned int len, unsigned int cid_len)
{
	return len < quic_sample_off(cid_len) + QUIC_HP_SAMPLE_SIZE;
}

/* Status of a packet that matches no flow. One that is too short for any flow
 * is told apart from one with an unknown connection ID.
 */
static u8 quic_rx_unmatched(const struct quic_rx *rx, unsigned int len)
{
	u32 lens = quic_rx_cid_lens(rx->fs);

	if (lens && quic_rx_too_short(len, __ffs(lens)))
		return QUIC_RX_TOO_SHORT;
	return QUIC_RX_NO_FLOW;
}

/* Find the flow of packet @i, whose first bytes are @head, and note what is
 * known of the packet. Return NULL if it cannot be opened; its status says why.
 */
static struct quic_rx_flow *quic_rx_find(struct quic_rx *rx, unsigned int i,
					 const u8 *head, unsigned int n)
{
	unsigned int len = quic_layout_pkt_len(&rx->layout, i);
	struct quic_rx_packet *p = &rx->packets[i];
	struct quic_rx_flow *flow = NULL;

	if (n && head[0] & QUIC_HDR_LONG) {
		p->status = QUIC_RX_NOT_1RTT;
		return NULL;
	}
	if (n--)
		flow = quic_rx_flow_get(rx->fs, &rx->src, head + 1, &n);
	if (!flow) {
		p->status = quic_rx_unmatched(rx, len);
		return NULL;
	}
	p->flow_id = flow->id;
	p->conn_id_length = n;
	p->status = QUIC_RX_NOT_TRIED;
	if (quic_rx_too_short(len, n))
		p->status = QUIC_RX_TOO_SHORT;
	else if (!quic_rx_truncated(rx, i))
		return flow;
	quic_rx_flow_put(flow);
	return NULL;
}

/* How many packets from @i on belong to the flow of packet @i, whose first
 * bytes are @head? They do if they have the same bytes wherever a connection ID
 * in use could be. The one of packet @i may not be in use any more.
 */
static unsigned int quic_rx_run_len(const struct quic_rx *rx, unsigned int i,
				    const u8 *head, unsigned int n)
{
	const struct quic_rx_packet *p = &rx->packets[i];
	unsigned int cmp = max(fls(quic_rx_cid_lens(rx->fs)),
			       p->conn_id_length + 1);
	unsigned int first = i, len;
	u8 buf[QUIC_RX_HEAD];
	const u8 *next;

	while (++i < rx->layout.npkts && cmp <= n) {
		if (quic_rx_truncated(rx, i) ||
		    quic_rx_too_short(quic_layout_pkt_len(&rx->layout, i),
				      p->conn_id_length))
			break;
		next = quic_rx_head(rx, i, buf, &len);
		if (len < cmp || next[0] & QUIC_HDR_LONG ||
		    memcmp(next + 1, head + 1, cmp - 1))
			break;
		rx->packets[i] = *p;
	}
	return i - first;
}

static void quic_rx_failed(struct quic_rx *rx, struct quic_rx_run *run,
			   struct quic_rx_packet *p, int err)
{
	p->status = QUIC_RX_NOT_TRIED;
	if (err != -EBADMSG)
		return;
	p->status = QUIC_RX_AUTH_FAILED;
	if (rx->urx->peek)
		run->failed++;
	else if (quic_rx_flow_failed(run->flow))
		quic_nl_notify_rx_limit(rx->fs, run->flow);
}

/* Open packet @i of a run in the buffer. The header of a packet without a key
 * is unprotected all the same.
 */
static void quic_rx_open(struct quic_rx *rx, struct quic_rx_run *run,
			 unsigned int i)
{
	struct quic_rx_packet *p = &rx->packets[run->first + i];
	const struct quic_pkt *pkt = &run->batch.pkts[i];
	struct quic_rx_keys *keys = &run->keys;
	u8 *buf = rx->buf + rx->used;
	enum quic_rx_age age;
	unsigned int slot;
	int err;

	if (quic_open_header(run->op, i, buf, keys->state.next))
		return;
	/* Either Key Phase takes the same way from here if it has a key: time
	 * must not tell one from the other (RFC 9001 9.5)
	 */
	age = quic_rx_choose(&keys->state, pkt->pn,
			     buf[0] & QUIC_HDR_KEY_PHASE);
	slot = quic_rx_slot(quic_rx_gen(&keys->state, age));
	p->status = QUIC_RX_KEY_PHASE;
	if (keys->key[slot]) {
		run->op->prot = &keys->prot[slot];
		err = quic_open(run->op, i, buf);
		if (err) {
			quic_rx_failed(rx, run, p, err);
			return;
		}
		p->status = QUIC_RX_OPENED;
		p->key_gen = keys->key[slot]->gen;
		quic_rx_keys_opened(keys, slot, age, pkt->pn);
	}
	p->pkt_num = pkt->pn;
	p->pkt_num_length = pkt->pn_len;
}

static int quic_rx_open_one(struct quic_rx *rx, struct quic_rx_run *run,
			    unsigned int i)
{
	struct quic_rx_packet *p = &rx->packets[run->first + i];

	if (quic_rx_flow_expired(run->flow, run->failed))
		p->status = QUIC_RX_KEY_LIMIT;
	else
		quic_rx_open(rx, run, i);
	switch (p->status) {
	case QUIC_RX_OPENED:
		return quic_rx_plain(rx, quic_batch_pkt_len(&run->batch, i));
	case QUIC_RX_KEY_PHASE:
		return quic_rx_key_phase(rx, run->first + i);
	default:
		return quic_rx_flush(rx) ?: quic_rx_wire(rx, run->first + i);
	}
}

/* Memory that opening needs, and the masks of all packets of a run */
static int quic_rx_run_prepare(struct quic_rx *rx, struct quic_rx_run *run)
{
	int err;

	if (!rx->buf) {
		rx->size = max(rx->layout.stride,
			       min(rx->layout.wire_len, QUIC_RX_BUF));
		rx->buf = kmalloc(rx->size, GFP_KERNEL | __GFP_NOWARN);
	}
	if (!rx->buf)
		return -ENOMEM;
	run->op = quic_op_alloc(run->keys.prot, QUIC_RX_SLOTS, &run->batch);
	if (!run->op)
		return -ENOMEM;
	err = quic_open_masks(run->op);
	if (err) {
		quic_op_free(run->op);
		run->op = NULL;
	}
	return err;
}

static struct quic_rx_peeked *quic_rx_peeked_find(const struct quic_rx *rx,
						  const struct quic_rx_run *run)
{
	struct quic_rx_peeked *peeked = rx->peeked;

	while (peeked && peeked->flow != run->flow)
		peeked = peeked->next;
	return peeked;
}

/* A call that peeks must not change the flow, but opens the packets that follow
 * as if it had. Without memory to remember this, they may fail to open.
 */
static void quic_rx_peek(struct quic_rx *rx, const struct quic_rx_run *run)
{
	struct quic_rx_peeked *peeked = quic_rx_peeked_find(rx, run);

	if (!peeked) {
		peeked = kzalloc_obj(*peeked, GFP_KERNEL);
		if (!peeked)
			return;
		refcount_inc(&run->flow->ref);
		peeked->flow = run->flow;
		peeked->next = rx->peeked;
		rx->peeked = peeked;
	}
	peeked->state = run->keys.state;
	peeked->failed = run->failed;
}

static void quic_rx_peeked_free(struct quic_rx *rx)
{
	struct quic_rx_peeked *peeked;

	while ((peeked = rx->peeked)) {
		rx->peeked = peeked->next;
		quic_rx_flow_put(peeked->flow);
		kfree(peeked);
	}
}

static void quic_rx_run_keys(const struct quic_rx *rx, struct quic_rx_run *run)
{
	const struct quic_rx_peeked *peeked = quic_rx_peeked_find(rx, run);

	quic_rx_keys_get(&run->keys, run->flow);
	if (!peeked)
		return;
	run->keys.state = peeked->state;
	run->failed = peeked->failed;
}

/* Commit first: this may retire a key of the same Key Phase as a new one, which
 * has to leave the device before that can enter.
 */
static void quic_rx_run_commit(const struct quic_rx *rx,
			       struct quic_rx_run *run)
{
	struct quic_rx_seen seen = {
		.sk		= rx->sk,
		.fs		= rx->fs,
		.skb		= rx->urx->skb,
		.src		= &rx->src,
		.head		= run->head,
		.cid_len	= run->batch.cid_len,
	};

	quic_rx_keys_commit(&run->keys, run->flow);
	quic_offload_rx_seen(run->flow, &run->keys, &seen);
}

/* Open the packets of a run and hand them up. For lack of memory they are
 * handed up as they were on the wire.
 */
static int quic_rx_run(struct quic_rx *rx, struct quic_rx_run *run)
{
	unsigned int n = run->batch.layout.npkts, i;
	int err = 0;

	quic_rx_run_keys(rx, run);
	if (quic_rx_run_prepare(rx, run)) {
		for (i = 0; i < n && !err; i++)
			err = quic_rx_wire(rx, run->first + i);
	} else {
		for (i = 0; i < n && !err; i++)
			err = quic_rx_open_one(rx, run, i);
		err = err ?: quic_rx_flush(rx);
		quic_op_free(run->op);
	}
	/* Packets that follow may belong to the flow, too */
	if (rx->urx->peek && run->first + n < rx->layout.npkts)
		quic_rx_peek(rx, run);
	if (!rx->urx->peek)
		quic_rx_run_commit(rx, run);
	quic_rx_keys_put(&run->keys);
	return err;
}

/* Packets from @i on: one that cannot be opened, or a run. Return their number,
 * or a negative error.
 */
static int quic_rx_packets(struct quic_rx *rx, unsigned int i)
{
	const struct quic_layout *l = &rx->layout;
	struct quic_rx_run run = { .first = i };
	struct quic_layout *bl = &run.batch.layout;
	u8 buf[QUIC_RX_HEAD];
	const u8 *head;
	unsigned int n;
	int err;

	head = quic_rx_head(rx, i, buf, &n);
	run.flow = quic_rx_find(rx, i, head, n);
	if (!run.flow)
		return quic_rx_wire(rx, i) ?: 1;
	run.head = head;
	run.batch.skb = rx->urx->skb;
	run.batch.pkts = rx->pkts + i;
	run.batch.off = i * l->stride;
	run.batch.cid_len = rx->packets[i].conn_id_length;
	bl->npkts = quic_rx_run_len(rx, i, head, n);
	bl->stride = l->stride;
	bl->wire_len = min(bl->npkts * l->stride, l->wire_len - run.batch.off);
	err = quic_rx_run(rx, &run);
	quic_rx_flow_put(run.flow);
	return err ?: bl->npkts;
}

static void quic_rx_count_opened(const struct quic_rx *rx, unsigned int n,
				 unsigned int len)
{
	struct net *net = rx->fs->net;

	if (rx->device) {
		QUIC_ADD_STATS(net, RX_DEVICE_PACKETS, n);
		QUIC_ADD_STATS(net, RX_DEVICE_BYTES, len);
	} else {
		QUIC_ADD_STATS(net, RX_SW_PACKETS, n);
		QUIC_ADD_STATS(net, RX_SW_BYTES, len);
	}
}

/* A packet that was not opened */
static void quic_rx_count_one(const struct quic_rx *rx, unsigned int i)
{
	struct net *net = rx->fs->net;

	switch (rx->packets[i].status) {
	case QUIC_RX_NOT_1RTT:
		return;
	case QUIC_RX_KEY_PHASE:
		QUIC_INC_STATS(net, RX_KEY_PHASE);
		break;
	case QUIC_RX_AUTH_FAILED:
		QUIC_INC_STATS(net, DECRYPT_ERROR);
		break;
	case QUIC_RX_NO_FLOW:
		QUIC_INC_STATS(net, RX_NO_FLOW);
		break;
	case QUIC_RX_TOO_SHORT:
		QUIC_INC_STATS(net, RX_MALFORMED);
		break;
	case QUIC_RX_KEY_LIMIT:
		QUIC_INC_STATS(net, RX_KEY_LIMIT);
		break;
	}
	trace_quic_open_error(rx->fs, &rx->packets[i], i, rx->layout.npkts);
}

static void quic_rx_count(const struct quic_rx *rx)
{
	unsigned int i, n = 0, len = 0;

	for (i = 0; i < rx->layout.npkts; i++) {
		if (rx->packets[i].status == QUIC_RX_OPENED) {
			n++;
			len += quic_layout_pkt_len(&rx->layout, i);
		} else {
			quic_rx_count_one(rx, i);
		}
	}
	if (!n)
		return;
	quic_rx_count_opened(rx, n, len);
	quic_counts_add(&rx->fs->counts, rx->device, n);
}

static void quic_rx_layout(struct quic_layout *l, const struct sk_buff *skb)
{
	l->wire_len = skb->len;
	l->stride = skb->len;
	l->npkts = 1;
	if (!(skb_shinfo(skb)->gso_type & SKB_GSO_UDP_L4) ||
	    !skb_shinfo(skb)->gso_size)
		return;
	l->stride = skb_shinfo(skb)->gso_size;
	l->npkts = max(DIV_ROUND_UP(skb->len, l->stride), 1);
}

static size_t quic_rx_cmsg_len(const struct quic_rx *rx)
{
	return rx->layout.npkts * sizeof(*rx->packets);
}

/* Has the control buffer room for an element for each packet, and for what UDP
 * says next about the size of several? Without the size, nobody knows where a
 * packet ends. More packets than UDP makes of a call can only come from a
 * device that lies about them.
 */
static bool quic_rx_room(const struct quic_rx *rx)
{
	const struct msghdr *msg = rx->urx->msg;
	size_t hdr = sizeof(struct cmsghdr);
	size_t len = quic_rx_cmsg_len(rx);

#ifdef CONFIG_COMPAT
	if (msg->msg_flags & MSG_CMSG_COMPAT)
		hdr = sizeof(struct compat_cmsghdr);
#endif
	if (rx->layout.npkts > 1)
		len += hdr + sizeof(int);
	return rx->layout.npkts <= UDP_MAX_SEGMENTS && !rx->urx->off &&
	       msg->msg_control && msg->msg_controllen >= hdr + len;
}

/* The user learns nothing about the packets, for lack of room or of memory */
static void quic_rx_note_untold(const struct quic_rx *rx)
{
	rx->urx->msg->msg_flags |= MSG_CTRUNC;
	if (!rx->urx->peek && !quic_rx_room(rx))
		QUIC_INC_STATS(rx->fs->net, RX_NO_ROOM);
}

/* A packet is opened only if the program is told so */
static int quic_rx_untold(const struct quic_rx *rx)
{
	const struct udp_ulp_rx *urx = rx->urx;

	quic_rx_note_untold(rx);
	return skb_copy_datagram_msg(urx->skb, urx->off, urx->msg, urx->len);
}

static int quic_rx_all(struct quic_rx *rx)
{
	unsigned int i = 0;
	int n;

	quic_tuple_set_src(&rx->src, rx->urx->skb);
	while (i < rx->layout.npkts) {
		n = quic_rx_packets(rx, i);
		if (n < 0)
			return n;
		i += n;
	}
	return put_cmsg(rx->urx->msg, SOL_UDP, UDP_QUIC_DECRYPT,
			quic_rx_cmsg_len(rx), rx->packets);
}

static void quic_rx_free(struct quic_rx *rx)
{
	if (rx->packets != &rx->one)
		kfree(rx->packets);
	if (rx->pkts != &rx->one_pkt)
		kfree(rx->pkts);
	rx->packets = NULL;
	rx->pkts = NULL;
}

/* Allocate an element for each packet, and find the packets in the skb. Return
 * false if the user has no room, or the kernel. quic_rx_free() undoes it.
 */
static bool quic_rx_alloc(struct quic_rx *rx)
{
	unsigned int n = rx->layout.npkts;

	if (!quic_rx_room(rx))
		return false;
	if (n == 1) {
		rx->packets = &rx->one;
		rx->pkts = &rx->one_pkt;
	} else {
		rx->packets = kcalloc(n, sizeof(*rx->packets), GFP_KERNEL);
		rx->pkts = kmalloc_objs(*rx->pkts, n, GFP_KERNEL);
	}
	if (rx->packets && rx->pkts) {
		quic_pkts_locate(rx->pkts, rx->urx->skb, 0, &rx->layout);
		return true;
	}
	quic_rx_free(rx);
	return false;
}

/* kfree_sensitive() would wipe the unused rest of the allocation, too: almost
 * as much again if a packet has 9000 bytes
 */
static void quic_rx_buf_free(struct quic_rx *rx)
{
	if (rx->buf)
		memzero_explicit(rx->buf, rx->size);
	kfree(rx->buf);
}

/* Find the flow of packets that a device has opened. It must have the key that
 * the device has opened them with: this may have been retired since, or the
 * packets may be for another flow now.
 */
static bool quic_rx_opened_get(struct quic_rx *rx, struct quic_rx_opened *o)
{
	const struct quic_rx_key *key = quic_offload_rx_key(o->ext);
	u8 buf[QUIC_RX_HEAD];
	const u8 *head;
	unsigned int n;

	head = quic_rx_head(rx, 0, buf, &n);
	if (!n--)
		return false;
	quic_tuple_set_src(&rx->src, rx->urx->skb);
	o->flow = quic_rx_flow_get(rx->fs, &rx->src, head + 1, &n);
	if (!o->flow)
		return false;
	quic_rx_keys_get(&o->keys, o->flow);
	o->key = o->keys.key[quic_rx_slot(key->gen)];
	if (o->key == key && n == o->ext->key->cid_len)
		return true;
	quic_rx_keys_put(&o->keys);
	quic_rx_flow_put(o->flow);
	return false;
}

/* The header of packet @i. Return false if it is not one that the device could
 * have opened with the key.
 */
static bool quic_rx_opened_parse(const struct quic_rx *rx,
				 const struct quic_rx_opened *o,
				 unsigned int i, struct quic_pkt *pkt)
{
	const struct quicdev_key *qkey = o->ext->key;
	unsigned int len = quic_sample_off(qkey->cid_len);
	const u8 *hdr = rx->pkts[i].data;
	u8 buf[QUIC_MAX_HDR_SIZE];

	if (quic_rx_too_short(quic_layout_pkt_len(&rx->layout, i),
			      qkey->cid_len))
		return false;
	if (!hdr) {
		if (skb_copy_bits(rx->urx->skb, i * rx->layout.stride, buf,
				  len))
			return false;
		hdr = buf;
	}
	if (hdr[0] & QUIC_HDR_LONG ||
	    memcmp(hdr + 1, qkey->cid, qkey->cid_len) ||
	    !!(hdr[0] & QUIC_HDR_KEY_PHASE) != (o->key->gen & 1))
		return false;
	pkt->pn_len = (hdr[0] & QUIC_HDR_PN_LEN) + 1;
	pkt->pn = quic_pkt_num_decode(o->ext->pkt_num,
				      quic_pkt_num_read(hdr + len -
							QUIC_MAX_PKT_NUM_LEN,
							pkt->pn_len),
				      pkt->pn_len);
	return pkt->pn <= QUIC_MAX_PKT_NUM;
}

/* Packet @i as it was on the wire, in an skb of its own, or an ERR_PTR() */
static struct sk_buff *quic_rx_opened_protect(const struct quic_rx *rx,
					      const struct quic_rx_opened *o,
					      unsigned int i)
{
	unsigned int len = quic_layout_pkt_len(&rx->layout, i);
	const struct quic_prot *prot;
	struct sk_buff *skb;
	int err;

	prot = &o->keys.prot[quic_rx_slot(o->key->gen)];
	skb = alloc_skb(len, GFP_KERNEL | __GFP_NOWARN);
	if (!skb)
		return ERR_PTR(-ENOMEM);
	err = skb_copy_bits(rx->urx->skb, i * rx->layout.stride,
			    skb_put(skb, len), len);
	if (!err)
		err = quic_offload_rx_protect(prot, skb, o->ext->key->cid_len,
					      o->ext->pkt_num);
	if (!err)
		return skb;
	kfree_skb(skb);
	return ERR_PTR(err);
}

/* Hand up what the user gets of packet @i as it was on the wire. Return 0,
 * -EFAULT or enum quic_rx_lost.
 */
static int quic_rx_opened_wire(const struct quic_rx *rx,
			       const struct quic_rx_opened *o, unsigned int i)
{
	unsigned int len = quic_layout_pkt_len(&rx->layout, i);
	unsigned int begin = i * rx->layout.stride;
	unsigned int from = max(begin, rx->urx->off);
	unsigned int to = min(begin + len, rx->urx->off + rx->urx->len);
	struct sk_buff *skb;
	int err = 0;

	if (from >= to)
		return 0;
	skb = quic_rx_opened_protect(rx, o, i);
	if (IS_ERR(skb))
		return PTR_ERR(skb) == -ENOMEM ? QUIC_RX_LOST_MEMORY :
						 QUIC_RX_LOST_ASTRAY;
	if (copy_to_iter(skb->data + from - begin, to - from,
			 &rx->urx->msg->msg_iter) != to - from)
		err = -EFAULT;
	consume_skb(skb);
	return err;
}

static int quic_rx_opened_untold(const struct quic_rx *rx,
				 const struct quic_rx_opened *o)
{
	unsigned int i;
	int err = 0;

	for (i = 0; i < rx->layout.npkts && !err; i++)
		err = quic_rx_opened_wire(rx, o, i);
	if (err <= 0)
		quic_rx_note_untold(rx);
	return err;
}

/* Make the element of packet @i. Return false if the device cannot have opened
 * the packet.
 */
static bool quic_rx_opened_describe(struct quic_rx *rx,
				    struct quic_rx_opened *o, unsigned int i)
{
	struct quic_rx_packet *p = &rx->packets[i];
	struct quic_pkt pkt;
	u8 age;

	age = o->key->gen - o->keys.state.gen + QUIC_RX_CURRENT;
	if (age > QUIC_RX_NEXT || !quic_rx_opened_parse(rx, o, i, &pkt))
		return false;
	p->flow_id = o->flow->id;
	p->conn_id_length = o->ext->key->cid_len;
	p->status = QUIC_RX_KEY_LIMIT;
	if (quic_rx_flow_expired(o->flow, 0)) {
		/* Each packet would be protected again */
		if (!rx->urx->peek)
			quic_offload_rx_stop(o->ext);
		return true;
	}
	p->status = QUIC_RX_NOT_TRIED;
	if (quic_rx_truncated(rx, i))
		return true;
	p->status = QUIC_RX_OPENED;
	p->key_gen = o->key->gen;
	p->pkt_num = pkt.pn;
	p->pkt_num_length = pkt.pn_len;
	quic_rx_keys_opened(&o->keys, quic_rx_slot(o->key->gen), age, pkt.pn);
	return true;
}

/* If the user gets every packet as the device has opened it, the skb is copied
 * in one go. Otherwise each is copied, or sealed again in a copy, by itself.
 */
static int quic_rx_opened_copy(const struct quic_rx *rx,
			       const struct quic_rx_opened *o)
{
	const struct udp_ulp_rx *urx = rx->urx;
	unsigned int i;
	int err = 0;

	if (o->keys.opened[quic_rx_slot(o->key->gen)] == rx->layout.npkts)
		return skb_copy_datagram_msg(urx->skb, 0, urx->msg, urx->len);
	for (i = 0; i < rx->layout.npkts && !err; i++) {
		if (rx->packets[i].status == QUIC_RX_OPENED)
			err = quic_rx_wire(rx, i);
		else
			err = quic_rx_opened_wire(rx, o, i);
	}
	return err;
}

static int quic_rx_opened_all(struct quic_rx *rx, struct quic_rx_opened *o)
{
	unsigned int slot, i;
	int err;

	for (i = 0; i < rx->layout.npkts; i++) {
		if (!quic_rx_opened_describe(rx, o, i))
			return QUIC_RX_LOST_ASTRAY;
	}
	err = quic_rx_opened_copy(rx, o);
	if (!err)
		err = put_cmsg(rx->urx->msg, SOL_UDP, UDP_QUIC_DECRYPT,
			       quic_rx_cmsg_len(rx), rx->packets);
	if (!err && !rx->urx->peek) {
		slot = quic_rx_slot(o->key->gen);
		quic_rx_count(rx);
		quic_offload_rx_served(o->flow, o->ext, o->keys.fresh[slot]);
	}
	return err;
}

/* Hand up packets that a device has opened, or as they were on the wire */
static int quic_rx_opened_flow(struct quic_rx *rx, struct quic_rx_opened *o)
{
	struct iov_iter *to = &rx->urx->msg->msg_iter;
	size_t room = iov_iter_count(to);
	int err;

	if (quic_rx_alloc(rx))
		err = quic_rx_opened_all(rx, o);
	else
		err = quic_rx_opened_untold(rx, o);
	/* The next datagram begins where this one did */
	if (err > 0)
		iov_iter_revert(to, room - iov_iter_count(to));
	quic_rx_free(rx);
	if (err <= 0 && !rx->urx->peek)
		quic_rx_keys_commit(&o->keys, o->flow);
	quic_rx_keys_put(&o->keys);
	quic_rx_flow_put(o->flow);
	return err;
}

/* Is the datagram as long as it was on the wire? A socket filter may have
 * trimmed it. What is left is not authentic, and must not be sealed either: its
 * packet number was used for the whole.
 */
static bool quic_rx_is_whole(const struct sk_buff *skb)
{
	return ntohs(udp_hdr(skb)->len) == skb->len + sizeof(struct udphdr);
}

/* Without memory for these packets, there may be some for the next ones: the
 * device keeps the key.
 */
static void quic_rx_opened_lost(const struct quic_rx *rx,
				const struct quic_skb_ext *ext, int why)
{
	if (why == QUIC_RX_LOST_MEMORY)
		QUIC_ADD_STATS(rx->fs->net, RX_DEVICE_MISDELIVERED,
			       rx->layout.npkts);
	else
		quic_offload_rx_astray(rx->fs->net, rx->urx->skb, ext);
}

/* A datagram that a device has opened. Return as quic_recv(). */
static int quic_recv_opened(struct quic_rx *rx, const struct quic_skb_ext *ext)
{
	struct quic_rx_opened o = { .ext = ext };
	int err = QUIC_RX_LOST_ASTRAY;

	rx->device = true;
	if (rx->layout.npkts <= UDP_MAX_SEGMENTS &&
	    quic_rx_is_whole(rx->urx->skb) && quic_rx_opened_get(rx, &o))
		err = quic_rx_opened_flow(rx, &o);
	if (err <= 0)
		return err;
	quic_rx_opened_lost(rx, ext, err);
	return err == QUIC_RX_LOST_MEMORY ?
	       SKB_DROP_REASON_NOMEM : SKB_DROP_REASON_QUIC_RX_MISDELIVERED;
}

/**
 * quic_recv - &udp_ulp_ops.recv of this ULP
 * @sk: socket that has or had flows that receive
 * @ulp: state of this ULP
 * @urx: datagram, and message of the user
 *
 * Context: process, socket not locked, sleeps.
 * Return: 0 or -EFAULT; a drop reason if nobody gets the datagram, since it was
 * opened by a device with a key that its flow does not have, or has to be
 * protected again without memory to do so.
 */
int quic_recv(struct sock *sk, struct udp_ulp *ulp,
	      const struct udp_ulp_rx *urx)
{
	const struct quic_skb_ext *ext = quic_skb_opened(urx->skb);
	struct quic_rx rx = {
		.sk	= sk,
		.urx	= urx,
		.fs	= quic_sock_rx(ulp),
	};
	int err;

	quic_rx_layout(&rx.layout, urx->skb);
	if (ext)
		return quic_recv_opened(&rx, ext);
	if (!quic_rx_alloc(&rx))
		return quic_rx_untold(&rx);
	err = quic_rx_all(&rx);
	if (!err && !urx->peek)
		quic_rx_count(&rx);
	quic_rx_peeked_free(&rx);
	quic_rx_buf_free(&rx);
	quic_rx_free(&rx);
	return err;
}

static bool quic_rx_wanted(struct quic_rx_flows *fs,
			   const struct quic_tuple *src,
			   const struct sk_buff *skb, unsigned int off,
			   unsigned int len)
{
	u8 head[QUIC_RX_HEAD];

	len = min(len, QUIC_RX_HEAD);
	if (!len || skb_copy_bits(skb, off, head, len))
		return true;
	return head[0] & QUIC_HDR_LONG ||
	       quic_rx_match(fs, src, head + 1, len - 1);
}

/**
 * quic_drops - &udp_ulp_ops.drops of this ULP, for UDP_QUIC_RX_DROP
 * @ulp: state of this ULP
 * @skb: datagram, or several of them
 *
 * Context: softirq, rcu_read_lock() is held.
 * Return: SKB_DROP_REASON_QUIC_RX_NO_FLOW if the socket has the option, all
 * packets have short headers, and none has a flow; else SKB_NOT_DROPPED_YET.
 */
enum skb_drop_reason quic_drops(struct udp_ulp *ulp, const struct sk_buff *skb)
{
	const struct quic_sock *qs = container_of(ulp, struct quic_sock, ulp);
	struct quic_rx_flows *fs = quic_sock_rx(ulp);
	struct quic_tuple src = {};
	struct quic_layout l;
	unsigned int i;

	if (!READ_ONCE(qs->drop))
		return SKB_NOT_DROPPED_YET;
	quic_rx_layout(&l, skb);
	if (l.npkts > UDP_MAX_SEGMENTS)
		return SKB_NOT_DROPPED_YET;
	quic_tuple_set_src(&src, skb);
	for (i = 0; i < l.npkts; i++) {
		if (quic_rx_wanted(fs, &src, skb, i * l.stride,
				   quic_layout_pkt_len(&l, i)))
			return SKB_NOT_DROPPED_YET;
	}
	QUIC_ADD_STATS(fs->net, RX_DROPPED, l.npkts);
	return SKB_DROP_REASON_QUIC_RX_NO_FLOW;
}
