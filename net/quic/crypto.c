// SPDX-License-Identifier: GPL-2.0
/*
 * QUIC packet protection: all use of the crypto API.
 *
 * The fast AEADs may be asynchronous, so these functions wait and belong to
 * process context.
 */

#include <crypto/aead.h>
#include <crypto/chacha.h>
#include <crypto/poly1305.h>
#include <crypto/skcipher.h>
#include <linux/dma-mapping.h>
#include <linux/fips.h>
#include <linux/overflow.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/unaligned.h>
#include <net/quic.h>

#include "quic.h"

/* RFC 9001 6.6 and appendix B. ChaCha20-Poly1305 outlasts packet numbers. */
#define QUIC_GCM_SEAL_LIMIT	BIT_ULL(23)
#define QUIC_CCM_SEAL_LIMIT	2965820ULL		/* 2^21.5 */
#define QUIC_CHACHA_SEAL_LIMIT	(QUIC_MAX_PKT_NUM + 1)

/* Vector code makes as many blocks in the time of few. What it is given first
 * is the block of the Poly1305 key with so much of the payload.
 */
#define QUIC_CHACHA_HEAD	(8 * CHACHA_BLOCK_SIZE)

/* ccm(aes) wants the length of its length field, less one, before the nonce */
#define QUIC_CCM_IV_B0		2

#define QUIC_CIPHER_GCM(bits) {						\
	.type		= TLS_CIPHER_AES_GCM_##bits,			\
	.key_size	= (bits) / 8,					\
	.iv_size	= QUIC_MAX_IV_SIZE,				\
	.seal_limit	= QUIC_GCM_SEAL_LIMIT,				\
	.aead		= "gcm(aes)",					\
	.hp		= "ecb(aes)",					\
}

static const struct quic_cipher quic_ciphers[] = {
	QUIC_CIPHER_GCM(128),
	QUIC_CIPHER_GCM(256),
	{
		.type		= TLS_CIPHER_AES_CCM_128,
		.key_size	= 16,
		.iv_size	= 16,
		.iv_off		= 1,
		.iv_b0		= QUIC_CCM_IV_B0,
		.seal_limit	= QUIC_CCM_SEAL_LIMIT,
		.aead		= "ccm(aes)",
		.hp		= "ecb(aes)",
	},
	{
		.type		= TLS_CIPHER_CHACHA20_POLY1305,
		.key_size	= CHACHA_KEY_SIZE,
		.iv_size	= CHACHAPOLY_IV_SIZE,
		.seal_limit	= QUIC_CHACHA_SEAL_LIMIT,
	},
};

/**
 * struct quic_seal_ctx - what a call needs while it seals
 * @wait: for who seals, where that is not done at once
 * @sg: a packet in one piece
 * @pieces: one in several
 * @iv: its nonce, as the AEAD wants it
 * @size: bytes of @req
 * @masks: samples of all packets, then their header-protection masks
 * @req: AEAD request, used for one packet after another; then the request for
 *	 the masks; @masks
 */
struct quic_seal_ctx {
	struct crypto_wait wait;
	struct scatterlist sg;
	struct scatterlist pieces[MAX_SKB_FRAGS + 1];
	u8 iv[16];
	size_t size;
	u8 *masks;
	u8 req[] CRYPTO_MINALIGN_ATTR;
};

/**
 * quic_cipher_find - look a cipher up
 * @type: TLS_CIPHER_*
 *
 * Return: its description, or NULL.
 */
const struct quic_cipher *quic_cipher_find(u16 type)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(quic_ciphers); i++) {
		if (quic_ciphers[i].type == type)
			return &quic_ciphers[i];
	}
	return NULL;
}

/* A cipher that this kernel lacks, or FIPS mode forbids */
static int quic_alg_error(long err)
{
	return err == -ENOENT ? -EOPNOTSUPP : err;
}

/**
 * quic_aead_alloc - AEAD transform for a key
 * @cipher: which
 * @key: @cipher->key_size bytes
 * @mask: CRYPTO_ALG_ASYNC where it must not wait, else 0
 *
 * Context: process, sleeps.
 * Return: the transform, NULL for a cipher that needs none, or an ERR_PTR():
 * -EOPNOTSUPP where the kernel lacks the cipher.
 */
