#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Run lib/demo-guest.sh on a kernel without debugging, in User Mode Linux on the
# guest root. DEMO_MB and the like reach it, and DEV as DEMO_DEV.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/guest.sh"

export DEMO_DEV=${DEV:-${DEMO_DEV:-}}
case $DEMO_DEV in
""|netdevsim) ;;
*) die "DEV=$DEMO_DEV: only netdevsim is known" ;;
esac
trap times_table EXIT

provision_root
"$TOP/scripts/kernel.sh" demo
guest_kernel=demo
{
	env | sed -n 's/^\(DEMO_[A-Z_]*\)=\([^ ]*\)$/export \1="\2"/p'
	echo 'exec /usr/src/quic/demo-guest.sh'
} | guest_job demo
guest_run uml demo
cp "$OUT/guest/demo/out" "$RES/demo.tap"

kernlog=$LOG/demo-kernel.log
results kernel "$kernlog" >"$RES/demo-kernel.log" ||
	{ cat "$RES/demo-kernel.log"; die "the kernel complained, see $kernlog"; }
grep -q '^# guest ends with status 0$' "$RES/demo.tap" ||
	die "the demo failed; see $RES/demo.tap, $kernlog and $LOG/demo-vm.log"
