// SPDX-License-Identifier: GPL-2.0
/*
 * A model of QUIC reception in the kernel: flows, what they match, generations,
 * packet numbers, failures. Long sequences of random calls are made on a socket
 * and on the model, and everything that the kernel answers is compared.
 *
 * QUIC_FUZZ_SEED=n repeats a run, QUIC_FUZZ_COUNT=n makes it longer.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "../kselftest_harness.h"
#include "quic_rx_util.h"

#define DEFAULT_COUNT	40000
#define DEFAULT_SECONDS	30	/* even if there are calls left to make */

#define FLOWS		10
#define MATCHES		6
#define PEERS		2
#define ANY		PEERS	/* index of no peer in particular */
#define MAX_BATCH	12
#define FAIL_LIMIT	100

static const char *missing;
static struct batch batch;
static struct rx rx;

/**
 * struct match - what packets of a flow look like
 * @used: it is there
 * @cid: connection ID
 * @cid_len: bytes of it
 * @peer: index of the source, or ANY
 */
struct match {
	bool used;
	uint8_t cid[QUIC_MAX_CONNECTION_ID_SIZE];
	uint8_t cid_len;
	unsigned int peer;
};

/**
 * struct model_flow - a flow of the model
 * @used: it is there
 * @f: id, path, cipher and header key; its keys are those of the first
 *     generation, and nothing else of it counts
 * @match: matches
 * @has: the generation is installed; index: generation modulo 4
 * @gen: current generation
 * @keys: keys of all generations so far, by generation
 * @first: smallest number opened with the current generation, RFC 9001 6.5
 * @next: largest number opened plus one
 * @failed: failures
 * @opened: packets opened by generation
 */
struct model_flow {
	bool used;
	struct flow f;
	struct match match[MATCHES];
	bool has[256];
	uint8_t gen;
	struct keys keys[256];
	uint64_t first;
	uint64_t next;
	unsigned int failed;
	unsigned int opened[256];
};

/**
 * struct outcome - what must come of a packet
 * @e: its element
 * @buf: its bytes
 * @len: bytes that count
 */
struct outcome {
	struct quic_rx_packet e;
	uint8_t buf[512];
	size_t len;
};

FIXTURE(model)
{
	int fd, peer[PEERS];
	struct sockaddr_storage to, from[PEERS];
	unsigned long count;
	time_t end;
	unsigned long seen[NR_STATUS];
	unsigned long bytes;
	unsigned long no_room;
	struct rx_counters old;
};

FIXTURE_VARIANT(model)
{
	int family;
};

FIXTURE_VARIANT_ADD(model, ipv4)
{
	.family = AF_INET,
};

FIXTURE_VARIANT_ADD(model, ipv6)
{
	.family = AF_INET6,
};

static struct model_flow flows[FLOWS];

FIXTURE_SETUP(model)
{
	unsigned long seed = env_number("QUIC_FUZZ_SEED", time(NULL));
	int i;

	if (missing)
		SKIP(return, "%s", missing);
	TH_LOG("QUIC_FUZZ_SEED=%lu", seed);
	rnd_seed(seed + variant->family);
	self->count = env_number("QUIC_FUZZ_COUNT", DEFAULT_COUNT);
	self->end = seconds() + (getenv("QUIC_FUZZ_COUNT") ? 100000 :
							     DEFAULT_SECONDS);
	self->fd = sock_bound(variant->family, &self->to);
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, set_int(self->fd, SOL_UDP, UDP_GRO, 1));
	for (i = 0; i < PEERS; i++) {
		self->peer[i] = sock_bound(variant->family, &self->from[i]);
		ASSERT_LE(0, self->peer[i]);
	}
	ASSERT_EQ(0, sysctl_write("open_limit", FAIL_LIMIT));
	ASSERT_EQ(0, rx_counters_read(&self->old));
}

FIXTURE_TEARDOWN(model)
{
	int i;

	sysctl_write("open_limit", 0);
	close(self->fd);
	for (i = 0; i < PEERS; i++)
		close(self->peer[i]);
}

