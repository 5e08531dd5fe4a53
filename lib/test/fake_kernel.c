// SPDX-License-Identifier: GPL-2.0
/*
 * Inject errors of the kernel's side into quic_offload.so and libquickernel:
 * preload this after the former. Calls that are not made to fail go to the
 * kernel.
 *
 * If the kernel has no quic-crypto, this library seals and opens the packets
 * itself: so the tests that preload it also run on a host whose kernel lacks
 * the module, and a change to a library can be tested without building a
 * kernel. It knows only calls as libquickernel makes them (UDP_QUIC_ENCRYPT
 * first, flow_id), and checks nothing: guests test what the kernel does.
 *
 * FAKE_KERNEL_ULP=errno	UDP_ULP fails: a kernel without the offload
 * FAKE_KERNEL_ULP=errno:m-n	its calls m to n fail, from 1 on
 * FAKE_KERNEL_ADD=errno	UDP_QUIC_ADD_TX_CONNECTION fails
 * FAKE_KERNEL_ADD=errno:m-n	its calls m to n fail, from 1 on
 *				If errno is EADDRINUSE, the flow is another
 *				connection's, and whoever removes it is killed
 * FAKE_KERNEL_INFO=bytes	UDP_QUIC_INFO writes no more than that
 * FAKE_KERNEL_ADD_RX=errno[:m-n]	UDP_QUIC_ADD_RX_CONNECTION fails
 * FAKE_KERNEL_UPDATE_RX=errno[:m-n]	... of those that are key updates
 * FAKE_KERNEL_ALIAS_RX=errno[:m-n]	... of those that are connection IDs
 * FAKE_KERNEL_NO_SIZE=1	recvmsg() has no room for the cmsg UDP_GRO
 * FAKE_KERNEL_FAIL=errno:n	every n-th sendmsg() with the cmsg fails
 * FAKE_KERNEL_LEAK=1		packets are sent without protection, which the
 *				wire checker must notice
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "../quic_pkt.h"
#include "../quic_uapi.h"

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#define N_GENS		4
#define N_CIDS		16
#define N_PACKETS	128

struct cid {
	uint8_t data[QUIC_MAX_CONNECTION_ID_SIZE];	/* right-aligned */
	uint8_t len;
};

struct flow {
	struct flow *next;
	ino_t socket;
	uint32_t id;
	bool receives;
	struct quic_pkt_keys keys[N_GENS];	/* at generation % N_GENS */
	uint8_t hp[QUIC_MAX_KEY_SIZE];
	/* Of reception only */
	uint64_t expected;
	uint8_t gen;			/* opened last */
	struct cid cids[N_CIDS];
	unsigned int n_cids;
};

static struct flow *flows;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;	/* of flows */
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

/* What descriptors of the same socket have in common */
static ino_t inode(int fd)
{
	struct stat st;

	return fstat(fd, &st) ? 0 : st.st_ino;
}

/* A pointer to the flow's pointer in the list, or to the end of the list */
static struct flow **flow_find(int fd, uint32_t id, bool receives)
{
	struct flow **p;

	for (p = &flows; *p; p = &(*p)->next)
		if ((*p)->socket == inode(fd) && (*p)->id == id &&
		    (*p)->receives == receives)
			break;
	return p;
}

static struct flow *flow_get(int fd, uint32_t id, bool receives)
{
	struct flow **p = flow_find(fd, id, receives);

	if (!*p)
		*p = calloc(1, sizeof(**p));
	if (!*p)
		abort();
	(*p)->socket = inode(fd);
	(*p)->id = id;
	(*p)->receives = receives;
	return *p;
}

/* An update has no header key. */
static bool has_hp(const struct quic_connection_info *info)
{
	static const uint8_t none[QUIC_MAX_KEY_SIZE];

	return memcmp(info->header_key, none, sizeof(none));
}

static void flow_set_key(struct flow *flow,
			 const struct quic_connection_info *info)
{
	struct quic_pkt_keys *keys;

	if (has_hp(info))
		memcpy(flow->hp, info->header_key, sizeof(flow->hp));
	keys = &flow->keys[info->conn_payload_key_gen % N_GENS];
	keys->cipher = info->cipher_type;
	memcpy(keys->key, info->payload_key, sizeof(keys->key));
	memcpy(keys->iv, info->payload_iv, sizeof(keys->iv));
	memcpy(keys->hp, flow->hp, sizeof(keys->hp));
}

