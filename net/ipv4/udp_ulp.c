// SPDX-License-Identifier: GPL-2.0
/*
 * Pluggable upper layer protocols over UDP, after those over TCP
 */

#include <linux/inet_diag.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/net.h>
#include <linux/net_tstamp.h>
#include <linux/skbuff.h>
#include <linux/skmsg.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <net/inet_sock.h>
#include <net/netlink.h>
#include <net/sock.h>
#include <net/udp.h>
#include <net/udp_ulp.h>

static DEFINE_SPINLOCK(udp_ulp_list_lock);
static LIST_HEAD(udp_ulp_list);

DEFINE_STATIC_KEY_FALSE(udp_ulp_needed_key);
EXPORT_SYMBOL_GPL(udp_ulp_needed_key);

static struct udp_ulp_ops *udp_ulp_find(const char *name)
{
	struct udp_ulp_ops *ops;

	list_for_each_entry_rcu(ops, &udp_ulp_list, list,
				lockdep_is_held(&udp_ulp_list_lock)) {
		if (!strcmp(ops->name, name))
			return ops;
	}
	return NULL;
}

/* Find a ULP that owns one of these socket options */
static struct udp_ulp_ops *udp_ulp_find_opt(int first, int last)
{
	struct udp_ulp_ops *ops;

	list_for_each_entry_rcu(ops, &udp_ulp_list, list,
				lockdep_is_held(&udp_ulp_list_lock)) {
		if (first <= ops->last_opt && ops->first_opt <= last)
			return ops;
	}
	return NULL;
}

/* Find a ULP by its name or, if @name is NULL, by an option that it owns. The
 * caller gives back a reference on its module.
 */
static const struct udp_ulp_ops *udp_ulp_lookup(const char *name, int optname)
{
	const struct udp_ulp_ops *ops;

	rcu_read_lock();
	ops = name ? udp_ulp_find(name) : udp_ulp_find_opt(optname, optname);
	if (ops && !try_module_get(ops->owner))
		ops = NULL;
	rcu_read_unlock();
	return ops;
}

/* As for TCP, modules are loaded for administrators only */
static const struct udp_ulp_ops *udp_ulp_autoload(const char *name, int optname)
{
	const struct udp_ulp_ops *ops = udp_ulp_lookup(name, optname);

	if (ops || !capable(CAP_NET_ADMIN))
		return ops;
	if (name)
		request_module("udp-ulp-%s", name);
	else
		request_module("udp-ulp-opt-%d", optname);
	return udp_ulp_lookup(name, optname);
}

static bool udp_ulp_option(int optname)
{
	return optname >= UDP_ULP_FIRST && optname <= UDP_ULP_LAST;
}

static bool udp_ulp_ops_valid(const struct udp_ulp_ops *ops)
{
	return udp_ulp_option(ops->first_opt) &&
	       udp_ulp_option(ops->last_opt) &&
	       ops->first_opt <= ops->last_opt &&
	       (!ops->cmsg || (ops->cmsg >= ops->first_opt &&
			       ops->cmsg <= ops->last_opt));
}

/**
 * udp_register_ulp - make an upper layer protocol known
 * @ops: its description, which must stay
 *
 * Context: process.
 * Return: 0; -EEXIST if the name or one of the options is taken; -EINVAL if
 * the options are not in the range of ULPs, or the control message is not
 * among them.
 */
int udp_register_ulp(struct udp_ulp_ops *ops)
{
	int err = 0;

	if (!udp_ulp_ops_valid(ops))
		return -EINVAL;
	spin_lock(&udp_ulp_list_lock);
	if (udp_ulp_find(ops->name) ||
	    udp_ulp_find_opt(ops->first_opt, ops->last_opt))
		err = -EEXIST;
	else
		list_add_tail_rcu(&ops->list, &udp_ulp_list);
	spin_unlock(&udp_ulp_list_lock);
	return err;
}
EXPORT_SYMBOL_GPL(udp_register_ulp);

/**
 * udp_unregister_ulp - undo udp_register_ulp()
 * @ops: what was registered
 *
 * No socket has it attached any more, as those hold a reference on its module.
 *
 * Context: process, sleeps.
 */
