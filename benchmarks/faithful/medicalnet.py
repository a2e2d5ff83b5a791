"""F3, F4, F6: what becomes of MedicalNet's published files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from monai.networks.nets import ResNetFeatures, resnet, resnet10, resnet18, resnet50
from torch import nn

from faithful.official import medicalnet_forward, medicalnet_state, published_file
from faithful.row import Row, State, alarms, environment, kind, percent, refusal, relative, saved, taken_over
from medtl_monai.networks.medicalnet import MedicalNetEncoder
from medtl_monai.networks.transfer_classifier import TransferClassifier
from medtl_monai.transfer.source import load_source
from medtl_monai.weights.fetch import find_local, locate, obtain
from medtl_monai.weights.registry import pretrained

SEED = 3
LIMIT = 1e-5
_BUILDERS = {10: resnet10, 18: resnet18, 50: resnet50}


def _build(depth: int, weights: str | bool, stem_stride: int = 1) -> nn.Module:
    """MONAI's network with the arguments it asks for with MedicalNet's weights; its default stem stride is 1."""
    shortcut_a = depth == 18
    return _BUILDERS[depth](
        pretrained=weights,
        spatial_dims=3,
        n_input_channels=1,
        conv1_t_stride=stem_stride,
        feed_forward=False,
        shortcut_type="A" if shortcut_a else "B",
        bias_downsample=shortcut_a,
    )


def _filled(depth: int, path: Path) -> MedicalNetEncoder:
    """This library's encoder inside a classifier, filled from a file as `--source FILE` does."""
    encoder = MedicalNetEncoder(depth)
    load_source(TransferClassifier(encoder, out_channels=2), str(path))
    return encoder.eval()


@torch.no_grad()
def _monai_layers(network: nn.Module, image: torch.Tensor) -> dict[str, torch.Tensor]:
    feature = network.maxpool(network.act(network.bn1(network.conv1(image))))
    outputs: dict[str, torch.Tensor] = {}
    for name in ("layer1", "layer2", "layer3", "layer4"):
        feature = getattr(network, name)(feature)
        outputs[name] = feature
    return outputs


def _stride(image: torch.Tensor, feature: torch.Tensor) -> int:
    return image.shape[-1] // feature.shape[-1]


