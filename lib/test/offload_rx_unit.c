// SPDX-License-Identifier: GPL-2.0
/*
 * What gtlsserver and gtlsclient do not do with packets that they receive, and
 * what no peer sends to them: packets in pieces, copied, peeked at, with
 * control messages for which there is little room, of a key that was not told
 * before, for another connection. Run by test-offload.sh, with quic_offload.so
 * and fake_ngtcp2.so.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fake_ngtcp2.h"
#include "peer.h"

#define N_PEERS		4

/* What ngtcp2 has read last */
static struct {
	bool read, opened;
	unsigned int gen;
	uint64_t number;
} last;

static struct fake_ngtcp2 *ng;
static struct peer *peers[N_PEERS];
static uint64_t expected;		/* of the packet that is read next */
static int in, out;
static struct sockaddr_in to;
static uint8_t buf[8 * PKT_LEN];
static size_t buf_len;

/* Seal a packet, as the peer would. */
static void build(struct peer *p, unsigned int gen, uint64_t pn, uint8_t *pkt)
{
	pkt[0] = 0x40 | (gen & 1) << 2 | (PN_LEN - 1);
	memcpy(pkt + 1, p->cid, CID_LEN);
	pkt[1 + CID_LEN] = pn >> 8;
	pkt[2 + CID_LEN] = pn;
	memset(pkt + HDR_LEN, 'x', PKT_LEN - HDR_LEN);
	need(quic_pkt_seal(&p->keys[gen], CID_LEN, pn, pkt, PKT_LEN), "seal");
}

static bool is_clear(const uint8_t *pkt)
{
	size_t i;

	for (i = HDR_LEN; i < PKT_LEN - QUIC_PKT_TAG; i++)
		if (pkt[i] != 'x')
			return false;
	return true;
}

/*
 * What conn_recv_pkt() of ngtcp2 does: the mask, then the number, then the key
 * of the Key Phase, then the payload.
 */
static int read_pkt(ngtcp2_conn *conn, const uint8_t *pkt, size_t len)
{
	uint8_t hdr[HDR_LEN + 4], mask[16], nonce[12], plain[PKT_LEN];
	struct peer *p = NULL;
	size_t i, pn_len;

	for (i = 0; i < N_PEERS; i++)
		if (peers[i] && peers[i]->conn == conn)
			p = peers[i];
	last.read = p;
	if (!p || len != PKT_LEN)
		return 0;
	memcpy(hdr, pkt, sizeof(hdr));
	need(!ngtcp2_crypto_hp_mask(mask, &crypto->hp, &p->rx_hp_ctx,
				    pkt + 1 + CID_LEN + 4), "hp_mask");
	pn_len = ((hdr[0] ^ mask[0]) & 3) + 1;
	quic_pkt_apply_mask(hdr, CID_LEN, pn_len, mask);
	last.number = quic_pkt_number(expected, hdr + 1 + CID_LEN, pn_len);
	last.gen = p->newest;
	if ((last.gen & 1) != !!(hdr[0] & 4) && last.gen)
		last.gen--;
	quic_pkt_nonce(nonce, p->keys[last.gen].iv, last.number);
	last.opened = !ngtcp2_crypto_decrypt_cb(plain, &crypto->aead,
						&p->rx_ctx[last.gen],
						pkt + 1 + CID_LEN + pn_len,
						len - 1 - CID_LEN - pn_len,
						nonce, 12, hdr,
						1 + CID_LEN + pn_len);
	for (i = 0; i < PKT_LEN - HDR_LEN - QUIC_PKT_TAG && last.opened; i++)
		last.opened = plain[i] == 'x';
	return 0;
}

/* Have ngtcp2 read a packet of @p: does it open, as number @pn of @gen? */
static bool reads(struct peer *p, unsigned int gen, uint64_t pn,
		  const uint8_t *pkt)
{
	memset(&last, 0, sizeof(last));
	expected = pn;
	ngtcp2_conn_read_pkt(p->conn, &ng->path, NULL, pkt, PKT_LEN, 0);
	return last.opened && last.gen == gen && last.number == pn;
}

/* ... or fail to, without having disturbed anything? */
static bool reads_not(struct peer *p, const uint8_t *pkt)
{
	memset(&last, 0, sizeof(last));
	ngtcp2_conn_read_pkt(p->conn, &ng->path, NULL, pkt, PKT_LEN, 0);
	return last.read && !last.opened;
}

static void wire(const void *data, size_t len)
{
	need(sendto(out, data, len, 0, (struct sockaddr *)&to, sizeof(to)) ==
	     (ssize_t)len, "sendto");
}

static void send_packet(struct peer *p, unsigned int gen, uint64_t pn)
{
	uint8_t pkt[PKT_LEN];

	build(p, gen, pn, pkt);
	wire(pkt, sizeof(pkt));
}

