"""Operations on rules, silences and channels of alerts."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final, Literal

from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.utils import timezone
from ninja import Path, Router, Status
from pydantic import AwareDatetime, BaseModel, Field

from seederfarm.registry.alert_rules import RULES, Setting
from seederfarm.registry.models import AlertChannel, AlertSilence
from seederfarm.registry.models.access import Scope
from seederfarm.registry.models.alerting import MAX_SECONDS
from seederfarm.registry.models.history import Severity
from seederfarm.registry.services import channels, silences
from seederfarm.registry.services.alert_rules import edit_rule, rule_settings
from seederfarm.registry.urls import without_secrets

from .access import READ, BearerToken, caller_of
from .drives import drive_of
from .given import Given, invalid
from .history import key_of
from .paging import MAX_ID, PageOf, Text, whole, wrong
from .problems import ProblemError
from .shapes import DriveRef, WorkerRef, of_row
from .workers import worker_of

router: Final = Router(tags=["alerts"])
CHANGE: Final = BearerToken(Scope.ALERTS, "registry.change_alert")
Id = Annotated[int, Path(ge=0, le=MAX_ID)]
Seconds = Annotated[int, Field(ge=0, le=MAX_SECONDS)]
Name = Annotated[Text, Field(min_length=1, max_length=100)]


class RuleShape(BaseModel):
    """A rule of alerts as it is set."""

    kind: str
    title: str
    condition: str
    enabled: bool
    threshold: int | None
    unit: str = Field(description="Of the threshold.")
    opens_after: int = Field(description="Seconds that the condition lasts before the alert opens.")
    closes_after: int
    channels: list[int] | None = Field(description="Where it is sent. Null: to every channel.")

    @classmethod
    def of(cls, setting: Setting) -> RuleShape:
        """The shape of a rule."""
        rule = setting.rule
        return cls(
            kind=rule.kind,
            title=rule.title,
            condition=setting.condition,
            enabled=setting.enabled,
            threshold=None if rule.threshold is None else setting.threshold,
            unit=rule.unit,
            opens_after=setting.opens_after,
            closes_after=setting.closes_after,
            channels=None if setting.all_channels else sorted(setting.channels),
        )


class RuleGiven(Given):
    """Changes of a rule: fields that are not sent stay."""

    enabled: bool = True
    threshold: Annotated[int, Field(ge=0, le=MAX_SECONDS)] | None = Field(
        None, description="Null: the default."
    )
    opens_after: Seconds | None = Field(None, description="Null: the default.")
    closes_after: Seconds | None = Field(None, description="Null: the default.")
    channels: list[Annotated[int, Field(ge=0, le=MAX_ID)]] | None = Field(
        None, max_length=channels.MAX_CHANNELS, description="Null: every channel."
    )


class SilenceShape(BaseModel):
    """A silence. Fields that are null narrow nothing."""

    id: int
    rule: str | None
    worker: WorkerRef | None
    drive: DriveRef | None
    tag: str | None
    reason: str
    by: str
    ends_at: datetime

    @classmethod
    def of(cls, item: AlertSilence) -> SilenceShape:
        """The shape of a silence."""
        return cls(
            id=item.pk,
            rule=item.rule or None,
            worker=WorkerRef.of_optional(item.worker),
            drive=DriveRef.of_optional(item.drive),
            tag=None if item.tag is None else item.tag.name,
            reason=item.reason,
            by=item.actor,
            ends_at=item.ends_at,
        )


class SilenceGiven(Given):
    """A silence: alerts fit it that fit all that is given."""

    rule: Annotated[Text, Field(max_length=40)] = ""
    worker: Annotated[Text, Field(max_length=100)] = Field("", description="Id or name.")
    drive: Annotated[Text, Field(max_length=200)] = Field("", description="A key in any spelling.")
    tag: Annotated[Text, Field(max_length=50)] = ""
    reason: Annotated[Text, Field(max_length=200)] = ""
    ends_at: AwareDatetime


class ChannelShape(BaseModel):
    """A channel that gets messages about alerts. Its secret is never shown."""

    id: int
    name: str
    kind: Literal["email", "webhook", "ntfy"]
    target: str = Field(description="Without logins and tokens.")
    has_secret: bool
    min_severity: Severity
    sends_closed: bool
    remind_every: int = Field(description="Seconds. 0: never.")
    enabled: bool
    works: bool | None = Field(description="Whether the last message was taken. Null: none was sent.")
    last_ok_at: datetime | None
    last_failed_at: datetime | None
    last_error: str

    @classmethod
    def of(cls, channel: AlertChannel) -> ChannelShape:
        """The shape of a channel, without logins and tokens."""
        return of_row(cls, channel, target=without_secrets(channel.target), has_secret=bool(channel.secret))


class ChannelChanges(Given):
    """Changes of a channel: fields that are not sent stay."""

    name: Name = ""
    kind: Literal["email", "webhook", "ntfy"] = "webhook"
    target: Annotated[Text, Field(min_length=1, max_length=1000)] = ""
    secret: Annotated[Text, Field(max_length=200)] = Field("", description="It is never shown.")
    min_severity: Severity = Severity.WARNING
    sends_closed: bool = True
    remind_every: Seconds = 86400
    enabled: bool = True


class ChannelGiven(ChannelChanges):
    """A new channel."""

    name: Name
    kind: Literal["email", "webhook", "ntfy"]
    target: Annotated[Text, Field(min_length=1, max_length=1000)]


class TestShape(BaseModel):
    """A test message was queued."""

    __test__ = False
    waiting: bool = Field(description="The channel's `works` and `last_error` have the result.")


@router.get("/alerts/rules", response=PageOf[RuleShape], auth=READ)
def list_rules(request: HttpRequest) -> Any:
    """List the rules as they are set."""
    return whole([RuleShape.of(setting) for setting in rule_settings().values()])


@router.patch("/alerts/rules/{kind}", response=RuleShape, auth=CHANGE)
def change_rule(request: HttpRequest, kind: Annotated[Text, Path(max_length=40)], body: RuleGiven) -> Any:
    """Switch a rule on or off, change its threshold, delays and channels."""
    if kind not in RULES:
        raise ProblemError(404, "No rule has this kind.")
    values = body.changes()
    if "channels" in values:
        ids = values["channels"]
        found = list(AlertChannel.objects.filter(pk__in=ids or []))
        if ids is not None and {channel.pk for channel in found} != set(ids):
            raise wrong("body.channels", "not all of them are channels of this farm")
        values |= {"all_channels": ids is None, "channels": found}
    try:
        edit_rule(kind, values, caller_of(request).actor)
    except ValidationError as error:
        raise invalid(error) from None
    return RuleShape.of(rule_settings()[kind])


@router.get("/alerts/silences", response=PageOf[SilenceShape], auth=READ)
def list_silences(request: HttpRequest) -> Any:
    """List the silences that are in force."""
    return whole([SilenceShape.of(item) for item in silences.current(timezone.now())])


@router.post("/alerts/silences", response={201: SilenceShape}, auth=CHANGE)
def add_silence(request: HttpRequest, body: SilenceGiven) -> Any:
    """Send no messages about some alerts until a time."""
    try:
        made = silences.silence(
            caller_of(request).actor,
            ends_at=body.ends_at,
            rule=body.rule,
            worker=worker_of(body.worker) if body.worker else None,
            drive=drive_of(key_of(body.drive)) if body.drive else None,
            tag=body.tag,
            reason=body.reason,
        )
    except ValidationError as error:
        raise invalid(error) from None
    return Status(201, SilenceShape.of(made))


@router.delete("/alerts/silences/{silence}", response={204: None}, auth=CHANGE)
def end_silence(request: HttpRequest, silence: Id) -> Any:
    """End a silence now."""
    if not silences.end_silence(silence, caller_of(request).actor):
        raise ProblemError(404, "No silence that lasts has this number.")
    return Status(204, None)


def channel_of(pk: int) -> AlertChannel:
    """Return a channel by number. Raises ProblemError (404)."""
    found = AlertChannel.objects.filter(pk=pk).first()
    if found is None:
        raise ProblemError(404, "No channel has this number.")
    return found


@router.get("/alerts/channels", response=PageOf[ChannelShape], auth=READ)
def list_channels(request: HttpRequest) -> Any:
    """List the channels by name."""
    return whole([ChannelShape.of(channel) for channel in AlertChannel.objects.all()])


@router.post("/alerts/channels", response={201: ChannelShape}, auth=CHANGE)
def add_channel(request: HttpRequest, body: ChannelGiven) -> Any:
    """Add a channel."""
    try:
        made = channels.add_channel(body.model_dump(), caller_of(request).actor)
    except ValidationError as error:
        raise invalid(error) from None
    return Status(201, ChannelShape.of(made))


@router.patch("/alerts/channels/{channel}", response=ChannelShape, auth=CHANGE)
def change_channel(request: HttpRequest, channel: Id, body: ChannelChanges) -> Any:
    """Change a channel."""
    found = channel_of(channel)
    try:
        channels.edit_channel(found, body.changes(), caller_of(request).actor)
    except ValidationError as error:
        raise invalid(error) from None
    return ChannelShape.of(channel_of(channel))


@router.delete("/alerts/channels/{channel}", response={204: None}, auth=CHANGE)
def delete_channel(request: HttpRequest, channel: Id) -> Any:
    """Delete a channel with what waits for it."""
    channels.remove_channel(channel_of(channel), caller_of(request).actor)
    return Status(204, None)


@router.post("/alerts/channels/{channel}/test", response={202: TestShape}, auth=CHANGE)
def test_a_channel(request: HttpRequest, channel: Id) -> Any:
    """Send a test message. 409 for a channel that is off, or has tests waiting."""
    try:
        channels.send_test(channel_of(channel), caller_of(request).actor)
    except ValidationError as error:
        raise ProblemError(409, " ".join(error.messages)) from None
    return Status(202, TestShape(waiting=True))
