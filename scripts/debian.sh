# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Packages of another Debian suite than the host's, without changing the host:
# a private source file and private lists below build/apt. The mirror is one
# that the host is configured for; Debian's keyring signs what it serves.

debian_keyring=/usr/share/keyrings/debian-archive-keyring.gpg

# debian_apt SUITE COMMAND...: apt-get or apt-cache that knows only that suite
debian_apt()
{
	local dir=$BUILD/apt/$1 command=$2
	shift 2
	"$command" -o Dir::Etc::sourcelist="$dir/debian.sources" \
		-o Dir::Etc::sourceparts=/dev/null \
		-o Dir::State::lists="$dir/lists" \
		-o Dir::Cache::archives="$dir/archives" \
		-o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= \
		-o Acquire::Languages=none -o APT::Sandbox::User=root "$@"
}

debian_mirrors()
{
	# shellcheck disable=SC2016 # apt expands it
	apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' |
		grep -v -e security -e '^file:' | awk '!seen[$0]++'
}

# debian_lists SUITE: the lists of that suite, at most a day old
debian_lists()
{
	local suite=$1 dir=$BUILD/apt/$1 mirror
	[ -z "$(find "$dir/lists" -maxdepth 1 -name '*_Packages*' -mtime -1 \
		-print -quit 2>/dev/null)" ] || return 0
	mkdir -p "$dir"/{lists,archives}/partial
	while read -r mirror; do
		printf '%s\n' "Types: deb" "URIs: $mirror" "Suites: $suite" \
			"Components: main" "Signed-By: $debian_keyring" \
			>"$dir/debian.sources"
		debian_apt "$suite" apt-get update -qq \
			-o APT::Update::Error-Mode=any >"$dir/update.log" 2>&1 &&
			return 0
	done < <(debian_mirrors)
	return 1
}

# debian_version SUITE PACKAGE: the newest version listed, or nothing
debian_version()
{
	command -v apt-get >/dev/null && [ -f "$debian_keyring" ] &&
		debian_lists "$1" || return 0
	debian_apt "$1" apt-cache madison "$2" 2>/dev/null |
		awk -F ' *[|] *' -v suite="$1" \
			'index($3, " " suite "/") { print $2; exit }'
}

# debian_unpack SUITE PACKAGE VERSION DIRECTORY: the files of a package
debian_unpack()
{
	local work=$BUILD/apt/$1/work deb
	rm -rf "$work" && mkdir -p "$work" "$4"
	(cd "$work" && debian_apt "$1" apt-get download -q "$2=$3")
	deb=$(find "$work" -name '*.deb')
	dpkg-deb --fsys-tarfile "$deb" | tar -C "$4" -x
	rm -rf "$work"
}

# debian_source SUITE PACKAGE DIRECTORY: its newest source, unpacked and patched
debian_source()
{
	local dir=$BUILD/apt/$1-source mirror
	mkdir -p "$dir"/{lists,archives}/partial
	while read -r mirror; do
		printf '%s\n' "Types: deb-src" "URIs: $mirror" "Suites: $1" \
			"Components: main" "Signed-By: $debian_keyring" \
			>"$dir/debian.sources"
		rm -rf "$dir/work" && mkdir "$dir/work"
		debian_apt "$1-source" apt-get update -qq &&
			(cd "$dir/work" && debian_apt "$1-source" \
				apt-get source -q "$2") &&
			mv "$dir/work/$2"-*/ "$3" && return
	done < <(debian_mirrors)
	return 1
}
