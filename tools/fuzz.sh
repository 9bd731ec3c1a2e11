#!/usr/bin/env bash
# Runs every fuzz target of the module, one after the other, each for the time
# given: tools/fuzz.sh 60s
set -euo pipefail
cd "$(dirname "$0")/.."

time=${1:?how long for each target, such as 60s}
found=0
for package in $(go list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}' ./...); do
  # grep finds nothing in most packages: that is no error.
  for target in $(go test -list '^Fuzz' "$package" | grep '^Fuzz' || true); do
    echo "fuzz $package $target for $time"
    go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" "$package"
    found=$((found + 1))
  done
done
echo "$found fuzz targets ran for $time each"
