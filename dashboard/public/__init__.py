"""Pages of drives that anyone may see, where an operator made them public."""
