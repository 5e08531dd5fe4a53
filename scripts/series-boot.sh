#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Apply the mails of the series one after the other to the pristine source,
# compile User Mode Linux after each, boot it, and try UDP, netdevsim and what
# KUnit tests there are by then. By hand: the first kernel takes minutes, and all
# of them an hour or two. A patch that has passed on top of the same patches is
# not tried again, so a run that was interrupted goes on where it was. Results in
# $OUT/results/series-boot-*.tap.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/guest.sh"

work=$OUT/boot
passed=$work/passed
rm -f "$RES"/series-boot*.tap

pristine()
{
	rm -rf "$work/linux"
	rsync -a --exclude=/.git --link-dest="$PRISTINE" "$PRISTINE/" \
		"$work/linux/"
}

# one MAIL: from the patch to the results
one()
{
	local name=series-boot-$2 log status=0

	"$TOP/scripts/kernel.sh" boot || {
		echo "not ok 1 $2 compiles" | tee "$RES/$name.tap"
		return 1
	}
	guest_job "$name" kunit.enable=1 kunit.filter_glob='quic*' <<-'END'
	exec python3 - <<'PY'
	import os, socket, time
	for family, host in ((socket.AF_INET, "127.0.0.1"),
	                     (socket.AF_INET6, "::1")):
	    rx, tx = (socket.socket(family, socket.SOCK_DGRAM) for _ in "12")
	    rx.bind((host, 0))
	    rx.settimeout(20)
	    tx.setsockopt(socket.SOL_UDP, 103, 1000)        # UDP_SEGMENT
	    tx.sendto(bytes(3500), rx.getsockname())
	    sizes = [len(rx.recv(4096)) for _ in range(4)]
	    assert sizes == [1000, 1000, 1000, 500], sizes
	bus = "/sys/bus/netdevsim/"
	open(bus + "new_device", "w").write("7 1")
	name, = os.listdir(bus + "devices/netdevsim7/net")
	assert os.system("ip link set %s up && ip link show %s" %
	                 (name, name)) == 0
	open(bus + "del_device", "w").write("7")
	print("QUIC:", os.path.exists("/proc/net/quic_stat"))
	PY
	END
	guest_run uml "$name"
	log=$LOG/$name-kernel.log
	{
		grep -q '^# guest ends with status 0' "$OUT/guest/$name/out" ||
			status=1
		[ $status = 0 ] || echo -n "not "
		echo "ok 1 $2 boots and works"
	} | tee "$RES/$name.tap"
	results kernel "$log" | tee "$RES/$name-kernel.tap" || status=1
	grep -q 'KTAP version' "$log" || return $status
	results kunit "$log" >"$RES/$name-kunit.tap" || status=1
	return $status
}

# next MAIL NAME: a patch, unless it has passed on top of the same patches
next()
{
	# patch replaces files, so that those of the pristine source stay
	patch -d "$work/linux" -p1 -s -F0 -N --no-backup-if-mismatch <"$1" ||
		die "$1 does not apply"
	id=$( (echo "$id" && sed -n '/^diff /,/^-- $/p' "$1") | sha256sum)
	if grep -qxF "$id" "$passed"; then
		echo "ok 1 $2 has booted and worked before" |
			tee "$RES/series-boot-$2.tap"
	elif one "$1" "$2"; then
		echo "$id" >>"$passed"
	fi
}

mkdir -p "$work"
"$TOP/scripts/series.sh" unsigned "$work/series"
step boot-tree "copying the source" pristine
guest_kernel=boot/uml
id=$(kernel_release)
touch "$passed"
for mail in "$work"/series/*/*.patch; do
	name=${mail#"$work/series/"} name=${name%.patch}
	[[ $name == */0000-* ]] || next "$mail" "${name//\//-}"
done
times_table
results stage series-boot
