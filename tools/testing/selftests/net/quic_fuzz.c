// SPDX-License-Identifier: GPL-2.0
/*
 * Random arguments for QUIC packet protection. Whatever they are, errors are
 * the documented ones, and with the control message there is no plaintext on
 * the wire. Whatever arrives, it is plaintext only if the kernel says so.
 *
 * QUIC_FUZZ_SEED=n repeats a run, QUIC_FUZZ_COUNT=n makes it longer.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "../kselftest_harness.h"
#include "quic_rx_util.h"

#define DEFAULT_COUNT	3000
#define DEFAULT_SECONDS	10	/* even if there are calls left to make */
#define FLOWS		6
#define MSG_PROBE_ONLY	0x10	/* MSG_PROBE: is no error and sends nothing */

static const char *missing;
static uint8_t rxbuf[64 * 1024];
static struct batch batch;

/* What is at the borders of 8, 16, 32 bits, and small numbers */
static uint32_t odd_number(void)
{
	static const uint32_t nums[] = {
		0, 1, 2, 15, 16, 17, 20, 21, 127, 128, 255, 256, 1200, 32767,
		32768, 65507, 65535, 65536, 0x7fffffff, 0x80000000, 0xffffffff,
	};

	return one_in(4) ? rnd() : nums[below(ARRAY_SIZE(nums))];
}

FIXTURE(fuzz)
{
	int tx, rx, cap;
	struct sockaddr_storage to;
	struct flow flow[FLOWS];	/* installed */
	struct flow old[FLOWS];		/* the generation before */
	unsigned long count;
	time_t end;
};

FIXTURE_VARIANT(fuzz)
{
	int family;
};

FIXTURE_VARIANT_ADD(fuzz, ipv4)
{
	.family = AF_INET,
};

FIXTURE_VARIANT_ADD(fuzz, ipv6)
{
	.family = AF_INET6,
};

static void fuzz_new_flow(struct _test_data_fuzz *self, unsigned int i)
{
	static const uint16_t ciphers[] = {
		TLS_CIPHER_AES_GCM_128, TLS_CIPHER_AES_GCM_256,
		TLS_CIPHER_AES_CCM_128, TLS_CIPHER_CHACHA20_POLY1305,
	};
	struct flow *f = &self->flow[i];

	flow_init(f, ciphers[below(4)], i * 4);
	f->id = i;
	f->gen = rnd();
	if (i & 1)
		f->dst = self->to;
	self->old[i] = *f;
}

FIXTURE_SETUP(fuzz)
{
	unsigned long seed = env_number("QUIC_FUZZ_SEED", time(NULL));
	unsigned int i;

	if (missing)
		SKIP(return, "%s", missing);
	TH_LOG("QUIC_FUZZ_SEED=%lu", seed);
	rnd_seed(seed);
	self->count = env_number("QUIC_FUZZ_COUNT", DEFAULT_COUNT);
	self->end = seconds() + (getenv("QUIC_FUZZ_COUNT") ? 100000 :
							     DEFAULT_SECONDS);
	self->rx = sock_bound(variant->family, &self->to);
	ASSERT_LE(0, self->rx);
	self->tx = sock_udp(variant->family);
	ASSERT_LE(0, self->tx);
	self->cap = capture_open();
	for (i = 0; i < FLOWS; i++) {
		fuzz_new_flow(self, i);
		ASSERT_EQ(0, flow_add(self->tx, &self->flow[i]));
	}
}

FIXTURE_TEARDOWN(fuzz)
{
	close(self->tx);
	close(self->rx);
	close(self->cap);
}

static bool listed(const int *list, unsigned int n, int err)
{
	while (n--) {
		if (list[n] == err)
			return true;
	}
	return false;
}

/* setsockopt() */

