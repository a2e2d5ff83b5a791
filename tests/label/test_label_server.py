"""A real server, asked as Slicer asks it."""

from __future__ import annotations

import json
import math
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import requests
from conftest import CLASSIFIER, LABEL_NAMES, LABELLED, SEGMENTER, save_image, save_nifti, slicer_request
from label_server import ENVIRONMENT, Server, wait_for
from masks import dice, read_mask, read_nrrd

from medtl_monai.data.phantom import make_phantom

SCORE_S, TRAIN_S = 180, 400


def test_pages_of_other_sites_get_no_answer(server: Server) -> None:
    answer = requests.get(f"{server.url}/info/", headers={"Origin": "https://elsewhere.invalid"}, timeout=60)
    assert answer.ok
    assert "access-control-allow-origin" not in {name.lower() for name in answer.headers}  # the browser withholds it


def test_model_pt_comes_first_and_only_weights_that_fit_are_loaded(server: Server) -> None:
    info = server.client.info()
    for part in ("models", "trainers"):
        assert info[part][SEGMENTER]["config"]["model_filename"] == ["model.pt", "old.pt"]
    with pytest.raises(server.refusal):  # the stock app answers with a mask of random weights
        infer(server, "phantom_0", model_filename="old.pt")
    infer(server, "phantom_0", model_filename="model.pt")


def by_command_line(python: Path, bundle: Path, image: Path, output: Path, **options: object) -> np.ndarray:
    """The mask of the bundle's own inference command."""
    words = [word for key, value in options.items() for word in (f"--{key}", str(value))]
    command = [python, "-m", "monai.bundle", "run", "--config_file", bundle / "configs" / "inference.json"]
    command += ["--bundle_root", bundle, "--dataset_dir", image, "--output_dir", output, *words]
    subprocess.run([str(word) for word in command], check=True, capture_output=True, env=ENVIRONMENT, timeout=240)
    (file,) = output.glob("*.nii.gz")
    return read_mask(file)[0]


def infer(server: Server, image: str, **changes: Any) -> tuple[np.ndarray, np.ndarray]:
    """Voxels and affine of the server's mask."""
    file, _ = server.client.infer(SEGMENTER, image, slicer_request(server, SEGMENTER, **changes))
    return read_nrrd(file)


def test_the_server_knows_what_slicer_shows(server: Server) -> None:
    info = server.client.info()
    assert info["models"][SEGMENTER]["labels"] == {name: int(v) for v, name in LABEL_NAMES.items() if v != "0"}
    assert info["models"][SEGMENTER]["dimension"] == 3
    assert {"sw_overlap", "sw_batch_size", "test_time_augmentation"} <= set(info["models"][SEGMENTER]["config"])
    assert SEGMENTER in info["trainers"]
    assert {"most_uncertain", "first", "random"} <= set(info["strategies"])
    assert server.client.next_sample("first", {})["id"] == "gland"
    assert "127.0.0.1" in server.text()
    assert "0.0.0.0" not in server.text()


def test_a_scan_is_uploaded_and_comes_back_as_a_mask(server: Server, tmp_path: Path) -> None:
    save_image(make_phantom(80), tmp_path / "sent.nii.gz")
    assert server.client.upload_image(str(tmp_path / "sent.nii.gz"), "sent")["image"] == "sent"
    mask, affine = infer(server, "sent")
    image = nib.load(tmp_path / "sent.nii.gz")
    assert mask.shape == image.shape
    assert set(np.unique(mask)) == {0, 1, 2}
    np.testing.assert_allclose(affine, image.affine, atol=1e-5)


@pytest.mark.parametrize("case", ["phantom_0", "lia"])
def test_masks_equal_the_command_line(
    server: Server,
    label_python: Path,
    label_bundles: dict[str, Path],
    studies: SimpleNamespace,
    tmp_path: Path,
    case: str,
) -> None:
    image = studies.folder / f"{case}.nii.gz"
    mask, affine = infer(server, case)
    expected = by_command_line(label_python, label_bundles[SEGMENTER], image, tmp_path)
    np.testing.assert_array_equal(mask, expected)
    np.testing.assert_allclose(affine, nib.load(image).affine, atol=1e-5)
    assert nib.aff2axcodes(affine) == (("L", "I", "A") if case == "lia" else ("R", "A", "S"))


def test_settings_shown_in_slicer_have_an_effect(
    server: Server, label_python: Path, label_bundles: dict[str, Path], studies: SimpleNamespace, tmp_path: Path
) -> None:
    without, half = (infer(server, "large", sw_overlap=overlap)[0] for overlap in (0.0, 0.5))
    assert (without != half).any()
    expected = by_command_line(
        label_python,
        label_bundles[SEGMENTER],
        studies.folder / "large.nii.gz",
        tmp_path,
        **{"displayable_configs#sw_overlap": 0.0},
    )
    np.testing.assert_array_equal(without, expected)