/* Random things that the seed repeats */

static void rnd_bytes(void *buf, size_t len)
{
	uint8_t *p = buf;

	while (len--)
		*p++ = rnd() >> 40;
}

static void rnd_keys(struct keys *k, const struct keys *before)
{
	rnd_bytes(k->key, sizeof(k->key));
	rnd_bytes(k->iv, sizeof(k->iv));
	k->cipher = before->cipher;
	memcpy(k->hp, before->hp, sizeof(k->hp));
}

/* Few IDs, many of which begin with another one */
static void rnd_match(struct match *m)
{
	static const uint8_t lens[] = { 0, 1, 2, 4, 8, 20 };
	unsigned int i;

	memset(m, 0, sizeof(*m));
	m->used = true;
	m->cid_len = lens[below(ARRAY_SIZE(lens))];
	m->peer = below(PEERS + 1);
	if (!m->cid_len && m->peer == ANY)
		m->peer = 0;
	for (i = 0; i < m->cid_len; i++)
		m->cid[i] = i < 2 ? 0x40 + below(2) : 0x50;
}

/* A match and the keys of a generation, as the options take them */
static void model_arg(struct _test_data_model *self, struct flow *f,
		      const struct model_flow *mf, const struct match *m,
		      uint8_t gen)
{
	*f = mf->f;
	f->keys = mf->keys[gen];
	f->gen = gen;
	memset(f->cid, 0, sizeof(f->cid));
	memset(&f->dst, 0, sizeof(f->dst));
	f->cid_len = 0;
	if (!m)
		return;
	memcpy(f->cid, m->cid, m->cid_len);
	f->cid_len = m->cid_len;
	if (m->peer != ANY)
		f->dst = self->from[m->peer];
}

/* The model itself */

static bool match_same(const struct match *a, const struct match *b)
{
	return a->used && b->used && a->cid_len == b->cid_len &&
	       a->peer == b->peer && !memcmp(a->cid, b->cid, a->cid_len);
}

static struct match *model_find_match(const struct match *m,
				      struct model_flow **owner)
{
	unsigned int i, j;

	for (i = 0; i < FLOWS; i++) {
		for (j = 0; flows[i].used && j < MATCHES; j++) {
			if (match_same(&flows[i].match[j], m)) {
				*owner = &flows[i];
				return &flows[i].match[j];
			}
		}
	}
	return NULL;
}

/* Is @m for a packet from @peer, and more specific than @best? */
static bool match_better(const struct match *m, unsigned int peer,
			 const uint8_t *pkt, size_t len,
			 const struct match *best)
{
	if (!m->used || m->cid_len > len - 1 ||
	    (m->peer != ANY && m->peer != peer) ||
	    memcmp(pkt + 1, m->cid, m->cid_len))
		return false;
	if (!best || m->cid_len != best->cid_len)
		return !best || m->cid_len > best->cid_len;
	return best->peer == ANY;
}

/* @min: shortest connection ID that is matched at all, or SIZE_MAX */
static const struct match *model_lookup(unsigned int peer, const uint8_t *pkt,
					size_t len, struct model_flow **flow,
					size_t *min)
{
	const struct match *best = NULL;
	unsigned int i, j;

	*min = SIZE_MAX;
	for (i = 0; i < FLOWS; i++) {
		for (j = 0; flows[i].used && j < MATCHES; j++) {
			const struct match *m = &flows[i].match[j];

			if (m->used && m->cid_len < *min)
				*min = m->cid_len;
			if (match_better(m, peer, pkt, len, best)) {
				best = m;
				*flow = &flows[i];
			}
		}
	}
	return best;
}

/* Which generation a packet is of: RFC 9001 6.5 */
static uint8_t model_choose(const struct model_flow *mf, uint64_t pn,
			    bool phase)
{
	if (phase == (mf->gen & 1))
		return mf->gen;
	return pn < mf->first ? mf->gen - 1 : mf->gen + 1;
}

