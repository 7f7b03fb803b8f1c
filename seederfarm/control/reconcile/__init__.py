"""From desired to actual: load, plan, apply, follow workers that are silent."""
