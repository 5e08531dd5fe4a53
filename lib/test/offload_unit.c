// SPDX-License-Identifier: GPL-2.0
/*
 * Calls of sendmsg() and its kind that gtlsserver does not make: batches of
 * packets that do not belong together, packets after a long header packet, sent
 * twice, in pieces, after the end of their connection. Whatever arrives has to
 * be sealed. Run by test-offload.sh, with quic_offload.so and fake_ngtcp2.so.
 */
#define _GNU_SOURCE
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "peer.h"

static int tx, rx;
static struct sockaddr_in to;
static struct peer a, b, c;
static uint8_t buf[8 * PKT_LEN];

/* What ngtcp2_ppe_final() does */
static void build(struct peer *p, unsigned int gen, uint64_t pn, uint8_t *pkt,
		  size_t len)
{
	uint8_t nonce[12], mask[16];

	pkt[0] = 0x40 | (gen & 1) << 2 | (PN_LEN - 1);
	memcpy(pkt + 1, p->cid, CID_LEN);
	pkt[1 + CID_LEN] = pn >> 8;
	pkt[2 + CID_LEN] = pn;
	memset(pkt + HDR_LEN, 'x', len - HDR_LEN);
	quic_pkt_nonce(nonce, p->keys[gen].iv, pn);
	need(!ngtcp2_crypto_encrypt_cb(pkt + HDR_LEN, &crypto->aead,
				       &p->tx_ctx[gen], pkt + HDR_LEN,
				       len - HDR_LEN - 16, nonce, 12, pkt,
				       HDR_LEN), "encrypt_cb");
	need(!ngtcp2_crypto_hp_mask(mask, &crypto->hp, &p->tx_hp_ctx,
				    pkt + HDR_LEN - PN_LEN + 4), "hp_mask");
	quic_pkt_apply_mask(pkt, CID_LEN, PN_LEN, mask);
}

/* Does it open, as packet @pn of @gen, and is its content the one built? */
static bool opens(struct peer *p, unsigned int gen, uint64_t pn,
		  const uint8_t *wire, size_t len)
{
	const struct quic_pkt_keys *keys = &p->keys[gen];
	uint8_t hdr[QUIC_PKT_HDR], plain[2048];
	size_t i;

	if (quic_pkt_open_header(keys, CID_LEN, wire, len, hdr) != HDR_LEN ||
	    !quic_pkt_open_payload(keys, pn, hdr, HDR_LEN, wire, len, plain))
		return false;
	for (i = 0; i < len - HDR_LEN - QUIC_PKT_TAG; i++)
		if (plain[i] != 'x')
			return false;
	return true;
}

/* The next datagram that arrived is this packet. */
static bool got(struct peer *p, unsigned int gen, uint64_t pn)
{
	uint8_t wire[2048];
	ssize_t n = recv(rx, wire, sizeof(wire), MSG_DONTWAIT);

	return n == PKT_LEN && opens(p, gen, pn, wire, n);
}

static bool nothing_more(void)
{
	char c;

	return recv(rx, &c, 1, MSG_DONTWAIT) < 0;
}

static ssize_t send_pieces(uint8_t *data, size_t len, uint16_t gso,
			   size_t piece)
{
	union {
		struct cmsghdr hdr;
		char data[CMSG_SPACE(sizeof(gso))];
	} control = { 0 };
	struct iovec iov[64];
	struct msghdr msg = {
		.msg_name = &to,
		.msg_namelen = sizeof(to),
		.msg_iov = iov,
	};
	size_t off;

	for (off = 0; off < len; off += piece, msg.msg_iovlen++) {
		iov[msg.msg_iovlen].iov_base = data + off;
		iov[msg.msg_iovlen].iov_len = len - off < piece ? len - off :
								   piece;
	}
	if (gso) {
		control.hdr.cmsg_level = SOL_UDP;
		control.hdr.cmsg_type = UDP_SEGMENT;
		control.hdr.cmsg_len = CMSG_LEN(sizeof(gso));
		memcpy(CMSG_DATA(&control.hdr), &gso, sizeof(gso));
		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control);
	}
	return sendmsg(tx, &msg, 0);
}

static bool sent(uint8_t *data, size_t len, uint16_t gso)
{
	return send_pieces(data, len, gso, len) == (ssize_t)len;
}

static bool sent_to(int fd, const uint8_t *pkt)
{
	return sendto(fd, pkt, PKT_LEN, 0, (struct sockaddr *)&to,
		      sizeof(to)) == PKT_LEN;
}

/* @n packets in one batch, numbered from @pn on */
static void build_batch(struct peer *p, unsigned int gen, uint64_t pn,
			unsigned int n)
{
	unsigned int i;

	for (i = 0; i < n; i++)
		build(p, gen, pn + i, buf + i * PKT_LEN, PKT_LEN);
}

static bool got_batch(struct peer *p, unsigned int gen, uint64_t pn,
		      unsigned int n)
{
	bool ok = true;
	unsigned int i;

	for (i = 0; i < n; i++)
		ok &= got(p, gen, pn + i);
	return ok;
}

