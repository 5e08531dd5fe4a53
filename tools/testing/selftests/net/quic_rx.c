// SPDX-License-Identifier: GPL-2.0
/*
 * Tests of QUIC reception in the kernel. Plain sockets send what libcrypto has
 * sealed; what recvmsg() makes of it is compared with what libcrypto knows.
 * The counters must account for every packet of a test.
 */

#define _GNU_SOURCE
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>

#include <linux/filter.h>

#include "../kselftest_harness.h"
#include "quic_rx_util.h"

#define RX_TIMEOUT	5000	/* ms, for what must arrive */

#define CHECK_OFFSET(type, member, off) \
	static_assert(offsetof(struct type, member) == (off), #member)

/* The same on every ABI */
static_assert(sizeof(struct quic_rx_packet) == 16, "size");
CHECK_OFFSET(quic_rx_packet, flow_id, 8);
CHECK_OFFSET(quic_rx_packet, status, 12);
CHECK_OFFSET(quic_rx_packet, key_gen, 13);
CHECK_OFFSET(quic_rx_packet, pkt_num_length, 14);
CHECK_OFFSET(quic_rx_packet, conn_id_length, 15);
static_assert(QUIC_RX_OPENED == 0 && QUIC_RX_KEY_PHASE == 1 &&
	      QUIC_RX_AUTH_FAILED == 2 && QUIC_RX_NO_FLOW == 3 &&
	      QUIC_RX_NOT_1RTT == 4 && QUIC_RX_TOO_SHORT == 5 &&
	      QUIC_RX_KEY_LIMIT == 6 && QUIC_RX_NOT_TRIED == 7, "status");

static const char *missing;	/* what the kernel lacks */
static struct batch batch;
static struct want want;
static struct rx rx;

enum family { ipv4, ipv6, mapped };

/**
 * struct receiver - a socket that opens packets, and one that sends them
 * @fd: opens
 * @peer: plain socket, bound to @from
 * @to: address of @fd for @peer
 * @from: address of @peer
 * @gro: @fd gets the packets of a batch in one call
 * @status: packets that must be counted, by status
 * @bytes: of opened packets
 * @no_room: calls whose control buffer was too small
 * @dropped: packets that nobody was given
 * @old: counters at the beginning
 */
struct receiver {
	int fd, peer;
	struct sockaddr_storage to, from;
	bool gro;
	unsigned long status[NR_STATUS];
	unsigned long bytes;
	unsigned long no_room;
	unsigned long dropped;
	struct rx_counters old;
};

/* An IPv6 socket that takes IPv4, too */
static int sock_any6(uint16_t *port)
{
	struct sockaddr_in6 any = { .sin6_family = AF_INET6 };
	socklen_t len = sizeof(any);
	int fd = sock_udp(AF_INET6);

	if (fd < 0 || set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0) ||
	    bind(fd, (void *)&any, len) ||
	    getsockname(fd, (void *)&any, &len))
		return -1;
	if (set_int(fd, SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20))
		set_int(fd, SOL_SOCKET, SO_RCVBUF, 8 << 20);
	*port = ntohs(any.sin6_port);
	return fd;
}

static int receiver_open(struct receiver *r, enum family family)
{
	int af = family == ipv6 ? AF_INET6 : AF_INET;
	uint16_t port = 0;

	memset(r, 0, sizeof(*r));
	if (family == mapped) {
		r->fd = sock_any6(&port);
		addr_loopback(&r->to, AF_INET, port);
	} else {
		r->fd = sock_bound(af, &r->to);
	}
	r->peer = sock_bound(af, &r->from);
	if (r->fd < 0 || r->peer < 0)
		return -1;
	return rx_counters_read(&r->old);
}

static void receiver_close(struct receiver *r)
{
	close(r->fd);
	close(r->peer);
}

static int receiver_gro(struct receiver *r)
{
	r->gro = true;
	return set_int(r->fd, SOL_UDP, UDP_GRO, 1);
}

/* The peer as the receiver's socket sees it */
static struct sockaddr_storage receiver_peer(const struct receiver *r,
					     enum family family)
{
	struct sockaddr_storage addr = r->from;

	if (family == mapped)
		addr_mapped(&addr);
	return addr;
}

/* All packets of the test are in the counters, and no others. */
static void check_counters(struct __test_metadata *_metadata,
			   const struct receiver *r)
{
	static const int counter[NR_STATUS] = {
		[QUIC_RX_OPENED]	= RX_SW_PACKETS,
		[QUIC_RX_KEY_PHASE]	= RX_KEY_PHASE,
		[QUIC_RX_AUTH_FAILED]	= DECRYPT_ERROR,
		[QUIC_RX_NO_FLOW]	= RX_NO_FLOW,
		[QUIC_RX_NOT_1RTT]	= -1,
		[QUIC_RX_TOO_SHORT]	= RX_MALFORMED,
		[QUIC_RX_KEY_LIMIT]	= RX_KEY_LIMIT,
		[QUIC_RX_NOT_TRIED]	= -1,
	};
	struct rx_counters now;
	unsigned int i;

	ASSERT_EQ(0, rx_counters_read(&now));
	for (i = 0; i < NR_STATUS; i++) {
		if (counter[i] < 0)
			continue;
		EXPECT_EQ(r->status[i],
			  now.v[counter[i]] - r->old.v[counter[i]])
			TH_LOG("counter of status %u", i);
	}
	EXPECT_EQ(r->bytes, now.v[RX_SW_BYTES] - r->old.v[RX_SW_BYTES]);
	EXPECT_EQ(r->no_room, now.v[RX_NO_ROOM] - r->old.v[RX_NO_ROOM]);
	EXPECT_EQ(r->dropped, now.v[RX_DROPPED] - r->old.v[RX_DROPPED]);
}

/* What the element of a packet must say */
static void expect_elem(struct __test_metadata *_metadata,
			const struct quic_rx_packet *e, const struct pkt *p,
			uint8_t status, int gen)
{
	const struct flow *f = p->flow;

	ASSERT_EQ(status, e->status);
	if (status == QUIC_RX_OPENED)
		ASSERT_EQ(gen < 0 ? f->gen : gen, e->key_gen);
	if (status == QUIC_RX_OPENED || status == QUIC_RX_KEY_PHASE) {
		ASSERT_EQ(p->pn, e->pkt_num);
		ASSERT_EQ(p->pn_len, e->pkt_num_length);
	}
	switch (status) {
	case QUIC_RX_OPENED:
	case QUIC_RX_KEY_PHASE:
	case QUIC_RX_AUTH_FAILED:
	case QUIC_RX_KEY_LIMIT:
		ASSERT_EQ(f->id, e->flow_id);
		ASSERT_EQ(f->cid_len, e->conn_id_length);
		break;
	case QUIC_RX_NO_FLOW:
	case QUIC_RX_NOT_1RTT:
		ASSERT_EQ(0, e->flow_id);
		ASSERT_EQ(0, e->conn_id_length);
		break;
	default:
		break;
	}
	/* What is not valid is zero. */
	if (status == QUIC_RX_OPENED)
		return;
	ASSERT_EQ(0, e->key_gen);
	if (status == QUIC_RX_KEY_PHASE)
		return;
	ASSERT_EQ(0, e->pkt_num);
	ASSERT_EQ(0, e->pkt_num_length);
}

/* @rx has got packet @first of @b and those after it. */
static void expect_call(struct __test_metadata *_metadata, struct receiver *r,
			const struct batch *b, const struct want *w,
			unsigned int first, unsigned int n)
{
	size_t off = wire_off(b, first), len;
	const char *differs;
	unsigned int i;

	len = wire_off(b, first + n - 1) + b->pkt[first + n - 1].len - off;
	ASSERT_EQ((ssize_t)len, rx.ret);
	ASSERT_EQ(0, rx.msg_flags & (MSG_TRUNC | MSG_CTRUNC));
	ASSERT_EQ((int)n, rx.elems);
	ASSERT_EQ(r->gro && n > 1 ? (int)b->size : 0, rx.gro);
	for (i = first; i < first + n; i++) {
		const struct pkt *p = &b->pkt[i];

		expect_elem(_metadata, &rx.pkt[i - first], p, w->status[i],
			    w->gen[i]);
		differs = rx_differs(p, b->wire + wire_off(b, i),
				     rx.buf + wire_off(b, i) - off,
				     w->status[i]);
		ASSERT_EQ(NULL, (void *)differs)
			TH_LOG("packet %u of %u: %s, status %u", i, b->n,
			       differs, w->status[i]);
		r->status[w->status[i]]++;
		if (w->status[i] == QUIC_RX_OPENED)
			r->bytes += p->len;
	}
}

/* The packets of @b are there, and each has the status that @w says. */
static void expect_rx(struct __test_metadata *_metadata, struct receiver *r,
		      const struct batch *b, const struct want *w)
{
	unsigned int i, n = r->gro ? b->n : 1;

	for (i = 0; i < b->n; i += n) {
		ASSERT_EQ(0, rx_wait(r->fd, RX_TIMEOUT))
			TH_LOG("packet %u of %u", i, b->n);
		rx_init(&rx, r->fd);
		rx_call(&rx);
		expect_call(_metadata, r, b, w, i, n);
	}
}

static void expect_none(struct __test_metadata *_metadata, int fd)
{
	struct rx none;

	rx_init(&none, fd);
	ASSERT_EQ(-EAGAIN, rx_call(&none));
}

/* What is in @b has been built. */
static void pass_wire(struct __test_metadata *_metadata, struct receiver *r,
		      const struct batch *b, const struct want *w)
{
	ASSERT_LT(0, wire_batch(r->peer, &r->to, b));
	expect_rx(_metadata, r, b, w);
}

/* The peer sends @b, and all of it is opened. */
static void pass_batch(struct __test_metadata *_metadata, struct receiver *r,
		       struct batch *b)
{
	batch_build(b);
	want_init(&want);
	pass_wire(_metadata, r, b, &want);
}

static void build_one(struct batch *b, const struct flow *f, uint64_t pn)
{
	batch_init(b, f, pn, 1, 100, 100);
	batch_build(b);
}

static void send_one(struct __test_metadata *_metadata, struct receiver *r,
		     struct batch *b, const struct flow *f, uint64_t pn)
{
	build_one(b, f, pn);
	ASSERT_EQ(100, wire_batch(r->peer, &r->to, b));
}

static void pass_one(struct __test_metadata *_metadata, struct receiver *r,
		     const struct flow *f, uint64_t pn, uint8_t status)
{
	want_init(&want);
	want.status[0] = status;
	build_one(&batch, f, pn);
	pass_wire(_metadata, r, &batch, &want);
}

static void open_one(struct __test_metadata *_metadata, struct receiver *r,
		     const struct flow *f, uint64_t pn)
{
	pass_one(_metadata, r, f, pn, QUIC_RX_OPENED);
}

/* Every cipher, address family, with GRO and without */

#define OPEN(_name, _cipher, _family, _gro)				\
	FIXTURE_VARIANT_ADD(open, _name##_##_family##_##_gro) {		\
		.cipher = TLS_CIPHER_##_cipher,				\
		.family = _family,					\
		.gro = _gro,						\
	};								\
	struct receiver

#define OPEN_FAMILIES(_name, _cipher)					\
	OPEN(_name, _cipher, ipv4, single);				\
	OPEN(_name, _cipher, ipv4, gro);				\
	OPEN(_name, _cipher, ipv6, single);				\
	OPEN(_name, _cipher, ipv6, gro);				\
	OPEN(_name, _cipher, mapped, single);				\
	OPEN(_name, _cipher, mapped, gro);				\
	struct receiver

enum gro { single, gro };

FIXTURE(open)
{
	struct receiver r;
	struct flow flow;
};

FIXTURE_VARIANT(open)
{
	uint16_t cipher;
	enum family family;
	enum gro gro;
};

OPEN_FAMILIES(gcm128, AES_GCM_128);
OPEN_FAMILIES(gcm256, AES_GCM_256);
OPEN_FAMILIES(ccm128, AES_CCM_128);
OPEN_FAMILIES(chacha, CHACHA20_POLY1305);

FIXTURE_SETUP(open)
{
	if (missing)
		SKIP(return, "%s", missing);
	ASSERT_EQ(0, receiver_open(&self->r, variant->family));
	if (variant->gro)
		ASSERT_EQ(0, receiver_gro(&self->r));
	flow_init(&self->flow, variant->cipher, 8);
	self->flow.id = 7;
	self->flow.gen = 1;
}

FIXTURE_TEARDOWN(open)
{
	check_counters(_metadata, &self->r);
	receiver_close(&self->r);
}

/* The packets of the batch have numbers of different lengths. */
static void pass_shapes(struct __test_metadata *_metadata, struct receiver *r,
			const struct flow *f, uint64_t pn)
{
	static const struct {
		unsigned int n;
		size_t size, last;
	} shapes[] = {
		/* The least that a sample can be taken from */
		{ 1, 100, 1 + 8 + 4 + TAG },
		{ 1, 1200, 1200 },
		{ 1, 9000, 9000 },
		{ 1, 65000, 65000 },
		{ 5, 1200, 1200 },
		{ 2, 1452, 1 + 8 + 4 + TAG },
		{ 7, 89, 71 },
		{ 13, 211, 211 },
		{ 64, 1000, 999 },
	};
	unsigned int i, j;

	for (i = 0; i < ARRAY_SIZE(shapes); i++) {
		batch_init(&batch, f, pn, shapes[i].n, shapes[i].size,
			   shapes[i].last);
		for (j = 0; j < batch.n; j++)
			batch.pkt[j].pn_len = 4 - j % 4;
		pass_batch(_metadata, r, &batch);
		pn += shapes[i].n;
	}
}

TEST_F(open, packets)
{
	struct flow with_peer = self->flow;
	struct receiver *r = &self->r;

	ASSERT_EQ(0, rx_add_next(r->fd, &self->flow, 0x0d65c9));
	pass_shapes(_metadata, r, &self->flow, 0x0d65c9);
	/* From this peer only */
	ASSERT_EQ(0, rx_del(r->fd, &self->flow));
	with_peer.dst = r->from;
	ASSERT_EQ(0, rx_add_next(r->fd, &with_peer, 0x1d65c9));
	pass_shapes(_metadata, r, &with_peer, 0x1d65c9);
	expect_none(_metadata, r->fd);
}

TEST_F(open, connected)
{
	struct receiver *r = &self->r;
	struct sockaddr_storage peer = receiver_peer(r, variant->family);
	struct flow f = self->flow, zero = self->flow;

	ASSERT_EQ(0, connect(r->fd, (void *)&peer, addr_len(&peer)));
	ASSERT_EQ(0, rx_add_next(r->fd, &f, 0x0d65c9));
	pass_shapes(_metadata, r, &f, 0x0d65c9);
	ASSERT_EQ(0, rx_del(r->fd, &f));
	/* Without a connection ID it is the socket's peer. */
	zero.cid_len = 0;
	ASSERT_EQ(0, rx_add(r->fd, &zero));
	batch_init(&batch, &zero, 0, 5, 300, 200);
	pass_batch(_metadata, r, &batch);
	expect_none(_metadata, r->fd);
}

/* Everything else, with AES-128-GCM */

FIXTURE(rx)
{
	struct receiver r;
	struct flow flow;	/* installed, from any peer */
};

FIXTURE_VARIANT(rx)
{
	enum family family;
};

FIXTURE_VARIANT_ADD(rx, ipv4)
{
	.family = ipv4,
};

FIXTURE_VARIANT_ADD(rx, ipv6)
{
	.family = ipv6,
};

FIXTURE_VARIANT_ADD(rx, mapped)
{
	.family = mapped,
};

FIXTURE_SETUP(rx)
{
	if (missing)
		SKIP(return, "%s", missing);
	ASSERT_EQ(0, receiver_open(&self->r, variant->family));
	flow_init(&self->flow, TLS_CIPHER_AES_GCM_128, 8);
	self->flow.id = 0x80000001;
	ASSERT_EQ(0, rx_add(self->r.fd, &self->flow));
}

FIXTURE_TEARDOWN(rx)
{
	check_counters(_metadata, &self->r);
	receiver_close(&self->r);
}

