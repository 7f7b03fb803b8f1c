"""Enrolment tokens, and the answer to workers that use them."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Sequence
from datetime import timedelta
from typing import Final, NamedTuple

from django.conf import settings

from farmwire.join import JoinToken, Welcome, queue_id, secret_digest, with_login, without_login
from farmwire.tasks import WELCOME, reply_key
from seederfarm.registry.models import EnrolmentToken, Worker
from seederfarm.registry.services.log import Actor
from seederfarm.registry.services.tokens import ENROLMENT_LIFE, issue_enrolment

from ..messaging import outbox
from ..messaging.broker import BrokerDown
from ..messaging.identity import identity
from . import accounts, acl
from .authority import authority_of

log = logging.getLogger(__name__)

PASSWORD_BYTES: Final = 32


class Enrolment(NamedTuple):
    """A new token for a worker. Its text is not stored."""

    token: EnrolmentToken
    text: str
    shared_login: bool
    """Whether it has the control plane's own login, since this broker has no accounts for workers."""
    broker_down: bool
    """Whether the token cannot be used yet: its account is made when the broker is there."""


def enrol(
    *,
    name: str = "",
    zone: str = "",
    tags: Sequence[str] = (),
    approved: bool = True,
    life: timedelta = ENROLMENT_LIFE,
    broker: str = "",
    here: bool = False,
    actor: Actor,
) -> Enrolment:
    """Make a token for one worker, once. `broker`: the URL by which the worker reaches Redis, if it differs
    from that of the settings; with a login in it, the worker uses that and gets no account.
    `here`: the worker is one of this machine, and reaches Redis as we do.

    Raises ValidationError, IdentityUnreadable, OSError, NoAccounts, BrokerDown, AuthorityUnreadable.
    """
    control = identity().node_id  # first: without it a token is useless
    farm = settings.FARM
    broker = broker or ("" if here else farm.workers_redis_url)
    url, authority = (farm.broker_url, "") if here else authority_of(broker or farm.broker_url, farm)
    given_login = broker != "" and without_login(broker) != broker
    own = not given_login and accounts.in_use()
    password = secrets.token_urlsafe(PASSWORD_BYTES)
    issued = issue_enrolment(
        name=name,
        zone=zone,
        tags=tags,
        approved=approved,
        life=life,
        broker_hash=secret_digest(password) if own else "",
        actor=actor,
    )
    down = False
    if own:
        url = with_login(url, accounts.user_of_token(issued.token.digest), password)
        try:
            accounts.sync()
        except BrokerDown:
            down = True
    token = JoinToken(farm=farm.name, control=control, broker=url, secret=issued.secret, authority=authority)
    return Enrolment(issued.token, token.to_text(), not own and not given_login, down)


def welcome(worker_id: int, digest: str, at: float) -> None:
    """Answer a valid request: make the worker's account, and send its name.

    If this fails, there is no answer, and the worker repeats the request.
    """
    worker = Worker.objects.filter(pk=worker_id).first()
    if worker is None:
        return
    answer = Welcome(waiting=True)
    if worker.state in accounts.TAKING_PART:
        answer = Welcome(name=worker.name)
        if worker.broker_hash:
            try:
                version = accounts.make_for(worker)
            except (BrokerDown, accounts.NoAccounts) as error:
                log.error("no account of the broker could be made for %s: %s", worker.name, error)
                return
            user = accounts.user_of_worker(worker.node_id)
            answer = Welcome(user=user, events=acl.may_publish(version), name=worker.name)
    outbox.leave_now(worker.pk, worker.node_id, WELCOME, answer, at, key=reply_key(queue_id(digest)))