void udp_unregister_ulp(struct udp_ulp_ops *ops)
{
	spin_lock(&udp_ulp_list_lock);
	list_del_rcu(&ops->list);
	spin_unlock(&udp_ulp_list_lock);
	synchronize_rcu();
}
EXPORT_SYMBOL_GPL(udp_unregister_ulp);

static bool udp_ulp_has_psock(struct sock *sk)
{
	bool ret;

	rcu_read_lock();
	ret = sk_psock(sk);
	rcu_read_unlock();
	return ret;
}

static struct udp_ulp *udp_ulp_init(struct sock *sk,
				    const struct udp_ulp_ops *ops)
{
	struct udp_sock *up = udp_sk(sk);
	struct udp_ulp *ulp;

	ulp = rcu_dereference_protected(up->ulp, lockdep_sock_is_held(sk));
	if (ulp)
		return ulp->ops == ops ? ulp : ERR_PTR(-EEXIST);
	if (READ_ONCE(up->encap_type) || udp_ulp_has_psock(sk))
		return ERR_PTR(-EBUSY);

	ulp = ops->init(sk);
	if (IS_ERR(ulp))
		return ulp;
	ulp->ops = ops;
	__module_get(ops->owner);
	/* Never disabled: anyone could make the kernel patch itself all day */
	static_branch_enable(&udp_ulp_needed_key);
	rcu_assign_pointer(up->ulp, ulp);
	/* A reader that sees the bit before the pointer finds no ULP, as if it
	 * had come earlier.
	 */
	udp_set_bit(ULP, sk);
	return ulp;
}

/**
 * udp_ulp_attach - attach an upper layer protocol to a socket
 * @sk: UDP socket
 * @ops: the ULP, on which the caller holds a module reference
 *
 * It stays until the socket is destroyed. Attaching it again is no error.
 *
 * Context: process, sleeps, takes the socket lock.
 * Return: the ULP's state, or an ERR_PTR(): -EINVAL not a UDP socket (UDP-Lite
 * is none), -EEXIST another ULP is attached, -EBUSY the socket encapsulates or
 * is in a sockmap, or what &udp_ulp_ops.init says.
 */
struct udp_ulp *udp_ulp_attach(struct sock *sk, const struct udp_ulp_ops *ops)
{
	struct udp_ulp *ulp;

	if (sk->sk_protocol != IPPROTO_UDP)
		return ERR_PTR(-EINVAL);

	lock_sock(sk);
	ulp = udp_ulp_init(sk, ops);
	release_sock(sk);
	return ulp;
}
EXPORT_SYMBOL_GPL(udp_ulp_attach);

/**
 * udp_ulp_release - let go of a socket's ULP, if it has one
 * @sk: UDP socket that is being destroyed
 *
 * The socket can still be found, for example by socket diagnostics, so RCU
 * readers of the ULP's state may still be there.
 *
 * Context: process, sleeps.
 */
void udp_ulp_release(struct sock *sk)
{
	struct udp_sock *up = udp_sk(sk);
	const struct udp_ulp_ops *ops;
	struct udp_ulp *ulp;

	ulp = rcu_dereference_protected(up->ulp, sock_flag(sk, SOCK_DEAD));
	if (!ulp)
		return;
	ops = ulp->ops;
	RCU_INIT_POINTER(up->ulp, NULL);
	ops->release(ulp);
	module_put(ops->owner);
}

static int udp_ulp_copy_name(char *name, sockptr_t optval, unsigned int optlen)
{
	int len;

	if (!optlen)
		return -EINVAL;
	len = strncpy_from_sockptr(name, optval,
				   min_t(unsigned int, optlen,
					 UDP_ULP_NAME_MAX - 1));
	if (len < 0)
		return -EFAULT;
	name[len] = '\0';
	return 0;
}

/**
 * udp_ulp_attach_name - setsockopt(UDP_ULP)
 * @sk: UDP socket
 * @optval: name of a ULP
 * @optlen: bytes of @optval
 *
 * Context: process, socket not locked.
 * Return: 0, -ENOENT if there is no such ULP, -EINVAL without a name, -EFAULT,
 * or an error of udp_ulp_attach().
 */
