#!/bin/sh
# Compiles bin/detect and bin/build, for this machine unless GOARCH says otherwise. One static program is both.
set -eu
cd "$(dirname "$0")"
mkdir -p bin
CGO_ENABLED=0 GOOS=linux go build -trimpath -buildvcs=false -ldflags='-s -w' -o bin/build .
cp bin/build bin/detect
