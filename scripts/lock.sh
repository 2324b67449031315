#!/usr/bin/env bash
# Resolve once for Python 3.11-3.13 and every platform, then write one hashed file for each use.
# uv.lock stays out of git because it names download hosts; without it a lock starts from the newest versions.
set -euo pipefail
cd "$(dirname "$0")/.."

uv=$(command -v .venv/bin/uv || command -v .cache/uv/bin/uv || command -v uv) || {
  echo "lock: no uv in .venv, .cache/uv or on PATH; make setup fetches one" >&2
  exit 1
}

# Write requirements/$1.txt from what `uv export` says for the other arguments.
export_one() {
  local file=requirements/$1.txt
  shift
  {
    echo "# Written by make lock; install with: uv pip sync --require-hashes $file"
    "$uv" export --quiet --frozen --format requirements.txt --no-header --no-emit-workspace "$@"
  } > "$file.new"
  # A requirement by path or address would tie the file to a machine or a host.
  if grep -nE '^(-e|-i|--index|--find|\.|/)|://' "$file.new" >&2; then
    echo "lock: the lines above must not be in $file" >&2
    exit 1
  fi
  mv "$file.new" "$file"
}

mkdir -p requirements
"$uv" lock --quiet "$@"
export_one dev --all-packages --all-extras --all-groups
export_one operator --package graft-operator --extra cluster --no-default-groups
for member in predictor trainer; do
  export_one "$member" --package "graft-$member" --no-default-groups
done
wc -l requirements/*.txt
