"""Who may come in: users, groups, tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from .. import services
from ..models import ApiToken, EnrolmentToken
from . import cells
from .base import FarmAdmin, ReadOnlyAdmin, actor_of, column

admin.site.unregister(User)
admin.site.unregister(Group)

if TYPE_CHECKING:
    _UserBase = DjangoUserAdmin[User]
    _GroupBase = DjangoGroupAdmin
else:

    class _UserBase(DjangoUserAdmin, FarmAdmin):
        pass

    class _GroupBase(DjangoGroupAdmin, FarmAdmin):
        pass


@admin.register(User)
class UserAdmin(_UserBase):
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("username", "email", "is_staff", "is_superuser", "last_login")


@admin.register(Group)
class GroupAdmin(_GroupBase):
    pass


TOKEN_COLOURS = {"valid": "success", "used": "info", "expired": "warning", "revoked": "danger"}


if TYPE_CHECKING:
    _ApiTokenModelForm = forms.ModelForm[ApiToken]
else:
    _ApiTokenModelForm = forms.ModelForm


class ApiTokenForm(_ApiTokenModelForm):
    class Meta:
        model = ApiToken
        fields = ("name", "user", "expires_at")


@admin.register(ApiToken)
class ApiTokenAdmin(FarmAdmin[ApiToken]):
    form = ApiTokenForm
    list_display = ("name", "user", "begins_with", "state", "used", "expires_at")
    search_fields = ("name", "user__username")
    autocomplete_fields = ("user",)
    actions = ("revoke",)

    def has_change_permission(self, request: HttpRequest, obj: ApiToken | None = None) -> bool:
        return False  # made, used, revoked; never changed

    def has_delete_permission(self, request: HttpRequest, obj: ApiToken | None = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: ApiToken, form: Any, change: bool) -> None:
        issued = services.issue_api_token(
            obj.user, obj.name, expires_at=obj.expires_at, scopes=obj.scopes, actor=actor_of(request)
        )
        obj.pk = issued.token.pk
        text = f"The token, shown only this once: {issued.secret}"
        self.message_user(request, text, messages.WARNING)

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        return None  # the service wrote the audit log

    @column("Begins with")
    def begins_with(self, token: ApiToken) -> str:
        return cells.mono(token.hint + "…")

    @column("State", label=TOKEN_COLOURS)
    def state(self, token: ApiToken) -> str:
        if token.revoked_at is not None:
            return "revoked"
        return "valid" if token.is_valid(timezone.now()) else "expired"

    @column("Last used", order="last_used_at")
    def used(self, token: ApiToken) -> str:
        return cells.age(token.last_used_at)

    @admin.action(description="Revoke", permissions=["revoke"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiToken]) -> None:
        done = sum(services.revoke_api_token(token, actor_of(request)) for token in queryset)
        self.message_user(request, f"{done} revoked.", messages.SUCCESS if done else messages.INFO)

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("registry.change_apitoken")


@admin.register(EnrolmentToken)
class EnrolmentTokenAdmin(ReadOnlyAdmin[EnrolmentToken]):
    """Made by `seederfarm worker enroll`, which knows the broker's address and the farm's key."""

    list_display = ("for_whom", "begins_with", "zone", "state", "created", "expires", "used_by")
    list_select_related = ("used_by",)
    search_fields = ("name", "zone")
    actions = ("revoke",)

    @column("For", order="name")
    def for_whom(self, token: EnrolmentToken) -> str:
        return token.name or "any worker"

    @column("Begins with")
    def begins_with(self, token: EnrolmentToken) -> str:
        return cells.mono(token.hint + "…")

    @column("State", label=TOKEN_COLOURS)
    def state(self, token: EnrolmentToken) -> str:
        if token.used_at is not None:
            return "used"
        if token.revoked_at is not None:
            return "revoked"
        return "valid" if token.is_valid(timezone.now()) else "expired"

    @column("Made", order="created_at")
    def created(self, token: EnrolmentToken) -> str:
        return cells.age(token.created_at)

    @column("Expires", order="expires_at")
    def expires(self, token: EnrolmentToken) -> str:
        return cells.age(token.expires_at)

    @admin.action(description="Revoke", permissions=["revoke"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[EnrolmentToken]) -> None:
        done = sum(services.revoke_enrolment(token, actor_of(request)) for token in queryset)
        self.message_user(request, f"{done} revoked.", messages.SUCCESS if done else messages.INFO)

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("registry.change_enrolmenttoken")
