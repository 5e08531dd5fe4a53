#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# usage: selftests.sh
#
# Build what guests test with into build/selftests, which looks as installed
# kselftests do: our programs and scripts, what they take from others, the
# kernel's own UDP tests, and doc_examples, which runs the examples of quic.rst.
# Debian 13's libraries, in the guest root, run what Debian 12 or 13 has
# compiled. build/selftests/list is for guest-tests.sh.

. "$(dirname "$0")/lib.sh"

dir=$OUT/selftests
all=tools/testing/selftests
udp=(udpgso udpgso_bench_tx udpgso_bench_rx)

# ours VARIABLES DIRECTORY: what a Makefile of the selftests says is ours
ours()
{
	sed ':more; /\\$/ { N; b more }; s/\\\n//g' "$TREE/$all/$2/Makefile" |
		grep -E "^($1) *\+?:?=" |
		grep -oE '\bquic[A-Za-z0-9_.-]*' | sort -u
}

programs()
{
	local names

	mapfile -t names < <(ours 'TEST_GEN_[A-Z_]*' net)
	names+=("${udp[@]}")
	make -C "$TREE/$all/net" OUTPUT="$dir/net" MAKELEVEL=1 \
		KHDR_INCLUDES="-isystem $OUT/headers/include" \
		"${names[@]/#/$dir/net/}"
}

scripts()
{
	local part=(rsync -rpt --delete --exclude=__pycache__)

	(cd "$TREE/$all" &&
	 rsync -rptR --ignore-missing-args net/{lib,net_helper,in_netns}.sh \
		net/udpg*.sh net/lib/sh net/lib/py drivers/net/lib/py \
		kselftest/ktap_helpers.sh "$dir/")
	"${part[@]}" "$TREE/Documentation/netlink/specs" "$dir/net/lib/"
	"${part[@]}" --include='*/' --include='*.py' --exclude='*' \
		"$TREE/tools/net/ynl" "$dir/net/lib/"
	ours TEST_PROGS drivers/net | while read -r name; do
		install -m 755 "$TREE/$all/drivers/net/$name" "$dir/drivers/net/"
	done
	# tells the Python library that this is an installation
	touch "$dir/kselftest-list.txt"
}

need "the selftests" gcc make libc6-dev libssl-dev rsync
mkdir -p "$dir/net"
install_headers
step selftests "building the selftests" programs
step doc-examples "building the examples of quic.rst" \
	"$TOP/scripts/doc-examples.sh" \
	"$TREE/Documentation/networking/quic.rst" "$OUT/headers/include" \
	"$dir/net/doc_examples"
step selftests-scripts "installing their scripts" scripts

# helpers (quic_attach.so, ...) are built, but only programs and scripts run
{
	ours TEST_GEN_PROGS net | sed 's/.*/900 net:& .\/&/'
	echo "60 net:doc_examples ./doc_examples"
	ours TEST_PROGS drivers/net |
		sed 's|.*|3000 drivers/net:& ../drivers/net/&|'
} >"$dir/list"
