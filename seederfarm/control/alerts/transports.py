"""Sends one message to one channel: e-mail, webhook, ntfy."""

from __future__ import annotations

import asyncio
import smtplib
import ssl
from collections.abc import Callable, Mapping
from datetime import datetime
from email.utils import parseaddr
from typing import Final

import httpcore
from django.conf import settings
from django.core.mail import EmailMessage, get_connection

from seederfarm.registry.models import AlertChannel

from ...outbound.addresses import AddressPolicy, ForbiddenAddress, PinnedBackend
from ...outbound.requests import host_header, login, target, tls
from . import messages
from .messages import MessageText

DEADLINE: Final = 20.0
"""Seconds for a whole request."""
TIMEOUT: Final = 10.0
"""Seconds to connect, and between two pieces of an answer."""
MAX_ANSWER: Final = 64 << 10
"""Bytes of an answer, of which only the status matters. Ours."""

BeforeSending = Callable[[], None]
"""Called when the connection may carry the message: from then on it may have arrived."""


class NotSent(Exception):
    """The message was not taken; the text says why."""


class AlertPolicy(AddressPolicy):
    """Addresses to which webhooks and ntfy messages may go."""

    setting = "SEEDERFARM_ALERT_NETWORKS"


def send(channel: AlertChannel, message: MessageText, now: datetime, begin: BeforeSending) -> None:
    """Send a message. Raises NotSent."""
    match channel.kind:
        case AlertChannel.Kind.EMAIL:
            _mail(channel, message, begin)
        case AlertChannel.Kind.WEBHOOK:
            body = messages.webhook_json(message, now)
            headers = messages.signature_headers(channel.secret, message.uid, body, now)
            _post(channel.target, body, headers, begin)
        case AlertChannel.Kind.NTFY:
            try:
                server, topic = messages.ntfy_topic(channel.target)
            except ValueError as error:
                raise NotSent(str(error)) from None
            bearer = {"Authorization": f"Bearer {channel.secret}"} if channel.secret else {}
            _post(server, messages.ntfy_json(message, topic), bearer, begin)
        case _:
            raise NotSent(f"{channel.kind}: no such kind of channel")


def _mail(channel: AlertChannel, message: MessageText, begin: BeforeSending) -> None:
    if not settings.FARM.mail_host:
        raise NotSent("no mail server is set (SEEDERFARM_MAIL_HOST)")
    sender = settings.DEFAULT_FROM_EMAIL
    domain = parseaddr(sender)[1].rpartition("@")[2] or "seederfarm.invalid"
    mail = EmailMessage(
        messages.mail_subject(message),
        message.body,
        sender,
        [address.strip() for address in channel.target.split(",") if address.strip()],
        headers={
            "Message-ID": f"<{message.uid}@{domain}>",
            "Auto-Submitted": "auto-generated",
            "X-Auto-Response-Suppress": "All",
        },
    )
    try:
        with get_connection() as connection:
            begin()
            connection.send_messages([mail])
    except smtplib.SMTPResponseException as error:
        raise NotSent(f"the mail server answered {error.smtp_code}") from None
    except smtplib.SMTPRecipientsRefused:
        raise NotSent("the mail server takes no mail for these addresses") from None
    except smtplib.SMTPException as error:
        raise NotSent(f"the mail server: {type(error).__name__}") from None
    except ValueError as error:
        raise NotSent(f"the mail cannot be written: {error}") from None
    except OSError as error:
        raise NotSent(
            f"the mail server cannot be reached: {error.strerror or type(error).__name__}"
        ) from None


def _post(url: str, body: bytes, headers: Mapping[str, str], begin: BeforeSending) -> None:
    policy = AlertPolicy(settings.FARM.alert_networks)
    try:
        begin()
        status = asyncio.run(_request(url, body, headers, policy))
    except TimeoutError:
        raise NotSent(f"no answer within {DEADLINE:g} s") from None
    except ForbiddenAddress as error:
        raise NotSent(str(error)) from None
    except httpcore.TimeoutException:
        raise NotSent(f"no answer within {TIMEOUT:g} s") from None
    except httpcore.ConnectError as error:
        raise NotSent(f"no connection: {error}") from None
    except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.UnsupportedProtocol) as error:
        raise NotSent(f"the request failed: {type(error).__name__}") from None
    except (ssl.SSLError, OSError, UnicodeError, ValueError) as error:
        raise NotSent(f"the request failed: {type(error).__name__}") from None
    if not 200 <= status < 300:
        raise NotSent(f"answered {status}")


async def _request(url: str, body: bytes, headers: Mapping[str, str], policy: AddressPolicy) -> int:
    """The status. Redirects are not followed: the address was checked, theirs was not."""
    given = {
        "User-Agent": "seederfarm",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        **headers,
    }
    sent = [(name.encode("ascii"), value.encode("latin-1")) for name, value in given.items()]
    timeouts = {"connect": TIMEOUT, "read": TIMEOUT, "write": TIMEOUT, "pool": TIMEOUT}
    where = target(url)
    async with (
        asyncio.timeout(DEADLINE),
        httpcore.AsyncConnectionPool(
            ssl_context=tls(), network_backend=PinnedBackend(policy), max_connections=1
        ) as pool,
        pool.stream(
            "POST",
            where,
            headers=[(b"Host", host_header(url)), *login(url), *sent],
            content=body,
            extensions={"timeout": timeouts},
        ) as response,
    ):
        read = 0
        async for piece in response.aiter_stream():
            read += len(piece)
            if read > MAX_ANSWER:
                break  # the status is known
        return response.status
