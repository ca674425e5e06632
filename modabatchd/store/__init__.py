"""The store: what we promised, kept in SQLite or PostgreSQL."""
