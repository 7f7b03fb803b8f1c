"""Adding drives: previewed by the code that adds."""

from __future__ import annotations

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from seederfarm.registry.models import Drive
from seederfarm.registry.services.preview import Outcome, preview

from ..seederfarm.registry.factories import key_of, make_drive
from .farm import text_of

pytestmark = pytest.mark.usefixtures("database")


def test_each_line_is_previewed_as_it_would_be_added() -> None:
    known = make_drive("known")
    lines = [
        "# comment",
        key_of("new"),
        f"bee {key_of('bee')}",
        known.z32,
        "no key",
        f"hyper://{key_of('new')}",
    ]
    found = {line.line: line for line in preview(lines)}
    outcomes = {number: line.outcome for number, line in found.items()}
    assert outcomes == {
        2: Outcome.NEW, 3: Outcome.NEW, 4: Outcome.KNOWN, 5: Outcome.MALFORMED, 6: Outcome.REPEATED,
    }  # fmt: skip
    assert (found[3].kind, found[4].drive, found[6].first_line) == ("bee", known, 2)
    assert not Drive.objects.filter(key=key_of("new")).exists()


def test_checking_first_adds_nothing(operator: Client) -> None:
    page = operator.post(reverse("dashboard:add"), {"keys": f"{key_of('a')}\nnot a key", "preview": "1"})
    assert "1 drive is added. 1 line cannot be read." in text_of(page)
    assert "Add 1 drive" in text_of(page)
    assert not Drive.objects.exists()


def test_one_key_leads_to_its_page(operator: Client) -> None:
    response = operator.post(reverse("dashboard:add"), {"keys": key_of("a"), "copies": "2", "tags": "a, b"})
    drive = Drive.objects.get()
    assert response.headers["Location"] == reverse("dashboard:drive", kwargs={"key": drive.key})
    assert (drive.replicas_min, drive.replicas_max) == (2, 3)
    assert sorted(drive.tags.values_list("name", flat=True)) == ["a", "b"]
    assert drive.owner is not None and drive.owner.username == "otto"


def test_what_cannot_be_read_stays_in_the_box(operator: Client) -> None:
    file = SimpleUploadedFile("seeds.txt", f"{key_of('b')}\nnonsense\n".encode())
    page = operator.post(reverse("dashboard:add"), {"keys": f"{key_of('a')}\nnot a key", "file": file})
    assert Drive.objects.count() == 2
    box = page.text.split("<textarea")[1].split("</textarea>")[0].split(">", 1)[1]
    assert box.splitlines() == ["not a key", "nonsense"]
    assert "Added 2 drives." in text_of(page)


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"keys": " "}, "Paste a key, or choose a file."),
        ({"keys": "x", "tags": "?!"}, "is not a tag"),
        ({"file": b"\xff\xfe"}, "Not text (UTF-8)"),
    ],
)
def test_what_is_wrong_is_shown_at_its_field(
    operator: Client, given: dict[str, object], complaint: str
) -> None:
    sent = {name: SimpleUploadedFile("x", v) if isinstance(v, bytes) else v for name, v in given.items()}
    page = operator.post(reverse("dashboard:add"), sent)
    assert page.status_code == 200 and complaint in text_of(page)
    assert not Drive.objects.exists()


class TestWhileTyping:
    def asked(self, client: Client, keys: str) -> str:
        answer = client.post(reverse("dashboard:preview_keys"), {"keys": keys})
        assert answer.status_code == 200 and answer.headers["Cache-Control"] == "no-store"
        return text_of(answer)

    def test_the_parts_of_the_page_come_and_nothing_is_added(self, operator: Client) -> None:
        make_drive("known")
        text = self.asked(operator, f"{key_of('a')}\n{key_of('known')}\nnot a key")
        assert "1 drive is added. 1 is here already, 1 line cannot be read." in text
        assert "Add 1 drive" in text and "Not a key" in text
        assert Drive.objects.count() == 1
        form = {"keys": f"{key_of('a')}\nnot a key", "preview": "1"}
        page = operator.post(reverse("dashboard:add"), form).text
        answer = operator.post(reverse("dashboard:preview_keys"), form).text
        for part in ("seen", "lines", "add-word"):
            inner = answer.split(f'data-into="{part}">')[1].split("</div>\n")[0]
            assert f'id="{part}"' in page and inner.strip() in page

    def test_an_empty_or_huge_box_shows_how_to_check(self, operator: Client) -> None:
        for keys in ("", " \n", f"{key_of('a')}\n" * 4000):
            assert "“Check first” shows here what these lines would do, and adds nothing" in self.asked(
                operator, keys
            )

    def test_what_was_typed_is_escaped(self, operator: Client) -> None:
        page = operator.post(reverse("dashboard:preview_keys"), {"keys": "<script>alert(1)</script>\u202e"})
        assert "<script>" not in page.text and "\u202e" not in page.text and "&lt;scr" in page.text

    def test_only_users_that_may_add_ask(self, viewer: Client) -> None:
        assert viewer.post(reverse("dashboard:preview_keys"), {"keys": "x"}).status_code == 403
        assert Client().post(reverse("dashboard:preview_keys"), {"keys": "x"}).status_code == 302
