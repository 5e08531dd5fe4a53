// SPDX-License-Identifier: GPL-2.0
/*
 * Tests of QUIC packet protection: what users and namespaces may have, who can
 * change that, and who pays for it.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "../kselftest_harness.h"
#include "quic_util.h"

#define USER_MAX	"/proc/sys/net/quic_crypto/max_user_flows"
#define NETNS_MAX	"/proc/sys/net/quic_crypto/max_flows"
#define SEAL_MAX	"/proc/sys/net/quic_crypto/seal_limit"
#define PRINTK		"/proc/sys/kernel/printk"
#define CGROUPS		"/sys/fs/cgroup"
#define CGROUP		CGROUPS "/quic_limits"
#define CGROUP_MAX	(16 << 20)
#define CHURN_MAX	(8 << 20)
#define CHURN_LEFT	(CHURN_MAX / 8)
#define CHURN_TIME	3	/* s */
#define CHURN_MIN	200
#define ADD_TRIES	100
#define UID_A		1001
#define UID_B		1002
#define TIMEOUT		60000	/* ms */

static const char *missing;

static int put(const char *path, long val)
{
	int fd = open(path, O_WRONLY), len, ret = 0;
	char num[24];

	if (fd < 0)
		return -errno;
	len = snprintf(num, sizeof(num), "%ld", val);
	if (write(fd, num, len) != len)
		ret = -errno;
	close(fd);
	return ret;
}

static long get(const char *path)
{
	FILE *f = fopen(path, "r");
	long val = -1;

	if (!f)
		return -errno;
	if (fscanf(f, "%ld", &val) != 1)
		val = -EIO;
	fclose(f);
	return val;
}

/* Bytes in slabs of the kernel */
static long slab(void)
{
	FILE *f = fopen("/proc/meminfo", "r");
	char line[128];
	long kb = -1;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "Slab: %ld kB", &kb) == 1)
			break;
	if (f)
		fclose(f);
	return kb * 1024;
}

static void set_nth(struct quic_connection_info *ci, uint32_t n)
{
	uint8_t *end = ci->key.conn_id + sizeof(ci->key.conn_id);

	memcpy(end - sizeof(n), &n, sizeof(n));
	memcpy(ci->payload_key, &n, sizeof(n));
}

/* KASAN and kmemleak need memory, too */
static bool debugged(void)
{
	return getenv("KSFT_MACHINE_SLOW") ||
	       !access("/sys/kernel/debug/kmemleak", F_OK);
}

static int add_nth_by(int option, int fd, struct quic_connection_info *ci,
		      uint32_t n)
{
	set_nth(ci, n);
	return setsockopt(fd, SOL_UDP, option, ci, sizeof(*ci)) ? -errno : 0;
}

static int add_nth(int fd, struct quic_connection_info *ci, uint32_t n)
{
	return add_nth_by(UDP_QUIC_ADD_TX_CONNECTION, fd, ci, n);
}

static int del_nth(int fd, struct quic_connection_info *ci, uint32_t n)
{
	set_nth(ci, n);
	return setsockopt(fd, SOL_UDP, UDP_QUIC_DEL_TX_CONNECTION, &ci->key,
			  sizeof(ci->key)) ? -errno : 0;
}

/**
 * struct adder - a process that adds flows until that fails
 * @pid: itself
 * @uid: as whom, 0 for root
 * @unshare: namespaces of its own, CLONE_*
 * @cgroup: adds them as a member of CGROUP, and cannot be killed there
 * @option: by which it adds them
 * @ready: is about to begin
 * @go: may begin
 * @added: flows that it has
 * @err: what it was refused with, 0 if it has not tried yet
 */
struct adder {
	pid_t pid;
	uid_t uid;
	int unshare;
	bool cgroup;
	int option;
	atomic_bool ready;
	atomic_bool go;
	unsigned int added;
	atomic_int err;
};

static void nap(void)
{
	struct timespec ts = { .tv_nsec = 1000000 };

	nanosleep(&ts, NULL);
}

static int adder_prepare(struct adder *a)
{
	if (a->cgroup && (put(CGROUP "/cgroup.procs", getpid()) ||
			  put("/proc/self/oom_score_adj", -1000)))
		return -errno;
	if (a->uid && setresuid(a->uid, a->uid, a->uid))
		return -errno;
	if (a->unshare && unshare(a->unshare))
		return -errno;
	return 0;
}

