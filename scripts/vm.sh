# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Shared by what boots kernels.
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
		>"$LOG/kvm-probe.log" 2>&1 || true
	grep -q 'Kernel panic' "$LOG/kvm-probe.log"
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

# lib with the headers of our kernel, compiled in the guest root
tools()
{
	local src=/usr/src/quic
	as_root mkdir -p "$BUILD/root$src/include/linux"
	as_root rsync -rpt "$TOP/lib/" "$BUILD/root$src/"
	as_root rsync -t "$BUILD"/headers/include/linux/{quic,udp}.h \
		"$BUILD/root$src/include/linux/"
	as_root chroot "$BUILD/root" make -C "$src"
}

# the guest root with our tools
provision_root()
{
	local bin=$BUILD/root/usr/local/bin
	"$TOP/scripts/tree.sh"
	"$TOP/scripts/root.sh"
	install_headers
	as_root install -m 755 "$TOP"/scripts/guest-{tests,udpgro}.sh "$bin/"
	# minimal roots have none, and our kernel has no ACPI to turn it off:
	# the machine monitor takes a restart for the end
	printf '%s\n' '#!/usr/bin/python3' 'import ctypes, os' 'os.sync()' \
		'c = ctypes.CDLL(None)' \
		'c.reboot(0x1234567 if os.path.exists("/sys/bus/pci")' \
		'         else 0x4321fedc)' |
		as_root tee "$bin/poweroff" >/dev/null
	as_root chmod 755 "$bin/poweroff"
	step tools "building lib in the guest root" tools
}

# lines for guest-tests.sh: the kernel's own UDP tests in the guest root, as
# they are and with the ULP attached to all their sockets
udp_tests()
{
	local dir=/usr/src/selftests/tools/testing/selftests/net with pre fam how
	for with in "" -with-the-ULP; do
		pre="cd $dir && ${with:+LD_PRELOAD=\$PWD/quic_attach.so }"
		echo "300 net:udpgso.sh$with $pre./udpgso.sh"
		echo "900 net:udpgro.sh$with ${pre}guest-udpgro.sh"
		for fam in "-4 -D 127.0.0.1" "-6 -D ::1"; do
			for how in "" "-S 0" "-S 0 -T -a"; do
				echo "60 udpgso_bench:${fam%% *}${how// /_}$with" \
					"$pre./udpgso_bench.sh -l 1 $fam $how"
			done
		done
	done
}

# the x86-64 kernel, its modules in the guest root
provision_kernel()
{
	need "running kernels" qemu-system-x86 python3-requests
	"$TOP/scripts/kernel.sh" x86
	cp "$BUILD/x86/arch/x86/boot/bzImage" "$bzimage"
	as_root mkdir -p "$BUILD/root/lib/modules"
	as_root rsync -a --delete --exclude=build --exclude=source \
		"$BUILD/x86/mod/lib/modules/" "$BUILD/root/lib/modules/"
}

# boot_uml STAGE ROOT INIT ARGUMENT...: with ROOT read-only; what the guest
# writes to /dev/tty1 comes out, and goes into the results
boot_uml()
{
	local stage=$1 root=$2 init=$3
	shift 3
	# its memory is a file; containers have a /dev/shm of 64 MB
	if [ "$(df -m --output=avail /dev/shm 2>/dev/null | tail -n 1)" \
			-lt 1100 ] 2>/dev/null; then
		export TMPDIR=$BUILD
	fi
	timeout --foreground -k 5 "${UML_LIMIT:-3600}" "$BUILD/uml/linux" mem=1G \
		rootfstype=hostfs rootflags="$root" ro init="$init" panic=-1 \
		con=null con0=null,fd:3 con1=null,fd:1 ssl=null "$@" \
		</dev/null 2>"$LOG/$stage-uml.log" \
		3>"$LOG/$stage-kernel.log" | tee "$RES/$stage-tests.tap" || true
}
