"""The commands of the bundle contract, from the bundle's own folder and from another one."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from bundle_commands import Finished, in_new_interpreter, words
from monai.bundle import ConfigParser

Command = Callable[..., Finished]
SCHEMA = "meta_schema_20240725.json"


@pytest.fixture(scope="module")
def schema(project: Path) -> Path:
    path = Path(os.environ.get("MEDTL_SCHEMA", project.parent / "shared" / "reference" / SCHEMA)).resolve()
    if not path.is_file():
        pytest.skip("no metadata schema offline: set MEDTL_SCHEMA to its file")
    return path


@pytest.fixture(params=["bundle root", "elsewhere"])
def place(request: pytest.FixtureRequest, bundle: Path, tmp_path: Path) -> dict[str, object]:
    """The options with which a command finds the bundle from a folder."""
    if request.param == "bundle root":
        return {"folder": bundle, "root": {}, "configs": "configs"}
    return {"folder": tmp_path, "root": {"bundle_root": bundle}, "configs": f"{bundle}/configs"}


def succeeded(finished: Finished) -> Finished:
    assert finished.code == 0, finished.output[-4000:]
    return finished


def test_verify_metadata(command: Command, place: dict, schema: Path, tmp_path: Path) -> None:
    options = {"meta_file": f"{place['configs']}/metadata.json", "filepath": schema}
    succeeded(command("verify_metadata", folder=place["folder"], **options))


def test_verify_metadata_finds_a_planted_defect(command: Command, bundle: Path, schema: Path, tmp_path: Path) -> None:
    metadata = json.loads((bundle / "configs" / "metadata.json").read_text())
    metadata["network_data_format"]["inputs"]["image"].pop("num_channels")
    (tmp_path / "metadata.json").write_text(json.dumps(metadata))
    finished = command("verify_metadata", meta_file=tmp_path / "metadata.json", filepath=schema)
    assert finished.code == 1
    assert "num_channels" in finished.output


def test_verify_net_in_out(command: Command, place: dict) -> None:
    options = {
        "net_id": "network_def",
        "meta_file": f"{place['configs']}/metadata.json",
        "config_file": f"{place['configs']}/inference.json",
    }
    succeeded(command("verify_net_in_out", folder=place["folder"], **options))


def test_inference_on_a_file_a_folder_and_a_series(
    command: Command, place: dict, cohort: Path, series: Path, tmp_path: Path
) -> None:
    file = cohort / "images" / "case_0002.nii.gz"
    expected = {
        file: ["case_0002"],
        cohort: [f"case_{number:04d}" for number in range(7)],
        series: [series.name],
    }
    for number, (data, cases) in enumerate(expected.items()):
        output = tmp_path / f"masks {number}"
        options = {"config_file": f"{place['configs']}/inference.json", "dataset_dir": data, "output_dir": output}
        succeeded(command("run", folder=place["folder"], **options, **place["root"]))
        assert sorted(path.name for path in output.iterdir()) == [f"{case}_seg.nii.gz" for case in cases]


def test_train_then_evaluate(command: Command, place: dict, cohort: Path, tmp_path: Path) -> None:
    train, evaluate = (f"{place['configs']}/{name}.json" for name in ("train", "evaluate"))
    common = {"dataset_dir": cohort, **place["root"]}
    options = {"config_file": train, "output_dir": tmp_path / "m", "epochs": 1, "patch_size": "[16,16,16]", **common}
    succeeded(command("run", folder=place["folder"], **options))
    assert {path.name for path in (tmp_path / "m").iterdir()} == {
        "curves.csv",
        "last.ckpt",
        "model.pt",
        "model.pt.lineage.json",
        "run.json",
    }
    options = {"config_file": f"['{train}','{evaluate}']", "output_dir": tmp_path / "e", "ckpt_dir": tmp_path / "m"}
    succeeded(command("run", folder=place["folder"], **options, **common))
    assert {path.name for path in (tmp_path / "e").iterdir()} == {"metrics.csv", "metrics.json"}


def test_export_to_torchscript_equals_eager(command: Command, place: dict, bundle: Path, tmp_path: Path) -> None:
    exported = tmp_path / "model.ts"
    options = {
        "net_id": "network_def",
        "filepath": exported,
        "ckpt_file": bundle / "models" / "model.pt",
        "meta_file": f"{place['configs']}/metadata.json",
        "config_file": f"{place['configs']}/inference.json",
    }
    succeeded(command("ckpt_export", folder=place["folder"], **options))
    script = torch.jit.load(exported).eval()
    parser = ConfigParser(ConfigParser.load_config_file(bundle / "configs" / "inference.json"))
    eager = parser.get_parsed_content("network_def").eval()
    eager.load_state_dict(torch.load(bundle / "models" / "model.pt", weights_only=True))
    for shape in ((1, 1, 16, 24, 32), (2, 1, 35, 51, 36), (1, 1, 5, 1, 9)):
        image = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            torch.testing.assert_close(script(image), eager(image), rtol=1e-5, atol=1e-5)


def test_new_interpreters(bundle: Path, cohort: Path, tmp_path: Path) -> None:
    """Once as users type it: ``python -m monai.bundle run``, training from the root, then inference from elsewhere."""
    options = {"config_file": "configs/train.json", "dataset_dir": cohort, "output_dir": tmp_path / "models"}
    knobs = {"epochs": 1, "patch_size": "[16,16,16]", "resume": "false"}
    succeeded(in_new_interpreter(words("run", {**options, **knobs}), bundle))
    options = {
        "config_file": bundle / "configs" / "inference.json",
        "bundle_root": bundle,
        "ckpt_path": "models/model.pt",
        "dataset_dir": cohort / "images" / "case_0001.nii.gz",
        "output_dir": "masks",
    }
    succeeded(in_new_interpreter(words("run", options), tmp_path))
    mask = nibabel.load(tmp_path / "masks" / "case_0001_seg.nii.gz")
    assert set(np.unique(mask.get_fdata())) <= {0, 1, 2}
    config = json.loads((tmp_path / "models" / "run.json").read_text())["config"]
    assert config["bundle"]["epochs"] == 1
    assert config["bundle"]["train"]["trainer"]["max_epochs"] == "@epochs"


@pytest.mark.parametrize("strategy", ["linear_probe"])
def test_two_processes(bundle: Path, cohort: Path, tmp_path: Path, strategy: str) -> None:
    """Two processes, two epochs, frozen stages; every file is written once, by the first process."""
    (tmp_path / "model.pt").write_bytes((bundle / "models" / "model.pt").read_bytes())
    options = {
        "config_file": "['configs/train.json','configs/multi_gpu_train.json']",
        "dataset_dir": cohort,
        "output_dir": tmp_path,
        "epochs": 2,
        "patch_size": "[16,16,16]",
        "strategy": strategy,
    }
    module = ["torch.distributed.run", "--standalone", "--nnodes=1", "--nproc_per_node=2", "-m", "monai.bundle"]
    succeeded(in_new_interpreter(words("run", options), bundle, module))
    before = torch.load(bundle / "models" / "model.pt", weights_only=True)
    kept = torch.load(tmp_path / "model_previous.pt", weights_only=True)
    assert all(torch.equal(kept[name], before[name]) for name in before)
    assert list(torch.load(tmp_path / "model.pt", weights_only=True)) == list(before)  # no "module." in the names
    assert [line.split(",")[0] for line in (tmp_path / "curves.csv").read_text().splitlines()[1:]] == ["0", "1", "2"]
    assert json.loads((tmp_path / "run.json").read_text())["state"] == "finished"
