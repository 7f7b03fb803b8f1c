"""Signals, sent after the transaction that caused them has committed.

The registry does not import the reconciler or the broker: `control` connects to these signals and acts at
once instead of at its next beat. A missed signal loses nothing: drives that need planning are marked in the
database (`Drive.dirty`).
"""

from __future__ import annotations

from django.dispatch import Signal

drives_changed = Signal()
"""`ids`: list of primary keys of drives that need planning; None for very many."""

workers_changed = Signal()
"""`ids`: list of primary keys of workers whose state or limits changed."""

messages_wait = Signal()
"""Messages about alerts wait to be sent."""

peers_wanted = Signal()
"""Pages show drives: workers shall report their peers."""

reverify_wanted = Signal()
"""`drive_ids`: list of primary keys of drives whose copies must be proven now; None for very many."""
