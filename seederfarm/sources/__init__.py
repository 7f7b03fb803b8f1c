"""Sources of keys: lists that are read periodically, or followed live.

`fetch` gets bytes, `seedlists` follows seed-list Hyperbees over the swarm; `parse` and `seedlist` (both pure)
turn them into keys; `claims` decides which follower reads which source; `apply` writes the difference into
the registry; `follower` does all of it continuously, `run_once` once. An answer that is broken, empty or
unreadable never changes what is kept.
"""
