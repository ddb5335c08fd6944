"""Log files: which there are, which are the same, and their lines."""