static void adder_run(struct adder *a)
{
	struct quic_connection_info ci;
	int fd = sock_udp(AF_INET), err, i;
	struct flow f;

	flow_init(&f, TLS_CIPHER_AES_GCM_128, 8);
	flow_info(&f, &ci);
	ci.next_pkt_num = 0;	/* flows that receive have it */
	attach_ulp(fd);
	err = adder_prepare(a);
	/* Only now: becoming another user clears it */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* With namespaces of its own, it needs a socket there */
	if (!err && a->unshare) {
		close(fd);
		fd = sock_udp(AF_INET);
	}
	atomic_store(&a->ready, true);
	while (!atomic_load(&a->go))
		nap();
	while (!err) {
		/* Flows of a closed socket count until they are freed. */
		for (i = 0; i < ADD_TRIES; i++) {
			err = add_nth_by(a->option, fd, &ci, a->added);
			if (!err)
				break;
			nap();
		}
		if (!err)
			a->added++;
	}
	atomic_store(&a->err, err);
	while (true)
		pause();
}

static bool adder_wait_ready(struct adder *a)
{
	int ms;

	for (ms = 0; ms < TIMEOUT && !atomic_load(&a->ready); ms++)
		nap();
	return atomic_load(&a->ready);
}

/* Starts it; it waits before it adds anything */
static int adder_start(struct adder *a)
{
	pid_t pid = fork();

	if (pid < 0)
		return -errno;
	if (!pid)
		adder_run(a);
	a->pid = pid;
	return adder_wait_ready(a) ? 0 : -ETIMEDOUT;
}

/* Returns why it could add no more */
static int adder_go(struct adder *a)
{
	int ms;

	atomic_store(&a->go, true);
	for (ms = 0; ms < TIMEOUT && !atomic_load(&a->err); ms++)
		nap();
	return atomic_load(&a->err) ?: -ETIMEDOUT;
}

static void adder_stop(struct adder *a)
{
	if (a->pid <= 0)
		return;
	kill(a->pid, SIGKILL);
	waitpid(a->pid, NULL, 0);
	a->pid = 0;
}

static void adder_init(struct adder *a, uid_t uid, int flags)
{
	memset(a, 0, sizeof(*a));
	a->uid = uid;
	a->unshare = flags;
	a->option = UDP_QUIC_ADD_TX_CONNECTION;
}

/* How many flows the user gets; the adder keeps them */
static unsigned int adder_count(struct __test_metadata *_metadata,
				struct adder *a, uid_t uid, int flags,
				int want)
{
	adder_init(a, uid, flags);
	ASSERT_EQ(0, adder_start(a));
	ASSERT_EQ(want, adder_go(a));
	return a->added;
}

FIXTURE(limits)
{
	struct adder *a;	/* shared with the processes, ADDERS of them */
};

#define ADDERS	4

FIXTURE_SETUP(limits)
{
	if (missing)
		SKIP(return, "%s", missing);
	if (geteuid() || put("/proc/self/oom_score_adj", -1))
		SKIP(return, "needs root of the initial user namespace");
	put("/proc/self/oom_score_adj", 0);
	self->a = mmap(NULL, sizeof(*self->a) * ADDERS, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, (void *)self->a);
	ASSERT_EQ(0, netns_enter());
}

FIXTURE_TEARDOWN(limits)
{
	int i;

	if (!self->a)
		return;
	for (i = 0; i < ADDERS; i++)
		adder_stop(&self->a[i]);
}

/* What one user has is not missing to another, and comes back. */
TEST_F(limits, user)
{
	struct adder *a = self->a;

	ASSERT_EQ(0, put(USER_MAX, 8));
	ASSERT_EQ(8, adder_count(_metadata, &a[0], UID_A, 0, -EDQUOT));
	ASSERT_EQ(0, adder_count(_metadata, &a[1], UID_A, 0, -EDQUOT));
	ASSERT_EQ(8, adder_count(_metadata, &a[2], UID_B, 0, -EDQUOT));
	adder_stop(&a[0]);
	adder_stop(&a[1]);
	ASSERT_EQ(8, adder_count(_metadata, &a[0], UID_A, 0, -EDQUOT));
	/* root is a user like others */
	ASSERT_EQ(8, adder_count(_metadata, &a[1], 0, 0, -EDQUOT));
}

