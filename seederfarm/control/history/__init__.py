"""Events, alerts, samples, and their retention."""
