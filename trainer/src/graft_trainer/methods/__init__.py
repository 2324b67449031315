"""How an adapter is learned: one objective a module, one shared training loop underneath."""