/* RFC 9001 A.5 */
static const uint8_t a5_key[32] = {
	0xc6, 0xd9, 0x8f, 0xf3, 0x44, 0x1c, 0x3f, 0xe1,
	0xb2, 0x18, 0x20, 0x94, 0xf6, 0x9c, 0xaa, 0x2e,
	0xd4, 0xb7, 0x16, 0xb6, 0x54, 0x88, 0x96, 0x0a,
	0x7a, 0x98, 0x49, 0x79, 0xfb, 0x23, 0xe1, 0xc8,
};

static const uint8_t a5_iv[12] = {
	0xe0, 0x45, 0x9b, 0x34, 0x74, 0xbd,
	0xd0, 0xe4, 0x4a, 0x41, 0xc1, 0x44,
};

static const uint8_t a5_hp[32] = {
	0x25, 0xa2, 0x82, 0xb9, 0xe8, 0x2f, 0x06, 0xf2,
	0x1f, 0x48, 0x89, 0x17, 0xa4, 0xfc, 0x8f, 0x1b,
	0x73, 0x57, 0x36, 0x85, 0x60, 0x85, 0x97, 0xd0,
	0xef, 0xcb, 0x07, 0x6b, 0x0a, 0xb7, 0xa7, 0xa4,
};

static const uint8_t a5_plain[] = { 0x42, 0x00, 0xbf, 0xf4, 0x01 };

static const uint8_t a5_wire[] = {
	0x4c, 0xfe, 0x41, 0x89, 0x65, 0x5e, 0x5c, 0xd5, 0x5c, 0x41, 0xf6,
	0x90, 0x80, 0x57, 0x5d, 0x79, 0x99, 0xc2, 0x5a, 0x5b, 0xfb,
};

#define A5_PKT_NUM	654360564

TEST_F(rx, rfc9001_a5)
{
	struct receiver *r = &self->r;
	struct flow f = { .dst = r->from, .id = 5 };

	f.keys.cipher = TLS_CIPHER_CHACHA20_POLY1305;
	memcpy(f.keys.key, a5_key, sizeof(a5_key));
	memcpy(f.keys.iv, a5_iv, sizeof(a5_iv));
	memcpy(f.keys.hp, a5_hp, sizeof(a5_hp));
	ASSERT_EQ(0, rx_add_next(r->fd, &f, A5_PKT_NUM - 9));
	ASSERT_EQ((ssize_t)sizeof(a5_wire),
		  wire_send(r->peer, &r->to, a5_wire, sizeof(a5_wire), 0));
	rx_init(&rx, r->fd);
	ASSERT_EQ((ssize_t)sizeof(a5_wire), rx_call(&rx));
	ASSERT_EQ(1, rx.elems);
	EXPECT_EQ(QUIC_RX_OPENED, rx.pkt[0].status);
	EXPECT_EQ(A5_PKT_NUM, rx.pkt[0].pkt_num);
	EXPECT_EQ(3, rx.pkt[0].pkt_num_length);
	EXPECT_EQ(0, rx.pkt[0].conn_id_length);
	EXPECT_EQ(5, rx.pkt[0].flow_id);
	EXPECT_EQ(0, memcmp(rx.buf, a5_plain, sizeof(a5_plain)));
	r->status[QUIC_RX_OPENED]++;
	r->bytes += sizeof(a5_wire);
}

/* Statuses */

TEST_F(rx, no_flow)
{
	struct receiver *r = &self->r;
	struct flow f = self->flow;

	/* Another ID; one that is longer, and one that is shorter */
	f.cid[7] ^= 1;
	pass_one(_metadata, r, &f, 1, QUIC_RX_NO_FLOW);
	f = self->flow;
	f.cid[0] ^= 0x80;
	f.cid_len = 9;
	pass_one(_metadata, r, &f, 1, QUIC_RX_NO_FLOW);
	f = self->flow;
	memmove(f.cid, f.cid + 1, 7);
	f.cid_len = 7;
	pass_one(_metadata, r, &f, 1, QUIC_RX_NO_FLOW);
	open_one(_metadata, r, &self->flow, 1);
}

TEST_F(rx, no_flow_peer)
{
	struct receiver *r = &self->r;
	struct receiver other = *r;
	struct flow f;

	flow_init(&f, TLS_CIPHER_AES_GCM_128, 8);
	f.id = 3;
	f.dst = r->from;
	ASSERT_EQ(0, rx_add(r->fd, &f));
	other.peer = sock_bound(r->from.ss_family, &other.from);
	ASSERT_LE(0, other.peer);
	open_one(_metadata, r, &f, 1);
	build_one(&batch, &f, 2);
	ASSERT_EQ(100, wire_batch(other.peer, &r->to, &batch));
	want_init(&want);
	want.status[0] = QUIC_RX_NO_FLOW;
	expect_rx(_metadata, r, &batch, &want);
	close(other.peer);
	/* The port is part of the address; it is in use by nobody. */
	open_one(_metadata, r, &f, 2);
}

/* What must come of packets that were damaged: libcrypto tells. */
static uint8_t damaged_status(const struct flow *f, const uint8_t *wire,
			      size_t len)
{
	static uint8_t buf[2048];
	unsigned int pn_len;
	uint64_t pn;

	if (wire[0] & HDR_LONG)
		return QUIC_RX_NOT_1RTT;
	if (memcmp(wire + 1, f->cid, f->cid_len))
		return QUIC_RX_NO_FLOW;
	memcpy(buf, wire, len);
	pkt_show_hdr(f, buf, len, &pn_len, &pn);
	return !(buf[0] & HDR_PHASE) == !(f->gen & 1) ? QUIC_RX_AUTH_FAILED :
							QUIC_RX_KEY_PHASE;
}

/* The header of @rx is unprotected, and the rest as on the wire. */
static void expect_key_phase(struct __test_metadata *_metadata,
			     const struct flow *f, const uint8_t *wire,
			     size_t len)
{
	static uint8_t buf[2048];
	unsigned int pn_len;
	uint64_t pn;

	memcpy(buf, wire, len);
	ASSERT_EQ(0, pkt_show_hdr(f, buf, len, &pn_len, &pn));
	ASSERT_EQ(0, memcmp(buf, rx.buf, len));
	ASSERT_EQ(pn_len, rx.pkt[0].pkt_num_length);
	ASSERT_EQ(f->id, rx.pkt[0].flow_id);
}

/* Each bit of a packet is flipped: none of them opens. */
TEST_F_TIMEOUT(rx, damaged, 60)
{
	struct receiver *r = &self->r;
	unsigned int i, seen[NR_STATUS] = {};
	uint8_t status;

	for (i = 0; i < 60 * 8; i++) {
		batch_init(&batch, &self->flow, 0x1234 + i, 1, 60, 60);
		batch_build(&batch);
		batch.wire[i / 8] ^= 1 << i % 8;
		status = damaged_status(&self->flow, batch.wire, 60);
		ASSERT_EQ(60, wire_batch(r->peer, &r->to, &batch));
		rx_init(&rx, r->fd);
		ASSERT_EQ(60, rx_call(&rx));
		ASSERT_EQ(1, rx.elems);
		ASSERT_EQ(status, rx.pkt[0].status)
			TH_LOG("bit %u", i);
		if (status == QUIC_RX_KEY_PHASE)
			expect_key_phase(_metadata, &self->flow, batch.wire,
					 60);
		else
			ASSERT_EQ(0, memcmp(batch.wire, rx.buf, 60));
		ASSERT_FALSE(has_marker(rx.buf, sizeof(rx.buf)));
		r->status[status]++;
		seen[status]++;
	}
	EXPECT_EQ(1, seen[QUIC_RX_NOT_1RTT]);
	EXPECT_EQ(8 * 8, seen[QUIC_RX_NO_FLOW]);
	EXPECT_LT(300, seen[QUIC_RX_AUTH_FAILED]);
	EXPECT_LT(0, seen[QUIC_RX_KEY_PHASE]);
	/* What has failed has not moved the packet numbers. */
	batch_init(&batch, &self->flow, 100, 1, 60, 60);
	batch.pkt[0].pn_len = 1;
	pass_batch(_metadata, r, &batch);
}

/* A stateless reset looks like a packet, of either Key Phase. Its token must be
 * found in its last 16 bytes: RFC 9000 10.3.1
 */
TEST_F(rx, stateless_reset)
{
	unsigned int i, seen[NR_STATUS] = {};
	struct receiver *r = &self->r;
	uint8_t buf[43], status;

	for (i = 0; i < 40; i++) {
		build_one(&batch, &self->flow, i);
		/* to a connection ID that is in use, or not */
		memcpy(buf, batch.wire, sizeof(buf));
		memset(buf + sizeof(buf) - TAG, i, TAG);
		if (i & 1)
			buf[1] ^= 0x10;
		status = damaged_status(&self->flow, buf, sizeof(buf));
		ASSERT_EQ((ssize_t)sizeof(buf),
			  wire_send(r->peer, &r->to, buf, sizeof(buf), 0));
		rx_init(&rx, r->fd);
		ASSERT_EQ((ssize_t)sizeof(buf), rx_call(&rx));
		ASSERT_EQ(1, rx.elems);
		ASSERT_EQ(status, rx.pkt[0].status);
		if (status != QUIC_RX_KEY_PHASE)
			ASSERT_EQ(0, memcmp(buf, rx.buf, sizeof(buf)));
		ASSERT_EQ(0, memcmp(buf + sizeof(buf) - TAG,
				    rx.buf + sizeof(buf) - TAG, TAG));
		r->status[status]++;
		seen[status]++;
	}
	EXPECT_EQ(20, seen[QUIC_RX_NO_FLOW]);
	EXPECT_EQ(20, seen[QUIC_RX_AUTH_FAILED] + seen[QUIC_RX_KEY_PHASE]);
}

TEST_F(rx, not_1rtt)
{
	static const uint8_t first[] = { 0x80, 0xc0, 0xd3, 0xe5, 0xff };
	struct receiver *r = &self->r;
	unsigned int i;

	want_init(&want);
	want.status[0] = QUIC_RX_NOT_1RTT;
	for (i = 0; i < ARRAY_SIZE(first); i++) {
		build_one(&batch, &self->flow, i);
		batch.wire[0] = first[i];
		pass_wire(_metadata, r, &batch, &want);
	}
	/* However short */
	for (i = 1; i < 40; i++) {
		ASSERT_EQ(i, wire_send(r->peer, &r->to, batch.wire, i, 0));
		rx_init(&rx, r->fd);
		ASSERT_EQ(i, rx_call(&rx));
		ASSERT_EQ(1, rx.elems);
		ASSERT_EQ(QUIC_RX_NOT_1RTT, rx.pkt[0].status);
		ASSERT_EQ(0, memcmp(batch.wire, rx.buf, i));
		r->status[QUIC_RX_NOT_1RTT]++;
	}
}

TEST_F(rx, too_short)
{
	struct receiver *r = &self->r;
	size_t i, min = pkt_min_len(&self->flow);

	build_one(&batch, &self->flow, 1);
	for (i = 1; i < min; i++) {
		ASSERT_EQ((ssize_t)i,
			  wire_send(r->peer, &r->to, batch.wire, i, 0));
		rx_init(&rx, r->fd);
		ASSERT_EQ((ssize_t)i, rx_call(&rx));
		ASSERT_EQ(1, rx.elems);
		ASSERT_EQ(QUIC_RX_TOO_SHORT, rx.pkt[0].status)
			TH_LOG("length %zu", i);
		ASSERT_EQ(0, memcmp(batch.wire, rx.buf, i));
		r->status[QUIC_RX_TOO_SHORT]++;
	}
	/* One byte more is a packet, of whatever number length. */
	for (i = 1; i <= 4; i++) {
		batch_init(&batch, &self->flow, i, 1, min, min);
		batch.pkt[0].pn_len = i;
		pass_batch(_metadata, r, &batch);
	}
}

/* A datagram without data is no packet. */
TEST_F(rx, empty)
{
	struct receiver *r = &self->r;

	ASSERT_EQ(0, wire_send(r->peer, &r->to, "", 0, 0));
	ASSERT_EQ(0, rx_wait(r->fd, RX_TIMEOUT));
	rx_init(&rx, r->fd);
	ASSERT_EQ(0, rx_call(&rx));
	ASSERT_EQ(0xee, rx.buf[0]);
	if (rx.elems == 1) {
		ASSERT_EQ(QUIC_RX_TOO_SHORT, rx.pkt[0].status);
		r->status[QUIC_RX_TOO_SHORT]++;
	} else {
		ASSERT_EQ(-1, rx.elems);
	}
	open_one(_metadata, r, &self->flow, 1);
}

TEST_F(rx, key_phase)
{
	struct receiver *r = &self->r;
	struct flow next;

	flow_next(&next, &self->flow);
	pass_one(_metadata, r, &next, 1, QUIC_RX_KEY_PHASE);
	pass_one(_metadata, r, &next, 70000, QUIC_RX_KEY_PHASE);
	/* Of a number that nobody vouches for, nothing is kept. */
	batch_init(&batch, &self->flow, 9, 1, 60, 60);
	batch.pkt[0].pn_len = 1;
	pass_batch(_metadata, r, &batch);
	ASSERT_EQ(0, rx_add(r->fd, &next));
	open_one(_metadata, r, &next, 70000);
}

/* The spin bit, the reserved bits and the fixed bit are the library's. */
TEST_F(rx, first_byte)
{
	struct receiver *r = &self->r;
	unsigned int i;

	for (i = 0; i < 16; i++) {
		batch_init(&batch, &self->flow, i, 1, 100, 100);
		batch.pkt[0].first = (i & 1 ? HDR_FIXED : 0) |
				     (i & 2 ? HDR_SPIN : 0) | (i >> 2) << 3;
		batch.pkt[0].pn_len = 1 + i % 4;
		pass_batch(_metadata, r, &batch);
	}
}

static void limit_failures(struct __test_metadata *_metadata,
			   struct receiver *r, const struct flow *f,
			   uint64_t pn, unsigned int n)
{
	unsigned int i;

	want_init(&want);
	want.status[0] = QUIC_RX_AUTH_FAILED;
	for (i = 0; i < n; i++) {
		build_one(&batch, f, pn + i);
		batch.wire[99] ^= 1;
		pass_wire(_metadata, r, &batch, &want);
	}
}

/* RFC 9001 6.6: failures count for all keys of a connection. At the limit no
 * packet of it is opened any more, not even a good one.
 */
TEST_F(rx, key_limit)
{
	enum { LIMIT = 5 };
	struct receiver *r = &self->r;
	struct flow f, next;

	ASSERT_EQ(0, sysctl_write("open_limit", LIMIT));
	flow_init(&f, TLS_CIPHER_AES_GCM_128, 8);
	f.id = 2;
	ASSERT_EQ(0, rx_add(r->fd, &f));
	/* The limit is that of the moment at which the flow was added. */
	ASSERT_EQ(0, sysctl_write("open_limit", 0));
	flow_next(&next, &f);
	ASSERT_EQ(0, rx_add(r->fd, &next));
	open_one(_metadata, r, &f, 1);
	limit_failures(_metadata, r, &f, 2, LIMIT - 2);
	open_one(_metadata, r, &next, 2);
	limit_failures(_metadata, r, &next, 3, 1);
	open_one(_metadata, r, &f, 0);
	limit_failures(_metadata, r, &f, 1, 1);
	pass_one(_metadata, r, &next, 3, QUIC_RX_KEY_LIMIT);
	pass_one(_metadata, r, &f, 0, QUIC_RX_KEY_LIMIT);
	/* Opening does not count, and other flows are not concerned. */
	pass_shapes(_metadata, r, &self->flow, 0);
	/* Nor is the limit raised by looking at it or by new keys. */
	flow_next(&f, &next);
	ASSERT_EQ(0, rx_add(r->fd, &f));
	pass_one(_metadata, r, &f, 4, QUIC_RX_KEY_LIMIT);
	pass_one(_metadata, r, &next, 4, QUIC_RX_KEY_LIMIT);
}