/* One datagram, into @buf in @n pieces */
static bool receive_pieces(int flags, size_t n)
{
	struct iovec iov[8];
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = n };
	size_t i, piece = sizeof(buf) / n;
	ssize_t ret;

	for (i = 0; i < n; i++) {
		iov[i].iov_base = buf + i * piece;
		iov[i].iov_len = piece;
	}
	if (n > 1)
		iov[0].iov_len = PKT_LEN - 7;	/* in the tag */
	memset(buf, 0, sizeof(buf));
	ret = recvmsg(in, &msg, MSG_DONTWAIT | flags);
	buf_len = ret < 0 ? 0 : ret;
	if (n > 1)
		memmove(buf + PKT_LEN - 7, buf + piece, 7);
	return ret >= 0;
}

static bool receive(int flags)
{
	return receive_pieces(flags, 1) && buf_len == PKT_LEN;
}

/* Send, receive, read: opened by the kernel, or not */
static bool opened(struct peer *p, unsigned int gen, uint64_t pn,
		   bool by_kernel)
{
	send_packet(p, gen, pn);
	return receive(0) && is_clear(buf) == by_kernel &&
	       reads(p, gen, pn, buf);
}

static void set_cids(const struct peer *a, const char *more)
{
	ng->n_cids = 1;
	ngtcp2_cid_init(&ng->cids[0], a->cid, CID_LEN);
	for (; *more; more++) {
		uint8_t cid[CID_LEN];

		memset(cid, *more, sizeof(cid));
		ngtcp2_cid_init(&ng->cids[ng->n_cids++], cid, CID_LEN);
	}
}

/* ----- the tests ----- */

static void test_shapes(struct peer *a)
{
	uint8_t copy[PKT_LEN];

	check(opened(a, 0, 1, false), "opened by the library before");
	check(opened(a, 0, 2, true), "opened by the kernel");

	send_packet(a, 0, 3);
	check(receive_pieces(0, 3) && is_clear(buf) && reads(a, 0, 3, buf),
	      "received in pieces");

	send_packet(a, 0, 4);
	need(receive(0), "packet 4");
	memcpy(copy, buf, PKT_LEN);
	check(opened(a, 0, 5, true) && reads(a, 0, 4, copy),
	      "copied, and read later");

	send_packet(a, 0, 6);
	check(receive(MSG_PEEK) && is_clear(buf) && receive(0) &&
	      is_clear(buf) && reads(a, 0, 6, buf), "peeked at");

	send_packet(a, 0, 7);
	check(recv(in, buf, sizeof(buf), MSG_DONTWAIT) == PKT_LEN &&
	      !is_clear(buf) && reads(a, 0, 7, buf), "received by recv()");

	wire("short", 5);
	check(receive_pieces(0, 1) && buf_len == 5 && !memcmp(buf, "short", 5),
	      "something else");
}

static void test_mmsg(struct peer *a)
{
	struct mmsghdr mm[3] = { 0 };
	struct iovec iov[3];
	int i;

	for (i = 0; i < 3; i++) {
		send_packet(a, 0, 10 + i);
		iov[i].iov_base = buf + i * PKT_LEN;
		iov[i].iov_len = PKT_LEN;
		mm[i].msg_hdr.msg_iov = &iov[i];
		mm[i].msg_hdr.msg_iovlen = 1;
	}
	check(recvmmsg(in, mm, 3, MSG_DONTWAIT, NULL) == 3 &&
	      mm[2].msg_len == PKT_LEN && is_clear(buf + 2 * PKT_LEN) &&
	      reads(a, 0, 10, buf) && reads(a, 0, 11, buf + PKT_LEN) &&
	      reads(a, 0, 12, buf + 2 * PKT_LEN), "recvmmsg()");
}

/* Four packets that UDP_GRO puts together; the third is damaged. */
static void send_batch(struct peer *a, uint64_t pn, uint8_t *batch)
{
	int i, zero = 0, size = PKT_LEN;

	for (i = 0; i < 4; i++)
		build(a, 0, pn + i, batch + i * PKT_LEN);
	batch[3 * PKT_LEN - 1] ^= 1;
	need(!setsockopt(out, SOL_UDP, UDP_SEGMENT, &size, sizeof(size)),
	     "GSO");
	wire(batch, 4 * PKT_LEN);
	setsockopt(out, SOL_UDP, UDP_SEGMENT, &zero, sizeof(zero));
}

static bool is_zero(const uint8_t *data, size_t len)
{
	while (len--)
		if (*data++)
			return false;
	return true;
}

