"""The parts that all admin pages share: audit log, bulk actions with a confirmation page, read-only lists."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar

from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import Field, JSONField, Model, QuerySet, TextField
from django.forms import Form
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.encoding import force_str
from unfold.decorators import action, display

from ..forms import AmountField, TagsField
from ..models.fields import TagListField
from ..services import record_audit
from .lists import Estimating, PageFirst

M = TypeVar("M", bound=Model)
F = TypeVar("F", bound=Callable[..., Any])

if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin as _ModelAdmin
    from django.contrib.admin import TabularInline as _TabularInline
else:
    from unfold.admin import ModelAdmin as _UnfoldModelAdmin
    from unfold.admin import TabularInline as _UnfoldTabularInline

    class _ModelAdmin(_UnfoldModelAdmin):
        def __class_getitem__(cls, item):
            return cls

    class _TabularInline(_UnfoldTabularInline):
        def __class_getitem__(cls, item):
            return cls


def column(
    description: str, *, order: str | None = None, label: Mapping[str, str] | bool | None = None
) -> Callable[[F], F]:
    """A column of a list. `label` maps values to colours: info, success, warning, danger."""
    decorator: Callable[[F], F] = display(description=description, ordering=order, label=label)
    return decorator


def button(description: str, icon: str) -> Callable[[F], F]:
    """A button on the page of one object, which calls `function(self, request, object_id)`."""
    decorator: Callable[[F], F] = action(description=description, icon=icon, permissions=["change"])
    return decorator


class FarmAdmin(_ModelAdmin[M]):
    """Also writes changes made in forms to the audit log."""

    list_per_page = 50
    paginator = Estimating
    show_full_result_count = False
    list_filter_submit = False
    list_fullwidth = True
    warn_unsaved_form = True
    compressed_fields = True
    amounts: ClassVar[Mapping[str, type[AmountField]]] = {}
    """Fields that are written with a unit, by name."""
    secret_fields: ClassVar[frozenset[str]] = frozenset()
    """Fields that cannot filter lists: `?field__startswith=` would reveal the value step by step."""

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest) -> bool:
        if lookup.partition("__")[0] in self.hidden_from(request):
            return False
        return bool(super().lookup_allowed(lookup, value, request))

    def hidden_from(self, request: HttpRequest) -> frozenset[str]:
        """The secret fields that this request's user may not learn."""
        return self.secret_fields

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[PageFirst]:
        return PageFirst

    def formfield_for_dbfield(self, db_field: Field[Any, Any], request: HttpRequest, **kwargs: Any) -> Any:
        if isinstance(db_field, TagListField):
            return TagsField(
                label=str(db_field.verbose_name).capitalize(), help_text=db_field.help_text, required=False
            )
        if (amount := self.amounts.get(db_field.name)) is not None:
            label, text = str(db_field.verbose_name).capitalize(), str(db_field.help_text)
            return amount(
                label=label, help_text=text, required=not db_field.blank, validators=db_field.validators
            )
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if isinstance(db_field, TextField | JSONField) and field is not None:
            field.widget.attrs["rows"] = 3
        return field

    def log_addition(self, request: HttpRequest, obj: M, message: Any) -> Any:
        self._audit(request, obj, "add", f"Added {obj._meta.verbose_name} {obj}")
        return super().log_addition(request, obj, message)

    def log_change(self, request: HttpRequest, obj: M, message: Any) -> Any:
        fields = message_fields(message)
        if fields:
            changed = ", ".join(fields)
            self._audit(request, obj, "change", f"Changed {changed} of {obj._meta.verbose_name} {obj}")
        return super().log_change(request, obj, message)

    def log_deletions(self, request: HttpRequest, queryset: QuerySet[M]) -> Any:
        for obj in queryset:
            self._audit(request, obj, "delete", f"Deleted {obj._meta.verbose_name} {obj}")
        return super().log_deletions(request, queryset)

    def _audit(self, request: HttpRequest, obj: Model, verb: str, text: str) -> None:
        target = str(getattr(obj, "key", None) or getattr(obj, "node_id", None) or obj.pk)
        record_audit(request.user, f"{obj._meta.model_name}.{verb}", text, target=target)

    def confirm(
        self,
        request: HttpRequest,
        queryset: QuerySet[M],
        *,
        action: str,
        title: str,
        text: str,
        button: str,
        form: Form | None = None,
        warnings: list[str] | None = None,
        danger: bool = False,
    ) -> HttpResponse:
        """Return a page that asks before a bulk action; its form posts the same action again, with
        `apply`."""
        context = {
            **self.admin_site.each_context(request),
            "opts": self.model._meta,
            "title": title,
            "text": text,
            "button": button,
            "danger": danger,
            "form": form,
            "warnings": warnings or [],
            "action": action,
            "count": queryset.count(),
            "shown": [named(item) for item in queryset[:20]],
            "select_across": request.POST.get("select_across", "0"),
            "selected": request.POST.getlist(ACTION_CHECKBOX_NAME),
            "checkbox_name": ACTION_CHECKBOX_NAME,
            "media": self.media + form.media if form else self.media,
        }
        return TemplateResponse(request, "registry/confirm.html", context)

    def act_on_one(
        self, request: HttpRequest, object_id: str, name: str, *, title: str, text: str = ""
    ) -> HttpResponse:
        """Run a bulk action for one object. With `text`, ask first; other actions ask by themselves.

        A GET changes nothing, since a link can be made to trigger it.
        """
        queryset = self.get_queryset(request).filter(pk=object_id)
        if not queryset.exists():
            return HttpResponseRedirect(
                reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist")
            )
        if text and request.method != "POST":
            return self.confirm(request, queryset, action=name, title=title, text=text, button=title)
        response: HttpResponse | None = getattr(self, name)(request, queryset)
        page = reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_change", args=(object_id,))
        return response or HttpResponseRedirect(page)


