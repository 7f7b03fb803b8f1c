from __future__ import annotations

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction
from django.test import TestCase, override_settings

from hypercore.keys import encode_key
from seederfarm.registry import signals
from seederfarm.registry.models import AuditEntry, Drive
from seederfarm.registry.services import add_keys, remove
from seederfarm.settings.table import FarmSettings

from ..factories import key_of, make_drive, make_user

pytestmark = pytest.mark.usefixtures("database")


def z32(name: str) -> str:
    return encode_key(bytes.fromhex(key_of(name)))


@pytest.mark.parametrize(
    "spelling",
    [
        key_of("a"),
        key_of("a").upper(),
        z32("a"),
        f"hyper://{z32('a')}/some/path",
        f"pear://{z32('a')}",
        f"dat://{key_of('a')}+7",
        f"  {key_of('a')}   # a comment",
        f"\ufeff{key_of('a')}",
    ],
)
def test_every_spelling_of_a_key_is_the_same_drive(spelling: str) -> None:
    known = make_drive("a")
    result = add_keys(spelling, actor="cli")
    assert (result.added, result.existing, result.malformed) == ([], [known], [])
    assert Drive.objects.count() == 1


def test_a_list_is_taken_apart_into_added_existing_repeated_and_malformed() -> None:
    make_drive("known")
    one, two = key_of("one"), key_of("two")
    lines = ["# my seeds", "", f"drive {one}", z32("known"), f"core {two}", "nonsense", z32("one")]
    result = add_keys("\n".join(lines), actor="cli")
    assert [(drive.key, drive.kind) for drive in result.added] == [(one, "drive"), (two, "core")]
    assert [drive.key for drive in result.existing] == [key_of("known")]
    assert [(bad.line, bad.text) for bad in result.malformed] == [(6, "nonsense")]
    assert "64 hex digits" in result.malformed[0].error
    assert result.repeated == 1


def test_what_is_reported_of_new_keys_does_not_change_those_that_were_known() -> None:
    known = make_drive("known", replicas_min=3, replicas_max=3, priority=1)
    user = make_user()
    result = add_keys(
        [key_of("known"), key_of("new")],
        label="Music",
        kind="bee",
        tags=["Music", "b"],
        required_tags=["ssd"],
        replicas=(2, 4),
        priority=7,
        actor=user,
    )
    known.refresh_from_db()
    assert (known.label, known.replicas_min, known.priority, known.tags.count()) == ("known", 3, 1, 0)
    new = result.added[0]
    assert (new.label, new.kind, new.replicas_min, new.replicas_max, new.priority) == (
        "Music",
        "bee",
        2,
        4,
        7,
    )
    assert (new.owner, new.required_tags) == (user, ["ssd"])
    assert sorted(tag.name for tag in new.tags.all()) == ["b", "music"]
    assert new.dirty


def test_a_thousand_keys_take_few_statements() -> None:
    keys = [key_of(number) for number in range(1000)]
    with CountingQueries() as queries:
        result = add_keys(keys, tags=["bulk"], actor="cli")
    assert len(result.added) == 1000
    assert queries.count < 70  # on SQLite a statement holds 999 values: some 30 drives, 240 changes of state
    assert add_keys(keys, actor="cli").added == []


def test_a_bad_tag_adds_nothing() -> None:
    with pytest.raises(ValidationError, match="not a tag"):
        add_keys(key_of("a"), tags=["two words"], actor="cli")
    assert Drive.objects.count() == 0


def test_adding_a_key_that_is_being_removed_keeps_it() -> None:
    drive = make_drive("a")
    remove([drive], "cli")
    assert add_keys(drive.key, actor="cli").existing == [drive]
    drive.refresh_from_db()
    assert (drive.state, drive.removing_since, drive.dirty) == ("active", None, True)
    assert "took back the removal of 1 key" in AuditEntry.objects.latest("id").text.lower()


def test_adding_is_in_the_audit_log_and_signalled_after_the_commit() -> None:
    notified: list[object] = []

    def listen(sender: object, ids: object, **_: object) -> None:
        notified.append(ids)

    signals.drives_changed.connect(listen)
    try:
        with TestCase.captureOnCommitCallbacks(execute=True) as callbacks:
            result = add_keys(key_of("a"), actor=make_user("bob"))
            assert notified == []
        assert len(callbacks) == 1
    finally:
        signals.drives_changed.disconnect(listen)
    assert notified == [[result.added[0].pk]]
    entry = AuditEntry.objects.get()
    assert (entry.actor, entry.action, entry.target) == ("bob", "drive.add", key_of("a"))
    add_keys(key_of("a"), actor="bob")
    assert AuditEntry.objects.count() == 1, "nothing happened, so nothing is said"


@pytest.mark.parametrize("key", ["A" * 64, "ab", "", "a" * 65])
def test_the_database_refuses_what_is_not_64_lower_case_digits(key: str) -> None:
    with pytest.raises(Exception) as caught, transaction.atomic():  # too long is a DataError on PostgreSQL
        Drive.objects.create(key=key)
    assert caught.type.__name__ in ("IntegrityError", "DataError")


def test_the_database_refuses_a_second_row_of_a_key() -> None:
    make_drive("a")
    with pytest.raises(IntegrityError), transaction.atomic():
        make_drive("a")


class CountingQueries:
    """How many statements ran."""

    def __enter__(self) -> CountingQueries:
        self.count = 0
        self._wrapper = connection.execute_wrapper(self._count)
        self._wrapper.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._wrapper.__exit__(*error)

    def _count(self, execute, sql, params, many, context):
        self.count += 1
        return execute(sql, params, many, context)


def test_keys_are_quarantined_from_their_first_day_where_the_farm_says_so() -> None:
    add_keys(key_of("before"), actor="cli")
    with override_settings(FARM=FarmSettings(forks="quarantine")):
        add_keys([key_of("before"), key_of("after")], actor="cli")
    assert dict(Drive.objects.values_list("key", "max_fork")) == {key_of("before"): None, key_of("after"): 0}
