"""`train.json`, and what makes it a training in several processes."""

from __future__ import annotations

from typing import Any

from medtl_monai.bundle.compose.blocks import DEVICE, preparation, require_cases
from medtl_monai.bundle.compose.knobs import knobs, run_settings
from medtl_monai.bundle.compose.optimisation import network_part, optimisation_part
from medtl_monai.bundle.compose.recipe import Recipe
from medtl_monai.bundle.compose.train_part import train_part
from medtl_monai.bundle.compose.validation import validate_part


def train_config(recipe: Recipe) -> dict[str, Any]:
    """The whole training, as `python -m monai.bundle run` and MONAI Label take it."""
    return {
        **knobs(recipe),
        "settings": run_settings(recipe),
        "device": DEVICE,
        **network_part(recipe),
        **optimisation_part(recipe),
        "train": train_part(recipe),
        "validate": validate_part(recipe),
        "initialize": ["$monai.utils.set_determinism(seed=@seed)", *preparation(recipe)],
        "run": [
            require_cases(recipe, "@train#dataset#data"),
            {
                "_target_": "medtl_monai.workflows.transfer_guard.guarded_run",
                "trainer": "@train#trainer",
                "guard": "@guard",
                "source": "@source",
                "network": "$@network_def.architecture",
                "output_dir": "@output_dir",
                "ckpt_dir": "@ckpt_dir",
            },
        ],
    }


def multi_gpu_config(recipe: Recipe) -> dict[str, Any]:
    """What turns a training into one of several processes, laid over `train.json`."""
    return {
        "imports": ["$import os", "$import torch.distributed as dist"],
        "device": "$torch.device('cuda:' + os.environ['LOCAL_RANK'] if torch.cuda.is_available() else 'cpu')",
        "backend": "$'nccl' if torch.cuda.is_available() else 'gloo'",
        "model": {
            "_target_": "torch.nn.parallel.DistributedDataParallel",
            "module": "$@network_def.to(@device)",
            "find_unused_parameters": True,
        },
        "train#sampler": {
            "_target_": "DistributedSampler",
            "dataset": "@train#dataset",
            "even_divisible": True,
            "shuffle": True,
        },
        "validate#dataloader#sampler": {
            "_target_": "DistributedSampler",
            "dataset": "@validate#dataset",
            "even_divisible": False,
            "shuffle": False,
        },
        "initialize": [
            "$dist.is_initialized() or dist.init_process_group(backend=@backend)",
            "$torch.cuda.set_device(@device) if torch.cuda.is_available() else None",
            "$monai.utils.set_determinism(seed=@seed)",
            *preparation(recipe),
        ],
        "finalize": ["$dist.is_initialized() and dist.destroy_process_group()"],
    }
