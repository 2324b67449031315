"""What Graft's deployables share: the API, contracts, tasks, storage and telemetry."""
