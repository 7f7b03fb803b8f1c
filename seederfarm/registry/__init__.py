"""What the farm knows: keys, workers, copies, sources, and what happened to them.

`models` hold facts and their constraints, `services` act on several rows (and write the audit log), `queries`
read, `admin` is the operator's console, `checks` say what is wrong before anything starts.
"""
