"""``medtl lint``: our bundles pass, output forms, exit states, files, and no heavy import."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from lint_attacks import UNET, write_bundle

from medtl_monai.bundle.lint import lint_bundle
from medtl_monai.bundle.lint_findings import RULES
from medtl_monai.cli import main
from medtl_monai.errors import ConfigError

BUNDLES = (
    *("hippocampus_mri_segmentation", "hippocampus_mri_slice_segmentation", "abdomen_ct_segmentation"),
    *("adrenal_ct_classification", "hemorrhage_ct_classification"),
)
MOST_SECONDS = 3.0


def test_every_bundle_of_this_library_is_listed_here(project: Path) -> None:
    assert {path.name for path in (project / "bundles").iterdir()} == set(BUNDLES)


@pytest.mark.parametrize("bundle", BUNDLES)
@pytest.mark.parametrize("profile", ["strict", "default"])
def test_our_bundles_pass(project: Path, bundle: str, profile: str) -> None:
    assert lint_bundle(project / "bundles" / bundle, profile) == []  # type: ignore[arg-type]


@pytest.mark.parametrize("bundle", BUNDLES[:1])
def test_it_is_quick_and_imports_neither_torch_nor_monai(project: Path, bundle: str) -> None:
    words = ["-X", "importtime", "-m", "medtl_monai.cli", "lint", str(project / "bundles" / bundle)]
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        result = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=True)
        seconds.append(time.perf_counter() - start)
    loaded = {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in result.stderr.splitlines() if "|" in line}
    assert "medtl_monai" in loaded
    assert not loaded & {"torch", "monai", "numpy", "ignite", "nibabel", "matplotlib"}
    assert min(seconds) < MOST_SECONDS


def _bad(folder: Path) -> Path:
    content = {"network_def": UNET, "bundle_root": ".", "run": {"_target_": "os.system", "command": "x"}, "d": "/data"}
    return write_bundle(folder, inference=content)


def test_text_has_rule_place_cure_and_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lint", str(_bad(tmp_path / "b"))]) == 1
    lines = capsys.readouterr().out.splitlines()
    text = (tmp_path / "b/configs/inference.json").read_text().splitlines()
    number = next(index for index, line in enumerate(text, start=1) if "os.system" in line)
    assert lines[0].startswith(f"configs/inference.json:{number}: error: 'os.system' reaches the module os; ")
    assert lines[0].endswith("[target.forbidden]")
    assert lines[-1] == "errors: 1, warnings: 1"


def test_warnings_alone_are_no_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = write_bundle(tmp_path / "b", inference={"d": "/data/x"})
    assert main(["lint", str(bundle)]) == 0
    assert "warning" in capsys.readouterr().out
    assert main(["lint", str(bundle), "--profile", "strict"]) == 1


def test_no_bundle_is_a_refusal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lint", str(tmp_path / "nowhere")]) == 2
    assert "no such bundle" in capsys.readouterr().err
    with pytest.raises(ConfigError):
        lint_bundle(tmp_path / "nowhere")


def test_json_has_all_fields(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lint", str(_bad(tmp_path / "b")), "--format", "json"]) == 1
    answer = json.loads(capsys.readouterr().out)
    assert (answer["profile"], answer["passed"]) == ("default", False)
    assert {row["rule"] for row in answer["findings"]} == {"target.forbidden", "path.absolute"}
    for row in answer["findings"]:
        assert set(row) == {"rule", "severity", "file", "line", "message", "remedy"}
        assert row["rule"] in RULES
        assert row["remedy"]
        assert row["line"] >= 1


def test_sarif_has_the_fields_that_its_standard_requires(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Required by SARIF 2.1.0: log 3.13, run 3.14, tool 3.18, component 3.19, rule 3.49, result 3.27, region 3.30."""
    assert main(["lint", str(_bad(tmp_path / "b")), "--format", "sarif"]) == 1
    log = json.loads(capsys.readouterr().out)
    assert log["version"] == "2.1.0"
    assert log["$schema"].endswith("sarif-schema-2.1.0.json")
    (run,) = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert run["tool"]["driver"]["name"]
    assert len({rule["id"] for rule in rules}) == len(rules)
    assert all(rule["shortDescription"]["text"] for rule in rules)
    assert len(run["results"]) == 2
    for result in run["results"]:
        assert result["message"]["text"]
        assert result["level"] in ("none", "note", "warning", "error")
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        (location,) = result["locations"]
        place = location["physicalLocation"]
        uri = place["artifactLocation"]["uri"]
        assert (tmp_path / "b" / uri).is_file()
        assert not uri.startswith("/")
        assert place["region"]["startLine"] >= 1


def test_files_of_other_kinds_are_refused_and_never_opened(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "b")
    os.mkfifo(bundle / "configs" / "train.json")  # reading it would wait for ever
    (bundle / "a").mkdir()
    (bundle / "a" / "loop").symlink_to(bundle / "a")
    (bundle / "models").mkdir()
    (bundle / "models" / "model.pt").symlink_to(bundle / "gone.pt")
    (bundle / "x.so").write_bytes(b"\x7fELF")
    found = {(one.code, one.file) for one in lint_bundle(bundle) if one.severity == "error"}
    assert found == {
        ("file.special", "configs/train.json"),
        ("file.link", "models/model.pt"),
        ("file.code", "x.so"),
    }


