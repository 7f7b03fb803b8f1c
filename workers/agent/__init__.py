"""The Celery side of a worker: supervises seed engines, executes control's messages, reports."""