static int flow_add(int fd, const struct quic_connection_info *info)
{
	struct flow *flow = *flow_find(fd, info->key.flow_id, false);

	if (!flow && !has_hp(info))
		return fail(ENOENT);
	flow = flow_get(fd, info->key.flow_id, false);
	flow_set_key(flow, info);
	memset(&flow->keys[(info->conn_payload_key_gen + 2) % N_GENS], 0,
	       sizeof(flow->keys[0]));
	return 0;
}

static int flow_del_all(int fd, bool receives)
{
	struct flow **p = &flows, *flow;

	while ((flow = *p)) {
		if (flow->socket == inode(fd) && flow->receives == receives) {
			*p = flow->next;
			free(flow);
		} else {
			p = &flow->next;
		}
	}
	return 0;
}

static int flow_del(int fd, const struct quic_connection_info *info,
		    bool receives)
{
	struct flow **p = flow_find(fd, info->key.flow_id, receives);
	struct flow *flow = *p;

	if (info->key.flags & QUIC_CONN_ALL)
		return flow_del_all(fd, receives);
	if (!flow)
		return fail(ENOENT);
	if (info->key.flags & QUIC_CONN_GENERATION) {
		struct quic_pkt_keys *keys;

		keys = &flow->keys[info->conn_payload_key_gen % N_GENS];
		if (!keys->cipher)
			return fail(ENOKEY);
		memset(keys, 0, sizeof(*keys));
		return 0;
	}
	*p = flow->next;
	free(flow);
	return 0;
}

static int cid_add(int fd, const struct quic_connection_info_key *key)
{
	struct flow *flow = *flow_find(fd, key->flow_id, true);
	struct cid *cid;
	unsigned int i;

	if (!flow)
		return fail(ENOENT);
	for (i = 0; i < flow->n_cids; i++)
		if (!memcmp(flow->cids[i].data, key->conn_id,
			    sizeof(key->conn_id)))
			return fail(EEXIST);
	if (flow->n_cids == N_CIDS)
		return fail(ENOSPC);
	cid = &flow->cids[flow->n_cids++];
	memcpy(cid->data, key->conn_id, sizeof(cid->data));
	cid->len = key->conn_id_length;
	return 0;
}

static int cid_del(int fd, const struct quic_connection_info_key *key)
{
	struct flow *flow = *flow_find(fd, key->flow_id, true);
	unsigned int i;

	for (i = 0; flow && i < flow->n_cids; i++) {
		if (memcmp(flow->cids[i].data, key->conn_id,
			   sizeof(key->conn_id)))
			continue;
		flow->cids[i] = flow->cids[--flow->n_cids];
		return 0;
	}
	return fail(ENOENT);
}

static bool has_key(const struct flow *flow,
		    const struct quic_connection_info *info)
{
	const struct quic_pkt_keys *keys;

	keys = &flow->keys[info->conn_payload_key_gen % N_GENS];
	return keys->cipher == info->cipher_type &&
	       !memcmp(keys->key, info->payload_key, sizeof(keys->key));
}

static int rx_add(int fd, const struct quic_connection_info *info)
{
	struct flow *flow = *flow_find(fd, info->key.flow_id, true);

	if (info->key.flags & QUIC_CONN_ALIAS)
		return cid_add(fd, &info->key);
	if (!flow && !has_hp(info))
		return fail(ENOENT);
	if (!flow) {
		flow = flow_get(fd, info->key.flow_id, true);
		flow->expected = info->next_pkt_num;
		flow->gen = info->conn_payload_key_gen;
		cid_add(fd, &info->key);
	} else if (has_key(flow, info)) {
		return fail(EEXIST);
	} else if (info->conn_payload_key_gen != (uint8_t)(flow->gen + 1)) {
		return fail(EINVAL);
	}
	flow_set_key(flow, info);
	return 0;
}

static int rx_del(int fd, const struct quic_connection_info *info)
{
	if (info->key.flags & QUIC_CONN_ALIAS)
		return cid_del(fd, &info->key);
	return flow_del(fd, info, true);
}

