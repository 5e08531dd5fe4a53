#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Boot the UML kernel on the host's own files, read-only: KUnit while it
# boots, then the quic selftests. Results in build/results/quick-*.tap.

. "$(dirname "$0")/lib.sh"

uml=$BUILD/uml
res=$BUILD/results
mkdir -p "$res"
rm -f "$res"/quick*.tap

need "the tests inside UML" iproute2 procps
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
/mnt/scripts/guest-tests.sh /mnt/build/uml/selftests
echo "# guest ends with status \$?"
poweroff -d -f -f
END
chmod +x "$uml/guest-init"

boot()
{
	timeout -k 5 "${QUICK_LIMIT:-1500}" "$uml/linux" mem=1G \
		rootfstype=hostfs rootflags=/ ro \
		init="$uml/guest-init" con=null con0=null,fd:3 con1=null,fd:1 ssl=null \
		kunit.filter_glob="${KUNIT:-quic_crypto*}" \
		stderr=1 kunit.enable=1 panic=-1 \
		</dev/null 2>"$LOG/uml-stderr.log" 3>"$LOG/uml-kernel.log" |
		tee "$res/quick-selftests.tap"
}

say "booting UML (kernel log: $LOG/uml-kernel.log)"
start=$SECONDS
boot || true
grep -q '^# guest ends' "$res/quick-selftests.tap" ||
	echo "not ok 1 UML came to its end, see $LOG/uml-kernel.log" |
		tee -a "$res/quick-selftests.tap"
python3 "$TOP/scripts/results.py" kunit "$LOG/uml-kernel.log" |
	tee "$res/quick-kunit.tap" || true
grep -q "ok " "$res/quick-kunit.tap" || echo "not ok 1 KUnit ran" | tee -a "$res/quick-kunit.tap"
python3 "$TOP/scripts/results.py" kernel "$LOG/uml-kernel.log" |
	tee "$res/quick-kernel.tap" || true
say "UML ran for $((SECONDS - start))s"
python3 "$TOP/scripts/results.py" stage quick
