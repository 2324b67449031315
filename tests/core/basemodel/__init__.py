"""Tests of graft_core.basemodel."""
