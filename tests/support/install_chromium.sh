#!/bin/sh
# Install Chromium from the packages of the distribution. If it is installed, do nothing; this also works offline.

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
    echo "${0##*/}: the tests need Chromium. Please install it: this machine has no apt-get." >&2
    exit 1
fi
# On a machine that has just booted, automatic updates hold the lock for a while.
as_root apt-get -qq -o DPkg::Lock::Timeout=300 update
as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 install --yes --no-install-recommends chromium
has_chromium || { echo "${0##*/}: Chromium was installed but is still not found." >&2; exit 1; }
