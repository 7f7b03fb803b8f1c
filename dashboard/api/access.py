"""Authenticates callers: a Bearer token, within its scopes and the rights of its user."""

from __future__ import annotations

import hashlib
import re
from time import monotonic
from typing import Any, Final, NamedTuple, cast

from django.contrib.auth.models import User
from django.http import HttpRequest
from django.utils import timezone
from ninja.security import HttpBearer

from seederfarm.registry.models import ApiToken
from seederfarm.registry.models.access import Scope
from seederfarm.registry.roles import VIEW
from seederfarm.registry.services import find_api_token
from seederfarm.registry.services.log import ByToken

from .limits import TokenLimit
from .problems import ProblemError, later

TOKEN: Final = re.compile(r"sft_[\w-]{43}", re.ASCII)
limit: Final = TokenLimit()
"""The limit of requests of each token, for all requests of the process."""


class Caller(NamedTuple):
    """The user and token that make a request."""

    user: User
    token: ApiToken

    @property
    def actor(self) -> ByToken:
        """The user and the token's name, for the audit log."""
        return ByToken(self.user, self.token.name)

    def check(self, scope: Scope, *permissions: str) -> None:
        """Check scope and permissions. Raises ProblemError (403) if the token has not this scope, or its user
        not these permissions."""
        if scope.value not in self.token.scopes:
            raise ProblemError(403, f"The token has no scope {scope.value!r}.")
        for permission in permissions:
            if not self.user.has_perm(permission):
                raise ProblemError(403, f"The user of the token has no permission {permission!r}.")

    def lasts(self) -> bool:
        """Whether the token is valid still, and its user active with the right to read."""
        token = ApiToken.objects.select_related("user").filter(pk=self.token.pk).first()
        if token is None or not token.is_valid(timezone.now()) or not token.user.is_active:
            return False
        return Scope.READ.value in token.scopes and token.user.has_perm(VIEW)


class BearerToken(HttpBearer):
    """Lets in tokens with one scope, whose users have some permissions.

    The lookup is by the hash of 256 random bits: how long it takes shows nothing of another token.
    """

    def __init__(self, scope: Scope, *permissions: str) -> None:
        super().__init__()
        self.scope = scope
        self.permissions = permissions

    def __call__(self, request: HttpRequest) -> Caller:
        """Raises ProblemError: 401 without a valid token, 403 for one that may not, 429 at a limit."""
        scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise ProblemError(401, "Send the header Authorization: Bearer TOKEN.")
        caller = self.authenticate(request, secret.strip())
        caller.check(self.scope, *self.permissions)
        return caller

    def authenticate(self, request: HttpRequest, token: str) -> Caller:
        address, now = str(request.META.get("REMOTE_ADDR") or ""), monotonic()
        digest = hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
        if wait := limit.wait(digest, address, now):
            raise ProblemError(429, "Too many refused tokens came from this address.", headers=later(wait))
        found = find_api_token(token) if TOKEN.fullmatch(token) else None
        if found is None:
            limit.refused(digest, address, now)
            raise ProblemError(401, "The token is unknown, over or revoked.")
        if wait := limit.accepted(digest, now):
            raise ProblemError(429, "Too many requests with this token.", headers=later(wait))
        return Caller(found.user, found)


READ: Final = BearerToken(Scope.READ, VIEW)


def caller_of(request: HttpRequest) -> Caller:
    """The caller of a request that a token has authenticated."""
    return cast(Caller, cast(Any, request).auth)
