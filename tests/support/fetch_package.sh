#!/bin/sh
# Makes sure that there is a server program: the machine's own, or the distribution's package, unpacked into a directory
# with the libraries that it needs. It is not installed, since that would start it.
#
# usage: fetch_package.sh PROGRAM DIRECTORY

set -eu
LC_ALL=C
export LC_ALL
PATH="$PATH:/usr/sbin:/sbin"

if command -v "$1" >/dev/null || [ -x "$2/usr/sbin/$1" ]; then
    exit 0
fi
if ! command -v apt-get >/dev/null; then
    echo "${0##*/}: this needs $1, and can get it only where there is apt-get (Debian, Ubuntu)." >&2
    exit 1
fi
# The libraries of PgBouncer that a machine may lack; their names differ between releases. nginx needs none of them.
packages() {
    echo "$1"
    apt-cache depends "$1" | sed -n 's/^ *Depends: \(lib\(c-ares\|event\)[^ ]*\)$/\1/p'
}
mkdir -p "$2"
cd "$2"
apt-get -qq download $(packages "$1") || { # the lists of packages may be missing
    if [ "$(id -u)" -eq 0 ]; then apt-get -qq update; else sudo apt-get -qq update; fi
    apt-get -qq download $(packages "$1")
}
for package in *.deb; do
    dpkg-deb --extract "$package" .
done
rm ./*.deb
