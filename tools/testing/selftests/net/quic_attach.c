// SPDX-License-Identifier: GPL-2.0
/*
 * LD_PRELOAD library that attaches the ULP "quic-crypto" to every UDP socket,
 * to run tests of UDP on sockets that have a ULP and do not use it:
 *
 *	LD_PRELOAD=$PWD/quic_attach.so ./udpgso.sh
 *
 * A program that cannot have the ULP ends: its test would not tell anything.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <unistd.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <linux/quic.h>
#include <linux/udp.h>

static int is_udp(int domain, int type, int protocol)
{
	return (domain == AF_INET || domain == AF_INET6) &&
	       (type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC)) == SOCK_DGRAM &&
	       (!protocol || protocol == IPPROTO_UDP);
}

int socket(int domain, int type, int protocol)
{
	int fd = syscall(__NR_socket, domain, type, protocol);

	if (fd < 0 || !is_udp(domain, type, protocol))
		return fd;
	if (setsockopt(fd, IPPROTO_UDP, UDP_ULP, QUIC_CRYPTO_ULP_NAME,
		       sizeof(QUIC_CRYPTO_ULP_NAME))) {
		perror("quic_attach: UDP_ULP");
		_exit(1);
	}
	return fd;
}
