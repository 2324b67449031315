"""The way of a request: admit, guard, render, look up, fly, guard, keep, tell. Knows no HTTP."""