static void fuzz_info(struct quic_connection_info *ci, const struct flow *f)
{
	uint8_t *bytes = (uint8_t *)ci;
	uint32_t val;

	flow_info(f, ci);
	switch (below(10)) {
	case 0:
		ci->key.conn_id_length = odd_number();
		break;
	case 1:
		ci->cipher_type = below(8) + 48;
		break;
	case 2:
		ci->conn_payload_key_gen += below(4);
		break;
	case 3:
		ci->key.peer.ss_family = odd_number();
		break;
	case 4:
		val = odd_number();
		memcpy(bytes + below(sizeof(*ci) - 4), &val, 4);
		break;
	case 5:
		bytes[below(sizeof(*ci))] ^= 1 << below(8);
		break;
	case 6:
		ci->key.flow_id = below(FLOWS + 1);
		break;
	case 7:
		val = below(sizeof(*ci));
		while (val < sizeof(*ci))
			bytes[val++] = rnd();
		break;
	default:
		break;
	}
}

static socklen_t fuzz_optlen(void)
{
	switch (below(6)) {
	case 0:
		return odd_number();
	case 1:
		return sizeof(struct quic_connection_info_key);
	case 2:
		return below(4096 + 64);
	default:
		return sizeof(struct quic_connection_info);
	}
}

TEST_F_TIMEOUT(fuzz, setsockopt, 100000)
{
	static const int errors[] = {
		EINVAL, EFAULT, E2BIG, EOPNOTSUPP, EAFNOSUPPORT, EEXIST,
		ENOENT, ENOPROTOOPT, EBUSY, EADDRINUSE, ENOKEY, ENOSPC,
		EDQUOT,
	};
	static const int opts[] = {
		UDP_QUIC_ADD_TX_CONNECTION, UDP_QUIC_DEL_TX_CONNECTION,
		UDP_QUIC_ADD_RX_CONNECTION, UDP_QUIC_DEL_RX_CONNECTION,
		UDP_QUIC_RX_DROP,
	};
	static uint8_t buf[8192];
	socklen_t len;
	unsigned long i;
	struct flow f;
	int opt, err;

	for (i = 0; i < self->count && seconds() < self->end; i++) {
		f = self->flow[below(FLOWS)];
		if (one_in(3))
			flow_init(&f, 51 + below(4), below(21));
		if (one_in(4))
			memset(buf, one_in(2) ? 0 : rnd(), sizeof(buf));
		fuzz_info((void *)buf, &f);
		if (one_in(10)) {
			len = fuzz_optlen() % sizeof(buf);
			err = getsockopt(self->tx, SOL_UDP, UDP_QUIC_INFO, buf,
					 &len);
			if (err)
				EXPECT_TRUE(listed(errors, ARRAY_SIZE(errors),
						   errno));
			continue;
		}
		opt = one_in(20) ? UDP_ULP + below(10) :
				   opts[below(ARRAY_SIZE(opts))];
		err = setsockopt(self->tx, SOL_UDP, opt,
				 one_in(30) ? NULL : buf, fuzz_optlen());
		if (err)
			EXPECT_TRUE(listed(errors, ARRAY_SIZE(errors), errno))
				TH_LOG("call %lu: %s", i, strerror(errno));
	}
	TH_LOG("%lu calls", i);
}

/* sendmsg() */

static void fuzz_packets(struct _test_data_fuzz *self, const struct flow *f)
{
	static uint64_t pn;
	unsigned int i, n = one_in(3) ? 1 : 1 + below(8);
	size_t size = 60 + below(200);

	if (one_in(100))
		pn = rnd() & MAX_PKT_NUM;
	batch_init(&batch, f, pn, n, size, 60 + below(size - 59));
	pn = (pn + n) & MAX_PKT_NUM;
	batch.room = one_in(2);
	for (i = 0; i < n; i++) {
		batch.pkt[i].pn_len = 1 + below(4);
		batch.pkt[i].first = rnd() & (HDR_FIXED | HDR_SPIN |
					      HDR_RESERVED);
	}
	batch_build(&batch);
}

