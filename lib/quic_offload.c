// SPDX-License-Identifier: GPL-2.0
/*
 * Let a program that uses ngtcp2 have its 1-RTT packets sealed and opened by
 * the kernel.
 *
 *	LD_PRELOAD=./quic_offload.so gtlsserver ...
 *
 * The program stays as it is. This library takes the place of the few ngtcp2
 * functions that see the keys and the packets, and of sendmsg() and recvmsg().
 * ngtcp2_conn_install_tx_key(), ngtcp2_conn_install_rx_key() and
 * ngtcp2_crypto_update_key() show the keys of a connection; they are kept here,
 * one struct key per generation and direction.
 *
 * Sending, quic_offload_tx.c:
 *
 *  1. ngtcp2_crypto_encrypt_cb() leaves a 1-RTT packet as it is, once the
 *     handshake is over. ngtcp2 appends 16 bytes of room for the tag all the
 *     same. struct mark is written there: it says whose packet this is, so that
 *     what was left unsealed is recognised wherever the program copies it.
 *     ngtcp2_crypto_hp_mask() then gives a mask of zeroes.
 *  2. sendmsg() finds the marks. When every packet of the call has one, and
 *     they have key and connection ID in common, the kernel is asked to seal
 *     them: it overwrites the marks with tags. Anything else that has a mark is
 *     sealed here, in a copy, with the library's own cipher.
 *
 * A packet with a mark never leaves as it is. When the kernel refuses it, it is
 * sealed here or the error goes back to the program, and when its key is gone
 * it is dropped like a packet lost on the way.
 *
 * Receiving, quic_offload_rx.c:
 *
 *  1. ngtcp2_conn_read_pkt() shows on which socket the packets of a connection
 *     arrive, and ngtcp2_conn_get_scid() with which connection IDs. The keys go
 *     to that socket.
 *  2. recvmsg() asks the kernel which packets it has opened, and writes struct
 *     opened_mark to where their tags were.
 *  3. ngtcp2_conn_read_pkt() finds the mark. While ngtcp2 is at this packet,
 *     ngtcp2_crypto_hp_mask() gives a mask of zeroes, and
 *     ngtcp2_crypto_decrypt_cb() copies the payload if ngtcp2 has come to the
 *     packet number and the key with which the kernel has opened it.
 *
 * Whatever the kernel has not opened goes the library's own way.
 *
 * A QUIC library that does this itself needs no marks, as it knows what it
 * built, and where its packets come from. What it needs is in libquickernel,
 * which is used here, too.
 *
 * Environment: QUIC_OFFLOAD=0 leaves everything to the library, QUIC_OFFLOAD=tx
 * what arrives, QUIC_OFFLOAD=rx what is sent. QUIC_OFFLOAD_STATS names a file
 * for the counters (default: stderr, at exit).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include <gnutls/gnutls.h>

#include "quic_offload.h"

pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
struct stats stats;
struct map conn_by_ng, conn_by_hp, conn_by_flow;
struct map key_by_handle, key_by_id;

static enum { UNKNOWN, WANTED, MISSING, PRESENT } kernel_state;
static bool use_tx, use_rx;
static uint32_t last_key_id, last_flow_id;

static struct map_node **map_slot(struct map *map, const void *key)
{
	uint64_t hash = (uint64_t)(uintptr_t)key * 0x9e3779b97f4a7c15ULL;
	struct map_node **slot = &map->buckets[hash >> 54];

	while (*slot && (*slot)->key != key)
		slot = &(*slot)->next;
	return slot;
}

void *map_get(struct map *map, const void *key)
{
	struct map_node *node = *map_slot(map, key);

	return node ? node->value : NULL;
}

bool map_set(struct map *map, const void *key, void *value)
{
	struct map_node **slot = map_slot(map, key);

	if (!*slot) {
		*slot = calloc(1, sizeof(**slot));
		if (!*slot)
			return false;
		(*slot)->key = key;
	}
	(*slot)->value = value;
	return true;
}

/* Only if it still is @value: an address may have been used again. */
void map_del(struct map *map, const void *key, const void *value)
{
	struct map_node **slot = map_slot(map, key);
	struct map_node *node = *slot;

	if (!node || node->value != value)
		return;
	*slot = node->next;
	free(node);
}

const void *id_key(uint32_t id)
{
	return (const void *)(uintptr_t)id;
}

