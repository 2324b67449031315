"""Tests on a real node, or on the cluster that KUBECONFIG names: `make e2e`."""
