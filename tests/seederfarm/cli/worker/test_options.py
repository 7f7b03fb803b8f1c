"""A token on standard input."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from farmwire.join import JoinToken
from farmwire.rejection import MessageRejected
from seederfarm.cli.common.failures import BadInput
from seederfarm.cli.worker.options import token_of


def test_a_dash_is_a_line_of_standard_input() -> None:
    with CliRunner().isolation(input=b"sfj1_abc\nmore\n"):
        assert (token_of("sfj1_x"), token_of("-")) == ("sfj1_x", "sfj1_abc\n")


@pytest.mark.parametrize("given", [b"", b"\n", b"  \r\n"])
def test_an_empty_standard_input_has_no_token(given: bytes) -> None:
    with CliRunner().isolation(input=given), pytest.raises(BadInput) as raised:
        token_of("-")
    assert (raised.value.message, raised.value.exit_code) == ("there is no token on standard input", 2)


@pytest.mark.parametrize("given", [b"hello\n", b"sfj1_\xff\xff\n", b"sfj1_" + b"a" * 20_000])
def test_what_is_no_token_there_is_refused_as_one_that_is_typed(given: bytes) -> None:
    with CliRunner().isolation(input=given), pytest.raises(MessageRejected, match="join token"):
        JoinToken.from_text(token_of("-"))
