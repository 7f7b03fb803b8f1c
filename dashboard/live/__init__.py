"""Live updates: one stream of events a page, each fragment rendered once for all its viewers."""
