"""The programs of a machine that keeps copies: the seed engine, and the agent that lets a farm direct it."""
