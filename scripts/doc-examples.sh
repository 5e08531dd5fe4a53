#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# usage: doc-examples.sh FILE.rst INCLUDE-DIRECTORY [PROGRAM]
#
# Compile the C examples of a document, all of them together, as C and with
# the uapi headers in INCLUDE-DIRECTORY. Errors name the document's lines.
# With PROGRAM, make that of them and of lib/test/doc_examples.c, which runs
# them: it has to call each of their functions.

set -euo pipefail
rst=${1:?document} include=${2:?directory of the uapi headers} program=${3:-}
lib=$(cd "$(dirname "$0")/../lib" && pwd)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

compile()
{
	gcc -std=gnu99 -Wall -Wextra -Werror -I "$include" "$@"
}

# The linker drops functions that nobody calls, and names them.
build()
{
	rm -f "$program"
	compile -I "$dir" -ffunction-sections -c -o "$dir/main.o" \
		"$lib/test/doc_examples.c"
	compile -c -o "$dir/pkt.o" "$lib/quic_pkt.c"
	LC_ALL=C gcc -o "$program" "$dir/main.o" "$dir/pkt.o" -lcrypto \
		-Wl,--gc-sections,--print-gc-sections 2>"$dir/dropped" || {
		cat "$dir/dropped" >&2
		exit 1
	}
	if grep -F "/main.o'" "$dir/dropped" | grep -F "'.text." >&2; then
		echo "error: $lib/test/doc_examples.c does not call these" >&2
		rm -f "$program"
		exit 1
	fi
}

# what is indented below ".. code-block:: c"
awk -v file="$rst" '
	/^\.\. code-block:: c$/ { inside = 1; n++; next }
	inside && /^[^ \t]/	{ inside = 0 }
	inside			{ printf "#line %d \"%s\"\n", NR, file
				  sub(/^(\t|        )/, ""); print }
	END			{ print n + 0 >"/dev/stderr" }
' "$rst" >"$dir/quic_examples.c" 2>"$dir/n"
n=$(cat "$dir/n")
[ "$n" -gt 0 ] || { echo "error: no examples in $rst" >&2; exit 1; }

if [ -n "$program" ]; then
	build
	echo "$n examples of $rst are in $program"
	exit
fi
for flags in "" -m32; do
	# shellcheck disable=SC2086 # no flag, or some
	compile $flags -c -o "$dir/examples.o" "$dir/quic_examples.c"
done
echo "$n examples of $rst compile"
