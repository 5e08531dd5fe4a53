/* SPDX-License-Identifier: GPL-2.0 */
/*
 * How quic_bench seals packets in user space. Each library is in a shared
 * object of its own, as OpenSSL and BoringSSL have symbols in common.
 */
#ifndef SEAL_H
#define SEAL_H

#include <endian.h>
#include <stdbool.h>
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
 * @open: open in place what was sealed; 0 or -1. The numbers of packets are
 *	  completed relative to that of the batch
 */
struct sealer {
	const char *(*version)(void);
	void *(*flow)(const struct keys *keys);
	int (*seal)(void *flow, const struct batch *b);
	int (*open)(void *flow, const struct batch *b);
};

/**
 * struct seal_flow - start of what every library keeps for a flow
 * @cipher: which cipher
 * @iv: of RFC 9001 5.3
 */
struct seal_flow {
	enum cipher cipher;
	uint8_t iv[IV_LEN];
};

/**
 * struct seal_ops - what a library provides for seal_batch() and open_batch()
 * @seal: seal a packet in place: header of @hdr bytes, plaintext of @len bytes,
 *	  tag; returns false on failure
 * @open: the opposite, false also if the tag is wrong
 * @aes: encrypt the samples of a batch, @len bytes, by AES in ECB mode
 * @chacha: make the mask of one packet, its first 1 + PN_LEN bytes
 */
struct seal_ops {
	bool (*seal)(void *flow, const uint8_t *nonce, uint8_t *pkt, size_t hdr,
		     size_t len);
	bool (*open)(void *flow, const uint8_t *nonce, uint8_t *pkt, size_t hdr,
		     size_t len);
	bool (*aes)(void *flow, uint8_t *mask, const uint8_t *sample,
		    size_t len);
	bool (*chacha)(void *flow, uint8_t *mask, const uint8_t *sample);
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

/* RFC 9001 5.4.2 to 5.4.4: the masks of all packets, for AES in one call */
static inline bool seal_masks(const struct seal_ops *ops, void *flow,
			      const struct batch *b, uint8_t *mask)
{
	const struct seal_flow *f = flow;
	uint8_t sample[MAX_BATCH * SAMPLE];
	unsigned int i;

	for (i = 0; i < b->n; i++)
		memcpy(sample + i * SAMPLE,
		       b->pkt + i * b->size + b->pn_off + PN_LEN, SAMPLE);
	if (f->cipher != CHACHA20)
		return ops->aes(flow, mask, sample, b->n * SAMPLE);
	for (i = 0; i < b->n; i++)
		if (!ops->chacha(flow, mask + i * SAMPLE, sample + i * SAMPLE))
			return false;
	return true;
}

/**
 * seal_batch - seal in place, header protection included
 * @ops: constant functions of the library, so that they can be inlined
 * @flow: as they want it, with struct seal_flow at its start
 * @b: packets
 *
 * Return: 0 or -1
 */
static inline __attribute__((always_inline))
int seal_batch(const struct seal_ops *ops, void *flow, const struct batch *b)
{
	size_t hdr = b->pn_off + PN_LEN, len = b->size - hdr - TAG;
	uint8_t nonce[IV_LEN], mask[MAX_BATCH * SAMPLE];
	const struct seal_flow *f = flow;
	unsigned int i;

	for (i = 0; i < b->n; i++) {
		seal_nonce(nonce, f->iv, b->pn + i);
		if (!ops->seal(flow, nonce, b->pkt + i * b->size, hdr, len))
			return -1;
	}
	if (!seal_masks(ops, flow, b, mask))
		return -1;
	seal_mask(b, mask);
	return 0;
}

/* Number of a packet without header protection, RFC 9000 A.3; PN_LEN is 4 */
static inline uint64_t open_pn(const uint8_t *p, uint64_t expected)
{
	uint64_t win = 1ULL << (8 * PN_LEN), pn;
	uint32_t truncated;

	memcpy(&truncated, p, sizeof(truncated));
	pn = (expected & ~(win - 1)) | be32toh(truncated);
	if (pn + win / 2 <= expected)
		return pn + win;
	if (pn > expected + win / 2 && pn >= win)
		return pn - win;
	return pn;
}

/**
 * open_batch - open in place what was sealed
 * @ops: constant functions of the library, so that they can be inlined
 * @flow: as they want it, with struct seal_flow at its start
 * @b: packets
 *
 * Return: 0, or -1 if one of them does not open
 */
static inline __attribute__((always_inline))
int open_batch(const struct seal_ops *ops, void *flow, const struct batch *b)
{
	size_t hdr = b->pn_off + PN_LEN, len = b->size - hdr - TAG;
	uint8_t nonce[IV_LEN], mask[MAX_BATCH * SAMPLE];
	const struct seal_flow *f = flow;
	uint64_t pn = b->pn;
	unsigned int i;

	if (!seal_masks(ops, flow, b, mask))
		return -1;
	seal_mask(b, mask);
	for (i = 0; i < b->n; i++) {
		uint8_t *pkt = b->pkt + i * b->size;

		pn = open_pn(pkt + b->pn_off, pn);
		seal_nonce(nonce, f->iv, pn);
		if (!ops->open(flow, nonce, pkt, hdr, len))
			return -1;
	}
	return 0;
}

#endif /* SEAL_H */
