"""A real Kubernetes for tests, built from Go modules: control plane, node, faults, and doubles named as such."""
