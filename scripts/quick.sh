#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Boot the UML kernel on the host's own files, read-only: KUnit while it
# boots, then the quic selftests. Results in build/results/quick-*.tap.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/vm.sh"

uml=$BUILD/uml
rm -f "$RES"/quick*.tap

need "the tests inside UML" iproute2 procps ethtool
"$TOP/scripts/kernel.sh" uml
"$TOP/scripts/selftests.sh" "$uml/selftests"

cat >"$uml/guest-init" <<END
#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp TERM=dumb
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmpfs /run
exec >/dev/tty1 2>&1
mount --bind "$TOP" /mnt
mount -t tmpfs tmpfs /tmp
mount -t cgroup2 cgroup /sys/fs/cgroup
/mnt/scripts/guest-tests.sh /mnt/build/uml/selftests/net
echo "# guest ends with status \$?"
exec python3 -c 'import ctypes; ctypes.CDLL(None).reboot(0x4321fedc)'
END
chmod +x "$uml/guest-init"

say "booting UML (kernel log: $LOG/quick-kernel.log)"
start=$SECONDS
boot_uml quick / "$uml/guest-init" kunit.enable=1 \
	kunit.filter_glob="${KUNIT:-quic_crypto*}"
say "UML ran for $((SECONDS - start))s"

results kunit "$LOG/quick-kernel.log" | tee "$RES/quick-kunit.tap" || true
grep -q "ok " "$RES/quick-kunit.tap" ||
	echo "not ok 1 KUnit ran" | tee -a "$RES/quick-kunit.tap"
conclude quick "$LOG/quick-kernel.log"
