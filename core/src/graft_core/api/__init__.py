"""The Kubernetes API of Graft as pydantic models, and the CRDs made from them."""
