"""Log files: discovery, duplicates, compression and lines."""
