// SPDX-License-Identifier: GPL-2.0
/*
 * What the tests of QUIC packet protection share. Packets are sealed and
 * opened by libcrypto, in code of its own: nothing here comes from the kernel.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/syscall.h>

#include <linux/bpf.h>
#include <linux/if_packet.h>

#include <openssl/evp.h>

#include "quic_util.h"

static const EVP_CIPHER *cipher_aead(uint16_t cipher)
{
	switch (cipher) {
	case TLS_CIPHER_AES_GCM_128:
		return EVP_aes_128_gcm();
	case TLS_CIPHER_AES_GCM_256:
		return EVP_aes_256_gcm();
	case TLS_CIPHER_AES_CCM_128:
		return EVP_aes_128_ccm();
	default:
		return EVP_chacha20_poly1305();
	}
}

static const EVP_CIPHER *cipher_hp(uint16_t cipher)
{
	switch (cipher) {
	case TLS_CIPHER_AES_GCM_128:
	case TLS_CIPHER_AES_CCM_128:
		return EVP_aes_128_ecb();
	case TLS_CIPHER_AES_GCM_256:
		return EVP_aes_256_ecb();
	default:
		return EVP_chacha20();
	}
}

size_t cipher_key_len(uint16_t cipher)
{
	return EVP_CIPHER_key_length(cipher_aead(cipher));
}

static int aead_start(EVP_CIPHER_CTX *ctx, const struct keys *k, bool enc,
		      const uint8_t *nonce, uint8_t *tag)
{
	bool ccm = k->cipher == TLS_CIPHER_AES_CCM_128;

	return EVP_CipherInit_ex(ctx, cipher_aead(k->cipher), NULL, NULL, NULL,
				 enc) &&
	       EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_IVLEN,
				   QUIC_MAX_IV_SIZE, NULL) &&
	       ((enc && !ccm) ||
		EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, TAG,
				    enc ? NULL : tag)) &&
	       EVP_CipherInit_ex(ctx, NULL, NULL, k->key, nonce, enc);
}

/* Seals or opens @len bytes of @buf in place; @tag is written or compared. */
static int aead_crypt(const struct keys *k, bool enc, const uint8_t *nonce,
		      const uint8_t *aad, size_t aad_len, uint8_t *buf,
		      size_t len, uint8_t *tag)
{
	bool ccm = k->cipher == TLS_CIPHER_AES_CCM_128;
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	uint8_t none[TAG];
	int n, ok;

	ok = ctx && aead_start(ctx, k, enc, nonce, tag) &&
	     (!ccm || EVP_CipherUpdate(ctx, NULL, &n, NULL, len)) &&
	     EVP_CipherUpdate(ctx, NULL, &n, aad, aad_len) &&
	     EVP_CipherUpdate(ctx, buf, &n, buf, len);
	/* CCM has compared the tag by now, and has no final step. */
	if (ok && !(ccm && !enc))
		ok = EVP_CipherFinal_ex(ctx, none, &n);
	if (ok && enc)
		ok = EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, TAG, tag);
	EVP_CIPHER_CTX_free(ctx);
	return ok ? 0 : -1;
}

/* RFC 9001 5.4.3, 5.4.4 */
static int hp_mask(const struct keys *k, const uint8_t *sample, uint8_t *mask)
{
	static const uint8_t zero[16];
	bool chacha = k->cipher == TLS_CIPHER_CHACHA20_POLY1305;
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	int n, ok;

	/* OpenSSL's IV is the counter, little endian, then the nonce. */
	ok = ctx && EVP_EncryptInit_ex(ctx, cipher_hp(k->cipher), NULL, k->hp,
				       chacha ? sample : NULL) &&
	     EVP_EncryptUpdate(ctx, mask, &n, chacha ? zero : sample, 16);
	EVP_CIPHER_CTX_free(ctx);
	return ok ? 0 : -1;
}

static void nonce_init(uint8_t *nonce, const struct flow *f, uint64_t pn)
{
	uint32_t path = f->path;
	int i;

	memcpy(nonce, f->keys.iv, QUIC_MAX_IV_SIZE);
	for (i = QUIC_MAX_IV_SIZE - 1; pn; i--, pn >>= 8)
		nonce[i] ^= pn & 0xff;
	for (i = 3; path; i--, path >>= 8)
		nonce[i] ^= path & 0xff;
}

