"""HTTP itself: bodies, parameters, errors, limits, headers, health and metrics."""
