// SPDX-License-Identifier: GPL-2.0
/*
 * Tests of libquickernel, checked with libcrypto (../quic_pkt.c). They run on
 * the kernel that is there. With ../test/fake_kernel.so preloaded, errors are
 * injected, and a stand-in seals and opens if the kernel does not.
 *
 * usage: quickernel_test [NAME]...	all tests, or those whose names begin so
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include <openssl/core_names.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include "quickernel.h"
#include "../quic_pkt.h"
#include "../quic_uapi.h"

#define N_GENS		4
#define CID_LEN		8
#define PN_LEN		2
#define HDR_LEN		(1 + CID_LEN + PN_LEN)
#define LEN		300	/* of a packet, tag included */
#define SYSCTL		"/proc/sys/net/quic_crypto/"

/* A connection. Both directions have the same keys. */
struct conn {
	uint32_t flow_id;
	struct quic_pkt_keys keys[N_GENS];
	uint8_t cid[CID_LEN];
};

static struct qk_socket sock;	/* ours, connected to ... */
static int peer;		/* ... a socket that nobody works for */
static struct sockaddr_in peer_addr;
static struct conn c;
static uint8_t out[70000], in[70000];

static bool kernel_is_real, injects;

/* Return false from a test, and say where. */
#define NEED(what) do {						\
	if (!(what)) {						\
		printf("# line %d: %s (errno %d)\n", __LINE__,	\
		       #what, errno);				\
		return false;					\
	}							\
} while (0)

static void die(const char *what)
{
	printf("Bail out! %s: %s\n", what, strerror(errno));
	exit(1);
}

/* ----- keys and packets ----- */

/* HKDF-Expand-Label of TLS 1.3 */
static void expand(uint8_t *dest, size_t len, const char *md,
		   const uint8_t *secret, size_t secret_len, const char *label)
{
	EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
	EVP_KDF_CTX *ctx = EVP_KDF_CTX_new(kdf);
	int mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY;
	uint8_t info[64] = { len >> 8, len };
	OSSL_PARAM params[5];

	info[2] = snprintf((char *)info + 3, 60, "tls13 %s", label);
	params[0] = OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode);
	params[1] = OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST,
						     (char *)md, 0);
	params[2] = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY,
						      (void *)secret,
						      secret_len);
	params[3] = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO,
						      info, info[2] + 4);
	params[4] = OSSL_PARAM_construct_end();
	if (!ctx || EVP_KDF_derive(ctx, dest, len, params) != 1)
		die("HKDF");
	EVP_KDF_CTX_free(ctx);
	EVP_KDF_free(kdf);
}

static void expand_v(uint8_t *dest, size_t len, const char *md,
		     const uint8_t *secret, size_t secret_len, bool v2,
		     const char *label)
{
	char name[32];

	snprintf(name, sizeof(name), "quic%s %s", v2 ? "v2" : "", label);
	expand(dest, len, md, secret, secret_len, name);
}

/* A connection with a secret that was never used before */
static void conn_start(struct conn *conn, uint16_t cipher, bool v2)
{
	const char *md = cipher == TLS_CIPHER_AES_GCM_256 ? "SHA384" : "SHA256";
	size_t size = qk_key_size(cipher), len = md[3] == '3' ? 48 : 32;
	static uint32_t last_flow_id;
	uint8_t secret[48], next[48];
	unsigned int g;

	memset(conn, 0, sizeof(*conn));
	conn->flow_id = ++last_flow_id;
	if (getrandom(secret, sizeof(secret), 0) < 0 ||
	    getrandom(conn->cid, CID_LEN, 0) < 0)
		die("getrandom");
	for (g = 0; g < N_GENS; g++) {
		struct quic_pkt_keys *k = &conn->keys[g];

		k->cipher = cipher;
		expand_v(k->key, size, md, secret, len, v2, "key");
		expand_v(k->iv, sizeof(k->iv), md, secret, len, v2, "iv");
		if (!g)
			expand_v(k->hp, size, md, secret, len, v2, "hp");
		else
			memcpy(k->hp, conn->keys[0].hp, size);
		expand_v(next, len, md, secret, len, v2, "ku");
		memcpy(secret, next, len);
	}
}

static struct qk_keys keys_of(const struct conn *conn, unsigned int gen)
{
	const struct quic_pkt_keys *k = &conn->keys[gen];

	return (struct qk_keys) {
		.cipher = k->cipher,
		.generation = gen,
		.key = k->key,
		.iv = k->iv,
		.hp = gen ? NULL : k->hp,
	};
}

static int tx_add(const struct conn *conn)
{
	struct qk_keys keys = keys_of(conn, 0);

	return qk_tx_add(&sock, conn->flow_id, &keys);
}

static int tx_update(const struct conn *conn, unsigned int gen)
{
	struct qk_keys keys = keys_of(conn, gen);

	return qk_tx_update(&sock, conn->flow_id, &keys);
}

static int rx_add(const struct conn *conn)
{
	struct qk_keys keys = keys_of(conn, 0);
	struct qk_match match;

	return qk_match_init(&match, conn->cid, CID_LEN, NULL, 0) ? :
	       qk_rx_add(&sock, conn->flow_id, &match, &keys, 0);
}

static int rx_update(const struct conn *conn, unsigned int gen)
{
	struct qk_keys keys = keys_of(conn, gen);

	return qk_rx_update(&sock, conn->flow_id, &keys);
}

static uint8_t content(uint64_t number, size_t i)
{
	return 'a' + (number + i) % 26;
}

/* A packet in plaintext, with room for the tag */
static void build(const struct conn *conn, unsigned int gen, uint64_t number,
		  uint8_t *pkt, size_t len)
{
	size_t i;

	pkt[0] = 0x40 | (gen & 1) << 2 | (PN_LEN - 1);
	memcpy(pkt + 1, conn->cid, CID_LEN);
	pkt[1 + CID_LEN] = number >> 8;
	pkt[2 + CID_LEN] = number;
	for (i = HDR_LEN; i < len; i++)
		pkt[i] = content(number, i);
}

static bool is_clear(const uint8_t *payload, uint64_t number, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		if (payload[i] != content(number, HDR_LEN + i))
			return false;
	return true;
}

/* Does a packet from the wire open, as this one? */
static bool opens(const struct conn *conn, unsigned int gen, uint64_t number,
		  const uint8_t *wire, size_t len)
{
	const struct quic_pkt_keys *k = &conn->keys[gen];
	uint8_t hdr[QUIC_PKT_HDR], plain[2048];

	return len <= sizeof(plain) &&
	       quic_pkt_open_header(k, CID_LEN, wire, len, hdr) == HDR_LEN &&
	       !!(hdr[0] & 4) == (gen & 1) &&
	       quic_pkt_open_payload(k, number, hdr, HDR_LEN, wire, len,
				     plain) &&
	       is_clear(plain, number, len - HDR_LEN - QUIC_PKT_TAG);
}

/* ----- sending ----- */

static ssize_t send_out(const struct conn *conn, uint64_t number, size_t len,
			uint16_t size)
{
	struct qk_batch batch = {
		.number = number,
		.flow_id = conn->flow_id,
		.packet_size = size,
		.cid_len = CID_LEN,
	};
	struct iovec iov = { out, len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	return qk_send(&sock, &batch, &msg, 0);
}

static ssize_t send_one(const struct conn *conn, unsigned int gen,
			uint64_t number)
{
	build(conn, gen, number, out, LEN);
	return send_out(conn, number, LEN, 0);
}

static bool peer_got(const struct conn *conn, unsigned int gen, uint64_t number,
		     size_t len)
{
	ssize_t n = recv(peer, in, sizeof(in), MSG_DONTWAIT);

	return n == (ssize_t)len && opens(conn, gen, number, in, len);
}

static bool peer_got_nothing(void)
{
	return recv(peer, in, sizeof(in), MSG_DONTWAIT) < 0 &&
	       errno == EAGAIN;
}

static bool seals(const struct conn *conn, unsigned int gen, uint64_t number)
{
	return send_one(conn, gen, number) == LEN &&
	       peer_got(conn, gen, number, LEN);
}

/* The call failed like this, and nothing has left. */
static bool refused(ssize_t ret, int err)
{
	if (ret == -err && peer_got_nothing())
		return true;
	printf("# returned %zd, not %d\n", ret, -err);
	return false;
}

/* ----- receiving ----- */

static struct qk_rx_call call;
static char room[QK_RX_ROOM(QK_MAX_PACKETS)];
static struct msghdr in_msg;
static struct iovec in_iov;

static void peer_sends(const void *data, size_t len, int size)
{
	if (setsockopt(peer, SOL_UDP, UDP_SEGMENT, &size, sizeof(size)) ||
	    send(peer, data, len, 0) != (ssize_t)len)
		die("send");
}

static void seal(const struct conn *conn, unsigned int gen, uint64_t number,
		 uint8_t *pkt, size_t len)
{
	build(conn, gen, number, pkt, len);
	if (!quic_pkt_seal(&conn->keys[gen], CID_LEN, number, pkt, len))
		die("seal");
}

/* With room in the program's own buffer for what it gets of UDP_GRO */
static ssize_t receive_to(char *dest, size_t len)
{
	static char control[CMSG_SPACE(sizeof(int))];

	in_iov = (struct iovec) { in, sizeof(in) };
	in_msg = (struct msghdr) {
		.msg_iov = &in_iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	memset(in, 0, sizeof(in));
	return qk_recv(&sock, &call, dest, len, &in_msg, MSG_DONTWAIT);
}

static ssize_t receive(void)
{
	return receive_to(room, sizeof(room));
}

/* Packet @i of the call is this one, opened. */
static bool is_opened(const struct conn *conn, unsigned int i, unsigned int gen,
		      uint64_t number)
{
	struct qk_packet p;

	return qk_recv_packet(&call, i, &p) && p.status == QUIC_RX_OPENED &&
	       p.number == number && p.key_gen == gen &&
	       p.flow_id == conn->flow_id && p.cid_len == CID_LEN &&
	       p.pn_len == PN_LEN && p.header_len == HDR_LEN &&
	       p.payload_len == p.length - HDR_LEN - QUIC_TAG_SIZE &&
	       is_clear(in + p.offset + p.header_len, number, p.payload_len);
}

static int status(unsigned int i)
{
	struct qk_packet p;

	return qk_recv_packet(&call, i, &p) ? p.status : -1;
}

/* The peer sends a packet, and we receive it: its status */
static int arrives(const struct conn *conn, unsigned int gen, uint64_t number)
{
	seal(conn, gen, number, out, LEN);
	peer_sends(out, LEN, 0);
	if (receive() != LEN || call.n_packets != 1)
		return -1;
	if (status(0) == QUIC_RX_OPENED && !is_opened(conn, 0, gen, number))
		return -1;
	return status(0);
}

/* What is not opened is to be as it was on the wire. */
static bool as_on_the_wire(void)
{
	return !memcmp(in, out, LEN);
}

/* ----- tests ----- */

static bool set_sysctl(const char *name, const char *val)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), SYSCTL "%s", name);
	f = fopen(path, "w");
	return f && fputs(val, f) >= 0 && !fclose(f);
}

