#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The guest root in build/root: Debian 13 (trixie) whatever the host is, with
# the peers of the demo and a compiler; and virtme-ng's package, unpacked into
# build/virtme-ng: Debian 12 has none, and this way the host stays as it is.

. "$(dirname "$0")/lib.sh"

suite=trixie
vng=virtme-ng_1.35-1_all.deb
vng_sha256=e7b9d2f28e34766446db5c40b7fdd9a09ed561af21e4aa580a660ff9a0a86f5a
root=$BUILD/root

# what the tests need, then what lib asks for
packages=(ethtool gcc iproute2 iptables iputils-ping kmod libc6-dev libssl-dev
	  make procps python3 python3-yaml rsync tcpdump udev)
list=$TOP/lib/packages.txt
if [ -f "$list" ]; then
	mapfile -t -O ${#packages[@]} packages < <(grep -oE '^[a-z0-9.+-]+' "$list")
fi
include=$(printf '%s\n' "${packages[@]}" | sort -u | paste -sd,)
id=$(printf '%s\n' "$suite $vng $include" | cat - "$0" | sha256sum)

bootstrap()
{
	as_root rm -rf "$root" "$root.part" "$BUILD/virtme-ng"
	# shellcheck disable=SC2016 # mmdebstrap's shell is to expand them
	as_root mmdebstrap --mode=root --variant=minbase --include="$include" \
		--dpkgopt='path-exclude=/usr/share/doc/*' \
		--dpkgopt='path-exclude=/usr/share/man/*' \
		--dpkgopt='path-exclude=/usr/share/locale/*' \
		--customize-hook='chroot "$1" sh -c "cd /root &&
			apt-get update -q && apt-get download -q virtme-ng"' \
		--customize-hook='for t in iptables ip6tables; do
			chroot "$1" update-alternatives --set $t \
				/usr/sbin/$t-legacy; done' \
		--customize-hook='mkdir -p "$1/usr/src/quic" "$1/result"' \
		"$suite" "$root.part"
	echo "$vng_sha256  $root.part/root/$vng" | as_root sha256sum -c
	as_root cp "$root.part/root/$vng" "$BUILD/$vng"
	dpkg-deb -x "$BUILD/$vng" "$BUILD/virtme-ng"
	as_root mv "$root.part" "$root"
}

if [ "$id" != "$(cat "$BUILD/root.id" 2>/dev/null)" ]; then
	need "building the guest root" mmdebstrap debian-archive-keyring
	rm -f "$BUILD/root.id"
	step root "building the Debian 13 guest root (2-3 minutes)" bootstrap
	echo "$id" >"$BUILD/root.id"
fi