static void fill_random(void *buf, size_t len)
{
	if (getrandom(buf, len, 0) != (ssize_t)len)
		abort();
}

void keys_init(struct keys *k, uint16_t cipher)
{
	memset(k, 0, sizeof(*k));
	k->cipher = cipher;
	fill_random(k->key, sizeof(k->key));
	fill_random(k->iv, sizeof(k->iv));
	fill_random(k->hp, sizeof(k->hp));
}

void flow_init(struct flow *f, uint16_t cipher, unsigned int cid_len)
{
	memset(f, 0, sizeof(*f));
	keys_init(&f->keys, cipher);
	f->cid_len = cid_len;
	if (!cid_len)
		return;
	fill_random(f->cid, cid_len);
	f->cid[0] |= 1;
}

/* The same flow after a key update: RFC 9001 6.1 keeps the header key. */
void flow_next(struct flow *next, const struct flow *f)
{
	*next = *f;
	keys_init(&next->keys, f->keys.cipher);
	memcpy(next->keys.hp, f->keys.hp, sizeof(f->keys.hp));
	next->gen++;
}

void flow_key(const struct flow *f, struct quic_connection_info_key *key)
{
	memset(key, 0, sizeof(*key));
	key->flow_id = f->id;
	key->path_id = f->path;
	if (f->id)
		return;
	memcpy(key->conn_id + sizeof(key->conn_id) - f->cid_len, f->cid,
	       f->cid_len);
	key->conn_id_length = f->cid_len;
	memcpy(&key->peer, &f->dst, sizeof(key->peer));
}

/* What the kernel must not look at is not zero. */
void flow_info(const struct flow *f, struct quic_connection_info *ci)
{
	size_t len = cipher_key_len(f->keys.cipher);

	memset(ci, 0xa5, sizeof(*ci));
	flow_key(f, &ci->key);
	ci->cipher_type = f->keys.cipher;
	ci->conn_payload_key_gen = f->gen;
	memcpy(ci->payload_key, f->keys.key, len);
	memcpy(ci->payload_iv, f->keys.iv, sizeof(f->keys.iv));
	memcpy(ci->header_key, f->keys.hp, len);
}

int flow_add(int fd, const struct flow *f)
{
	struct quic_connection_info ci;

	flow_info(f, &ci);
	if (setsockopt(fd, SOL_UDP, UDP_QUIC_ADD_TX_CONNECTION, &ci,
		       sizeof(ci)))
		return -errno;
	return 0;
}

int flow_del(int fd, const struct flow *f)
{
	struct quic_connection_info ci;

	memset(&ci, 0xa5, sizeof(ci));
	flow_key(f, &ci.key);
	if (setsockopt(fd, SOL_UDP, UDP_QUIC_DEL_TX_CONNECTION, &ci,
		       sizeof(ci)))
		return -errno;
	return 0;
}

/* Removes the keys of one generation. */
int flow_del_gen(int fd, const struct flow *f)
{
	struct quic_connection_info ci;

	memset(&ci, 0xa5, sizeof(ci));
	flow_key(f, &ci.key);
	ci.key.flags = QUIC_CONN_GENERATION;
	ci.conn_payload_key_gen = f->gen;
	if (setsockopt(fd, SOL_UDP, UDP_QUIC_DEL_TX_CONNECTION, &ci,
		       sizeof(ci)))
		return -errno;
	return 0;
}

int flow_del_all(int fd)
{
	struct quic_connection_info_key key = { .flags = QUIC_CONN_ALL };

	if (setsockopt(fd, SOL_UDP, UDP_QUIC_DEL_TX_CONNECTION, &key,
		       sizeof(key)))
		return -errno;
	return 0;
}

/* @f may be NULL: only what the kernel can do */
int flow_state(int fd, const struct flow *f, struct quic_info *info)
{
	socklen_t len = sizeof(*info);

	memset(info, 0, sizeof(*info));
	if (f)
		flow_key(f, &info->key);
	if (getsockopt(fd, SOL_UDP, UDP_QUIC_INFO, info, &len))
		return -errno;
	return len == sizeof(*info) ? 0 : -EMSGSIZE;
}

