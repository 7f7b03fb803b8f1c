"""The swarm: topics that are joined, peers that are found there, connections to them."""
