// SPDX-License-Identifier: GPL-2.0
/*
 * QUIC packet protection: sendmsg()
 *
 * quic_sendmsg() reads the control message and calls UDP's own sendmsg(), which
 * calls back twice: quic_getfrag() copies the user's packets into the skb and
 * leaves gaps for the tags, quic_tx_finish() then seals them there. Everything
 * about the packets is read from the skb, as the user can change his copy.
 */

#include <linux/ipv6.h>
#include <linux/net.h>
#include <linux/slab.h>
#include <linux/uio.h>
#include <net/inet_sock.h>
#include <net/quic.h>
#include <net/sock.h>
#include <net/udp.h>
#include <net/xfrm.h>

#include "quic.h"
#include "trace.h"

/**
 * struct quic_tx - one sendmsg() call
 * @ulp: what UDP sees of it
 * @qs: socket
 * @sk: socket
 * @msg: the user's packets
 * @anc: the control message
 * @has_anc: there was one
 * @gso_size: packets' size on the wire, 0 for a single packet
 * @layout: where they are
 * @dst: destination as the application gave it, to find the flow
 * @pkt: the packet, where it is a single one
 * @device: the packets were left to a device to seal
 * @sealed: the packets were sealed or are left to a device; what fails later is
 *	    not our failure
 */
struct quic_tx {
	struct udp_ulp_tx ulp;
	struct quic_sock *qs;
	struct sock *sk;
	struct msghdr *msg;
	struct quic_tx_ancillary_data anc;
	bool has_anc;
	unsigned int gso_size;
	struct quic_layout layout;
	struct quic_flow_key dst;
	struct quic_pkt pkt;
	bool device;
	bool sealed;
};

static int quic_getfrag(void *from, char *to, int offset, int len, int odd,
			struct sk_buff *skb)
{
	struct quic_tx *tx = container_of(from, struct quic_tx, ulp);
	unsigned int pkt = offset / tx->layout.stride;
	unsigned int pos = offset % tx->layout.stride;
	unsigned int size, n;

	if (tx->layout.tag_room)
		return copy_from_iter_full(to, len, &tx->msg->msg_iter) ?
		       0 : -EFAULT;

