"""Every planted attack is refused by the right rule, and nothing of it happens; some are shown to be real."""

from __future__ import annotations

import contextlib
import json
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from lint_attacks import ATTACKS, REAL, write_bundle
from monai.bundle import ConfigParser

DRIVER = """
import json, sys
from medtl_monai.bundle.lint import lint_bundle
folders, clean = json.loads(sys.argv[1]), sys.argv[2]
lint_bundle(clean)  # what the lint itself imports is there from now on
HARMLESS = {"compile", "os.listdir", "os.scandir", "object.__getattr__", "os.walk", "builtins.id"}
forbidden, errors = [], {}
def watch(event, arguments):
    reads = event == "open" and arguments[1] is not None and set(arguments[1]) <= set("rbt")
    if event not in HARMLESS and not reads:
        forbidden.append([event, repr(arguments)[:200]])
sys.addaudithook(watch)
for name, folder in folders.items():
    for profile in ("default", "strict"):
        found = lint_bundle(folder, profile)
        errors[f"{name}/{profile}"] = [one.code for one in found if one.severity == "error"]
seen = list(forbidden)
heavy = sorted({"torch", "monai", "numpy", "ignite", "subprocess", "antigravity", "pdb"} & set(sys.modules))
eval("1"), open("/dev/null", "w").close()  # the watch itself is awake
awake = {"exec", "open"} <= {event for event, _ in forbidden[len(seen):]}
print(json.dumps({"forbidden": seen, "errors": errors, "heavy": heavy, "awake": awake}))
"""


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """All attacks linted in one process that records every act beyond reading."""
    folder = tmp_path_factory.mktemp("attacks")
    canary = folder / "canary"
    for name, (write, _) in ATTACKS.items():
        write(folder / name, f"touch {canary}")
    clean = write_bundle(folder / "clean")
    (clean / "configs" / "other.yaml").write_text("a: 1")  # so that PyYAML is imported
    with zipfile.ZipFile(clean / "model.pt", "w") as archive:  # and the decoder of old file names
        archive.writestr("x/data.pkl", pickle.dumps({}, protocol=2))
    names = json.dumps({name: str(folder / name) for name in ATTACKS})
    words = [sys.executable, "-c", DRIVER, names, str(clean)]
    result = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 0, result.stderr
    return {**json.loads(result.stdout), "canary": canary.exists()}


def test_there_are_enough_attacks() -> None:
    assert len(ATTACKS) >= 15


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("profile", ["default", "strict"])
def test_attack_is_refused_by_its_rule(verdicts: dict[str, dict[str, list[str]]], name: str, profile: str) -> None:
    assert ATTACKS[name][1] in verdicts["errors"][f"{name}/{profile}"]


def test_nothing_happens_but_reading(verdicts: dict[str, object]) -> None:
    assert verdicts["awake"] is True
    assert verdicts["forbidden"] == []
    assert verdicts["heavy"] == []
    assert verdicts["canary"] is False


@pytest.mark.parametrize("name", REAL)
def test_the_attack_is_real(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MONAI itself runs these: the canary is touched."""
    canary = tmp_path / "canary"
    ATTACKS[name][0](tmp_path / "bundle", f"touch {canary}")
    parser = ConfigParser()
    parser.read_config(str(tmp_path / "bundle" / "configs" / "inference.json"))
    with contextlib.suppress(RuntimeError, TypeError, AttributeError):  # after the act
        parser.get_parsed_content(REAL[name])
    assert canary.exists()
