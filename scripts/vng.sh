#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Boot the x86-64 kernel in the guest root by virtme-ng, for what User Mode Linux
# cannot show: modules that come and go under load, interrupts, preemption, and
# BPF programs that trace. Results in $OUT/results/vng-*.tap. TEST= as for
# quick.sh.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/guest.sh"

guest_mem=2G guest_limit=2400
rm -f "$RES"/vng*.tap

# not a part of the root for all targets: it comes with a compiler
provision_bpftrace()
{
	[ ! -e "$root/usr/bin/bpftrace" ] || return 0
	as_root chroot "$root" apt-get update -q
	as_root chroot "$root" apt-get install -qy --no-install-recommends \
		bpftrace
}

provision_root
provision_vng
"$TOP/scripts/selftests.sh"
step bpftrace "bpftrace in the guest root" provision_bpftrace
probe_kvm

slow=
if [ "$qemu_kvm" != 1 ]; then
	slow="KSFT_MACHINE_SLOW=yes "
	guest_limit=9000
fi

list()
{
	echo "60 two-cpus test \"\$(nproc)\" = 2"
	# virtme-ng hides the modules of the root
	echo "60 module-load mount --bind /mnt/modules /lib/modules &&" \
		"modprobe quic_crypto"
	if [ -n "${TEST:-}" ]; then
		one_test "$TEST"
		return
	fi
	grep ' net:' "$OUT/selftests/list"
	cat <<-END
	2400 ops:bpftrace /usr/src/quic/ops/test_bpftrace.sh /mnt/selftests
	600 drivers/net:quic ${slow}../drivers/net/quic.py -t 'wire.4*'
	1200 drivers/net:quic_events ${slow}../drivers/net/quic_events.py -t threads -t 'unregister_load*' -t down_up -t 'module_unload*'
	END
	echo "60 module-unload rmmod quic_crypto &&" \
		"! grep quic_crypto /proc/modules && modprobe quic_crypto &&" \
		"rmmod quic_crypto"
}

list | guest_tests vng
guest_run vng vng
conclude vng vng
