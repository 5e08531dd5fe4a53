# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Shared by what boots the x86-64 kernel.
# shellcheck disable=SC2034 # for who sources this

# apart from its build directory: virtme-ng would look for modules there
bzimage=$BUILD/bzImage

# /dev/kvm may open and still not run a kernel: ask one to boot until it
# misses its root
kvm_works()
{
	[ -w /dev/kvm ] || return 1
	timeout 15 qemu-system-x86_64 -enable-kvm -cpu host -m 512 -nographic \
		-no-reboot -nodefaults -serial stdio -kernel "$bzimage" \
		-append "console=ttyS0 panic=-1 root=/dev/none" </dev/null \
		2>&1 | tee "$LOG/kvm-probe.log" | grep -q 'Kernel panic'
}

probe_kvm()
{
	local id state=$BUILD/kvm.state
	id=$(cat /proc/sys/kernel/random/boot_id)
	if [ "$(cut -d' ' -f1 "$state" 2>/dev/null)" != "$id" ]; then
		if kvm_works; then
			echo "$id kvm" >"$state"
		else
			echo "$id tcg" >"$state"
		fi
	fi
	if [ "$(cut -d' ' -f2 "$state")" = kvm ]; then
		qemu_kvm=1 qemu_accel=(-enable-kvm -cpu host)
	else
		# KVM's absence is no secret: everything takes 20 times longer
		qemu_kvm=0 qemu_accel=(-accel "tcg,thread=multi" -cpu max)
		say "no usable KVM (see $LOG/kvm-probe.log): emulating"
	fi
}

# tools/net/quic with the headers of our kernel, compiled in the guest root
tools()
{
	local src=/usr/src/quic
	as_root mkdir -p "$BUILD/root$src/include/linux"
	as_root rsync -rpt "$TOP/tools/net/quic/" "$BUILD/root$src/"
	as_root rsync -t "$BUILD"/headers/include/linux/{quic,udp}.h \
		"$BUILD/root$src/include/linux/"
	as_root chroot "$BUILD/root" make -C "$src"
}

# kernel modules and our tools go into the guest root
provision_root()
{
	need "running kernels" qemu-system-x86 python3-requests
	"$TOP/scripts/kernel.sh" x86
	"$TOP/scripts/root.sh"
	as_root mkdir -p "$BUILD/root/lib/modules"
	as_root rsync -a --delete --exclude=build --exclude=source \
		"$BUILD/x86/mod/lib/modules/" "$BUILD/root/lib/modules/"
	cp "$BUILD/x86/arch/x86/boot/bzImage" "$bzimage"
	as_root install -m 755 "$TOP/scripts/guest-tests.sh" \
		"$BUILD/root/usr/local/bin/"
	# minimal roots have none
	printf '%s\n' '#!/usr/bin/python3' 'import ctypes, os' 'os.sync()' \
		'ctypes.CDLL(None).reboot(0x4321fedc)' |
		as_root tee "$BUILD/root/usr/local/bin/poweroff" >/dev/null
	as_root chmod 755 "$BUILD/root/usr/local/bin/poweroff"
	install_headers
	step tools "building tools/net/quic in the guest root" tools
}
