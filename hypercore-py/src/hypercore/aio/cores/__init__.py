"""Cores on disk, replicated over any `Connection`. Nothing here knows sockets, the DHT or the swarm."""
