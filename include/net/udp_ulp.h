/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Upper layer protocols over UDP sockets
 */
#ifndef _NET_UDP_ULP_H
#define _NET_UDP_ULP_H

#include <linux/jump_label.h>
#include <linux/net.h>
#include <linux/rcupdate.h>
#include <linux/sockptr.h>
#include <linux/stringify.h>
#include <linux/udp.h>
#include <net/dropreason.h>
#include <net/udp.h>

struct inet_cork;
struct module;
struct sk_buff;
struct udp_ulp_ops;

#define UDP_ULP_NAME_MAX	16

/* Upper limit of what &udp_ulp_ops.get_info adds to a message. It does not
 * depend on the socket, which may get its ULP while the message is being made.
 */
#define UDP_ULP_INFO_SIZE	256

/* Socket options and control messages at level SOL_UDP that are set aside for
 * ULPs. Each of them is owned by at most one.
 */
#define UDP_ULP_FIRST		(UDP_ULP + 1)
#define UDP_ULP_LAST		(UDP_ULP + 15)

/* Loads the module of the ULP that owns the socket option @opt */
#define MODULE_ALIAS_UDP_ULP_OPT(opt) \
	MODULE_ALIAS("udp-ulp-opt-" __stringify(opt))

/**
 * struct udp_ulp_tx - how one sendmsg() call differs from plain UDP
 * @getfrag: produces the datagram's payload, as for ip_make_skb(), with this
 *	     struct as its first argument and in ascending order of offsets;
 *	     NULL where the user's data goes out as it is
 * @finish: called with the complete skb and its cork, before the UDP header is
 *	    filled in; may sleep. It may clear the GSO size of the cork, to send
 *	    a single datagram. On error the skb is freed, nothing is sent, and
 *	    the error goes to the caller of sendmsg()
 * @room: bytes that @getfrag produces beyond the user's
 * @cmsg_ops: the ULP, if it has consumed its control message, else NULL. UDP
 *	      refuses control messages of ULPs that were not consumed
 *
 * Lives on the stack of &udp_ulp_ops.sendmsg, usually inside a larger struct.
 */
struct udp_ulp_tx {
	int (*getfrag)(void *from, char *to, int offset, int len, int odd,
		       struct sk_buff *skb);
	int (*finish)(struct udp_ulp_tx *tx, struct sk_buff *skb,
		      struct inet_cork *cork);
	unsigned int room;
	const struct udp_ulp_ops *cmsg_ops;
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
 * struct udp_ulp_rx - what one recvmsg() call returns
 * @skb: datagram, or several of them if it has a GSO size; the UDP header is
 *	 pulled, and the checksum is verified. Others may have the skb, too: it
 *	 must not be changed
 * @msg: message of the call; none of its control messages has been written yet
 * @off: offset in the payload at which the user's bytes begin; 0 unless
 *	 SO_PEEK_OFF was set at the moment when udp_ulp_receive() was called
 * @len: bytes that the user gets: those from @off on, or as many of them as the
 *	 user has room for
 * @peek: the datagram stays in the queue
 */
struct udp_ulp_rx {
	struct sk_buff *skb;
	struct msghdr *msg;
	unsigned int off;
	unsigned int len;
	bool peek;
};

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
 * @first_opt: first of the socket options that the ULP owns; they lie between
 *	       UDP_ULP_FIRST and UDP_ULP_LAST, and each that is to load the
 *	       module needs a MODULE_ALIAS_UDP_ULP_OPT()
 * @last_opt: last of the socket options that the ULP owns
 * @cmsg: control message to sendmsg() that the ULP owns, a number between
 *	  @first_opt and @last_opt; 0 for none
 * @owner: module; referenced by every socket that the ULP is attached to
 * @init: returns the new state of @sk or an ERR_PTR(). Socket locked, may sleep
 * @release: frees the state that @init has returned. The socket is being
 *	     destroyed: no other call is under way, the socket is not locked.
 *	     May sleep. What readers of udp_ulp_get_rcu() look at has to be
 *	     freed after a grace period
 * @setsockopt: the ULP's socket options. Socket not locked and perhaps not
 *		attached: see udp_ulp_attach()
 * @getsockopt: as @setsockopt; NULL if there is nothing to read
 * @sendmsg: takes over a sendmsg() call that has control messages, and calls
 *	     back @send at most once. Socket not locked, may sleep
 * @recv: copies a datagram to the user, @len bytes in all cases, of sockets for
 *	  which udp_ulp_receive() was called. It may write control messages.
 *	  Socket not locked, may sleep. On error the datagram is lost, unless it
 *	  was peeked at, and the error goes to the caller of recvmsg(). A
 *	  positive value, an enum skb_drop_reason: nothing was copied, and
 *	  nobody may have the datagram: drop it, even if it was peeked at, and
 *	  go on with the next one
 * @drops: why a datagram, whose UDP header is pulled, is to be dropped rather
 *	   than queued; SKB_NOT_DROPPED_YET: queue it. Asked for sockets for
 *	   which udp_ulp_receive() was called. The checksum may be wrong.
 *	   Softirq, rcu_read_lock() is held. May still be under way when
 *	   @release is called
 * @get_info: adds attributes to the nest INET_DIAG_ULP_INFO of socket
 *	      diagnostics, up to UDP_ULP_INFO_SIZE bytes; NULL if there is
 *	      nothing but the name. net_admin: the reader has CAP_NET_ADMIN.
 *	      BH disabled, rcu_read_lock() is held. May still be under way when
 *	      @release is called
 */
struct udp_ulp_ops {
	struct list_head list;
	char name[UDP_ULP_NAME_MAX];
	int first_opt;
	int last_opt;
	int cmsg;
	struct module *owner;