static bool test_probe(void)
{
	struct qk_socket what;

	NEED(!qk_probe(&what) && what.fd == -1);
	NEED(qk_can(&what, QUIC_INFO_TX, TLS_CIPHER_AES_GCM_128));
	NEED(qk_can(&what, QUIC_INFO_TX, TLS_CIPHER_AES_GCM_256));
	NEED(qk_can(&what, QUIC_INFO_RX, TLS_CIPHER_AES_CCM_128));
	NEED(qk_can(&what, QUIC_INFO_RX, TLS_CIPHER_CHACHA20_POLY1305));
	NEED(!qk_can(&what, QUIC_INFO_TX, 0));
	NEED(!qk_can(&what, QUIC_INFO_TX, TLS_CIPHER_AES_GCM_128 + 31));
	NEED(!qk_probe(NULL));
	return true;
}

static bool test_cipher_of_suite(void)
{
	unsigned int suite, n = 0;

	NEED(qk_cipher_of_suite(0x1301) == TLS_CIPHER_AES_GCM_128);
	NEED(qk_cipher_of_suite(0x1302) == TLS_CIPHER_AES_GCM_256);
	NEED(qk_cipher_of_suite(0x1303) == TLS_CIPHER_CHACHA20_POLY1305);
	NEED(qk_cipher_of_suite(0x1304) == TLS_CIPHER_AES_CCM_128);
	for (suite = 0; suite <= UINT16_MAX; suite++)
		n += !!qk_cipher_of_suite(suite);
	NEED(n == 4);
	return true;
}

static bool test_attach(void)
{
	struct qk_socket other;

	NEED(!qk_attach(&other, sock.fd) && other.fd == sock.fd);
	NEED(qk_attach(&other, -1) == -EBADF);
	return true;
}

static bool test_attach_refused(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM, 0), encap = UDP_ENCAP_ESPINUDP;
	struct qk_socket other;

	NEED(!setsockopt(fd, SOL_UDP, UDP_ENCAP, &encap, sizeof(encap)));
	NEED(qk_attach(&other, fd) == -EBUSY && !other.directions);
	close(fd);
	fd = socket(AF_INET, SOCK_STREAM, 0);
	NEED(fd >= 0 && qk_attach(&other, fd) < 0 && !other.directions);
	close(fd);
	return true;
}

static bool test_cipher(uint16_t cipher, bool v2)
{
	conn_start(&c, cipher, v2);
	NEED(!tx_add(&c) && !rx_add(&c));
	NEED(seals(&c, 0, 1) && seals(&c, 0, 2));
	NEED(arrives(&c, 0, 1) == QUIC_RX_OPENED);
	NEED(arrives(&c, 0, 2) == QUIC_RX_OPENED);
	NEED(!tx_update(&c, 1) && seals(&c, 1, 3));
	NEED(!rx_update(&c, 1) && arrives(&c, 1, 3) == QUIC_RX_OPENED);
	return true;
}

#define CIPHER(name, cipher)						\
	static bool test_##name(void) { return test_cipher(cipher, false); } \
	static bool test_##name##_v2(void) { return test_cipher(cipher, true); }
CIPHER(aes_gcm_128, TLS_CIPHER_AES_GCM_128)
CIPHER(aes_gcm_256, TLS_CIPHER_AES_GCM_256)
CIPHER(aes_ccm_128, TLS_CIPHER_AES_CCM_128)
CIPHER(chacha20_poly1305, TLS_CIPHER_CHACHA20_POLY1305)

/* A batch of which the last packet is shorter, in pieces that do not end where
 * packets do
 */
static bool send_batch(bool no_tag_room)
{
	const size_t step = no_tag_room ? LEN - QUIC_TAG_SIZE : LEN;
	const size_t last = no_tag_room ? 100 - QUIC_TAG_SIZE : 100;
	const size_t n = 20, len = (n - 1) * step + last;
	struct qk_batch batch = {
		.number = 1000,
		.flow_id = c.flow_id,
		.packet_size = LEN,
		.cid_len = CID_LEN,
		.no_tag_room = no_tag_room,
	};
	struct iovec iov[128];
	struct msghdr msg = { .msg_iov = iov };
	size_t i, off;

	NEED(!tx_add(&c));
	for (i = 0; i < n; i++)
		build(&c, 0, 1000 + i, out + i * step, i < n - 1 ? step : last);
	for (i = off = 0; off < len; i++, off += 77) {
		iov[i].iov_base = out + off;
		iov[i].iov_len = len - off < 77 ? len - off : 77;
	}
	msg.msg_iovlen = i;
	NEED(qk_send(&sock, &batch, &msg, 0) == (ssize_t)len);
	for (i = 0; i < n; i++)
		NEED(peer_got(&c, 0, 1000 + i, i < n - 1 ? LEN : 100));
	NEED(peer_got_nothing());
	return true;
}

static bool test_batch(void) { return send_batch(false); }
static bool test_batch_no_tag_room(void) { return send_batch(true); }

/* The largest batch that qk_max_packets() allows, and no larger one */
static bool test_batch_largest(void)
{
	unsigned int i, n = qk_max_packets(1200);

	NEED(!tx_add(&c) && n == 54);
	for (i = 0; i <= n; i++)
		build(&c, 0, i, out + i * 1200, 1200);
	NEED(send_out(&c, 0, n * 1200, 1200) == n * 1200);
	for (i = 0; i < n; i++)
		NEED(peer_got(&c, 0, i, 1200));
	NEED(refused(send_out(&c, n, (n + 1) * 1200, 1200), EMSGSIZE));
	return true;
}

/* The program's own control message goes along. */
static bool test_send_control(void)
{
	union {
		struct cmsghdr hdr;
		char data[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct qk_batch batch = {
		.flow_id = c.flow_id,
		.packet_size = LEN,
		.cid_len = CID_LEN,
	};
	struct iovec iov = { out, 2 * LEN };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	int one = 1, tos = 0x28;
	uint8_t got;

	NEED(!tx_add(&c));
	NEED(!setsockopt(peer, IPPROTO_IP, IP_RECVTOS, &one, sizeof(one)));
	control.hdr.cmsg_level = IPPROTO_IP;
	control.hdr.cmsg_type = IP_TOS;
	control.hdr.cmsg_len = CMSG_LEN(sizeof(tos));
	memcpy(CMSG_DATA(&control.hdr), &tos, sizeof(tos));
	msg.msg_control = &control;
	msg.msg_controllen = sizeof(control);
	build(&c, 0, 0, out, LEN);
	build(&c, 0, 1, out + LEN, LEN);
	NEED(qk_send(&sock, &batch, &msg, 0) == 2 * LEN);

	memset(&control, 0, sizeof(control));
	iov = (struct iovec) { in, sizeof(in) };
	NEED(recvmsg(peer, &msg, MSG_DONTWAIT) == LEN);
	NEED(control.hdr.cmsg_type == IP_TOS);
	memcpy(&got, CMSG_DATA(&control.hdr), sizeof(got));
	NEED(got == tos && opens(&c, 0, 0, in, LEN));
	NEED(peer_got(&c, 0, 1, LEN));
	return true;
}

static bool test_send_control_too_long(void)
{
	static char control[QK_MAX_CONTROL + 1];
	struct qk_batch batch = { .flow_id = c.flow_id, .cid_len = CID_LEN };
	struct iovec iov = { out, LEN };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};

	NEED(!tx_add(&c));
	build(&c, 0, 0, out, LEN);
	NEED(refused(qk_send(&sock, &batch, &msg, 0), EINVAL));
	NEED(seals(&c, 0, 0));
	return true;
}

/* The program's control messages cannot ask for packets to stay as they are. */
static bool test_send_control_bypass(void)
{
	struct quic_tx_ancillary_data anc = { .flags = QUIC_BYPASS_ENCRYPTION };
	union {
		struct cmsghdr hdr;
		char data[CMSG_SPACE(sizeof(anc))];
	} control = { 0 };
	struct qk_batch batch = { .flow_id = c.flow_id, .cid_len = CID_LEN };
	struct iovec iov = { out, LEN };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};

	NEED(!tx_add(&c));
	control.hdr.cmsg_level = SOL_UDP;
	control.hdr.cmsg_type = UDP_QUIC_ENCRYPT;
	control.hdr.cmsg_len = CMSG_LEN(sizeof(anc));
	memcpy(CMSG_DATA(&control.hdr), &anc, sizeof(anc));
	build(&c, 0, 0, out, LEN);
	NEED(refused(qk_send(&sock, &batch, &msg, 0), EINVAL));
	return true;
}

