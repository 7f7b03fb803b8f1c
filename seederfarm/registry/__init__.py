"""The registry: keys, workers, copies, sources, and their events.

`models` have rows and constraints, `services` act on several rows (and write the audit log), `queries` read,
`admin` is the operator's console, `checks` report errors before any process starts.
"""
