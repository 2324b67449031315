"""Tests of graft_trainer.data: files as people have them, and as they should not be."""