size_t pkt_hdr_len(const struct pkt *p)
{
	return 1 + p->flow->cid_len + p->pn_len;
}

/* What a sample of the ciphertext can be taken from: RFC 9001 5.4.2 */
size_t pkt_min_len(const struct flow *f)
{
	return 1 + f->cid_len + 4 + 16;
}

/* Writes @p->len - TAG bytes. */
void pkt_plain(const struct pkt *p, uint8_t *buf)
{
	size_t i, hdr = pkt_hdr_len(p), len = p->len - TAG;

	*buf++ = p->first | (p->flow->gen & 1 ? HDR_PHASE : 0) |
		 (p->pn_len - 1);
	memcpy(buf, p->flow->cid, p->flow->cid_len);
	buf += p->flow->cid_len;
	for (i = p->pn_len; i--; )
		*buf++ = p->pn >> (8 * i);
	for (i = hdr; i < len; i++)
		*buf++ = MARKER[(i - hdr) % MARKER_LEN];
}

/* Applies header protection to a sealed packet: RFC 9001 5.4.1 */
static int pkt_hide_hdr(const struct pkt *p, uint8_t *buf)
{
	uint8_t *pn = buf + 1 + p->flow->cid_len, mask[16];
	unsigned int i;

	if (hp_mask(&p->flow->keys, pn + 4, mask))
		return -1;
	buf[0] ^= mask[0] & 0x1f;
	for (i = 0; i < p->pn_len; i++)
		pn[i] ^= mask[1 + i];
	return 0;
}

/* @buf has the plaintext; writes @p->len bytes. */
int pkt_seal(const struct pkt *p, uint8_t *buf)
{
	size_t hdr = pkt_hdr_len(p), len = p->len - TAG - hdr;
	uint8_t nonce[QUIC_MAX_IV_SIZE];

	nonce_init(nonce, p->flow, p->pn);
	if (aead_crypt(&p->flow->keys, true, nonce, buf, hdr, buf + hdr, len,
		       buf + hdr + len))
		return -1;
	return pkt_hide_hdr(p, buf);
}

/* RFC 9000 A.3, from its text */
uint64_t pkt_num_decode(uint64_t expected, uint64_t truncated,
			unsigned int pn_len)
{
	uint64_t win = 1ULL << (8 * pn_len), half = win / 2;
	uint64_t candidate = (expected & ~(win - 1)) | truncated;

	if (candidate + half <= expected && candidate < (1ULL << 62) - win)
		return candidate + win;
	if (candidate > expected + half && candidate >= win)
		return candidate - win;
	return candidate;
}

/* Removes header protection in place; @pn is the truncated number. */
int pkt_show_hdr(const struct flow *f, uint8_t *buf, size_t len,
		 unsigned int *pn_len, uint64_t *pn)
{
	uint8_t mask[16], *p = buf + 1 + f->cid_len;
	unsigned int i;

	if (len < pkt_min_len(f) || hp_mask(&f->keys, p + 4, mask))
		return -1;
	buf[0] ^= mask[0] & 0x1f;
	*pn_len = (buf[0] & 3) + 1;
	*pn = 0;
	for (i = 0; i < *pn_len; i++) {
		p[i] ^= mask[1 + i];
		*pn = *pn << 8 | p[i];
	}
	return 0;
}

/* Opens the payload in place once the header is not protected any more. */
int pkt_open_payload(const struct flow *f, uint64_t pn, unsigned int pn_len,
		     uint8_t *buf, size_t len)
{
	size_t hdr = 1 + f->cid_len + pn_len;
	uint8_t nonce[QUIC_MAX_IV_SIZE];

	if (len < hdr + TAG)
		return -1;
	nonce_init(nonce, f, pn);
	return aead_crypt(&f->keys, false, nonce, buf, hdr, buf + hdr,
			  len - hdr - TAG, buf + len - TAG);
}

/*
 * Opens a packet in place, as a receiver would, that expects number @expected.
 * Returns the length of the plaintext.
 */
