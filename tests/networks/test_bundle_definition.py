"""A bundle's network is read as data: what needs code is refused, and nothing of the bundle runs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from medtl_monai.errors import ConfigError
from medtl_monai.networks.bundle_definition import expected_intensity, read_network_definition

UNET: dict[str, Any] = {
    "_target_": "UNet",
    "spatial_dims": 3,
    "in_channels": 1,
    "out_channels": 4,
    "channels": [8, 16],
    "strides": [2],
}
ZOO: dict[str, Any] = {
    "imports": ["$import glob"],
    "bundle_root": ".",
    "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
    "network": "$@network_def.to(@device)",
    "inferer": {"_target_": "SimpleInferer"},
}


def bundle(folder: Path, config: dict[str, Any], name: str = "inference.json") -> Path:
    (folder / "configs").mkdir(exist_ok=True)
    (folder / "configs" / name).write_text(json.dumps(config))
    return folder


def arguments(component: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in component.items() if name != "_target_"}


@pytest.mark.parametrize("target", ["UNet", "monai.networks.nets.UNet", "monai.networks.nets.unet.UNet"])
def test_a_zoo_definition_comes_back_as_written(tmp_path: Path, target: str) -> None:
    found = read_network_definition(bundle(tmp_path, {**ZOO, "network_def": {**UNET, "_target_": target}}))
    assert (found.target, found.arguments, found.name, found.id) == (target, arguments(UNET), "", "network_def")
    assert found.path == tmp_path / "configs" / "inference.json"


def test_a_description_is_no_argument(tmp_path: Path) -> None:
    found = read_network_definition(bundle(tmp_path, {"network_def": {**UNET, "_desc_": "a U-Net"}}))
    assert found.arguments == arguments(UNET)


def test_references_become_the_values_they_stand_for(tmp_path: Path) -> None:
    config = {
        "classes": "@labels::count",
        "labels": {"count": 4, "sizes": [[8, 16], [2]]},
        "network_def": {
            **UNET, "out_channels": "@classes", "channels": "@labels#sizes#0", "strides": ["@labels::sizes::1::0"]
        },
    }  # fmt: skip
    assert read_network_definition(bundle(tmp_path, config)).arguments == arguments(UNET)


def test_inference_comes_before_train_and_network_def_before_network(tmp_path: Path) -> None:
    bundle(tmp_path, {"network": {**UNET, "out_channels": 9}}, "train.json")
    assert read_network_definition(tmp_path).arguments["out_channels"] == 9
    bundle(tmp_path, {"network": {**UNET, "out_channels": 8}})
    assert read_network_definition(tmp_path).id == "network"
    bundle(tmp_path, {"network": {**UNET, "out_channels": 8}, "network_def": {**UNET, "out_channels": 7}})
    assert read_network_definition(tmp_path).arguments["out_channels"] == 7


def test_a_bundle_of_this_library_gives_the_name_of_its_network(project: Path) -> None:
    found = read_network_definition(project / "bundles" / "hippocampus_mri_segmentation")
    assert (found.name, found.target, found.arguments) == ("unet", "", {})


@pytest.mark.parametrize(
    ("knob", "why"),
    [("$open('ran', 'w')", "an expression"), (None, "not the name"), ({"_target_": "UNet"}, "not the name")],
)
def test_a_call_of_this_library_without_a_plain_name_is_refused(tmp_path: Path, knob: object, why: str) -> None:
    own = {"_target_": "medtl_monai.networks.factory.select_network", "network": knob}
    with pytest.raises(ConfigError, match=f"network_def#network' is {why}"):
        read_network_definition(bundle(tmp_path, {"network_def": own}))


YAML = """
# as the templates of the model zoo are written
num_classes: 4
network_def:
  _target_: UNet
  spatial_dims: 3
  in_channels: 1
  out_channels: '@num_classes'
  channels: [8, 16]
  strides:
  - 2
