#!/usr/bin/env bash
# Make a base image from Debian's own packages, for a machine that reaches a Debian mirror and no image registry:
#
#   images/local-base.sh localhost/graft-base
#
# Needs root, buildah and debootstrap. DEBIAN_MIRROR names another mirror than debootstrap's own.
# It stands in for python:3.11-slim-bookworm: the same Debian, Debian's Python 3.11. An image with that name is kept as it is.
set -euo pipefail

readonly NAME=${1:?"say how to name it, e.g. localhost/graft-base"}
readonly SUITE=bookworm
readonly PACKAGES=ca-certificates,python3,python3-venv
export BUILDAH_ISOLATION=chroot

if buildah inspect --type image "$NAME" >/dev/null 2>&1; then
  exit 0
fi
for program in buildah debootstrap; do
  command -v "$program" >/dev/null || { echo "local-base: $program is not on PATH; install it (Debian: apt-get install $program)" >&2; exit 1; }
done
[ "$(id -u)" = 0 ] || { echo "local-base: debootstrap needs root" >&2; exit 1; }

echo "local-base: making $NAME from Debian $SUITE (about a minute)" >&2
container=$(buildah from scratch)
log=$(mktemp)
finish() {
  local rc=$?
  buildah umount "$container" >/dev/null 2>&1 || true
  buildah rm "$container" >/dev/null 2>&1 || true
  [ $rc -eq 0 ] || tail -n 30 "$log" >&2
  rm -f "$log"
  return $rc
}
trap finish EXIT
root=$(buildah mount "$container")
# Nothing here starts, so nothing needs to be asked about starting; man pages and the like are in no image.
debootstrap --variant=minbase --include="$PACKAGES" "$SUITE" "$root" ${DEBIAN_MIRROR:+"$DEBIAN_MIRROR"} >"$log" 2>&1
chroot "$root" apt-get clean >>"$log" 2>&1
rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/{apt,debconf,ldconfig}/* "$root"/var/log/* \
  "$root"/usr/share/{doc,man,info,lintian,locale}/* "$root"/tmp/* "$root"/etc/{machine-id,resolv.conf,hostname}
find "$root" -name __pycache__ -type d -prune -exec rm -rf {} +
buildah umount "$container" >/dev/null
buildah config --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin --env LANG=C.UTF-8 --cmd python3 "$container"
buildah commit --quiet --timestamp "${SOURCE_DATE_EPOCH:-0}" "$container" "$NAME" >/dev/null
