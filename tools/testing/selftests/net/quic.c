// SPDX-License-Identifier: GPL-2.0
/*
 * Tests of QUIC packet protection in the kernel: what leaves the socket is
 * compared with, and opened by, libcrypto.
 */

#define _GNU_SOURCE
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>

#include <linux/bpf.h>
#include <linux/errqueue.h>
#include <linux/genetlink.h>
#include <linux/if_link.h>
#include <linux/io_uring.h>
#include <linux/l2tp.h>
#include <linux/net_tstamp.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#include "../kselftest_harness.h"
#include "quic_util.h"

#define RX_TIMEOUT	5000	/* ms, for what must arrive */

#define CHECK_OFFSET(type, member, off) \
	static_assert(offsetof(struct type, member) == (off), #member)

/* The same on every ABI */
static_assert(sizeof(struct quic_connection_info_key) == 160, "size");
CHECK_OFFSET(quic_connection_info_key, conn_id_length, 20);
CHECK_OFFSET(quic_connection_info_key, flags, 21);
CHECK_OFFSET(quic_connection_info_key, reserved, 22);
CHECK_OFFSET(quic_connection_info_key, flow_id, 24);
CHECK_OFFSET(quic_connection_info_key, path_id, 28);
CHECK_OFFSET(quic_connection_info_key, peer, 32);
static_assert(sizeof(struct quic_connection_info) == 248, "size");
CHECK_OFFSET(quic_connection_info, cipher_type, 160);
CHECK_OFFSET(quic_connection_info, conn_payload_key_gen, 162);
CHECK_OFFSET(quic_connection_info, payload_iv, 163);
CHECK_OFFSET(quic_connection_info, payload_key, 175);
CHECK_OFFSET(quic_connection_info, header_key, 207);
CHECK_OFFSET(quic_connection_info, pad, 239);
CHECK_OFFSET(quic_connection_info, next_pkt_num, 240);
static_assert(sizeof(struct quic_info_generation) == 32, "size");
CHECK_OFFSET(quic_info_generation, ifindex, 24);
CHECK_OFFSET(quic_info_generation, installed, 29);
static_assert(QUIC_INFO_SIZE_VER0 == 248, "size of the first version");
static_assert(sizeof(struct quic_info) == 288, "size");
CHECK_OFFSET(quic_info, directions, 160);
CHECK_OFFSET(quic_info, max_flows, 180);
CHECK_OFFSET(quic_info, generations, 184);
CHECK_OFFSET(quic_info, devices, 280);
static_assert(sizeof(struct quic_tx_ancillary_data) == 16, "size");
CHECK_OFFSET(quic_tx_ancillary_data, flags, 8);
CHECK_OFFSET(quic_tx_ancillary_data, conn_id_length, 9);
CHECK_OFFSET(quic_tx_ancillary_data, flow_id, 12);

static const char *missing;	/* what the kernel lacks */
static struct batch batch;
static uint8_t rxbuf[64 * 1024];

/* The packets of @b arrive at @fd: each byte of them, and they open. */
static void expect_batch(struct __test_metadata *_metadata, int fd,
			 const struct batch *b)
{
	const uint8_t *wire = b->wire;
	static uint8_t plain[MAX_CALL];
	unsigned int i;
	uint64_t pn;

	for (i = 0; i < b->n; i++) {
		const struct pkt *p = &b->pkt[i];
		ssize_t len = rx_recv(fd, rxbuf, sizeof(rxbuf), RX_TIMEOUT);

		ASSERT_EQ((ssize_t)p->len, len)
			TH_LOG("packet %u of %u", i, b->n);
		ASSERT_EQ(0, memcmp(wire, rxbuf, len))
			TH_LOG("packet %u of %u", i, b->n);
		len = pkt_open(p->flow, p->pn, rxbuf, len, &pn);
		ASSERT_EQ((ssize_t)p->len - TAG, len);
		ASSERT_EQ(p->pn, pn);
		pkt_plain(p, plain);
		ASSERT_EQ(0, memcmp(plain, rxbuf, len));
		wire += p->len;
	}
}

/* Nothing but this unprotected datagram arrives at @fd. */
static void expect_nothing(struct __test_metadata *_metadata, int fd)
{
	static const char text[] = "nothing before this";
	struct sockaddr_storage addr;
	socklen_t len = sizeof(addr);
	int s;

	ASSERT_EQ(0, getsockname(fd, (void *)&addr, &len));
	s = sock_udp(addr.ss_family);
	ASSERT_EQ((ssize_t)sizeof(text),
		  sendto(s, text, sizeof(text), 0, (void *)&addr, len));
	close(s);
	ASSERT_EQ((ssize_t)sizeof(text),
		  rx_recv(fd, rxbuf, sizeof(rxbuf), RX_TIMEOUT));
	ASSERT_EQ(0, memcmp(text, rxbuf, sizeof(text)));
	ASSERT_EQ(-EAGAIN, rx_recv(fd, rxbuf, sizeof(rxbuf), 0));
}

static ssize_t send_batch(int fd, const struct sockaddr_storage *to,
			  struct batch *b)
{
	struct tx tx;

	batch_build(b);
	tx_init(&tx, fd, to);
	tx_batch(&tx, b);
	tx.gso = b->n > 1 ? b->size : 0;
	return tx_send(&tx);
}

/* @b goes out through @fd to @to and arrives at @rx. */
static void seal_batch(struct __test_metadata *_metadata, int fd,
		       const struct sockaddr_storage *to, int rx,
		       struct batch *b)
{
	ssize_t ret = send_batch(fd, to, b);

	ASSERT_EQ((ssize_t)b->plain_len, ret);
	expect_batch(_metadata, rx, b);
}

static ssize_t send_one(int fd, const struct sockaddr_storage *to,
			const struct flow *f, uint64_t pn)
{
	batch_init(&batch, f, pn, 1, 100, 100);
	return send_batch(fd, to, &batch);
}

static void seal_one(struct __test_metadata *_metadata, int fd,
		     const struct sockaddr_storage *to, int rx,
		     const struct flow *f, uint64_t pn)
{
	batch_init(&batch, f, pn, 1, 100, 100);
	seal_batch(_metadata, fd, to, rx, &batch);
}

/* The reference itself, and then the kernel: RFC 9001 A.5 */
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

static void a5_flow(struct flow *f)
{
	memset(f, 0, sizeof(*f));
	f->keys.cipher = TLS_CIPHER_CHACHA20_POLY1305;
	memcpy(f->keys.key, a5_key, sizeof(a5_key));
	memcpy(f->keys.iv, a5_iv, sizeof(a5_iv));
	memcpy(f->keys.hp, a5_hp, sizeof(a5_hp));
}

TEST(reference)
{
	uint8_t buf[sizeof(a5_wire)];
	struct flow f;
	struct pkt p = {
		.flow = &f,
		.pn = A5_PKT_NUM,
		.pn_len = 3,
		.len = sizeof(buf),
	};
	uint64_t pn;

	a5_flow(&f);
	memcpy(buf, a5_plain, sizeof(a5_plain));
	ASSERT_EQ(0, pkt_seal(&p, buf));
	ASSERT_EQ(0, memcmp(buf, a5_wire, sizeof(buf)));
	ASSERT_EQ((int)sizeof(a5_plain),
		  pkt_open(&f, A5_PKT_NUM + 9, buf, sizeof(buf), &pn));
	ASSERT_EQ(A5_PKT_NUM, pn);
	ASSERT_EQ(0, memcmp(buf, a5_plain, sizeof(a5_plain)));
	/* What was tampered with does not open. */
	memcpy(buf, a5_wire, sizeof(buf));
	buf[sizeof(buf) - 1] ^= 1;
	ASSERT_EQ(-1, pkt_open(&f, A5_PKT_NUM, buf, sizeof(buf), &pn));
}

/* Every cipher, address family, way to ask for GSO, layout */

enum family { ipv4, ipv6, mapped };
enum gso { single, sockopt, cmsg };
enum layout { no_room, tag_room };

struct sealer {
	int tx, rx;
	struct flow flow;
	enum gso gso;
	enum layout layout;
};

/*
 * Variants are named CIPHER_FAMILY_GSO_LAYOUT. Every macro ends in a
 * declaration, which takes the semicolon after the macro.
 */
#define SEAL(_name, _cipher, _family, _gso, _layout)			\
	FIXTURE_VARIANT_ADD(seal, _name##_##_family##_##_gso##_##_layout) { \
		.cipher = TLS_CIPHER_##_cipher,				\
		.family = _family,					\
		.gso = _gso,						\
		.layout = _layout,					\
	};								\
	struct sealer

#define SEAL_LAYOUTS(_name, _cipher, _family, _gso)			\
	SEAL(_name, _cipher, _family, _gso, no_room);			\
	SEAL(_name, _cipher, _family, _gso, tag_room);			\
	struct sealer

#define SEAL_GSO(_name, _cipher, _family)				\
	SEAL_LAYOUTS(_name, _cipher, _family, single);			\
	SEAL_LAYOUTS(_name, _cipher, _family, sockopt);			\
	SEAL_LAYOUTS(_name, _cipher, _family, cmsg);			\
	struct sealer

#define SEAL_FAMILIES(_name, _cipher)					\
	SEAL_GSO(_name, _cipher, ipv4);					\
	SEAL_GSO(_name, _cipher, ipv6);					\
	SEAL_GSO(_name, _cipher, mapped);				\
	struct sealer

FIXTURE(seal)
{
	struct sealer s;
	struct sockaddr_storage to;
};

FIXTURE_VARIANT(seal)
{
	uint16_t cipher;
	enum family family;
	enum gso gso;
	enum layout layout;
};

SEAL_FAMILIES(gcm128, AES_GCM_128);
SEAL_FAMILIES(gcm256, AES_GCM_256);
SEAL_FAMILIES(ccm128, AES_CCM_128);
SEAL_FAMILIES(chacha, CHACHA20_POLY1305);

FIXTURE_SETUP(seal)
{
	struct sealer *s = &self->s;

	if (missing)
		SKIP(return, "%s", missing);
	s->rx = sock_bound(variant->family == ipv6 ? AF_INET6 : AF_INET,
			   &self->to);
	ASSERT_LE(0, s->rx);
	if (variant->family == mapped)
		addr_mapped(&self->to);
	s->tx = sock_udp(variant->family == ipv4 ? AF_INET : AF_INET6);
	ASSERT_LE(0, s->tx);
	s->gso = variant->gso;
	s->layout = variant->layout;
	flow_init(&s->flow, variant->cipher, 8);
	s->flow.dst = self->to;
	ASSERT_EQ(0, flow_add(s->tx, &s->flow));
}

FIXTURE_TEARDOWN(seal)
{
	close(self->s.tx);
	close(self->s.rx);
}

/* The packets of the batch have numbers of different lengths. */
static void seal_shape(struct __test_metadata *_metadata, struct sealer *s,
		       const struct sockaddr_storage *to, struct batch *b)
{
	unsigned int i;
	struct tx tx;

	for (i = 0; i < b->n; i++)
		b->pkt[i].pn_len = 4 - i % 4;
	b->room = s->layout == tag_room;
	batch_build(b);
	tx_init(&tx, s->tx, to);
	tx_batch(&tx, b);
	if (s->gso == sockopt) {
		ASSERT_EQ(0, set_int(s->tx, SOL_UDP, UDP_SEGMENT, b->size));
	} else if (s->gso == cmsg) {
		/* The cmsg counts, not the option. */
		ASSERT_EQ(0, set_int(s->tx, SOL_UDP, UDP_SEGMENT, 77));
		tx.gso = b->size;
	}
	ASSERT_EQ((ssize_t)b->plain_len, tx_send(&tx));
	expect_batch(_metadata, s->rx, b);
}

static void seal_shapes(struct __test_metadata *_metadata, struct sealer *s,
			const struct sockaddr_storage *to, uint64_t pn)
{
	static const struct {
		unsigned int n;
		size_t size, last;
	} shapes[] = {
		/* The least that a sample can be taken from */
		{ 1, 100, 1 + 8 + 4 + TAG },
		{ 1, 1200, 1200 },
		{ 1, 1200, 61 },
		{ 5, 1200, 1200 },
		{ 2, 1452, 1 + 8 + 4 + TAG },
		{ 7, 89, 71 },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(shapes); i++) {
		if (s->gso == single && shapes[i].n > 1)
			break;
		batch_init(&batch, &s->flow, pn, shapes[i].n, shapes[i].size,
			   shapes[i].last);
		seal_shape(_metadata, s, to, &batch);
		pn += shapes[i].n;
	}
}

TEST_F(seal, packets)
{
	socklen_t len = addr_len(&self->to);
	struct sealer *s = &self->s;

	seal_shapes(_metadata, s, &self->to, 0x0d65c9);
	ASSERT_EQ(0, connect(s->tx, (void *)&self->to, len));
	seal_shapes(_metadata, s, NULL, 0x1d65c9);
	seal_shapes(_metadata, s, &self->to, 0x2d65c9);
}

/* Everything else, with AES-128-GCM */

FIXTURE(quic)
{
	int tx;
	int rx, rx2;
	struct sockaddr_storage to, to2;
	struct flow flow;	/* installed, for any destination */
};

FIXTURE_VARIANT(quic)
{
	int family;
};

FIXTURE_VARIANT_ADD(quic, ipv4)
{
	.family = AF_INET,
};

FIXTURE_VARIANT_ADD(quic, ipv6)
{
	.family = AF_INET6,
};

FIXTURE_SETUP(quic)
{
	if (missing)
		SKIP(return, "%s", missing);
	self->rx = sock_bound(variant->family, &self->to);
	ASSERT_LE(0, self->rx);
	self->rx2 = sock_bound(variant->family, &self->to2);
	ASSERT_LE(0, self->rx2);
	self->tx = sock_udp(variant->family);
	ASSERT_LE(0, self->tx);
	flow_init(&self->flow, TLS_CIPHER_AES_GCM_128, 8);
	ASSERT_EQ(0, flow_add(self->tx, &self->flow));
}

FIXTURE_TEARDOWN(quic)
{
	close(self->tx);
	close(self->rx);
	close(self->rx2);
}

/* A namespace remembers the numbers that a key has sealed for ten minutes.
 * Tests whose keys are constants need a namespace of their own.
 */
static void quic_own_netns(struct __test_metadata *_metadata,
			   struct _test_data_quic *self, int family)
{
	close(self->tx);
	close(self->rx);
	ASSERT_EQ(0, netns_enter());
	self->rx = sock_bound(family, &self->to);
	ASSERT_LE(0, self->rx);
	self->tx = sock_udp(family);
	ASSERT_LE(0, self->tx);
}

TEST_F(quic, rfc9001_a5)
{
	uint8_t plain[] = { 0x42, 0x00, 0xbf, 0xf4, 0x01 };
	struct flow f;
	struct tx tx;

	quic_own_netns(_metadata, self, variant->family);
	a5_flow(&f);
	ASSERT_EQ(0, flow_add(self->tx, &f));
	tx_init(&tx, self->tx, &self->to);
	tx.one.iov_base = plain;
	tx.one.iov_len = sizeof(plain);
	tx.iov = &tx.one;
	tx.iovlen = 1;
	tx.anc.next_pkt_num = A5_PKT_NUM;
	ASSERT_EQ((ssize_t)sizeof(plain), tx_send(&tx));
	ASSERT_EQ((ssize_t)sizeof(a5_wire),
		  rx_recv(self->rx, rxbuf, sizeof(rxbuf), RX_TIMEOUT));
	ASSERT_EQ(0, memcmp(a5_wire, rxbuf, sizeof(a5_wire)));
}

/*
 * The flow of the interface's first description, which clears the key of the
 * flow and nothing else.
 */
static void spec_flow(struct flow *f)
{
	unsigned int i;

	memset(f, 0, sizeof(*f));
	f->keys.cipher = TLS_CIPHER_AES_GCM_128;
	f->cid_len = 5;
	for (i = 0; i < 5; i++)
		f->cid[i] = i + 1;
	for (i = 0; i < 12; i++)
		f->keys.iv[i] = i;
	for (i = 0; i < 16; i++) {
		f->keys.key[i] = i;
		f->keys.hp[i] = 0x10 + i;
	}
}

static void spec_send(struct __test_metadata *_metadata, int fd,
		      const struct sockaddr_storage *to, int rx,
		      struct batch *b)
{
	struct iovec iov[2];
	struct tx tx;

	batch_build(b);
	tx_init(&tx, fd, to);
	tx_batch(&tx, b);
	iov[0].iov_base = b->plain;
	iov[0].iov_len = 4500;
	iov[1].iov_base = b->plain + 4500;
	iov[1].iov_len = b->plain_len - 4500;
	tx.iov = iov;
	tx.iovlen = 2;
	ASSERT_EQ((ssize_t)b->plain_len, tx_send(&tx));
	expect_batch(_metadata, rx, b);
}

TEST_F(quic, spec_example)
{
	struct flow f;

	quic_own_netns(_metadata, self, variant->family);
	spec_flow(&f);
	ASSERT_EQ(0, flow_add(self->tx, &f));
	/* One packet, as the loopback has room for it */
	batch_init(&batch, &f, 0x0d65c9, 1, 0, 9000 + TAG);
	spec_send(_metadata, self->tx, &self->to, self->rx, &batch);
	/* Packets of 1184 bytes that become 1200 */
	ASSERT_EQ(0, set_int(self->tx, SOL_UDP, UDP_SEGMENT, 1200));
	batch_init(&batch, &f, 0x0d65ca, 8, 1200, 9000 - 7 * 1184 + TAG);
	spec_send(_metadata, self->tx, &self->to, self->rx, &batch);
	ASSERT_EQ(9000, batch.plain_len);
	ASSERT_EQ(0, flow_del(self->tx, &f));
	ASSERT_EQ(-ENOENT, flow_del(self->tx, &f));
}

static unsigned long counter(enum counter i)
{
	struct counters c;

	return counters_read(&c) ? ~0UL : c.v[i];
}

/* Which flow */

TEST_F(quic, flow_specific_wins)
{
	struct flow *any = &self->flow, one;

	flow_init(&one, TLS_CIPHER_AES_GCM_128, 8);
	memcpy(one.cid, any->cid, sizeof(one.cid));
	one.dst = self->to;
	ASSERT_EQ(0, flow_add(self->tx, &one));
	seal_one(_metadata, self->tx, &self->to, self->rx, &one, 1);
	seal_one(_metadata, self->tx, &self->to2, self->rx2, any, 1);
	ASSERT_EQ(0, flow_del(self->tx, &one));
	seal_one(_metadata, self->tx, &self->to, self->rx, any, 2);
	ASSERT_EQ(0, flow_add(self->tx, &one));
	ASSERT_EQ(0, flow_del(self->tx, any));
	seal_one(_metadata, self->tx, &self->to, self->rx, &one, 3);
	ASSERT_EQ(-ENOENT, send_one(self->tx, &self->to2, any, 3));
}

TEST_F(quic, flow_by_destination)
{
	struct flow one, two, any;

	flow_init(&one, TLS_CIPHER_AES_GCM_128, 0);
	one.dst = self->to;
	flow_init(&two, TLS_CIPHER_CHACHA20_POLY1305, 0);
	two.dst = self->to2;
	ASSERT_EQ(0, flow_add(self->tx, &one));
	ASSERT_EQ(-ENOENT, send_one(self->tx, &self->to2, &two, 1));
	ASSERT_EQ(0, flow_add(self->tx, &two));
	seal_one(_metadata, self->tx, &self->to, self->rx, &one, 1);
	seal_one(_metadata, self->tx, &self->to2, self->rx2, &two, 1);
	/* Neither address nor connection ID: the last resort */
	flow_init(&any, TLS_CIPHER_AES_GCM_256, 0);
	ASSERT_EQ(0, flow_add(self->tx, &any));
	seal_one(_metadata, self->tx, &self->to, self->rx, &one, 2);
	ASSERT_EQ(0, flow_del(self->tx, &two));
	seal_one(_metadata, self->tx, &self->to2, self->rx2, &any, 2);
}

/* The call says how long the connection ID is. */
TEST_F(quic, flow_cid_prefix)
{
	struct flow lng, shrt;

	flow_init(&lng, TLS_CIPHER_AES_GCM_128, 9);
	flow_init(&shrt, TLS_CIPHER_AES_GCM_128, 4);
	memcpy(shrt.cid, lng.cid, 4);
	ASSERT_EQ(0, flow_add(self->tx, &lng));
	ASSERT_EQ(-ENOENT, send_one(self->tx, &self->to, &shrt, 1));
	ASSERT_EQ(0, flow_add(self->tx, &shrt));
	seal_one(_metadata, self->tx, &self->to, self->rx, &lng, 1);
	seal_one(_metadata, self->tx, &self->to, self->rx, &shrt, 1);
}

TEST_F(quic, flow_cid_lengths)
{
	struct flow f;
	unsigned int i;

	for (i = 0; i <= QUIC_MAX_CONNECTION_ID_SIZE; i++) {
		flow_init(&f, TLS_CIPHER_AES_GCM_128, i);
		ASSERT_EQ(0, flow_add(self->tx, &f));
		batch_init(&batch, &f, 1, 2, 90, 45);
		seal_batch(_metadata, self->tx, &self->to, self->rx, &batch);
		ASSERT_EQ(0, flow_del(self->tx, &f));
		ASSERT_EQ(-ENOENT, send_one(self->tx, &self->to, &f, 9));
	}
	/* Zeros in front of a connection ID are not a part of it. */
	flow_init(&f, TLS_CIPHER_AES_GCM_128, 4);
	memset(f.cid, 0, 4);
	ASSERT_EQ(0, flow_add(self->tx, &f));
	f.cid_len = 5;
	ASSERT_EQ(-ENOENT, send_one(self->tx, &self->to, &f, 9));
}

static ssize_t send_flow_id(int fd, const struct sockaddr_storage *to,
			    const struct flow *f, uint32_t id, uint64_t pn)
{
	struct tx tx;

	batch_init(&batch, f, pn, 1, 100, 100);
	batch_build(&batch);
	tx_init(&tx, fd, to);
	tx_batch(&tx, &batch);
	tx.anc.flags |= QUIC_TX_FLOW_ID;
	tx.anc.flow_id = id;
	return tx_send(&tx);
}

TEST_F(quic, flow_id)
{
	struct flow one, two, name;
	unsigned int i;

	flow_init(&one, TLS_CIPHER_AES_GCM_128, 8);
	one.id = 1;
	flow_init(&two, TLS_CIPHER_AES_GCM_128, 8);
	two.id = 0xffffffff;
	ASSERT_EQ(0, flow_add(self->tx, &one));
	ASSERT_EQ(0, flow_add(self->tx, &two));

	/* The handle, and not the address, says which flow it is. */
	seal_one(_metadata, self->tx, &self->to, self->rx, &one, 1);
	seal_one(_metadata, self->tx, &self->to2, self->rx2, &two, 1);
	seal_one(_metadata, self->tx, &self->to2, self->rx2, &one, 2);
	/* Neither does the connection ID, of any length. */
	for (i = 0; i <= QUIC_MAX_CONNECTION_ID_SIZE; i++) {
		one.cid_len = i;
		one.cid[0] = i;
		batch_init(&batch, &one, 3 + 2 * i, 2, 90, 60);
		seal_batch(_metadata, self->tx, &self->to, self->rx, &batch);
	}
	/* Without the handle, it is not found. */
	name = one;
	name.id = 0;
	ASSERT_EQ(-ENOENT, send_one(self->tx, &self->to, &name, 100));
	name.cid_len = 0;
	ASSERT_EQ(-ENOENT, send_one(self->tx, &self->to, &name, 100));
	/* Flows without one are not found by it. */
	ASSERT_EQ(-ENOENT, send_flow_id(self->tx, &self->to, &self->flow, 0,
					100));
	ASSERT_EQ(-ENOENT, send_flow_id(self->tx, &self->to, &one, 2, 100));
	/* Other errors are UDP's own. */
	ASSERT_EQ(-EDESTADDRREQ, send_one(self->tx, NULL, &one, 100));

	ASSERT_EQ(0, flow_del(self->tx, &one));
	ASSERT_EQ(-ENOENT, flow_del(self->tx, &one));
	ASSERT_EQ(-ENOENT, send_one(self->tx, &self->to, &one, 100));
	seal_one(_metadata, self->tx, &self->to, self->rx, &two, 100);
	expect_nothing(_metadata, self->rx);
}

/* A key update takes the handle, and no more of the header key. */
TEST_F(quic, flow_id_update)
{
	struct flow one, next, two;

	flow_init(&one, TLS_CIPHER_AES_GCM_128, 8);
	one.id = 7;
	ASSERT_EQ(0, flow_add(self->tx, &one));
	ASSERT_EQ(-EEXIST, flow_add(self->tx, &one));
	flow_init(&two, TLS_CIPHER_AES_GCM_128, 8);
	two.id = 7;
	ASSERT_EQ(-EADDRINUSE, flow_add(self->tx, &two));
	two.gen = 1;
	ASSERT_EQ(-EADDRINUSE, flow_add(self->tx, &two));
	/* The connection has another ID when it updates its keys. */
	flow_next(&next, &one);
	memset(next.keys.hp, 0, sizeof(next.keys.hp));
	next.cid[0]++;
	ASSERT_EQ(0, flow_add(self->tx, &next));
	ASSERT_EQ(-EEXIST, flow_add(self->tx, &next));
	memcpy(next.keys.hp, one.keys.hp, sizeof(next.keys.hp));
	seal_one(_metadata, self->tx, &self->to, self->rx, &next, 1);
	seal_one(_metadata, self->tx, &self->to, self->rx, &one, 1);
	/* The handle of a flow that is gone is free. */
	ASSERT_EQ(0, flow_del(self->tx, &one));
	two.gen = 0;
	ASSERT_EQ(0, flow_add(self->tx, &two));
	/* What updates a flow makes none. */
	flow_next(&next, &one);
	next.id = 8;
	memset(next.keys.hp, 0, sizeof(next.keys.hp));
	ASSERT_EQ(-ENOENT, flow_add(self->tx, &next));
	next.id = 0;
	ASSERT_EQ(-ENOENT, flow_add(self->tx, &next));
}

/* What does not identify the flow must not be there. */
TEST_F(quic, flow_id_alone)
{
	struct quic_connection_info ci;
	struct flow f;
	int opt;

	flow_init(&f, TLS_CIPHER_AES_GCM_128, 8);
	f.id = 1;
	ASSERT_EQ(0, flow_add(self->tx, &f));
	for (opt = UDP_QUIC_ADD_TX_CONNECTION;
	     opt <= UDP_QUIC_DEL_TX_CONNECTION; opt++) {
		flow_info(&f, &ci);
		ci.key.conn_id_length = 1;
		ASSERT_EQ(-1, setsockopt(self->tx, SOL_UDP, opt, &ci,
					 sizeof(ci)));
		ASSERT_EQ(EINVAL, errno);
		ci.key.conn_id_length = 0;
		ci.key.conn_id[19] = 1;
		ASSERT_EQ(-1, setsockopt(self->tx, SOL_UDP, opt, &ci,
					 sizeof(ci)));
		ASSERT_EQ(EINVAL, errno);
		flow_info(&f, &ci);
		memcpy(&ci.key.peer, &self->to, sizeof(self->to));
		ASSERT_EQ(-1, setsockopt(self->tx, SOL_UDP, opt, &ci,
					 sizeof(ci)));
		ASSERT_EQ(EINVAL, errno);
	}
	seal_one(_metadata, self->tx, &self->to, self->rx, &f, 1);
}

/*
 * Peers choose their connection IDs, and NATs their addresses: two connections
 * may have the same. Each packet opens with the key of its own connection.
 */
TEST_F(quic, flow_collision)
{
	struct flow a, b, first, second;
	int swap;

	for (swap = 0; swap < 2; swap++) {
		flow_init(&a, TLS_CIPHER_AES_GCM_128, 0);
		flow_init(&b, TLS_CIPHER_AES_GCM_128, 0);
		a.dst = self->to;
		b.dst = self->to;
		a.id = 1;
		b.id = 2;
		first = swap ? b : a;
		second = swap ? a : b;
		ASSERT_EQ(0, flow_add(self->tx, &first));
		ASSERT_EQ(0, flow_add(self->tx, &second));
		seal_one(_metadata, self->tx, &self->to, self->rx, &a, 1);
		seal_one(_metadata, self->tx, &self->to, self->rx, &b, 1);
		seal_one(_metadata, self->tx, &self->to, self->rx, &a, 2);
		/* One without a handle in addition: it has its own key, too */
		ASSERT_EQ(0, flow_del(self->tx, &b));
		b.id = 0;
		ASSERT_EQ(0, flow_add(self->tx, &b));
		seal_one(_metadata, self->tx, &self->to, self->rx, &b, 3);
		seal_one(_metadata, self->tx, &self->to, self->rx, &a, 3);
		ASSERT_EQ(0, flow_del(self->tx, &a));
		ASSERT_EQ(0, flow_del(self->tx, &b));
	}
	/* By address and connection ID there can be only one. */
	for (swap = 0; swap < 2; swap++) {
		flow_init(&a, TLS_CIPHER_AES_GCM_128, 0);
		flow_init(&b, TLS_CIPHER_AES_GCM_128, 0);
		a.dst = self->to;
		b.dst = self->to;
		first = swap ? b : a;
		second = swap ? a : b;
		ASSERT_EQ(0, flow_add(self->tx, &first));
		ASSERT_EQ(-EADDRINUSE, flow_add(self->tx, &second));
		second.gen = 1;
		ASSERT_EQ(-EADDRINUSE, flow_add(self->tx, &second));
		second.gen = 255;
		ASSERT_EQ(-EADDRINUSE, flow_add(self->tx, &second));
		ASSERT_EQ(-EEXIST, flow_add(self->tx, &first));
		seal_one(_metadata, self->tx, &self->to, self->rx, &first, 1);
		ASSERT_EQ(0, flow_del(self->tx, &first));
	}
	/* One byte of any key is enough. */
	flow_init(&a, TLS_CIPHER_AES_GCM_128, 0);
	ASSERT_EQ(0, flow_add(self->tx, &a));
	b = a;
	b.keys.key[15] ^= 1;
	ASSERT_EQ(-EADDRINUSE, flow_add(self->tx, &b));
	b = a;
	b.keys.iv[11] ^= 1;
	ASSERT_EQ(-EADDRINUSE, flow_add(self->tx, &b));
	b = a;
	b.keys.hp[15] ^= 1;
	ASSERT_EQ(-EADDRINUSE, flow_add(self->tx, &b));
	b = a;
	b.keys.cipher = TLS_CIPHER_AES_CCM_128;
	ASSERT_EQ(-EADDRINUSE, flow_add(self->tx, &b));
	b = a;
	b.path = 1;
	ASSERT_EQ(-EADDRINUSE, flow_add(self->tx, &b));
	ASSERT_EQ(-EEXIST, flow_add(self->tx, &a));
}

/* Flows go one by one, or all that a process has left on the socket. */
TEST_F(quic, flow_del_all)
{
	enum { N = 300 };
	struct quic_connection_info_key key;
	static struct flow f[N];
	unsigned long before = counter(CURR_TX_SW);
	int i, fd, round;

	for (round = 0; round < 2; round++) {
		for (i = 0; i < N; i++) {
			flow_init(&f[i], TLS_CIPHER_CHACHA20_POLY1305, 8);
			f[i].id = i & 1 ? i : 0;
			ASSERT_EQ(0, flow_add(self->tx, &f[i]));
		}
		ASSERT_EQ(before + N, counter(CURR_TX_SW));
		ASSERT_EQ(0, flow_del_all(self->tx));
		ASSERT_EQ(before - 1, counter(CURR_TX_SW));
		for (i = 0; i < N; i += 7)
			ASSERT_EQ(-ENOENT, send_one(self->tx, &self->to, &f[i],
						    1));
		ASSERT_EQ(0, flow_add(self->tx, &self->flow));
	}
	seal_one(_metadata, self->tx, &self->to, self->rx, &self->flow, 1);

	/* It is about no flow in particular. */
	for (i = 0; i < 5; i++) {
		memset(&key, 0, sizeof(key));
		key.flags = QUIC_CONN_ALL;
		key.flow_id = i == 0;
		key.path_id = i == 1;
		key.conn_id_length = i == 2;
		if (i == 3)
			memcpy(&key.peer, &self->to, sizeof(self->to));
		if (i == 4)
			key.flags |= QUIC_CONN_GENERATION;
		ASSERT_EQ(-1, setsockopt(self->tx, SOL_UDP,
					 UDP_QUIC_DEL_TX_CONNECTION, &key,
					 sizeof(key)))
			TH_LOG("case %d", i);
		ASSERT_EQ(EINVAL, errno);
	}
	seal_one(_metadata, self->tx, &self->to, self->rx, &self->flow, 2);
	/* Nothing to remove is no error. */
	fd = sock_udp(variant->family);
	ASSERT_EQ(0, flow_del_all(fd));
	close(fd);
	ASSERT_EQ(0, flow_del_all(self->tx));
	ASSERT_EQ(0, flow_del_all(self->tx));
}

/* Flows belong to the socket: a process that is killed leaves them there. */
TEST_F(quic, flow_del_killed)
{
	unsigned long start;
	int tx, rx, status;
	struct flow f;
	pid_t pid;

	ASSERT_EQ(0, netns_enter());
	tx = sock_udp(variant->family);
	rx = sock_bound(variant->family, &self->to);
	start = seconds();
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;; flow_add(tx, &f))
			flow_init(&f, TLS_CIPHER_CHACHA20_POLY1305, 8);
	}
	while (counter(CURR_TX_SW) < 100 && seconds() < start + 30)
		usleep(1000);
	ASSERT_EQ(0, kill(pid, SIGKILL));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	ASSERT_TRUE(WIFSIGNALED(status));
	ASSERT_LE(100, counter(CURR_TX_SW));
	ASSERT_EQ(0, flow_del_all(tx));
	ASSERT_EQ(0, counter(CURR_TX_SW));
	/* The socket is as good as new. */
	ASSERT_EQ(0, flow_add(tx, &self->flow));
	seal_one(_metadata, tx, &self->to, rx, &self->flow, 1);
	close(tx);
	close(rx);
}

