"""Reading of Kubernetes objects into `observed` values, and planning of the writes that carry a decision out. No I/O."""
