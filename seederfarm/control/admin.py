"""Enrolment tokens in the admin. They contain the broker's URL and the farm's key, which the registry does
not have."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from farmwire.join import without_login
from seederfarm.installer.bundle import NoPins
from seederfarm.installer.command import CertificateUnreadable, JoinCommand, join_command
from seederfarm.registry import services
from seederfarm.registry.admin import cells
from seederfarm.registry.admin.access import TOKEN_COLOURS
from seederfarm.registry.admin.base import Secret, SecretAdmin, column
from seederfarm.registry.models import EnrolmentToken
from seederfarm.settings import env

from .accounts import accounts
from .accounts.authority import AuthorityUnreadable, authority_of
from .accounts.enrolment import enrol
from .messaging.broker import BrokerDown

ONLY_HERE = (
    " The broker is the bundled Redis, which this machine alone can reach: a worker on it needs a directory "
    "of its own (--data DIR). For other machines, run the farm with a REDIS_URL."
)
SHARED = (
    " It carries the farm's own login of the broker: anyone who has it can read and write everything there."
)
HOURS = (("1", "an hour"), ("24", "a day"), ("168", "a week"))

if TYPE_CHECKING:
    _TokenModelForm = forms.ModelForm[EnrolmentToken]
else:
    _TokenModelForm = forms.ModelForm


class EnrolmentTokenForm(_TokenModelForm):
    """Makes a token. One that would carry the login of REDIS_URL needs `may_share_login`: that login reads
    and deletes all messages."""

    may_share_login = False
    hours = forms.ChoiceField(
        label="Works for", choices=HOURS, initial="24", widget=UnfoldAdminSelectWidget()
    )
    broker = forms.CharField(
        label="Broker",
        required=False,
        widget=UnfoldAdminTextInputWidget(attrs={"placeholder": "rediss://farm.example.org:6380/0"}),
        help_text="How the worker reaches Redis, where that differs; with a login, that is its own, too.",
    )

    class Meta:
        model = EnrolmentToken
        fields = ("name", "zone", "tags", "approved")

    def clean_broker(self) -> str:
        given: str = self.cleaned_data["broker"].strip()
        if given:
            try:
                env.redis(given)
            except ValueError as error:
                raise ValidationError(f"Not the address of a Redis: {error}.") from None
        return given

    def clean(self) -> dict[str, Any]:
        given = super().clean() or self.cleaned_data
        try:
            own = accounts.in_use()
        except accounts.NoAccounts as error:
            raise ValidationError(f"The broker lets us make no account for a worker: {error}.") from None
        except BrokerDown as error:
            raise ValidationError(
                f"The broker cannot be reached, so no account can be made there: {error}."
            ) from None
        farm_url = settings.FARM.broker_url
        elsewhere = given.get("broker") or settings.FARM.workers_redis_url
        try:
            authority_of(elsewhere or farm_url, settings.FARM)
        except AuthorityUnreadable as error:
            raise ValidationError(f"{error}.") from None
        shares = not own and not elsewhere and without_login(farm_url) != farm_url
        if shares and not self.may_share_login:
            raise ValidationError(
                "The broker gives out no accounts, so this token would carry the farm's own login: "
                "a superuser makes it, or name an address of the broker with a login of its own."
            )
        return given


@admin.register(EnrolmentToken)
class EnrolmentTokenAdmin(SecretAdmin[EnrolmentToken]):
    """Tokens are made here and by `seederfarm worker enroll`."""

    form = EnrolmentTokenForm
    list_display = ("named_worker", "begins_with", "zone", "state", "created", "expires", "used_by")
    list_select_related = ("used_by",)
    search_fields = ("name", "zone")
    actions = ("revoke",)
    secret_fields = frozenset({"digest", "broker_hash"})

    def get_form(
        self, request: HttpRequest, obj: EnrolmentToken | None = None, change: bool = False, **kwargs: Any
    ) -> Any:
        """Return the form. Only a superuser makes tokens with the farm's own login: it reads and deletes all
        messages."""
        form: Any = super().get_form(request, obj, change, **kwargs)
        form.may_share_login = bool(getattr(request.user, "is_superuser", False))
        return form

    @column("For", order="name")
    def named_worker(self, token: EnrolmentToken) -> str:
        """Column: the name that the worker gets."""
        return token.name or "any worker"

    @column("Begins with")
    def begins_with(self, token: EnrolmentToken) -> str:
        """Column: the first characters of the token; the rest is not stored."""
        return cells.mono(token.hint + "…")

    @column("State", label=TOKEN_COLOURS)
    def state(self, token: EnrolmentToken) -> str:
        """Column: used, revoked, valid or expired."""
        if token.used_at is not None:
            return "used"
        if token.revoked_at is not None:
            return "revoked"
        return "valid" if token.is_valid(timezone.now()) else "expired"

    @column("Made", order="created_at")
    def created(self, token: EnrolmentToken) -> str:
        """Column: its age."""
        return cells.age(token.created_at)

    @column("Expires", order="expires_at")
    def expires(self, token: EnrolmentToken) -> str:
        """Column: the time left."""
        return cells.age(token.expires_at)

    def save_model(self, request: HttpRequest, obj: EnrolmentToken, form: Any, change: bool) -> None:
        given = form.cleaned_data
        made = enrol(
            name=obj.name,
            zone=obj.zone,
            tags=obj.tags,
            approved=obj.approved,
            life=timedelta(hours=int(given["hours"])),
            broker=given["broker"],
            actor=request.user,
        )
        obj.pk = made.token.pk
        only_here = settings.FARM.bundled_redis and not (given["broker"] or settings.FARM.workers_redis_url)
        command = None if only_here else self._command(request, made.text)
        self.show_once(
            request,
            Secret(
                title=f"A token for {obj.name or 'a worker'}",
                text="Run this on the machine that is to seed. The token works once, and is shown only now."
                + (ONLY_HERE if only_here else "")
                + (SHARED if made.shared_login else "")
                + (f" {command.warning}" if command is not None else ""),
                secret=made.text,
                use=f"echo {made.text} | {env.COMMAND} worker run --join -"
                if command is None
                else command.text,
            ),
        )

    def _command(self, request: HttpRequest, token: str) -> JoinCommand | None:
        """What installs a worker; None, with a message, where these pages cannot hand it out."""
        try:
            return join_command(settings.FARM, token)
        except (CertificateUnreadable, NoPins) as error:
            self.message_user(request, f"{error}.", messages.WARNING)
            return None

    @admin.action(description="Revoke", permissions=["revoke"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[EnrolmentToken]) -> None:
        """Action: make tokens useless that no worker has used."""
        done = sum(services.revoke_enrolment(token, request.user) for token in queryset)
        self.message_user(request, f"{done} revoked.", messages.SUCCESS if done else messages.INFO)

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("registry.change_enrolmenttoken")