/* By default one user cannot take all that a namespace has. All users together
 * cannot have more.
 */
TEST_F(limits, netns)
{
	struct adder *a = self->a;

	ASSERT_LT(get(USER_MAX), get(NETNS_MAX));
	ASSERT_EQ(0, put(USER_MAX, 8));
	ASSERT_EQ(0, put(NETNS_MAX, 12));
	ASSERT_EQ(8, adder_count(_metadata, &a[0], UID_A, 0, -EDQUOT));
	ASSERT_EQ(4, adder_count(_metadata, &a[1], UID_B, 0, -ENOSPC));
	/* Other namespaces have flows of their own. */
	ASSERT_EQ(4, adder_count(_metadata, &a[2], UID_B,
				 CLONE_NEWUSER | CLONE_NEWNET, -EDQUOT));
}

/* A user has the same limit in all namespaces together. */
TEST_F(limits, userns)
{
	int flags = CLONE_NEWUSER | CLONE_NEWNET;
	struct adder *a = self->a;

	ASSERT_EQ(0, put(USER_MAX, 8));
	ASSERT_EQ(8, adder_count(_metadata, &a[0], UID_A, flags, -EDQUOT));
	ASSERT_EQ(0, adder_count(_metadata, &a[1], UID_A, flags, -EDQUOT));
	ASSERT_EQ(0, adder_count(_metadata, &a[2], UID_A, 0, -EDQUOT));
	ASSERT_EQ(8, adder_count(_metadata, &a[3], UID_B, flags, -EDQUOT));
}

/* Who is at the limit can replace a flow: ADD waits for what DEL has left. */
TEST_F_TIMEOUT(limits, replace, 120)
{
	struct quic_connection_info ci;
	int i, fd = sock_udp(AF_INET);
	struct flow f;

	flow_init(&f, TLS_CIPHER_AES_GCM_128, 8);
	flow_info(&f, &ci);
	ASSERT_EQ(0, put(USER_MAX, 1));
	for (i = 0; i < 50; i++) {
		ASSERT_EQ(0, add_nth(fd, &ci, i)) TH_LOG("user: %d", i);
		ASSERT_EQ(-EDQUOT, add_nth(fd, &ci, i + 1));
		ASSERT_EQ(0, del_nth(fd, &ci, i)) TH_LOG("user: %d", i);
		if (i % 10 == 9) {
			close(fd);
			fd = sock_udp(AF_INET);
		}
	}
	ASSERT_EQ(0, put(USER_MAX, 100));
	ASSERT_EQ(0, put(NETNS_MAX, 1));
	for (i = 0; i < 10; i++) {
		ASSERT_EQ(0, add_nth(fd, &ci, i)) TH_LOG("namespace: %d", i);
		ASSERT_EQ(-ENOSPC, add_nth(fd, &ci, i + 1));
		close(fd);
		fd = sock_udp(AF_INET);
	}
	close(fd);
}

static int cgroup_make(void)
{
	int fd = open(CGROUPS "/cgroup.subtree_control", O_WRONLY);

	if (fd >= 0 && write(fd, "+memory", 7) < 0)
		fd = -1;
	close(fd);
	rmdir(CGROUP);
	if (mkdir(CGROUP, 0755))
		return -errno;
	if (get(CGROUP "/memory.current") < 0 ||
	    put(CGROUP "/memory.max", CGROUP_MAX)) {
		rmdir(CGROUP);
		return -ENOENT;
	}
	return 0;
}

static int rmdir_soon(const char *path)
{
	int ms;

	for (ms = 0; ms < TIMEOUT && rmdir(path); ms++) {
		if (errno != EBUSY)
			return -errno;
		nap();
	}
	return 0;
}

/* A flow that comes and goes */
static int churn_flow(int fd, struct quic_connection_info *ci, uint32_t n)
{
	return add_nth(fd, ci, n) ?: del_nth(fd, ci, n);
}

