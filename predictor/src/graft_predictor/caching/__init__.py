"""Reuse of answers: what is in a key, where answers wait, and how equal requests at one time become one."""