/* Which directions does the environment ask for? */
static bool wanted(void)
{
	const char *env = getenv("QUIC_OFFLOAD");

	if (env && !strcmp(env, "0")) {
		fprintf(stderr, "quic_offload: off (QUIC_OFFLOAD=0)\n");
		return false;
	}
	use_tx = (!env || strcmp(env, "rx")) && tx_init();
	use_rx = (!env || strcmp(env, "tx")) && rx_init();
	return use_tx || use_rx;
}

/* An error of qk_probe() that says nothing about the kernel */
static bool passes(int err)
{
	switch (-err) {
	case EAGAIN:
	case EINTR:
	case ENOMEM:
	case ENOBUFS:
	case EMFILE:
	case ENFILE:
		return true;
	}
	return false;
}

static void probe_kernel(void)
{
	int err = qk_probe(NULL);

	/* The next key asks again. */
	if (passes(err))
		return;
	kernel_state = err ? MISSING : PRESENT;
	if (err)
		fprintf(stderr,
			"quic_offload: not in this kernel (%s%s), "
			"the library seals and opens its packets\n",
			strerror(-err),
			err == -ENOENT ? ", is quic_crypto loaded?" : "");
}

/* Is the offload there? Asked until there is an answer; what is missing is said
 * once.
 */
static bool kernel_present(void)
{
	if (kernel_state == UNKNOWN)
		kernel_state = wanted() ? WANTED : MISSING;
	if (kernel_state == WANTED)
		probe_kernel();
	return kernel_state == PRESENT;
}

/* The one function that depends on the TLS library of ngtcp2 */
static uint16_t cipher_type(const ngtcp2_crypto_aead *aead)
{
	intptr_t wanted = (intptr_t)aead->native_handle;
	gnutls_cipher_algorithm_t cipher;
	gnutls_protocol_t version;
	unsigned char suite[2];
	size_t i;

	for (i = 0; gnutls_cipher_suite_info(i, suite, NULL, &cipher, NULL,
					     &version); i++)
		if (version == GNUTLS_TLS1_3 && cipher == wanted)
			return qk_cipher_of_suite(suite[0] << 8 | suite[1]);
	return 0;
}

/* HKDF-Expand-Label of TLS 1.3 with an empty context */
static int expand_label(uint8_t *dest, size_t len, const ngtcp2_crypto_md *md,
			const uint8_t *secret, size_t secret_len,
			const char *label)
{
	uint8_t info[64];
	int n;

	n = snprintf((char *)info + 3, sizeof(info) - 3, "tls13 %s", label);
	info[0] = len >> 8;
	info[1] = len;
	info[2] = n;
	info[3 + n] = 0;
	return ngtcp2_crypto_hkdf_expand(dest, len, md, secret, secret_len,
					 info, 3 + n + 1);
}

/* ----- keys and connections ----- */

static void key_free(struct key *key)
{
	if (!key)
		return;
	map_del(&key_by_handle, key->handle, key);
	map_del(&key_by_id, id_key(key->id), key);
	ngtcp2_crypto_aead_ctx_free(&key->ctx);
	explicit_bzero(key, sizeof(*key));
	free(key);
}

static struct key *key_add(struct conn *conn, struct side *side, uint64_t gen,
			   void *handle, const uint8_t *secret_key,
			   const uint8_t *iv)
{
	struct key *key = calloc(1, sizeof(*key));
	struct key **slot = &side->keys[gen % N_GENS];

	if (!key)
		return NULL;
	memcpy(key->key, secret_key, conn->key_len);
	memcpy(key->iv, iv, sizeof(key->iv));
	if (ngtcp2_crypto_aead_ctx_encrypt_init(&key->ctx, &conn->aead,
						key->key, sizeof(key->iv))) {
		explicit_bzero(key, sizeof(*key));
		free(key);
		return NULL;
	}
	do
		last_key_id++;
	while (!last_key_id || map_get(&key_by_id, id_key(last_key_id)));
	key->id = last_key_id;
	key->conn = conn;
	key->side = side;
	key->gen = gen;
	key->handle = handle;
	if (!map_set(&key_by_id, id_key(key->id), key) ||
	    !map_set(&key_by_handle, handle, key)) {
		key_free(key);
		return NULL;
	}
	key_free(*slot);
	*slot = key;
	side->newest = gen;
	stats.keys++;
	return key;
}

