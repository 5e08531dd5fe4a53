// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * A small HTTP/3 file server, and a client, on ngtcp2 and nghttp3, whose
 * packets the kernel seals and opens: offload.c. What is here is what any
 * program on ngtcp2 has, except for the lines with qk_ and offload_.
 *
 * usage: h3file server [-u MS] [-c CIPHERS] ADDRESS PORT KEY CERT DIRECTORY
 *	  h3file client [-u MS] [-c CIPHERS] ADDRESS PORT PATH FILE
 * -u updates keys every so many milliseconds, -c chooses ciphers, as in
 * AES-128-GCM. The client does not check the server's certificate: it is an
 * example. A server ends at SIGINT, and prints its counters.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <nghttp3/nghttp3.h>
#include <ngtcp2/ngtcp2_crypto_gnutls.h>

#include "offload.h"

#define CID_LEN		8
#define MAX_CIDS	16
#define MAX_CONNS	64
#define MAX_DATAGRAM	65507

/* A file that is served */
struct file {
	uint8_t *data;
	size_t len;
	char length[24];	/* as text */
	char path[256];
};

/* A connection. The offload comes first: callbacks get a pointer to it. */
struct connection {
	struct offload offload;
	ngtcp2_conn *quic;
	nghttp3_conn *http;
	gnutls_session_t tls;
	ngtcp2_crypto_conn_ref ref;
	ngtcp2_tstamp next_update;
	bool confirmed, finished;
	ngtcp2_ccerr error;
};

static struct qk_socket sock;
static struct sockaddr_storage local, remote;
static socklen_t local_len, remote_len;
static struct connection *conns[MAX_CONNS];
static uint32_t last_flow_id;
static gnutls_certificate_credentials_t credentials;
static bool is_server;
static volatile sig_atomic_t stop;

/* Of the command line */
static unsigned long update_ms;
static const char *ciphers =
	"AES-128-GCM:+AES-256-GCM:+CHACHA20-POLY1305:+AES-128-CCM";
static const char *directory, *request_path;
static FILE *out_file;
static bool got_all;

static void die(const char *what)
{
	fprintf(stderr, "h3file: %s: %s\n", what, strerror(errno));
	exit(1);
}

static ngtcp2_tstamp now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * NGTCP2_SECONDS + t.tv_nsec;
}

/* ----- HTTP/3 ----- */

static nghttp3_nv header(const char *name, const char *value)
{
	return (nghttp3_nv) {
		.name = (uint8_t *)name,
		.namelen = strlen(name),
		.value = (uint8_t *)value,
		.valuelen = strlen(value),
	};
}

static void open_file(struct file *f)
{
	char path[512];
	struct stat st;
	int fd = -1;

	snprintf(path, sizeof(path), "%s%s", directory, f->path);
	if (!strstr(f->path, ".."))
		fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0 && !fstat(fd, &st) && S_ISREG(st.st_mode)) {
		f->data = mmap(NULL, st.st_size, PROT_READ, MAP_SHARED, fd, 0);
		f->len = f->data == MAP_FAILED ? 0 : st.st_size;
	}
	if (fd >= 0)
		close(fd);
}

/* All of it at once: nghttp3 takes what it can send. */
static nghttp3_ssize read_file(nghttp3_conn *http, int64_t stream_id,
			       nghttp3_vec *vec, size_t n, uint32_t *flags,
			       void *user_data, void *stream_user_data)
{
	struct file *f = stream_user_data;

	*flags |= NGHTTP3_DATA_FLAG_EOF;
	vec[0].base = f->data;
	vec[0].len = f->len;
	return f->len ? 1 : 0;
}

static int on_header(nghttp3_conn *http, int64_t stream_id, int32_t token,
		     nghttp3_rcbuf *name, nghttp3_rcbuf *value, uint8_t flags,
		     void *user_data, void *stream_user_data)
{
	nghttp3_vec v = nghttp3_rcbuf_get_buf(value);
	struct file *f = stream_user_data;

	if (f && token == NGHTTP3_QPACK_TOKEN__PATH)
		snprintf(f->path, sizeof(f->path), "%.*s", (int)v.len,
			 (char *)v.base);
	return 0;
}