/* A generation has opened a packet, and has become the current one by that. */
static void model_opened(struct model_flow *mf, uint8_t gen, uint64_t pn)
{
	if (pn + 1 > mf->next)
		mf->next = pn + 1;
	if (gen == (uint8_t)(mf->gen + 1)) {
		mf->gen = gen;
		mf->first = pn;
		/* Three are live, the previous one included. */
		mf->has[(uint8_t)(gen - 2)] = false;
	} else if (gen == mf->gen && pn < mf->first) {
		mf->first = pn;
	}
	mf->opened[gen]++;
}

/* Status of a packet that has found its flow */
static uint8_t model_open(struct model_flow *mf, struct flow *f, size_t len,
			  struct outcome *o)
{
	uint8_t plain[512], gen;
	unsigned int pn_len;
	uint64_t pn;

	if (mf->failed >= FAIL_LIMIT)
		return QUIC_RX_KEY_LIMIT;
	memcpy(plain, o->buf, len);
	if (pkt_show_hdr(f, plain, len, &pn_len, &pn))
		abort();
	pn = pkt_num_decode(mf->next, pn, pn_len);
	gen = model_choose(mf, pn, plain[0] & HDR_PHASE);
	if (!mf->has[gen]) {
		memcpy(o->buf, plain, len);
	} else {
		f->keys = mf->keys[gen];
		if (pn > MAX_PKT_NUM ||
		    pkt_open_payload(f, pn, pn_len, plain, len)) {
			mf->failed++;
			return QUIC_RX_AUTH_FAILED;
		}
		memcpy(o->buf, plain, len);
		o->len -= TAG;
		model_opened(mf, gen, pn);
		o->e.key_gen = gen;
	}
	o->e.pkt_num = pn;
	o->e.pkt_num_length = pn_len;
	return mf->has[gen] ? QUIC_RX_OPENED : QUIC_RX_KEY_PHASE;
}

/* What must come of a packet of which the user has room for @room bytes */
static void model_packet(unsigned int peer, const uint8_t *pkt, size_t len,
			 size_t room, struct outcome *o)
{
	struct model_flow *mf = NULL;
	const struct match *m;
	struct flow f;
	size_t min;

	memset(o, 0, sizeof(*o));
	memcpy(o->buf, pkt, len);
	o->len = room < len ? room : len;
	if (len && pkt[0] & HDR_LONG) {
		o->e.status = QUIC_RX_NOT_1RTT;
		return;
	}
	m = model_lookup(peer, pkt, len, &mf, &min);
	if (!m) {
		o->e.status = min != SIZE_MAX && len < 1 + min + 20 ?
			      QUIC_RX_TOO_SHORT : QUIC_RX_NO_FLOW;
		return;
	}
	f = mf->f;
	memcpy(f.cid, m->cid, m->cid_len);
	f.cid_len = m->cid_len;
	o->e.flow_id = f.id;
	o->e.conn_id_length = f.cid_len;
	if (len < pkt_min_len(&f))
		o->e.status = QUIC_RX_TOO_SHORT;
	else if (room < len)
		o->e.status = QUIC_RX_NOT_TRIED;
	else
		o->e.status = model_open(mf, &f, len, o);
}

/* Options: each is tried on the kernel and on the model */

static struct model_flow *rnd_flow(void)
{
	return &flows[below(FLOWS)];
}

static struct match *rnd_own_match(struct model_flow *mf)
{
	struct match *m = &mf->match[below(MATCHES)];

	return m->used ? m : NULL;
}

static void model_new_flow(struct model_flow *mf, unsigned int i)
{
	memset(mf, 0, sizeof(*mf));
	mf->f.keys.cipher = TLS_CIPHER_AES_GCM_128 + below(4);
	rnd_bytes(mf->f.keys.hp, sizeof(mf->f.keys.hp));
	mf->gen = one_in(4) ? 254 : below(4);
	rnd_keys(&mf->keys[mf->gen], &mf->f.keys);
	mf->has[mf->gen] = true;
	mf->f.id = one_in(5) ? 0 : i + 1;
	mf->f.path = one_in(4) ? below(3) : 0;
	mf->next = one_in(2) ? 0 : below(1 << 20);
}

