/* SPDX-License-Identifier: GPL-2.0 */
/*
 * QUIC packet protection: keys that open packets
 */
#ifndef _NET_QUIC_KEY_RX_H
#define _NET_QUIC_KEY_RX_H

#include <linux/refcount.h>

#include "cipher.h"

/**
 * enum quic_rx_age - a generation relative to the current one
 * @QUIC_RX_PREVIOUS: of packets that were delayed on their way
 * @QUIC_RX_CURRENT: newest generation that has opened a packet, or the first
 * @QUIC_RX_NEXT: after the next key update of the peer
 */
enum quic_rx_age {
	QUIC_RX_PREVIOUS,
	QUIC_RX_CURRENT,
	QUIC_RX_NEXT,
};

/* Three generations are live at a time. A power of two keeps a generation in
 * the same slot when the number wraps around.
 */
#define QUIC_RX_SLOTS	4

/**
 * struct quic_rx_state - what was opened with the keys of a flow
 * @next: largest packet number opened plus one, relative to which truncated
 *	  numbers are completed
 * @first: smallest packet number opened with the current generation; 0 for the
 *	   first generation of a flow, before which there is nothing
 * @gen: current key generation
 */
struct quic_rx_state {
	u64 next;
	u64 first;
	u8 gen;
};

/**
 * struct quic_rx_key - AEAD key of one generation of one flow
 * @ref: references of the flow and of each call that opens packets; when the
 *	 last one is dropped, the members from @tfm on are wiped
 * @id_ref: one while there is @ref, and one of each offload, which packets that
 *	    a device has opened keep: to be compared with the flow's keys
 * @gen: key generation
 * @retired: the flow does not have the key any more
 * @opened: packets opened, protected by quic_rx_flow.lock
 * @cipher: cipher
 * @tfm: AEAD transform, NULL for ChaCha20-Poly1305
 * @iv: IV, RFC 9001 5.3
 * @secret: bytes of the key
 */
struct quic_rx_key {
	refcount_t ref;
	refcount_t id_ref;
	u8 gen;
	bool retired;
	u64 opened;
	const struct quic_cipher *cipher;
	struct crypto_aead *tfm;
	u8 iv[QUIC_MAX_IV_SIZE];
	u8 secret[QUIC_MAX_KEY_SIZE];
};

enum quic_rx_age quic_rx_choose(const struct quic_rx_state *s, u64 pn,
				bool phase);
void quic_rx_opened(struct quic_rx_state *s, enum quic_rx_age age, u64 pn);
bool quic_rx_merge(struct quic_rx_state *s, const struct quic_rx_state *seen);

struct quic_rx_key *quic_rx_key_alloc(const struct quic_cipher *cipher,
				      const struct quic_connection_info *info);
void quic_rx_key_put(struct quic_rx_key *key);
void quic_rx_key_id_put(struct quic_rx_key *key);
bool quic_rx_key_equal(const struct quic_rx_key *key,
		       const struct quic_connection_info *info);
struct quic_prot quic_rx_key_prot(const struct quic_rx_key *key, u32 path_id,
				  const struct quic_hp *hp);

static inline void quic_rx_key_id_hold(struct quic_rx_key *key)
{
	refcount_inc(&key->id_ref);
}

static inline unsigned int quic_rx_slot(u8 gen)
{
	return gen % QUIC_RX_SLOTS;
}

/* Generation of an age */
static inline u8 quic_rx_gen(const struct quic_rx_state *s,
			     enum quic_rx_age age)
{
	return s->gen + age - QUIC_RX_CURRENT;
}

#endif /* _NET_QUIC_KEY_RX_H */
