// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Have the kernel seal and open the 1-RTT packets of a program on ngtcp2. See
 * README.md. Only callbacks and functions are used that ngtcp2 documents.
 *
 *  - Keys: the function that GnuTLS calls with each secret, and the callback
 *    update_key.
 *  - Sending: while ngtcp2 writes a datagram, between offload_write_begin() and
 *    offload_write_end(), the callback encrypt leaves a packet as it is, and
 *    hp_mask its header. ngtcp2 has added room for the tag in any case.
 *  - Receiving: while ngtcp2 reads a packet that the kernel has opened,
 *    offload_read(), hp_mask leaves its header as it is, and decrypt copies.
 *
 * None of these callbacks is told the connection, so that is in a variable of
 * the thread while ngtcp2 works on it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include <ngtcp2/ngtcp2_crypto_gnutls.h>

#include "offload.h"

#define MAX_SCIDS	64
#define SAMPLE_OFFSET	4	/* from the packet number: RFC 9001 5.4.2 */

struct offload_stats offload_stats;

/* What ngtcp2 writes */
static __thread struct {
	struct offload *o;
	const uint8_t *datagram;
	struct offload_packet packet;
} writing;

/* The packet that ngtcp2 reads */
static __thread struct {
	struct offload *o;
	const uint8_t *pkt;
	struct qk_packet packet;
} reading;

/* ----- keys ----- */

/* The one function that depends on the TLS library. With OpenSSL it would be
 * qk_cipher_of_suite(SSL_CIPHER_get_protocol_id(SSL_get_current_cipher(ssl))).
 */
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

static struct offload_key *get_key(struct offload_dir *dir, uint64_t gen)
{
	struct offload_key *key = &dir->keys[gen % OFFLOAD_GENS];

	return key->there && key->gen == (uint8_t)gen ? key : NULL;
}

static struct qk_keys key_keys(const struct offload *o,
			       const struct offload_dir *dir,
			       const struct offload_key *key)
{
	return (struct qk_keys) {
		.cipher = o->cipher,
		.generation = key->gen,
		.key = key->key,
		.iv = key->iv,
		.hp = dir->hp,
	};
}

static void wipe_key(struct offload_key *key)
{
	ngtcp2_crypto_aead_ctx_free(&key->ctx);
	explicit_bzero(key, sizeof(*key));
}

static void keep_key(struct offload *o, struct offload_dir *dir, uint64_t gen,
		     const uint8_t *secret_key, const uint8_t *iv)
{
	const ngtcp2_crypto_ctx *crypto = ngtcp2_conn_get_crypto_ctx(o->conn);
	struct offload_key *key = &dir->keys[gen % OFFLOAD_GENS];

	wipe_key(key);
	memcpy(key->key, secret_key, qk_key_size(o->cipher));
	memcpy(key->iv, iv, sizeof(key->iv));
	key->gen = gen;
	key->there = !ngtcp2_crypto_aead_ctx_encrypt_init(&key->ctx,
							  &crypto->aead,
							  key->key,
							  sizeof(key->iv));
	dir->newest = gen;
}

/* The packet number that a nonce was made of; false if not with this IV */
static bool key_number(const struct offload_key *key, const uint8_t *nonce,
		       uint64_t *number)
{
	unsigned int i;

	*number = 0;
	for (i = 4; i < sizeof(key->iv); i++)
		*number = *number << 8 | (nonce[i] ^ key->iv[i]);
	return !memcmp(nonce, key->iv, 4) && *number < 1ULL << 62;
}

static struct offload *session_offload(gnutls_session_t session,
				       ngtcp2_conn **conn)
{
	ngtcp2_crypto_conn_ref *ref = gnutls_session_get_ptr(session);

	*conn = ref->get_conn(ref);
	return ref->user_data;
}

