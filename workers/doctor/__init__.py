"""Checks of a machine that seeds: what is wrong, and what to do. No check changes anything that lasts."""
