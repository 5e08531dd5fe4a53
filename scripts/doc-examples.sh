#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# usage: doc-examples.sh FILE.rst INCLUDE-DIRECTORY
#
# Compile the C examples of a document, all of them together, as C and with
# the uapi headers in INCLUDE-DIRECTORY. Errors name the document's lines.

set -euo pipefail
rst=${1:?document} include=${2:?directory of the uapi headers}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

# what is indented below ".. code-block:: c"
awk -v file="$rst" '
	/^\.\. code-block:: c$/ { inside = 1; n++; next }
	inside && /^[^ \t]/	{ inside = 0 }
	inside			{ printf "#line %d \"%s\"\n", NR, file
				  sub(/^(\t|        )/, ""); print }
	END			{ print n + 0 >"/dev/stderr" }
' "$rst" >"$dir/examples.c" 2>"$dir/n"
n=$(cat "$dir/n")
[ "$n" -gt 0 ] || { echo "error: no examples in $rst" >&2; exit 1; }

for flags in "" -m32; do
	# shellcheck disable=SC2086 # no flag, or some
	gcc -std=gnu99 -Wall -Wextra -Werror $flags -I "$include" \
		-c -o "$dir/examples.o" "$dir/examples.c"
done
echo "$n examples of $rst compile"
