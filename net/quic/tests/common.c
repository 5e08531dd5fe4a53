// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of QUIC packet protection: headers, skbs, batches and keys for
 * tests. The end of a test frees everything that these functions return.
 */

#include <linux/gfp.h>
#include <linux/skbuff.h>
#include <linux/string.h>
#include <net/net_namespace.h>

#include "../cipher.h"
#include "../key.h"
#include "common.h"

/* Call @action with @arg when the test ends */
void quic_test_defer(struct kunit *test, kunit_action_t *action, void *arg)
{
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, action, arg));
}

/* Write the connection ID that all tests use */
void quic_test_cid(u8 *cid, unsigned int cid_len)
{
	unsigned int i;

	for (i = 0; i < cid_len; i++)
		cid[i] = 0xc0 + i;
}

/* Write an unprotected short header, and return its length */
unsigned int quic_test_header(u8 *p, u8 first, unsigned int cid_len, u64 pn,
			      unsigned int pn_len)
{
	unsigned int i;

	p[0] = first | (pn_len - 1);
	quic_test_cid(p + 1, cid_len);
	for (i = 0; i < pn_len; i++)
		p[1 + cid_len + i] = pn >> (8 * (pn_len - 1 - i));
	return 1 + cid_len + pn_len;
}

static void quic_test_add_frag(struct kunit *test, struct sk_buff *skb,
			       const u8 *data, unsigned int len,
			       unsigned int off)
{
	unsigned int order = get_order(off + len);
	struct page *page;

	page = alloc_pages(GFP_KERNEL | __GFP_COMP, order);
	KUNIT_ASSERT_NOT_NULL(test, page);
	memset(page_address(page), 0x5a, PAGE_SIZE << order);
	memcpy(page_address(page) + off, data, len);
	skb_add_rx_frag(skb, skb_shinfo(skb)->nr_frags, page, off, len,
			PAGE_SIZE << order);
}

static unsigned int quic_test_head_len(enum quic_test_place place,
				       unsigned int len)
{
	switch (place) {
	case QUIC_TEST_LINEAR:
		return len;
	case QUIC_TEST_MIXED:
		return QUIC_TEST_PREFIX + (len - QUIC_TEST_PREFIX) / 3;
	default:
		return QUIC_TEST_PREFIX;
	}
}

KUNIT_DEFINE_ACTION_WRAPPER(quic_test_kfree_skb, kfree_skb, struct sk_buff *);

/* Copy @data, of more than QUIC_TEST_PREFIX bytes, into an skb */
struct sk_buff *quic_test_skb(struct kunit *test, enum quic_test_place place,
			      const u8 *data, unsigned int len)
{
	unsigned int head = quic_test_head_len(place, len), size;
	struct sk_buff *skb;

	skb = alloc_skb(head, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, skb);
	quic_test_skb_defer_free(test, skb);
	skb_put_data(skb, data, head);
	data += head;
	len -= head;

	size = place == QUIC_TEST_PAGES ? len : len / MAX_SKB_FRAGS + 1;
	while (len) {
		size = min(size, len);
		quic_test_add_frag(test, skb, data, size, 13);
		data += size;
		len -= size;
	}
	return skb;
}

/* Free @skb when the test ends */
void quic_test_skb_defer_free(struct kunit *test, struct sk_buff *skb)
{
	quic_test_defer(test, quic_test_kfree_skb, skb);
}

/* Free an skb of quic_test_skb() before the test ends */
void quic_test_skb_free(struct kunit *test, struct sk_buff *skb)
{
	kunit_release_action(test, quic_test_kfree_skb, skb);
}

/* Write packet @i of a vector */
static void quic_test_packet(struct quic_test_plain *plain,
			     const struct quic_seal_vec *v, unsigned int i)
{
	u8 *p = plain->data + QUIC_TEST_PREFIX + i * plain->layout.stride;
	unsigned int size = i == v->npkts - 1 ? v->last : v->size;
	struct quic_pkt *pkt = &plain->pkts[i];
	unsigned int hdr_len, j;

	pkt->pn = v->pn + i * v->gap;
	pkt->pn_len = v->pn_len ?: 1 + i % 4;
	hdr_len = quic_test_header(p, v->first, v->cid_len, pkt->pn,
				   pkt->pn_len);
	p += hdr_len;
	for (j = 0; j < size - hdr_len; j++)
		p[j] = v->payload ? v->payload[j] : pkt->pn + 3 * j + (j >> 8);
}

