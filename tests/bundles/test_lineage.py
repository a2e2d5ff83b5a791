"""A bundle whose model descends from non-commercial weights stays so, however often it is trained further."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigWorkflow

from medtl_monai.data.datalist import Datalist
from medtl_monai.errors import WeightsError
from medtl_monai.weights.licence import Lineage, check_commercial, lineage_of_file, record_lineage
from medtl_monai.weights.read import read_state

ANCESTOR = Lineage(source="a study's network", licence="CC-BY-NC-4.0", commercial_use=False, sha256="0" * 64)


def train_on(bundle: Path, cohort: Path, *, load_model: bool, validate: bool) -> None:
    """Train from ``--source scratch``; with ``load_model`` a loader then fills the network, as MONAI Label has it."""
    splits = Datalist.load(cohort / "datalist.json").splits
    rows = [{"image": str(cohort / case.image), "label": str(cohort / case.label)} for case in splits["training"]]
    train = json.loads((bundle / "configs" / "train.json").read_text())["train"]
    loader = {
        "_target_": "CheckpointLoader",
        "load_path": str(bundle / "models" / "model.pt"),
        "load_dict": {"model": "$@network"},
    }
    workflow = ConfigWorkflow(
        str(bundle / "configs" / "train.json"),
        meta_file=str(bundle / "configs" / "metadata.json"),
        logging_file=False,
        workflow_type="train",
        **{
            "bundle_root": str(bundle),
            "device": "cpu",
            "source": "scratch",
            "patch_size": [16, 16, 16],
            "train#dataset#data": rows[:3],
            "validate#dataset#data": rows[3:4] if validate else [],
            "train#trainer#max_epochs": 1,
            "train#handlers": [loader, *train["handlers"]] if load_model else train["handlers"],
        },
    )
    workflow.initialize()
    workflow.run()
    workflow.finalize()


def recorded(bundle: Path) -> list[object]:
    """``weights_lineage`` beside ``model.pt``, and in the bundle's metadata."""
    places = (bundle / "models" / "model.pt.lineage.json", bundle / "configs" / "metadata.json")
    return [json.loads(place.read_text())["weights_lineage"] for place in places]


@pytest.fixture
def tainted(bundle_copy: Path) -> Path:
    """A copy of the bundle whose present model is recorded as non-commercial, in both places."""
    record_lineage(bundle_copy / "models" / "model.pt", [ANCESTOR])
    assert recorded(bundle_copy) == [[ANCESTOR.as_dict()]] * 2
    return bundle_copy


@pytest.mark.parametrize("validate", [True, False])
def test_training_on_from_the_present_model_keeps_its_lineage(tainted: Path, cohort: Path, validate: bool) -> None:
    model = tainted / "models" / "model.pt"
    first = read_state(model)
    for _ in range(2):
        train_on(tainted, cohort, load_model=True, validate=validate)
        assert recorded(tainted) == [[ANCESTOR.as_dict()]] * 2
        assert lineage_of_file(model.with_name("model_previous.pt")) == (ANCESTOR,)
        with pytest.raises(WeightsError, match=r"a study's network \(CC-BY-NC-4.0, non-commercial only\)"):
            check_commercial(lineage_of_file(model), commercial=True)
    if not validate:  # what was trained last is kept: it is a new model, and still of that descent
        last = read_state(model)
        assert list(last) == list(first)
        assert not all(torch.equal(last[name], first[name]) for name in first)


def test_a_new_start_from_random_weights_is_free_of_it(tainted: Path, cohort: Path) -> None:
    """The other side: nothing of the model that was there is in the new one; it is kept aside with its record."""
    train_on(tainted, cohort, load_model=False, validate=False)
    assert recorded(tainted) == [[], []]
    assert lineage_of_file(tainted / "models" / "model_previous.pt") == (ANCESTOR,)