/* ----- the tests, in this order ----- */

static void test_first(void)
{
	/* It leaves nothing unsealed before it saw a call of sendmsg(). */
	build(&a, 0, 1, buf, PKT_LEN);
	check(opens(&a, 0, 1, buf, PKT_LEN), "sealed by the library");
	check(sent(buf, PKT_LEN, 0) && got(&a, 0, 1), "sealed before");

	build(&a, 0, 2, buf, PKT_LEN);
	check(!opens(&a, 0, 2, buf, PKT_LEN) && sent(buf, PKT_LEN, 0) &&
	      got(&a, 0, 2), "a lone packet");
}

static void test_batch(void)
{
	int val = PKT_LEN;
	bool ok;

	build_batch(&a, 0, 3, 8);
	ok = sent(buf, sizeof(buf), PKT_LEN);
	check(got_batch(&a, 0, 3, 8) && ok, "a batch");

	build_batch(&a, 0, 11, 8);
	ok = send_pieces(buf, sizeof(buf), PKT_LEN, 77) == sizeof(buf);
	check(got_batch(&a, 0, 11, 8) && ok, "a batch in pieces");

	build_batch(&a, 0, 19, 4);
	setsockopt(tx, SOL_UDP, UDP_SEGMENT, &val, sizeof(val));
	ok = sent(buf, 4 * PKT_LEN, 0);
	val = 0;
	setsockopt(tx, SOL_UDP, UDP_SEGMENT, &val, sizeof(val));
	check(got_batch(&a, 0, 19, 4) && ok, "a batch by socket option");
}

/* What is sent at once need not belong together. */
static void test_mixed(void)
{
	bool ok;

	build(&a, 0, 30, buf, PKT_LEN);
	build(&b, 0, 30, buf + PKT_LEN, PKT_LEN);
	check(sent(buf, 2 * PKT_LEN, PKT_LEN) && got(&a, 0, 30) &&
	      got(&b, 0, 30), "packets of two connections");

	peer_update(&a);
	build(&a, 0, 31, buf, PKT_LEN);
	build(&a, 1, 32, buf + PKT_LEN, PKT_LEN);
	check(sent(buf, 2 * PKT_LEN, PKT_LEN) && got(&a, 0, 31) &&
	      got(&a, 1, 32), "packets of two Key Phases");

	build(&a, 1, 33, buf, PKT_LEN);
	memset(a.cid, 'Z', CID_LEN);
	build(&a, 1, 34, buf + PKT_LEN, PKT_LEN);
	ok = sent(buf, 2 * PKT_LEN, PKT_LEN);
	check(ok && got(&a, 1, 33) && got(&a, 1, 34),
	      "packets of two connection IDs");
	build(&a, 1, 35, buf, PKT_LEN);
	check(sent(buf, PKT_LEN, 0) && got(&a, 1, 35),
	      "another connection ID");
}

static void test_long_header(void)
{
	uint8_t wire[PKT_LEN];
	bool ok;

	memset(buf, 0xc0, 100);
	build(&a, 1, 36, buf + 100, PKT_LEN);
	ok = sent(buf, 100 + PKT_LEN, 0) &&
	     recv(rx, buf, sizeof(buf), MSG_DONTWAIT) == 100 + PKT_LEN &&
	     buf[99] == 0xc0 && opens(&a, 1, 36, buf + 100, PKT_LEN);
	check(ok, "after a long header packet");

	memset(buf, 0xc0, PKT_LEN);
	build(&a, 1, 37, buf + PKT_LEN, PKT_LEN);
	ok = sent(buf, 2 * PKT_LEN, PKT_LEN) &&
	     recv(rx, wire, PKT_LEN, MSG_DONTWAIT) == PKT_LEN &&
	     !memcmp(wire, buf, PKT_LEN) && got(&a, 1, 37);
	check(ok, "in a batch with a long header packet");
}

static void test_calls(void)
{
	struct mmsghdr mm[2] = { 0 };
	uint8_t wire[2][PKT_LEN];
	struct iovec iov[2];
	bool ok = true;
	int i;

	build(&a, 1, 38, buf, PKT_LEN);
	for (i = 0; i < 2; i++)
		ok &= sent(buf, PKT_LEN, 0) &&
		      recv(rx, wire[i], PKT_LEN, MSG_DONTWAIT) == PKT_LEN;
	check(ok && opens(&a, 1, 38, wire[0], PKT_LEN) &&
	      !memcmp(wire[0], wire[1], PKT_LEN), "sent twice, the same bytes");

	build(&a, 1, 39, buf + 5, PKT_LEN);
	memmove(buf, buf + 5, PKT_LEN);
	check(sent_to(tx, buf) && got(&a, 1, 39), "sendto(), copied");

	build_batch(&a, 1, 40, 2);
	for (i = 0; i < 2; i++) {
		iov[i].iov_base = buf + i * PKT_LEN;
		iov[i].iov_len = PKT_LEN;
		mm[i].msg_hdr.msg_name = &to;
		mm[i].msg_hdr.msg_namelen = sizeof(to);
		mm[i].msg_hdr.msg_iov = &iov[i];
		mm[i].msg_hdr.msg_iovlen = 1;
	}
	check(sendmmsg(tx, mm, 2, 0) == 2 && mm[1].msg_len == PKT_LEN &&
	      got(&a, 1, 40) && got(&a, 1, 41), "sendmmsg()");
}