/* A direction gets the keys of a level. ngtcp2 derives them, and shows them. */
static int install(struct offload *o, ngtcp2_conn *conn, bool sends,
		   ngtcp2_encryption_level level, const void *secret,
		   size_t len)
{
	struct offload_dir *dir = sends ? &o->tx : &o->rx;
	const ngtcp2_crypto_ctx *crypto;
	uint8_t key[64], iv[64], hp[64];
	int ret;

	ret = sends ? ngtcp2_crypto_derive_and_install_tx_key(conn, key, iv, hp,
							      level, secret,
							      len) :
		      ngtcp2_crypto_derive_and_install_rx_key(conn, key, iv, hp,
							      level, secret,
							      len);
	if (!ret && level == NGTCP2_ENCRYPTION_LEVEL_1RTT) {
		o->conn = conn;
		crypto = ngtcp2_conn_get_crypto_ctx(conn);
		o->cipher = cipher_type(&crypto->aead);
		memcpy(dir->hp, hp, qk_key_size(o->cipher));
		if (o->cipher)
			keep_key(o, dir, 0, key, iv);
	}
	explicit_bzero(key, sizeof(key));
	explicit_bzero(hp, sizeof(hp));
	return ret;
}

static int on_secret(gnutls_session_t session,
		     gnutls_record_encryption_level_t gnutls_level,
		     const void *rx_secret, const void *tx_secret, size_t len)
{
	ngtcp2_encryption_level level;
	struct offload *o;
	ngtcp2_conn *conn;

	level = ngtcp2_crypto_gnutls_from_gnutls_record_encryption_level(
		gnutls_level);
	o = session_offload(session, &conn);
	if (rx_secret && install(o, conn, false, level, rx_secret, len))
		return -1;
	if (tx_secret && install(o, conn, true, level, tx_secret, len))
		return -1;
	return 0;
}

/* A flow is of no use after this error. If it has other keys, it is another
 * connection's, which goes on using it.
 */
static void del_flow(struct offload *o, const struct offload_dir *dir, int err)
{
	if (err == -EADDRINUSE)
		return;
	if (dir == &o->tx)
		qk_tx_del(o->sock, o->flow_id);
	else
		qk_rx_del(o->sock, o->flow_id);
}

/* The kernel has a flow; or ngtcp2 protects packets: for good, or for now. */
static void set_on(struct offload_dir *dir, int err)
{
	dir->on = !err;
	dir->again = qk_add_todo(err) == QK_RETRY;
}

static void stop(struct offload *o, struct offload_dir *dir, int err)
{
	del_flow(o, dir, err);
	set_on(dir, err);
}

/* ngtcp2 prepares the next generation. The kernel has it before the Key Phase
 * bit changes, here or at the peer.
 */
static int on_update_key(ngtcp2_conn *conn, uint8_t *rx_secret,
			 uint8_t *tx_secret,
			 ngtcp2_crypto_aead_ctx *rx_aead_ctx, uint8_t *rx_iv,
			 ngtcp2_crypto_aead_ctx *tx_aead_ctx, uint8_t *tx_iv,
			 const uint8_t *current_rx_secret,
			 const uint8_t *current_tx_secret, size_t secretlen,
			 void *user_data)
{
	struct offload *o = user_data;
	uint8_t rx_key[64], tx_key[64];
	struct qk_keys keys;
	int err;

	if (ngtcp2_crypto_update_key(conn, rx_secret, tx_secret, rx_aead_ctx,
				     rx_key, rx_iv, tx_aead_ctx, tx_key, tx_iv,
				     current_rx_secret, current_tx_secret,
				     secretlen))
		return NGTCP2_ERR_CALLBACK_FAILURE;
	if (o->cipher) {
		keep_key(o, &o->tx, o->tx.newest + 1, tx_key, tx_iv);
		keep_key(o, &o->rx, o->rx.newest + 1, rx_key, rx_iv);
	}
	explicit_bzero(rx_key, sizeof(rx_key));
	explicit_bzero(tx_key, sizeof(tx_key));
	if (o->tx.on) {
		keys = key_keys(o, &o->tx, get_key(&o->tx, o->tx.newest));
		err = qk_tx_update(o->sock, o->flow_id, &keys);
		if (err)
			stop(o, &o->tx, err);
		offload_stats.updates += !err;
	}
	if (o->rx.on) {
		keys = key_keys(o, &o->rx, get_key(&o->rx, o->rx.newest));
		err = qk_rx_update(o->sock, o->flow_id, &keys);
		/* If the kernel has opened nothing of the generation before,
		 * the next packet adds the flow anew.
		 */
		if (err)
			stop(o, &o->rx, err == -EINVAL ? -EAGAIN : err);
		else if (o->rx.newest >= 2)
			/* ngtcp2 has forgotten this one by now. */
			qk_rx_retire(o->sock, o->flow_id, o->rx.newest - 2);
	}
	return 0;
}

