/* SPDX-License-Identifier: GPL-2.0 */
/*
 * KUnit tests of QUIC packet protection: what several test files need
 */
#ifndef _NET_QUIC_TESTS_COMMON_H
#define _NET_QUIC_TESTS_COMMON_H

#include <kunit/test.h>
#include <linux/types.h>
#include <linux/udp.h>
#include <linux/uidgid.h>
#include <net/quic.h>

#include "../batch.h"

struct quic_hp;
struct quic_key;
struct sk_buff;

/* Bytes before and after the packets of a buffer; they must not change. There
 * is room for two IP headers.
 */
#define QUIC_TEST_PREFIX	68
#define QUIC_TEST_SUFFIX	9

/**
 * struct quic_mask_vec - vector of header protection
 * @desc: name of the test's parameter
 * @cipher: TLS_CIPHER_*
 * @hp: header-protection key
 * @sample: sample of the ciphertext, QUIC_HP_SAMPLE_SIZE bytes
 * @mask: resulting mask, QUIC_HP_MASK_SIZE bytes
 */
struct quic_mask_vec {
	const char *desc;
	u16 cipher;
	const char *hp;
	const char *sample;
	const char *mask;
};

/**
 * struct quic_seal_vec - vector of packet protection
 * @desc: name of the test's parameter
 * @cipher: TLS_CIPHER_*
 * @first: first byte of all packets, with the length of the packet number
 *	   left zero
 * @cid_len: bytes of the connection ID
 * @pn_len: bytes of the packet numbers; 0 if packet i has 1 + i % 4 bytes
 * @npkts: number of packets
 * @size: bytes of header and payload of each packet except the last
 * @last: bytes of header and payload of the last packet
 * @pn: packet number of the first packet
 * @gap: difference between successive packet numbers
 * @path_id: path of multipath QUIC
 * @key: AEAD key
 * @iv: IV
 * @hp: header-protection key
 * @payload: payload of a single packet; NULL if the packet number determines
 *	     the payload, see quic_test_plain()
 * @wire: sealed packets
 */
struct quic_seal_vec {
	const char *desc;
	u16 cipher;
	u8 first;
	u8 cid_len;
	u8 pn_len;
	u8 npkts;
	u16 size;
	u16 last;
	u64 pn;
	u64 gap;
	u32 path_id;
	const char *key;
	const char *iv;
	const char *hp;
	const char *payload;
	const char *wire;
};

/**
 * struct quic_test_plain - packets before they are sealed, in a buffer
 * @layout: geometry
 * @pkts: expected result of parsing
 * @phase: expected Key Phase bit
 * @cid_len: bytes of the connection ID
 * @path_id: path of multipath QUIC
 * @len: bytes of @data
 * @data: QUIC_TEST_PREFIX bytes, the packets with room for their tags,
 *	  QUIC_TEST_SUFFIX bytes
 */
struct quic_test_plain {
	struct quic_layout layout;
	struct quic_pkt pkts[UDP_MAX_SEGMENTS];
	u8 phase;
	u8 cid_len;
	u32 path_id;
	unsigned int len;
	u8 *data;
};

/**
 * enum quic_test_place - where an skb has its bytes
 * @QUIC_TEST_LINEAR: in the head
 * @QUIC_TEST_FRAGS: in as many page fragments as possible
 * @QUIC_TEST_PAGES: in one fragment of several pages
 * @QUIC_TEST_MIXED: in the head, which ends within a packet, and in fragments
 * @QUIC_TEST_PLACES: number of places
 *
 * The first QUIC_TEST_PREFIX bytes are always in the head.
 */
enum quic_test_place {
	QUIC_TEST_LINEAR,
	QUIC_TEST_FRAGS,
	QUIC_TEST_PAGES,
	QUIC_TEST_MIXED,
	QUIC_TEST_PLACES
};

void quic_test_defer(struct kunit *test, kunit_action_t *action, void *arg);

void quic_test_cid(u8 *cid, unsigned int cid_len);
unsigned int quic_test_header(u8 *p, u8 first, unsigned int cid_len, u64 pn,
			      unsigned int pn_len);

struct sk_buff *quic_test_skb(struct kunit *test, enum quic_test_place place,
			      const u8 *data, unsigned int len);
void quic_test_skb_defer_free(struct kunit *test, struct sk_buff *skb);
void quic_test_skb_free(struct kunit *test, struct sk_buff *skb);

struct quic_test_plain *quic_test_plain(struct kunit *test,
					const struct quic_seal_vec *v,
					bool tag_room);
void quic_test_plain_free(struct kunit *test, struct quic_test_plain *plain);
struct quic_batch *quic_test_batch(struct kunit *test, struct sk_buff *skb,
				   const struct quic_layout *layout,
				   u8 cid_len);
void quic_test_batch_free(struct kunit *test, struct quic_batch *b);
int quic_test_batch_parse(struct quic_batch *b, const u8 *cid, u64 expected);

struct quic_hp *quic_test_hp(struct kunit *test, u16 type, const char *secret);
kuid_t quic_test_uid(void);
struct quic_key *quic_test_key(struct kunit *test, u16 type,
			       const char *secret, const char *iv);

#endif /* _NET_QUIC_TESTS_COMMON_H */
