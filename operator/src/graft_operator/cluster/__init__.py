"""The Kubernetes shell: the API server as `graft_operator.ports.Cluster`, the lease that says who may write, and one shell a kind."""
