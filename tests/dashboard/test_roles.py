"""Every page, act and operation, and the admin: without an account, without a role, and with each role."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, Permission, User
from django.test import Client
from django.urls import URLPattern, get_resolver, reverse

from dashboard import urls
from seederfarm.registry import roles
from seederfarm.registry.models import Alert, Drive, Source, Worker
from seederfarm.registry.models.access import Scope

from ..seederfarm.registry.factories import make_user
from .api.client import ApiClient, document
from .api.conftest import token_for
from .api.test_access import every_operation
from .conftest import logged_in, member
from .farm import populate

pytestmark = pytest.mark.usefixtures("database")

PEOPLE = ("anonymous", "nothing", roles.VIEWER, roles.OPERATOR, roles.ADMIN)
LOGIN, NO = 302, 403

ACTS: dict[str, tuple[dict[str, Any], int]] = {
    "act": ({"do": "pause"}, 302),
    "acknowledge": ({}, 302),
    "add": ({"keys": "x", "preview": "1"}, 200),
}
"""Acts of operators: what is posted, and the status of the answer."""
OPEN = {"login", "logout", "theme", "api_docs"}
"""For everyone, with a login or without."""
OF_OPERATORS = {"add", "add_source", "change_source", "flower", "plan"}
"""Pages that viewers do not get."""
TOKENS = {"metrics", "live"}
"""Answer a status of their own instead of the login page."""


def people() -> dict[str, Client]:
    found = {role: logged_in(member(role, role, is_staff=True)) for role in roles.ROLES}
    nothing = make_user("nothing", is_staff=True, is_superuser=False)
    return {"anonymous": Client(), "nothing": logged_in(nothing), **found}


def addresses() -> Iterator[tuple[str, str]]:
    """Name and address of every page."""
    values: dict[str, Any] = {
        "key": Drive.objects.get(label="Coastal Field Recordings").key,
        "node_id": Worker.objects.get(name="fra").node_id,
        "pk": Alert.objects.filter(resolved_at=None).values_list("pk", flat=True)[0],
    }
    for pattern in urls.urlpatterns:
        if (
            not isinstance(pattern, URLPattern)
            or not pattern.name
            or not pattern.pattern.converters.keys() <= values.keys()
        ):
            continue
        given = {name: values[name] for name in pattern.pattern.converters}
        yield pattern.name, reverse(f"dashboard:{pattern.name}", kwargs=given)


def expected(name: str, person: str) -> set[int]:
    """Statuses that a GET may have."""
    if name in OPEN:
        return {200, 302, 405}
    if person == "anonymous":
        return {401, 404} if name in TOKENS else {LOGIN, 404, 405}
    if person == "nothing":
        return {401, NO, 404, 405}
    if name in OF_OPERATORS and person == roles.VIEWER:
        return {NO}
    return {200, 304, 400, 401, 404, 405, 502} if name not in PAGES else {200}  # 502: no Flower runs here


PAGES = {
    "overview", "drives", "drive", "copies", "workers", "worker", "sources", "alerts", "events", "audit",
    "add",
}  # fmt: skip


@pytest.mark.slow
def test_every_page_is_for_viewers_and_forms_are_for_operators() -> None:
    populate()
    found = dict(addresses())
    assert PAGES | ACTS.keys() | OPEN | TOKENS <= found.keys()
    for person, client in people().items():
        for name, address in found.items():
            status = client.get(address).status_code
            assert status in expected(name, person), (person, name, status)


def test_acts_are_for_operators_and_admins() -> None:
    populate()
    found = dict(addresses())
    before = Drive.objects.filter(state="paused").count()
    for person, client in people().items():
        for name, (given, done) in ACTS.items():
            status = client.post(found[name], given).status_code
            wanted = {"anonymous": LOGIN, "nothing": NO, roles.VIEWER: NO}.get(person, done)
            assert status == wanted, (person, name, status)
        changed = Drive.objects.filter(state="paused").count() - before
        assert changed == (person in (roles.OPERATOR, roles.ADMIN)), person


NEEDS = {
    "drives": {Scope.DRIVES}, "workers": {Scope.WORKERS}, "sources": {Scope.SOURCES},
    "alerts": {Scope.ALERTS},
}  # fmt: skip
"""Scope of operations that change something, by the first part of their address."""


@pytest.mark.slow
@pytest.mark.parametrize("role", ["nothing", *roles.ROLES])
@pytest.mark.parametrize("scope", [*Scope])
def test_an_operation_of_the_api_needs_the_scope_and_the_role(role: str, scope: Scope) -> None:
    populate()
    user = make_user("nothing", is_superuser=False) if role == "nothing" else member("one", role)
    client = ApiClient(token_for(user, scope))
    assert len(every_operation()) == sum(len(found) for found in document()["paths"].values())
    for method, path in every_operation():
        if method == "GET":
            may = scope is Scope.READ and role != "nothing"
        else:
            part = path.removeprefix("/api/v1/").partition("/")[0]
            may = scope in NEEDS.get(part, {scope}) and role in (roles.OPERATOR, roles.ADMIN)
        status = client(method, path, None if method == "GET" else {}).status
        assert (status != 403) == may, (role, scope, method, path, status)


OF_ADMINS = {"apitoken", "enrolmenttoken", "user"}
ADDED = {"drive", "source", "tag", "worker", *OF_ADMINS}


@pytest.mark.slow
def test_lists_of_the_admin_are_for_staff_with_a_role_and_people_and_tokens_for_admins() -> None:
    populate()
    for person, client in people().items():
        for model in admin.site._registry:
            name, label = str(model._meta.model_name), model._meta.app_label
            status = client.get(reverse(f"admin:{label}_{name}_changelist")).status_code
            sees = person == roles.ADMIN or (
                person in roles.ROLES and label == "registry" and name not in OF_ADMINS
            )
            assert status == (LOGIN if person == "anonymous" else 200 if sees else NO), (person, name)
            if name in OF_ADMINS:
                adds = client.get(reverse(f"admin:{label}_{name}_add")).status_code
                assert adds == (LOGIN if person == "anonymous" else 200 if person == roles.ADMIN else NO)
    viewer = people_of(roles.VIEWER)
    source = Source.objects.get()
    shown = viewer.get(reverse("admin:registry_source_change", args=(source.pk,))).text
    assert "s3cret" not in shown


@pytest.mark.slow
def test_the_sidebar_of_the_admin_leads_only_where_its_reader_may_go() -> None:
    populate()
    for person, client in people().items():
        if person not in roles.ROLES:
            continue
        text = client.get(reverse("admin:registry_drive_changelist")).text
        links = set(re.findall(r'href="(/admin/[a-z]+/[a-z]+/)"', text))
        assert {"/admin/registry/drive/", "/admin/registry/event/"} <= links
        assert ("/admin/auth/user/" in links) is (person == roles.ADMIN)
        for link in links:
            assert client.get(link).status_code == 200, (person, link)


def people_of(role: str) -> Client:
    return logged_in(User.objects.get(username=role))


def test_roles_have_the_rights_of_their_table_whatever_was_changed() -> None:
    roles.sync_roles()
    rights = {
        role: set(Group.objects.get(name=role).permissions.values_list("codename", flat=True))
        for role in roles.ROLES
    }
    viewer, operator, chief = (rights[role] for role in (roles.VIEWER, roles.OPERATOR, roles.ADMIN))
    assert viewer < operator < chief
    assert all(right.startswith("view_") for right in viewer)
    assert {"change_drive", "add_source", "change_worker", "change_alert"} <= operator
    assert not {right for right in operator if "token" in right or "user" in right or "group" in right}
    assert {"add_user", "change_user", "add_apitoken", "view_group"} <= chief
    assert not {right for right in chief if right in ("add_group", "change_group", "add_permission")}
    group = Group.objects.get(name=roles.VIEWER)
    group.permissions.set(Permission.objects.filter(codename="delete_user"))
    roles.sync_roles()
    assert set(group.permissions.values_list("codename", flat=True)) == viewer


def test_an_admin_gives_roles_and_no_more_rights_than_its_own() -> None:
    chief = logged_in(member("carla", roles.ADMIN, is_staff=True))
    own = Group.objects.create(name="everything")
    own.permissions.set(Permission.objects.all())
    user = make_user("nina", is_staff=False, is_superuser=False)
    page = reverse("admin:auth_user_change", args=(user.pk,))
    operators, everything = Group.objects.get(name=roles.OPERATOR), own
    form = {"username": "nina", "is_active": "on", "date_joined_0": "2026-01-01", "date_joined_1": "00:00:00"}
    assert chief.post(page, {**form, "groups": [everything.pk]}).status_code == 200, "not in the list"
    assert not user.groups.exists()
    assert chief.post(page, {**form, "groups": [operators.pk], "is_superuser": "on"}).status_code == 302
    user.refresh_from_db()
    assert list(user.groups.values_list("name", flat=True)) == [roles.OPERATOR]
    assert not user.is_superuser
    operator = logged_in(member("otto", roles.OPERATOR, is_staff=True))
    assert operator.get(page).status_code == 403


def test_an_account_without_a_role_reads_why_and_can_leave() -> None:
    client = logged_in(make_user("nina", is_staff=False, is_superuser=False))
    page = client.get("/")
    assert page.status_code == 403
    assert "no role yet" in page.text and "Sign out" in page.text
    assert client.post(reverse("dashboard:logout")).status_code == 302


def test_a_key_in_the_path_of_the_admin_keeps_its_letters() -> None:
    populate()
    drive = Drive.objects.get(label="Waiting")
    Drive.objects.filter(pk=drive.pk).update(label="", title="")
    drive.refresh_from_db()
    page = logged_in(make_user("anna")).get(reverse("admin:registry_drive_change", args=(drive.pk,))).text
    assert drive.short_key in page
    assert drive.short_key[0].upper() + drive.short_key[1:] not in page


def luminance(colour: tuple[float, float, float]) -> float:
    linear = [(c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4) for c in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("share", [1.0, 0.8], ids=["button", "under the pointer"])
def test_buttons_of_the_admin_are_legible(share: float, settings: Any) -> None:
    """White on primary-600, WCAG 2.2 AA: 4.5. Under the pointer it is at 80 % over white."""
    given = [int(part) / 255 for part in settings.UNFOLD["COLORS"]["primary"]["600"].split()]
    red, green, blue = (share * part + 1 - share for part in given)
    assert 1.05 / (luminance((red, green, blue)) + 0.05) >= 4.5


def test_the_table_knows_the_root_addresses() -> None:
    """What is outside of the dashboard and the admin is for machines: they have no session."""
    routes = {str(pattern.pattern) for pattern in get_resolver().url_patterns}
    assert routes == {"admin/", "livez", "healthz", "readyz", "join/", ""}