struct crypto_aead *quic_aead_alloc(const struct quic_cipher *cipher,
				    const u8 *key, u32 mask)
{
	struct crypto_aead *tfm;
	int err;

	/* The library knows nothing of FIPS mode, which the crypto API obeys */
	if (!cipher->aead)
		return fips_enabled ? ERR_PTR(-EOPNOTSUPP) : NULL;
	tfm = crypto_alloc_aead(cipher->aead, 0, mask);
	if (IS_ERR(tfm))
		return ERR_PTR(quic_alg_error(PTR_ERR(tfm)));

	err = crypto_aead_setkey(tfm, key, cipher->key_size);
	if (!err)
		err = crypto_aead_setauthsize(tfm, QUIC_TAG_SIZE);
	if (err) {
		crypto_free_aead(tfm);
		return ERR_PTR(err);
	}
	return tfm;
}

/**
 * quic_aead_free - free an AEAD transform and wipe its key
 * @tfm: of quic_aead_alloc()
 *
 * Context: process, sleeps.
 */
void quic_aead_free(struct crypto_aead *tfm)
{
	crypto_free_aead(tfm);
}

/**
 * quic_hp_init - set up header protection
 * @hp: filled in
 * @cipher: which
 * @key: @cipher->key_size bytes
 * @mask: CRYPTO_ALG_ASYNC where it must not wait, else 0
 *
 * Context: process, sleeps.
 * Return: 0 or a negative error: -EOPNOTSUPP where there is no such cipher.
 */
int quic_hp_init(struct quic_hp *hp, const struct quic_cipher *cipher,
		 const u8 *key, u32 mask)
{
	struct crypto_skcipher *tfm;
	int err;

	hp->cipher = cipher;
	hp->tfm = NULL;
	if (cipher->hp) {
		tfm = crypto_alloc_skcipher(cipher->hp, 0, mask);
		if (IS_ERR(tfm))
			return quic_alg_error(PTR_ERR(tfm));
		err = crypto_skcipher_setkey(tfm, key, cipher->key_size);
		if (err) {
			crypto_free_skcipher(tfm);
			return err;
		}
		hp->tfm = tfm;
	}
	memcpy(hp->key, key, cipher->key_size);
	return 0;
}

/**
 * quic_hp_destroy - undo quic_hp_init() and wipe the key
 * @hp: header protection
 *
 * Context: process, sleeps.
 */
void quic_hp_destroy(struct quic_hp *hp)
{
	crypto_free_skcipher(hp->tfm);
	memzero_explicit(hp->key, sizeof(hp->key));
}

static u32 quic_req_flags(gfp_t gfp)
{
	if (!gfpflags_allow_blocking(gfp))
		return 0;
	return CRYPTO_TFM_REQ_MAY_BACKLOG | CRYPTO_TFM_REQ_MAY_SLEEP;
}

static void quic_chacha_key(u32 *key, const u8 *bytes)
{
	unsigned int i;

	for (i = 0; i < CHACHA_KEY_WORDS; i++)
		key[i] = get_unaligned_le32(bytes + i * sizeof(u32));
}

/* RFC 9001 5.4.4: the sample is counter and nonce, as chacha_init() has them */
static void quic_hp_masks_chacha(const struct quic_hp *hp, u8 *samples,
				 unsigned int n)
{
	u32 key[CHACHA_KEY_WORDS];
	struct chacha_state state;
	unsigned int i;
	u8 *p;

	quic_chacha_key(key, hp->key);
	for (i = 0; i < n; i++) {
		p = samples + i * QUIC_HP_SAMPLE_SIZE;
		chacha_init(&state, key, p);
		memset(p, 0, QUIC_HP_MASK_SIZE);
		chacha20_crypt(&state, p, p, QUIC_HP_MASK_SIZE);
	}
	chacha_zeroize_state(&state);
	memzero_explicit(key, sizeof(key));
}

/**
 * quic_hp_masks - header-protection masks of many packets, RFC 9001 5.4
 * @hp: header protection
 * @req: memory for a request of @hp's transform, where it has one
 * @samples: @n samples of QUIC_HP_SAMPLE_SIZE bytes, not on the stack; the
 *	     first QUIC_HP_MASK_SIZE bytes of each become its mask
 * @n: number of packets
 * @gfp: GFP_KERNEL in process context; any other asks for a @hp that does not
 *	 wait
 *
 * Context: as @gfp says.
 * Return: 0 or a negative error.
 */
int quic_hp_masks(const struct quic_hp *hp, struct skcipher_request *req,
		  u8 *samples, unsigned int n, gfp_t gfp)
{
	DECLARE_CRYPTO_WAIT(wait);
	struct scatterlist sg;

	if (!hp->tfm) {
		quic_hp_masks_chacha(hp, samples, n);
		return 0;
	}

	sg_init_one(&sg, samples, n * QUIC_HP_SAMPLE_SIZE);
	skcipher_request_set_tfm(req, hp->tfm);
	skcipher_request_set_callback(req, quic_req_flags(gfp),
				      crypto_req_done, &wait);
	skcipher_request_set_crypt(req, &sg, &sg, n * QUIC_HP_SAMPLE_SIZE,
				   NULL);
	return crypto_wait_req(crypto_skcipher_encrypt(req), &wait);
}