static bool test_sendmmsg(void)
{
	struct qk_tx_call calls[3];
	struct mmsghdr mm[3] = { 0 };
	struct iovec iov[3];
	int i;

	NEED(!tx_add(&c));
	for (i = 0; i < 3; i++) {
		struct msghdr msg = { .msg_iov = &iov[i], .msg_iovlen = 1 };
		struct qk_batch batch = {
			.number = i,
			.flow_id = c.flow_id,
			.cid_len = CID_LEN,
		};

		build(&c, 0, i, out + i * LEN, LEN);
		iov[i] = (struct iovec) { out + i * LEN, LEN };
		NEED(!qk_send_prepare(&calls[i], &sock, &batch, &msg));
		mm[i].msg_hdr = calls[i].msg;
	}
	/* One by one: the stand-in does not know sendmmsg(). */
	if (kernel_is_real)
		NEED(sendmmsg(sock.fd, mm, 3, 0) == 3);
	for (i = 0; i < 3 && !kernel_is_real; i++)
		NEED(sendmsg(sock.fd, &mm[i].msg_hdr, 0) == LEN);
	for (i = 0; i < 3; i++)
		NEED(peer_got(&c, 0, i, LEN));
	return true;
}

/* Numbers of which the packets have only the last two bytes */
static bool test_numbers(void)
{
	struct qk_keys keys = keys_of(&c, 0);
	const uint64_t n = 1ULL << 40;
	struct qk_match match;

	NEED(!tx_add(&c) && seals(&c, 0, n) && seals(&c, 0, n + 100000));
	NEED(!qk_match_init(&match, c.cid, CID_LEN, NULL, 0));
	NEED(!qk_rx_add(&sock, c.flow_id, &match, &keys, n));
	NEED(arrives(&c, 0, n + 20000) == QUIC_RX_OPENED);
	NEED(arrives(&c, 0, n + 50000) == QUIC_RX_OPENED);
	NEED(arrives(&c, 0, 1) == QUIC_RX_AUTH_FAILED);
	return true;
}

static bool test_tx_update(void)
{
	NEED(!tx_add(&c) && seals(&c, 0, 1));
	NEED(!tx_update(&c, 1) && seals(&c, 0, 2) && seals(&c, 1, 3));
	NEED(!tx_update(&c, 2) && seals(&c, 1, 4) && seals(&c, 2, 5));
	NEED(!qk_tx_retire(&sock, c.flow_id, 1));
	NEED(refused(send_one(&c, 1, 6), ENOKEY));
	NEED(seals(&c, 2, 6));
	NEED(!tx_update(&c, 3) && seals(&c, 3, 7));
	return true;
}

static bool test_tx_retire(void)
{
	NEED(!tx_add(&c));
	NEED(qk_tx_retire(&sock, c.flow_id, 1) == -ENOKEY);
	NEED(qk_tx_retire(&sock, c.flow_id + 1, 0) == -ENOENT);
	NEED(!qk_tx_retire(&sock, c.flow_id, 0));
	NEED(refused(send_one(&c, 0, 1), ENOKEY));
	return true;
}

static bool test_tx_update_errors(void)
{
	struct qk_keys keys = keys_of(&c, 1);
	struct conn d;

	NEED(tx_update(&c, 1) == -ENOENT);
	NEED(!tx_add(&c) && !tx_add(&c));
	NEED(tx_update(&c, 2) == -EINVAL);
	NEED(!tx_update(&c, 1) && !tx_update(&c, 1));
	conn_start(&d, TLS_CIPHER_AES_GCM_128, false);
	d.flow_id = c.flow_id;
	NEED(tx_update(&d, 1) == -EADDRINUSE && tx_add(&d) == -EADDRINUSE);
	/* The key with another IV, in another flow */
	keys.iv = d.keys[0].iv;
	keys.hp = d.keys[0].hp;
	NEED(qk_tx_add(&sock, 1000, &keys) == -EINVAL);
	NEED(seals(&c, 0, 1) && seals(&c, 1, 2));
	return true;
}

static bool test_tx_del(void)
{
	NEED(!tx_add(&c) && seals(&c, 0, 1));
	NEED(!qk_tx_del(&sock, c.flow_id));
	NEED(qk_tx_del(&sock, c.flow_id) == -ENOENT);
	NEED(refused(send_one(&c, 0, 2), ENOENT));
	NEED(!tx_add(&c) && seals(&c, 0, 2));
	NEED(!qk_tx_del_all(&sock) && !qk_tx_del_all(&sock));
	NEED(refused(send_one(&c, 0, 3), ENOENT));
	return true;
}

static bool test_tx_info(void)
{
	struct quic_info info;

	NEED(qk_tx_info(&sock, c.flow_id, &info) == -ENOENT);
	NEED(!tx_add(&c) && seals(&c, 0, 7));
	NEED(!qk_tx_info(&sock, c.flow_id, &info));
	NEED(info.generations[0].installed && !info.generations[1].installed);
	if (!kernel_is_real)
		return true;
	NEED(info.generations[0].sealed == 1);
	NEED(info.generations[0].next_pkt_num == 8);
	NEED(info.generations[0].remaining == (1 << 23) - 1);
	return true;
}

/* A call that the kernel refuses: nothing leaves, and no number is used up. */
static bool test_send_errors(void)
{
	NEED(!tx_add(&c) && !tx_update(&c, 1));
	NEED(seals(&c, 0, 10));
	NEED(refused(send_one(&c, 0, 10), EALREADY));

	build(&c, 0, 11, out, LEN);
	build(&c, 0, 12, out + LEN, LEN);
	out[LEN + 1] ^= 1;
	NEED(refused(send_out(&c, 11, 2 * LEN, LEN), EBADMSG));
	build(&c, 1, 12, out + LEN, LEN);
	NEED(refused(send_out(&c, 11, 2 * LEN, LEN), EBADMSG));
	build(&c, 0, 12, out + LEN, LEN);
	out[LEN] |= 0x80;
	NEED(refused(send_out(&c, 11, 2 * LEN, LEN), EINVAL));
	build(&c, 0, 12, out + LEN, LEN);
	NEED(refused(send_out(&c, 11, 65507 + LEN, 65507), EMSGSIZE));
	NEED(refused(send_out(&c, 11, 2 * LEN, 16), EINVAL));
	NEED(refused(send_out(&c, 11, 16, 0), EINVAL));
	NEED(refused(send_out(&c, 1ULL << 62, LEN, 0), EINVAL));

	NEED(send_out(&c, 11, 2 * LEN, LEN) == 2 * LEN);
	NEED(peer_got(&c, 0, 11, LEN) && peer_got(&c, 0, 12, LEN));
	return true;
}

static bool test_send_key_limit(void)
{
	bool ok;

	NEED(set_sysctl("seal_limit", "3"));
	ok = !tx_add(&c) && seals(&c, 0, 1) && seals(&c, 0, 2) &&
	     seals(&c, 0, 3) && refused(send_one(&c, 0, 4), EKEYEXPIRED) &&
	     !tx_update(&c, 1) && seals(&c, 1, 4);
	NEED(set_sysctl("seal_limit", "0"));
	return ok;
}

static bool test_flow_limit(void)
{
	char old[32] = "";
	FILE *f = fopen(SYSCTL "max_flows", "r");
	int tx, rx;

	NEED(f && fgets(old, sizeof(old), f));
	fclose(f);
	NEED(set_sysctl("max_flows", "0"));
	tx = tx_add(&c);
	rx = rx_add(&c);
	NEED(set_sysctl("max_flows", old));
	NEED(tx == -ENOSPC && rx == -ENOSPC);
	NEED(refused(send_one(&c, 0, 1), ENOENT));
	return true;
}

static bool test_bad_arguments(void)
{
	struct qk_keys keys = keys_of(&c, 0);
	uint8_t cid[21] = { 0 };
	struct qk_match match;

	NEED(qk_tx_add(&sock, 0, &keys) == -EINVAL);
	NEED(!qk_match_init(&match, c.cid, CID_LEN, NULL, 0));
	NEED(qk_rx_add(&sock, 0, &match, &keys, 0) == -EINVAL);
	keys.cipher = 1;
	NEED(qk_tx_add(&sock, 1, &keys) == -EOPNOTSUPP);
	NEED(qk_rx_add(&sock, 1, &match, &keys, 0) == -EOPNOTSUPP);
	NEED(qk_match_init(&match, cid, 21, NULL, 0) == -EINVAL);
	NEED(qk_match_init(&match, cid, 8, (struct sockaddr *)&peer_addr,
			   1000) == -EINVAL);
	c.flow_id = 0;
	NEED(refused(send_one(&c, 0, 1), EINVAL));
	NEED(qk_max_packets(9000) == 7 && qk_max_packets(60) == 128 &&
	     qk_max_packets(0) == 1 && qk_max_packets(70000) == 1);
	return true;
}

