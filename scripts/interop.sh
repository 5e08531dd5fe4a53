#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# User Mode Linux on the guest root: the tests of lib, the demo with small files,
# with and without a device, and the kernel's own UDP tests as they are and with
# the ULP attached to their sockets. Results in $OUT/results/interop-*.tap.
# TEST=NAME runs one of the first; TEST=aioquic:key_limit one test of it. TEST=quinn
# needs 600 MB more in the guest root, so it runs only when it is named.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/guest.sh"
. "$(dirname "$0")/rust.sh"

rm -f "$RES"/interop*.tap

# the kernel's own UDP tests, as they are and with the ULP attached to all their
# sockets
udp_tests()
{
	local with pre fam how

	for with in "" -with-the-ULP; do
		pre=${with:+LD_PRELOAD=\$PWD/quic_attach.so }
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

provision_root
"$TOP/scripts/kernel.sh" uml
"$TOP/scripts/selftests.sh"
[[ ${TEST:-} != quinn && ${TEST:-} != quinn:* ]] || provision_rust
guest_debug

demo="cd /usr/src/quic && DEMO_MB=5 DEMO_PY_MB=2"
list="
300 quickernel cd /usr/src/quic/quickernel && LD_PRELOAD=../test/fake_kernel.so ./quickernel_test
60 quickernel-example cd /usr/src/quic/quickernel && ./example
600 ngtcp2-example cd /usr/src/quic && ngtcp2-example/test.sh
900 interposer-sends cd /usr/src/quic && ./test-offload.sh tx
900 interposer-receives cd /usr/src/quic && ./test-offload.sh rx
900 knot cd /usr/src/quic && ./knot/test.sh
1800 aioquic cd /usr/src/quic && ./aioquic_kernel/test.sh
1800 quinn cd /usr/src/quic && ./quinn-quic-kernel/test.sh
900 matrix cd /usr/src/quic && python3 -m matrix few
900 demo $demo ./demo-guest.sh
900 demo-netdevsim $demo DEMO_DEV=netdevsim ./demo-guest.sh"

# TEST=NAME: only this line; TEST=NAME:TESTS: with these instead of its arguments
selected()
{
	local name=${1%%:*} line

	line=$(awk -v n="$name" '$2 == n' <<<"$list")
	[ -n "$line" ] || die "TEST=$1: there are only" \
		"$(awk 'NF { print $2 }' <<<"$list" | paste -sd ' ')"
	case $1 in
	*:*)	line=${line% [tr]x}
		echo "${line% few} ${1#*:}" ;;
	*)	echo "$line" ;;
	esac
}

guests=(interop)
if [ -n "${TEST:-}" ]; then
	selected "$TEST" | guest_tests interop kunit.enable=0
else
	sed '1d; / quinn /d' <<<"$list" | guest_tests interop kunit.enable=0
	udp_tests | guest_tests interop-udp kunit.enable=0
	guests+=(interop-udp)
fi
guest_run uml "${guests[@]}"
conclude interop "${guests[@]}"
