#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# usage: bench.sh [quick|full]
#        bench.sh -OPTION...	one run, with options of quic_bench
#        bench.sh bases		both bases in turn, ROUNDS times (4)
#
# How long sending and receiving take, by lib/bench, in User Mode Linux, which
# executes natively: on the Debian 13 root, with a kernel without debugging
# and with the vector ciphers. BENCH_MS: milliseconds of a mode in each round of
# `full`; BENCH_CIPHERS: those of its ciphers that are measured. Results in
# $OUT/results/bench.txt, bench.tsv, bench-install.tsv, bench-crypto.txt and
# bench-CIPHER.svg; of one run in one.*, of both bases in bases.tsv of each.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/guest.sh"

matrix=${1:-quick}
bench=$TOP/lib/bench

bench_programs()
{
	as_root rsync -rpt --exclude='*.so' "$bench" "$root/usr/src/quic/"
	as_root chroot "$root" make -C /usr/src/quic/bench
}

# Options and modes of the runs below: those with a library only if it was built
set_modes()
{
	local lib

	# Nothing else runs in the guest, which cannot tell how much of the time
	# its user space has had
	opt="-w -D 198.51.100.2" less="-E syscall"
	ends="-L 203.0.113.1 -N /run/netns/peer"
	modes=syscall,plain,plain-ulp,bypass zerocopy=''
	recv=rx-syscall,rx-plain,rx-plain-ulp
	for lib in openssl boringssl gnutls; do
		[ -e "$root/usr/src/quic/bench/seal_$lib.so" ] || continue
		modes+=,user-$lib zerocopy+=,user-$lib+zerocopy
		recv+=,rx-user-$lib
	done
	recv+=,rx-kernel,rx-plain@device,rx-device
	modes+=,kernel,kernel-flowid,limit,crypto
	modes+=,plain@device,bypass@device,device,device-flowid
}

# cipher_runs CIPHER: all sizes and batches, sending and receiving
#
# UML catches system calls by ptrace(), which costs more than sealing a batch:
# leave that out. Of a single packet nothing would be left, so many calls share
# a system call there, which zerocopy cannot.
cipher_runs()
{
	local size batch how

	# BoringSSL has no CCM
	[ "$1" != aes-128-ccm ] ||
		modes=${modes/user-boringssl,} \
		zerocopy=${zerocopy/,user-boringssl+zerocopy} \
		recv=${recv/,rx-user-boringssl}
	for size in $sizes; do
		for batch in $batches; do
			[ "$batch" = 1 ] && how="-M 32 -m $modes" ||
				how="-m $modes$zerocopy"
			echo "$opt $less -R user-openssl -c $1" \
				"-s $size -b $batch $how"
			[ "$batch" = 1 ] && how="-M 32" || how=
			echo "$opt $ends -E rx-syscall -R rx-user-openssl" \
				"-c $1 -s $size -b $batch $how -m $recv"
		done
	done
}

# one flow against many
flow_runs()
{
	local modes=plain,user-openssl,kernel,kernel-flowid,limit,crypto flows

	for flows in 1000 100000; do
		echo "$opt -f $flows $less -R user-openssl" \
			"-m syscall,$modes,${modes//,//1,}/1"
	done
	# what is received is made before, which takes memory
	modes=rx-plain,rx-user-openssl,rx-kernel
	echo "$opt -f 1000 -b 10 -E rx-syscall -R rx-user-openssl" \
		"-m rx-syscall,$modes,${modes//,//1,}/1"
}

# what is compared between kernels: what the user's program does is the same
base_runs()
{
	local sent=syscall,plain,user-openssl,kernel,limit,crypto
	local device=plain@device,device
	local recv=rx-syscall,rx-plain,rx-user-openssl,rx-kernel
	local batch

	opt+=" -r 5 -T 20 -s 1200"
	for batch in "-b 1 -M 32" "-b 50"; do
		echo "$opt $less -R user-openssl $batch -m $sent,$device"
		echo "$opt $ends -E rx-syscall -R rx-user-openssl $batch" \
			"-m $recv"
	done
	echo "$opt $less -R user-openssl -c chacha20 -b 50 -m $sent"
}

