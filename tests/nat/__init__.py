"""Reachability: peers on hosts and behind NATs that are network namespaces of this machine."""
