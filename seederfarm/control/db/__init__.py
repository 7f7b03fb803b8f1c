"""SQL and locks that the other rooms share."""
