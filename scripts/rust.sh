# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Rust in the guest root, for lib/quinn-quic-kernel: Debian's compiler and crates,
# 600 MB, so only for those who ask for it. It stays until the root is made anew.
# shellcheck disable=SC2154 # root: from guest.sh

. "$(dirname "${BASH_SOURCE[0]}")/debian.sh"

rust_packages=(rustc cargo librust-quinn-dev)
crate=/usr/src/quic/quinn-quic-kernel	# in the guest root

rust_installed()
{
	as_root chroot "$root" dpkg-query -W "${rust_packages[@]}" >/dev/null 2>&1
}

rust_install()
{
	local debs=$BUILD/apt/trixie/archives

	debian_lists trixie || return
	rm -f "$debs"/*.deb
	debian_apt trixie apt-get install -q -y --download-only \
		--no-install-recommends \
		-o Dir::State::status="$root/var/lib/dpkg/status" \
		"${rust_packages[@]}" || return
	as_root env DEBIAN_FRONTEND=noninteractive \
		dpkg --root="$root" -i "$debs"/*.deb || return
	rm -f "$debs"/*.deb
}

# rust_cargo ARGUMENT...: in the directory of the crate
rust_cargo()
{
	as_root chroot "$root" env -C "$crate" HOME=/root CARGO_NET_OFFLINE=true \
		nice -n 19 cargo "$@" --offline -j "$JOBS"
}

rust_build()
{
	rust_cargo build --examples && rust_cargo test --no-run --lib
}

# the crate, its examples and its unit tests, after tools()
provision_rust()
{
	if ! rust_installed; then
		step rust-install "installing Rust in the guest root (600 MB)" \
			rust_install
	fi
	step rust-build "building quinn-quic-kernel (5 minutes at first)" \
		rust_build
}