def test_a_large_file_belongs_into_the_list_of_files_to_fetch(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "b")
    with (bundle / "big.nii.gz").open("wb") as stream:
        stream.truncate(26 * 2**20)
    (bundle / "configs" / "data.json").write_text("[" + "1," * 3_000_000 + "1]")
    assert [(one.code, one.severity) for one in lint_bundle(bundle)] == [
        ("file.large", "warning"),
        ("config.too-large", "error"),
    ]


def test_a_list_of_files_to_fetch_is_read_from_yaml(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "b")
    text = "large_files:\n- {path: models/a.pt, url: 'https://e.org/a', hash_val: %s, hash_type: sha256}\n"
    (bundle / "large_files.yml").write_text(text % ("a" * 64))
    assert lint_bundle(bundle, "strict") == []
    (bundle / "large_files.yml").write_text(text % ("a" * 63) + "- {path: /x, url: 'http://e.org', hash_val: ''}\n")
    assert [(one.code, one.line) for one in lint_bundle(bundle, "strict")] == [
        ("large-file.hash", 2),
        ("large-file.address", 3),
        ("large-file.hash", 3),
        ("large-file.path", 3),
    ]


@pytest.mark.parametrize(
    ("line", "codes"),
    [
        ("class=StreamHandler\nargs=(sys.stdout,)", []),
        ("class=handlers.RotatingFileHandler\nargs=('a.log', 'a')", []),
        ("class=os.system\nargs=('x',)", ["logging.class"]),
        ("class=StreamHandler\nargs=(open('x','w'),)", ["logging.arguments"]),
        ("class=StreamHandler\nargs=(sys.modules,)", ["logging.arguments"]),
        ("class=StreamHandler\nkwargs={'stream': __import__('os')}", ["logging.arguments"]),
    ],
)
def test_logging_is_plain(tmp_path: Path, line: str, codes: list[str]) -> None:
    bundle = write_bundle(tmp_path / "b")
    (bundle / "configs" / "logging.conf").write_text(f"[handler_a]\nlevel=INFO\n{line}\n")
    assert [one.code for one in lint_bundle(bundle, "strict")] == codes


def test_switches_of_components(tmp_path: Path) -> None:
    content = {
        "a": {"_target_": "Compose", "_mode_": "callable", "_disabled_": "TRUE", "_desc_": "see https://e.org"},
        "b": {"_target_": "Compose", "_mode_": "lazy", "_disabled_": "flase", "_require_": "@a"},
        "c": {"_target_": "LoadImage", "_mode_": "callable"},
        "d": {"_target_": "EfficientNetBN", "model_name": "efficientnet-b0"},
        "e": {"_target_": "EfficientNetBN", "model_name": "efficientnet-b0", "pretrained": "@no"},
        "f": {"_target_": "SEResNet50", "pretrained": "@yes"},
        "g": {"_target_": ["os.system"]},
        "no": False,
        "yes": True,
    }
    found = lint_bundle(write_bundle(tmp_path / "b", inference=content))
    assert sorted(one.code for one in found) == [
        "component.disabled",
        "component.mode",
        "component.mode",
        "component.unknown-key",
        "download.argument",
        "download.argument",
        "target.forbidden",
        "target.not-literal",
    ]
    assert any(one.remedy == "did you mean _requires_?" for one in found)


def test_a_bundle_without_configurations_is_no_bundle(tmp_path: Path) -> None:
    assert [one.code for one in lint_bundle(tmp_path)] == ["config.missing", "config.missing"]


def test_damaged_configurations_never_stop_the_lint(project: Path, tmp_path: Path) -> None:
    draw = random.Random(0)
    text = (project / "bundles" / BUNDLES[1] / "configs" / "inference.json").read_text()
    bundle = write_bundle(tmp_path / "b")
    found = 0
    for _ in range(150):
        at = draw.randrange(len(text))
        mutant = text[:at] + draw.choice(["@", "$", "%", "#", "::", "'", '"', "..", "_", "[", "{"]) + text[at + 1 :]
        (bundle / "configs" / "inference.json").write_text(mutant)
        found += bool(lint_bundle(bundle, "strict"))
    assert found > 50


def test_thousands_of_faults_do_not_take_for_ever(tmp_path: Path) -> None:
    content = {f"k{n}": {"_target_": f"NoSuchThing{n}", "a": f"@nowhere{n}", "b": "$q."} for n in range(8000)}
    start = time.perf_counter()
    found = lint_bundle(write_bundle(tmp_path / "b", inference=content))
    assert time.perf_counter() - start < 20
    assert {"target.not-allowed", "id.unknown", "expr.syntax", "config.too-large"} <= {one.code for one in found}
