#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# User Mode Linux on the guest root: the tests of lib, the demo with small files,
# with and without a device, and the kernel's own UDP tests as they are and with
# the ULP attached to their sockets. Results in $OUT/results/interop-*.tap.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/guest.sh"

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
guest_debug

demo="cd /usr/src/quic && DEMO_MB=5 DEMO_PY_MB=2"
guest_tests interop kunit.enable=0 <<END
900 interposer-sends cd /usr/src/quic && ./test-offload.sh tx
900 interposer-receives cd /usr/src/quic && ./test-offload.sh rx
900 demo $demo ./demo-guest.sh
900 demo-netdevsim $demo DEMO_DEV=netdevsim ./demo-guest.sh
END
udp_tests | guest_tests interop-udp kunit.enable=0
guest_run uml interop interop-udp
conclude interop interop interop-udp
