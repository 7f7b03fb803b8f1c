"""Helpers of the tests: worlds, official peers, golden vectors."""
