"""Messages about alerts in each format. Pure: texts of others are one line, without effects, and bounded."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from hypercore.printable import visible

MAX_SUBJECT: Final = 150
"""Characters of a headline: a mail's subject stays one line of RFC 5322 (998). Ours."""
MAX_LINE: Final = 600
"""Characters of one of the four lines. Ours."""
MAX_NTFY: Final = 3500
"""Bytes of a message to ntfy, which makes a file of one above 4,096."""
MAX_LISTED: Final = 20
"""Alerts that a digest names. Ours."""
PRIORITY: Final = {"info": 2, "warning": 3, "error": 5}
"""Of ntfy."""
TAGS: Final = {"opened": "rotating_light", "reminder": "hourglass", "closed": "white_check_mark"}
WORDS: Final = {"reminder": "Still open: ", "closed": "Over: "}


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertText:
    """An alert as it is sent."""

    id: int
    kind: str
    severity: str
    text: str
    lines: Sequence[tuple[str, str]]
    """The four lines: word, text."""
    opened_at: datetime
    resolved_at: datetime | None = None
    drive: str | None = None
    """Its key, z-base-32."""
    worker: str | None = None
    """Its id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageText:
    """The parts of a message, whatever its format."""

    uid: str
    kind: str
    """`opened`, `reminder`, `closed`, `digest`, `test`."""
    farm: str
    url: str
    """Of the page with the alerts."""
    alerts: Sequence[AlertText] = ()
    left_out: int = 0
    """Alerts of a digest that it does not name."""

    @property
    def severity(self) -> str:
        """The highest severity of its alerts; `info` without alerts."""
        order = list(PRIORITY)
        return max((alert.severity for alert in self.alerts), key=order.index, default="info")

    @property
    def subject(self) -> str:
        """One line of at most MAX_SUBJECT characters."""
        if self.kind == "test":
            return "Test of Seeder Farm's alerts"
        if self.kind == "digest":
            return f"{len(self.alerts) + self.left_out:,} alerts"
        return line(WORDS.get(self.kind, "") + self.alerts[0].text, MAX_SUBJECT)

    @property
    def body(self) -> str:
        """Plain text of several lines. Texts of others are escaped and cut to MAX_LINE characters."""
        if self.kind == "test":
            return f"This channel works.\n\n{self.url}\n"
        if self.kind == "digest":
            rows = [
                f"* {'Over: ' if one.resolved_at else ''}{line(one.text, MAX_SUBJECT)}" for one in self.alerts
            ]
            more = [f"* and {self.left_out:,} more"] if self.left_out else []
            return "\n".join([*rows, *more, "", self.url, ""])
        alert = self.alerts[0]
        since = f"Since {alert.opened_at:%Y-%m-%d %H:%M} UTC"
        until = f", over at {alert.resolved_at:%Y-%m-%d %H:%M} UTC" if alert.resolved_at else ""
        rows = [f"{word}: {line(text, MAX_LINE)}" for word, text in alert.lines]
        return "\n".join([*rows, "", f"{since}{until}", self.url, ""])


def line(text: str, longest: int) -> str:
    """`text` on one line, hidden characters escaped, shortened."""
    shown = " ".join(visible(text.replace("\n", " ").replace("\r", " ")).split())
    return shown if len(shown) <= longest else shown[: longest - 1] + "…"


def mail_subject(message: MessageText) -> str:
    """The subject with the farm's name before it, for mailboxes that get mail of several farms."""
    return f"[{line(message.farm, 40)}] {message.subject}"


def ntfy_topic(url: str) -> tuple[str, str]:
    """The server and the topic of a topic's URL. Raises ValueError."""
    parts = urlsplit(url)
    path, _, topic = parts.path.rstrip("/").rpartition("/")
    if parts.scheme not in ("http", "https") or not parts.hostname or not topic:
        raise ValueError("a topic's URL is https://SERVER/TOPIC")
    return urlunsplit((parts.scheme, parts.netloc, f"{path}/", "", "")), topic


def ntfy_json(message: MessageText, topic: str) -> bytes:
    """Format: docs.ntfy.sh, "Publish as JSON": no text is in a header."""
    body = message.body.encode()[:MAX_NTFY].decode(errors="ignore")
    given = {
        "topic": topic,
        "title": f"{line(message.farm, 40)}: {message.subject}",
        "message": body,
        "priority": 2 if message.kind in ("closed", "test") else PRIORITY[message.severity],
        "tags": [TAGS.get(message.kind, "bell")],
        "click": message.url,
    }
    return json.dumps(given).encode()


def webhook_json(message: MessageText, now: datetime) -> bytes:
    """The body of a webhook, UTF-8. [Standard Webhooks](https://www.standardwebhooks.com) gives `type`,
    `timestamp` and the signature around it; docs/alerts.md lists the fields."""
    given: dict[str, Any] = {
        "type": f"alert.{message.kind}",
        "timestamp": now.isoformat(timespec="seconds"),
        "id": message.uid,
        "farm": line(message.farm, 100),
        "url": message.url,
        "left_out": message.left_out,
        "alerts": [
            {
                "id": alert.id,
                "kind": alert.kind,
                "severity": alert.severity,
                "text": line(alert.text, MAX_LINE),
                "what": line(dict(alert.lines).get("What", ""), MAX_LINE),
                "kept": line(dict(alert.lines).get("Kept", ""), MAX_LINE),
                "farm_does": line(dict(alert.lines).get("Farm does", ""), MAX_LINE),
                "you_can": line(dict(alert.lines).get("You can", ""), MAX_LINE),
                "drive": alert.drive,
                "worker": alert.worker,
                "opened_at": alert.opened_at.isoformat(timespec="seconds"),
                "resolved_at": alert.resolved_at and alert.resolved_at.isoformat(timespec="seconds"),
            }
            for alert in message.alerts
        ],
    }
    return json.dumps(given).encode()


def signature_headers(secret: str, uid: str, body: bytes, now: datetime) -> dict[str, str]:
    """Format: Standard Webhooks 1.0: HMAC-SHA256 of `ID.TIMESTAMP.BODY`, base64."""
    at = str(int(now.timestamp()))
    headers = {"webhook-id": uid, "webhook-timestamp": at}
    if secret:
        text = f"{uid}.{at}.".encode() + body
        digest = hmac.new(secret_bytes(secret), text, hashlib.sha256).digest()
        headers["webhook-signature"] = f"v1,{base64.b64encode(digest).decode()}"
    return headers


def secret_bytes(secret: str) -> bytes:
    """`whsec_` and base64, or any text as it is."""
    if secret.startswith("whsec_"):
        try:
            return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
        except ValueError:
            pass
    return secret.encode()
