"""A real HTTP server on this machine that answers well or badly, as its address asks."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

NAME = "tiny-weights.pth"
CONTENT = bytes(range(256)) * 300
LOGIN_PAGE = b"<html>Please log in to the hospital's proxy</html>"


class Home(BaseHTTPRequestHandler):
    """The first part of the address says how this server behaves."""

    both_have_asked = threading.Barrier(2)
    released = threading.Event()

    def do_GET(self) -> None:
        {
            "good": lambda: self.answer(CONTENT),
            "wrong": lambda: self.answer(CONTENT[::-1]),
            "longer": lambda: self.answer(CONTENT * 3),
            "login": lambda: self.answer(LOGIN_PAGE),
            "half": lambda: self.answer(CONTENT, sent=len(CONTENT) // 2),
            "missing": lambda: self.send_error(404),
            "broken": lambda: self.send_error(503),
            "garbage": lambda: self.wfile.write(b"\x00\x01 this is not HTTP\r\n\r\n"),
            "hang-up": lambda: None,
            "stall": lambda: self.released.wait(20),
            "moved": self.move,
            "both": self.answer_both,
        }[self.path.split("/")[1]]()
        self.close_connection = True

    def answer(self, content: bytes, sent: int | None = None) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[:sent])

    def move(self) -> None:
        self.send_response(302)
        self.send_header("Location", f"/good/{NAME}")
        self.end_headers()

    def answer_both(self) -> None:
        self.both_have_asked.wait(60)
        self.answer(CONTENT)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def serve() -> Iterator[str]:
    """Run the server; yields its address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Home) as http:
        thread = threading.Thread(target=http.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{http.server_address[1]}"
        Home.released.set()
        http.shutdown()
        thread.join()