TEST_F(quic, flow_many)
{
	enum { N = 150 };
	static struct flow f[N];
	int i;

	for (i = 0; i < N; i++) {
		flow_init(&f[i], TLS_CIPHER_AES_GCM_128, 4 + i % 17);
		if (i & 1)
			f[i].dst = self->to;
		ASSERT_EQ(0, flow_add(self->tx, &f[i]));
	}
	for (i = 0; i < N; i++)
		seal_one(_metadata, self->tx, &self->to, self->rx, &f[i], i);
	for (i = 0; i < N; i += 2)
		ASSERT_EQ(0, flow_del(self->tx, &f[i]));
	for (i = 0; i < N; i++) {
		if (i & 1)
			seal_one(_metadata, self->tx, &self->to, self->rx,
				 &f[i], N + i);
		else
			ASSERT_EQ(-ENOENT, send_one(self->tx, &self->to, &f[i],
						    N + i));
	}
}

TEST_F(quic, flow_reuseport)
{
	struct sockaddr_storage addr;
	struct flow f;
	int a, b;

	addr_loopback(&addr, variant->family, 4433);
	a = sock_udp(variant->family);
	b = sock_udp(variant->family);
	ASSERT_EQ(0, set_int(a, SOL_SOCKET, SO_REUSEPORT, 1));
	ASSERT_EQ(0, set_int(b, SOL_SOCKET, SO_REUSEPORT, 1));
	ASSERT_EQ(0, bind(a, (void *)&addr, addr_len(&addr)));
	ASSERT_EQ(0, flow_add(a, &self->flow));
	ASSERT_EQ(0, bind(b, (void *)&addr, addr_len(&addr)));
	flow_init(&f, TLS_CIPHER_AES_GCM_128, 8);
	ASSERT_EQ(0, flow_add(b, &f));
	seal_one(_metadata, a, &self->to, self->rx, &self->flow, 1);
	seal_one(_metadata, b, &self->to, self->rx, &f, 1);
	/* A flow belongs to one socket. */
	ASSERT_EQ(-ENOENT, send_one(b, &self->to, &self->flow, 2));
	ASSERT_EQ(-ENOENT, send_one(a, &self->to, &f, 2));
	/* Where a connection moves, its keys move along. */
	ASSERT_EQ(0, flow_add(b, &self->flow));
	ASSERT_EQ(-EALREADY, send_one(b, &self->to, &self->flow, 1));
	close(a);
	seal_one(_metadata, b, &self->to, self->rx, &self->flow, 2);
	close(b);
}

TEST_F(quic, flow_connect_again)
{
	struct sockaddr unspec = { .sa_family = AF_UNSPEC };
	socklen_t len = addr_len(&self->to);
	struct flow one;

	flow_init(&one, TLS_CIPHER_AES_GCM_128, 8);
	one.dst = self->to;
	ASSERT_EQ(0, flow_add(self->tx, &one));
	ASSERT_EQ(0, connect(self->tx, (void *)&self->to, len));
	seal_one(_metadata, self->tx, NULL, self->rx, &one, 1);
	seal_one(_metadata, self->tx, NULL, self->rx, &self->flow, 1);
	/* The address of the call counts, not the connected one. */
	ASSERT_EQ(-ENOENT, send_one(self->tx, &self->to2, &one, 2));
	ASSERT_EQ(0, connect(self->tx, (void *)&self->to2, len));
	ASSERT_EQ(-ENOENT, send_one(self->tx, NULL, &one, 2));
	seal_one(_metadata, self->tx, NULL, self->rx2, &self->flow, 2);
	seal_one(_metadata, self->tx, &self->to, self->rx, &one, 2);

	ASSERT_EQ(0, connect(self->tx, &unspec, sizeof(unspec)));
	ASSERT_EQ(-EDESTADDRREQ,
		  send_one(self->tx, NULL, &self->flow, 3));
	seal_one(_metadata, self->tx, &self->to, self->rx, &one, 3);
	seal_one(_metadata, self->tx, &self->to2, self->rx2, &self->flow, 3);
}

/* The kernel makes an address of "any" when it connects the socket. */
TEST_F(quic, flow_connect_any)
{
	struct sockaddr_storage any = self->to;
	struct flow peer, id;

	if (variant->family == AF_INET)
		((struct sockaddr_in *)&any)->sin_addr.s_addr = 0;
	else
		((struct sockaddr_in6 *)&any)->sin6_addr = in6addr_any;
	flow_init(&peer, TLS_CIPHER_AES_GCM_128, 8);
	peer.dst = any;
	ASSERT_EQ(0, flow_add(self->tx, &peer));
	flow_init(&id, TLS_CIPHER_AES_GCM_128, 8);
	id.id = 1;
	ASSERT_EQ(0, flow_add(self->tx, &id));
	seal_one(_metadata, self->tx, &any, self->rx, &peer, 1);
	ASSERT_EQ(0, connect(self->tx, (void *)&any, addr_len(&any)));
	/* connect() has replaced the address, and so has the flow. */
	seal_one(_metadata, self->tx, NULL, self->rx, &peer, 2);
	seal_one(_metadata, self->tx, NULL, self->rx, &id, 2);
	seal_one(_metadata, self->tx, NULL, self->rx, &self->flow, 2);
	seal_one(_metadata, self->tx, &self->to, self->rx, &peer, 3);
	peer.dst = self->to;
	ASSERT_EQ(-EEXIST, flow_add(self->tx, &peer));
}

/* connect() takes the address of a bound socket for 0.0.0.0, as documented. */
TEST_F(quic, flow_connect_any_bound)
{
	struct sockaddr_in any = {}, own = {};
	struct flow peer, id;

	if (variant->family != AF_INET)
		SKIP(return, "IPv4 only");
	own.sin_family = AF_INET;
	own.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1);
	ASSERT_EQ(0, bind(self->tx, (void *)&own, sizeof(own)));
	any.sin_family = AF_INET;
	any.sin_port = ((struct sockaddr_in *)&self->to)->sin_port;
	flow_init(&peer, TLS_CIPHER_AES_GCM_128, 8);
	memcpy(&peer.dst, &any, sizeof(any));
	ASSERT_EQ(0, flow_add(self->tx, &peer));
	flow_init(&id, TLS_CIPHER_AES_GCM_128, 8);
	id.id = 1;
	ASSERT_EQ(0, flow_add(self->tx, &id));
	ASSERT_EQ(0, connect(self->tx, (void *)&any, sizeof(any)));
	ASSERT_EQ(-ENOENT, send_one(self->tx, NULL, &peer, 1));
	ASSERT_LT(0, send_one(self->tx, NULL, &id, 1));
}

/* An IPv4 destination is the same in its v4-mapped form. */
TEST(flow_mapped)
{
	struct sockaddr_storage to, v6;
	struct flow f;
	int rx, tx;

	if (missing)
		SKIP(return, "%s", missing);
	rx = sock_bound(AF_INET, &to);
	tx = sock_udp(AF_INET6);
	v6 = to;
	addr_mapped(&v6);
	flow_init(&f, TLS_CIPHER_AES_GCM_128, 8);
	f.dst = to;
	ASSERT_EQ(0, flow_add(tx, &f));
	seal_one(_metadata, tx, &v6, rx, &f, 1);
	f.dst = v6;
	ASSERT_EQ(-EEXIST, flow_add(tx, &f));
	ASSERT_EQ(0, flow_del(tx, &f));
	ASSERT_EQ(0, flow_add(tx, &f));
	/* AF_INET names do on an AF_INET6 socket, too. */
	seal_one(_metadata, tx, &to, rx, &f, 2);
	f.dst = to;
	ASSERT_EQ(0, flow_del(tx, &f));
	close(tx);

	tx = sock_udp(AF_INET);
	f.dst = v6;
	ASSERT_EQ(0, flow_add(tx, &f));
	seal_one(_metadata, tx, &to, rx, &f, 3);
	close(tx);
	close(rx);
}

/* A link-local destination goes with an interface. */
TEST(flow_scope)
{
	struct sockaddr_storage to;
	struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *)&to;
	struct flow f;
	int rx, tx;

	if (missing)
		SKIP(return, "%s", missing);
	ASSERT_EQ(0, netns_enter());
	if (system("ip addr add fe80::1/64 dev lo nodad"))
		SKIP(return, "no address from the ip tool");
	rx = sock_udp(AF_INET6);
	addr_loopback(&to, AF_INET6, 4433);
	sin6->sin6_addr = in6addr_any;
	ASSERT_EQ(0, bind(rx, (void *)&to, addr_len(&to)));
	ASSERT_EQ(1, inet_pton(AF_INET6, "fe80::1", &sin6->sin6_addr));
	tx = sock_udp(AF_INET6);
	flow_init(&f, TLS_CIPHER_AES_GCM_128, 8);
	sin6->sin6_scope_id = 77;
	f.dst = to;
	ASSERT_EQ(0, flow_add(tx, &f));
	sin6->sin6_scope_id = if_nametoindex("lo");
	ASSERT_EQ(-ENOENT, send_one(tx, &to, &f, 1));
	ASSERT_EQ(0, flow_del(tx, &f));
	f.dst = to;
	ASSERT_EQ(0, flow_add(tx, &f));
	seal_one(_metadata, tx, &to, rx, &f, 1);
	ASSERT_EQ(0, connect(tx, (void *)&to, addr_len(&to)));
	seal_one(_metadata, tx, NULL, rx, &f, 2);
	/* Flow label and the like do not tell flows apart. */
	sin6->sin6_flowinfo = htonl(5);
	f.dst = to;
	ASSERT_EQ(-EEXIST, flow_add(tx, &f));
	close(tx);
	close(rx);
}

/* Key generations */

TEST_F(quic, key_update)
{
	struct flow g[5];
	int i;

	g[0] = self->flow;
	seal_one(_metadata, self->tx, &self->to, self->rx, &g[0], 0);
	for (i = 1; i < 5; i++) {
		flow_next(&g[i], &g[i - 1]);
		ASSERT_EQ(-EEXIST, flow_add(self->tx, &g[i - 1]));
		if (i == 1)
			ASSERT_EQ(-ENOKEY,
				  send_one(self->tx, &self->to, &g[1], 9));
		ASSERT_EQ(0, flow_add(self->tx, &g[i]));
		/* Both are live; the older still has its numbers. */
		seal_one(_metadata, self->tx, &self->to, self->rx, &g[i],
			 2 * i);
		seal_one(_metadata, self->tx, &self->to, self->rx, &g[i - 1],
			 2 * i - 1);
		ASSERT_EQ(-EALREADY, send_one(self->tx, &self->to, &g[i - 1],
					      2 * i - 1));
		ASSERT_EQ(-EEXIST, flow_add(self->tx, &g[i]));
		ASSERT_EQ(-EEXIST, flow_add(self->tx, &g[i - 1]));
	}
	/* Retired generations do not come back, none is left out. */
	ASSERT_EQ(-EINVAL, flow_add(self->tx, &g[2]));
	g[4].gen += 2;
	ASSERT_EQ(-EINVAL, flow_add(self->tx, &g[4]));
	ASSERT_EQ(0, flow_del(self->tx, &g[4]));
	ASSERT_EQ(-ENOENT, send_one(self->tx, &self->to, &g[3], 100));
}

TEST_F(quic, key_generation_wraps)
{
	struct flow g, next;
	int i;

	flow_init(&g, TLS_CIPHER_CHACHA20_POLY1305, 8);
	g.gen = 253;
	ASSERT_EQ(0, flow_add(self->tx, &g));
	for (i = 0; i < 5; i++) {
		flow_next(&next, &g);
		ASSERT_EQ(0, flow_add(self->tx, &next));
		seal_one(_metadata, self->tx, &self->to, self->rx, &next, i);
		seal_one(_metadata, self->tx, &self->to, self->rx, &g, 50 + i);
		g = next;
	}
	ASSERT_EQ(2, g.gen);
}

TEST_F(quic, key_missing)
{
	struct flow odd, even;

	flow_init(&odd, TLS_CIPHER_AES_GCM_128, 8);
	odd.gen = 1;
	flow_next(&even, &odd);
	ASSERT_EQ(0, flow_add(self->tx, &odd));
	ASSERT_EQ(-ENOKEY, send_one(self->tx, &self->to, &even, 1));
	seal_one(_metadata, self->tx, &self->to, self->rx, &odd, 1);
	ASSERT_EQ(0, flow_add(self->tx, &even));
	seal_one(_metadata, self->tx, &self->to, self->rx, &even, 1);
	expect_nothing(_metadata, self->rx);
}

/* A key update that is none is refused and changes nothing. */
TEST_F(quic, key_update_refused)
{
	struct flow next, bad;

	flow_next(&next, &self->flow);
	bad = next;
	bad.keys.cipher = TLS_CIPHER_AES_CCM_128;
	ASSERT_EQ(-EADDRINUSE, flow_add(self->tx, &bad));
	bad = next;
	bad.keys.hp[15] ^= 1;
	ASSERT_EQ(-EADDRINUSE, flow_add(self->tx, &bad));
	bad = next;
	bad.gen++;
	ASSERT_EQ(-EINVAL, flow_add(self->tx, &bad));
	bad.gen = 255;
	ASSERT_EQ(-EINVAL, flow_add(self->tx, &bad));
	/* The old key again, with other nonces */
	bad = next;
	memcpy(bad.keys.key, self->flow.keys.key, sizeof(bad.keys.key));
	ASSERT_EQ(-EINVAL, flow_add(self->tx, &bad));

	ASSERT_EQ(-ENOKEY, send_one(self->tx, &self->to, &next, 1));
	seal_one(_metadata, self->tx, &self->to, self->rx, &self->flow, 1);
	ASSERT_EQ(0, flow_add(self->tx, &next));
	seal_one(_metadata, self->tx, &self->to, self->rx, &next, 1);
}

