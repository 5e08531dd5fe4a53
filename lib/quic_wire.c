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

#define TAG		16
#define MAX_SECRETS	4096
#define MAX_CONNS	4096
#define MAX_PATHS	4096
#define MAX_PKT		65535
#define QUIC_V2		0x6b3343cf

enum cipher { AES_128_GCM, AES_128_CCM, CHACHA20, AES_256_GCM, N_CIPHERS };

static const char * const cipher_names[] = {
	"AES-128-GCM", "AES-128-CCM", "CHACHA20-POLY1305", "AES-256-GCM"
};

struct secret {
	uint8_t data[48];
	size_t len;
};

struct generation {
	uint64_t gen;
	struct secret secret;
	uint8_t key[32], iv[12];
};

/* A connection: one secret of the log, in use. */
struct conn {
	enum cipher cipher;
	bool v2;
	uint8_t hp[32];
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
static unsigned long n_datagrams, n_long, n_short, n_bytes, n_bad, n_reused,
	n_repeated, n_gso, max_gso, max_payload;

static size_t key_len(enum cipher c)
{
	return c == AES_128_GCM || c == AES_128_CCM ? 16 : 32;
}

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

static void derive(struct conn *conn, uint64_t gen, const struct secret *secret)
{
	struct generation *g = &conn->gens[gen & 1];

	g->gen = gen;
	g->secret = *secret;
	expand(g->key, key_len(conn->cipher), secret,
	       conn->v2 ? "quicv2 key" : "quic key");
	expand(g->iv, sizeof(g->iv), secret,
	       conn->v2 ? "quicv2 iv" : "quic iv");
}

static void init_conn(struct conn *conn, const struct secret *secret,
		      enum cipher cipher, bool v2)
{
	memset(conn, 0, sizeof(*conn));
	conn->cipher = cipher;
	conn->v2 = v2;
	expand(conn->hp, key_len(cipher), secret, v2 ? "quicv2 hp" : "quic hp");
	derive(conn, 0, secret);
}

static void hp_mask(const struct conn *conn, const uint8_t *sample,
		    uint8_t *mask)
{
	static EVP_CIPHER_CTX *ctx;
	uint8_t zero[5] = { 0 };
	int n;

	if (!ctx)
		ctx = EVP_CIPHER_CTX_new();
	if (conn->cipher == CHACHA20) {
		EVP_EncryptInit_ex(ctx, EVP_chacha20(), NULL, conn->hp, sample);
		EVP_EncryptUpdate(ctx, mask, &n, zero, sizeof(zero));
		return;
	}
	EVP_EncryptInit_ex(ctx, conn->cipher == AES_256_GCM ?
			   EVP_aes_256_ecb() : EVP_aes_128_ecb(), NULL,
			   conn->hp, NULL);
	EVP_EncryptUpdate(ctx, mask, &n, sample, 16);
}

static bool aead_open(const struct conn *conn, const struct generation *g,
		      uint64_t number, const uint8_t *hdr, size_t hdr_len,
		      const uint8_t *body, size_t len)
{
	static EVP_CIPHER_CTX *ctx;
	static uint8_t out[MAX_PKT];
	bool ccm = conn->cipher == AES_128_CCM;
	const EVP_CIPHER *type;
	uint8_t nonce[12];
	int i, n;

	if (!ctx)
		ctx = EVP_CIPHER_CTX_new();
	memcpy(nonce, g->iv, sizeof(nonce));
	for (i = 0; i < 8; i++)
		nonce[11 - i] ^= number >> (8 * i);
	type = conn->cipher == AES_128_GCM ? EVP_aes_128_gcm() :
	       conn->cipher == AES_256_GCM ? EVP_aes_256_gcm() :
	       ccm ? EVP_aes_128_ccm() : EVP_chacha20_poly1305();
	EVP_CIPHER_CTX_reset(ctx);
	EVP_DecryptInit_ex(ctx, type, NULL, NULL, NULL);
	EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_IVLEN, 12, NULL);
	EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, TAG,
			    (void *)(body + len - TAG));
	EVP_DecryptInit_ex(ctx, NULL, NULL, g->key, nonce);
	len -= TAG;
	if (ccm && EVP_DecryptUpdate(ctx, NULL, &n, NULL, len) != 1)
		return false;
	if (EVP_DecryptUpdate(ctx, NULL, &n, hdr, hdr_len) != 1)
		return false;
	if (EVP_DecryptUpdate(ctx, out, &n, body, len) != 1)
		return false;
	return ccm || EVP_DecryptFinal_ex(ctx, out + n, &n) == 1;
}

