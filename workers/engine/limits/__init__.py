"""What the engine may use: disk, bandwidth, connections, open files."""
