#!/usr/bin/env bash
# Build Graft's images with what is there: Docker, Podman or Buildah. docs/develop/images.md tells the rest.
#
#   scripts/images.sh [--local-base] [--no-build] [--archive FILE|-] [operator] [trainer] [predictor]
#
#   --local-base     on a base made from Debian packages (images/local-base.sh), where no image registry is within reach
#   --no-build       take the images as they were built before
#   --archive FILE   write the images into one OCI archive, what they share once: `ctr images import FILE`, `kind load image-archive FILE`;
#                    - is standard output (from Buildah it takes Skopeo as well)
#
# Variables: BUILDER (docker, podman, buildah), BASE, IMAGE_PREFIX, IMAGE_TAG, REVISION, SOURCE_DATE_EPOCH.
# The package index and the certificates that this shell gives to pip or uv reach the build as secrets, so they are in no image.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly LOCAL_BASE=localhost/graft-base
readonly HEAVY_MB=20000 LIGHT_MB=2000   # free disk that a build takes at its widest
prefix=${IMAGE_PREFIX:-ghcr.io/graft-dev/}   # what the chart asks for unless told otherwise
tag=${IMAGE_TAG:-$(sed -n 's/^version = "\(.*\)"$/\1/p' pyproject.toml)}
base=${BASE:-}
archive=
is_built=false
images=()

say() { printf 'images: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

read_arguments() {
  while [ $# -gt 0 ]; do
    case $1 in
      --local-base) base=$LOCAL_BASE ;;
      --no-build) is_built=true ;;
      --archive) archive=${2:?"images: --archive wants a file, or -"}; shift ;;
      operator | trainer | predictor) images+=("$1") ;;
      *) die "$1: expected --local-base, --no-build, --archive FILE, or any of operator, trainer, predictor" ;;
    esac
    shift
  done
  [ ${#images[@]} -gt 0 ] || images=(operator trainer predictor)
}

# Docker's client alone builds nothing: its server must answer.
find_builder() {
  case ${BUILDER:-} in
    docker | podman | buildah) command -v "$BUILDER" >/dev/null || die "BUILDER=$BUILDER is not on PATH" ;;
    "")
      if docker info >/dev/null 2>&1; then BUILDER=docker
      elif podman info >/dev/null 2>&1; then BUILDER=podman
      elif command -v buildah >/dev/null; then BUILDER=buildah
      else die "no Docker server, no podman and no buildah; install one (Debian: apt-get install --no-install-recommends buildah)"
      fi ;;
    *) die "BUILDER=$BUILDER: expected docker, podman or buildah" ;;
  esac
  # Buildah in a container or a small VM may make no namespaces; a chroot does for a build, and takes root.
  if [ "$BUILDER" = buildah ] && [ "$(id -u)" = 0 ]; then export BUILDAH_ISOLATION=${BUILDAH_ISOLATION:-chroot}; fi
}

# Say clearly that there is too little disk, before an hour is spent to find out.
see_to_disk() {
  local need=$LIGHT_MB root free
  case " ${images[*]} " in *" trainer "* | *" predictor "*) need=$HEAVY_MB ;; esac
  case $BUILDER in
    docker) return ;;  # its disk may be another machine's
    podman) root=$(podman info --format '{{.Store.GraphRoot}}') ;;
    buildah) root=$(buildah info --format '{{.store.GraphRoot}}') ;;
  esac
  free=$(df --output=avail -BM "$root" | tail -n 1 | tr -dc 0-9)
  [ "$free" -ge "$need" ] || die "$free MB are free below $root, and ${images[*]} may take $need MB; make room (buildah rmi --prune) or build fewer"
}

# Write what pip and uv are told here into files of this run, for the build to mount.
gather_secrets() {
  local index=${UV_DEFAULT_INDEX:-${PIP_INDEX_URL:-$(python3 -m pip config get global.index-url 2>/dev/null || true)}}
  local certificates=${SSL_CERT_FILE:-${PIP_CERT:-}}
  secrets=()
  if [ -n "$index" ]; then
    (umask 077 && printf '%s' "$index" > "$scratch/index")
    secrets+=(--secret "id=graft-index,src=$scratch/index")
  fi
  if [ -f "$certificates" ]; then secrets+=(--secret "id=graft-ca,src=$certificates"); fi
}

# Build $1. One date for all files and all builds: the same sources give the same digest, and a layer is found again.
build() {
  local name=$prefix$1:$tag
  local arguments=(--file images/Dockerfile --target "$1" --tag "$name" --network host
    --build-arg "VERSION=$(sed -n 's/^version = "\(.*\)"$/\1/p' pyproject.toml)" --build-arg "REVISION=$revision"
    ${base:+--build-arg "BASE=$base"} "${secrets[@]}")
  say "building $name with $BUILDER"
  case $BUILDER in
    docker) DOCKER_BUILDKIT=1 docker build "${arguments[@]}" --build-arg "SOURCE_DATE_EPOCH=$date" . >&2 ;;
    podman) podman build --layers --timestamp "$date" "${arguments[@]}" . >&2 ;;
    buildah) buildah build --layers --timestamp "$date" "${arguments[@]}" . >&2 ;;
  esac
}

# Add $1 to the OCI layout. What goes straight into a cluster's own store is unpacked there at once: packing it first takes minutes. Buildah
# packs whatever it lays out so, and Skopeo need not.
lay_out() {
  if [ "$archive" = - ]; then
    skopeo copy --quiet --dest-oci-accept-uncompressed-layers "containers-storage:$1" "oci:$scratch/layout:$1" >&2
  else
    buildah push --quiet "$1" "oci:$scratch/layout:$1" >&2
  fi
}

# Write all of them into one OCI archive, whose name for each is the one it has here.
write_archive() {
  local one names=()
  for one in "${images[@]}"; do names+=("$prefix$one:$tag"); done
  say "writing ${names[*]} to $archive"
  case $BUILDER in
    docker) docker save "${names[@]}" ;;
    podman) podman save --quiet --multi-image-archive "${names[@]}" ;;
    buildah)
      [ "$archive" != - ] || command -v skopeo >/dev/null || die "--archive - takes skopeo beside buildah; install it (Debian: apt-get install --no-install-recommends skopeo)"
      for one in "${names[@]}"; do lay_out "$one"; done
      # containerd looks for the name under its own key.
      sed -i 's#"org.opencontainers.image.ref.name":\("[^"]*"\)#"io.containerd.image.name":\1,&#g' "$scratch/layout/index.json"
      tar -C "$scratch/layout" -cf - .
      ;;
  esac > "$([ "$archive" = - ] && echo /dev/stdout || echo "$archive")"
}

read_arguments "$@"
find_builder
date=${SOURCE_DATE_EPOCH:-0}
revision=${REVISION:-$(git rev-parse HEAD 2>/dev/null || echo unknown)}
# Not in /tmp, which may be in memory: an archive's layers are gigabytes.
mkdir -p .cache
scratch=$(mktemp -d "$PWD/.cache/images-XXXXXX")
trap 'rm -rf "$scratch"' EXIT
# Buildah keeps layers in files of its own meanwhile, and a kill leaves them: here they are found again.
export TMPDIR=$scratch
if [ "$is_built" = false ]; then
  see_to_disk
  gather_secrets
  if [ "$base" = "$LOCAL_BASE" ]; then
    [ "$BUILDER" != docker ] || die "--local-base needs podman or buildah: BUILDER=buildah"
    bash images/local-base.sh "$LOCAL_BASE"
  fi
  for image in "${images[@]}"; do build "$image"; done
fi
if [ -n "$archive" ]; then write_archive; fi
