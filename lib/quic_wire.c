// SPDX-License-Identifier: GPL-2.0
/*
 * Is every 1-RTT packet that a QUIC server sent sealed?
 *
 *	quic_wire capture.pcap keylog port [client]
 *
 * Reads what tcpdump wrote and the secrets that the server wrote
 * (SSLKEYLOGFILE), and opens each short header packet from @port with
 * libcrypto, so without any code that had to do with sealing it. With "client"
 * it does so with the packets of clients, to @port. A packet that
 * does not open, because it is unsealed or wrong, is a failure, and so is a
 * packet number that was used for two different packets.
 *
 * On loopback a capture shows a GSO send as one datagram that is longer than
 * any packet in it and does not say where the packets end; the tag tells.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "quic_pkt.h"
#include "quic_uapi.h"

#define MAX_SECRETS	4096
#define MAX_CONNS	4096
#define MAX_PATHS	4096
#define MAX_PKT		65535
#define QUIC_V2		0x6b3343cf

#define N_CIPHERS	4

static const struct {
	uint16_t type;
	size_t secret_len;	/* bytes of the hash of the TLS cipher suite */
	const char *name;
} ciphers[N_CIPHERS] = {
	{ TLS_CIPHER_AES_GCM_128, 32, "AES-128-GCM" },
	{ TLS_CIPHER_AES_CCM_128, 32, "AES-128-CCM" },
	{ TLS_CIPHER_CHACHA20_POLY1305, 32, "CHACHA20-POLY1305" },
	{ TLS_CIPHER_AES_GCM_256, 48, "AES-256-GCM" },
};

struct secret {
	uint8_t data[48];
	size_t len;
};

struct generation {
	uint64_t gen;
	struct secret secret;
	struct quic_pkt_keys keys;
};

/* A connection: one secret of the log, in use. */
struct conn {
	unsigned int cipher;		/* index in ciphers[] */
	bool v2;
	struct generation gens[2];	/* at generation & 1 */
	uint64_t newest;
	uint64_t expected;		/* packet number */
	uint64_t first;
	uint32_t *digests;		/* of packets, at number - first */
	size_t n_digests;
	unsigned long packets;
};

/* An address of a client, and what goes there (or comes from there). */
struct path {
	uint8_t addr[18];
	size_t cid_len;
	struct conn *conn;
	size_t stride;
};

static struct secret secrets[MAX_SECRETS];
static bool secret_used[MAX_SECRETS];
static struct conn conns[MAX_CONNS];
static struct path paths[MAX_PATHS];
static size_t n_secrets, n_conns, n_paths;
static bool of_client;
static uint8_t plain[MAX_PKT];	/* of the packet opened last */
static unsigned long n_datagrams, n_long, n_short, n_bytes, n_bad, n_reused,
	n_repeated, n_gso, max_gso, max_payload;

/* HKDF-Expand-Label; what is asked for is never longer than the hash. */
static void expand(uint8_t *dest, size_t len, const struct secret *secret,
		   const char *label)
{
	const EVP_MD *md = secret->len == 48 ? EVP_sha384() : EVP_sha256();
	uint8_t info[64], out[EVP_MAX_MD_SIZE];
	int n = snprintf((char *)info + 3, sizeof(info) - 5, "tls13 %s", label);

	info[0] = 0;
	info[1] = len;
	info[2] = n;
	info[3 + n] = 0;
	info[4 + n] = 1;
	HMAC(md, secret->data, secret->len, info, 5 + n, out, NULL);
	memcpy(dest, out, len);
}

/* The header-protection key is the same in all generations. */
static void derive(struct conn *conn, uint64_t gen, const struct secret *secret,
		   const uint8_t *hp)
{
	struct generation *g = &conn->gens[gen & 1];
	uint16_t type = ciphers[conn->cipher].type;

	g->gen = gen;
	g->secret = *secret;
	g->keys.cipher = type;
	expand(g->keys.key, quic_pkt_key_len(type), secret,
	       conn->v2 ? "quicv2 key" : "quic key");
	expand(g->keys.iv, sizeof(g->keys.iv), secret,
	       conn->v2 ? "quicv2 iv" : "quic iv");
	memcpy(g->keys.hp, hp, sizeof(g->keys.hp));
}

