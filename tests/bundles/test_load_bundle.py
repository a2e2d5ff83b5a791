"""``monai.bundle.load`` gives the weights of model.pt, for both workflows, from any folder."""

from __future__ import annotations

import glob
from pathlib import Path

import pytest
import torch
from monai.bundle import load


@pytest.mark.parametrize("kind", ["train", "inference"])
def test_every_tensor_equals_the_file(bundle: Path, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    network = load(bundle.name, bundle_dir=str(bundle.parent), workflow_type=kind, source="github")
    file = torch.load(bundle / "models" / "model.pt", weights_only=True)
    found = network.state_dict()
    assert list(found) == list(file)
    assert all(torch.equal(found[name], file[name]) for name in file)


def test_the_file_is_flat_tensors_only_and_the_shortest_name(bundle: Path) -> None:
    content = torch.load(bundle / "models" / "model.pt", weights_only=True)
    assert content
    assert {type(value) for value in content.values()} == {torch.Tensor}
    assert all(torch.isfinite(value).all() for value in content.values())
    names = [Path(name).name for name in glob.glob(str(bundle / "models" / "*.pt"))]
    assert min(names, key=len) == "model.pt"
    assert sorted(map(len, names)).count(len("model.pt")) == 1
