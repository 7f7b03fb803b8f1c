"""Models of the farm, one app label: `registry`."""

from __future__ import annotations

from .access import ApiToken, EnrolmentToken
from .alerting import AlertChannel, AlertDelivery, AlertRule, AlertSilence, AlertWatch
from .blind import BlindClient, BlindCore
from .drive import Drive, Tag
from .history import Alert, AuditEntry, Event, Sample
from .peers import CopyPeers
from .plan import ControlPulse, PlanState
from .proof import Challenge
from .replica import Replica
from .seen import SeenDrives
from .source import Source, SourceEntry
from .tally import WorkerTally
from .uptime import DriveDay, StateChange
from .worker import AssignmentState, Worker

__all__ = [
    "Alert",
    "AlertChannel",
    "AlertDelivery",
    "AlertRule",
    "AlertSilence",
    "AlertWatch",
    "ApiToken",
    "AssignmentState",
    "AuditEntry",
    "BlindClient",
    "BlindCore",
    "Challenge",
    "ControlPulse",
    "CopyPeers",
    "Drive",
    "DriveDay",
    "EnrolmentToken",
    "Event",
    "PlanState",
    "Replica",
    "Sample",
    "SeenDrives",
    "Source",
    "SourceEntry",
    "StateChange",
    "Tag",
    "Worker",
    "WorkerTally",
]
