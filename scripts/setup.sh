#!/usr/bin/env bash
# Make .venv exactly what requirements/dev.txt says, with the four members in it. Needs Python >= 3.11 and nothing
# else: uv is taken from PATH, or fetched from the package index pip is configured for. A second run takes a moment.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly UV_VERSION=0.13.8   # what is fetched
readonly UV_OLDEST=0.8.0     # what is taken from PATH
readonly MEMBERS=(core operator predictor trainer)
readonly STAMP=.venv/.graft-setup
readonly IN_RANGE='import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))'

say() { printf 'setup: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# Is version $1 at least $2?
at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

# Everything that decides what ends up in .venv.
fingerprint() {
  local hash=sha256sum
  command -v sha256sum >/dev/null 2>&1 || hash="shasum -a 256"
  { cat requirements/dev.txt scripts/setup.sh "${MEMBERS[@]/%//pyproject.toml}"; pwd; } | $hash | cut -d ' ' -f 1
}

find_python() {
  local python
  for python in "${PYTHON:-python3}" python3.13 python3.12 python3.11 python; do
    if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
      printf '%s\n' "$python"
      return
    fi
  done
  die "no Python >= 3.11 on PATH; install one, or name it: make setup PYTHON=/path/to/python3"
}

# Say which Python .venv is made of: the one that PYTHON names; else the system's, which a distribution builds with profile-guided
# optimisation (one that pyenv compiled as it does by default takes a third longer for everything here); else what uv finds.
choose_python() {
  if [ -n "${PYTHON:-}" ]; then
    printf '%s\n' "$PYTHON"
  elif /usr/bin/python3 -c "import bz2, ctypes, lzma, sqlite3, ssl, venv; $IN_RANGE" >/dev/null 2>&1; then
    printf '/usr/bin/python3\n'
  else
    printf '>=3.11,<3.14\n'
  fi
}

# Print a uv that is new enough; fetch one into .cache/uv where there is none.
find_uv() {
  local uv python
  for uv in .cache/uv/bin/uv uv; do
    if command -v "$uv" >/dev/null 2>&1 && at_least "$("$uv" --version | cut -d ' ' -f 2)" "$UV_OLDEST"; then
      command -v "$uv"
      return
    fi
  done
  python=$(find_python)
  say "fetching uv $UV_VERSION"
  rm -rf .cache/uv
  if "$python" -m venv .cache/uv >/dev/null 2>&1; then
    .cache/uv/bin/python -m pip --disable-pip-version-check --quiet install "uv==$UV_VERSION" >&2
  elif "$python" -m pip --version >/dev/null 2>&1; then
    # Debian without python3-venv: no ensurepip, but pip can still fill a folder.
    rm -rf .cache/uv
    "$python" -m pip --disable-pip-version-check --quiet install --target .cache/uv "uv==$UV_VERSION" >&2
  else
    die "$python has neither venv nor pip to fetch uv with; install one of them (Debian, Ubuntu: apt install python3-venv), or uv itself"
  fi
  printf '%s\n' .cache/uv/bin/uv
}

main() {
  [ -f requirements/dev.txt ] || die "requirements/dev.txt is missing; make lock writes it"
  local want uv
  want=$(fingerprint)
  if [ -x .venv/bin/python ] && [ "$(cat "$STAMP" 2>/dev/null)" = "$want" ]; then
    return
  fi
  uv=$(find_uv)
  # Behind a proxy with its own certificate, what pip was told to trust is what uv needs too.
  if [ -z "${SSL_CERT_FILE:-}" ] && [ -f "${PIP_CERT:-}" ]; then export SSL_CERT_FILE=$PIP_CERT; fi
  # An environment that is half done is not mistaken for a whole one.
  rm -f "$STAMP"
  if ! .venv/bin/python -c "$IN_RANGE" >/dev/null 2>&1; then
    say "making .venv"
    "$uv" venv --quiet --clear --python "$(choose_python)" .venv
  fi
  say "installing requirements/dev.txt (the first time it downloads about 3 GB, most of it PyTorch)"
  "$uv" pip sync --quiet --python .venv/bin/python --require-hashes requirements/dev.txt
  "$uv" pip install --quiet --python .venv/bin/python --no-deps --no-build-isolation "${MEMBERS[@]/#/--editable=./}"
  printf '%s\n' "$want" > "$STAMP"
  say "done"
}

main
