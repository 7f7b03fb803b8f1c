"""`seederfarm up`: every process of a farm on one machine, under one supervisor.

`processes` names the processes (adding one is a function there), `process` keeps one of them running,
`supervise` starts and stops them in order, `prepare` migrates the database, `broker` runs the bundled Redis,
`home` knows the state files, `logs` writes and reads output, `detach` runs it all in the background.

The supervisor itself imports neither Django nor Celery: it stays small and starts at once. `prepare` and
`programs` run as processes of their own and do.
"""
