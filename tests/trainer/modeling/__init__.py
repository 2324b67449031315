"""Tests of graft_trainer.modeling."""
