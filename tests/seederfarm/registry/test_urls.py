from __future__ import annotations

import pytest

from seederfarm.registry.urls import HIDDEN, without_secrets


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://lists.example/seeds.json?page=2&sort=new", None),
        ("https://lists.example:8443/a/b", None),
        ("seeds.txt", None),
        ("ab" * 32, None),
        ("https://me:s3cret@lists.example/a", f"https://{HIDDEN}@lists.example/a"),
        ("https://s3cret@lists.example/a", f"https://{HIDDEN}@lists.example/a"),
        ("https://a@b:s3cret@lists.example/", f"https://{HIDDEN}@lists.example/"),
        ("https://x/?access_token=s3cret&page=2", f"https://x/?access_token={HIDDEN}&page=2"),
        ("https://x/?X-Amz-Signature=s3cret", f"https://x/?X-Amz-Signature={HIDDEN}"),
        ("https://x/?v=9f8e7d6c5b4a39281706", f"https://x/?v={HIDDEN}"),
        ("https://x/?s3cret", f"https://x/?{HIDDEN}="),
        ("https://x/#s3cret", f"https://x/#{HIDDEN}"),
        ("HTTPS://me:s3cret@[::1", HIDDEN),
    ],
)
def test_what_may_be_secret_in_a_url_is_hidden(url: str, shown: str | None) -> None:
    assert without_secrets(url) == (url if shown is None else shown)
