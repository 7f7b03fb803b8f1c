"""What runs on a server or a Raspberry Pi: the seed engine, and the agent that lets a farm direct it."""
