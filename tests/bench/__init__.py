"""Benches: they measure and write JSON, and assert nothing about time."""
