"""The process: wiring, from verified adapter to open port, and an orderly end."""
