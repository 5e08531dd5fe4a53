#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Boot User Mode Linux on the host's own files, read-only: KUnit while it boots
# and our programs of net/ in one guest, each program of drivers/net in another.
# Results in $OUT/results/quick-*.tap.
#
# TEST=quic                           one program of net/
# TEST=quic:key_update                one of its tests
# TEST='drivers/net/quic.py:wire*'    tests of a program of drivers/net

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/guest.sh"

rm -f "$RES"/quick*.tap
list=$OUT/selftests/list
names=(quick)

need "the tests inside UML" iproute2 iptables procps ethtool kmod \
	python3-yaml udev
"$TOP/scripts/kernel.sh" uml
"$TOP/scripts/selftests.sh"
install -D -m 755 -t "$OUT/guest" "$TOP/scripts/guest-tests.sh"
guest_debug

if [ -n "${TEST:-}" ]; then
	one_test "$TEST" | guest_tests quick kunit.enable=0
else
	grep ' net:' "$list" | guest_tests quick kunit.enable=1 \
		kunit.autorun=1 kasan_multi_shot=1 \
		kunit.filter_glob="${KUNIT:-quic_crypto*}"
	while read -r limit program cmd; do
		name=quick-${program#*:}
		names+=("${name%.*}")
		echo "$limit $program $cmd" |
			guest_tests "${name%.*}" kunit.enable=0 kasan_multi_shot=1
	done < <(grep ' drivers/net:' "$list")
fi

guest_run uml "${names[@]}"
if [ -z "${TEST:-}" ]; then
	results kunit "$LOG/quick-kernel.log" | tee "$RES/quick-kunit.tap" || true
	grep -q "ok " "$RES/quick-kunit.tap" ||
		echo "not ok 1 KUnit ran" | tee -a "$RES/quick-kunit.tap"
fi
conclude quick "${names[@]}"
