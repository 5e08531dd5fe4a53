// SPDX-License-Identifier: GPL-2.0
/*
 * A double of the kernel's side, for tests of quic_offload.so on a kernel that
 * has none. Preload it after quic_offload.so. It answers setsockopt() and
 * sendmsg() as Documentation/networking/quic.rst says and seals with libcrypto.
 * For tests only: what it does not need to be, such as fast, it is not.
 *
 * FAKE_KERNEL_ULP=errno	UDP_ULP fails so: a kernel without the offload
 * FAKE_KERNEL_ADD=errno	UDP_QUIC_ADD_TX_CONNECTION fails so
 * FAKE_KERNEL_FAIL=errno:n	every n-th sendmsg() with the cmsg fails so
 * FAKE_KERNEL_LEAK=1		sends unsealed: the checker must notice
 * FAKE_KERNEL_STAT=file	counters, at exit, as in /proc/net/quic_stat
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <openssl/evp.h>

#include <linux/quic.h>

#define SOL_UDP_			17
#define UDP_ULP				105
#define UDP_QUIC_ADD_TX_CONNECTION	106
#define UDP_QUIC_DEL_TX_CONNECTION	107
#define UDP_QUIC_ENCRYPT		108

#define MAX_FD		1024
#define MAX_PKTS	128
#define WINDOW		4096

struct fkey {
	struct fkey *next;
	uint16_t cipher;
	uint8_t key[QUIC_MAX_KEY_SIZE], iv[QUIC_MAX_IV_SIZE];
	uint64_t highest;		/* number sealed last, plus 1 */
	bool used[WINDOW];
};

struct fflow {
	struct fflow *next;
	int fd;
	struct quic_connection_info_key id;
	uint16_t cipher;
	uint8_t hp[QUIC_MAX_KEY_SIZE];
	uint8_t newest;
	struct fkey *keys[2];
};

static struct fkey *all_keys;
static struct fflow *all_flows;
static bool attached[MAX_FD];
static unsigned long n_flows, n_tx, n_error, n_packets, n_bytes, n_noflow,
	n_nokey, n_reuse, n_malformed, n_other;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

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

static size_t key_size(uint16_t cipher)
{
	switch (cipher) {
	case TLS_CIPHER_AES_GCM_128:
	case TLS_CIPHER_AES_CCM_128:
		return 16;
	case TLS_CIPHER_AES_GCM_256:
	case TLS_CIPHER_CHACHA20_POLY1305:
		return 32;
	}
	return 0;
}

static struct fkey *get_key(const struct quic_connection_info *info)
{
	size_t len = key_size(info->cipher_type);
	struct fkey *key;

	for (key = all_keys; key; key = key->next)
		if (key->cipher == info->cipher_type &&
		    !memcmp(key->key, info->payload_key, len))
			return memcmp(key->iv, info->payload_iv,
				      sizeof(key->iv)) ? NULL : key;
	key = calloc(1, sizeof(*key));
	key->cipher = info->cipher_type;
	memcpy(key->key, info->payload_key, len);
	memcpy(key->iv, info->payload_iv, sizeof(key->iv));
	key->next = all_keys;
	all_keys = key;
	return key;
}

static bool same_flow(const struct fflow *flow, int fd,
		      const struct quic_connection_info_key *id)
{
	return flow->fd == fd &&
	       flow->id.conn_id_length == id->conn_id_length &&
	       !memcmp(flow->id.conn_id, id->conn_id, sizeof(id->conn_id)) &&
	       !memcmp(&flow->id.dst, &id->dst, sizeof(id->dst));
}

