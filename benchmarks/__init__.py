"""Ours beside the official JavaScript peers, measured in one run."""