static void init_conn(struct conn *conn, const struct secret *secret,
		      unsigned int cipher, bool v2)
{
	uint8_t hp[QUIC_PKT_KEY] = { 0 };

	memset(conn, 0, sizeof(*conn));
	conn->cipher = cipher;
	conn->v2 = v2;
	expand(hp, quic_pkt_key_len(ciphers[cipher].type), secret,
	       v2 ? "quicv2 hp" : "quic hp");
	derive(conn, 0, secret, hp);
}

/* Each number seals one packet, though that may be sent more than once. */
static void note_number(struct conn *conn, uint64_t number, const uint8_t *pkt,
			size_t len)
{
	uint32_t digest = 2166136261u;
	size_t i, at;

	for (i = 0; i < len; i++)
		digest = (digest ^ pkt[i]) * 16777619u;
	digest |= 1;
	if (!conn->packets++)
		conn->first = number > 1024 ? number - 1024 : 0;
	if (number >= conn->expected)
		conn->expected = number + 1;
	if (number < conn->first || number - conn->first > (1 << 24))
		return;
	at = number - conn->first;
	if (at >= conn->n_digests) {
		size_t n = (at + 1) * 2;

		conn->digests = realloc(conn->digests, n * sizeof(uint32_t));
		if (!conn->digests)
			exit(1);
		memset(conn->digests + conn->n_digests, 0,
		       (n - conn->n_digests) * sizeof(uint32_t));
		conn->n_digests = n;
	}
	if (conn->digests[at] == digest)
		n_repeated++;
	else if (conn->digests[at])
		n_reused++;
	conn->digests[at] = digest;
}

/* Try the key that a key update derives from the newest: RFC 9001 6.1 */
static bool try_next_key(struct conn *conn, uint64_t number, const uint8_t *hdr,
			 size_t hdr_len, const uint8_t *pkt, size_t len)
{
	const struct generation *newest = &conn->gens[conn->newest & 1];
	struct generation *g = &conn->gens[(conn->newest + 1) & 1];
	struct generation old = *g;
	struct secret secret;

	secret.len = newest->secret.len;
	expand(secret.data, secret.len, &newest->secret,
	       conn->v2 ? "quicv2 ku" : "quic ku");
	derive(conn, conn->newest + 1, &secret, newest->keys.hp);
	if (quic_pkt_open_payload(&g->keys, number, hdr, hdr_len, pkt, len,
				  plain)) {
		conn->newest++;
		return true;
	}
	*g = old;
	return false;
}

static bool try_number(struct conn *conn, uint64_t number, const uint8_t *hdr,
		       size_t hdr_len, const uint8_t *pkt, size_t len)
{
	bool phase = hdr[0] & 4;

	if ((conn->newest || !phase) &&
	    quic_pkt_open_payload(&conn->gens[phase].keys, number, hdr, hdr_len,
				  pkt, len, plain))
		return true;
	return (conn->newest & 1) != phase &&
	       try_next_key(conn, number, hdr, hdr_len, pkt, len);
}

/*
 * Is this a packet of exactly @len bytes? One that others have overtaken, by
 * more than half of what its truncated number can tell, has a number of the
 * window before: RFC 9000 A.3. No receiver opens that, but it is sealed.
 */