	for (; len; len -= n, to += n, pos += n) {
		size = quic_layout_pkt_len(&tx->layout, pkt);
		if (pos == size) {
			size = quic_layout_pkt_len(&tx->layout, ++pkt);
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

/* Refuse now what UDP would only refuse after the packets were sealed, and what
 * would make IP fragments of them (RFC 9000 14).
 */
static int quic_tx_check_skb(const struct quic_tx *tx, struct sk_buff *skb,
			     const struct inet_cork *cork)
{
	unsigned int hlen = skb_network_header_len(skb) + sizeof(struct udphdr);

	/* UDP_SEGMENT was set while we looked at it */
	if (cork->gso_size != tx->gso_size)
		return -EINVAL;
	if (skb_has_frag_list(skb) ||
	    hlen + quic_layout_pkt_len(&tx->layout, 0) > cork->fragsize)
		return -EMSGSIZE;
	if (tx->sk->sk_no_check_tx || udp_get_no_check6_tx(tx->sk))
		return -EINVAL;
	if (tx->gso_size && dst_xfrm(skb_dst(skb)))
		return -EOPNOTSUPP;
	return 0;
}

/* What the flow's identity is in a packet's header. @hdr has what there is of
 * the packet, up to QUIC_MAX_HDR_SIZE bytes. What more there is to be said of
 * the header is for quic_pkts_parse() to say.
 */
static int quic_tx_flow_key(const struct quic_tx *tx, const u8 *hdr,
			    struct quic_flow_key *key)
{
	unsigned int len = quic_layout_pkt_len(&tx->layout, 0) - QUIC_TAG_SIZE;
	unsigned int cid_len = tx->anc.conn_id_length;

	if (hdr[0] & QUIC_HDR_LONG ||
	    len < 1 + cid_len + QUIC_MAX_PKT_NUM_LEN)
		return -EINVAL;
	*key = tx->dst;
	key->cid_len = cid_len;
	memcpy(key->cid, hdr + 1, cid_len);
	return 0;
}

/* The flow that the control message and the first packet ask for */
static struct quic_flow *quic_tx_flow(const struct quic_tx *tx,
				      const struct sk_buff *skb,
				      unsigned int off)
{
	unsigned int len = quic_layout_pkt_len(&tx->layout, 0);
	struct quic_flow_key key;
	u8 hdr[QUIC_MAX_HDR_SIZE];
	struct quic_flow *flow;
	int err;

	if (tx->anc.flags & QUIC_TX_FLOW_ID) {
		flow = quic_flow_get_id(tx->qs, tx->anc.flow_id);
		return flow ?: ERR_PTR(-ENOENT);
	}
	err = skb_copy_bits(skb, off, hdr, min_t(size_t, len, sizeof(hdr)));
	if (!err)
		err = quic_tx_flow_key(tx, hdr, &key);
	if (err)
		return ERR_PTR(err);
	flow = quic_flow_get(tx->qs, &key);
	return flow ?: ERR_PTR(-ENOENT);
}

static int quic_tx_seal(struct quic_tx *tx, struct sk_buff *skb,
			unsigned int off, struct quic_flow *flow,
			const struct quic_pkt *pkts)
{
	struct quic_key *key;
	int err;

	key = quic_flow_key_get(flow, pkts[0].phase);
	if (IS_ERR(key))
		return PTR_ERR(key);

	err = quic_key_reserve(key, pkts, tx->layout.npkts);
	if (err)
		goto out;
	if (quic_dev_seal(tx->sk, flow, key, skb, off, &tx->layout, pkts)) {
		tx->device = true;
		goto out;
	}
	err = quic_seal(key, &flow->hp, skb, off, &tx->layout, pkts,
			flow->key.cid_len);
	if (err)
		quic_key_release(key, pkts, tx->layout.npkts);
out:
	quic_key_put(key);
	return err;
}

static int quic_tx_flow_seal(struct quic_tx *tx, struct sk_buff *skb,
			     unsigned int off, struct quic_flow *flow)
{
	const struct quic_flow_key *key = &flow->key;
	struct quic_pkt *pkts = &tx->pkt;
	int err;

	if (tx->anc.conn_id_length != key->cid_len)
		return -EINVAL;
	if (tx->layout.npkts > 1) {
		pkts = kmalloc_array(tx->layout.npkts, sizeof(*pkts),
				     GFP_KERNEL);
		if (!pkts)
			return -ENOMEM;
	}
	err = quic_pkts_parse(pkts, skb, off, &tx->layout, key->cid,
			      key->cid_len, tx->anc.next_pkt_num);
	if (!err)
		err = quic_tx_seal(tx, skb, off, flow, pkts);
	if (pkts != &tx->pkt)
		kfree(pkts);
	return err;
}

static int quic_tx_finish(struct udp_ulp_tx *ulp, struct sk_buff *skb,
			  const struct inet_cork *cork)
{
	unsigned int off = skb_transport_offset(skb) + sizeof(struct udphdr);
	struct quic_tx *tx = container_of(ulp, struct quic_tx, ulp);
	struct net *net = sock_net(tx->sk);
	struct quic_flow *flow;
	int err;

	err = quic_tx_check_skb(tx, skb, cork);
	if (err)
		return err;
	flow = quic_tx_flow(tx, skb, off);
	if (IS_ERR(flow))
		return PTR_ERR(flow);
	err = quic_tx_flow_seal(tx, skb, off, flow);
	quic_flow_put(flow);
	if (err)
		return err;

	/* The payload is not what getfrag produced */
	skb->ip_summed = CHECKSUM_PARTIAL;
	tx->sealed = true;
	if (tx->device) {
		QUIC_ADD_STATS(net, TX_DEVICE_PACKETS, tx->layout.npkts);
		QUIC_ADD_STATS(net, TX_DEVICE_BYTES, tx->layout.wire_len);
		return 0;
	}
	QUIC_ADD_STATS(net, TX_SW_PACKETS, tx->layout.npkts);
	QUIC_ADD_STATS(net, TX_SW_BYTES, tx->layout.wire_len);
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
		if (again || cmsg->cmsg_len != CMSG_LEN(sizeof(tx->anc)))
			return -EINVAL;
		/* It may stand less aligned than it wants to be */
		memcpy(&tx->anc, CMSG_DATA(cmsg), sizeof(tx->anc));
		return 0;
	default:
		return 0;
	}
}

/* UDP reads all of them again, so what is not ours is refused there, but for
 * what may hide one that is.
 */
static int quic_tx_cmsgs(struct quic_tx *tx)
{
	struct cmsghdr *cmsg;
	int err;

	for_each_cmsghdr(cmsg, tx->msg) {
		if (!CMSG_OK(tx->msg, cmsg))
			return -EINVAL;
		if (cmsg->cmsg_level != SOL_UDP)
			continue;
		err = quic_tx_cmsg(tx, cmsg);
		if (err)
			return err;
	}
	return 0;
}

/* Where a message goes that has no address, or one of AF_UNSPEC */
static int quic_tx_dst_connected(struct quic_tx *tx)
{
	struct quic_flow_key *dst = &tx->dst;
	const struct sock *sk = tx->sk;

	if (sk->sk_state != TCP_ESTABLISHED)
		return -EDESTADDRREQ;
	dst->port = inet_sk(sk)->inet_dport;
	dst->family = AF_INET;
	dst->addr.s6_addr32[0] = inet_sk(sk)->inet_daddr;
#if IS_ENABLED(CONFIG_IPV6)
	if (sk->sk_family != AF_INET6)
		return 0;
	if (ipv6_addr_v4mapped(&sk->sk_v6_daddr)) {
		dst->addr.s6_addr32[0] = sk->sk_v6_daddr.s6_addr32[3];
		return 0;
	}
	dst->family = AF_INET6;
	dst->addr = sk->sk_v6_daddr;
	if (__ipv6_addr_needs_scope_id(ipv6_addr_type(&dst->addr)))
		dst->scope = READ_ONCE(sk->sk_bound_dev_if);
#endif
	return 0;
}

/* Where the application sends to, whatever becomes of that further down */
static int quic_tx_dst(struct quic_tx *tx)
{
	const struct sockaddr *sa = tx->msg->msg_name;
	unsigned int len = tx->msg->msg_namelen;
	struct sockaddr_in sin;

	if (!sa)
		return quic_tx_dst_connected(tx);
	if (len < sizeof(sin) || sa->sa_family != AF_UNSPEC)
		return quic_flow_key_set_dst(&tx->dst, tx->sk, sa, len);

	/* What UDP makes of AF_UNSPEC depends on the socket */
	if (tx->sk->sk_family == AF_INET6)
		return quic_tx_dst_connected(tx);
	sin = *(const struct sockaddr_in *)sa;
	sin.sin_family = AF_INET;
	return quic_flow_key_set_dst(&tx->dst, tx->sk, &sin, sizeof(sin));
}

/* Where the keys of all flows do not fit into the cache, let those of this one
 * come while the packets are being copied. The user can change his packets:
 * what is found here is good for nothing else.
 */
static void quic_tx_prefetch(const struct quic_tx *tx)
{
	unsigned int len = quic_layout_pkt_len(&tx->layout, 0) - QUIC_TAG_SIZE;
	struct iov_iter *from = &tx->msg->msg_iter;
	u64 pn = tx->anc.next_pkt_num;
	struct quic_flow_key key;
	u8 hdr[QUIC_MAX_HDR_SIZE];
	size_t want, got;

	if (tx->anc.flags & QUIC_TX_FLOW_ID) {
		quic_flow_prefetch_id(tx->qs, tx->anc.flow_id, pn);
		return;
	}
	want = min_t(size_t, len, sizeof(hdr));
	got = copy_from_iter(hdr, want, from);
	iov_iter_revert(from, got);
	if (got == want && !quic_tx_flow_key(tx, hdr, &key))
		quic_flow_prefetch(tx->qs, &key, pn);
}

static int quic_tx_prepare(struct quic_tx *tx, size_t len)
{
	const struct quic_tx_ancillary_data *anc = &tx->anc;
	int err;

	if (anc->flags & ~(QUIC_TX_TAG_ROOM | QUIC_TX_FLOW_ID))
		return -EINVAL;
	if (anc->conn_id_length > QUIC_MAX_CONNECTION_ID_SIZE ||
	    anc->next_pkt_num > QUIC_MAX_PKT_NUM)
		return -EINVAL;
	/* The user's pages are his: nothing is sealed in them */
	if (tx->msg->msg_flags & (MSG_ZEROCOPY | MSG_SPLICE_PAGES))
		return -EOPNOTSUPP;
	err = quic_tx_dst(tx);
	if (err)
		return err;
	err = quic_layout_init(&tx->layout, len, tx->gso_size,
			       anc->flags & QUIC_TX_TAG_ROOM);
	if (err)
		return err;
	if (quic_flows_many(tx->qs))
		quic_tx_prefetch(tx);
	tx->ulp.getfrag = quic_getfrag;
	tx->ulp.finish = quic_tx_finish;
	tx->ulp.room = tx->layout.wire_len - tx->layout.user_len;
	return 0;
}

static void quic_tx_count_error(const struct quic_tx *tx, int err)
{
	struct net *net = sock_net(tx->sk);

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
	case -EMSGSIZE:
		QUIC_INC_STATS(net, TX_MALFORMED);
		break;
	default:
		QUIC_INC_STATS(net, TX_OTHER_ERROR);
	}
	trace_quic_seal_error(tx->qs, tx->layout.npkts, err);
}

/**
 * quic_sendmsg - sendmsg() of a socket that the ULP is attached to
 * @sk: socket
 * @ulp: our state
 * @msg: message, with control messages
 * @len: bytes in it
 * @send: UDP's own sendmsg()
 *
 * Context: process, socket not locked.
 * Return: @len, or a negative error.
 */
int quic_sendmsg(struct sock *sk, struct udp_ulp *ulp, struct msghdr *msg,
		 size_t len, udp_ulp_send_t send)
{
	struct quic_tx tx = {
		.qs = quic_sock(ulp),
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
	if (err < 0 && err != -EAGAIN && !tx.sealed)
		quic_tx_count_error(&tx, err);
	return err;
}
