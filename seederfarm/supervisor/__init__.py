"""`seederfarm up`: every process of a farm on one machine, under one supervisor.

`table` names the processes (adding one is a line there), `process` keeps one of them running, `supervise`
starts and stops them all in order, `prepare` brings the database up to date, `broker` runs the bundled Redis,
`home` knows the files that say what runs, `logs` writes and reads what they print, `detach` leaves it all in
the background.

The supervisor itself imports neither Django nor Celery: it stays small and starts at once. What runs as a
process of its own does: `prepare`, `celery_program`, `local_worker`.
"""
