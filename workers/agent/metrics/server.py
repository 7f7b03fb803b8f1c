"""Serves `/metrics`, `/healthz` and `/readyz` of a worker over HTTP."""

from __future__ import annotations

import hmac
import logging
import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, Final

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

TIMEOUT: Final = 5.0
"""Seconds for a client to send its request, and to take the answer."""
MAX_CLIENTS: Final = 8
"""Requests at a time; further ones are closed. Ours."""

log = logging.getLogger(__name__)


class MetricsServer:
    """`unready` returns why the worker does not do its work. `token`: what `/metrics` requires as Bearer;
    empty: nothing. The other two pages need none."""

    def __init__(
        self,
        address: tuple[str, int],
        registry: CollectorRegistry,
        *,
        unready: Callable[[], list[str]],
        token: str = "",
    ) -> None:
        """Raises OSError if the address cannot be used."""
        handler = type("Handler", (_Handler,), {"registry": registry, "unready": unready, "token": token})
        self._server = _Server(address, handler)
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port that it listens on."""
        host, port = self._server.server_address[:2]
        return str(host), int(port)

    def start(self) -> None:
        """Answer requests, in a thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread's loop, and close the socket."""
        self._server.shutdown()
        self._server.server_close()


class _Server(HTTPServer):
    """A thread for each request, MAX_CLIENTS at most."""

    def __init__(self, address: tuple[str, int], handler: Any) -> None:
        self._free = threading.BoundedSemaphore(MAX_CLIENTS)
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        threading.Thread(target=self._answer, args=(request, client_address), daemon=True).start()

    def _answer(self, request: Any, client_address: Any) -> None:
        try:
            self.finish_request(request, client_address)
        except OSError as error:
            log.debug("a client of the metrics went away: %s", error)
        except Exception:
            log.exception("a request for metrics failed")
        finally:
            self.shutdown_request(request)
            self._free.release()


class _Handler(BaseHTTPRequestHandler):
    registry: CollectorRegistry
    unready: Callable[[], list[str]]
    token: str
    timeout = TIMEOUT
    server_version = "seederfarm"
    sys_version = ""

    def do_GET(self) -> None:
        match self.path.partition("?")[0]:
            case "/healthz":
                self._send(200, b"ok\n")
            case "/readyz":
                reasons = type(self).unready()
                self._send(503 if reasons else 200, ("\n".join(reasons) or "ok").encode() + b"\n")
            case "/metrics" if not self._may():
                self._send(401, b"Send the header Authorization: Bearer TOKEN.\n")
            case "/metrics":
                self._send(200, generate_latest(self.registry), CONTENT_TYPE_LATEST)
            case _:
                self._send(404, b"There are /metrics, /healthz and /readyz.\n")

    do_HEAD = do_GET

    def _may(self) -> bool:
        given = self.headers.get("Authorization", "").encode("utf-8", "replace")
        return not self.token or hmac.compare_digest(given, f"Bearer {self.token}".encode())

    def _send(self, status: int, body: bytes, kind: str = "text/plain; charset=utf-8") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if status == 401:
            self.send_header("WWW-Authenticate", "Bearer")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not logged: there is one every few seconds."""