/* One key, one window, whoever installed it */
TEST_F(quic, key_shared)
{
	int fd = sock_udp(variant->family);
	struct flow f = self->flow;

	f.cid[0]++;
	ASSERT_EQ(0, flow_add(self->tx, &f));
	ASSERT_EQ(0, flow_add(fd, &f));
	seal_one(_metadata, self->tx, &self->to, self->rx, &self->flow, 1);
	ASSERT_EQ(-EALREADY, send_one(self->tx, &self->to, &f, 1));
	ASSERT_EQ(-EALREADY, send_one(fd, &self->to, &f, 1));
	seal_one(_metadata, fd, &self->to2, self->rx2, &f, 2);
	ASSERT_EQ(-EALREADY, send_one(self->tx, &self->to, &self->flow, 2));
	seal_one(_metadata, self->tx, &self->to, self->rx, &f, 3);

	/* Its record lives as long as one of them has it, and longer. */
	ASSERT_EQ(0, flow_del(self->tx, &self->flow));
	ASSERT_EQ(0, flow_del(self->tx, &f));
	ASSERT_EQ(0, flow_add(self->tx, &self->flow));
	ASSERT_EQ(-EALREADY, send_one(self->tx, &self->to, &self->flow, 3));
	ASSERT_EQ(0, flow_del(self->tx, &self->flow));
	close(fd);
	ASSERT_EQ(0, flow_add(self->tx, &self->flow));
	ASSERT_EQ(-EALREADY, send_one(self->tx, &self->to, &self->flow, 3));
	seal_one(_metadata, self->tx, &self->to, self->rx, &self->flow, 4);
	expect_nothing(_metadata, self->rx);
}

TEST_F(quic, key_other_iv)
{
	int fd = sock_udp(variant->family);
	struct flow f;

	flow_init(&f, TLS_CIPHER_AES_GCM_128, 8);
	memcpy(f.keys.key, self->flow.keys.key, sizeof(f.keys.key));
	ASSERT_EQ(-EINVAL, flow_add(self->tx, &f));
	ASSERT_EQ(-EINVAL, flow_add(fd, &f));
	/* Nor with another cipher: both may build on the same block cipher. */
	f.keys.cipher = TLS_CIPHER_AES_CCM_128;
	ASSERT_EQ(-EINVAL, flow_add(fd, &f));
	f.keys.cipher = TLS_CIPHER_AES_GCM_128;
	ASSERT_EQ(0, flow_del(self->tx, &self->flow));
	ASSERT_EQ(0, flow_add(fd, &f));
	ASSERT_EQ(-EINVAL, flow_add(self->tx, &self->flow));
	close(fd);
	ASSERT_EQ(0, flow_add(self->tx, &self->flow));
}

/* A peer knows the key, but cannot use it up from another network namespace. */
TEST_F(quic, key_other_netns)
{
	struct flow other_iv = self->flow;
	int tx, rx;

	seal_one(_metadata, self->tx, &self->to, self->rx, &self->flow, 5);
	if (netns_enter())
		SKIP(return, "no network namespace: %s", strerror(errno));
	tx = sock_udp(variant->family);
	rx = sock_bound(variant->family, &self->to);
	other_iv.keys.iv[0] ^= 1;
	ASSERT_EQ(0, flow_add(tx, &other_iv));
	seal_one(_metadata, tx, &self->to, rx, &other_iv, 5);
	ASSERT_EQ(-EALREADY, send_one(tx, &self->to, &other_iv, 5));
}

/* A key that comes back continues its record. */
TEST_F(quic, key_remembered)
{
	struct flow *f = &self->flow, other;
	uint64_t pn = 5;
	int i;

	for (i = 0; i < 6; i++, pn++) {
		seal_one(_metadata, self->tx, &self->to, self->rx, f, pn);
		if (i & 1) {
			ASSERT_EQ(0, flow_del(self->tx, f));
		} else {
			close(self->tx);
			self->tx = sock_udp(variant->family);
		}
		ASSERT_EQ(0, flow_add(self->tx, f));
		ASSERT_EQ(-EALREADY, send_one(self->tx, &self->to, f, pn));
		ASSERT_EQ(-EALREADY, send_one(self->tx, &self->to, f, 0));
	}
	/* With another IV, two numbers could have the same nonce. */
	ASSERT_EQ(0, flow_del(self->tx, f));
	f->keys.iv[0] ^= 1;
	ASSERT_EQ(-EINVAL, flow_add(self->tx, f));
	f->keys.iv[0] ^= 1;
	/* Another key has a record of its own. */
	other = *f;
	other.keys.key[0] ^= 1;
	ASSERT_EQ(0, flow_add(self->tx, &other));
	seal_one(_metadata, self->tx, &self->to, self->rx, &other, 1);
	expect_nothing(_metadata, self->rx);
}

/* ... and its count, after a key update as well */
TEST_F(quic, key_remembered_limit)
{
	struct flow g[3];
	int tx, rx, err, i;

	ASSERT_EQ(0, netns_enter());
	err = sysctl_write("seal_limit", 5);
	if (err)
		SKIP(return, "net.quic_crypto.seal_limit: %s", strerror(-err));
	tx = sock_udp(variant->family);
	rx = sock_bound(variant->family, &self->to);
	g[0] = self->flow;
	ASSERT_EQ(0, flow_add(tx, &g[0]));
	batch_init(&batch, &g[0], 1, 4, 100, 100);
	seal_batch(_metadata, tx, &self->to, rx, &batch);
	for (i = 1; i < 3; i++) {
		flow_next(&g[i], &g[i - 1]);
		ASSERT_EQ(0, flow_add(tx, &g[i]));
	}
	/* A flow of its own for the generation that is retired */
	g[0].cid[0]++;
	ASSERT_EQ(0, flow_add(tx, &g[0]));
	batch_init(&batch, &g[0], 5, 2, 100, 100);
	ASSERT_EQ(-EKEYEXPIRED, send_batch(tx, &self->to, &batch));
	ASSERT_EQ(-EALREADY, send_one(tx, &self->to, &g[0], 4));
	seal_one(_metadata, tx, &self->to, rx, &g[0], 5);
	ASSERT_EQ(-EKEYEXPIRED, send_one(tx, &self->to, &g[0], 6));
	close(tx);
	close(rx);
}

/* The keys of other users are other keys. */
TEST_F(quic, key_other_user)
{
	struct flow other_iv = self->flow;
	int fd = sock_udp(variant->family);

	if (fchown(fd, 12345, -1))
		SKIP(return, "no other user: %s", strerror(errno));
	seal_one(_metadata, self->tx, &self->to, self->rx, &self->flow, 5);
	other_iv.keys.iv[0] ^= 1;
	ASSERT_EQ(-EINVAL, flow_add(self->tx, &(struct flow){
		.keys = other_iv.keys, .id = 1 }));
	ASSERT_EQ(0, flow_add(fd, &other_iv));
	seal_one(_metadata, fd, &self->to, self->rx, &other_iv, MAX_PKT_NUM);
	seal_one(_metadata, self->tx, &self->to, self->rx, &self->flow, 6);
	close(fd);
}

/* A generation can go when its last packet is sealed. */
TEST_F(quic, key_retire)
{
	struct flow g[4], other;
	int i;

	g[0] = self->flow;
	for (i = 1; i < 4; i++)
		flow_next(&g[i], &g[i - 1]);
	ASSERT_EQ(-ENOKEY, flow_del_gen(self->tx, &g[1]));
	seal_one(_metadata, self->tx, &self->to, self->rx, &g[0], 1);
	ASSERT_EQ(0, flow_add(self->tx, &g[1]));
	ASSERT_EQ(0, flow_del_gen(self->tx, &g[0]));
	ASSERT_EQ(-ENOKEY, flow_del_gen(self->tx, &g[0]));
	ASSERT_EQ(-ENOKEY, send_one(self->tx, &self->to, &g[0], 2));
	seal_one(_metadata, self->tx, &self->to, self->rx, &g[1], 2);
	/* It does not come back. */
	ASSERT_EQ(-EINVAL, flow_add(self->tx, &g[0]));
	/* The flow stays without any key, until it gets the next. */
	ASSERT_EQ(0, flow_del_gen(self->tx, &g[1]));
	ASSERT_EQ(-ENOKEY, send_one(self->tx, &self->to, &g[0], 3));
	ASSERT_EQ(-ENOKEY, send_one(self->tx, &self->to, &g[1], 3));
	ASSERT_EQ(-EINVAL, flow_add(self->tx, &g[1]));
	ASSERT_EQ(-EINVAL, flow_add(self->tx, &g[3]));
	flow_init(&other, TLS_CIPHER_AES_GCM_128, 8);
	memcpy(other.cid, g[0].cid, sizeof(other.cid));
	other.gen = 2;
	ASSERT_EQ(-EADDRINUSE, flow_add(self->tx, &other));
	ASSERT_EQ(0, flow_add(self->tx, &g[2]));
	seal_one(_metadata, self->tx, &self->to, self->rx, &g[2], 3);
	ASSERT_EQ(0, flow_add(self->tx, &g[3]));
	seal_one(_metadata, self->tx, &self->to, self->rx, &g[2], 4);
	seal_one(_metadata, self->tx, &self->to, self->rx, &g[3], 5);
	ASSERT_EQ(0, flow_del_gen(self->tx, &g[3]));
	seal_one(_metadata, self->tx, &self->to, self->rx, &g[2], 6);
	ASSERT_EQ(0, flow_del(self->tx, &g[3]));
	ASSERT_EQ(-ENOENT, flow_del_gen(self->tx, &g[3]));
	expect_nothing(_metadata, self->rx);
}

/* The generation must be in the argument, nothing after it need be. */
TEST_F(quic, key_retire_size)
{
	struct quic_connection_info ci;
	int opt = UDP_QUIC_DEL_TX_CONNECTION;

	flow_info(&self->flow, &ci);
	ci.key.flags = QUIC_CONN_GENERATION;
	ASSERT_EQ(-1, setsockopt(self->tx, SOL_UDP, opt, &ci, 162));
	ASSERT_EQ(EINVAL, errno);
	seal_one(_metadata, self->tx, &self->to, self->rx, &self->flow, 1);
	ASSERT_EQ(0, setsockopt(self->tx, SOL_UDP, opt, &ci, 163));
	ASSERT_EQ(-ENOKEY, send_one(self->tx, &self->to, &self->flow, 2));
}

/* Multipath QUIC: numbers begin again on each path, nonces differ. */
TEST_F(quic, path)
{
	static const uint32_t ids[] = { 1, 2, 0x01020304, 0xffffffff };
	struct flow f[ARRAY_SIZE(ids)], next, id;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(ids); i++) {
		f[i] = self->flow;
		f[i].cid[0] += 1 + i;
		f[i].path = ids[i];
		ASSERT_EQ(0, flow_add(self->tx, &f[i]));
		ASSERT_EQ(-EEXIST, flow_add(self->tx, &f[i]));
	}
	seal_one(_metadata, self->tx, &self->to, self->rx, &self->flow, 0);
	for (i = 0; i < ARRAY_SIZE(ids); i++) {
		batch_init(&batch, &f[i], 0, 3, 100, 60);
		seal_batch(_metadata, self->tx, &self->to, self->rx, &batch);
		ASSERT_EQ(-EALREADY, send_one(self->tx, &self->to, &f[i], 2));
	}
	/* The same path by another flow */
	id = f[0];
	id.id = 9;
	ASSERT_EQ(0, flow_add(self->tx, &id));
	ASSERT_EQ(-EALREADY, send_one(self->tx, &self->to, &id, 2));
	seal_one(_metadata, self->tx, &self->to, self->rx, &id, 3);
	/* A path belongs to its flow. */
	flow_next(&next, &id);
	next.path = 2;
	ASSERT_EQ(-EADDRINUSE, flow_add(self->tx, &next));
	ASSERT_EQ(-ENOENT, flow_del(self->tx, &next));
	/* It is remembered like a key. */
	ASSERT_EQ(0, flow_del(self->tx, &f[0]));
	ASSERT_EQ(0, flow_del(self->tx, &id));
	ASSERT_EQ(0, flow_add(self->tx, &f[0]));
	ASSERT_EQ(-EALREADY, send_one(self->tx, &self->to, &f[0], 3));
	seal_one(_metadata, self->tx, &self->to, self->rx, &f[0], 4);
	seal_one(_metadata, self->tx, &self->to, self->rx, &self->flow, 1);
	/* DEL need not name it. */
	f[1].path = 0;
	ASSERT_EQ(0, flow_del(self->tx, &f[1]));
	expect_nothing(_metadata, self->rx);
}

/* A key has a limited number of paths, however many flows these have. */
TEST_F(quic, path_count)
{
	struct flow f = self->flow, again;
	uint32_t i;

	/* The fixture has installed path 0. */
	for (i = 1; i < 32; i++) {
		f.id = i;
		f.path = i;
		ASSERT_EQ(0, flow_add(self->tx, &f))
			TH_LOG("path %u", i);
	}
	again = f;
	f.id = 32;
	f.path = 32;
	ASSERT_EQ(-ENOSPC, flow_add(self->tx, &f));
	ASSERT_EQ(-ENOENT, flow_del(self->tx, &f));
	seal_one(_metadata, self->tx, &self->to, self->rx, &again, 1);
	again.id = 33;
	ASSERT_EQ(0, flow_add(self->tx, &again));
	/* Where one of two flows stays, so does the path. */
	ASSERT_EQ(0, flow_del(self->tx, &again));
	ASSERT_EQ(-ENOSPC, flow_add(self->tx, &f));
	ASSERT_EQ(0, flow_del(self->tx, &self->flow));
	ASSERT_EQ(0, flow_add(self->tx, &f));
	seal_one(_metadata, self->tx, &self->to, self->rx, &f, 1);
	ASSERT_EQ(-ENOSPC, flow_add(self->tx, &self->flow));
}

/* One limit for all paths: RFC 9001 6.6 counts packets of a key. */
TEST_F(quic, path_limit)
{
	struct flow f[3];
	int tx, rx, err, i;

	ASSERT_EQ(0, netns_enter());
	err = sysctl_write("seal_limit", 5);
	if (err)
		SKIP(return, "net.quic_crypto.seal_limit: %s", strerror(-err));
	tx = sock_udp(variant->family);
	rx = sock_bound(variant->family, &self->to);
	for (i = 0; i < 3; i++) {
		f[i] = self->flow;
		f[i].id = i + 1;
		f[i].path = i;
		ASSERT_EQ(0, flow_add(tx, &f[i]));
	}
	batch_init(&batch, &f[0], 0, 2, 100, 100);
	seal_batch(_metadata, tx, &self->to, rx, &batch);
	batch_init(&batch, &f[1], 0, 2, 100, 100);
	seal_batch(_metadata, tx, &self->to, rx, &batch);
	batch_init(&batch, &f[2], 0, 2, 100, 100);
	ASSERT_EQ(-EKEYEXPIRED, send_batch(tx, &self->to, &batch));
	seal_one(_metadata, tx, &self->to, rx, &f[2], 0);
	ASSERT_EQ(-EKEYEXPIRED, send_one(tx, &self->to, &f[0], 5));
	close(tx);
	close(rx);
}

/* UDP_QUIC_INFO */

static void expect_generation(struct __test_metadata *_metadata,
			      const struct quic_info *info, unsigned int i,
			      uint8_t gen, uint64_t sealed, uint64_t next)
{
	const struct quic_info_generation *g = &info->generations[i];

	EXPECT_EQ(1, g->installed);
	EXPECT_EQ(gen, g->gen);
	EXPECT_EQ(sealed, g->sealed);
	EXPECT_EQ((1 << 23) - sealed, g->remaining);
	EXPECT_EQ(next, g->next_pkt_num);
	EXPECT_EQ(0, g->ifindex);
}

TEST_F(quic, info)
{
	struct flow f, next, path;
	struct quic_info info;

	/* The socket need not have the ULP. */
	int fd = sock_udp(variant->family);

	ASSERT_EQ(0, flow_state(fd, NULL, &info));
	EXPECT_EQ(QUIC_INFO_TX | QUIC_INFO_RX, info.directions);
	EXPECT_EQ(QUIC_INFO_CIPHER(TLS_CIPHER_AES_GCM_128) |
		  QUIC_INFO_CIPHER(TLS_CIPHER_AES_GCM_256) |
		  QUIC_INFO_CIPHER(TLS_CIPHER_AES_CCM_128) |
		  QUIC_INFO_CIPHER(TLS_CIPHER_CHACHA20_POLY1305),
		  info.ciphers);
	EXPECT_EQ(QUIC_CONN_GENERATION | QUIC_CONN_ALL, info.conn_flags);
	EXPECT_EQ(QUIC_BYPASS_ENCRYPTION | QUIC_TX_TAG_ROOM | QUIC_TX_FLOW_ID,
		  info.tx_flags);
	EXPECT_EQ(0, info.flows);
	EXPECT_LT(0, info.max_flows);
	EXPECT_EQ(0, info.generations[0].installed);
	ASSERT_EQ(-ENOENT, flow_state(fd, &self->flow, &info));
	close(fd);

	ASSERT_EQ(0, flow_state(self->tx, &self->flow, &info));
	EXPECT_EQ(1, info.flows);
	expect_generation(_metadata, &info, 0, 0, 0, 0);
	EXPECT_EQ(0, info.generations[1].installed);
	flow_init(&f, TLS_CIPHER_AES_GCM_128, 8);
	f.id = 77;
	f.gen = 255;
	ASSERT_EQ(0, flow_add(self->tx, &f));
	seal_one(_metadata, self->tx, &self->to, self->rx, &f, 5);
	flow_next(&next, &f);
	ASSERT_EQ(0, flow_add(self->tx, &next));
	batch_init(&batch, &next, 6, 3, 100, 100);
	seal_batch(_metadata, self->tx, &self->to, self->rx, &batch);
	/* Another path of the key */
	path = next;
	path.id = 78;
	path.path = 1;
	ASSERT_EQ(0, flow_add(self->tx, &path));
	seal_one(_metadata, self->tx, &self->to, self->rx, &path, 100);

	ASSERT_EQ(0, flow_state(self->tx, &f, &info));
	EXPECT_EQ(3, info.flows);
	expect_generation(_metadata, &info, 0, 0, 4, 9);
	expect_generation(_metadata, &info, 1, 255, 1, 6);
	ASSERT_EQ(0, flow_state(self->tx, &path, &info));
	expect_generation(_metadata, &info, 0, 0, 4, 101);
	ASSERT_EQ(0, flow_del_gen(self->tx, &f));
	ASSERT_EQ(0, flow_state(self->tx, &f, &info));
	expect_generation(_metadata, &info, 0, 0, 4, 9);
	EXPECT_EQ(0, info.generations[1].installed);

	f.id = 76;
	ASSERT_EQ(-ENOENT, flow_state(self->tx, &f, &info));
	f.id = 77;
	f.path = 1;
	ASSERT_EQ(-ENOENT, flow_state(self->tx, &f, &info));
}

/* Sizes, pointers, and what must not be in it */
TEST_F(quic, info_argument)
{
	struct quic_info info, old;
	uint8_t buf[sizeof(info) + 16];
	socklen_t len = QUIC_INFO_SIZE_VER0 - 1;

	flow_key(&self->flow, &info.key);
	ASSERT_EQ(-1, getsockopt(self->tx, SOL_UDP, UDP_QUIC_INFO, &info,
				 &len));
	ASSERT_EQ(EINVAL, errno);
	len = sizeof(info);
	ASSERT_EQ(-1, getsockopt(self->tx, SOL_UDP, UDP_QUIC_INFO, NULL,
				 &len));
	ASSERT_EQ(EFAULT, errno);
	/* A newer program learns how much is known. */
	memset(buf, 0x5a, sizeof(buf));
	flow_key(&self->flow, (void *)buf);
	len = sizeof(buf);
	ASSERT_EQ(0, getsockopt(self->tx, SOL_UDP, UDP_QUIC_INFO, buf, &len));
	ASSERT_EQ(sizeof(info), len);
	ASSERT_EQ(0x5a, buf[sizeof(info)]);
	ASSERT_EQ(NULL, memmem(buf, len, self->flow.keys.key, 4));
	ASSERT_EQ(NULL, memmem(buf, len, self->flow.keys.iv, 4));
	ASSERT_EQ(NULL, memmem(buf, len, self->flow.keys.hp, 4));
	old = *(struct quic_info *)buf;
	ASSERT_EQ(0, memcmp(&old.key, &info.key, sizeof(info.key)));

	info.key.flags = 1;
	len = sizeof(info);
	ASSERT_EQ(-1, getsockopt(self->tx, SOL_UDP, UDP_QUIC_INFO, &info,
				 &len));
	ASSERT_EQ(EINVAL, errno);
	info.key.flags = 0;
	info.key.reserved = 1;
	ASSERT_EQ(-1, getsockopt(self->tx, SOL_UDP, UDP_QUIC_INFO, &info,
				 &len));
	ASSERT_EQ(EINVAL, errno);
}

/* Addresses that no flow of the socket can have */
TEST_F(quic, info_family)
{
	struct flow f = self->flow;
	struct quic_info info;

	f.dst.ss_family = AF_UNIX;
	EXPECT_EQ(-EAFNOSUPPORT, flow_state(self->tx, &f, &info));
	addr_loopback(&f.dst, AF_INET6, 4433);
	EXPECT_EQ(variant->family == AF_INET ? -EAFNOSUPPORT : -ENOENT,
		  flow_state(self->tx, &f, &info));
	addr_loopback(&f.dst, variant->family, 4433);
	EXPECT_EQ(-ENOENT, flow_state(self->tx, &f, &info));
}

/* Packet numbers */

static ssize_t send_num(int fd, const struct sockaddr_storage *to,
			const struct flow *f, uint64_t expected, uint64_t pn,
			unsigned int pn_len)
{
	struct tx tx;

	batch_init(&batch, f, pn, 1, 100, 100);
	batch.pkt[0].pn_len = pn_len;
	batch_build(&batch);
	tx_init(&tx, fd, to);
	tx_batch(&tx, &batch);
	tx.anc.next_pkt_num = expected;
	return tx_send(&tx);
}

/* Each relative to what the application expects: RFC 9000 A.3 */
TEST_F(quic, pkt_num_decode)
{
	static const struct {
		uint64_t expected, pn;
		uint8_t pn_len;
	} nums[] = {
		{ 0, 0, 1 },
		{ 0, 1, 1 },
		{ 0, 255, 1 },
		{ 2, 128, 1 },
		{ 129, 2, 1 },
		{ 130, 258, 1 },
		{ 200, 254, 1 },
		{ 250, 300, 1 },
		{ 300, 310, 1 },
		{ 310, 301, 2 },
		{ 0xffff, 0x10000, 1 },
		{ 0x10000, 0xfffe, 1 },
		{ 0x18000, 0x10001, 2 },
		{ 0x18000, 0x17fff, 3 },
		{ 0xa82f30eb, 0xa82f9b32, 2 },
		{ 0xa82fffff, 0xa8300010, 3 },
		{ 0xfffffff0, 0x100000010, 4 },
		{ 0x100000010, 0xffffffff, 4 },
		{ 0x3fffffff00000000, 0x3fffffff7fffffff, 4 },
		{ MAX_PKT_NUM - 5, MAX_PKT_NUM - 6, 1 },
		{ MAX_PKT_NUM - 5, MAX_PKT_NUM - 1, 4 },
		{ MAX_PKT_NUM, MAX_PKT_NUM, 1 },
		{ MAX_PKT_NUM, MAX_PKT_NUM - 2, 2 },
		{ MAX_PKT_NUM, MAX_PKT_NUM - 3, 3 },
		{ MAX_PKT_NUM, MAX_PKT_NUM - 4, 4 },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(nums); i++) {
		uint64_t mask = (1ULL << (8 * nums[i].pn_len)) - 1;

		/* Is the table right? */
		ASSERT_EQ(nums[i].pn, pkt_num_decode(nums[i].expected,
						     nums[i].pn & mask,
						     nums[i].pn_len));
		ASSERT_EQ(84, send_num(self->tx, &self->to, &self->flow,
				       nums[i].expected, nums[i].pn,
				       nums[i].pn_len))
			TH_LOG("expected %llx, number %llx",
			       (unsigned long long)nums[i].expected,
			       (unsigned long long)nums[i].pn);
		expect_batch(_metadata, self->rx, &batch);
	}
}

