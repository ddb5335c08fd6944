"""Log files: discovery, duplicates and lines."""