static int on_begin_headers(nghttp3_conn *http, int64_t stream_id,
			    void *user_data, void *stream_user_data)
{
	struct file *f;

	if (!is_server)
		return 0;
	f = calloc(1, sizeof(*f));
	if (!f)
		return NGHTTP3_ERR_CALLBACK_FAILURE;
	return nghttp3_conn_set_stream_user_data(http, stream_id, f);
}

/* The request is complete, or the response is. */
static int on_end_stream(nghttp3_conn *http, int64_t stream_id,
			 void *user_data, void *stream_user_data)
{
	nghttp3_data_reader reader = { read_file };
	struct file *f = stream_user_data;
	nghttp3_nv headers[2];

	if (!is_server) {
		got_all = true;
		return 0;
	}
	open_file(f);
	snprintf(f->length, sizeof(f->length), "%zu", f->len);
	headers[0] = header(":status", f->data ? "200" : "404");
	headers[1] = header("content-length", f->length);
	return nghttp3_conn_submit_response(http, stream_id, headers, 2,
					    &reader);
}

static int on_data(nghttp3_conn *http, int64_t stream_id, const uint8_t *data,
		   size_t len, void *user_data, void *stream_user_data)
{
	struct connection *c = user_data;

	if (out_file && fwrite(data, len, 1, out_file) != 1)
		die("write");
	ngtcp2_conn_extend_max_stream_offset(c->quic, stream_id, len);
	ngtcp2_conn_extend_max_offset(c->quic, len);
	return 0;
}

static int on_consume(nghttp3_conn *http, int64_t stream_id, size_t len,
		      void *user_data, void *stream_user_data)
{
	struct connection *c = user_data;

	ngtcp2_conn_extend_max_stream_offset(c->quic, stream_id, len);
	ngtcp2_conn_extend_max_offset(c->quic, len);
	return 0;
}

static int on_http_close(nghttp3_conn *http, int64_t stream_id, uint64_t error,
			 void *user_data, void *stream_user_data)
{
	struct file *f = stream_user_data;

	if (f && f->len)
		munmap(f->data, f->len);
	free(f);
	return 0;
}

static int start_http(struct connection *c)
{
	nghttp3_callbacks callbacks = {
		.begin_headers = on_begin_headers,
		.recv_header = on_header,
		.end_stream = on_end_stream,
		.recv_data = on_data,
		.deferred_consume = on_consume,
		.stream_close = on_http_close,
	};
	int64_t control, enc, dec;
	nghttp3_settings settings;
	int ret;

	nghttp3_settings_default(&settings);
	if (is_server)
		ret = nghttp3_conn_server_new(&c->http, &callbacks, &settings,
					      NULL, c);
	else
		ret = nghttp3_conn_client_new(&c->http, &callbacks, &settings,
					      NULL, c);
	if (ret || ngtcp2_conn_open_uni_stream(c->quic, &control, NULL) ||
	    ngtcp2_conn_open_uni_stream(c->quic, &enc, NULL) ||
	    ngtcp2_conn_open_uni_stream(c->quic, &dec, NULL))
		return -1;
	if (is_server)
		nghttp3_conn_set_max_client_streams_bidi(c->http, 100);
	return nghttp3_conn_bind_control_stream(c->http, control) ||
	       nghttp3_conn_bind_qpack_streams(c->http, enc, dec);
}

static int send_request(struct connection *c)
{
	nghttp3_nv headers[] = {
		header(":method", "GET"),
		header(":scheme", "https"),
		header(":authority", "localhost"),
		header(":path", request_path),
	};
	int64_t id;

	return ngtcp2_conn_open_bidi_stream(c->quic, &id, NULL) ||
	       nghttp3_conn_submit_request(c->http, id, headers, 4, NULL, NULL);
}

/* ----- callbacks of ngtcp2 ----- */

#define FAILED(ret) ((ret) ? NGTCP2_ERR_CALLBACK_FAILURE : 0)

