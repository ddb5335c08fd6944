#!/bin/sh
# Provide a server program. If the machine lacks it, unpack the package of the distribution, with the libraries that it
# needs, into a directory. The package is not installed, because that would start the server.
#
# usage: fetch_package.sh PROGRAM DIRECTORY

set -eu
LC_ALL=C
export LC_ALL
PATH="$PATH:/usr/sbin:/sbin"

if command -v "$1" >/dev/null || [ -x "$2/usr/sbin/$1" ] || [ -x "$2/usr/bin/$1" ]; then
    exit 0
fi
if ! command -v apt-get >/dev/null; then
    echo "${0##*/}: this needs $1. Please install it: this machine has no apt-get (Debian, Ubuntu)." >&2
    exit 1
fi
# List the package and those libraries of PgBouncer and Redis that a machine may lack. Their names differ between
# releases. nginx needs none of them. The program of redis-server is in redis-tools.
packages() {
    tools=$(apt-cache depends "$1" | sed -n 's/^ *Depends: \(redis-tools\)$/\1/p')
    echo "$1" $tools
    apt-cache depends "$1" $tools | sed -n 's/^ *Depends: \(lua-[^ ]*\|lib\(c-ares\|event\|jemalloc\|lua\|lzf\)[^ ]*\)$/\1/p'
}
mkdir -p "$2"
cd "$2"
apt-get -qq download $(packages "$1") || { # the package lists may be missing
    # On a machine that has just booted, automatic updates hold the lock for a while.
    options="-qq -o DPkg::Lock::Timeout=300"
    if [ "$(id -u)" -eq 0 ]; then apt-get $options update; else sudo apt-get $options update; fi
    apt-get -qq download $(packages "$1")
}
for package in *.deb; do
    dpkg-deb --extract "$package" .
done
rm ./*.deb
