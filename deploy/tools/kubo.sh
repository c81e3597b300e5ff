#!/usr/bin/env bash
# Build kubo from its module, checked against Go's checksum database: kubo.sh DESTINATION (a file).
# `go install` refuses a module with exclude directives, so it is built as the main module.
set -euo pipefail
version=v0.43.0
destination=$1
work=$(mktemp -d)
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
source=$(cd "$work" && go mod download -json "github.com/ipfs/kubo@$version" |
    sed -n 's/^[[:space:]]*"Dir": "\(.*\)",$/\1/p')
cp -r "$source" "$work/kubo"
chmod -R u+w "$work/kubo"
mkdir -p "$(dirname "$destination")"
cd "$work/kubo"
CGO_ENABLED=0 go build -trimpath -tags nofuse -o "$work/ipfs" ./cmd/ipfs
mv "$work/ipfs" "$destination.part"
mv "$destination.part" "$destination"