static int on_key(ngtcp2_conn *conn, ngtcp2_encryption_level level, void *user)
{
	struct connection *c = user;

	if (level != NGTCP2_ENCRYPTION_LEVEL_1RTT || c->http)
		return 0;
	return FAILED(start_http(c));
}

/* From now on, no packet shares its datagram with a long header. */
static int on_confirmed(ngtcp2_conn *conn, void *user)
{
	struct connection *c = user;

	offload_start(&c->offload);
	c->confirmed = true;
	c->next_update = now() + update_ms * NGTCP2_MILLISECONDS;
	return 0;
}

/* A server's handshake is confirmed now. */
static int on_completed(ngtcp2_conn *conn, void *user)
{
	return is_server ? on_confirmed(conn, user) :
			   FAILED(send_request(user));
}

static int on_stream_data(ngtcp2_conn *conn, uint32_t flags, int64_t stream_id,
			  uint64_t offset, const uint8_t *data, size_t len,
			  void *user, void *stream_user)
{
	struct connection *c = user;
	nghttp3_ssize n;

	n = nghttp3_conn_read_stream(c->http, stream_id, data, len,
				     flags & NGTCP2_STREAM_DATA_FLAG_FIN);
	if (n < 0)
		return NGTCP2_ERR_CALLBACK_FAILURE;
	ngtcp2_conn_extend_max_stream_offset(conn, stream_id, n);
	ngtcp2_conn_extend_max_offset(conn, n);
	return 0;
}

static int on_acked(ngtcp2_conn *conn, int64_t stream_id, uint64_t offset,
		    uint64_t len, void *user, void *stream_user)
{
	struct connection *c = user;

	return FAILED(nghttp3_conn_add_ack_offset(c->http, stream_id, len));
}

static int on_stream_close(ngtcp2_conn *conn, uint32_t flags, int64_t stream_id,
			   uint64_t error, void *user, void *stream_user)
{
	struct connection *c = user;

	if (!(flags & NGTCP2_STREAM_CLOSE_FLAG_APP_ERROR_CODE_SET))
		error = NGHTTP3_H3_NO_ERROR;
	nghttp3_conn_close_stream(c->http, stream_id, error);
	if (ngtcp2_is_bidi_stream(stream_id)) {
		if (is_server)
			ngtcp2_conn_extend_max_streams_bidi(conn, 1);
		else
			c->finished = true;
	}
	return 0;
}

static int on_more_stream(ngtcp2_conn *conn, int64_t stream_id, uint64_t max,
			  void *user, void *stream_user)
{
	struct connection *c = user;

	return FAILED(c->http && nghttp3_conn_unblock_stream(c->http,
							     stream_id));
}

static void on_rand(uint8_t *dest, size_t len, const ngtcp2_rand_ctx *ctx)
{
	if (getrandom(dest, len, 0) != (ssize_t)len)
		die("getrandom");
}

/* The kernel knows a connection ID before the peer does. */
static int on_new_cid(ngtcp2_conn *conn, ngtcp2_cid *cid, uint8_t *token,
		      size_t len, void *user)
{
	struct connection *c = user;

	cid->datalen = len;
	on_rand(cid->data, len, NULL);
	on_rand(token, NGTCP2_STATELESS_RESET_TOKENLEN, NULL);
	offload_cid(&c->offload, cid, true);
	return 0;
}

static int on_remove_cid(ngtcp2_conn *conn, const ngtcp2_cid *cid, void *user)
{
	struct connection *c = user;

	offload_cid(&c->offload, cid, false);
	return 0;
}

