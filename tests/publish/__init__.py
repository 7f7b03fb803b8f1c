"""Folders, mirrored into drives."""
