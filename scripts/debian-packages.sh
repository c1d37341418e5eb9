#!/usr/bin/env bash
# Installs those of the named Debian packages that are not installed yet.
# Usage: scripts/debian-packages.sh PACKAGE...
# Does nothing, in a few milliseconds, when all are there.
set -euo pipefail

if ! command -v dpkg-query >/dev/null; then
    echo "This is no Debian. Install what these Debian packages hold by your own means: $*" >&2
    exit 1
fi

# A package that dpkg has never heard of is printed on stderr, is missing from stdout, and makes
# dpkg-query fail: hence the comparison by name, and no regard to how it ended.
known=$(dpkg-query --show --showformat '${db:Status-Status}:${Package}\n' "$@" 2>/dev/null || true)
installed=" $(sed -n 's/^installed://p' <<<"$known" | tr '\n' ' ') "
missing=()
for package in "$@"; do
    [[ $installed == *" $package "* ]] || missing+=("$package")
done
[[ ${#missing[@]} -gt 0 ]] || exit 0

as_root=()
if [[ $EUID -ne 0 ]]; then
    if ! command -v sudo >/dev/null; then
        echo "Run this as root, which cannot be done from here: apt-get install ${missing[*]}" >&2
        exit 1
    fi
    as_root=(sudo)
fi

echo "Installing Debian packages: ${missing[*]}"
install=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive
    apt-get install --yes --quiet --option DPkg::Lock::Timeout=600 --no-install-recommends "${missing[@]}")
# The machine's package lists may be older than the mirror's files: refresh them once and retry.
if ! "${install[@]}"; then
    "${as_root[@]}" apt-get update --quiet
    "${install[@]}"
fi