network: $@network_def.to(@device)
"""


@pytest.mark.parametrize("suffix", ["yaml", "yml"])
def test_yaml_says_the_same_as_json(tmp_path: Path, suffix: str) -> None:
    pytest.importorskip("yaml", reason="PyYAML is not installed")
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / f"inference.{suffix}").write_text(YAML)
    assert read_network_definition(tmp_path).arguments == arguments(UNET)


@pytest.mark.parametrize(
    "text", ["network_def: !!python/object/apply:os.mkdir [ran]\n", "network_def: [\n", "a: &a [*a]\nnetwork_def: *a\n"]
)
def test_yaml_makes_no_objects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    pytest.importorskip("yaml", reason="PyYAML is not installed")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "inference.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"inference\.yaml"):
        read_network_definition(tmp_path)
    assert not (tmp_path / "ran").exists()


def test_without_pyyaml_the_error_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)  # Python's own way to make an import fail
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "inference.yaml").write_text(YAML)
    with pytest.raises(ConfigError, match=r"PyYAML.*pip install pyyaml.*inference\.yaml"):
        read_network_definition(tmp_path)


RUN = "$__import__('pathlib').Path('ran').touch()"


@pytest.mark.parametrize(
    ("component", "where", "why"),
    [
        ({**UNET, "out_channels": RUN}, "network_def#out_channels", "an expression"),
        ({**UNET, "channels": [8, RUN]}, "network_def#channels#1", "an expression"),
        ({**UNET, "norm": ["batch", {"eps": "@planted"}]}, "network_def#norm#1#eps", "an expression"),
        ({**UNET, "act": "$import os"}, "network_def#act", "an expression"),
        (RUN, "network_def", "an expression"),
        ("@planted", "network_def", "an expression"),
        ({**UNET, "channels": "%train.json::channels"}, "network_def#channels", "a macro"),
        ({**UNET, "act": {"_target_": "os.mkdir", "path": "ran"}}, "network_def#act", "a component"),
        ({**UNET, "_requires_": RUN}, "network_def#_requires_", "a switch"),
        ({**UNET, "_disabled_": RUN}, "network_def#_disabled_", "a switch"),
        ({**UNET, "_mode_": "debug"}, "network_def#_mode_", "a switch"),
        ({"_target_": "scripts.net.Net", "in_channels": 1}, "network_def#_target_", "code from outside"),
        ({"_target_": "scripts/net.py"}, "network_def#_target_", "code from outside"),
        ({"_target_": "os.mkdir", "path": "ran"}, "network_def#_target_", "code from outside"),
        ({"_target_": "monai.networks.netsx.UNet"}, "network_def#_target_", "code from outside"),
        ({**UNET, "act": "@nowhere"}, "network_def#act", "a reference to nothing"),
        ({**UNET, "channels": "@inferer#0"}, "network_def#channels", "a reference to nothing"),
        ({**UNET, "channels": "@imports#1"}, "network_def#channels", "a reference to nothing"),
        ({**UNET, "channels": "@loop"}, "network_def#channels", "a reference in a circle"),
        ({**UNET, "channels": "@nest"}, "network_def#channels", "a reference in a circle"),
        ({**UNET, "channels": "@b0"}, "network_def#channels", "too large"),
        ({"in_channels": 1}, "network_def", "not a component"),
        ("UNet", "network_def", "not a component"),
    ],
)
def test_what_would_need_code_is_refused_and_does_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, component: object, where: str, why: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "__init__.py").write_text("open('ran', 'w')")
    (tmp_path / "scripts" / "net.py").write_text("class Net: ...")
    doubling = {f"b{level}": [f"@b{level + 1}"] * 2 for level in range(30)}  # 2**30 values, were they written out
    planted = {"planted": RUN, "loop": "@loop2", "loop2": "@loop", "nest": ["@nest"], "b30": 1, **doubling}
    with pytest.raises(ConfigError) as caught:
        read_network_definition(bundle(tmp_path, {**ZOO, **planted, "network_def": component}))
    assert f"'{where}" in str(caught.value)
    assert f"is {why}" in str(caught.value)
    assert str(tmp_path / "configs" / "inference.json") in str(caught.value)
    assert not (tmp_path / "ran").exists()
    assert "scripts" not in sys.modules


def test_a_refused_definition_is_not_replaced_by_another_file(tmp_path: Path) -> None:
    bundle(tmp_path, {"network_def": UNET}, "train.json")
    bundle(tmp_path, {"network": "$@network_def.to(@device)"})
    with pytest.raises(ConfigError, match="'network' is an expression"):
        read_network_definition(tmp_path)


def test_a_bundle_without_a_network_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no network.*none of these files"):
        read_network_definition(tmp_path)
    with pytest.raises(ConfigError, match=r"no network.*network_def or network.*got configs/inference\.json"):
        read_network_definition(bundle(tmp_path, {"inferer": {"_target_": "SimpleInferer"}}))


@pytest.mark.parametrize("content", [b"{", b"[1]", b"\xff\xfe", b"[" * 100_000])
def test_a_damaged_configuration_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    bundle(tmp_path, {})
    (tmp_path / "configs" / "inference.json").write_bytes(content)
    with pytest.raises(ConfigError, match=r"inference\.json"):
        read_network_definition(tmp_path)


def described(value_range: object) -> dict[str, Any]:
    return {"network_data_format": {"inputs": {"image": {"value_range": value_range}}}}


@pytest.mark.parametrize(
    ("metadata", "intensity"),
    [
        (described([0, 1]), "unit"),
        (described([0.0, 1.0]), "unit"),
        (described([-1, 1]), "zscore"),
        (described([]), "zscore"),
        ({"network_data_format": []}, "zscore"),
        ({}, "zscore"),
    ],
)
def test_intensity_of_the_metadata(tmp_path: Path, metadata: dict[str, Any], intensity: str) -> None:
    assert expected_intensity(bundle(tmp_path, metadata, "metadata.json")) == intensity


def test_intensity_without_and_with_damaged_metadata(tmp_path: Path) -> None:
    assert expected_intensity(tmp_path) == "zscore"
    bundle(tmp_path, {})
    (tmp_path / "configs" / "metadata.json").write_text("{")
    with pytest.raises(ConfigError, match=r"metadata\.json"):
        expected_intensity(tmp_path)
