"""The demo's data: phantoms, and the Decathlon task from a folder or from a (local) server."""

from __future__ import annotations

import hashlib
import json
import tarfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pydicom
import pytest
from monai.apps import DecathlonDataset

from medtl_monai.data.datalist import Datalist
from medtl_monai.data.phantom import write_cohort
from medtl_monai.demo.cohorts import MSD_TASK, hippocampus_data, phantom_data
from medtl_monai.errors import ConfigError


def test_phantom_cohorts_share_no_anatomy_and_come_with_a_dicom_series(tmp_path: Path) -> None:
    data = phantom_data(tmp_path)
    target = Datalist.load(data.datalist)
    assert [len(target.splits[name]) for name in ("training", "validation", "test")] == [4, 2, 8]
    assert data.source_cohort is not None
    source_names = {path.name.split("_")[1] for path in (data.source_cohort / "images").iterdir()}
    target_names = {path.name.split("_")[1] for path in (data.target / "images").iterdir()}
    assert not source_names & target_names
    slices = [pydicom.dcmread(path) for path in data.scan.iterdir()]
    assert {ds.SOPClassUID.name for ds in slices} == {"MR Image Storage"}
    assert data.scan_truth is not None
    assert set(np.unique(data.scan_truth)) == {0, 1, 2}


def test_hippocampus_comes_from_the_named_folder(
    real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDTL_DATA", str(real_data))
    data = hippocampus_data(tmp_path / "data", lambda text: None)
    assert data.target == real_data / "hippocampus_mri"
    assert data.source == "highres3dnet_gif"
    assert data.scan == real_data / "brain_mr_dicom" / "hippocampus_crop"
    assert len(Datalist.load(data.datalist).splits["test"]) == 12


def test_a_folder_without_the_data_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDTL_DATA", str(tmp_path))
    with pytest.raises(ConfigError, match="MEDTL_DATA holds no hippocampus data"):
        hippocampus_data(tmp_path / "data", lambda text: None)


def test_hippocampus_is_downloaded_with_monais_downloader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, served = tmp_path / "made", tmp_path / "served"
    write_cohort(made, range(12), contrast="target", prefix="hippocampus")
    served.mkdir()
    archive = served / f"{MSD_TASK}.tar"
    (made / "._hippocampus_0001.nii.gz").write_bytes(b"Mac OS X attributes, as in the published archive")
    labels = {"0": "background", "1": "Anterior", "2": "Posterior"}
    (made / "dataset.json").write_text(json.dumps({"name": "Hippocampus", "labels": labels}))
    with tarfile.open(archive, "w") as tar:
        tar.add(made / "dataset.json", f"{MSD_TASK}/dataset.json")
        tar.add(made / "images", f"{MSD_TASK}/imagesTr")
        tar.add(made / "labels", f"{MSD_TASK}/labelsTr")
        tar.add(made / "._hippocampus_0001.nii.gz", f"{MSD_TASK}/imagesTr/._hippocampus_0001.nii.gz")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(served)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.delenv("MEDTL_DATA", raising=False)
    url = f"http://127.0.0.1:{server.server_address[1]}/{archive.name}"
    monkeypatch.setitem(DecathlonDataset.resource, MSD_TASK, url)
    monkeypatch.setitem(DecathlonDataset.md5, MSD_TASK, hashlib.md5(archive.read_bytes()).hexdigest())
    said: list[str] = []
    try:
        data = hippocampus_data(tmp_path / "data", said.append)
    finally:
        server.shutdown()
    assert "downloading" in said[0]
    assert sum(len(cases) for cases in Datalist.load(data.datalist).splits.values()) <= 12
    assert data.scan.name.endswith(".nii.gz")