/* A key update, and then the generation before goes */
static int churn_gen(int fd, struct quic_connection_info *ci, uint32_t n)
{
	struct quic_connection_info old = *ci;

	ci->conn_payload_key_gen++;
	memcpy(ci->payload_key, &n, sizeof(n));
	if (setsockopt(fd, SOL_UDP, UDP_QUIC_ADD_TX_CONNECTION, ci,
		       sizeof(*ci))) {
		ci->conn_payload_key_gen--;
		return -errno;
	}
	old.key.flags = QUIC_CONN_GENERATION;
	return setsockopt(fd, SOL_UDP, UDP_QUIC_DEL_TX_CONNECTION, &old,
			  sizeof(old)) ? -errno : 0;
}

static void churn_run(struct __test_metadata *_metadata, int fd,
		      int (*step)(int fd, struct quic_connection_info *ci,
				  uint32_t n))
{
	time_t end = seconds() + CHURN_TIME;
	struct quic_connection_info ci;
	struct flow f;
	int err, ms;
	uint32_t n;

	flow_init(&f, TLS_CIPHER_AES_GCM_128, 8);
	flow_info(&f, &ci);
	if (step == churn_gen)
		ASSERT_EQ(0, add_nth(fd, &ci, 0));
	for (n = 1; n <= CHURN_MIN || (n <= 50000 && seconds() < end); n++) {
		/* The memory is free some time after a flow or key has gone. */
		for (ms = 0; ms < 5000; ms++) {
			err = step(fd, &ci, n);
			if (err != -ENOMEM)
				break;
			nap();
		}
		ASSERT_EQ(0, err)
			TH_LOG("%u: %s", n, strerror(-err));
		if (n % 256 == 0)
			usleep(10000);
	}
	TH_LOG("%u times, at most %ld bytes are charged", n - 1,
	       get(CGROUP "/memory.peak"));
}

/* What comes and goes leaves no charge behind: little memory is enough. */
TEST_F_TIMEOUT(limits, churn, 120)
{
	int fd, ms, err = cgroup_make();
	long charged;

	if (err)
		SKIP(return, "no memory cgroup of our own: %s", strerror(-err));
	ASSERT_EQ(0, put(CGROUP "/memory.max", CHURN_MAX));
	/* Nobody can be killed there: what finds no memory fails. */
	ASSERT_EQ(0, put("/proc/self/oom_score_adj", -1000));
	ASSERT_EQ(0, put(CGROUP "/cgroup.procs", getpid()));
	charged = get(CGROUP "/memory.current");
	fd = sock_udp(AF_INET);
	churn_run(_metadata, fd, churn_flow);
	churn_run(_metadata, fd, churn_gen);
	close(fd);
	charged += CHURN_LEFT;
	for (ms = 0; ms < 5000 && get(CGROUP "/memory.current") > charged; ms++)
		nap();
	TH_LOG("%ld bytes stay charged", get(CGROUP "/memory.current"));
	EXPECT_LT(get(CGROUP "/memory.current"), charged);
	EXPECT_EQ(0, put(CGROUPS "/cgroup.procs", getpid()));
	EXPECT_EQ(0, rmdir_soon(CGROUP));
}

/* Flows until there is no memory: all of it is charged to who adds them, the
 * contexts of ciphers included.
 */
static void memory_run(struct __test_metadata *_metadata, struct adder *a,
		       int option)
{
	long charged, grown, printk = get(PRINTK);
	int err;

	ASSERT_EQ(0, put(USER_MAX, INT_MAX));
	adder_init(a, 0, 0);
	a->cgroup = true;
	a->option = option;
	ASSERT_EQ(0, adder_start(a));
	charged = get(CGROUP "/memory.current");
	grown = slab();

	/* The kernel reports at length that there is nobody to be killed */
	put(PRINTK, 1);
	err = adder_go(a);
	put(PRINTK, printk);
	EXPECT_EQ(-ENOMEM, err);
	charged = get(CGROUP "/memory.current") - charged;
	grown = slab() - grown;
	TH_LOG("%u flows, %ld bytes each are charged, slabs grew by %ld each",
	       a->added, charged / (a->added ?: 1), grown / (a->added ?: 1));
	EXPECT_LT(CGROUP_MAX / 2, charged);
	EXPECT_LT(charged * 9 / 10, grown);
	/* Debugging has a part of its own of every object. */
	if (!debugged())
		EXPECT_GT(charged * 11 / 10, grown);
	adder_stop(a);
	EXPECT_EQ(0, rmdir_soon(CGROUP));
}

