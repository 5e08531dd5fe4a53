#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Boot the x86-64 kernel with the guest root as its disk, and run
# lib/demo-guest.sh there. DEMO_MB and the like reach it, and DEV as
# DEMO_DEV.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/vm.sh"

export DEMO_DEV=${DEV:-${DEMO_DEV:-}}
case $DEMO_DEV in
""|netdevsim) ;;
*) die "DEV=$DEMO_DEV: only netdevsim is known" ;;
esac
image=$BUILD/root.ext2
kernlog=$LOG/demo-kernel.log
out=$BUILD/results/demo.tap

disk()
{
	local size
	size=$(as_root du -sm "$BUILD/root" | cut -f1)
	as_root rm -f "$image"
	as_root mke2fs -q -t ext2 -m 0 -d "$BUILD/root" \
		"$image" $((size * 5 / 4 + 300))M
	as_root chown "$(id -u)" "$image"
}

provision_root
provision_kernel
need "the disk of the guest" e2fsprogs
as_root tee "$BUILD/root/usr/local/bin/demo-init" >/dev/null <<'END'
#!/bin/sh
export PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs tmpfs /tmp
mount -t tmpfs tmpfs /run
exec >/dev/hvc0 2>&1 </dev/null
/usr/src/quic/demo-guest.sh
echo "# guest ends with status $?"
exec poweroff
END
as_root chmod 755 "$BUILD/root/usr/local/bin/demo-init"
step disk "making the guest's disk" disk
probe_kvm
# Python is the slowest of all where the machine is emulated
[ "$qemu_kvm" = 1 ] || export DEMO_PY_MB="${DEMO_PY_MB:-2}"

boot()
{
	local env
	mapfile -t env < <(env | grep '^DEMO_[A-Z_]*=[^ ]*$')
	timeout --foreground -k 10 "${DEMO_LIMIT:-1800}" qemu-system-x86_64 \
		"${qemu_accel[@]}" -smp 2,sockets=2 -m 2G -nodefaults -no-reboot \
		-display none -kernel "$bzimage" \
		-append "console=ttyS0 root=/dev/vda rw panic=-1 mitigations=off reboot=t \
init=/usr/local/bin/demo-init ${env[*]}" \
		-drive "file=$image,if=virtio,format=raw,snapshot=on" \
		-serial "file:$kernlog" -device virtio-serial \
		-chardev stdio,id=out,signal=off \
		-device virtconsole,chardev=out \
		</dev/null 2>"$LOG/demo-qemu.log" |
		sed -u 's/\r$//' | tee "$out"
}

say "booting the demo (kernel log: $kernlog)"
start=$SECONDS
boot || true
say "the guest ran for $((SECONDS - start))s"
results kernel "$kernlog" >"$out.kernel" ||
	{ cat "$out.kernel"; die "the kernel complained, see $kernlog"; }
grep -q '^# guest ends with status 0$' "$out" ||
	die "the demo failed; see $out, $kernlog and $LOG/demo-qemu.log"
