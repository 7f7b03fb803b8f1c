"""Limits of the engine: disk, bandwidth, connections, open files."""