/* The kernel takes it for an update, of a flow that is not there. */
static bool test_add_zero_hp(void)
{
	memset(c.keys[0].hp, 0, sizeof(c.keys[0].hp));
	NEED(tx_add(&c) == -EINVAL && rx_add(&c) == -EINVAL);
	NEED(tx_update(&c, 1) == -ENOENT && rx_update(&c, 1) == -ENOENT);
	return true;
}

static bool test_add_todo(void)
{
	static const int others[] = {
		ENOPROTOOPT, EOPNOTSUPP, ENOSPC, EDQUOT, ENOMEM, EADDRINUSE,
		EBUSY, EINVAL,
	};
	size_t i;

	NEED(qk_add_todo(0) == QK_DONE);
	NEED(qk_add_todo(-EAGAIN) == QK_RETRY);
	NEED(qk_add_todo(-EINTR) == QK_RETRY);
	NEED(qk_add_todo(-ENOENT) == QK_INSTALL);
	for (i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		NEED(qk_add_todo(-others[i]) == QK_LIBRARY);
	return true;
}

/* The kernel takes no keys for two calls. Each comes back at once, after one
 * attempt, and the library goes on by itself.
 */
static bool not_now(int (*call)(const struct conn *conn), const char *name,
		    bool (*works)(bool by_library))
{
	setenv(name, "11:1-2", 1);
	NEED(call(&c) == -EAGAIN && works(true));
	NEED(call(&c) == -EAGAIN && works(true));
	NEED(!call(&c) && works(false));
	unsetenv(name);
	/* The counter of calls begins anew. */
	NEED(!call(&c));
	setenv(name, "4:1-1", 1);
	NEED(call(&c) == -EINTR && !call(&c));
	unsetenv(name);
	NEED(!call(&c));
	return true;
}

static int tx_update_1(const struct conn *conn)
{
	return tx_update(conn, 1);
}

static uint64_t next_number;

static bool add_works(bool by_library)
{
	if (by_library)
		return refused(send_one(&c, 0, next_number), ENOENT);
	return seals(&c, 0, next_number++);
}

static bool update_works(bool by_library)
{
	NEED(seals(&c, 0, next_number++));
	if (by_library)
		return refused(send_one(&c, 1, next_number), ENOKEY);
	return seals(&c, 1, next_number++);
}

static bool rx_add_works(bool by_library)
{
	int got = arrives(&c, 0, next_number++);

	if (by_library)
		return got == QUIC_RX_NOT_TRIED && as_on_the_wire();
	return got == QUIC_RX_OPENED;
}

static bool test_not_now(void)
{
	next_number = 1;
	NEED(not_now(tx_add, "FAKE_KERNEL_ADD", add_works));
	NEED(not_now(tx_update_1, "FAKE_KERNEL_ADD", update_works));
	NEED(not_now(rx_add, "FAKE_KERNEL_ADD_RX", rx_add_works));
	return true;
}

/* ----- what to do about errors of calls that send ----- */

/* How packets have left, of a library that does as qk_send_todo() says */
enum outcome { BY_KERNEL, BY_LIBRARY, COUNTS_AS_LOST, NOT_SENT, NOT_SEALED };

/* The errors, what to do at first, how the packets leave if the error does not
 * come again, and if it does
 */
static const struct {
	int err;
	enum qk_todo todo;
	enum outcome once, always;
} errors[] = {
	{ EAGAIN, QK_RETRY, BY_KERNEL, NOT_SENT },
	{ EINTR, QK_RETRY, BY_KERNEL, NOT_SENT },
	{ ENOENT, QK_INSTALL, BY_KERNEL, BY_LIBRARY },
	{ ENOKEY, QK_INSTALL, BY_KERNEL, BY_LIBRARY },
	{ EKEYEXPIRED, QK_UPDATE, COUNTS_AS_LOST, COUNTS_AS_LOST },
	{ EALREADY, QK_COUNT_SENT, COUNTS_AS_LOST, COUNTS_AS_LOST },
	{ EINVAL, QK_LIBRARY, BY_LIBRARY, BY_LIBRARY },
	{ EBADMSG, QK_LIBRARY, BY_LIBRARY, BY_LIBRARY },
	{ EOPNOTSUPP, QK_LIBRARY, BY_LIBRARY, BY_LIBRARY },
	{ ENOPROTOOPT, QK_LIBRARY, BY_LIBRARY, BY_LIBRARY },
	{ EMSGSIZE, QK_UDP, NOT_SENT, NOT_SENT },
	{ EIO, QK_UDP, NOT_SENT, NOT_SENT },
	{ ENOBUFS, QK_UDP, NOT_SENT, NOT_SENT },
	{ ENOMEM, QK_UDP, NOT_SENT, NOT_SENT },
	{ EPERM, QK_UDP, NOT_SENT, NOT_SENT },
	{ EFAULT, QK_UDP, NOT_SENT, NOT_SENT },
	{ ENETUNREACH, QK_UDP, NOT_SENT, NOT_SENT },
	{ ECONNREFUSED, QK_UDP, NOT_SENT, NOT_SENT },
};

#define N_ERRORS	(sizeof(errors) / sizeof(errors[0]))

static bool test_send_todo(void)
{
	size_t i;

	NEED(qk_send_todo(0, false) == QK_DONE);
	NEED(qk_send_todo(1200, true) == QK_DONE);
	for (i = 0; i < N_ERRORS; i++) {
		enum qk_todo then = errors[i].todo == QK_INSTALL ?
				    QK_LIBRARY : errors[i].todo;

		NEED(qk_send_todo(-errors[i].err, false) == errors[i].todo);
		NEED(qk_send_todo(-errors[i].err, true) == then);
	}
	return true;
}

/* The library seals the packet that the kernel has refused, and sends it. */
static enum outcome by_library(unsigned int gen, uint64_t number)
{
	if (!peer_got_nothing())
		return NOT_SEALED;
	seal(&c, gen, number, out, LEN);
	if (send(sock.fd, out, LEN, 0) == LEN && peer_got(&c, gen, number, LEN))
		return BY_LIBRARY;
	return NOT_SEALED;
}

/* Send a packet, and do what qk_send_todo() says, as a library does. @todo:
 * what that was at first. Errors that are injected stop then, if @once.
 */
static enum outcome send_and_do(unsigned int gen, uint64_t number,
				enum qk_todo *todo, bool once)
{
	bool installed = false;
	enum qk_todo what;
	int i;

	for (i = 0; i < 3; i++) {
		what = qk_send_todo(send_one(&c, gen, number), installed);
		if (!i)
			*todo = what;
		if (once)
			unsetenv("FAKE_KERNEL_FAIL");
		switch (what) {
		case QK_DONE:
			return peer_got(&c, gen, number, LEN) ? BY_KERNEL :
								NOT_SEALED;
		case QK_RETRY:
			break;
		case QK_INSTALL:
			qk_tx_del(&sock, c.flow_id);
			if (tx_add(&c) || (gen && tx_update(&c, gen)))
				return by_library(gen, number);
			installed = true;
			break;
		case QK_UPDATE:
		case QK_COUNT_SENT:
			return peer_got_nothing() ? COUNTS_AS_LOST : NOT_SEALED;
		case QK_LIBRARY:
			return by_library(gen, number);
		case QK_UDP:
			return peer_got_nothing() ? NOT_SENT : NOT_SEALED;
		}
	}
	return peer_got_nothing() ? NOT_SENT : NOT_SEALED;
}

static bool error_injected(size_t i, bool once)
{
	enum outcome expected = once ? errors[i].once : errors[i].always;
	enum outcome got;
	enum qk_todo todo;
	char val[16];

	snprintf(val, sizeof(val), "%d:1", errors[i].err);
	setenv("FAKE_KERNEL_FAIL", val, 1);
	got = send_and_do(0, 2 * i + once, &todo, once);
	unsetenv("FAKE_KERNEL_FAIL");
	if (got == expected && todo == errors[i].todo)
		return true;
	printf("# %s, %s: outcome %d, not %d, to do %d\n",
	       strerror(errors[i].err), once ? "once" : "always", got, expected,
	       todo);
	return false;
}

static bool test_injected(void)
{
	size_t i;

	NEED(!tx_add(&c));
	for (i = 0; i < N_ERRORS; i++)
		NEED(error_injected(i, false) && error_injected(i, true));
	NEED(seals(&c, 0, 2 * N_ERRORS));
	return true;
}

/* Errors that the kernel finds itself, and what it makes of a packet if the
 * library does what is to be done
 */
static bool test_todo_flow(void)
{
	enum qk_todo todo;

	NEED(send_and_do(0, 1, &todo, false) == BY_KERNEL &&
	     todo == QK_INSTALL);
	NEED(!qk_tx_retire(&sock, c.flow_id, 0));
	NEED(send_and_do(0, 2, &todo, false) == BY_KERNEL &&
	     todo == QK_INSTALL);
	NEED(send_and_do(1, 3, &todo, false) == BY_KERNEL &&
	     todo == QK_INSTALL);
	NEED(send_and_do(1, 3, &todo, false) == COUNTS_AS_LOST &&
	     todo == QK_COUNT_SENT);
	return true;
}

static bool test_todo_no_flow(void)
{
	char old[32] = "";
	FILE *f = fopen(SYSCTL "max_flows", "r");
	enum outcome outcome;
	enum qk_todo todo;

	NEED(f && fgets(old, sizeof(old), f));
	fclose(f);
	NEED(set_sysctl("max_flows", "0"));
	outcome = send_and_do(0, 1, &todo, false);
	NEED(set_sysctl("max_flows", old));
	NEED(outcome == BY_LIBRARY && todo == QK_INSTALL);
	return true;
}

static bool test_todo_key_limit(void)
{
	enum outcome outcome;
	enum qk_todo todo;
	bool ok;

	NEED(set_sysctl("seal_limit", "1"));
	ok = !tx_add(&c) && seals(&c, 0, 1);
	outcome = send_and_do(0, 2, &todo, false);
	ok = ok && !tx_update(&c, 1) && seals(&c, 1, 3);
	NEED(set_sysctl("seal_limit", "0"));
	NEED(ok && outcome == COUNTS_AS_LOST && todo == QK_UPDATE);
	return true;
}

static bool test_todo_seal(void)
{
	struct qk_batch batch = { .flow_id = c.flow_id, .cid_len = CID_LEN };
	struct iovec iov = { out, LEN };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	int one = 1, zero = 0;
	enum qk_todo todo;
	ssize_t ret;

	/* EINVAL of something that a library knows nothing about */
	NEED(!tx_add(&c));
	NEED(!setsockopt(sock.fd, SOL_SOCKET, SO_NO_CHECK, &one, sizeof(one)));
	NEED(send_and_do(0, 1, &todo, false) == BY_LIBRARY);
	NEED(todo == QK_LIBRARY);
	NEED(!setsockopt(sock.fd, SOL_SOCKET, SO_NO_CHECK, &zero,
			 sizeof(zero)));

	build(&c, 0, 2, out, LEN);
	ret = qk_send(&sock, &batch, &msg, MSG_OOB);
	NEED(refused(ret, EOPNOTSUPP));
	NEED(qk_send_todo(ret, false) == QK_LIBRARY);

	build(&c, 0, 3, out + LEN, LEN);
	out[LEN + 1] ^= 1;
	ret = send_out(&c, 2, 2 * LEN, LEN);
	NEED(refused(ret, EBADMSG));
	NEED(qk_send_todo(ret, false) == QK_LIBRARY);

	sock.directions = 0;
	ret = send_one(&c, 0, 2);
	NEED(refused(ret, ENOPROTOOPT));
	NEED(qk_send_todo(ret, false) == QK_LIBRARY);
	return true;
}

static bool test_todo_udp(void)
{
	enum qk_todo todo;
	ssize_t ret;
	int fd;

	NEED(!tx_add(&c));
	ret = send_out(&c, 1, 65507 + LEN, 65507);
	NEED(refused(ret, EMSGSIZE) && qk_send_todo(ret, false) == QK_UDP);

	/* Nobody listens, and ICMP says so to the next call. */
	fd = dup(peer);
	close(peer);
	close(fd);
	NEED(send_one(&c, 0, 1) == LEN);
	ret = send_one(&c, 0, 2);
	NEED(ret == -ECONNREFUSED && qk_send_todo(ret, false) == QK_UDP);
	peer = socket(AF_INET, SOCK_DGRAM, 0);
	NEED(peer >= 0 && !bind(peer, (void *)&peer_addr, sizeof(peer_addr)));
	NEED(send_and_do(0, 2, &todo, false) == BY_KERNEL && todo == QK_DONE);

	fd = sock.fd;
	NEED(!qk_attach(&sock, socket(AF_INET, SOCK_DGRAM, 0)) && !tx_add(&c));
	ret = send_one(&c, 0, 3);
	close(sock.fd);
	sock.fd = fd;
	NEED(ret == -EDESTADDRREQ && qk_send_todo(ret, false) == QK_UDP);
	return true;
}

/* A network of its own, with a neighbour that does not answer: 192.0.2.2 */
static int enter_net(void)
{
	int old = open("/proc/self/ns/net", O_RDONLY);

	if (old < 0 || unshare(CLONE_NEWNET) ||
	    system("ip link add q0 type veth peer name q1 && "
		   "ip addr add 192.0.2.1/24 dev q0 && "
		   "ip link set q1 up && ip link set q0 up"))
		die("network namespace");
	return old;
}

static void leave_net(int old)
{
	if (setns(old, CLONE_NEWNET))
		die("setns");
	close(old);
}

static void connect_to_neighbour(int fd)
{
	struct sockaddr_in to = {
		.sin_family = AF_INET,
		.sin_port = htons(9),
		.sin_addr.s_addr = htonl(0xc0000202),
	};

	if (fd < 0 || connect(fd, (void *)&to, sizeof(to)) ||
	    qk_attach(&sock, fd) || tx_add(&c))
		die("socket");
}

#define NEIGHBOUR	"ip neigh replace 192.0.2.2 dev q0 nud permanent " \
			"lladdr 02:00:00:00:00:02"

/* The send buffer is full of packets that wait for the neighbour's address.
 * The call that has failed is repeated as it was.
 */
static bool writable_again(void)
{
	struct pollfd pfd = { sock.fd, POLLOUT, 0 };
	uint64_t number;
	ssize_t ret = 0;

	for (number = 0; number < 1000 && ret >= 0; number++)
		ret = send_one(&c, 0, number);
	NEED(number > 1 && ret == -EAGAIN);
	NEED(qk_send_todo(ret, false) == QK_RETRY);
	NEED(!system(NEIGHBOUR) && poll(&pfd, 1, 5000) == 1);
	NEED(send_one(&c, 0, number - 1) == LEN);
	return true;
}

static bool test_todo_retry(void)
{
	int old_fd = sock.fd, net = enter_net(), fd, size = 1;
	bool ok;

	fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	connect_to_neighbour(fd);
	ok = !setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)) &&
	     writable_again();
	close(fd);
	leave_net(net);
	sock.fd = old_fd;
	return ok;
}

