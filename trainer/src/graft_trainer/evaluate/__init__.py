"""What the adapter is worth on records it never saw, and whether that keeps the promises of the gates."""
