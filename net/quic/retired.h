/* SPDX-License-Identifier: GPL-2.0 */
/*
 * QUIC packet protection: records of keys that nobody has installed any more
 */
#ifndef _NET_QUIC_RETIRED_H
#define _NET_QUIC_RETIRED_H

#include <linux/types.h>

struct quic_retired;

/**
 * struct quic_retired_rec - what is remembered of a key on a path
 * @hash: keyed hash of the key and the path
 * @top: highest packet number sealed plus one, 0 if none was
 * @sealed: packets sealed with the key; only in the record of path 0
 * @iv: keyed hash of IV and cipher
 * @uid: user who had the key installed
 * @time: when it was retired, in seconds since boot
 */
struct quic_retired_rec {
	u64 hash;
	u64 top;
	u64 sealed;
	u32 iv;
	u32 uid;
	u32 time;
};

struct quic_retired *quic_retired_alloc(void);
void quic_retired_free(struct quic_retired *table);
void quic_retired_add(struct quic_retired *table,
		      const struct quic_retired_rec *rec, u32 now);
const struct quic_retired_rec *quic_retired_find(struct quic_retired *table,
						 u64 hash, u32 now);

#endif /* _NET_QUIC_RETIRED_H */
