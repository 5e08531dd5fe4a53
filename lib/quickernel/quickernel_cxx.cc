// SPDX-License-Identifier: GPL-2.0
/*
 * Use of libquickernel in C++: it has to compile without a warning, to link,
 * and to run on any kernel.
 */
#include <cstdio>
#include <cstring>

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "quickernel.h"

static bool attach(qk_socket *sock, int fd)
{
	int err = qk_attach(sock, fd);

	printf("# qk_attach: %s\n", strerror(-err));
	return !err == (sock->directions != 0);
}

/* A datagram that the socket sends to itself: as it is on any kernel, as there
 * is no flow.
 */
static bool receives(const qk_socket *sock)
{
	char buf[100];
	iovec iov = { buf, sizeof(buf) };
	char room[QK_RX_ROOM(1)];
	qk_rx_call call;
	qk_packet packet;
	msghdr msg = {};

	msg.msg_iov = &iov;
	msg.msg_iovlen = 1;
	return send(sock->fd, "\x40hello", 6, 0) == 6 &&
	       qk_recv(sock, &call, room, sizeof(room), &msg, 0) == 6 &&
	       qk_recv_packet(&call, 0, &packet) && packet.length == 6 &&
	       packet.status == QUIC_RX_NOT_TRIED &&
	       !qk_recv_packet(&call, 1, &packet);
}

/* There is no flow, whether the kernel could have one or not. */
static bool does_not_send(const qk_socket *sock)
{
	char buf[100] = { 0x40 };
	iovec iov = { buf, sizeof(buf) };
	qk_batch batch = {};
	msghdr msg = {};

	batch.flow_id = 1;
	msg.msg_iov = &iov;
	msg.msg_iovlen = 1;
	return qk_send(sock, &batch, &msg, 0) < 0 &&
	       recv(sock->fd, buf, sizeof(buf), MSG_DONTWAIT) < 0;
}

int main()
{
	sockaddr_in addr = {};
	socklen_t len = sizeof(addr);
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	qk_socket sock;

	addr.sin_family = AF_INET;
	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || bind(fd, (sockaddr *)&addr, len) ||
	    getsockname(fd, (sockaddr *)&addr, &len) ||
	    connect(fd, (sockaddr *)&addr, len)) {
		perror("socket");
		return 1;
	}
	bool ok = attach(&sock, fd) && receives(&sock) && does_not_send(&sock);
	close(fd);
	printf("%s 1 C++\n", ok ? "ok" : "not ok");
	return !ok;
}
