"""Specs → Kubernetes objects as JSON: pure, and held to golden files."""