static bool try_open(struct conn *conn, size_t cid_len, const uint8_t *pkt,
		     size_t len)
{
	uint8_t hdr[QUIC_PKT_HDR];
	uint64_t number, window;
	size_t hdr_len, pn_len;
	unsigned int i;

	hdr_len = quic_pkt_open_header(&conn->gens[0].keys, cid_len, pkt, len,
				       hdr);
	if (!hdr_len || (hdr[0] & 0x18))
		return false;
	pn_len = hdr_len - 1 - cid_len;
	number = quic_pkt_number(conn->expected, hdr + 1 + cid_len, pn_len);
	window = 1ULL << (8 * pn_len);
	for (i = 0; i < (conn->packets ? 3 : 1); i++, number -= window) {
		if (try_number(conn, number, hdr, hdr_len, pkt, len)) {
			note_number(conn, number, pkt, len);
			return true;
		}
		if (number < window)
			break;
	}
	return false;
}

/* Length of the packet at @pkt, at most @len; 0 if it does not open. */
static size_t open_len(struct conn *conn, size_t cid_len, size_t *stride,
		       const uint8_t *pkt, size_t len)
{
	size_t n;

	if (*stride && *stride <= len &&
	    try_open(conn, cid_len, pkt, *stride))
		return *stride;
	if (try_open(conn, cid_len, pkt, len))
		return len;
	for (n = len < 9000 ? len : 9000; n > cid_len + 20; n--) {
		if (try_open(conn, cid_len, pkt, n)) {
			*stride = n;
			return n;
		}
	}
	return 0;
}

/* Whose secret opens a packet with a connection ID of @cid_len bytes? */
static size_t open_with(struct path *path, size_t cid_len, const uint8_t *pkt,
			size_t len)
{
	struct conn *conn = &conns[n_conns];
	unsigned int c;
	size_t i, n;

	for (i = 0; i < n_conns; i++) {
		n = open_len(&conns[i], cid_len, &path->stride, pkt, len);
		if (n) {
			path->conn = &conns[i];
			return n;
		}
	}
	for (i = n_conns == MAX_CONNS ? 0 : n_secrets; i-- > 0;) {
		for (c = 0; c < N_CIPHERS * 2; c++) {
			if (secret_used[i] ||
			    secrets[i].len != ciphers[c / 2].secret_len)
				continue;
			init_conn(conn, &secrets[i], c / 2, c & 1);
			n = open_len(conn, cid_len, &path->stride, pkt, len);
			if (!n)
				continue;
			secret_used[i] = true;
			path->conn = conn;
			n_conns++;
			return n;
		}
	}
	return 0;
}

/* A path's first packet, or one of another connection on the same path. It may
 * have overtaken the long headers that say how long its connection ID is.
 */
static size_t open_new(struct path *path, const uint8_t *pkt, size_t len)
{
	size_t l, n = 0;

	if (path->cid_len <= 20)
		n = open_with(path, path->cid_len, pkt, len);
	for (l = 0; l <= 20 && !n; l++) {
		n = open_with(path, l, pkt, len);
		if (n)
			path->cid_len = l;
	}
	return n;
}

static bool varint(const uint8_t **p, const uint8_t *end, uint64_t *val)
{
	size_t n, i;

	if (*p >= end)
		return false;
	n = 1 << (**p >> 6);
	if ((size_t)(end - *p) < n)
		return false;
	*val = **p & 0x3f;
	for (i = 1; i < n; i++)
		*val = *val << 8 | (*p)[i];
	*p += n;
	return true;
}

/* Length of the long header packet at @p, 0 if it makes no sense */
static size_t long_len(const uint8_t *p, const uint8_t *end,
		       struct path *path)
{
	const uint8_t *start = p;
	uint32_t version;
	uint64_t val;
	int type;

	if (end - p < 7)
		return 0;
	version = (uint32_t)p[1] << 24 | p[2] << 16 | p[3] << 8 | p[4];
	type = *p >> 4 & 3;
	if (version == QUIC_V2)
		type = (type - 1) & 3;
	if (p[5] > 20 || end - p < 7 + p[5])
		return 0;
	path->cid_len = p[5];
	if (!version || type == 3)	/* Version Negotiation, Retry */
		return end - start;
	p += 6 + p[5];
	if (*p > 20 || end - p < 1 + *p)
		return 0;
	p += 1 + *p;
	if (!type) {
		if (!varint(&p, end, &val) || val > (uint64_t)(end - p))
			return 0;
		p += val;
	}
	if (!varint(&p, end, &val) || val > (uint64_t)(end - p))
		return 0;
	return p + val - start;
}