/* Has the kernel @n generations of the first connection, the newest of which is
 * @newest?
 */
static bool has_generations(unsigned int n, unsigned int newest)
{
	struct quic_info info = { .key.flow_id = 1 };
	socklen_t len = sizeof(info);
	unsigned int i, installed = 0;

	if (getsockopt(tx, SOL_UDP, UDP_QUIC_INFO, &info, &len))
		return false;
	for (i = 0; i < sizeof(info.generations) / sizeof(info.generations[0]);
	     i++)
		installed += info.generations[i].installed;
	return installed == n && info.generations[0].gen == newest;
}

static void test_retirement(void)
{
	uint8_t *late = buf + PKT_LEN;

	build(&a, 1, 42, late, PKT_LEN);
	build(&a, 1, 43, buf, PKT_LEN);
	peer_update(&a);
	check(has_generations(2, 2) && sent(buf, PKT_LEN, 0) &&
	      got(&a, 1, 43) && has_generations(2, 2),
	      "two generations until the new one is used");
	build(&a, 2, 44, buf, PKT_LEN);
	check(sent(buf, PKT_LEN, 0) && got(&a, 2, 44) &&
	      has_generations(1, 2), "one as soon as it is");
	check(sent(late, PKT_LEN, 0) && got(&a, 1, 42) &&
	      has_generations(1, 2), "a late packet of a retired generation");
	build(&a, 2, 45, buf, PKT_LEN);
	check(sent(buf, PKT_LEN, 0) && got(&a, 2, 45),
	      "after it, one of the new generation");
}

static void test_keys(void)
{
	/* A third connection to the same address with b's connection ID */
	peer_start(&c, "uB");
	build(&b, 0, 31, buf, PKT_LEN);
	build(&c, 0, 31, buf + PKT_LEN, PKT_LEN);
	check(sent(buf, PKT_LEN, 0) && got(&b, 0, 31) &&
	      sent(buf + PKT_LEN, PKT_LEN, 0) && got(&c, 0, 31),
	      "a connection ID twice");

	/* Built, not sent, and then the kernel forgets the key */
	build(&b, 0, 32, buf, PKT_LEN);
	peer_update(&b);
	peer_update(&b);
	check(sent(buf, PKT_LEN, 0) && got(&b, 0, 32), "a retired key");
	build(&b, 2, 33, buf, PKT_LEN);
	check(sent(buf, PKT_LEN, 0) && got(&b, 2, 33), "the next but one");
}

static void test_descriptors(void)
{
	int fd;

	/* The socket has two descriptors, and the one with the flow goes. */
	fd = dup(tx);
	build(&b, 2, 34, buf, PKT_LEN);
	build(&b, 2, 35, buf + PKT_LEN, PKT_LEN);
	check(sent_to(fd, buf) && got(&b, 2, 34) &&
	      sent(buf + PKT_LEN, PKT_LEN, 0) && got(&b, 2, 35),
	      "a duplicate of the descriptor");
	close(tx);
	tx = fd;
	build(&b, 2, 36, buf, PKT_LEN);
	check(sent(buf, PKT_LEN, 0) && got(&b, 2, 36), "the duplicate alone");

	/* The descriptor is another socket now. */
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	dup2(fd, tx);
	close(fd);
	build(&b, 2, 37, buf, PKT_LEN);
	check(sent(buf, PKT_LEN, 0) && got(&b, 2, 37), "another socket");
}

int main(void)
{
	socklen_t to_len = sizeof(to);

	crypto = ngtcp2_conn_get_crypto_ctx(NULL);
	rx = socket(AF_INET, SOCK_DGRAM, 0);
	tx = socket(AF_INET, SOCK_DGRAM, 0);
	to.sin_family = AF_INET;
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	need(rx >= 0 && tx >= 0 &&
	     !bind(rx, (struct sockaddr *)&to, sizeof(to)) &&
	     !getsockname(rx, (struct sockaddr *)&to, &to_len), "sockets");
	peer_start(&a, "sA");
	peer_start(&b, "tB");

	printf("KTAP version 1\n1..26\n");
	test_first();
	test_batch();
	test_mixed();
	test_long_header();
	test_calls();
	test_retirement();
	test_keys();
	test_descriptors();

	/* Built, and then the connection ends: better lost than unsealed. */
	build(&b, 2, 38, buf, PKT_LEN);
	ngtcp2_conn_del(b.conn);
	check(sent(buf, PKT_LEN, 0) && nothing_more(), "after the end");
	ngtcp2_conn_del(a.conn);
	ngtcp2_conn_del(c.conn);
	return n_failed != 0;
}
