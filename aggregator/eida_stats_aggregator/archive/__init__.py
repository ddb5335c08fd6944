"""The node's archive: its crawl, and the comparison of requests with it."""
