"""Backups of a farm: the registry, the control plane's identity, secrets, settings and files of sources.

A backup is a directory: `manifest.json`, the files of SEEDERFARM_HOME below `home/`, and the registry, as
`registry.sqlite3` or, from PostgreSQL, as one file a table below `registry/` (the text format of COPY). The
format is ours.
"""