static void test_gro(struct peer *a)
{
	uint8_t batch[4 * PKT_LEN];
	int i, one = 1, zero = 0;
	bool ok;

	need(!setsockopt(in, SOL_UDP, UDP_GRO, &one, sizeof(one)), "GRO");
	send_batch(a, 20, batch);
	ok = receive_pieces(0, 1) && buf_len == sizeof(batch) &&
	     !memcmp(buf + 2 * PKT_LEN, batch + 2 * PKT_LEN, PKT_LEN);
	for (i = 0; i < 4; i++)
		if (i != 2)
			ok &= is_clear(buf + i * PKT_LEN) &&
			      reads(a, 0, 20 + i, buf + i * PKT_LEN);
	check(ok && reads_not(a, buf + 2 * PKT_LEN), "a batch");

	/* Nobody knows where its packets end. */
	setenv("FAKE_KERNEL_NO_SIZE", "1", 1);
	send_batch(a, 24, batch);
	check(receive_pieces(0, 1) && buf_len == sizeof(batch) &&
	      is_zero(buf, buf_len), "a batch without a size");
	unsetenv("FAKE_KERNEL_NO_SIZE");
	setsockopt(in, SOL_UDP, UDP_GRO, &zero, sizeof(zero));
}

/* The program gets its own control messages, as if there were no others. */
static void test_control(struct peer *a)
{
	union {
		struct cmsghdr hdr;
		char data[CMSG_SPACE(sizeof(struct in_pktinfo))];
	} control;
	struct iovec iov = { buf, sizeof(buf) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct sockaddr_in from;
	int one = 1, zero = 0;

	need(!setsockopt(in, IPPROTO_IP, IP_PKTINFO, &one, sizeof(one)),
	     "IP_PKTINFO");
	msg.msg_control = &control;
	msg.msg_controllen = sizeof(control);
	msg.msg_name = &from;
	msg.msg_namelen = sizeof(from);
	send_packet(a, 0, 30);
	check(recvmsg(in, &msg, 0) == PKT_LEN && is_clear(buf) &&
	      msg.msg_namelen == sizeof(from) && !msg.msg_flags &&
	      msg.msg_controllen == sizeof(control) &&
	      control.hdr.cmsg_type == IP_PKTINFO && reads(a, 0, 30, buf),
	      "a control message");

	msg.msg_controllen = CMSG_LEN(4);
	send_packet(a, 0, 31);
	check(recvmsg(in, &msg, 0) == PKT_LEN && is_clear(buf) &&
	      msg.msg_flags == MSG_CTRUNC &&
	      msg.msg_controllen == CMSG_LEN(4) &&
	      control.hdr.cmsg_len == CMSG_LEN(4) && reads(a, 0, 31, buf),
	      "a control message that is cut off");

	msg.msg_control = NULL;
	send_packet(a, 0, 32);
	check(recvmsg(in, &msg, 0) == PKT_LEN && is_clear(buf) &&
	      msg.msg_flags == MSG_CTRUNC && !msg.msg_controllen &&
	      reads(a, 0, 32, buf), "no control buffer");
	setsockopt(in, IPPROTO_IP, IP_PKTINFO, &zero, sizeof(zero));
}

static void test_not_opened(struct peer *a)
{
	uint8_t pkt[PKT_LEN];

	build(a, 0, 40, pkt);
	pkt[PKT_LEN - 1] ^= 1;
	wire(pkt, PKT_LEN);
	check(receive(0) && !memcmp(buf, pkt, PKT_LEN) && reads_not(a, buf),
	      "a damaged packet, as on the wire");

	build(a, 0, 41, pkt);
	memset(pkt + 1, 'Q', CID_LEN);
	wire(pkt, PKT_LEN);
	check(receive(0) && !memcmp(buf, pkt, PKT_LEN) && reads_not(a, buf),
	      "an unknown connection ID, as on the wire");

	memset(pkt, 0xc0, PKT_LEN);
	wire(pkt, PKT_LEN);
	check(receive(0) && !memcmp(buf, pkt, PKT_LEN),
	      "a long header, as on the wire");
	check(opened(a, 0, 42, true), "then one that opens");
}

static void test_wrong(struct peer *a, struct peer *b)
{
	send_packet(a, 0, 50);
	need(receive(0), "packet 50");
	memset(&last, 0, sizeof(last));
	ngtcp2_conn_read_pkt(b->conn, &ng->path, NULL, buf, PKT_LEN, 0);
	check(is_clear(buf) && !last.read, "not for another connection");
	check(reads(a, 0, 50, buf), "but for its own");

	send_packet(a, 0, 51);
	need(receive(0), "packet 51");
	expected = 51 + (1 << 16);
	check(is_clear(buf) && reads_not(a, buf), "not under another number");
	expected = 51;
	check(opened(a, 0, 52, true), "then another one");
}

static void test_key_updates(struct peer *a)
{
	struct peer ahead;
	uint8_t pkt[PKT_LEN];

	peer_update(a);
	check(opened(a, 0, 60, true) && opened(a, 1, 61, true),
	      "the peer updates its keys");
	peer_update(a);
	check(opened(a, 1, 62, true) && opened(a, 2, 63, true), "once more");

	/* A copy that is ahead, with keys that are known to nobody else */
	ahead = *a;
	ahead.conn = malloc(1);
	peer_update(&ahead);
	build(&ahead, 3, 64, pkt);
	wire(pkt, PKT_LEN);
	check(receive(0) && !memcmp(buf, pkt, PKT_LEN),
	      "a Key Phase without a key, as on the wire");
	peer_update(a);
	check(reads(a, 3, 64, buf), "read by the library a little later");
	check(opened(a, 3, 65, true), "the next one of it");
	free(ahead.conn);
}

static void test_cids(struct peer *a)
{
	struct peer other = *a;

	set_cids(a, "MN");
	check(opened(a, 3, 70, true), "with the old connection ID");
	memset(other.cid, 'N', CID_LEN);
	send_packet(&other, 3, 71);
	check(receive(0) && is_clear(buf) && reads(a, 3, 71, buf),
	      "with a new one");

	/* As many as before, but others: one packet is the library's. */
	set_cids(a, "NO");
	memset(other.cid, 'O', CID_LEN);
	send_packet(&other, 3, 72);
	check(receive(0) && !is_clear(buf) && reads(a, 3, 72, buf),
	      "with one that the kernel does not know yet");
	send_packet(&other, 3, 73);
	check(receive(0) && is_clear(buf) && reads(a, 3, 73, buf),
	      "and once more");
	memset(other.cid, 'M', CID_LEN);
	send_packet(&other, 3, 74);
	check(receive(0) && !is_clear(buf), "with one that is retired");
	set_cids(a, "");
}

static int bound_socket(void)
{
	socklen_t to_len = sizeof(to);
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	to.sin_family = AF_INET;
	to.sin_port = 0;
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	need(fd >= 0 && !bind(fd, (struct sockaddr *)&to, sizeof(to)) &&
	     !getsockname(fd, (struct sockaddr *)&to, &to_len), "socket");
	return fd;
}

/* A forged packet arrives at @fd, which is not where those of @a arrive. */
static void test_elsewhere(struct peer *a, int fd, const struct sockaddr_in *at)
{
	uint8_t pkt[PKT_LEN];
	int saved = in;
	bool ok;

	build(a, 3, 88, pkt);
	pkt[PKT_LEN - 1] ^= 1;
	need(sendto(out, pkt, PKT_LEN, 0, (struct sockaddr *)at,
		    sizeof(*at)) == PKT_LEN, "sendto");
	in = fd;
	ok = receive(0) && !memcmp(buf, pkt, PKT_LEN) && reads_not(a, buf);
	in = saved;
	check(ok && opened(a, 3, 89, true), "a forged packet at another one");
}

static void test_sockets(struct peer *a)
{
	struct sockaddr_in old;
	int fd;

	close(in);
	in = bound_socket();
	check(opened(a, 3, 80, false) && opened(a, 3, 81, true),
	      "another socket, closed before");
	fd = bound_socket();
	dup2(fd, in);
	close(fd);
	check(opened(a, 3, 82, false) && opened(a, 3, 83, true),
	      "another socket under the descriptor");
	fd = in;
	old = to;
	in = bound_socket();
	check(opened(a, 3, 84, false) && opened(a, 3, 85, true),
	      "another socket next to it");
	test_elsewhere(a, fd, &old);
	close(fd);
	check(opened(a, 3, 86, true), "the old one is closed");
}

static void test_end(struct peer *a)
{
	uint8_t pkt[PKT_LEN];

	ngtcp2_conn_del(a->conn);
	build(a, 3, 90, pkt);
	wire(pkt, PKT_LEN);
	check(receive(0) && !memcmp(buf, pkt, PKT_LEN),
	      "after the end, as on the wire");
}

int main(void)
{
	struct peer a, b;

	ng = dlsym(RTLD_DEFAULT, "fake_ngtcp2");
	need(ng, "fake_ngtcp2.so");
	ng->read_pkt = read_pkt;
	crypto = ngtcp2_conn_get_crypto_ctx(NULL);
	in = bound_socket();
	out = socket(AF_INET, SOCK_DGRAM, 0);
	peer_start(&a, "sA");
	peer_start(&b, "tB");
	peers[0] = &a;
	peers[1] = &b;
	set_cids(&a, "");

	printf("KTAP version 1\n1..37\n");
	test_shapes(&a);
	test_mmsg(&a);
	test_gro(&a);
	test_control(&a);
	test_not_opened(&a);
	test_wrong(&a, &b);
	test_key_updates(&a);
	test_cids(&a);
	test_sockets(&a);
	test_end(&a);
	ngtcp2_conn_del(b.conn);
	return n_failed != 0;
}
