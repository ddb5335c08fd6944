"""What a node runs: request logs to aggregate files, and these to the central service."""
