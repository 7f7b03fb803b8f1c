"""Sockets and connections: one UDP socket, UDX streams on it, an encrypted connection on each."""
