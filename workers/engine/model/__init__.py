"""Values of the engine: events, status, kinds, rates, and the interfaces it needs."""