/* What the truncated number means depends on the one expected. */
TEST_F(quic, pkt_num_expected)
{
	struct flow *f = &self->flow;
	unsigned int len;

	for (len = 1; len <= 4; len++) {
		uint64_t win = 1ULL << (8 * len), base = 16 * win * len;

		ASSERT_EQ(84, send_num(self->tx, &self->to, f, base,
				       base + win / 2, len));
		expect_batch(_metadata, self->rx, &batch);
		/* The same bytes, one window on */
		ASSERT_EQ(84, send_num(self->tx, &self->to, f, base + win,
				       base + win + win / 2, len));
		expect_batch(_metadata, self->rx, &batch);
	}
	ASSERT_EQ(-EINVAL, send_num(self->tx, &self->to, f, MAX_PKT_NUM + 1,
				    MAX_PKT_NUM, 4));
	ASSERT_EQ(-EINVAL, send_num(self->tx, &self->to, f, ~0ULL, 1, 4));
	expect_nothing(_metadata, self->rx);
}

/* In a batch each is relative to the one before. */
TEST_F(quic, pkt_num_gaps)
{
	static const uint16_t gaps[] = { 0, 1, 5, 127, 1, 128, 300, 1, 9 };
	uint64_t pn = 0xfff0;
	unsigned int i;

	batch_init(&batch, &self->flow, pn, ARRAY_SIZE(gaps), 80, 80);
	for (i = 0; i < ARRAY_SIZE(gaps); i++) {
		pn += gaps[i];
		batch.pkt[i].pn = pn;
		batch.pkt[i].pn_len = gaps[i] > 128 ? 2 : 1;
	}
	seal_batch(_metadata, self->tx, &self->to, self->rx, &batch);
	/* What was left out can be used, what was not left out cannot. */
	seal_one(_metadata, self->tx, &self->to, self->rx, &self->flow,
		 0xfff2);
	ASSERT_EQ(-EALREADY,
		  send_one(self->tx, &self->to, &self->flow, 0xfff1));
	ASSERT_EQ(-EALREADY, send_one(self->tx, &self->to, &self->flow, pn));
}

TEST_F(quic, pkt_num_last)
{
	batch_init(&batch, &self->flow, MAX_PKT_NUM - 2, 3, 80, 80);
	seal_batch(_metadata, self->tx, &self->to, self->rx, &batch);
	ASSERT_EQ(-EALREADY, send_one(self->tx, &self->to, &self->flow,
				      MAX_PKT_NUM));
	/* There is no number after the last. */
	ASSERT_EQ(0, flow_del(self->tx, &self->flow));
	keys_init(&self->flow.keys, TLS_CIPHER_AES_GCM_128);
	ASSERT_EQ(0, flow_add(self->tx, &self->flow));
	batch_init(&batch, &self->flow, MAX_PKT_NUM, 2, 80, 80);
	ASSERT_EQ(-EINVAL, send_batch(self->tx, &self->to, &batch));
	seal_one(_metadata, self->tx, &self->to, self->rx, &self->flow,
		 MAX_PKT_NUM);
	expect_nothing(_metadata, self->rx);
}

TEST_F(quic, pkt_num_window)
{
	enum { TOP = 100000, WINDOW = 4096 };
	struct flow *f = &self->flow;
	unsigned int i;

	seal_one(_metadata, self->tx, &self->to, self->rx, f, TOP);
	ASSERT_EQ(-EALREADY, send_one(self->tx, &self->to, f, TOP));
	ASSERT_EQ(-EALREADY, send_one(self->tx, &self->to, f, 0));
	ASSERT_EQ(-EALREADY, send_one(self->tx, &self->to, f,
				      TOP - WINDOW - 1));
	for (i = 1; i < WINDOW; i += 455) {
		seal_one(_metadata, self->tx, &self->to, self->rx, f, TOP - i);
		ASSERT_EQ(-EALREADY,
			  send_one(self->tx, &self->to, f, TOP - i));
	}
	/* The window moves on and what it still has is not forgotten. */
	seal_one(_metadata, self->tx, &self->to, self->rx, f, TOP + 1000);
	ASSERT_EQ(-EALREADY, send_one(self->tx, &self->to, f, TOP));
	ASSERT_EQ(-EALREADY, send_one(self->tx, &self->to, f,
				      TOP + 1000 - WINDOW - 1));
	seal_one(_metadata, self->tx, &self->to, self->rx, f, TOP + 2);
	/* What it has left behind does not come back as what is ahead. */
	seal_one(_metadata, self->tx, &self->to, self->rx, f, TOP + 4000);
	seal_one(_metadata, self->tx, &self->to, self->rx, f, TOP + WINDOW);
	/* All of it is new after a leap. */
	seal_one(_metadata, self->tx, &self->to, self->rx, f, 2 * TOP);
	seal_one(_metadata, self->tx, &self->to, self->rx, f,
		 2 * TOP - WINDOW + 1);
	expect_nothing(_metadata, self->rx);
}

/* A number that a packet of the call has already makes the call fail. */
TEST_F(quic, pkt_num_reuse_in_batch)
{
	struct flow *f = &self->flow;

	seal_one(_metadata, self->tx, &self->to, self->rx, f, 12);
	batch_init(&batch, f, 10, 3, 80, 80);
	ASSERT_EQ(-EALREADY, send_batch(self->tx, &self->to, &batch));
	batch_init(&batch, f, 10, 3, 80, 80);
	batch.pkt[2].pn = 10;
	ASSERT_EQ(-EALREADY, send_batch(self->tx, &self->to, &batch));
	/* Nothing was used up. */
	batch_init(&batch, f, 10, 2, 80, 80);
	seal_batch(_metadata, self->tx, &self->to, self->rx, &batch);
	expect_nothing(_metadata, self->rx);
}

/* Errors */

static enum counter reason_of(int err)
{
	switch (err) {
	case -ENOENT:
		return TX_NO_FLOW;
	case -ENOKEY:
		return TX_NO_KEY;
	case -EALREADY:
		return TX_PKT_NUM_REUSE;
	case -EKEYEXPIRED:
		return TX_KEY_LIMIT;
	case -EINVAL:
	case -EBADMSG:
	case -EMSGSIZE:
		return TX_MALFORMED;
	default:
		return TX_OTHER_ERROR;
	}
}

/* Between @old and now: one failed call, for this reason, nothing else */
static void expect_failure(struct __test_metadata *_metadata,
			   const struct counters *old, int err)
{
	enum counter reason = reason_of(err);
	struct counters now;
	int i;

	ASSERT_EQ(0, counters_read(&now));
	for (i = 0; i < NR_COUNTERS; i++) {
		EXPECT_EQ(old->v[i] + (i == TX_SW_ERROR || i == reason),
			  now.v[i])
			TH_LOG("counter %d", i);
	}
}

/* What there is of the marker on the wire */
static unsigned int capture_markers(int fd)
{
	unsigned int n = 0;
	ssize_t len;

	while ((len = rx_recv(fd, rxbuf, sizeof(rxbuf), 0)) >= 0)
		n += has_marker(rxbuf, len < (ssize_t)sizeof(rxbuf) ?
					len : (ssize_t)sizeof(rxbuf));
	return n;
}

/**
 * struct bad_call - how a call differs from one that works
 * @name: for messages
 * @err: what must come of it
 * @n: packets, 3 where 0
 * @size: of each on the wire, 100 where 0
 * @last: of the last on the wire, @size where 0
 * @cut: bytes of plaintext left out at the end
 * @poke: this byte of the plaintext...
 * @bits: ...has these bits changed
 * @pn_len: bytes of the packet numbers, 4 where 0
 * @same_pn: all packets have the same number
 * @room: tag room
 * @gso: of the UDP_SEGMENT cmsg, @size where 0
 * @no_gso: no such cmsg
 * @anc_flags: flags of the QUIC cmsg
 * @cid_len: what the QUIC cmsg has more of a connection ID
 * @next_pn: bits changed in next_pkt_num
 * @anc_len: bytes that the QUIC cmsg has too many
 * @n_anc: QUIC cmsgs there are too many
 * @flow_id: in the QUIC cmsg
 * @flags: of sendmsg
 * @level: of an option that is set to 1 while the call is made
 * @opt: the option
 */
struct bad_call {
	char name[32];
	int err;
	unsigned int n;
	size_t size;
	size_t last;
	size_t cut;
	unsigned int poke;
	uint8_t bits;
	uint8_t pn_len;
	bool same_pn;
	bool room;
	uint16_t gso;
	bool no_gso;
	uint8_t anc_flags;
	uint8_t cid_len;
	uint64_t next_pn;
	int anc_len;
	unsigned int n_anc;
	uint32_t flow_id;
	int flags;
	int level;
	int opt;
};

#define FLOW_ID		0x51c	/* of the flow that the calls are for */
#define HDR		13	/* of their packets */
#define PLAIN		84

static const struct bad_call bad_calls[] = {
	{ "short cmsg", -EINVAL, .anc_len = -1 },
	{ "empty cmsg", -EINVAL, .anc_len = -16 },
	{ "long cmsg", -EINVAL, .anc_len = 1 },
	{ "longer cmsg", -EINVAL, .anc_len = 8 },
	{ "two cmsgs", -EINVAL, .n_anc = 1 },
	{ "unknown flag", -EINVAL, .anc_flags = 0x08 },
	{ "last flag", -EINVAL, .anc_flags = 0x80 },
	{ "bypass with room", -EINVAL, .room = true,
	  .anc_flags = QUIC_BYPASS_ENCRYPTION },
	{ "bypass with flow", -EINVAL, .flow_id = FLOW_ID,
	  .anc_flags = QUIC_BYPASS_ENCRYPTION | QUIC_TX_FLOW_ID },
	{ "bypass and unknown", -EINVAL,
	  .anc_flags = QUIC_BYPASS_ENCRYPTION | 0x40 },
	{ "number too large", -EINVAL, .next_pn = 1ULL << 62 },
	{ "number far too large", -EINVAL, .next_pn = 1ULL << 63 },
	{ "CID too long", -EINVAL, .cid_len = 21 - 8 },
	{ "CID of 255", -EINVAL, .cid_len = 255 - 8 },
	{ "CID cut off", -ENOENT, .cid_len = 256 - 1 },
	{ "CID with one more", -ENOENT, .cid_len = 1 },
	{ "no CID", -ENOENT, .cid_len = 256 - 8 },
	{ "unknown CID", -ENOENT, .n = 1, .poke = 8, .bits = 1 },
	{ "unknown CID first", -ENOENT, .poke = 8, .bits = 1 },
	{ "other CID second", -EBADMSG, .poke = PLAIN + 8, .bits = 1 },
	{ "other CID last", -EBADMSG, .poke = 2 * PLAIN + 1, .bits = 0x80 },
	{ "no key for phase", -ENOKEY, .n = 1, .bits = HDR_PHASE },
	{ "other phase second", -EBADMSG, .poke = PLAIN, .bits = HDR_PHASE },
	{ "other phase last", -EBADMSG, .poke = 2 * PLAIN, .bits = HDR_PHASE },
	{ "long header", -EINVAL, .n = 1, .bits = HDR_LONG },
	{ "long header first", -EINVAL, .bits = HDR_LONG },
	{ "long header second", -EINVAL, .poke = PLAIN, .bits = HDR_LONG },
	{ "long header last", -EINVAL, .poke = 2 * PLAIN, .bits = HDR_LONG },
	{ "no sample", -EINVAL, .n = 1, .size = HDR + TAG, .cut = 1,
	  .no_gso = true },
	{ "no sample, one byte number", -EINVAL, .n = 1, .pn_len = 1,
	  .size = HDR - 3 + 3 + TAG, .cut = 1, .no_gso = true },
	{ "no sample in last", -EINVAL, .last = HDR + TAG, .cut = 1 },
	{ "header only in last", -EINVAL, .last = HDR + TAG, .cut = HDR - 1 },
	{ "one byte", -EINVAL, .n = 1, .cut = PLAIN - 1, .no_gso = true },
	{ "nothing", -EINVAL, .n = 1, .cut = PLAIN, .no_gso = true },
	{ "nothing with GSO", -EINVAL, .n = 1, .cut = PLAIN },
	{ "nothing but room", -EINVAL, .n = 1, .room = true, .cut = PLAIN,
	  .no_gso = true },
	{ "less than room", -EINVAL, .n = 1, .room = true, .cut = PLAIN + 1,
	  .no_gso = true },
	{ "room and no sample", -EINVAL, .n = 1, .size = HDR + TAG,
	  .cut = 1, .room = true, .no_gso = true },
	{ "room and less than it last", -EINVAL, .room = true,
	  .last = HDR + TAG, .cut = HDR + 5 },
	{ "GSO size 1", -EINVAL, .n = 1, .gso = 1 },
	{ "GSO size 15", -EINVAL, .n = 1, .gso = 15 },
	{ "GSO size 16", -EINVAL, .n = 1, .gso = 16 },
	{ "GSO size 17", -EINVAL, .n = 1, .gso = 17 },
	{ "GSO size 16 with room", -EINVAL, .n = 1, .gso = 16, .room = true },
	{ "GSO size short of a sample", -EINVAL, .n = 1,
	  .gso = HDR + TAG - 1 },
	{ "wrong GSO size", -EBADMSG, .gso = 99 },
	{ "129 packets", -EINVAL, .n = 129 },
	{ "129 packets with room", -EINVAL, .n = 129, .room = true },
	{ "more than a datagram", -EMSGSIZE, .n = 1, .size = 65508 + 20,
	  .no_gso = true },
	{ "more than a datagram has", -EMSGSIZE, .n = 1, .size = 65536 + TAG,
	  .no_gso = true },
	{ "more than 64 KB with room", -EMSGSIZE, .n = 1, .size = 66000,
	  .room = true, .no_gso = true },
	{ "packets of more than 64 KB", -EMSGSIZE, .n = 65, .size = 1010 },
	{ "same number twice", -EALREADY, .same_pn = true },
	{ "MSG_MORE", -EINVAL, .flags = MSG_MORE },
	{ "UDP_CORK", -EINVAL, .level = SOL_UDP, .opt = 1 /* UDP_CORK */ },
	{ "MSG_OOB", -EOPNOTSUPP, .flags = MSG_OOB },
	{ "MSG_ZEROCOPY and no flow", -ENOENT, .flags = MSG_ZEROCOPY,
	  .level = SOL_SOCKET, .opt = SO_ZEROCOPY, .cid_len = 1 },
	{ "flow_id unknown", -ENOENT, .anc_flags = QUIC_TX_FLOW_ID,
	  .flow_id = FLOW_ID + 1 },
	{ "flow_id 0", -ENOENT, .anc_flags = QUIC_TX_FLOW_ID },
	{ "flow_id and CID beyond packet", -EINVAL, .n = 1, .size = 24 + TAG,
	  .anc_flags = QUIC_TX_FLOW_ID, .flow_id = FLOW_ID, .cid_len = 12,
	  .no_gso = true },
	{ "flow_id and long header", -EINVAL, .n = 1, .bits = HDR_LONG,
	  .anc_flags = QUIC_TX_FLOW_ID, .flow_id = FLOW_ID },
	{ "flow_id and other CID", -EBADMSG, .anc_flags = QUIC_TX_FLOW_ID,
	  .flow_id = FLOW_ID, .poke = 3, .bits = 0x10 },
	{ "flow_id and no key", -ENOKEY, .n = 1, .bits = HDR_PHASE,
	  .anc_flags = QUIC_TX_FLOW_ID, .flow_id = FLOW_ID },
	{ "no checksum, IPv4", -EINVAL, .level = SOL_SOCKET,
	  .opt = SO_NO_CHECK },
	{ "no checksum, IPv6", -EINVAL, .level = SOL_UDP,
	  .opt = 101 /* UDP_NO_CHECK6_TX */ },
};

static void bad_call_packets(const struct bad_call *c, struct batch *b,
			     const struct flow *f, uint64_t pn)
{
	size_t size = c->size ?: 100;
	unsigned int i;

	batch_init(b, f, pn, c->n ?: 3, size, c->last ?: size);
	for (i = 0; i < b->n; i++) {
		b->pkt[i].pn_len = c->pn_len ?: 4;
		if (c->same_pn)
			b->pkt[i].pn = pn;
	}
	b->room = c->room;
	batch_build(b);
	b->plain_len -= c->cut;
	b->plain[c->poke] ^= c->bits;
}

static ssize_t bad_call_send(const struct bad_call *c, int fd,
			     const struct sockaddr_storage *to,
			     const struct flow *f, uint64_t pn)
{
	struct tx tx;
	ssize_t ret;

	bad_call_packets(c, &batch, f, pn);
	tx_init(&tx, fd, to);
	tx_batch(&tx, &batch);
	tx.gso = c->no_gso ? 0 : c->gso ?: batch.size;
	tx.anc.flags |= c->anc_flags;
	tx.anc.conn_id_length += c->cid_len;
	tx.anc.next_pkt_num ^= c->next_pn;
	tx.anc.flow_id = c->flow_id;
	tx.anc_len += c->anc_len;
	tx.n_anc += c->n_anc;
	tx.flags = c->flags;
	if (c->level)
		set_int(fd, c->level, c->opt, 1);
	ret = tx_send(&tx);
	if (c->level)
		set_int(fd, c->level, c->opt, 0);
	return ret;
}

/*
 * Each call fails as it should, is counted, leaves no trace on the wire, and
 * uses up nothing: neither with the packet numbers at hand, nor with ones far
 * ahead, which would leave those at hand behind the window.
 */
TEST_F_TIMEOUT(quic, error_sendmsg, 120)
{
	int cap = capture_open();
	struct flow flows[2];
	uint64_t pn = 0;
	unsigned int i;

	if (cap < 0)
		SKIP(return, "AF_PACKET: %s", strerror(-cap));
	for (i = 0; i < 2; i++) {
		flow_init(&flows[i], TLS_CIPHER_AES_GCM_128, 8);
		flows[i].id = i ? FLOW_ID : 0;
		ASSERT_EQ(0, flow_add(self->tx, &flows[i]));
	}
	for (i = 0; i < ARRAY_SIZE(bad_calls); i++) {
		const struct bad_call *c = &bad_calls[i];
		struct flow f = flows[!!(c->anc_flags & QUIC_TX_FLOW_ID)];
		struct counters old;

		ASSERT_EQ(0, counters_read(&old));
		EXPECT_EQ(c->err, bad_call_send(c, self->tx, &self->to, &f,
						pn + (1 << 20)))
			TH_LOG("%s, far ahead", c->name);
		expect_failure(_metadata, &old, c->err);
		if (_metadata->exit_code)
			TH_LOG("%s, or before", c->name);
		EXPECT_EQ(c->err, bad_call_send(c, self->tx, &self->to, &f,
						pn))
			TH_LOG("%s", c->name);
		expect_nothing(_metadata, self->rx);
		EXPECT_EQ(0, capture_markers(cap))
			TH_LOG("%s: plaintext on the wire", c->name);

		batch_init(&batch, &f, pn, 3, 100, 100);
		seal_batch(_metadata, self->tx, &self->to, self->rx, &batch);
		pn += 3;
	}
	close(cap);
}

/* The capture sees plaintext where there is some. */
TEST_F(quic, bypass)
{
	int cap = capture_open();
	struct counters old, now;
	unsigned int i;
	struct tx tx;

	if (cap < 0)
		SKIP(return, "AF_PACKET: %s", strerror(-cap));
	ASSERT_EQ(0, counters_read(&old));
	batch_init(&batch, &self->flow, 1, 3, 100, 100);
	batch_build(&batch);
	tx_init(&tx, self->tx, &self->to);
	tx_batch(&tx, &batch);
	tx.gso = PLAIN;
	tx.anc.flags = QUIC_BYPASS_ENCRYPTION;
	tx.anc.conn_id_length = 255;
	ASSERT_EQ(3 * PLAIN, tx_send(&tx));
	for (i = 0; i < 3; i++) {
		ASSERT_EQ(PLAIN, rx_recv(self->rx, rxbuf, sizeof(rxbuf),
					 RX_TIMEOUT));
		ASSERT_EQ(0, memcmp(rxbuf, batch.plain + i * PLAIN, PLAIN));
	}
	ASSERT_LT(0, capture_markers(cap));
	/* Long headers, too; and no number was used up. */
	batch.plain[0] |= HDR_LONG;
	tx.gso = 0;
	ASSERT_EQ(3 * PLAIN, tx_send(&tx));
	ASSERT_EQ(3 * PLAIN, rx_recv(self->rx, rxbuf, sizeof(rxbuf),
				     RX_TIMEOUT));
	ASSERT_EQ(0, memcmp(rxbuf, batch.plain, 3 * PLAIN));
	ASSERT_EQ(0, counters_read(&now));
	ASSERT_EQ(0, memcmp(&old, &now, sizeof(now)));
	seal_one(_metadata, self->tx, &self->to, self->rx, &self->flow, 1);
}

/* What only probes the path seals nothing. */
TEST_F(quic, probe)
{
	struct counters old, now;
	struct tx tx;

	ASSERT_EQ(0, counters_read(&old));
	batch_init(&batch, &self->flow, 1, 3, 100, 100);
	batch_build(&batch);
	tx_init(&tx, self->tx, &self->to);
	tx_batch(&tx, &batch);
	tx.gso = 100;
	tx.flags = 0x10 /* MSG_PROBE */;
	ASSERT_EQ(3 * PLAIN, tx_send(&tx));
	expect_nothing(_metadata, self->rx);
	ASSERT_EQ(0, counters_read(&now));
	ASSERT_EQ(0, memcmp(&old, &now, sizeof(now)));
	seal_batch(_metadata, self->tx, &self->to, self->rx, &batch);
}

/* Greased and reserved bits are the application's. */
TEST_F(quic, first_byte)
{
	static const uint8_t first[] = {
		0, HDR_FIXED | HDR_SPIN, HDR_SPIN, HDR_RESERVED,
		HDR_FIXED | HDR_RESERVED | HDR_SPIN,
	};
	unsigned int i;

	batch_init(&batch, &self->flow, 1, ARRAY_SIZE(first), 100, 100);
	for (i = 0; i < ARRAY_SIZE(first); i++)
		batch.pkt[i].first = first[i];
	seal_batch(_metadata, self->tx, &self->to, self->rx, &batch);
}

TEST_F(quic, error_address)
{
	struct sockaddr_storage to = self->to;
	struct counters old;
	struct msghdr msg;
	struct tx tx;

	ASSERT_EQ(0, counters_read(&old));
	ASSERT_EQ(-EDESTADDRREQ, send_one(self->tx, NULL, &self->flow, 1));
	expect_failure(_metadata, &old, -EDESTADDRREQ);
	tx_init(&tx, self->tx, &to);
	tx_batch(&tx, &batch);
	tx_msg(&tx, &msg);
	msg.msg_namelen = 1;
	ASSERT_EQ(-1, sendmsg(self->tx, &msg, 0));
	ASSERT_EQ(EINVAL, errno);
	msg.msg_namelen = addr_len(&to);
	to.ss_family = AF_UNIX;
	ASSERT_EQ(-1, sendmsg(self->tx, &msg, 0));
	ASSERT_NE(0, errno);
	((struct sockaddr_in *)&to)->sin_port = 0;
	to.ss_family = variant->family;
	ASSERT_EQ(-1, sendmsg(self->tx, &msg, 0));
	ASSERT_EQ(EINVAL, errno);
	seal_one(_metadata, self->tx, &self->to, self->rx, &self->flow, 1);
}

