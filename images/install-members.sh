#!/bin/sh
# Install our own wheels into the environment of an image: install-members.sh core trainer
set -eu
for member in "$@"; do
  uv pip install --python /opt/graft --no-deps --no-index --find-links /wheels "graft-$member"
done
# uv writes down when it saw a wheel: the one thing here that would differ from build to build.
cd /opt/graft/lib/python3.*/site-packages
sed -i '\#/uv_cache\.json,#d' graft_*.dist-info/RECORD
rm graft_*.dist-info/uv_cache.json /opt/graft/.lock
