# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Shared by the scripts next to it: places, progress, logs, packages.

set -euo pipefail

# shellcheck disable=SC2034 # used by the scripts that source this file
TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
BUILD=$TOP/build
JOBS=${JOBS:-$(nproc)}
export LC_ALL=C.UTF-8 PATH="$PATH:/usr/sbin:/sbin"
export KBUILD_BUILD_TIMESTAMP=@0 KBUILD_BUILD_USER=quic KBUILD_BUILD_HOST=build

# the kernel's makes are none of our make's
unset MAKEFLAGS MFLAGS MAKELEVEL

say()	{ printf '%s\n' "== $*" >&2; }
die()	{ printf '%s\n' "error: $*" >&2; exit 1; }

# BASE, PRISTINE, OUT, TREE, LOG, RES
. "$TOP/scripts/base.sh"

# as_root COMMAND...: run it as root
as_root()
{
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo "$@"
	else
		die "need root for: $*"
	fi
}

# step LOG TITLE COMMAND...: run a long command with its output in
# $LOG/LOG.log and a line of progress, and name the log when it fails
step()
{
	local log=$LOG/$1.log title=$2 start=$SECONDS pid rc=0 lines last=0
	shift 2

	"$@" >"$log" 2>&1 </dev/null &
	pid=$!
	printf '== %s ' "$title" >&2
	[ -t 2 ] || printf '\n' >&2
	while kill -0 "$pid" 2>/dev/null; do
		sleep 0.5
		if [ -t 2 ]; then
			lines=$(wc -l <"$log")
			printf '\r== %s [%ds, %d lines of log] ' \
				"$title" $((SECONDS - start)) "$lines" >&2
		elif [ $(((SECONDS - start) / 60)) -gt "$last" ]; then
			last=$(((SECONDS - start) / 60))
			printf '   ... %d min: %s\n' "$last" \
				"$(tail -n 1 "$log" | cut -c 1-90)" >&2
		fi
	done
	wait "$pid" || rc=$?
	if [ "$rc" != 0 ]; then
		printf '\n' >&2
		grep -nE -m 8 'error:|Error |undefined|FAILED|^E: ' "$log" >&2 ||
			tail -n 15 "$log" >&2
		die "$title failed (status $rc), see $log"
	fi
	if [ -t 2 ]; then
		printf '\r== %s: done in %ds\033[K\n' "$title" \
			$((SECONDS - start)) >&2
	else
		printf '   done in %ds\n' $((SECONDS - start)) >&2
	fi
}

# need WHY PACKAGE...: install the Debian packages that are missing
need()
{
	local why=$1 pkg missing=()
	shift

	command -v dpkg-query >/dev/null ||
		die "no dpkg here; $why needs the equivalent of: $*"
	for pkg; do
		case $(dpkg-query -W -f='${Status}' "$pkg" 2>/dev/null) in
		"install ok installed") ;;
		*) missing+=("$pkg") ;;
		esac
	done
	[ ${#missing[@]} -gt 0 ] || return 0

	say "installing ${missing[*]}: $why"
	if [ -z "$(find /var/lib/apt/lists -maxdepth 1 -name '*_Packages*' \
			-mtime -1 -print -quit 2>/dev/null)" ]; then
		step apt-update "updating the package lists" apt_update
	fi
	step apt-install "installing ${#missing[@]} packages" \
		apt_install "${missing[@]}"
}

# a broken third-party list is no reason to stop: the install will tell
apt_update()
{
	as_root apt-get update || true
}

apt_install()
{
	as_root env DEBIAN_FRONTEND=noninteractive \
		apt-get install -y --no-install-recommends "$@" && return
	apt_update
	as_root env DEBIAN_FRONTEND=noninteractive \
		apt-get install -y --no-install-recommends "$@"
}

need_build()
{
	need "building the kernel" gcc g++ make flex bison bc perl python3 git \
		patch xz-utils libc6-dev libelf-dev libssl-dev rsync kmod \
		ccache
}

# kmake OUTPUT ARGUMENT...: make in the patched tree
kmake()
{
	local out=$1
	shift
	mkdir -p "$out"
	make -C "$TREE" O="$out" -j"$JOBS" "${CCACHE[@]}" "$@"
}

# the uapi headers of the patched tree, in build/headers/include
install_headers()
{
	step headers "installing the kernel's uapi headers" \
		kmake "$OUT/headers" ARCH=x86_64 headers_install \
		INSTALL_HDR_PATH="$OUT/headers"
}

# results ARGUMENT...: see results.py
results()
{
	python3 "$TOP/scripts/results.py" "$@"
}

# conclude STAGE KERNEL-LOG: what is to be said after a guest ran, whose
# output is in build/results/STAGE-tests.tap
conclude()
{
	local tap=$RES/$1-tests.tap
	grep -q '^# guest ends' "$tap" ||
		echo "not ok 1 the guest came to its end, see $2" |
			tee -a "$tap"
	results kernel "$2" | tee "$RES/$1-kernel.tap" || true
	results stage "$1"
}

CCACHE=()
if command -v ccache >/dev/null; then
	CCACHE=("CC=ccache gcc" "HOSTCC=ccache gcc")
	# the user's own cache: a second clone starts warm
	export CCACHE_BASEDIR=$BUILD CCACHE_NOHASHDIR=1
fi