/* Up to three things are not as they should be. */
static void fuzz_damage(struct tx *tx, struct sockaddr_storage *to)
{
	switch (below(16)) {
	case 0:
		batch.plain[below(batch.plain_len)] ^= 1 << below(8);
		break;
	case 1:
		batch.plain[below(40)] = rnd();
		break;
	case 2:
		tx->one.iov_len = below(batch.plain_len + 1);
		break;
	case 3:
		tx->one.iov_len = odd_number() % sizeof(batch.plain);
		break;
	case 4:
		tx->gso = odd_number();
		break;
	case 5:
		tx->anc.flags ^= 1 << below(8);
		break;
	case 6:
		tx->anc.conn_id_length = odd_number();
		break;
	case 7:
		tx->anc.next_pkt_num ^= 1ULL << below(64);
		break;
	case 8:
		tx->anc_len = below(40);
		break;
	case 9:
		tx->n_anc = 1 + below(3);
		break;
	case 10:
		tx->anc.flags |= QUIC_TX_FLOW_ID;
		tx->anc.flow_id = below(FLOWS + 1);
		break;
	case 11:
		tx->flags = 1 << below(28);
		break;
	case 12:
		tx->to = NULL;
		break;
	case 13:
		to->ss_family = odd_number();
		break;
	case 14:
		tx->one.iov_base = (void *)(uintptr_t)(one_in(2) ? 0 : 4096);
		break;
	default:
		tx->gso = batch.size + below(40) - 20;
		break;
	}
}

static void fuzz_socket(struct _test_data_fuzz *self)
{
	struct sockaddr unspec = { .sa_family = AF_UNSPEC };

	switch (below(6)) {
	case 0:
		set_int(self->tx, SOL_UDP, UDP_SEGMENT, one_in(2) ? 0 :
							odd_number());
		break;
	case 1:
		set_int(self->tx, SOL_SOCKET, SO_NO_CHECK, one_in(4));
		break;
	case 2:
		set_int(self->tx, SOL_UDP, 1 /* UDP_CORK */, one_in(4));
		break;
	case 3:
		set_int(self->tx, SOL_SOCKET, SO_ZEROCOPY, one_in(2));
		break;
	case 4:
		connect(self->tx, (void *)&self->to, addr_len(&self->to));
		break;
	default:
		connect(self->tx, &unspec, sizeof(unspec));
		break;
	}
}

/* A key update, or a new flow */
static int fuzz_flow(struct _test_data_fuzz *self)
{
	unsigned int i = below(FLOWS);
	struct flow *f = &self->flow[i];

	if (one_in(2)) {
		self->old[i] = *f;
		flow_next(f, &self->old[i]);
	} else {
		if (flow_del(self->tx, f))
			return -1;
		fuzz_new_flow(self, i);
	}
	return flow_add(self->tx, f);
}

/* A flow that has an id is for any connection ID, as long as the call says. */
static bool opens(const struct flow *flow, ssize_t len, uint8_t cid_len,
		  uint64_t *expected)
{
	static uint8_t buf[sizeof(rxbuf)];
	struct flow f = *flow;
	uint64_t pn;

	memcpy(buf, rxbuf, len);
	if (f.id && cid_len <= sizeof(f.cid)) {
		f.cid_len = cid_len;
		memcpy(f.cid, buf + 1, cid_len);
	}
	if (pkt_open(&f, *expected, buf, len, &pn) < 0)
		return false;
	*expected = pn + 1;
	return true;
}

/* Everything that has arrived opens with a live key; returns how much did. */
static int fuzz_receive(struct _test_data_fuzz *self, const struct tx *tx,
			size_t *bytes)
{
	uint8_t cid_len = tx->anc.conn_id_length;
	uint64_t expected = tx->anc.next_pkt_num;
	unsigned int i;
	ssize_t len;
	int n = 0;

	*bytes = 0;
	while ((len = rx_recv(self->rx, rxbuf, sizeof(rxbuf), 0)) >= 0) {
		for (i = 0; i < FLOWS; i++) {
			if (opens(&self->flow[i], len, cid_len, &expected) ||
			    opens(&self->old[i], len, cid_len, &expected))
				break;
		}
		if (i == FLOWS)
			return -1;
		*bytes += len;
		n++;
	}
	return n;
}

/* Is there plaintext in a frame? A call that selects the flow by its id says
 * how long the connection ID is. This part of the header is sent as it is, even
 * if the call has declared payload to be part of it.
 */
static bool fuzz_has_marker(const struct tx *tx, const uint8_t *buf, size_t len)
{
	uint8_t cid_len = tx->anc.conn_id_length;
	const uint8_t *cid = NULL, *end = buf + len;

	if (tx->anc.flags & QUIC_TX_FLOW_ID && cid_len >= MARKER_LEN)
		cid = memmem(buf, len, batch.plain + 1, cid_len);
	if (cid)
		buf = cid + cid_len;
	return has_marker(buf, end - buf);
}

