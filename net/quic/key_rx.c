// SPDX-License-Identifier: GPL-2.0
/*
 * QUIC packet protection: keys that open packets, and which of them a packet
 * needs. These keys belong to a flow, and nothing is recorded of them that
 * would outlive the flow: opening a packet twice does no harm.
 */

#include <crypto/utils.h>
#include <linux/minmax.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "key_rx.h"
#include "pktnum.h"

/**
 * quic_rx_choose - generation that a packet is sealed with, RFC 9001 6.5
 * @s: what was opened before
 * @pn: full packet number
 * @phase: Key Phase bit
 *
 * The previous and the next generation have the same Key Phase bit: packets of
 * the previous one have smaller numbers than any of the current one.
 *
 * Return: the generation. Nothing is authentic yet, so that it may be wrong;
 * the packet then fails to open.
 */
enum quic_rx_age quic_rx_choose(const struct quic_rx_state *s, u64 pn,
				bool phase)
{
	if (phase == (s->gen & 1))
		return QUIC_RX_CURRENT;
	return pn < s->first ? QUIC_RX_PREVIOUS : QUIC_RX_NEXT;
}

/**
 * quic_rx_opened - note that a packet has opened
 * @s: updated
 * @age: generation that has opened the packet
 * @pn: full packet number
 *
 * A packet of the next generation makes it the current one (RFC 9001 6.3).
 */
void quic_rx_opened(struct quic_rx_state *s, enum quic_rx_age age, u64 pn)
{
	s->next = max(s->next, pn + 1);
	if (age == QUIC_RX_NEXT) {
		s->gen++;
		s->first = pn;
	} else if (age == QUIC_RX_CURRENT) {
		s->first = min(s->first, pn);
	}
}

/**
 * quic_rx_merge - add what a call has opened to the state of the flow
 * @s: state of the flow, which may have moved on since the call copied it
 * @seen: copy of the call
 *
 * Return: true if another generation is the current one now.
 */
bool quic_rx_merge(struct quic_rx_state *s, const struct quic_rx_state *seen)
{
	s8 ahead = seen->gen - s->gen;

	s->next = max(s->next, seen->next);
	if (ahead > 0) {
		s->gen = seen->gen;
		s->first = seen->first;
	} else if (!ahead) {
		s->first = min(s->first, seen->first);
	}
	return ahead > 0;
}

/**
 * quic_rx_key_alloc - make a key
 * @cipher: cipher
 * @info: key, IV and generation
 *
 * Context: process, sleeps.
 * Return: the key, with a reference, or an ERR_PTR(): -EOPNOTSUPP if the kernel
 * lacks the cipher.
 */
struct quic_rx_key *quic_rx_key_alloc(const struct quic_cipher *cipher,
				      const struct quic_connection_info *info)
{
	struct crypto_aead *tfm;
	struct quic_rx_key *key;

	key = kzalloc_obj(*key, GFP_KERNEL_ACCOUNT);
	if (!key)
		return ERR_PTR(-ENOMEM);
	tfm = quic_aead_alloc(cipher, info->payload_key, 0);
	if (IS_ERR(tfm)) {
		kfree(key);
		return ERR_CAST(tfm);
	}
	refcount_set(&key->ref, 1);
	refcount_set(&key->id_ref, 1);
	key->gen = info->conn_payload_key_gen;
	key->cipher = cipher;
	key->tfm = tfm;
	memcpy(key->iv, info->payload_iv, sizeof(key->iv));
	memcpy(key->secret, info->payload_key, cipher->key_size);
	return key;
}

/**
 * quic_rx_key_id_put - drop a reference of quic_rx_key_id_hold()
 * @key: key
 *
 * Context: process.
 */
void quic_rx_key_id_put(struct quic_rx_key *key)
{
	if (refcount_dec_and_test(&key->id_ref))
		kfree(key);
}

/**
 * quic_rx_key_put - drop a reference
 * @key: key
 *
 * Packets that nobody reads may keep the struct, but not the key.
 *
 * Context: process, sleeps.
 */
void quic_rx_key_put(struct quic_rx_key *key)
{
	if (!refcount_dec_and_test(&key->ref))
		return;
	quic_aead_free(key->tfm);
	key->tfm = NULL;
	memzero_explicit(key->iv, sizeof(key->iv));
	memzero_explicit(key->secret, sizeof(key->secret));
	quic_rx_key_id_put(key);
}

/**
 * quic_rx_key_equal - is this the key?
 * @key: key
 * @info: key of the same cipher, and IV
 *
 * Return: true if it is; takes as long if it is not.
 */
bool quic_rx_key_equal(const struct quic_rx_key *key,
		       const struct quic_connection_info *info)
{
	return !(crypto_memneq(key->secret, info->payload_key,
			       key->cipher->key_size) |
		 crypto_memneq(key->iv, info->payload_iv, sizeof(key->iv)));
}

/**
 * quic_rx_key_prot - protection by a key in process context
 * @key: AEAD key; NULL if only header protection is there
 * @path_id: path of multipath QUIC
 * @hp: header protection
 *
 * Return: the protection, valid as long as @key and @hp are held.
 */
struct quic_prot quic_rx_key_prot(const struct quic_rx_key *key, u32 path_id,
				  const struct quic_hp *hp)
{
	struct quic_prot prot = {
		.cipher	= hp->cipher,
		.hp	= hp,
		.gfp	= GFP_KERNEL,
	};

	if (!key)
		return prot;
	prot.secret = key->secret;
	prot.tfm = key->tfm;
	memcpy(prot.iv, key->iv, sizeof(prot.iv));
	quic_path_iv(prot.iv, path_id);
	return prot;
}
