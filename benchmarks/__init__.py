"""Benchmarks, and the generator of logs that they and the tests use."""
