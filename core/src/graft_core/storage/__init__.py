"""Object storage: `file://` and `s3://` behind one small protocol. Needs the extra `storage`."""