static void model_add(struct __test_metadata *_metadata,
		      struct _test_data_model *self)
{
	struct model_flow *mf = rnd_flow(), *owner = NULL;
	struct match m;
	struct flow f;

	if (mf->used)
		return;
	model_new_flow(mf, mf - flows);
	rnd_match(&m);
	model_arg(self, &f, mf, &m, mf->gen);
	if (model_find_match(&m, &owner)) {
		/* Who has no id may be taken for the one that is there. */
		ASSERT_EQ(-EADDRINUSE, rx_add_next(self->fd, &f, mf->next));
		return;
	}
	ASSERT_EQ(0, rx_add_next(self->fd, &f, mf->next));
	mf->match[0] = m;
	mf->used = true;
}

/* An argument that names the flow: by its id alone, or by one of its matches */
static bool model_name(struct _test_data_model *self, struct flow *f,
		       struct model_flow *mf, uint8_t gen)
{
	struct match *m = rnd_own_match(mf);

	if (!m && !mf->f.id)
		return false;
	if (mf->f.id && one_in(2))
		m = NULL;
	model_arg(self, f, mf, m, gen);
	return true;
}

static void model_add_gen(struct __test_metadata *_metadata,
			  struct _test_data_model *self)
{
	struct model_flow *mf = rnd_flow();
	uint8_t gen = mf->gen + 1 + (one_in(6) ? below(3) - 1 : 0);
	int err = -EINVAL;
	struct keys keys;
	struct flow f;

	if (!mf->used)
		return;
	rnd_keys(&keys, &mf->f.keys);
	if (mf->has[gen])
		err = one_in(2) ? -EEXIST : -EADDRINUSE;
	else if (gen == (uint8_t)(mf->gen + 1))
		err = 0;
	if (!model_name(self, &f, mf, gen))
		return;
	if (err != -EEXIST)
		f.keys = keys;
	if (one_in(3))
		memset(f.keys.hp, 0, sizeof(f.keys.hp));
	ASSERT_EQ(err, rx_add(self->fd, &f))
		TH_LOG("generation %u, current %u", gen, mf->gen);
	if (err)
		return;
	mf->keys[gen] = keys;
	mf->has[gen] = true;
	mf->opened[gen] = 0;
}

static void model_alias(struct __test_metadata *_metadata,
			struct _test_data_model *self)
{
	struct model_flow *mf = rnd_flow(), *owner = NULL;
	unsigned int i, slot = MATCHES;
	struct match m, *there;
	struct flow f;
	int err = 0;

	rnd_match(&m);
	if (!mf->used || !mf->f.id)
		return;
	for (i = 0; i < MATCHES; i++)
		slot = mf->match[i].used ? slot : i;
	there = model_find_match(&m, &owner);
	if (there)
		err = owner == mf ? -EEXIST : -EADDRINUSE;
	if (!there && slot == MATCHES)
		return;
	model_arg(self, &f, mf, &m, mf->gen);
	ASSERT_EQ(err, rx_add_alias(self->fd, &f));
	if (!err)
		mf->match[slot] = m;
}

static void model_del_alias(struct __test_metadata *_metadata,
			    struct _test_data_model *self)
{
	struct model_flow *mf = rnd_flow(), *owner = NULL;
	struct match m, *there;
	struct flow f;

	rnd_match(&m);
	if (!mf->used || !mf->f.id)
		return;
	there = model_find_match(&m, &owner);
	model_arg(self, &f, mf, &m, mf->gen);
	ASSERT_EQ(there && owner == mf ? 0 : -ENOENT,
		  rx_del_alias(self->fd, &f));
	if (there && owner == mf)
		there->used = false;
}

static void model_del(struct __test_metadata *_metadata,
		      struct _test_data_model *self)
{
	struct model_flow *mf = rnd_flow();
	struct flow f;

