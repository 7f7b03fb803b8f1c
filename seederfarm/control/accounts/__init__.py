"""Who may use the broker: accounts of workers and tokens, joining, budgets."""