/* Clients may fill datagrams with anything behind long header packets, RFC 9000
 * 14.1; aioquic does so with zeros.
 */
static bool is_padding(const uint8_t *p, const uint8_t *end)
{
	while (p < end && !*p)
		p++;
	return p == end;
}

/* Length of the 1-RTT packet at @p, 0 if no key of the capture opens it */
static size_t short_len(struct path *path, const uint8_t *p,
			const uint8_t *end)
{
	size_t n = 0;

	if (path->conn)
		n = open_len(path->conn, path->cid_len, &path->stride, p,
			     end - p);
	if (!n)
		n = open_new(path, p, end - p);
	if (n) {
		n_short++;
		n_bytes += n;
	}
	return n;
}

/* @p: what does not open, the rest of a datagram of @len bytes */
static void report_bad(const uint8_t *p, const uint8_t *end, size_t len)
{
	size_t i;

	if (n_bad++ >= 5)
		return;
	printf("not opened: %zu of %zu bytes:", (size_t)(end - p), len);
	for (i = 0; i < 32 && p + i < end; i++)
		printf(" %02x", p[i]);
	printf("\n");
}

static void datagram(struct path *path, const uint8_t *p, size_t len)
{
	const uint8_t *start = p, *end = p + len;
	unsigned long in_this = 0;
	size_t n;

	n_datagrams++;
	if (len > max_payload)
		max_payload = len;
	while (p < end && (p == start || !is_padding(p, end))) {
		if (*p & 0x80) {
			n = long_len(p, end, path);
			n_long++;
		} else {
			n = short_len(path, p, end);
			in_this += !!n;
		}
		if (!n) {
			report_bad(p, end, len);
			break;
		}
		p += n;
	}
	if (in_this > 1)
		n_gso++;
	if (in_this > max_gso)
		max_gso = in_this;
}

static void frame(const uint8_t *p, size_t len, uint32_t linktype,
		  unsigned int port)
{
	const uint8_t *end = p + len;
	uint8_t addr[18] = { 0 };
	struct path *path;
	size_t i, udp_len;

	if (linktype == 1)
		p += 14;
	if (end - p < 28)
		return;
	if (*p >> 4 == 4) {
		if (p[9] != 17)
			return;
		memcpy(addr, p + (of_client ? 12 : 16), 4);
		p += (*p & 15) * 4;
	} else {
		if (p[6] != 17 || end - p < 48)
			return;
		memcpy(addr, p + (of_client ? 8 : 24), 16);
		p += 40;
	}
	if (end - p < 8)
		return;
	i = of_client ? 2 : 0;
	if ((unsigned int)(p[i] << 8 | p[i + 1]) != port)
		return;
	memcpy(addr + 16, p + 2 - i, 2);
	/* A GSO datagram may say 0, or too little; the frame's end counts. */
	udp_len = end - p - 8;
	for (i = 0; i < n_paths; i++)
		if (!memcmp(paths[i].addr, addr, sizeof(addr)))
			break;
	path = &paths[i];
	if (i == n_paths) {
		if (n_paths == MAX_PATHS)
			return;
		n_paths++;
		memcpy(path->addr, addr, sizeof(addr));
		path->cid_len = 99;
	}
	datagram(path, p + 8, udp_len);
}

