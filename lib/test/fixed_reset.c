// SPDX-License-Identifier: GPL-2.0
/*
 * gtlsserver makes up the secret of its stateless reset tokens when it starts.
 * Give it the same each time, as a server that is in earnest has it, so that
 * its clients recognise a reset after it was started again. For tests: preload
 * it next to quic_offload.so.
 */
#define _GNU_SOURCE
#include <dlfcn.h>

#include <ngtcp2/ngtcp2_crypto.h>

int ngtcp2_crypto_generate_stateless_reset_token(uint8_t *token,
						 const uint8_t *secret,
						 size_t secretlen,
						 const ngtcp2_cid *cid)
{
	static __typeof__(ngtcp2_crypto_generate_stateless_reset_token) *real;
	static const uint8_t fixed[32] = "the same after every start";

	if (!real)
		real = dlsym(RTLD_NEXT,
			     "ngtcp2_crypto_generate_stateless_reset_token");
	return real(token, fixed, sizeof(fixed), cid);
}