#define PATH	"src 192.0.2.1 dst 192.0.2.2 "
#define IPSEC								\
	"ip xfrm state add " PATH "proto esp spi 1 mode transport "	\
	"aead 'rfc4106(gcm(aes))' "					\
	"0x0102030405060708090a0b0c0d0e0f1011121314 128 && "		\
	"ip xfrm policy add " PATH "proto udp dir out "			\
	"tmpl " PATH "proto esp mode transport"

/* Several packets in a call are refused, and one by one they are not. */
static bool one_by_one(void)
{
	ssize_t ret;

	build(&c, 0, 1, out, LEN);
	build(&c, 0, 2, out + LEN, LEN);
	ret = send_out(&c, 1, 2 * LEN, LEN);
	NEED(ret == -EIO && qk_send_todo(ret, false) == QK_UDP);
	NEED(send_one(&c, 0, 1) == LEN && send_one(&c, 0, 2) == LEN);
	return true;
}

static bool test_todo_ipsec(void)
{
	int old_fd = sock.fd, net = enter_net(), fd;
	bool ok;

	if (system(NEIGHBOUR) || system(IPSEC))
		die("IPsec");
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	connect_to_neighbour(fd);
	ok = one_by_one();
	close(fd);
	leave_net(net);
	sock.fd = old_fd;
	return ok;
}

/* ----- tests of reception ----- */

/* @n packets that UDP_GRO hands up together, one of them damaged, while the
 * program has asked for a control message of its own
 */
