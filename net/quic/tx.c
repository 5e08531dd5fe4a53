// SPDX-License-Identifier: GPL-2.0
/*
 * QUIC packet protection: sendmsg()
 *
 * quic_sendmsg() reads the control message and calls UDP's own sendmsg(), which
 * calls back twice: quic_getfrag() copies the user's packets into the skb and
 * leaves gaps for the tags, quic_tx_finish() then seals them there. Everything
 * about the packets is read from the skb, as the user can change the user's
 * copy at any time.
 */

#include <linux/ipv6.h>
#include <linux/net.h>
#include <linux/uio.h>
#include <net/inet_sock.h>
#include <net/quic.h>
#include <net/sock.h>
#include <net/udp.h>
#include <net/xfrm.h>

#include "batch.h"
#include "net.h"
#include "netlink.h"
#include "offload.h"
#include "sock.h"
#include "trace.h"

/**
 * struct quic_tx - one sendmsg() call
 * @ulp: what UDP knows of the call
 * @ops: this ULP
 * @fs: flows of the socket
 * @sk: socket
 * @msg: packets of the user
 * @anc: control message UDP_QUIC_ENCRYPT
 * @has_anc: the call has this control message
 * @gso_size: size of packets on the wire, 0 for a single packet
 * @batch: packets in the skb
 * @tuple: destination as the application passed it, and connection ID of the
 *	   first packet; without QUIC_TX_FLOW_ID they select the flow
 * @uarg: notification of MSG_ZEROCOPY
 * @reason: why the call is refused, if the error does not say it
 * @zerocopy: the application expects a notification
 * @device: a device is to seal the packets
 * @sealed: the packets are sealed, or left to a device; errors of the stack
 *	    from here on are losses
 */
struct quic_tx {
	struct udp_ulp_tx ulp;
	const struct udp_ulp_ops *ops;
	struct quic_flows *fs;
	struct sock *sk;
	struct msghdr *msg;
	struct quic_tx_ancillary_data anc;
	bool has_anc;
	unsigned int gso_size;
	struct quic_batch batch;
	struct quic_tuple tuple;
	struct ubuf_info *uarg;
	enum quic_reason reason;
	bool zerocopy;
	bool device;
	bool sealed;
};

static int quic_tx_refuse(struct quic_tx *tx, enum quic_reason reason, int err)
{
	tx->reason = reason;
	return err;
}

static int quic_getfrag(void *from, char *to, int offset, int len, int odd,
			struct sk_buff *skb)
{
	struct quic_tx *tx = container_of(from, struct quic_tx, ulp);
	const struct quic_layout *l = &tx->batch.layout;
	unsigned int pkt = offset / l->stride;
	unsigned int pos = offset % l->stride;
	unsigned int size, n;

	if (l->tag_room)
		return copy_from_iter_full(to, len, &tx->msg->msg_iter) ?
		       0 : -EFAULT;

	for (; len; len -= n, to += n, pos += n) {
		size = quic_layout_pkt_len(l, pkt);
		if (pos == size) {
			size = quic_layout_pkt_len(l, ++pkt);
			pos = 0;
		}
		if (pos < size - QUIC_TAG_SIZE) {
			n = min_t(unsigned int, len,
				  size - QUIC_TAG_SIZE - pos);
			if (!copy_from_iter_full(to, n, &tx->msg->msg_iter))
				return -EFAULT;
		} else {
			n = min_t(unsigned int, len, size - pos);
			memset(to, 0, n);
		}
	}
	return 0;
}

/* Refuse what UDP would only refuse after the packets were sealed, with UDP's
 * own errors, and what would be fragmented by IP (RFC 9000 14).
 */
