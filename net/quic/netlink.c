// SPDX-License-Identifier: GPL-2.0
/*
 * QUIC packet protection: the flows of a network namespace, by generic netlink.
 * Documentation/netlink/specs/quic-crypto.yaml describes the messages, which
 * never contain keys.
 */

#include <linux/sched/signal.h>
#include <net/genetlink.h>
#include <net/sock.h>

#include "net.h"
#include "netlink.h"
#include "netlink_gen.h"
#include "sock.h"

/* Bytes of a message: what flows have in common, three generations; a match */
#define QUIC_NL_FLOW_SIZE	448
#define QUIC_NL_MATCH_SIZE	64

static const u8 quic_nl_cmd[] = {
	[QUIC_NL_ADD]		= QUIC_CRYPTO_CMD_FLOW_ADD_NTF,
	[QUIC_NL_UPDATE]	= QUIC_CRYPTO_CMD_FLOW_UPDATE_NTF,
	[QUIC_NL_DEL]		= QUIC_CRYPTO_CMD_FLOW_DEL_NTF,
	[QUIC_NL_LIMIT]		= QUIC_CRYPTO_CMD_FLOW_LIMIT_NTF,
};

/**
 * struct quic_nl_dump - how far a dump has come, in netlink_callback.ctx
 * @sock: number of the socket that is next, see quic_sock.number
 * @direction: direction of its flows that is next
 * @flows: flows of that direction that the dump has passed
 */
struct quic_nl_dump {
	u32 sock;
	unsigned long flows;
	unsigned int direction;
};

/**
 * struct quic_nl_msg - a message about a flow
 * @skb: filled in
 * @net: network namespace
 * @sock: socket of the flow
 * @user_ns: namespace of the users that read it
 */
struct quic_nl_msg {
	struct sk_buff *skb;
	struct net *net;
	struct quic_sock_id sock;
	struct user_namespace *user_ns;
};

/**
 * struct quic_nl_call - a call of the dump function
 * @msg: message of the flow that is next
 * @cb: dump
 * @ifindex: only flows with a key in this device; 0: all flows
 */
struct quic_nl_call {
	struct quic_nl_msg msg;
	struct netlink_callback *cb;
	u32 ifindex;
};

/**
 * struct quic_nl_flow - a flow
 * @direction: enum quic_crypto_direction
 * @id: handle chosen by the application
 * @path_id: path of multipath QUIC
 * @cipher: TLS_CIPHER_*
 * @user: user for whom the flow counts, NULL if for nobody
 * @info: its generations
 */
struct quic_nl_flow {
	u32 direction;
	u32 id;
	u32 path_id;
	u16 cipher;
	const struct quic_user *user;
	struct quic_info info;
};

static int quic_nl_put_addr(struct sk_buff *skb, const struct quic_tuple *tuple)
{
	unsigned int len = tuple->family == AF_INET ? sizeof(struct in_addr) :
						      sizeof(struct in6_addr);

	if (tuple->family == AF_UNSPEC)
		return 0;
	if (nla_put(skb, QUIC_CRYPTO_A_MATCH_ADDR, len, &tuple->addr) ||
	    nla_put_be16(skb, QUIC_CRYPTO_A_MATCH_PORT, tuple->port))
		return -EMSGSIZE;
	if (!tuple->scope)
		return 0;
	return nla_put_u32(skb, QUIC_CRYPTO_A_MATCH_SCOPE, tuple->scope);
}

static int quic_nl_put_match(struct sk_buff *skb,
			     const struct quic_tuple *tuple)
{
	struct nlattr *nest = nla_nest_start(skb, QUIC_CRYPTO_A_FLOW_MATCH);

	if (!nest || quic_nl_put_addr(skb, tuple) ||
	    nla_put(skb, QUIC_CRYPTO_A_MATCH_CONN_ID, tuple->cid_len,
		    tuple->cid))
		return -EMSGSIZE;
	nla_nest_end(skb, nest);
	return 0;
}