/* The packet number that a nonce was made of */
uint64_t key_number(const struct key *key, const uint8_t *nonce)
{
	uint64_t number = 0;
	unsigned int i;

	for (i = QUIC_MAX_IV_SIZE - sizeof(number); i < QUIC_MAX_IV_SIZE; i++)
		number = number << 8 | (nonce[i] ^ key->iv[i]);
	return number;
}

static void conn_free(struct conn *conn)
{
	unsigned int i;

	for (i = 0; i < N_GENS; i++) {
		key_free(conn->tx.keys[i]);
		key_free(conn->rx.keys[i]);
	}
	map_del(&conn_by_ng, conn->ng, conn);
	map_del(&conn_by_flow, id_key(conn->flow_id), conn);
	map_del(&conn_by_hp, conn->tx.hp_ctx.native_handle, conn);
	explicit_bzero(conn, sizeof(*conn));
	free(conn);
}

static struct conn *conn_alloc(ngtcp2_conn *ng)
{
	const ngtcp2_crypto_ctx *ctx = ngtcp2_conn_get_crypto_ctx(ng);
	uint16_t type = cipher_type(&ctx->aead);
	struct conn *conn;

	if (!type || ctx->aead.max_overhead != QUIC_TAG_SIZE ||
	    ngtcp2_crypto_aead_keylen(&ctx->aead) > QUIC_MAX_KEY_SIZE)
		return NULL;
	conn = calloc(1, sizeof(*conn));
	if (!conn)
		return NULL;
	conn->ng = ng;
	conn->aead = ctx->aead;
	conn->hp = ctx->hp;
	conn->cipher_type = type;
	conn->key_len = ngtcp2_crypto_aead_keylen(&ctx->aead);
	conn->tx.sock.fd = -1;
	conn->rx.sock.fd = -1;
	do
		conn->flow_id = ++last_flow_id;
	while (!conn->flow_id ||
	       map_get(&conn_by_flow, id_key(conn->flow_id)));
	if (!map_set(&conn_by_ng, ng, conn) ||
	    !map_set(&conn_by_flow, id_key(conn->flow_id), conn)) {
		conn_free(conn);
		return NULL;
	}
	stats.connections++;
	return conn;
}

static void conn_del(struct conn *conn)
{
	flow_del(conn, &conn->tx);
	rx_remove(conn);
	conn_free(conn);
}

/* A direction gets its first key. If it has keys, this is another connection
 * at the address of an old one.
 */
static struct conn *conn_get(ngtcp2_conn *ng, bool sends)
{
	struct conn *conn = map_get(&conn_by_ng, ng);

	if (conn && (sends ? conn->tx.direction : conn->rx.direction)) {
		conn_del(conn);
		conn = NULL;
	}
	return conn ? conn : conn_alloc(ng);
}

/*
 * The first 1-RTT key of a direction. The library hands over its contexts and
 * the secret, not the keys, so they are derived once more (RFC 9001 section
 * 5.1, RFC 9369 section 3.3.2).
 */
static int side_init(struct conn *conn, struct side *side,
		     const uint8_t *secret, size_t secret_len, void *handle,
		     const uint8_t *iv)
{
	const ngtcp2_crypto_ctx *ctx = ngtcp2_conn_get_crypto_ctx(conn->ng);
	bool v2 = ngtcp2_conn_get_negotiated_version(conn->ng) ==
		  NGTCP2_PROTO_VER_V2;
	uint8_t key[QUIC_MAX_KEY_SIZE];
	int ret = -1;

	if (!expand_label(key, conn->key_len, &ctx->md, secret, secret_len,
			  v2 ? "quicv2 key" : "quic key") &&
	    !expand_label(side->hp_key, conn->key_len, &ctx->md, secret,
			  secret_len, v2 ? "quicv2 hp" : "quic hp") &&
	    key_add(conn, side, 0, handle, key, iv))
		ret = 0;
	explicit_bzero(key, sizeof(key));
	return ret;
}

static void add_tx_key(ngtcp2_conn *ng, const uint8_t *secret,
		       size_t secret_len, void *handle, const uint8_t *iv,
		       const ngtcp2_crypto_cipher_ctx *hp_ctx)
{
	struct conn *conn = conn_get(ng, true);

	if (!conn)
		return;
	conn->tx.direction = QUIC_INFO_TX;
	conn->tx.hp_ctx = *hp_ctx;
	if (!map_set(&conn_by_hp, hp_ctx->native_handle, conn) ||
	    side_init(conn, &conn->tx, secret, secret_len, handle, iv))
		conn_free(conn);
}