static bool receive_gro(unsigned int n, unsigned int bad, size_t len)
{
	union {
		struct cmsghdr hdr;
		char data[CMSG_SPACE(sizeof(struct in_pktinfo)) +
			  CMSG_SPACE(sizeof(int))];
	} control;
	unsigned int i, info = 0;
	struct cmsghdr *cmsg;
	int one = 1;

	NEED(!rx_add(&c));
	NEED(!setsockopt(sock.fd, SOL_UDP, UDP_GRO, &one, sizeof(one)));
	NEED(!setsockopt(sock.fd, IPPROTO_IP, IP_PKTINFO, &one, sizeof(one)));
	for (i = 0; i < n; i++)
		seal(&c, 0, i, out + i * len, len);
	out[bad * len + len - 1] ^= 1;
	peer_sends(out, n * len, len);
	in_iov = (struct iovec) { in, sizeof(in) };
	in_msg = (struct msghdr) {
		.msg_iov = &in_iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	NEED(qk_recv(&sock, &call, room, sizeof(room), &in_msg, 0) ==
	     (ssize_t)(n * len));
	NEED(!in_msg.msg_flags && call.n_packets == n &&
	     call.packet_size == len);
	for (i = 0; i < n; i++)
		NEED(i == bad || is_opened(&c, i, 0, i));
	NEED(status(bad) == QUIC_RX_AUTH_FAILED);
	NEED(!memcmp(in + bad * len, out + bad * len, len));
	for (cmsg = CMSG_FIRSTHDR(&in_msg); cmsg;
	     cmsg = CMSG_NXTHDR(&in_msg, cmsg)) {
		NEED(cmsg->cmsg_level != SOL_UDP ||
		     cmsg->cmsg_type == UDP_GRO);
		info += cmsg->cmsg_level == IPPROTO_IP &&
			cmsg->cmsg_type == IP_PKTINFO;
	}
	NEED(info == 1);
	return true;
}

static bool test_gro(void) { return receive_gro(12, 5, LEN); }
static bool test_gro_largest(void) { return receive_gro(128, 127, 60); }

static bool test_gro_short_last(void)
{
	int one = 1;

	NEED(!rx_add(&c));
	NEED(!setsockopt(sock.fd, SOL_UDP, UDP_GRO, &one, sizeof(one)));
	seal(&c, 0, 0, out, LEN);
	seal(&c, 0, 1, out + LEN, LEN);
	seal(&c, 0, 2, out + 2 * LEN, 100);
	peer_sends(out, 2 * LEN + 100, LEN);
	NEED(receive() == 2 * LEN + 100 && call.n_packets == 3);
	NEED(is_opened(&c, 0, 0, 0) && is_opened(&c, 1, 0, 1) &&
	     is_opened(&c, 2, 0, 2));
	NEED(status(3) == -1 && status(1000) == -1);
	return true;
}

/* There is too little room for the program's messages, and enough for ours. */
static bool test_recv_control(void)
{
	union {
		struct cmsghdr hdr;
		char data[CMSG_SPACE(sizeof(struct in_pktinfo))];
	} control;
	int one = 1;

	NEED(!rx_add(&c));
	NEED(!setsockopt(sock.fd, IPPROTO_IP, IP_PKTINFO, &one, sizeof(one)));
	seal(&c, 0, 1, out, LEN);
	peer_sends(out, LEN, 0);
	in_iov = (struct iovec) { in, sizeof(in) };
	in_msg = (struct msghdr) {
		.msg_iov = &in_iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = CMSG_LEN(4),
	};
	NEED(qk_recv(&sock, &call, room, sizeof(room), &in_msg, 0) == LEN);
	NEED(is_opened(&c, 0, 0, 1) && in_msg.msg_flags == MSG_CTRUNC);
	NEED(in_msg.msg_controllen == CMSG_LEN(4) &&
	     control.hdr.cmsg_len == CMSG_LEN(4));

	seal(&c, 0, 2, out, LEN);
	peer_sends(out, LEN, 0);
	in_msg.msg_control = NULL;
	in_msg.msg_controllen = 0;
	NEED(qk_recv(&sock, &call, room, sizeof(room), &in_msg, 0) == LEN);
	NEED(is_opened(&c, 0, 0, 2) && in_msg.msg_flags == MSG_CTRUNC &&
	     !in_msg.msg_controllen);
	return true;
}

static bool test_recvmmsg(void)
{
	char rooms[3][QK_RX_ROOM(1)];
	struct qk_rx_call calls[3];
	struct mmsghdr mm[3] = { 0 };
	struct iovec iov[3];
	struct msghdr msg;
	int i;

	NEED(!rx_add(&c));
	for (i = 0; i < 3; i++) {
		seal(&c, 0, i, out, LEN);
		peer_sends(out, LEN, 0);
		iov[i] = (struct iovec) { in + i * LEN, LEN };
		msg = (struct msghdr) { .msg_iov = &iov[i], .msg_iovlen = 1 };
		qk_recv_prepare(&calls[i], rooms[i], sizeof(rooms[i]), &msg);
		mm[i].msg_hdr = calls[i].msg;
	}
	NEED(recvmmsg(sock.fd, mm, 3, MSG_DONTWAIT, NULL) == 3);
	for (i = 0; i < 3; i++) {
		struct qk_packet p;

		calls[i].msg = mm[i].msg_hdr;
		msg = (struct msghdr) { .msg_iov = &iov[i], .msg_iovlen = 1 };
		qk_recv_finish(&calls[i], &msg, mm[i].msg_len);
		NEED(qk_recv_packet(&calls[i], 0, &p));
		NEED(p.status == QUIC_RX_OPENED && p.number == (uint64_t)i);
		NEED(is_clear(in + i * LEN + p.header_len, i, p.payload_len));
	}
	return true;
}

static bool test_rx_update(void)
{
	NEED(!rx_add(&c) && arrives(&c, 0, 1) == QUIC_RX_OPENED);
	/* The key is late: the packet is the library's, header shown. */
	NEED(arrives(&c, 1, 2) == QUIC_RX_KEY_PHASE);
	NEED((in[0] & 4) && in[HDR_LEN - 1] == 2);
	NEED(!memcmp(in + HDR_LEN, out + HDR_LEN, LEN - HDR_LEN));
	NEED(!rx_update(&c, 1) && arrives(&c, 1, 3) == QUIC_RX_OPENED);
	NEED(!rx_update(&c, 2) && arrives(&c, 2, 5) == QUIC_RX_OPENED);
	NEED(!rx_update(&c, 3) && arrives(&c, 3, 7) == QUIC_RX_OPENED);
	return true;
}

/* Another generation is installed before the kernel has opened a packet of the
 * one before: the flow is added anew.
 */
static bool test_rx_update_unseen(void)
{
	struct qk_keys keys = keys_of(&c, 1);
	struct qk_match match;

	NEED(!rx_add(&c) && arrives(&c, 0, 1) == QUIC_RX_OPENED);
	NEED(!rx_update(&c, 1) && rx_update(&c, 2) == -EINVAL);
	keys.hp = c.keys[1].hp;
	NEED(!qk_match_init(&match, c.cid, CID_LEN, NULL, 0));
	NEED(!qk_rx_del(&sock, c.flow_id) &&
	     !qk_rx_add(&sock, c.flow_id, &match, &keys, 2) &&
	     !rx_update(&c, 2));
	NEED(arrives(&c, 1, 2) == QUIC_RX_OPENED);
	NEED(arrives(&c, 2, 3) == QUIC_RX_OPENED);
	return true;
}

static bool test_rx_update_late(void)
{
	struct quic_info info;

	NEED(!rx_add(&c) && !rx_update(&c, 1) && !rx_update(&c, 1));
	NEED(rx_update(&c, 2) == -EINVAL);
	NEED(arrives(&c, 0, 1) == QUIC_RX_OPENED);
	NEED(arrives(&c, 1, 5) == QUIC_RX_OPENED);
	NEED(arrives(&c, 0, 2) == QUIC_RX_OPENED);
	NEED(!qk_rx_info(&sock, c.flow_id, &info));
	NEED(info.generations[0].gen == 1 &&
	     info.generations[0].next_pkt_num == 6);
	NEED(!qk_rx_retire(&sock, c.flow_id, 0));
	NEED(qk_rx_retire(&sock, c.flow_id, 0) == -ENOKEY);
	NEED(arrives(&c, 0, 3) == QUIC_RX_KEY_PHASE);
	NEED(!rx_update(&c, 2) && arrives(&c, 2, 6) == QUIC_RX_OPENED);
	return true;
}

static bool test_rx_errors(void)
{
	struct qk_keys keys = keys_of(&c, 0);
	struct qk_match match;
	int zero = 0;

	NEED(!qk_match_init(&match, c.cid, CID_LEN, NULL, 0));
	NEED(rx_update(&c, 1) == -ENOENT && !rx_add(&c) && !rx_add(&c));
	NEED(qk_rx_add(&sock, 1000, &match, &keys, 0) == -EADDRINUSE);
	match.cid[0] ^= 1;
	NEED(qk_rx_add(&sock, 1000, &match, &keys, (1ULL << 62) + 1) ==
	     -EINVAL);
	NEED(setsockopt(sock.fd, SOL_SOCKET, SO_PEEK_OFF, &zero,
			sizeof(zero)) && errno == EOPNOTSUPP);
	return true;
}

static bool test_aliases(void)
{
	struct conn other = c;
	struct qk_match match;

	other.cid[0] ^= 1;
	NEED(!qk_match_init(&match, other.cid, CID_LEN, NULL, 0));
	NEED(qk_rx_add_alias(&sock, c.flow_id, &match) == -ENOENT);
	NEED(!rx_add(&c) && arrives(&c, 0, 1) == QUIC_RX_OPENED);
	NEED(arrives(&other, 0, 2) == QUIC_RX_NO_FLOW && as_on_the_wire());
	NEED(!qk_rx_add_alias(&sock, c.flow_id, &match));
	NEED(arrives(&other, 0, 3) == QUIC_RX_OPENED);
	NEED(arrives(&c, 0, 4) == QUIC_RX_OPENED);
	NEED(!qk_rx_del_alias(&sock, c.flow_id, &match));
	NEED(qk_rx_del_alias(&sock, c.flow_id, &match) == -ENOENT);
	NEED(arrives(&other, 0, 5) == QUIC_RX_NO_FLOW);
	/* The one that the flow was added with */
	NEED(!qk_rx_add_alias(&sock, c.flow_id, &match));
	NEED(!qk_match_init(&match, c.cid, CID_LEN, NULL, 0));
	NEED(!qk_rx_del_alias(&sock, c.flow_id, &match));
	NEED(arrives(&c, 0, 6) == QUIC_RX_NO_FLOW);
	NEED(arrives(&other, 0, 7) == QUIC_RX_OPENED);
	return true;
}

static bool test_alias_errors(void)
{
	struct qk_match match;
	struct conn d;
	int i, err = 0;

	conn_start(&d, TLS_CIPHER_AES_GCM_128, false);
	NEED(!rx_add(&c) && !rx_add(&d));
	NEED(!qk_match_init(&match, c.cid, CID_LEN, NULL, 0));
	NEED(!qk_rx_add_alias(&sock, c.flow_id, &match));
	NEED(qk_rx_add_alias(&sock, d.flow_id, &match) == -EADDRINUSE);
	NEED(qk_rx_add_alias(&sock, 0, &match) == -EINVAL);
	for (i = 1; i <= 64 && !err; i++) {
		match.cid[7]++;
		err = qk_rx_add_alias(&sock, c.flow_id, &match);
	}
	NEED(i == 65 && err == -ENOSPC);
	return true;
}

/* Packets with a short header and no connection ID, from one peer */
static bool test_match_peer(void)
{
	struct qk_keys keys = keys_of(&c, 0);
	struct sockaddr_in other = peer_addr;
	struct qk_match match;
	uint8_t pkt[100];
	struct qk_packet p;

	memset(pkt, 'x', sizeof(pkt));
	pkt[0] = 0x40;
	pkt[1] = 1;
	if (!quic_pkt_seal(&c.keys[0], 0, 1, pkt, sizeof(pkt)))
		die("seal");

	other.sin_port ^= 1;
	NEED(!qk_match_init(&match, NULL, 0, (struct sockaddr *)&other,
			    sizeof(other)));
	NEED(!qk_rx_add(&sock, c.flow_id, &match, &keys, 0));
	peer_sends(pkt, sizeof(pkt), 0);
	NEED(receive() == sizeof(pkt) && status(0) == QUIC_RX_NO_FLOW);
	NEED(!qk_rx_del(&sock, c.flow_id));

	NEED(!qk_match_init(&match, NULL, 0, (struct sockaddr *)&peer_addr,
			    sizeof(peer_addr)));
	NEED(!qk_rx_add(&sock, c.flow_id, &match, &keys, 0));
	peer_sends(pkt, sizeof(pkt), 0);
	NEED(receive() == sizeof(pkt) && qk_recv_packet(&call, 0, &p));
	NEED(p.status == QUIC_RX_OPENED && p.number == 1 && !p.cid_len &&
	     p.header_len == 2 && p.payload_len == sizeof(pkt) - 18);
	return true;
}

static bool test_statuses(void)
{
	struct qk_packet p;

	NEED(!rx_add(&c));
	seal(&c, 0, 1, out, LEN);
	out[LEN - 1] ^= 1;
	peer_sends(out, LEN, 0);
	NEED(receive() == LEN && status(0) == QUIC_RX_AUTH_FAILED);
	NEED(as_on_the_wire() && qk_recv_packet(&call, 0, &p));
	NEED(p.flow_id == c.flow_id && !p.header_len && !p.payload_len);

	out[0] |= 0x80;
	peer_sends(out, LEN, 0);
	NEED(receive() == LEN && status(0) == QUIC_RX_NOT_1RTT);
	NEED(as_on_the_wire());

	seal(&c, 0, 1, out, LEN);
	peer_sends(out, 1 + CID_LEN + 19, 0);
	NEED(receive() == 1 + CID_LEN + 19 && status(0) == QUIC_RX_TOO_SHORT);
	NEED(receive() == -EAGAIN);
	return true;
}

static bool test_truncated(void)
{
	int one = 1;

	NEED(!rx_add(&c));
	NEED(!setsockopt(sock.fd, SOL_UDP, UDP_GRO, &one, sizeof(one)));
	seal(&c, 0, 0, out, LEN);
	seal(&c, 0, 1, out + LEN, LEN);
	seal(&c, 0, 2, out + 2 * LEN, LEN);
	peer_sends(out, 3 * LEN, LEN);
	in_iov = (struct iovec) { in, LEN + 50 };
	in_msg = (struct msghdr) { .msg_iov = &in_iov, .msg_iovlen = 1 };
	NEED(qk_recv(&sock, &call, room, sizeof(room), &in_msg, MSG_TRUNC) ==
	     3 * LEN);
	NEED((in_msg.msg_flags & MSG_TRUNC) && call.length == LEN + 50);
	NEED(call.n_packets == 2 && is_opened(&c, 0, 0, 0) &&
	     status(1) == QUIC_RX_NOT_TRIED && status(2) == -1);
	return true;
}

/* ----- too little room ----- */

static uint64_t next_sent;

/* Receive @n packets that UDP_GRO has put together, with @len bytes of room. */
static bool receive_n(unsigned int n, size_t len, size_t pkt_len)
{
	unsigned int i;

	for (i = 0; i < n; i++)
		seal(&c, 0, next_sent + i, out + i * pkt_len, pkt_len);
	next_sent += n;
	peer_sends(out, n * pkt_len, n > 1 ? pkt_len : 0);
	return receive_to(room, len) == (ssize_t)(n * pkt_len);
}

static bool all_opened(unsigned int n)
{
	unsigned int i;

	NEED(call.n_packets == n && !(in_msg.msg_flags & MSG_CTRUNC));
	for (i = 0; i < n; i++)
		NEED(is_opened(&c, i, 0, next_sent - n + i));
	return true;
}

/* The library can open all of them, which are as they were on the wire. */
static bool none_opened(unsigned int n, size_t pkt_len)
{
	unsigned int i;

	NEED(call.n_packets == n && in_msg.msg_flags & MSG_CTRUNC);
	NEED(!memcmp(in, out, n * pkt_len) && call.packet_size == pkt_len);
	for (i = 0; i < n; i++)
		NEED(status(i) == QUIC_RX_NOT_TRIED);
	return true;
}

#define ELEMENTS(n)	(sizeof(size_t) + \
			 CMSG_LEN((n) * sizeof(struct quic_rx_packet)))

