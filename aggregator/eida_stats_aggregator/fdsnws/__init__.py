"""Requests of the SeisComP fdsnws: parsed, filtered, added up."""