static int quic_nl_put_generation(struct sk_buff *skb,
				  const struct quic_info_generation *gen)
{
	struct nlattr *nest = nla_nest_start(skb,
					     QUIC_CRYPTO_A_FLOW_GENERATION);

	if (!nest ||
	    nla_put_u8(skb, QUIC_CRYPTO_A_GENERATION_GEN, gen->gen) ||
	    nla_put_uint(skb, QUIC_CRYPTO_A_GENERATION_PACKETS, gen->sealed) ||
	    nla_put_uint(skb, QUIC_CRYPTO_A_GENERATION_REMAINING,
			 gen->remaining) ||
	    nla_put_uint(skb, QUIC_CRYPTO_A_GENERATION_NEXT_PKT_NUM,
			 gen->next_pkt_num))
		return -EMSGSIZE;
	if (gen->ifindex && nla_put_u32(skb, QUIC_CRYPTO_A_GENERATION_IFINDEX,
					gen->ifindex))
		return -EMSGSIZE;
	nla_nest_end(skb, nest);
	return 0;
}

static int quic_nl_put_generations(struct sk_buff *skb,
				   const struct quic_info *info)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(info->generations); i++) {
		if (info->generations[i].installed &&
		    quic_nl_put_generation(skb, &info->generations[i]))
			return -EMSGSIZE;
	}
	return 0;
}

static int quic_nl_put_owner(const struct quic_nl_msg *msg,
			     const struct quic_nl_flow *f)
{
	struct sk_buff *skb = msg->skb;
	uid_t uid;

	if (nla_put_uint(skb, QUIC_CRYPTO_A_FLOW_SOCK_COOKIE,
			 msg->sock.cookie) ||
	    nla_put_uint(skb, QUIC_CRYPTO_A_FLOW_SOCK_INO, msg->sock.ino))
		return -EMSGSIZE;
	if (!f->user)
		return 0;
	uid = from_kuid_munged(msg->user_ns, quic_user_uid(f->user));
	return nla_put_u32(skb, QUIC_CRYPTO_A_FLOW_UID, uid);
}

/* What flows of both directions have; their matches are to follow */
static int quic_nl_put_flow(const struct quic_nl_msg *msg,
			    const struct quic_nl_flow *f)
{
	struct sk_buff *skb = msg->skb;

	if (quic_nl_put_owner(msg, f) ||
	    nla_put_u32(skb, QUIC_CRYPTO_A_FLOW_DIRECTION, f->direction) ||
	    nla_put_u16(skb, QUIC_CRYPTO_A_FLOW_CIPHER, f->cipher))
		return -EMSGSIZE;
	if (f->id && nla_put_u32(skb, QUIC_CRYPTO_A_FLOW_FLOW_ID, f->id))
		return -EMSGSIZE;
	if (f->path_id &&
	    nla_put_u32(skb, QUIC_CRYPTO_A_FLOW_PATH_ID, f->path_id))
		return -EMSGSIZE;
	return quic_nl_put_generations(skb, &f->info);
}

/* All but the generations */
static void quic_nl_tx_flow(struct quic_nl_flow *f,
			    const struct quic_flow *flow)
{
	*f = (struct quic_nl_flow) {
		.direction	= QUIC_CRYPTO_DIRECTION_TX,
		.id		= flow->id,
		.path_id	= flow->path_id,
		.cipher		= flow->hp.cipher->type,
		.user		= flow->charge.user,
	};
}

static void quic_nl_rx_flow(struct quic_nl_flow *f, struct quic_rx_flow *flow)
{
	*f = (struct quic_nl_flow) {
		.direction	= QUIC_CRYPTO_DIRECTION_RX,
		.id		= flow->id,
		.path_id	= flow->path_id,
		.cipher		= flow->hp.cipher->type,
		.user		= flow->charge.user,
	};
	quic_rx_flow_describe(flow, &f->info);
}

static int quic_nl_put_tx_flow(const struct quic_nl_msg *msg,
			       const struct quic_nl_flow *f,
			       const struct quic_flow *flow)
{
	int err = quic_nl_put_flow(msg, f);

	if (err || flow->id)
		return err;
	return quic_nl_put_match(msg->skb, &flow->tuple);
}

/* The caller holds quic_rx_flows.lock */
static int quic_nl_put_rx_flow(const struct quic_nl_msg *msg,
			       const struct quic_nl_flow *f,
			       const struct quic_rx_flow *flow)
{
	const struct quic_rx_match *match;
	int err = quic_nl_put_flow(msg, f);

	list_for_each_entry(match, &flow->matches, list) {
		if (err)
			break;
		err = quic_nl_put_match(msg->skb, &match->tuple);
	}
	return err;
}

