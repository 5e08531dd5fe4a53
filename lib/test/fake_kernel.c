// SPDX-License-Identifier: GPL-2.0
/*
 * Inject errors of the kernel's side into quic_offload.so: preload this after
 * it. Calls that are not made to fail go to the kernel. If that has no
 * quic-crypto, this library seals the packets itself, so that the interposer
 * can be tested on any kernel. It does so for calls as quic_offload.so makes
 * them (UDP_QUIC_ENCRYPT first, flow_id, tag room) and checks nothing.
 *
 * FAKE_KERNEL_ULP=errno	UDP_ULP fails: a kernel without the offload
 * FAKE_KERNEL_ADD=errno	UDP_QUIC_ADD_TX_CONNECTION fails
 * FAKE_KERNEL_FAIL=errno:n	every n-th sendmsg() with the cmsg fails
 * FAKE_KERNEL_LEAK=1		packets are sent without protection, which the
 *				wire checker must notice
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../quic_pkt.h"
#include "../quic_uapi.h"

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

struct flow {
	struct flow *next;
	int fd;
	uint32_t id;
	struct quic_pkt_keys keys[2];	/* at generation & 1 */
};

static struct flow *flows;
static bool stand_in;		/* the kernel has no quic-crypto */

static int env(const char *name)
{
	const char *val = getenv(name);

	return val ? atoi(val) : 0;
}

static int fail(int err)
{
	errno = err;
	return -1;
}

/* A pointer to the flow's pointer in the list, or to the end of the list */
static struct flow **flow_find(int fd, uint32_t id)
{
	struct flow **p;

	for (p = &flows; *p; p = &(*p)->next)
		if ((*p)->fd == fd && (*p)->id == id)
			break;
	return p;
}

static int flow_add(int fd, const struct quic_connection_info *info)
{
	struct flow **p = flow_find(fd, info->key.flow_id);
	struct quic_pkt_keys *keys;

	if (!*p)
		*p = calloc(1, sizeof(**p));
	if (!*p)
		return fail(ENOMEM);
	(*p)->fd = fd;
	(*p)->id = info->key.flow_id;
	keys = &(*p)->keys[info->conn_payload_key_gen & 1];
	keys->cipher = info->cipher_type;
	memcpy(keys->key, info->payload_key, sizeof(keys->key));
	memcpy(keys->iv, info->payload_iv, sizeof(keys->iv));
	memcpy(keys->hp, info->header_key, sizeof(keys->hp));
	return 0;
}

static int flow_del(int fd, const struct quic_connection_info *info)
{
	struct flow **p = flow_find(fd, info->key.flow_id), *flow = *p;

	if (!flow)
		return fail(ENOENT);
	*p = flow->next;
	free(flow);
	return 0;
}

static int attach(int fd, const void *name, socklen_t len)
{
	int ret = REAL(setsockopt)(fd, SOL_UDP, UDP_ULP, name, len);

	stand_in = ret && (errno == ENOPROTOOPT || errno == ENOENT);
	return stand_in ? 0 : ret;
}

int setsockopt(int fd, int level, int name, const void *val, socklen_t len)
{
	if (level == SOL_UDP && name == UDP_ULP) {
		if (env("FAKE_KERNEL_ULP"))
			return fail(env("FAKE_KERNEL_ULP"));
		return attach(fd, val, len);
	}
	if (level == SOL_UDP && name == UDP_QUIC_ADD_TX_CONNECTION) {
		if (env("FAKE_KERNEL_ADD"))
			return fail(env("FAKE_KERNEL_ADD"));
		if (stand_in)
			return flow_add(fd, val);
	}
	if (level == SOL_UDP && name == UDP_QUIC_DEL_TX_CONNECTION && stand_in)
		return flow_del(fd, val);
	return REAL(setsockopt)(fd, level, name, val, len);
}

