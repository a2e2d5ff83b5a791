"""One file over the network, piece by piece: hashed as it comes, never whole in memory."""

from __future__ import annotations

import hashlib
import http.client
import logging
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

TIMEOUT_S = 15.0  # per connection and per piece, not for the whole file
_PIECE_BYTES = 1 << 18
logger = logging.getLogger(__name__)


class DownloadError(Exception):
    """What went wrong on the network, in words. No OSError, so that it is not taken for a failure of the disk."""


def download(url: str, target: Path, *, most: int, label: str) -> tuple[str, int]:
    """Write what ``url`` answers to ``target``; returns its sha256 and number of bytes.

    Args:
        url: an http or https address; redirections are followed.
        target: file to create; a failure leaves it incomplete.
        most: give up beyond this many bytes.
        label: what the progress display calls it.

    Raises:
        DownloadError: no route, refused, time-out, TLS, HTTP status, broken connection, or more than ``most`` bytes.
        OSError: ``target`` cannot be written.
    """
    request = urllib.request.Request(url, headers={"User-Agent": "medtl_monai"})
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT_S)
    except (OSError, http.client.HTTPException) as error:
        raise _failed(error) from error
    digest, size = hashlib.sha256(), 0
    with answer, target.open("wb") as stream, _progress(label, answer.length) as advance:
        for piece in _pieces(answer):
            size += len(piece)
            if size > most:
                raise DownloadError(f"{url} answered with more than {most:,} bytes: something else")
            stream.write(piece)
            digest.update(piece)
            advance(len(piece))
    return digest.hexdigest(), size


def _pieces(answer: http.client.HTTPResponse) -> Iterator[bytes]:
    """The content in pieces; raises DownloadError if less comes than the server announced."""
    while True:
        try:
            piece = answer.read(_PIECE_BYTES)
        except (OSError, http.client.HTTPException) as error:
            raise _failed(error) from error
        if not piece:
            break
        yield piece
    if answer.length:  # what is still to come; read() in pieces does not complain
        raise DownloadError(f"the download failed (connection lost {answer.length:,} bytes before the end)")


def _failed(error: Exception) -> DownloadError:
    return DownloadError(f"the download failed ({type(error).__name__}: {error})")


@contextmanager
def _progress(label: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A function to call with the number of bytes that came: a bar on a terminal, two log lines elsewhere."""
    if not sys.stderr.isatty():
        logger.info("downloading %s (%s bytes)", label, "unknown" if total is None else f"{total:,}")
        yield lambda count: None
        logger.info("downloaded %s", label)
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=total)
        yield lambda count: bar.advance(task, count)
