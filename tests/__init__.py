"""Every test of Graft, one package: folders mirror the members, names are sentences."""
