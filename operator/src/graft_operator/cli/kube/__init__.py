"""The verbs of the commands on a Kubernetes API server: the standard library's HTTP, since a command that lists a table must start quickly."""