static bool quic_nl_in_device(const struct quic_nl_call *call,
			      const struct quic_info *info)
{
	unsigned int i;

	if (!call->ifindex)
		return true;
	for (i = 0; i < ARRAY_SIZE(info->generations); i++) {
		if (info->generations[i].ifindex == call->ifindex)
			return true;
	}
	return false;
}

static void *quic_nl_begin(const struct quic_nl_call *call)
{
	void *hdr = genlmsg_iput(call->msg.skb, genl_info_dump(call->cb));

	if (hdr)
		genl_dump_check_consistent(call->cb, hdr);
	return hdr;
}

static int quic_nl_end(const struct quic_nl_call *call, void *hdr, int err)
{
	if (err)
		genlmsg_cancel(call->msg.skb, hdr);
	else
		genlmsg_end(call->msg.skb, hdr);
	return err;
}

/* The caller holds quic_flows.lock */
static int quic_nl_dump_tx_flow(const struct quic_nl_call *call,
				struct quic_flows *fs,
				const struct quic_flow *flow)
{
	struct quic_nl_flow f;
	void *hdr;

	quic_nl_tx_flow(&f, flow);
	quic_flow_describe(fs, flow, &f.info);
	if (!quic_nl_in_device(call, &f.info))
		return 0;
	hdr = quic_nl_begin(call);
	if (!hdr)
		return -EMSGSIZE;
	return quic_nl_end(call, hdr,
			   quic_nl_put_tx_flow(&call->msg, &f, flow));
}

/* The caller holds quic_rx_flows.lock */
static int quic_nl_dump_rx_flow(const struct quic_nl_call *call,
				struct quic_rx_flow *flow)
{
	struct quic_nl_flow f;
	void *hdr;

	quic_nl_rx_flow(&f, flow);
	if (!quic_nl_in_device(call, &f.info))
		return 0;
	hdr = quic_nl_begin(call);
	if (!hdr)
		return -EMSGSIZE;
	return quic_nl_end(call, hdr,
			   quic_nl_put_rx_flow(&call->msg, &f, flow));
}

static int quic_nl_dump_tx(const struct quic_nl_call *call,
			   struct quic_flows *fs, struct quic_nl_dump *d)
{
	const struct quic_flow *flow;
	unsigned long n = 0;
	int err = 0;

	mutex_lock(&fs->lock);
	list_for_each_entry(flow, &fs->list, list) {
		if (n++ < d->flows)
			continue;
		err = quic_nl_dump_tx_flow(call, fs, flow);
		if (err)
			break;
		d->flows = n;
	}
	mutex_unlock(&fs->lock);
	return err;
}

static int quic_nl_dump_rx(const struct quic_nl_call *call,
			   struct quic_rx_flows *fs, struct quic_nl_dump *d)
{
	struct quic_rx_flow *flow;
	unsigned long n = 0;
	int err = 0;

	mutex_lock(&fs->lock);
	list_for_each_entry(flow, &fs->list, list) {
		if (n++ < d->flows)
			continue;
		err = quic_nl_dump_rx_flow(call, flow);
		if (err)
			break;
		d->flows = n;
	}
	mutex_unlock(&fs->lock);
	return err;
}

static bool quic_nl_wants_direction(struct netlink_callback *cb,
				    unsigned int direction)
{
	struct nlattr *attr;

	attr = genl_info_dump(cb)->attrs[QUIC_CRYPTO_A_FLOW_DIRECTION];
	return !attr || nla_get_u32(attr) == direction;
}

static bool quic_nl_wants_sock(struct netlink_callback *cb,
			       const struct quic_sock_id *sock)
{
	struct nlattr *attr;

	attr = genl_info_dump(cb)->attrs[QUIC_CRYPTO_A_FLOW_SOCK_COOKIE];
	return !attr || nla_get_uint(attr) == sock->cookie;
}

static int quic_nl_dump_sock(const struct quic_nl_call *call,
			     struct quic_sock *qs, struct quic_nl_dump *d)
{
	int err = 0;

	while (!err && d->direction <= QUIC_CRYPTO_DIRECTION_RX) {
		if (!quic_nl_wants_direction(call->cb, d->direction))
			err = 0;
		else if (d->direction == QUIC_CRYPTO_DIRECTION_TX)
			err = quic_nl_dump_tx(call, &qs->tx, d);
		else
			err = quic_nl_dump_rx(call, &qs->rx, d);
		if (err)
			break;
		d->direction++;
		d->flows = 0;
	}
	return err;
}