/* ----- flows ----- */

/**
 * offload_init - begin with a connection
 * @o: what there is to know of it; also user_data of the connection and of the
 *     ngtcp2_crypto_conn_ref
 * @conn: connection
 * @sock: its socket, from qk_attach(), whether that worked or not
 * @flow_id: a number that no other connection of the socket has, not 0
 */
void offload_init(struct offload *o, ngtcp2_conn *conn,
		  const struct qk_socket *sock, uint32_t flow_id)
{
	o->conn = conn;
	o->sock = sock;
	o->flow_id = flow_id;
}

/**
 * offload_free - end with a connection
 * @o: connection, of which ngtcp2_conn_del() is called next
 */
void offload_free(struct offload *o)
{
	unsigned int i;

	if (o->tx.on)
		qk_tx_del(o->sock, o->flow_id);
	if (o->rx.on)
		qk_rx_del(o->sock, o->flow_id);
	for (i = 0; i < OFFLOAD_GENS; i++) {
		wipe_key(&o->tx.keys[i]);
		wipe_key(&o->rx.keys[i]);
	}
	explicit_bzero(o, sizeof(*o));
}

/* The keys of the current generation, and the next ones if they are there */
static int add_flow(struct offload *o, struct offload_dir *dir,
		    const struct qk_match *match)
{
	bool sends = dir == &o->tx;
	uint64_t gen = dir->newest ? dir->newest - 1 : 0;
	struct offload_key *key = get_key(dir, gen);
	struct qk_keys keys;
	int err;

	if (!key)
		return -ENOKEY;
	keys = key_keys(o, dir, key);
	err = sends ? qk_tx_add(o->sock, o->flow_id, &keys) :
		      qk_rx_add(o->sock, o->flow_id, match, &keys, o->rx_next);
	if (err || gen == dir->newest)
		return err;
	keys = key_keys(o, dir, get_key(dir, dir->newest));
	err = sends ? qk_tx_update(o->sock, o->flow_id, &keys) :
		      qk_rx_update(o->sock, o->flow_id, &keys);
	if (err)
		del_flow(o, dir, err);
	return err;
}

/* What the kernel cannot do now, the next packets ask for again. */
static void start(struct offload *o, struct offload_dir *dir,
		  const struct qk_match *match)
{
	set_on(dir, add_flow(o, dir, match));
}

static void match_init(struct offload *o, const ngtcp2_cid *cid,
		       struct qk_match *match)
{
	const ngtcp2_addr *peer = &ngtcp2_conn_get_path(o->conn)->remote;

	/* Only the address tells connections without an ID apart. */
	qk_match_init(match, cid->data, cid->datalen,
		      cid->datalen ? NULL : (const struct sockaddr *)peer->addr,
		      peer->addrlen);
}

static void start_rx(struct offload *o)
{
	size_t i, n = ngtcp2_conn_get_scid(o->conn, NULL);
	ngtcp2_cid cids[MAX_SCIDS];
	struct qk_match match;

	if (n > MAX_SCIDS)
		return;
	ngtcp2_conn_get_scid(o->conn, cids);
	match_init(o, &cids[0], &match);
	start(o, &o->rx, &match);
	for (i = 1; i < n; i++)
		offload_cid(o, &cids[i], true);
}

/**
 * offload_start - from now on, the kernel seals and opens what it can
 * @o: connection whose handshake is confirmed: for a server that is when it is
 *     completed
 */
void offload_start(struct offload *o)
{
	if (qk_can(o->sock, QUIC_INFO_TX, o->cipher))
		start(o, &o->tx, NULL);
	if (qk_can(o->sock, QUIC_INFO_RX, o->cipher))
		start_rx(o);
}

