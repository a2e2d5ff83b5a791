"""A recipe's configurations as files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medtl_monai.bundle.compose.evaluation import evaluate_config
from medtl_monai.bundle.compose.inference import inference_config
from medtl_monai.bundle.compose.json_text import json_text
from medtl_monai.bundle.compose.recipe import Recipe
from medtl_monai.bundle.compose.training import multi_gpu_config, train_config
from medtl_monai.io.atomic import write_text


def configurations(recipe: Recipe) -> dict[str, Mapping[str, Any]]:
    """The configurations of a bundle, by file name."""
    return {
        "train.json": train_config(recipe),
        "evaluate.json": evaluate_config(recipe),
        "inference.json": inference_config(recipe),
        "multi_gpu_train.json": multi_gpu_config(recipe),
    }


def write_configurations(recipe: Recipe, bundle: Path) -> None:
    """Write them into ``configs/`` of a bundle, each whole or not at all. Raises OutputError."""
    folder = bundle / "configs"
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in configurations(recipe).items():
        write_text(folder / name, json_text(content))
