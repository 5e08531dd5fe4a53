// SPDX-License-Identifier: GPL-2.0
/*
 * Let a program that uses ngtcp2 seal its 1-RTT packets in the kernel.
 *
 *	LD_PRELOAD=./quic_offload.so gtlsserver ...
 *
 * The program stays as it is. This library takes the place of the few ngtcp2
 * functions that see the keys and the packets, and of sendmsg():
 *
 *  1. ngtcp2_conn_install_tx_key() and ngtcp2_crypto_update_key() show the keys
 *     of a connection; they are kept here, one struct key per generation.
 *  2. ngtcp2_crypto_encrypt_cb() leaves a 1-RTT packet as it is, once the
 *     handshake is over. ngtcp2 appends 16 bytes of room for the tag all the
 *     same. struct mark is written there: it says whose packet this is, so that
 *     what was left unsealed is recognised wherever the program copies it.
 *     ngtcp2_crypto_hp_mask() then gives a mask of zeroes.
 *  3. sendmsg() finds the marks. When every packet of the call has one, and
 *     they have key and connection ID in common, the kernel is asked to seal
 *     them: it overwrites the marks with tags. Anything else that has a mark is
 *     sealed here, in a copy, with the library's own cipher.
 *
 * A packet with a mark never leaves as it is. When the kernel refuses it, it is
 * sealed here or the error goes back to the program, and when its key is gone
 * it is dropped like a packet lost on the way.
 *
 * A QUIC library that does this itself needs no marks, as it knows what it
 * built; flow_add(), flow_sync() and send_kernel() are the part to look at.
 *
 * Environment: QUIC_OFFLOAD=0 leaves everything to the library.
 * QUIC_OFFLOAD_STATS names a file for the counters (default: stderr, at exit).
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include <gnutls/gnutls.h>
#include <ngtcp2/ngtcp2.h>
#include <ngtcp2/ngtcp2_crypto.h>

#include "quic_uapi.h"

#define N_GENS		4	/* generations kept: old, current, next */
#define MAX_DGRAM	65535
#define MAX_CONTROL	512
#define N_BUCKETS	1024
#define PN_LIMIT	(1ULL << 43)	/* what fits into a mark */

/* Written where the tag will be. */
struct mark {
	uint32_t magic;		/* random, one per process */
	uint32_t key_id;
	uint64_t packet;	/* number << 21 | CID length << 16 | length */
};

_Static_assert(sizeof(struct mark) == QUIC_TAG_SIZE, "a mark fits the tag");

struct conn;

struct key {
	struct conn *conn;
	uint32_t id;
	uint64_t gen;
	void *handle;			/* the library's AEAD context */
	ngtcp2_crypto_aead_ctx ctx;	/* ours, as that one may go earlier */
	uint8_t key[QUIC_MAX_KEY_SIZE];
	uint8_t iv[QUIC_MAX_IV_SIZE];
	bool expired;			/* the kernel will not seal with it */
};

struct conn {
	ngtcp2_conn *ng;
	ngtcp2_crypto_aead aead;
	ngtcp2_crypto_cipher hp;
	ngtcp2_crypto_cipher_ctx hp_ctx;
	size_t key_len;
	uint16_t cipher_type;
	uint8_t hp_key[QUIC_MAX_KEY_SIZE];
	uint64_t newest;
	struct key *keys[N_GENS];	/* at generation % N_GENS */
	int fd;				/* socket that has the keys, or -1 */
	uint32_t flow_id;		/* there, whatever the address */
	uint64_t first;			/* generation installed first */
	uint64_t last;			/* ... and last */
	bool left;			/* the last packet was left unsealed */
	bool off;			/* the library seals, from now on */
};

/* A packet with a mark, found in a buffer. */
struct packet {
	struct key *key;
	uint8_t *start;
	size_t len;
	uint64_t number;
	size_t cid_len;
};

static struct {
	unsigned long connections;
	unsigned long given_up;		/* connections, after an error */
	unsigned long flows;
	unsigned long keys;
	unsigned long kernel_calls;
	unsigned long kernel_packets;
	unsigned long kernel_bytes;
	unsigned long kernel_max_batch;
	unsigned long library_packets;	/* 1-RTT, sealed in the callback */
	unsigned long fallback_calls;
	unsigned long fallback_packets;	/* left, then sealed here after all */
	unsigned long refused_calls;	/* by the kernel, error passed on */
	unsigned long dropped_packets;
} stats;

