"""`graft demo`: the whole story on one machine, with the objects and data of `examples/`, told while it happens.

Nothing here is a short cut: the demo starts a `graft up`, applies the example files as a person would, and reads what the API says.
"""
