"""The seed engine: downloads whole cores, bees and drives, verifies them, keeps them, and serves them."""
