"""Which worker keeps what: a pure function from what is to what shall change. It reads no clock and no
database."""