/* A map from pointers, or small numbers, to what belongs to them. */
struct map_node {
	struct map_node *next;
	const void *key;
	void *value;
};

struct map {
	struct map_node *buckets[N_BUCKETS];
};

static struct map conn_by_ng, conn_by_hp, key_by_handle, key_by_id;

/* Guards all of that. Not held while in the kernel to send. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static enum { UNKNOWN, MISSING, PRESENT } kernel_state;
static uint32_t magic, last_key_id, last_flow_id;
static bool seen_sendmsg;
static bool any_left;

static __thread uint8_t bounce[MAX_DGRAM];

#define REAL(name) ({						\
	static __typeof__(name) *real_##name;			\
	if (!real_##name)					\
		real_##name = dlsym(RTLD_NEXT, #name);		\
	if (!real_##name) {					\
		fprintf(stderr, "quic_offload: no %s\n", #name);\
		abort();					\
	}							\
	real_##name; })

static struct map_node **map_slot(struct map *map, const void *key)
{
	uint64_t hash = (uint64_t)(uintptr_t)key * 0x9e3779b97f4a7c15ULL;
	struct map_node **slot = &map->buckets[hash >> 54];

	while (*slot && (*slot)->key != key)
		slot = &(*slot)->next;
	return slot;
}

static void *map_get(struct map *map, const void *key)
{
	struct map_node *node = *map_slot(map, key);

	return node ? node->value : NULL;
}

static bool map_set(struct map *map, const void *key, void *value)
{
	struct map_node **slot = map_slot(map, key);

	if (!*slot) {
		*slot = calloc(1, sizeof(**slot));
		if (!*slot)
			return false;
		(*slot)->key = key;
	}
	(*slot)->value = value;
	return true;
}

/* Only if it still is @value: an address may have been used again. */
static void map_del(struct map *map, const void *key, const void *value)
{
	struct map_node **slot = map_slot(map, key);
	struct map_node *node = *slot;

	if (!node || node->value != value)
		return;
	*slot = node->next;
	free(node);
}

static const void *id_key(uint32_t id)
{
	return (const void *)(uintptr_t)id;
}

/* Is the offload there? Asked once; what is missing is said once. */
static bool kernel_present(void)
{
	const char *env = getenv("QUIC_OFFLOAD");
	int fd, ret;

	if (kernel_state != UNKNOWN)
		return kernel_state == PRESENT;
	kernel_state = MISSING;
	if (env && !strcmp(env, "0")) {
		fprintf(stderr, "quic_offload: off (QUIC_OFFLOAD=0)\n");
		return false;
	}
	if (getrandom(&magic, sizeof(magic), 0) != sizeof(magic))
		return false;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return false;
	ret = setsockopt(fd, SOL_UDP, UDP_ULP, QUIC_CRYPTO_ULP_NAME,
			 strlen(QUIC_CRYPTO_ULP_NAME));
	if (ret)
		fprintf(stderr,
			"quic_offload: not in this kernel (%s%s), the library seals its packets\n",
			strerror(errno),
			errno == ENOENT ? ", is quic_crypto loaded?" : "");
	else
		kernel_state = PRESENT;
	close(fd);
	return kernel_state == PRESENT;
}

/* The one place that depends on the TLS library that ngtcp2 was built for. */
static int cipher_type(const ngtcp2_crypto_aead *aead)
{
	switch ((gnutls_cipher_algorithm_t)(intptr_t)aead->native_handle) {
	case GNUTLS_CIPHER_AES_128_GCM:
		return TLS_CIPHER_AES_GCM_128;
	case GNUTLS_CIPHER_AES_256_GCM:
		return TLS_CIPHER_AES_GCM_256;
	case GNUTLS_CIPHER_AES_128_CCM:
		return TLS_CIPHER_AES_CCM_128;
	case GNUTLS_CIPHER_CHACHA20_POLY1305:
		return TLS_CIPHER_CHACHA20_POLY1305;
	default:
		return -1;
	}
}

/* HKDF-Expand-Label of TLS 1.3 with an empty context */
static int expand_label(uint8_t *dest, size_t len, const ngtcp2_crypto_md *md,
			const uint8_t *secret, size_t secret_len,
			const char *label)
{
	uint8_t info[64];
	int n;

	n = snprintf((char *)info + 3, sizeof(info) - 3, "tls13 %s", label);
	info[0] = len >> 8;
	info[1] = len;
	info[2] = n;
	info[3 + n] = 0;
	return ngtcp2_crypto_hkdf_expand(dest, len, md, secret, secret_len,
					 info, 3 + n + 1);
}