/**
 * offload_cid - a connection ID was issued or retired
 * @o: connection
 * @cid: connection ID, which the peer does not know yet or uses no more
 * @add: whether it was issued
 */
void offload_cid(struct offload *o, const ngtcp2_cid *cid, bool add)
{
	struct qk_match match;
	int err;

	if (!o->rx.on)
		return;
	match_init(o, cid, &match);
	if (!add) {
		qk_rx_del_alias(o->sock, o->flow_id, &match);
		return;
	}
	/* If it fails, ngtcp2 opens the packets that have it. If the kernel
	 * only cannot do it now, the next packet adds the flow anew, with all
	 * connection IDs and the number that was reached by then: the kernel
	 * could not open later packets without the numbers of those it misses.
	 */
	err = qk_rx_add_alias(o->sock, o->flow_id, &match);
	if (qk_add_todo(err) == QK_RETRY)
		stop(o, &o->rx, err);
}

/* ----- sending ----- */

/**
 * offload_write_begin - ngtcp2 is about to write a datagram
 * @o: connection; NULL to have ngtcp2 seal it, as CONNECTION_CLOSE, which may
 *     be sent more than once
 * @datagram: buffer for it
 */
void offload_write_begin(struct offload *o, const uint8_t *datagram)
{
	if (o && o->tx.again)
		start(o, &o->tx, NULL);
	writing.o = o;
	writing.datagram = datagram;
	writing.packet.left = false;
}

/**
 * offload_write_end - ngtcp2 has written the datagram
 *
 * Return: what it is
 */
struct offload_packet offload_write_end(void)
{
	writing.o = NULL;
	return writing.packet;
}

/* Leave a packet in plaintext? It has to be alone in its datagram, and of the
 * generation that ngtcp2 uses: the newest, or the one before.
 */
static bool leave(const uint8_t *nonce, const uint8_t *aad, size_t aad_len)
{
	struct offload_packet *p = &writing.packet;
	struct offload_key *key;

	if (!writing.o || !writing.o->tx.on || aad != writing.datagram ||
	    aad[0] & 0x80)
		return false;
	p->gen = writing.o->tx.newest;
	if ((p->gen & 1) != !!(aad[0] & 4))
		p->gen--;
	key = get_key(&writing.o->tx, p->gen);
	if (!key || !key_number(key, nonce, &p->number))
		return false;
	p->cid_len = aad_len - 1 - ((aad[0] & 3) + 1);
	p->left = true;
	return true;
}

static int on_encrypt(uint8_t *dest, const ngtcp2_crypto_aead *aead,
		      const ngtcp2_crypto_aead_ctx *ctx, const uint8_t *plain,
		      size_t plain_len, const uint8_t *nonce, size_t nonce_len,
		      const uint8_t *aad, size_t aad_len)
{
	if (!leave(nonce, aad, aad_len))
		return ngtcp2_crypto_encrypt_cb(dest, aead, ctx, plain,
						plain_len, nonce, nonce_len,
						aad, aad_len);
	if (dest != plain)
		memmove(dest, plain, plain_len);
	return 0;
}

static int on_hp_mask(uint8_t *dest, const ngtcp2_crypto_cipher *hp,
		      const ngtcp2_crypto_cipher_ctx *hp_ctx,
		      const uint8_t *sample)
{
	bool written = writing.o && writing.packet.left;
	bool read = reading.o && reading.packet.status == QUIC_RX_OPENED &&
		    sample == reading.pkt + 1 + reading.packet.cid_len +
			      SAMPLE_OFFSET;

	if (written)
		writing.o->hp_ctx = *hp_ctx;
	if (!written && !read)
		return ngtcp2_crypto_hp_mask_cb(dest, hp, hp_ctx, sample);
	memset(dest, 0, NGTCP2_HP_MASKLEN);
	return 0;
}