static void add_rx_key(ngtcp2_conn *ng, const uint8_t *secret,
		       size_t secret_len, void *handle, const uint8_t *iv,
		       const ngtcp2_crypto_cipher_ctx *hp_ctx)
{
	struct conn *conn = conn_get(ng, false);

	if (!conn)
		return;
	conn->rx.direction = QUIC_INFO_RX;
	conn->rx.hp_ctx = *hp_ctx;
	if (side_init(conn, &conn->rx, secret, secret_len, handle, iv))
		give_up(&conn->rx, ENOMEM);
}

/* ----- flows: what the kernel is told ----- */

/* A key as the kernel gets it */
struct qk_keys key_keys(const struct key *key)
{
	return (struct qk_keys) {
		.cipher = key->conn->cipher_type,
		.generation = key->gen,
		.key = key->key,
		.iv = key->iv,
		.hp = key->side->hp_key,
	};
}

/* Install the generations that came after those that the kernel has. */
int flow_sync(struct side *side)
{
	while (side->last < side->newest) {
		const struct key *key;
		struct qk_keys keys;
		int err;

		key = side->keys[(side->last + 1) % N_GENS];
		if (!key || key->gen != side->last + 1)
			return -ENOKEY;
		keys = key_keys(key);
		err = side->direction == QUIC_INFO_TX ?
		      qk_tx_update(&side->sock, key->conn->flow_id, &keys) :
		      qk_rx_update(&side->sock, key->conn->flow_id, &keys);
		if (err)
			return err;
		side->last++;
	}
	return 0;
}

void flow_del(struct conn *conn, struct side *side)
{
	if (side->sock.fd < 0)
		return;
	if (side->direction == QUIC_INFO_TX)
		qk_tx_del(&side->sock, conn->flow_id);
	else
		qk_rx_del(&side->sock, conn->flow_id);
	side->sock.fd = -1;
}

/* As flow_sync(), and remove a flow that cannot be kept: the next packet gets
 * another one. If the kernel takes no keys just now, the flow stays.
 */
int flow_keep(struct conn *conn, struct side *side)
{
	int err = flow_sync(side);

	if (err && qk_add_todo(err) != QK_RETRY)
		flow_del(conn, side);
	return err;
}

/* From now on this direction of a connection is the library's. */
void give_up(struct side *side, int err)
{
	bool sends = side->direction == QUIC_INFO_TX;
	unsigned long *count = sends ? &stats.given_up : &stats.rx_given_up;

	if (side->off)
		return;
	side->off = true;
	if (!(*count)++)
		fprintf(stderr,
			"quic_offload: a connection was refused (%s), "
			"the library %s its packets\n",
			strerror(err), sends ? "seals" : "opens");
}

/* ----- what ngtcp2, or the program, calls ----- */

int ngtcp2_conn_install_tx_key(ngtcp2_conn *conn, const uint8_t *secret,
			       size_t secretlen,
			       const ngtcp2_crypto_aead_ctx *aead_ctx,
			       const uint8_t *iv, size_t ivlen,
			       const ngtcp2_crypto_cipher_ctx *hp_ctx)
{
	pthread_mutex_lock(&lock);
	if (kernel_present() && use_tx && ivlen == QUIC_MAX_IV_SIZE)
		add_tx_key(conn, secret, secretlen, aead_ctx->native_handle,
			   iv, hp_ctx);
	pthread_mutex_unlock(&lock);
	return REAL(ngtcp2_conn_install_tx_key)(conn, secret, secretlen,
						aead_ctx, iv, ivlen, hp_ctx);
}

int ngtcp2_conn_install_rx_key(ngtcp2_conn *conn, const uint8_t *secret,
			       size_t secretlen,
			       const ngtcp2_crypto_aead_ctx *aead_ctx,
			       const uint8_t *iv, size_t ivlen,
			       const ngtcp2_crypto_cipher_ctx *hp_ctx)
{
	pthread_mutex_lock(&lock);
	if (kernel_present() && use_rx && ivlen == QUIC_MAX_IV_SIZE)
		add_rx_key(conn, secret, secretlen, aead_ctx->native_handle,
			   iv, hp_ctx);
	pthread_mutex_unlock(&lock);
	return REAL(ngtcp2_conn_install_rx_key)(conn, secret, secretlen,
						aead_ctx, iv, ivlen, hp_ctx);
}

