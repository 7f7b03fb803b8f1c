"""The engine as a process of a worker: JSON lines in and out, the loop, the end of the parent."""
