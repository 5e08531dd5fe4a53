// SPDX-License-Identifier: GPL-2.0
/*
 * Run the C examples of Documentation/networking/quic.rst over the loopback
 * device. What they send is opened with libcrypto, and what they receive was
 * sealed with it. scripts/doc-examples.sh extracts the examples into
 * quic_examples.c, and refuses to build this program if it leaves one of their
 * functions out.
 */
#include "quic_examples.c"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/time.h>
#include <unistd.h>

#include "../quic_pkt.h"

#define SIZE	1200		/* a packet on the wire, with its tag */
#define LAST	500		/* the last packet of a batch */
#define BATCH	3
#define BYTES	((BATCH - 1) * SIZE + LAST)
#define CID_LEN	8
#define HDR_LEN	(1 + CID_LEN + 2)
#define FIRST	70000		/* more than the 2 bytes in a header can say */
#define LIMIT	(1U << 23)	/* RFC 9001 section 6.6 for AES-GCM */

/* Generations 0 and 1, a flow for an address, and the keys of the peer */
enum { BY_ADDRESS = 2, PEER, N_KEYS };

static struct quic_pkt_keys keys[N_KEYS];
static struct connection conn = { .flow_id = 7, .conn_id_length = CID_LEN };
static const uint8_t cids[2][CID_LEN] = { "connect", "another" };
static struct sockaddr_in6 to;
static int tx, rx;
static unsigned int n_tests, n_failed;

static void check(bool ok, const char *name)
{
	n_failed += !ok;
	printf("%s %u %s\n", ok ? "ok" : "not ok", ++n_tests, name);
}

static void need(bool ok, const char *what)
{
	if (ok)
		return;
	printf("Bail out! %s\n", what);
	exit(1);
}

/* ----- packets, as a library builds them ----- */

static size_t len_of(unsigned int i)
{
	return i == BATCH - 1 ? LAST : SIZE;
}

static void build(uint8_t *pkt, size_t len, const uint8_t *cid,
		  unsigned int phase, uint64_t number)
{
	size_t i;

	pkt[0] = 0x40 | phase << 2 | (2 - 1);
	memcpy(pkt + 1, cid, CID_LEN);
	pkt[1 + CID_LEN] = number >> 8;
	pkt[2 + CID_LEN] = number;
	for (i = HDR_LEN; i < len; i++)
		pkt[i] = number * 31 + i;
}

static void build_batch(uint8_t *data, const uint8_t *cid, unsigned int phase,
			uint64_t number)
{
	unsigned int i;

	for (i = 0; i < BATCH; i++)
		build(data + i * SIZE, len_of(i), cid, phase, number + i);
}

/* Is the next datagram that has arrived this packet, sealed? */
static bool arrived(const struct quic_pkt_keys *k, unsigned int phase,
		    uint64_t number, size_t len)
{
	uint8_t wire[SIZE + 1], plain[SIZE], want[SIZE], hdr[QUIC_PKT_HDR];
	ssize_t n = recv(rx, wire, sizeof(wire), 0);

	build(want, len, cids[0], phase, number);
	return n == (ssize_t)len &&
	       quic_pkt_open_header(k, CID_LEN, wire, len, hdr) == HDR_LEN &&
	       !memcmp(hdr, want, HDR_LEN) &&
	       quic_pkt_open_payload(k, number, hdr, HDR_LEN, wire, len,
				     plain) &&
	       !memcmp(plain, want + HDR_LEN, len - HDR_LEN - QUIC_PKT_TAG);
}

static bool batch_arrived(const struct quic_pkt_keys *k, unsigned int phase,
			  uint64_t number)
{
	unsigned int i;

	for (i = 0; i < BATCH; i++)
		if (!arrived(k, phase, number + i, len_of(i)))
			return false;
	return true;
}