static unsigned int fuzz_markers(int fd, const struct tx *tx)
{
	unsigned int n = 0;
	ssize_t len;

	while ((len = rx_recv(fd, rxbuf, sizeof(rxbuf), 0)) >= 0)
		n += fuzz_has_marker(tx, rxbuf, len < (ssize_t)sizeof(rxbuf) ?
						len : (ssize_t)sizeof(rxbuf));
	return n;
}

static void fuzz_drain(int fd)
{
	while (rx_recv(fd, rxbuf, sizeof(rxbuf), 0) >= 0)
		;
}

/* What @tx has sent: nothing on error, else all of it and sealed */
static void fuzz_check(struct __test_metadata *_metadata,
		       struct _test_data_fuzz *self, const struct tx *tx,
		       ssize_t ret)
{
	static const int errors[] = {
		EINVAL, EBADMSG, ENOENT, ENOKEY, EKEYEXPIRED, EALREADY,
		EMSGSIZE, ENOBUFS, EFAULT, EAGAIN, EOPNOTSUPP, EDESTADDRREQ,
		EAFNOSUPPORT, ECONNREFUSED, ENETUNREACH,
	};
	size_t bytes;
	int n;

	if (tx->anc.flags == QUIC_BYPASS_ENCRYPTION) {
		/* Such may be corked. */
		set_int(self->tx, SOL_UDP, 1 /* UDP_CORK */, 0);
		fuzz_drain(self->rx);
		fuzz_drain(self->cap);
		return;
	}
	if (self->cap >= 0)
		ASSERT_EQ(0, fuzz_markers(self->cap, tx));
	n = fuzz_receive(self, tx, &bytes);
	if (ret < 0) {
		ASSERT_EQ(0, n);
		ASSERT_TRUE(listed(errors, ARRAY_SIZE(errors), -ret))
			TH_LOG("%s", strerror(-ret));
		return;
	}
	ASSERT_EQ((ssize_t)tx->one.iov_len, ret);
	if (tx->flags & MSG_PROBE_ONLY)
		return;
	if (tx->to && tx->to->ss_family != self->to.ss_family)
		return;	/* IPv4 from an IPv6 socket, to nobody */
	ASSERT_LT(0, n)
		TH_LOG("flags %x, %zu bytes, GSO %u, to %d", tx->flags,
		       tx->one.iov_len, tx->gso,
		       tx->to ? tx->to->ss_family : -1);
	ASSERT_EQ(tx->one.iov_len +
		  (tx->anc.flags & QUIC_TX_TAG_ROOM ? 0 : n * TAG), bytes);
}

TEST_F_TIMEOUT(fuzz, sendmsg, 100000)
{
	unsigned long i, sent = 0;
	struct sockaddr_storage to;
	unsigned int damage;
	struct tx tx;
	ssize_t ret;

	for (i = 0; i < self->count && seconds() < self->end; i++) {
		if (one_in(8))
			ASSERT_EQ(0, fuzz_flow(self));
		if (one_in(8))
			fuzz_socket(self);
		to = self->to;
		fuzz_packets(self, &self->flow[below(FLOWS)]);
		tx_init(&tx, self->tx, &to);
		tx_batch(&tx, &batch);
		tx.gso = batch.n > 1 || one_in(2) ? batch.size : 0;
		for (damage = below(4); damage; damage--)
			fuzz_damage(&tx, &to);
		ret = tx_send(&tx);
		sent += ret >= 0;
		fuzz_check(_metadata, self, &tx, ret);
	}
	TH_LOG("%lu calls, %lu sent something", i, sent);
	ASSERT_LT(i / 20, sent);
}

/* recvmsg() */

#define RX_FLOWS	4

/**
 * struct changer - a thread that adds and removes flows for reception
 * @thread: itself
 * @fd: on this socket
 * @stop: ends it
 * @flow: flows, none of which ever changes
 * @next: their next generation
 * @seed: of its own random numbers
 * @err: an error that must not be, else 0
 */
