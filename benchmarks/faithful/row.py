"""One row of the comparison, and what several measurements need."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from medtl_monai.errors import MedTLError
from medtl_monai.plain import without_folders

State = dict[str, torch.Tensor]
# What loaders and compilers raise when they refuse; anything else is a fault of the benchmark and ends it.
REFUSALS = (RuntimeError, ValueError, TypeError, AttributeError, LookupError, OSError, NotImplementedError, MedTLError)


@dataclass(frozen=True)
class Row:
    """One defect, measured on both sides.

    Attributes:
        key: short name, as ``--rows`` takes it.
        defect: what is looked at.
        monai, ours: raw outcomes.
        monai_text, ours_text: the same in words, composed from the raw outcomes.
        defect_shown: whether the installed MONAI showed the defect.
        ours_ok: whether this library did what it claims.
    """

    key: str
    defect: str
    monai: dict[str, Any]
    ours: dict[str, Any]
    monai_text: str
    ours_text: str
    defect_shown: bool
    ours_ok: bool


class _Collector(logging.Handler):
    def __init__(self, texts: list[str]) -> None:
        super().__init__(logging.WARNING)
        self.texts = texts

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


@contextmanager
def alarms() -> Iterator[list[str]]:
    """Collects every Python warning (deprecations aside) and every log record from WARNING up."""
    texts: list[str] = []
    handler = _Collector(texts)
    logging.getLogger().addHandler(handler)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield texts
        texts += [str(w.message) for w in caught if not issubclass(w.category, (DeprecationWarning, FutureWarning))]
    finally:
        logging.getLogger().removeHandler(handler)


@contextmanager
def environment(**values: str) -> Iterator[None]:
    """Sets environment variables for a while."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def refusal(action: Callable[[], object]) -> str:
    """Kind and first two lines of the error that ``action`` raises, without folders; empty if it raises none."""
    try:
        action()
    except REFUSALS as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return without_folders(f"{type(error).__name__}: {' '.join(lines[:2])}", [])[:200]
    return ""


def kind(refused: str) -> str:
    """An outcome of :func:`refusal` in a word or two."""
    return f"refused ({refused.split(':')[0]})" if refused else "accepted"


def percent(difference: float) -> str:
    """A relative difference as people read it."""
    return f"{difference:.0%}" if difference >= 0.01 else f"{difference:.1e}" if difference else "0"


def saved(content: object, path: Path) -> Path:
    """``content`` in a PyTorch file, its folder made if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, path)
    return path


def taken_over(network: nn.Module, source: Mapping[str, torch.Tensor]) -> int:
    """How many tensors of the network equal the source's of the same name, bit by bit."""
    return sum(name in source and torch.equal(own, source[name]) for name, own in network.state_dict().items())


def relative(value: torch.Tensor, reference: torch.Tensor) -> float:
    """Largest absolute difference over the largest absolute reference value."""
    return float((value - reference).abs().max() / reference.abs().max())


def correlation(one: torch.Tensor, other: torch.Tensor) -> float:
    """Pearson's correlation over all elements."""
    return float(torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1])