	if (one_in(150)) {
		ASSERT_EQ(0, rx_del_all(self->fd));
		memset(flows, 0, sizeof(flows));
		return;
	}
	/* At its limit, a flow is good for little else. */
	if (!mf->used || (mf->failed < FAIL_LIMIT && !one_in(6)) ||
	    !model_name(self, &f, mf, mf->gen))
		return;
	ASSERT_EQ(0, rx_del(self->fd, &f));
	mf->used = false;
}

static void model_del_gen(struct __test_metadata *_metadata,
			  struct _test_data_model *self)
{
	struct model_flow *mf = rnd_flow();
	uint8_t gen = mf->gen + below(4) - 2;
	struct flow f;

	/* The current one is seldom removed, as no other can follow then. */
	if (!mf->used || (gen == mf->gen && !one_in(8)) ||
	    !model_name(self, &f, mf, gen))
		return;
	ASSERT_EQ(mf->has[gen] ? 0 : -ENOKEY, rx_del_gen(self->fd, &f));
	mf->has[gen] = false;
}

static void model_check_state(struct __test_metadata *_metadata,
			      struct _test_data_model *self)
{
	struct model_flow *mf = rnd_flow();
	unsigned int i, n = 0, live = 0;
	struct quic_info info;
	struct flow f;

	if (!mf->used || !model_name(self, &f, mf, mf->gen))
		return;
	for (i = 0; i < 3; i++)
		live += mf->has[(uint8_t)(mf->gen + 1 - i)];
	ASSERT_EQ(0, rx_state(self->fd, &f, &info));
	for (i = 0; i < ARRAY_SIZE(info.generations); i++) {
		const struct quic_info_generation *g = &info.generations[i];

		if (!g->installed)
			continue;
		n++;
		ASSERT_TRUE(mf->has[g->gen]);
		ASSERT_EQ(mf->next, g->next_pkt_num);
		ASSERT_EQ(mf->opened[g->gen], g->sealed);
		ASSERT_EQ(FAIL_LIMIT - mf->failed, g->remaining);
	}
	ASSERT_EQ(live, n);
}

/* recvmsg() */

/* A packet number that is expected, or near to it, or anything */
static uint64_t rnd_pn(const struct model_flow *mf)
{
	uint64_t pn = mf->next;

	switch (below(8)) {
	case 0:
		pn += below(200);
		break;
	case 1:
		pn -= below(200);
		break;
	case 2:
		pn = one_in(20) ? rnd() : pn + below(9000) - below(9000);
		break;
	default:
		pn += below(3);
	}
	return pn & MAX_PKT_NUM;
}

/* One of the flow's matches, but now and then any */
static const struct match *rnd_cid(const struct model_flow *mf,
				   struct match *other)
{
	unsigned int i, from = below(MATCHES);

	for (i = 0; i < MATCHES && !one_in(30); i++) {
		const struct match *m = &mf->match[(from + i) % MATCHES];

		if (m->used)
			return m;
	}
	rnd_match(other);
	return other;
}

/* The flow as the sender of a packet sees it */
static void rnd_sender(struct flow *f, const struct model_flow *mf)
{
	const struct match *m;
	struct match other;

	*f = mf->f;
	f->gen = mf->gen + (one_in(5) ? below(4) - 2 : 0);
	f->keys = mf->keys[f->gen];
	/* Of generations that never were, any key */
	f->keys.cipher = mf->f.keys.cipher;
	memcpy(f->keys.hp, mf->f.keys.hp, sizeof(f->keys.hp));
	m = rnd_cid(mf, &other);
	memcpy(f->cid, m->cid, m->cid_len);
	f->cid_len = m->cid_len;
}

static void rnd_damage(uint8_t *pkt, size_t len)
{
	switch (below(30)) {
	case 0:
		pkt[below(len)] ^= 1 << below(8);
		break;
	case 1:
		pkt[0] |= one_in(3) ? HDR_LONG : 0;
		break;
	case 2:
		if (one_in(3))
			rnd_bytes(pkt, len);
		break;
	default:
		break;
	}
}