/* Bytes of the packets that the call is to make of its data */
static size_t gso_size(int fd, const struct msghdr *msg, size_t len)
{
	socklen_t opt_len = sizeof(int);
	struct cmsghdr *cmsg;
	uint16_t size;
	int opt = 0;

	for (cmsg = CMSG_FIRSTHDR(msg); cmsg;
	     cmsg = CMSG_NXTHDR((struct msghdr *)msg, cmsg)) {
		if (cmsg->cmsg_level != SOL_UDP ||
		    cmsg->cmsg_type != UDP_SEGMENT)
			continue;
		memcpy(&size, CMSG_DATA(cmsg), sizeof(size));
		return size;
	}
	if (getsockopt(fd, SOL_UDP, UDP_SEGMENT, &opt, &opt_len) || !opt)
		return len;
	return opt;
}

static int seal(const struct flow *flow, size_t cid_len, uint64_t expected,
		uint8_t *buf, size_t len, size_t gso)
{
	const struct quic_pkt_keys *keys;
	size_t off, n;

	for (off = 0; off < len; off += gso, expected++) {
		uint8_t *pkt = buf + off;

		n = len - off < gso ? len - off : gso;
		keys = &flow->keys[!!(*pkt & 4)];
		if (!keys->cipher)
			return fail(ENOKEY);
		expected = quic_pkt_number(expected, pkt + 1 + cid_len,
					   (*pkt & 3) + 1);
		if (!quic_pkt_seal(keys, cid_len, expected, pkt, n))
			return fail(EINVAL);
	}
	return 0;
}

static ssize_t send_sealed(int fd, const struct msghdr *msg, int flags,
			   const struct quic_tx_ancillary_data *anc)
{
	struct flow *flow = *flow_find(fd, anc->flow_id);
	static uint8_t buf[65536];
	struct iovec iov = { .iov_base = buf };
	struct msghdr copy = *msg;
	size_t i, n;

	if (!flow)
		return fail(ENOENT);
	for (i = 0; i < msg->msg_iovlen; i++) {
		n = msg->msg_iov[i].iov_len;
		if (n > sizeof(buf) - iov.iov_len)
			return fail(EMSGSIZE);
		memcpy(buf + iov.iov_len, msg->msg_iov[i].iov_base, n);
		iov.iov_len += n;
	}
	n = gso_size(fd, msg, iov.iov_len);
	if (seal(flow, anc->conn_id_length, anc->next_pkt_num, buf,
		 iov.iov_len, n))
		return -1;
	copy.msg_iov = &iov;
	copy.msg_iovlen = 1;
	return REAL(sendmsg)(fd, &copy, flags);
}

ssize_t sendmsg(int fd, const struct msghdr *msg, int flags)
{
	const char *inject = getenv("FAKE_KERNEL_FAIL");
	const size_t space = CMSG_SPACE(sizeof(struct quic_tx_ancillary_data));
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(msg);
	struct quic_tx_ancillary_data anc;
	struct msghdr rest = *msg;
	static unsigned int calls;

	if (!cmsg || cmsg->cmsg_level != SOL_UDP ||
	    cmsg->cmsg_type != UDP_QUIC_ENCRYPT)
		return REAL(sendmsg)(fd, msg, flags);
	if (inject && strchr(inject, ':') &&
	    ++calls % atoi(strchr(inject, ':') + 1) == 0)
		return fail(atoi(inject));
	if (!stand_in && !env("FAKE_KERNEL_LEAK"))
		return REAL(sendmsg)(fd, msg, flags);

	memcpy(&anc, CMSG_DATA(cmsg), sizeof(anc));
	rest.msg_controllen -= space;
	rest.msg_control = rest.msg_controllen ?
			   (char *)msg->msg_control + space : NULL;
	if (env("FAKE_KERNEL_LEAK"))
		return REAL(sendmsg)(fd, &rest, flags);
	return send_sealed(fd, &rest, flags, &anc);
}
