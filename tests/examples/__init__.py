"""The data, scripts and manifests of `examples/`."""
