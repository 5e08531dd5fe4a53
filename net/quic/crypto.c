// SPDX-License-Identifier: GPL-2.0
/*
 * QUIC packet protection: all use of the crypto API.
 *
 * The fast AEADs may be asynchronous, so these functions wait and belong to
 * process context.
 */

#include <crypto/aead.h>
#include <crypto/chacha.h>
#include <crypto/skcipher.h>
#include <linux/overflow.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <net/quic.h>

#include "quic.h"

/* RFC 9001 6.6 and appendix B. ChaCha20-Poly1305 outlasts packet numbers. */
#define QUIC_GCM_SEAL_LIMIT	BIT_ULL(23)
#define QUIC_CCM_SEAL_LIMIT	2965820ULL		/* 2^21.5 */
#define QUIC_CHACHA_SEAL_LIMIT	(QUIC_MAX_PKT_NUM + 1)

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
		.aead		= "rfc7539(chacha20,poly1305)",
	},
};

/* What a call needs while it seals; @req is as large as the AEAD wants */
struct quic_seal_ctx {
	struct crypto_wait wait;
	struct scatterlist sg[MAX_SKB_FRAGS + 1];
	unsigned int nents;
	u8 iv[16];
	struct aead_request req CRYPTO_MINALIGN_ATTR;
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
 * Return: the transform, or an ERR_PTR(): -EOPNOTSUPP where there is none.
 */
struct crypto_aead *quic_aead_alloc(const struct quic_cipher *cipher,
				    const u8 *key, u32 mask)
{
	struct crypto_aead *tfm;
	int err;

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

/* RFC 9001 5.4.4: the sample is counter and nonce, as chacha_init() has them */
static void quic_hp_masks_chacha(const struct quic_hp *hp, u8 *samples,
				 unsigned int n)
{
	u32 state[CHACHA_STATE_WORDS], key[CHACHA_KEY_SIZE / sizeof(u32)];
	unsigned int i;
	u8 *p;

	for (i = 0; i < ARRAY_SIZE(key); i++)
		key[i] = get_unaligned_le32(hp->key + i * sizeof(u32));
	for (i = 0; i < n; i++) {
		p = samples + i * QUIC_HP_SAMPLE_SIZE;
		chacha_init(state, key, p);
		memset(p, 0, QUIC_HP_MASK_SIZE);
		chacha20_crypt(state, p, p, QUIC_HP_MASK_SIZE);
	}
	memzero_explicit(state, sizeof(state));
	memzero_explicit(key, sizeof(key));
}

/**
 * quic_hp_masks - header-protection masks of many packets, RFC 9001 5.4
 * @hp: header protection
 * @samples: @n samples of QUIC_HP_SAMPLE_SIZE bytes, not on the stack; the
 *	     first QUIC_HP_MASK_SIZE bytes of each become its mask
 * @n: number of packets
 * @gfp: GFP_KERNEL in process context; any other asks for a @hp that does not
 *	 wait
 *
 * Context: as @gfp says.
 * Return: 0 or a negative error.
 */
int quic_hp_masks(const struct quic_hp *hp, u8 *samples, unsigned int n,
		  gfp_t gfp)
{
	struct skcipher_request *req;
	DECLARE_CRYPTO_WAIT(wait);
	struct scatterlist sg;
	int err;

	if (!hp->tfm) {
		quic_hp_masks_chacha(hp, samples, n);
		return 0;
	}

	req = skcipher_request_alloc(hp->tfm, gfp);
	if (!req)
		return -ENOMEM;
	sg_init_one(&sg, samples, n * QUIC_HP_SAMPLE_SIZE);
	skcipher_request_set_callback(req, quic_req_flags(gfp),
				      crypto_req_done, &wait);
	skcipher_request_set_crypt(req, &sg, &sg, n * QUIC_HP_SAMPLE_SIZE,
				   NULL);
	err = crypto_wait_req(crypto_skcipher_encrypt(req), &wait);
	skcipher_request_free(req);
	return err;
}

static struct quic_seal_ctx *quic_seal_ctx_alloc(struct crypto_aead *tfm,
						 gfp_t gfp)
{
	struct quic_seal_ctx *ctx;

	ctx = kmalloc(struct_size_t(struct quic_seal_ctx, req.__ctx,
				    crypto_aead_reqsize(tfm)), gfp);
	if (!ctx)
		return NULL;
	crypto_init_wait(&ctx->wait);
	sg_init_table(ctx->sg, ARRAY_SIZE(ctx->sg));
	ctx->nents = ARRAY_SIZE(ctx->sg);
	aead_request_set_tfm(&ctx->req, tfm);
	aead_request_set_callback(&ctx->req, quic_req_flags(gfp),
				  crypto_req_done, &ctx->wait);
	return ctx;
}

static int quic_seal_pkt(struct quic_seal_ctx *ctx, const struct quic_key *key,
			 struct sk_buff *skb, unsigned int off,
			 unsigned int len, const struct quic_pkt *pkt,
			 unsigned int cid_len)
{
	unsigned int hdr_len = 1 + cid_len + pkt->pn_len;
	struct aead_request *req = &ctx->req;
	int err;

	/* The end of the packet before */
	sg_unmark_end(&ctx->sg[ctx->nents - 1]);
	err = skb_to_sgvec(skb, ctx->sg, off, len);
	if (err < 0)
		return err;
	ctx->nents = err;

	ctx->iv[0] = key->cipher->iv_b0;
	memset(ctx->iv + QUIC_MAX_IV_SIZE, 0,
	       sizeof(ctx->iv) - QUIC_MAX_IV_SIZE);
	quic_nonce(ctx->iv + key->cipher->iv_off, key->iv, pkt->pn);

	aead_request_set_ad(req, hdr_len);
	aead_request_set_crypt(req, ctx->sg, ctx->sg,
			       len - hdr_len - QUIC_TAG_SIZE, ctx->iv);
	return crypto_wait_req(crypto_aead_encrypt(req), &ctx->wait);
}

static int quic_seal_pkts(struct crypto_aead *tfm, const struct quic_key *key,
			  struct sk_buff *skb, unsigned int off,
			  const struct quic_layout *l,
			  const struct quic_pkt *pkts, unsigned int cid_len,
			  gfp_t gfp)
{
	struct quic_seal_ctx *ctx;
	unsigned int i;
	int err = 0;

	ctx = quic_seal_ctx_alloc(tfm, gfp);
	if (!ctx)
		return -ENOMEM;
	for (i = 0; i < l->npkts && !err; i++)
		err = quic_seal_pkt(ctx, key, skb, off + i * l->stride,
				    quic_layout_pkt_len(l, i), &pkts[i],
				    cid_len);
	kfree_sensitive(ctx);
	return err;
}

/* RFC 9001 5.4.1 */
static int quic_hp_apply(struct sk_buff *skb, unsigned int off, const u8 *mask,
			 const struct quic_pkt *pkt, unsigned int cid_len)
{
	unsigned int len = 1 + cid_len + pkt->pn_len, i;
	u8 hdr[QUIC_MAX_HDR_SIZE];
	int err;

	err = skb_copy_bits(skb, off, hdr, len);
	if (err)
		return err;
	hdr[0] ^= mask[0] & QUIC_HDR_PROTECTED;
	for (i = 0; i < pkt->pn_len; i++)
		hdr[1 + cid_len + i] ^= mask[1 + i];
	return skb_store_bits(skb, off, hdr, len);
}

static int quic_protect_headers(const struct quic_hp *hp, struct sk_buff *skb,
				unsigned int off, const struct quic_layout *l,
				const struct quic_pkt *pkts,
				unsigned int cid_len, gfp_t gfp)
{
	unsigned int sample = off + 1 + cid_len + QUIC_MAX_PKT_NUM_LEN;
	int err = 0;
	unsigned int i;
	u8 *masks;

	masks = kmalloc_array(l->npkts, QUIC_HP_SAMPLE_SIZE, gfp);
	if (!masks)
		return -ENOMEM;
	for (i = 0; i < l->npkts && !err; i++)
		err = skb_copy_bits(skb, sample + i * l->stride,
				    masks + i * QUIC_HP_SAMPLE_SIZE,
				    QUIC_HP_SAMPLE_SIZE);
	if (!err)
		err = quic_hp_masks(hp, masks, l->npkts, gfp);
	for (i = 0; i < l->npkts && !err; i++)
		err = quic_hp_apply(skb, off + i * l->stride,
				    masks + i * QUIC_HP_SAMPLE_SIZE, &pkts[i],
				    cid_len);
	kfree_sensitive(masks);
	return err;
}

/**
 * __quic_seal - quic_seal() in any context
 * @tfm: AEAD transform with @key
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
	int err;

	err = quic_seal_pkts(tfm, key, skb, off, l, pkts, cid_len, gfp);
	if (err)
		return err;
	return quic_protect_headers(hp, skb, off, l, pkts, cid_len, gfp);
}

/**
 * quic_seal - protect packets in place, RFC 9001 5.3 and 5.4
 * @key: AEAD key
 * @hp: header protection
 * @skb: not shared, not cloned, no frag list; holds the packets as plaintext,
 *	 each with QUIC_TAG_SIZE bytes after it
 * @off: where in @skb the first packet starts
 * @l: where the others do
 * @pkts: parsed headers, whose numbers are reserved in @key
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