/* In one datagram: the packets after the last failure are not tried. */
TEST_F(rx, key_limit_gro)
{
	struct receiver *r = &self->r;
	struct flow f;
	int i;

	ASSERT_EQ(0, sysctl_write("open_limit", 2));
	flow_init(&f, TLS_CIPHER_CHACHA20_POLY1305, 8);
	f.id = 2;
	ASSERT_EQ(0, rx_add(r->fd, &f));
	ASSERT_EQ(0, sysctl_write("open_limit", 0));
	ASSERT_EQ(0, receiver_gro(r));
	batch_init(&batch, &f, 1, 8, 100, 100);
	batch_build(&batch);
	want_init(&want);
	batch.wire[250] ^= 1;
	batch.wire[550] ^= 1;
	want.status[2] = QUIC_RX_AUTH_FAILED;
	want.status[5] = QUIC_RX_AUTH_FAILED;
	for (i = 6; i < 8; i++)
		want.status[i] = QUIC_RX_KEY_LIMIT;
	pass_wire(_metadata, r, &batch, &want);
}

/* Control buffers */

/*
 * With every size of the buffer either all is opened, or nothing.
 * @others: bytes of other messages, which may take the room of the packet size
 */
static void sweep_control(struct __test_metadata *_metadata,
			  struct receiver *r, const struct flow *f,
			  size_t others)
{
	size_t exact = others + (r->gro ? RX_ROOM(3) + RX_ROOM_GRO :
					  RX_ROOM(1));
	static struct batch b;
	unsigned int opened = 0;
	size_t room, wire;

	want_init(&want);
	for (room = 0; room <= exact + 8; room++) {
		batch_init(&b, f, room * 3, r->gro ? 3 : 1, 100, 80);
		batch_build(&b);
		wire = wire_off(&b, b.n - 1) + 80;
		ASSERT_LT(0, wire_batch(r->peer, &r->to, &b));
		rx_init(&rx, r->fd);
		rx.room = room;
		ASSERT_EQ((ssize_t)wire, rx_call(&rx));
		if (rx.elems >= 0) {
			ASSERT_EQ((int)b.n, rx.elems);
			if (others) {
				rx.gro = r->gro ? 100 : 0;
				rx.msg_flags = 0;
			}
			/* Nobody finds packets whose size is not told. */
			ASSERT_EQ(r->gro ? 100 : 0, rx.gro)
				TH_LOG("%zu bytes", room);
			expect_call(_metadata, r, &b, &want, 0, b.n);
			opened++;
		} else {
			ASSERT_EQ(0, memcmp(b.wire, rx.buf, wire))
				TH_LOG("%zu bytes", room);
			ASSERT_TRUE(rx.msg_flags & MSG_CTRUNC);
			r->no_room++;
		}
		if (room >= exact) {
			ASSERT_EQ((int)b.n, rx.elems)
				TH_LOG("%zu bytes", room);
			ASSERT_EQ(0, rx.msg_flags & MSG_CTRUNC);
		}
	}
	/* Less than the exact size is no reason to write it. */
	ASSERT_LE(opened, exact + 9 - RX_ROOM(r->gro ? 3 : 1) +
		  (CMSG_SPACE(0) - CMSG_LEN(0)));
	ASSERT_LE(9, opened);
}

TEST_F_TIMEOUT(rx, control_sizes, 60)
{
	struct receiver *r = &self->r;

	sweep_control(_metadata, r, &self->flow, 0);
	ASSERT_EQ(0, receiver_gro(r));
	sweep_control(_metadata, r, &self->flow, 0);
}

/* Other control messages compete for the room. */
TEST_F_TIMEOUT(rx, control_others, 60)
{
	struct receiver *r = &self->r;
	size_t others = CMSG_SPACE(sizeof(struct timeval));

	ASSERT_EQ(0, set_int(r->fd, SOL_SOCKET, SO_TIMESTAMP, 1));
	if (variant->family == ipv6) {
		ASSERT_EQ(0, set_int(r->fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1));
		others += CMSG_SPACE(sizeof(struct in6_pktinfo));
	} else {
		ASSERT_EQ(0, set_int(r->fd, IPPROTO_IP, IP_PKTINFO, 1));
		others += CMSG_SPACE(sizeof(struct in_pktinfo));
	}
	sweep_control(_metadata, r, &self->flow, others);
	ASSERT_EQ(0, receiver_gro(r));
	sweep_control(_metadata, r, &self->flow, others);
}

/* read(), recv() and recvfrom() have no control buffer at all. */
TEST_F(rx, control_none)
{
	struct receiver *r = &self->r;
	uint8_t buf[200];

	send_one(_metadata, r, &batch, &self->flow, 1);
	ASSERT_EQ(100, read(r->fd, buf, sizeof(buf)));
	ASSERT_EQ(0, memcmp(batch.wire, buf, 100));
	send_one(_metadata, r, &batch, &self->flow, 2);
	ASSERT_EQ(100, recv(r->fd, buf, sizeof(buf), 0));
	ASSERT_EQ(0, memcmp(batch.wire, buf, 100));
	send_one(_metadata, r, &batch, &self->flow, 3);
	ASSERT_EQ(100, recvfrom(r->fd, buf, sizeof(buf), 0, NULL, NULL));
	ASSERT_EQ(0, memcmp(batch.wire, buf, 100));
	send_one(_metadata, r, &batch, &self->flow, 4);
	ASSERT_EQ(50, read(r->fd, buf, 50));
	ASSERT_EQ(0, memcmp(batch.wire, buf, 50));
	r->no_room += 4;
	/* None of them was seen. */
	open_one(_metadata, r, &self->flow, 1);
}

/* Bytes beyond the exact control message and data stay as they were. */
TEST_F(rx, writes_no_more)
{
	struct receiver *r = &self->r;
	size_t i;

	open_one(_metadata, r, &self->flow, 1);
	for (i = 100; i < sizeof(rx.buf); i++)
		ASSERT_EQ(0xee, rx.buf[i]);
	for (i = RX_ROOM(1); i < sizeof(rx.control); i++)
		ASSERT_EQ(0xee, ((uint8_t *)rx.control)[i]);
}

/* Flags of recvmsg() */

TEST_F(rx, peek)
{
	struct receiver *r = &self->r;
	struct quic_info old, now;
	unsigned int i;

	open_one(_metadata, r, &self->flow, 5);
	ASSERT_EQ(0, rx_state(r->fd, &self->flow, &old));
	want_init(&want);
	send_one(_metadata, r, &batch, &self->flow, 900);
	for (i = 0; i < 3; i++) {
		rx_init(&rx, r->fd);
		rx.flags |= MSG_PEEK;
		rx_call(&rx);
		expect_call(_metadata, r, &batch, &want, 0, 1);
		ASSERT_EQ(0, rx_state(r->fd, &self->flow, &now));
		ASSERT_EQ(0, memcmp(&old, &now, sizeof(now)));
		r->status[QUIC_RX_OPENED]--;
		r->bytes -= 100;
	}
	expect_rx(_metadata, r, &batch, &want);
	ASSERT_EQ(0, rx_state(r->fd, &self->flow, &now));
	ASSERT_EQ(901, now.generations[0].next_pkt_num);
	expect_none(_metadata, r->fd);
}

/* A failure that was only looked at does not count towards the limit. */
TEST_F(rx, peek_failure)
{
	struct receiver *r = &self->r;
	struct quic_info old, now;
	unsigned int i;

	ASSERT_EQ(0, rx_state(r->fd, &self->flow, &old));
	build_one(&batch, &self->flow, 1);
	batch.wire[99] ^= 1;
	ASSERT_EQ(100, wire_batch(r->peer, &r->to, &batch));
	want_init(&want);
	want.status[0] = QUIC_RX_AUTH_FAILED;
	for (i = 0; i < 2; i++) {
		rx_init(&rx, r->fd);
		rx.flags |= MSG_PEEK;
		rx_call(&rx);
		expect_call(_metadata, r, &batch, &want, 0, 1);
		r->status[QUIC_RX_AUTH_FAILED]--;
	}
	ASSERT_EQ(0, rx_state(r->fd, &self->flow, &now));
	ASSERT_EQ(0, memcmp(&old, &now, sizeof(now)));
	expect_rx(_metadata, r, &batch, &want);
	ASSERT_EQ(0, rx_state(r->fd, &self->flow, &now));
	ASSERT_EQ(old.generations[0].remaining - 1,
		  now.generations[0].remaining);
}

/* Peeking at a packet of the next generation does not update the keys. */
TEST_F(rx, peek_key_update)
{
	struct receiver *r = &self->r;
	struct flow next, after;

	flow_next(&next, &self->flow);
	flow_next(&after, &next);
	ASSERT_EQ(0, rx_add(r->fd, &next));
	send_one(_metadata, r, &batch, &next, 10);
	want_init(&want);
	rx_init(&rx, r->fd);
	rx.flags |= MSG_PEEK;
	rx_call(&rx);
	expect_call(_metadata, r, &batch, &want, 0, 1);
	r->status[QUIC_RX_OPENED]--;
	r->bytes -= 100;
	ASSERT_EQ(-EINVAL, rx_add(r->fd, &after));
	expect_rx(_metadata, r, &batch, &want);
	ASSERT_EQ(0, rx_add(r->fd, &after));
}

/* What peeks must not change what others see: the packet itself is kept. */
TEST_F(rx, peek_keeps_packet)
{
	struct receiver *r = &self->r;
	uint8_t buf[200];

	send_one(_metadata, r, &batch, &self->flow, 1);
	want_init(&want);
	rx_init(&rx, r->fd);
	rx.flags |= MSG_PEEK;
	rx_call(&rx);
	expect_call(_metadata, r, &batch, &want, 0, 1);
	r->status[QUIC_RX_OPENED]--;
	r->bytes -= 100;
	ASSERT_EQ(100, recv(r->fd, buf, sizeof(buf), 0));
	ASSERT_EQ(0, memcmp(batch.wire, buf, 100));
	r->no_room++;
}

TEST_F(rx, peek_offset)
{
	struct receiver *r = &self->r;
	int fd = sock_udp(AF_INET);

	ASSERT_EQ(-EOPNOTSUPP, set_int(r->fd, SOL_SOCKET, SO_PEEK_OFF, 0));
	ASSERT_EQ(0, set_int(r->fd, SOL_SOCKET, SO_PEEK_OFF, -1));
	open_one(_metadata, r, &self->flow, 1);
	/* And the other way round */
	ASSERT_EQ(0, set_int(fd, SOL_SOCKET, SO_PEEK_OFF, 0));
	ASSERT_EQ(-EOPNOTSUPP, rx_add(fd, &self->flow));
	ASSERT_EQ(0, set_int(fd, SOL_SOCKET, SO_PEEK_OFF, -1));
	ASSERT_EQ(0, rx_add(fd, &self->flow));
	close(fd);
}

/* Packets that fit completely are opened, others are as on the wire. */
static void sweep_trunc(struct __test_metadata *_metadata, struct receiver *r,
			const struct flow *f, int flags, size_t step)
{
	static struct batch b;
	size_t size, wire, end;
	unsigned int i;

	for (size = 0; size <= 281; size += step) {
		batch_init(&b, f, size * 3, 3, 100, 80);
		batch_build(&b);
		wire = 280;
		ASSERT_EQ((ssize_t)wire, wire_batch(r->peer, &r->to, &b));
		rx_init(&rx, r->fd);
		rx.size = size;
		rx.flags |= flags;
		end = size < wire ? size : wire;
		ASSERT_EQ((ssize_t)(flags & MSG_TRUNC ? wire : end),
			  rx_call(&rx));
		ASSERT_EQ(size < wire, !!(rx.msg_flags & MSG_TRUNC));
		ASSERT_EQ(3, rx.elems);
		for (i = 0; i < 3; i++) {
			size_t off = wire_off(&b, i), len = b.pkt[i].len;
			bool fits = off + len <= end;

			expect_elem(_metadata, &rx.pkt[i], &b.pkt[i],
				    fits ? QUIC_RX_OPENED : QUIC_RX_NOT_TRIED,
				    -1);
			if (fits) {
				ASSERT_EQ(NULL, (void *)
					  rx_differs(&b.pkt[i], b.wire + off,
						     rx.buf + off,
						     QUIC_RX_OPENED));
				r->status[QUIC_RX_OPENED]++;
				r->bytes += len;
			} else if (off < end) {
				ASSERT_EQ(0, memcmp(b.wire + off, rx.buf + off,
						    end - off));
			}
		}
		ASSERT_EQ(0xee, rx.buf[end]);
	}
}

TEST_F_TIMEOUT(rx, truncated, 60)
{
	struct receiver *r = &self->r;

	ASSERT_EQ(0, receiver_gro(r));
	sweep_trunc(_metadata, r, &self->flow, 0, 1);
	sweep_trunc(_metadata, r, &self->flow, MSG_TRUNC, 7);
}

TEST_F(rx, truncated_single)
{
	struct receiver *r = &self->r;
	size_t size;

	for (size = 0; size < 100; size++) {
		send_one(_metadata, r, &batch, &self->flow, size);
		rx_init(&rx, r->fd);
		rx.size = size;
		ASSERT_EQ((ssize_t)size, rx_call(&rx));
		ASSERT_TRUE(rx.msg_flags & MSG_TRUNC);
		ASSERT_EQ(1, rx.elems);
		ASSERT_EQ(QUIC_RX_NOT_TRIED, rx.pkt[0].status);
		ASSERT_EQ(0, memcmp(batch.wire, rx.buf, size));
		ASSERT_EQ(0xee, rx.buf[size]);
	}
}

static void *send_later(void *arg)
{
	struct receiver *r = arg;

	usleep(50000);
	wire_batch(r->peer, &r->to, &batch);
	return NULL;
}

TEST_F(rx, blocking)
{
	struct timeval tv = { .tv_usec = 20000 };
	struct receiver *r = &self->r;
	pthread_t thread;

	rx_init(&rx, r->fd);
	ASSERT_EQ(-EAGAIN, rx_call(&rx));
	ASSERT_EQ(0, setsockopt(r->fd, SOL_SOCKET, SO_RCVTIMEO, &tv,
				sizeof(tv)));
	rx.flags = 0;
	ASSERT_EQ(-EAGAIN, rx_call(&rx));
	tv.tv_usec = 0;
	ASSERT_EQ(0, setsockopt(r->fd, SOL_SOCKET, SO_RCVTIMEO, &tv,
				sizeof(tv)));
	want_init(&want);
	build_one(&batch, &self->flow, 1);
	ASSERT_EQ(0, pthread_create(&thread, NULL, send_later, r));
	rx_call(&rx);
	pthread_join(thread, NULL);
	expect_call(_metadata, r, &batch, &want, 0, 1);
}

TEST_F(rx, recvmmsg)
{
	enum { N = 6 };
	static struct batch b[N];
	static struct rx calls[N];
	struct mmsghdr mmsg[N];
	struct receiver *r = &self->r;
	struct flow next;
	int i;

	flow_next(&next, &self->flow);
	ASSERT_EQ(0, receiver_gro(r));
	for (i = 0; i < N; i++) {
		batch_init(&b[i], i == 3 ? &next : &self->flow, i * 10, 1 + i,
			   100, 90);
		batch_build(&b[i]);
		ASSERT_LT(0, wire_batch(r->peer, &r->to, &b[i]));
		rx_init(&calls[i], r->fd);
		/* One of them has no room for what it gets. */
		if (i == 2)
			calls[i].room = RX_ROOM(1);
		rx_msg(&calls[i], &mmsg[i].msg_hdr);
	}
	ASSERT_EQ(N, recvmmsg(r->fd, mmsg, N, MSG_DONTWAIT, NULL));
	for (i = 0; i < N; i++) {
		rx_parse(&calls[i], &mmsg[i].msg_hdr, mmsg[i].msg_len);
		rx = calls[i];
		rx.iov.iov_base = rx.buf;
		want_init(&want);
		if (i == 2) {
			ASSERT_EQ(-1, rx.elems);
			ASSERT_TRUE(rx.msg_flags & MSG_CTRUNC);
			ASSERT_EQ(290, rx.ret);
			ASSERT_EQ(0, memcmp(b[i].wire, rx.buf, 290));
			r->no_room++;
			continue;
		}
		if (i == 3)
			memset(want.status, QUIC_RX_KEY_PHASE, 1 + i);
		expect_call(_metadata, r, &b[i], &want, 0, 1 + i);
	}
}

