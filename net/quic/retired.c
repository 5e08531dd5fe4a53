// SPDX-License-Identifier: GPL-2.0
/*
 * QUIC packet protection: records of keys that nobody has installed any more.
 *
 * A program may remove a key and install it again, by mistake or because one of
 * its processes has died. The packet numbers that were sealed must not be
 * sealed again, so the record is kept for a while: ten minutes outlast any
 * connection whose peer does not answer.
 *
 * The table has a fixed size, for each network namespace. A hash selects the
 * bucket, whose records replace each other. A user replaces the user's own
 * records first, and takes at most one record of a bucket from others: nobody
 * can make the kernel forget what others have sealed by retiring many keys. No
 * key can be recovered from the table, as the key of the hash is secret.
 */

#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "retired.h"

#define QUIC_RETIRED_SECONDS	600
#define QUIC_RETIRED_BUCKETS	256
#define QUIC_RETIRED_WAYS	8

struct quic_retired {
	struct quic_retired_rec recs[QUIC_RETIRED_BUCKETS][QUIC_RETIRED_WAYS];
};

/**
 * quic_retired_alloc - make an empty table
 *
 * Context: process, sleeps.
 * Return: the table, charged to the caller, or NULL.
 */
struct quic_retired *quic_retired_alloc(void)
{
	return kvzalloc(sizeof(struct quic_retired), GFP_KERNEL_ACCOUNT);
}

/**
 * quic_retired_free - free a table
 * @table: table of quic_retired_alloc(), or NULL
 *
 * Context: process, sleeps.
 */
void quic_retired_free(struct quic_retired *table)
{
	kvfree_sensitive(table, sizeof(*table));
}

static bool quic_retired_live(const struct quic_retired_rec *rec, u32 now)
{
	return rec->hash && now - rec->time < QUIC_RETIRED_SECONDS;
}

static struct quic_retired_rec *quic_retired_bucket(struct quic_retired *table,
						    u64 hash)
{
	return table->recs[hash % QUIC_RETIRED_BUCKETS];
}

/* Which record goes? One that has expired; else the oldest of the user; else
 * the oldest.
 */
static struct quic_retired_rec *
quic_retired_victim(struct quic_retired_rec *bucket, u32 uid, u32 now)
{
	struct quic_retired_rec *rec, *old = NULL, *own = NULL;
	unsigned int i;

	for (i = 0; i < QUIC_RETIRED_WAYS; i++) {
		rec = &bucket[i];
		if (!quic_retired_live(rec, now))
			return rec;
		if (!old || now - rec->time > now - old->time)
			old = rec;
		if (rec->uid == uid &&
		    (!own || now - rec->time > now - own->time))
			own = rec;
	}
	return own ?: old;
}

static struct quic_retired_rec *quic_retired_look(struct quic_retired *table,
						  u64 hash, u32 now)
{
	struct quic_retired_rec *bucket = quic_retired_bucket(table, hash);
	unsigned int i;

	for (i = 0; i < QUIC_RETIRED_WAYS; i++) {
		if (bucket[i].hash == hash &&
		    quic_retired_live(&bucket[i], now))
			return &bucket[i];
	}
	return NULL;
}

/**
 * quic_retired_find - look a record up
 * @table: table; the caller serialises
 * @hash: hash of the key and the path
 * @now: seconds since boot
 *
 * Return: the record, or NULL if there is none or it is too old.
 */
const struct quic_retired_rec *quic_retired_find(struct quic_retired *table,
						 u64 hash, u32 now)
{
	return quic_retired_look(table, hash, now);
}

/**
 * quic_retired_add - remember a record
 * @table: table; the caller serialises
 * @rec: record. What is remembered of this key and path already is joined with
 *	 it: numbers and counts only grow
 * @now: seconds since boot
 */
void quic_retired_add(struct quic_retired *table,
		      const struct quic_retired_rec *rec, u32 now)
{
	struct quic_retired_rec *old;

	old = quic_retired_look(table, rec->hash, now);
	if (!old) {
		old = quic_retired_victim(quic_retired_bucket(table, rec->hash),
					  rec->uid, now);
		*old = *rec;
	}
	old->top = max(old->top, rec->top);
	old->sealed = max(old->sealed, rec->sealed);
	old->time = now;
}
