# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Shared by the scripts next to it: places, progress, logs, packages.

set -euo pipefail

# shellcheck disable=SC2034 # used by the scripts that source this file
TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
BUILD=$TOP/build
JOBS=${JOBS:-$(nproc)}
# Debian's own tools first: a python of the user lacks its modules
export LC_ALL=C.UTF-8 PATH="/usr/sbin:/usr/bin:/sbin:/bin:$PATH"
export KBUILD_BUILD_TIMESTAMP=@0 KBUILD_BUILD_USER=quic KBUILD_BUILD_HOST=build

# the kernel's makes are none of our make's
unset MAKEFLAGS MFLAGS MAKELEVEL

say()	{ printf '%s\n' "== $*" >&2; }
die()	{ printf '%s\n' "error: $*" >&2; exit 1; }

# BASE, PRISTINE, OUT, TREE, LOG, RES
. "$TOP/scripts/base.sh"

# The outermost script starts a table of what took how long; those it calls add
# their steps.
if [ -z "${TIMES:-}" ]; then
	export TIMES=$LOG/times.$$.tsv STAGE
	STAGE=$(basename "$0" .sh)
	rm -f "$LOG"/times.*
fi

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

# took SECONDS TITLE: add a line to the table of times
took()	{ printf '%s\t%s\t%s\n' "$1" "$STAGE" "$2" >>"$TIMES"; }

# show_times FILE: its steps, without those of less than a second; $rest is the time
# that is left of $rest
show_times()
{
	local seconds stage title

	while IFS=$'\t' read -r seconds stage title; do
		rest=$((rest - seconds))
		[ "$seconds" = 0 ] ||
			printf '%8d s  %s: %s\n' "$seconds" "$stage" "$title"
	done <"$1"
} >&2

# the table of this script
times_table()
{
	local rest=$SECONDS

	say "time of each step:"
	show_times "$TIMES"
	printf '%8d s  %s\n' "$rest" "everything else" "$SECONDS" "sum" >&2
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
	took $((SECONDS - start)) "$title"
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
	exec 6>"$BUILD/apt.lock"
	flock 6
	if [ -z "$(find /var/lib/apt/lists -maxdepth 1 -name '*_Packages*' \
			-mtime -1 -print -quit 2>/dev/null)" ]; then
		step apt-update "updating the package lists" apt_update
	fi
	step apt-install "installing ${#missing[@]} packages" \
		apt_install "${missing[@]}"
	exec 6>&-
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
	local out=$1 ccache=()
	shift
	# The user's own cache. Paths below CCACHE_BASEDIR are relative in it, so
	# that a second clone starts warm.
	if command -v ccache >/dev/null; then
		ccache=("CC=ccache gcc" "HOSTCC=ccache gcc")
		export CCACHE_BASEDIR=$BUILD CCACHE_NOHASHDIR=1
		# the compiler's dependencies save preprocessing each file twice
		export CCACHE_DEPEND=1
	fi
	mkdir -p "$out"
	make -C "$TREE" O="$out" -j"$JOBS" "${ccache[@]}" "$@"
}

# The uapi headers that the series touches, that its selftests include, and that
# these include, in $OUT/headers/include. All of them would take a minute.
install_headers()
{
	step headers "installing uapi headers" headers
}

headers()
{
	local dir=$OUT/headers uapi=$TREE/include/uapi todo=() seen=' ' f

	mkdir -p "$dir/scripts"
	gcc -O1 -o "$dir/scripts/unifdef" "$TREE/scripts/unifdef.c" || return
	cd "$dir" || return
	mapfile -t todo < <(
		sed -n 's,^include/uapi/,,p' "$TREE.files"
		cd "$TREE/tools/testing/selftests/net" &&
			included quic*.[ch] udpgso*.c)
	while [ ${#todo[@]} -gt 0 ]; do
		f=${todo[0]} todo=("${todo[@]:1}")
		if [[ $seen == *" $f "* ]] || [ ! -e "$uapi/$f" ]; then
			continue
		fi
		seen+="$f "
		mapfile -t -O ${#todo[@]} todo < <(included "$uapi/$f")
		[ "include/$f" -nt "$uapi/$f" ] && continue
		mkdir -p "include/$(dirname "$f")"
		sh "$TREE/scripts/headers_install.sh" "$uapi/$f" \
			"include/$f" || return
	done
}

# included FILE...: which headers of the kernel they include
included()
{
	sed -nE 's,^#\s*include <(linux/[^>]*)>.*,\1,p' "$@" | sort -u
}

# results ARGUMENT...: see results.py
results()
{
	RES=$RES /usr/bin/python3 "$TOP/scripts/results.py" "$@"
}