/* ----- keys and connections ----- */

static void key_free(struct key *key)
{
	if (!key)
		return;
	map_del(&key_by_handle, key->handle, key);
	map_del(&key_by_id, id_key(key->id), key);
	ngtcp2_crypto_aead_ctx_free(&key->ctx);
	explicit_bzero(key, sizeof(*key));
	free(key);
}

static struct key *key_add(struct conn *conn, uint64_t gen, void *handle,
			   const uint8_t *secret_key, const uint8_t *iv)
{
	struct key *key = calloc(1, sizeof(*key));
	struct key **slot = &conn->keys[gen % N_GENS];

	if (!key)
		return NULL;
	memcpy(key->key, secret_key, conn->key_len);
	memcpy(key->iv, iv, sizeof(key->iv));
	if (ngtcp2_crypto_aead_ctx_encrypt_init(&key->ctx, &conn->aead,
						key->key, sizeof(key->iv))) {
		explicit_bzero(key, sizeof(*key));
		free(key);
		return NULL;
	}
	do
		last_key_id++;
	while (!last_key_id || map_get(&key_by_id, id_key(last_key_id)));
	key->id = last_key_id;
	key->conn = conn;
	key->gen = gen;
	key->handle = handle;
	if (!map_set(&key_by_id, id_key(key->id), key) ||
	    !map_set(&key_by_handle, handle, key)) {
		key_free(key);
		return NULL;
	}
	key_free(*slot);
	*slot = key;
	conn->newest = gen;
	stats.keys++;
	return key;
}

static void conn_free(struct conn *conn)
{
	unsigned int i;

	for (i = 0; i < N_GENS; i++)
		key_free(conn->keys[i]);
	map_del(&conn_by_ng, conn->ng, conn);
	map_del(&conn_by_hp, conn->hp_ctx.native_handle, conn);
	explicit_bzero(conn, sizeof(*conn));
	free(conn);
}

/*
 * The first 1-RTT key. The library hands over its contexts and the secret, not
 * the keys, so they are derived once more (RFC 9001 section 5.1, RFC 9369
 * section 3.3.2).
 */
static void conn_add(ngtcp2_conn *ng, const uint8_t *secret, size_t secret_len,
		     void *handle, const uint8_t *iv, size_t iv_len,
		     const ngtcp2_crypto_cipher_ctx *hp_ctx)
{
	const ngtcp2_crypto_ctx *ctx = ngtcp2_conn_get_crypto_ctx(ng);
	bool v2 = ngtcp2_conn_get_negotiated_version(ng) ==
		  NGTCP2_PROTO_VER_V2;
	uint8_t key[QUIC_MAX_KEY_SIZE];
	int type = cipher_type(&ctx->aead);
	struct conn *conn;

	if (type < 0 || iv_len != QUIC_MAX_IV_SIZE ||
	    ctx->aead.max_overhead != QUIC_TAG_SIZE)
		return;
	conn = map_get(&conn_by_ng, ng);
	if (conn)
		conn_free(conn);
	conn = calloc(1, sizeof(*conn));
	if (!conn)
		return;
	conn->ng = ng;
	conn->aead = ctx->aead;
	conn->hp = ctx->hp;
	conn->hp_ctx = *hp_ctx;
	conn->cipher_type = type;
	conn->key_len = ngtcp2_crypto_aead_keylen(&ctx->aead);
	conn->fd = -1;
	do
		conn->flow_id = ++last_flow_id;
	while (!conn->flow_id);
	if (conn->key_len > sizeof(key) ||
	    expand_label(key, conn->key_len, &ctx->md, secret, secret_len,
			 v2 ? "quicv2 key" : "quic key") ||
	    expand_label(conn->hp_key, conn->key_len, &ctx->md, secret,
			 secret_len, v2 ? "quicv2 hp" : "quic hp") ||
	    !map_set(&conn_by_ng, ng, conn) ||
	    !map_set(&conn_by_hp, hp_ctx->native_handle, conn) ||
	    !key_add(conn, 0, handle, key, iv))
		conn_free(conn);
	else
		stats.connections++;
	explicit_bzero(key, sizeof(key));
}

/* ----- flows: what the kernel is told ----- */