/* A socket may have been closed since the last call */
static void quic_nl_dump_at(struct quic_nl_dump *d, u32 sock)
{
	if (d->sock == sock)
		return;
	d->sock = sock;
	d->direction = QUIC_CRYPTO_DIRECTION_TX;
	d->flows = 0;
}

int quic_crypto_nl_flow_get_start(struct netlink_callback *cb)
{
	cb->min_dump_alloc = QUIC_NL_FLOW_SIZE +
			     QUIC_RX_MAX_MATCHES * QUIC_NL_MATCH_SIZE;
	return 0;
}

/* Sockets without flows, or that nobody has asked for, fill no skb: there may
 * be many of them.
 */
static int quic_nl_dump_pause(const struct sk_buff *skb)
{
	cond_resched();
	if (!signal_pending(current))
		return 0;
	return skb->len ? -EMSGSIZE : -EINTR;
}

int quic_crypto_nl_flow_get_dumpit(struct sk_buff *skb,
				   struct netlink_callback *cb)
{
	const struct genl_info *info = genl_info_dump(cb);
	struct nlattr *dev = info->attrs[QUIC_CRYPTO_A_FLOW_IFINDEX];
	struct quic_crypto_net *qn = quic_crypto_net(genl_info_net(info));
	struct quic_nl_dump *d = (struct quic_nl_dump *)cb->ctx;
	struct quic_nl_call call = {
		.msg.skb	= skb,
		.msg.user_ns	= sk_user_ns(NETLINK_CB(cb->skb).sk),
		.cb		= cb,
		.ifindex	= dev ? nla_get_u32(dev) : 0,
	};
	struct quic_sock_id *sock = &call.msg.sock;
	struct quic_sock *qs;
	int err = 0;

	NL_ASSERT_CTX_FITS(struct quic_nl_dump);
	cb->seq = atomic_read(&qn->changes);
	while (!err && (qs = quic_sock_next(qn, d->sock, sock))) {
		quic_nl_dump_at(d, sock->number);
		if (quic_nl_wants_sock(cb, sock))
			err = quic_nl_dump_sock(&call, qs, d);
		quic_sock_put(qs);
		if (err)
			break;
		quic_nl_dump_at(d, sock->number + 1);
		err = quic_nl_dump_pause(skb);
	}
	return err;
}

/* Listeners learn that they have missed a message that found no memory */
static void quic_nl_notify_end(const struct quic_nl_msg *msg, void *hdr,
			       int err)
{
	if (err) {
		nlmsg_free(msg->skb);
		genl_set_err(&quic_crypto_nl_family, msg->net, 0,
			     QUIC_CRYPTO_NLGRP_FLOWS, -ENOBUFS);
		return;
	}
	genlmsg_end(msg->skb, hdr);
	genlmsg_multicast_netns(&quic_crypto_nl_family, msg->net, msg->skb, 0,
				QUIC_CRYPTO_NLGRP_FLOWS, GFP_KERNEL);
}

/* Begin a notification about a flow with that many matches; NULL if nobody
 * listens, in any network namespace, or there is no memory. The socket is in
 * use, or about to be destroyed.
 */
static void *quic_nl_notify_begin(struct quic_nl_msg *msg,
				  struct quic_sock *qs,
				  enum quic_nl_event event,
				  unsigned int matches)
{
	void *hdr = NULL;

	if (!genl_has_listeners(&quic_crypto_nl_family, msg->net,
				QUIC_CRYPTO_NLGRP_FLOWS))
		return NULL;
	quic_sock_identify(qs, &msg->sock);
	msg->user_ns = msg->net->user_ns;
	msg->skb = genlmsg_new(QUIC_NL_FLOW_SIZE + matches * QUIC_NL_MATCH_SIZE,
			       GFP_KERNEL);
	if (msg->skb)
		hdr = genlmsg_put(msg->skb, 0, 0, &quic_crypto_nl_family, 0,
				  quic_nl_cmd[event]);
	if (!hdr)
		quic_nl_notify_end(msg, NULL, -ENOBUFS);
	return hdr;
}

