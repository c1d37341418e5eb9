#!/usr/bin/env bash
# Builds a real Kubernetes for the tests of clusters: kube-apiserver, kube-controller-manager, kube-scheduler and kubelet of
# Debian 12's source package `kubernetes`, into ${XDG_CACHE_HOME:-~/.cache}/quarterdeck/kubernetes-1.20.2. Debian ships
# none of them as a package of its own. It takes five to fifteen minutes and 4 GB of disk once, and a moment after that.
# Nothing of this machine's configuration is changed: apt reads the list of sources from a folder of ours.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
version=1.20.2
programs=(kube-apiserver kube-controller-manager kube-scheduler kubelet)

# What runs beside them, and what builds them.
"$here/debian-packages.sh" etcd-server docker.io busybox-static iptables \
    golang-1.19-go golang-github-modern-go-reflect2-dev dpkg-dev

target=${QUARTERDECK_KUBERNETES:-${XDG_CACHE_HOME:-$HOME/.cache}/quarterdeck/kubernetes-$version}
mkdir -p "$(dirname "$target")"
exec 9>"$target.lock"
# Two builds on one machine share the folder.
flock 9
# What is built by another version of this script is built anew.
recipe=$(sha256sum <"${BASH_SOURCE[0]}")
if [[ -f $target/built-by && $(<"$target/built-by") == "$recipe" ]]; then
    echo "Kubernetes $version is built: $target"
    exit 0
fi

work=$target.building
rm -rf "$work"
mkdir -p "$work/apt/lists/partial" "$work/apt/cache/archives/partial" "$work/source" "$work/bin"
trap 'chmod -R u+w "$work" && rm -rf "$work"' EXIT

# The mirror that this machine has its packages from has their sources too. The signature of the mirror's list vouches for each file.
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Codename: bookworm' | sort -u | head -n 1)
if [[ -z $mirror ]]; then
    echo "No package source of Debian 12 (bookworm) is set up here, and Kubernetes is built from its source package." >&2
    exit 1
fi
echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror bookworm main" >"$work/apt/sources.list"
apt=(apt-get --quiet
    -o "Dir::Etc::SourceList=$work/apt/sources.list" -o Dir::Etc::SourceParts=/dev/null
    -o "Dir::State::Lists=$work/apt/lists" -o "Dir::Cache=$work/apt/cache" -o APT::Sandbox::User=)
"${apt[@]}" update
(cd "$work/source" && "${apt[@]}" source --download-only kubernetes)

# Its Go code is built as it was written for: in a GOPATH, with the libraries that it carries along.
export GOPATH=$work/go GO111MODULE=off GOFLAGS= GOCACHE=${GOCACHE:-$work/go-cache} CGO_ENABLED=0 PATH=/usr/lib/go-1.19/bin:$PATH
tree=$GOPATH/src/k8s.io/kubernetes
mkdir -p "$(dirname "$tree")"
dpkg-source --extract "$work"/source/kubernetes_*.dsc "$tree"
cd "$tree"

# The one that it carries reads maps as Go did before 1.18, and kube-apiserver would crash.
rm -r vendor/github.com/modern-go/reflect2
cp -r /usr/share/gocode/src/github.com/modern-go/reflect2 vendor/github.com/modern-go/reflect2

# One file is made from the types and not part of the source: what kube-apiserver says of them (OpenAPI).
echo "Writing the OpenAPI definitions of Kubernetes $version"
go build -o "$work/openapi-gen" k8s.io/kubernetes/vendor/k8s.io/kube-openapi/cmd/openapi-gen
typed=$(grep --recursive --files-with-matches --include='*.go' --exclude-dir=_examples '^// +k8s:openapi-gen=' \
    pkg vendor/k8s.io/*/ | grep --invert-match --extended-regexp '/(code-generator|sample-apiserver|testdata|kube-openapi)/' |
    xargs --max-args=1 dirname | sort --unique | sed 's|^|k8s.io/kubernetes/|' | paste --serial --delimiters=,)
"$work/openapi-gen" --logtostderr --input-dirs "$typed" --output-package k8s.io/kubernetes/pkg/generated/openapi \
    --output-file-base zz_generated.openapi --go-header-file vendor/k8s.io/code-generator/hack/boilerplate.go.txt \
    --report-filename "$work/openapi-violations"

# What `--version` and what the path /version say are two packages.
for says in component-base/version client-go/pkg/version; do
    says=k8s.io/kubernetes/vendor/k8s.io/$says
    stamp="${stamp:-} -X $says.gitVersion=v$version -X $says.gitMajor=1 -X $says.gitMinor=20"
done
for program in "${programs[@]}"; do
    echo "Building $program of Kubernetes $version"
    go build -trimpath -ldflags "-s -w $stamp" -o "$work/bin/$program" "k8s.io/kubernetes/cmd/$program"
done

mkdir -p "$target"
rm -f "$target/built-by"
mv --force "$work"/bin/* "$target/"
echo "$recipe" >"$target/built-by"
echo "Kubernetes $version is built: $target"