int pkt_open(const struct flow *f, uint64_t expected, uint8_t *buf, size_t len,
	     uint64_t *pn)
{
	unsigned int pn_len;
	uint64_t truncated;

	if (len < pkt_min_len(f) || memcmp(buf + 1, f->cid, f->cid_len) ||
	    pkt_show_hdr(f, buf, len, &pn_len, &truncated))
		return -1;
	*pn = pkt_num_decode(expected, truncated, pn_len);
	return pkt_open_payload(f, *pn, pn_len, buf, len) ? -1 : len - TAG;
}

/* @n packets of @size bytes on the wire, the last of them of @last */
void batch_init(struct batch *b, const struct flow *f, uint64_t pn,
		unsigned int n, size_t size, size_t last)
{
	unsigned int i;

	b->n = n;
	b->size = size;
	b->room = false;
	for (i = 0; i < n; i++) {
		b->pkt[i].flow = f;
		b->pkt[i].pn = pn + i;
		b->pkt[i].pn_len = 4;
		b->pkt[i].first = HDR_FIXED;
		b->pkt[i].len = i == n - 1 ? last : size;
	}
}

void batch_build(struct batch *b)
{
	uint8_t *plain = b->plain, *wire = b->wire;
	unsigned int i;

	for (i = 0; i < b->n; i++) {
		const struct pkt *p = &b->pkt[i];

		pkt_plain(p, plain);
		memcpy(wire, plain, p->len - TAG);
		if (pkt_seal(p, wire))
			abort();
		wire += p->len;
		plain += p->len - TAG;
		if (b->room) {
			memset(plain, 0xee, TAG);
			plain += TAG;
		}
	}
	b->plain_len = plain - b->plain;
}

int sock_udp(int family)
{
	return socket(family, SOCK_DGRAM | SOCK_CLOEXEC, IPPROTO_UDP);
}

void addr_loopback(struct sockaddr_storage *addr, int family, uint16_t port)
{
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)addr;
	struct sockaddr_in *v4 = (struct sockaddr_in *)addr;

	memset(addr, 0, sizeof(*addr));
	addr->ss_family = family;
	if (family == AF_INET) {
		v4->sin_port = htons(port);
		v4->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	} else {
		v6->sin6_port = htons(port);
		v6->sin6_addr = in6addr_loopback;
	}
}

/* Turns an IPv4 address into its form for an AF_INET6 socket. */
void addr_mapped(struct sockaddr_storage *addr)
{
	struct sockaddr_in v4 = *(struct sockaddr_in *)addr;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)addr;

	memset(addr, 0, sizeof(*addr));
	v6->sin6_family = AF_INET6;
	v6->sin6_port = v4.sin_port;
	v6->sin6_addr.s6_addr[10] = 0xff;
	v6->sin6_addr.s6_addr[11] = 0xff;
	memcpy(&v6->sin6_addr.s6_addr[12], &v4.sin_addr, 4);
}

socklen_t addr_len(const struct sockaddr_storage *addr)
{
	return addr->ss_family == AF_INET ? sizeof(struct sockaddr_in) :
					    sizeof(struct sockaddr_in6);
}

/* A receiver on a loopback port of the kernel's choice, with a large queue */
int sock_bound(int family, struct sockaddr_storage *addr)
{
	socklen_t len = sizeof(*addr);
	int fd = sock_udp(family);

	addr_loopback(addr, family, 0);
	if (fd < 0 || bind(fd, (void *)addr, addr_len(addr)) ||
	    getsockname(fd, (void *)addr, &len))
		return -1;
	if (set_int(fd, SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20))
		set_int(fd, SOL_SOCKET, SO_RCVBUF, 8 << 20);
	return fd;
}

int set_int(int fd, int level, int opt, int val)
{
	return setsockopt(fd, level, opt, &val, sizeof(val)) ? -errno : 0;
}

/* Sets an option to @ci, with zeros after it up to @len bytes. */
int option_padded(int fd, int opt, const struct quic_connection_info *ci,
		  size_t len)
{
	uint8_t *buf = calloc(1, len);
	int ret;

	memcpy(buf, ci, sizeof(*ci));
	ret = setsockopt(fd, SOL_UDP, opt, buf, len) ? -errno : 0;
	free(buf);
	return ret;
}