/* Without the ULP no one understands the cmsg: that is an error, too. */
TEST_F(quic, error_no_ulp)
{
	int fd = sock_udp(variant->family);
	struct counters old, now;
	struct tx tx;

	ASSERT_EQ(0, counters_read(&old));
	ASSERT_EQ(-EINVAL, send_one(fd, &self->to, &self->flow, 1));
	tx_init(&tx, fd, &self->to);
	tx_batch(&tx, &batch);
	tx.anc.flags = QUIC_BYPASS_ENCRYPTION;
	ASSERT_EQ(-EINVAL, tx_send(&tx));
	/* The ULP and no flow */
	ASSERT_EQ(0, attach_ulp(fd));
	ASSERT_EQ(-ENOENT, send_one(fd, &self->to, &self->flow, 1));
	expect_nothing(_metadata, self->rx);
	ASSERT_EQ(0, counters_read(&now));
	ASSERT_EQ(old.v[TX_SW_ERROR] + 1, now.v[TX_SW_ERROR]);
	ASSERT_EQ(0, flow_add(fd, &self->flow));
	seal_one(_metadata, fd, &self->to, self->rx, &self->flow, 1);
	close(fd);
}

static int lo_set_mtu(int mtu)
{
	struct ifreq ifr = { .ifr_name = "lo", .ifr_mtu = mtu };
	int fd = sock_udp(AF_INET), ret;

	ret = ioctl(fd, SIOCSIFMTU, &ifr);
	close(fd);
	return ret;
}

/* No packet is to become fragments: the tag counts. */
TEST_F(quic, error_mtu)
{
	size_t hlen = variant->family == AF_INET ? 28 : 48;
	size_t max = 1500 - hlen;
	int tx, rx;

	ASSERT_EQ(0, netns_enter());
	ASSERT_EQ(0, lo_set_mtu(1500));
	tx = sock_udp(variant->family);
	rx = sock_bound(variant->family, &self->to);
	ASSERT_EQ(0, flow_add(tx, &self->flow));

	batch_init(&batch, &self->flow, 1, 1, max + 1, max + 1);
	EXPECT_EQ(-EMSGSIZE, send_batch(tx, &self->to, &batch));
	batch.pkt[0].len = max + TAG;
	EXPECT_EQ(-EMSGSIZE, send_batch(tx, &self->to, &batch));
	batch.pkt[0].len = 9000;
	EXPECT_EQ(-EMSGSIZE, send_batch(tx, &self->to, &batch));
	batch_init(&batch, &self->flow, 1, 2, max + 1, max + 1);
	EXPECT_EQ(-EMSGSIZE, send_batch(tx, &self->to, &batch));
	batch_init(&batch, &self->flow, 1, 2, max + 1, 100);
	batch.room = true;
	EXPECT_EQ(-EMSGSIZE, send_batch(tx, &self->to, &batch));
	expect_nothing(_metadata, rx);

	batch_init(&batch, &self->flow, 1, 1, max, max);
	seal_batch(_metadata, tx, &self->to, rx, &batch);
	batch_init(&batch, &self->flow, 2, 4, max, max);
	seal_batch(_metadata, tx, &self->to, rx, &batch);

	/* One packet counts with its own size, whatever the GSO size is. */
	ASSERT_EQ(0, lo_set_mtu(1280));
	ASSERT_EQ(0, set_int(tx, SOL_UDP, UDP_SEGMENT, 1400));
	batch_init(&batch, &self->flow, 6, 1, 1000, 1000);
	seal_batch(_metadata, tx, &self->to, rx, &batch);
	batch_init(&batch, &self->flow, 7, 1, 1400, 1400);
	EXPECT_EQ(-EMSGSIZE, send_batch(tx, &self->to, &batch));
	close(tx);
	close(rx);
}

/* The MTU shrinks behind the back of a connected socket. */
TEST_F(quic, error_mtu_lowered)
{
	bool v4 = variant->family == AF_INET;
	size_t max = 1500 - (v4 ? 28 : 48);
	struct counters old, now;
	int tx, rx;

	ASSERT_EQ(0, netns_enter());
	ASSERT_EQ(0, lo_set_mtu(1500));
	tx = sock_udp(variant->family);
	rx = sock_bound(variant->family, &self->to);
	ASSERT_EQ(0, flow_add(tx, &self->flow));
	ASSERT_EQ(0, v4 ? set_int(tx, SOL_IP, IP_MTU_DISCOVER,
				  IP_PMTUDISC_DO) :
			  set_int(tx, SOL_IPV6, IPV6_MTU_DISCOVER,
				  IPV6_PMTUDISC_DO));
	ASSERT_EQ(0, connect(tx, (void *)&self->to, addr_len(&self->to)));
	batch_init(&batch, &self->flow, 1, 2, max, max);
	seal_batch(_metadata, tx, NULL, rx, &batch);

	ASSERT_EQ(0, lo_set_mtu(1280));
	ASSERT_EQ(0, counters_read(&old));
	batch_init(&batch, &self->flow, 3, 1, max, max);
	ASSERT_EQ(-EMSGSIZE, send_batch(tx, NULL, &batch));
	batch_init(&batch, &self->flow, 3, 2, max, max);
	ASSERT_EQ(-EMSGSIZE, send_batch(tx, NULL, &batch));
	ASSERT_EQ(0, counters_read(&now));
	EXPECT_EQ(old.v[TX_MALFORMED] + 2, now.v[TX_MALFORMED]);
	EXPECT_EQ(old.v[TX_LOST], now.v[TX_LOST]);
	/* Neither has used up a number. */
	max -= 1500 - 1280;
	batch_init(&batch, &self->flow, 3, 2, max, max);
	seal_batch(_metadata, tx, NULL, rx, &batch);
	close(tx);
	close(rx);
}

/* The longest datagram there is; the device would take a longer one. */
TEST_F(quic, error_datagram)
{
	bool v4 = variant->family == AF_INET;
	size_t max = v4 ? 65507 : 65527;
	int tx, rx, room;

	ASSERT_EQ(0, netns_enter());
	ASSERT_EQ(0, lo_set_mtu(70000));
	tx = sock_udp(variant->family);
	rx = sock_bound(variant->family, &self->to);
	ASSERT_EQ(0, flow_add(tx, &self->flow));
	for (room = 0; room < 2; room++) {
		batch_init(&batch, &self->flow, room, 1, max + 1, max + 1);
		batch.room = room;
		EXPECT_EQ(-EMSGSIZE, send_batch(tx, &self->to, &batch));
		batch.pkt[0].len = max;
		seal_batch(_metadata, tx, &self->to, rx, &batch);
	}
	close(tx);
	close(rx);
}

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
	uint32_t val;
	int len;
};

/* Offsets as asserted above */
static const struct bad_info bad_infos[] = {
	{ "one byte short", -EINVAL, .len = -9 },
	{ "key only", -EINVAL, .len = -88 },
	{ "empty", -EINVAL, .len = -248 },
	{ "tail not zero", -E2BIG, 248, 1, 1, .len = 1 },
	{ "end of tail not zero", -E2BIG, 279, 1, 0x80, .len = 32 },
	{ "generation", -EINVAL, 21, 1, QUIC_CONN_GENERATION },
	{ "all", -EINVAL, 21, 1, QUIC_CONN_ALL },
	{ "alias", -EINVAL, 21, 1, QUIC_CONN_ALIAS },
	{ "unknown flag", -EINVAL, 21, 1, 8 },
	{ "high flag", -EINVAL, 21, 1, 0x80 },
	{ "reserved", -EINVAL, 22, 2, 0x100 },
	{ "flow_id and CID", -EINVAL, 24, 4, 1 },
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
};

static ssize_t bad_info_add(const struct bad_info *bad, int fd,
			    const struct flow *f)
{
	uint8_t buf[sizeof(struct quic_connection_info) + 32] = {};
	uint16_t val16 = bad->val;

	flow_info(f, (void *)buf);
	if (bad->size == 1)
		buf[bad->off] = bad->val;
	else if (bad->size == 2)
		memcpy(buf + bad->off, &val16, 2);
	else
		memcpy(buf + bad->off, &bad->val, bad->size);
	return setsockopt(fd, SOL_UDP, UDP_QUIC_ADD_TX_CONNECTION, buf,
			  sizeof(struct quic_connection_info) + bad->len) ?
	       -errno : 0;
}

/* A refused flow is not there, and those that are there stay. */
TEST_F(quic, error_add)
{
	struct counters old, now;
	struct flow f;
	unsigned int i;

	flow_init(&f, TLS_CIPHER_AES_GCM_128, 8);
	ASSERT_EQ(0, counters_read(&old));
	for (i = 0; i < ARRAY_SIZE(bad_infos); i++) {
		EXPECT_EQ(bad_infos[i].err,
			  bad_info_add(&bad_infos[i], self->tx, &f))
			TH_LOG("%s", bad_infos[i].name);
	}
	ASSERT_EQ(0, counters_read(&now));
	EXPECT_EQ(0, memcmp(&old, &now, sizeof(now)));
	EXPECT_EQ(-ENOENT, send_one(self->tx, &self->to, &f, 1));
	expect_nothing(_metadata, self->rx);
	seal_one(_metadata, self->tx, &self->to, self->rx, &self->flow, 1);
	/* The same without what was wrong; with a tail of zeros */
	ASSERT_EQ(0, bad_info_add(&(struct bad_info){ .len = 32 }, self->tx,
				  &f));
	seal_one(_metadata, self->tx, &self->to, self->rx, &f, 1);
	ASSERT_EQ(0, flow_del(self->tx, &f));
	/* As it was before it has grown, and half-way */
	ASSERT_EQ(0, bad_info_add(&(struct bad_info){ .len = -8 }, self->tx,
				  &f));
	ASSERT_EQ(-EEXIST, bad_info_add(&(struct bad_info){ .len = -3 },
					self->tx, &f));
	seal_one(_metadata, self->tx, &self->to, self->rx, &f, 2);
}

/* An argument may be a page long, if what follows the struct is zeros. */
TEST_F(quic, error_add_page)
{
	size_t page = sysconf(_SC_PAGESIZE);
	struct quic_connection_info ci;
	struct flow f;

	flow_init(&f, TLS_CIPHER_AES_GCM_128, 8);
	flow_info(&f, &ci);
	EXPECT_EQ(-E2BIG, option_padded(self->tx, UDP_QUIC_ADD_TX_CONNECTION,
					&ci, page + 1));
	EXPECT_EQ(-ENOENT, flow_del(self->tx, &f));
	EXPECT_EQ(0, option_padded(self->tx, UDP_QUIC_ADD_TX_CONNECTION, &ci,
				   page));
	seal_one(_metadata, self->tx, &self->to, self->rx, &f, 1);
	EXPECT_EQ(-E2BIG, option_padded(self->tx, UDP_QUIC_DEL_TX_CONNECTION,
					&ci, page + 1));
	EXPECT_EQ(0, option_padded(self->tx, UDP_QUIC_DEL_TX_CONNECTION, &ci,
				   page));
	EXPECT_EQ(-ENOENT, flow_del(self->tx, &f));
}

/* None of it attaches the ULP either. */
TEST_F(quic, error_add_unattached)
{
	char name[16] = "";
	socklen_t len = sizeof(name);
	struct flow f;
	unsigned int i;
	int fd = sock_udp(variant->family);

	flow_init(&f, TLS_CIPHER_AES_GCM_128, 8);
	for (i = 0; i < ARRAY_SIZE(bad_infos); i++) {
		EXPECT_EQ(bad_infos[i].err,
			  bad_info_add(&bad_infos[i], fd, &f))
			TH_LOG("%s", bad_infos[i].name);
	}
	getsockopt(fd, SOL_UDP, UDP_ULP, name, &len);
	EXPECT_STREQ("", name);
	EXPECT_EQ(-EINVAL, send_one(fd, &self->to, &f, 1));
	close(fd);
}

TEST_F(quic, error_add_address)
{
	struct flow f;

	flow_init(&f, TLS_CIPHER_AES_GCM_128, 8);
	addr_loopback(&f.dst, AF_INET6, 4433);
	ASSERT_EQ(variant->family == AF_INET ? -EAFNOSUPPORT : 0,
		  flow_add(self->tx, &f));
	f.cid[1] ^= 1;
	keys_init(&f.keys, TLS_CIPHER_AES_GCM_128);
	addr_loopback(&f.dst, variant->family, 0);
	ASSERT_EQ(-EINVAL, flow_add(self->tx, &f));
	addr_loopback(&f.dst, AF_INET, 0);
	ASSERT_EQ(-EINVAL, flow_add(self->tx, &f));
	addr_mapped(&f.dst);
	ASSERT_EQ(-EINVAL, flow_add(self->tx, &f));
}

/* Arguments that are not all there */
TEST_F(quic, error_fault)
{
	size_t page = sysconf(_SC_PAGESIZE);
	struct quic_connection_info *ci;
	struct flow f;
	uint8_t *p;

	flow_init(&f, TLS_CIPHER_AES_GCM_128, 8);
	p = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, (void *)p);
	ASSERT_EQ(0, mprotect(p + page, page, PROT_NONE));
	ci = (void *)(p + page - sizeof(*ci));
	flow_info(&f, ci);

	ASSERT_EQ(-1, setsockopt(self->tx, SOL_UDP, UDP_QUIC_ADD_TX_CONNECTION,
				 (char *)ci + 1, sizeof(*ci)));
	ASSERT_EQ(EFAULT, errno);
	ASSERT_EQ(-1, setsockopt(self->tx, SOL_UDP, UDP_QUIC_ADD_TX_CONNECTION,
				 ci, sizeof(*ci) + 1));
	ASSERT_EQ(EFAULT, errno);
	ASSERT_EQ(-1, setsockopt(self->tx, SOL_UDP, UDP_QUIC_ADD_TX_CONNECTION,
				 NULL, sizeof(*ci)));
	ASSERT_EQ(EFAULT, errno);
	ASSERT_EQ(-1, setsockopt(self->tx, SOL_UDP, UDP_QUIC_DEL_TX_CONNECTION,
				 NULL, sizeof(*ci)));
	ASSERT_EQ(EFAULT, errno);
	ASSERT_EQ(0, setsockopt(self->tx, SOL_UDP, UDP_QUIC_ADD_TX_CONNECTION,
				ci, sizeof(*ci)));
	seal_one(_metadata, self->tx, &self->to, self->rx, &f, 1);
	/* DEL reads the key, not more. */
	p += page - sizeof(ci->key);
	flow_key(&f, (void *)p);
	ASSERT_EQ(0, setsockopt(self->tx, SOL_UDP, UDP_QUIC_DEL_TX_CONNECTION,
				p, sizeof(*ci)));
	ASSERT_EQ(-ENOENT, flow_del(self->tx, &f));
}

TEST_F(quic, error_del)
{
	int fd = sock_udp(variant->family);
	static const uint8_t flags[] = {
		QUIC_CONN_ALL,		/* of a connection ID */
		QUIC_CONN_ALIAS,
		QUIC_CONN_ALIAS | QUIC_CONN_ALL,
		QUIC_CONN_GENERATION | QUIC_CONN_ALL,
		0x08, 0x80,
	};
	uint8_t buf[sizeof(struct quic_connection_info) + 8] = {};
	struct quic_connection_info_key key;
	struct flow f = self->flow;
	int opt = UDP_QUIC_DEL_TX_CONNECTION;
	unsigned int i;

	/* No ULP, no flow */
	ASSERT_EQ(-ENOENT, flow_del(fd, &f));
	close(fd);
	/* Not quite the flow */
	f.dst = self->to;
	ASSERT_EQ(-ENOENT, flow_del(self->tx, &f));
	f = self->flow;
	f.cid[7] ^= 1;
	ASSERT_EQ(-ENOENT, flow_del(self->tx, &f));
	f.cid_len = 0;
	ASSERT_EQ(-ENOENT, flow_del(self->tx, &f));

	flow_key(&self->flow, &key);
	ASSERT_EQ(-1, setsockopt(self->tx, SOL_UDP, opt, &key,
				 sizeof(key) - 1));
	ASSERT_EQ(EINVAL, errno);
	key.flags = 1;
	ASSERT_EQ(-1, setsockopt(self->tx, SOL_UDP, opt, &key, sizeof(key)));
	ASSERT_EQ(EINVAL, errno);
	key.flags = 0;
	key.peer.ss_family = AF_UNIX;
	ASSERT_EQ(-1, setsockopt(self->tx, SOL_UDP, opt, &key, sizeof(key)));
	ASSERT_EQ(EAFNOSUPPORT, errno);
	key.peer.ss_family = AF_UNSPEC;
	for (i = 0; i < ARRAY_SIZE(flags); i++) {
		key.flags = flags[i];
		ASSERT_EQ(-1, setsockopt(self->tx, SOL_UDP, opt, &key,
					 sizeof(key)));
		ASSERT_EQ(EINVAL, errno);
	}
	/* What a newer program has appended must be zero, as for ADD. */
	flow_info(&self->flow, (void *)buf);
	buf[sizeof(buf) - 1] = 1;
	ASSERT_EQ(-1, setsockopt(self->tx, SOL_UDP, opt, buf, sizeof(buf)));
	ASSERT_EQ(E2BIG, errno);
	key.flags = 0;
	seal_one(_metadata, self->tx, &self->to, self->rx, &self->flow, 1);
	ASSERT_EQ(0, setsockopt(self->tx, SOL_UDP, opt, &key, sizeof(key)));
	ASSERT_EQ(-ENOENT, flow_del(self->tx, &self->flow));
}

TEST_F(quic, option_ulp)
{
	static const char * const bad[] = {
		"", "quic", "quic-crypt", "quic-crypto2", "tls", "espintcp",
	};
	int fd = sock_udp(variant->family);
	char name[32] = "";
	socklen_t len = sizeof(name);
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		ASSERT_EQ(-1, setsockopt(fd, SOL_UDP, UDP_ULP, bad[i],
					 strlen(bad[i]) + 1))
			TH_LOG("'%s'", bad[i]);
		ASSERT_EQ(ENOENT, errno);
	}
	ASSERT_EQ(-1, setsockopt(fd, SOL_UDP, UDP_ULP, "quic-crypto", 0));
	ASSERT_EQ(EINVAL, errno);
	ASSERT_EQ(-1, setsockopt(fd, SOL_UDP, UDP_ULP, NULL, 12));
	ASSERT_EQ(EFAULT, errno);
	/* With or without the end of the string; once more */
	ASSERT_EQ(0, setsockopt(fd, SOL_UDP, UDP_ULP, "quic-crypto", 11));
	ASSERT_EQ(0, setsockopt(fd, SOL_UDP, UDP_ULP, "quic-crypto", 12));
	ASSERT_EQ(0, getsockopt(fd, SOL_UDP, UDP_ULP, name, &len));
	ASSERT_STREQ("quic-crypto", name);
	/* A buffer may be short. */
	memset(name, 0, sizeof(name));
	len = 4;
	ASSERT_EQ(0, getsockopt(fd, SOL_UDP, UDP_ULP, name, &len));
	ASSERT_STREQ("quic", name);
	len = -1;
	ASSERT_EQ(-1, getsockopt(fd, SOL_UDP, UDP_ULP, name, &len));
	ASSERT_EQ(EINVAL, errno);
	/* ADD attaches, too. */
	memset(name, 0, sizeof(name));
	len = sizeof(name);
	ASSERT_EQ(0, getsockopt(self->tx, SOL_UDP, UDP_ULP, name, &len));
	ASSERT_STREQ("quic-crypto", name);
	close(fd);
}

/* What is returned are 16 bytes, or as many as there is room for. */
TEST_F(quic, option_ulp_length)
{
	static const socklen_t room[] = { 0, 1, 4, 15, 16, 17, 32 };
	static const char padded[16] = QUIC_CRYPTO_ULP_NAME;
	int fd = sock_udp(variant->family);
	socklen_t len, want;
	char name[32];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(room); i++) {
		len = room[i];
		ASSERT_EQ(0, getsockopt(fd, SOL_UDP, UDP_ULP, name, &len));
		EXPECT_EQ(0, len);
	}
	for (i = 0; i < ARRAY_SIZE(room); i++) {
		len = room[i];
		want = len < 16 ? len : 16;
		memset(name, 0x5a, sizeof(name));
		ASSERT_EQ(0, getsockopt(self->tx, SOL_UDP, UDP_ULP, name,
					&len));
		EXPECT_EQ(want, len);
		EXPECT_EQ(0, memcmp(name, padded, want));
		if (want < sizeof(name))
			EXPECT_EQ(0x5a, name[want]);
	}
	close(fd);
}

TEST_F(quic, option_unknown)
{
	struct quic_connection_info ci;
	socklen_t len;
	int opt;

	/* Control messages are no options, and nobody owns what follows. */
	flow_info(&self->flow, &ci);
	for (opt = 108; opt <= 121; opt++) {
		if (opt == UDP_QUIC_ADD_RX_CONNECTION ||
		    opt == UDP_QUIC_DEL_RX_CONNECTION ||
		    opt == UDP_QUIC_RX_DROP)
			continue;
		ASSERT_EQ(-1, setsockopt(self->tx, SOL_UDP, opt, &ci,
					 sizeof(ci)));
		ASSERT_EQ(ENOPROTOOPT, errno);
	}
	/* Nobody gets the keys back. */
	for (opt = 106; opt <= 121; opt++) {
		if (opt == UDP_QUIC_INFO || opt == UDP_QUIC_RX_DROP)
			continue;
		len = sizeof(ci);
		ASSERT_EQ(-1, getsockopt(self->tx, SOL_UDP, opt, &ci, &len));
		ASSERT_EQ(ENOPROTOOPT, errno);
	}
}

/* How the application's data may lie in memory */

#define EMPTY	0xffff

/* Cuts the plaintext into an iovec; the last cut repeats. */
static unsigned int cut_iov(struct iovec *iov, unsigned int max,
			    struct batch *b, const uint16_t *cuts)
{
	size_t pos = 0, len, left;
	unsigned int n = 0;

	while (pos < b->plain_len) {
		left = b->plain_len - pos;
		len = *cuts == EMPTY ? 0 : *cuts;
		if (len > left || n == max - 1)
			len = left;
		if (cuts[1])
			cuts++;
		iov[n].iov_base = b->plain + pos;
		iov[n++].iov_len = len;
		pos += len;
	}
	return n;
}

TEST_F(quic, iov_shapes)
{
	static const uint16_t cuts[][8] = {
		{ 1 },			/* as many as there may be */
		{ 3 },
		{ 13, 71 },		/* headers and payloads */
		{ 84 },
		{ 1, 8, 4, 71 },
		{ 5, 60, 101 },
		{ EMPTY, 85, EMPTY, EMPTY, 170 },
		{ 83, 2, 4096 },
		{ 251, 1 },
	};
	static struct iovec iov[1024];
	unsigned int i, room;
	uint64_t pn = 0;
	struct tx tx;

	for (i = 0; i < 2 * ARRAY_SIZE(cuts); i++) {
		room = i & 1;
		batch_init(&batch, &self->flow, pn, 13, 100, 77);
		batch.room = room;
		batch_build(&batch);
		tx_init(&tx, self->tx, &self->to);
		tx_batch(&tx, &batch);
		tx.iov = iov;
		tx.iovlen = cut_iov(iov, ARRAY_SIZE(iov), &batch, cuts[i / 2]);
		tx.gso = batch.size;
		ASSERT_EQ((ssize_t)batch.plain_len, tx_send(&tx));
		expect_batch(_metadata, self->rx, &batch);
		pn += 13;
	}
}

TEST_F(quic, iov_large)
{
	size_t max = variant->family == AF_INET ? 65507 : 65488;
	unsigned int n;

	/* As many packets as there may be, as much as there may be */
	batch_init(&batch, &self->flow, 1, MAX_PKTS, 500, 400);
	seal_batch(_metadata, self->tx, &self->to, self->rx, &batch);
	batch.room = true;
	batch_init(&batch, &self->flow, 200, MAX_PKTS, 64, 64);
	seal_batch(_metadata, self->tx, &self->to, self->rx, &batch);
	n = (max + 1451) / 1452;
	batch_init(&batch, &self->flow, 400, n, 1452, max - (n - 1) * 1452);
	seal_batch(_metadata, self->tx, &self->to, self->rx, &batch);
	/* A single packet of that size */
	batch_init(&batch, &self->flow, 600, 1, max, max);
	seal_batch(_metadata, self->tx, &self->to, self->rx, &batch);
	batch_init(&batch, &self->flow, 601, 1, max, max);
	batch.room = true;
	seal_batch(_metadata, self->tx, &self->to, self->rx, &batch);
	/* Two, of which the second does not fit one page fragment */
	batch_init(&batch, &self->flow, 602, 2, 40000, max - 40000);
	seal_batch(_metadata, self->tx, &self->to, self->rx, &batch);
}

