module graft.dev/tests/cluster/smallimages

go 1.25.0
