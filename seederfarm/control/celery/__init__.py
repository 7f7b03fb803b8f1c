"""Control as a Celery app: tasks, schedule, bootsteps."""
