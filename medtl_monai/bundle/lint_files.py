"""The files of a bundle: no code, no links out of it, plain files alone, hashes of what is to be fetched."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from medtl_monai.bundle.lint_findings import Report, shown
from medtl_monai.bundle.lint_names import words
from medtl_monai.bundle.lint_nodes import Node, text_of
from medtl_monai.bundle.lint_weights import check_weights

_CODE = words(
    """
    .bat .cmd .com .dill .dll .dylib .egg .exe .ipynb .jar .joblib .js .msi .pickle .pkl .ps1 .py .pyc .pyd .pyi .pyo
    .pyw .pyx .pyz .sh .so .whl
    """
)
_WEIGHTS = frozenset({".pt", ".pth", ".ts", ".ckpt", ".bin", ".pt2", ".tar", ".npy", ".npz"})
_LARGE = 25 * 2**20  # bytes; the limit of the model zoo for files in a repository
_MOST_FILES = 10_000
_HASHES = {"md5": 32, "sha1": 40, "sha256": 64, "sha512": 128}
LARGE_FILES = tuple(f"large_files.{suffix}" for suffix in ("yml", "yaml", "json"))


def check_files(bundle: Path, report: Report) -> None:
    """Check every file and folder of a bundle; weights are scanned, links are not followed."""
    for count, entry in enumerate(_entries(bundle, report)):
        if count >= _MOST_FILES:
            report.add("config.too-large", "", 1, f"more than {_MOST_FILES} files", "a bundle has a few dozen")
            return
        _check_entry(entry, bundle, report)


def _entries(bundle: Path, report: Report) -> Iterator[os.DirEntry[str]]:
    waiting = [str(bundle)]
    while waiting:
        folder = waiting.pop()
        try:
            entries = sorted(os.scandir(folder), key=lambda one: one.name)
        except OSError as error:
            report.add("file.special", _name(folder, bundle), 1, f"folder cannot be read: {error.strerror}", "allow it")
            continue
        for entry in entries:
            yield entry
            if entry.is_dir(follow_symlinks=False):
                waiting.append(entry.path)


def _name(path: str, bundle: Path) -> str:
    return Path(path).relative_to(bundle).as_posix()


def _check_entry(entry: os.DirEntry[str], bundle: Path, report: Report) -> None:
    name = _name(entry.path, bundle)
    suffix = Path(entry.name).suffix.lower()
    if entry.is_symlink():
        _check_link(entry, name, bundle, report)
    elif not entry.is_dir(follow_symlinks=False):
        size = entry.stat(follow_symlinks=False)
        if not stat.S_ISREG(size.st_mode):
            report.add("file.special", name, 1, "no plain file, folder or link", "remove it")
            return
        if size.st_size > _LARGE:
            message = f"{size.st_size / 2**20:.0f} MiB, more than {_LARGE // 2**20}"
            report.add("file.large", name, 1, message, "list it in large_files.yml with its hash")
        if suffix in _WEIGHTS:
            check_weights(Path(entry.path), name, report)
    if suffix in _CODE:
        report.add("file.code", name, 1, f"code in the bundle: {shown(entry.name)}", "use an installed package instead")


def _check_link(entry: os.DirEntry[str], name: str, bundle: Path, report: Report) -> None:
    try:
        target = Path(entry.path).resolve(strict=True)
    except (OSError, RuntimeError):
        report.add(
            "file.link", name, 1, f"link to nothing: {shown(os.readlink(entry.path))}", "put the file itself here"
        )
        return
    if not target.is_relative_to(bundle.resolve()):
        report.add("file.link", name, 1, "link that leaves the bundle", "put the file itself here")


def check_large_files(root: Node, report: Report) -> None:
    """Check the list of files to fetch: each has a hash, a place in the bundle and an https address."""
    listed = root.child("large_files")
    entries = list(listed.children()) if listed is not None else []
    if listed is None or not isinstance(listed.value, list):
        report.add("large-file.path", root.file, root.line, "no list `large_files`", "list path, url and hash_val")
    for _, entry in entries:
        _check_hash(entry, report)
        path, address = text_of(entry.child("path")) or "", text_of(entry.child("url")) or ""
        parts = path.replace("\\", "/").split("/")
        if not path or path.startswith(("/", "~", "\\")) or ".." in parts or ":" in parts[0]:
            message = f"path {shown(path)} is not in the bundle"
            report.add("large-file.path", entry.file, entry.line, message, "write it relative to the bundle")
        if not address.lower().startswith("https://"):
            message = f"address {shown(address)} is not https"
            report.add("large-file.address", entry.file, entry.line, message, "give an https address")


def _check_hash(entry: Node, report: Report) -> None:
    value, kind = text_of(entry.child("hash_val")) or "", (text_of(entry.child("hash_type")) or "md5").lower()
    digits = _HASHES.get(kind)
    if digits is None:
        message = f"unknown hash_type {shown(kind)}"
        report.add("large-file.hash", entry.file, entry.line, message, f"one of {', '.join(_HASHES)}")
    elif len(value) != digits or not all(letter in "0123456789abcdefABCDEF" for letter in value):
        message = f"hash_val {shown(value)} is no {kind} of {digits} hex digits"
        report.add("large-file.hash", entry.file, entry.line, message, "give the hash of the file")
