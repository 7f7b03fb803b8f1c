"""What the farm knows: keys, workers, copies, sources, and their events.

`models` hold facts and their constraints, `services` act on several rows (and write the audit log), `queries`
read, `admin` is the operator's console, `checks` report errors before anything starts.
"""