int udp_ulp_attach_name(struct sock *sk, sockptr_t optval, unsigned int optlen)
{
	const struct udp_ulp_ops *ops;
	char name[UDP_ULP_NAME_MAX];
	int err;

	err = udp_ulp_copy_name(name, optval, optlen);
	if (err)
		return err;
	ops = udp_ulp_autoload(name, 0);
	if (!ops)
		return -ENOENT;
	err = PTR_ERR_OR_ZERO(udp_ulp_attach(sk, ops));
	module_put(ops->owner);
	return err;
}

/**
 * udp_ulp_setsockopt - socket options of upper layer protocols
 * @sk: UDP socket
 * @optname: option that UDP does not know
 * @optval: value of setsockopt()
 * @optlen: bytes of @optval
 *
 * Context: process, socket not locked.
 * Return: 0, -ENOPROTOOPT if no ULP owns the option, or the ULP's own error.
 */
int udp_ulp_setsockopt(struct sock *sk, int optname, sockptr_t optval,
		       unsigned int optlen)
{
	const struct udp_ulp_ops *ops;
	int err;

	if (!udp_ulp_option(optname))
		return -ENOPROTOOPT;
	ops = udp_ulp_autoload(NULL, optname);
	if (!ops)
		return -ENOPROTOOPT;
	err = ops->setsockopt(sk, ops, optname, optval, optlen);
	module_put(ops->owner);
	return err;
}

/* The name of the attached ULP, or nothing. At most UDP_ULP_NAME_MAX bytes */
static int udp_ulp_getname(const struct sock *sk, sockopt_t *opt)
{
	const struct udp_ulp *ulp = udp_ulp_get(sk);

	opt->optlen = ulp ? min(opt->optlen, UDP_ULP_NAME_MAX) : 0;
	if (opt->optlen && copy_to_iter(ulp->ops->name, opt->optlen,
					&opt->iter_out) != opt->optlen)
		return -EFAULT;
	return 0;
}

/**
 * udp_ulp_getsockopt - UDP_ULP, and socket options of upper layer protocols
 * @sk: UDP socket
 * @optname: option that UDP does not know
 * @opt: value of getsockopt(), whose length becomes the bytes written. UDP_ULP
 *	 reads the name of the attached ULP, nothing if there is none
 *
 * Context: process.
 * Return: 0, -EINVAL, -EFAULT, -ENOPROTOOPT if no ULP owns the option or its
 * owner has nothing to read, or the ULP's own error.
 */
int udp_ulp_getsockopt(struct sock *sk, int optname, sockopt_t *opt)
{
	const struct udp_ulp_ops *ops;
	int err = -ENOPROTOOPT;

	if (optname == UDP_ULP)
		return udp_ulp_getname(sk, opt);
	if (!udp_ulp_option(optname))
		return -ENOPROTOOPT;
	ops = udp_ulp_autoload(NULL, optname);
	if (!ops)
		return -ENOPROTOOPT;
	if (ops->getsockopt)
		err = ops->getsockopt(sk, ops, optname, opt);
	module_put(ops->owner);
	return err;
}

/**
 * udp_ulp_cmsg_pending - does a message ask for an upper layer protocol's work?
 * @msg: message that is to be appended to a corked datagram
 *
 * UDP does not read control messages of what is appended. That a request for
 * encryption is there must not go unnoticed, though, whether or not the socket
 * has a ULP. What follows a malformed message is not looked at: sockets with a
 * ULP do not get here with one.
 *
 * Return: true if it does.
 */
bool udp_ulp_cmsg_pending(struct msghdr *msg)
{
	struct cmsghdr *cmsg;

	for_each_cmsghdr(cmsg, msg) {
		if (!CMSG_OK(msg, cmsg))
			return false;
		if (cmsg->cmsg_level == SOL_UDP &&
		    udp_ulp_option(cmsg->cmsg_type))
			return true;
	}
	return false;
}

/* A call that fails gives back its id, as it does in ip_append_data() */
static void udp_ulp_put_tskey(const struct sk_buff *skb,
			      const struct inet_cork *cork)
{
	struct sock *sk = skb->sk;

	if (skb_shinfo(skb)->tx_flags & SKBTX_ANY_TSTAMP &&
	    READ_ONCE(sk->sk_tsflags) & SOF_TIMESTAMPING_OPT_ID &&
	    !(cork->flags & IPCORK_TS_OPT_ID))
		atomic_dec(&sk->sk_tskey);
}

