"""What Prometheus and health checks get from a worker, on a port of its own."""
