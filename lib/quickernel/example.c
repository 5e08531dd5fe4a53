// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Two UDP sockets on the loopback device: the kernel seals what one sends, and
 * opens what the other receives, before and after a key update.
 *
 * A QUIC library has its keys from the handshake. Here they are random, and new
 * in every run: the kernel remembers for ten minutes which packet numbers were
 * sealed with a key, and would refuse to seal the same ones again.
 *
 * Exit status 4: the kernel cannot do it.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "quickernel.h"

#define FLOW		7	/* any number but 0 */
#define PACKET_SIZE	1200	/* on the wire, with the tag of 16 bytes */
#define HEADER_SIZE	(1 + CID_SIZE + 2)
#define CID_SIZE	8
#define BATCH		10	/* packets in a call; see qk_max_packets() */

static const uint8_t cid[CID_SIZE] = { 1, 2, 3, 4, 5, 6, 7, 8 };
static uint8_t secrets[2][16 + 12], hp[16];	/* of two generations */
static struct qk_socket tx, rx;
static struct sockaddr_in to;

/* A program ends here. A QUIC library does by itself what the kernel cannot. */
static void check(const char *what, int err)
{
	if (!err)
		return;
	fprintf(stderr, "%s: %s\n", what, strerror(-err));
	exit(err == -ENOPROTOOPT || err == -ENOENT ? 4 : 1);
}

static struct qk_keys keys_of(uint8_t generation)
{
	struct qk_keys keys = {
		.cipher = qk_cipher_of_suite(0x1301),
		.generation = generation,
		.key = secrets[generation],
		.iv = secrets[generation] + 16,
		.hp = hp,		/* the same in all generations */
	};

	return keys;
}

static void open_sockets(void)
{
	int from_fd = socket(AF_INET, SOCK_DGRAM, 0);
	int to_fd = socket(AF_INET, SOCK_DGRAM, 0);
	socklen_t len = sizeof(to);
	int on = 1;

	to.sin_family = AF_INET;
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (bind(to_fd, (struct sockaddr *)&to, sizeof(to)) ||
	    getsockname(to_fd, (struct sockaddr *)&to, &len) ||
	    setsockopt(to_fd, SOL_UDP, UDP_GRO, &on, sizeof(on))) {
		perror("socket");
		exit(1);
	}
	check("qk_attach", qk_attach(&tx, from_fd));
	check("qk_attach", qk_attach(&rx, to_fd));
}

/* Packets with the numbers from @number on; the payload is @letter */
static void send_batch(uint64_t number, uint8_t generation, char letter)
{
	static uint8_t packets[BATCH * PACKET_SIZE];
	struct iovec iov = { packets, sizeof(packets) };
	struct msghdr msg = {
		.msg_name = &to, .msg_namelen = sizeof(to),
		.msg_iov = &iov, .msg_iovlen = 1,
	};
	struct qk_batch batch = {
		.number = number,
		.flow_id = FLOW,
		.packet_size = PACKET_SIZE,
		.cid_len = CID_SIZE,
	};
	ssize_t sent;

	memset(packets, letter, sizeof(packets));
	for (int i = 0; i < BATCH; i++) {
		uint8_t *header = packets + i * PACKET_SIZE;

		/* Fixed Bit, Key Phase, a packet number of 2 bytes */
		header[0] = 0x40 | (generation & 1) << 2 | (2 - 1);
		memcpy(header + 1, cid, CID_SIZE);
		header[1 + CID_SIZE] = (number + i) >> 8;
		header[2 + CID_SIZE] = number + i;
	}
	sent = qk_send(&tx, &batch, &msg, 0);
	check("qk_send", sent < 0 ? (int)sent : 0);
}

/* Receive what send_batch() has sent. It may take several calls. */
static void receive_batch(uint64_t number, uint8_t generation, char letter)
{
	static uint8_t data[65536];	/* UDP_GRO: as large as a datagram */
	char room[QK_RX_ROOM(QK_MAX_PACKETS)];
	const size_t size = PACKET_SIZE - HEADER_SIZE - 16;
	unsigned int calls = 0;
	uint64_t next = number;

	while (next < number + BATCH) {
		struct iovec iov = { data, sizeof(data) };
		struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
		struct qk_rx_call call;
		struct qk_packet packet;
		ssize_t bytes;

		bytes = qk_recv(&rx, &call, room, sizeof(room), &msg, 0);
		check("qk_recv", bytes < 0 ? (int)bytes : 0);
		calls++;
		for (int i = 0; qk_recv_packet(&call, i, &packet); i++) {
			uint8_t *payload = data + packet.offset +
					   packet.header_len;

			if (packet.status != QUIC_RX_OPENED ||
			    packet.flow_id != FLOW || packet.number != next ||
			    packet.key_gen != generation ||
			    packet.payload_len != size ||
			    payload[0] != letter ||
			    payload[size - 1] != letter) {
				fprintf(stderr, "packet %u: status %u\n",
					(unsigned int)next, packet.status);
				exit(1);
			}
			next++;
		}
	}
	printf("generation %u: %d packets sealed in 1 call, opened in %u\n",
	       generation, BATCH, calls);
}

int main(void)
{
	struct qk_keys keys[2] = { keys_of(0), keys_of(1) };
	struct qk_match match;

	if (getrandom(secrets, sizeof(secrets), 0) != sizeof(secrets) ||
	    getrandom(hp, sizeof(hp), 0) != sizeof(hp))
		return 1;
	open_sockets();
	check("qk_tx_add", qk_tx_add(&tx, FLOW, &keys[0]));
	check("qk_match_init", qk_match_init(&match, cid, CID_SIZE, NULL, 0));
	check("qk_rx_add", qk_rx_add(&rx, FLOW, &match, &keys[0], 0));
	check("qk_rx_update", qk_rx_update(&rx, FLOW, &keys[1]));

	send_batch(0, 0, 'a');
	receive_batch(0, 0, 'a');

	/* The key update of the sender; the receiver has the keys already. */
	check("qk_tx_update", qk_tx_update(&tx, FLOW, &keys[1]));
	send_batch(BATCH, 1, 'b');
	check("qk_tx_retire", qk_tx_retire(&tx, FLOW, 0));
	receive_batch(BATCH, 1, 'b');
	check("qk_rx_retire", qk_rx_retire(&rx, FLOW, 0));

	check("qk_tx_del", qk_tx_del(&tx, FLOW));
	check("qk_rx_del", qk_rx_del(&rx, FLOW));
	return 0;
}
