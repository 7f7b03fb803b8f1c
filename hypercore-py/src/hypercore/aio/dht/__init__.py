"""The DHT on a socket: the node, its requests, dialing and accepting peers, hole punching, relays."""