static bool start_gro(void)
{
	int one = 1;

	next_sent = 0;
	return !rx_add(&c) &&
	       !setsockopt(sock.fd, SOL_UDP, UDP_GRO, &one, sizeof(one));
}

/* For every size of room that there may be, five packets are opened with their
 * lengths, or not opened.
 */
static bool test_room(void)
{
	unsigned int n_opened = 0, n_not = 0;
	size_t len;

	NEED(start_gro());
	for (len = 0; len <= QK_RX_ROOM(5); len++) {
		NEED(receive_n(5, len, 60));
		if (call.n_elements)
			NEED(all_opened(5) && ++n_opened);
		else if (call.packet_size == 60)
			NEED(none_opened(5, 60) && ++n_not);
		else	/* no room for anything: like one packet */
			NEED(len < 64 && !memcmp(in, out, 5 * 60) &&
			     call.n_packets == 1 && !call.n_elements &&
			     status(0) == QUIC_RX_NOT_TRIED &&
			     in_msg.msg_flags & MSG_CTRUNC);
	}
	printf("# of %zu sizes, opened %u, not opened %u\n", len, n_opened,
	       n_not);
	NEED(n_opened > 400 && n_not);
	return true;
}

/* Rooms as programs have them */
static bool test_room_macro(void)
{
	NEED(start_gro());
	NEED(receive_n(1, QK_RX_ROOM(1), LEN) && all_opened(1));
	NEED(receive_n(10, QK_RX_ROOM(10), LEN) && all_opened(10));
	/* More than expected find room where nothing else is. */
	NEED(receive_n(33, QK_RX_ROOM(1), LEN) && all_opened(33));
	NEED(receive_n(34, QK_RX_ROOM(1), LEN) && none_opened(34, LEN));
	NEED(receive_n(40, QK_RX_ROOM(1), LEN) && none_opened(40, LEN));
	NEED(receive_n(40, QK_RX_ROOM(40), LEN) && all_opened(40));
	NEED(receive_n(1, ELEMENTS(1), LEN) && is_opened(&c, 0, 0, 158));
	return true;
}

