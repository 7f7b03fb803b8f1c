"""What else control tells a worker, and the names of the tasks that all messages travel as."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from .shapes import Count, NodeId, Shape

REPORTS_QUEUE = "reports"
"""Workers write to it, control reads from it."""
CONTROL_QUEUE = "control"
"""The control plane's own work."""

SYNC_MANIFEST = "worker.sync_manifest"
AUDIT = "worker.audit"
CONFIGURE = "worker.configure"
REFRESH = "worker.refresh"
REPORT = "control.report"
AUDIT_ANSWER = "control.audit_answer"
JOIN = "control.join"


Limit = Literal["quota_bytes", "up_bytes_per_second", "down_bytes_per_second"]


def queue_of(worker: NodeId) -> str:
    """The queue that only this worker reads. It ends in a delimiter, so that no access rule fits two
    workers."""
    return f"node.{worker}.q"


class Configure(Shape, frozen=True, kw_only=True):
    """Settings of a worker that the operator changes in the control plane. None: as it is, unless it is in
    `lift`."""

    quota_bytes: Count | None = None
    paused: bool | None = None
    up_bytes_per_second: Annotated[int, Meta(ge=1024)] | None = None
    down_bytes_per_second: Annotated[int, Meta(ge=1024)] | None = None
    lift: Annotated[list[Limit], Meta(max_length=10)] = []
    """Limits that control sets no longer. What the worker's own operator said stays in force."""


class Refresh(Shape, frozen=True, kw_only=True):
    """Report about every replica now, whether it changed or not."""
