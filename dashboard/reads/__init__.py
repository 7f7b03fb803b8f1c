"""Data of the pages, loaded in a fixed number of queries, and its presentation."""
