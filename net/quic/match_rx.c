// SPDX-License-Identifier: GPL-2.0
/*
 * QUIC packet protection: which packets of a socket are for which flow
 */

#include <linux/rhashtable.h>
#include <linux/slab.h>

#include "flow_rx.h"

static int quic_rx_match_cmp(struct rhashtable_compare_arg *arg,
			     const void *obj)
{
	const struct quic_rx_match *match = obj;

	return !quic_tuple_equal(&match->tuple, arg->key);
}

static const struct rhashtable_params quic_rx_matches_params = {
	.head_offset = offsetof(struct quic_rx_match, node),
	.key_offset = offsetof(struct quic_rx_match, tuple),
	.key_len = sizeof_field(struct quic_rx_match, tuple),
	.obj_cmpfn = quic_rx_match_cmp,
	.min_size = QUIC_MIN_BUCKETS,
	.automatic_shrinking = true,
};

/* Lengths that the match counts in */
static struct quic_rx_lens *quic_rx_match_lens(struct quic_rx_flows *fs,
					       const struct quic_tuple *tuple)
{
	return tuple->family == AF_UNSPEC ? &fs->any : &fs->peer;
}

/**
 * quic_rx_match_add - let packets match a flow
 * @fs: flows of the socket; the caller holds their lock
 * @flow: one of them
 * @tuple: source and connection ID of these packets, which no flow has
 *
 * Context: process, sleeps.
 * Return: 0; -ENOSPC if the flow has too many matches; -ENOMEM; -EAGAIN if the
 * table is growing.
 */
int quic_rx_match_add(struct quic_rx_flows *fs, struct quic_rx_flow *flow,
		      const struct quic_tuple *tuple)
{
	struct quic_rx_lens *lens = quic_rx_match_lens(fs, tuple);
	struct quic_rx_match *match;
	int err;

	if (flow->nr_matches >= QUIC_RX_MAX_MATCHES)
		return -ENOSPC;
	match = kzalloc_obj(*match, GFP_KERNEL_ACCOUNT);
	if (!match)
		return -ENOMEM;
	match->tuple = *tuple;
	match->flow = flow;
	err = rhashtable_lookup_insert_fast(&fs->matches, &match->node,
					    quic_rx_matches_params);
	if (err) {
		kfree(match);
		/* The table is growing */
		return err == -EBUSY ? -EAGAIN : err;
	}
	list_add(&match->list, &flow->matches);
	flow->nr_matches++;
	if (!lens->count[tuple->cid_len]++)
		WRITE_ONCE(lens->map, lens->map | BIT(tuple->cid_len));
	return 0;
}

/**
 * quic_rx_match_remove - remove a match from the table and from its flow
 * @fs: flows of the socket; the caller holds their lock
 * @match: match, which is freed after a grace period
 *
 * Context: process.
 */
void quic_rx_match_remove(struct quic_rx_flows *fs,
			  struct quic_rx_match *match)
{
	struct quic_rx_lens *lens = quic_rx_match_lens(fs, &match->tuple);
	u8 len = match->tuple.cid_len;

	rhashtable_remove_fast(&fs->matches, &match->node,
			       quic_rx_matches_params);
	list_del(&match->list);
	match->flow->nr_matches--;
	if (!--lens->count[len])
		WRITE_ONCE(lens->map, lens->map & ~BIT(len));
	kfree_rcu(match, rcu);
}

/**
 * quic_rx_match_find - find a match
 * @fs: flows of the socket; the caller holds their lock
 * @tuple: what it matches
 *
 * Context: process.
 * Return: the match, or NULL.
 */
struct quic_rx_match *quic_rx_match_find(struct quic_rx_flows *fs,
					 const struct quic_tuple *tuple)
{
	return rhashtable_lookup_fast(&fs->matches, tuple,
				      quic_rx_matches_params);
}

/* One length of connection IDs: first with the source, then with any */
static const struct quic_rx_match *
quic_rx_match_len(struct quic_rx_flows *fs, struct quic_tuple *tuple)
{
	u32 bit = BIT(tuple->cid_len);
	const struct quic_rx_match *match = NULL;

	if (READ_ONCE(fs->peer.map) & bit)
		match = rhashtable_lookup(&fs->matches, tuple,
					  quic_rx_matches_params);
	if (match || !(READ_ONCE(fs->any.map) & bit))
		return match;
	quic_tuple_clear_dst(tuple);
	return rhashtable_lookup(&fs->matches, tuple, quic_rx_matches_params);
}

/**
 * quic_rx_match - find the most specific match of a packet
 * @fs: flows of the socket
 * @src: source of the packet
 * @cid: what follows the first byte
 * @len: bytes that can be read at @cid
 *
 * Short headers do not say how long their connection ID is: all lengths in use
 * are tried, the longest one first.
 *
 * Context: any, the caller holds rcu_read_lock().
 * Return: the match, or NULL.
 */
const struct quic_rx_match *quic_rx_match(struct quic_rx_flows *fs,
					  const struct quic_tuple *src,
					  const u8 *cid, unsigned int len)
{
	const struct quic_rx_match *match = NULL;
	u32 lens = quic_rx_cid_lens(fs);
	struct quic_tuple tuple;
	u8 cid_len;

	while (lens && !match) {
		cid_len = fls(lens) - 1;
		lens &= ~BIT(cid_len);
		if (cid_len > len)
			continue;
		tuple = *src;
		tuple.cid_len = cid_len;
		memcpy(tuple.cid, cid, cid_len);
		match = quic_rx_match_len(fs, &tuple);
	}
	return match;
}

/**
 * quic_rx_matches_init - set up the table of a socket
 * @fs: flows of the socket
 *
 * Context: process, sleeps.
 * Return: 0 or a negative error.
 */
int quic_rx_matches_init(struct quic_rx_flows *fs)
{
	return rhashtable_init(&fs->matches, &quic_rx_matches_params);
}

/**
 * quic_rx_matches_destroy - free the table
 * @fs: flows of the socket, all removed, a grace period after nobody finds the
 *	socket any more
 *
 * Context: process, sleeps.
 */
void quic_rx_matches_destroy(struct quic_rx_flows *fs)
{
	rhashtable_destroy(&fs->matches);
}
