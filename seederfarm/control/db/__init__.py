"""SQL and locks shared by the other packages."""