int attach_ulp(int fd)
{
	if (setsockopt(fd, SOL_UDP, UDP_ULP, QUIC_CRYPTO_ULP_NAME,
		       sizeof(QUIC_CRYPTO_ULP_NAME)))
		return -errno;
	return 0;
}

void tx_init(struct tx *tx, int fd, const struct sockaddr_storage *to)
{
	memset(tx, 0, sizeof(*tx));
	tx->fd = fd;
	tx->to = to;
	tx->anc.pad = 0xa5a5;
	tx->anc.flow_id = 0xa5a5a5a5;
	tx->anc_len = sizeof(tx->anc);
	tx->n_anc = 1;
}

/* Without GSO: that is up to the caller. An id of the flow selects it. */
void tx_batch(struct tx *tx, const struct batch *b)
{
	tx->one.iov_base = (void *)b->plain;
	tx->one.iov_len = b->plain_len;
	tx->iov = &tx->one;
	tx->iovlen = 1;
	tx->anc.next_pkt_num = b->pkt[0].pn;
	tx->anc.conn_id_length = b->pkt[0].flow->cid_len;
	tx->anc.flags &= ~(QUIC_TX_TAG_ROOM | QUIC_TX_FLOW_ID);
	if (b->room)
		tx->anc.flags |= QUIC_TX_TAG_ROOM;
	if (b->pkt[0].flow->id) {
		tx->anc.flags |= QUIC_TX_FLOW_ID;
		tx->anc.flow_id = b->pkt[0].flow->id;
	}
}

static void *cmsg_put(struct msghdr *msg, int level, int type, size_t len)
{
	struct cmsghdr *cmsg;

	cmsg = (void *)((char *)msg->msg_control + msg->msg_controllen);
	cmsg->cmsg_level = level;
	cmsg->cmsg_type = type;
	cmsg->cmsg_len = CMSG_LEN(len);
	msg->msg_controllen += CMSG_SPACE(len);
	return CMSG_DATA(cmsg);
}

void tx_msg(struct tx *tx, struct msghdr *msg)
{
	unsigned int i;

	memset(msg, 0, sizeof(*msg));
	memset(tx->control, 0, sizeof(tx->control));
	msg->msg_name = (void *)tx->to;
	msg->msg_namelen = tx->to ? addr_len(tx->to) : 0;
	msg->msg_iov = tx->iov;
	msg->msg_iovlen = tx->iovlen;
	msg->msg_control = tx->control;
	if (tx->extra_len) {
		memcpy(tx->control, tx->extra, tx->extra_len);
		msg->msg_controllen = tx->extra_len;
	}
	for (i = 0; i < tx->n_anc; i++)
		memcpy(cmsg_put(msg, SOL_UDP, UDP_QUIC_ENCRYPT, tx->anc_len),
		       &tx->anc, tx->anc_len < sizeof(tx->anc) ? tx->anc_len :
							      sizeof(tx->anc));
	if (tx->gso)
		memcpy(cmsg_put(msg, SOL_UDP, UDP_SEGMENT, sizeof(tx->gso)),
		       &tx->gso, sizeof(tx->gso));
}

ssize_t tx_send(struct tx *tx)
{
	struct msghdr msg;
	ssize_t ret;

	tx_msg(tx, &msg);
	ret = sendmsg(tx->fd, &msg, tx->flags);
	return ret < 0 ? -errno : ret;
}

ssize_t rx_recv(int fd, void *buf, size_t size, int timeout_ms)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	ssize_t ret;

	if (timeout_ms && poll(&pfd, 1, timeout_ms) <= 0)
		return -EAGAIN;
	ret = recv(fd, buf, size, MSG_DONTWAIT | MSG_TRUNC);
	return ret < 0 ? -errno : ret;
}

bool has_marker(const void *buf, size_t len)
{
	return memmem(buf, len, MARKER, MARKER_LEN);
}

