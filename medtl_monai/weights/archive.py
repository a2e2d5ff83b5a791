"""The bytes of a weights file: its SHA-256, the CRC-32 of the entries of a zip file, and whether it changes meanwhile."""

from __future__ import annotations

import hashlib
import os
import struct
import time
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from io import FileIO

MAGIC = b"PK\x03\x04"
_LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature ... length of the name, length of the extra field
_PIECE_BYTES = 1 << 18
_COARSEST_TICK_S = 0.02


@dataclass(frozen=True)
class Record:
    """An entry of a zip file.

    Attributes:
        name: path inside the archive.
        start, end: where its content lies in the file, in bytes.
        crc: CRC-32 of the content, from the directory.
    """

    name: str
    start: int
    end: int
    crc: int


def state_of(file: FileIO) -> tuple[int, ...]:
    """What differs when an open file is written to: two equal answers, and nothing was changed in between."""
    now = os.fstat(file.fileno())
    return now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns, now.st_ctime_ns


def settled_state_of(file: FileIO) -> tuple[int, ...]:
    """:func:`state_of` a file whose last change is so long ago that the next one has another time stamp."""
    state = state_of(file)
    age = time.time() - max(state[-2:]) / 1e9
    if 0 <= age < _COARSEST_TICK_S:
        time.sleep(_COARSEST_TICK_S - age)
        state = state_of(file)
    return state


def read_records(file: FileIO) -> list[Record]:
    """The entries of a zip file as they lie in it.

    Compressed entries, which torch.save does not write, are checked at once.

    Raises:
        zipfile.BadZipFile: no directory (the file is cut off), or one that contradicts the entries.
    """
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries) and (bad := archive.testzip()):
            raise _altered(bad)
    return sorted((_record(file, entry) for entry in entries if _is_stored(entry)), key=lambda record: record.start)


def _is_stored(entry: zipfile.ZipInfo) -> bool:
    if entry.compress_type == zipfile.ZIP_STORED and entry.compress_size != entry.file_size:
        raise zipfile.BadZipFile(f"altered: two sizes for {entry.filename}")
    return entry.compress_type == zipfile.ZIP_STORED


def _record(file: FileIO, entry: zipfile.ZipInfo) -> Record:
    file.seek(entry.header_offset)
    header = file.read(_LOCAL_HEADER.size)
    if len(header) != _LOCAL_HEADER.size or not header.startswith(MAGIC):
        raise zipfile.BadZipFile(f"altered: no entry {entry.filename} where the directory says")
    _, name_length, extra_length = _LOCAL_HEADER.unpack(header)
    start = entry.header_offset + _LOCAL_HEADER.size + name_length + extra_length
    return Record(entry.filename, start, start + entry.file_size, entry.CRC)


def check_bytes(file: FileIO, records: Sequence[Record], hashed: bool) -> str:
    """Read a file once from front to back; its hex SHA-256, or "" if it is not asked for.

    Args:
        file: at its start.
        records: entries whose CRC-32 is to be compared, by their place in the file.
        hashed: whether the SHA-256 is asked for.

    Raises:
        zipfile.BadZipFile: the content of a record is not what was written.
    """
    digest = hashlib.sha256()
    checksums = _Checksums(records)
    piece = memoryview(bytearray(_PIECE_BYTES))
    while length := file.readinto(piece):
        if hashed:
            digest.update(piece[:length])
        checksums.update(piece[:length])
    checksums.finish()
    return digest.hexdigest() if hashed else ""


class _Checksums:
    """CRC-32 of records that lie one after the other in a stream of pieces."""

    def __init__(self, records: Sequence[Record]) -> None:
        self._records = records
        self._next = 0
        self._crc = 0
        self._position = 0

    def update(self, piece: memoryview) -> None:
        """Go on. Raises zipfile.BadZipFile at the end of a record that is not what was written."""
        begin, end = self._position, self._position + len(piece)
        self._position = end
        while self._next < len(self._records) and (record := self._records[self._next]).start < end:
            self._crc = zlib.crc32(piece[max(record.start - begin, 0) : record.end - begin], self._crc)
            if record.end > end:
                return
            self._compare(record)

    def finish(self) -> None:
        """Raises zipfile.BadZipFile for a record that the stream did not reach the end of."""
        for record in self._records[self._next :]:
            if record.end > self._position:
                raise zipfile.BadZipFile(f"cut off inside {record.name}")
            self._compare(record)

    def _compare(self, record: Record) -> None:
        if self._crc != record.crc:
            raise _altered(record.name)
        self._crc = 0
        self._next += 1


def _altered(name: str) -> zipfile.BadZipFile:
    return zipfile.BadZipFile(f"altered: the CRC-32 of {name} does not match its content")
