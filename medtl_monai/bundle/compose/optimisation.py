"""Network, weights, loss and optimiser of `train.json`."""

from __future__ import annotations

from typing import Any

from medtl_monai.bundle.compose.blocks import channels, network_def, segments
from medtl_monai.bundle.compose.recipe import Recipe, Step

_WORKFLOWS, _TRANSFER = "medtl_monai.workflows", "medtl_monai.transfer"
DICE_CE: Step = {"_target_": "DiceCELoss", "to_onehot_y": True, "softmax": True, "batch": True}


def network_part(recipe: Recipe) -> dict[str, Any]:
    """The network, and the weights that it starts from."""
    return {
        "network": {
            "_target_": f"{_TRANSFER}.source.network_for",
            "source": "@source",
            "default": recipe.network,
            **channels(recipe),
            "seed": "@seed",
            "strategy": "@strategy",
        },
        "network_def": network_def(recipe, seeded=True),
        "model": "$@network_def.to(@device)",
        "load_report": {
            "_target_": f"{_TRANSFER}.source.load_source",
            "network": "@network_def",
            "source": "@source",
            "commercial": "@commercial",
            "check_parity": True,
        },
    }


def optimisation_part(recipe: Recipe) -> dict[str, Any]:
    """Loss, optimiser, moving average, schedule, calibration."""
    loss = recipe.loss or {"_target_": "torch.nn.CrossEntropyLoss"}
    found: dict[str, Any] = {
        "task_loss": loss,
        "loss": {
            "_target_": f"{_TRANSFER}.loss.TransferLoss",
            "loss": "@task_loss",
            "network": "@model",
            "strategy": "@strategy",
        },
        "optimizer": {
            "_target_": f"{_TRANSFER}.strategy.build_optimizer",
            "network": "@model",
            "strategy": "@strategy",
            "lr": "@learning_rate",
        },
        "average": {"_target_": f"{_WORKFLOWS}.averaging.WeightAverage", "network": "@model", "decay": "@ema"},
        "lr_scheduler": {
            "_target_": "torch.optim.lr_scheduler.PolynomialLR",
            "optimizer": "@optimizer",
            "total_iters": "@train#trainer#max_epochs",
            "power": 0.9,
        },
    }
    if not segments(recipe):
        found["calibration"] = {
            "_target_": f"{_WORKFLOWS}.calibration.Calibration",
            "network": "@model",
            "validator": "@validate#evaluator",
            "enabled": "@calibrate",
            "positive": recipe.positive,
        }
    return found
