"""An adapter on its way from object storage to an engine: copied first, then proved, and only then loaded."""
