/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Upper layer protocols over UDP sockets
 */
#ifndef _NET_UDP_ULP_H
#define _NET_UDP_ULP_H

#include <linux/jump_label.h>
#include <linux/net.h>
#include <linux/sockptr.h>
#include <linux/udp.h>

struct inet_cork;
struct module;
struct msghdr;
struct sk_buff;

#define UDP_ULP_NAME_MAX	16

/* Last of the socket options, and control messages, of ULPs */
#define UDP_ULP_LAST		UDP_QUIC_INFO

/**
 * struct udp_ulp_tx - how one sendmsg() call differs from plain UDP
 * @getfrag: produces the datagram's payload, as for ip_make_skb(), with this
 *	     struct as its first argument and in ascending order of offsets;
 *	     NULL where the user's data goes out as it is
 * @finish: called with the complete skb and its cork, before the UDP header is
 *	    filled in; may sleep. On error the skb is freed, nothing is sent,
 *	    and the error goes to the caller of sendmsg()
 * @room: bytes that @getfrag produces beyond the user's
 * @cmsg: type of the control message that the ULP has consumed, 0 if there is
 *	  none. UDP refuses control messages of other ULPs
 *
 * Lives on the stack of &udp_ulp_ops.sendmsg, usually inside a larger struct.
 */
struct udp_ulp_tx {
	int (*getfrag)(void *from, char *to, int offset, int len, int odd,
		       struct sk_buff *skb);
	int (*finish)(struct udp_ulp_tx *tx, struct sk_buff *skb,
		      const struct inet_cork *cork);
	unsigned int room;
	int cmsg;
};

/**
 * typedef udp_ulp_send_t - UDP's own sendmsg(), for one address family
 * @sk: socket
 * @msg: as UDP got it
 * @len: bytes in @msg
 * @tx: NULL sends as if there were no ULP, and refuses ULPs' control messages
 *
 * Context: process, nothing held.
 * Return: @len or a negative error.
 */
typedef int (*udp_ulp_send_t)(struct sock *sk, struct msghdr *msg, size_t len,
			      struct udp_ulp_tx *tx);

/**
 * struct udp_ulp - a ULP's state of a socket, embedded in its own struct
 * @ops: the ULP
 */
struct udp_ulp {
	const struct udp_ulp_ops *ops;
};

/**
 * struct udp_ulp_ops - an upper layer protocol over UDP
 * @list: entry in the list of registered ULPs
 * @name: for setsockopt(UDP_ULP) and the module alias "udp-ulp-<name>"
 * @owner: module; referenced by every socket that the ULP is attached to
 * @init: returns the new state of @sk or an ERR_PTR(). Socket locked, may sleep
 * @release: frees it. The socket is being destroyed: no other call is under
 *	     way, the socket is not locked. May sleep
 * @setsockopt: socket options of the ULP, see udp_ulp_options. Socket not
 *		locked and perhaps not attached: see udp_ulp_attach()
 * @sendmsg: takes over a sendmsg() call that has control messages, and calls
 *	     back @send at most once. Socket not locked, may sleep
 */
struct udp_ulp_ops {
	struct list_head list;
	char name[UDP_ULP_NAME_MAX];
	struct module *owner;

	struct udp_ulp *(*init)(struct sock *sk);
	void (*release)(struct udp_ulp *ulp);
	int (*setsockopt)(struct sock *sk, const struct udp_ulp_ops *ops,
			  int optname, sockptr_t optval, unsigned int optlen);
	int (*sendmsg)(struct sock *sk, struct udp_ulp *ulp,
		       struct msghdr *msg, size_t len, udp_ulp_send_t send);
};

int __udp_sendmsg(struct sock *sk, struct msghdr *msg, size_t len,
		  struct udp_ulp_tx *tx);

#ifdef CONFIG_UDP_ULP

DECLARE_STATIC_KEY_FALSE(udp_ulp_needed_key);

int udp_register_ulp(struct udp_ulp_ops *ops);
void udp_unregister_ulp(struct udp_ulp_ops *ops);
struct udp_ulp *udp_ulp_attach(struct sock *sk, const struct udp_ulp_ops *ops);
void udp_ulp_release(struct sock *sk);
int udp_ulp_setsockopt(struct sock *sk, int optname, sockptr_t optval,
		       unsigned int optlen);
int udp_ulp_getsockopt(struct sock *sk, sockopt_t *opt);

/**
 * udp_ulp_get - the ULP of a socket
 * @sk: UDP socket
 *
 * A ULP stays attached until the socket is destroyed, so it is valid wherever
 * the caller's hold on the socket keeps that from happening.
 *
 * Return: the state, or NULL.
 */
static inline struct udp_ulp *udp_ulp_get(const struct sock *sk)
{
	if (!static_branch_unlikely(&udp_ulp_needed_key))
		return NULL;
	return rcu_dereference_check(udp_sk(sk)->ulp, 1);
}

/* UDP_ULP, and the range that is set aside for options of ULPs */
static inline bool udp_ulp_option(int optname)
{
	return optname >= UDP_ULP && optname <= UDP_ULP_LAST;
}

#else

static inline struct udp_ulp *udp_ulp_get(const struct sock *sk)
{
	return NULL;
}

static inline void udp_ulp_release(struct sock *sk)
{
}

static inline bool udp_ulp_option(int optname)
{
	return false;
}

static inline int udp_ulp_setsockopt(struct sock *sk, int optname,
				     sockptr_t optval, unsigned int optlen)
{
	return -ENOPROTOOPT;
}

static inline int udp_ulp_getsockopt(struct sock *sk, sockopt_t *opt)
{
	return -ENOPROTOOPT;
}

#endif /* CONFIG_UDP_ULP */

/* Control messages to sendmsg() that only a ULP understands */
static inline bool udp_ulp_cmsg(int type)
{
	return type > UDP_ULP && type <= UDP_ULP_LAST;
}

/* Has the ULP consumed this control message? If not, ignoring it would grant a
 * request for encryption with plaintext.
 */
static inline bool udp_ulp_owns_cmsg(const struct udp_ulp_tx *tx, int type)
{
	return tx && tx->cmsg == type;
}

/* Does the ULP build this call's payload? */
static inline bool udp_ulp_builds(const struct udp_ulp_tx *tx)
{
	return tx && tx->getfrag;
}

static inline int udp_ulp_finish(struct udp_ulp_tx *tx, struct sk_buff *skb,
				 const struct inet_cork *cork)
{
	int err;

	if (!udp_ulp_builds(tx))
		return 0;
	err = tx->finish(tx, skb, cork);
	if (err)
		kfree_skb(skb);
	return err;
}

#endif /* _NET_UDP_ULP_H */
