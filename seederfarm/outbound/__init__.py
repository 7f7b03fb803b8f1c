"""HTTP to addresses that people gave: only to those that a policy allows."""
