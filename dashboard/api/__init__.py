"""The REST API for programs, at `/api/v1/`.

`access` checks tokens, `problems` answers errors, `shapes` has what answers look like; the other modules have
the operations. Like the pages they call queries and services of `seederfarm.registry` only.
"""
