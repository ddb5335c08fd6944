"""The databases: PostgreSQL with hll, and SQLite."""
