"""Links to files, for people without an account. On the router of `drives`."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.urls import reverse
from ninja import Schema, Status
from pydantic import AwareDatetime, Field

from seederfarm.registry.services.file_links import MAX_LASTS, MAX_PATH, make_link

from .access import caller_of
from .drive_acts import CHANGE
from .drives import Key, drive_of, router
from .given import Given, invalid
from .paging import MAX_ID, Text


class LinkGiven(Given):
    """What the link opens."""

    path: Annotated[Text, Field(min_length=1, max_length=MAX_PATH)] = Field(
        "/", description="A file, or a folder with a slash at the end: all below it."
    )
    hours: float = Field(24, gt=0, le=MAX_LASTS.total_seconds() / 3600, description="How long it lasts.")
    version: int | None = Field(None, ge=1, le=MAX_ID, description="Only this version. Null: the newest.")


class LinkShape(Schema):
    """A link that opens a file without a login until it expires."""

    url: str
    expires_at: AwareDatetime


@router.post("/drives/{key:key}/links", response={201: LinkShape}, auth=CHANGE)
def link_to_files(request: HttpRequest, key: Key, body: LinkGiven) -> Any:
    """Make a link that shows a file or folder to all who have it. It cannot be revoked alone."""
    try:
        link = make_link(
            drive_of(key),
            body.path,
            timedelta(hours=body.hours),
            caller_of(request).actor,
            version=body.version,
        )
    except ValidationError as error:
        raise invalid(error) from None
    address = reverse("dashboard:files", kwargs={"key": link.key, "path": link.path[1:]})
    folder = link.path.endswith("/")  # a page of the farm; files may have an origin of their own
    origin = "" if folder else settings.FARM.files_origin
    whole = f"{origin}{address}" if origin else request.build_absolute_uri(address)
    version = "" if link.version is None else f"&version={link.version}"
    return Status(201, LinkShape(url=f"{whole}?link={link.token}{version}", expires_at=link.expires_at))
