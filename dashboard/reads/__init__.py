"""What the pages load, in a fixed number of queries, and how it is shown."""
