"""`worker run`: a worker on this machine."""