/* Memory that ends in the middle of the packets: nothing is used up. */
TEST_F(quic, iov_fault)
{
	size_t page = sysconf(_SC_PAGESIZE);
	struct counters old;
	struct iovec iov[3];
	unsigned int i;
	struct tx tx;
	uint8_t *p;

	p = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, (void *)p);
	ASSERT_EQ(0, mprotect(p + page, page, PROT_NONE));
	batch_init(&batch, &self->flow, 7, 4, 1200, 900);
	batch_build(&batch);
	for (i = 0; i < 6; i++) {
		static const size_t good[] = { 0, 1, 9, 1183, 1184, 4000 };

		ASSERT_EQ(0, counters_read(&old));
		tx_init(&tx, self->tx, &self->to);
		tx_batch(&tx, &batch);
		memcpy(p + page - good[i], batch.plain, good[i]);
		/* One buffer that ends, then three with a hole */
		tx.gso = batch.size;
		tx.one.iov_base = p + page - good[i];
		ASSERT_EQ(-EFAULT, tx_send(&tx));
		expect_failure(_metadata, &old, -EFAULT);
		iov[0].iov_base = batch.plain;
		iov[0].iov_len = good[i];
		iov[1].iov_base = p + page;
		iov[1].iov_len = 100;
		iov[2].iov_base = batch.plain + good[i] + 100;
		iov[2].iov_len = batch.plain_len - good[i] - 100;
		tx.iov = iov;
		tx.iovlen = 3;
		ASSERT_EQ(-EFAULT, tx_send(&tx));
	}
	expect_nothing(_metadata, self->rx);
	seal_batch(_metadata, self->tx, &self->to, self->rx, &batch);
	munmap(p, 2 * page);
}

TEST_F(quic, sendmmsg)
{
	enum { N = 4 };
	static struct batch b[N];
	struct mmsghdr mmsg[N];
	struct flow other;
	struct tx tx[N];
	int i;

	flow_init(&other, TLS_CIPHER_AES_GCM_256, 3);
	ASSERT_EQ(0, flow_add(self->tx, &other));
	for (i = 0; i < N; i++) {
		batch_init(&b[i], i & 1 ? &other : &self->flow, i, 1 + i,
			   100 + i, 90);
		b[i].room = i > 1;
		batch_build(&b[i]);
		tx_init(&tx[i], self->tx, i & 2 ? &self->to : &self->to2);
		tx_batch(&tx[i], &b[i]);
		tx[i].gso = 100 + i;
		tx_msg(&tx[i], &mmsg[i].msg_hdr);
	}
	/* Flow, layout, size, destination differ from message to message. */
	ASSERT_EQ(N, sendmmsg(self->tx, mmsg, N, 0));
	for (i = 0; i < N; i++) {
		EXPECT_EQ(b[i].plain_len, mmsg[i].msg_len);
		expect_batch(_metadata, i & 2 ? self->rx : self->rx2, &b[i]);
	}
	/* Those before the one that fails go out, it and the rest do not. */
	for (i = 0; i < N; i++) {
		b[i].pkt[0].pn = 50 + i;
		b[i].n = 1;
		b[i].pkt[0].len = 90;
		batch_build(&b[i]);
		tx_batch(&tx[i], &b[i]);
		tx[i].gso = 0;
		if (i == 2)
			tx[i].anc.flags |= 0x40;
		tx_msg(&tx[i], &mmsg[i].msg_hdr);
	}
	ASSERT_EQ(2, sendmmsg(self->tx, mmsg, N, 0));
	expect_batch(_metadata, self->rx2, &b[0]);
	expect_batch(_metadata, self->rx2, &b[1]);
	expect_nothing(_metadata, self->rx);
	expect_nothing(_metadata, self->rx2);
}

/* Just enough of io_uring to send one message */
struct ring {
	int fd;
	unsigned int *sq_tail, *sq_mask, *sq_array, *cq_head, *cq_tail,
		     *cq_mask;
	struct io_uring_sqe *sqes;
	struct io_uring_cqe *cqes;
};

static int ring_open(struct ring *r)
{
	struct io_uring_params p = {};
	size_t size, cq_size;
	char *sq, *cq;

	r->fd = syscall(__NR_io_uring_setup, 4, &p);
	if (r->fd < 0)
		return -errno;
	size = p.sq_off.array + p.sq_entries * sizeof(unsigned int);
	cq_size = p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe);
	sq = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd,
		  IORING_OFF_SQ_RING);
	cq = mmap(NULL, cq_size, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd,
		  IORING_OFF_CQ_RING);
	r->sqes = mmap(NULL, p.sq_entries * sizeof(struct io_uring_sqe),
		       PROT_READ | PROT_WRITE, MAP_SHARED, r->fd,
		       IORING_OFF_SQES);
	if (sq == MAP_FAILED || cq == MAP_FAILED || r->sqes == MAP_FAILED)
		return -errno;
	r->sq_tail = (void *)(sq + p.sq_off.tail);
	r->sq_mask = (void *)(sq + p.sq_off.ring_mask);
	r->sq_array = (void *)(sq + p.sq_off.array);
	r->cq_head = (void *)(cq + p.cq_off.head);
	r->cq_tail = (void *)(cq + p.cq_off.tail);
	r->cq_mask = (void *)(cq + p.cq_off.ring_mask);
	r->cqes = (void *)(cq + p.cq_off.cqes);
	return 0;
}

static int ring_send(struct ring *r, unsigned int op, unsigned int flags,
		     struct tx *tx)
{
	unsigned int tail = *r->sq_tail, i = tail & *r->sq_mask;
	struct io_uring_sqe *sqe = &r->sqes[i];
	struct msghdr msg;
	unsigned int head;
	int res;

	tx_msg(tx, &msg);
	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = op;
	if (op == IORING_OP_SENDMSG_ZC)
		sqe->ioprio = IORING_SEND_ZC_REPORT_USAGE;
	sqe->flags = flags;
	sqe->fd = tx->fd;
	sqe->addr = (uintptr_t)&msg;
	sqe->len = 1;
	r->sq_array[i] = i;
	__atomic_store_n(r->sq_tail, tail + 1, __ATOMIC_RELEASE);
	if (syscall(__NR_io_uring_enter, r->fd, 1, 1, IORING_ENTER_GETEVENTS,
		    NULL, 0) < 0)
		return -errno;
	head = *r->cq_head;
	if (head == __atomic_load_n(r->cq_tail, __ATOMIC_ACQUIRE))
		return -ENODATA;
	res = r->cqes[head & *r->cq_mask].res;
	__atomic_store_n(r->cq_head, head + 1, __ATOMIC_RELEASE);
	return res;
}

TEST_F(quic, io_uring)
{
	static const unsigned int flags[] = { 0, IOSQE_ASYNC };
	static const uint16_t cuts[] = { 7, 99, 0 };
	static struct iovec iov[64];
	struct ring r = {};
	unsigned int i;
	struct tx tx;
	int err;

	err = ring_open(&r);
	if (err)
		SKIP(return, "io_uring: %s", strerror(-err));
	for (i = 0; i < 4; i++) {
		batch_init(&batch, &self->flow, 10 * i, 5, 100, 90);
		batch_build(&batch);
		tx_init(&tx, self->tx, &self->to);
		tx_batch(&tx, &batch);
		tx.gso = 100;
		if (i & 1) {
			tx.iov = iov;
			tx.iovlen = cut_iov(iov, ARRAY_SIZE(iov), &batch, cuts);
		}
		ASSERT_EQ((int)batch.plain_len,
			  ring_send(&r, IORING_OP_SENDMSG, flags[i / 2], &tx));
		expect_batch(_metadata, self->rx, &batch);
		ASSERT_EQ(-EALREADY,
			  ring_send(&r, IORING_OP_SENDMSG, flags[i / 2], &tx));
	}
	expect_nothing(_metadata, self->rx);
	close(r.fd);
}

/* With other control messages */

static size_t extra_cmsg(void *buf, int level, int type, const void *data,
			 size_t len)
{
	struct cmsghdr *cmsg = buf;

	memset(buf, 0, CMSG_SPACE(len));
	cmsg->cmsg_level = level;
	cmsg->cmsg_type = type;
	cmsg->cmsg_len = CMSG_LEN(len);
	memcpy(CMSG_DATA(cmsg), data, len);
	return CMSG_SPACE(len);
}

static void send_extra(struct __test_metadata *_metadata, int fd,
		       const struct sockaddr_storage *to, struct batch *b,
		       const void *extra, size_t len)
{
	struct tx tx;

	batch_build(b);
	tx_init(&tx, fd, to);
	tx_batch(&tx, b);
	tx.gso = b->n > 1 ? b->size : 0;
	tx.extra = extra;
	tx.extra_len = len;
	ASSERT_EQ((ssize_t)b->plain_len, tx_send(&tx));
}

/* The value of a control message, an int or a byte, of the next datagram */
static int recv_cmsg(int fd, int level, int type)
{
	uint64_t control[32];
	struct iovec iov = { rxbuf, sizeof(rxbuf) };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *c;

	if (recvmsg(fd, &msg, MSG_PEEK) < 0)
		return -errno;
	for (c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
		if (c->cmsg_level == level && c->cmsg_type == type)
			return *(uint8_t *)CMSG_DATA(c) |
			       (c->cmsg_len > CMSG_LEN(1) ?
				*(int *)CMSG_DATA(c) : 0);
	}
	return -ENODATA;
}

TEST_F(quic, cmsg_tos)
{
	bool v4 = variant->family == AF_INET;
	uint64_t extra[16];
	int tos = 0x2a;
	size_t len;

	if (v4) {
		ASSERT_EQ(0, set_int(self->rx, SOL_IP, IP_RECVTOS, 1));
		len = extra_cmsg(extra, SOL_IP, IP_TOS, &tos, sizeof(tos));
	} else {
		ASSERT_EQ(0, set_int(self->rx, SOL_IPV6, IPV6_RECVTCLASS, 1));
		len = extra_cmsg(extra, SOL_IPV6, IPV6_TCLASS, &tos,
				 sizeof(tos));
	}
	batch_init(&batch, &self->flow, 1, 3, 100, 100);
	send_extra(_metadata, self->tx, &self->to, &batch, extra, len);
	ASSERT_EQ(tos, recv_cmsg(self->rx, v4 ? SOL_IP : SOL_IPV6,
				 v4 ? IP_TOS : IPV6_TCLASS));
	expect_batch(_metadata, self->rx, &batch);
}

TEST_F(quic, cmsg_pktinfo)
{
	struct in6_pktinfo info6 = { .ipi6_addr = in6addr_loopback };
	struct in_pktinfo info = {
		.ipi_spec_dst.s_addr = htonl(INADDR_LOOPBACK + 6),
	};
	struct sockaddr_storage from;
	socklen_t from_len = sizeof(from);
	uint64_t extra[16];
	size_t len;

	if (variant->family == AF_INET)
		len = extra_cmsg(extra, SOL_IP, IP_PKTINFO, &info,
				 sizeof(info));
	else
		len = extra_cmsg(extra, SOL_IPV6, IPV6_PKTINFO, &info6,
				 sizeof(info6));
	batch_init(&batch, &self->flow, 1, 3, 100, 100);
	send_extra(_metadata, self->tx, &self->to, &batch, extra, len);
	ASSERT_LT(0, recvfrom(self->rx, rxbuf, sizeof(rxbuf), MSG_PEEK,
			      (void *)&from, &from_len));
	if (variant->family == AF_INET)
		ASSERT_EQ(info.ipi_spec_dst.s_addr,
			  ((struct sockaddr_in *)&from)->sin_addr.s_addr);
	expect_batch(_metadata, self->rx, &batch);
}

TEST_F(quic, cmsg_txtime)
{
	struct sock_txtime cfg = { .clockid = CLOCK_MONOTONIC };
	struct timespec now;
	uint64_t extra[16], when;
	size_t len;
	int tos = 8;

	ASSERT_EQ(0, setsockopt(self->tx, SOL_SOCKET, SO_TXTIME, &cfg,
				sizeof(cfg)));
	clock_gettime(CLOCK_MONOTONIC, &now);
	when = now.tv_sec * 1000000000ULL + now.tv_nsec;
	len = extra_cmsg(extra, SOL_SOCKET, SCM_TXTIME, &when, sizeof(when));
	if (variant->family == AF_INET)
		len += extra_cmsg((char *)extra + len, SOL_IP, IP_TOS, &tos,
				  sizeof(tos));
	batch_init(&batch, &self->flow, 1, 3, 100, 100);
	send_extra(_metadata, self->tx, &self->to, &batch, extra, len);
	expect_batch(_metadata, self->rx, &batch);
	batch_init(&batch, &self->flow, 4, 1, 100, 100);
	send_extra(_metadata, self->tx, &self->to, &batch, extra, len);
	expect_batch(_metadata, self->rx, &batch);
}

/* What is not for us fails as ever, and uses up nothing. */
TEST_F(quic, cmsg_bad)
{
	uint64_t extra[16];
	struct tx tx;
	int val = 0;

	batch_init(&batch, &self->flow, 1, 1, 100, 100);
	batch_build(&batch);
	tx_init(&tx, self->tx, &self->to);
	tx_batch(&tx, &batch);
	tx.extra = extra;
	tx.extra_len = extra_cmsg(extra, SOL_UDP, 200, &val, sizeof(val));
	ASSERT_EQ(-EINVAL, tx_send(&tx));
	tx.extra_len = extra_cmsg(extra, SOL_UDP, UDP_SEGMENT, &val,
				  sizeof(val));
	ASSERT_EQ(-EINVAL, tx_send(&tx));
	if (variant->family == AF_INET) {
		tx.extra_len = extra_cmsg(extra, SOL_IP, 200, &val,
					  sizeof(val));
		ASSERT_EQ(-EINVAL, tx_send(&tx));
	}
	expect_nothing(_metadata, self->rx);
	seal_one(_metadata, self->tx, &self->to, self->rx, &self->flow, 1);
}

/* Without our cmsg */

TEST_F(quic, plain_send)
{
	struct tx tx;

	batch_init(&batch, &self->flow, 1, 3, 100, 100);
	batch_build(&batch);
	tx_init(&tx, self->tx, &self->to);
	tx_batch(&tx, &batch);
	tx.n_anc = 0;
	tx.gso = PLAIN;
	ASSERT_EQ(3 * PLAIN, tx_send(&tx));
	ASSERT_EQ(PLAIN, rx_recv(self->rx, rxbuf, sizeof(rxbuf), RX_TIMEOUT));
	ASSERT_EQ(0, memcmp(rxbuf, batch.plain, PLAIN));
	ASSERT_EQ(PLAIN, rx_recv(self->rx, rxbuf, sizeof(rxbuf), RX_TIMEOUT));
	ASSERT_EQ(PLAIN, rx_recv(self->rx, rxbuf, sizeof(rxbuf), RX_TIMEOUT));
	ASSERT_EQ(20, sendto(self->tx, batch.plain, 20, 0, (void *)&self->to,
			     addr_len(&self->to)));
	ASSERT_EQ(20, rx_recv(self->rx, rxbuf, sizeof(rxbuf), RX_TIMEOUT));
}

/* A packet is not appended to what is pending, and leaves it alone. */
TEST_F(quic, plain_pending)
{
	socklen_t len = addr_len(&self->to);

	ASSERT_EQ(3, sendto(self->tx, "abc", 3, MSG_MORE, (void *)&self->to,
			    len));
	ASSERT_EQ(-EINVAL, send_one(self->tx, &self->to, &self->flow, 1));
	ASSERT_EQ(-EAGAIN, rx_recv(self->rx, rxbuf, sizeof(rxbuf), 0));
	ASSERT_EQ(3, send(self->tx, "def", 3, 0));
	ASSERT_EQ(6, rx_recv(self->rx, rxbuf, sizeof(rxbuf), RX_TIMEOUT));
	ASSERT_EQ(0, memcmp(rxbuf, "abcdef", 6));
	ASSERT_EQ(0, set_int(self->tx, SOL_UDP, 1 /* UDP_CORK */, 1));
	ASSERT_EQ(3, sendto(self->tx, "abc", 3, 0, (void *)&self->to, len));
	ASSERT_EQ(-EINVAL, send_one(self->tx, &self->to, &self->flow, 1));
	ASSERT_EQ(0, set_int(self->tx, SOL_UDP, 1 /* UDP_CORK */, 0));
	ASSERT_EQ(3, rx_recv(self->rx, rxbuf, sizeof(rxbuf), RX_TIMEOUT));
	expect_nothing(_metadata, self->rx);
	seal_one(_metadata, self->tx, &self->to, self->rx, &self->flow, 1);
}

/* A control message that does not fit must not hide what was asked for. */
TEST_F(quic, plain_pending_malformed)
{
	static const size_t cmsg_len[] = { 4000, 0, 1 };
	struct cmsghdr *cmsg;
	struct msghdr msg;
	struct tx tx;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(cmsg_len); i++) {
		ASSERT_EQ(3, sendto(self->tx, "abc", 3, MSG_MORE,
				    (void *)&self->to, addr_len(&self->to)));
		batch_init(&batch, &self->flow, 1, 1, 100, 100);
		batch_build(&batch);
		tx_init(&tx, self->tx, &self->to);
		tx_batch(&tx, &batch);
		tx_msg(&tx, &msg);
		cmsg = CMSG_FIRSTHDR(&msg);
		cmsg->cmsg_len = cmsg_len[i];
		ASSERT_EQ(-1, sendmsg(self->tx, &msg, 0));
		ASSERT_EQ(EINVAL, errno);
		ASSERT_EQ(3, send(self->tx, "def", 3, 0));
		ASSERT_EQ(6, rx_recv(self->rx, rxbuf, sizeof(rxbuf),
				     RX_TIMEOUT));
		expect_nothing(_metadata, self->rx);
	}
}

/*
 * Nor without the ULP. Other control messages are ignored there, as ever, even
 * malformed ones.
 */
TEST_F(quic, plain_pending_no_ulp)
{
	int sk = sock_udp(variant->family);
	struct msghdr msg;
	struct tx tx;

	ASSERT_LE(0, sk);
	ASSERT_EQ(3, sendto(sk, "abc", 3, MSG_MORE, (void *)&self->to,
			    addr_len(&self->to)));
	tx_init(&tx, sk, &self->to);
	tx.one.iov_base = "def";
	tx.one.iov_len = 3;
	tx.iov = &tx.one;
	tx.iovlen = 1;
	tx_msg(&tx, &msg);
	CMSG_FIRSTHDR(&msg)->cmsg_len = 4000;
	ASSERT_EQ(3, sendmsg(sk, &msg, 0));
	ASSERT_EQ(6, rx_recv(self->rx, rxbuf, sizeof(rxbuf), RX_TIMEOUT));
	ASSERT_EQ(0, memcmp(rxbuf, "abcdef", 6));
	ASSERT_EQ(3, sendto(sk, "abc", 3, MSG_MORE, (void *)&self->to,
			    addr_len(&self->to)));
	ASSERT_EQ(-EINVAL, send_one(sk, &self->to, &self->flow, 1));
	ASSERT_EQ(3, send(sk, "def", 3, 0));
	ASSERT_EQ(6, rx_recv(self->rx, rxbuf, sizeof(rxbuf), RX_TIMEOUT));
	ASSERT_EQ(0, memcmp(rxbuf, "abcdef", 6));
	expect_nothing(_metadata, self->rx);
	close(sk);
}

/* Counters, limits */

TEST_F(quic, counters)
{
	struct counters c, zero = {};
	struct flow f, next;
	int tx, rx;

	ASSERT_EQ(0, netns_enter());
	ASSERT_EQ(0, counters_read(&c));
	ASSERT_EQ(0, memcmp(&c, &zero, sizeof(c)));
	tx = sock_udp(variant->family);
	rx = sock_bound(variant->family, &self->to);
	ASSERT_EQ(0, attach_ulp(tx));
	ASSERT_EQ(0, counter(CURR_TX_SW));
	flow_init(&f, TLS_CIPHER_AES_GCM_128, 8);
	ASSERT_EQ(0, flow_add(tx, &f));
	flow_next(&next, &f);
	ASSERT_EQ(0, flow_add(tx, &next));
	ASSERT_EQ(-EEXIST, flow_add(tx, &next));
	/* A key update makes no new flow. */
	ASSERT_EQ(1, counter(CURR_TX_SW));
	ASSERT_EQ(1, counter(TX_SW));

	batch_init(&batch, &f, 1, 3, 100, 90);
	seal_batch(_metadata, tx, &self->to, rx, &batch);
	seal_one(_metadata, tx, &self->to, rx, &next, 4);
	ASSERT_EQ(4, counter(TX_SW_PACKETS));
	ASSERT_EQ(390, counter(TX_SW_BYTES));
	ASSERT_EQ(0, counter(TX_SW_ERROR));

	ASSERT_EQ(-EALREADY, send_one(tx, &self->to, &f, 1));
	ASSERT_EQ(0, flow_del(tx, &f));
	ASSERT_EQ(-ENOENT, flow_del(tx, &f));
	ASSERT_EQ(-ENOENT, send_one(tx, &self->to, &f, 9));
	ASSERT_EQ(0, counters_read(&c));
	EXPECT_EQ(0, c.v[CURR_TX_SW]);
	EXPECT_EQ(1, c.v[TX_SW]);
	EXPECT_EQ(2, c.v[TX_SW_ERROR]);
	EXPECT_EQ(1, c.v[TX_NO_FLOW]);
	EXPECT_EQ(1, c.v[TX_PKT_NUM_REUSE]);
	EXPECT_EQ(4, c.v[TX_SW_PACKETS]);

	ASSERT_EQ(0, flow_add(tx, &f));
	ASSERT_EQ(0, flow_add(tx, &next));
	ASSERT_EQ(1, counter(CURR_TX_SW));
	close(tx);
	ASSERT_EQ(0, counter(CURR_TX_SW));
	ASSERT_EQ(2, counter(TX_SW));
	close(rx);
}

TEST_F(quic, limit_flows)
{
	struct flow f[3], next;
	int i, tx;

	ASSERT_EQ(0, netns_enter());
	i = sysctl_write("max_flows", 2);
	if (i)
		SKIP(return, "net.quic_crypto.max_flows: %s", strerror(-i));
	tx = sock_udp(variant->family);
	for (i = 0; i < 3; i++) {
		flow_init(&f[i], TLS_CIPHER_AES_GCM_128, 8);
		ASSERT_EQ(i < 2 ? 0 : -ENOSPC, flow_add(tx, &f[i]));
	}
	/* Key updates are free. */
	flow_next(&next, &f[1]);
	ASSERT_EQ(0, flow_add(tx, &next));
	ASSERT_EQ(2, counter(CURR_TX_SW));
	ASSERT_EQ(0, flow_del(tx, &f[0]));
	ASSERT_EQ(0, flow_add(tx, &f[2]));
	ASSERT_EQ(-ENOSPC, flow_add(tx, &f[0]));
	/* The socket's flows go with it. Other namespaces have their own. */
	close(tx);
	tx = sock_udp(variant->family);
	ASSERT_EQ(0, flow_add(tx, &f[0]));
	ASSERT_EQ(0, flow_add(self->tx, &f[2]));
	close(tx);
}

