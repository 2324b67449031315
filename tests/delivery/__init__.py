"""What installs Graft: chart, manifests, kustomize, rights and policies."""