/* Write the packets of a vector before sealing. @tag_room: the user's packets
 * have room for the tag.
 */
struct quic_test_plain *quic_test_plain(struct kunit *test,
					const struct quic_seal_vec *v,
					bool tag_room)
{
	unsigned int i, user_len = (v->npkts - 1) * v->size + v->last;
	struct quic_test_plain *plain;

	plain = kunit_kzalloc(test, sizeof(*plain), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, plain);
	if (tag_room)
		user_len += v->npkts * QUIC_TAG_SIZE;
	KUNIT_ASSERT_EQ(test, 0,
			quic_layout_init(&plain->layout, user_len,
					 v->size + QUIC_TAG_SIZE, tag_room));
	KUNIT_ASSERT_EQ(test, plain->layout.npkts, v->npkts);

	plain->phase = !!(v->first & QUIC_HDR_KEY_PHASE);
	plain->cid_len = v->cid_len;
	plain->path_id = v->path_id;
	plain->len = QUIC_TEST_PREFIX + plain->layout.wire_len +
		     QUIC_TEST_SUFFIX;
	plain->data = kunit_kmalloc(test, plain->len, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, plain->data);
	memset(plain->data, 0x5a, plain->len);
	for (i = 0; i < v->npkts; i++)
		quic_test_packet(plain, v, i);
	return plain;
}

/* Free packets of quic_test_plain() before the test ends */
void quic_test_plain_free(struct kunit *test, struct quic_test_plain *plain)
{
	kunit_kfree(test, plain->data);
	kunit_kfree(test, plain);
}

KUNIT_DEFINE_ACTION_WRAPPER(quic_test_batch_destroy, quic_batch_free,
			    struct quic_batch *);

/* Make a batch, not yet parsed, of packets that follow the prefix in @skb */
struct quic_batch *quic_test_batch(struct kunit *test, struct sk_buff *skb,
				   const struct quic_layout *layout,
				   u8 cid_len)
{
	struct quic_batch *b;

	b = kunit_kzalloc(test, sizeof(*b), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, b);
	b->skb = skb;
	b->off = QUIC_TEST_PREFIX;
	b->layout = *layout;
	b->cid_len = cid_len;
	KUNIT_ASSERT_EQ(test, 0, quic_batch_alloc(b, GFP_KERNEL));
	quic_test_defer(test, quic_test_batch_destroy, b);
	return b;
}

/* Free a batch of quic_test_batch() before the test ends */
void quic_test_batch_free(struct kunit *test, struct quic_batch *b)
{
	kunit_release_action(test, quic_test_batch_destroy, b);
	kunit_kfree(test, b);
}

/* Parse a batch of quic_test_batch() whose packets must have @cid */
int quic_test_batch_parse(struct quic_batch *b, const u8 *cid, u64 expected)
{
	b->cid = cid;
	return quic_batch_parse(b, expected);
}

KUNIT_DEFINE_ACTION_WRAPPER(quic_test_hp_destroy, quic_hp_destroy,
			    struct quic_hp *);

/* Set header protection up */
struct quic_hp *quic_test_hp(struct kunit *test, u16 type, const char *secret)
{
	const struct quic_cipher *cipher = quic_cipher_find(type);
	struct quic_hp *hp;

	KUNIT_ASSERT_NOT_NULL(test, cipher);
	hp = kunit_kzalloc(test, sizeof(*hp), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, hp);
	KUNIT_ASSERT_EQ(test, 0, quic_hp_init(hp, cipher, secret, 0));
	quic_test_defer(test, quic_test_hp_destroy, hp);
	return hp;
}

/* A user that no other test has had: keys of other users are other keys, also
 * those that have been retired
 */
kuid_t quic_test_uid(void)
{
	static atomic_t uid = ATOMIC_INIT(100000);

	return KUIDT_INIT(atomic_inc_return(&uid));
}

static void quic_test_key_uninstall(void *key)
{
	quic_key_uninstall(key, 0);
}

/* Install a key */
struct quic_key *quic_test_key(struct kunit *test, u16 type,
			       const char *secret, const char *iv)
{
	const struct quic_key_id id = {
		.net	= &init_net,
		.uid	= quic_test_uid(),
		.cipher	= quic_cipher_find(type),
		.secret	= secret,
	};
	struct quic_key *key;

	KUNIT_ASSERT_NOT_NULL(test, id.cipher);
	key = quic_key_install(&id, iv, 0);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, key);
	quic_test_defer(test, quic_test_key_uninstall, key);
	return key;
}