static int flow_add(const struct conn *conn, int fd, const struct key *key)
{
	struct quic_connection_info info;
	int ret;

	memset(&info, 0, sizeof(info));
	info.key.flow_id = conn->flow_id;
	info.cipher_type = conn->cipher_type;
	info.conn_payload_key_gen = key->gen;
	memcpy(info.payload_iv, key->iv, sizeof(info.payload_iv));
	memcpy(info.payload_key, key->key, sizeof(info.payload_key));
	memcpy(info.header_key, conn->hp_key, sizeof(info.header_key));
	ret = setsockopt(fd, SOL_UDP, UDP_QUIC_ADD_TX_CONNECTION, &info,
			 sizeof(info));
	explicit_bzero(&info, sizeof(info));
	return ret;
}

/* Install the generations that came after those that the kernel has. */
static int flow_sync(struct conn *conn)
{
	while (conn->last < conn->newest) {
		const struct key *key;

		key = conn->keys[(conn->last + 1) % N_GENS];
		if (!key || key->gen != conn->last + 1 ||
		    flow_add(conn, conn->fd, key))
			return -1;
		conn->last++;
	}
	return 0;
}

static void flow_del(struct conn *conn)
{
	struct quic_connection_info_key key;

	if (conn->fd < 0)
		return;
	memset(&key, 0, sizeof(key));
	key.flow_id = conn->flow_id;
	setsockopt(conn->fd, SOL_UDP, UDP_QUIC_DEL_TX_CONNECTION, &key,
		   sizeof(key));
	conn->fd = -1;
}

/* From now on the library seals the packets of this connection. */
static void give_up(struct conn *conn, int err)
{
	if (conn->off)
		return;
	conn->off = true;
	if (!stats.given_up++)
		fprintf(stderr,
			"quic_offload: a connection was refused (%s), the library seals its packets\n",
			strerror(err));
}

/*
 * Let the kernel have the key of a packet, on this socket. If the connection
 * moves to another socket, the key is there before it leaves the old one: to
 * the kernel it stays one key, with one record of packet numbers.
 */
static int flow_get(const struct packet *pkt, int fd)
{
	struct conn *conn = pkt->key->conn;

	if (conn->fd != fd) {
		if (flow_add(conn, fd, pkt->key))
			return -1;
		flow_del(conn);
		conn->fd = fd;
		conn->first = pkt->key->gen;
		conn->last = pkt->key->gen;
		stats.flows++;
	}
	if (flow_sync(conn))
		return -1;
	/* The kernel keeps two generations. */
	if (pkt->key->gen < conn->first || pkt->key->gen + 1 < conn->last) {
		errno = ENOKEY;
		return -1;
	}
	return 0;
}

/* ----- packets ----- */

/* Leave the packet as it is, for sendmsg() to deal with? */
static bool leave(uint8_t *dest, const ngtcp2_crypto_aead_ctx *ctx,
		  const uint8_t *plain, size_t plain_len, const uint8_t *nonce,
		  const uint8_t *aad, size_t aad_len)
{
	size_t len = aad_len + plain_len + QUIC_TAG_SIZE;
	size_t pn_len = (aad[0] & 3) + 1;
	struct mark mark;
	uint64_t number = 0;
	struct key *key;
	bool ret = false;
	int i;

	pthread_mutex_lock(&lock);
	key = map_get(&key_by_handle, ctx->native_handle);
	if (!key)
		goto out;
	for (i = 4; i < QUIC_MAX_IV_SIZE; i++)
		number = number << 8 | (nonce[i] ^ key->iv[i]);
	ret = seen_sendmsg && !key->conn->off && !key->expired &&
	      ngtcp2_conn_get_handshake_completed(key->conn->ng) &&
	      dest == aad + aad_len && len <= MAX_DGRAM &&
	      aad_len > pn_len && number < PN_LIMIT &&
	      aad_len - 1 - pn_len <= QUIC_MAX_CONNECTION_ID_SIZE;
	key->conn->left = ret;
	if (!ret) {
		stats.library_packets++;
		goto out;
	}
	mark.magic = magic;
	mark.key_id = key->id;
	mark.packet = number << 21 | (aad_len - 1 - pn_len) << 16 | len;
	if (dest != plain)
		memmove(dest, plain, plain_len);
	memcpy(dest + plain_len, &mark, sizeof(mark));
	any_left = true;
out:
	pthread_mutex_unlock(&lock);
	return ret;
}

