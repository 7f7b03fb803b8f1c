"""One seeded key: its cores, its stage, its topic, and the table of all keys."""
