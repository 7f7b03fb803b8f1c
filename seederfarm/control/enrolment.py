"""Tokens with which workers join: the secret of the registry, and where and whom to ask with it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple

from django.conf import settings

from farmwire.enrol import JoinToken
from seederfarm.registry.models import EnrolmentToken
from seederfarm.registry.services.log import Actor
from seederfarm.registry.services.tokens import ENROLMENT_LIFE, issue_enrolment

from .identity import identity


class Enrolment(NamedTuple):
    """A new token as a worker takes it."""

    token: EnrolmentToken
    text: str


def enrol(
    *,
    name: str = "",
    zone: str = "",
    tags: Sequence[str] = (),
    approved: bool = True,
    life: timedelta = ENROLMENT_LIFE,
    broker: str = "",
    actor: Actor,
) -> Enrolment:
    """For one worker, once. `broker`: how it reaches Redis, where that differs from how we do.

    Raises ValidationError, IdentityUnreadable, OSError.
    """
    control = identity().node_id  # first: without it there is no use for a token
    issued = issue_enrolment(name=name, zone=zone, tags=tags, approved=approved, life=life, actor=actor)
    farm = settings.FARM
    token = JoinToken(farm=farm.name, control=control, broker=broker or farm.broker_url, secret=issued.secret)
    return Enrolment(issued.token, token.to_text())
