"""The control plane at work: it hears workers, decides with `placement`, and tells workers what to keep.

`celery` is its Celery app and `tasks` the thin tasks; `inbox` and `ingest` take messages in, `outbox` and
`manifests` send them, `reconcile` plans, `audits` asks for proofs, `retention` forgets.
"""
