"""A browser that is logged in."""

from __future__ import annotations

import re
from html import unescape

import pytest
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse

from ..factories import make_user


@pytest.fixture
def client() -> Client:
    client = Client()
    client.force_login(make_user("alice"))
    return client


def text_of(response: HttpResponse) -> str:
    """What a person reads on the page."""
    return " ".join(unescape(re.sub(r"<script.*?</script>|<[^>]+>", " ", response.text, flags=re.S)).split())


def act(client: Client, url: str, action: str, *objects: object, **fields: object) -> HttpResponse:
    data = {"action": action, ACTION_CHECKBOX_NAME: [obj.pk for obj in objects], **fields}
    response: HttpResponse = client.post(reverse(url), data, follow=True)
    assert response.status_code == 200
    return response
