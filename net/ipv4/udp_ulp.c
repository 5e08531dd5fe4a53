// SPDX-License-Identifier: GPL-2.0
/*
 * Pluggable upper layer protocols over UDP, after those over TCP
 */

#include <linux/list.h>
#include <linux/module.h>
#include <linux/net.h>
#include <linux/skmsg.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <net/sock.h>
#include <net/udp.h>
#include <net/udp_ulp.h>
#include <uapi/linux/quic.h>

/**
 * struct udp_ulp_range - socket options that belong to a ULP
 * @first: first option
 * @last: last option
 * @name: name of the ULP
 */
struct udp_ulp_range {
	int first;
	int last;
	char name[UDP_ULP_NAME_MAX];
};

static const struct udp_ulp_range udp_ulp_options[] = {
	{ UDP_QUIC_ADD_TX_CONNECTION, UDP_QUIC_INFO, QUIC_CRYPTO_ULP_NAME },
};

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

/* As for TCP, a name loads its module only for an administrator */
static const struct udp_ulp_ops *udp_ulp_find_autoload(const char *name)
{
	const struct udp_ulp_ops *ops;

	rcu_read_lock();
	ops = udp_ulp_find(name);
#ifdef CONFIG_MODULES
	if (!ops && capable(CAP_NET_ADMIN)) {
		rcu_read_unlock();
		request_module("udp-ulp-%s", name);
		rcu_read_lock();
		ops = udp_ulp_find(name);
	}
#endif
	if (ops && !try_module_get(ops->owner))
		ops = NULL;
	rcu_read_unlock();
	return ops;
}

/**
 * udp_register_ulp - make an upper layer protocol known
 * @ops: its description, which must stay
 *
 * Context: process.
 * Return: 0, or -EEXIST when the name is taken.
 */
int udp_register_ulp(struct udp_ulp_ops *ops)
{
	int err = 0;

	spin_lock(&udp_ulp_list_lock);
	if (udp_ulp_find(ops->name))
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

static int udp_ulp_owner_name(char *name, int optname)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(udp_ulp_options); i++) {
		if (optname < udp_ulp_options[i].first ||
		    optname > udp_ulp_options[i].last)
			continue;
		strscpy(name, udp_ulp_options[i].name, UDP_ULP_NAME_MAX);
		return 0;
	}
	return -ENOPROTOOPT;
}

/**
 * udp_ulp_setsockopt - UDP_ULP, and socket options of upper layer protocols
 * @sk: UDP socket
 * @optname: option
 * @optval: value of setsockopt()
 * @optlen: bytes of @optval
 *
 * Context: process, socket not locked.
 * Return: 0, -ENOENT if there is no such ULP, or the ULP's own error.
 */
int udp_ulp_setsockopt(struct sock *sk, int optname, sockptr_t optval,
		       unsigned int optlen)
{
	const struct udp_ulp_ops *ops;
	char name[UDP_ULP_NAME_MAX];
	int err;

	if (optname == UDP_ULP)
		err = udp_ulp_copy_name(name, optval, optlen);
	else
		err = udp_ulp_owner_name(name, optname);
	if (err)
		return err;
	ops = udp_ulp_find_autoload(name);
	if (!ops)
		return -ENOENT;
	if (optname == UDP_ULP)
		err = PTR_ERR_OR_ZERO(udp_ulp_attach(sk, ops));
	else
		err = ops->setsockopt(sk, ops, optname, optval, optlen);
	module_put(ops->owner);
	return err;
}

/**
 * udp_ulp_getsockopt - UDP_ULP: the name of the attached ULP
 * @sk: UDP socket
 * @opt: room for the name, of which at most UDP_ULP_NAME_MAX bytes are used;
 *	 its length becomes the bytes written, 0 if there is no ULP
 *
 * Context: process.
 * Return: 0, -EINVAL or -EFAULT.
 */
int udp_ulp_getsockopt(struct sock *sk, sockopt_t *opt)
{
	const struct udp_ulp *ulp = udp_ulp_get(sk);

	if (opt->optlen < 0)
		return -EINVAL;
	opt->optlen = ulp ? min(opt->optlen, UDP_ULP_NAME_MAX) : 0;
	if (opt->optlen && copy_to_iter(ulp->ops->name, opt->optlen,
					&opt->iter_out) != opt->optlen)
		return -EFAULT;
	return 0;
}
