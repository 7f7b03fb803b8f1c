"""Sources are added, changed and removed in pages; the services say what is wrong."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from dashboard.reads.sources import listed
from seederfarm.registry.models import AuditEntry, Drive, Source

from .farm import populate, text_of

pytestmark = pytest.mark.usefixtures("database")

GIVEN: dict[str, Any] = {
    "name": "open-archive", "kind": "http", "location": "https://open.example/keys.json?token=s3cret",
    "every": "5m", "enabled": "on", "remove_unlisted": "on", "priority": "4", "tags": "sea, old",
    "headers": "Authorization: Bearer s3cret\nX-Two: 2", "replicas_min": "2", "replicas_max": "3",
}  # fmt: skip
ADD = "/sources/add/"


def added(client: Client, **changes: Any) -> Source:
    answer = client.post(ADD, {**GIVEN, **changes})
    assert answer.status_code == 302, text_of(answer)
    return Source.objects.get(name=GIVEN["name"])


def shown(source: Source, client: Client) -> dict[str, Any]:
    """What a browser sends back when nothing was changed."""
    form = client.get(reverse("dashboard:change_source", args=[source.pk])).context["form"]
    values = {field.name: field.value() for field in form}
    return {name: value for name, value in values.items() if value not in (None, False)}


def test_an_operator_adds_one(operator: Client) -> None:
    source = added(operator)
    assert (source.kind, source.every, source.priority, source.replicas_max) == ("http", 300, 4, 3)
    assert source.headers == {"Authorization": "Bearer s3cret", "X-Two": "2"}
    assert sorted(source.tags.values_list("name", flat=True)) == ["old", "sea"]
    assert AuditEntry.objects.filter(action="source.add", actor="otto").exists()
    assert "open-archive" in text_of(operator.get("/sources/"))


def test_saving_without_a_change_keeps_secrets_and_all_else(operator: Client) -> None:
    source = added(operator)
    page = operator.get(reverse("dashboard:change_source", args=[source.pk])).text
    assert "s3cret" not in page and "https://open.example/keys.json?token=***" in page
    answer = operator.post(
        reverse("dashboard:change_source", args=[source.pk]), shown(source, operator), follow=True
    )
    assert "Nothing changed." in text_of(answer)
    same = Source.objects.get()
    assert (same.location, same.headers) == (source.location, source.headers)


def test_one_is_changed(operator: Client) -> None:
    source = added(operator)
    place = reverse("dashboard:change_source", args=[source.pk])
    operator.post(place, {**shown(source, operator), "every": "1h", "no_headers": "on"})
    same = Source.objects.get()
    assert (same.every, same.headers, same.location) == (3600, {}, source.location)
    operator.post(place, {"kind": "http", "location": "https://else.example/", "priority": "5"})
    same = Source.objects.get()
    assert (same.enabled, same.location, same.every) == (False, "https://else.example/", None)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"location": "ftp://x"}, "An HTTP endpoint begins with http:// or https://."),
        ({"kind": "bee", "location": "no key"}, "key"),
        ({"location": "https://open.example/?token=***"}, "stands for a secret that is not shown"),
        ({"kind": "file", "location": "/etc/passwd"}, "Only superusers may add a source that reads a file"),
        ({"headers": "no colon"}, "A header a line"),
        ({"headers": "a b: c"}, "Headers are a JSON object"),
        ({"headers": "A: b\n" * 21}, "At most 20 headers."),
        ({"every": "soon"}, "A time such as 10m or 2h"),
        ({"every": "1s"}, "greater than or equal to 5"),
        ({"replicas_min": "4"}, "must not be below the minimum"),
        ({"replicas_min": ""}, "Give both numbers of copies"),
        ({"tags": "?!"}, "is not a tag"),
        ({"name": ""}, "This field is required."),
    ],
)
def test_what_is_wrong_is_shown_and_nothing_is_added(
    operator: Client, changes: dict[str, str], complaint: str
) -> None:
    page = operator.post(ADD, {**GIVEN, **changes})
    assert page.status_code == 200 and complaint in text_of(page)
    assert not Source.objects.exists()


def test_a_name_that_is_taken_is_refused(operator: Client) -> None:
    added(operator)
    assert "already exists" in text_of(operator.post(ADD, GIVEN))


def test_its_name_is_typed_to_remove_it_and_its_drives_stay(operator: Client) -> None:
    populate()
    source = Source.objects.get(name="lists")
    place = reverse("dashboard:remove_source", args=[source.pk])
    assert "Type the name" in text_of(operator.post(place, {"name": "list"}, follow=True))
    assert "its drives stay" in text_of(operator.post(place, {"name": "lists"}, follow=True))
    assert not Source.objects.exists() and Drive.objects.count() == 5


def test_one_is_read_now(operator: Client) -> None:
    source = added(operator)
    Source.objects.update(next_at=source.created_at)
    place = reverse("dashboard:act_on_source", args=[source.pk])
    assert "is read within seconds" in text_of(operator.post(place, {"do": "read"}, follow=True))
    assert Source.objects.get().next_at is None
    assert [row.is_due for row in listed(timezone.now()).rows] == [True]
    Source.objects.update(next_at=timezone.now() + timedelta(hours=1))
    assert [row.is_due for row in listed(timezone.now()).rows] == [False]
    assert "0 drives will be removed." in text_of(operator.post(place, {"do": "accept"}, follow=True))


def test_a_viewer_changes_none(viewer: Client, operator: Client) -> None:
    source = added(operator)
    for name in ("change_source", "act_on_source", "remove_source"):
        place = reverse(f"dashboard:{name}", args=[source.pk])
        assert viewer.post(place, {"do": "read", "name": source.name}).status_code == 403
        assert Client().post(place).status_code == 302
    assert viewer.get(ADD).status_code == 403
    page = viewer.get("/sources/")
    assert "Add a source" not in text_of(page) and "s3cret" not in page.text


def test_hostile_names_are_escaped(operator: Client) -> None:
    hostile = "<script>alert(1)</script>\u202e"
    source = added(operator)
    Source.objects.update(name=hostile, label=hostile, mapping=hostile)
    for place in ("/sources/", reverse("dashboard:change_source", args=[source.pk])):
        page = operator.get(place).text
        assert "<script>alert" not in page and "\u202e" not in page
