"""Payloads of any kind: keep, compare, replace, retract and list them."""