TEST_F(quic, limit_seal)
{
	struct counters old;
	struct flow f, next;
	int tx, rx, err;

	ASSERT_EQ(0, netns_enter());
	err = sysctl_write("seal_limit", 5);
	if (err)
		SKIP(return, "net.quic_crypto.seal_limit: %s", strerror(-err));
	tx = sock_udp(variant->family);
	rx = sock_bound(variant->family, &self->to);
	flow_init(&f, TLS_CIPHER_AES_GCM_128, 8);
	ASSERT_EQ(0, flow_add(tx, &f));
	batch_init(&batch, &f, 1, 3, 100, 100);
	seal_batch(_metadata, tx, &self->to, rx, &batch);
	ASSERT_EQ(0, counters_read(&old));
	batch_init(&batch, &f, 4, 3, 100, 100);
	ASSERT_EQ(-EKEYEXPIRED, send_batch(tx, &self->to, &batch));
	expect_failure(_metadata, &old, -EKEYEXPIRED);
	/* None of the three was sealed: two are still to be had. */
	batch_init(&batch, &f, 4, 2, 100, 100);
	seal_batch(_metadata, tx, &self->to, rx, &batch);
	ASSERT_EQ(-EKEYEXPIRED, send_one(tx, &self->to, &f, 6));
	/* A key update helps; a higher limit does not help an old key. */
	ASSERT_EQ(0, sysctl_write("seal_limit", 0));
	ASSERT_EQ(-EKEYEXPIRED, send_one(tx, &self->to, &f, 6));
	flow_next(&next, &f);
	ASSERT_EQ(0, flow_add(tx, &next));
	batch_init(&batch, &next, 7, 9, 100, 100);
	seal_batch(_metadata, tx, &self->to, rx, &batch);
	expect_nothing(_metadata, rx);
	close(tx);
	close(rx);
}

/* What UDP does besides, and who else may own a socket */

/* A MSG_ZEROCOPY notification: the first and last id, and whether it says that
 * the data were copied
 */
static int zerocopy_recv(int fd, uint32_t *first, uint32_t *last, bool *copied)
{
	uint64_t control[32];
	struct msghdr msg = {
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	struct sock_extended_err *err;
	struct cmsghdr *c;

	if (recvmsg(fd, &msg, MSG_ERRQUEUE | MSG_DONTWAIT) < 0)
		return -errno;
	c = CMSG_FIRSTHDR(&msg);
	if (!c)
		return -ENODATA;
	err = (void *)CMSG_DATA(c);
	*first = err->ee_info;
	*last = err->ee_data;
	*copied = err->ee_code == SO_EE_CODE_ZEROCOPY_COPIED;
	return err->ee_origin == SO_EE_ORIGIN_ZEROCOPY ? 0 : -EPROTO;
}

TEST_F(quic, zerocopy)
{
	uint32_t first, last;
	bool copied = false;
	struct tx tx;
	int i;

	/* Without SO_ZEROCOPY the flag means nothing */
	for (i = 0; i < 4; i++) {
		batch_init(&batch, &self->flow, 10 * i, 3, 1200, 1000);
		batch_build(&batch);
		tx_init(&tx, self->tx, &self->to);
		tx_batch(&tx, &batch);
		tx.gso = 1200;
		tx.flags = MSG_ZEROCOPY;
		ASSERT_EQ((ssize_t)batch.plain_len, tx_send(&tx));
		expect_batch(_metadata, self->rx, &batch);
		/* A call that fails has no notification, and no id */
		ASSERT_EQ(-EALREADY, tx_send(&tx));
		if (!i) {
			ASSERT_EQ(-EAGAIN, zerocopy_recv(self->tx, &first,
							 &last, &copied));
			ASSERT_EQ(0, set_int(self->tx, SOL_SOCKET, SO_ZEROCOPY,
					     1));
			continue;
		}
		ASSERT_EQ(0, zerocopy_recv(self->tx, &first, &last, &copied));
		ASSERT_EQ(i - 1, first);
		ASSERT_EQ(i - 1, last);
		ASSERT_TRUE(copied);
		ASSERT_EQ(-EAGAIN, zerocopy_recv(self->tx, &first, &last,
						 &copied));
	}
	/* Neither has one that only probes */
	tx.flags |= 0x10 /* MSG_PROBE */;
	ASSERT_EQ((ssize_t)batch.plain_len, tx_send(&tx));
	ASSERT_EQ(-EAGAIN, zerocopy_recv(self->tx, &first, &last, &copied));
}

/* The result of the next completion, or of the one after a notification */
static int ring_next(struct ring *r, unsigned int *flags)
{
	unsigned int head = *r->cq_head;
	int res;

	if (head == __atomic_load_n(r->cq_tail, __ATOMIC_ACQUIRE) &&
	    syscall(__NR_io_uring_enter, r->fd, 0, 1, IORING_ENTER_GETEVENTS,
		    NULL, 0) < 0)
		return -errno;
	res = r->cqes[head & *r->cq_mask].res;
	*flags = r->cqes[head & *r->cq_mask].flags;
	__atomic_store_n(r->cq_head, head + 1, __ATOMIC_RELEASE);
	return res;
}

TEST_F(quic, zerocopy_io_uring)
{
	static const unsigned int flags[] = { 0, IOSQE_ASYNC };
	unsigned int i, notif;
	struct ring r = {};
	struct tx tx;
	int err;

	err = ring_open(&r);
	if (err)
		SKIP(return, "io_uring: %s", strerror(-err));
	for (i = 0; i < ARRAY_SIZE(flags); i++) {
		batch_init(&batch, &self->flow, 10 * i, 3, 1200, 1000);
		batch_build(&batch);
		tx_init(&tx, self->tx, &self->to);
		tx_batch(&tx, &batch);
		tx.gso = 1200;
		ASSERT_EQ((int)batch.plain_len,
			  ring_send(&r, IORING_OP_SENDMSG_ZC, flags[i], &tx));
		ASSERT_EQ((int)IORING_NOTIF_USAGE_ZC_COPIED,
			  ring_next(&r, &notif));
		ASSERT_TRUE(notif & IORING_CQE_F_NOTIF);
		expect_batch(_metadata, self->rx, &batch);
		ASSERT_EQ(-EALREADY,
			  ring_send(&r, IORING_OP_SENDMSG_ZC, flags[i], &tx));
		ASSERT_EQ((int)IORING_NOTIF_USAGE_ZC_COPIED,
			  ring_next(&r, &notif));
		ASSERT_TRUE(notif & IORING_CQE_F_NOTIF);
	}
	expect_nothing(_metadata, self->rx);
	close(r.fd);
}

/* The id of the next transmit timestamp */
static int timestamp_id(int fd)
{
	struct pollfd pfd = { .fd = fd };
	uint64_t control[64];
	struct msghdr msg = {
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *c;

	poll(&pfd, 1, RX_TIMEOUT);
	if (recvmsg(fd, &msg, MSG_ERRQUEUE | MSG_DONTWAIT) < 0)
		return -errno;
	for (c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
		struct sock_extended_err *err = (void *)CMSG_DATA(c);

		if ((c->cmsg_level == SOL_IP && c->cmsg_type == IP_RECVERR) ||
		    (c->cmsg_level == SOL_IPV6 && c->cmsg_type == IPV6_RECVERR))
			return err->ee_data;
	}
	return -ENODATA;
}

/* Calls that fail do not use up ids, wherever they fail. */
TEST_F(quic, timestamp_ids)
{
	int val = SOF_TIMESTAMPING_TX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE |
		  SOF_TIMESTAMPING_OPT_ID | SOF_TIMESTAMPING_OPT_TSONLY;
	struct flow none;
	int i;

	flow_init(&none, TLS_CIPHER_AES_GCM_128, 8);
	ASSERT_EQ(0, set_int(self->tx, SOL_SOCKET, SO_TIMESTAMPING, val));
	for (i = 0; i < 3; i++) {
		seal_one(_metadata, self->tx, &self->to, self->rx, &self->flow,
			 i);
		ASSERT_EQ(i, timestamp_id(self->tx));
		ASSERT_EQ(-ENOENT, send_one(self->tx, &self->to, &none, 1));
		ASSERT_EQ(-EALREADY, send_one(self->tx, &self->to, &self->flow,
					      i));
		batch_init(&batch, &self->flow, 10, 3, 100, 100);
		batch.pkt[2].pn = 10;
		ASSERT_EQ(-EALREADY, send_batch(self->tx, &self->to, &batch));
	}
}

/* UDP datagrams to @port in the capture: how many, and the longest of them */
static unsigned int capture_count(int fd, size_t *longest)
{
	unsigned int n = 0;
	ssize_t len;

	*longest = 0;
	while ((len = rx_recv(fd, rxbuf, sizeof(rxbuf), 100)) >= 0) {
		n++;
		if ((size_t)len > *longest)
			*longest = len;
	}
	return n;
}

/*
 * Devices do not segment packets with IPv6 extension headers; what they see of
 * a batch is single packets then, with good checksums. The loopback shows each
 * frame twice.
 */
TEST_F(quic, ipv6_extension_headers)
{
	/* Destination options: PadN of 4 bytes */
	static const uint8_t pad[8] = { 0, 0, 1, 4 };
	size_t longest;
	int cap;

	if (variant->family == AF_INET)
		SKIP(return, "IPv6 only");
	cap = capture_open();
	if (cap < 0)
		SKIP(return, "AF_PACKET: %s", strerror(-cap));
	batch_init(&batch, &self->flow, 1, 3, 1200, 1000);
	seal_batch(_metadata, self->tx, &self->to, self->rx, &batch);
	EXPECT_EQ(2, capture_count(cap, &longest));
	EXPECT_LT(3 * 1000, longest);

	ASSERT_EQ(0, setsockopt(self->tx, SOL_IPV6, IPV6_DSTOPTS, pad,
				sizeof(pad)));
	batch_init(&batch, &self->flow, 4, 3, 1200, 1000);
	seal_batch(_metadata, self->tx, &self->to, self->rx, &batch);
	EXPECT_EQ(6, capture_count(cap, &longest));
	EXPECT_GT(1400, longest);
	seal_one(_metadata, self->tx, &self->to, self->rx, &self->flow, 7);
	close(cap);
}

/* An address that nobody has */
static void addr_doc(struct sockaddr_storage *addr, int family)
{
	addr_loopback(addr, family, 4433);
	if (family == AF_INET)
		inet_pton(AF_INET, "192.0.2.2",
			  &((struct sockaddr_in *)addr)->sin_addr);
	else
		inet_pton(AF_INET6, "2001:db8::2",
			  &((struct sockaddr_in6 *)addr)->sin6_addr);
}

/* A network namespace with a device that leads nowhere, and an address there */
static int dummy_enter(int family, struct sockaddr_storage *to)
{
	static const char * const cmds[] = {
		"ip link add d0 type dummy",
		"ip link set d0 up",
		"ip addr add 192.0.2.1/24 dev d0",
		"ip addr add 2001:db8::1/64 dev d0 nodad",
		"ip neigh add 192.0.2.2 lladdr 2:0:0:0:0:2 dev d0",
		"ip neigh add 2001:db8::2 lladdr 2:0:0:0:0:2 dev d0",
	};
	unsigned int i;

	if (netns_enter())
		return -1;
	for (i = 0; i < ARRAY_SIZE(cmds); i++)
		if (system(cmds[i]))
			return -1;
	addr_doc(to, family);
	return 0;
}

/* The next Ethernet frame with UDP; what IPv6 sends by itself is none */
static ssize_t recv_udp(int cap, int family)
{
	ssize_t len;

	do {
		len = rx_recv(cap, rxbuf, sizeof(rxbuf), RX_TIMEOUT);
	} while (len >= 0 &&
		 rxbuf[family == AF_INET ? 23 : 20] != IPPROTO_UDP);
	return len;
}

/* The packets of the batch leave sealed. The device segments them: a frame with
 * all of them comes to @cap.
 */
static void expect_frame(struct __test_metadata *_metadata, int tx, int cap,
			 const struct sockaddr_storage *to)
{
	size_t hlen = 14 + (to->ss_family == AF_INET ? 28 : 48);
	ssize_t len;

	ASSERT_LT(0, send_batch(tx, to, &batch));
	len = batch.plain_len + batch.n * TAG;
	ASSERT_EQ((ssize_t)hlen + len, recv_udp(cap, to->ss_family));
	ASSERT_EQ(0, memcmp(batch.wire, rxbuf + hlen, len));
}

/* @max bytes with their headers leave, and one more does not. A call that is
 * refused has used up no number. Returns the next number.
 */
static uint64_t expect_mtu(struct __test_metadata *_metadata, int tx, int cap,
			   const struct sockaddr_storage *to,
			   const struct flow *f, uint64_t pn, size_t max)
{
	size_t hlen = to->ss_family == AF_INET ? 28 : 48;
	size_t size = max - hlen;

	batch_init(&batch, f, pn, 1, size + 1, size + 1);
	EXPECT_EQ(-EMSGSIZE, send_batch(tx, to, &batch));
	batch_init(&batch, f, pn, 3, size + 1, 100);
	EXPECT_EQ(-EMSGSIZE, send_batch(tx, to, &batch));
	batch_init(&batch, f, pn, 1, size, size);
	expect_frame(_metadata, tx, cap, to);
	batch_init(&batch, f, pn + 1, 3, size, 100);
	expect_frame(_metadata, tx, cap, to);
	return pn + 4;
}

/* Sockets that probe for a larger path MTU may exceed it, but not the MTU of
 * the device. Others may not exceed either.
 */
TEST_F(quic, error_mtu_discover)
{
	bool v4 = variant->family == AF_INET;
	int tx, cap, mode;
	uint64_t pn = 0;

	if (dummy_enter(variant->family, &self->to) ||
	    system(v4 ? "ip route add 192.0.2.2 dev d0 mtu 1300" :
			"ip route add 2001:db8::2 dev d0 mtu 1300"))
		SKIP(return, "no route with an MTU");
	cap = capture_open();
	ASSERT_LE(0, cap);
	tx = sock_udp(variant->family);
	ASSERT_EQ(0, flow_add(tx, &self->flow));
	for (mode = IP_PMTUDISC_DONT; mode <= IP_PMTUDISC_OMIT; mode++) {
		ASSERT_EQ(0, v4 ? set_int(tx, SOL_IP, IP_MTU_DISCOVER, mode) :
				  set_int(tx, SOL_IPV6, IPV6_MTU_DISCOVER,
					  mode));
		pn = expect_mtu(_metadata, tx, cap, &self->to, &self->flow, pn,
				mode < IP_PMTUDISC_PROBE ? 1300 : 1500);
		batch_init(&batch, &self->flow, pn++, 1, 1000, 1000);
		expect_frame(_metadata, tx, cap, &self->to);
		/* DF */
		if (v4)
			EXPECT_EQ(mode != IP_PMTUDISC_DONT &&
				  mode < IP_PMTUDISC_INTERFACE,
				  !!(rxbuf[14 + 6] & 0x40));
		if (_metadata->exit_code)
			TH_LOG("mode %d, or before", mode);
	}
	close(tx);
	close(cap);
}

static uint32_t sum_bytes(const uint8_t *p, size_t len)
{
	uint32_t sum = 0;
	size_t i;

	for (i = 0; i < len; i++)
		sum += i & 1 ? p[i] : p[i] << 8;
	return sum;
}

/* Is the UDP checksum of an Ethernet frame without IP options right? */
static bool checksum_ok(const uint8_t *frame, size_t len)
{
	bool v4 = frame[12] == 0x08;
	size_t ip = 14, addrs = v4 ? ip + 12 : ip + 8;
	size_t udp = v4 ? ip + 20 : ip + 40;
	uint32_t sum;

	sum = sum_bytes(frame + addrs, udp - addrs) + IPPROTO_UDP +
	      (len - udp) + sum_bytes(frame + udp, len - udp);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum == 0xffff && (frame[udp + 6] || frame[udp + 7]);
}

/* Where no device computes checksums, they are those of the sealed packets. */
TEST_F(quic, checksum_software)
{
	static const unsigned int lens[] = { 1200, 1199, 30 };
	ssize_t len;
	int tx, cap;
	size_t i;

	if (dummy_enter(variant->family, &self->to) ||
	    system("ethtool -K d0 tx off > /dev/null"))
		SKIP(return, "no device without checksums");
	tx = sock_udp(variant->family);
	ASSERT_EQ(0, flow_add(tx, &self->flow));
	for (i = 0; i < 2 * ARRAY_SIZE(lens); i++) {
		unsigned int j, n = i & 1 ? 3 : 1, last = lens[i / 2];

		batch_init(&batch, &self->flow, 10 * i, n, 1200, last);
		cap = capture_open();
		ASSERT_LE(0, cap);
		ASSERT_LT(0, send_batch(tx, &self->to, &batch));
		for (j = 0; j < n; j++) {
			len = recv_udp(cap, variant->family);
			ASSERT_LE(0, len);
			EXPECT_TRUE(checksum_ok(rxbuf, len))
				TH_LOG("packet %u of %u, %zd bytes", j, n, len);
		}
		close(cap);
	}
	close(tx);
}

#define ESP_KEY		"mode transport aead 'rfc4106(gcm(aes))' " \
			"0x0102030405060708090a0b0c0d0e0f1011121314 128"
#define ESP_TMPL	"tmpl src %s dst %s proto esp mode transport"

/* ESP for all UDP packets from @addr to itself */
static int ipsec_on(const char *addr)
{
	static const char * const cmds[] = {
		"ip xfrm state add src %s dst %s proto esp spi 1 " ESP_KEY,
		"ip xfrm policy add src %s dst %s proto udp dir out " ESP_TMPL,
		/* The loopback is exempt by default */
		"echo 0 > /proc/sys/net/ipv4/conf/lo/disable_xfrm",
	};
	char cmd[512];
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(cmds); i++) {
		snprintf(cmd, sizeof(cmd), cmds[i], addr, addr, addr, addr);
		if (system(cmd))
			return -1;
	}
	return 0;
}

/*
 * GSO and IPsec: an error that UDP knows, too. One packet is none, even if it
 * has a GSO size.
 */
TEST_F(quic, ipsec)
{
	struct counters old;
	struct tx tx;
	int fd, rx;

	ASSERT_EQ(0, netns_enter());
	fd = sock_udp(variant->family);
	rx = sock_bound(variant->family, &self->to);
	ASSERT_EQ(0, flow_add(fd, &self->flow));
	if (ipsec_on(variant->family == AF_INET ? "127.0.0.1" : "::1"))
		SKIP(return, "no IPsec from the ip tool");
	ASSERT_EQ(0, counters_read(&old));
	batch_init(&batch, &self->flow, 1, 3, 1200, 1000);
	ASSERT_EQ(-EIO, send_batch(fd, &self->to, &batch));
	expect_failure(_metadata, &old, -EIO);

	batch_init(&batch, &self->flow, 1, 1, 1200, 1000);
	batch_build(&batch);
	tx_init(&tx, fd, &self->to);
	tx_batch(&tx, &batch);
	tx.gso = 1200;
	ASSERT_EQ((ssize_t)batch.plain_len, tx_send(&tx));
	expect_batch(_metadata, rx, &batch);
	batch_init(&batch, &self->flow, 2, 1, 1200, 1200);
	batch_build(&batch);
	tx_batch(&tx, &batch);
	ASSERT_EQ((ssize_t)batch.plain_len, tx_send(&tx));
	expect_batch(_metadata, rx, &batch);
	close(fd);
	close(rx);
}

/* A packet that is sealed and then lost is a success, and uses up its number */
static void expect_lost(struct __test_metadata *_metadata, int tx,
			const struct sockaddr_storage *to,
			const struct flow *f)
{
	struct counters old, now;

	ASSERT_EQ(0, counters_read(&old));
	batch_init(&batch, f, 1, 1, 1200, 1200);
	ASSERT_EQ(1200 - TAG, send_batch(tx, to, &batch));
	ASSERT_EQ(0, counters_read(&now));
	EXPECT_EQ(old.v[TX_LOST] + 1, now.v[TX_LOST]);
	EXPECT_EQ(old.v[TX_SW_PACKETS] + 1, now.v[TX_SW_PACKETS]);
	EXPECT_EQ(old.v[TX_SW_ERROR], now.v[TX_SW_ERROR]);
	ASSERT_EQ(-EALREADY, send_batch(tx, to, &batch));
}

#define SLOW	"tbf rate 8kbit burst 2000"

/* Fills the queue of the device until plain UDP says that it is full. */
static void queue_fill(struct __test_metadata *_metadata, int tx,
		       const struct sockaddr_storage *to)
{
	int i, err = 0;

	ASSERT_EQ(0, to->ss_family == AF_INET ?
		     set_int(tx, SOL_IP, IP_RECVERR, 1) :
		     set_int(tx, SOL_IPV6, IPV6_RECVERR, 1));
	for (i = 0; i < 100 && !err; i++)
		if (sendto(tx, rxbuf, 1200, 0, (void *)to, addr_len(to)) < 0)
			err = errno;
	ASSERT_EQ(ENOBUFS, err);
}

/*
 * What refuses packets after they were sealed has lost them, as a router would.
 * The call succeeds, as its numbers are used up.
 */
TEST_F(quic, lost)
{
	int tx;

	if (dummy_enter(variant->family, &self->to) ||
	    system("tc qdisc add dev d0 root " SLOW " limit 3000"))
		SKIP(return, "no device with a short queue");
	tx = sock_udp(variant->family);
	ASSERT_EQ(0, flow_add(tx, &self->flow));
	queue_fill(_metadata, tx, &self->to);
	expect_lost(_metadata, tx, &self->to, &self->flow);
	close(tx);
}

/* Which of the two works depends on what the kernel has been built with. */
static int drop_output(bool v4)
{
	static const char * const tools[2][2] = {
		{ "iptables-legacy", "iptables" },
		{ "ip6tables-legacy", "ip6tables" },
	};
	unsigned int i;
	char cmd[128];
	int ret = -1;

	for (i = 0; i < 2 && ret; i++) {
		snprintf(cmd, sizeof(cmd),
			 "%s -A OUTPUT -p udp -j DROP 2> /dev/null",
			 tools[!v4][i]);
		ret = system(cmd);
	}
	return ret;
}

/* The same when netfilter drops what leaves, which plain UDP is told. */
TEST_F(quic, lost_netfilter)
{
	bool v4 = variant->family == AF_INET;
	int tx, rx;

	ASSERT_EQ(0, netns_enter());
	tx = sock_udp(variant->family);
	rx = sock_bound(variant->family, &self->to);
	ASSERT_EQ(0, flow_add(tx, &self->flow));
	if (drop_output(v4))
		SKIP(return, "no ip%stables that drops", v4 ? "" : "6");
	ASSERT_EQ(-1, sendto(tx, "x", 1, 0, (void *)&self->to,
			     addr_len(&self->to)));
	ASSERT_EQ(EPERM, errno);
	expect_lost(_metadata, tx, &self->to, &self->flow);
	ASSERT_EQ(-EAGAIN, rx_recv(rx, rxbuf, sizeof(rxbuf), 0));
	close(tx);
	close(rx);
}

/* What plain UDP says comes through, and uses up nothing. */
TEST_F(quic, error_udp)
{
	bool v4 = variant->family == AF_INET;
	struct sockaddr_storage to;
	int tx, rx, i;

	ASSERT_EQ(0, netns_enter());
	tx = sock_udp(variant->family);
	rx = sock_bound(variant->family, &self->to);
	ASSERT_EQ(0, flow_add(tx, &self->flow));
	addr_doc(&to, variant->family);
	ASSERT_EQ(-ENETUNREACH, send_one(tx, &to, &self->flow, 1));
	if (!system(v4 ? "ip route add unreachable 192.0.2.2" :
			 "ip route add unreachable 2001:db8::2"))
		ASSERT_EQ(-EHOSTUNREACH, send_one(tx, &to, &self->flow, 1));
	if (v4) {
		inet_pton(AF_INET, "127.255.255.255",
			  &((struct sockaddr_in *)&to)->sin_addr);
		ASSERT_EQ(-EACCES, send_one(tx, &to, &self->flow, 1));
	}
	/* The answer to the first is an error of the second */
	close(rx);
	ASSERT_EQ(0, connect(tx, (void *)&self->to, addr_len(&self->to)));
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(PLAIN, send_one(tx, NULL, &self->flow, 2 * i + 1));
		ASSERT_EQ(-ECONNREFUSED,
			  send_one(tx, NULL, &self->flow, 2 * i + 2));
	}
	close(tx);
}