# Kernels take turns as modes do in a round, as far as guests can
bases()
{
	local i base

	[ -z "${KSRC:-}" ] || die "KSRC is one kernel, and not two"
	rm -f "$BUILD"/*/results/bases.tsv
	for ((i = 0; i < ${ROUNDS:-4}; i++)); do
		for base in "$base_oldest" "$base_newest"; do
			BASE=$base "$TOP/scripts/bench.sh" one-base
			cd "$BUILD/$base/results"
			# one line that names the columns is enough
			[ -e bases.tsv ] || head -n 1 one.tsv >bases.tsv
			sed 1d one.tsv >>bases.tsv
		done
	done
	"$TOP/scripts/bench-rst.py" show bases
}

# one line per run of quic_bench
runs()
{
	local opt less ends modes zerocopy recv cipher ciphers sizes batches

	set_modes
	case $matrix in
	-*)	echo "$opt $ends $*"
		return ;;
	one-base) base_runs
		return ;;
	quick)	ciphers=aes-128-gcm sizes="300 1200 8952" batches="1 50"
		opt+=" -r 7 -T 100" ;;
	full)	ciphers="aes-128-gcm aes-256-gcm chacha20 aes-128-ccm"
		ciphers=${BENCH_CIPHERS:-$ciphers}
		sizes="300 1200 1452 8952" batches="1 10 50"
		opt+=" -r 15 -T ${BENCH_MS:-200}" ;;
	*)	die "usage: bench.sh [quick|full|bases|-OPTION...]" ;;
	esac
	# comes first: the kernel is another once a socket has had the ULP
	echo "$opt $less -m plain-before,syscall"
	for cipher in $ciphers; do
		cipher_runs "$cipher"
	done
	flow_runs
	for cipher in $ciphers; do
		echo "-W -c $cipher"
	done
	echo "-I 1000000"
}

if [ "$matrix" = bases ]; then
	bases
	exit
fi
name=bench
[[ $matrix != -* && $matrix != one-base ]] || name=one
need "tables and plots" gnuplot-nox rsync util-linux
provision_root
"$TOP/scripts/kernel.sh" bench-uml
step bench-programs "building the benchmark in the guest root" bench_programs
rm -f "$RES/$name"[-.]*

# /mnt is $OUT
guest_job bench <<END
cp /proc/crypto /mnt/results/$name-crypto.txt
echo 2000000 >/proc/sys/net/quic_crypto/max_flows
echo 2000000 >/proc/sys/net/quic_crypto/max_user_flows
cd /usr/src/quic/bench
./sinks.sh 2>&1 || echo "FAILED: sinks.sh"
echo "# Linux \$(uname -r), $(sed -n 's/^model name.*: //p' /proc/cpuinfo |
	head -n 1), $(gcc --version | head -n 1), $(date -u +%F)"
while read -r args; do
	lines=/mnt/results/$name.tsv
	case \$args in -I*) lines=/mnt/results/$name-install.tsv ;; esac
	echo
	./quic_bench -j \$lines \$args 2>/tmp/stderr || {
		cat /tmp/stderr
		echo "FAILED: quic_bench \$args"
	}
done </mnt/guest/bench/runs
./sinks.sh check || echo "FAILED: packets did not reach the device"
END
runs "$@" >"$OUT/guest/bench/runs"

# one CPU, or host and guest context switches go through the scheduler of two
cpu=$(taskset -cp $$ | sed 's/.*[-, ]//')
say "running on CPU $cpu"
taskset -cp "$cpu" $$ >/dev/null
guest_kernel=bench-uml guest_cpus=1 guest_mem=6G guest_limit=7200
guest_run uml bench
cp "$OUT/guest/bench/out" "$RES/$name.txt"
guest_ended bench ||
	die "the guest did not come to its end, see $LOG/bench-kernel.log"
! grep -q '^FAILED' "$RES/$name.txt" || die "there were failures"
say "results: $RES/$name.txt, $name.tsv"
[ -e "$RES/bench.tsv" ] && [ "$name" = bench ] || exit 0
grep -v '^#' "$RES/bench.tsv" | cut -f 2 | sort -u | while read -r cipher; do
	"$bench/plot" "$RES/bench.tsv" "$cipher" "$RES/bench-$cipher.svg" \
		syscall
done
