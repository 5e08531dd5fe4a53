#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# usage: kernel.sh uml|x86
#        kernel.sh lint		(only configures, from build/lint/linux)
#        kernel.sh bench-uml|bench-x86
#                               (from build/bench/linux, see bench-tree.sh)
#        kernel.sh bench-base	(the same without patches, from build/base)
#
# Configure and build a test kernel from the tree in build/linux into
# build/uml or build/x86.

. "$(dirname "$0")/lib.sh"

kind=${1:?uml or x86} fragments=(common debug "$1")
out=$BUILD/$kind
case $kind in
uml)	arch=um targets=(linux) ;;
x86)	arch=x86_64 targets=(bzImage modules) ;;
lint)	arch=x86_64 fragments=(common x86 lint)
	TREE=$BUILD/lint/linux out=$BUILD/lint/out ;;
bench-uml) arch=um fragments=(bench bench-uml) targets=(linux)
	TREE=$BUILD/bench/linux ;;
bench-x86) arch=x86_64 fragments=(bench bench-x86) targets=(bzImage)
	TREE=$BUILD/bench/linux ;;
bench-base) arch=x86_64 fragments=(bench bench-x86 bench-base) targets=(bzImage)
	TREE=$BUILD/base ;;
*)	die "no kernel is called $kind" ;;
esac
config=$out/.config
fragment=$out/fragment.config

configure()
{
	kmake "$out" ARCH="$arch" KCONFIG_ALLCONFIG="$fragment" allnoconfig

	# kconfig drops what it cannot have without a word
	local line refused=0
	while read -r line; do
		case $line in
		CONFIG_*QUIC_*)	# not in every tree that is built
			grep -qxF "$line" "$config" ||
				! grep -q net/quic "$TREE/net/Kconfig" && continue ;;
		CONFIG_*=n)
			! grep -q "^${line%=n}=" "$config" && continue ;;
		CONFIG_*)
			grep -qxF "$line" "$config" && continue ;;
		*)	continue ;;
		esac
		echo "not in the configuration: $line"
		refused=1
	done <"$fragment"
	[ $refused = 0 ] || { echo "error: kconfig refused some"; return 1; }
}

install_modules()
{
	rm -rf "$out/mod"
	kmake "$out" ARCH="$arch" INSTALL_MOD_PATH="$out/mod" modules_install
}

need_build
case $kind in
lint)	;;
bench-*) "$TOP/scripts/bench-tree.sh" ;;
*)	"$TOP/scripts/tree.sh" ;;
esac
mkdir -p "$out"
exec 8>"$out.lock"
flock 8
(cd "$TOP/scripts/config" && cat "${fragments[@]/%/.config}") >"$fragment"
# symbols come and go with our patches, too
id=$(find "$fragment" "$TREE"/net/{,ipv4/,quic/}Kconfig -exec cat {} + \
	2>/dev/null | sha256sum || true)
if [ "$id" != "$(cat "$out/config.id" 2>/dev/null)" ]; then
	rm -f "$out/config.id"
	step "config-$kind" "configuring the $kind kernel" configure
	echo "$id" >"$out/config.id"
fi
[ "$kind" != lint ] || exit 0
step "build-$kind" "building the $kind kernel (minutes, the first time)" \
	kmake "$out" ARCH="$arch" "${targets[@]}"
[[ $kind != x86 ]] || step "modules-$kind" "installing modules" install_modules
