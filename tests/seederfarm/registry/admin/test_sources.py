"""Sources in the admin: who may add which, what is held, and what is shown to whom."""

from __future__ import annotations

import pytest
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

from seederfarm.registry.models import Drive, Source, SourceEntry

from ..factories import make_user

pytestmark = pytest.mark.usefixtures("database")

LIST = "admin:registry_source_changelist"


def staff(*permissions: str) -> Client:
    user = User.objects.create_user("op", password="x", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    assert user.user_permissions.count() == len(permissions)
    client = Client()
    client.force_login(user)
    return client


def superuser() -> Client:
    client = Client()
    client.force_login(User.objects.filter(username="alice").first() or make_user("alice"))
    return client


def form(**values: object) -> dict[str, object]:
    return {"name": "ours", "kind": "file", "headers": "{}", "priority": 5, "enabled": "on", **values}


def test_only_superusers_add_sources_that_read_files() -> None:
    url = reverse("admin:registry_source_add")
    client = staff("add_source", "change_source", "view_source")
    done = client.post(url, form(location="seeds.txt"))
    assert done.status_code == 200 and "Only superusers" in done.text
    assert client.post(url, form(location="https://example.org/seeds.txt")).status_code == 302
    source = Source.objects.get()
    change = reverse("admin:registry_source_change", args=(source.pk,))
    done = client.post(change, form(location="/etc/passwd"))
    assert done.status_code == 200 and "Only superusers" in done.text
    assert superuser().post(change, form(location="seeds.txt")).status_code == 302
    source.refresh_from_db()
    assert source.location == "seeds.txt"
    assert client.post(change, form(location="seeds.txt", label="theirs")).status_code == 302, (
        "what is there stays"
    )
    assert client.post(change, form(location="../secret_key")).status_code == 200
    source.refresh_from_db()
    assert (source.location, source.label) == ("seeds.txt", "theirs")


@pytest.mark.parametrize(
    "headers", ["[1]", '"x"', '{"A b": "x"}', '{"A": "x\\r\\nHost: inside"}', '{"": "x"}']
)
def test_headers_are_names_and_texts_of_one_line(headers: str) -> None:
    url = reverse("admin:registry_source_add")
    done = superuser().post(url, form(location="https://example.org/", headers=headers))
    assert done.status_code == 200 and "JSON object of names" in done.text
    good = '{"Authorization": "Bearer x", "X-N": 1}'
    assert superuser().post(url, form(location="https://example.org/", headers=good)).status_code == 302


def test_removals_that_are_held_are_accepted_after_a_page_that_asks() -> None:
    source = Source.objects.create(
        name="ours", location="https://x/", held=1, held_because="the list lost much"
    )
    for number, gone in ((1, ""), (2, "held")):
        drive = Drive.objects.create(key=f"{number:064x}", added_manually=False)
        SourceEntry.objects.create(source=source, drive=drive, gone=gone)
    client = superuser()
    assert "1 removal held: the list lost much" in client.get(reverse(LIST)).text
    data = {"action": "accept_removals", ACTION_CHECKBOX_NAME: [source.pk]}
    asked = client.post(reverse(LIST), data)
    assert "the list lost much" in asked.text and Drive.objects.filter(state="removing").count() == 0
    client.post(reverse(LIST), {**data, "apply": "1"}, follow=True)
    assert [drive.key for drive in Drive.objects.exclude(state="removing")] == [f"{1:064x}"]
    source.refresh_from_db()
    assert source.held == 0
    assert "Nothing is held" in client.post(reverse(LIST), data, follow=True).text


def test_users_that_may_only_view_accept_no_removals() -> None:
    source = Source.objects.create(name="ours", location="https://x/", held=1)
    client = staff("view_source")
    data = {"action": "accept_removals", ACTION_CHECKBOX_NAME: [source.pk], "apply": "1"}
    client.post(reverse(LIST), data)
    source.refresh_from_db()
    assert source.held == 1
