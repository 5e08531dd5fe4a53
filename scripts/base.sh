# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Which kernel everything is for, and where its files are. Sourced by lib.sh.
#
# BASE=7.3	Debian's linux-source-7.3, from the backports of Debian 13
# BASE=6.12	Debian's linux-source-6.12
# KSRC=/path	another source; BASE comes from its Makefile
#
# Without any of these, the newest base that can be had.

. "$(dirname "${BASH_SOURCE[0]}")/debian.sh"

base_newest=7.3
base_oldest=6.12
base_suite=trixie-backports

# makefile_var NAME: a variable at the top of $PRISTINE/Makefile
makefile_var()
{
	sed -n "s/^$1 = *//p" "$PRISTINE/Makefile" | head -n 1
}

# kernel_release: release of $PRISTINE, such as 7.3.4
kernel_release()
{
	echo "$(makefile_var VERSION).$(makefile_var PATCHLEVEL).$(
		makefile_var SUBLEVEL)$(makefile_var EXTRAVERSION)"
}

base_default()
{
	if [ -d "$BUILD/base-$base_newest" ] ||
	   [ -n "$(debian_version $base_suite linux-source-$base_newest)" ]; then
		echo $base_newest
		return
	fi
	say "no mirror has linux-source-$base_newest: using Linux $base_oldest"
	echo $base_oldest
}

if [ -n "${KSRC:-}" ]; then
	PRISTINE=$(cd "$KSRC" && pwd)
	[ -f "$PRISTINE/net/ipv4/udp.c" ] ||
		die "KSRC=$KSRC is no kernel tree"
	BASE=$(makefile_var VERSION).$(makefile_var PATCHLEVEL)
else
	BASE=${BASE:-$(base_default)}
	PRISTINE=$BUILD/base-$BASE
fi
export BASE

OUT=$BUILD/$BASE
LOG=$OUT/log
RES=$OUT/results
# shellcheck disable=SC2034 # used by the scripts that source this file
TREE=$OUT/linux
mkdir -p "$LOG" "$RES"
