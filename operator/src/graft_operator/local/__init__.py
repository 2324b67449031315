"""The local shell: the same objects, the same decisions, the same trainer and predictor on one computer.

It needs no container and no cluster; docs/develop/local-shell.md tells the story of a pass.
"""
