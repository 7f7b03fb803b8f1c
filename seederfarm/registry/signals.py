"""What others may listen to. Sent when the transaction that caused it has committed, never before.

The registry knows neither the reconciler nor the broker: `control` connects to these and acts at once instead
of at its next beat. Nothing is lost when nobody listens: what has to be planned is marked in the database
(`Drive.dirty`).
"""

from __future__ import annotations

from django.dispatch import Signal

drives_changed = Signal()
"""`ids`: list of primary keys of drives that placement has to look at; None for very many."""

workers_changed = Signal()
"""`ids`: list of primary keys of workers whose state or limits changed."""

reverify_wanted = Signal()
"""`drive_ids`: list of primary keys of drives whose copies are to prove themselves now; None for very many.
"""