static void alarm_handler(int sig)
{
}

/* A call that a signal has interrupted is repeated: it has not failed. */
TEST_F(quic, interrupted)
{
	struct sigaction sa = { .sa_handler = alarm_handler };
	/* Again and again, as the first signal may come before a call waits */
	struct itimerval it = {
		.it_value.tv_usec = 100000,
		.it_interval.tv_usec = 100000,
	};
	struct counters old, now;
	int tx, i, err = 0;
	struct tx call;

	if (dummy_enter(variant->family, &self->to) ||
	    system("tc qdisc add dev d0 root " SLOW " limit 1000000"))
		SKIP(return, "no device that is slow");
	tx = sock_udp(variant->family);
	ASSERT_EQ(0, flow_add(tx, &self->flow));
	ASSERT_EQ(0, set_int(tx, SOL_SOCKET, SO_SNDBUF, 4096));
	/* Fill the send buffer, which the device empties slowly */
	ASSERT_EQ(0, sigaction(SIGALRM, &sa, NULL));
	ASSERT_EQ(0, counters_read(&old));
	ASSERT_EQ(0, setitimer(ITIMER_REAL, &it, NULL));
	for (i = 0; i < 1000 && !err; i++) {
		batch_init(&batch, &self->flow, i, 1, 1200, 1200);
		if (send_batch(tx, &self->to, &batch) < 0)
			err = errno;
	}
	memset(&it, 0, sizeof(it));
	ASSERT_EQ(0, setitimer(ITIMER_REAL, &it, NULL));
	ASSERT_EQ(EINTR, err);
	batch_build(&batch);
	tx_init(&call, tx, &self->to);
	tx_batch(&call, &batch);
	call.flags = MSG_DONTWAIT;
	ASSERT_EQ(-EAGAIN, tx_send(&call));
	ASSERT_EQ(0, counters_read(&now));
	EXPECT_EQ(old.v[TX_SW_ERROR], now.v[TX_SW_ERROR]);
	EXPECT_EQ(old.v[TX_OTHER_ERROR], now.v[TX_OTHER_ERROR]);
	close(tx);
}

struct nl_msg {
	struct nlmsghdr nlh;
	char data[512];
};

static void *nl_end(struct nl_msg *m)
{
	return (char *)m + m->nlh.nlmsg_len;
}

static void nl_init(struct nl_msg *m, int type, const void *hdr, size_t len)
{
	memset(m, 0, sizeof(*m));
	m->nlh.nlmsg_type = type;
	m->nlh.nlmsg_flags = NLM_F_REQUEST;
	m->nlh.nlmsg_len = NLMSG_SPACE(len);
	memcpy(m->data, hdr, len);
}

static void genl_init(struct nl_msg *m, int family, int cmd)
{
	struct genlmsghdr genl = { .cmd = cmd, .version = 1 };

	nl_init(m, family, &genl, sizeof(genl));
}

static void nl_put(struct nl_msg *m, int type, const void *data, size_t len)
{
	struct nlattr *attr = nl_end(m);

	attr->nla_type = type;
	attr->nla_len = NLA_HDRLEN + len;
	memcpy(attr + 1, data, len);
	m->nlh.nlmsg_len += NLA_ALIGN(attr->nla_len);
}

/* The attributes that follow are nested in one, until nl_nest_end() */
static struct nlattr *nl_nest(struct nl_msg *m, int type)
{
	struct nlattr *attr = nl_end(m);

	nl_put(m, type | NLA_F_NESTED, "", 0);
	return attr;
}

static void nl_nest_end(struct nl_msg *m, struct nlattr *attr)
{
	attr->nla_len = (char *)nl_end(m) - (char *)attr;
}

/* Returns the length of the answer, 0 or a negative error. */
static ssize_t nl_call(int fd, struct nl_msg *m)
{
	ssize_t len;

	if (send(fd, m, m->nlh.nlmsg_len, 0) < 0)
		return -errno;
	len = recv(fd, m, sizeof(*m), 0);
	if (len < 0)
		return -errno;
	if (m->nlh.nlmsg_type == NLMSG_ERROR)
		return ((struct nlmsgerr *)NLMSG_DATA(&m->nlh))->error;
	return len;
}

static int genl_family(int fd, const char *name)
{
	char *p;
	struct nl_msg m;
	ssize_t len;

	genl_init(&m, GENL_ID_CTRL, CTRL_CMD_GETFAMILY);
	p = nl_end(&m);
	nl_put(&m, CTRL_ATTR_FAMILY_NAME, name, strlen(name) + 1);
	len = nl_call(fd, &m);
	if (len < 0)
		return len;
	while (p < (char *)&m + len) {
		struct nlattr *attr = (void *)p;

		if (attr->nla_type == CTRL_ATTR_FAMILY_ID)
			return *(uint16_t *)(attr + 1);
		if (!attr->nla_len)
			break;
		p += NLA_ALIGN(attr->nla_len);
	}
	return -ENODATA;
}

/* Lets L2TP take over a socket. */
static int l2tp_take(int nl, int family, uint32_t fd)
{
	static uint32_t id;
	uint8_t version = 2;
	uint16_t encap = L2TP_ENCAPTYPE_UDP;
	struct nl_msg m;

	id++;
	genl_init(&m, family, L2TP_CMD_TUNNEL_CREATE);
	m.nlh.nlmsg_flags |= NLM_F_ACK;
	nl_put(&m, L2TP_ATTR_CONN_ID, &id, sizeof(id));
	nl_put(&m, L2TP_ATTR_PEER_CONN_ID, &id, sizeof(id));
	nl_put(&m, L2TP_ATTR_PROTO_VERSION, &version, sizeof(version));
	nl_put(&m, L2TP_ATTR_ENCAP_TYPE, &encap, sizeof(encap));
	nl_put(&m, L2TP_ATTR_FD, &fd, sizeof(fd));
	return nl_call(nl, &m);
}

/* A socket has one owner. */
TEST_F(quic, encap_l2tp)
{
	int nl = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC);
	int fd = sock_udp(variant->family);
	int family;

	family = genl_family(nl, L2TP_GENL_NAME);
	if (family < 0)
		SKIP(return, "L2TP: %s", strerror(-family));
	EXPECT_EQ(-EBUSY, l2tp_take(nl, family, self->tx));
	ASSERT_EQ(0, l2tp_take(nl, family, fd));
	EXPECT_EQ(-EBUSY, attach_ulp(fd));
	EXPECT_EQ(-EBUSY, flow_add(fd, &self->flow));
	seal_one(_metadata, self->tx, &self->to, self->rx, &self->flow, 1);
	close(fd);
	close(nl);
}

/* GTP does not take a socket of IPv6 that is also one of IPv4. */
static int gtp_sock(int family)
{
	int fd = sock_udp(family);

	if (family == AF_INET6)
		set_int(fd, SOL_IPV6, IPV6_V6ONLY, 1);
	return fd;
}

/* Lets a new GTP device take over a socket. */
static int gtp_take(int nl, uint32_t fd)
{
	struct ifinfomsg ifi = { .ifi_family = AF_UNSPEC };
	struct nlattr *info, *data;
	struct nl_msg m;

	nl_init(&m, RTM_NEWLINK, &ifi, sizeof(ifi));
	m.nlh.nlmsg_flags |= NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
	info = nl_nest(&m, IFLA_LINKINFO);
	nl_put(&m, IFLA_INFO_KIND, "gtp", sizeof("gtp"));
	data = nl_nest(&m, IFLA_INFO_DATA);
	nl_put(&m, IFLA_GTP_FD1, &fd, sizeof(fd));
	nl_nest_end(&m, data);
	nl_nest_end(&m, info);
	return nl_call(nl, &m);
}

TEST_F(quic, encap_gtp)
{
	int nl = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	int tx = gtp_sock(variant->family), fd = gtp_sock(variant->family);
	int ret;

	ASSERT_EQ(0, flow_add(tx, &self->flow));
	ret = gtp_take(nl, tx);
	if (ret == -EOPNOTSUPP || ret == -EPERM)
		SKIP(return, "GTP: %s", strerror(-ret));
	EXPECT_EQ(-EBUSY, ret);
	ASSERT_EQ(0, gtp_take(nl, fd));
	EXPECT_EQ(-EBUSY, attach_ulp(fd));
	EXPECT_EQ(-EBUSY, flow_add(fd, &self->flow));
	seal_one(_metadata, tx, &self->to, self->rx, &self->flow, 1);
	close(fd);
	close(tx);
	close(nl);
}

/* Where the kernel shows its tracepoints, on a mount of our own if need be */
static int trace_open(const char *name, int flags)
{
	static const char * const dirs[] = {
		"/sys/kernel/tracing", "/sys/kernel/debug/tracing",
	};
	char path[128];
	unsigned int i;
	int fd = -1;

	for (i = 0; i < ARRAY_SIZE(dirs) && fd < 0; i++) {
		snprintf(path, sizeof(path), "%s/%s", dirs[i], name);
		fd = open(path, flags);
	}
	return fd;
}

static int trace_write(const char *name, const char *text)
{
	int fd = trace_open(name, O_WRONLY | O_TRUNC), ret = -1;

	if (fd >= 0 && write(fd, text, strlen(text)) >= 0)
		ret = 0;
	if (fd >= 0)
		close(fd);
	return ret;
}

/* What the last event in the trace says from "npkts=" on */
static const char *trace_last(void)
{
	static char buf[256 * 1024];
	char *last = NULL, *p = buf;
	ssize_t len, all = 0;
	int fd;

	fd = trace_open("trace", O_RDONLY);
	while (fd >= 0 && all < (ssize_t)sizeof(buf) - 1 &&
	       (len = read(fd, buf + all, sizeof(buf) - 1 - all)) > 0)
		all += len;
	if (fd >= 0)
		close(fd);
	buf[all] = '\0';
	while ((p = strstr(p, "npkts=")))
		last = p++;
	if (last)
		last[strcspn(last, "\n")] = '\0';
	return last ?: "nothing";
}

/* Traces failed calls. Returns why not, or NULL. */
static const char *trace_start(void)
{
	if (mount("tracefs", "/sys/kernel/tracing", "tracefs", 0, NULL) &&
	    errno != EBUSY)
		return "no tracefs";
	if (trace_write("events/quic/quic_seal_error/enable", "1"))
		return "no tracepoints";
	return NULL;
}

TEST_F(quic, trace)
{
	static const struct {
		const char *name, *text;
	} reasons[] = {
		{ "long cmsg", "npkts=0 err=-22 reason=cmsg pkt=-1" },
		{ "unknown flag", "npkts=0 err=-22 reason=flags pkt=-1" },
		{ "CID too long",
		  "npkts=0 err=-22 reason=conn_id_length pkt=-1" },
		{ "number too large",
		  "npkts=0 err=-22 reason=next_pkt_num pkt=-1" },
		{ "129 packets", "npkts=129 err=-22 reason=layout pkt=-1" },
		{ "MSG_MORE", "npkts=3 err=-22 reason=udp pkt=-1" },
		{ "no checksum, IPv4",
		  "npkts=3 err=-22 reason=socket pkt=-1" },
		{ "other CID last", "npkts=3 err=-74 reason=conn_id pkt=2" },
		{ "other phase second",
		  "npkts=3 err=-74 reason=key_phase pkt=1" },
		{ "long header first",
		  "npkts=3 err=-22 reason=long_header pkt=0" },
		{ "long header second",
		  "npkts=3 err=-22 reason=long_header pkt=1" },
		{ "no sample in last", "npkts=3 err=-22 reason=short pkt=2" },
		{ "unknown CID", "npkts=1 err=-2 reason=error pkt=-1" },
		{ "same number twice", "npkts=3 err=-114 reason=error pkt=-1" },
	};
	const char *none = trace_start();
	struct flow f;
	unsigned int i, j;

	if (none)
		SKIP(return, "%s", none);
	flow_init(&f, TLS_CIPHER_AES_GCM_128, 8);
	ASSERT_EQ(0, flow_add(self->tx, &f));
	for (i = 0; i < ARRAY_SIZE(reasons); i++) {
		for (j = 0; strcmp(bad_calls[j].name, reasons[i].name); j++)
			ASSERT_LT(j, ARRAY_SIZE(bad_calls));
		EXPECT_EQ(0, trace_write("trace", ""));
		EXPECT_EQ(bad_calls[j].err,
			  bad_call_send(&bad_calls[j], self->tx, &self->to, &f,
					1));
		EXPECT_STREQ(reasons[i].text, trace_last())
			TH_LOG("%s", reasons[i].name);
	}
	trace_write("events/quic/quic_seal_error/enable", "0");
}

/* The reasons that the way to the device has */
TEST_F(quic, trace_path)
{
	size_t max = 1500 - (variant->family == AF_INET ? 28 : 48);
	const char *none = trace_start();
	int tx;

	if (none)
		SKIP(return, "%s", none);
	if (dummy_enter(variant->family, &self->to) ||
	    system("tc qdisc add dev d0 root " SLOW " limit 3000"))
		SKIP(return, "no device with a short queue");
	tx = sock_udp(variant->family);
	ASSERT_EQ(0, flow_add(tx, &self->flow));
	EXPECT_EQ(0, trace_write("trace", ""));
	batch_init(&batch, &self->flow, 1, 2, max + 1, 100);
	EXPECT_EQ(-EMSGSIZE, send_batch(tx, &self->to, &batch));
	EXPECT_STREQ("npkts=2 err=-90 reason=mtu pkt=-1", trace_last());
	queue_fill(_metadata, tx, &self->to);
	batch_init(&batch, &self->flow, 1, 2, 1200, 1200);
	EXPECT_EQ(2 * (1200 - TAG), send_batch(tx, &self->to, &batch));
	EXPECT_STREQ("npkts=2 err=-105 reason=lost pkt=-1", trace_last());
	trace_write("events/quic/quic_seal_error/enable", "0");
	close(tx);
}

/* Programs of the cgroup, which see the addresses of calls and connect() */

#define CGROUPS	"/sys/fs/cgroup"
#define CGROUP	CGROUPS "/quic"

static int cgroup_join(const char *procs)
{
	int fd = open(procs, O_WRONLY | O_CLOEXEC), ret = 0;

	if (fd < 0 || write(fd, "0", 1) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

static void cgroup_leave(void)
{
	cgroup_join(CGROUPS "/cgroup.procs");
	rmdir(CGROUP);
}

/* A cgroup of our own, that of the sockets to come. Returns its directory. */
static int cgroup_enter(void)
{
	int err;

	rmdir(CGROUP);
	if (mkdir(CGROUP, 0755))
		return -errno;
	err = cgroup_join(CGROUP "/cgroup.procs");
	if (err) {
		rmdir(CGROUP);
		return err;
	}
	return open(CGROUP, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* Two instructions: write a member of the address */
static void prog_write(struct bpf_insn *insn, size_t off, uint32_t val)
{
	insn[0] = (struct bpf_insn){
		.code = BPF_ALU | BPF_MOV | BPF_K,
		.dst_reg = BPF_REG_2,
		.imm = val,
	};
	insn[1] = (struct bpf_insn){
		.code = BPF_STX | BPF_MEM | BPF_W,
		.dst_reg = BPF_REG_1,
		.src_reg = BPF_REG_2,
		.off = off,
	};
}

/* Replaces the address by @to. Returns the number of instructions. */
static unsigned int prog_rewrite(struct bpf_insn *insn,
				 const struct sockaddr_storage *to)
{
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)to;
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)to;
	unsigned int i;

	prog_write(insn, offsetof(struct bpf_sock_addr, user_port),
		   v4->sin_port);
	if (to->ss_family == AF_INET) {
		prog_write(insn + 2, offsetof(struct bpf_sock_addr, user_ip4),
			   v4->sin_addr.s_addr);
		return 4;
	}
	for (i = 0; i < 4; i++)
		prog_write(insn + 2 + 2 * i,
			   offsetof(struct bpf_sock_addr, user_ip6[i]),
			   v6->sin6_addr.s6_addr32[i]);
	return 10;
}

/* A program that replaces addresses by @to; without @to, it refuses them. */
static int prog_load(int type, const struct sockaddr_storage *to)
{
	struct bpf_insn insns[12] = {};
	unsigned int n = to ? prog_rewrite(insns, to) : 0;
	union bpf_attr attr = {
		.prog_type = BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
		.expected_attach_type = type,
		.insns = (uintptr_t)insns,
		.insn_cnt = n + 2,
		.license = (uintptr_t)"GPL",
	};

	insns[n].code = BPF_ALU64 | BPF_MOV | BPF_K;
	insns[n].dst_reg = BPF_REG_0;
	insns[n].imm = !!to;
	insns[n + 1].code = BPF_JMP | BPF_EXIT;
	return bpf_call(BPF_PROG_LOAD, &attr);
}

/* In place of a program that is there already */
static int prog_attach(int cgroup, int type, const struct sockaddr_storage *to)
{
	int prog = prog_load(type, to), err;
	union bpf_attr attr = {
		.target_fd = cgroup,
		.attach_bpf_fd = prog,
		.attach_type = type,
	};

	if (prog < 0)
		return prog;
	err = bpf_call(BPF_PROG_ATTACH, &attr);
	close(prog);
	return err;
}

static int prog_detach(int cgroup, int type)
{
	union bpf_attr attr = { .target_fd = cgroup, .attach_type = type };

	return bpf_call(BPF_PROG_DETACH, &attr);
}

/* A cgroup of our own with such a program. Returns its directory. */
static int cgroup_prog(int type, const struct sockaddr_storage *to)
{
	int cgroup = cgroup_enter(), err;

	if (cgroup < 0)
		return cgroup;
	err = prog_attach(cgroup, type, to);
	if (!err)
		return cgroup;
	close(cgroup);
	cgroup_leave();
	return err;
}

/* Flows for the address that the application gives, for the one that a program
 * replaces it by, and by id
 */
static void flows_of_program(const struct sockaddr_storage *from,
			     const struct sockaddr_storage *to,
			     struct flow *given, struct flow *real,
			     struct flow *id)
{
	flow_init(given, TLS_CIPHER_AES_GCM_128, 8);
	given->dst = *from;
	*real = *given;
	keys_init(&real->keys, TLS_CIPHER_AES_GCM_128);
	real->dst = *to;
	flow_init(id, TLS_CIPHER_AES_GCM_128, 8);
	id->id = 1;
}

/* The flow of the address that the application gave seals. */
TEST_F(quic, bpf_sendmsg)
{
	int type = variant->family == AF_INET ? BPF_CGROUP_UDP4_SENDMSG :
						BPF_CGROUP_UDP6_SENDMSG;
	struct flow given, real, id;
	struct sockaddr_storage doc;
	int cgroup, tx;

	cgroup = cgroup_prog(type, &self->to);
	if (cgroup < 0)
		SKIP(return, "no program of a cgroup: %s", strerror(-cgroup));
	tx = sock_udp(variant->family);
	addr_doc(&doc, variant->family);
	flows_of_program(&doc, &self->to, &given, &real, &id);
	ASSERT_EQ(0, flow_add(tx, &real));
	EXPECT_EQ(-ENOENT, send_one(tx, &doc, &real, 1));
	ASSERT_EQ(0, flow_add(tx, &given));
	ASSERT_EQ(0, flow_add(tx, &id));
	ASSERT_EQ(0, flow_add(tx, &self->flow));
	batch_init(&batch, &given, 1, 3, 100, 100);
	seal_batch(_metadata, tx, &doc, self->rx, &batch);
	seal_one(_metadata, tx, &doc, self->rx, &id, 1);
	seal_one(_metadata, tx, &doc, self->rx, &self->flow, 1);

	/* There is no other way to the address. */
	ASSERT_EQ(0, prog_detach(cgroup, type));
	EXPECT_EQ(-ENETUNREACH, send_one(tx, &doc, &given, 4));
	seal_one(_metadata, tx, &self->to, self->rx, &real, 1);
	expect_nothing(_metadata, self->rx);
	close(tx);
	close(cgroup);
	cgroup_leave();
}

/* The same with an IPv4 address on an IPv6 socket */
TEST(bpf_sendmsg_mapped)
{
	struct sockaddr_storage to, doc;
	int cgroup, tx, rx;
	struct flow f;

	if (missing)
		SKIP(return, "%s", missing);
	rx = sock_bound(AF_INET, &to);
	cgroup = cgroup_prog(BPF_CGROUP_UDP4_SENDMSG, &to);
	if (cgroup < 0)
		SKIP(return, "no program of a cgroup: %s", strerror(-cgroup));
	tx = sock_udp(AF_INET6);
	addr_doc(&doc, AF_INET);
	flow_init(&f, TLS_CIPHER_AES_GCM_128, 8);
	f.dst = doc;
	ASSERT_EQ(0, flow_add(tx, &f));
	seal_one(_metadata, tx, &doc, rx, &f, 1);
	addr_mapped(&doc);
	seal_one(_metadata, tx, &doc, rx, &f, 2);
	close(tx);
	close(rx);
	close(cgroup);
	cgroup_leave();
}

/* A call that a program refuses sends nothing, and uses up no number. */
TEST_F(quic, bpf_refuse)
{
	int type = variant->family == AF_INET ? BPF_CGROUP_UDP4_SENDMSG :
						BPF_CGROUP_UDP6_SENDMSG;
	struct counters old;
	int cgroup, tx;

	cgroup = cgroup_prog(type, NULL);
	if (cgroup < 0)
		SKIP(return, "no program of a cgroup: %s", strerror(-cgroup));
	tx = sock_udp(variant->family);
	ASSERT_EQ(0, flow_add(tx, &self->flow));
	ASSERT_EQ(0, counters_read(&old));
	batch_init(&batch, &self->flow, 1, 3, 100, 100);
	EXPECT_EQ(-EPERM, send_batch(tx, &self->to, &batch));
	expect_failure(_metadata, &old, -EPERM);
	EXPECT_EQ(-EPERM, send_one(tx, &self->to, &self->flow, 1 << 20));
	ASSERT_EQ(0, prog_detach(cgroup, type));
	expect_nothing(_metadata, self->rx);
	batch_init(&batch, &self->flow, 1, 3, 100, 100);
	seal_batch(_metadata, tx, &self->to, self->rx, &batch);
	close(tx);
	close(cgroup);
	cgroup_leave();
}

/* A connected socket has the address that the program has put there. */
TEST_F(quic, bpf_connect)
{
	int type = variant->family == AF_INET ? BPF_CGROUP_INET4_CONNECT :
						BPF_CGROUP_INET6_CONNECT;
	struct flow given, real, id;
	struct sockaddr_storage doc;
	int cgroup, tx;

	cgroup = cgroup_prog(type, &self->to);
	if (cgroup < 0)
		SKIP(return, "no program of a cgroup: %s", strerror(-cgroup));
	tx = sock_udp(variant->family);
	addr_doc(&doc, variant->family);
	flows_of_program(&doc, &self->to, &given, &real, &id);
	ASSERT_EQ(0, flow_add(tx, &given));
	ASSERT_EQ(0, flow_add(tx, &id));
	ASSERT_EQ(0, flow_add(tx, &self->flow));
	ASSERT_EQ(0, connect(tx, (void *)&doc, addr_len(&doc)));
	EXPECT_EQ(-ENOENT, send_one(tx, NULL, &given, 1));
	seal_one(_metadata, tx, NULL, self->rx, &id, 1);
	seal_one(_metadata, tx, NULL, self->rx, &self->flow, 1);
	ASSERT_EQ(0, flow_add(tx, &real));
	seal_one(_metadata, tx, NULL, self->rx, &real, 1);
	/* The program sees no calls. */
	EXPECT_EQ(-ENETUNREACH, send_one(tx, &doc, &given, 1));
	expect_nothing(_metadata, self->rx);
	close(tx);
	close(cgroup);
	cgroup_leave();
}

int main(int argc, char **argv)
{
	if (netns_enter())
		missing = "no network namespace of our own";
	else
		missing = quic_missing();
	return test_harness_run(argc, argv);
}
