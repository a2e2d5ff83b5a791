"""The configuration of a command line, compared with what MONAI itself makes of the same words."""

from __future__ import annotations

import json
from pathlib import Path

import monai.bundle
import pytest
from monai.bundle import ConfigWorkflow

from medtl_monai.workflows.run_config import config_of_command

PROGRAM = str(Path(monai.bundle.__file__).parent / "__main__.py")


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    base = {"epochs": 3, "net": {"_target_": "torch.nn.Linear", "in_features": 2, "out_features": "@epochs"}, "run": []}
    overlay = {"net#in_features": 5, "run": ["$1 + 1"], "extra": "$@epochs * 2"}
    for name, content in (("base.json", base), ("overlay.json", overlay)):
        (tmp_path / name).write_text(json.dumps(content))
    return [str(tmp_path / "base.json"), str(tmp_path / "overlay.json")]


@pytest.mark.parametrize(
    ("words", "overrides"),
    [
        ([], {}),
        (["--epochs", "7", "--net#bias", "False"], {"epochs": 7, "net#bias": False}),
        (["--epochs=7", "--rate=1e-3"], {"epochs": 7, "rate": 0.001}),
        (["--shift", "-4", "--patch", "[16,16,8]"], {"shift": -4, "patch": [16, 16, 8]}),
        (["--source", "my weights.pt", "--resume"], {"source": "my weights.pt", "resume": True}),
        (["--meta_file", "m.json", "--logging_file=l.conf", "--run_id", "run", "--tracking", "x"], {}),
    ],
)
def test_equals_monais_own_reading(files: list[str], words: list[str], overrides: dict[str, object]) -> None:
    config = config_of_command([PROGRAM, "run", "--config_file", str(files), *words])
    workflow = ConfigWorkflow(files, meta_file=None, logging_file=False, workflow_type=None, **overrides)  # type: ignore[arg-type]
    expected = workflow.parser.get()
    expected.pop("_meta_", None)
    assert config == expected
    assert config is not None
    assert config["net"]["in_features"] == 5
    assert config["extra"] == "$@epochs * 2"  # nothing is evaluated


def test_one_file_and_settings_from_an_arguments_file(files: list[str], tmp_path: Path) -> None:
    arguments = tmp_path / "arguments.json"
    arguments.write_text(json.dumps({"config_file": files[0], "epochs": 9, "seed": 1}))
    config = config_of_command([PROGRAM, "run", "--args_file", str(arguments), "--seed", "2"])
    assert config is not None
    assert (config["epochs"], config["seed"], config["net"]["in_features"]) == (9, 2, 2)


@pytest.mark.parametrize(
    "argv",
    [
        [],
        [PROGRAM],
        ["pytest"],
        [PROGRAM, "verify_metadata", "--config_file", "x"],
        [PROGRAM, "run"],
        ["train.py", "run"],
    ],
)
def test_other_command_lines_have_no_configuration(argv: list[str]) -> None:
    assert config_of_command(argv) is None