/**
 * __udp_ulp_finish - let the ULP that has built a datagram finish it
 * @tx: the ULP's part of the call
 * @skb: complete but for the UDP header
 * @cork: its cork
 *
 * Context: process, sleeps.
 * Return: 0 or a negative error; @skb is then freed.
 */
int __udp_ulp_finish(struct udp_ulp_tx *tx, struct sk_buff *skb,
		     struct inet_cork *cork)
{
	int err = tx->finish(tx, skb, cork);

	if (err) {
		udp_ulp_put_tskey(skb, cork);
		/* The caller gets an error: this is no drop */
		consume_skb(skb);
	}
	return err;
}

/**
 * udp_ulp_recv - let the ULP copy a datagram to the user
 * @sk: UDP socket for which udp_ulp_receives() is true
 * @skb: datagram, whose checksum is verified
 * @msg: message of recvmsg()
 * @off: offset in the datagram
 * @len: bytes to copy
 * @peek: the datagram stays in the queue
 *
 * Context: process, sleeps.
 * Return: 0, a negative error, or the reason to drop the datagram and take the
 * next one.
 */
int udp_ulp_recv(struct sock *sk, struct sk_buff *skb, struct msghdr *msg,
		 unsigned int off, unsigned int len, bool peek)
{
	const struct udp_ulp_rx rx = {
		.skb	= skb,
		.msg	= msg,
		.off	= off,
		.len	= len,
		.peek	= peek,
	};
	struct udp_ulp *ulp = udp_ulp_get(sk);

	return ulp->ops->recv(sk, ulp, &rx);
}

/**
 * __udp_ulp_drops - ask the ULP whether to drop a datagram
 * @sk: UDP socket that receives by a ULP, and may be about to be destroyed
 * @skb: datagram that would be queued
 *
 * Context: softirq.
 * Return: the reason to drop it, or SKB_NOT_DROPPED_YET.
 */
enum skb_drop_reason __udp_ulp_drops(const struct sock *sk,
				     const struct sk_buff *skb)
{
	enum skb_drop_reason reason = SKB_NOT_DROPPED_YET;
	struct udp_ulp *ulp;

	rcu_read_lock();
	ulp = udp_ulp_get_rcu(sk);
	if (ulp)
		reason = ulp->ops->drops(ulp, skb);
	rcu_read_unlock();
	return reason;
}

static int __udp_ulp_put_info(struct sk_buff *skb, struct udp_ulp *ulp,
			      bool net_admin)
{
	struct nlattr *nest;
	int err;

	nest = nla_nest_start_noflag(skb, INET_DIAG_ULP_INFO);
	if (!nest)
		return -EMSGSIZE;
	err = nla_put_string(skb, INET_ULP_INFO_NAME, ulp->ops->name);
	if (!err && ulp->ops->get_info)
		err = ulp->ops->get_info(ulp, skb, net_admin);
	if (err)
		nla_nest_cancel(skb, nest);
	else
		nla_nest_end(skb, nest);
	return err;
}

/**
 * udp_ulp_put_info - tell socket diagnostics of a socket's ULP, if it has one
 * @skb: message
 * @sk: UDP socket, which may be about to be destroyed
 * @net_admin: the reader has CAP_NET_ADMIN
 *
 * Context: process, or BH disabled.
 * Return: 0, or -EMSGSIZE if @skb has no room.
 */
int udp_ulp_put_info(struct sk_buff *skb, const struct sock *sk,
		     bool net_admin)
{
	struct udp_ulp *ulp;
	int err = 0;

	if (!static_branch_unlikely(&udp_ulp_needed_key))
		return 0;
	rcu_read_lock();
	ulp = udp_ulp_get_rcu(sk);
	if (ulp)
		err = __udp_ulp_put_info(skb, ulp, net_admin);
	rcu_read_unlock();
	return err;
}
EXPORT_SYMBOL_GPL(udp_ulp_put_info);
