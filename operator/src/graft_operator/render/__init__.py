"""Specs into what children are given: requests, configs, names. Pure: the same input gives the same bytes."""
