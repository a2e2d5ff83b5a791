"""Bundles as the model zoo lays them out, with weights of MONAI's own networks."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.networks import nets
from torch import nn

IN_3D = {"spatial_dims": 3, "in_channels": 1}
UNET = {**IN_3D, "out_channels": 4, "channels": [4, 8, 16], "strides": [2, 2], "num_res_units": 2, "norm": "batch"}
# target -> arguments in the bundle, size of an image, modules of the head as MONAI's source has them, can be scripted
ZOO: dict[str, tuple[dict[str, Any], tuple[int, ...], tuple[str, ...], bool]] = {
    "UNet": (
        UNET,
        (16, 16, 16),
        ("net.model.2.0.conv", "net.model.2.0.adn.N", "net.model.2.1.conv.unit0.conv"),
        True,
    ),
    "SegResNet": (
        {**IN_3D, "out_channels": 105, "init_filters": 8, "dropout_prob": 0.2},
        (16, 16, 16),
        ("net.conv_final.2.conv",),
        True,
    ),
    "DynUNet": (
        {
            **IN_3D, "out_channels": 4, "kernel_size": [3, 3, 3], "strides": [1, 2, [2, 2, 1]],
            "upsample_kernel_size": [2, [2, 2, 1]], "filters": [4, 8, 8], "res_block": True, "deep_supervision": False,
        },
        (16, 16, 16),
        ("net.output_block.conv.conv",),
        True,
    ),
    "monai.networks.nets.BasicUNet": (
        {"spatial_dims": 2, "in_channels": 1, "out_channels": 1, "features": [4, 4, 8, 8, 16, 4]},
        (32, 32),
        ("net.final_conv",),
        True,
    ),
    "SwinUNETR": (
        {**IN_3D, "out_channels": 14, "feature_size": 12, "depths": [1, 1, 1, 1], "img_size": 96},
        (64, 32, 32),
        ("net.out.conv.conv",),
        False,
    ),
    "UNETR": (
        {
            "in_channels": 1, "out_channels": 14, "img_size": [16, 16, 16], "feature_size": 4, "hidden_size": 24,
            "mlp_dim": 32, "num_heads": 2, "pos_embed": "conv",
        },
        (16, 16, 16),
        ("net.out.conv.conv",),
        False,
    ),
    "DenseNet121": ({**IN_3D, "out_channels": 2}, (32, 32, 32), ("net.class_layers.out",), False),
    "resnet18": (
        {"spatial_dims": 3, "n_input_channels": 1, "num_classes": 2, "pretrained": True, "shortcut_type": "A"},
        (32, 32, 32),
        ("net.fc",),
        False,
    ),
    "SEResNet50": ({"spatial_dims": 2, "in_channels": 1, "num_classes": 2}, (32, 32), ("net.last_linear",), False),
    "EfficientNetBN": (  # MONAI would download ImageNet weights here: its `pretrained` is true if nothing is said
        {"model_name": "efficientnet-b0", "spatial_dims": 2, "in_channels": 1, "num_classes": 2},
        (32, 32),
        ("net._fc",),
        False,
    ),
}  # fmt: skip
EINOPS = importlib.util.find_spec("einops") is not None
NEEDS_EINOPS = pytest.mark.skipif(not EINOPS, reason="einops is not installed")
NETWORKS = [pytest.param(name, marks=NEEDS_EINOPS) if name == "UNETR" else name for name in ZOO]


def write_bundle(folder: Path, target: str, arguments: dict[str, Any], value_range: tuple[float, ...] = ()) -> Path:
    """A bundle's folder as the model zoo lays it out, without weights."""
    config = {
        "imports": ["$import glob"],
        "device": "$torch.device('cpu')",
        "network_def": {"_target_": target, **arguments},
        "network": "$@network_def.to(@device)",
    }
    image = {"type": "image", "value_range": list(value_range)}
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    (folder / "configs" / "inference.json").write_text(json.dumps(config))
    (folder / "configs" / "metadata.json").write_text(json.dumps({"network_data_format": {"inputs": {"image": image}}}))
    return folder


def trained_in_monai(folder: Path, target: str, arguments: dict[str, Any]) -> nn.Module:
    """MONAI's own network with the bundle's arguments; its weights become the bundle's ``model.pt``."""
    plain = {name: value for name, value in arguments.items() if name not in ("pretrained", "img_size", "pos_embed")}
    plain |= {"img_size": arguments["img_size"]} if target == "UNETR" else {}
    plain |= {"pretrained": False} if target == "EfficientNetBN" else {}
    factory: Callable[..., nn.Module] = getattr(nets, target.rpartition(".")[2])
    torch.manual_seed(7)
    network = factory(**plain)
    for name, tensor in network.state_dict().items():  # statistics as after a training
        if name.endswith("running_mean"):
            tensor.normal_()
    torch.save(network.state_dict(), folder / "models" / "model.pt")
    return network
