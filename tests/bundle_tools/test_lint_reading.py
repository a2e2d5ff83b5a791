"""Reading with places agrees with the readers that MONAI uses: json, PyYAML's safe loader."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import yaml

from medtl_monai.bundle.lint_findings import Report
from medtl_monai.bundle.lint_json import scan_json
from medtl_monai.bundle.lint_nodes import Node, Scalar
from medtl_monai.bundle.lint_yaml import scan_yaml


def plain(node: Node) -> object:
    if isinstance(node.value, dict):
        return {key: plain(child) for key, child in node.value.items()}
    if isinstance(node.value, list):
        return [plain(child) for child in node.value]
    return node.value


def test_json_of_every_bundle_reads_the_same(project: Path) -> None:
    paths = sorted((project / "bundles").rglob("*.json"))
    assert len(paths) >= 15
    for path in paths:
        report = Report()
        node = scan_json(path.read_text(), path.name, report)
        assert node is not None
        assert plain(node) == json.loads(path.read_text())
        assert not report.findings


def test_json_is_refused_exactly_when_python_refuses_it(project: Path) -> None:
    text = (project / "bundles/hippocampus_mri_segmentation/configs/evaluate.json").read_text()
    draw = random.Random(0)
    refused = 0
    for _ in range(1500):
        at = draw.randrange(len(text))
        mutant = text[:at] + draw.choice(['"', "{", "}", "[", "]", ",", ":", "\\", "\n", "1", ""]) + text[at + 1 :]
        try:
            expected: object = json.loads(mutant)
        except ValueError:
            expected = None
        node = scan_json(mutant, "a.json", Report())
        assert (node is None) == (expected is None), mutant
        assert node is None or plain(node) == expected
        refused += node is None
    assert 200 < refused < 1500


@pytest.mark.parametrize("text", ["1e999", "NaN", "-Infinity", '"\\ud800"', " null\n", "[]", "{}", "-0"])
def test_json_corners_read_the_same(text: str) -> None:
    node = scan_json(text, "a.json", Report())
    assert node is not None
    assert repr(plain(node)) == repr(json.loads(text))


def test_lines_of_json_are_those_of_the_values() -> None:
    text = '{\n  "a": 1,\n  "b": [\n    "x",\n\n    {"c": "two\\nlines"}\n  ],\n  "d": null}'
    node = scan_json(text, "a.json", Report())
    assert node is not None
    b = node.child("b")
    assert b is not None
    assert [one.line for one in (node, b)] == [1, 3]
    assert [child.line for _, child in b.children()] == [4, 6]
    assert [child.line for _, child in node.children()] == [2, 3, 8]


def test_duplicate_keys_and_broken_text_name_their_line() -> None:
    report = Report()
    scan_json('{"a": 1,\n"b": 2,\n"a": 3}', "a.json", report)
    scan_json('{"a": 1,\n"b": }', "b.json", report)
    assert [(one.code, one.file, one.line) for one in report.sorted()] == [
        ("config.duplicate-key", "a.json", 3),
        ("config.syntax", "b.json", 2),
    ]


YAML = """
base: &base {x: text, y: [a, 'b', "c"], on: yes}
more:
  <<: *base
  x: other
list:
- *base
- |
  two
  lines
none: ~
"""


def _texts(value: object) -> object:
    """Numbers as text, the way the lint keeps them."""
    if isinstance(value, dict):
        return {str(key): _texts(child) for key, child in value.items()}
    if isinstance(value, list):
        return [_texts(child) for child in value]
    return value


def test_yaml_reads_as_the_safe_loader_reads_it() -> None:
    report = Report()
    node = scan_yaml(YAML.replace("on: yes", "yes_: yes"), "a.yaml", report)
    assert node is not None
    assert plain(node) == _texts(yaml.safe_load(YAML.replace("on: yes", "yes_: yes")))
    assert not report.findings
    listed = node.child("list")
    assert listed is not None
    assert [child.line for _, child in listed.children()][1] == 8


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("a: !!python/name:os.system", "yaml.tag"),
        ("a: !custom x", "yaml.tag"),
        ("a: 1\nb: 2\na: 3", "config.duplicate-key"),
        ("a: [1", "config.syntax"),
        ("a: *nothing", "config.syntax"),
        ("a: 1\n---\nb: 2", "config.syntax"),
        ("\n".join(f"a{n}: &a{n} [*a{n - 1}]" if n else "a0: &a0 [x]" for n in range(100)), "config.too-deep"),
    ],
)
def test_yaml_is_refused(text: str, rule: str) -> None:
    report = Report()
    scan_yaml(text, "a.yaml", report)
    assert [one.code for one in report.findings] == [rule]


def test_without_pyyaml_there_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "yaml", None)
    report = Report()
    assert scan_yaml("a: 1", "a.yaml", report) is None
    (found,) = report.findings
    assert (found.code, found.severity) == ("config.unread", "error")
    assert "pyyaml" in found.remedy


def test_scalars_are_typed() -> None:
    values: list[Scalar] = [True, None, "x", 1, 2.5]
    node = scan_json(json.dumps(values), "a.json", Report())
    assert node is not None
    assert plain(node) == values
