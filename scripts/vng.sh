#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Boot the x86-64 kernel in the guest root by virtme-ng: our kselftests on two
# CPUs, module load and unload. Results in build/results/vng-*.tap.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/vm.sh"

root=$BUILD/root
tests=/usr/src/selftests/tools/testing/selftests/net
kernlog=$LOG/x86-kernel.log
rm -f "$RES"/vng*.tap

provision_root
provision_kernel
"$TOP/scripts/selftests.sh" "$BUILD/x86/selftests" "$root"

probe_kvm
# Emulated, all device tests take too long. These are what User Mode Linux, with
# its one CPU and no modules, cannot say.
device_tests="wire_v4 threads unregister_load down_up module_unload"
[ "$qemu_kvm" = 0 ] || device_tests=
slow=${device_tests:+KSFT_MACHINE_SLOW=yes }
# virtme-ng hides the modules of the root
modules=/usr/src/selftests/modules
as_root mkdir -p "$root$modules"
as_root rsync -a --delete --exclude=build --exclude=source \
	"$BUILD/x86/mod/lib/modules/" "$root$modules/"
{
	echo "60 two-cpus test \"\$(nproc)\" = 2"
	echo "60 module-load mount --bind $modules /lib/modules &&" \
		"modprobe quic_crypto"
	sed "/quic\.sh/{s|\.\./|$slow../|; s/\$/${device_tests:+ $device_tests}/}" \
		"$BUILD/x86/selftests/net/list"
	# an emulated machine is too slow for the time limits of udpgro.sh
	[ "$qemu_kvm" = 0 ] || udp_tests
	echo "60 module-unload rmmod quic_crypto &&" \
		"! grep quic_crypto /proc/modules && modprobe quic_crypto &&" \
		"rmmod quic_crypto"
} | as_root tee "$root$tests/list" >/dev/null

# its own python modules, and the interpreter of the distribution; the tables by
# which kernels without ACPI find CPUs have one for each socket
boot()
{
	local opts=()
	[ "$qemu_kvm" = 1 ] || opts=(--disable-kvm -o=-cpu -o=max)
	PATH=$BUILD/vng/usr/bin:$PATH \
	PYTHONPATH=$BUILD/vng/usr/lib/python3/dist-packages \
	timeout --foreground -k 10 "${VNG_LIMIT:-2400}" /usr/bin/python3 \
		"$BUILD/vng/usr/bin/vng" --run "$bzimage" --root "$root" \
		--user root --force-9p --disable-microvm --cpus 2,sockets=2 \
		--memory 3G --verbose "${opts[@]}" -a panic=-1 -a mitigations=off -a reboot=t \
		-a "rootflags=version=9p2000.L,trans=virtio,access=any,cache=loose,msize=512000" \
		--exec "guest-tests.sh $tests; echo '# guest ends'" \
		</dev/null 2>"$kernlog" | tee "$RES/vng-tests.tap"
}

say "booting x86-64 under virtme-ng (kernel log: $kernlog)"
start=$SECONDS
boot || true
say "the guest ran for $((SECONDS - start))s"
conclude vng "$kernlog"