static int attach(int fd, const void *name, socklen_t len)
{
	int ret = REAL(setsockopt)(fd, SOL_UDP, UDP_ULP, name, len);
	socklen_t type_len = sizeof(int);
	int type = 0;

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_len))
		return -1;
	if (type != SOCK_DGRAM)
		return fail(EINVAL);
	stand_in = ret && (errno == ENOPROTOOPT || errno == ENOENT);
	return stand_in ? 0 : ret;
}

/* Options of connections */
static int set_connection_locked(int fd, int name, const void *val)
{
	switch (name) {
	case UDP_QUIC_ADD_TX_CONNECTION:
		return flow_add(fd, val);
	case UDP_QUIC_DEL_TX_CONNECTION:
		return flow_del(fd, val, false);
	case UDP_QUIC_ADD_RX_CONNECTION:
		return rx_add(fd, val);
	default:
		return rx_del(fd, val);
	}
}

static int set_connection(int fd, int name, const void *val)
{
	int ret;

	pthread_mutex_lock(&lock);
	ret = set_connection_locked(fd, name, val);
	pthread_mutex_unlock(&lock);
	return ret;
}

/* Which error is injected into this call? @calls are counted for as long as the
 * variable is set.
 */
static int add_error(const char *name, int *calls)
{
	const char *val = getenv(name);
	int err = 0, first, last;

	if (!val)
		*calls = 0;
	else if (sscanf(val, "%d:%d-%d", &err, &first, &last) == 3 &&
		 (++*calls < first || *calls > last))
		return 0;
	return err;
}

static int rx_error(const struct quic_connection_info *info)
{
	static int adds, updates, aliases;
	int err = add_error("FAKE_KERNEL_ADD_RX", &adds);

	if (err)
		return err;
	if (info->key.flags & QUIC_CONN_ALIAS)
		return add_error("FAKE_KERNEL_ALIAS_RX", &aliases);
	return has_hp(info) ? 0 :
	       add_error("FAKE_KERNEL_UPDATE_RX", &updates);
}

static void describe(const struct flow *flow, struct quic_info *info)
{
	const uint16_t ciphers[] = {
		TLS_CIPHER_AES_GCM_128, TLS_CIPHER_AES_GCM_256,
		TLS_CIPHER_AES_CCM_128, TLS_CIPHER_CHACHA20_POLY1305,
	};
	struct quic_info_generation *gen = info->generations, *end;
	size_t i;

	end = gen + sizeof(info->generations) / sizeof(info->generations[0]);
	info->directions = QUIC_INFO_TX | QUIC_INFO_RX;
	info->tx_flags = QUIC_BYPASS_ENCRYPTION | QUIC_TX_TAG_ROOM |
			 QUIC_TX_FLOW_ID;
	for (i = 0; i < sizeof(ciphers) / sizeof(ciphers[0]) && !flow; i++)
		info->ciphers |= QUIC_INFO_CIPHER(ciphers[i]);
	/* The newest comes first, if no generation was N_GENS or more. */
	for (i = N_GENS; flow && i-- && gen < end; ) {
		if (!flow->keys[i].cipher)
			continue;
		gen->installed = 1;
		gen++->gen = i;
	}
}

int getsockopt(int fd, int level, int name, void *val, socklen_t *len)
{
	struct quic_info *info = val;
	struct flow *flow = NULL;

	if (level != SOL_UDP || name != UDP_QUIC_INFO || !stand_in)
		return REAL(getsockopt)(fd, level, name, val, len);
	if (info->key.flow_id) {
		flow = *flow_find(fd, info->key.flow_id,
				  info->key.flags & QUIC_CONN_RX);
		if (!flow)
			return fail(ENOENT);
	}
	describe(flow, info);
	if (env("FAKE_KERNEL_INFO"))
		*len = env("FAKE_KERNEL_INFO");
	return 0;
}

/* Was a flow that is another connection's removed? */
static void check_owner(int name, int err,
			const struct quic_connection_info *info)
{
	static uint32_t foreign;

	if (name == UDP_QUIC_ADD_TX_CONNECTION && err == EADDRINUSE)
		foreign = info->key.flow_id;
	if (name == UDP_QUIC_DEL_TX_CONNECTION && foreign &&
	    info->key.flow_id == foreign)
		abort();
}