/* 0: no mark, sealed or none of our business. -1: ours, and beyond use. */
static int find_mark(uint8_t *data, size_t len, struct packet *pkt)
{
	struct mark mark;

	if (len < sizeof(mark))
		return 0;
	memcpy(&mark, data + len - sizeof(mark), sizeof(mark));
	if (mark.magic != magic)
		return 0;
	pkt->key = map_get(&key_by_id, id_key(mark.key_id));
	pkt->number = mark.packet >> 21;
	pkt->cid_len = mark.packet >> 16 & 0x1f;
	pkt->len = mark.packet & 0xffff;
	pkt->start = data + len - pkt->len;
	if (!pkt->key || pkt->len > len ||
	    pkt->cid_len > QUIC_MAX_CONNECTION_ID_SIZE ||
	    pkt->len < pkt->cid_len + 5 + QUIC_TAG_SIZE ||
	    pkt->start[0] & 0x80)
		return -1;
	return 1;
}

/* What the kernel would have done, RFC 9001 sections 5.3 and 5.4 */
static int seal(const struct packet *pkt)
{
	const struct conn *conn = pkt->key->conn;
	size_t pn_len = (pkt->start[0] & 3) + 1;
	size_t hdr_len = 1 + pkt->cid_len + pn_len;
	uint8_t *pn = pkt->start + 1 + pkt->cid_len;
	uint8_t nonce[QUIC_MAX_IV_SIZE];
	uint8_t mask[NGTCP2_HP_SAMPLELEN];
	size_t i;

	memcpy(nonce, pkt->key->iv, sizeof(nonce));
	for (i = 0; i < 8; i++)
		nonce[sizeof(nonce) - 1 - i] ^= pkt->number >> (8 * i);
	if (ngtcp2_crypto_encrypt(pkt->start + hdr_len, &conn->aead,
				  &pkt->key->ctx, pkt->start + hdr_len,
				  pkt->len - hdr_len - QUIC_TAG_SIZE,
				  nonce, sizeof(nonce), pkt->start, hdr_len))
		return -1;
	if (REAL(ngtcp2_crypto_hp_mask)(mask, &conn->hp, &conn->hp_ctx, pn + 4))
		return -1;
	pkt->start[0] ^= mask[0] & 0x1f;
	for (i = 0; i < pn_len; i++)
		pn[i] ^= mask[1 + i];
	return 0;
}

/* Seal in a copy whatever has a mark, and send that. Called locked. */
static ssize_t send_user(int fd, const struct msghdr *msg, int flags,
			 const uint8_t *data, size_t len, size_t gso)
{
	struct iovec iov = { .iov_base = bounce, .iov_len = len };
	struct msghdr copy = *msg;
	unsigned int n = 0;
	ssize_t ret;
	size_t off;

	if (data != bounce)
		memcpy(bounce, data, len);
	for (off = 0; off < len; off += gso) {
		struct packet pkt;
		int found;

		found = find_mark(bounce + off,
				  len - off < gso ? len - off : gso, &pkt);
		if (found < 0 || (found && seal(&pkt))) {
			stats.dropped_packets++;
			pthread_mutex_unlock(&lock);
			return len;
		}
		n += found;
	}
	pthread_mutex_unlock(&lock);

	copy.msg_iov = &iov;
	copy.msg_iovlen = 1;
	ret = REAL(sendmsg)(fd, &copy, flags);
	if (ret >= 0) {
		stats.fallback_calls++;
		stats.fallback_packets += n;
	}
	return ret;
}

/* sendmsg() with one more control message, ahead of the program's own. */
static ssize_t send_kernel(int fd, const struct msghdr *msg, int flags,
			   uint32_t flow_id, uint8_t cid_len, uint64_t number)
{
	struct quic_tx_ancillary_data *anc;
	struct msghdr copy = *msg;
	union {
		struct cmsghdr hdr;
		char data[CMSG_SPACE(sizeof(*anc)) + MAX_CONTROL];
	} control;

	memset(&control, 0, CMSG_SPACE(sizeof(*anc)));
	control.hdr.cmsg_level = SOL_UDP;
	control.hdr.cmsg_type = UDP_QUIC_ENCRYPT;
	control.hdr.cmsg_len = CMSG_LEN(sizeof(*anc));
	anc = (struct quic_tx_ancillary_data *)CMSG_DATA(&control.hdr);
	anc->next_pkt_num = number;
	anc->flags = QUIC_TX_TAG_ROOM | QUIC_TX_FLOW_ID;
	anc->conn_id_length = cid_len;
	anc->flow_id = flow_id;
	if (msg->msg_controllen)
		memcpy(control.data + CMSG_SPACE(sizeof(*anc)),
		       msg->msg_control, msg->msg_controllen);
	copy.msg_control = &control;
	copy.msg_controllen = CMSG_SPACE(sizeof(*anc)) + msg->msg_controllen;
	return REAL(sendmsg)(fd, &copy, flags);
}