/* Packets of random flows; their senders have to last as long as the batch. */
static void rnd_batch(struct flow *sender)
{
	unsigned int i, n = one_in(3) ? 1 : 1 + below(MAX_BATCH);
	size_t size = 45 + below(300), last = one_in(2) ? size : 45;
	bool same = one_in(2);
	struct model_flow *mf = rnd_flow();

	batch_init(&batch, sender, 0, n, size, last);
	for (i = 0; i < n; i++) {
		mf = same && mf->used ? mf : rnd_flow();
		/* Flows that are not there any more have senders, too. */
		mf->f.keys.cipher = mf->f.keys.cipher ?:
				    TLS_CIPHER_AES_GCM_128;
		rnd_sender(&sender[i], mf);
		batch.pkt[i].flow = &sender[i];
		batch.pkt[i].pn = rnd_pn(mf) + (same ? i : 0);
		batch.pkt[i].pn_len = 1 + below(4);
		batch.pkt[i].first = rnd() & (HDR_FIXED | HDR_SPIN |
					      HDR_RESERVED);
	}
	batch_build(&batch);
	for (i = 0; i < n; i++)
		rnd_damage(batch.wire + wire_off(&batch, i), batch.pkt[i].len);
	/* A short last packet, as if cut off */
	if (n > 1 && one_in(6))
		batch.pkt[n - 1].len = 1 + below(44);
}

static void check_packet(struct __test_metadata *_metadata, unsigned int i,
			 const struct outcome *o)
{
	const struct quic_rx_packet *e = &rx.pkt[i], *w = &o->e;
	size_t off = wire_off(&batch, i);

	ASSERT_EQ(w->status, e->status)
		TH_LOG("packet %u of %u", i, batch.n);
	ASSERT_EQ(w->flow_id, e->flow_id);
	ASSERT_EQ(w->pkt_num, e->pkt_num);
	ASSERT_EQ(w->key_gen, e->key_gen);
	ASSERT_EQ(w->pkt_num_length, e->pkt_num_length);
	ASSERT_EQ(w->conn_id_length, e->conn_id_length);
	ASSERT_EQ(0, memcmp(o->buf, rx.buf + off, o->len))
		TH_LOG("packet %u of %u, status %u", i, batch.n, w->status);
}

/* Bytes of packet @i that fit */
static size_t packet_room(unsigned int i)
{
	size_t off = wire_off(&batch, i), len = batch.pkt[i].len;

	if (rx.size <= off)
		return 0;
	return rx.size - off < len ? rx.size - off : len;
}

/* The datagram is what the model says; what it has opened moves the model on,
 * unless the call has only looked.
 */
static void check_call(struct __test_metadata *_metadata,
		       struct _test_data_model *self, unsigned int peer,
		       bool peek)
{
	static struct model_flow saved[FLOWS];
	struct outcome o;
	unsigned int i;

	ASSERT_EQ((int)batch.n, rx.elems);
	if (peek)
		memcpy(saved, flows, sizeof(flows));
	for (i = 0; i < batch.n; i++) {
		model_packet(peer, batch.wire + wire_off(&batch, i),
			     batch.pkt[i].len, packet_room(i), &o);
		check_packet(_metadata, i, &o);
		if (peek)
			continue;
		self->seen[o.e.status]++;
		if (o.e.status == QUIC_RX_OPENED)
			self->bytes += batch.pkt[i].len;
	}
	if (peek)
		memcpy(flows, saved, sizeof(flows));
}

/* Nothing was opened, as nobody could have been told. */
static void check_wire(struct __test_metadata *_metadata,
		       struct _test_data_model *self, size_t wire, bool peek)
{
	ASSERT_EQ(-1, rx.elems);
	ASSERT_TRUE(rx.msg_flags & MSG_CTRUNC);
	ASSERT_EQ(0, memcmp(batch.wire, rx.buf, wire < rx.size ? wire :
								 rx.size));
	self->no_room += !peek;
}