int setsockopt(int fd, int level, int name, const void *val, socklen_t len)
{
	static int ulps, tx_adds;
	int err = 0;

	if (level == SOL_UDP && name == UDP_ULP)
		err = add_error("FAKE_KERNEL_ULP", &ulps);
	if (level == SOL_UDP && name == UDP_QUIC_ADD_TX_CONNECTION)
		err = add_error("FAKE_KERNEL_ADD", &tx_adds);
	if (level == SOL_UDP && name == UDP_QUIC_ADD_RX_CONNECTION)
		err = rx_error(val);
	if (level == SOL_UDP)
		check_owner(name, err, val);
	if (err)
		return fail(err);
	if (level == SOL_UDP && name == UDP_ULP)
		return attach(fd, val, len);
	if (level == SOL_UDP && stand_in &&
	    (name == UDP_QUIC_ADD_TX_CONNECTION ||
	     name == UDP_QUIC_DEL_TX_CONNECTION ||
	     name == UDP_QUIC_ADD_RX_CONNECTION ||
	     name == UDP_QUIC_DEL_RX_CONNECTION))
		return set_connection(fd, name, val);
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
			keys += 2;
		if (!keys->cipher)
			return fail(ENOKEY);
		expected = quic_pkt_number(expected, pkt + 1 + cid_len,
					   (*pkt & 3) + 1);
		if (!quic_pkt_seal(keys, cid_len, expected, pkt, n))
			return fail(EINVAL);
	}
	return 0;
}

/* Move packets apart, to make room for their tags: @len bytes become as many as
 * are returned.
 */
static size_t make_room(uint8_t *buf, size_t len, size_t gso)
{
	size_t i, n, piece = gso - QUIC_PKT_TAG;

	n = (len + piece - 1) / piece;
	for (i = n; i--;)
		memmove(buf + i * gso, buf + i * piece,
			i == n - 1 ? len - i * piece : piece);
	return len + n * QUIC_PKT_TAG;
}

