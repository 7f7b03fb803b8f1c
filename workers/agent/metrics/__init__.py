"""Metrics and health checks of a worker, on a port of its own."""
