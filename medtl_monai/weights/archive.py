"""The zip container of PyTorch files: whether its tensors can be mapped as they lie, and whether its checksums hold."""

from __future__ import annotations

import struct
import zipfile
import zlib
from dataclasses import dataclass

from medtl_monai.weights.snapshot import Snapshot

MAGIC = b"PK\x03\x04"
_ALIGNMENT = 64  # torch.save's own; every dtype and every vector unit is content with it
_LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature ... length of the name, length of the extra field
_PIECE_BYTES = 1 << 18


@dataclass(frozen=True)
class Record:
    """An entry of the archive.

    Attributes:
        name: path inside the archive.
        offset: where its content begins in the file.
        size: bytes of content.
        crc: CRC-32 of the content, from the directory.
        is_plain: stored without compression.
    """

    name: str
    offset: int
    size: int
    crc: int
    is_plain: bool


def read_records(snapshot: Snapshot) -> list[Record]:
    """The entries of a zip file, in the order of its directory.

    Raises:
        zipfile.BadZipFile: no directory (the file is cut off), or one that contradicts the entries' own headers.
    """
    with snapshot.open() as stream, zipfile.ZipFile(stream) as archive:
        entries = archive.infolist()
    return [_record(snapshot, entry) for entry in entries]


def _record(snapshot: Snapshot, entry: zipfile.ZipInfo) -> Record:
    header = memoryview(bytearray(_LOCAL_HEADER.size))
    read = snapshot.read_at(entry.header_offset, header)
    signature, name_length, extra_length = _LOCAL_HEADER.unpack(header)
    if read != _LOCAL_HEADER.size or signature != MAGIC:
        raise zipfile.BadZipFile(f"the header of {entry.filename} is damaged")
    return Record(
        name=entry.filename,
        offset=entry.header_offset + _LOCAL_HEADER.size + name_length + extra_length,
        size=entry.file_size,
        crc=entry.CRC,
        is_plain=entry.compress_type == zipfile.ZIP_STORED and entry.compress_size == entry.file_size,
    )


def is_mappable(records: list[Record]) -> bool:
    """Whether all entries lie in the file as torch.save puts them: not compressed, tensors at aligned positions."""
    return all(
        record.is_plain and (record.offset % _ALIGNMENT == 0 or "/data/" not in record.name) for record in records
    )


def require_checksums(snapshot: Snapshot, records: list[Record]) -> None:
    """Compare the CRC-32 of every entry: torch.load does not, and would hand out altered values.

    Raises:
        zipfile.BadZipFile: an entry's content is not what was written.
    """
    if not all(record.is_plain for record in records):
        with snapshot.open() as stream, zipfile.ZipFile(stream) as archive:
            bad = archive.testzip()
    else:
        buffer = memoryview(bytearray(_PIECE_BYTES))
        bad = next((record.name for record in records if _crc32(snapshot, record, buffer) != record.crc), None)
    if bad is not None:
        raise zipfile.BadZipFile(f"altered: the CRC-32 of {bad} does not match its content")


def _crc32(snapshot: Snapshot, record: Record, buffer: memoryview) -> int:
    crc, done = 0, 0
    while done < record.size:
        piece = buffer[: min(len(buffer), record.size - done)]
        length = snapshot.read_at(record.offset + done, piece)
        if not length:
            raise zipfile.BadZipFile(f"cut off inside {record.name}")
        crc = zlib.crc32(piece[:length], crc)
        done += length
    return crc
