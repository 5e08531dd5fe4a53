# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# The runner of all guests: what they run is a job, a shell script; guest-init.sh
# runs it in the guest. For each guest NAME there are
#	$OUT/guest/NAME/job		the job
#	$OUT/guest/NAME/args		arguments for its kernel, one a line
#	$OUT/guest/NAME/out		what the job said
#	$LOG/NAME-kernel.log	what the kernel said
#	$LOG/NAME-vm.log		what QEMU or User Mode Linux said
# In the guest, /mnt/guest/NAME/job is the job. Under User Mode Linux, all of
# $OUT is at /mnt.
# shellcheck disable=SC2034 # for the scripts that source this

# What guests are made of, for callers to change
guest_kernel=uml	# directory in $OUT
guest_root=/		# the root, read-only but for virtme-ng
guest_mem=1G
guest_cpus=2		# where the kernel is SMP
guest_limit=3600	# seconds; GUEST_LIMIT in the environment overrides it
guest_machine=()	# what QEMU is to emulate
guest_initrd=		# for QEMU

root=$BUILD/root			# Debian 13
guest_bin=/usr/local/bin	# where it has our scripts

# guest_job NAME [KERNEL-ARGUMENT...]: the job is on standard input
guest_job()
{
	local dir=$OUT/guest/$1

	rm -rf "$dir"
	mkdir -p "$dir"
	printf '%s' "${@/%/$'\n'}" | sed 1d >"$dir/args"
	{ echo '#!/bin/sh'; cat; } >"$dir/job"
	chmod 755 "$dir/job"
}

# guest_tests NAME [KERNEL-ARGUMENT...]: a job that runs a list of tests, which is
# on standard input, see guest-tests.sh
guest_tests()
{
	local name=$1

	guest_job "$@" <<-END
	$([ "${KASAN:-}" != 1 ] || echo "export KSFT_MACHINE_SLOW=yes")
	export CANARY=/mnt/$guest_kernel/samples/kmemleak/kmemleak-test.ko
	exec guest-tests.sh /mnt/selftests/net /mnt/guest/$name/list
	END
	cat >"$OUT/guest/$name/list"
}

# one_test TEST: the line of the list for TEST=, see quick.sh
one_test()
{
	local list=$OUT/selftests/list name=${1%%:*} limit program

	[[ $name == */* ]] || name=net/$name
	name=${name%/*}:${name##*/}
	read -r limit program < <(awk -v n="$name" \
		'$2 == n { $2 = ""; print }' "$list") ||
		die "TEST=$1: there are only" \
			"$(awk '{ sub(/^net:/, "", $2); sub(/:/, "/", $2)
				print $2 }' "$list" | paste -sd ' ')"
	[[ $1 != *:* ]] || program+=" -t '${1#*:}'"
	echo "$limit $1 $program"
}

# DEBUG=1: the kernel with debug information
guest_debug()
{
	[ "${DEBUG:-}" != 1 ] || guest_kernel+=-debug
	[ "${KASAN:-}" != 1 ] || guest_kernel+=-kasan
	[ "${SMP:-}" != 1 ] || guest_kernel+=-smp
}