static void read_keylog(const char *name)
{
	char line[512], label[64], hex[128];
	FILE *f = fopen(name, "r");
	unsigned int byte;
	size_t i;

	if (!f) {
		fprintf(stderr, "%s: %s\n", name, strerror(errno));
		exit(1);
	}
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%63s %*s %127s", label, hex) != 2 ||
		    strcmp(label, of_client ? "CLIENT_TRAFFIC_SECRET_0" :
					      "SERVER_TRAFFIC_SECRET_0") ||
		    n_secrets == MAX_SECRETS)
			continue;
		secrets[n_secrets].len = strlen(hex) / 2;
		if (secrets[n_secrets].len > 48)
			continue;
		for (i = 0; i < secrets[n_secrets].len; i++) {
			if (sscanf(hex + 2 * i, "%2x", &byte) != 1)
				break;
			secrets[n_secrets].data[i] = byte;
		}
		n_secrets++;
	}
	fclose(f);
}

static uint32_t get32(const uint8_t *p, bool swap)
{
	uint32_t v;

	memcpy(&v, p, 4);
	return swap ? __builtin_bswap32(v) : v;
}

/* The header of a capture: false, and a message, if this program cannot read
 * the frames that follow
 */
static bool read_header(FILE *f, const char *name, bool *swap,
			uint32_t *linktype)
{
	uint8_t hdr[24];
	uint32_t magic;

	if (!f || fread(hdr, 24, 1, f) != 1) {
		fprintf(stderr, "%s: %s\n", name, strerror(errno));
		return false;
	}
	magic = get32(hdr, false);
	*swap = magic != 0xa1b2c3d4 && magic != 0xa1b23c4d;
	*linktype = get32(hdr + 20, *swap);
	if (*linktype == 1 || *linktype == 101)
		return true;
	fprintf(stderr, "%s: link type %u not known\n", name, *linktype);
	return false;
}

static bool read_capture(const char *name, unsigned int port)
{
	static uint8_t buf[1 << 19];
	FILE *f = fopen(name, "r");
	uint32_t linktype, len;
	uint8_t hdr[16];
	bool swap;

	if (!read_header(f, name, &swap, &linktype))
		return false;
	while (fread(hdr, 16, 1, f) == 1) {
		len = get32(hdr + 8, swap);
		if (len > sizeof(buf) || fread(buf, len, 1, f) != 1)
			break;
		if (len < get32(hdr + 12, swap)) {
			fprintf(stderr, "%s: cut short, use tcpdump -s 0\n",
				name);
			return false;
		}
		frame(buf, len, linktype, port);
	}
	fclose(f);
	return true;
}

static void print_counters(void)
{
	unsigned long updates = 0;
	size_t i;

	for (i = 0; i < n_conns; i++) {
		printf("# connection %zu: %s%s, %lu packets, "
		       "%llu key updates\n",
		       i + 1, ciphers[conns[i].cipher].name,
		       conns[i].v2 ? " QUICv2" : "", conns[i].packets,
		       (unsigned long long)conns[i].newest);
		updates += conns[i].newest;
	}
	printf("wire_connections %zu\n", n_conns);
	printf("wire_datagrams %lu\n", n_datagrams);
	printf("wire_long_header_packets %lu\n", n_long);
	printf("wire_sealed_packets %lu\n", n_short);
	printf("wire_sealed_bytes %lu\n", n_bytes);
	printf("wire_not_opened %lu\n", n_bad);
	printf("wire_numbers_reused %lu\n", n_reused);
	printf("wire_packets_repeated %lu\n", n_repeated);
	printf("wire_key_updates %lu\n", updates);
	printf("wire_gso_datagrams %lu\n", n_gso);
	printf("wire_max_packets_per_datagram %lu\n", max_gso);
	printf("wire_max_datagram %lu\n", max_payload);
}

int main(int argc, char **argv)
{
	of_client = argc == 5 && !strcmp(argv[4], "client");
	if (argc != 4 && !of_client) {
		fprintf(stderr, "usage: %s capture.pcap keylog port [client]\n",
			argv[0]);
		return 2;
	}
	read_keylog(argv[2]);
	if (!read_capture(argv[1], atoi(argv[3])))
		return 1;
	print_counters();
	return !n_short || n_bad || n_reused;
}