	struct udp_ulp *(*init)(struct sock *sk);
	void (*release)(struct udp_ulp *ulp);
	int (*setsockopt)(struct sock *sk, const struct udp_ulp_ops *ops,
			  int optname, sockptr_t optval, unsigned int optlen);
	int (*getsockopt)(struct sock *sk, const struct udp_ulp_ops *ops,
			  int optname, sockopt_t *opt);
	int (*sendmsg)(struct sock *sk, struct udp_ulp *ulp,
		       struct msghdr *msg, size_t len, udp_ulp_send_t send);
	int (*recv)(struct sock *sk, struct udp_ulp *ulp,
		    const struct udp_ulp_rx *rx);
	enum skb_drop_reason (*drops)(struct udp_ulp *ulp,
				      const struct sk_buff *skb);
	int (*get_info)(struct udp_ulp *ulp, struct sk_buff *skb,
			bool net_admin);
};

#ifdef CONFIG_UDP_ULP

/* UDP's own part of sendmsg() is a function that ULPs can call. Without ULPs it
 * is all of sendmsg().
 */
#define __udp_ulp_send

DECLARE_STATIC_KEY_FALSE(udp_ulp_needed_key);

int udp_register_ulp(struct udp_ulp_ops *ops);
void udp_unregister_ulp(struct udp_ulp_ops *ops);
struct udp_ulp *udp_ulp_attach(struct sock *sk, const struct udp_ulp_ops *ops);
void udp_ulp_release(struct sock *sk);
int udp_ulp_attach_name(struct sock *sk, sockptr_t optval, unsigned int optlen);
int udp_ulp_setsockopt(struct sock *sk, int optname, sockptr_t optval,
		       unsigned int optlen);
int udp_ulp_getsockopt(struct sock *sk, int optname, sockopt_t *opt);
int __udp_sendmsg(struct sock *sk, struct msghdr *msg, size_t len,
		  struct udp_ulp_tx *tx);
bool udp_ulp_cmsg_pending(struct msghdr *msg);
int __udp_ulp_finish(struct udp_ulp_tx *tx, struct sk_buff *skb,
		     struct inet_cork *cork);
int udp_ulp_recv(struct sock *sk, struct sk_buff *skb, struct msghdr *msg,
		 unsigned int off, unsigned int len, bool peek);
enum skb_drop_reason __udp_ulp_drops(const struct sock *sk,
				     const struct sk_buff *skb);
int udp_ulp_put_info(struct sk_buff *skb, const struct sock *sk,
		     bool net_admin);

/**
 * udp_ulp_get - the ULP of a socket that is in use
 * @sk: UDP socket
 *
 * A ULP stays attached until the socket is destroyed. The caller has to keep
 * the socket alive, by its file or its lock; others use udp_ulp_get_rcu().
 * Without a ULP, this reads only a bit, next to what UDP reads anyway.
 *
 * Return: the state, or NULL.
 */
static inline struct udp_ulp *udp_ulp_get(const struct sock *sk)
{
	if (!static_branch_unlikely(&udp_ulp_needed_key) ||
	    !udp_test_bit(ULP, sk))
		return NULL;
	return rcu_dereference_check(udp_sk(sk)->ulp,
				     !sock_flag(sk, SOCK_DEAD));
}

/* As udp_ulp_get(), under rcu_read_lock(): nothing keeps the socket alive */
static inline struct udp_ulp *udp_ulp_get_rcu(const struct sock *sk)
{
	return rcu_dereference(udp_sk(sk)->ulp);
}

/* The ULP that a sendmsg() call concerns: its work is asked for by a control
 * message. Calls without one do not look at the socket.
 */
static inline struct udp_ulp *udp_ulp_of_call(const struct sock *sk,
					      const struct msghdr *msg)
{
	if (!static_branch_unlikely(&udp_ulp_needed_key) ||
	    !msg->msg_controllen)
		return NULL;
	return udp_ulp_get(sk);
}

/* Has the ULP consumed its control message? If not, ignoring it would grant a
 * request for encryption with plaintext.
 */
static inline bool udp_ulp_owns_cmsg(const struct udp_ulp_tx *tx, int type)
{
	return tx && tx->cmsg_ops && tx->cmsg_ops->cmsg == type;
}

/* Does the ULP build this call's payload? */
static inline bool udp_ulp_builds(const struct udp_ulp_tx *tx)
{
	return tx && tx->getfrag;
}

/* May a call not be appended to a corked datagram? Control messages of what is
 * appended are not read.
 */
static inline bool udp_ulp_refuses_cork(const struct udp_ulp_tx *tx,
					struct msghdr *msg)
{
	return tx ? udp_ulp_builds(tx) : udp_ulp_cmsg_pending(msg);
}

static inline int udp_ulp_finish(struct udp_ulp_tx *tx, struct sk_buff *skb,
				 struct inet_cork *cork)
{
	return udp_ulp_builds(tx) ? __udp_ulp_finish(tx, skb, cork) : 0;
}

/* Does a ULP want a datagram to be dropped rather than queued, and why? */
static inline enum skb_drop_reason udp_ulp_drops(const struct sock *sk,
						 const struct sk_buff *skb)
{
	if (!static_branch_unlikely(&udp_ulp_needed_key) ||
	    !udp_test_bit(ULP_RECV, sk))
		return SKB_NOT_DROPPED_YET;
	return __udp_ulp_drops(sk, skb);
}

/* A ULP takes datagrams apart, so recvmsg() cannot begin within one, as it does
 * with SO_PEEK_OFF. Ask this before udp_ulp_receive().
 */
static inline bool udp_ulp_may_receive(const struct sock *sk)
{
	return READ_ONCE(sk->sk_peek_off) < 0;
}

/* From now on the ULP, which has &udp_ulp_ops.recv, copies to the user what the
 * socket receives, until the socket is destroyed.
 */
static inline void udp_ulp_receive(struct sock *sk)
{
	if (!udp_test_bit(ULP_RECV, sk))
		udp_set_bit(ULP_RECV, sk);
}

/* Does a ULP copy what recvmsg() returns? */
static inline bool udp_ulp_receives(const struct sock *sk)
{
	return static_branch_unlikely(&udp_ulp_needed_key) &&
	       udp_test_bit(ULP_RECV, sk);
}

#else

#define __udp_ulp_send		__always_inline

static inline struct udp_ulp *udp_ulp_get(const struct sock *sk)
{
	return NULL;
}

static inline struct udp_ulp *udp_ulp_of_call(const struct sock *sk,
					      const struct msghdr *msg)
{
	return NULL;
}

static inline void udp_ulp_release(struct sock *sk)
{
}

static inline int udp_ulp_attach_name(struct sock *sk, sockptr_t optval,
				      unsigned int optlen)
{
	return -ENOPROTOOPT;
}

static inline int udp_ulp_setsockopt(struct sock *sk, int optname,
				     sockptr_t optval, unsigned int optlen)
{
	return -ENOPROTOOPT;
}

static inline int udp_ulp_getsockopt(struct sock *sk, int optname,
				     sockopt_t *opt)
{
	return -ENOPROTOOPT;
}

static inline int __udp_sendmsg(struct sock *sk, struct msghdr *msg, size_t len,
				struct udp_ulp_tx *tx)
{
	return udp_sendmsg(sk, msg, len);
}

static inline bool udp_ulp_owns_cmsg(const struct udp_ulp_tx *tx, int type)
{
	return false;
}

static inline bool udp_ulp_builds(const struct udp_ulp_tx *tx)
{
	return false;
}

static inline bool udp_ulp_refuses_cork(const struct udp_ulp_tx *tx,
					struct msghdr *msg)
{
	return false;
}

static inline int udp_ulp_finish(struct udp_ulp_tx *tx, struct sk_buff *skb,
				 struct inet_cork *cork)
{
	return 0;
}

static inline enum skb_drop_reason udp_ulp_drops(const struct sock *sk,
						 const struct sk_buff *skb)
{
	return SKB_NOT_DROPPED_YET;
}

static inline bool udp_ulp_receives(const struct sock *sk)
{
	return false;
}

static inline int udp_ulp_put_info(struct sk_buff *skb, const struct sock *sk,
				   bool net_admin)
{
	return 0;
}

static inline int udp_ulp_recv(struct sock *sk, struct sk_buff *skb,
			       struct msghdr *msg, unsigned int off,
			       unsigned int len, bool peek)
{
	return 0;
}

#endif /* CONFIG_UDP_ULP */

#endif /* _NET_UDP_ULP_H */
