"""The control plane: it takes reports, plans with `placement`, and sends workers their assignments.

`celery` has the app and tasks; `messaging` sends and verifies messages; `accounts` manages the broker's
accounts; `reports` ingests reports and audits; `reconcile` plans and applies; `history` keeps events, alerts
and samples.
"""