def topology(depth: int, folder: Path) -> Row:
    """The file loads strictly into MONAI's network; does that network compute what was published?"""
    state = medicalnet_state(depth, SEED)
    image = torch.randn((1, 1, 64, 64, 64), generator=torch.Generator().manual_seed(SEED))
    wanted = medicalnet_forward(state, image)
    pooled = wanted["layer4"].mean(dim=(2, 3, 4))

    flat = str(saved(state, folder / "flat.pth"))
    with alarms() as texts:
        default = _build(depth, flat).eval()  # MONAI loads it with strict=True
        network = _build(depth, flat, stem_stride=2).eval()
    theirs = _monai_layers(network, image)
    small = image[..., :32, :32, :32]  # for the default, whose maps are eight times as large
    step = wanted["layer4"].shape[-1] // theirs["layer4"].shape[-1]
    shared = wanted["layer4"][:, :, ::step, ::step, ::step]
    monai: dict[str, Any] = {
        "tensors_loaded": taken_over(network, state),
        "tensors": len(state),
        "output_stride": _stride(image, theirs["layer4"]),
        "output_stride_with_default_arguments": _stride(small, _monai_layers(default, small)["layer4"]),
        "relative_difference_layer2": relative(theirs["layer2"], wanted["layer2"]),
        "relative_difference_layer4_where_grids_meet": relative(theirs["layer4"], shared),
        "relative_difference_pooled": relative(theirs["layer4"].mean(dim=(2, 3, 4)), pooled),
        "alarms": texts,
    }
    encoder = _filled(depth, saved(published_file(state), folder / "published.pth"))
    with torch.no_grad():
        levels = encoder(image)
    ours: dict[str, Any] = {
        "tensors_loaded": taken_over(encoder, state),
        "tensors": len(encoder.state_dict()),
        "output_stride": _stride(image, levels[-1]),
        "relative_difference_layer4": relative(levels[-1], wanted["layer4"]),
        "relative_difference_pooled": relative(levels[-1].mean(dim=(2, 3, 4)), pooled),
    }
    published = _stride(image, wanted["layer4"])
    return Row(
        key=f"F3-resnet{depth}",
        defect=f"MedicalNet ResNet-{depth} (output stride {published}): does the filled network compute what the "
        "published one does?",
        monai=monai,
        ours=ours,
        monai_text=f"{monai['tensors_loaded']} of {monai['tensors']} tensors load, strict; output stride "
        f"{monai['output_stride_with_default_arguments']} with default arguments, {monai['output_stride']} with the "
        f"published stem stride, and then the difference from the published forward pass is: layer2 "
        f"{percent(monai['relative_difference_layer2'])}, layer4 "
        f"{percent(monai['relative_difference_layer4_where_grids_meet'])} where the grids meet, pooled features "
        f"{percent(monai['relative_difference_pooled'])}; warnings: {len(texts)}",
        ours_text=f"{ours['tensors_loaded']} of {ours['tensors']} tensors load; output stride "
        f"{ours['output_stride']}; difference: layer4 {percent(ours['relative_difference_layer4'])}, pooled features "
        f"{percent(ours['relative_difference_pooled'])}",
        defect_shown=monai["tensors_loaded"] == monai["tensors"]
        and monai["relative_difference_layer4_where_grids_meet"] > 0.01,
        ours_ok=ours["tensors_loaded"] == ours["tensors"] == len(state)
        and ours["output_stride"] == published
        and ours["relative_difference_layer4"] <= LIMIT,
    )


def resnet18_topology(folder: Path) -> Row:
    """F3 with basic blocks and type-A shortcuts."""
    return topology(18, folder)


def resnet50_topology(folder: Path) -> Row:
    """F3 with bottleneck blocks and type-B shortcuts."""
    return topology(50, folder)


@contextmanager
def _hub(folder: Path, failing: str = "") -> Iterator[list[str]]:
    """Serves files from a folder to MONAI in place of the network; one of them may fail. Yields the names asked for."""
    asked: list[str] = []

    def download(repo_id: str, filename: str) -> str:
        asked.append(filename)
        if filename == failing:
            raise ConnectionError("connection reset by peer")
        return str(folder / filename)

    real = resnet.hf_hub_download
    resnet.hf_hub_download = download
    try:
        yield asked
    finally:
        resnet.hf_hub_download = real


def _which(network: nn.Module, sets: dict[str, State]) -> str:
    """Name of the weight set that a network holds, "none" if it is neither."""
    return next((name for name, state in sets.items() if taken_over(network, state) == len(state)), "none")


def _monai_weight_sets(folder: Path, sets: dict[str, State]) -> dict[str, Any]:
    with alarms() as texts, _hub(folder) as asked:
        features = ResNetFeatures("resnet10", pretrained=True)
        refused = refusal(lambda: ResNetFeatures("resnet10_23datasets", pretrained=True))
        plain = _build(10, True)
    with alarms() as swap_texts, _hub(folder, failing="resnet_10_23dataset.pth"):
        swapped = _build(10, True)
    return {
        "ResNetFeatures_resnet10": _which(features, sets),
        "ResNetFeatures_resnet10_23datasets": refused,
        "resnet10": _which(plain, sets),
        "resnet10_while_the_connection_fails": _which(swapped, sets),
        "asked_for": asked,
        "alarms": texts + swap_texts,
    }