struct changer {
	pthread_t thread;
	int fd;
	atomic_bool stop;
	struct flow flow[RX_FLOWS];
	struct flow next[RX_FLOWS];
	unsigned int seed;
	int err;
};

static int change_once(struct changer *c)
{
	unsigned int i = rand_r(&c->seed) % RX_FLOWS;
	struct flow alias = c->flow[i];
	struct flow gen = rand_r(&c->seed) % 2 ? c->flow[i] : c->next[i];

	alias.cid[0] ^= 0x40;
	switch (rand_r(&c->seed) % 12) {
	case 0:
		return rx_del(c->fd, &c->flow[i]);
	case 1:
		return rx_add_alias(c->fd, &alias);
	case 2:
		return rx_del_alias(c->fd, &alias);
	case 3:
		return rx_del_gen(c->fd, &gen);
	case 4:
		return rand_r(&c->seed) % 8 ? 0 : rx_del_all(c->fd);
	case 5:
		return set_int(c->fd, SOL_UDP, UDP_GRO,
			       rand_r(&c->seed) % 2);
	case 6:
		return set_int(c->fd, SOL_UDP, UDP_QUIC_RX_DROP,
			       !(rand_r(&c->seed) % 4));
	case 7:
	case 8:
		return rx_add(c->fd, &c->next[i]);
	default:
		return rx_add(c->fd, &c->flow[i]);
	}
}

static void *changer_run(void *arg)
{
	static const int errors[] = {
		ENOENT, EEXIST, EADDRINUSE, EINVAL, ENOKEY, EAGAIN,
	};
	struct changer *c = arg;
	int err;

	while (!c->err && !atomic_load(&c->stop)) {
		err = change_once(c);
		if (err && !listed(errors, ARRAY_SIZE(errors), -err))
			c->err = err;
	}
	return NULL;
}

static void changer_init(struct changer *c, int fd)
{
	unsigned int i;

	memset(c, 0, sizeof(*c));
	c->fd = fd;
	c->seed = rnd();
	for (i = 0; i < RX_FLOWS; i++) {
		flow_init(&c->flow[i], TLS_CIPHER_AES_GCM_128 + i,
			  4 + 5 * i);
		c->flow[i].id = i + 1;
		flow_next(&c->next[i], &c->flow[i]);
	}
}

/* Up to eight packets of any flow and generation, of which some are damaged */
static void fuzz_wire(const struct changer *c, bool *damaged)
{
	static uint64_t pn;
	unsigned int i, n = 1 + below(8), flow;
	size_t size = 60 + below(200);

	batch_init(&batch, &c->flow[0], pn, n, size, 60 + below(size - 59));
	pn += n;
	for (i = 0; i < n; i++) {
		flow = below(RX_FLOWS);
		batch.pkt[i].flow = one_in(3) ? &c->next[flow] : &c->flow[flow];
		batch.pkt[i].pn_len = 1 + below(4);
		if (one_in(8))
			batch.pkt[i].pn += below(1000);
	}
	batch_build(&batch);
	for (i = 0; i < n; i++) {
		uint8_t *pkt = batch.wire + wire_off(&batch, i);

		damaged[i] = one_in(4);
		if (damaged[i])
			pkt[below(batch.pkt[i].len)] ^= 1 << below(8);
	}
}

/* Is packet @i, of which @got arrived, what its status says? */
static bool fuzz_packet(const struct quic_rx_packet *e, unsigned int i,
			const uint8_t *got, bool damaged)
{
	const uint8_t *wire = batch.wire + wire_off(&batch, i);
	const struct pkt *p = &batch.pkt[i];
	static uint8_t buf[2048];
	unsigned int pn_len;
	uint64_t pn;

	switch (e->status) {
	case QUIC_RX_OPENED:
		return !damaged && e->pkt_num == p->pn &&
		       e->flow_id == p->flow->id &&
		       e->key_gen == p->flow->gen &&
		       !rx_differs(p, wire, got, QUIC_RX_OPENED);
	case QUIC_RX_KEY_PHASE:
		memcpy(buf, wire, p->len);
		return !pkt_show_hdr(p->flow, buf, p->len, &pn_len, &pn) &&
		       e->pkt_num_length == pn_len && !memcmp(buf, got, p->len);
	default:
		return e->status < NR_STATUS && !memcmp(wire, got, p->len);
	}
}