static void set_callbacks(ngtcp2_callbacks *cb)
{
	*cb = (ngtcp2_callbacks) {
		.client_initial = ngtcp2_crypto_client_initial_cb,
		.recv_client_initial = ngtcp2_crypto_recv_client_initial_cb,
		.recv_crypto_data = ngtcp2_crypto_recv_crypto_data_cb,
		.recv_retry = ngtcp2_crypto_recv_retry_cb,
		.delete_crypto_aead_ctx =
			ngtcp2_crypto_delete_crypto_aead_ctx_cb,
		.delete_crypto_cipher_ctx =
			ngtcp2_crypto_delete_crypto_cipher_ctx_cb,
		.get_path_challenge_data =
			ngtcp2_crypto_get_path_challenge_data_cb,
		.version_negotiation = ngtcp2_crypto_version_negotiation_cb,
		.handshake_completed = on_completed,
		.handshake_confirmed = is_server ? NULL : on_confirmed,
		.recv_stream_data = on_stream_data,
		.acked_stream_data_offset = on_acked,
		.stream_close = on_stream_close,
		.extend_max_stream_data = on_more_stream,
		.rand = on_rand,
		.get_new_connection_id = on_new_cid,
		.remove_connection_id = on_remove_cid,
	};
	if (is_server)
		cb->recv_tx_key = on_key;
	else
		cb->recv_rx_key = on_key;
	offload_set_callbacks(cb);
}

/* ----- connections ----- */

static ngtcp2_conn *get_conn(ngtcp2_crypto_conn_ref *ref)
{
	return ((struct connection *)ref->user_data)->quic;
}

static int start_tls(struct connection *c)
{
	gnutls_datum_t alpn = { (uint8_t *)"h3", 2 };
	char priority[256];
	int ret;

	snprintf(priority, sizeof(priority),
		 "%%DISABLE_TLS13_COMPAT_MODE:NORMAL:-VERS-ALL:+VERS-TLS1.3:"
		 "-CIPHER-ALL:+%s", ciphers);
	if (gnutls_init(&c->tls, is_server ?
			GNUTLS_SERVER | GNUTLS_NO_AUTO_SEND_TICKET :
			GNUTLS_CLIENT) ||
	    gnutls_priority_set_direct(c->tls, priority, NULL))
		return -1;
	if (is_server)
		ret = ngtcp2_crypto_gnutls_configure_server_session(c->tls);
	else
		ret = ngtcp2_crypto_gnutls_configure_client_session(c->tls);
	if (ret ||
	    gnutls_credentials_set(c->tls, GNUTLS_CRD_CERTIFICATE,
				   credentials) ||
	    gnutls_alpn_set_protocols(c->tls, &alpn, 1,
				      GNUTLS_ALPN_MANDATORY))
		return -1;
	if (!is_server)
		gnutls_server_name_set(c->tls, GNUTLS_NAME_DNS, "localhost", 9);
	c->ref.get_conn = get_conn;
	c->ref.user_data = c;
	gnutls_session_set_ptr(c->tls, &c->ref);
	offload_set_session(c->tls);
	ngtcp2_conn_set_tls_native_handle(c->quic, c->tls);
	return 0;
}

static void conn_del(struct connection *c)
{
	int i;

	for (i = 0; i < MAX_CONNS; i++)
		if (conns[i] == c)
			conns[i] = NULL;
	offload_free(&c->offload);
	nghttp3_conn_del(c->http);
	ngtcp2_conn_del(c->quic);
	gnutls_deinit(c->tls);
	free(c);
}

static void set_params(ngtcp2_transport_params *params)
{
	ngtcp2_transport_params_default(params);
	params->initial_max_streams_bidi = 100;
	params->initial_max_streams_uni = 3;
	params->initial_max_stream_data_bidi_local = 6 << 20;
	params->initial_max_stream_data_bidi_remote = 1 << 20;
	params->initial_max_stream_data_uni = 256 << 10;
	params->initial_max_data = 15 << 20;
	params->max_idle_timeout = 30 * NGTCP2_SECONDS;
	params->active_connection_id_limit = 7;
}