static struct quic_seal_ctx *quic_seal_ctx_alloc(struct crypto_aead *tfm,
						 const struct quic_hp *hp,
						 unsigned int npkts, gfp_t gfp)
{
	/* A device may write the masks: their cache lines are theirs alone */
	size_t align = max(dma_get_cache_alignment(), QUIC_HP_SAMPLE_SIZE);
	size_t masks = ALIGN(npkts * QUIC_HP_SAMPLE_SIZE, align);
	struct quic_seal_ctx *ctx;
	size_t req = 0;

	if (tfm)
		req = sizeof(struct aead_request) + crypto_aead_reqsize(tfm);
	if (hp->tfm)
		req = max(req, sizeof(struct skcipher_request) +
			       crypto_skcipher_reqsize(hp->tfm));
	ctx = kmalloc(struct_size(ctx, req, req + align + masks), gfp);
	if (!ctx)
		return NULL;
	ctx->size = req + align + masks;
	ctx->masks = PTR_ALIGN(ctx->req + req, align);
	memset(ctx->iv, 0, sizeof(ctx->iv));
	ctx->iv[0] = hp->cipher->iv_b0;
	return ctx;
}

static void quic_seal_ctx_set_aead(struct quic_seal_ctx *ctx,
				   struct crypto_aead *tfm, gfp_t gfp)
{
	struct aead_request *req = (struct aead_request *)ctx->req;

	sg_init_table(&ctx->sg, 1);
	crypto_init_wait(&ctx->wait);
	aead_request_set_tfm(req, tfm);
	aead_request_set_callback(req, quic_req_flags(gfp), crypto_req_done,
				  &ctx->wait);
}

/* kfree_sensitive() would wipe the unused half of it, too */
static void quic_seal_ctx_free(struct quic_seal_ctx *ctx)
{
	memzero_explicit(ctx->iv, sizeof(ctx->iv));
	memzero_explicit(ctx->req, ctx->size);
	kfree(ctx);
}

static int quic_aead_seal(struct quic_seal_ctx *ctx, const struct quic_key *key,
			  struct scatterlist *sg, unsigned int len,
			  const struct quic_pkt *pkt, unsigned int cid_len)
{
	struct aead_request *req = (struct aead_request *)ctx->req;
	unsigned int hdr_len = 1 + cid_len + pkt->pn_len;

	quic_nonce(ctx->iv + key->cipher->iv_off, key->iv, pkt->pn);
	aead_request_set_ad(req, hdr_len);
	aead_request_set_crypt(req, sg, sg, len - hdr_len - QUIC_TAG_SIZE,
			       ctx->iv);
	return crypto_wait_req(crypto_aead_encrypt(req), &ctx->wait);
}

static void quic_poly1305_padded(struct poly1305_desc_ctx *poly, const u8 *data,
				 unsigned int len)
{
	static const u8 zero[POLY1305_BLOCK_SIZE];

	poly1305_update(poly, data, len);
	if (len % POLY1305_BLOCK_SIZE)
		poly1305_update(poly, zero, POLY1305_BLOCK_SIZE -
					    len % POLY1305_BLOCK_SIZE);
}

/* RFC 8439 2.8. The AEAD of the crypto API is made of two transforms, which
 * cost more than a small packet does; the library's takes nonces of 8 bytes.
 */
