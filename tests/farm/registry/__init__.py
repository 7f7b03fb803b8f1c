"""Tests of the registry, each on SQLite and on PostgreSQL."""
