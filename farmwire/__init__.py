"""Messages between workers and the control plane: their fields, signatures and bounds.

Both sides import this package, and it imports neither. Messages are JSON-safe, since each travels as the
argument of a Celery task. `msgspec` checks incoming ones against the types here.
"""
