"""Harness of the farm-level tests: official peers and our own commands as real processes."""
