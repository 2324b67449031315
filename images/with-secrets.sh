#!/bin/sh
# Run a command of a build with the package index and the certificates that the build was given as secrets, if any.
# They are mounted for this one command: neither is in a layer, in the history or in the image's variables.
set -eu
if [ -s /run/secrets/graft-index ]; then
  PIP_INDEX_URL=$(cat /run/secrets/graft-index)
  export PIP_INDEX_URL UV_DEFAULT_INDEX="$PIP_INDEX_URL"
fi
if [ -s /run/secrets/graft-ca ]; then
  export PIP_CERT=/run/secrets/graft-ca SSL_CERT_FILE=/run/secrets/graft-ca
fi
exec "$@"
