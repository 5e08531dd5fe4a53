#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A shell in User Mode Linux on the guest root (read-only, /tmp is writable), with
# our kernel, and two netdevsim devices that seal, linked to each other, in the
# network namespaces "server" and "client".

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/guest.sh"

provision_root
"$TOP/scripts/kernel.sh" uml
"$TOP/scripts/selftests.sh"
guest_debug

guest_job shell kunit.enable=0 <<'END'
cd /usr/src/quic && . ./lib.sh
setup_netdevsim >/tmp/setup.log 2>&1 || cat /tmp/setup.log
cat <<'TEXT'
server (192.0.2.1) and client (192.0.2.2) are network namespaces, linked by
devices of these names; the server's device seals:
    ip netns exec server ethtool -S server
/usr/src/quic    server and clients of the demo, quic_offload.so, quic_wire
/mnt/selftests   the kselftests: cd /mnt/selftests/net; ./quic
/mnt/log         shell-kernel.log there is what the kernel says
"exit" ends the guest.
TEXT
PS1='quic:\w# ' exec setsid -c bash --norc -i <>/dev/tty1 >&0 2>&1
END
say "booting UML"
guest_in=fd:0 guest_uml shell 2>"$LOG/shell-vm.log"
say "what the kernel said is in $LOG/shell-kernel.log"