static ssize_t send_sealed(int fd, const struct msghdr *msg, int flags,
			   const struct quic_tx_ancillary_data *anc)
{
	static __thread uint8_t buf[65536];
	struct iovec iov = { .iov_base = buf };
	struct msghdr copy = *msg;
	size_t i, n, passed;
	struct flow *flow;
	int ret;

	for (i = 0; i < msg->msg_iovlen; i++) {
		n = msg->msg_iov[i].iov_len;
		if (n > sizeof(buf) - iov.iov_len)
			return fail(EMSGSIZE);
		memcpy(buf + iov.iov_len, msg->msg_iov[i].iov_base, n);
		iov.iov_len += n;
	}
	n = gso_size(fd, msg, iov.iov_len + QUIC_PKT_TAG);
	passed = iov.iov_len;
	if (!(anc->flags & QUIC_TX_TAG_ROOM))
		iov.iov_len = make_room(buf, iov.iov_len, n);
	pthread_mutex_lock(&lock);
	flow = *flow_find(fd, anc->flow_id, false);
	ret = flow ? seal(flow, anc->conn_id_length, anc->next_pkt_num, buf,
			  iov.iov_len, n) : fail(ENOENT);
	pthread_mutex_unlock(&lock);
	if (ret)
		return -1;
	copy.msg_iov = &iov;
	copy.msg_iovlen = 1;
	return REAL(sendmsg)(fd, &copy, flags) < 0 ? -1 : (ssize_t)passed;
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

/* ----- reception ----- */

static bool has_rx_flows(int fd)
{
	struct flow *flow;

	pthread_mutex_lock(&lock);
	for (flow = flows; flow; flow = flow->next)
		if (flow->socket == inode(fd) && flow->receives)
			break;
	pthread_mutex_unlock(&lock);
	return flow;
}

/* The flow that has the connection ID of a packet */
static struct flow *rx_match(int fd, const uint8_t *pkt, size_t len,
			     uint8_t *cid_len)
{
	struct flow *flow;
	unsigned int i;

	for (flow = flows; flow; flow = flow->next) {
		for (i = 0; i < flow->n_cids; i++) {
			const struct cid *cid = &flow->cids[i];

			*cid_len = cid->len;
			if (flow->socket == inode(fd) && len > cid->len &&
			    !memcmp(pkt + 1, cid->data + sizeof(cid->data) -
				    cid->len, cid->len))
				return flow;
		}
	}
	*cid_len = 0;
	return NULL;
}

/* Open a packet whose header is in @hdr, in place. */
static void rx_open_payload(struct flow *flow, uint8_t *pkt, size_t len,
			    const uint8_t *hdr, size_t hdr_len,
			    struct quic_rx_packet *result)
{
	bool next = !!(hdr[0] & 4) != (flow->gen & 1);
	uint8_t gen = flow->gen + next;
	const struct quic_pkt_keys *keys = &flow->keys[gen % N_GENS];
	static __thread uint8_t plain[65536];

	if (!keys->cipher) {
		memcpy(pkt, hdr, hdr_len);
		result->status = QUIC_RX_KEY_PHASE;
		return;
	}
	result->status = QUIC_RX_AUTH_FAILED;
	if (!quic_pkt_open_payload(keys, result->pkt_num, hdr, hdr_len, pkt,
				   len, plain))
		return;
	memcpy(pkt, hdr, hdr_len);
	memcpy(pkt + hdr_len, plain, len - hdr_len - QUIC_PKT_TAG);
	result->status = QUIC_RX_OPENED;
	result->key_gen = gen;
	flow->gen = gen;
	if (result->pkt_num >= flow->expected)
		flow->expected = result->pkt_num + 1;
}

static void rx_open(int fd, uint8_t *pkt, size_t len,
		    struct quic_rx_packet *result)
{
	uint8_t hdr[QUIC_PKT_HDR];
	struct flow *flow;
	size_t hdr_len;

	memset(result, 0, sizeof(*result));
	result->status = QUIC_RX_NOT_1RTT;
	if (!len || pkt[0] & 0x80)
		return;
	result->status = QUIC_RX_NO_FLOW;
	flow = rx_match(fd, pkt, len, &result->conn_id_length);
	if (!flow)
		return;
	result->flow_id = flow->id;
	result->status = QUIC_RX_TOO_SHORT;
	hdr_len = quic_pkt_open_header(&flow->keys[flow->gen % N_GENS],
				       result->conn_id_length, pkt, len, hdr);
	if (!hdr_len)
		return;
	result->pkt_num_length = (hdr[0] & 3) + 1;
	result->pkt_num = quic_pkt_number(flow->expected,
					  hdr + 1 + result->conn_id_length,
					  result->pkt_num_length);
	rx_open_payload(flow, pkt, len, hdr, hdr_len, result);
}

/* One of the pieces of a message after the other, from or to @buf */
static void copy_pieces(const struct msghdr *msg, uint8_t *buf, size_t len,
			bool to_msg)
{
	size_t i, n;

	for (i = 0; i < msg->msg_iovlen && len; i++, buf += n, len -= n) {
		void *data = msg->msg_iov[i].iov_base;

		n = msg->msg_iov[i].iov_len;
		n = len < n ? len : n;
		memcpy(to_msg ? data : buf, to_msg ? buf : data, n);
	}
}

/* Append a control message of which nothing is there but its data. */
static void rx_put(struct msghdr *msg, size_t room, int level, int type,
		   const void *data, size_t len)
{
	struct cmsghdr *cmsg;

	if (msg->msg_flags & MSG_CTRUNC ||
	    room - msg->msg_controllen < CMSG_LEN(len)) {
		msg->msg_flags |= MSG_CTRUNC;
		return;
	}
	cmsg = (void *)((char *)msg->msg_control + msg->msg_controllen);
	cmsg->cmsg_level = level;
	cmsg->cmsg_type = type;
	cmsg->cmsg_len = CMSG_LEN(len);
	memcpy(CMSG_DATA(cmsg), data, len);
	room -= msg->msg_controllen;
	msg->msg_controllen += CMSG_SPACE(len) < room ? CMSG_SPACE(len) : room;
}

/* The control message about packets, if there are any, ahead of those of the
 * kernel, which are in @others
 */
static void rx_set_control(struct msghdr *msg, struct msghdr *others,
			   const struct quic_rx_packet *packets, size_t n)
{
	size_t room = msg->msg_controllen;
	struct cmsghdr *cmsg;

	msg->msg_controllen = 0;
	if (n)
		rx_put(msg, room, SOL_UDP, UDP_QUIC_DECRYPT, packets,
		       n * sizeof(*packets));
	for (cmsg = CMSG_FIRSTHDR(others); cmsg;
	     cmsg = CMSG_NXTHDR(others, cmsg))
		rx_put(msg, room, cmsg->cmsg_level, cmsg->cmsg_type,
		       CMSG_DATA(cmsg), cmsg->cmsg_len - CMSG_LEN(0));
}

static size_t gro_size(struct msghdr *msg, size_t len)
{
	struct cmsghdr *cmsg;
	int size;

	for (cmsg = CMSG_FIRSTHDR(msg); cmsg; cmsg = CMSG_NXTHDR(msg, cmsg)) {
		if (cmsg->cmsg_level != SOL_UDP || cmsg->cmsg_type != UDP_GRO)
			continue;
		memcpy(&size, CMSG_DATA(cmsg), sizeof(size));
		return size;
	}
	return len;
}

static ssize_t recv_opened(int fd, struct msghdr *msg, int flags)
{
	static __thread struct quic_rx_packet packets[N_PACKETS];
	static __thread uint8_t buf[65536];
	struct msghdr copy = *msg;
	char control[512];
	size_t off, n, size, need;
	ssize_t ret;

	if (!stand_in || !has_rx_flows(fd))
		return REAL(recvmsg)(fd, msg, flags);
	copy.msg_control = control;
	copy.msg_controllen = sizeof(control);
	ret = REAL(recvmsg)(fd, &copy, flags);
	if (ret < 0)
		return ret;
	msg->msg_namelen = copy.msg_namelen;
	msg->msg_flags = copy.msg_flags;
	size = gro_size(&copy, ret);
	n = size ? (ret + size - 1) / size : 0;
	/* A packet is opened only if the program is told so, and finds it. */
	need = CMSG_LEN(n * sizeof(packets[0]));
	if (n > 1)
		need += CMSG_LEN(sizeof(int));
	if (msg->msg_controllen < need) {
		rx_set_control(msg, &copy, NULL, 0);
		msg->msg_flags |= MSG_CTRUNC;
		return ret;
	}
	copy_pieces(msg, buf, ret, false);
	pthread_mutex_lock(&lock);
	for (off = 0, n = 0; off < (size_t)ret; off += size, n++)
		rx_open(fd, buf + off,
			ret - off < size ? ret - off : size, &packets[n]);
	pthread_mutex_unlock(&lock);
	copy_pieces(msg, buf, ret, true);
	rx_set_control(msg, &copy, packets, n);
	return ret;
}

/* Cut the control messages off where the size of packets begins. */
static void cut_size(struct msghdr *msg)
{
	struct cmsghdr *cmsg;

	for (cmsg = CMSG_FIRSTHDR(msg); cmsg; cmsg = CMSG_NXTHDR(msg, cmsg)) {
		if (cmsg->cmsg_level != SOL_UDP || cmsg->cmsg_type != UDP_GRO)
			continue;
		msg->msg_controllen = (char *)cmsg - (char *)msg->msg_control;
		msg->msg_flags |= MSG_CTRUNC;
		return;
	}
}

ssize_t recvmsg(int fd, struct msghdr *msg, int flags)
{
	ssize_t ret = recv_opened(fd, msg, flags);

	if (ret >= 0 && env("FAKE_KERNEL_NO_SIZE"))
		cut_size(msg);
	return ret;
}

int recvmmsg(int fd, struct mmsghdr *vec, unsigned int n, int flags,
	     struct timespec *timeout)
{
	unsigned int i;
	ssize_t ret;

	if (!stand_in || !has_rx_flows(fd))
		return REAL(recvmmsg)(fd, vec, n, flags, timeout);
	for (i = 0; i < n; i++) {
		ret = recvmsg(fd, &vec[i].msg_hdr,
			      i ? flags | MSG_DONTWAIT : flags);
		if (ret < 0)
			return i ? (int)i : -1;
		vec[i].msg_len = ret;
	}
	return n;
}