static int quic_tx_check_skb(struct quic_tx *tx, const struct sk_buff *skb,
			     const struct inet_cork *cork)
{
	unsigned int hlen = skb_network_header_len(skb) + sizeof(struct udphdr);

	/* The socket's UDP_SEGMENT changed after it was read */
	if (cork->gso_size != tx->gso_size)
		return quic_tx_refuse(tx, QUIC_REASON_SOCKET, -EINVAL);
	if (skb_has_frag_list(skb) ||
	    hlen + quic_batch_pkt_len(&tx->batch, 0) > cork->fragsize)
		return quic_tx_refuse(tx, QUIC_REASON_MTU, -EMSGSIZE);
	if (tx->sk->sk_no_check_tx || udp_get_no_check6_tx(tx->sk))
		return quic_tx_refuse(tx, QUIC_REASON_SOCKET, -EINVAL);
	if (tx->batch.layout.npkts > 1 && dst_xfrm(skb_dst(skb)))
		return -EIO;
	return 0;
}

/* Nothing is ever sealed in the application's own pages. Who asked for
 * MSG_ZEROCOPY is told that the data were copied, as by the loopback device.
 */
static int quic_tx_zerocopy(struct quic_tx *tx)
{
	if (!tx->zerocopy)
		return 0;
	tx->uarg = msg_zerocopy_realloc(tx->sk, 0, NULL, false);
	if (!tx->uarg)
		return -ENOBUFS;
	uarg_to_msgzc(tx->uarg)->zerocopy = 0;
	return 0;
}

/* Take the connection ID from a packet, of which @hdr has the first bytes, at
 * most QUIC_MAX_HDR_SIZE. quic_batch_parse() checks the header later.
 */
static int quic_tx_cid(const struct quic_tx *tx, const u8 *hdr,
		       struct quic_tuple *tuple)
{
	unsigned int len = quic_batch_pkt_len(&tx->batch, 0) - QUIC_TAG_SIZE;
	unsigned int cid_len = tx->batch.cid_len;

	if (hdr[0] & QUIC_HDR_LONG ||
	    len < quic_sample_off(cid_len))
		return -EINVAL;
	tuple->cid_len = cid_len;
	memcpy(tuple->cid, hdr + 1, cid_len);
	return 0;
}

/* Find the flow that the control message or the first packet selects. All
 * packets of the call must have the connection ID of the first one.
 */
static struct quic_flow *quic_tx_flow(struct quic_tx *tx)
{
	struct quic_batch *b = &tx->batch;
	u8 buf[QUIC_MAX_HDR_SIZE];
	struct quic_flow *flow;
	const u8 *hdr;
	int err;

	hdr = skb_header_pointer(b->skb, b->off,
				 min_t(size_t, quic_batch_pkt_len(b, 0),
				       sizeof(buf)), buf);
	if (!hdr)
		return ERR_PTR(-EFAULT);
	err = quic_tx_cid(tx, hdr, &tx->tuple);
	if (err) {
		quic_batch_refuse(b, 0, hdr);
		return ERR_PTR(err);
	}
	b->cid = tx->tuple.cid;
	if (tx->anc.flags & QUIC_TX_FLOW_ID)
		flow = quic_flow_get_id(tx->fs, tx->anc.flow_id);
	else
		flow = quic_flow_get(tx->fs, &tx->tuple);
	return flow ?: ERR_PTR(-ENOENT);
}

static int quic_tx_seal(struct quic_tx *tx, struct quic_flow *flow)
{
	struct quic_batch *b = &tx->batch;
	struct quic_prot prot;
	struct quic_key *key;
	int near, err = 0;

	key = quic_flow_get_key(flow, b->phase);
	if (IS_ERR(key))
		return PTR_ERR(key);

	near = quic_key_reserve(key, flow->path_id, b->pkts, b->layout.npkts);
	if (near < 0) {
		err = near;
		goto out;
	}
	tx->device = quic_offload_xmit(tx->sk, flow, key, b);
	if (!tx->device) {
		prot = quic_key_prot(key, flow->path_id, &flow->hp);
		err = quic_seal(&prot, b);
	}
	if (err)
		quic_key_release(key, flow->path_id, b->pkts, b->layout.npkts);
	/* After an error, too: others may have gone on from here */
	if (near)
		quic_nl_notify_tx_limit(tx->fs, flow);
out:
	quic_key_put(key);
	return err;
}

static int quic_tx_flow_seal(struct quic_tx *tx, struct quic_flow *flow)
{
	struct quic_batch *b = &tx->batch;
	int err;

	err = quic_batch_alloc(b, GFP_KERNEL);
	if (err)
		return err;
	err = quic_batch_parse(b, tx->anc.next_pkt_num);
	if (!err)
		err = quic_tx_seal(tx, flow);
	quic_batch_free(b);
	return err;
}