static int add(int fd, const struct quic_connection_info *info)
{
	const struct quic_connection_info_key *id = &info->key;
	size_t len = key_size(info->cipher_type);
	uint8_t gen = info->conn_payload_key_gen;
	struct fflow *flow, *found = NULL;
	struct fkey *key;

	if (id->flags || id->reserved || id->reserved2 ||
	    id->conn_id_length > QUIC_MAX_CONNECTION_ID_SIZE)
		return fail(EINVAL);
	if (!len)
		return fail(EOPNOTSUPP);
	for (flow = all_flows; flow; flow = flow->next) {
		if (same_flow(flow, fd, id))
			found = flow;
		else if (flow->fd == fd && id->flow_id &&
			 flow->id.flow_id == id->flow_id)
			return fail(EEXIST);
	}
	flow = found;
	if (flow) {
		if (gen == flow->newest)
			return fail(EEXIST);
		if ((uint8_t)(gen - flow->newest) != 1 ||
		    flow->cipher != info->cipher_type ||
		    memcmp(flow->hp, info->header_key, len) ||
		    (id->flow_id && id->flow_id != flow->id.flow_id))
			return fail(EINVAL);
	}
	key = get_key(info);
	if (!key)
		return fail(EINVAL);
	if (!flow) {
		flow = calloc(1, sizeof(*flow));
		flow->fd = fd;
		flow->id = *id;
		flow->cipher = info->cipher_type;
		memcpy(flow->hp, info->header_key, len);
		flow->next = all_flows;
		all_flows = flow;
		n_flows++;
		n_tx++;
	}
	flow->newest = gen;
	flow->keys[gen & 1] = key;
	attached[fd] = true;
	return 0;
}

static int del(int fd, const struct quic_connection_info_key *id)
{
	struct fflow **p, *flow;

	for (p = &all_flows; *p; p = &(*p)->next) {
		flow = *p;
		if (!same_flow(flow, fd, id))
			continue;
		*p = flow->next;
		free(flow);
		n_flows--;
		return 0;
	}
	return fail(ENOENT);
}

int setsockopt(int fd, int level, int name, const void *val, socklen_t len)
{
	const struct quic_connection_info *info = val;

	if (level != SOL_UDP_ || fd < 0 || fd >= MAX_FD)
		return REAL(setsockopt)(fd, level, name, val, len);
	switch (name) {
	case UDP_ULP:
		if (env("FAKE_KERNEL_ULP"))
			return fail(env("FAKE_KERNEL_ULP"));
		attached[fd] = true;
		return 0;
	case UDP_QUIC_ADD_TX_CONNECTION:
		if (env("FAKE_KERNEL_ADD"))
			return fail(env("FAKE_KERNEL_ADD"));
		return len < sizeof(*info) ? fail(EINVAL) : add(fd, info);
	case UDP_QUIC_DEL_TX_CONNECTION:
		return attached[fd] ? del(fd, &info->key) : fail(ENOENT);
	}
	return REAL(setsockopt)(fd, level, name, val, len);
}

static const EVP_CIPHER *aead(uint16_t cipher)
{
	switch (cipher) {
	case TLS_CIPHER_AES_GCM_128:
		return EVP_aes_128_gcm();
	case TLS_CIPHER_AES_CCM_128:
		return EVP_aes_128_ccm();
	case TLS_CIPHER_AES_GCM_256:
		return EVP_aes_256_gcm();
	}
	return EVP_chacha20_poly1305();
}

static void seal(const struct fflow *flow, const struct fkey *key,
		 uint8_t *pkt, size_t len, uint64_t number)
{
	size_t pn_off = 1 + flow->id.conn_id_length, pn_len = (*pkt & 3) + 1;
	size_t hdr = pn_off + pn_len, body = len - hdr - QUIC_TAG_SIZE, i;
	bool ccm = flow->cipher == TLS_CIPHER_AES_CCM_128;
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	uint8_t nonce[QUIC_MAX_IV_SIZE], mask[32] = { 0 }, zero[5] = { 0 };
	const uint8_t *sample = pkt + pn_off + 4;
	int n;

	memcpy(nonce, key->iv, sizeof(nonce));
	for (i = 0; i < 8; i++)
		nonce[11 - i] ^= number >> (8 * i);
	EVP_EncryptInit_ex(ctx, aead(flow->cipher), NULL, NULL, NULL);
	if (ccm)
		EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, 16, NULL);
	EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_IVLEN, 12, NULL);
	EVP_EncryptInit_ex(ctx, NULL, NULL, key->key, nonce);
	if (ccm)
		EVP_EncryptUpdate(ctx, NULL, &n, NULL, body);
	EVP_EncryptUpdate(ctx, NULL, &n, pkt, hdr);
	EVP_EncryptUpdate(ctx, pkt + hdr, &n, pkt + hdr, body);
	EVP_EncryptFinal_ex(ctx, pkt + hdr + n, &n);
	EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, 16, pkt + len - 16);
	EVP_CIPHER_CTX_reset(ctx);

	if (flow->cipher == TLS_CIPHER_CHACHA20_POLY1305) {
		EVP_EncryptInit_ex(ctx, EVP_chacha20(), NULL, flow->hp, sample);
		EVP_EncryptUpdate(ctx, mask, &n, zero, sizeof(zero));
	} else {
		EVP_EncryptInit_ex(ctx, key_size(flow->cipher) == 16 ?
				   EVP_aes_128_ecb() : EVP_aes_256_ecb(),
				   NULL, flow->hp, NULL);
		EVP_EncryptUpdate(ctx, mask, &n, sample, 16);
	}
	EVP_CIPHER_CTX_free(ctx);
	pkt[0] ^= mask[0] & 0x1f;
	for (i = 0; i < pn_len; i++)
		pkt[pn_off + i] ^= mask[1 + i];
}

