"""Kubernetes objects against golden YAML."""
