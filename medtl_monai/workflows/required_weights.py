"""Trained weights, which must be there before anything is predicted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from medtl_monai.errors import WeightsError


def require_weights(path: str, commands: Sequence[str]) -> None:
    """Refuse to run with an untrained network; stands in a config's ``run`` list before the work.

    Args:
        path: the weights file.
        commands: the command lines that make it, in order.

    Raises:
        WeightsError: there is no such file.
    """
    if not Path(path).is_file():
        raise WeightsError(
            "no trained weights",
            path=path,
            expected="the model.pt of a training",
            got="no such file",
            remedy="train them: " + ", then ".join(f"`{command}`" for command in commands),
        )
