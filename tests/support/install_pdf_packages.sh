#!/bin/sh
# Install the libraries that WeasyPrint needs for PDF, and programs of poppler, which read PDF in the tests, from the
# packages of the distribution. If nothing is missing, do nothing; this also works offline.

set -eu
LC_ALL=C
export LC_ALL
PATH="$PATH:/usr/sbin:/sbin" # for ldconfig; the PATH of a user often lacks these directories

# Print a package if its library is missing.
library() {
    ldconfig -p | grep -qF "$1 " || echo "$2"
}

missing() {
    library libpango-1.0.so.0 libpango-1.0-0
    library libpangoft2-1.0.so.0 libpangoft2-1.0-0
    library libharfbuzz-subset.so.0 libharfbuzz-subset0
    command -v pdftotext >/dev/null && command -v pdffonts >/dev/null || echo poppler-utils
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    else
        sudo "$@"
    fi
}

packages=$(missing)
if [ -z "$packages" ]; then
    exit 0
fi
if ! command -v apt-get >/dev/null; then
    echo "${0##*/}: the tests need" $packages "(the names in Debian). Please install them: this machine has no apt-get." >&2
    exit 1
fi
# On a machine that has just booted, automatic updates hold the lock for a while.
as_root apt-get -qq -o DPkg::Lock::Timeout=300 update
as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 install --yes --no-install-recommends $packages
[ -z "$(missing)" ] || { echo "${0##*/}:" $(missing) "was installed but is still not found." >&2; exit 1; }
