"""What happened: events, alerts, samples, and how long they are kept."""
