"""What generates: one protocol, and the engine that runs in this process. Everything above knows the protocol alone."""
