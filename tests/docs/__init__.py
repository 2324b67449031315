"""What the documentation says, held against the code: blocks, commands, links, reasons."""