static void quic_tx_count(const struct quic_tx *tx)
{
	const struct quic_layout *l = &tx->batch.layout;
	struct net *net = sock_net(tx->sk);

	if (tx->device) {
		QUIC_ADD_STATS(net, TX_DEVICE_PACKETS, l->npkts);
		QUIC_ADD_STATS(net, TX_DEVICE_BYTES, l->wire_len);
	} else {
		QUIC_ADD_STATS(net, TX_SW_PACKETS, l->npkts);
		QUIC_ADD_STATS(net, TX_SW_BYTES, l->wire_len);
	}
	quic_counts_add(&tx->fs->counts, tx->device, l->npkts);
}

/* Find the flow, and seal */
static int quic_tx_protect(struct quic_tx *tx)
{
	struct quic_flow *flow;
	int err;

	flow = quic_tx_flow(tx);
	if (IS_ERR(flow))
		return PTR_ERR(flow);
	err = quic_tx_flow_seal(tx, flow);
	quic_flow_put(flow);
	return err;
}

/* UDP has chosen who computes the checksum. None was computed while the packets
 * were copied, as it would have been that of the plaintext. Software GSO
 * computes those of its packets.
 */
static void quic_tx_checksum(const struct quic_tx *tx, struct sk_buff *skb)
{
	const struct quic_layout *l = &tx->batch.layout;

	if (tx->device)
		skb->ip_summed = CHECKSUM_PARTIAL;
	else if (skb->ip_summed != CHECKSUM_PARTIAL && l->npkts == 1)
		skb->csum = skb_checksum(skb, tx->batch.off, l->wire_len, 0);
}

static int quic_tx_finish(struct udp_ulp_tx *ulp, struct sk_buff *skb,
			  struct inet_cork *cork)
{
	struct quic_tx *tx = container_of(ulp, struct quic_tx, ulp);
	int err;

	tx->reason = QUIC_REASON_NONE;
	err = quic_tx_check_skb(tx, skb, cork);
	if (!err)
		err = quic_tx_zerocopy(tx);
	if (err)
		return err;
	/* UDP refuses even a single packet over IPsec if it has a GSO size */
	if (tx->batch.layout.npkts == 1)
		cork->gso_size = 0;
	tx->batch.skb = skb;
	tx->batch.off = skb_transport_offset(skb) + sizeof(struct udphdr);
	err = quic_tx_protect(tx);
	if (err) {
		net_zcopy_put_abort(tx->uarg, true);
		return err;
	}
	net_zcopy_put(tx->uarg);
	quic_tx_checksum(tx, skb);
	tx->sealed = true;
	quic_tx_count(tx);
	return 0;
}

static int quic_tx_cmsg(struct quic_tx *tx, const struct cmsghdr *cmsg)
{
	bool again = tx->has_anc;

	switch (cmsg->cmsg_type) {
	case UDP_SEGMENT:
		if (cmsg->cmsg_len == CMSG_LEN(sizeof(__u16)))
			tx->gso_size = *(__u16 *)CMSG_DATA(cmsg);
		return 0;
	case UDP_QUIC_ENCRYPT:
		tx->has_anc = true;
		tx->ulp.cmsg_ops = tx->ops;
		if (again || cmsg->cmsg_len != CMSG_LEN(sizeof(tx->anc)))
			return quic_tx_refuse(tx, QUIC_REASON_CMSG, -EINVAL);
		/* Its data may be less aligned than the struct requires */
		memcpy(&tx->anc, CMSG_DATA(cmsg), sizeof(tx->anc));
		return 0;
	default:
		return 0;
	}
}

/* Only our control messages are parsed here; UDP validates the others later. A
 * malformed one is refused now, as it could hide ours.
 */
