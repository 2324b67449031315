"""One command or family of commands a file."""
