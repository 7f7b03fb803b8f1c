"""The farm's numbers for Prometheus."""