/* Data go to many small pieces. */
TEST_F(rx, iov_shapes)
{
	static const unsigned int cuts[] = { 1, 3, 16, 17, 99, 100, 101 };
	struct receiver *r = &self->r;
	struct iovec iov[400];
	unsigned int i, n;
	struct msghdr msg;
	size_t off, len;

	ASSERT_EQ(0, receiver_gro(r));
	for (i = 0; i < ARRAY_SIZE(cuts); i++) {
		batch_init(&batch, &self->flow, 10 * i, 4, 100, 73);
		batch_build(&batch);
		ASSERT_EQ(373, wire_batch(r->peer, &r->to, &batch));
		rx_init(&rx, r->fd);
		rx_msg(&rx, &msg);
		for (n = 0, off = 0; off < 373; n++, off += len) {
			len = cuts[i] < 373 - off ? cuts[i] : 373 - off;
			iov[n].iov_base = rx.buf + off;
			iov[n].iov_len = len;
		}
		msg.msg_iov = iov;
		msg.msg_iovlen = n;
		rx_parse(&rx, &msg, recvmsg(r->fd, &msg, MSG_DONTWAIT));
		want_init(&want);
		expect_call(_metadata, r, &batch, &want, 0, 4);
	}
}

/* The buffer ends in memory that is not there: an error, and no harm. */
TEST_F(rx, iov_fault)
{
	size_t page = sysconf(_SC_PAGESIZE), off;
	struct receiver *r = &self->r;
	struct msghdr msg;
	uint8_t *p;

	p = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, (void *)p);
	ASSERT_EQ(0, mprotect(p + page, page, PROT_NONE));
	ASSERT_EQ(0, receiver_gro(r));
	for (off = 0; off < 230; off += 23) {
		batch_init(&batch, &self->flow, off, 3, 100, 60);
		batch_build(&batch);
		ASSERT_EQ(260, wire_batch(r->peer, &r->to, &batch));
		rx_init(&rx, r->fd);
		rx_msg(&rx, &msg);
		rx.iov.iov_base = p + page - off;
		rx.iov.iov_len = 260;
		/* Only looking, so that the packets are still there. */
		ASSERT_EQ(-1, recvmsg(r->fd, &msg, MSG_DONTWAIT | MSG_PEEK));
		ASSERT_EQ(EFAULT, errno);
		want_init(&want);
		expect_rx(_metadata, r, &batch, &want);
	}
	munmap(p, 2 * page);
}

/* Batches with GRO */

/* Good and bad packets in one call: each is what it would be alone. */
TEST_F(rx, gro_mixed)
{
	enum { N = 64 };
	struct receiver *r = &self->r;
	struct flow other, unknown, next;
	unsigned int i, round;

	flow_next(&next, &self->flow);
	flow_init(&other, TLS_CIPHER_CHACHA20_POLY1305, 3);
	other.id = 12;
	unknown = self->flow;
	unknown.cid[3] ^= 0x20;
	ASSERT_EQ(0, rx_add(r->fd, &other));
	ASSERT_EQ(0, receiver_gro(r));
	for (round = 0; round < 6; round++) {
		batch_init(&batch, &self->flow, round * N, N, 300,
			   round & 1 ? 10 : 300);
		/* The last packet is too short, in every other round. */
		if (round & 1) {
			batch.pkt[N - 1].len = 100;
			batch.pkt[N - 1].flow = &other;
		}
		for (i = 0; i < N - 1; i++) {
			static const uint8_t lens[] = { 4, 3, 2 };

			batch.pkt[i].pn_len = lens[i % 3];
			if ((i + round) % 6 == 1)
				batch.pkt[i].flow = &other;
			if ((i + round) % 6 == 2)
				batch.pkt[i].flow = &unknown;
			if ((i + round) % 6 == 3)
				batch.pkt[i].flow = &next;
		}
		batch_build(&batch);
		want_init(&want);
		for (i = 0; i < N - 1; i++) {
			switch ((i + round) % 6) {
			case 2:
				want.status[i] = QUIC_RX_NO_FLOW;
				break;
			case 3:
				want.status[i] = QUIC_RX_KEY_PHASE;
				break;
			case 4:
				batch.wire[i * 300 + 299] ^= 1;
				want.status[i] = QUIC_RX_AUTH_FAILED;
				break;
			case 5:
				batch.wire[i * 300] |= HDR_LONG;
				want.status[i] = QUIC_RX_NOT_1RTT;
				break;
			default:
				break;
			}
		}
		if (round & 1) {
			batch.pkt[N - 1].len = 10;
			want.status[N - 1] = QUIC_RX_TOO_SHORT;
		}
		pass_wire(_metadata, r, &batch, &want);
	}
}

TEST_F(rx, gro_sizes)
{
	struct receiver *r = &self->r;
	unsigned int n;

	ASSERT_EQ(0, receiver_gro(r));
	for (n = 1; n <= 64; n++) {
		batch_init(&batch, &self->flow, n * 100, n, 60 + n * 14,
			   n & 1 ? 60 + n * 14 : 41);
		pass_batch(_metadata, r, &batch);
	}
}

/* Switched off while packets are queued: they come as they came. */
TEST_F(rx, gro_off)
{
	struct receiver *r = &self->r;

	ASSERT_EQ(0, receiver_gro(r));
	batch_init(&batch, &self->flow, 1, 3, 100, 100);
	batch_build(&batch);
	want_init(&want);
	ASSERT_EQ(300, wire_batch(r->peer, &r->to, &batch));
	ASSERT_EQ(0, set_int(r->fd, SOL_UDP, UDP_GRO, 0));
	rx_init(&rx, r->fd);
	ASSERT_EQ(300, rx_call(&rx));
	/* UDP does not say the size any more. */
	ASSERT_EQ(0, rx.gro);
	rx.gro = 100;
	expect_call(_metadata, r, &batch, &want, 0, 3);
	r->gro = false;
	batch_init(&batch, &self->flow, 9, 3, 100, 100);
	pass_batch(_metadata, r, &batch);
}

/* Finding the flow */

TEST_F(rx, cid_lengths)
{
	static const uint8_t lens[] = { 8, 1, 20, 2, 19, 4 };
	struct flow f[ARRAY_SIZE(lens)];
	struct receiver *r = &self->r;
	unsigned int i, j;

	for (i = 0; i < ARRAY_SIZE(lens); i++) {
		flow_init(&f[i], TLS_CIPHER_AES_GCM_128, lens[i]);
		f[i].id = 100 + i;
		/* IDs of all these lengths, none of which begins another */
		f[i].cid[0] = i << 4;
		if (i & 1)
			f[i].dst = r->from;
		ASSERT_EQ(0, rx_add(r->fd, &f[i]));
		for (j = 0; j <= i; j++)
			open_one(_metadata, r, &f[j], i);
	}
	for (i = 0; i < ARRAY_SIZE(lens); i++) {
		ASSERT_EQ(0, rx_del(r->fd, &f[i]));
		for (j = i + 1; j < ARRAY_SIZE(lens); j++)
			open_one(_metadata, r, &f[j], 50 + i);
		pass_one(_metadata, r, &f[i], 99, QUIC_RX_NO_FLOW);
	}
	open_one(_metadata, r, &self->flow, 1);
}

/* A long ID that begins with a short one is another ID. */
TEST_F(rx, cid_longest)
{
	struct receiver *r = &self->r;
	struct flow longer;

	flow_init(&longer, TLS_CIPHER_AES_GCM_128, 12);
	memcpy(longer.cid, self->flow.cid, 8);
	longer.id = 2;
	ASSERT_EQ(0, rx_add(r->fd, &longer));
	open_one(_metadata, r, &longer, 1);
	open_one(_metadata, r, &self->flow, 1);
	ASSERT_EQ(0, rx_del(r->fd, &longer));
	open_one(_metadata, r, &self->flow, 2);
}

TEST_F(rx, cid_none)
{
	struct receiver *r = &self->r;
	struct sockaddr_storage peer = receiver_peer(r, variant->family);
	struct flow f;

	flow_init(&f, TLS_CIPHER_AES_GCM_128, 0);
	f.id = 2;
	ASSERT_EQ(-EINVAL, rx_add(r->fd, &f));
	ASSERT_EQ(0, connect(r->fd, (void *)&peer, addr_len(&peer)));
	ASSERT_EQ(0, rx_add(r->fd, &f));
	open_one(_metadata, r, &f, 1);
	ASSERT_EQ(0, rx_del(r->fd, &f));
	pass_one(_metadata, r, &f, 2, QUIC_RX_NO_FLOW);
	/* Alone on a socket */
	ASSERT_EQ(0, rx_del(r->fd, &self->flow));
	f.dst = r->from;
	ASSERT_EQ(0, rx_add(r->fd, &f));
	open_one(_metadata, r, &f, 2);
}

/* The flow that is for the peer is found before the one for any peer. */
TEST_F(rx, peer_specific)
{
	struct receiver *r = &self->r, other;
	struct flow f = self->flow;

	keys_init(&f.keys, TLS_CIPHER_AES_GCM_256);
	f.id = 2;
	f.dst = r->from;
	ASSERT_EQ(0, rx_add(r->fd, &f));
	open_one(_metadata, r, &f, 1);
	/* Another peer has the other flow. */
	other = *r;
	other.peer = sock_bound(r->from.ss_family, &other.from);
	build_one(&batch, &self->flow, 1);
	ASSERT_EQ(100, wire_batch(other.peer, &r->to, &batch));
	want_init(&want);
	expect_rx(_metadata, r, &batch, &want);
	close(other.peer);
	ASSERT_EQ(0, rx_del(r->fd, &f));
	open_one(_metadata, r, &self->flow, 2);
}

/* IPv4 peers may be given in either form to an IPv6 socket. */
TEST_F(rx, peer_forms)
{
	struct receiver *r = &self->r;
	struct flow f;

	if (variant->family != mapped)
		SKIP(return, "IPv4 on IPv6 sockets only");
	flow_init(&f, TLS_CIPHER_AES_GCM_128, 8);
	f.id = 2;
	f.dst = r->from;
	ASSERT_EQ(0, rx_add(r->fd, &f));
	open_one(_metadata, r, &f, 1);
	addr_mapped(&f.dst);
	/* They are the same match. */
	ASSERT_EQ(-EEXIST, rx_add(r->fd, &f));
	ASSERT_EQ(0, rx_del(r->fd, &f));
	ASSERT_EQ(0, rx_add(r->fd, &f));
	open_one(_metadata, r, &f, 2);
}

TEST_F_TIMEOUT(rx, flows_many, 60)
{
	enum { N = 300 };
	static struct flow f[N];
	struct receiver *r = &self->r;
	int i;

	for (i = 0; i < N; i++) {
		flow_init(&f[i], TLS_CIPHER_AES_GCM_128, 5 + i % 16);
		f[i].id = i + 1;
		if (i & 1)
			f[i].dst = r->from;
		ASSERT_EQ(0, rx_add(r->fd, &f[i]));
	}
	for (i = 0; i < N; i++)
		open_one(_metadata, r, &f[i], i);
	for (i = 0; i < N; i += 2)
		ASSERT_EQ(0, rx_del(r->fd, &f[i]));
	for (i = 0; i < N; i++)
		pass_one(_metadata, r, &f[i], N + i,
			 i & 1 ? QUIC_RX_OPENED : QUIC_RX_NO_FLOW);
	ASSERT_EQ(0, rx_del_all(r->fd));
	for (i = 0; i < N; i += 7)
		pass_one(_metadata, r, &f[i], 2 * N + i, QUIC_RX_NO_FLOW);
}

/* Packets of one datagram may be of different flows. */
TEST_F(rx, gro_flows)
{
	enum { N = 40 };
	static struct flow f[N];
	struct receiver *r = &self->r;
	int i;

	ASSERT_EQ(0, receiver_gro(r));
	batch_init(&batch, &self->flow, 1, N, 120, 77);
	for (i = 0; i < N; i++) {
		flow_init(&f[i], TLS_CIPHER_AES_GCM_128 + i % 4, 5 + i % 16);
		f[i].id = i + 1;
		ASSERT_EQ(0, rx_add(r->fd, &f[i]));
		batch.pkt[i].flow = &f[i];
	}
	pass_batch(_metadata, r, &batch);
}

/* What flow_id is for; those without one have no name */
TEST_F(rx, flow_id)
{
	struct receiver *r = &self->r;
	struct flow f[3], same;
	unsigned int i;

	for (i = 0; i < 3; i++) {
		flow_init(&f[i], TLS_CIPHER_AES_GCM_128, 8);
		ASSERT_EQ(0, rx_add(r->fd, &f[i]));
		open_one(_metadata, r, &f[i], i);
	}
	/* Unique on the socket, as aliases and DEL name the flow by it */
	flow_init(&same, TLS_CIPHER_AES_GCM_128, 8);
	same.id = self->flow.id;
	ASSERT_GT(0, rx_add(r->fd, &same));
	pass_one(_metadata, r, &same, 1, QUIC_RX_NO_FLOW);
	open_one(_metadata, r, &self->flow, 1);
	for (i = 0; i < 3; i++)
		ASSERT_EQ(0, rx_del(r->fd, &f[i]));
	pass_one(_metadata, r, &f[0], 9, QUIC_RX_NO_FLOW);
	open_one(_metadata, r, &self->flow, 2);
}

/* One connection, many connection IDs */

TEST_F(rx, alias)
{
	static const uint8_t lens[] = { 8, 8, 4, 20, 1 };
	struct flow alias[ARRAY_SIZE(lens)], next;
	struct receiver *r = &self->r;
	struct quic_info info;
	unsigned int i, pn = 1;

	for (i = 0; i < ARRAY_SIZE(lens); i++) {
		alias[i] = self->flow;
		alias[i].cid_len = lens[i];
		memset(alias[i].cid, 0x10 * i + 5, lens[i]);
		if (i & 1)
			alias[i].dst = r->from;
		pass_one(_metadata, r, &alias[i], 1, QUIC_RX_NO_FLOW);
		ASSERT_EQ(0, rx_add_alias(r->fd, &alias[i]));
		open_one(_metadata, r, &alias[i], pn++);
		ASSERT_EQ(-EEXIST, rx_add_alias(r->fd, &alias[i]));
	}
	open_one(_metadata, r, &self->flow, pn++);
	/* They share packet numbers: one byte is enough. */
	batch_init(&batch, &alias[0], 0x500000, 1, 60, 60);
	pass_batch(_metadata, r, &batch);
	batch_init(&batch, &alias[3], 0x500001, 1, 60, 60);
	batch.pkt[0].pn_len = 1;
	pass_batch(_metadata, r, &batch);
	ASSERT_EQ(0, rx_state(r->fd, &self->flow, &info));
	ASSERT_EQ(0x500002, info.generations[0].next_pkt_num);
	/* A key update is for all of them. */
	flow_next(&next, &self->flow);
	ASSERT_EQ(0, rx_add(r->fd, &next));
	for (i = 0; i < ARRAY_SIZE(lens); i++) {
		alias[i].keys = next.keys;
		alias[i].gen = next.gen;
		open_one(_metadata, r, &alias[i], 0x500002 + i);
	}
	/* One after the other is removed. */
	for (i = 0; i < ARRAY_SIZE(lens) - 1; i++) {
		ASSERT_EQ(0, rx_del_alias(r->fd, &alias[i]));
		ASSERT_EQ(-ENOENT, rx_del_alias(r->fd, &alias[i]));
		pass_one(_metadata, r, &alias[i], 0x500020, QUIC_RX_NO_FLOW);
		open_one(_metadata, r, &alias[i + 1], 0x500020 + i);
	}
	/* The flow goes with all matches that it has. */
	ASSERT_EQ(0, rx_del(r->fd, &next));
	pass_one(_metadata, r, &alias[i], 0x500040, QUIC_RX_NO_FLOW);
	pass_one(_metadata, r, &next, 0x500040, QUIC_RX_NO_FLOW);
	ASSERT_EQ(-ENOENT, rx_add_alias(r->fd, &alias[0]));
}

