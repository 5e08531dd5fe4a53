/* SPDX-License-Identifier: GPL-2.0 */
/*
 * How quic_bench seals packets in user space. Each library is in a shared
 * object of its own, as OpenSSL and BoringSSL have symbols in common.
 */
#ifndef SEAL_H
#define SEAL_H

#include <endian.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define TAG		16
#define IV_LEN		12
#define SAMPLE		16
#define PN_LEN		4	/* of all packets, so samples follow it */
#define MAX_BATCH	128	/* UDP_MAX_SEGMENTS */

enum cipher { AES_128_GCM, AES_256_GCM, AES_128_CCM, CHACHA20, N_CIPHERS };

/**
 * struct keys - what a flow is sealed with
 * @cipher: which cipher
 * @key: packet key
 * @iv: of RFC 9001 5.3
 * @hp: header-protection key
 */
struct keys {
	enum cipher cipher;
	uint8_t key[32];
	uint8_t iv[IV_LEN];
	uint8_t hp[32];
};

/**
 * struct batch - packets of one call, back to back
 * @pkt: the first; header, plaintext, room for the tag
 * @size: of each, with the tag
 * @n: how many
 * @pn_off: where the packet number is, after first byte and connection ID
 * @pn: number of the first, the others count up
 */
struct batch {
	uint8_t *pkt;
	size_t size;
	unsigned int n;
	unsigned int pn_off;
	uint64_t pn;
};

/**
 * struct sealer - a library
 * @version: of the library
 * @flow: make the contexts of a flow, which it keeps; NULL if it cannot
 * @seal: seal in place, header protection included; 0 or -1
 */
struct sealer {
	const char *(*version)(void);
	void *(*flow)(const struct keys *keys);
	int (*seal)(void *flow, const struct batch *b);
};

/* RFC 9001 5.3 */
static inline void seal_nonce(uint8_t *nonce, const uint8_t *iv, uint64_t pn)
{
	uint64_t low;

	memcpy(nonce, iv, IV_LEN);
	memcpy(&low, nonce + IV_LEN - sizeof(low), sizeof(low));
	low ^= htobe64(pn);
	memcpy(nonce + IV_LEN - sizeof(low), &low, sizeof(low));
}

/* RFC 9001 5.4.2: the samples of all packets, as input of one call */
static inline void seal_samples(const struct batch *b, uint8_t *samples)
{
	const uint8_t *pkt = b->pkt + b->pn_off + PN_LEN;
	unsigned int i;

	for (i = 0; i < b->n; i++, pkt += b->size)
		memcpy(samples + i * SAMPLE, pkt, SAMPLE);
}

/* RFC 9001 5.4.1 for a short header; masks are @SAMPLE bytes apart */
static inline void seal_mask(const struct batch *b, const uint8_t *mask)
{
	uint8_t *pkt = b->pkt;
	unsigned int i, j;

	for (i = 0; i < b->n; i++, pkt += b->size, mask += SAMPLE) {
		pkt[0] ^= mask[0] & 0x1f;
		for (j = 0; j < PN_LEN; j++)
			pkt[b->pn_off + j] ^= mask[1 + j];
	}
}

#endif /* SEAL_H */