/* RFC 9000 appendix A.3 */
static uint64_t decode(uint64_t expected, const uint8_t *p, size_t len)
{
	uint64_t win = 1ULL << (8 * len), pn = 0, cand;
	size_t i;

	for (i = 0; i < len; i++)
		pn = pn << 8 | p[i];
	cand = (expected & ~(win - 1)) | pn;
	if (cand + win / 2 <= expected && cand < (1ULL << 62) - win)
		return cand + win;
	if (cand > expected + win / 2 && cand >= win)
		return cand - win;
	return cand;
}

static const struct fflow *
find_flow(int fd, const struct quic_tx_ancillary_data *anc,
	  const uint8_t *cid, const struct msghdr *msg)
{
	const struct fflow *flow, *any = NULL;

	for (flow = all_flows; flow; flow = flow->next) {
		const uint8_t *end;

		end = flow->id.conn_id + sizeof(flow->id.conn_id);
		if (flow->fd != fd)
			continue;
		if (anc->flags & QUIC_TX_FLOW_ID) {
			if (flow->id.flow_id == anc->flow_id)
				return flow;
			continue;
		}
		if (flow->id.conn_id_length != anc->conn_id_length ||
		    memcmp(end - anc->conn_id_length, cid, anc->conn_id_length))
			continue;
		if (msg->msg_name &&
		    !memcmp(&flow->id.dst, msg->msg_name, msg->msg_namelen))
			return flow;
		if (!((struct sockaddr *)&flow->id.dst)->sa_family)
			any = flow;
	}
	return any;
}

static int refuse(unsigned long *counter, int err)
{
	n_error++;
	++*counter;
	return fail(err);
}

static ssize_t send_sealed(int fd, const struct msghdr *msg, int flags,
			   const struct quic_tx_ancillary_data *anc,
			   size_t gso, struct msghdr *stripped)
{
	static uint8_t buf[65536];
	static unsigned int calls;
	struct iovec iov = { .iov_base = buf };
	uint64_t numbers[MAX_PKTS], expected = anc->next_pkt_num;
	size_t len = 0, off, i, n = 0, cl = anc->conn_id_length;
	const char *inject = getenv("FAKE_KERNEL_FAIL");
	const struct fflow *flow;
	socklen_t opt_len = sizeof(int);
	struct fkey *key;
	uint8_t first;
	int opt = 0;

	if (inject && strchr(inject, ':') &&
	    ++calls % atoi(strchr(inject, ':') + 1) == 0)
		return refuse(&n_other, atoi(inject));
	if (!attached[fd])
		return refuse(&n_malformed, EINVAL);
	for (i = 0; i < msg->msg_iovlen; i++) {
		if (len + msg->msg_iov[i].iov_len > 65507)
			return refuse(&n_other, EMSGSIZE);
		memcpy(buf + len, msg->msg_iov[i].iov_base,
		       msg->msg_iov[i].iov_len);
		len += msg->msg_iov[i].iov_len;
	}
	if (!gso && !getsockopt(fd, SOL_UDP_, UDP_SEGMENT, &opt, &opt_len))
		gso = opt;
	if (!gso)
		gso = len;
	if (!len || !(anc->flags & QUIC_TX_TAG_ROOM) || cl > 20 ||
	    (len + gso - 1) / gso > MAX_PKTS)
		return refuse(&n_malformed, EINVAL);
	flow = find_flow(fd, anc, buf + 1, msg);
	if (!flow)
		return refuse(&n_noflow, ENOENT);
	first = buf[0];
	key = flow->keys[!!(first & 4)];
	if (!key)
		return refuse(&n_nokey, ENOKEY);
	for (off = 0; off < len; off += gso, n++) {
		size_t seg = len - off < gso ? len - off : gso;
		uint8_t *pkt = buf + off;
		uint64_t pn;

		if (*pkt & 0x80 || (*pkt ^ first) & 4 ||
		    seg < 1 + cl + 4 + 16 || cl != flow->id.conn_id_length ||
		    memcmp(pkt + 1, flow->id.conn_id + 20 - cl, cl))
			return refuse(&n_malformed, EINVAL);
		pn = decode(expected, pkt + 1 + cl, (*pkt & 3) + 1);
		if (pn + WINDOW <= key->highest ||
		    (pn < key->highest && key->used[pn % WINDOW]) ||
		    (n && pn < expected))
			return refuse(&n_reuse, EALREADY);
		numbers[n] = pn;
		expected = pn + 1;
	}
	for (i = 0, off = 0; i < n; i++, off += gso) {
		for (; key->highest <= numbers[i] && i < n; key->highest++) {
			if (numbers[i] - key->highest > WINDOW)
				key->highest = numbers[i] - WINDOW;
			key->used[key->highest % WINDOW] = false;
		}
		key->used[numbers[i] % WINDOW] = true;
		if (!env("FAKE_KERNEL_LEAK"))
			seal(flow, key, buf + off,
			     len - off < gso ? len - off : gso, numbers[i]);
	}

	n_packets += n;
	n_bytes += len;
	iov.iov_len = len;
	stripped->msg_iov = &iov;
	stripped->msg_iovlen = 1;
	return REAL(sendmsg)(fd, stripped, flags);
}

