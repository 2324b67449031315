"""Checks of requests and answers. A guard is one file; the chain runs them in the order of the configuration."""