static int quic_tx_cmsgs(struct quic_tx *tx)
{
	struct cmsghdr *cmsg;
	int err;

	for_each_cmsghdr(cmsg, tx->msg) {
		if (!CMSG_OK(tx->msg, cmsg))
			return quic_tx_refuse(tx, QUIC_REASON_CMSG, -EINVAL);
		if (cmsg->cmsg_level != SOL_UDP)
			continue;
		err = quic_tx_cmsg(tx, cmsg);
		if (err)
			return err;
	}
	return 0;
}

/* Destination as the application passed it, before BPF or NAT change it. Only
 * UDP looks at the destination of a flow that is selected by its id.
 */
static int quic_tx_dst(struct quic_tx *tx)
{
	const struct sockaddr *sa = tx->msg->msg_name;
	unsigned int len = tx->msg->msg_namelen;
	struct sockaddr_in sin;

	if (tx->anc.flags & QUIC_TX_FLOW_ID)
		return 0;
	if (!sa)
		return quic_tuple_set_connected(&tx->tuple, tx->sk);
	if (len < sizeof(sin) || sa->sa_family != AF_UNSPEC)
		return quic_tuple_set_dst(&tx->tuple, tx->sk, sa, len);

	/* What UDP makes of AF_UNSPEC depends on the socket */
	if (tx->sk->sk_family == AF_INET6)
		return quic_tuple_set_connected(&tx->tuple, tx->sk);
	sin = *(const struct sockaddr_in *)sa;
	sin.sin_family = AF_INET;
	return quic_tuple_set_dst(&tx->tuple, tx->sk, &sin, sizeof(sin));
}

/* The keys of all flows exceed the cache: prefetch those of this flow while the
 * packets are being copied. The user can still change the packets, so that
 * nothing but the prefetch may rely on the header that is read here.
 */
static void quic_tx_prefetch(const struct quic_tx *tx)
{
	unsigned int len = quic_batch_pkt_len(&tx->batch, 0) - QUIC_TAG_SIZE;
	struct iov_iter *from = &tx->msg->msg_iter;
	struct quic_tuple tuple = tx->tuple;
	u64 pn = tx->anc.next_pkt_num;
	u8 hdr[QUIC_MAX_HDR_SIZE];
	size_t want, got;

	if (tx->anc.flags & QUIC_TX_FLOW_ID) {
		quic_flow_prefetch_id(tx->fs, tx->anc.flow_id, pn);
		return;
	}
	want = min_t(size_t, len, sizeof(hdr));
	got = copy_from_iter(hdr, want, from);
	iov_iter_revert(from, got);
	if (got == want && !quic_tx_cid(tx, hdr, &tuple))
		quic_flow_prefetch(tx->fs, &tuple, pn);
}

static int quic_tx_check_anc(struct quic_tx *tx)
{
	const struct quic_tx_ancillary_data *anc = &tx->anc;

	if (anc->flags & ~(QUIC_TX_TAG_ROOM | QUIC_TX_FLOW_ID))
		return quic_tx_refuse(tx, QUIC_REASON_FLAGS, -EINVAL);
	if (anc->conn_id_length > QUIC_MAX_CONNECTION_ID_SIZE)
		return quic_tx_refuse(tx, QUIC_REASON_CID_LEN, -EINVAL);
	if (anc->next_pkt_num > QUIC_MAX_PKT_NUM)
		return quic_tx_refuse(tx, QUIC_REASON_NEXT_PKT_NUM, -EINVAL);
	return 0;
}

static int quic_tx_check_msg(struct quic_tx *tx)
{
	struct msghdr *msg = tx->msg;

	/* Pages that are spliced are not the kernel's to seal in */
	if (msg->msg_flags & (MSG_OOB | MSG_SPLICE_PAGES))
		return -EOPNOTSUPP;
	/* io_uring notes by itself that its notification was not used */
	tx->zerocopy = msg->msg_flags & MSG_ZEROCOPY && !msg->msg_ubuf &&
		       sock_flag(tx->sk, SOCK_ZEROCOPY);
	msg->msg_flags &= ~MSG_ZEROCOPY;
	return 0;
}

