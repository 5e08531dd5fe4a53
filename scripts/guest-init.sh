#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# usage: guest-init.sh [NAME]
#
# The init of all guests; virtme-ng's own init runs it as a command. It runs the
# job of the guest NAME, which guest_job() in guest.sh has written, says how that
# ended, and turns the machine off. Kernel arguments that it knows:
#   guest_name=NAME
#   guest_host=DIRECTORY  this directory of the host is /mnt (User Mode Linux)
#   guest_out=DEVICE      where the output goes

export PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/mnt/guest
export HOME=/tmp TERM=dumb
debug=/sys/kernel/debug
if [ $$ = 1 ]; then
	mount -t proc proc /proc
	mount -t sysfs sysfs /sys
	mount -t devtmpfs dev /dev
	# The option depends on the system call that mount makes. The kernel leaks
	# the path if mount(2) fails, so begin with the form for mount(2).
	[ -z "$guest_host" ] ||
		mount -t hostfs -o "$guest_host" none /mnt 2>/dev/null ||
		mount -t hostfs -o "hostfs=$guest_host" none /mnt
	mount -t tmpfs tmpfs /run
	mount -t tmpfs tmpfs /tmp
	mount -t cgroup2 cgroup /sys/fs/cgroup 2>/dev/null
	[ -z "$guest_out" ] || exec >"$guest_out" 2>&1
fi
grep -q " $debug " /proc/mounts || mount -t debugfs debugfs $debug
[ -e /dev/fd ] || ln -s /proc/self/fd /dev/fd
ip link set lo up

# As init, $1 may be an option that the kernel did not know, as nokaslr on 7.3,
# so guest_name comes first
"/mnt/guest/${guest_name:-$1}/job"
echo "# guest ends with status $?"
[ $$ = 1 ] || exit

# QEMU is told to take a restart for the end. User Mode Linux has no magic SysRq
# key, and not every root has a poweroff that works without another init.
if [ -w /proc/sysrq-trigger ]; then
	echo b >/proc/sysrq-trigger
else
	exec python3 -c 'import ctypes; ctypes.CDLL(None).reboot(0x4321fedc)'
fi
