"""Why a message was rejected. Counted by reason and shown to the operator."""

from __future__ import annotations

from enum import StrEnum


class RejectReason(StrEnum):
    """The first check that a message fails."""

    MALFORMED = "malformed"
    TOO_LARGE = "too_large"
    WRONG_SENDER = "wrong_sender"
    WRONG_RECIPIENT = "wrong_recipient"
    WRONG_NAME = "wrong_name"
    BAD_SIGNATURE = "bad_signature"
    EXPIRED = "expired"
    REPLAYED = "replayed"
    UNSIGNED = "unsigned"
    NEWER_FORMAT = "newer_format"


class MessageRejected(Exception):
    """A message is rejected and had no effect."""

    def __init__(self, reason: RejectReason, detail: str) -> None:
        super().__init__(f"{reason.value}: {detail}")
        self.reason = reason
        self.detail = detail
