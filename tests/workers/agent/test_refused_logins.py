"""A retired worker fills no log."""

from __future__ import annotations

import logging

from workers.agent.refused_logins import LINE, REPEAT_AFTER, RefusedLogins

TEXT = "consumer: Cannot connect to redis://x: %s.\nTrying again in 2.00 seconds..."


def record(reason: str) -> logging.LogRecord:
    return logging.LogRecord("celery", logging.ERROR, "", 0, TEXT, (reason,), None)


def test_refused_logins_are_one_line_an_hour_and_other_errors_stay() -> None:
    now = [0.0]
    shown = RefusedLogins(lambda: now[0])
    first = record("invalid username-password pair or user is disabled.")
    assert shown.filter(first) and first.getMessage() == LINE
    for now[0] in (1.0, REPEAT_AFTER - 1):
        assert not shown.filter(record("WRONGPASS"))
    other = record("Connection refused")
    assert shown.filter(other) and "Connection refused" in other.getMessage()
    now[0] = REPEAT_AFTER
    assert shown.filter(record("WRONGPASS"))
