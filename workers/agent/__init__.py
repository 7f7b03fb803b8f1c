"""The Celery side of a worker: supervises seed engines, obeys its control plane, reports to it."""
