"""API version v1alpha1: FineTuneJob and ModelRelease."""