/* RFC 9000 5.1.2: the first connection ID is retired, the flow goes on. */
TEST_F(rx, alias_first)
{
	struct receiver *r = &self->r;
	struct flow alias = self->flow;

	alias.cid[0] ^= 0x40;
	ASSERT_EQ(0, rx_add_alias(r->fd, &alias));
	ASSERT_EQ(0, rx_del_alias(r->fd, &self->flow));
	pass_one(_metadata, r, &self->flow, 1, QUIC_RX_NO_FLOW);
	open_one(_metadata, r, &alias, 2);
	/* Another connection may have it now. */
	keys_init(&self->flow.keys, TLS_CIPHER_AES_GCM_128);
	self->flow.id = 2;
	ASSERT_EQ(0, rx_add(r->fd, &self->flow));
	open_one(_metadata, r, &self->flow, 0);
	open_one(_metadata, r, &alias, 3);
}

TEST_F(rx, alias_errors)
{
	struct receiver *r = &self->r;
	struct flow other, alias;

	flow_init(&other, TLS_CIPHER_AES_GCM_128, 8);
	other.id = 2;
	ASSERT_EQ(0, rx_add(r->fd, &other));
	/* It belongs to another flow. */
	alias = self->flow;
	alias.id = 2;
	ASSERT_EQ(-EADDRINUSE, rx_add_alias(r->fd, &alias));
	ASSERT_EQ(-ENOENT, rx_del_alias(r->fd, &alias));
	/* There is no such flow; a flow without name cannot have any. */
	alias.cid[0] ^= 0x80;
	alias.id = 3;
	ASSERT_EQ(-ENOENT, rx_add_alias(r->fd, &alias));
	ASSERT_EQ(-ENOENT, rx_del_alias(r->fd, &alias));
	alias.id = 0;
	ASSERT_GT(0, rx_add_alias(r->fd, &alias));
	ASSERT_GT(0, rx_del_alias(r->fd, &alias));
	/* Without an ID it needs a peer. */
	alias.id = 2;
	alias.cid_len = 0;
	ASSERT_EQ(-EINVAL, rx_add_alias(r->fd, &alias));
	open_one(_metadata, r, &self->flow, 1);
	open_one(_metadata, r, &other, 1);
}

/* A flow has a few connection IDs, not any number of them. */
TEST_F(rx, alias_limit)
{
	enum { MAX = 64 };
	struct receiver *r = &self->r;
	struct flow alias = self->flow;
	unsigned int i;

	for (i = 1; i < MAX; i++) {
		alias.cid[7] = self->flow.cid[7] + i;
		ASSERT_EQ(0, rx_add_alias(r->fd, &alias));
	}
	open_one(_metadata, r, &alias, 1);
	alias.cid[7] = self->flow.cid[7] + i;
	ASSERT_EQ(-ENOSPC, rx_add_alias(r->fd, &alias));
	pass_one(_metadata, r, &alias, 2, QUIC_RX_NO_FLOW);
	ASSERT_EQ(0, rx_del_alias(r->fd, &self->flow));
	ASSERT_EQ(0, rx_add_alias(r->fd, &alias));
	open_one(_metadata, r, &alias, 2);
}

/* Packet numbers */

TEST_F(rx, pkt_num_lengths)
{
	static const uint64_t start[] = {
		0, 0x7e, 0x7ffe, 0x7ffffe, 0x7ffffffe, 0xfffffffe,
		0x123456789abcULL, MAX_PKT_NUM - 200,
	};
	struct receiver *r = &self->r;
	unsigned int i, j;
	struct flow f;

	for (i = 0; i < ARRAY_SIZE(start); i++) {
		flow_init(&f, TLS_CIPHER_AES_GCM_128, 8);
		f.id = 2;
		ASSERT_EQ(0, rx_add_next(r->fd, &f, start[i]));
		for (j = 0; j < 16; j++) {
			batch_init(&batch, &f, start[i] + j, 1, 60, 60);
			batch.pkt[0].pn_len = 1 + j % 4;
			pass_batch(_metadata, r, &batch);
		}
		ASSERT_EQ(0, rx_del(r->fd, &f));
	}
}

/* As far ahead and behind as the length of the number allows */
TEST_F(rx, pkt_num_gaps)
{
	struct receiver *r = &self->r;
	uint64_t pn = 0x40000000000ULL, half;
	unsigned int len;

	for (len = 1; len <= 4; len++) {
		half = 1ULL << (8 * len - 1);
		/* The window is (expected - half, expected + half]. */
		batch_init(&batch, &self->flow, pn, 1, 60, 60);
		ASSERT_EQ(0, rx_del(r->fd, &self->flow));
		ASSERT_EQ(0, rx_add_next(r->fd, &self->flow, pn));
		pass_batch(_metadata, r, &batch);
		batch_init(&batch, &self->flow, pn + 1 + half, 1, 60, 60);
		batch.pkt[0].pn_len = len;
		pass_batch(_metadata, r, &batch);
		pn += 1 + half;
		batch_init(&batch, &self->flow, pn + 1 - half + 1, 1, 60, 60);
		batch.pkt[0].pn_len = len;
		pass_batch(_metadata, r, &batch);
		/* One more is completed to another number, so it fails. */
		batch_init(&batch, &self->flow, pn + 1 - half, 1, 60, 60);
		batch.pkt[0].pn_len = len;
		batch_build(&batch);
		want_init(&want);
		want.status[0] = QUIC_RX_AUTH_FAILED;
		pass_wire(_metadata, r, &batch, &want);
		batch_init(&batch, &self->flow, pn + 2 + half, 1, 60, 60);
		batch.pkt[0].pn_len = len;
		batch_build(&batch);
		pass_wire(_metadata, r, &batch, &want);
	}
}

/* Only the largest number that was opened counts. */
TEST_F(rx, pkt_num_reorder)
{
	static const uint64_t pns[] = {
		100, 227, 228, 102, 227, 356, 230, 300, 484, 358, 484, 484,
	};
	struct receiver *r = &self->r;
	struct quic_info info;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(pns); i++) {
		batch_init(&batch, &self->flow, pns[i], 1, 60, 60);
		batch.pkt[0].pn_len = 1;
		pass_batch(_metadata, r, &batch);
	}
	ASSERT_EQ(0, rx_state(r->fd, &self->flow, &info));
	ASSERT_EQ(485, info.generations[0].next_pkt_num);
}

/* Libraries detect replays: duplicates must reach them. */
TEST_F(rx, duplicates)
{
	struct receiver *r = &self->r;
	unsigned int i;

	ASSERT_EQ(0, receiver_gro(r));
	for (i = 0; i < 5; i++)
		open_one(_metadata, r, &self->flow, 7);
	for (i = 0; i < 3; i++) {
		batch_init(&batch, &self->flow, 100, 6, 90, 90);
		batch.pkt[3].pn = 100;
		batch.pkt[5].pn = 101;
		pass_batch(_metadata, r, &batch);
	}
}

TEST_F(rx, pkt_num_added_late)
{
	struct receiver *r = &self->r;
	struct flow f;

	flow_init(&f, TLS_CIPHER_AES_GCM_128, 8);
	f.id = 2;
	ASSERT_EQ(-EINVAL, rx_add_next(r->fd, &f, MAX_PKT_NUM + 2));
	ASSERT_EQ(-EINVAL, rx_add_next(r->fd, &f, UINT64_MAX));
	ASSERT_EQ(0, rx_add_next(r->fd, &f, 0x3000000));
	batch_init(&batch, &f, 0x3000000 + 100, 1, 60, 60);
	batch.pkt[0].pn_len = 1;
	pass_batch(_metadata, r, &batch);
}

/* Generations */

TEST_F(rx, key_update)
{
	enum { GENS = 12 };
	struct receiver *r = &self->r;
	struct flow g[GENS];
	unsigned int i;

	g[0] = self->flow;
	for (i = 0; i < GENS - 1; i++) {
		flow_next(&g[i + 1], &g[i]);
		/* The header key may be left out: it stays the same. */
		if (i & 1)
			memset(g[i + 1].keys.hp, 0, sizeof(g[i].keys.hp));
		ASSERT_EQ(0, rx_add(r->fd, &g[i + 1]));
		memcpy(g[i + 1].keys.hp, g[0].keys.hp, sizeof(g[0].keys.hp));
		open_one(_metadata, r, &g[i], 10 * i + 8);
		/* The peer updates its keys; one packet comes late. */
		open_one(_metadata, r, &g[i + 1], 10 * i + 11);
		open_one(_metadata, r, &g[i], 10 * i + 9);
		open_one(_metadata, r, &g[i + 1], 10 * i + 12);
		open_one(_metadata, r, &g[i + 1], 10 * i + 10);
	}
}

/* Three generations live: the number tells previous from next. */
TEST_F(rx, three_generations)
{
	struct receiver *r = &self->r;
	struct quic_info info;
	struct flow g[4];
	unsigned int i;

	g[0] = self->flow;
	for (i = 0; i < 3; i++)
		flow_next(&g[i + 1], &g[i]);
	ASSERT_EQ(0, rx_add(r->fd, &g[1]));
	open_one(_metadata, r, &g[0], 1);
	open_one(_metadata, r, &g[1], 100);
	ASSERT_EQ(0, rx_add(r->fd, &g[2]));
	open_one(_metadata, r, &g[0], 50);
	open_one(_metadata, r, &g[1], 101);
	open_one(_metadata, r, &g[0], 2);
	/* Of the next generation, when that is used for the first time */
	open_one(_metadata, r, &g[2], 200);
	open_one(_metadata, r, &g[1], 150);
	open_one(_metadata, r, &g[2], 201);
	/* Now they are 1, 2 and 3. */
	ASSERT_EQ(0, rx_add(r->fd, &g[3]));
	ASSERT_EQ(0, rx_state(r->fd, &self->flow, &info));
	for (i = 0; i < 3; i++) {
		EXPECT_EQ(1, info.generations[i].installed);
		EXPECT_EQ(3 - i, info.generations[i].gen);
		EXPECT_EQ(202, info.generations[i].next_pkt_num);
	}
	EXPECT_EQ(0, info.generations[0].sealed);
	EXPECT_EQ(2, info.generations[1].sealed);
	EXPECT_EQ(3, info.generations[2].sealed);
	open_one(_metadata, r, &g[1], 120);
	open_one(_metadata, r, &g[3], 300);
	open_one(_metadata, r, &g[2], 299);
	/* Generation 1 is gone: its Key Phase bit means 3, which fails. */
	pass_one(_metadata, r, &g[1], 301, QUIC_RX_AUTH_FAILED);
}

/* In one datagram */
TEST_F(rx, key_update_gro)
{
	struct receiver *r = &self->r;
	unsigned int i;
	struct flow next;

	flow_next(&next, &self->flow);
	ASSERT_EQ(0, rx_add(r->fd, &next));
	ASSERT_EQ(0, receiver_gro(r));
	open_one(_metadata, r, &self->flow, 0);
	batch_init(&batch, &self->flow, 1, 20, 100, 100);
	for (i = 0; i < 20; i++) {
		if (i >= 10)
			batch.pkt[i].flow = &next;
	}
	/* Reordered across the update */
	batch.pkt[9].pn = 20;
	batch.pkt[9].flow = &next;
	batch.pkt[19].pn = 10;
	batch.pkt[19].flow = &self->flow;
	pass_batch(_metadata, r, &batch);
}

/* One byte of the number is enough across an update, too. */
TEST_F(rx, key_update_short_numbers)
{
	struct receiver *r = &self->r;
	struct flow next;
	unsigned int i;

	flow_next(&next, &self->flow);
	ASSERT_EQ(0, rx_add(r->fd, &next));
	for (i = 0; i < 100; i++) {
		batch_init(&batch, i < 60 ? &self->flow : &next, i * 100, 1,
			   60, 60);
		batch.pkt[0].pn_len = 1;
		pass_batch(_metadata, r, &batch);
	}
}

/* Generation numbers are modulo 256; the first may be any. */
TEST_F(rx, key_generation_wraps)
{
	struct receiver *r = &self->r;
	struct flow f, next;
	unsigned int i;

	flow_init(&f, TLS_CIPHER_CHACHA20_POLY1305, 8);
	f.id = 2;
	f.gen = 253;
	ASSERT_EQ(0, rx_add(r->fd, &f));
	open_one(_metadata, r, &f, 1);
	for (i = 0; i < 6; i++) {
		flow_next(&next, &f);
		ASSERT_EQ(0, rx_add(r->fd, &next));
		open_one(_metadata, r, &next, 2 + i);
		f = next;
	}
	ASSERT_EQ(3, f.gen);
}

TEST_F(rx, key_update_refused)
{
	struct receiver *r = &self->r;
	struct flow next, after, f;

	flow_next(&next, &self->flow);
	flow_next(&after, &next);
	/* Left out; the same; the same generation with other keys */
	ASSERT_EQ(-EINVAL, rx_add(r->fd, &after));
	ASSERT_EQ(-EEXIST, rx_add(r->fd, &self->flow));
	f = self->flow;
	keys_init(&f.keys, TLS_CIPHER_AES_GCM_128);
	memcpy(f.keys.hp, self->flow.keys.hp, sizeof(f.keys.hp));
	ASSERT_EQ(-EADDRINUSE, rx_add(r->fd, &f));
	/* Other header key, other cipher, other path */
	f = next;
	f.keys.hp[3] ^= 1;
	ASSERT_EQ(-EADDRINUSE, rx_add(r->fd, &f));
	f = next;
	f.keys.cipher = TLS_CIPHER_AES_CCM_128;
	ASSERT_EQ(-EADDRINUSE, rx_add(r->fd, &f));
	f = next;
	f.path = 1;
	ASSERT_EQ(-EADDRINUSE, rx_add(r->fd, &f));
	/* Nothing of it was kept. */
	pass_one(_metadata, r, &next, 1, QUIC_RX_KEY_PHASE);
	open_one(_metadata, r, &self->flow, 1);

	ASSERT_EQ(0, rx_add(r->fd, &next));
	ASSERT_EQ(-EEXIST, rx_add(r->fd, &next));
	f = next;
	f.keys.key[0] ^= 1;
	ASSERT_EQ(-EADDRINUSE, rx_add(r->fd, &f));
	/* The peer has not used the next keys yet. */
	ASSERT_EQ(-EINVAL, rx_add(r->fd, &after));
	open_one(_metadata, r, &next, 2);
	ASSERT_EQ(0, rx_add(r->fd, &after));
	/* All three are there, and known. */
	ASSERT_EQ(-EEXIST, rx_add(r->fd, &next));
	ASSERT_EQ(-EEXIST, rx_add(r->fd, &after));
	open_one(_metadata, r, &after, 3);
}

/* A packet that fails with the next keys does not update them. */
TEST_F(rx, key_update_forged)
{
	struct receiver *r = &self->r;
	struct flow next, after, forged;
	unsigned int i;

	flow_next(&next, &self->flow);
	flow_next(&after, &next);
	ASSERT_EQ(0, rx_add(r->fd, &next));
	open_one(_metadata, r, &self->flow, 1);
	forged = next;
	keys_init(&forged.keys, TLS_CIPHER_AES_GCM_128);
	memcpy(forged.keys.hp, next.keys.hp, sizeof(next.keys.hp));
	for (i = 0; i < 4; i++)
		pass_one(_metadata, r, &forged, 1000 + i, QUIC_RX_AUTH_FAILED);
	ASSERT_EQ(-EINVAL, rx_add(r->fd, &after));
	/* Nor has it moved the numbers. */
	batch_init(&batch, &self->flow, 2, 1, 60, 60);
	batch.pkt[0].pn_len = 1;
	pass_batch(_metadata, r, &batch);
	batch_init(&batch, &next, 3, 1, 60, 60);
	batch.pkt[0].pn_len = 1;
	pass_batch(_metadata, r, &batch);
}

TEST_F(rx, key_retire)
{
	struct receiver *r = &self->r;
	struct flow next, after;

	flow_next(&next, &self->flow);
	flow_next(&after, &next);
	ASSERT_EQ(-ENOKEY, rx_del_gen(r->fd, &next));
	ASSERT_EQ(0, rx_add(r->fd, &next));
	open_one(_metadata, r, &self->flow, 1);
	open_one(_metadata, r, &next, 10);
	open_one(_metadata, r, &self->flow, 2);
	ASSERT_EQ(0, rx_del_gen(r->fd, &self->flow));
	ASSERT_EQ(-ENOKEY, rx_del_gen(r->fd, &self->flow));
	pass_one(_metadata, r, &self->flow, 3, QUIC_RX_KEY_PHASE);
	open_one(_metadata, r, &next, 11);
	ASSERT_EQ(0, rx_add(r->fd, &after));
	open_one(_metadata, r, &after, 20);
	open_one(_metadata, r, &next, 12);
}

