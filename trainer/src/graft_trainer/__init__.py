"""Checks a dataset, fine-tunes an adapter, evaluates it and publishes it."""