TEST_F_TIMEOUT(limits, memory, 300)
{
	int err = cgroup_make();

	if (err)
		SKIP(return, "no memory cgroup of our own: %s", strerror(-err));
	memory_run(_metadata, self->a, UDP_QUIC_ADD_TX_CONNECTION);
}

TEST_F_TIMEOUT(limits, memory_rx, 300)
{
	int err = cgroup_make();

	if (err)
		SKIP(return, "no memory cgroup of our own: %s", strerror(-err));
	memory_run(_metadata, self->a, UDP_QUIC_ADD_RX_CONNECTION);
}

/**
 * struct visitor - a process in namespaces that it has created
 * @max_flows: limit that it finds there
 * @seal_limit: limit that it finds there
 * @write_flows: what came of changing the limit
 * @write_seal: what came of changing this one
 * @done: has tried all that
 */
struct visitor {
	long max_flows, seal_limit;
	int write_flows, write_seal;
	atomic_bool done;
};

static void visitor_run(struct visitor *v, int flags)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (!unshare(flags)) {
		v->max_flows = get(NETNS_MAX);
		v->seal_limit = get(SEAL_MAX);
		v->write_flows = put(NETNS_MAX, 1000);
		v->write_seal = put(SEAL_MAX, 1000);
	}
	atomic_store(&v->done, true);
	while (true)
		pause();
}

static pid_t visitor_start(struct visitor *v, int flags)
{
	pid_t pid = fork();
	int ms;

	if (!pid)
		visitor_run(v, flags);
	for (ms = 0; ms < TIMEOUT && !atomic_load(&v->done); ms++)
		nap();
	return pid;
}

/* New namespaces have the limits of the one they come from. Only the host's
 * administrator can change those by number, in any namespace.
 */
TEST_F(limits, inherit)
{
	struct visitor *v = (void *)self->a;
	char path[64];
	pid_t pid;
	int fd;

	ASSERT_EQ(0, put(NETNS_MAX, 3));
	ASSERT_EQ(0, put(SEAL_MAX, 5));
	pid = visitor_start(v, CLONE_NEWUSER | CLONE_NEWNET);
	ASSERT_LT(0, pid);
	EXPECT_EQ(3, v->max_flows);
	EXPECT_EQ(5, v->seal_limit);
	EXPECT_EQ(-EPERM, v->write_flows);
	EXPECT_EQ(0, v->write_seal);

	snprintf(path, sizeof(path), "/proc/%d/ns/net", pid);
	fd = open(path, O_RDONLY);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, setns(fd, CLONE_NEWNET));
	close(fd);
	EXPECT_EQ(3, get(NETNS_MAX));
	EXPECT_EQ(1000, get(SEAL_MAX));
	EXPECT_EQ(0, put(NETNS_MAX, 100000));
	EXPECT_EQ(0, put(SEAL_MAX, 7));
	EXPECT_EQ(100000, get(NETNS_MAX));
	EXPECT_EQ(7, get(SEAL_MAX));
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);

	/* Not those of the initial namespace */
	memset(v, 0, sizeof(*v));
	pid = visitor_start(v, CLONE_NEWNET);
	ASSERT_LT(0, pid);
	EXPECT_EQ(100000, v->max_flows);
	EXPECT_EQ(7, v->seal_limit);
	EXPECT_EQ(0, v->write_flows);
	EXPECT_EQ(0, v->write_seal);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	memset(v, 0, sizeof(*v));
}

/* Every limit is inherited. Those of reception and devices may be missing. */
TEST_F(limits, inherit_all)
{
	static const char * const names[] = {
		"max_flows", "max_user_flows", "seal_limit", "open_limit",
		"max_device_keys", "max_user_device_keys",
	};
	char path[ARRAY_SIZE(names)][64];
	unsigned int i, n = 0;

	for (i = 0; i < ARRAY_SIZE(names); i++) {
		snprintf(path[i], sizeof(path[i]),
			 "/proc/sys/net/quic_crypto/%s", names[i]);
		n += !put(path[i], 100 + i);
	}
	ASSERT_LE(3, n);
	ASSERT_EQ(0, unshare(CLONE_NEWNET));
	for (i = 0; i < ARRAY_SIZE(names); i++) {
		if (!access(path[i], F_OK))
			EXPECT_EQ(100 + i, get(path[i]));
	}
}

int main(int argc, char **argv)
{
	missing = quic_missing();
	return test_harness_run(argc, argv);
}
