"""Overrides, relative ids and rewritten expressions agree with MONAI's own parser; unknown ids are found."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
from lint_attacks import METADATA, UNET, write_bundle
from monai.bundle import ConfigParser, ReferenceResolver

from medtl_monai.bundle.lint import lint_bundle
from medtl_monai.bundle.lint_expressions import references, rewritten
from medtl_monai.bundle.lint_findings import Report
from medtl_monai.bundle.lint_json import scan_json
from medtl_monai.bundle.lint_nodes import Node
from medtl_monai.bundle.lint_programs import absolute, expand, merge, normal, split_macro, walk

BUNDLES = ("hippocampus_mri_segmentation", "adrenal_ct_classification", "hemorrhage_ct_classification")


def plain(node: Node) -> Any:
    if isinstance(node.value, dict):
        return {key: plain(child) for key, child in node.value.items()}
    return [plain(child) for child in node.value] if isinstance(node.value, list) else node.value


def read(path: Path) -> Node:
    node = scan_json(path.read_text(), path.name, Report())
    assert node is not None
    return node


@pytest.mark.parametrize("bundle", BUNDLES)
@pytest.mark.parametrize("overlay", ["evaluate", "multi_gpu_train"])
def test_overrides_merge_as_monai_merges_them(project: Path, bundle: str, overlay: str) -> None:
    files = [project / "bundles" / bundle / "configs" / f"{stem}.json" for stem in ("train", overlay)]
    report = Report()
    assert plain(merge([read(path) for path in files], report)) == ConfigParser.load_config_files(files)
    assert not report.findings


def test_additions_and_macros_are_put_in_place_as_monai_does_it(tmp_path: Path) -> None:
    first = {"a": {"b": [1, 2], "c": "%d::0"}, "d": [{"e": "@f"}, "%a#b"], "f": 1, "h": {"i": "$@##f + 1"}}
    second = {"+a#b": [3], "+d": ["x"], "a#new": {"y": 1}, "d#1": "z", "+g": [1]}
    for name, content in (("first", first), ("second", second)):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    paths = [tmp_path / "first.json", tmp_path / "second.json"]
    parser = ConfigParser()
    parser.read_config(paths)
    parser.resolve_macro_and_relative_ids()
    root = merge([read(path) for path in paths], Report())
    expand(root, lambda path, node: None, lambda name, node: pytest.fail(name), Report())
    for where, node in walk(root):
        if isinstance(node.value, str):
            node.value = absolute(node.value, where)
    expected = parser.get()
    expected.pop("_meta_")
    assert plain(root) == expected


def test_relative_ids_are_written_out_as_monai_does_it() -> None:
    draw = random.Random(0)
    for _ in range(300):
        where = tuple(draw.choice("abc") for _ in range(draw.randint(2, 4)))
        text = draw.choice(["", "$1 + "]) + draw.choice("@%") + "#" * draw.randint(0, len(where)) + draw.choice("xyz")
        assert absolute(text, where) == ConfigParser.resolve_relative_ids("::".join(where), text)


@pytest.mark.parametrize("bundle", BUNDLES)
def test_what_is_judged_is_what_monai_would_evaluate(project: Path, bundle: str) -> None:
    texts = [
        node.value
        for path in (project / "bundles" / bundle / "configs").glob("*.json")
        for _, node in walk(read(path))
        if isinstance(node.value, str) and node.value.startswith(("$", "@"))
    ]
    assert len(texts) > 50
    for text in [*texts, "$@a + @ab + '@a#b'", "$@a@b", "@a b", "$x @ y"]:
        ids = ReferenceResolver.match_refs_pattern(text)
        assert sorted(set(references(text))) == sorted(ids)
        if text.startswith("$"):
            assert rewritten(text) == ReferenceResolver.update_refs_pattern(text, dict.fromkeys(ids, 0))


@pytest.mark.parametrize("text", ["a#b", "x.json", "c/x.json::a::b", "x.YAML#a", "x.json.bak", "a.json/b.yml::c", ""])
def test_macros_are_split_as_monai_splits_them(text: str) -> None:
    assert split_macro(normal(text)) == ConfigParser.split_path_id(text)


def test_a_missing_id_is_named_with_its_place_and_the_nearest_one(tmp_path: Path) -> None:
    content = {"learning_rate": 0.1, "train": {"lr": "@learning_rat"}, "x": "$@train#lr + @train#optimiser"}
    found = lint_bundle(write_bundle(tmp_path / "b", train=content))
    assert [(one.code, one.file, one.line) for one in found] == [
        ("id.unknown", "configs/train.json", 4),
        ("id.unknown", "configs/train.json", 6),
    ]
    assert found[0].remedy == "did you mean @learning_rate?"


@pytest.mark.parametrize("key", ["network_def", "optimizer", "device", "output_dir", "dataset_dir", "task_loss"])
def test_an_id_removed_from_a_real_bundle_is_missed(project: Path, tmp_path: Path, key: str) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(project / "bundles" / BUNDLES[1], folder)
    path = folder / "configs" / "train.json"
    content = json.loads(path.read_text())
    del content[key]
    path.write_text(json.dumps(content, indent=1))
    found = lint_bundle(folder, "strict")
    assert any(one.code == "id.unknown" and f"@{key} leads" in one.message for one in found)


def test_overrides_are_judged_on_top_of_the_file_that_they_override(tmp_path: Path) -> None:
    train = {"network_def": UNET, "train": {"handlers": [], "lr": 1}}
    fine = {"train#lr": "@rate", "rate": 2}
    bad = {"validate#lr": 3, "train#lr": "@train#handler"}
    bundle = write_bundle(tmp_path / "b", train=train, evaluate=fine, multi_gpu_train=bad)
    found = lint_bundle(bundle)
    assert {(one.code, one.file) for one in found} == {
        ("id.override", "configs/multi_gpu_train.json"),
        ("id.unknown", "configs/multi_gpu_train.json"),
    }


def test_macros_of_files_and_metadata_ids_lead_somewhere(tmp_path: Path) -> None:
    content = {
        "a": "%configs/parts.json::x",
        "b": "%parts.json::y",
        "v": "@_meta_#version",
        "c": "%gone.json::x",
        "ref": "@a#deep",
    }
    bundle = write_bundle(tmp_path / "b", inference=content, parts={"x": {"deep": 1}})
    found = lint_bundle(bundle)
    assert [(one.code, one.line) for one in found] == [("id.unknown", 3), ("macro.missing", 5)]


def test_macros_cannot_blow_a_configuration_up(tmp_path: Path) -> None:
    content: dict[str, Any] = {"a0": ["x"] * 50}
    content |= {f"a{n}": [f"%a{n - 1}"] * 50 for n in range(1, 8)}
    found = lint_bundle(write_bundle(tmp_path / "b", inference=content))
    assert "config.too-large" in {one.code for one in found}


def test_metadata_needs_its_keys_and_types(tmp_path: Path) -> None:
    metadata = {**METADATA, "authors": ["a", "b"]}
    del metadata["numpy_version"], metadata["required_packages_version"]
    found = lint_bundle(write_bundle(tmp_path / "b", metadata=metadata))
    assert [(one.code, one.message.split()[-1]) for one in found] == [
        ("metadata.key", "numpy_version"),
        ("metadata.key", "required_packages_version"),
        ("metadata.type", "'list'"),
    ]
