"""What runs on a server or a Raspberry Pi: the seed engine and, later, what lets the farm direct it."""
