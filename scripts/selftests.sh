#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# usage: selftests.sh DIRECTORY [CHROOT]
#
# Build the kselftest programs named quic* (with CHROOT: there, by its
# compiler, and the kernel's own UDP tests, too) into DIRECTORY/net, which
# with its neighbours looks as selftests/net does, and has a list of what
# guest-tests.sh is to run.

. "$(dirname "$0")/lib.sh"

dir=${1:?directory} root=${2:-}
all=tools/testing/selftests
net=$all/net
# what scripts of ours take from others
shared=(net/lib.sh kselftest/ktap_helpers.sh)
udp="udpgso udpgso_bench_tx udpgso_bench_rx"

# ours VARIABLES [DIRECTORY]: what the Makefile of the selftests says is ours
ours()
{
	sed ':more; /\\$/ { N; b more }; s/\\\n//g' \
		"$TREE/$all/${2:-net}/Makefile" |
		grep -E "^($1) *\+?:?=" |
		grep -oE '\bquic[A-Za-z0-9_.-]*' | sort -u
}

# make TARGETS from SOURCE in OUTPUT against HEADERS
build()
{
	local src=$1 out=$2 hdr=$3
	shift 3
	mkdir -p "$out"
	make -C "$src/$net" OUTPUT="$out" KHDR_INCLUDES="-isystem $hdr" \
		MAKELEVEL=1 "${@/#/$out/}"
}

build_in_root()
{
	local src=/usr/src/selftests files
	cd "$TREE" || return
	files=("$net"/{Makefile,ynl.mk,bpf.mk,net_helper.sh,in_netns.sh}
	       "$net"/{udpgso*,udpgro*,quic*,lib.sh}
	       "$all"/{lib.mk,kselftest*.h,kselftest} "${scripts[@]/#/$all/}")
	as_root rsync -rptR "${files[@]}" "$root$src/"
	as_root rsync -rpt --delete "$BUILD/headers/include/" \
		"$root$src/headers/"
	as_root chroot "$root" make -C "$src/$net" OUTPUT="$src/$net" \
		KHDR_INCLUDES="-isystem $src/headers" MAKELEVEL=1 \
		"${@/#/$src/$net/}"
}

need "the selftests" gcc make libc6-dev libssl-dev rsync
mkdir -p "$dir/net"
install_headers
mapfile -t programs < <(ours 'TEST_GEN_[A-Z_]*')
mapfile -t scripts < <(ours TEST_PROGS drivers/net | sed 's|^|drivers/net/|')
if [ -n "$root" ]; then
	# shellcheck disable=SC2086 # a list
	step selftests-root "building selftests in the guest root" \
		build_in_root "${programs[@]}" $udp
else
	step selftests "building selftests" build "$TREE" "$dir/net" \
		"$BUILD/headers/include" "${programs[@]}"
	for f in "${scripts[@]}" "${shared[@]}"; do
		install -D -m 755 "$TREE/$all/$f" "$dir/$f"
	done
fi

# helpers (quic_attach.so, ...) are built, but only programs and scripts run
{
	ours TEST_GEN_PROGS | sed 's/\(.*\)/900 net:\1 .\/\1/'
	printf '%s\n' "${scripts[@]}" |
		sed 's|\(.*\)/\(.*\)|3000 \1:\2 ../\1/\2|'
} >"$dir/net/list"
