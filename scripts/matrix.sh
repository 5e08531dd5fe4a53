#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# usage: matrix.sh [update]
#
# lib/matrix in User Mode Linux: every HTTP/3 server and client of the guest root, in
# pairs. The table is $OUT/results/interop-matrix.rst; with "update", it also becomes
# the committed one, lib/interop-matrix.rst, unless something has failed.
# TEST="SERVER/CLIENT ..." runs only these pairs. quinn takes part if Rust is in the
# guest root, where `interop TEST=quinn` installs it.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/guest.sh"
. "$(dirname "$0")/rust.sh"

page=interop-matrix.rst
case ${1:-} in
'')	;;
update)	[ -z "${TEST:-}" ] || die "MATRIX=update is about all pairs" ;;
*)	die "MATRIX=$1: only update is known" ;;
esac

rm -f "$RES"/matrix*.tap "$RES/$page"
provision_root
"$TOP/scripts/kernel.sh" uml
"$TOP/scripts/selftests.sh"
! rust_installed || provision_rust
guest_debug

echo "3000 matrix cd /usr/src/quic && python3 -m matrix" \
	"--table /mnt/results/$page ${TEST:-}" |
	guest_tests matrix kunit.enable=0
guest_run uml matrix
conclude matrix matrix
say "the table is in $RES/$page"
[ "${1:-}" != update ] || cp "$RES/$page" "$TOP/lib/"
