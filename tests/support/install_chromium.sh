#!/bin/sh
# Makes sure that Chromium is on this machine, from the distribution's packages. Does nothing, offline too, if it is.

set -eu
LC_ALL=C
export LC_ALL

has_chromium() {
    command -v chromium >/dev/null || command -v chromium-browser >/dev/null
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    else
        sudo "$@"
    fi
}

if has_chromium; then
    exit 0
fi
if ! command -v apt-get >/dev/null; then
    echo "${0##*/}: the tests need Chromium. Please install it: there is no apt-get here." >&2
    exit 1
fi
# On a machine that has just booted, its own updates hold the lock for a while.
as_root apt-get -qq -o DPkg::Lock::Timeout=300 update
as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 install --yes --no-install-recommends chromium
has_chromium || { echo "${0##*/}: Chromium was installed, and is still not found." >&2; exit 1; }
