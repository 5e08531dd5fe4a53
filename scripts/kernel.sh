#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# usage: kernel.sh KIND
#
# Configure a kernel from the patched tree and build it in build/KIND:
#	uml		User Mode Linux, with all that watches the code under test
#	vng		x86-64: modules, preemption, two CPUs, lockdep
#	demo		User Mode Linux without debugging
#	boot		as uml, from the tree of series-boot.sh
#	lint		x86-64, configured only, from the tree of lint.sh
#	bench-uml	as demo, and
#	bench-x86	x86-64 without debugging, from the tree of bench-tree.sh
#	bench-base	the same from the pristine source
#	bench-off	as bench-x86, without UDP_ULP
# DEBUG=1 builds uml or vng with debug information, in build/KIND-debug, and
# SMP=1 uml for two CPUs, in build/uml-smp; KASAN=1 uml with KASAN and kmemleak, in
# build/uml-kasan.

. "$(dirname "$0")/lib.sh"

kind=${1:?kind of kernel}
out=$OUT/$kind
case $kind in
uml)	arch=um fragments=(common features debug uml) targets=(linux modules) ;;
vng)	arch=x86_64 fragments=(common vng) targets=(bzImage modules) ;;
demo)	arch=um fragments=(lean lean-uml) targets=(linux) ;;
boot)	arch=um fragments=(common features debug uml) targets=(linux)
	TREE=$OUT/boot/linux out=$OUT/boot/uml ;;
lint)	arch=x86_64 fragments=(common features vng lint)
	TREE=$OUT/lint/linux out=$OUT/lint/out ;;
bench-uml) arch=um fragments=(lean lean-uml bench) targets=(linux)
	TREE=$OUT/bench/linux ;;
bench-x86) arch=x86_64 fragments=(lean lean-x86 bench) targets=(bzImage)
	TREE=$OUT/bench/linux ;;
bench-base) arch=x86_64 fragments=(lean lean-x86 bench-base)
	targets=(bzImage) TREE=$PRISTINE ;;
bench-off) arch=x86_64 fragments=(lean lean-x86 bench-base bench-off)
	targets=(bzImage) TREE=$OUT/bench/linux ;;
*)	die "no kernel is called $kind" ;;
esac
if [ "${DEBUG:-}" = 1 ] && [[ $kind =~ ^(uml|vng)$ ]]; then
	out+=-debug fragments+=(dwarf)
fi
if [ "${KASAN:-}" = 1 ] && [ "$kind" = uml ]; then
	out+=-kasan fragments+=(kasan)
fi
if [ "${SMP:-}" = 1 ] && [ "$kind" = uml ]; then
	[ "$BASE" != "$base_oldest" ] || die "SMP=1: not on Linux $BASE"
	out+=-smp fragments+=(smp)
fi
config=$out/.config
fragment=$out/fragment.config

# the fragments, and what is so on this base only
fragments()
{
	local f

	for f in "${fragments[@]}"; do
		cat "$f.config"
		[ ! -e "$f-$BASE.config" ] || cat "$f-$BASE.config"
	done
}

configure()
{
	kmake "$out" ARCH="$arch" KCONFIG_ALLCONFIG="$fragment" allnoconfig

	# kconfig drops what it cannot have without a word
	local line refused=0
	while read -r line; do
		case $line in
		# not in a tree with parts of the series
		CONFIG_*QUIC_*|CONFIG_UDP_ULP=*)
			grep -qxF "$line" "$config" ||
				[[ $kind =~ ^(boot|lint|bench-(base|off))$ ]] &&
				continue ;;
		CONFIG_*=n)
			! grep -q "^${line%=n}=" "$config" && continue ;;
		CONFIG_*)
			grep -qxF "$line" "$config" && continue ;;
		*)	continue ;;
		esac
		echo "not in the configuration: $line"
		refused=1
	done <"$fragment"
	[ "$kind" != bench-off ] || ! grep '^CONFIG_UDP_ULP=' "$config" ||
		refused=1
	[ $refused = 0 ] || { echo "error: kconfig refused some"; return 1; }
}

install_modules()
{
	rm -rf "$out/mod"
	kmake "$out" ARCH="$arch" INSTALL_MOD_PATH="$out/mod" modules_install
}

need_build
case $kind in
boot|lint) ;;
bench-*) "$TOP/scripts/bench-tree.sh" ;;
*)	"$TOP/scripts/tree.sh" ;;
esac
mkdir -p "$out"
exec 8>"$out.lock"
flock 8
(cd "$TOP/scripts/config" && fragments) >"$fragment"
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
[[ $kind != vng ]] || step "modules-$kind" "installing modules" install_modules