/* An element for each packet, and the size of several packets. */
static size_t control_needed(void)
{
	size_t len = CMSG_LEN(batch.n * sizeof(rx.pkt[0]));

	return batch.n > 1 ? len + CMSG_LEN(sizeof(int)) : len;
}

static void model_receive(struct __test_metadata *_metadata,
			  struct _test_data_model *self)
{
	unsigned int peer = below(PEERS), peeks = one_in(4) ? below(3) : 0;
	struct flow sender[MAX_BATCH];
	ssize_t wire;

	rnd_batch(sender);
	wire = wire_batch(self->peer[peer], &self->to, &batch);
	ASSERT_LT(0, wire);
	do {
		rx_init(&rx, self->fd);
		if (one_in(8))
			rx.size = below(wire + 1);
		if (one_in(8))
			rx.room = below(64 + batch.n * 16);
		if (peeks)
			rx.flags |= MSG_PEEK;
		rx.flags |= MSG_TRUNC;
		ASSERT_EQ(wire, rx_call(&rx));
		if (rx.room >= control_needed())
			check_call(_metadata, self, peer, peeks);
		else
			check_wire(_metadata, self, wire, peeks);
	} while (peeks--);
}

static void check_counters(struct __test_metadata *_metadata,
			   struct _test_data_model *self)
{
	struct rx_counters now;

	ASSERT_EQ(0, rx_counters_read(&now));
#define DELTA(c)	(now.v[c] - self->old.v[c])
	EXPECT_EQ(self->seen[QUIC_RX_OPENED], DELTA(RX_SW_PACKETS));
	EXPECT_EQ(self->bytes, DELTA(RX_SW_BYTES));
	EXPECT_EQ(self->seen[QUIC_RX_AUTH_FAILED], DELTA(DECRYPT_ERROR));
	EXPECT_EQ(self->seen[QUIC_RX_NO_FLOW], DELTA(RX_NO_FLOW));
	EXPECT_EQ(self->seen[QUIC_RX_KEY_PHASE], DELTA(RX_KEY_PHASE));
	EXPECT_EQ(self->seen[QUIC_RX_TOO_SHORT], DELTA(RX_MALFORMED));
	EXPECT_EQ(self->seen[QUIC_RX_KEY_LIMIT], DELTA(RX_KEY_LIMIT));
	EXPECT_EQ(self->no_room, DELTA(RX_NO_ROOM));
#undef DELTA
}

/* Once it has had a flow, a socket tells what it gets, whatever follows. */
static void model_begin(struct __test_metadata *_metadata,
			struct _test_data_model *self)
{
	while (!flows[0].used && !flows[1].used)
		model_add(_metadata, self);
}

TEST_F_TIMEOUT(model, random, 100000)
{
	unsigned long i;

	model_begin(_metadata, self);
	for (i = 0; i < self->count && seconds() < self->end; i++) {
		switch (below(24)) {
		case 0:
		case 1:
			model_add(_metadata, self);
			break;
		case 2:
		case 3:
		case 4:
			model_add_gen(_metadata, self);
			break;
		case 5:
		case 6:
			model_alias(_metadata, self);
			break;
		case 7:
			model_del_alias(_metadata, self);
			break;
		case 8:
			model_del(_metadata, self);
			break;
		case 9:
			if (one_in(2))
				model_del_gen(_metadata, self);
			break;
		case 10:
			model_check_state(_metadata, self);
			break;
		default:
			model_receive(_metadata, self);
		}
	}
	check_counters(_metadata, self);
	TH_LOG("%lu calls, %lu without room", i, self->no_room);
	for (i = 0; i < NR_STATUS; i++)
		TH_LOG("status %lu: %lu packets", i, self->seen[i]);
	/* Each of them has been there. */
	for (i = 0; i < NR_STATUS; i++)
		EXPECT_LT(0, self->seen[i]);
}

int main(int argc, char **argv)
{
	if (netns_enter())
		missing = "no network namespace of our own";
	else
		missing = quic_rx_missing();
	return test_harness_run(argc, argv);
}
