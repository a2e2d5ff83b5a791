"""The files of a training's checkpoints: written whole or not at all, read without running code from them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from medtl_monai.errors import WeightsError
from medtl_monai.io.atomic import atomic_write
from medtl_monai.transfer.peft import merged_state
from medtl_monai.weights.read import DAMAGED_FILE_ERRORS, read_state

BEST, LAST, PREVIOUS = "model.pt", "last.ckpt", "model_previous.pt"
_CONTENT = ("network", "optimizer", "lr_scheduler", "epoch", "best_metric", "best_epoch", "seed", "strategy", "average")


def bare(network: nn.Module) -> nn.Module:
    """The network itself, without a DistributedDataParallel wrapper."""
    return network.module if isinstance(network, nn.parallel.DistributedDataParallel) else network


def save_network(network: nn.Module, path: Path) -> None:
    """Write a network's flat state dict (tensors only) atomically; the file is reopened before it gets its name.

    Adapters (LoRA, SSF, BitFit) are merged: the file is that of the plain network.
    """
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in merged_state(bare(network)).items()}
    with atomic_write(path, check=read_state) as temporary:
        _save(state, temporary)


def holds(network: nn.Module, path: Path) -> bool:
    """Whether a network has exactly the weights of a file."""
    own, other = merged_state(bare(network)), read_state(path)
    return own.keys() == other.keys() and all(torch.equal(own[name].cpu(), other[name]) for name in own)


def _require_intact(path: Path) -> None:
    """Raise ValueError unless every byte is as it was written; torch.load itself does not look at the checksums."""
    if not zipfile.is_zipfile(path):
        raise ValueError("not a file of torch.save, or cut short")
    with zipfile.ZipFile(path) as archive:
        if (damaged := archive.testzip()) is not None:
            raise ValueError(f"the checksum of {damaged} is wrong")


def _save(state: Mapping[str, Any], path: Path) -> None:
    # torch.save to a path reports a full disk as a RuntimeError without errno, and stores the file's name inside.
    buffer = io.BytesIO()
    torch.save(state, buffer)
    path.write_bytes(buffer.getbuffer())


def save_checkpoint(state: Mapping[str, Any], path: Path) -> None:
    """Write all that a resume needs, atomically; the file is reopened before it gets its name."""
    with atomic_write(path, check=read_checkpoint) as temporary:
        _save(state, temporary)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read ``last.ckpt`` without running code from it. Raises WeightsError if it is absent or damaged."""
    if not path.is_file():
        raise WeightsError("nothing to resume from", path=path, remedy="leave --resume out to start a new training")
    try:
        _require_intact(path)
        state = dict(torch.load(path, map_location="cpu", weights_only=True))
        absent = [key for key in _CONTENT if key not in state]
        if absent:
            raise ValueError(f"without {', '.join(absent)}")
    except DAMAGED_FILE_ERRORS as error:
        raise WeightsError(
            "checkpoint is damaged",
            path=path,
            got=f"{path.stat().st_size} bytes, {(str(error) or type(error).__name__).splitlines()[0]}",
            remedy="start a new training",
        ) from error
    return state