static void quic_chacha_seal(const struct quic_key *key, u8 *data,
			     unsigned int len, const struct quic_pkt *pkt,
			     unsigned int cid_len)
{
	unsigned int hdr_len = 1 + cid_len + pkt->pn_len;
	struct poly1305_desc_ctx poly;
	u32 words[CHACHA_KEY_WORDS];
	u8 iv[CHACHA_IV_SIZE] = {};
	u8 head[QUIC_CHACHA_HEAD];
	struct chacha_state state;
	unsigned int n;
	__le64 lens[2];

	len -= hdr_len + QUIC_TAG_SIZE;
	quic_nonce(iv + sizeof(u32), key->iv, pkt->pn);
	quic_chacha_key(words, key->secret);
	chacha_init(&state, words, iv);

	n = min_t(unsigned int, len, sizeof(head) - CHACHA_BLOCK_SIZE);
	memset(head, 0, CHACHA_BLOCK_SIZE);
	memcpy(head + CHACHA_BLOCK_SIZE, data + hdr_len, n);
	chacha20_crypt(&state, head, head, CHACHA_BLOCK_SIZE + n);
	poly1305_init(&poly, head);
	quic_poly1305_padded(&poly, data, hdr_len);

	data += hdr_len;
	memcpy(data, head + CHACHA_BLOCK_SIZE, n);
	chacha20_crypt(&state, data + n, data + n, len - n);
	quic_poly1305_padded(&poly, data, len);
	lens[0] = cpu_to_le64(hdr_len);
	lens[1] = cpu_to_le64(len);
	poly1305_update(&poly, (const u8 *)lens, sizeof(lens));
	poly1305_final(&poly, data + len);

	chacha_zeroize_state(&state);
	memzero_explicit(words, sizeof(words));
	memzero_explicit(head, CHACHA_BLOCK_SIZE);
	memzero_explicit(iv, sizeof(iv));
	memzero_explicit(&poly, sizeof(poly));
}

static int quic_seal_piece(struct quic_seal_ctx *ctx, struct crypto_aead *tfm,
			   const struct quic_key *key, unsigned int len,
			   const struct quic_pkt *pkt, unsigned int cid_len)
{
	if (!tfm) {
		quic_chacha_seal(key, pkt->data, len, pkt, cid_len);
		return 0;
	}
	sg_set_buf(&ctx->sg, pkt->data, len);
	return quic_aead_seal(ctx, key, &ctx->sg, len, pkt, cid_len);
}

/* A packet that is in pieces: the library has no use for a scatterlist */
static int quic_seal_copy(const struct quic_key *key, struct sk_buff *skb,
			  unsigned int off, unsigned int len,
			  const struct quic_pkt *pkt, unsigned int cid_len,
			  gfp_t gfp)
{
	u8 *copy = kmalloc(len, gfp);
	int err;

	if (!copy)
		return -ENOMEM;
	err = skb_copy_bits(skb, off, copy, len);
	if (!err) {
		quic_chacha_seal(key, copy, len, pkt, cid_len);
		err = skb_store_bits(skb, off, copy, len);
	}
	kfree_sensitive(copy);
	return err;
}

static int quic_seal_pieces(struct quic_seal_ctx *ctx, struct crypto_aead *tfm,
			    const struct quic_key *key, struct sk_buff *skb,
			    unsigned int off, unsigned int len,
			    const struct quic_pkt *pkt, unsigned int cid_len,
			    gfp_t gfp)
{
	int err;

	if (!tfm)
		return quic_seal_copy(key, skb, off, len, pkt, cid_len, gfp);
	sg_init_table(ctx->pieces, ARRAY_SIZE(ctx->pieces));
	err = skb_to_sgvec(skb, ctx->pieces, off, len);
	if (err < 0)
		return err;
	return quic_aead_seal(ctx, key, ctx->pieces, len, pkt, cid_len);
}

/* RFC 9001 5.4.2 */
static int quic_hp_sample(const struct sk_buff *skb, unsigned int off,
			  const struct quic_pkt *pkt, unsigned int cid_len,
			  u8 *sample)
{
	unsigned int pos = 1 + cid_len + QUIC_MAX_PKT_NUM_LEN;

	if (!pkt->data)
		return skb_copy_bits(skb, off + pos, sample,
				     QUIC_HP_SAMPLE_SIZE);
	memcpy(sample, pkt->data + pos, QUIC_HP_SAMPLE_SIZE);
	return 0;
}

/* The AEAD; and the samples, as long as the packets are in the cache */
static int quic_seal_pkts(struct quic_seal_ctx *ctx, struct crypto_aead *tfm,
			  const struct quic_key *key, struct sk_buff *skb,
			  unsigned int off, const struct quic_layout *l,
			  const struct quic_pkt *pkts, unsigned int cid_len,
			  gfp_t gfp)
{
	const struct quic_pkt *pkt = pkts;
	u8 *sample = ctx->masks;
	unsigned int i, len;
	int err;

	for (i = 0; i < l->npkts; i++, pkt++) {
		len = quic_layout_pkt_len(l, i);
		if (pkt->data)
			err = quic_seal_piece(ctx, tfm, key, len, pkt, cid_len);
		else
			err = quic_seal_pieces(ctx, tfm, key, skb, off, len,
					       pkt, cid_len, gfp);
		if (!err)
			err = quic_hp_sample(skb, off, pkt, cid_len, sample);
		if (err)
			return err;
		sample += QUIC_HP_SAMPLE_SIZE;
		off += len;
	}
	return 0;
}

