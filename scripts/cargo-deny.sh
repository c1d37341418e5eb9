#!/usr/bin/env bash
# Runs cargo-deny with the given arguments, building it first where it is missing. Apart from
# `make lint`, because that build takes minutes; it is kept in the user's cache, not in the clone.
set -euo pipefail

version=0.20.2
root=${XDG_CACHE_HOME:-$HOME/.cache}/quarterdeck/tools
deny=$root/bin/cargo-deny

if [[ "$("$deny" --version 2>/dev/null)" != "cargo-deny $version" ]]; then
    cargo install --quiet --locked --root "$root" --target-dir "$root/target" \
        --version "$version" cargo-deny
    rm -rf "$root/target"
fi
exec "$deny" "$@"