/* Size of the datagrams that the call makes out of its data */
static size_t gso_size(int fd, const struct msghdr *msg, size_t len)
{
	struct cmsghdr *cmsg;
	socklen_t opt_len = sizeof(int);
	uint16_t size;
	int val = 0;

	for (cmsg = CMSG_FIRSTHDR(msg); cmsg;
	     cmsg = CMSG_NXTHDR((struct msghdr *)msg, cmsg)) {
		if (cmsg->cmsg_level != SOL_UDP ||
		    cmsg->cmsg_type != UDP_SEGMENT)
			continue;
		memcpy(&size, CMSG_DATA(cmsg), sizeof(size));
		return size ? size : len;
	}
	if (getsockopt(fd, SOL_UDP, UDP_SEGMENT, &val, &opt_len) || val <= 0)
		return len;
	return val;
}

/* The data in one piece, as packets may straddle the pieces. */
static uint8_t *one_piece(const struct msghdr *msg, size_t *len)
{
	size_t i, off = 0;

	for (i = 0, *len = 0; i < msg->msg_iovlen; i++)
		*len += msg->msg_iov[i].iov_len;
	if (*len > MAX_DGRAM)	/* no datagram, sendmsg() will say so */
		return NULL;
	if (msg->msg_iovlen == 1)
		return msg->msg_iov[0].iov_base;
	for (i = 0; i < msg->msg_iovlen; i++) {
		memcpy(bounce + off, msg->msg_iov[i].iov_base,
		       msg->msg_iov[i].iov_len);
		off += msg->msg_iov[i].iov_len;
	}
	return bounce;
}

ssize_t sendmsg(int fd, const struct msghdr *msg, int flags)
{
	struct packet first = { 0 };
	bool same = true, retried = false;
	size_t len, gso, off, n = 0, n_marked = 0;
	uint64_t expected = 0;
	uint32_t flow_id;
	uint8_t *data;
	ssize_t ret;
	int err;

	seen_sendmsg = true;
	if (!any_left)
		return REAL(sendmsg)(fd, msg, flags);
	data = one_piece(msg, &len);
	if (!data || !len)
		return REAL(sendmsg)(fd, msg, flags);
	gso = gso_size(fd, msg, len);

	pthread_mutex_lock(&lock);
	for (off = 0; off < len; off += gso, n++) {
		struct packet pkt;
		int found;

		found = find_mark(data + off,
				  len - off < gso ? len - off : gso, &pkt);
		if (found < 0) {
			stats.dropped_packets++;
			pthread_mutex_unlock(&lock);
			return len;
		}
		if (!found)
			continue;
		if (!n_marked++)
			first = pkt;
		/* One key, one connection ID, numbers in order, alone. */
		if (pkt.key != first.key || pkt.start != data + off ||
		    pkt.number < expected || pkt.cid_len != first.cid_len ||
		    memcmp(pkt.start + 1, first.start + 1, pkt.cid_len))
			same = false;
		expected = pkt.number + 1;
	}
	if (!n_marked) {
		pthread_mutex_unlock(&lock);
		return REAL(sendmsg)(fd, msg, flags);
	}
	if (!same || n_marked != n || msg->msg_controllen > MAX_CONTROL ||
	    first.key->expired || first.key->conn->off)
		return send_user(fd, msg, flags, data, len, gso);
again:
	if (flow_get(&first, fd)) {
		if (errno != ENOKEY)
			give_up(first.key->conn, errno);
		return send_user(fd, msg, flags, data, len, gso);
	}
	flow_id = first.key->conn->flow_id;
	pthread_mutex_unlock(&lock);

	ret = send_kernel(fd, msg, flags, flow_id, first.cid_len, first.number);
	if (ret >= 0) {
		stats.kernel_calls++;
		stats.kernel_packets += n;
		stats.kernel_bytes += len;
		if (n > stats.kernel_max_batch)
			stats.kernel_max_batch = n;
		return ret;
	}

	/*
	 * Nothing was sent. What is about sealing is dealt with here; anything
	 * else is what the program would have met without us. The connection
	 * may have gone meanwhile, so look again.
	 */
	err = errno;
	pthread_mutex_lock(&lock);
	if (find_mark(data, n > 1 ? gso : len, &first) <= 0)
		err = ECONNABORTED;
	switch (err) {
	case ENOENT:		/* another socket has the descriptor now, ... */
	case EINVAL:		/* ... one that has no flow at all */
	case ENOKEY:
		if (!retried) {
			retried = true;
			flow_del(first.key->conn);
			goto again;
		}
		give_up(first.key->conn, err);
		break;
	case EALREADY:		/* sent again: the same bytes, sealed alike */
		break;
	case EKEYEXPIRED:
		first.key->expired = true;
		break;
	case EOPNOTSUPP:
		give_up(first.key->conn, err);
		break;
	default:
		stats.refused_calls++;
		pthread_mutex_unlock(&lock);
		errno = err;
		return -1;
	}
	return send_user(fd, msg, flags, data, len, gso);
}

