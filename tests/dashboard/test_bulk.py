"""Actions on many drives: asked first, bounded, and careful with last copies."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from seederfarm.registry.models import AuditEntry, Drive, Replica
from seederfarm.registry.services import bulk

from .farm import a_copy, a_drive, a_worker, populate, text_of

pytestmark = pytest.mark.usefixtures("database")

PLACE = "/drives/bulk/"


def send(client: Client, **given: Any) -> Any:
    return client.post(PLACE, given)


def confirm(client: Client, **given: Any) -> Any:
    """The question, then its form as it stands."""
    question = send(client, **given)
    assert question.status_code == 200, text_of(question)
    sure = re.search(r'name="sure" value="([0-9a-f]{32})"', question.text)
    assert sure is not None
    return client.post(PLACE, {**given, "sure": sure[1]}, follow=True)


def ids(*labels: str) -> list[int]:
    return list(Drive.objects.filter(label__in=labels).order_by("pk").values_list("pk", flat=True))


def states() -> dict[str, str]:
    return dict(Drive.objects.values_list("label", "state"))


def test_the_question_names_the_drives_and_changes_nothing(operator: Client) -> None:
    populate()
    page = send(operator, do="pause", id=ids("Radio", "Gone"))
    text = text_of(page)
    assert "Pause 2 drives?" in text and "Radio" in text and "Gone" in text
    assert (
        set(states().values()) == {"active"} and not AuditEntry.objects.filter(action="drive.pause").exists()
    )


def test_selected_drives_are_paused_and_resumed(operator: Client) -> None:
    populate()
    assert "Paused 2 drives." in text_of(confirm(operator, do="pause", id=ids("Radio", "Gone")))
    assert [label for label, state in states().items() if state == "paused"] == ["Gone", "Radio"]
    assert "Resumed 1 drive." in text_of(confirm(operator, do="resume", id=ids("Radio", "Waiting")))


def test_the_menu_of_a_row_means_that_row_whatever_is_selected(operator: Client) -> None:
    populate()
    (radio,) = ids("Radio")
    page = operator.get("/drives/?sort=title")
    assert f'form="bulk" name="one" value="pause:{radio}"' in page.text
    done = confirm(operator, one=f"pause:{radio}", id=ids("Gone"), all="1", filter="sort=title")
    assert "Paused 1 drive." in text_of(done) and done.redirect_chain == [("/drives/?sort=title", 302)]
    assert [label for label, state in states().items() if state == "paused"] == ["Radio"]
    assert f'value="resume:{radio}"' in operator.get("/drives/").text
    for wrong in ("pause:x", "explode:1", "pause:", f":{radio}"):
        send(operator, one=wrong)
    assert list(states().values()).count("paused") == 1


def test_a_viewer_has_no_menu(viewer: Client) -> None:
    populate()
    page = viewer.get("/drives/").text
    assert 'name="one"' not in page and "Actions" not in page
    assert 'formaction="' not in viewer.get("/workers/").text


def test_all_that_match_the_filter_are_meant_and_the_list_comes_back(operator: Client) -> None:
    for number in range(30):
        a_drive(f"drive {number}", kind="core" if number % 2 else "bee")
    page = operator.get("/drives/?kind=core&rows=25")
    assert 'name="filter" value="kind=core&amp;rows=25"' in page.text
    done = confirm(operator, do="pause", all="1", filter="kind=core&rows=25")
    assert done.redirect_chain == [("/drives/?kind=core&rows=25", 302)]
    assert "Paused 15 drives." in text_of(done)
    assert set(Drive.objects.filter(state="paused").values_list("kind", flat=True)) == {"core"}


def test_copies_and_tags_are_changed(operator: Client) -> None:
    populate()
    some = ids("Radio", "Gone")
    assert "Changed the copies of 2 drives." in text_of(
        confirm(operator, do="copies", id=some, copies_min="2", copies_max="4")
    )
    assert set(Drive.objects.filter(pk__in=some).values_list("replicas_min", "replicas_max")) == {(2, 4)}
    assert "Changed the tags of 2 drives." in text_of(
        confirm(operator, do="tag", id=some, add_tags="sea, old", remove_tags="sound")
    )
    assert sorted(Drive.objects.get(label="Radio").tags.values_list("name", flat=True)) == ["old", "sea"]
    entry = AuditEntry.objects.get(action="drive.tag")
    assert (entry.actor, entry.text) == ("otto", "Changed tags of 2 drives: added old, sea; removed sound")


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"do": "copies", "copies_min": "3", "copies_max": "2"}, "the maximum must not be below the minimum"),
        ({"do": "copies"}, "Write both numbers of copies."),
        ({"do": "tag"}, "Write a tag to add or to remove."),
        ({"do": "tag", "add_tags": "a", "remove_tags": "a"}, "a is both to be added and to be removed."),
    ],
)
def test_what_is_wrong_is_shown_with_the_question(
    operator: Client, given: dict[str, str], complaint: str
) -> None:
    populate()
    assert complaint in text_of(confirm(operator, id=ids("Radio"), **given))


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"do": "pause"}, "Select drives first."),
        ({"do": "pause", "id": ["x", "-1", "9" * 40, "9" * 5000]}, "Select drives first."),
        ({"do": "pause", "all": "1", "filter": "q=nothing-like-this"}, "Select drives first."),
        ({"do": "burn", "id": ["1"]}, "burn is not one of the available choices"),
        ({"do": "tag", "id": ["1"], "add_tags": "?!"}, "is not a tag"),
    ],
)
def test_a_senseless_request_goes_back_to_the_list(
    operator: Client, given: dict[str, Any], complaint: str
) -> None:
    populate()
    assert complaint in text_of(operator.post(PLACE, given, follow=True))


def test_there_is_a_largest_number_of_drives(operator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    populate()
    monkeypatch.setattr(bulk, "MAX_DRIVES", 4)
    assert "drives at once: narrow the filter" in text_of(
        operator.post(PLACE, {"do": "pause", "all": "1"}, follow=True)
    )
    with pytest.raises(bulk.ValidationError):
        bulk.act(bulk.Act.PAUSE, range(5), bulk.Values(), "cli")


class TestRemoving:
    def removing(self) -> list[str]:
        return sorted(Drive.objects.filter(state="removing").values_list("label", flat=True))

    def test_last_copies_stay_unless_the_words_are_typed(self, operator: Client) -> None:
        populate()
        some = {"do": "remove", "id": ids("Coastal Field Recordings", "Waiting")}
        question = text_of(send(operator, **some))
        assert "Remove 2 drives?" in question
        assert "Type “delete the last copy” to delete these, too" in question
        assert "has written nothing since it was added" in question
        one = text_of(send(operator, do="remove", id=some["id"][:1]))
        assert "Type “delete the last copy” to delete it" in one and "Leave it as it is" in one
        wrong = confirm(operator, **some, words="yes")
        assert "Write “delete the last copy”, or nothing" in text_of(wrong) and self.removing() == []
        kept = text_of(confirm(operator, **some))
        assert "1 drive will be removed. 1 drive kept" in kept and self.removing() == ["Waiting"]
        confirm(operator, do="remove", id=some["id"][:1], words=" Delete the LAST copy ")
        assert self.removing() == ["Coastal Field Recordings", "Waiting"]

    def test_other_drives_than_those_in_the_question_are_asked_for_again(self, operator: Client) -> None:
        drive = a_drive("one")
        question = send(operator, do="remove", all="1")
        sure = re.search(r'name="sure" value="(\w+)"', question.text)
        assert sure is not None
        a_copy(drive, a_worker("fra"))  # meanwhile the farm has the only copy
        again = operator.post(PLACE, {"do": "remove", "all": "1", "sure": sure[1]})
        assert "The drives have changed meanwhile: look again." in text_of(again)
        assert "delete the last copy" in text_of(again) and self.removing() == []

    def test_it_needs_the_right_to_delete(self, operator: Client, viewer: Client) -> None:
        populate()
        assert send(viewer, do="remove", id=ids("Radio")).status_code == 403
        assert Client().post(PLACE, {"do": "pause"}).status_code == 302
        assert operator.get(PLACE).status_code == 405
        assert 'id="bulk"' not in viewer.get("/drives/").text
        assert 'type="checkbox"' not in viewer.get("/drives/").text


def test_names_of_others_are_escaped_in_the_question(operator: Client) -> None:
    populate()
    Drive.objects.update(label="", title="<script>alert(1)</script>\u202e")
    Replica.objects.update(error="<img src=x onerror=alert(1)>")
    page = send(operator, do="remove", all="1", filter='"><script>alert(2)</script>').text
    assert "<script>alert" not in page and "\u202e" not in page and "&lt;script&gt;" in page


class TestNew:
    def new(self, client: Client, query: str = "?new=1") -> list[str]:
        page = client.get(reverse("dashboard:drives") + query)
        return [drive.label for drive in page.context["list"].page.object_list if drive.is_new]

    def test_what_was_there_at_the_first_login_is_not_new(self, database: object) -> None:
        from .conftest import logged_in, member

        a_drive("old")
        client = logged_in(member("nina", "viewer"))
        a_drive("young")
        assert self.new(client) == self.new(client, "") == ["young"]
        assert "New 1" in text_of(client.get("/drives/"))

    def test_each_user_marks_for_themselves(self, viewer: Client, operator: Client) -> None:
        drives = [a_drive(f"drive {number}") for number in range(3)]
        viewer.post(reverse("dashboard:mark_seen"), {"seen": str(drives[1].pk)})
        assert sorted(self.new(viewer)) == ["drive 0", "drive 2"] and len(self.new(operator)) == 3
        viewer.get(reverse("dashboard:drive", kwargs={"key": drives[0].key}))
        assert self.new(viewer) == ["drive 2"]
        back = viewer.post(reverse("dashboard:mark_seen"), {"seen": "all", "next": "/drives/?kind=core"})
        assert back.headers["Location"] == "/drives/?kind=core" and self.new(viewer) == []
        assert "Mark all as seen" not in text_of(viewer.get("/drives/"))

    def test_the_list_of_those_marked_one_by_one_is_bounded(
        self, viewer: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from seederfarm.registry.models import SeenDrives
        from seederfarm.registry.services import seen

        monkeypatch.setattr(seen, "MAX_ALSO", 4)
        drives = [a_drive(f"drive {number}") for number in range(8)]
        for drive in drives[1:6]:
            viewer.post(reverse("dashboard:mark_seen"), {"seen": str(drive.pk)})
        assert len(SeenDrives.objects.get().also) <= 4
        assert sorted(self.new(viewer)) == ["drive 6", "drive 7"]

    @pytest.mark.parametrize("what", ["", "x", "-3", "9" * 30])
    def test_senseless_marks_change_nothing(self, viewer: Client, what: str) -> None:
        a_drive("one")
        answer = viewer.post(reverse("dashboard:mark_seen"), {"seen": what, "next": "https://evil.example/"})
        assert answer.headers["Location"] == "/drives/" and self.new(viewer) == ["one"]