/* @hd: the client's first packet, if this is a server */
static struct connection *conn_new(const ngtcp2_pkt_hd *hd,
				   const ngtcp2_path *path)
{
	ngtcp2_cid scid = { .datalen = CID_LEN }, dcid = { .datalen = 18 };
	struct connection *c = calloc(1, sizeof(*c));
	ngtcp2_transport_params params;
	ngtcp2_callbacks callbacks;
	ngtcp2_settings settings;
	int i, ret;

	for (i = 0; i < MAX_CONNS && conns[i]; i++)
		;
	if (!c || i == MAX_CONNS) {
		free(c);
		return NULL;
	}
	on_rand(scid.data, scid.datalen, NULL);
	on_rand(dcid.data, dcid.datalen, NULL);
	set_callbacks(&callbacks);
	ngtcp2_settings_default(&settings);
	settings.initial_ts = now();
	set_params(&params);
	if (hd) {
		params.original_dcid = hd->dcid;
		params.original_dcid_present = 1;
		ret = ngtcp2_conn_server_new(&c->quic, &hd->scid, &scid, path,
					     hd->version, &callbacks, &settings,
					     &params, NULL, c);
	} else {
		ret = ngtcp2_conn_client_new(&c->quic, &dcid, &scid, path,
					     NGTCP2_PROTO_VER_V1, &callbacks,
					     &settings, &params, NULL, c);
	}
	offload_init(&c->offload, c->quic, &sock, ++last_flow_id);
	if (ret || start_tls(c)) {
		conn_del(c);
		return NULL;
	}
	conns[i] = c;
	return c;
}

/* Of an opened packet, the kernel has found the connection already. */
static struct connection *conn_find(const struct qk_packet *p,
				    const uint8_t *dcid, size_t len)
{
	ngtcp2_cid cids[MAX_CIDS];
	size_t i, j, n;

	for (i = 0; i < MAX_CONNS; i++) {
		struct connection *c = conns[i];

		if (!c)
			continue;
		if (p->status == QUIC_RX_OPENED) {
			if (c->offload.flow_id == p->flow_id)
				return c;
			continue;
		}
		n = ngtcp2_conn_get_scid(c->quic, NULL);
		if (n > MAX_CIDS)
			continue;
		ngtcp2_conn_get_scid(c->quic, cids);
		for (j = 0; j < n; j++)
			if (cids[j].datalen == len &&
			    !memcmp(cids[j].data, dcid, len))
				return c;
		if (is_server) {
			const ngtcp2_cid *first =
				ngtcp2_conn_get_client_initial_dcid(c->quic);

			if (first->datalen == len &&
			    !memcmp(first->data, dcid, len))
				return c;
		}
	}
	return NULL;
}

/* ----- sending ----- */

/* Packets of one call: one kind, one size but for the last */
struct batch {
	uint8_t data[MAX_DATAGRAM + 1500];
	size_t len, size, n;
	struct offload_packet first;
	ngtcp2_path_storage path;
	ngtcp2_tstamp ts;
};

static void send_plain(struct msghdr *msg, uint16_t size)
{
	union {
		struct cmsghdr hdr;
		char data[CMSG_SPACE(sizeof(size))];
	} control = { 0 };
	struct pollfd pfd = { sock.fd, POLLOUT, 0 };

	control.hdr.cmsg_level = SOL_UDP;
	control.hdr.cmsg_type = UDP_SEGMENT;
	control.hdr.cmsg_len = CMSG_LEN(sizeof(size));
	memcpy(CMSG_DATA(&control.hdr), &size, sizeof(size));
	msg->msg_control = &control;
	msg->msg_controllen = sizeof(control);
	while (sendmsg(sock.fd, msg, 0) < 0 && errno == EAGAIN)
		poll(&pfd, 1, -1);
}

/* Errors of other kinds are losses, as on the way. */
static void batch_send(struct connection *c, struct batch *b)
{
	struct iovec iov = { b->data, b->len };
	struct msghdr msg = {
		.msg_name = b->path.path.remote.addr,
		.msg_namelen = b->path.path.remote.addrlen,
		.msg_iov = &iov,
		.msg_iovlen = 1,
	};

	if (!b->n)
		return;
	if (b->first.left)
		offload_send(&c->offload, &b->first, &msg, b->size, b->ts);
	else
		send_plain(&msg, b->size);
	b->len = 0;
	b->n = 0;
}

