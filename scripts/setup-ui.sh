#!/usr/bin/env bash
# Installs what the web page is built and tested with, as ui/package-lock.json has it: done in a moment when it is there.
# With --browser it installs Debian's Chromium, too, which the flows run in.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ui=$here/../ui

if [[ ${1:-} == --browser ]] && ! command -v chromium >/dev/null; then
    "$here/debian-packages.sh" chromium
fi

# Vite asks for this one or a newer.
if ! command -v node >/dev/null || ! node -e '
    const [major, minor] = process.versions.node.split(".").map(Number);
    process.exit(major > 20 || (major === 20 && minor >= 19) ? 0 : 1)'; then
    cat >&2 <<'MISSING'
Node.js 20.19 or newer is needed to build the web page, and Debian 12 has 18. Install one, such as from
https://nodejs.org/en/download, and put it on the PATH with its npm.
MISSING
    exit 1
fi

(
    # Two builds on one machine share the folder.
    flock 9
    if ! cmp --silent "$ui/package-lock.json" "$ui/node_modules/.installed-lock.json"; then
        echo "Installing what the web page is built with"
        (cd "$ui" && npm ci --no-audit --no-fund --prefer-offline --loglevel=error)
        cp "$ui/package-lock.json" "$ui/node_modules/.installed-lock.json"
    fi
) 9>"$ui/.install.lock"