ssize_t sendmsg(int fd, const struct msghdr *msg, int flags)
{
	struct quic_tx_ancillary_data anc;
	struct msghdr copy = *msg;
	union {
		struct cmsghdr hdr;
		char data[2048];
	} control = { 0 };
	struct cmsghdr *cmsg;
	bool found = false;
	size_t off = 0;
	uint16_t gso = 0;

	for (cmsg = CMSG_FIRSTHDR(msg); cmsg;
	     cmsg = CMSG_NXTHDR((struct msghdr *)msg, cmsg)) {
		if (cmsg->cmsg_level == SOL_UDP_ &&
		    cmsg->cmsg_type == UDP_QUIC_ENCRYPT) {
			if (found || cmsg->cmsg_len != CMSG_LEN(sizeof(anc)))
				return fail(EINVAL);
			memcpy(&anc, CMSG_DATA(cmsg), sizeof(anc));
			found = true;
			continue;
		}
		if (cmsg->cmsg_level == SOL_UDP_ &&
		    cmsg->cmsg_type == UDP_SEGMENT)
			memcpy(&gso, CMSG_DATA(cmsg), sizeof(gso));
		if (off + CMSG_ALIGN(cmsg->cmsg_len) > sizeof(control))
			return fail(EINVAL);
		memcpy(control.data + off, cmsg, cmsg->cmsg_len);
		off += CMSG_ALIGN(cmsg->cmsg_len);
	}
	if (!found)
		return REAL(sendmsg)(fd, msg, flags);
	copy.msg_control = off ? &control : NULL;
	copy.msg_controllen = off;
	return send_sealed(fd, msg, flags, &anc, gso, &copy);
}

static void __attribute__((destructor)) print_stat(void)
{
	const char *path = getenv("FAKE_KERNEL_STAT");
	FILE *f = path ? fopen(path, "w") : NULL;

	if (!f)
		return;
#define P(name, val) fprintf(f, "%-32s\t%lu\n", name, val)
	P("QuicCurrTxSw", n_flows);
	P("QuicTxSw", n_tx);
	P("QuicTxSwError", n_error);
	P("QuicTxSwPackets", n_packets);
	P("QuicTxSwBytes", n_bytes);
	P("QuicTxNoFlow", n_noflow);
	P("QuicTxNoKey", n_nokey);
	P("QuicTxPktNumReuse", n_reuse);
	P("QuicTxKeyLimit", 0UL);
	P("QuicTxMalformed", n_malformed);
	P("QuicTxOtherError", n_other);
	fclose(f);
}
