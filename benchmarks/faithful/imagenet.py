"""F1: networks pretrained on RGB photographs, asked for one channel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from monai.networks.nets import DenseNet121, EfficientNetBN
from monai.networks.nets.efficientnet import url_map
from torch import nn
from torchvision import models

from faithful.official import densenet_file, efficientnet_b0_file, torchvision_state
from faithful.row import Row, State, alarms, correlation, environment, percent, relative, saved
from medtl_monai.networks.encoder import Encoder
from medtl_monai.networks.imagenet import build_imagenet_encoder
from medtl_monai.weights.adapt import adapt_state, rename
from medtl_monai.weights.load import LoadReport, fill_network, match_state
from medtl_monai.weights.read import read_state

MEAN = torch.tensor((0.485, 0.456, 0.406)).reshape(1, 3, 1, 1)
STD = torch.tensor((0.229, 0.224, 0.225)).reshape(1, 3, 1, 1)
LIMIT = 1e-5
SEED = 1


def _grey() -> torch.Tensor:
    return torch.rand((1, 1, 64, 96), generator=torch.Generator().manual_seed(SEED))


@torch.no_grad()
def _output_of(network: nn.Module, layer: str, image: torch.Tensor) -> torch.Tensor:
    """What one layer of a network gives."""
    caught: list[torch.Tensor] = []
    handle = network.get_submodule(layer).register_forward_hook(lambda _m, _i, out: caught.append(out.clone()))
    network.eval()(image)
    handle.remove()
    return caught[0]


def _likeness(weight: torch.Tensor, published: torch.Tensor) -> float:
    """Highest correlation of a one-channel stem with anything that could be made from the published one."""
    candidates = (published.sum(dim=1), *published.unbind(dim=1))
    return max(abs(correlation(weight[:, 0], candidate)) for candidate in candidates)


def _monai(build: Callable[[int], nn.Module], stem: str, norm: str, published: torch.Tensor) -> dict[str, Any]:
    """MONAI with one channel against MONAI with three, both filled by MONAI from the same file."""
    torch.manual_seed(SEED)
    with alarms() as texts:
        one = build(1)
    three = build(3)
    own, full = one.state_dict(), three.state_dict()
    grey = _grey()
    best_case = (grey - MEAN.mean()) / STD.mean()  # the usual way to normalise one channel for such a network
    reference = _output_of(three, norm, (grey - MEAN) / STD)
    response = _output_of(one, norm, best_case)
    same = [name for name in own if name != f"{stem}.weight" and not name.startswith("class_layers")]
    return {
        "stem_tensor_taken_with_3_channels": bool(torch.equal(full[f"{stem}.weight"], published)),
        "stem_tensor_adapted_with_1_channel": _likeness(own[f"{stem}.weight"], published) > 0.99,
        "stem_likeness": _likeness(own[f"{stem}.weight"], published),
        "response_correlation": correlation(response, reference),
        "response_relative_difference": relative(response, reference),
        "other_tensors_same_as_with_3_channels": sum(torch.equal(own[name], full[name]) for name in same),
        "other_tensors": len(same),
        "alarms": texts,
    }


def _fill(encoder: Encoder, path: Path, naming: str) -> LoadReport:
    """The library's own steps, one by one; the published head is left out. Raises WeightsError unless all fits."""
    state = rename(read_state(path), naming)
    state = {name: tensor for name, tensor in state.items() if not name.startswith("classifier.")}
    wanted = {name: tensor.shape for name, tensor in encoder.state_dict().items()}
    adapted, _ = adapt_state(state, wanted, encoder.adaptation)
    report = match_state(encoder, adapted, source=path.name, sha256="")
    fill_network(encoder, adapted, report)
    return report


def _ours(architecture: str, path: Path, naming: str, state: State, stem_layers: slice) -> dict[str, Any]:
    """This library with one channel against torchvision's network with three."""
    encoder = build_imagenet_encoder(architecture, in_channels=1)
    report = _fill(encoder, path, naming)
    reference = models.get_model(architecture, weights=None)
    reference.load_state_dict(state)
    reference.eval()
    grey = _grey()
    rgb = (grey - MEAN) / STD
    with torch.no_grad():
        features = encoder.eval()(grey)
        stem = encoder.adapter(grey)
        for layer in list(encoder.features)[stem_layers]:
            stem = layer(stem)
        deep = reference.features(rgb)
        return {
            "loaded": len(report.loaded),
            "tensors": len(encoder.state_dict()),
            "stem_relative_difference": relative(stem, reference.features[stem_layers](rgb)),
            "deep_relative_difference": relative(
                features[-1], deep.relu() if architecture.startswith("densenet") else deep
            ),
        }


def _row(key: str, name: str, monai: dict[str, Any], ours: dict[str, Any]) -> Row:
    return Row(
        key=key,
        defect=f"{name} pretrained on ImageNet, asked for 1 channel: what becomes of the first convolution?",
        monai=monai,
        ours=ours,
        monai_text=f"stem built from the file: {'yes' if monai['stem_tensor_adapted_with_1_channel'] else 'no'} "
        f"(best correlation with the published kernels {monai['stem_likeness']:.3f}); its response against the RGB "
        f"network: correlation {monai['response_correlation']:.3f}, difference "
        f"{percent(monai['response_relative_difference'])}; warnings: {len(monai['alarms'])}",
        ours_text=f"{ours['loaded']} of {ours['tensors']} tensors loaded, normalisation folded into the stem; "
        f"difference from the RGB network {percent(ours['stem_relative_difference'])} after the stem, "
        f"{percent(ours['deep_relative_difference'])} at the deepest map",
        defect_shown=not monai["stem_tensor_adapted_with_1_channel"] and not monai["alarms"],
        ours_ok=ours["loaded"] == ours["tensors"]
        and ours["stem_relative_difference"] <= LIMIT
        and ours["deep_relative_difference"] <= LIMIT,
    )


def densenet121(folder: Path) -> Row:
    """DenseNet121, both sides from one file named as torchvision's."""
    state = torchvision_state("densenet121", SEED)
    path = saved(densenet_file(state), folder / "hub" / "checkpoints" / "densenet121-a639ec97.pth")

    def build(channels: int) -> nn.Module:
        return DenseNet121(spatial_dims=2, in_channels=channels, out_channels=2, pretrained=True, progress=False)

    with environment(TORCH_HOME=str(folder)):
        monai = _monai(build, "features.conv0", "features.norm0", state["features.conv0.weight"])
    ours = _ours("densenet121", path, "torchvision_densenet", state, slice(0, 3))
    return _row("F1-densenet121", "DenseNet121", monai, ours)


def efficientnet_b0(folder: Path) -> Row:
    """EfficientNet-B0: MONAI from a file of lukemelas' layout, this library from one of torchvision's."""
    official = efficientnet_b0_file(SEED)
    saved(official, folder / "hub" / "checkpoints" / Path(url_map["efficientnet-b0"]).name)

    def build(channels: int) -> nn.Module:
        return EfficientNetBN("efficientnet-b0", True, False, spatial_dims=2, in_channels=channels, num_classes=1000)

    with environment(TORCH_HOME=str(folder)):
        monai = _monai(build, "_conv_stem", "_bn0", official["_conv_stem.weight"])
    state = torchvision_state("efficientnet_b0", SEED)
    ours = _ours("efficientnet_b0", saved(state, folder / "b0.pth"), "torchvision", state, slice(0, 1))
    return _row("F1-efficientnet-b0", "EfficientNet-B0", monai, ours)