# guest_run KIND NAME...: boot guests, as many at a time as there are CPUs
#	uml	User Mode Linux
#	vng	x86-64 under virtme-ng
#	icount	x86-64 under QEMU, which counts instructions
guest_run()
{
	local kind=$1 name start=$SECONDS prefix=''
	shift

	say "booting $* (kernel: $LOG/$1-kernel.log)"
	# what runs in the background does not get it from the terminal
	trap 'trap - INT; kill 0' INT
	for name; do
		[ $# = 1 ] || prefix="$name: "
		while [ "$(jobs -rp | wc -l)" -ge "$JOBS" ]; do
			wait -n || true
		done
		: >"$LOG/$name-kernel.log"
		"guest_$kind" "$name" </dev/null 2>"$LOG/$name-vm.log" |
			sed -u 's/\r$//' | tee "$OUT/guest/$name/out" |
			sed -u "s/^/$prefix/" || true &
	done
	wait
	took $((SECONDS - start)) "in the guest${2:+s} $*"
}

guest_timeout()
{
	timeout --foreground -k 10 "${GUEST_LIMIT:-$guest_limit}" "$@"
}

# with standard input for the job if guest_in=fd:0
guest_uml()
{
	local name=$1 init=$TOP/scripts/guest-init.sh args smp=()

	[ "$guest_root" = / ] || init=$guest_bin/guest-init.sh
	mapfile -t args <"$OUT/guest/$name/args"
	# system calls cost less by seccomp than by ptrace
	# shellcheck disable=SC2154 # base_oldest: from base.sh
	[ "$BASE" = "$base_oldest" ] || smp=(seccomp=on)
	! grep -q '^CONFIG_SMP=y' "$OUT/$guest_kernel/.config" ||
		smp+=(ncpus="$guest_cpus")
	# its memory is a file; containers have a /dev/shm of 64 MB
	if [ "$(df -m --output=avail /dev/shm 2>/dev/null | tail -n 1)" \
			-lt 6000 ] 2>/dev/null; then
		export TMPDIR=$OUT
	fi
	guest_timeout "$OUT/$guest_kernel/linux" mem="$guest_mem" \
		"${smp[@]}" rootfstype=hostfs rootflags="$guest_root" ro \
		init="$init" panic=-1 con=null con0=null,fd:3 \
		con1="${guest_in:-null}",fd:1 ssl=null guest_name="$name" \
		guest_host="$OUT" guest_out=/dev/tty1 "${args[@]}" \
		3>"$LOG/$name-kernel.log"
}

# Its own python modules, and the interpreter of the distribution; the tables by
# which kernels without ACPI find CPUs have one for each socket
guest_vng()
{
	local name=$1 args opts=()

	mapfile -t args < <(sed '/./s/^/--append=/' \
		"$OUT/guest/$name/args")
	[ "$qemu_kvm" = 1 ] || opts=(--disable-kvm -o=-cpu -o=max)
	as_root mkdir -p "$root/mnt/guest"
	as_root rsync -rpt --delete "$OUT/guest/$name" "$root/mnt/guest/"
	as_root rsync -rpt --delete "$OUT/selftests" "$root/mnt/"
	as_root rsync -rpt --delete --exclude=build --exclude=source \
		"$OUT/$guest_kernel/mod/lib/modules" "$root/mnt/"
	PATH=$BUILD/virtme-ng/usr/bin:$PATH \
	PYTHONPATH=$BUILD/virtme-ng/usr/lib/python3/dist-packages \
	guest_timeout /usr/bin/python3 "$BUILD/virtme-ng/usr/bin/vng" \
		--run "$bzimage" --root "$root" --user root --force-9p \
		--disable-microvm --memory "$guest_mem" \
		--cpus "$guest_cpus,sockets=$guest_cpus" \
		--verbose "${opts[@]}" -a panic=-1 -a mitigations=off \
		-a reboot=t "${args[@]}" \
		-a "rootflags=version=9p2000.L,trans=virtio,access=any,cache=loose,msize=512000" \
		--exec "guest-init.sh $name" 2>"$LOG/$name-kernel.log"
}

guest_icount()
{
	local name=$1 args

	mapfile -t args <"$OUT/guest/$name/args"
	guest_timeout qemu-system-x86_64 "${guest_machine[@]}" -m "$guest_mem" \
		-nodefaults -no-reboot -display none \
		-kernel "$OUT/$guest_kernel/arch/x86/boot/bzImage" \
		-initrd "$guest_initrd" -append "console=ttyS0 panic=-1 \
reboot=t guest_name=$name guest_out=/dev/ttyS1 ${args[*]}" \
		-serial "file:$LOG/$name-kernel.log" \
		-chardev stdio,id=out,signal=off -serial chardev:out
}

# guest_ended NAME: did its job come to its end?
guest_ended()
{
	grep -q '^# guest ends' "$OUT/guest/$1/out"
}

# conclude STAGE NAME...: results of guests that have run, in build/results
conclude()
{
	local stage=$1 name log tap
	shift

	for name; do
		log=$LOG/$name-kernel.log tap=$RES/$name-tests.tap
		cp "$OUT/guest/$name/out" "$tap"
		if ! guest_ended "$name" || ! grep -q '^KTAP version' "$tap"
		then
			echo "not ok 1 $name ran, see $log" | tee -a "$tap"
		fi
		results kernel "$log" | tee "$RES/$name-kernel.tap" ||
			decode "$log"
	done
	results stage "$stage"
}

# decode KERNEL-LOG: with source lines, where the kernel has debug information
decode()
{
	local vmlinux=$OUT/$guest_kernel/vmlinux

	if [ "${DEBUG:-}" != 1 ]; then
		say "DEBUG=1 builds with debug information and decodes traces"
		return
	fi
	(cd "$TREE" && scripts/decode_stacktrace.sh "$vmlinux" auto \
		"$OUT/$guest_kernel") <"$1" >"${1%.log}-decoded.log" \
		2>"$LOG/decode.log" || true
	results kernel "${1%.log}-decoded.log" || true
}
# apart from its build directory: virtme-ng would look for modules there
bzimage=$OUT/bzImage

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
	as_root mkdir -p "$root$src/include/linux"
	as_root rsync -rpt --exclude=/quinn-quic-kernel/target "$TOP/lib/" \
		"$root$src/"
	as_root rsync -t "$OUT"/headers/include/linux/{quic,udp}.h \
		"$root$src/include/linux/"
	as_root chroot "$root" make -C "$src"
}

# the guest root with our tools
provision_root()
{
	"$TOP/scripts/tree.sh"
	"$TOP/scripts/root.sh"
	install_headers
	as_root install -m 755 "$TOP"/scripts/guest-{init,tests,udpgro}.sh \
		"$root$guest_bin/"
	# virtme-ng's init calls it; see guest-init.sh
	printf '%s\n' '#!/bin/sh' 'echo b >/proc/sysrq-trigger' |
		as_root tee "$root$guest_bin/poweroff" >/dev/null
	as_root chmod 755 "$root$guest_bin/poweroff"
	step tools "building lib in the guest root" tools
	guest_root=$root
}

# the x86-64 kernel, for virtme-ng
provision_vng()
{
	need "running kernels" qemu-system-x86 python3-requests
	"$TOP/scripts/kernel.sh" vng
	guest_kernel=vng
	guest_debug
	cp "$OUT/$guest_kernel/arch/x86/boot/bzImage" "$bzimage"
}
