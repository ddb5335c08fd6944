#!/bin/sh
# Install PostgreSQL 15 or newer with the extensions hll and PostGIS, gpg, and libmagic, which the reference aggregator of
# the tests loads. Missing packages come from the distribution. The script does not create or start a cluster, because
# the tests start their own. If nothing is missing, it does nothing; this also works offline.

set -eu
LC_ALL=C
export LC_ALL
PATH="$PATH:/usr/sbin:/sbin" # for ldconfig; the PATH of a user often lacks these directories

oldest=15
no_cluster=/etc/postgresql-common/createcluster.d/eida-statistics-tests.conf

fail() {
    printf '%s: %s\n' "${0##*/}" "$1" >&2
    exit 1
}

# Print the versions of the installed servers that are new enough, newest first.
servers() {
    for initdb in /usr/lib/postgresql/*/bin/initdb; do
        version=${initdb#/usr/lib/postgresql/}
        version=${version%/bin/initdb}
        case $version in *[!0-9]*) continue ;; esac
        if [ "$version" -ge "$oldest" ] && [ -x "$initdb" ]; then
            echo "$version"
        fi
    done | sort -rn
}

# The tests use the newest server with hll, which must have PostGIS, too.
server_with_extensions() {
    for version in $(servers); do
        if [ -f "/usr/share/postgresql/$version/extension/hll.control" ]; then
            [ -f "/usr/share/postgresql/$version/extension/postgis.control" ]
            return
        fi
    done
    return 1
}

libmagic() {
    ldconfig -p | grep -q 'libmagic\.so\.1 '
}

gpg_with_agent() {
    # The tests generate keys, for which gpg needs its agent.
    command -v gpg >/dev/null && command -v gpg-agent >/dev/null
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    else
        sudo "$@"
    fi
}

apt_get() {
    # On a machine that has just booted, automatic updates hold the lock for a while.
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 "$@"
}

candidate() {
    apt-cache policy "$1" | grep -q '^ *Candidate: [^(]'
}

# Print the version for which to install the extensions: that of an installed server, or the default version of the
# distribution, or the newest available version.
version_to_install() {
    default=$(apt-cache depends postgresql 2>/dev/null | sed -n 's/^ *Depends: postgresql-\([0-9][0-9]*\)$/\1/p')
    offered=$(apt-cache search --names-only '^postgresql-[0-9]+-hll$' | sed 's/^postgresql-\([0-9]*\)-hll.*/\1/' | sort -rn)
    for version in $(servers) $default $offered; do
        if [ "$version" -ge "$oldest" ] && candidate "postgresql-$version" && candidate "postgresql-$version-hll" &&
            candidate "postgresql-$version-postgis-3"; then
            echo "$version"
            return 0
        fi
    done
    return 1
}

made_directory=no
forbid_cluster() {
    directory=${no_cluster%/*}
    trap 'allow_cluster' EXIT
    trap 'exit 1' HUP INT TERM
    if [ ! -d "$directory" ]; then
        made_directory=yes
        as_root mkdir -p "$directory"
    fi
    echo 'create_main_cluster = false' | as_root tee "$no_cluster" >/dev/null
}

allow_cluster() {
    as_root rm -f "$no_cluster"
    if [ "$made_directory" = yes ]; then
        as_root rmdir "${no_cluster%/*}" 2>/dev/null || true # ignore errors: another program may have added files
    fi
}

if server_with_extensions && libmagic && gpg_with_agent; then
    exit 0
fi

command -v apt-get >/dev/null && command -v apt-cache >/dev/null || fail "\
this needs PostgreSQL $oldest or newer with the extensions hll and PostGIS under /usr/lib/postgresql and \
/usr/share/postgresql, and gpg and libmagic.so.1. Please install them manually: without apt-get (Debian, Ubuntu), this \
script cannot install them."
[ "$(id -u)" -eq 0 ] || command -v sudo >/dev/null || fail "\
PostgreSQL with its extensions, gpg or libmagic is missing. This machine has no sudo: run this script as root."

apt_get update

set --
if ! server_with_extensions; then
    version=$(version_to_install) || fail "\
the package sources of this machine have no PostgreSQL $oldest or newer with the extensions hll and PostGIS."
    set -- "postgresql-$version-hll" "postgresql-$version-postgis-3"
    if [ ! -x "/usr/lib/postgresql/$version/bin/initdb" ]; then
        set -- "postgresql-$version" "$@"
        forbid_cluster
    fi
fi
if ! libmagic; then
    # Debian 13 and Ubuntu 24.04 renamed the package for the transition to a 64-bit time_t.
    if candidate libmagic1t64; then
        set -- "$@" libmagic1t64
    else
        set -- "$@" libmagic1
    fi
fi
if ! gpg_with_agent; then
    set -- "$@" gpg gpg-agent
fi
apt_get install --yes --no-install-recommends "$@"

server_with_extensions && libmagic && gpg_with_agent || fail "\
$* is installed, but PostgreSQL, its extensions, libmagic or gpg is still not found."
