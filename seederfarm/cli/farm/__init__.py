"""Commands of a farm: they need its database, and import it when they run."""
