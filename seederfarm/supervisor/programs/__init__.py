"""Programs that the supervisor starts and that need more than a command line."""
