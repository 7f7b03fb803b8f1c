"""Users, groups and tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from .. import services
from ..models import ApiToken
from ..models.access import Scope
from . import cells
from .base import FarmAdmin, Secret, SecretAdmin, column

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


GRANTING: Final = ("is_superuser", "user_permissions")
"""Fields of a user that only superusers change. Groups may be given by those who have all of their rights."""


def _is_superuser(request: HttpRequest) -> bool:
    return bool(request.user.is_active and request.user.is_superuser)


@admin.register(User)
class UserAdmin(_UserBase):
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("username", "email", "is_staff", "is_superuser", "last_login")

    # The right to change users must not allow more rights than the user has.

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> Any:
        fields = super().get_readonly_fields(request, obj)
        return fields if _is_superuser(request) else (*fields, *GRANTING)

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        field = super().formfield_for_manytomany(db_field, request, **kwargs)
        if db_field.name == "groups" and field is not None and not _is_superuser(request):
            field.queryset = Group.objects.filter(pk__in=_givable(request))
        return field

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return self._is_below(request, obj) and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return self._is_below(request, obj) and super().has_delete_permission(request, obj)

    @staticmethod
    def _is_below(request: HttpRequest, obj: User | None) -> bool:
        """Whether the user has every right of `obj`, whose password can be changed here."""
        if obj is None or _is_superuser(request):
            return True
        return not obj.is_superuser and request.user.has_perms(sorted(obj.get_all_permissions()))


def _givable(request: HttpRequest) -> list[int]:
    """Primary keys of groups whose rights the user has, all of them."""
    groups = Group.objects.prefetch_related("permissions__content_type")
    return [group.pk for group in groups if request.user.has_perms(_rights_of(group))]


def _rights_of(group: Group) -> list[str]:
    return [f"{right.content_type.app_label}.{right.codename}" for right in group.permissions.all()]


@admin.register(Group)
class GroupAdmin(_GroupBase):
    """A group gives rights: only superusers make and change them."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return _is_superuser(request)

    def has_change_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        return _is_superuser(request)

    def has_delete_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        return _is_superuser(request)


TOKEN_COLOURS = {"valid": "success", "used": "info", "expired": "warning", "revoked": "danger"}


if TYPE_CHECKING:
    _ApiTokenModelForm = forms.ModelForm[ApiToken]
else:
    _ApiTokenModelForm = forms.ModelForm


class ApiTokenForm(_ApiTokenModelForm):
    scopes = forms.MultipleChoiceField(
        label="It may",
        choices=Scope.choices,
        initial=[Scope.READ],
        widget=UnfoldAdminCheckboxSelectMultipleWidget(),
        help_text="As far as its user may.",
    )

    class Meta:
        model = ApiToken
        fields = ("name", "user", "scopes", "expires_at")


@admin.register(ApiToken)
class ApiTokenAdmin(SecretAdmin[ApiToken]):
    """Tokens of the API. A secret is shown once, when its token is made."""

    form = ApiTokenForm
    list_display = ("name", "user", "begins_with", "may", "state", "used", "expires_at")
    search_fields = ("name", "user__username")
    autocomplete_fields = ("user",)
    actions = ("revoke",)
    secret_fields = frozenset({"digest"})

    def get_fields(self, request: HttpRequest, obj: ApiToken | None = None) -> Any:
        """A token acts as its user: only superusers make one for another user."""
        fields = super().get_fields(request, obj)
        return [name for name in fields if name != "user" or obj is not None or _is_superuser(request)]

    def save_model(self, request: HttpRequest, obj: ApiToken, form: Any, change: bool) -> None:
        if not _is_superuser(request):
            assert isinstance(request.user, User)
            obj.user = request.user
        issued = services.issue_api_token(
            obj.user, obj.name, expires_at=obj.expires_at, scopes=obj.scopes, actor=request.user
        )
        obj.pk = issued.token.pk
        self.show_once(
            request,
            Secret(
                title=f"API token {obj.name}",
                text="A program sends it in a header. It is shown only now: what is kept of it is a hash.",
                secret=issued.secret,
                use=f"Authorization: Bearer {issued.secret}",
            ),
        )

    @column("Begins with")
    def begins_with(self, token: ApiToken) -> str:
        return cells.mono(token.hint + "…")

    @column("May")
    def may(self, token: ApiToken) -> str:
        return ", ".join(token.scopes) or cells.NOTHING

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
        done = sum(services.revoke_api_token(token, request.user) for token in queryset)
        self.message_user(request, f"{done} revoked.", messages.SUCCESS if done else messages.INFO)

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("registry.change_apitoken")
