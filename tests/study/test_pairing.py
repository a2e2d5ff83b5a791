"""Real trainings of the hippocampus bundle on phantoms: what the arms of a seed share, and what is judged."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigWorkflow

from medtl_monai.cli import main
from medtl_monai.data.cases import training_cases
from medtl_monai.data.datalist import make_datalist
from medtl_monai.data.phantom import write_cohort
from medtl_monai.networks.factory import build_network
from medtl_monai.study.cells import TUNING_SEED, Arm, Cell
from medtl_monai.study.design import Design
from medtl_monai.study.rows import CaseRow, Row
from medtl_monai.study.run import run_options
from medtl_monai.study.table import read_table
from medtl_monai.study.training import hash_stages, hash_words, initial_head

SETTINGS = {"network": "unet", "patch_size": [16, 16, 16], "cases_per_epoch": 2}
Tables = tuple[Path, list[Row], list[CaseRow]]


@pytest.fixture(scope="module")
def bundle(project: Path) -> Path:
    return project / "bundles" / "hippocampus_mri_segmentation"


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four phantoms for training, one for validation, two for test."""
    folder = tmp_path_factory.mktemp("cohort")
    write_cohort(folder, range(7), contrast="target")
    names = {0: "background", 1: "anterior", 2: "posterior"}
    make_datalist(folder, validation=0.15, test=0.3, label_names=names).save(folder / "datalist.json")
    return folder


@pytest.fixture
def finished(cohort: Path, bundle: Path, tmp_path: Path, quick_workers: None) -> Tables:
    """A study of two seeds, with a strategy that freezes and one that does not exist for this network."""
    output = tmp_path / "out"
    words = ["study", "--bundle", bundle, "--data", cohort, "--sources", bundle, "--strategies", "linear_probe,bss"]
    words += ["--labelled", "2", "--seeds", "2", "--rates", "1e-3", "--epochs", "1", "--converged", "0"]
    words += ["--set", "network=unet", "patch_size=[16,16,16]", "cases_per_epoch=2", "--output", output]
    assert main([str(word) for word in words]) == 0
    return output, *read_table(output)


def test_the_arms_of_a_seed_share_cases_head_and_batches(finished: Tables, cohort: Path) -> None:
    output, rows, cases = finished
    good = [row for row in rows if row.ok]
    assert len(good) == 2 + 2 * 2
    for seed in (TUNING_SEED, 0, 1):
        pair = [row for row in good if row.seed == seed]
        assert {row.strategy for row in pair} == {"scratch", "linear_probe"}
        for name in ("draw", "head", "batches", "network"):
            assert len({getattr(row, name) for row in pair}) == 1, name
        drawn = [case["case"] for case in training_cases(str(cohort), "training", labelled=2, seed=seed)]
        assert pair[0].draw == hash_words(drawn)
        assert pair[0].head == hash_stages(build_network("unet", out_channels=3, seed=seed))
    assert len({row.head for row in good}) == 3
    (failed,) = (row for row in rows if not row.ok)
    assert failed.strategy == "bss"
    assert "classifier" in failed.error
    trainable = {row.strategy: row.trainable for row in good}
    assert trainable["scratch"] == good[0].parameters
    assert trainable["linear_probe"] == 16 * 3 + 3  # 1x1x1 convolution from 16 channels to 3 classes
    test_names = {case["case"] for case in training_cases(str(cohort), "test")}
    for row in good:
        own = {case.case: case.score for case in cases if case.run == row.run}
        assert row.metric == "val_mean_dice"
        assert (set(own) == test_names) == (row.split == "test")
        assert sum(own.values()) / len(own) == pytest.approx(row.score, rel=1e-5)
    report = (output / "report.html").read_text()
    assert report.count("data:image/png;base64,") == 2
    assert "http://" not in report
    assert not (output / ".work").exists()


def test_the_hash_of_the_head_is_that_of_the_training(cohort: Path, bundle: Path, tmp_path: Path) -> None:
    found = []
    for arm in (Arm("scratch", "scratch"), Arm(str(bundle), "fine_tune")):
        design = Design(
            str(bundle),
            str(cohort),
            "",
            (str(bundle),),
            ("fine_tune",),
            (2,),
            1,
            (1e-3,),
            1,
            SETTINGS,
            converged_seeds=0,
        )
        options = run_options(design, Cell("comparison", arm, 2, 5, 1e-3, 1), tmp_path)
        config = str(bundle / "configs" / "train.json")
        workflow = ConfigWorkflow(config_file=config, logging_file=False, workflow_type="train", **options)
        head = initial_head(workflow, 5)
        workflow.initialize()
        network = workflow.parser.get_parsed_content("network_def")
        found.append((head, hash_stages(network)))
    scratch, source = found
    assert scratch[0] == source[0] == scratch[1]
    assert source[1] != source[0]  # this source fills the head too: the hash is of the head before that


def test_one_bit_changes_the_hash_of_the_head() -> None:
    network = build_network("unet", out_channels=3, seed=0)
    before = hash_stages(network)
    value = next(network.stage_parameters(network.head))
    with torch.no_grad():
        value.view(-1)[0] = torch.nextafter(value.view(-1)[0], torch.tensor(9.0))
    assert hash_stages(network) != before


def test_each_run_is_judged_once_by_its_final_weights(bundle: Path) -> None:
    design = Design(
        str(bundle), "data", "split_{seed}.json", ("s",), ("fine_tune",), (4,), 2, (1e-3,), 7, converged_seeds=0
    )
    arm = Arm("s", "fine_tune")
    test = run_options(design, Cell("comparison", arm, 4, 1, 1e-3, 7), Path("out"))
    assert (test["val_interval"], test["val_at_start"], test["epochs"]) == (7, False, 7)
    assert test["validate#dataset#data#split"] == "test"
    assert test["datalist"] == "split_1.json"
    tuning = run_options(design, Cell("tuning", arm, 4, TUNING_SEED, 1e-3, 7), Path("out"))
    assert tuning["validate#dataset#data#split"] == "validation"
    assert tuning["datalist"] == "split_10000.json"
