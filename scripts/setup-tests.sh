#!/usr/bin/env bash
# Installs the real parts that the tests run against, on Debian 12: PostgreSQL, HAProxy, Prometheus, libvirt with QEMU, Docker, Podman, Chromium,
# cloud-init and systemd (to check what is written for them), dnf and zypper with a repository of rpm, Ansible and Salt,
# a Redfish service over libvirt (sushy-tools), an OpenID Connect issuer, and clients of the Kubernetes API
# and of Redfish written in Python. `make test` calls it; when all is there it is done in a fraction of a second. It
# starts no service.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# What a build needs; the same list as `make build` asks for.
"$here/debian-packages.sh" gcc libc6-dev lld make

# QEMU comes before the rest: where a backport of qemu-utils is installed, it must make way for
# the version that belongs to this QEMU, and apt finds that solution only when asked for QEMU alone.
"$here/debian-packages.sh" qemu-system-x86

# libvirtd is run by the tests themselves, as a user, so the packages that set up the system's own
# (libvirt-daemon-system, systemd units) are not needed. The last four build libvirt-python.
"$here/debian-packages.sh" \
    postgresql-15 haproxy prometheus \
    libvirt-daemon libvirt-daemon-driver-qemu libvirt-clients \
    curl openssl util-linux \
    cloud-init systemd \
    docker.io podman runc busybox-static docker-registry iproute2 tar \
    dnf zypper rpm createrepo-c openssh-server openssh-client \
    python3-venv python3-dev libvirt-dev pkg-config

"$here/setup-ui.sh" --browser

cache=${XDG_CACHE_HOME:-$HOME/.cache}/quarterdeck

# install FOLDER REQUIREMENTS WHAT: a virtual environment with exactly what the file asks for.
install() {
    local venv=$1 requirements=$here/$2
    local stamp=$venv/installed-requirements.txt
    mkdir -p "$(dirname "$venv")"
    (
        # Two test runs on one machine share the folder.
        flock 9
        if ! cmp --silent "$requirements" "$stamp"; then
            echo "Installing $3 into $venv"
            # Debian's own Python: it has the headers that libvirt-python is built with.
            /usr/bin/python3 -m venv --clear "$venv"
            "$venv/bin/pip" install --quiet --disable-pip-version-check \
                --requirement "$requirements"
            cp "$requirements" "$stamp"
        fi
    ) 9>"$venv.lock"
}
install "${QUARTERDECK_VENV:-$cache/venv}" requirements.txt "the Redfish service"
install "${QUARTERDECK_REDFISH_CLIENTS:-$cache/redfish-clients}" redfish-clients.txt "clients of Redfish"
install "${QUARTERDECK_CLIENTS:-$cache/clients}" clients.txt "clients of the Kubernetes API"
install "${QUARTERDECK_CONFIG_TOOLS:-$cache/config-tools}" config-tools.txt "Ansible and Salt"
install "${QUARTERDECK_ISSUER:-$cache/issuer}" issuer.txt "an OpenID Connect issuer"

if ! command -v kubectl >/dev/null; then
    cat >&2 <<'MISSING'
kubectl is missing, and Debian's own (1.20, package kubernetes-client) is too old for these tests.
Install 1.29 or newer and put it on the PATH, for example the package `kubectl` of Google's Cloud
SDK for Debian: https://cloud.google.com/sdk/docs/install#deb
MISSING
    exit 1
fi