/* RFC 9001 5.4.1; QUIC_MAX_PKT_NUM_LEN bytes are there at @pn */
static void quic_hp_xor(u8 *first, u8 *pn, const u8 *mask, unsigned int pn_len)
{
	u32 bits = ~0U << (8 * (QUIC_MAX_PKT_NUM_LEN - pn_len));

	*first ^= mask[0] & QUIC_HDR_PROTECTED;
	put_unaligned_be32(get_unaligned_be32(pn) ^
			   (get_unaligned_be32(mask + 1) & bits), pn);
}

static int quic_hp_apply(struct sk_buff *skb, unsigned int off, const u8 *mask,
			 const struct quic_pkt *pkt, unsigned int cid_len)
{
	unsigned int len = 1 + cid_len + QUIC_MAX_PKT_NUM_LEN;
	u8 buf[QUIC_MAX_HDR_SIZE], *hdr = pkt->data ?: buf;
	int err;

	if (!pkt->data) {
		err = skb_copy_bits(skb, off, hdr, len);
		if (err)
			return err;
	}
	quic_hp_xor(hdr, hdr + 1 + cid_len, mask, pkt->pn_len);
	return pkt->data ? 0 : skb_store_bits(skb, off, hdr, len);
}

static int quic_protect_headers(struct quic_seal_ctx *ctx,
				const struct quic_hp *hp, struct sk_buff *skb,
				unsigned int off, const struct quic_layout *l,
				const struct quic_pkt *pkts,
				unsigned int cid_len, gfp_t gfp)
{
	u8 *masks = ctx->masks;
	unsigned int i;
	int err;

	err = quic_hp_masks(hp, (struct skcipher_request *)ctx->req, masks,
			    l->npkts, gfp);
	for (i = 0; i < l->npkts && !err; i++)
		err = quic_hp_apply(skb, off + i * l->stride,
				    masks + i * QUIC_HP_SAMPLE_SIZE, &pkts[i],
				    cid_len);
	return err;
}

/**
 * __quic_seal - quic_seal() in any context
 * @tfm: AEAD transform with @key, NULL where the cipher has none
 * @key: AEAD key
 * @hp: header protection
 * @skb: as for quic_seal()
 * @off: as for quic_seal()
 * @l: as for quic_seal()
 * @pkts: as for quic_seal()
 * @cid_len: as for quic_seal()
 * @gfp: GFP_KERNEL in process context; any other asks for a @tfm and a @hp that
 *	 do not wait
 *
 * Context: as @gfp says.
 * Return: 0, or a negative error; the packets are then in no defined state.
 */
int __quic_seal(struct crypto_aead *tfm, const struct quic_key *key,
		const struct quic_hp *hp, struct sk_buff *skb,
		unsigned int off, const struct quic_layout *l,
		const struct quic_pkt *pkts, unsigned int cid_len, gfp_t gfp)
{
	struct quic_seal_ctx *ctx;
	int err;

	ctx = quic_seal_ctx_alloc(tfm, hp, l->npkts, gfp);
	if (!ctx)
		return -ENOMEM;
	if (tfm)
		quic_seal_ctx_set_aead(ctx, tfm, gfp);
	err = quic_seal_pkts(ctx, tfm, key, skb, off, l, pkts, cid_len, gfp);
	if (!err)
		err = quic_protect_headers(ctx, hp, skb, off, l, pkts, cid_len,
					   gfp);
	quic_seal_ctx_free(ctx);
	return err;
}

/**
 * quic_seal - protect packets in place, RFC 9001 5.3 and 5.4
 * @key: AEAD key
 * @hp: header protection
 * @skb: not shared, not cloned, no frag list; holds the packets as plaintext,
 *	 each with QUIC_TAG_SIZE bytes after it
 * @off: where in @skb the first packet starts
 * @l: where the others do
 * @pkts: packets as of quic_pkts_parse(), whose numbers are reserved in @key
 * @cid_len: bytes of destination connection ID in every header
 *
 * Context: process, sleeps.
 * Return: 0, or a negative error; the packets are then in no defined state.
 */
int quic_seal(const struct quic_key *key, const struct quic_hp *hp,
	      struct sk_buff *skb, unsigned int off,
	      const struct quic_layout *l, const struct quic_pkt *pkts,
	      unsigned int cid_len)
{
	return __quic_seal(key->tfm, key, hp, skb, off, l, pkts, cid_len,
			   GFP_KERNEL);
}