/* Packets of @rx begin with packet @first; returns how many there are. */
static int fuzz_call(const struct rx *rx, unsigned int first,
		     const bool *damaged)
{
	size_t off = wire_off(&batch, first), end = off;
	unsigned int i;

	for (i = first; i < batch.n && end < off + rx->ret; i++) {
		const struct quic_rx_packet *e = &rx->pkt[i - first];
		const uint8_t *got = rx->buf + end - off;

		end += batch.pkt[i].len;
		if (rx->elems < 0) {
			if (memcmp(batch.wire + end - batch.pkt[i].len, got,
				   batch.pkt[i].len))
				return -1;
		} else if (!fuzz_packet(e, i, got, damaged[i])) {
			return -1;
		}
	}
	if (end != off + rx->ret)
		return -1;
	if (rx->elems >= 0 && rx->elems != (int)(i - first))
		return -1;
	return i - first;
}

/* A call that may be made in vain, and whose buffers may be too small */
static bool fuzz_rx_odd(struct rx *rx, int fd)
{
	ssize_t ret;
	size_t i;

	rx_init(rx, fd);
	rx->room = below(300);
	rx->size = below(2000);
	rx->flags |= MSG_PEEK | (one_in(2) ? MSG_TRUNC : 0);
	ret = rx_call(rx);
	if (ret < 0)
		return ret == -EAGAIN;
	/* Nothing is written beyond the buffers. */
	for (i = rx->size; i < sizeof(rx->buf); i++) {
		if (rx->buf[i] != 0xee)
			return false;
	}
	for (i = rx->room; i < sizeof(rx->control); i++) {
		if (((uint8_t *)rx->control)[i] != 0xee)
			return false;
	}
	return rx->elems >= 0 || !has_marker(rx->buf, rx->size);
}

TEST_F_TIMEOUT(fuzz, recvmsg, 100000)
{
	static struct changer c;
	unsigned long i, calls = 0, opened = 0, elems = 0;
	bool damaged[MAX_PKTS];
	static struct rx rx;
	unsigned int seen;
	int n, j;

	changer_init(&c, self->rx);
	for (i = 0; i < RX_FLOWS; i++)
		ASSERT_EQ(0, rx_add(self->rx, &c.flow[i]));
	ASSERT_EQ(0, pthread_create(&c.thread, NULL, changer_run, &c));
	for (i = 0; i < self->count && seconds() < self->end; i++) {
		fuzz_wire(&c, damaged);
		ASSERT_LT(0, wire_batch(self->tx, &self->to, &batch));
		if (one_in(4))
			ASSERT_TRUE(fuzz_rx_odd(&rx, self->rx));
		/* Some may have been dropped, but only those at the end are
		 * looked for then.
		 */
		for (seen = 0; seen < batch.n; seen += n) {
			rx_init(&rx, self->rx);
			rx.room = one_in(4) ? below(300) : rx.room;
			if (rx_call(&rx) == -EAGAIN)
				break;
			calls++;
			n = fuzz_call(&rx, seen, damaged);
			/* A packet that was dropped lets others move up. */
			while (n < 0 && ++seen < batch.n)
				n = fuzz_call(&rx, seen, damaged);
			ASSERT_LT(0, n);
			for (j = 0; j < rx.elems; j++)
				opened += rx.pkt[j].status == QUIC_RX_OPENED;
			elems += rx.elems > 0 ? rx.elems : 0;
		}
		fuzz_drain(self->rx);
	}
	atomic_store(&c.stop, true);
	pthread_join(c.thread, NULL);
	ASSERT_EQ(0, c.err);
	TH_LOG("%lu datagrams, %lu elements, %lu opened", calls, elems, opened);
	ASSERT_LT(calls / 20, opened);
	ASSERT_LT(opened, elems);
}

int main(int argc, char **argv)
{
	if (netns_enter())
		missing = "no network namespace of our own";
	else
		missing = quic_missing();
	return test_harness_run(argc, argv);
}