/* RFC 9000 appendix A.3 */
static uint64_t decode(uint64_t expected, const uint8_t *p, size_t len)
{
	uint64_t win = 1ULL << (8 * len), pn = 0, cand;
	size_t i;

	for (i = 0; i < len; i++)
		pn = pn << 8 | p[i];
	cand = (expected & ~(win - 1)) | pn;
	if (cand + win / 2 <= expected && cand < (1ULL << 62) - win)
		return cand + win;
	if (cand > expected + win / 2 && cand >= win)
		return cand - win;
	return cand;
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

/* One packet of exactly @len bytes */
static bool try_open(struct conn *conn, size_t cid_len, const uint8_t *pkt,
		     size_t len)
{
	uint8_t mask[32], hdr[32];
	struct generation next, *g;
	struct secret secret;
	size_t pn_len, hdr_len, i;
	uint64_t number;

	if (len < 1 + cid_len + 4 + 16)
		return false;
	hp_mask(conn, pkt + 1 + cid_len + 4, mask);
	hdr[0] = pkt[0] ^ (mask[0] & 0x1f);
	if (hdr[0] & 0x18)
		return false;
	pn_len = (hdr[0] & 3) + 1;
	hdr_len = 1 + cid_len + pn_len;
	memcpy(hdr + 1, pkt + 1, hdr_len - 1);
	for (i = 0; i < pn_len; i++)
		hdr[1 + cid_len + i] ^= mask[1 + i];
	number = decode(conn->expected, hdr + 1 + cid_len, pn_len);
	g = &conn->gens[!!(hdr[0] & 4)];
	if ((conn->newest || !(hdr[0] & 4)) &&
	    aead_open(conn, g, number, hdr, hdr_len, pkt + hdr_len,
		      len - hdr_len))
		goto opened;
	/* The other phase with the next key? RFC 9001 section 6.1 */
	if ((conn->newest & 1) == !!(hdr[0] & 4))
		return false;
	next = *g;
	expand(secret.data, conn->gens[conn->newest & 1].secret.len,
	       &conn->gens[conn->newest & 1].secret,
	       conn->v2 ? "quicv2 ku" : "quic ku");
	secret.len = conn->gens[conn->newest & 1].secret.len;
	derive(conn, conn->newest + 1, &secret);
	if (!aead_open(conn, g, number, hdr, hdr_len, pkt + hdr_len,
		       len - hdr_len)) {
		*g = next;
		return false;
	}
	conn->newest++;
opened:
	note_number(conn, number, pkt, len);
	return true;
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

/* A path's first packet: whose secret opens it? */
static size_t open_new(struct path *path, const uint8_t *pkt, size_t len)
{
	struct conn *conn = &conns[n_conns];
	size_t i, n, cid_len = path->cid_len;
	int c, v2;

	for (i = 0; i < n_conns && !path->conn; i++) {
		for (n = 0; n <= 20; n++) {
			size_t ret, l = cid_len <= 20 ? cid_len : n;

			ret = open_len(&conns[i], l, &path->stride, pkt, len);
			if (ret) {
				path->conn = &conns[i];
				path->cid_len = l;
				return ret;
			}
			if (cid_len <= 20)
				break;
		}
	}
	if (cid_len > 20 || n_conns == MAX_CONNS)
		return 0;
	for (i = n_secrets; i-- > 0;) {
		for (c = 0; c < N_CIPHERS * 2; c++) {
			v2 = c & 1;
			if (secret_used[i] ||
			    (secrets[i].len == 48) != (c / 2 == AES_256_GCM))
				continue;
			init_conn(conn, &secrets[i], c / 2, v2);
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

static void datagram(struct path *path, const uint8_t *p, size_t len)
{
	const uint8_t *end = p + len;
	unsigned long in_this = 0;
	size_t n;

	n_datagrams++;
	if (len > max_payload)
		max_payload = len;
	while (p < end) {
		if (*p & 0x80) {
			n = long_len(p, end, path);
			n_long++;
		} else {
			n = path->conn ? open_len(path->conn, path->cid_len,
						  &path->stride, p, end - p) :
					 0;
			if (!n)
				n = open_new(path, p, end - p);
			if (n) {
				n_short++;
				n_bytes += n;
				in_this++;
			}
		}
		if (!n) {
			size_t i;

			if (n_bad++ < 5) {
				printf("not opened: %zu of %zu bytes:",
				       (size_t)(end - p), len);
				for (i = 0; i < 32 && p + i < end; i++)
					printf(" %02x", p[i]);
				printf("\n");
			}
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

int main(int argc, char **argv)
{
	static uint8_t buf[1 << 19];
	unsigned long updates = 0;
	uint8_t hdr[24];
	uint32_t linktype, magic;
	bool swap;
	FILE *f;
	size_t i;

	of_client = argc == 5 && !strcmp(argv[4], "client");
	if (argc != 4 && !of_client) {
		fprintf(stderr, "usage: %s capture.pcap keylog port [client]\n",
			argv[0]);
		return 2;
	}
	read_keylog(argv[2]);
	f = fopen(argv[1], "r");
	if (!f || fread(hdr, 24, 1, f) != 1) {
		fprintf(stderr, "%s: %s\n", argv[1], strerror(errno));
		return 1;
	}
	magic = get32(hdr, false);
	swap = magic != 0xa1b2c3d4 && magic != 0xa1b23c4d;
	linktype = get32(hdr + 20, swap);
	if (linktype != 1 && linktype != 101) {
		fprintf(stderr, "%s: link type %u not known\n", argv[1],
			linktype);
		return 1;
	}
	while (fread(hdr, 16, 1, f) == 1) {
		uint32_t len = get32(hdr + 8, swap);

		if (len > sizeof(buf) || fread(buf, len, 1, f) != 1)
			break;
		if (len < get32(hdr + 12, swap)) {
			fprintf(stderr, "%s: cut short, use tcpdump -s 0\n",
				argv[1]);
			return 1;
		}
		frame(buf, len, linktype, atoi(argv[3]));
	}
	fclose(f);
	for (i = 0; i < n_conns; i++) {
		printf("# connection %zu: %s%s, %lu packets, %llu key updates\n",
		       i + 1, cipher_names[conns[i].cipher],
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
	return !n_short || n_bad || n_reused;
}