/* Multipath QUIC: the path is part of the nonce. */
TEST_F(rx, path)
{
	static const uint32_t paths[] = { 1, 2, 0x01020304, 0xffffffff };
	struct receiver *r = &self->r;
	struct flow f[ARRAY_SIZE(paths)], wrong;
	unsigned int i, j;

	for (i = 0; i < ARRAY_SIZE(paths); i++) {
		f[i] = self->flow;
		f[i].id = 10 + i;
		f[i].path = paths[i];
		f[i].cid[7] += 1 + i;
		ASSERT_EQ(0, rx_add(r->fd, &f[i]));
	}
	/* Each path has its own numbers. */
	for (j = 0; j < 3; j++) {
		for (i = 0; i < ARRAY_SIZE(paths); i++) {
			batch_init(&batch, &f[i], i * 70000 + j, 1, 60, 60);
			batch.pkt[0].pn_len = j ? 1 : 4;
			pass_batch(_metadata, r, &batch);
		}
	}
	wrong = f[0];
	wrong.path = 9;
	build_one(&batch, &wrong, 5);
	batch.pkt[0].flow = &f[0];
	want_init(&want);
	want.status[0] = QUIC_RX_AUTH_FAILED;
	pass_wire(_metadata, r, &batch, &want);
	/* The path of a flow does not change. */
	f[1].path = 3;
	ASSERT_GT(0, rx_add(r->fd, &f[1]));
}

/* Removing flows */

TEST_F(rx, del_queued)
{
	struct receiver *r = &self->r;
	struct flow f;

	flow_init(&f, TLS_CIPHER_AES_GCM_128, 8);
	f.id = 2;
	ASSERT_EQ(0, rx_add(r->fd, &f));
	send_one(_metadata, r, &batch, &f, 1);
	ASSERT_EQ(0, rx_wait(r->fd, RX_TIMEOUT));
	ASSERT_EQ(0, rx_del(r->fd, &f));
	want_init(&want);
	want.status[0] = QUIC_RX_NO_FLOW;
	expect_rx(_metadata, r, &batch, &want);
	/* Added while they are queued: what counts is when they are read. */
	send_one(_metadata, r, &batch, &f, 2);
	ASSERT_EQ(0, rx_wait(r->fd, RX_TIMEOUT));
	ASSERT_EQ(0, rx_add(r->fd, &f));
	want.status[0] = QUIC_RX_OPENED;
	expect_rx(_metadata, r, &batch, &want);
}

/* Without the last flow, a socket goes on telling what it gets. */
TEST_F(rx, del_last)
{
	struct receiver *r = &self->r;

	send_one(_metadata, r, &batch, &self->flow, 1);
	ASSERT_EQ(0, rx_del(r->fd, &self->flow));
	ASSERT_EQ(-ENOENT, rx_del(r->fd, &self->flow));
	want_init(&want);
	want.status[0] = QUIC_RX_NO_FLOW;
	expect_rx(_metadata, r, &batch, &want);
	pass_one(_metadata, r, &self->flow, 2, QUIC_RX_NO_FLOW);
	ASSERT_EQ(0, rx_del_all(r->fd));
	ASSERT_EQ(0, rx_add(r->fd, &self->flow));
	open_one(_metadata, r, &self->flow, 3);
}

/* What a socket sends and what it receives have nothing to do with each other.
 */
TEST_F(rx, del_directions)
{
	struct receiver *r = &self->r;
	struct flow f = self->flow;

	f.id = 0;
	ASSERT_EQ(0, flow_add(r->fd, &f));
	ASSERT_EQ(0, flow_del(r->fd, &f));
	ASSERT_EQ(0, flow_add(r->fd, &f));
	ASSERT_EQ(0, flow_del_all(r->fd));
	open_one(_metadata, r, &self->flow, 1);
	ASSERT_EQ(0, flow_add(r->fd, &f));
	ASSERT_EQ(0, rx_del_all(r->fd));
	ASSERT_EQ(0, flow_del(r->fd, &f));
	pass_one(_metadata, r, &self->flow, 2, QUIC_RX_NO_FLOW);
}

/* Ownership */

/* Without a flow for reception, a socket receives as ever. */
TEST_F(rx, plain_socket)
{
	struct receiver *r = &self->r, plain;
	struct flow tx;

	ASSERT_EQ(0, receiver_open(&plain, variant->family));
	ASSERT_EQ(0, receiver_gro(&plain));
	ASSERT_EQ(0, attach_ulp(plain.fd));
	flow_init(&tx, TLS_CIPHER_AES_GCM_128, 8);
	ASSERT_EQ(0, flow_add(plain.fd, &tx));
	batch_init(&batch, &self->flow, 1, 3, 100, 100);
	batch_build(&batch);
	ASSERT_EQ(300, wire_batch(plain.peer, &plain.to, &batch));
	rx_init(&rx, plain.fd);
	ASSERT_EQ(300, rx_call(&rx));
	ASSERT_EQ(-1, rx.elems);
	ASSERT_EQ(100, rx.gro);
	ASSERT_EQ(0, rx.msg_flags & (MSG_CTRUNC | MSG_TRUNC));
	ASSERT_EQ(0, memcmp(batch.wire, rx.buf, 300));
	/* A refused flow is none either. */
	ASSERT_EQ(-ENOENT, rx_del(plain.fd, &self->flow));
	tx.cid_len = 0;
	ASSERT_EQ(-EINVAL, rx_add(plain.fd, &tx));
	batch_init(&batch, &self->flow, 4, 1, 100, 100);
	batch_build(&batch);
	ASSERT_EQ(100, wire_batch(plain.peer, &plain.to, &batch));
	rx_init(&rx, plain.fd);
	ASSERT_EQ(100, rx_call(&rx));
	ASSERT_EQ(-1, rx.elems);
	ASSERT_EQ(0, memcmp(batch.wire, rx.buf, 100));
	open_one(_metadata, r, &self->flow, 1);
	receiver_close(&plain);
}

/* A packet for one socket is not opened with the keys of another. */
TEST_F(rx, other_socket)
{
	struct receiver *r = &self->r, other;
	struct flow f;

	ASSERT_EQ(0, receiver_open(&other, variant->family));
	flow_init(&f, TLS_CIPHER_AES_GCM_128, 8);
	f.id = self->flow.id;
	ASSERT_EQ(0, rx_add(other.fd, &f));
	pass_one(_metadata, &other, &self->flow, 1, QUIC_RX_NO_FLOW);
	pass_one(_metadata, r, &f, 1, QUIC_RX_NO_FLOW);
	/* The same keys on both: each opens what it gets. */
	f = self->flow;
	f.id = 2;
	ASSERT_EQ(0, rx_add(other.fd, &f));
	open_one(_metadata, &other, &f, 5);
	open_one(_metadata, r, &self->flow, 5);
	ASSERT_EQ(0, rx_del(r->fd, &self->flow));
	open_one(_metadata, &other, &f, 6);
	pass_one(_metadata, r, &self->flow, 6, QUIC_RX_NO_FLOW);
	receiver_close(&other);
	for (int i = 0; i < NR_STATUS; i++)
		r->status[i] += other.status[i];
	r->bytes += other.bytes;
}

/* Where it depends on a hash which socket gets a packet, that socket's flows
 * are what counts.
 */
TEST_F(rx, reuseport)
{
	enum { PEERS = 24 };
	struct sockaddr_storage addr;
	struct receiver *r = &self->r;
	int fd[2], i, j, peer, af = r->from.ss_family, seen[2] = {};
	bool has;

	addr_loopback(&addr, af, 4433);
	for (j = 0; j < 2; j++) {
		fd[j] = sock_udp(af);
		ASSERT_EQ(0, set_int(fd[j], SOL_SOCKET, SO_REUSEPORT, 1));
		ASSERT_EQ(0, bind(fd[j], (void *)&addr, addr_len(&addr)));
	}
	ASSERT_EQ(0, rx_add(fd[0], &self->flow));
	for (i = 0; i < PEERS; i++) {
		peer = sock_udp(af);
		build_one(&batch, &self->flow, i);
		ASSERT_EQ(100, wire_batch(peer, &addr, &batch));
		close(peer);
		j = !rx_wait(fd[1], 0);
		has = !rx_wait(fd[0], 0);
		ASSERT_NE(j, (int)has);
		seen[j]++;
		rx_init(&rx, fd[j]);
		want_init(&want);
		rx_call(&rx);
		if (!j) {
			expect_call(_metadata, r, &batch, &want, 0, 1);
			continue;
		}
		ASSERT_EQ(100, rx.ret);
		ASSERT_EQ(-1, rx.elems);
		ASSERT_EQ(0, memcmp(batch.wire, rx.buf, 100));
	}
	EXPECT_LT(0, seen[0]);
	EXPECT_LT(0, seen[1]);
	close(fd[0]);
	close(fd[1]);
}

/* Packet sockets see ciphertext. */
TEST_F(rx, taps)
{
	struct receiver *r = &self->r;
	int cap = capture_open();
	unsigned int frames = 0;
	ssize_t len;

	if (cap < 0)
		SKIP(return, "packet socket: %s", strerror(-cap));
	batch_init(&batch, &self->flow, 1, 1, 1200, 1200);
	pass_batch(_metadata, r, &batch);
	while ((len = recv(cap, rx.buf, sizeof(rx.buf), MSG_DONTWAIT)) > 0) {
		ASSERT_FALSE(has_marker(rx.buf, len));
		frames += !!memmem(rx.buf, len, batch.wire, 1200);
	}
	ASSERT_LT(0, frames);
	close(cap);
}

/* UDP_QUIC_RX_DROP */

static int get_int(int fd, int opt, int *val)
{
	socklen_t len = sizeof(*val);

	return getsockopt(fd, SOL_UDP, opt, val, &len) ? -errno : 0;
}

TEST_F(rx, drop)
{
	struct receiver *r = &self->r;
	struct flow unknown = self->flow;
	unsigned int i;

	unknown.cid[2] ^= 1;
	pass_one(_metadata, r, &unknown, 1, QUIC_RX_NO_FLOW);
	ASSERT_EQ(0, set_int(r->fd, SOL_UDP, UDP_QUIC_RX_DROP, 1));
	for (i = 0; i < 5; i++) {
		send_one(_metadata, r, &batch, &unknown, i);
		r->dropped++;
		/* Nobody is woken. */
		ASSERT_EQ(-EAGAIN, rx_wait(r->fd, i ? 0 : 100));
	}
	/* Flows, other statuses, and long headers are not concerned. */
	open_one(_metadata, r, &self->flow, 1);
	build_one(&batch, &self->flow, 2);
	batch.wire[99] ^= 1;
	want_init(&want);
	want.status[0] = QUIC_RX_AUTH_FAILED;
	pass_wire(_metadata, r, &batch, &want);
	build_one(&batch, &unknown, 2);
	batch.wire[0] |= HDR_LONG;
	want.status[0] = QUIC_RX_NOT_1RTT;
	pass_wire(_metadata, r, &batch, &want);
	ASSERT_EQ(0, set_int(r->fd, SOL_UDP, UDP_QUIC_RX_DROP, 0));
	pass_one(_metadata, r, &unknown, 1, QUIC_RX_NO_FLOW);
}

TEST_F(rx, drop_values)
{
	int val = -1, fd = sock_udp(AF_INET);
	struct receiver *r = &self->r;
	socklen_t len = 1;
	char c = 1;

	ASSERT_EQ(0, set_int(r->fd, SOL_UDP, UDP_QUIC_RX_DROP, 1));
	ASSERT_EQ(0, get_int(r->fd, UDP_QUIC_RX_DROP, &val));
	EXPECT_EQ(1, val);
	EXPECT_EQ(-EINVAL, set_int(r->fd, SOL_UDP, UDP_QUIC_RX_DROP, 2));
	EXPECT_EQ(-EINVAL, set_int(r->fd, SOL_UDP, UDP_QUIC_RX_DROP, -1));
	EXPECT_EQ(-1, setsockopt(r->fd, SOL_UDP, UDP_QUIC_RX_DROP, &c, 1));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-1, setsockopt(r->fd, SOL_UDP, UDP_QUIC_RX_DROP, NULL, 4));
	EXPECT_EQ(EFAULT, errno);
	ASSERT_EQ(0, get_int(r->fd, UDP_QUIC_RX_DROP, &val));
	EXPECT_EQ(1, val);
	ASSERT_EQ(0, set_int(r->fd, SOL_UDP, UDP_QUIC_RX_DROP, 0));
	ASSERT_EQ(0, get_int(r->fd, UDP_QUIC_RX_DROP, &val));
	EXPECT_EQ(0, val);
	getsockopt(r->fd, SOL_UDP, UDP_QUIC_RX_DROP, &c, &len);
	/* On a socket that has nothing yet */
	ASSERT_EQ(0, set_int(fd, SOL_UDP, UDP_QUIC_RX_DROP, 1));
	ASSERT_EQ(0, set_int(fd, SOL_UDP, UDP_QUIC_RX_DROP, 0));
	close(fd);
}

/* With GRO: a datagram is dropped only if it has nothing that may be wanted. */
TEST_F(rx, drop_gro)
{
	struct receiver *r = &self->r;
	struct flow unknown = self->flow;

	unknown.cid[2] ^= 1;
	ASSERT_EQ(0, receiver_gro(r));
	ASSERT_EQ(0, set_int(r->fd, SOL_UDP, UDP_QUIC_RX_DROP, 1));
	batch_init(&batch, &unknown, 1, 8, 100, 100);
	batch_build(&batch);
	ASSERT_EQ(800, wire_batch(r->peer, &r->to, &batch));
	ASSERT_EQ(-EAGAIN, rx_wait(r->fd, 100));
	r->dropped += 8;
	batch_init(&batch, &self->flow, 1, 8, 100, 100);
	pass_batch(_metadata, r, &batch);
}

/* Checksums */

static uint32_t csum_add(uint32_t sum, const void *data, size_t len)
{
	const uint8_t *p = data;
	size_t i;

	for (i = 0; i < len; i++)
		sum += i & 1 ? p[i] : p[i] << 8;
	return sum;
}