/* The key of a direction's next generation */
static void side_update(struct conn *conn, struct side *side, void *handle,
			const uint8_t *key, const uint8_t *iv)
{
	if (side->direction &&
	    !key_add(conn, side, side->newest + 1, handle, key, iv))
		give_up(side, ENOMEM);
}

int ngtcp2_crypto_update_key(ngtcp2_conn *conn, uint8_t *rx_secret,
			     uint8_t *tx_secret,
			     ngtcp2_crypto_aead_ctx *rx_aead_ctx,
			     uint8_t *rx_key, uint8_t *rx_iv,
			     ngtcp2_crypto_aead_ctx *tx_aead_ctx,
			     uint8_t *tx_key, uint8_t *tx_iv,
			     const uint8_t *current_rx_secret,
			     const uint8_t *current_tx_secret,
			     size_t secretlen)
{
	struct conn *c;
	int ret;

	ret = REAL(ngtcp2_crypto_update_key)(conn, rx_secret, tx_secret,
					     rx_aead_ctx, rx_key, rx_iv,
					     tx_aead_ctx, tx_key, tx_iv,
					     current_rx_secret,
					     current_tx_secret, secretlen);
	if (ret)
		return ret;
	pthread_mutex_lock(&lock);
	c = map_get(&conn_by_ng, conn);
	if (c) {
		side_update(c, &c->tx, tx_aead_ctx->native_handle, tx_key,
			    tx_iv);
		side_update(c, &c->rx, rx_aead_ctx->native_handle, rx_key,
			    rx_iv);
		/* The kernel has it before the Key Phase bit changes. */
		if (!c->tx.off && c->tx.sock.fd >= 0)
			flow_keep(c, &c->tx);
		rx_update(c);
	}
	pthread_mutex_unlock(&lock);
	return 0;
}

int ngtcp2_crypto_update_key_cb(ngtcp2_conn *conn, uint8_t *rx_secret,
				uint8_t *tx_secret,
				ngtcp2_crypto_aead_ctx *rx_aead_ctx,
				uint8_t *rx_iv,
				ngtcp2_crypto_aead_ctx *tx_aead_ctx,
				uint8_t *tx_iv,
				const uint8_t *current_rx_secret,
				const uint8_t *current_tx_secret,
				size_t secretlen, void *user_data)
{
	uint8_t rx_key[64], tx_key[64];
	int ret;

	ret = ngtcp2_crypto_update_key(conn, rx_secret, tx_secret, rx_aead_ctx,
				       rx_key, rx_iv, tx_aead_ctx, tx_key,
				       tx_iv, current_rx_secret,
				       current_tx_secret, secretlen);
	explicit_bzero(rx_key, sizeof(rx_key));
	explicit_bzero(tx_key, sizeof(tx_key));
	return ret ? NGTCP2_ERR_CALLBACK_FAILURE : 0;
}

int ngtcp2_crypto_encrypt_cb(uint8_t *dest, const ngtcp2_crypto_aead *aead,
			     const ngtcp2_crypto_aead_ctx *aead_ctx,
			     const uint8_t *plaintext, size_t plaintextlen,
			     const uint8_t *nonce, size_t noncelen,
			     const uint8_t *aad, size_t aadlen)
{
	/* Long headers, so the whole handshake, stay with the library. */
	if (aadlen && !(aad[0] & 0x80) && noncelen == QUIC_MAX_IV_SIZE &&
	    tx_leave(dest, aead_ctx, plaintext, plaintextlen, nonce, aad,
		     aadlen))
		return 0;
	return REAL(ngtcp2_crypto_encrypt_cb)(dest, aead, aead_ctx, plaintext,
					      plaintextlen, nonce, noncelen,
					      aad, aadlen);
}

