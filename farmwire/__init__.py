"""What workers and control plane say to each other: the shapes, their signatures, their bounds.

Both sides import this package, and it imports neither. Everything is JSON-safe, since it travels as the
argument of a Celery task; what comes in is checked by `msgspec` against the types here before anybody
looks at it.
"""
