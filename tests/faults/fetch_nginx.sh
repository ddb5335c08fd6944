#!/bin/sh
# Makes sure that there is an nginx: the machine's own, or the distribution's package, unpacked into a directory. It is
# not installed, since that would start it.
#
# usage: fetch_nginx.sh DIRECTORY

set -eu
LC_ALL=C
export LC_ALL
PATH="$PATH:/usr/sbin:/sbin"

if command -v nginx >/dev/null || [ -x "$1/usr/sbin/nginx" ]; then
    exit 0
fi
if ! command -v apt-get >/dev/null; then
    echo "${0##*/}: this needs nginx, and can get it only where there is apt-get (Debian, Ubuntu)." >&2
    exit 1
fi
mkdir -p "$1"
cd "$1"
apt-get -qq download nginx || { # the lists of packages may be missing
    if [ "$(id -u)" -eq 0 ]; then apt-get -qq update; else sudo apt-get -qq update; fi
    apt-get -qq download nginx
}
dpkg-deb --extract nginx_*.deb .
rm nginx_*.deb
