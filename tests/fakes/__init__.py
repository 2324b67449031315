"""Doubles of what Graft talks to, each named as one; checked against the real thing where that can be had."""
