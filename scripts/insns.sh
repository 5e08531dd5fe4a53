#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# usage: insns.sh [update]
#        insns.sh run OPTION...	one run, with options of quic_bench
#        insns.sh threads
#        insns.sh base|off
#
# How many instructions a packet takes, by lib/bench, on an x86-64 kernel without
# debugging under QEMU, whose clock counts the instructions that it has emulated:
# two runs give the same figures (with many flows, the fifth digit may differ),
# whatever else the machine does. They are compared with those in
# lib/bench/insns.expected, which `update` writes. Results in
# $OUT/results/insns*.
#
# With `threads`, how much faster two threads are than one, in time: the machine
# has two CPUs, each is emulated by a thread of its own. Two CPUs of the host
# should have nothing else to do. Results in $OUT/results/threads*.
#
# With `base`, what UDP costs in a kernel without the patches, to compare `plain`
# with; with `off`, in one that has them, but not UDP_ULP. Results in
# $OUT/results/base* and off*.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/guest.sh"

bench=$TOP/lib/bench
expected=$bench/insns.expected
[ ! -d "$bench/$BASE" ] || expected=$bench/$BASE/insns.expected
guest_initrd=$OUT/bench/initramfs
# what receives from a device, see sinks.sh
ends="-L 203.0.113.1 -N /run/netns/peer"

# What QEMU emulates of it is the same in all its versions. No random numbers;
# and "rep movsb" would count as an instruction per byte.
cpu=Haswell-noTSX,-erms,-rdrand,-pcid,-x2apic,-tsc-deadline,-invpcid

# One line per run of quic_bench. Rounds are shorter than the time from one tick
# of the guest's timer to the next, so that some have none.
runs_threads()
{
	local opt="-D 198.51.100.2 -r 3 -T 50 -R user-openssl" i t

	opt+=" -m plain,user-openssl,kernel,kernel-flowid,plain@device,device"
	for ((i = 0; i < ${ROUNDS:-7}; i++)); do
		for t in "-t 1" "-t 2" "-t 2 -S"; do
			echo "$opt $t"
		done
	done
}

runs_base()
{
	local size batch

	for size in 300 1200 8952; do
		for batch in 1 50; do
			echo "-i -r 7 -n $((200 / batch)) -s $size -b $batch" \
				"-m $1"
		done
	done
}

runs_check()
{
	local env="-D 198.51.100.2 -i -r 7" user='' lib size batch
	local modes=plain,plain-ulp,bypass,limit,crypto,kernel,kernel-flowid
	local device=plain@device,bypass@device,device,device-flowid
	local recv=rx-plain,rx-plain-ulp,rx-kernel

	for lib in openssl boringssl gnutls; do
		[ ! -e "$root/usr/src/quic/bench/seal_$lib.so" ] ||
			user+=,user-$lib
	done
	runs_base plain-before	# must come first
	for size in 300 1200 8952; do
		for batch in 1 50; do
			echo "$env -n $((200 / batch)) -s $size -b $batch" \
				"-m $modes,$device$user"
			echo "$env -n $((200 / batch)) -s $size -b $batch" \
				"-m $recv${user//,/,rx-}"
			echo "$env $ends -n $((200 / batch)) -s $size" \
				"-b $batch -m rx-plain@device,rx-device"
		done
	done
	echo "$env -n 4 -c chacha20 -m $modes$user"
	echo "$env -n 4 -c chacha20 -m $recv${user//,/,rx-}"
	echo "$env -n 500 -b 1 -f 1000 -m plain,kernel,kernel-flowid"
}

runs()
{
	case $mode in
	run)	echo "-D 198.51.100.2 $ends -i $*" ;;
	threads) runs_threads ;;
	base|off) runs_base plain ;;
	*)	runs_check ;;
	esac
}

