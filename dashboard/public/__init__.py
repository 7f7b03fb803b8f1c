"""Public pages of drives, which need no login."""
