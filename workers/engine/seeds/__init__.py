"""One key that is kept: its cores, its stage, its topic, and the table of all of them."""
