#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The UML kernel on the guest root: the tests of lib, the demo with
# small files, with and without a device, and the kernel's own UDP tests as
# they are and with the ULP attached to their sockets. Results in
# build/results/interop-*.tap.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/vm.sh"

root=$BUILD/root
rm -f "$RES"/interop*.tap
provision_root
"$TOP/scripts/kernel.sh" uml
"$TOP/scripts/selftests.sh" "$BUILD/uml/selftests-root" "$root"

as_root mkdir -p "$root/usr/src/interop"
as_root tee "$root/usr/src/interop/list" >/dev/null <<END
900 interposer cd /usr/src/quic && ./test-offload.sh
900 demo cd /usr/src/quic && DEMO_MB=5 DEMO_PY_MB=2 ./demo-guest.sh
900 demo-netdevsim cd /usr/src/quic && DEMO_DEV=netdevsim DEMO_MB=5 DEMO_PY_MB=2 ./demo-guest.sh
$(udp_tests)
END
as_root tee "$root/usr/local/bin/interop-init" >/dev/null <<END
#!/bin/sh
export PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp TERM=dumb
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /tmp
exec >/dev/tty1 2>&1
guest-tests.sh /usr/src/interop
echo "# guest ends with status \$?"
exec poweroff
END
as_root chmod 755 "$root/usr/local/bin/interop-init"

say "booting UML (kernel log: $LOG/interop-kernel.log)"
start=$SECONDS
boot_uml interop "$root" /usr/local/bin/interop-init kunit.enable=0
say "UML ran for $((SECONDS - start))s"
conclude interop "$LOG/interop-kernel.log"