/* Without quic_flows.lock, the message has no generations */
static void quic_nl_send_tx(struct quic_flows *fs, const struct quic_flow *flow,
			    enum quic_nl_event event, bool locked)
{
	struct quic_sock *qs = container_of(fs, struct quic_sock, tx);
	struct quic_nl_msg msg = { .net = fs->net };
	struct quic_nl_flow f;
	void *hdr;

	hdr = quic_nl_notify_begin(&msg, qs, event, 1);
	if (!hdr)
		return;
	quic_nl_tx_flow(&f, flow);
	if (locked)
		quic_flow_describe(fs, flow, &f.info);
	quic_nl_notify_end(&msg, hdr, quic_nl_put_tx_flow(&msg, &f, flow));
}

/* Without quic_rx_flows.lock, the message has no matches */
static void quic_nl_send_rx(struct quic_rx_flows *fs, struct quic_rx_flow *flow,
			    enum quic_nl_event event, bool locked)
{
	struct quic_sock *qs = container_of(fs, struct quic_sock, rx);
	struct quic_nl_msg msg = { .net = fs->net };
	struct quic_nl_flow f;
	void *hdr;
	int err;

	hdr = quic_nl_notify_begin(&msg, qs, event,
				   locked ? flow->nr_matches : 0);
	if (!hdr)
		return;
	quic_nl_rx_flow(&f, flow);
	err = locked ? quic_nl_put_rx_flow(&msg, &f, flow) :
		       quic_nl_put_flow(&msg, &f);
	quic_nl_notify_end(&msg, hdr, err);
}

/**
 * quic_nl_notify_tx - tell listeners about a flow that sends
 * @fs: flows of the socket, whose lock the caller holds
 * @flow: flow in @fs
 * @event: what has happened, or is about to happen to a flow that is removed
 *
 * Context: process, sleeps.
 */
void quic_nl_notify_tx(struct quic_flows *fs, const struct quic_flow *flow,
		       enum quic_nl_event event)
{
	quic_nl_send_tx(fs, flow, event, true);
}

/**
 * quic_nl_notify_rx - tell listeners about a flow that receives
 * @fs: flows of the socket, whose lock the caller holds
 * @flow: flow in @fs
 * @event: what has happened, or is about to happen to a flow that is removed
 *
 * Context: process, sleeps.
 */
void quic_nl_notify_rx(struct quic_rx_flows *fs, struct quic_rx_flow *flow,
		       enum quic_nl_event event)
{
	quic_nl_send_rx(fs, flow, event, true);
}

/**
 * quic_nl_notify_tx_limit - tell listeners that a key of a flow may seal few
 *			     packets more
 * @fs: flows of the socket
 * @flow: flow in @fs; the caller holds a reference
 *
 * A sender does not wait for those who add and remove flows: meanwhile, the
 * message has no generations.
 *
 * Context: process, sleeps.
 */
void quic_nl_notify_tx_limit(struct quic_flows *fs,
			     const struct quic_flow *flow)
{
	bool locked = mutex_trylock(&fs->lock);

	if (!READ_ONCE(flow->removed))
		quic_nl_send_tx(fs, flow, QUIC_NL_LIMIT, locked);
	if (locked)
		mutex_unlock(&fs->lock);
}

/**
 * quic_nl_notify_rx_limit - tell listeners that few more packets of a flow may
 *			     fail to open
 * @fs: flows of the socket
 * @flow: flow in @fs; the caller holds a reference
 *
 * A receiver does not wait for those who add and remove flows: meanwhile, the
 * message has no matches.
 *
 * Context: process, sleeps.
 */
void quic_nl_notify_rx_limit(struct quic_rx_flows *fs,
			     struct quic_rx_flow *flow)
{
	bool locked = mutex_trylock(&fs->lock);

	quic_nl_send_rx(fs, flow, QUIC_NL_LIMIT, locked);
	if (locked)
		mutex_unlock(&fs->lock);
}

/**
 * quic_netlink_init - register the family
 *
 * Context: process, sleeps.
 * Return: 0 or a negative error.
 */
int __init quic_netlink_init(void)
{
	return genl_register_family(&quic_crypto_nl_family);
}

/**
 * quic_netlink_exit - undo quic_netlink_init()
 *
 * Context: process, sleeps.
 */
void quic_netlink_exit(void)
{
	genl_unregister_family(&quic_crypto_nl_family);
}
