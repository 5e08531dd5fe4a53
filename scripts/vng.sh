#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Boot the x86-64 kernel in the guest root by virtme-ng: our kselftests, the
# kernel's own UDP tests as they are and with the ULP attached to their
# sockets, module unload. Results in build/results/vng-*.tap.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/vm.sh"

res=$BUILD/results
root=$BUILD/root
tests=/usr/src/selftests/tools/testing/selftests/net
kernlog=$LOG/x86-kernel.log
mkdir -p "$res"
rm -f "$res"/vng*.tap

provision_root
"$TOP/scripts/selftests.sh" "$BUILD/x86/selftests" "$root"

list()
{
	local with pre
	cat "$BUILD/x86/selftests/list"
	for with in "" " with the ULP"; do
		pre=
		if [ -n "$with" ]; then
			[ -e "$root$tests/quic_attach.so" ] || continue
			pre="LD_PRELOAD=\$PWD/quic_attach.so "
		fi
		with=${with// /-}
		echo "300 net:udpgso.sh$with ${pre}./udpgso.sh"
		echo "300 net:udpgro.sh$with ${pre}./udpgro.sh"
		for fam in "-4 -D 127.0.0.1" "-6 -D ::1"; do
			for how in "" "-S 0" "-S 0 -T -a"; do
				echo "60 udpgso_bench:${fam%% *}${how// /_}$with" \
					"${pre}./udpgso_bench.sh -l 1 $fam $how"
			done
		done
	done
	# in short: emulated machines are slow
	echo "900 interposer cd /usr/src/quic && ./test-offload.sh"
	echo "900 demo cd /usr/src/quic &&" \
		"DEMO_MB=4 DEMO_PY_MB=1 ./demo-guest.sh"
	echo "60 module-unload modprobe quic_crypto && rmmod quic_crypto &&" \
		"! grep quic_crypto /proc/modules && modprobe quic_crypto &&" \
		"rmmod quic_crypto"
}
list | as_root tee "$root$tests/list" >/dev/null
probe_kvm

# its own python modules, and the interpreter of the distribution
boot()
{
	local opts=()
	[ "$qemu_kvm" = 1 ] || opts=(--disable-kvm -o=-cpu -o=max)
	PYTHONPATH=$BUILD/vng/usr/lib/python3/dist-packages \
	timeout -k 10 "${VNG_LIMIT:-2400}" /usr/bin/python3 \
		"$BUILD/vng/usr/bin/vng" --run "$bzimage" --root "$root" \
		--user root --force-9p --disable-microvm --cpus 2 --memory 3G \
		--verbose "${opts[@]}" -a panic=-1 -a loglevel=7 \
		-a "rootflags=version=9p2000.L,trans=virtio,access=any,cache=loose,msize=512000" \
		--exec "guest-tests.sh $tests; echo '# guest ends'" \
		</dev/null 2>"$kernlog" | tee "$res/vng-selftests.tap"
}

say "booting x86-64 under virtme-ng (kernel log: $kernlog)"
start=$SECONDS
boot || true
grep -q '^# guest ends' "$res/vng-selftests.tap" ||
	echo "not ok 1 the guest came to its end, see $kernlog" |
		tee -a "$res/vng-selftests.tap"
python3 "$TOP/scripts/results.py" kernel "$kernlog" |
	tee "$res/vng-kernel.tap" || true
say "the guest ran for $((SECONDS - start))s"
python3 "$TOP/scripts/results.py" stage vng
