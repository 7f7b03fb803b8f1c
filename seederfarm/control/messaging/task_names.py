"""Names of control's own tasks; those of messages are in `farmwire.tasks`. Imports no Django."""

from __future__ import annotations

from enum import StrEnum


class ControlTask(StrEnum):
    """Names of the control plane's own tasks; those that workers send are in `farmwire`."""

    SEND_ASSIGNMENT = "control.send_assignment"
    SEND_WORKER_CONFIG = "control.send_worker_config"
    RECONCILE = "control.reconcile"
    """Plan all drives, as soon as the duty allows."""
    RECONCILE_DIRTY = "control.reconcile_dirty"
    SWEEP = "control.sweep"
    """Plan all drives, if due."""
    CHALLENGE = "control.challenge"
    REFRESH = "control.refresh"
    WATCH = "control.watch"
    """Send workers the keys of watched drives."""
    PULSE = "control.pulse"
    SYNC_ACCOUNTS = "control.sync_accounts_task"
    ALERTS = "control.alerts"
    """Open and close alerts."""
    DELIVER = "control.deliver"
    """Send messages about alerts."""
    EXPIRE = "control.expire"
    RETENTION = "control.retention"
    STORE_HEALTH = "control.store_health"