int ngtcp2_crypto_decrypt_cb(uint8_t *dest, const ngtcp2_crypto_aead *aead,
			     const ngtcp2_crypto_aead_ctx *aead_ctx,
			     const uint8_t *ciphertext, size_t ciphertextlen,
			     const uint8_t *nonce, size_t noncelen,
			     const uint8_t *aad, size_t aadlen)
{
	bool short_header = aadlen && !(aad[0] & 0x80) &&
			    noncelen == QUIC_MAX_IV_SIZE;
	int ret;

	if (short_header && rx_is_open(ciphertext))
		return rx_take(dest, aead_ctx, ciphertext, ciphertextlen,
			       nonce);
	ret = REAL(ngtcp2_crypto_decrypt_cb)(dest, aead, aead_ctx, ciphertext,
					     ciphertextlen, nonce, noncelen,
					     aad, aadlen);
	if (short_header)
		rx_note(aead_ctx, nonce, !ret);
	return ret;
}

/* Is the header of this packet in the clear, or to be left so? */
static bool zero_mask(uint8_t *dest, const ngtcp2_crypto_cipher_ctx *hp_ctx,
		      const uint8_t *sample)
{
	if (!rx_zero_mask(sample) && !tx_zero_mask(hp_ctx))
		return false;
	memset(dest, 0, NGTCP2_HP_MASKLEN);
	return true;
}

int ngtcp2_crypto_hp_mask(uint8_t *dest, const ngtcp2_crypto_cipher *hp,
			  const ngtcp2_crypto_cipher_ctx *hp_ctx,
			  const uint8_t *sample)
{
	if (zero_mask(dest, hp_ctx, sample))
		return 0;
	return REAL(ngtcp2_crypto_hp_mask)(dest, hp, hp_ctx, sample);
}

int ngtcp2_crypto_hp_mask_cb(uint8_t *dest, const ngtcp2_crypto_cipher *hp,
			     const ngtcp2_crypto_cipher_ctx *hp_ctx,
			     const uint8_t *sample)
{
	if (zero_mask(dest, hp_ctx, sample))
		return 0;
	return REAL(ngtcp2_crypto_hp_mask_cb)(dest, hp, hp_ctx, sample);
}

void ngtcp2_conn_del(ngtcp2_conn *conn)
{
	struct conn *c;

	pthread_mutex_lock(&lock);
	c = map_get(&conn_by_ng, conn);
	if (c)
		conn_del(c);
	pthread_mutex_unlock(&lock);
	REAL(ngtcp2_conn_del)(conn);
}

/* ----- counters ----- */

static void print_line(FILE *f, const char *name, unsigned long val)
{
	fprintf(f, "%-20s %lu\n", name, val);
}

static void print_tx_stats(FILE *f)
{
#define P(name) print_line(f, #name, stats.name)
	P(connections);
	P(given_up);
	P(flows);
	P(keys);
	P(retired_keys);
	P(kernel_calls);
	P(kernel_packets);
	P(kernel_bytes);
	P(kernel_max_batch);
	P(library_packets);
	P(fallback_calls);
	P(fallback_packets);
	P(refused_calls);
	P(dropped_packets);
}

static void print_rx_stats(FILE *f)
{
	static const char * const names[] = {
		[QUIC_RX_OPENED] = "rx_kernel_packets",
		[QUIC_RX_KEY_PHASE] = "rx_key_phase",
		[QUIC_RX_AUTH_FAILED] = "rx_auth_failed",
		[QUIC_RX_NO_FLOW] = "rx_no_flow",
		[QUIC_RX_NOT_1RTT] = "rx_not_1rtt",
		[QUIC_RX_TOO_SHORT] = "rx_too_short",
		[QUIC_RX_KEY_LIMIT] = "rx_key_limit",
		[QUIC_RX_NOT_TRIED] = "rx_not_tried",
	};
	unsigned int i;

	P(rx_given_up);
	P(rx_flows);
	P(rx_calls);
	P(rx_bytes);
	P(rx_max_batch);
	for (i = 0; i <= QUIC_RX_NOT_TRIED; i++)
		print_line(f, names[i], stats.rx_status[i]);
	P(rx_no_element);
	P(rx_lost_packets);
	P(rx_used_packets);
	P(rx_stray_packets);
	P(rx_refused_packets);
	P(rx_library_packets);
	P(rx_failed_packets);
#undef P
}

static void __attribute__((destructor)) print_stats(void)
{
	const char *path = getenv("QUIC_OFFLOAD_STATS");
	FILE *f = stderr;

	if (kernel_state == UNKNOWN)
		return;
	if (path)
		f = fopen(path, "w");
	if (!f)
		return;
	print_line(f, "offload", kernel_state == PRESENT);
	print_tx_stats(f);
	print_rx_stats(f);
	if (f != stderr)
		fclose(f);
}
