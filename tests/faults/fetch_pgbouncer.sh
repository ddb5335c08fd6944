#!/bin/sh
# Makes sure that there is a PgBouncer: the machine's own, or the distribution's package, unpacked into a directory with
# the libraries that it needs. It is not installed, since that would start it.
#
# usage: fetch_pgbouncer.sh DIRECTORY

set -eu
LC_ALL=C
export LC_ALL
PATH="$PATH:/usr/sbin:/sbin"

if command -v pgbouncer >/dev/null || [ -x "$1/usr/sbin/pgbouncer" ]; then
    exit 0
fi
if ! command -v apt-get >/dev/null; then
    echo "${0##*/}: this needs PgBouncer, and can get it only where there is apt-get (Debian, Ubuntu)." >&2
    exit 1
fi
# The libraries that a machine without PgBouncer may lack; their names differ between releases.
packages() {
    echo pgbouncer
    apt-cache depends pgbouncer | sed -n 's/^ *Depends: \(lib\(c-ares\|event\)[^ ]*\)$/\1/p'
}
mkdir -p "$1"
cd "$1"
apt-get -qq download $(packages) || { # the lists of packages may be missing
    if [ "$(id -u)" -eq 0 ]; then apt-get -qq update; else sudo apt-get -qq update; fi
    apt-get -qq download $(packages)
}
for package in *.deb; do
    dpkg-deb --extract "$package" .
done
rm ./*.deb
