/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the tests of QUIC packet protection share: flows, packets, the packets
 * that must come out of the kernel (sealed by libcrypto), sockets.
 */
#ifndef QUIC_UTIL_H
#define QUIC_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>

#include <linux/quic.h>
#include <linux/udp.h>

#ifndef SOL_UDP
#define SOL_UDP				17
#endif

union bpf_attr;

#define TAG		QUIC_TAG_SIZE
#define MAX_PKTS	128	/* UDP_MAX_SEGMENTS */
#define MAX_CALL	(72 * 1024)
#define MAX_PKT_NUM	((1ULL << 62) - 1)

/* Every payload repeats this: it must never be seen in a sealed packet. */
#define MARKER		"QUIC-PLAINTEXT!!"
#define MARKER_LEN	16

/* First byte of a short header */
#define HDR_LONG	0x80
#define HDR_FIXED	0x40
#define HDR_SPIN	0x20
#define HDR_RESERVED	0x18
#define HDR_PHASE	0x04

/**
 * struct keys - what one key generation is sealed with
 * @cipher: TLS_CIPHER_*
 * @key: packet key
 * @iv: of RFC 9001 5.3
 * @hp: header-protection key
 */
struct keys {
	uint16_t cipher;
	uint8_t key[QUIC_MAX_KEY_SIZE];
	uint8_t iv[QUIC_MAX_IV_SIZE];
	uint8_t hp[QUIC_MAX_KEY_SIZE];
};

/**
 * struct flow - a connection as one generation of its keys sees it
 * @keys: of the generation
 * @gen: which generation
 * @cid: destination connection ID
 * @cid_len: bytes of it
 * @id: flow_id, 0 for none; the kernel is not told anything else then
 * @path: path of multipath QUIC
 * @dst: destination, AF_UNSPEC for any
 */
struct flow {
	struct keys keys;
	uint8_t gen;
	uint8_t cid[QUIC_MAX_CONNECTION_ID_SIZE];
	uint8_t cid_len;
	uint32_t id;
	uint32_t path;
	struct sockaddr_storage dst;
};

/**
 * struct pkt - a packet
 * @flow: how it is sealed
 * @pn: packet number
 * @pn_len: bytes of it in the header
 * @first: first byte but for the Key Phase and the packet number length
 * @len: length on the wire, with the tag
 */
struct pkt {
	const struct flow *flow;
	uint64_t pn;
	uint8_t pn_len;
	uint8_t first;
	size_t len;
};

/**
 * struct batch - the packets of one call
 * @pkt: each of them
 * @n: how many
 * @size: length of all but the last on the wire
 * @room: the plaintext has room for the tag
 * @plain_len: length of @plain
 * @plain: what the application passes
 * @wire: what must arrive
 */
struct batch {
	struct pkt pkt[MAX_PKTS + 1];
	unsigned int n;
	size_t size;
	bool room;
	size_t plain_len;
	uint8_t plain[MAX_CALL];
	uint8_t wire[MAX_CALL];
};

/**
 * struct tx - the arguments of a sendmsg call
 * @fd: socket
 * @to: destination, or NULL
 * @iov: data
 * @iovlen: elements of @iov
 * @anc: data of the UDP_QUIC_ENCRYPT cmsg
 * @anc_len: bytes of @anc that the cmsg has
 * @n_anc: how often the cmsg is there
 * @gso: value of the UDP_SEGMENT cmsg, 0 for no such cmsg
 * @extra: further cmsgs, or NULL
 * @extra_len: bytes of @extra
 * @flags: of sendmsg
 * @one: what @iov points to in the simplest case
 * @control: for tx_msg()
 */
struct tx {
	int fd;
	const struct sockaddr_storage *to;
	struct iovec *iov;
	unsigned int iovlen;
	struct quic_tx_ancillary_data anc;
	size_t anc_len;
	unsigned int n_anc;
	uint16_t gso;
	const void *extra;
	size_t extra_len;
	int flags;
	struct iovec one;
	uint64_t control[64];
};

enum counter {
	CURR_TX_SW,
	TX_SW,
	TX_SW_ERROR,
	TX_SW_PACKETS,
	TX_SW_BYTES,
	TX_NO_FLOW,
	TX_NO_KEY,
	TX_PKT_NUM_REUSE,
	TX_KEY_LIMIT,
	TX_MALFORMED,
	TX_OTHER_ERROR,
	TX_LOST,
	NR_COUNTERS
};

struct counters {
	unsigned long v[NR_COUNTERS];
};

/* Keys, flows */
size_t cipher_key_len(uint16_t cipher);
void keys_init(struct keys *k, uint16_t cipher);
void flow_init(struct flow *f, uint16_t cipher, unsigned int cid_len);
void flow_next(struct flow *next, const struct flow *f);
void flow_key(const struct flow *f, struct quic_connection_info_key *key);
void flow_info(const struct flow *f, struct quic_connection_info *ci);
int flow_add(int fd, const struct flow *f);
int flow_del(int fd, const struct flow *f);
int flow_del_gen(int fd, const struct flow *f);
int flow_del_all(int fd);
int flow_state(int fd, const struct flow *f, struct quic_info *info);

/* Packets */
size_t pkt_hdr_len(const struct pkt *p);
size_t pkt_min_len(const struct flow *f);
void pkt_plain(const struct pkt *p, uint8_t *buf);
int pkt_seal(const struct pkt *p, uint8_t *buf);
int pkt_show_hdr(const struct flow *f, uint8_t *buf, size_t len,
		 unsigned int *pn_len, uint64_t *pn);
int pkt_open_payload(const struct flow *f, uint64_t pn, unsigned int pn_len,
		     uint8_t *buf, size_t len);
int pkt_open(const struct flow *f, uint64_t expected, uint8_t *buf, size_t len,
	     uint64_t *pn);
uint64_t pkt_num_decode(uint64_t expected, uint64_t truncated,
			unsigned int pn_len);
void batch_init(struct batch *b, const struct flow *f, uint64_t pn,
		unsigned int n, size_t size, size_t last);
void batch_build(struct batch *b);

/* Sockets */
int sock_udp(int family);
int sock_bound(int family, struct sockaddr_storage *addr);
void addr_loopback(struct sockaddr_storage *addr, int family, uint16_t port);
void addr_mapped(struct sockaddr_storage *addr);
socklen_t addr_len(const struct sockaddr_storage *addr);
int set_int(int fd, int level, int opt, int val);
int option_padded(int fd, int opt, const struct quic_connection_info *ci,
		  size_t len);
int attach_ulp(int fd);

/* Calls */
void tx_init(struct tx *tx, int fd, const struct sockaddr_storage *to);
void tx_batch(struct tx *tx, const struct batch *b);
void tx_msg(struct tx *tx, struct msghdr *msg);
ssize_t tx_send(struct tx *tx);
ssize_t rx_recv(int fd, void *buf, size_t size, int timeout_ms);
bool has_marker(const void *buf, size_t len);

/* Environment */
int counters_read(struct counters *c);
int sysctl_write(const char *name, unsigned long val);
int netns_enter(void);
int bpf_call(int cmd, union bpf_attr *attr);
const char *quic_missing(void);
int capture_open(void);
unsigned long env_number(const char *name, unsigned long val);
time_t seconds(void);

/* Random numbers */
void rnd_seed(unsigned long seed);
uint64_t rnd(void);
unsigned int below(unsigned int n);
bool one_in(unsigned int n);

#endif /* QUIC_UTIL_H */