/* May the packet go with those before it? */
static bool batch_fits(const struct batch *b, const struct offload_packet *p,
		       const ngtcp2_path *path, size_t len)
{
	return !b->n || (b->first.left == p->left && len <= b->size &&
			 b->n < qk_max_packets(b->size) &&
			 ngtcp2_path_eq(&b->path.path, path) &&
			 (!p->left || (b->first.gen == p->gen &&
				       b->first.number + b->n == p->number &&
				       b->first.cid_len == p->cid_len &&
				       !memcmp(b->data + 1,
					       b->data + b->len + 1,
					       p->cid_len))));
}

/* ngtcp2 has written a packet at the end of the batch. */
static void batch_add(struct connection *c, struct batch *b,
		      const struct offload_packet *p, const ngtcp2_path *path,
		      size_t len)
{
	uint8_t pkt[1500];

	if (!batch_fits(b, p, path, len)) {
		memcpy(pkt, b->data + b->len, len);
		batch_send(c, b);
		memcpy(b->data, pkt, len);
	}
	if (!b->n) {
		b->first = *p;
		b->size = len;
		ngtcp2_path_storage_init(&b->path, path->local.addr,
					 path->local.addrlen, path->remote.addr,
					 path->remote.addrlen, NULL);
	}
	b->len += len;
	b->n++;
	if (len < b->size)
		batch_send(c, b);
}

/* Why ngtcp2 has not taken the stream data: false if that is an error */
static bool stream_stopped(struct connection *c, ngtcp2_ssize why, int64_t id,
			   ngtcp2_ssize taken)
{
	switch (why) {
	case NGTCP2_ERR_STREAM_DATA_BLOCKED:
		nghttp3_conn_block_stream(c->http, id);
		return true;
	case NGTCP2_ERR_STREAM_SHUT_WR:
		nghttp3_conn_shutdown_stream_write(c->http, id);
		return true;
	case NGTCP2_ERR_WRITE_MORE:
		nghttp3_conn_add_write_offset(c->http, id, taken);
		return true;
	}
	ngtcp2_ccerr_set_liberr(&c->error, why, NULL, 0);
	return false;
}

/* A packet at the end of the batch, or a part of one: its length, 0 if there is
 * nothing to send now, or an error that is not about a stream.
 */
static ngtcp2_ssize packet_write(struct connection *c, struct batch *b,
				 ngtcp2_path *path, ngtcp2_tstamp ts)
{
	size_t max = ngtcp2_conn_get_max_tx_udp_payload_size(c->quic);
	uint32_t flags = NGTCP2_WRITE_STREAM_FLAG_MORE;
	ngtcp2_ssize len, taken = -1;
	nghttp3_ssize n_vec = 0;
	nghttp3_vec vec[16];
	ngtcp2_pkt_info pi;
	int64_t id = -1;
	int fin = 0;

	if (c->http && ngtcp2_conn_get_max_data_left(c->quic))
		n_vec = nghttp3_conn_writev_stream(c->http, &id, &fin, vec, 16);
	if (n_vec < 0)
		return NGTCP2_ERR_INTERNAL;
	if (fin)
		flags |= NGTCP2_WRITE_STREAM_FLAG_FIN;
	len = ngtcp2_conn_writev_stream(c->quic, path, &pi, b->data + b->len,
					max, &taken, flags, id,
					(ngtcp2_vec *)vec, n_vec, ts);
	if (len < 0)
		return stream_stopped(c, len, id, taken) ?
		       NGTCP2_ERR_WRITE_MORE : len;
	if (taken >= 0)
		nghttp3_conn_add_write_offset(c->http, id, taken);
	return len;
}

