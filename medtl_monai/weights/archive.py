"""The zip container of PyTorch files: where its entries lie, and whether their checksums hold."""

from __future__ import annotations

import struct
import zipfile
import zlib
from io import BufferedReader
from typing import NamedTuple

from medtl_monai.weights.memory import MemoryStream

MAGIC = b"PK\x03\x04"  # a zip file begins so, and each of its entries
_LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature ... length of the name, length of the extra field


class Record(NamedTuple):
    """An entry of a zip file.

    Attributes:
        name: path inside the archive.
        start, end: where its content lies in the file, in bytes.
        crc: CRC-32 of the content, from the directory.
        is_stored: not compressed; torch.save never compresses.
    """

    name: str
    start: int
    end: int
    crc: int
    is_stored: bool


def read_records(content: memoryview) -> list[Record]:
    """The entries of a zip file. Raises zipfile.BadZipFile: no directory (the file is cut off), or a wrong one."""
    with zipfile.ZipFile(BufferedReader(MemoryStream(content))) as archive:
        return [_record(content, entry) for entry in archive.infolist()]


def _record(content: memoryview, entry: zipfile.ZipInfo) -> Record:
    after = entry.header_offset + _LOCAL_HEADER.size
    if not 0 <= entry.header_offset < after <= len(content):
        raise zipfile.BadZipFile(f"altered: {entry.filename} is said to lie outside the file")
    signature, name_length, extra_length = _LOCAL_HEADER.unpack_from(content, entry.header_offset)
    start = after + name_length + extra_length
    if signature != MAGIC or start + entry.compress_size > len(content):
        raise zipfile.BadZipFile(f"altered: no entry {entry.filename} where the directory says")
    is_stored = entry.compress_type == zipfile.ZIP_STORED and entry.compress_size == entry.file_size
    return Record(entry.filename, start, start + entry.compress_size, entry.CRC, is_stored)


def require_checksums(content: memoryview, records: list[Record]) -> None:
    """Compare the CRC-32 of every entry: torch.load does not, and would hand out altered values.

    Raises:
        zipfile.BadZipFile: an entry's content is not what was written.
    """
    bad = next((r.name for r in records if r.is_stored and zlib.crc32(content[r.start : r.end]) != r.crc), None)
    if bad is None and not all(record.is_stored for record in records):
        with zipfile.ZipFile(BufferedReader(MemoryStream(content))) as archive:
            bad = archive.testzip()
    if bad is not None:
        raise zipfile.BadZipFile(f"altered: the CRC-32 of {bad} does not match its content")