def test_test_time_augmentation_is_the_users_choice(
    server: Server, label_python: Path, label_bundles: dict[str, Path], studies: SimpleNamespace, tmp_path: Path
) -> None:
    plain, mirrored = (infer(server, "phantom_1", test_time_augmentation=on)[0] for on in (False, True))
    assert (plain != mirrored).any()
    expected = by_command_line(
        label_python,
        label_bundles[SEGMENTER],
        studies.folder / "phantom_1.nii.gz",
        tmp_path,
        **{"displayable_configs#test_time_augmentation": True},
    )
    np.testing.assert_array_equal(mirrored, expected)


def scores_of(server: Server) -> dict[str, float]:
    """Scan -> score, of the scans that have one."""
    objects = server.client.datastore()["objects"]
    infos = {name: row["image"]["info"] for name, row in objects.items() if not row["labels"].get("final")}
    return {name: info["epistemic_entropy"] for name, info in infos.items() if "epistemic_entropy" in info}


def test_the_next_scan_is_the_one_the_model_is_least_sure_of(server: Server) -> None:
    wait_for(lambda: set(LABELLED) <= set(scores_of(server)), SCORE_S, "scores")
    scores = scores_of(server)
    assert all(0 < score < math.log(3) for score in scores.values())  # mean entropy of three classes
    ranked = sorted(scores, key=lambda name: -scores[name])
    offered = [server.client.next_sample("most_uncertain", {})["id"] for _ in range(2)]
    assert offered == ranked[:2]  # a scan that was offered makes room for the next


def test_a_classifier_answers_over_rest(
    server: Server, label_python: Path, label_bundles: dict[str, Path], studies: SimpleNamespace, tmp_path: Path
) -> None:
    url = f"{server.url}/infer/{CLASSIFIER}"  # the plugin's client expects a mask, so this is plain HTTP
    answer = requests.post(url, params={"image": "gland", "output": "json"}, data={"params": "{}"}, timeout=120)
    answer.raise_for_status()
    scores = {row["label"]: row["score"] for row in answer.json()["prediction"]}
    assert sum(scores.values()) == pytest.approx(1)
    bundle, image = label_bundles[CLASSIFIER], studies.folder / "gland.nii.gz"
    command = [label_python, "-m", "monai.bundle", "run", "--config_file", bundle / "configs" / "inference.json"]
    command += ["--bundle_root", bundle, "--dataset_dir", image, "--output_dir", tmp_path]
    subprocess.run([str(word) for word in command], check=True, capture_output=True, env=ENVIRONMENT, timeout=240)
    (row,) = json.loads((tmp_path / "predictions.json").read_text())["predictions"]
    assert scores == pytest.approx(row["probabilities"], abs=2e-6)


def test_a_label_with_an_unknown_segment_is_refused_at_once(
    server: Server, studies: SimpleNamespace, tmp_path: Path
) -> None:
    phantom, file = studies.phantoms["phantom_0"], tmp_path / "label.nii.gz"
    save_nifti(phantom.label, phantom.affine, file)
    wrong = [{"name": "amygdala", "idx": 1}, {"name": "posterior hippocampus", "idx": 2}]
    with pytest.raises(server.refusal) as caught:
        server.client.save_label("phantom_0", str(file), params={"label_info": wrong})
    assert "amygdala" in caught.value.msg
    assert "anterior hippocampus, posterior hippocampus" in caught.value.msg


def submit_in_another_order(server: Server, studies: SimpleNamespace, folder: Path) -> None:
    """All five labels with posterior as value 1, as Slicer does when that segment comes first."""
    order = [{"name": "posterior hippocampus", "idx": 1}, {"name": "anterior hippocampus", "idx": 2}]
    for name in LABELLED:
        phantom = studies.phantoms[name]
        save_nifti(np.array([0, 2, 1], np.uint8)[phantom.label], phantom.affine, folder / f"{name}.nii.gz")
        server.client.save_label(name, str(folder / f"{name}.nii.gz"), params={"label_info": order})


def test_training_on_submitted_labels_improves_the_mask(
    server: Server, studies: SimpleNamespace, tmp_path: Path
) -> None:
    """Also the proof that names win over numbers: trained on the numbers alone, every voxel would be wrong."""
    truth = studies.phantoms["phantom_0"].label
    before = dice(infer(server, "phantom_0")[0], truth)
    submit_in_another_order(server, studies, tmp_path)
    request = {
        "device": "cpu", "pretrained": True, "max_epochs": 10, "val_split": 0.2, "multi_gpu": True, "gpus": "all",
        "tracking": "None", "tracking_uri": "", "tracking_experiment_name": "", "run_id": "",
        "model_filename": "model.pt",
    }  # fmt: skip
    server.client.train_start(SEGMENTER, request)
    status = wait_for(lambda: _ended(server), TRAIN_S, "end of the training")
    assert status["status"] == "DONE", "\n".join(status["details"])
    after = dice(infer(server, "phantom_0")[0], truth)
    models = server.app / "model" / SEGMENTER / "models"
    assert (models / "model_previous.pt").is_file()
    assert after > before + 0.05, (before, after)


def _ended(server: Server) -> dict[str, Any] | None:
    status = server.client.train_status()
    return status if status["status"] in ("DONE", "ERROR", "STOPPED") else None