/* All that may be sent now: false if the connection is over. */
static bool conn_write(struct connection *c)
{
	ngtcp2_tstamp ts = now();
	ngtcp2_path_storage ps;
	static struct batch b;
	ngtcp2_ssize len;

	b.ts = ts;
	ngtcp2_path_storage_zero(&ps);
	do {
		struct offload_packet p;

		offload_write_begin(&c->offload, b.data + b.len);
		len = packet_write(c, &b, &ps.path, ts);
		p = offload_write_end();
		if (len > 0)
			batch_add(c, &b, &p, &ps.path, len);
	} while (len > 0 || len == NGTCP2_ERR_WRITE_MORE);
	batch_send(c, &b);
	if (len < 0)
		return false;
	ngtcp2_conn_update_pkt_tx_time(c->quic, ts);
	return true;
}

/* Sealed by the library, as it may be sent more than once. */
static void conn_close(struct connection *c)
{
	ngtcp2_path_storage ps;
	ngtcp2_pkt_info pi;
	uint8_t pkt[1500];
	ngtcp2_ssize len;

	ngtcp2_path_storage_zero(&ps);
	offload_write_begin(NULL, NULL);
	len = ngtcp2_conn_write_connection_close(c->quic, &ps.path, &pi, pkt,
						 sizeof(pkt), &c->error, now());
	if (len > 0)
		sendto(sock.fd, pkt, len, 0, ps.path.remote.addr,
		       ps.path.remote.addrlen);
}

/* ----- receiving ----- */

static void packet_read(const struct qk_packet *p, const uint8_t *pkt,
			const struct sockaddr_storage *from, socklen_t from_len)
{
	ngtcp2_path path = {
		{ (ngtcp2_sockaddr *)&local, local_len },
		{ (ngtcp2_sockaddr *)from, from_len }, NULL,
	};
	struct connection *c;
	ngtcp2_version_cid vc;
	ngtcp2_pkt_hd hd;
	int ret;

	if (ngtcp2_pkt_decode_version_cid(&vc, pkt, p->length, CID_LEN))
		return;
	c = conn_find(p, vc.dcid, vc.dcidlen);
	if (!c && is_server && pkt[0] & 0x80 &&
	    !ngtcp2_accept(&hd, pkt, p->length))
		c = conn_new(&hd, &path);
	if (!c)
		return;
	ret = offload_read(&c->offload, &path, p, pkt, now());
	if (ret == NGTCP2_ERR_DRAINING || ret == NGTCP2_ERR_DROP_CONN) {
		conn_del(c);
	} else if (ret) {
		ngtcp2_ccerr_set_liberr(&c->error, ret, NULL, 0);
		conn_close(c);
		conn_del(c);
	}
}

static void socket_read(void)
{
	static uint8_t buf[65536];
	char room[QK_RX_ROOM(QK_MAX_PACKETS)];
	struct sockaddr_storage from;
	struct qk_rx_call call;
	struct iovec iov = { buf, sizeof(buf) };
	struct msghdr msg;
	struct qk_packet p;
	unsigned int i, n;

	for (n = 0; n < 16; n++) {
		msg = (struct msghdr) {
			.msg_name = &from,
			.msg_namelen = sizeof(from),
			.msg_iov = &iov,
			.msg_iovlen = 1,
		};
		if (qk_recv(&sock, &call, room, sizeof(room), &msg,
			    MSG_DONTWAIT) < 0)
			return;
		for (i = 0; qk_recv_packet(&call, i, &p); i++)
			packet_read(&p, buf + p.offset, &from, msg.msg_namelen);
	}
}

/* ----- the program ----- */

static void conn_work(struct connection *c)
{
	ngtcp2_tstamp ts = now();

	if (update_ms && c->confirmed && ts >= c->next_update &&
	    !ngtcp2_conn_initiate_key_update(c->quic, ts))
		c->next_update = ts + update_ms * NGTCP2_MILLISECONDS;
	if (ngtcp2_conn_get_expiry(c->quic) <= ts &&
	    ngtcp2_conn_handle_expiry(c->quic, ts)) {
		conn_del(c);
		return;
	}
	if (!conn_write(c) || c->finished) {
		conn_close(c);
		conn_del(c);
	}
}

