"""The central web service."""