/* What the kernel would have done, RFC 9001 sections 5.3 and 5.4 */
static bool seal(struct offload *o, const struct offload_packet *p,
		 uint64_t number, uint8_t *pkt, size_t len)
{
	const ngtcp2_crypto_ctx *crypto = ngtcp2_conn_get_crypto_ctx(o->conn);
	size_t pn_len = (pkt[0] & 3) + 1, hdr_len = 1 + p->cid_len + pn_len;
	struct offload_key *key = get_key(&o->tx, p->gen);
	uint8_t nonce[QUIC_MAX_IV_SIZE], mask[NGTCP2_HP_SAMPLELEN];
	size_t i;

	if (!key)
		return false;
	memcpy(nonce, key->iv, sizeof(nonce));
	for (i = 0; i < 8; i++)
		nonce[sizeof(nonce) - 1 - i] ^= number >> (8 * i);
	if (ngtcp2_crypto_encrypt(pkt + hdr_len, &crypto->aead, &key->ctx,
				  pkt + hdr_len, len - hdr_len - QUIC_TAG_SIZE,
				  nonce, sizeof(nonce), pkt, hdr_len) ||
	    ngtcp2_crypto_hp_mask(mask, &crypto->hp, &o->hp_ctx,
				  pkt + 1 + p->cid_len + SAMPLE_OFFSET))
		return false;
	pkt[0] ^= mask[0] & 0x1f;
	for (i = 0; i < pn_len; i++)
		pkt[1 + p->cid_len + i] ^= mask[1 + i];
	return true;
}

/* The kernel has refused: the identical packets, sealed here and sent one by
 * one. They are without gaps in their numbers, as h3file.c builds batches.
 */
static ssize_t send_sealed(struct offload *o, const struct offload_packet *p,
			   struct msghdr *msg, uint16_t size)
{
	uint8_t *data = msg->msg_iov[0].iov_base;
	size_t len = msg->msg_iov[0].iov_len, off, n;
	struct iovec iov;
	uint64_t number = p->number;

	for (off = 0; off < len; off += n, number++) {
		n = len - off < size ? len - off : size;
		iov = (struct iovec) { data + off, n };
		msg->msg_iov = &iov;
		if (!seal(o, p, number, data + off, n) ||
		    sendmsg(o->sock->fd, msg, 0) < 0)
			return -1;
		offload_stats.refused++;
	}
	return len;
}

/* The kernel has lost what it had, or never got it. */
static bool install_again(struct offload *o)
{
	qk_tx_del(o->sock, o->flow_id);
	start(o, &o->tx, NULL);
	return o->tx.on;
}

static void wait_writable(int fd)
{
	struct pollfd pfd = { fd, POLLOUT, 0 };

	poll(&pfd, 1, -1);
}

/* The kernel has sealed packets. With the first of a generation, the generation
 * before is not needed any more.
 */
static void note_sealed(struct offload *o, uint64_t gen, size_t packets)
{
	offload_stats.sealed += packets;
	if (gen == o->sealed_gen)
		return;
	qk_tx_retire(o->sock, o->flow_id, o->sealed_gen);
	o->sealed_gen = gen;
}

/**
 * offload_send - send packets that were left in plaintext
 * @o: connection
 * @first: the first of them; the others have the next numbers, and its
 *	   connection ID and generation
 * @msg: destination, and packets in one piece
 * @packet_size: bytes of each of them; the last may be shorter
 * @ts: time that ngtcp2 was told when it wrote them; it must not go back
 *
 * Return: bytes, or -1 if they count as lost
 */
ssize_t offload_send(struct offload *o, const struct offload_packet *first,
		     struct msghdr *msg, uint16_t packet_size,
		     ngtcp2_tstamp ts)
{
	struct qk_batch batch = {
		.number = first->number,
		.flow_id = o->flow_id,
		.packet_size = packet_size,
		.cid_len = first->cid_len,
	};
	bool installed = false;
	ssize_t ret;

	/* Since they were written, the flow was given up. */
	if (!o->tx.on && !o->tx.again)
		return send_sealed(o, first, msg, packet_size);
	for (;;) {
		ret = qk_send(o->sock, &batch, msg, 0);
		switch (qk_send_todo(ret, installed)) {
		case QK_DONE:
			note_sealed(o, first->gen,
				    (ret + packet_size - 1) / packet_size);
			return ret;
		case QK_RETRY:
			wait_writable(o->sock->fd);
			break;
		case QK_INSTALL:
			if (!install_again(o))
				return send_sealed(o, first, msg, packet_size);
			installed = true;
			break;
		case QK_UPDATE:
			ngtcp2_conn_initiate_key_update(o->conn, ts);
			/* fallthrough */
		case QK_COUNT_SENT:
			return -1;
		case QK_LIBRARY:
			stop(o, &o->tx, ret);
			/* fallthrough */
		case QK_UDP:
			/* EIO and EMSGSIZE: one packet in a call may do. */
			return send_sealed(o, first, msg, packet_size);
		}
	}
}