static int wait_ms(void)
{
	ngtcp2_tstamp next = UINT64_MAX, ts = now(), t;
	int i;

	for (i = 0; i < MAX_CONNS; i++) {
		if (!conns[i])
			continue;
		t = ngtcp2_conn_get_expiry(conns[i]->quic);
		if (t < next)
			next = t;
	}
	if (next == UINT64_MAX)
		return 1000;
	return next <= ts ? 0 : (next - ts) / NGTCP2_MILLISECONDS + 1;
}

static bool work(void)
{
	struct pollfd pfd = { sock.fd, POLLIN, 0 };
	int i, left = 0;

	for (i = 0; i < MAX_CONNS; i++)
		if (conns[i])
			conn_work(conns[i]);
	for (i = 0; i < MAX_CONNS; i++)
		left += !!conns[i];
	if (stop || (!is_server && !left))
		return false;
	poll(&pfd, 1, wait_ms());
	socket_read();
	return true;
}

static void open_socket(const char *address, const char *port)
{
	struct addrinfo hints = { .ai_socktype = SOCK_DGRAM }, *info;
	int fd, one = 1, size = 4 << 20;

	if (getaddrinfo(address, port, &hints, &info))
		die("address");
	fd = socket(info->ai_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
		    0);
	if (fd < 0)
		die("socket");
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	setsockopt(fd, SOL_UDP, UDP_GRO, &one, sizeof(one));
	if (is_server) {
		if (bind(fd, info->ai_addr, info->ai_addrlen))
			die("bind");
	} else {
		memcpy(&remote, info->ai_addr, info->ai_addrlen);
		remote_len = info->ai_addrlen;
		/* The kernel chooses the local address. */
		if (connect(fd, info->ai_addr, info->ai_addrlen))
			die("connect");
	}
	local_len = sizeof(local);
	getsockname(fd, (struct sockaddr *)&local, &local_len);
	freeaddrinfo(info);

	if (qk_attach(&sock, fd))
		fprintf(stderr,
			"h3file: no quic-crypto here, "
			"the library seals and opens\n");
}

static void on_signal(int sig)
{
	stop = 1;
}

static void usage(void)
{
	fprintf(stderr,
		"usage: h3file server [-u MS] [-c CIPHERS] "
		"ADDRESS PORT KEY CERT DIRECTORY\n"
		"       h3file client [-u MS] [-c CIPHERS] "
		"ADDRESS PORT PATH FILE\n");
	exit(2);
}

static void start_server(char **argv)
{
	if (gnutls_certificate_set_x509_key_file(credentials, argv[3], argv[2],
						 GNUTLS_X509_FMT_PEM))
		die("certificate");
	directory = argv[4];
}

static void start_client(char **argv)
{
	ngtcp2_path path = {
		{ (ngtcp2_sockaddr *)&local, local_len },
		{ (ngtcp2_sockaddr *)&remote, remote_len }, NULL,
	};

	request_path = argv[2];
	out_file = fopen(argv[3], "w");
	if (!out_file)
		die(argv[3]);
	if (!conn_new(NULL, &path))
		die("connection");
}

static void print_stats(void)
{
	printf("sealed %lu\n", offload_stats.sealed);
	printf("refused %lu\n", offload_stats.refused);
	printf("opened %lu\n", offload_stats.opened);
	printf("mismatched %lu\n", offload_stats.mismatched);
	printf("updates %lu\n", offload_stats.updates);
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = on_signal };
	int opt;

	if (argc < 2)
		usage();
	is_server = !strcmp(argv[1], "server");
	optind = 2;
	while ((opt = getopt(argc, argv, "u:c:")) != -1) {
		if (opt == 'u')
			update_ms = strtoul(optarg, NULL, 10);
		else if (opt == 'c')
			ciphers = optarg;
		else
			usage();
	}
	argv += optind;
	if (argc - optind != (is_server ? 5 : 4))
		usage();
	if (gnutls_certificate_allocate_credentials(&credentials))
		die("gnutls");
	open_socket(argv[0], argv[1]);
	if (is_server)
		start_server(argv);
	else
		start_client(argv);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	while (work())
		;
	if (out_file && fclose(out_file))
		die("write");
	print_stats();
	return !is_server && !got_all;
}
