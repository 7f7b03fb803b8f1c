"""What staff with few rights see and do on the pages, and how texts of others are shown."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html import unescape
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.auth.models import Group, Permission, User
from django.dispatch import Signal
from django.test import Client, RequestFactory
from django.urls import reverse

from farmwire.join import JoinToken
from seederfarm.control.accounts import accounts
from seederfarm.registry import services, signals
from seederfarm.registry.models import (
    ApiToken,
    AuditEntry,
    Drive,
    EnrolmentToken,
    Event,
    Replica,
    Source,
    Worker,
)
from seederfarm.registry.models.history import Severity

from ..factories import make_drive, make_replica, make_user, make_worker

pytestmark = pytest.mark.usefixtures("database")


def staff(*permissions: str, name: str = "op") -> Client:
    user = User.objects.create_user(name, password="x", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    assert user.user_permissions.count() == len(permissions)
    return logged_in(user)


def logged_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


SECRET = "s3cret"


def a_source() -> Source:
    return Source.objects.create(
        name="ours",
        location=f"https://me:{SECRET}@lists.example/seeds.json?page=2&access_token={SECRET}",
        removals_url=f"https://lists.example/gone?sig={SECRET}",
        headers={"Authorization": f"Bearer {SECRET}"},
    )


def test_users_that_may_only_view_sources_see_no_secret_of_them() -> None:
    source = a_source()
    page = reverse("admin:registry_source_change", args=(source.pk,))
    looking = staff("view_source").get(page)
    assert looking.status_code == 200 and SECRET not in looking.text
    assert "lists.example/seeds.json?page=2&amp;access_token=***" in looking.text
    assert "Authorization: (hidden)" in looking.text
    assert SECRET in staff("view_source", "change_source", name="editor").get(page).text


@pytest.mark.parametrize(
    "lookup",
    [
        *("headers__icontains", "headers__Authorization__startswith", "location__contains"),
        *("removals_url__startswith", "mapping__contains", "state__icontains"),
    ],
)
def test_lists_are_no_oracle_of_secrets(lookup: str) -> None:
    """A filter that finds, or finds not, reports a secret letter by letter."""
    a_source()
    page = reverse("admin:registry_source_changelist")
    client = staff("view_source")
    assert client.get(f"{page}?{lookup}=x").status_code == 400
    found = [client.get(page, {"q": text}).text.count("ours") for text in ("me:s3c", "me:xxx", "ours")]
    assert found[0] == found[1] < found[2]
    assert staff("view_source", "change_source", name="editor").get(f"{page}?{lookup}=x").status_code == 200


@pytest.mark.parametrize(
    ("page", "query"),
    [
        ("registry_apitoken", "digest__startswith=a"),
        ("registry_enrolmenttoken", "digest__startswith=a"),
        ("registry_enrolmenttoken", "broker_hash__startswith=a"),
        ("registry_worker", "broker_hash__startswith=a"),
        ("auth_user", "password__startswith=pbkdf2"),
    ],
)
def test_hashes_are_not_filtered_by(page: str, query: str) -> None:
    client = logged_in(make_user("alice"))
    done = client.get(f"{reverse(f'admin:{page}_changelist')}?{query}")
    assert done.status_code in (302, 400)


def test_users_that_may_change_drives_may_request_proofs(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    signal = Signal()
    signal.connect(lambda **given: asked.append(given), weak=False)
    monkeypatch.setattr(signals, "reverify_wanted", signal)
    copy = make_replica(make_drive("d"), make_worker("w"), phase=Replica.Phase.COMPLETE)
    page = reverse("admin:registry_replica_changelist")
    data = {"action": "reverify", ACTION_CHECKBOX_NAME: [copy.pk]}
    staff("view_replica", "view_drive").post(page, data, follow=True)
    assert Event.objects.count() == 0 and not asked
    done = staff("view_replica", "change_drive", name="editor").post(page, data, follow=True)
    assert "Asked 1 complete copy for proof" in done.text


def test_an_api_token_is_for_oneself_unless_one_is_a_superuser() -> None:
    admin = make_user("alice")
    page = reverse("admin:registry_apitoken_add")
    client = staff("add_apitoken", "view_apitoken", "view_user")
    assert 'name="user"' not in client.get(page).text
    data = {"name": "mine", "user": admin.pk, "scopes": ["read"]}
    assert client.post(page, data).status_code == 200
    assert ApiToken.objects.get().user.get_username() == "op"
    ApiToken.objects.all().delete()
    assert (
        logged_in(admin).post(page, {**data, "user": User.objects.get(username="op").pk}).status_code == 200
    )
    assert ApiToken.objects.get().user.get_username() == "op"


def test_users_that_may_only_view_have_no_action_and_no_button_on_any_page() -> None:
    """Of every model there is, those of later ones included."""
    objects = {"drive": make_drive("d"), "worker": make_worker("w"), "source": a_source()}
    client = staff(*(f"view_{model._meta.model_name}" for model in admin.site._registry))
    request = RequestFactory().get("/")
    request.user = User.objects.get(username="op")
    buttons = 0
    for model, pages in admin.site._registry.items():
        assert not pages.get_actions(request), model
        for verb in ("add", "change", "delete"):
            assert not getattr(pages, f"has_{verb}_permission")(request), (model, verb)
        found = objects.get(str(model._meta.model_name))
        for name in getattr(pages, "actions_detail", ()) if found is not None else ():
            url = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{name}", args=(found.pk,))
            assert client.post(url, {"apply": "1"}).status_code in (302, 403), url
            buttons += 1
    assert buttons >= 6
    assert not AuditEntry.objects.exclude(action__startswith="api").exists(), "nothing was done"
    assert {drive.state for drive in Drive.objects.all()} == {"active"}
    assert {worker.state for worker in Worker.objects.all()} == {"active"}


def test_hashes_of_passwords_and_tokens_are_on_no_page() -> None:
    user = make_user("alice")
    user.set_password("right-password-1")
    user.save()
    issued = services.issue_api_token(user, "mine", actor="cli")
    enrolment = services.issue_enrolment(name="pi", actor="cli", broker_hash="b0" * 32)
    worker = make_worker("w", broker_hash="b1" * 32)
    secrets = {
        user.password.rpartition("$")[2],
        issued.token.digest,
        enrolment.token.digest,
        "b0" * 32,
        "b1" * 32,
    }
    clients = [logged_in(user), staff("view_user", "view_apitoken", "view_enrolmenttoken", "view_worker")]
    for client in clients:
        for model, pk in (
            ("auth_user", user.pk),
            ("registry_apitoken", issued.token.pk),
            ("registry_enrolmenttoken", enrolment.token.pk),
            ("registry_worker", worker.pk),
        ):
            for page in (reverse(f"admin:{model}_changelist"), reverse(f"admin:{model}_change", args=(pk,))):
                done = client.get(page)
                assert done.status_code == 200, page
                assert not [secret for secret in secrets if secret in unescape(done.text)], page


def test_users_that_may_change_users_get_no_rights_by_it() -> None:
    admin = make_user("alice")
    client = staff(
        "change_user", "view_user", "add_user", "delete_user", "change_group", "add_group", "view_group"
    )
    user = User.objects.get(username="op")
    page = reverse("admin:auth_user_change", args=(user.pk,))
    rights = [Permission.objects.get(codename="change_drive").pk]
    data = {"username": "op", "email": "op@example.org", "is_active": "on", "user_permissions": rights}
    data |= {
        "date_joined_0": "2026-01-01",
        "date_joined_1": "00:00:00",
        "is_staff": "on",
        "is_superuser": "on",
    }
    assert client.post(page, data).status_code == 302
    user.refresh_from_db()
    assert (user.email, user.is_superuser) == ("op@example.org", False)
    assert not user.user_permissions.filter(pk__in=rights).exists()
    other = reverse("admin:auth_user_change", args=(admin.pk,))
    assert client.post(other, {**data, "username": "mallory"}).status_code == 403
    password = reverse("admin:auth_user_password_change", args=(admin.pk,))
    assert client.post(password, {"password1": "x1y2z3w4v5", "password2": "x1y2z3w4v5"}).status_code == 403
    assert (
        client.post(reverse("admin:auth_user_delete", args=(admin.pk,)), {"post": "yes"}).status_code == 403
    )
    delete = {"action": "delete_selected", ACTION_CHECKBOX_NAME: [admin.pk], "post": "yes"}
    client.post(reverse("admin:auth_user_changelist"), delete)
    assert User.objects.filter(pk=admin.pk).exists()
    assert (
        client.post(reverse("admin:auth_group_add"), {"name": "g", "permissions": rights}).status_code == 403
    )
    assert not Group.objects.filter(name="g").exists()


def test_the_brokers_login_is_given_to_superusers_alone(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.FARM = replace(settings.FARM, redis_url="redis://:s3cret@127.0.0.1:1/0")
    monkeypatch.setattr(accounts, "in_use", lambda: False)
    page, data = reverse("admin:registry_enrolmenttoken_add"), {"name": "pi", "hours": "24"}
    client = staff("add_enrolmenttoken", "view_enrolmenttoken")
    done = client.post(page, data)
    assert "a superuser makes it" in done.text and EnrolmentToken.objects.count() == 0
    done = client.post(page, {**data, "broker": "redis://w:own@broker.example:6379/0"})
    assert JoinToken.from_text(token_in(done.text)).broker == "redis://w:own@broker.example:6379/0"
    done = logged_in(make_user("alice")).post(page, data)
    assert "s3cret" in JoinToken.from_text(token_in(done.text)).broker


def token_in(page: str) -> str:
    found = re.search(r"sfj1_[\w-]+", page)
    assert found is not None
    return found[0]


EVIL = "a\x1b]52;c;eA\x07\u202egpj.exe\x00"
SHOWN = "a\\e]52;c;eA\\a\\u202egpj.exe"


def test_hidden_characters_are_shown_on_every_page() -> None:
    evil = EVIL.replace("\0", "")  # PostgreSQL has no text with it
    drive, worker = make_drive("d", title=evil, label=""), make_worker(evil)
    make_replica(drive, worker, error=evil)
    services.record_event("x", evil, severity=Severity.WARNING, drive=drive, worker=worker)
    services.record_audit("cli", "x", evil, target=evil)
    client = logged_in(make_user("alice"))
    pages = [
        reverse(f"admin:registry_{name}_changelist")
        for name in ("drive", "replica", "worker", "event", "auditentry")
    ]
    pages += [
        reverse("admin:registry_drive_change", args=(drive.pk,)),
        reverse("admin:registry_worker_change", args=(worker.pk,)),
    ]
    for page in pages:
        done = client.get(page)
        assert SHOWN in done.text.replace("&#x27;", "'"), page
        assert not {"\x1b", "\x07", "\u202e"} & set(done.text), page
        assert int(done["Content-Length"]) == len(done.content)
    found = client.get(
        reverse("admin:autocomplete"),
        {"app_label": "registry", "model_name": "replica", "field_name": "worker"},
    )
    assert found.status_code == 200
    assert json.loads(found.content)["results"][0]["text"] == SHOWN
