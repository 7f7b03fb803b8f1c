"""Export and import: what goes out comes back; a wrong file is reported, and nothing of it taken."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import User

from seederfarm.registry.exportfile import DRIVE_FIELDS, MAX_LINE, SOURCE_FIELDS, VERSION, Unreadable, read
from seederfarm.registry.models import Drive, Source, SourceEntry, Tag, Worker
from seederfarm.registry.services import transfer
from seederfarm.registry.services.transfer import ImportResult

A, B, C = (bytes([n]).hex() * 32 for n in range(1, 4))
WORKER = "w" * 52


def out(*, secrets: bool = False) -> list[str]:
    return [json.dumps(line) for line in transfer.export(secrets=secrets)]


def into(lines: list[str]) -> ImportResult:
    return transfer.import_document(read(lines), "cli")


def furnish() -> None:
    """A farm with something in every field that is exported."""
    owner = User.objects.create_user("ada")
    worker = Worker.objects.create(node_id=WORKER, name="pi")
    source = Source.objects.create(
        name="theirs",
        location="https://example.org/keys",
        removals_url="https://example.org/gone",
        mapping="items[]",
        headers={"Authorization": "secret"},
        every=60,
        remove_unlisted=False,
        remove_last_copies=True,
        key_kind="drive",
        label="of theirs",
        required_tags=["ssd"],
        priority=1,
        replicas_min=2,
        replicas_max=3,
    )
    source.tags.add(Tag.objects.create(name="film"))
    drive = Drive.objects.create(
        key=A,
        kind="bee",
        label="A “film”",
        note="two\nlines",
        owner=owner,
        state=Drive.State.PAUSED,
        priority=0,
        replicas_min=2,
        replicas_max=4,
        max_fork=7,
        public=True,
        required_tags=["ssd"],
        expires_at=datetime(2030, 1, 2, 3, 4, tzinfo=UTC),
        created_at=datetime(2020, 1, 2, 3, 4, tzinfo=UTC),
    )
    drive.tags.add(Tag.objects.create(name="best"))
    drive.pinned_workers.add(worker)
    listed = Drive.objects.create(key=B, label="mine", added_manually=False)
    SourceEntry.objects.create(source=source, drive=listed, label="theirs", kind="core")


def empty() -> None:
    for model in (Drive, Source, Tag):
        model.objects.all().delete()


@pytest.mark.usefixtures("database")
def test_all_that_was_reported_comes_back_and_a_second_import_changes_nothing() -> None:
    furnish()
    lines = out(secrets=True)
    empty()
    assert into(lines) == ImportResult(2, 0, 1, 0, [])
    assert out(secrets=True)[1:] == lines[1:]
    assert into(lines) == ImportResult(0, 2, 0, 1, [])
    assert out(secrets=True)[1:] == lines[1:]


def test_whatever_may_be_reported_of_a_key_or_a_source_is_in_the_file() -> None:
    named = {
        "replicas_min": "replicas",
        "replicas_max": "replicas",
        "pinned_workers": "pinned",
        "name": "source",
    }
    for model, fields in ((Drive, DRIVE_FIELDS), (Source, SOURCE_FIELDS)):
        reported = {
            field.name for field in (*model._meta.fields, *model._meta.many_to_many) if field.editable
        }
        assert {named.get(name, name) for name in reported - {"id"}} <= fields.keys()


@pytest.mark.usefixtures("database")
def test_logins_and_tokens_in_urls_stay_at_home() -> None:
    Source.objects.create(
        name="theirs",
        location="https://me:s3cret@lists.example/seeds?page=2",
        removals_url="https://lists.example/gone?token=s3cret",
    )
    lines = out()
    assert "s3cret" not in "".join(lines) and "lists.example/seeds?page=2" in lines[1]
    assert into(lines).problems == [], "they are here"
    assert Source.objects.get().enabled
    kept = out(secrets=True)
    empty()
    (problem,) = into(lines).problems
    assert "what is secret in the location, what is secret in the removals_url" in problem.text
    assert not Source.objects.get().enabled
    empty()
    assert into(kept).problems == []
    assert Source.objects.get().enabled and out(secrets=True)[1:] == kept[1:]


@pytest.mark.usefixtures("database")
def test_secrets_stay_at_home_and_a_source_without_them_is_switched_off() -> None:
    furnish()
    lines = out()
    assert "secret" not in "".join(lines[1:])
    empty()
    result = into(lines)
    assert [(problem.line, "Authorization" in problem.text) for problem in result.problems] == [(2, True)]
    assert not Source.objects.get().enabled


@pytest.mark.usefixtures("database")
def test_what_is_not_in_this_farm_is_named_and_left_out() -> None:
    furnish()
    lines = out(secrets=True)
    empty()
    User.objects.all().delete()
    Worker.objects.all().delete()
    result = into([lines[0], *lines[2:]])  # without its source
    assert [problem.line for problem in result.problems] == [2, 2, 3]
    reported = "; ".join(problem.text for problem in result.problems)
    assert (
        "no worker here" in reported and "there is no user 'ada'" in reported and "no source here" in reported
    )
    assert set(Drive.objects.values_list("key", "added_manually")) == {(A, True), (B, True)}


@pytest.mark.usefixtures("database")
def test_a_source_that_makes_no_sense_takes_the_keys_with_it() -> None:
    source = json.dumps({"source": "odd", "kind": "http", "location": "nowhere"})
    with pytest.raises(Unreadable, match=r"line 1: .*http"):
        into([source, json.dumps({"key": A})])
    assert not Drive.objects.exists() and not Source.objects.exists()


@pytest.mark.usefixtures("database")
def test_known_keys_stay_as_they_are_and_an_import_counts_as_added_by_a_person() -> None:
    Drive.objects.create(key=A, label="mine", added_manually=False)
    Source.objects.create(name="theirs", location="https://example.org/mine")
    result = into(
        [
            json.dumps({"key": A, "label": "other"}),
            json.dumps({"source": "theirs", "kind": "bee", "location": B}),
        ]
    )
    assert (result.added, result.known, result.sources_known) == (0, 1, 1)
    assert "reads something else" in result.problems[0].text
    drive = Drive.objects.get()
    assert (drive.label, drive.added_manually) == ("mine", True)


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        "{}",
        "5",
        "[" * 100_000,
        '{"seederfarm": "backup", "version": 1}',
        '{"seederfarm": "export"}',
        json.dumps({"seederfarm": "export", "version": VERSION + 1}),
        '{"key": 5}',
        '{"key": "%s", "kind": "film"}',
        '{"key": "%s", "kind": ["bee"]}',
        '{"key": "%s", "label": "\\u0000"}',
        '{"key": "%s", "label": "\\ud800"}',
        json.dumps({"key": A, "label": "x" * 201}),
        json.dumps({"key": A, "note": "x" * MAX_LINE}),
        '{"key": "%s", "replicas": [3, 2]}',
        '{"key": "%s", "replicas": 3}',
        '{"key": "%s", "replicas": [true, true]}',
        '{"key": "%s", "priority": 11}',
        '{"key": "%s", "tags": [7]}',
        '{"key": "%s", "tags": 7}',
        '{"key": "%s", "state": "removing"}',
        '{"key": "%s", "added_manually": 1}',
        '{"key": "%s", "expires_at": "tomorrow"}',
        '{"key": "%s", "expires_at": "2030-01-01T00:00:00"}',
        '{"key": "%s", "expires_at": "9999-12-31T23:59:59-23:59"}',
        '{"key": "%s", "pinned": "pi"}',
        '{"key": "%s", "sources": ["theirs"]}',
        '{"source": ""}',
        '{"source": "x", "kind": "ftp"}',
        '{"source": "x", "headers": {"a": 1}}',
        '{"source": "x", "every": 1}',
    ],
)
def test_a_damaged_line_of_an_export_is_named(line: str) -> None:
    with pytest.raises(Unreadable) as found:
        read(["\n", line.replace("%s", A) + "\n", json.dumps({"key": C})])
    assert [problem.line for problem in found.value.problems] == [2]


def test_files_of_the_first_version_are_read_and_repeated_keys_named() -> None:
    first: dict[str, Any] = {"key": A, "kind": None, "label": "", "tags": [], "required_tags": []}
    first |= {"replicas": [1, 2], "priority": 5}
    document = read(["\ufeff" + json.dumps(first), json.dumps({"key": A.upper(), "label": "later"})])
    assert document.drives[A].values["replicas"] == (1, 2)
    assert [(problem.line, "line 1" in problem.text) for problem in document.problems] == [(2, True)]
