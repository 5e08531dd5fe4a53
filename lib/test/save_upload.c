// SPDX-License-Identifier: GPL-2.0
/*
 * Save what a client uploads, which gtlsserver only counts: the bytes of every
 * request stream, as they come out of QUIC, in $SAVE_UPLOAD.NUMBER. They are
 * HTTP/3 frames, see h3body.py. For tests: preload it next to quic_offload.so.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <nghttp3/nghttp3.h>

static void save(int64_t stream_id, const uint8_t *data, size_t len)
{
	const char *prefix = getenv("SAVE_UPLOAD");
	char name[512];
	FILE *f;

	/* Only streams that a client has opened have requests: RFC 9114 6.1 */
	if (!prefix || stream_id & 3)
		return;
	snprintf(name, sizeof(name), "%s.%lld", prefix, (long long)stream_id);
	f = fopen(name, "a");
	if (!f || fwrite(data, 1, len, f) != len || fclose(f))
		abort();
}

nghttp3_ssize nghttp3_conn_read_stream(nghttp3_conn *conn, int64_t stream_id,
				       const uint8_t *src, size_t srclen,
				       int fin)
{
	static __typeof__(nghttp3_conn_read_stream) *real;

	if (!real)
		real = dlsym(RTLD_NEXT, "nghttp3_conn_read_stream");
	save(stream_id, src, srclen);
	return real(conn, stream_id, src, srclen, fin);
}
