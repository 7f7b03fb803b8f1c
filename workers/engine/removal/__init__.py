"""Deletes what belongs to a removed key and to no other."""
