"""Commands of the lone peer: they need no farm, no database and no broker."""
