"""Signed messages between control and workers, over the broker."""
