#!/usr/bin/env bash
# Runs govulncheck. Where its database cannot be reached, it says so and passes
# for that reason alone; every other failure is one.
set -euo pipefail
cd "$(dirname "$0")/.."

out=$(mktemp)
trap 'rm -f "$out"' EXIT
if go tool -modfile=tools/go.mod govulncheck ./... >"$out" 2>&1; then
  cat "$out"
  exit 0
fi
cat "$out"
if grep -q '^govulncheck: fetching vulnerabilities: ' "$out"; then
  echo "vuln: SKIPPED: the vulnerability database cannot be reached from here, nothing was checked"
  exit 0
fi
exit 1