/* The program's messages find room only after those about packets. */
static bool test_room_control(void)
{
	union {
		struct cmsghdr hdr;
		char data[CMSG_SPACE(sizeof(struct in_pktinfo)) +
			  CMSG_SPACE(sizeof(int))];
	} control;
	int one = 1, i;

	NEED(start_gro());
	NEED(!setsockopt(sock.fd, IPPROTO_IP, IP_PKTINFO, &one, sizeof(one)));
	for (i = 0; i < 3; i++)
		seal(&c, 0, i, out + i * LEN, LEN);
	peer_sends(out, 3 * LEN, LEN);
	in_iov = (struct iovec) { in, sizeof(in) };
	in_msg = (struct msghdr) {
		.msg_iov = &in_iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	/* Room for elements and the size, and not for struct in_pktinfo */
	NEED(qk_recv(&sock, &call, room, QK_RX_ROOM(3) - QK_MAX_CONTROL,
		     &in_msg, 0) == 3 * LEN);
	NEED(in_msg.msg_flags & MSG_CTRUNC && call.n_packets == 3);
	for (i = 0; i < 3; i++)
		NEED(is_opened(&c, i, 0, i));
	return true;
}

/* Room at any address */
static bool test_room_alignment(void)
{
	unsigned int i;

	NEED(start_gro());
	for (i = 0; i < sizeof(size_t); i++) {
		seal(&c, 0, i, out, LEN);
		peer_sends(out, LEN, 0);
		NEED(receive_to(room + i, QK_RX_ROOM(1)) == LEN);
		NEED(is_opened(&c, 0, 0, i));
	}
	return true;
}

static bool test_rx_del(void)
{
	NEED(!rx_add(&c) && arrives(&c, 0, 1) == QUIC_RX_OPENED);
	NEED(!qk_rx_del(&sock, c.flow_id));
	NEED(qk_rx_del(&sock, c.flow_id) == -ENOENT);
	NEED(!rx_add(&c) && arrives(&c, 0, 2) == QUIC_RX_OPENED);
	NEED(!qk_rx_del_all(&sock) && !qk_rx_del_all(&sock));
	seal(&c, 0, 3, out, LEN);
	peer_sends(out, LEN, 0);
	NEED(receive() == LEN && as_on_the_wire());
	NEED(status(0) != QUIC_RX_OPENED);
	return true;
}

static bool test_drop_unknown(void)
{
	struct conn other = c;

	other.cid[0] ^= 1;
	NEED(!rx_add(&c) && !qk_rx_drop_unknown(&sock, true));
	seal(&other, 0, 1, out, LEN);
	peer_sends(out, LEN, 0);
	NEED(receive() == -EAGAIN);
	NEED(arrives(&c, 0, 1) == QUIC_RX_OPENED);
	NEED(!qk_rx_drop_unknown(&sock, false));
	NEED(arrives(&other, 0, 2) == QUIC_RX_NO_FLOW);
	return true;
}

/* ----- tests of kernels that cannot ----- */

/* Whatever is tried, nothing leaves in plaintext; packets arrive as ever. */
static bool does_nothing(void)
{
	struct qk_match match;

	NEED(!qk_match_init(&match, c.cid, CID_LEN, NULL, 0));
	NEED(tx_add(&c) == -ENOPROTOOPT && rx_add(&c) == -ENOPROTOOPT);
	NEED(tx_update(&c, 1) == -ENOPROTOOPT);
	NEED(rx_update(&c, 1) == -ENOPROTOOPT);
	NEED(qk_tx_del(&sock, 1) == -ENOPROTOOPT);
	NEED(qk_rx_add_alias(&sock, 1, &match) == -ENOPROTOOPT);
	NEED(refused(send_one(&c, 0, 1), ENOPROTOOPT));
	NEED(arrives(&c, 0, 1) == QUIC_RX_NOT_TRIED && as_on_the_wire());
	NEED(!call.n_elements);
	return true;
}

static bool test_old_kernel(void)
{
	NEED(qk_probe(NULL) == -ENOPROTOOPT);
	NEED(qk_attach(&sock, sock.fd) == -ENOPROTOOPT);
	return does_nothing();
}

static bool test_injected_old_kernel(void)
{
	bool ok;

	setenv("FAKE_KERNEL_ULP", "92", 1);
	ok = test_old_kernel();
	unsetenv("FAKE_KERNEL_ULP");
	return ok;
}

/* There is no memory for the first socket. */
static bool test_injected_no_memory(void)
{
	int first, then;

	setenv("FAKE_KERNEL_ULP", "12:1-1", 1);
	first = qk_probe(NULL);
	then = qk_probe(NULL);
	unsetenv("FAKE_KERNEL_ULP");
	NEED(first == -ENOMEM && !then);
	return true;
}

static bool test_injected_no_module(void)
{
	int err;

	setenv("FAKE_KERNEL_ULP", "2", 1);
	err = qk_attach(&sock, sock.fd);
	unsetenv("FAKE_KERNEL_ULP");
	NEED(err == -ENOENT);
	return does_nothing();
}

/* Another kernel may have something else under these numbers. */
static bool test_injected_other_kernel(void)
{
	int err;

	setenv("FAKE_KERNEL_INFO", "8", 1);
	err = qk_attach(&sock, sock.fd);
	unsetenv("FAKE_KERNEL_INFO");
	NEED(err == -ENOPROTOOPT);
	return does_nothing();
}

static bool test_zero_socket(void)
{
	int fd = sock.fd;
	bool ok;

	memset(&sock, 0, sizeof(sock));
	sock.fd = fd;
	ok = does_nothing();
	return ok;
}

/* ----- run them ----- */

enum needs {
	OFFLOAD		= 1,	/* a kernel that seals and opens, or stand-in */
	KERNEL		= 2,	/* what the stand-in does not check */
	INJECTION	= 4,	/* test/fake_kernel.so */
	STAND_IN	= 8,	/* ... in place of the kernel */
	OLD_KERNEL	= 16,
};

static const struct {
	const char *name;
	bool (*run)(void);
	unsigned int needs;
} tests[] = {
#define T(name, needs) { #name, test_##name, needs }
	T(probe, OFFLOAD),
	T(cipher_of_suite, 0),
	T(attach, OFFLOAD),
	T(attach_refused, KERNEL),
	T(aes_gcm_128, OFFLOAD),
	T(aes_gcm_128_v2, OFFLOAD),
	T(aes_gcm_256, OFFLOAD),
	T(aes_gcm_256_v2, OFFLOAD),
	T(aes_ccm_128, OFFLOAD),
	T(aes_ccm_128_v2, OFFLOAD),
	T(chacha20_poly1305, OFFLOAD),
	T(chacha20_poly1305_v2, OFFLOAD),
	T(batch, OFFLOAD),
	T(batch_no_tag_room, OFFLOAD),
	T(batch_largest, OFFLOAD),
	T(send_control, OFFLOAD),
	T(send_control_too_long, OFFLOAD),
	T(send_control_bypass, KERNEL),
	T(sendmmsg, OFFLOAD),
	T(numbers, OFFLOAD),
	T(tx_update, OFFLOAD),
	T(tx_retire, KERNEL),
	T(tx_update_errors, KERNEL),
	T(tx_del, OFFLOAD),
	T(tx_info, OFFLOAD),
	T(send_errors, KERNEL),
	T(send_key_limit, KERNEL),
	T(flow_limit, KERNEL),
	T(bad_arguments, OFFLOAD),
	T(add_zero_hp, OFFLOAD),
	T(add_todo, 0),
	T(not_now, INJECTION),
	T(send_todo, 0),
	T(injected, INJECTION),
	T(todo_flow, KERNEL),
	T(todo_no_flow, KERNEL),
	T(todo_key_limit, KERNEL),
	T(todo_seal, KERNEL),
	T(todo_udp, KERNEL),
	T(todo_retry, KERNEL),
	T(todo_ipsec, KERNEL),
	T(gro, OFFLOAD),
	T(gro_largest, OFFLOAD),
	T(gro_short_last, OFFLOAD),
	T(recv_control, OFFLOAD),
	T(recvmmsg, OFFLOAD),
	T(rx_update, OFFLOAD),
	T(rx_update_unseen, OFFLOAD),
	T(rx_update_late, KERNEL),
	T(rx_errors, KERNEL),
	T(aliases, OFFLOAD),
	T(alias_errors, KERNEL),
	T(match_peer, KERNEL),
	T(statuses, OFFLOAD),
	T(truncated, KERNEL),
	T(room, OFFLOAD),
	T(room_macro, OFFLOAD),
	T(room_control, OFFLOAD),
	T(room_alignment, OFFLOAD),
	T(rx_del, OFFLOAD),
	T(drop_unknown, KERNEL),
	T(old_kernel, OLD_KERNEL),
	T(injected_old_kernel, INJECTION),
	T(injected_no_memory, INJECTION),
	T(injected_no_module, INJECTION),
	T(injected_other_kernel, STAND_IN),
	T(zero_socket, 0),
#undef T
};

#define N_TESTS	(sizeof(tests) / sizeof(tests[0]))

static const char *why_not(unsigned int needs, bool present)
{
	if (needs & (INJECTION | STAND_IN) && !injects)
		return "test/fake_kernel.so is not preloaded";
	if (needs & STAND_IN && kernel_is_real)
		return "the kernel has quic-crypto";
	if (needs & KERNEL && !kernel_is_real)
		return "the kernel has no quic-crypto";
	if (needs & OFFLOAD && !present)
		return "the kernel has no quic-crypto";
	if (needs & OLD_KERNEL && present)
		return "the kernel, or test/fake_kernel.so, has quic-crypto";
	return NULL;
}

static void open_sockets(void)
{
	struct sockaddr_in addr = {
		.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	int fd, size = 1 << 20;
	socklen_t len = sizeof(addr);

	peer_addr = addr;
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	peer = socket(AF_INET, SOCK_DGRAM, 0);
	if (fd < 0 || peer < 0 || bind(fd, (void *)&addr, len) ||
	    bind(peer, (void *)&peer_addr, len) ||
	    getsockname(fd, (void *)&addr, &len) ||
	    getsockname(peer, (void *)&peer_addr, &len) ||
	    connect(fd, (void *)&peer_addr, len) ||
	    connect(peer, (void *)&addr, len) ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)) ||
	    setsockopt(peer, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)) ||
	    setsockopt(peer, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)))
		die("sockets");
	qk_attach(&sock, fd);
}

static bool selected(const char *name, char **names)
{
	if (!*names)
		return true;
	for (; *names; names++)
		if (!strncmp(name, *names, strlen(*names)))
			return true;
	return false;
}

static bool run(unsigned int i)
{
	int fd;
	bool ok;

	open_sockets();
	fd = sock.fd;
	conn_start(&c, TLS_CIPHER_AES_GCM_128, false);
	ok = tests[i].run();
	close(fd);
	close(peer);
	return ok;
}

int main(int argc, char **argv)
{
	const char *preload = getenv("LD_PRELOAD"), *why;
	unsigned int i, n_failed = 0;
	bool present, ok;

	(void)argc;
	setvbuf(stdout, NULL, _IOLBF, 0);
	injects = preload && strstr(preload, "fake_kernel");
	present = !qk_probe(NULL);
	kernel_is_real = !access("/proc/net/quic_stat", F_OK);
	printf("KTAP version 1\n1..%zu\n# %s\n", N_TESTS, kernel_is_real ?
	       "the kernel has quic-crypto" : present ?
	       "test/fake_kernel.so stands for the kernel" :
	       "the kernel has no quic-crypto");
	for (i = 0; i < N_TESTS; i++) {
		why = selected(tests[i].name, argv + 1) ?
		      why_not(tests[i].needs, present) : "not asked for";
		if (why) {
			printf("ok %u %s # SKIP %s\n", i + 1, tests[i].name,
			       why);
			continue;
		}
		ok = run(i);
		n_failed += !ok;
		printf("%s %u %s\n", ok ? "ok" : "not ok", i + 1,
		       tests[i].name);
	}
	return n_failed != 0;
}