/* No other way out for a packet that was left unsealed. */
ssize_t sendto(int fd, const void *buf, size_t len, int flags,
	       const struct sockaddr *addr, socklen_t addr_len)
{
	struct iovec iov = { .iov_base = (void *)buf, .iov_len = len };
	struct msghdr msg = {
		.msg_name = (void *)addr,
		.msg_namelen = addr ? addr_len : 0,
		.msg_iov = &iov,
		.msg_iovlen = 1,
	};

	if (!any_left)
		return REAL(sendto)(fd, buf, len, flags, addr, addr_len);
	return sendmsg(fd, &msg, flags);
}

ssize_t send(int fd, const void *buf, size_t len, int flags)
{
	return sendto(fd, buf, len, flags, NULL, 0);
}

int sendmmsg(int fd, struct mmsghdr *vec, unsigned int n, int flags)
{
	unsigned int i;
	ssize_t ret;

	if (!any_left)
		return REAL(sendmmsg)(fd, vec, n, flags);
	for (i = 0; i < n; i++) {
		ret = sendmsg(fd, &vec[i].msg_hdr, flags);
		if (ret < 0)
			return i ? (int)i : -1;
		vec[i].msg_len = ret;
	}
	return n;
}

/* ----- what ngtcp2, or the program, calls ----- */

int ngtcp2_conn_install_tx_key(ngtcp2_conn *conn, const uint8_t *secret,
			       size_t secretlen,
			       const ngtcp2_crypto_aead_ctx *aead_ctx,
			       const uint8_t *iv, size_t ivlen,
			       const ngtcp2_crypto_cipher_ctx *hp_ctx)
{
	pthread_mutex_lock(&lock);
	if (kernel_present())
		conn_add(conn, secret, secretlen, aead_ctx->native_handle, iv,
			 ivlen, hp_ctx);
	pthread_mutex_unlock(&lock);
	return REAL(ngtcp2_conn_install_tx_key)(conn, secret, secretlen,
						aead_ctx, iv, ivlen, hp_ctx);
}

int ngtcp2_crypto_update_key(ngtcp2_conn *conn, uint8_t *rx_secret,
			     uint8_t *tx_secret,
			     ngtcp2_crypto_aead_ctx *rx_aead_ctx,
			     uint8_t *rx_key, uint8_t *rx_iv,
			     ngtcp2_crypto_aead_ctx *tx_aead_ctx,
			     uint8_t *tx_key, uint8_t *tx_iv,
			     const uint8_t *current_rx_secret,
			     const uint8_t *current_tx_secret,
			     size_t secretlen)
{
	struct conn *c;
	int ret;

	ret = REAL(ngtcp2_crypto_update_key)(conn, rx_secret, tx_secret,
					     rx_aead_ctx, rx_key, rx_iv,
					     tx_aead_ctx, tx_key, tx_iv,
					     current_rx_secret,
					     current_tx_secret, secretlen);
	if (ret)
		return ret;
	pthread_mutex_lock(&lock);
	c = map_get(&conn_by_ng, conn);
	if (c && !key_add(c, c->newest + 1, tx_aead_ctx->native_handle, tx_key,
			  tx_iv))
		give_up(c, ENOMEM);
	/* The kernel has it before the Key Phase bit changes. */
	if (c && !c->off && c->fd >= 0 && flow_sync(c))
		flow_del(c);
	pthread_mutex_unlock(&lock);
	return 0;
}