static bool nothing_arrived(void)
{
	uint8_t c;

	return recv(rx, &c, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

/* ----- sending ----- */

/* By the function of the page; the pieces end in the middle of packets. */
static ssize_t send_batch(unsigned int phase, uint64_t number)
{
	uint8_t data[BYTES];
	struct iovec iov[2] = {
		{ data, SIZE / 2 }, { data + SIZE / 2, BYTES - SIZE / 2 },
	};

	build_batch(data, cids[0], phase, number);
	return send_packets(tx, &conn, (struct sockaddr *)&to, sizeof(to), iov,
			    2, SIZE, number);
}

/* Without UDP_SEGMENT, as an example on the page sets that for the socket */
static ssize_t send_with(const struct quic_tx_ancillary_data *anc,
			 unsigned int phase)
{
	union {
		char buf[CMSG_SPACE(sizeof(*anc))];
		struct cmsghdr align;
	} control;
	uint8_t data[BYTES];
	struct iovec iov = { data, sizeof(data) };
	struct msghdr msg = {
		.msg_name = &to,
		.msg_namelen = sizeof(to),
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control.buf),
	};

	memset(&control, 0, sizeof(control));
	build_batch(data, cids[0], phase, anc->next_pkt_num);
	set_cmsg(CMSG_FIRSTHDR(&msg), UDP_QUIC_ENCRYPT, anc, sizeof(*anc));
	return sendmsg(tx, &msg, 0);
}

static bool fails(ssize_t ret, int err)
{
	return ret < 0 && errno == err && nothing_arrived();
}

static void test_sending(void)
{
	check(!attach(tx), "attach");
	check(fails(send_batch(0, FIRST), ENOENT), "not without a flow");
	check(!install_keys(tx, &conn, 0, keys[0].key, keys[0].iv),
	      "install_keys");
	check(packets_left(tx, conn.flow_id) == LIMIT, "packets_left");
	check(send_batch(0, FIRST) == BYTES &&
	      batch_arrived(&keys[0], 0, FIRST), "send_packets");
	check(packets_left(tx, conn.flow_id) == LIMIT - BATCH,
	      "packets_left: fewer by a batch");
	check(fails(send_batch(0, FIRST), EALREADY), "not the same again");
}

static void test_gso_size(void)
{
	struct quic_tx_ancillary_data anc = {
		.next_pkt_num = FIRST + BATCH,
		.flags = QUIC_TX_TAG_ROOM | QUIC_TX_FLOW_ID,
		.conn_id_length = CID_LEN,
		.flow_id = conn.flow_id,
	};

	check(!set_gso_size(tx, SIZE) && send_with(&anc, 0) == BYTES &&
	      batch_arrived(&keys[0], 0, FIRST + BATCH), "set_gso_size");
}

static void test_update(void)
{
	const uint64_t next = FIRST + 2 * BATCH;

	check(fails(send_batch(1, next), ENOKEY), "not before the update");
	check(!update_keys(tx, conn.flow_id, 1, keys[1].key, keys[1].iv),
	      "update_keys");
	check(packets_left(tx, conn.flow_id) == LIMIT,
	      "packets_left: of the newest keys");
	check(send_batch(1, next) == BYTES && batch_arrived(&keys[1], 1, next),
	      "with the new keys");
	check(send_batch(0, next + BATCH) == BYTES &&
	      batch_arrived(&keys[0], 0, next + BATCH), "with the old keys");
	check(!retire_generation(tx, conn.flow_id, 0) &&
	      fails(send_batch(0, next + 2 * BATCH), ENOKEY),
	      "retire_generation");
	check(send_batch(1, next + 3 * BATCH) == BYTES &&
	      batch_arrived(&keys[1], 1, next + 3 * BATCH),
	      "retire_generation: the new keys stay");
}

static ssize_t send_by_address(uint64_t number)
{
	struct quic_tx_ancillary_data anc = {
		.next_pkt_num = number,
		.flags = QUIC_TX_TAG_ROOM,
		.conn_id_length = CID_LEN,
	};

	return send_with(&anc, 0);
}

/* A flow for a connection ID and a destination, on the same socket */
static void test_by_address(void)
{
	const struct quic_pkt_keys *k = &keys[BY_ADDRESS];
	struct quic_connection_info info;
	struct sockaddr_in6 peer = to;

	memset(&info, 0, sizeof(info));
	set_connection_id(&info.key, cids[0], CID_LEN);
	set_peer(&info.key, &to);
	info.cipher_type = k->cipher;
	memcpy(info.payload_key, k->key, sizeof(info.payload_key));
	memcpy(info.payload_iv, k->iv, sizeof(info.payload_iv));
	memcpy(info.header_key, k->hp, sizeof(info.header_key));
	need(!setsockopt(tx, SOL_UDP, UDP_QUIC_ADD_TX_CONNECTION, &info,
			 sizeof(info)), "a flow for an address");
	check(send_by_address(FIRST) == BYTES && batch_arrived(k, 0, FIRST),
	      "set_connection_id, set_peer");
	to.sin6_port = htons(9);
	check(fails(send_by_address(FIRST + BATCH), ENOENT),
	      "set_peer: no other peer");
	to = peer;
}

static void test_removal(void)
{
	check(!remove_flow(tx, conn.flow_id) &&
	      fails(send_batch(1, FIRST + 10 * BATCH), ENOENT), "remove_flow");
	check(!packets_left(tx, conn.flow_id), "packets_left: no flow");
	check(send_by_address(FIRST + BATCH) == BYTES &&
	      batch_arrived(&keys[BY_ADDRESS], 0, FIRST + BATCH),
	      "remove_flow: the other flow stays");
}

/* ----- reception ----- */

/* Packets that the peer has sealed, from another socket, in one datagram */
static void peer_sends(const uint8_t *cid, uint64_t number, uint8_t *data)
{
	int fd = socket(AF_INET6, SOCK_DGRAM, 0);
	unsigned int i;

	build_batch(data, cid, 0, number);
	for (i = 0; i < BATCH; i++)
		need(quic_pkt_seal(&keys[PEER], CID_LEN, number + i,
				   data + i * SIZE, len_of(i)), "sealing");
	need(fd >= 0 && !set_gso_size(fd, SIZE) &&
	     sendto(fd, data, BYTES, 0, (struct sockaddr *)&to,
		    sizeof(to)) == BYTES, "sending");
	close(fd);
}

/* Is packet @i of what was received @number of the peer, opened? */
static bool is_open(const struct received *r, unsigned int i, uint64_t number,
		    size_t len)
{
	uint8_t want[SIZE];
	const uint8_t *payload;
	size_t n;

	build(want, len, cids[0], 0, number);
	payload = frames(r, i, &n);
	return payload && n == len - HDR_LEN - QUIC_PKT_TAG &&
	       !memcmp(payload, want + HDR_LEN, n) &&
	       r->packet[i].pkt_num == number &&
	       r->packet[i].flow_id == conn.flow_id;
}

/* Receive a batch in as many calls as it takes. */
static bool comes_open(uint64_t number)
{
	static struct received r;
	unsigned int i, n = 0;

	while (n < BATCH) {
		if (receive(rx, &r) < 0 || !r.packets)
			return false;
		for (i = 0; i < r.packets; i++, n++)
			if (!is_open(&r, i, number + n, len_of(n)))
				return false;
	}
	return n == BATCH;
}

/* As comes_open(), but packets without a flow, as they were on the wire */
static bool comes_sealed(const uint8_t *wire)
{
	static struct received r;
	size_t n = 0, len;
	unsigned int i;

	for (; n < BYTES; n += r.length) {
		if (receive(rx, &r) < 0 || !r.packets ||
		    n + r.length > BYTES || memcmp(r.data, wire + n, r.length))
			return false;
		for (i = 0; i < r.packets; i++)
			if (frames(&r, i, &len) ||
			    r.packet[i].status != QUIC_RX_NO_FLOW)
				return false;
	}
	return true;
}

static void test_reception(void)
{
	const struct quic_pkt_keys *k = &keys[PEER];
	uint8_t wire[BYTES];
	int on = 1;

	need(!setsockopt(rx, SOL_UDP, UDP_GRO, &on, sizeof(on)), "UDP_GRO");
	check(kernel_opens(rx), "kernel_opens");
	check(!install_rx_keys(rx, &conn, cids[0], FIRST - 1, k->key, k->iv),
	      "install_rx_keys");
	peer_sends(cids[0], FIRST, wire);
	check(comes_open(FIRST), "receive, frames");
}

static void test_alias(void)
{
	const uint64_t next = FIRST + BATCH;
	uint8_t wire[BYTES];

	peer_sends(cids[1], next, wire);
	check(comes_sealed(wire), "frames: of another connection ID");
	check(!change_alias(rx, UDP_QUIC_ADD_RX_CONNECTION, conn.flow_id,
			    cids[1], CID_LEN), "change_alias");
	peer_sends(cids[1], next, wire);
	check(comes_open(next), "change_alias: opened");
	check(!change_alias(rx, UDP_QUIC_DEL_RX_CONNECTION, conn.flow_id,
			    cids[1], CID_LEN), "change_alias: removed");
	peer_sends(cids[1], next + BATCH, wire);
	check(comes_sealed(wire), "change_alias: not opened any more");
}

static void test_drop(void)
{
	const uint64_t next = FIRST + 3 * BATCH;
	uint8_t wire[BYTES];

	check(!drop_unknown(rx, 1), "drop_unknown");
	peer_sends(cids[1], next, wire);
	peer_sends(cids[0], next, wire);
	check(comes_open(next) && nothing_arrived(), "drop_unknown: dropped");
	check(!drop_unknown(rx, 0), "drop_unknown: off");
	peer_sends(cids[1], next, wire);
	check(comes_sealed(wire), "drop_unknown: not dropped");
}

static void prepare(void)
{
	struct timeval limit = { .tv_sec = 10 };
	socklen_t len = sizeof(to);
	unsigned int i;

	tx = socket(AF_INET6, SOCK_DGRAM, 0);
	rx = socket(AF_INET6, SOCK_DGRAM, 0);
	to.sin6_family = AF_INET6;
	to.sin6_addr = in6addr_loopback;
	need(tx >= 0 && rx >= 0 &&
	     !bind(rx, (struct sockaddr *)&to, sizeof(to)) &&
	     !getsockname(rx, (struct sockaddr *)&to, &len) &&
	     !setsockopt(rx, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)),
	     "sockets");
	/* New in every run: the kernel remembers what it has sealed. */
	need(getrandom(keys, sizeof(keys), 0) == sizeof(keys), "keys");
	for (i = 0; i < N_KEYS; i++) {
		keys[i].cipher = TLS_CIPHER_AES_GCM_128;
		memcpy(keys[i].hp, keys[0].hp, sizeof(keys[i].hp));
	}
	memcpy(conn.header_key, keys[0].hp, sizeof(conn.header_key));
}

int main(void)
{
	setlinebuf(stdout);
	printf("KTAP version 1\n1..32\n");
	prepare();
	test_sending();
	test_gso_size();
	test_update();
	test_by_address();
	test_removal();
	test_reception();
	test_alias();
	test_drop();
	return n_failed != 0;
}
