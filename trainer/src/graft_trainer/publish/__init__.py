"""From a trained adapter to an artifact: staged, checked, addressed by content, manifest last."""