int ngtcp2_crypto_update_key_cb(ngtcp2_conn *conn, uint8_t *rx_secret,
				uint8_t *tx_secret,
				ngtcp2_crypto_aead_ctx *rx_aead_ctx,
				uint8_t *rx_iv,
				ngtcp2_crypto_aead_ctx *tx_aead_ctx,
				uint8_t *tx_iv,
				const uint8_t *current_rx_secret,
				const uint8_t *current_tx_secret,
				size_t secretlen, void *user_data)
{
	uint8_t rx_key[64], tx_key[64];
	int ret;

	ret = ngtcp2_crypto_update_key(conn, rx_secret, tx_secret, rx_aead_ctx,
				       rx_key, rx_iv, tx_aead_ctx, tx_key,
				       tx_iv, current_rx_secret,
				       current_tx_secret, secretlen);
	explicit_bzero(rx_key, sizeof(rx_key));
	explicit_bzero(tx_key, sizeof(tx_key));
	return ret ? NGTCP2_ERR_CALLBACK_FAILURE : 0;
}

int ngtcp2_crypto_encrypt_cb(uint8_t *dest, const ngtcp2_crypto_aead *aead,
			     const ngtcp2_crypto_aead_ctx *aead_ctx,
			     const uint8_t *plaintext, size_t plaintextlen,
			     const uint8_t *nonce, size_t noncelen,
			     const uint8_t *aad, size_t aadlen)
{
	/* Long headers, so the whole handshake, stay with the library. */
	if (aadlen && !(aad[0] & 0x80) && noncelen == QUIC_MAX_IV_SIZE &&
	    leave(dest, aead_ctx, plaintext, plaintextlen, nonce, aad, aadlen))
		return 0;
	return REAL(ngtcp2_crypto_encrypt_cb)(dest, aead, aead_ctx, plaintext,
					      plaintextlen, nonce, noncelen,
					      aad, aadlen);
}

/* ngtcp2 asks for the mask of a packet right after having it encrypted. */
static bool zero_mask(uint8_t *dest, const ngtcp2_crypto_cipher_ctx *hp_ctx)
{
	struct conn *conn;
	bool left;

	pthread_mutex_lock(&lock);
	conn = map_get(&conn_by_hp, hp_ctx->native_handle);
	left = conn && conn->left;
	pthread_mutex_unlock(&lock);
	if (left)
		memset(dest, 0, NGTCP2_HP_MASKLEN);
	return left;
}

int ngtcp2_crypto_hp_mask(uint8_t *dest, const ngtcp2_crypto_cipher *hp,
			  const ngtcp2_crypto_cipher_ctx *hp_ctx,
			  const uint8_t *sample)
{
	if (zero_mask(dest, hp_ctx))
		return 0;
	return REAL(ngtcp2_crypto_hp_mask)(dest, hp, hp_ctx, sample);
}

int ngtcp2_crypto_hp_mask_cb(uint8_t *dest, const ngtcp2_crypto_cipher *hp,
			     const ngtcp2_crypto_cipher_ctx *hp_ctx,
			     const uint8_t *sample)
{
	if (zero_mask(dest, hp_ctx))
		return 0;
	return REAL(ngtcp2_crypto_hp_mask_cb)(dest, hp, hp_ctx, sample);
}

void ngtcp2_conn_del(ngtcp2_conn *conn)
{
	struct conn *c;

	pthread_mutex_lock(&lock);
	c = map_get(&conn_by_ng, conn);
	if (c) {
		flow_del(c);
		conn_free(c);
	}
	pthread_mutex_unlock(&lock);
	REAL(ngtcp2_conn_del)(conn);
}

static void __attribute__((destructor)) print_stats(void)
{
	const char *path = getenv("QUIC_OFFLOAD_STATS");
	FILE *f = stderr;

	if (kernel_state == UNKNOWN)
		return;
	if (path)
		f = fopen(path, "w");
	if (!f)
		return;
#define P(name) fprintf(f, "%-20s %lu\n", #name, stats.name)
	fprintf(f, "%-20s %d\n", "offload", kernel_state == PRESENT);
	P(connections);
	P(given_up);
	P(flows);
	P(keys);
	P(kernel_calls);
	P(kernel_packets);
	P(kernel_bytes);
	P(kernel_max_batch);
	P(library_packets);
	P(fallback_calls);
	P(fallback_packets);
	P(refused_calls);
	P(dropped_packets);
#undef P
	if (f != stderr)
		fclose(f);
}