int counters_read(struct counters *c)
{
	static const char * const names[NR_COUNTERS] = {
		[CURR_TX_SW]		= "QuicCurrTxSw",
		[TX_SW]			= "QuicTxSw",
		[TX_SW_ERROR]		= "QuicTxSwError",
		[TX_SW_PACKETS]		= "QuicTxSwPackets",
		[TX_SW_BYTES]		= "QuicTxSwBytes",
		[TX_NO_FLOW]		= "QuicTxNoFlow",
		[TX_NO_KEY]		= "QuicTxNoKey",
		[TX_PKT_NUM_REUSE]	= "QuicTxPktNumReuse",
		[TX_KEY_LIMIT]		= "QuicTxKeyLimit",
		[TX_MALFORMED]		= "QuicTxMalformed",
		[TX_OTHER_ERROR]	= "QuicTxOtherError",
		[TX_LOST]		= "QuicTxLost",
	};
	int i, seen = 0;
	unsigned long v;
	char name[33];
	FILE *f;

	f = fopen("/proc/self/net/quic_stat", "r");
	if (!f)
		return -errno;
	while (fscanf(f, "%32s %lu", name, &v) == 2) {
		for (i = 0; i < NR_COUNTERS && strcmp(name, names[i]); i++)
			;
		if (i < NR_COUNTERS) {
			c->v[i] = v;
			seen |= 1 << i;
		}
	}
	fclose(f);
	return seen == (1 << NR_COUNTERS) - 1 ? 0 : -ENOENT;
}

int sysctl_write(const char *name, unsigned long val)
{
	char path[128], num[24];
	int fd, len, ret = 0;

	snprintf(path, sizeof(path), "/proc/sys/net/quic_crypto/%s", name);
	fd = open(path, O_WRONLY);
	if (fd < 0)
		return -errno;
	len = snprintf(num, sizeof(num), "%lu", val);
	if (write(fd, num, len) != len)
		ret = -errno;
	close(fd);
	return ret;
}

/* A network namespace of our own, loopback up */
int netns_enter(void)
{
	struct ifreq ifr = { .ifr_name = "lo" };
	int fd, ret = 0;

	if (unshare(CLONE_NEWNET) && unshare(CLONE_NEWUSER | CLONE_NEWNET))
		return -errno;
	fd = sock_udp(AF_INET);
	ifr.ifr_flags = IFF_UP;
	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &ifr))
		ret = -errno;
	close(fd);
	return ret;
}

int bpf_call(int cmd, union bpf_attr *attr)
{
	int ret = syscall(__NR_bpf, cmd, attr, sizeof(*attr));

	return ret < 0 ? -errno : ret;
}

/* Returns NULL when the kernel has what is tested, else what it lacks. */
const char *quic_missing(void)
{
	int fd = sock_udp(AF_INET), err;

	err = attach_ulp(fd);
	if (err == -ENOENT && !system("modprobe -q quic_crypto"))
		err = attach_ulp(fd);
	close(fd);
	switch (err) {
	case 0:
		return NULL;
	case -ENOPROTOOPT:
		return "the kernel has no UDP_ULP";
	case -ENOENT:
		return "the kernel has no quic-crypto (CONFIG_QUIC_CRYPTO)";
	default:
		return strerror(-err);
	}
}

/* Sees every frame of the namespace. */
int capture_open(void)
{
	int fd;

	fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL));
	if (fd < 0)
		return -errno;
	if (set_int(fd, SOL_SOCKET, SO_RCVBUFFORCE, 16 << 20))
		set_int(fd, SOL_SOCKET, SO_RCVBUF, 16 << 20);
	return fd;
}

/* Random numbers that a seed repeats: xorshift64* */

static uint64_t rnd_state;

void rnd_seed(unsigned long seed)
{
	rnd_state = seed * 2 + 1;
}

uint64_t rnd(void)
{
	rnd_state ^= rnd_state >> 12;
	rnd_state ^= rnd_state << 25;
	rnd_state ^= rnd_state >> 27;
	return rnd_state * 0x2545f4914f6cdd1dULL;
}

unsigned int below(unsigned int n)
{
	return (rnd() >> 33) % n;
}

bool one_in(unsigned int n)
{
	return !below(n);
}

unsigned long env_number(const char *name, unsigned long val)
{
	const char *text = getenv(name);

	return text ? strtoul(text, NULL, 0) : val;
}

time_t seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec;
}