/* ----- receiving ----- */

/* Which key and number has ngtcp2 come to? The IVs of generations differ, so
 * the nonce tells both.
 */
static const struct offload_key *find_key(const struct offload *o,
					  const uint8_t *nonce,
					  uint64_t *number)
{
	unsigned int i;

	for (i = 0; i < OFFLOAD_GENS; i++)
		if (o->rx.keys[i].there &&
		    key_number(&o->rx.keys[i], nonce, number) &&
		    *number < o->rx_next + (1ULL << 31))
			return &o->rx.keys[i];
	return NULL;
}

static int on_decrypt(uint8_t *dest, const ngtcp2_crypto_aead *aead,
		      const ngtcp2_crypto_aead_ctx *ctx, const uint8_t *cipher,
		      size_t cipher_len, const uint8_t *nonce, size_t nonce_len,
		      const uint8_t *aad, size_t aad_len)
{
	const struct offload_key *key = NULL;
	struct offload *o = reading.o;
	uint64_t number;
	int ret;

	if (o && !(aad[0] & 0x80))
		key = find_key(o, nonce, &number);
	if (!o || reading.packet.status != QUIC_RX_OPENED) {
		ret = ngtcp2_crypto_decrypt_cb(dest, aead, ctx, cipher,
					       cipher_len, nonce, nonce_len,
					       aad, aad_len);
		if (ret)
			return ret;
	} else if (!key || key->gen != reading.packet.key_gen ||
		   number != reading.packet.number) {
		offload_stats.mismatched++;
		return NGTCP2_ERR_DECRYPT;
	} else {
		memmove(dest, cipher, cipher_len - QUIC_TAG_SIZE);
		offload_stats.opened++;
	}
	if (key && number >= o->rx_next)
		o->rx_next = number + 1;
	return 0;
}

/**
 * offload_read - have ngtcp2 read a packet
 * @o: connection
 * @path: where it came from
 * @p: what the kernel says of it
 * @pkt: packet
 * @ts: when
 *
 * Return: as of ngtcp2_conn_read_pkt()
 */
int offload_read(struct offload *o, const ngtcp2_path *path,
		 const struct qk_packet *p, const uint8_t *pkt,
		 ngtcp2_tstamp ts)
{
	ngtcp2_pkt_info pi = { 0 };
	int ret;

	if (o->rx.again)
		start_rx(o);
	/* Its header is not as on the wire: ngtcp2 takes it for lost. */
	if (p->status == QUIC_RX_KEY_PHASE)
		return 0;
	/* An opened packet is for the connection of its flow only. */
	if (p->status == QUIC_RX_OPENED && p->flow_id != o->flow_id)
		return 0;
	reading.o = o;
	reading.pkt = pkt;
	reading.packet = *p;
	ret = ngtcp2_conn_read_pkt(o->conn, path, &pi, pkt, p->length, ts);
	reading.o = NULL;
	return ret;
}

/* ----- ngtcp2 and GnuTLS ----- */

/**
 * offload_set_callbacks - take the callbacks that protect packets
 * @callbacks: those of the program
 */
void offload_set_callbacks(ngtcp2_callbacks *callbacks)
{
	callbacks->encrypt = on_encrypt;
	callbacks->decrypt = on_decrypt;
	callbacks->hp_mask = on_hp_mask;
	callbacks->update_key = on_update_key;
}

/**
 * offload_set_session - see the secrets of a session
 * @session: after ngtcp2_crypto_gnutls_configure_server_session() or
 *	     ngtcp2_crypto_gnutls_configure_client_session()
 */
void offload_set_session(gnutls_session_t session)
{
	gnutls_handshake_set_secret_function(session, on_secret);
}
