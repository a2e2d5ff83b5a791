"""A real HTTP server on this machine that answers well or badly, as its address asks."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from medtl_monai.weights.registry import PretrainedWeights, pretrained

NAME = "tiny-weights.pth"
CONTENT = bytes(range(256)) * 300
BIG = bytes(range(251)) * 16_000  # 4 MB, more than the tiny disk holds and than a socket buffers
TIMES = 12  # how many times BIG a huge file is
LOGIN_PAGE = b"<html>Please log in to the hospital's proxy</html>"


def row_at(url: str, content: bytes = CONTENT) -> PretrainedWeights:
    """A registry row of ``content`` at ``url``."""
    return replace(
        pretrained("highres3dnet_gif"),
        name="tiny",
        url=url,
        sha256=sha256(content).hexdigest(),
        size_bytes=len(content),
    )


def left_in(folder: Path) -> list[str]:
    """Names of all that is in a folder."""
    return sorted(path.name for path in folder.rglob("*"))


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
            "big": lambda: self.answer(BIG),
            "huge": self.answer_huge,
            "unannounced": self.answer_without_length,
            "slow": self.answer_slowly,
            "hold": self.answer_half_and_hold,
        }[self.path.split("/")[1]]()
        self.close_connection = True

    def answer(self, content: bytes, sent: int | None = None) -> None:
        self.announce(len(content))
        self.wfile.write(content[:sent])

    def move(self) -> None:
        self.send_response(302)
        self.send_header("Location", f"/good/{NAME}")
        self.end_headers()

    def answer_both(self) -> None:
        self.both_have_asked.wait(60)
        self.answer(CONTENT)

    def announce(self, size: int) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(size))
        self.end_headers()

    def answer_huge(self) -> None:
        self.announce(len(BIG) * TIMES)
        for _ in range(TIMES):
            self.wfile.write(BIG)

    def answer_without_length(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(CONTENT)

    def answer_slowly(self) -> None:
        """To two clients at once, in ten pieces over a second."""
        self.both_have_asked.wait(60)
        self.announce(len(BIG))
        tenth = len(BIG) // 10
        for start in range(0, len(BIG), tenth):
            self.wfile.write(BIG[start : start + tenth])
            time.sleep(0.1)

    def answer_half_and_hold(self) -> None:
        self.answer(BIG, sent=len(BIG) // 2)
        self.released.wait(20)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def serve() -> Iterator[str]:
    """Run the server; yields its address."""
    Home.released.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Home) as http:
        thread = threading.Thread(target=http.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{http.server_address[1]}"
        Home.released.set()
        http.shutdown()
        thread.join()
