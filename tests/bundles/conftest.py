"""A small synthetic cohort, a DICOM series, a copy of the bundle, and the commands to run it with."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from bundle_commands import QUICK, Finished, Running, start_fork, words
from monai.bundle import ConfigWorkflow

from medtl_monai.data.datalist import make_datalist
from medtl_monai.data.phantom import make_phantom, write_cohort, write_dicom_series

LABELS = {0: "background", 1: "anterior hippocampus", 2: "posterior hippocampus"}
Command = Callable[..., Finished]


@pytest.fixture(scope="session")
def bundle(project: Path) -> Path:
    """The bundle in the project; nothing is written there."""
    return project / "bundles" / "hippocampus_mri_segmentation"


@pytest.fixture(scope="session")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven phantoms with a datalist: four for training, two for validation, one for test."""
    folder = tmp_path_factory.mktemp("cohort")
    write_cohort(folder, range(7), contrast="target")
    make_datalist(folder, validation=0.3, test=0.15, label_names=LABELS).save(folder / "datalist.json")
    return folder


@pytest.fixture(scope="session")
def series(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One phantom as a DICOM series, in a folder named like a UID."""
    folder = tmp_path_factory.mktemp("dicom") / "1.2.826.0.1"
    write_dicom_series(make_phantom(50), folder, seed=50)
    return folder


@pytest.fixture(scope="session")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the commands' output goes."""
    return tmp_path_factory.mktemp("logs")


@pytest.fixture(scope="session")
def start(logs: Path, bundle: Path) -> Callable[..., Running]:
    """``start(verb, folder=..., environment=..., **options)`` starts one bundle command; default folder: the bundle."""

    def run(
        verb: str, *, folder: Path | None = None, environment: dict[str, str] | None = None, **options: object
    ) -> Running:
        return start_fork(words(verb, options), folder or bundle, logs, environment or {})

    return run


@pytest.fixture(scope="session")
def command(start: Callable[..., Running]) -> Command:
    """As ``start``, and waits for the end."""

    def run(verb: str, **options: object) -> Finished:
        return start(verb, **options).finish()

    return run


@pytest.fixture(scope="session")
def train(command: Command, cohort: Path) -> Command:
    """``train(output_dir, **knobs)``: a very short training through the command line."""

    def run(output_dir: Path, **knobs: object) -> Finished:
        options = {"config_file": "configs/train.json", "dataset_dir": cohort, "output_dir": output_dir}
        return command("run", **{**options, **QUICK, **knobs})

    return run


@pytest.fixture
def workflow(bundle: Path, cohort: Path) -> Callable[..., ConfigWorkflow]:
    """``workflow("train", **overrides)``: the bundle's configuration in this process, initialised, not run."""

    def make(kind: str, **overrides: object) -> ConfigWorkflow:
        configs = bundle / "configs"
        overrides = {"bundle_root": str(bundle), "dataset_dir": str(cohort), **overrides}
        made = ConfigWorkflow(
            config_file=str(configs / f"{kind}.json"),
            meta_file=str(configs / "metadata.json"),
            logging_file=False,
            workflow_type=kind,
            **overrides,
        )
        made.initialize()
        return made

    return make


@pytest.fixture
def bundle_copy(bundle: Path, tmp_path: Path) -> Path:
    """A copy of the bundle that a test may write to."""
    return Path(shutil.copytree(bundle, tmp_path / bundle.name))


@pytest.fixture(scope="session")
def trained(train: Command, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """One training of two epochs over the command line: ``folder`` and ``output``."""
    folder = tmp_path_factory.mktemp("trained")
    finished = train(folder, epochs=2)
    assert finished.code == 0, finished.output[-3000:]
    return SimpleNamespace(folder=folder, output=finished.output)