def _our_weight_sets(folder: Path, sets: dict[str, State]) -> dict[str, Any]:
    row = pretrained("medicalnet_resnet10_23datasets")
    with environment(MEDTL_WEIGHTS=str(folder), MEDTL_OFFLINE="1"):
        found = find_local(row) or folder
        encoder = _filled(10, found)
        other_hash = refusal(lambda: locate(row))
        found.unlink()
        absent = refusal(lambda: obtain(row))
    return {
        "medicalnet_resnet10_23datasets": _which(encoder, sets),
        "while_only_the_other_set_is_there": absent,
        "file_without_the_published_sha256": other_hash,
    }


def weight_sets(folder: Path) -> Row:
    """Both files of ResNet-10 are there: which one does one get?"""
    folder = folder / "weights"
    sets = {"8 data sets": medicalnet_state(10, SEED), "23 data sets": medicalnet_state(10, SEED + 1)}
    saved(published_file(sets["8 data sets"]), folder / "resnet_10.pth")
    saved(published_file(sets["23 data sets"]), folder / "resnet_10_23dataset.pth")
    monai, ours = _monai_weight_sets(folder, sets), _our_weight_sets(folder, sets)
    swapped = monai["resnet10_while_the_connection_fails"] == "8 data sets"
    return Row(
        key="F4",
        defect="MedicalNet ResNet-10 was published after 8 and after 23 data sets, and both files are there: which one "
        "does one get?",
        monai=monai,
        ours=ours,
        monai_text=f"resnet10(pretrained=True): {monai['resnet10']}; the same while the connection fails once: "
        f"{monai['resnet10_while_the_connection_fails']}; ResNetFeatures('resnet10'): "
        f"{monai['ResNetFeatures_resnet10']}; ResNetFeatures('resnet10_23datasets'): "
        f"{kind(monai['ResNetFeatures_resnet10_23datasets'])}; warnings: {len(monai['alarms'])}",
        ours_text=f"each set has a name; medicalnet_resnet10_23datasets: {ours['medicalnet_resnet10_23datasets']}; "
        f"while only the other set is there: {kind(ours['while_only_the_other_set_is_there'])}; a file without the "
        f"published sha256: {kind(ours['file_without_the_published_sha256'])}",
        defect_shown=swapped and monai["ResNetFeatures_resnet10"] == "8 data sets" and not monai["alarms"],
        ours_ok=ours["medicalnet_resnet10_23datasets"] == "23 data sets"
        and ours["while_only_the_other_set_is_there"].startswith("WeightsError")
        and ours["file_without_the_published_sha256"].startswith("WeightsError"),
    )


def local_file(folder: Path) -> Row:
    """The published layout ``{"state_dict": {"module.*"}}`` as a local file, on a machine without a GPU."""
    state = medicalnet_state(18, SEED)
    path = saved(published_file(state), folder / "resnet_18.pth")
    refused = refusal(lambda: _build(18, str(path)))

    network = _build(18, False)
    own = network.state_dict()  # the rule of MedicalNet's model.py: names that fit are taken, all others passed over
    fitting = {n: t for n, t in torch.load(path, weights_only=True)["state_dict"].items() if n in own}
    with alarms() as texts:
        own.update(fitting)
        network.load_state_dict(own)
    monai = {"local_file": refused, "tencent_rule_tensors": taken_over(network, state), "tensors": len(state)}

    ours = {"tensors": taken_over(_filled(18, path), state)}
    return Row(
        key="F6",
        defect="MedicalNet ResNet-18 from a local file as published ({'state_dict': {'module.*'}}), without GPU",
        monai={**monai, "tencent_rule_alarms": texts},
        ours=ours,
        monai_text=f"resnet18(pretrained=FILE): {kind(refused)}; MedicalNet's own rule (take the names that fit): "
        f"{monai['tencent_rule_tensors']} of {len(state)} tensors, warnings: {len(texts)}",
        ours_text=f"{ours['tensors']} of {len(state)} tensors",
        defect_shown=bool(refused),
        ours_ok=ours["tensors"] == len(state),
    )
