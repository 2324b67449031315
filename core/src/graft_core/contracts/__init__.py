"""The messages between Graft's parts: versioned, frozen, `extra="forbid"`; old versions stay readable as fixtures under tests/golden."""
