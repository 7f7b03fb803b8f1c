"""Operations on workers."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from ninja import Path, Query, Router
from pydantic import Field

from seederfarm.registry import services
from seederfarm.registry.blind_clients import clients_with_use
from seederfarm.registry.mirrors import mirrors
from seederfarm.registry.models import Replica, Worker
from seederfarm.registry.models.access import Scope
from seederfarm.registry.queries import with_load
from seederfarm.registry.services.drains import recent_progress
from seederfarm.registry.tallies import tallies, with_tallies
from seederfarm.registry.worker_states import STATE_AFTER, WorkerAction

from ..reads.drains import MAX_DRAINED
from ..reads.farm import IN_FARM
from .access import READ, BearerToken, caller_of
from .lists import page_of_copies
from .paging import Order, PageOf, PageQuery, Text, in_order
from .problems import ProblemError
from .shapes import CopyShape
from .worker_shapes import ClientShape, Drain, Engine, Host, MirrorShape, WorkerDetail, WorkerShape

router: Final = Router(tags=["workers"])

WorkerId = Annotated[Text, Path(description="Its id, or its name.", max_length=100)]
CHANGE: Final = BearerToken(Scope.WORKERS, "registry.change_worker")
MAX_MIRRORS: Final = 1000
"""Blind peers, and clients of theirs, in an answer. Ours."""
BY_NAME: Final = Order("name", "name", str, down=False)


class WorkerQuery(PageQuery):
    """Filters of the list of workers."""

    state: Literal["pending", "active", "draining", "retired"] | None = None
    zone: Text = Field("", max_length=100)


def worker_of(text: str, rows: QuerySet[Any] | None = None) -> Any:
    """Return a worker by id or name. Raises ProblemError (404)."""
    named = Q(node_id=text) | Q(name=text)
    found = list((Worker.objects.all() if rows is None else rows).filter(named)[:2])
    exact = [worker for worker in found if worker.node_id == text] or found
    if not exact:
        raise ProblemError(404, "No worker of this farm has this id or name.")
    return exact[0]


@router.get("/workers", response=PageOf[WorkerShape], auth=READ)
def list_workers(request: HttpRequest, query: Query[WorkerQuery]) -> Any:
    """List workers by name."""
    rows, now = Worker.objects.all(), timezone.now()
    if query.state is not None:
        rows = rows.filter(state=query.state)
    if query.zone:
        rows = rows.filter(zone=query.zone)
    ids, following = BY_NAME.page(rows, query)
    workers = with_tallies(in_order(ids, Worker.objects.all()), tallies(now))
    return PageOf[WorkerShape](items=[WorkerShape.of(worker, now) for worker in workers], next=following)


@router.get("/mirrors", response=list[MirrorShape], auth=READ)
def list_mirrors(request: HttpRequest) -> Any:
    """List the blind peers whose keys apps may name. The first ones are of different zones."""
    return [mirror._asdict() for mirror in mirrors(timezone.now())[:MAX_MIRRORS]]


@router.get("/mirrors/clients", response=list[ClientShape], auth=READ)
def list_clients(request: HttpRequest) -> Any:
    """List the clients of blind peers, those with most cores first."""
    return [client._asdict() for client in clients_with_use(MAX_MIRRORS)]


def detail_of(text: str) -> WorkerDetail:
    """Return a worker with what only its own address shows. Three queries."""
    worker = worker_of(text, with_load(Worker.objects.all()))
    moves = worker.state in IN_FARM and 0 < worker.copies <= MAX_DRAINED
    return WorkerDetail(
        **WorkerShape.values(worker, timezone.now()),
        note=worker.note,
        host=Host.of(worker.host),
        engine=Engine.of(worker.engine),
        drain=Drain.of(recent_progress(worker.pk)) if moves else None,
    )


@router.get("/workers/{worker}", response=WorkerDetail, auth=READ)
def get_worker(request: HttpRequest, worker: WorkerId) -> Any:
    """One worker: its host, its engine, and what a drain has to move."""
    return detail_of(worker)


@router.get("/workers/{worker}/copies", response=PageOf[CopyShape], auth=READ)
def list_worker_copies(request: HttpRequest, worker: WorkerId, query: Query[PageQuery]) -> Any:
    """The copies that it has or should have."""
    return page_of_copies(Replica.objects.filter(worker=worker_of(worker)), query)


def _act(request: HttpRequest, text: str, act: WorkerAction) -> WorkerDetail:
    """Repeating an action changes nothing. Raises ProblemError: 409 if the state does not allow it."""
    found, actor = worker_of(text), caller_of(request).actor
    change = services.activate if act is WorkerAction.ACTIVATE else services.drain
    if not change([found], actor) and found.state != STATE_AFTER[act]:
        raise ProblemError(409, f"A worker that is {found.state} cannot do that.")
    return detail_of(found.node_id)


@router.post("/workers/{worker}/activate", response=WorkerDetail, auth=CHANGE)
def activate_worker(request: HttpRequest, worker: WorkerId) -> Any:
    """Approve a waiting worker, take back a drain, or readmit a retired one."""
    return _act(request, worker, WorkerAction.ACTIVATE)


@router.post("/workers/{worker}/drain", response=WorkerDetail, auth=CHANGE)
def drain_worker(request: HttpRequest, worker: WorkerId) -> Any:
    """Place its copies elsewhere; it serves until others have them."""
    return _act(request, worker, WorkerAction.DRAIN)


@router.post("/workers/{worker}/retire", response=WorkerDetail, auth=CHANGE)
def retire_worker(request: HttpRequest, worker: WorkerId, force: bool = False) -> Any:
    """End its membership. 409 while it has blocks that no other has, or drives have fewer copies than their
    minimum without it; `force` retires it then, too."""
    found = worker_of(worker)
    result = services.retire([found], caller_of(request).actor, force=force)
    if result.guarded:
        raise ProblemError(409, f"It was kept: {result.guarded[0].why}. `force=true` retires it, too.")
    return detail_of(found.node_id)


@router.post("/workers/{worker}/pause", response=WorkerDetail, auth=CHANGE)
def pause_worker(request: HttpRequest, worker: WorkerId) -> Any:
    """Pause it: it keeps its copies and seeds nothing."""
    found = worker_of(worker)
    services.set_paused([found], True, caller_of(request).actor)
    return detail_of(found.node_id)


@router.post("/workers/{worker}/resume", response=WorkerDetail, auth=CHANGE)
def resume_worker(request: HttpRequest, worker: WorkerId) -> Any:
    """End a pause."""
    found = worker_of(worker)
    services.set_paused([found], False, caller_of(request).actor)
    return detail_of(found.node_id)
