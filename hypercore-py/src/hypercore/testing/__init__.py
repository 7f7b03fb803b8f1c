"""Helpers for tests against the library, shipped with it: in-memory peers and a clock that obeys."""
