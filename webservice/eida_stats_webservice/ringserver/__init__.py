"""Statistics of ringservers: payloads received, and statistics returned."""
