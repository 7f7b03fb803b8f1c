"""Seeder Farm: the farm's Django project and the `seederfarm` command line."""