static uint16_t csum_fold(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

/* From a raw socket: UDP does not vouch for the checksum. */
static ssize_t raw_send(const struct receiver *r, const void *data, size_t len,
			uint16_t flip)
{
	const struct sockaddr_in6 *v6 = (void *)&r->to;
	const struct sockaddr_in *v4 = (void *)&r->to;
	bool is4 = r->to.ss_family == AF_INET;
	const void *ip = is4 ? (void *)&v4->sin_addr : (void *)&v6->sin6_addr;
	uint16_t udp[4] = { htons(9), v4->sin_port, htons(8 + len) };
	struct sockaddr_storage to = r->to;
	uint32_t sum = 8 + len + IPPROTO_UDP;
	static uint8_t buf[2048];
	ssize_t ret;
	int fd;

	/* It goes from the loopback address to the same one. */
	sum = csum_add(sum, ip, is4 ? 4 : 16);
	sum = csum_add(sum, ip, is4 ? 4 : 16);
	sum = csum_add(sum, udp, sizeof(udp));
	udp[3] = htons(csum_fold(csum_add(sum, data, len))) ^ flip;
	memcpy(buf, udp, sizeof(udp));
	memcpy(buf + sizeof(udp), data, len);
	((struct sockaddr_in *)&to)->sin_port = 0;
	fd = socket(to.ss_family, SOCK_RAW, IPPROTO_UDP);
	if (fd < 0)
		return -errno;
	ret = sendto(fd, buf, sizeof(udp) + len, 0, (void *)&to,
		     addr_len(&to));
	ret = ret < 0 ? -errno : ret - (ssize_t)sizeof(udp);
	close(fd);
	return ret;
}

/* What was damaged on the way is UDP's to drop, as ever. */
TEST_F(rx, checksum)
{
	struct receiver *r = &self->r;
	ssize_t ret;

	batch_init(&batch, &self->flow, 1, 1, 1200, 1200);
	batch_build(&batch);
	want_init(&want);
	ret = raw_send(r, batch.wire, 1200, 0);
	if (ret == -EPERM)
		SKIP(return, "raw socket: %s", strerror(EPERM));
	ASSERT_EQ(1200, ret);
	expect_rx(_metadata, r, &batch, &want);
	ASSERT_EQ(1200, raw_send(r, batch.wire, 1200, 1));
	rx_init(&rx, r->fd);
	ASSERT_EQ(-EAGAIN, rx_call(&rx));
	ASSERT_EQ(1200, raw_send(r, batch.wire, 1200, 1));
	rx.flags |= MSG_PEEK;
	ASSERT_EQ(-EAGAIN, rx_call(&rx));
	/* The good one that waits behind is found. */
	ASSERT_EQ(1200, raw_send(r, batch.wire, 1200, 0x100));
	ASSERT_EQ(1200, raw_send(r, batch.wire, 1200, 0));
	expect_rx(_metadata, r, &batch, &want);
	expect_none(_metadata, r->fd);
}

/* io_uring */

static void ring_recvmsg(struct __test_metadata *_metadata, struct receiver *r,
			 struct ring *ring, bool waits, unsigned int flags)
{
	struct io_uring_sqe *sqe = ring_sqe(ring);
	struct io_uring_cqe cqe;
	struct msghdr msg;

	rx_init(&rx, r->fd);
	rx_msg(&rx, &msg);
	sqe->opcode = IORING_OP_RECVMSG;
	sqe->flags = flags;
	sqe->fd = r->fd;
	sqe->addr = (uintptr_t)&msg;
	sqe->len = 1;
	if (!waits)
		ASSERT_LT(0, wire_batch(r->peer, &r->to, &batch));
	ASSERT_EQ(0, ring_enter(ring, 1, !waits));
	if (waits) {
		ASSERT_LT(0, wire_batch(r->peer, &r->to, &batch));
		ASSERT_EQ(0, ring_enter(ring, 0, 1));
	}
	ASSERT_EQ(0, ring_result(ring, &cqe));
	rx_parse(&rx, &msg, cqe.res);
	want_init(&want);
	expect_call(_metadata, r, &batch, &want, 0, batch.n);
}

TEST_F(rx, io_uring)
{
	static const unsigned int flags[] = { 0, IOSQE_ASYNC };
	struct receiver *r = &self->r;
	struct ring ring = {};
	unsigned int i;
	int err;

	err = ring_open(&ring);
	if (err)
		SKIP(return, "io_uring: %s", strerror(-err));
	ASSERT_EQ(0, receiver_gro(r));
	for (i = 0; i < 8; i++) {
		batch_init(&batch, &self->flow, 10 * i, 5, 100, 90);
		batch_build(&batch);
		ring_recvmsg(_metadata, r, &ring, i & 2, flags[i & 1]);
	}
	close(ring.fd);
}

TEST_F(rx, io_uring_multishot)
{
	struct msghdr msg = { .msg_controllen = RING_CONTROL };
	struct receiver *r = &self->r;
	struct io_uring_cqe cqe;
	struct ring ring = {};
	struct flow next;
	unsigned int i;
	int err;

	err = ring_open(&ring);
	if (err)
		SKIP(return, "io_uring: %s", strerror(-err));
	ASSERT_EQ(0, receiver_gro(r));
	ASSERT_EQ(0, ring_pool(&ring, 0, RING_POOL));
	ASSERT_EQ(0, ring_multishot(&ring, r->fd, &msg));
	flow_next(&next, &self->flow);
	for (i = 0; i < RING_POOL; i++) {
		batch_init(&batch, i == 3 ? &next : &self->flow, 10 * i, 1 + i,
			   100, 90);
		batch_build(&batch);
		ASSERT_LT(0, wire_batch(r->peer, &r->to, &batch));
		ASSERT_EQ(0, ring_enter(&ring, 0, 1));
		ASSERT_EQ(0, ring_result(&ring, &cqe));
		ASSERT_LT(0, cqe.res);
		ASSERT_TRUE(cqe.flags & IORING_CQE_F_BUFFER);
		rx_init(&rx, -1);
		ring_parse(&rx, cqe.flags >> IORING_CQE_BUFFER_SHIFT);
		want_init(&want);
		if (i == 3)
			memset(want.status, QUIC_RX_KEY_PHASE, 1 + i);
		expect_call(_metadata, r, &batch, &want, 0, 1 + i);
	}
	close(ring.fd);
}

/* Options */

/**
 * struct bad_info - how an argument of ADD differs from one that works
 * @name: for messages
 * @err: what must come of it
 * @off: where
 * @size: bytes there
 * @val: what is there
 * @len: bytes that the argument is longer
 */
struct bad_info {
	char name[32];
	int err;
	size_t off;
	size_t size;
	uint64_t val;
	int len;
};

/* Offsets are asserted in quic.c. */
static const struct bad_info bad_adds[] = {
	{ "one byte short", -EINVAL, .len = -9 },
	{ "key only", -EINVAL, .len = -88 },
	{ "empty", -EINVAL, .len = -248 },
	{ "tail not zero", -E2BIG, 248, 1, 1, .len = 1 },
	{ "end of tail not zero", -E2BIG, 279, 1, 0x80, .len = 32 },
	{ "generation", -EINVAL, 21, 1, QUIC_CONN_GENERATION },
	{ "all", -EINVAL, 21, 1, QUIC_CONN_ALL },
	{ "alias and generation", -EINVAL, 21, 1,
	  QUIC_CONN_ALIAS | QUIC_CONN_GENERATION },
	{ "alias and all", -EINVAL, 21, 1, QUIC_CONN_ALIAS | QUIC_CONN_ALL },
	{ "alias of nothing", -ENOENT, 21, 1, QUIC_CONN_ALIAS },
	{ "flag of INFO", -EINVAL, 21, 1, QUIC_CONN_RX },
	{ "unknown flag", -EINVAL, 21, 1, 0x10 },
	{ "high flag", -EINVAL, 21, 1, 0x80 },
	{ "reserved", -EINVAL, 22, 2, 0x100 },
	{ "CID of 21", -EINVAL, 20, 1, 21 },
	{ "CID of 255", -EINVAL, 20, 1, 255 },
	{ "CID left-aligned", -EINVAL, 0, 1, 1 },
	{ "CID shorter than it is", -EINVAL, 20, 1, 7 },
	{ "cipher 0", -EOPNOTSUPP, 160, 2, 0 },
	{ "cipher 50", -EOPNOTSUPP, 160, 2, 50 },
	{ "cipher 55", -EOPNOTSUPP, 160, 2, 55 },
	{ "cipher 65535", -EOPNOTSUPP, 160, 2, 65535 },
	{ "AF_UNIX", -EAFNOSUPPORT, 32, 2, AF_UNIX },
	{ "AF_PACKET", -EAFNOSUPPORT, 32, 2, AF_PACKET },
	{ "family 65535", -EAFNOSUPPORT, 32, 2, 65535 },
	{ "IPv4 without port", -EINVAL, 32, 2, AF_INET },
	{ "number of 2^62 + 1", -EINVAL, 240, 8, (1ULL << 62) + 1 },
	{ "number of 2^64 - 1", -EINVAL, 240, 8, UINT64_MAX },
};

static int bad_option(const struct bad_info *bad, int fd, int opt,
		      const struct flow *f)
{
	uint8_t buf[sizeof(struct quic_connection_info) + 32] = {};

	rx_fill_info(f, 0, (void *)buf);
	/* little endian or not: the low bytes of the value */
	if (bad->size == 1) {
		buf[bad->off] = bad->val;
	} else if (bad->size == 2) {
		uint16_t val = bad->val;

		memcpy(buf + bad->off, &val, 2);
	} else {
		memcpy(buf + bad->off, &bad->val, bad->size);
	}
	return setsockopt(fd, SOL_UDP, opt, buf,
			  sizeof(struct quic_connection_info) + bad->len) ?
	       -errno : 0;
}

static int bad_add(const struct bad_info *bad, int fd, const struct flow *f)
{
	return bad_option(bad, fd, UDP_QUIC_ADD_RX_CONNECTION, f);
}

/* A refused flow is not there, and those that are there stay. */
TEST_F(rx, error_add)
{
	struct receiver *r = &self->r;
	struct rx_counters old, now;
	unsigned int i;
	struct flow f;

	flow_init(&f, TLS_CIPHER_AES_GCM_128, 8);
	f.id = 2;
	ASSERT_EQ(0, rx_counters_read(&old));
	for (i = 0; i < ARRAY_SIZE(bad_adds); i++) {
		EXPECT_EQ(bad_adds[i].err, bad_add(&bad_adds[i], r->fd, &f))
			TH_LOG("%s", bad_adds[i].name);
	}
	ASSERT_EQ(0, rx_counters_read(&now));
	EXPECT_EQ(0, memcmp(&old, &now, sizeof(now)));
	pass_one(_metadata, r, &f, 1, QUIC_RX_NO_FLOW);
	open_one(_metadata, r, &self->flow, 1);
	/* The same without what was wrong; with a tail of zeros */
	ASSERT_EQ(0, bad_add(&(struct bad_info){ .len = 32 }, r->fd, &f));
	open_one(_metadata, r, &f, 1);
	ASSERT_EQ(0, rx_del(r->fd, &f));
	/* As it was before it has grown, and half-way */
	ASSERT_EQ(0, bad_add(&(struct bad_info){ .len = -8 }, r->fd, &f));
	ASSERT_EQ(-EEXIST, bad_add(&(struct bad_info){ .len = -3 }, r->fd, &f));
	open_one(_metadata, r, &f, 2);
}

/* An argument may be a page long, if what follows the struct is zeros. */
TEST_F(rx, error_add_page)
{
	size_t page = sysconf(_SC_PAGESIZE);
	struct quic_connection_info ci;
	int fd = self->r.fd;
	struct flow f;

	flow_init(&f, TLS_CIPHER_AES_GCM_128, 8);
	rx_fill_info(&f, 0, &ci);
	EXPECT_EQ(-E2BIG, option_padded(fd, UDP_QUIC_ADD_RX_CONNECTION, &ci,
					page + 1));
	EXPECT_EQ(-ENOENT, rx_del(fd, &f));
	EXPECT_EQ(0, option_padded(fd, UDP_QUIC_ADD_RX_CONNECTION, &ci, page));
	open_one(_metadata, &self->r, &f, 1);
	EXPECT_EQ(-E2BIG, option_padded(fd, UDP_QUIC_DEL_RX_CONNECTION, &ci,
					page + 1));
	EXPECT_EQ(0, option_padded(fd, UDP_QUIC_DEL_RX_CONNECTION, &ci, page));
	EXPECT_EQ(-ENOENT, rx_del(fd, &f));
}

/* None of it attaches the ULP, or makes the socket one that receives. */
TEST_F(rx, error_add_unattached)
{
	struct receiver *r = &self->r, plain;
	char name[16] = "";
	socklen_t len = sizeof(name);
	struct flow f;
	unsigned int i;

	ASSERT_EQ(0, receiver_open(&plain, variant->family));
	flow_init(&f, TLS_CIPHER_AES_GCM_128, 8);
	f.id = 2;
	for (i = 0; i < ARRAY_SIZE(bad_adds); i++) {
		EXPECT_EQ(bad_adds[i].err, bad_add(&bad_adds[i], plain.fd, &f))
			TH_LOG("%s", bad_adds[i].name);
	}
	getsockopt(plain.fd, SOL_UDP, UDP_ULP, name, &len);
	EXPECT_STREQ("", name);
	build_one(&batch, &f, 1);
	ASSERT_EQ(100, wire_batch(plain.peer, &plain.to, &batch));
	rx_init(&rx, plain.fd);
	ASSERT_EQ(100, rx_call(&rx));
	EXPECT_EQ(-1, rx.elems);
	open_one(_metadata, r, &self->flow, 1);
	receiver_close(&plain);
}

TEST_F(rx, error_add_address)
{
	struct receiver *r = &self->r;
	struct flow f;

	flow_init(&f, TLS_CIPHER_AES_GCM_128, 8);
	f.id = 2;
	addr_loopback(&f.dst, AF_INET6, 4433);
	ASSERT_EQ(variant->family == ipv4 ? -EAFNOSUPPORT : 0,
		  rx_add(r->fd, &f));
	flow_init(&f, TLS_CIPHER_AES_GCM_128, 8);
	f.id = 3;
	addr_loopback(&f.dst, AF_INET, 0);
	ASSERT_EQ(-EINVAL, rx_add(r->fd, &f));
	addr_mapped(&f.dst);
	ASSERT_GT(0, rx_add(r->fd, &f));
	/* A new flow needs keys. */
	memset(&f.dst, 0, sizeof(f.dst));
	memset(f.keys.hp, 0, sizeof(f.keys.hp));
	ASSERT_EQ(-ENOENT, rx_add(r->fd, &f));
}

/* A match belongs to one flow. */
TEST_F(rx, error_add_taken)
{
	struct receiver *r = &self->r;
	struct flow f = self->flow;

	keys_init(&f.keys, TLS_CIPHER_AES_GCM_128);
	f.id = 2;
	ASSERT_EQ(-EADDRINUSE, rx_add(r->fd, &f));
	f.id = 0;
	ASSERT_EQ(-EADDRINUSE, rx_add(r->fd, &f));
	/* The same keys, under another name */
	f = self->flow;
	f.id = 2;
	ASSERT_GT(0, rx_add(r->fd, &f));
	/* The name, for another match */
	f = self->flow;
	f.cid[0] ^= 0x80;
	ASSERT_GT(0, rx_add(r->fd, &f));
	open_one(_metadata, r, &self->flow, 1);
}

TEST_F(rx, error_fault)
{
	size_t page = sysconf(_SC_PAGESIZE);
	struct quic_connection_info *ci;
	struct receiver *r = &self->r;
	struct flow f;
	uint8_t *p;

	flow_init(&f, TLS_CIPHER_AES_GCM_128, 8);
	f.id = 2;
	p = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, (void *)p);
	ASSERT_EQ(0, mprotect(p + page, page, PROT_NONE));
	ci = (void *)(p + page - sizeof(*ci));
	rx_fill_info(&f, 0, ci);
	ASSERT_EQ(-1, setsockopt(r->fd, SOL_UDP, UDP_QUIC_ADD_RX_CONNECTION,
				 (char *)ci + 1, sizeof(*ci)));
	ASSERT_EQ(EFAULT, errno);
	ASSERT_EQ(-1, setsockopt(r->fd, SOL_UDP, UDP_QUIC_ADD_RX_CONNECTION,
				 NULL, sizeof(*ci)));
	ASSERT_EQ(EFAULT, errno);
	ASSERT_EQ(-1, setsockopt(r->fd, SOL_UDP, UDP_QUIC_DEL_RX_CONNECTION,
				 NULL, sizeof(*ci)));
	ASSERT_EQ(EFAULT, errno);
	ASSERT_EQ(0, setsockopt(r->fd, SOL_UDP, UDP_QUIC_ADD_RX_CONNECTION,
				ci, sizeof(*ci)));
	open_one(_metadata, r, &f, 1);
	/* DEL and aliases read the key, not more. */
	p += page - sizeof(ci->key);
	rx_key(&f, (void *)p);
	((struct quic_connection_info_key *)p)->flags = QUIC_CONN_ALIAS;
	ASSERT_EQ(-1, setsockopt(r->fd, SOL_UDP, UDP_QUIC_DEL_RX_CONNECTION,
				 p + 1, sizeof(ci->key)));
	ASSERT_EQ(EFAULT, errno);
	((struct quic_connection_info_key *)p)->flags = 0;
	ASSERT_EQ(0, setsockopt(r->fd, SOL_UDP, UDP_QUIC_DEL_RX_CONNECTION,
				p, sizeof(*ci)));
	ASSERT_EQ(-ENOENT, rx_del(r->fd, &f));
}