class ReadOnlyAdmin(FarmAdmin[M]):
    """The admin of rows that only the farm writes."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        return False


class Secret(NamedTuple):
    """A new token, shown once."""

    title: str
    text: str
    secret: str
    use: str
    """A line to copy, with the secret in it."""


class SecretAdmin(FarmAdmin[M]):
    """The admin of tokens: made, shown once, revoked; never changed. `save_model` calls a service and
    `show_once`."""

    def has_change_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        return False

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        one_button = {"show_save_and_add_another": False, "show_save_and_continue": False}
        return super().add_view(request, form_url, {**(extra_context or {}), **one_button})

    def show_once(self, request: HttpRequest, secret: Secret) -> None:
        request.secret_made = secret  # type: ignore[attr-defined]

    def response_add(
        self, request: HttpRequest, obj: M, post_url_continue: str | None = None
    ) -> HttpResponse:
        """Show the secret on a page, not in a message: messages are stored in a cookie until shown."""
        context = {
            **self.admin_site.each_context(request),
            **request.secret_made._asdict(),  # type: ignore[attr-defined]
            "opts": self.model._meta,
            "back": reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist"),
        }
        return TemplateResponse(request, "registry/secret.html", context)

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        return None  # the service wrote the audit log


class ReadOnlyInline(_TabularInline[Any, Any]):
    extra = 0
    can_delete = False
    hide_title = True
    show_change_link = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


def named(item: Model) -> str:
    """A name, with the key where names may be equal."""
    key = getattr(item, "short_key", "")
    return f"{item} ({key})" if key and key != str(item) else str(item)


def message_fields(message: Any) -> list[str]:
    """The names of changed fields in a change message of the admin."""
    fields: list[str] = []
    for item in message if isinstance(message, list) else []:
        for kind in ("changed", "added", "deleted"):
            fields += [force_str(name) for name in item.get(kind, {}).get("fields", [])]
    return fields


site = admin.site
