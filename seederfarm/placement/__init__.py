"""Decides which worker keeps which drive: a pure function from the current state to the changes. It reads no
clock and no database."""
