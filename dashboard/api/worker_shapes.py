"""Workers as the API shows them. Sizes are in bytes."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from seederfarm.registry.services.drains import DrainProgress

from ..reads.looks import of_worker


class OneEngine(BaseModel):
    """One engine of a worker."""

    index: int
    running: bool
    hung: bool
    restarts: int
    online: bool = Field(description="Whether DHT nodes answer it.")
    nat: Literal["open", "consistent", "random", "unknown"] = Field(description="What its NAT does to ports.")
    address: str | None = Field(description="As other nodes see it; without a port if each sees another.")
    seen_by: int = Field(description="Nodes that reported its address lately.")
    seen_same: int = Field(description="Of those, nodes that agree.")
    direct: int = Field(description="Connections that need no help.")
    punched: int = Field(description="Connections through a hole in a NAT.")
    relayed: int = Field(description="Connections through a blind relay.")

    @classmethod
    def of(cls, engine: dict[str, Any]) -> OneEngine:
        """One entry of `engines` of a heartbeat."""
        values = {name: engine.get(name, 0) for name in cls.model_fields}
        return cls(
            **{**values, "nat": engine.get("nat", "unknown"), "address": engine.get("address") or None}
        )


class MirrorShape(BaseModel):
    """A worker that is a blind peer."""

    key: str = Field(description="Of the blind peer, z-base-32: apps name it.")
    worker: str
    zone: str
    online: bool
    cores: int = Field(description="Cores that apps have it keep.")
    bytes: int = Field(description="Bytes of their stored blocks.")
    clients: int = Field(description="Apps that have named a core first.")


class ClientShape(BaseModel):
    """A client of the farm's blind peers."""

    key: str = Field(description="Its public key, z-base-32.")
    cores: int = Field(description="Cores that are registered for it.")
    bytes: int = Field(description="Bytes of their stored blocks.")
    active_at: datetime | None = Field(description="When it, or a reader, last used one of them.")
    refused_at: datetime | None = Field(description="When it last named more cores than it may.")


class Engine(BaseModel):
    """As last reported."""

    running: bool
    shards: int
    restarts: int
    hung: int
    peers: int
    firewalled: bool | None
    memory_bytes: int
    stored_bytes: int
    up_per_second: float
    down_per_second: float
    engines: list[OneEngine]

    @classmethod
    def of(cls, engine: dict[str, Any]) -> Engine | None:
        """The engines' part of a heartbeat; None before the first heartbeat."""
        if not engine:
            return None
        return cls(
            running=bool(engine.get("running")),
            shards=engine.get("shards", 0),
            restarts=engine.get("restarts", 0),
            hung=engine.get("hung", 0),
            peers=engine.get("connections", 0),
            firewalled=engine.get("firewalled"),
            memory_bytes=engine.get("rss_bytes", 0),
            stored_bytes=engine.get("stored_bytes", 0),
            up_per_second=engine.get("up_per_second", 0.0),
            down_per_second=engine.get("down_per_second", 0.0),
            engines=[OneEngine.of(each) for each in engine.get("engines", ())],
        )


class Host(BaseModel):
    """As last reported."""

    cpu_percent: float
    load: float = Field(description="Of the last minute.")
    load_5: float | None = Field(description="Of five minutes.")
    load_15: float | None
    cores: int
    memory_bytes: int
    memory_used_bytes: int
    disk_bytes: int
    disk_free_bytes: int
    uptime: float = Field(description="Seconds.")

    @classmethod
    def of(cls, host: dict[str, Any]) -> Host | None:
        """The machine's part of a heartbeat; None before the first heartbeat."""
        if not host:
            return None
        loads = {name: host.get(name) for name in ("load_5", "load_15")}
        return cls(**{**{name: host.get(name, 0) for name in cls.model_fields}, **loads})


class WorkerShape(BaseModel):
    """A worker as lists have it."""

    id: str
    name: str
    zone: str
    tags: list[str]
    state: Literal["pending", "active", "draining", "retired"]
    status: str = Field(description="The state as pages show it: Online, Silent, Lost, Engine hung, …")
    paused: bool
    weight: float
    copies: int
    complete: int
    used_bytes: int | None
    free_bytes: int | None
    capacity_bytes: int | None
    quota_bytes: int | None
    upload_limit: int | None = Field(description="Bytes a second.")
    download_limit: int | None = Field(description="Bytes a second.")
    software: str
    joined_at: datetime
    last_seen_at: datetime | None
    lost_since: datetime | None
    draining_since: datetime | None
    retired_at: datetime | None

    @classmethod
    def values(cls, worker: Any, now: datetime) -> dict[str, Any]:
        """Values of a worker with `queries.with_load`."""
        return {
            "id": worker.node_id,
            "status": of_worker(worker, now).word,
            "joined_at": worker.enrolled_at,
            **{
                name: getattr(worker, name)
                for name in WorkerShape.model_fields
                if name not in ("id", "status", "joined_at")
            },
        }

    @classmethod
    def of(cls, worker: Any, now: datetime) -> WorkerShape:
        """The shape of a row of `queries.with_load`; its status depends on `now`."""
        return cls(**cls.values(worker, now))


class Drain(BaseModel):
    """The copies and bytes that a drain moves, or would move."""

    copies: int
    waiting: int = Field(description="Copies that too few other workers have.")
    bytes_left: int
    bytes_per_second: float
    eta_seconds: float | None

    @classmethod
    def of(cls, progress: DrainProgress) -> Drain:
        """The shape of a drain's progress."""
        return cls(**progress._asdict(), eta_seconds=progress.eta_seconds)


class WorkerDetail(WorkerShape):
    """A worker with what only its own address shows."""

    note: str
    host: Host | None
    engine: Engine | None
    drain: Drain | None
