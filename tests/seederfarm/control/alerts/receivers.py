"""A mail server and an HTTP server of this machine."""

from __future__ import annotations

import base64
import json
import socketserver
import threading
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Receiver(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, str], Any]] = []
        self.bodies: list[bytes] = []
        self.status, self.location, self.answer = 200, "", b"ok"
        super().__init__(("127.0.0.1", 0), Answerer)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Answerer(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.bodies.append(body)
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.seen.append((self.path, headers, json.loads(body)))
        self.send_response(self.server.status)
        if self.server.location:
            self.send_header("Location", self.server.location)
        self.send_header("Content-Length", str(len(self.server.answer)))
        self.end_headers()
        self.wfile.write(self.server.answer)

    def log_message(self, format: str, *args: Any) -> None:
        pass


class MailServer(socketserver.ThreadingTCPServer):
    """Takes mail as RFC 5321 has it, with a login in the clear."""

    daemon_threads = True

    def __init__(self) -> None:
        self.mails: list[tuple[list[str], bytes]] = []
        self.logins: list[str] = []
        self.refuses = False
        super().__init__(("127.0.0.1", 0), MailSession)


class MailSession(socketserver.StreamRequestHandler):
    server: MailServer

    def send_line(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())

    def handle(self) -> None:
        self.send_line("220 here")
        to: list[str] = []
        while line := self.rfile.readline().decode().strip():
            word = line[:4].upper()
            if word == "EHLO":
                self.wfile.write(b"250-here\r\n250 AUTH PLAIN\r\n")
            elif word == "AUTH":
                self.server.logins.append(base64.b64decode(line.split()[-1]).decode())
                self.send_line("235 in")
            elif word == "RCPT":
                to.append(line.partition(":")[2].strip("<>"))
                self.send_line("550 nobody of this name" if self.server.refuses else "250 ok")
            elif word == "DATA":
                self.send_line("354 go on")
                text = b""
                while (part := self.rfile.readline()) != b".\r\n":
                    text += part
                self.server.mails.append((to, text))
                self.send_line("250 taken")
            elif word == "QUIT":
                self.send_line("221 bye")
                return
            else:
                self.send_line("250 ok")


def served(server: Any, processes: ExitStack) -> Any:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    processes.callback(server.server_close)
    processes.callback(server.shutdown)
    return server