# The job, the benchmark, what they need, and what sets the devices up. A disk
# would interrupt at times of its own.
initramfs()
{
	local dir=$guest_initrd.dir

	as_root rsync -rpt --exclude='*.so' "$bench" "$root/usr/src/quic/"
	as_root chroot "$root" make -C /usr/src/quic/bench
	rm -rf "$dir"
	mkdir -p "$dir"/{proc,sys,dev,tmp,run,mnt/guest}
	# ldd names the programs and what they are linked with
	# shellcheck disable=SC2016 # the guest root's shell is to expand it
	as_root chroot "$root" sh -c 'cd /usr/src/quic/bench && ldd /bin/sh \
		/bin/mount /bin/cat /bin/ln /bin/ls /bin/sed /bin/grep \
		/sbin/ip /sbin/ethtool $PWD/quic_bench $PWD/seal_*.so' |
		grep -oE '/[^ :]+' | sort -u | sed 's,^/,,' \
		>"$guest_initrd.files"
	echo usr/src/quic/bench/sinks.sh >>"$guest_initrd.files"
	tar -C "$root" -chf - -T "$guest_initrd.files" | tar -C "$dir" -xf -
	cp "$TOP/scripts/guest-init.sh" "$dir/init"
	cp -r "$OUT/guest/insns" "$dir/mnt/guest/"
	(cd "$OUT/$guest_kernel" &&
	 sh source/usr/gen_initramfs.sh -o "$guest_initrd" -u -1 -g -1 "$dir")
}

# kHz of the host's TSC, which the guest's is, too, where it does not count
# instructions. Guests are told, or they find out as well as time permits.
tsc_khz()
{
	gcc -O2 -x c -o "$OUT/bench/tsc" - <<-'END' && "$OUT/bench/tsc"
	#include <stdio.h>
	#include <time.h>

	static long long ns(void)
	{
		struct timespec ts;

		clock_gettime(CLOCK_MONOTONIC, &ts);
		return ts.tv_sec * 1000000000LL + ts.tv_nsec;
	}

	int main(void)
	{
		long long t = ns(), tsc = __builtin_ia32_rdtsc(), end;

		while ((end = ns()) < t + 200000000)
			;
		tsc = __builtin_ia32_rdtsc() - tsc;
		printf("%lld\n", tsc * 1000000 / (end - t));
		return 0;
	}
	END
}

mode=${1:-check} khz=1000000
guest_kernel=bench-x86 guest_limit=300
guest_machine=(-smp 1 -accel tcg -icount "shift=0,sleep=off")
case $mode in
check|update) rm -f "$RES"/insns* ;;
run)	shift ;;
base|off) guest_kernel="bench-$mode" ;;
# the BIOS lists one CPU of a socket only
threads) guest_machine=(-smp "2,sockets=2" -accel "tcg,thread=multi") ;;
*)	die "usage: insns.sh [update|threads|base|off|run OPTION...]" ;;
esac

guest_machine+=(-cpu "$cpu" -rtc "base=2026-01-01T00:00:00,clock=vm")
provision_root
"$TOP/scripts/kernel.sh" "$guest_kernel"
need "emulating a machine" qemu-system-x86
[ "$mode" != threads ] || khz=$(tsc_khz)
guest_job insns nokaslr norandmaps tsc=reliable "tsc_early_khz=$khz" <<'END'
cd /usr/src/quic/bench
./sinks.sh 2>&1 || echo "FAILED: sinks.sh"
while read -r args; do
	echo
	./quic_bench -j /tmp/lines $args 2>/tmp/stderr || {
		cat /tmp/stderr
		echo "FAILED: quic_bench $args"
	}
done </mnt/guest/insns/runs
./sinks.sh check || echo "FAILED: packets did not reach the device"
[ ! -e /tmp/lines ] || sed 's/^/: /' /tmp/lines
END
runs "$@" >"$OUT/guest/insns/runs"
step initramfs "making the guest's initramfs" initramfs
guest_run icount insns | sed '/^:/d'

log=$RES/insns.log tap=$RES/insns-tests.tap
cp "$OUT/guest/insns/out" "$log"
compiler=$(gcc -dumpfullversion)
if ! guest_ended insns || grep -q '^FAILED' "$log"; then
	echo "not ok 1 all was measured, see $log, $LOG/insns-*.log" | tee "$tap"
	exit 1
fi
[ "$mode" != run ] || exit 0
case $mode in
base|off|threads)
	sed -n 's/^: //p' "$log" >"$RES/$mode.tsv"
	mv "$log" "$RES/$mode.log"
	"$TOP/scripts/bench-rst.py" show "${mode/off/base}"
	exit ;;
esac
sed -n 's/^: //p' "$log" >"$RES/insns.tsv"
if [ "$mode" = update ]; then
	"$TOP/scripts/insns.py" update "$RES/insns.tsv" "$expected" "$compiler"
	exit
fi
"$TOP/scripts/insns.py" check "$RES/insns.tsv" "$expected" "$compiler" |
	tee "$tap" || true
results kernel "$LOG/insns-kernel.log" | tee "$RES/insns-kernel.tap" || true
results stage insns
