"""Shared by all commands: options, output, failures."""