static const struct bad_info bad_dels[] = {
	{ "one byte short", -EINVAL, .len = -89 },
	{ "empty", -EINVAL, .len = -248 },
	{ "tail not zero", -E2BIG, 248, 1, 1, .len = 1 },
	{ "all, and a flow", -EINVAL, 21, 1, QUIC_CONN_ALL },
	{ "alias and all", -EINVAL, 21, 1, QUIC_CONN_ALIAS | QUIC_CONN_ALL },
	{ "alias and generation", -EINVAL, 21, 1,
	  QUIC_CONN_ALIAS | QUIC_CONN_GENERATION },
	{ "generation and all", -EINVAL, 21, 1,
	  QUIC_CONN_GENERATION | QUIC_CONN_ALL },
	{ "generation not there", -EINVAL, 21, 1, QUIC_CONN_GENERATION,
	  .len = -86 },
	{ "flag of INFO", -EINVAL, 21, 1, QUIC_CONN_RX },
	{ "unknown flag", -EINVAL, 21, 1, 0x10 },
	{ "high flag", -EINVAL, 21, 1, 0x80 },
	{ "reserved", -EINVAL, 22, 2, 1 },
	{ "CID of 21", -EINVAL, 20, 1, 21 },
	{ "AF_UNIX", -EAFNOSUPPORT, 32, 2, AF_UNIX },
	{ "IPv4 without port", -EINVAL, 32, 2, AF_INET },
	{ "another name", -ENOENT, 24, 4, 77 },
	{ "another path", -ENOENT, 28, 4, 77 },
};

TEST_F(rx, error_del)
{
	struct receiver *r = &self->r;
	int fd = sock_udp(AF_INET);
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(bad_dels); i++) {
		struct bad_info bad = bad_dels[i];
		uint32_t val = bad.val;

		if (bad.size == 4)
			memcpy(&bad.val, &val, 4);
		EXPECT_EQ(bad.err, bad_option(&bad, r->fd,
					      UDP_QUIC_DEL_RX_CONNECTION,
					      &self->flow))
			TH_LOG("%s", bad.name);
	}
	/* A socket without ULP has no flows. */
	EXPECT_EQ(-ENOENT, rx_del(fd, &self->flow));
	EXPECT_EQ(0, rx_del_all(fd));
	open_one(_metadata, r, &self->flow, 1);
	ASSERT_EQ(0, rx_del(r->fd, &self->flow));
	close(fd);
}

/* Limits count flows of both directions. */
TEST_F(rx, limit_flows)
{
	struct receiver *r = &self->r;
	struct flow f[3];
	int i, fd;

	fd = sock_udp(AF_INET);
	i = sysctl_write("max_flows", 2);
	if (i)
		SKIP(return, "net.quic_crypto.max_flows: %s", strerror(-i));
	for (i = 0; i < 3; i++)
		flow_init(&f[i], TLS_CIPHER_AES_GCM_128, 8);
	/* One is there. */
	EXPECT_EQ(0, rx_add(fd, &f[0]));
	EXPECT_EQ(-ENOSPC, rx_add(fd, &f[1]));
	EXPECT_EQ(-ENOSPC, flow_add(fd, &f[1]));
	EXPECT_EQ(0, rx_del(fd, &f[0]));
	EXPECT_EQ(0, flow_add(fd, &f[1]));
	EXPECT_EQ(-ENOSPC, rx_add(fd, &f[2]));
	EXPECT_EQ(0, sysctl_write("max_flows", 1048576));
	EXPECT_EQ(0, rx_add(fd, &f[2]));
	open_one(_metadata, r, &self->flow, 1);
	close(fd);
}

TEST_F(rx, limit_user)
{
	struct flow f[2];
	int i, fd;

	fd = sock_udp(AF_INET);
	i = sysctl_write("max_user_flows", 1);
	if (i)
		SKIP(return, "max_user_flows: %s", strerror(-i));
	flow_init(&f[0], TLS_CIPHER_AES_GCM_128, 8);
	EXPECT_EQ(-EDQUOT, rx_add(fd, &f[0]));
	EXPECT_EQ(0, sysctl_write("max_user_flows", 65536));
	EXPECT_EQ(0, rx_add(fd, &f[0]));
	close(fd);
}

/* UDP_QUIC_INFO */

TEST_F(rx, info)
{
	struct receiver *r = &self->r;
	struct flow next, unknown;
	struct quic_info info;

	ASSERT_EQ(0, flow_state(r->fd, NULL, &info));
	EXPECT_EQ(QUIC_INFO_TX | QUIC_INFO_RX, info.directions);
	EXPECT_EQ(QUIC_CONN_GENERATION | QUIC_CONN_ALL, info.conn_flags);
	/* The flags of this direction; no flow is named. */
	memset(&unknown, 0, sizeof(unknown));
	ASSERT_EQ(0, rx_state(r->fd, &unknown, &info));
	EXPECT_EQ(QUIC_INFO_TX | QUIC_INFO_RX, info.directions);
	EXPECT_EQ(QUIC_CONN_GENERATION | QUIC_CONN_ALL | QUIC_CONN_ALIAS,
		  info.conn_flags);
	EXPECT_EQ(0xf, info.ciphers & 0xf);
	open_one(_metadata, r, &self->flow, 9);
	open_one(_metadata, r, &self->flow, 7);
	ASSERT_EQ(0, rx_state(r->fd, &self->flow, &info));
	EXPECT_EQ(1, info.generations[0].installed);
	EXPECT_EQ(0, info.generations[0].gen);
	EXPECT_EQ(2, info.generations[0].sealed);
	EXPECT_EQ(10, info.generations[0].next_pkt_num);
	/* RFC 9001 6.6 */
	EXPECT_EQ(1ULL << 52, info.generations[0].remaining);
	EXPECT_EQ(0, info.generations[0].ifindex);
	EXPECT_EQ(0, info.generations[1].installed);
	limit_failures(_metadata, r, &self->flow, 11, 3);
	flow_next(&next, &self->flow);
	ASSERT_EQ(0, rx_add(r->fd, &next));
	open_one(_metadata, r, &next, 20);
	ASSERT_EQ(0, rx_state(r->fd, &self->flow, &info));
	EXPECT_EQ(1, info.generations[0].gen);
	EXPECT_EQ(1, info.generations[0].sealed);
	/* Failures are those of the connection. */
	EXPECT_EQ((1ULL << 52) - 3, info.generations[0].remaining);
	EXPECT_EQ(21, info.generations[0].next_pkt_num);
	EXPECT_EQ(0, info.generations[1].gen);
	EXPECT_EQ(2, info.generations[1].sealed);
	EXPECT_EQ((1ULL << 52) - 3, info.generations[1].remaining);
	/* In this direction only */
	ASSERT_EQ(-ENOENT, flow_state(r->fd, &self->flow, &info));
	unknown = self->flow;
	unknown.id = 0;
	unknown.cid[0] ^= 0x80;
	ASSERT_EQ(-ENOENT, rx_state(r->fd, &unknown, &info));
	ASSERT_EQ(0, flow_add(r->fd, &unknown));
	ASSERT_EQ(0, flow_state(r->fd, &unknown, &info));
	ASSERT_EQ(-ENOENT, rx_state(r->fd, &unknown, &info));
}

/* What the ciphers may fail: RFC 9001 6.6 */
TEST_F(rx, info_limits)
{
	static const struct {
		uint16_t cipher;
		uint64_t limit;
	} limits[] = {
		{ TLS_CIPHER_AES_GCM_128, 1ULL << 52 },
		{ TLS_CIPHER_AES_GCM_256, 1ULL << 52 },
		{ TLS_CIPHER_AES_CCM_128, 2965820 },
		{ TLS_CIPHER_CHACHA20_POLY1305, 1ULL << 36 },
	};
	struct receiver *r = &self->r;
	struct quic_info info;
	struct flow f;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(limits); i++) {
		flow_init(&f, limits[i].cipher, 8);
		f.id = 2 + i;
		ASSERT_EQ(0, rx_add(r->fd, &f));
		ASSERT_EQ(0, rx_state(r->fd, &f, &info));
		EXPECT_EQ(limits[i].limit, info.generations[0].remaining);
		limit_failures(_metadata, r, &f, 1, 1);
		ASSERT_EQ(0, rx_state(r->fd, &f, &info));
		EXPECT_EQ(limits[i].limit - 1, info.generations[0].remaining);
	}
}

static unsigned long counter(enum rx_counter i)
{
	struct rx_counters c = {};

	return rx_counters_read(&c) ? ~0UL : c.v[i];
}

TEST_F(rx, counters_flows)
{
	unsigned long now = counter(CURR_RX_SW), ever = counter(RX_SW);
	struct flow f, next, alias;
	int fd = sock_udp(AF_INET);

	flow_init(&f, TLS_CIPHER_AES_GCM_128, 8);
	f.id = 2;
	ASSERT_EQ(0, rx_add(fd, &f));
	EXPECT_EQ(now + 1, counter(CURR_RX_SW));
	EXPECT_EQ(ever + 1, counter(RX_SW));
	/* Neither key updates nor aliases are flows. */
	flow_next(&next, &f);
	ASSERT_EQ(0, rx_add(fd, &next));
	alias = f;
	alias.cid[0] ^= 1;
	ASSERT_EQ(0, rx_add_alias(fd, &alias));
	EXPECT_EQ(now + 1, counter(CURR_RX_SW));
	ASSERT_EQ(0, rx_del(fd, &f));
	EXPECT_EQ(now, counter(CURR_RX_SW));
	ASSERT_EQ(0, rx_add(fd, &f));
	close(fd);
	EXPECT_EQ(now, counter(CURR_RX_SW));
	EXPECT_EQ(ever + 2, counter(RX_SW));
}

/* Threads */

enum { READERS = 3, SENT = 600, NUMBERS = 2048 };

/**
 * struct reader - a thread that receives
 * @thread: itself
 * @fd: on this socket
 * @stop: ends when there is nothing left to read
 * @opened: how often it has opened a number
 * @others: packets with another status, by status
 * @bad: what must not be
 */
struct reader {
	pthread_t thread;
	int fd;
	atomic_bool *stop;
	atomic_uint opened[NUMBERS];
	unsigned int others[NR_STATUS];
	unsigned int bad;
};

/* All packets have 100 bytes. */
static void reader_take(struct reader *t, const struct rx *got)
{
	const struct quic_rx_packet *e;
	int i, n = got->ret / 100;

	if (got->ret % 100 || got->elems != n) {
		t->bad++;
		return;
	}
	for (i = 0; i < n; i++) {
		bool plain = has_marker(got->buf + 100 * i, 100);

		e = &got->pkt[i];
		t->bad += plain != (e->status == QUIC_RX_OPENED);
		if (e->status == QUIC_RX_OPENED && e->pkt_num < NUMBERS)
			t->opened[e->pkt_num]++;
		else if (e->status < NR_STATUS)
			t->others[e->status]++;
	}
}

static void *reader_run(void *arg)
{
	struct rx *got = calloc(1, sizeof(*got));
	struct reader *t = arg;
	bool last = false;

	while (got) {
		rx_init(got, t->fd);
		/* The rest is not looked at. */
		got->size = 8192;
		if (rx_call(got) >= 0) {
			reader_take(t, got);
			continue;
		}
		t->bad += got->ret != -EAGAIN;
		if (last)
			break;
		last = atomic_load(t->stop);
		rx_wait(t->fd, 10);
	}
	free(got);
	return NULL;
}

static void readers_start(struct __test_metadata *_metadata,
			  struct reader *t, int fd, atomic_bool *stop)
{
	int i;

	memset(t, 0, READERS * sizeof(*t));
	for (i = 0; i < READERS; i++) {
		t[i].fd = fd;
		t[i].stop = stop;
		ASSERT_EQ(0, pthread_create(&t[i].thread, NULL, reader_run,
					    &t[i]));
	}
}

/* Adds up what the readers have seen. */
static void readers_stop(struct __test_metadata *_metadata, struct receiver *r,
			 struct reader *t, atomic_bool *stop)
{
	int i, j;

	atomic_store(stop, true);
	for (i = 0; i < READERS; i++) {
		pthread_join(t[i].thread, NULL);
		ASSERT_EQ(0, t[i].bad);
		for (j = 0; j < NR_STATUS; j++)
			r->status[j] += t[i].others[j];
		for (j = 0; j < NUMBERS; j++) {
			r->status[QUIC_RX_OPENED] += t[i].opened[j];
			r->bytes += 100 * t[i].opened[j];
			if (i)
				t[0].opened[j] += t[i].opened[j];
		}
	}
}

static bool readers_opened(struct reader *t, unsigned int pkt_num)
{
	int i;

	for (i = 0; i < READERS; i++) {
		if (atomic_load(&t[i].opened[pkt_num]))
			return true;
	}
	return false;
}

/* Waits until the readers have opened all numbers below @end. */
static void readers_wait(struct __test_metadata *_metadata, struct reader *t,
			 unsigned int end)
{
	time_t deadline = time(NULL) + 30;
	unsigned int i;

	for (i = 0; i < end; i++) {
		while (!readers_opened(t, i)) {
			ASSERT_GT(deadline, time(NULL))
				TH_LOG("number %u", i);
			usleep(1000);
		}
	}
}

enum { UPDATE = 60 };

/*
 * Keys are updated while threads read: nothing is lost. A thread may be
 * preempted between taking packets from the socket and opening them. After two
 * more updates their keys would be gone, so the updates wait for the thread, as
 * a peer waits for three times the PTO (RFC 9001 section 6.5).
 */
TEST_F_TIMEOUT(rx, threads_key_update, 120)
{
	static struct reader t[READERS];
	struct receiver *r = &self->r;
	struct flow f = self->flow, next;
	unsigned int i, opened;
	atomic_bool stop = false;

	ASSERT_EQ(0, receiver_gro(r));
	readers_start(_metadata, t, r->fd, &stop);
	for (i = 0; i < SENT; i += 6) {
		if (i % UPDATE == UPDATE / 2) {
			if (i > UPDATE)
				readers_wait(_metadata, t, i - UPDATE);
			flow_next(&next, &f);
			/* When the one before was used */
			while (rx_add(r->fd, &next))
				usleep(1000);
			f = next;
		}
		batch_init(&batch, &f, i, 6, 100, 100);
		batch_build(&batch);
		ASSERT_EQ(600, wire_batch(r->peer, &r->to, &batch));
	}
	readers_stop(_metadata, r, t, &stop);
	for (i = 0; i < SENT; i++) {
		opened = t[0].opened[i];
		ASSERT_EQ(1, opened)
			TH_LOG("number %u", i);
	}
}

/* Flows come and go: a packet is opened or comes as it was. */
TEST_F_TIMEOUT(rx, threads_add_del, 120)
{
	static struct reader t[READERS];
	struct receiver *r = &self->r;
	struct flow alias = self->flow;
	atomic_bool stop = false;
	unsigned int i, n, others = 0, opened = 0;

	alias.cid[0] ^= 0x40;
	ASSERT_EQ(0, receiver_gro(r));
	readers_start(_metadata, t, r->fd, &stop);
	for (i = 0; i < SENT; i += 6) {
		batch_init(&batch, i & 2 ? &self->flow : &alias, i, 6, 100,
			   100);
		batch_build(&batch);
		ASSERT_EQ(600, wire_batch(r->peer, &r->to, &batch));
		if (i % 18 == 0)
			ASSERT_EQ(0, rx_add_alias(r->fd, &alias));
		if (i % 18 == 12) {
			ASSERT_EQ(0, rx_del(r->fd, &self->flow));
			ASSERT_EQ(0, rx_add_next(r->fd, &self->flow, i));
		}
	}
	readers_stop(_metadata, r, t, &stop);
	for (i = 0; i < READERS; i++)
		others += t[i].others[QUIC_RX_NO_FLOW];
	for (i = 0; i < SENT; i++) {
		n = t[0].opened[i];
		ASSERT_GE(1, n);
		opened += n;
	}
	ASSERT_EQ(SENT, opened + others);
	ASSERT_LT(0, opened);
}

int main(int argc, char **argv)
{
	if (netns_enter())
		missing = "no network namespace of our own";
	else
		missing = quic_rx_missing();
	return test_harness_run(argc, argv);
}
