"""The dashboard: an interactive page with the figures of a report."""