static int quic_tx_prepare(struct quic_tx *tx, size_t len)
{
	const struct quic_tx_ancillary_data *anc = &tx->anc;
	struct quic_layout *l = &tx->batch.layout;
	int err;

	err = quic_tx_check_anc(tx);
	if (!err)
		err = quic_tx_check_msg(tx);
	if (err)
		return err;
	err = quic_tx_dst(tx);
	if (err)
		return err;
	err = quic_layout_init(l, len, tx->gso_size,
			       anc->flags & QUIC_TX_TAG_ROOM);
	if (err)
		return quic_tx_refuse(tx, QUIC_REASON_LAYOUT, err);
	tx->batch.cid_len = anc->conn_id_length;
	if (quic_flows_many(tx->fs))
		quic_tx_prefetch(tx);
	tx->ulp.getfrag = quic_getfrag;
	tx->ulp.finish = quic_tx_finish;
	tx->ulp.room = l->wire_len - l->user_len;
	/* The reason of whatever fails before quic_tx_finish() is called */
	tx->reason = QUIC_REASON_UDP;
	return 0;
}

static void quic_tx_trace(const struct quic_tx *tx, int err)
{
	const struct quic_batch *b = &tx->batch;
	enum quic_reason reason = b->reason ?: tx->reason;
	int pkt = b->reason ? b->refused : -1;

	trace_quic_seal_error(tx->fs, b->layout.npkts, pkt, reason, err);
}

static void quic_tx_count_error(const struct quic_tx *tx, int err)
{
	struct net *net = sock_net(tx->sk);

	/* The program will repeat the call */
	if (err == -EAGAIN || err == -EINTR || err == -ERESTARTSYS)
		return;
	QUIC_INC_STATS(net, TX_SW_ERROR);
	switch (err) {
	case -ENOENT:
		QUIC_INC_STATS(net, TX_NO_FLOW);
		break;
	case -ENOKEY:
		QUIC_INC_STATS(net, TX_NO_KEY);
		break;
	case -EALREADY:
		QUIC_INC_STATS(net, TX_PKT_NUM_REUSE);
		break;
	case -EKEYEXPIRED:
		QUIC_INC_STATS(net, TX_KEY_LIMIT);
		break;
	case -EINVAL:
	case -EBADMSG:
	case -EMSGSIZE:
		QUIC_INC_STATS(net, TX_MALFORMED);
		break;
	default:
		QUIC_INC_STATS(net, TX_OTHER_ERROR);
	}
	quic_tx_trace(tx, err);
}

/* The packets were sealed, and their numbers are used up: like a packet that is
 * dropped further on, they are lost. An error would let the program believe
 * that it may use the numbers again.
 */
static void quic_tx_count_loss(struct quic_tx *tx, int err)
{
	QUIC_ADD_STATS(sock_net(tx->sk), TX_LOST, tx->batch.layout.npkts);
	tx->reason = QUIC_REASON_LOST;
	quic_tx_trace(tx, err);
}

/**
 * quic_sendmsg - sendmsg() of a socket that the ULP is attached to
 * @sk: socket
 * @ulp: state of this ULP
 * @msg: message, with control messages
 * @len: bytes in @msg
 * @send: UDP's own sendmsg()
 *
 * Context: process, socket not locked.
 * Return: @len, or a negative error: the packets were not sealed.
 */
int quic_sendmsg(struct sock *sk, struct udp_ulp *ulp, struct msghdr *msg,
		 size_t len, udp_ulp_send_t send)
{
	struct quic_tx tx = {
		.ops = ulp->ops,
		.fs = quic_sock_tx(ulp),
		.sk = sk,
		.msg = msg,
		.gso_size = READ_ONCE(udp_sk(sk)->gso_size),
	};
	int err;

	err = quic_tx_cmsgs(&tx);
	if (!tx.has_anc)
		return err ?: send(sk, msg, len, NULL);
	if (!err && tx.anc.flags == QUIC_BYPASS_ENCRYPTION)
		return send(sk, msg, len, &tx.ulp);
	if (!err)
		err = quic_tx_prepare(&tx, len);
	if (!err)
		err = send(sk, msg, len, &tx.ulp);
	if (err >= 0)
		return err;
	if (!tx.sealed) {
		quic_tx_count_error(&tx, err);
		return err;
	}
	quic_tx_count_loss(&tx, err);
	return len;
}
