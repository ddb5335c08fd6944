"""Helpers of the tests: databases, services, payloads, and programs to compare with."""
