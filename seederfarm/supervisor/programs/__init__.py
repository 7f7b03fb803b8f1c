"""The programs that the supervisor starts which need more than their command line."""
