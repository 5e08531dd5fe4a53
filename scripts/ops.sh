#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What operators use, in User Mode Linux: ss of iproute2 with the patch in
# lib/iproute2 has to show what the sockets did, and what the documentation
# names has to be what the kernel and the tools name; bpftrace has to accept the
# scripts in lib/bpftrace. Results in $OUT/results/ops-*.tap.
#
# The source of iproute2 is what Debian 13 has, or IPROUTE2=DIRECTORY, the
# directory of another version. Only ss is built, in build/BASE/iproute2. The
# headers that its maintainers take from the kernel come from our kernel.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/debian.sh"
. "$(dirname "$0")/guest.sh"

src=$OUT/iproute2
rm -f "$RES"/ops*.tap

get_source()
{
	rm -rf "$src" "$src.part"
	if [ -n "${IPROUTE2:-}" ]; then
		rsync -r --exclude=.git "$IPROUTE2/" "$src.part/" || return
	else
		debian_source trixie iproute2 "$src.part" || return
	fi
	patch -d "$src.part" -p1 -N <"$TOP/lib/iproute2/ss-ulp-udp.patch" ||
		return
	cp "$OUT"/headers/include/linux/{inet_diag,quic}.h \
		"$src.part/include/uapi/linux/" || return
	mv "$src.part" "$src"
}

build()
{
	cd "$src" && ./configure && make SUBDIRS="lib misc" TARGETS=ss
}

need "the tools of operators" bison bpftrace ethtool flex gcc iproute2 \
	libc6-dev make patch pkg-config rsync
"$TOP/scripts/kernel.sh" uml
"$TOP/scripts/selftests.sh"
guest_debug

ss=/mnt/iproute2/misc/ss
if get_source >"$LOG/ops-source.log" 2>&1; then
	step ops-ss "building ss" build
elif [ -n "${IPROUTE2:-}" ]; then
	die "no source with our patch from $IPROUTE2, see $LOG/ops-source.log"
else
	say "no source of iproute2, see $LOG/ops-source.log"
	ss=
fi

list()
{
	if [ -n "$ss" ]; then
		echo "300 ss PYTHONPATH=/mnt/ops python3" \
			"/mnt/ops/ops/test_ss.py $ss"
	else
		echo "60 ss echo '# no source of iproute2, IPROUTE2= names" \
			"one'; exit 4"
	fi
	echo "300 documents PYTHONPATH=/mnt/ops python3" \
		"/mnt/ops/ops/test_docs.py /mnt/ops $ss"
	echo "300 bpftrace /mnt/ops/ops/test_bpftrace.sh"
}

# the guest may have something else where this directory is
mkdir -p "$OUT/ops"
rsync -rp --delete "$TOP"/lib/{ops,bpftrace} "$TREE/Documentation/networking" \
	"$TOP/lib/aioquic_kernel/uapi.py" "$OUT/ops/"
list | guest_tests ops kunit.enable=0
guest_run uml ops
conclude ops ops
