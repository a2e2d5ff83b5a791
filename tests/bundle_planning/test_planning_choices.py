"""Every decision against what the rule says, worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from planning_data import facts, fingerprint, source

from medtl_monai.bundle.planning.case_facts import PERCENTILES
from medtl_monai.bundle.planning.label_facts import LabelFacts
from medtl_monai.bundle.planning.options import PlanOptions
from medtl_monai.bundle.planning.plan import make_plan
from medtl_monai.bundle.planning.source_choice import choose_source
from medtl_monai.bundle.planning.source_facts import FROM_SCRATCH, find_sources
from medtl_monai.bundle.planning.training import choose_epochs, choose_loss, choose_strategy
from medtl_monai.bundle.planning.words import sided_names, window_words
from medtl_monai.errors import ConfigError, WeightsError
from medtl_monai.networks.factory import NETWORKS, network_name
from medtl_monai.transforms.ct import CT_WINDOWS

MED = source("medicalnet_resnet18_23datasets", 3, "23 CT and MR data sets", {3: "unet_medicalnet_resnet18"})
BRAIN = source("highres3dnet_gif", 3, "543 T1-weighted brain MR images (ADNI)", {3: "highres3dnet"})
PHOTOS = source("imagenet_resnet18", 2, "ImageNet", {2: "unet_resnet18", 3: "unet_resnet18_i3d"})
BANNED = source("imagenet_resnet34", 2, "ImageNet", {2: "unet_resnet34"}, commercial=False, licence="CC-BY-NC-4.0")
ALL = (PHOTOS, BRAIN, MED, BANNED)


def chosen(task: str, dims: int, modality: str, *texts: str, **options: object) -> str:
    return choose_source(task, dims, modality, texts, PlanOptions(**{"sources": ALL, **options})).value  # type: ignore[arg-type]


def test_the_source_by_rule() -> None:
    assert chosen("segmentation", 3, "ct", "liver") == MED.name
    assert chosen("segmentation", 3, "mri", "prostate") == MED.name
    assert chosen("segmentation", 3, "mri", "hippocampus") == BRAIN.name
    assert chosen("segmentation", 3, "mri", "prostate", sources=(BRAIN, PHOTOS)) == BRAIN.name
    assert chosen("segmentation", 3, "ct", "brain", sources=(BRAIN, PHOTOS)) == "scratch"
    assert chosen("classification", 3, "ct", "adrenal", sources=(BRAIN, PHOTOS)) == PHOTOS.name
    assert chosen("classification", 2, "picture", sources=(BANNED,)) == BANNED.name
    assert chosen("classification", 2, "picture", sources=(BANNED,), commercial=True) == "scratch"


def test_a_better_source_that_is_absent_is_told() -> None:
    away = source(MED.name, 3, MED.training_data, MED.networks, local=False, absent="not here: fetch it")
    made = choose_source("segmentation", 3, "mri", ["prostate"], PlanOptions(sources=(BRAIN, away)))
    assert made.value == BRAIN.name
    assert f"before it comes {MED.name}, not here: fetch it" in made.reason
    made = choose_source("segmentation", 3, "ct", ["liver"], PlanOptions(sources=(BRAIN, away)))
    assert made.value == "scratch"
    assert "none is on this machine, so training starts from random weights" in made.reason
    assert "fetch it" in made.reason


def test_a_named_source_is_taken_or_refused_never_replaced() -> None:
    assert chosen("segmentation", 3, "ct", source=PHOTOS.name) == PHOTOS.name
    with pytest.raises(ConfigError, match="does not suit 2D"):
        chosen("segmentation", 2, "ct", source=MED.name)
    with pytest.raises(WeightsError, match="not cleared for commercial use"):
        chosen("segmentation", 2, "ct", source=BANNED.name, commercial=True)
    away = source("x", 2, "", {2: "unet_resnet18"}, local=False, absent="not here")
    with pytest.raises(WeightsError, match="not here"):
        chosen("segmentation", 2, "ct", source="x", sources=(away,))


def test_the_registry_as_facts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDTL_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("MEDTL_OFFLINE", "1")
    (tmp_path / "resnet_10.pth").write_bytes(b"cut short")
    rows = {row.name: row for row in find_sources("segmentation")}
    assert not any(row.local or row.may_download for row in rows.values())
    assert "are not the published file" in rows["medicalnet_resnet10"].absent
    assert rows["medicalnet_resnet18"].networks == {3: "unet_medicalnet_resnet18"}
    assert rows["imagenet_resnet18"].networks == {2: "unet_resnet18", 3: "unet_resnet18_i3d"}
    assert all(network in NETWORKS for row in rows.values() for network in row.networks.values())
    assert find_sources("segmentation", "scratch") == ()
    assert not find_sources("segmentation", str(tmp_path / "none.pt"))[0].local
    for (task, dims), name in FROM_SCRATCH.items():
        assert (network_name(name).task, network_name(name).spatial_dims) == (task, dims)


def test_the_plan_is_deterministic_json_and_every_choice_has_a_reason() -> None:
    data = fingerprint([facts(f"c{n}", (60, 70, 80)) for n in range(20)])
    options = PlanOptions(name="prostate", modality="mri", sources=ALL)
    plan = make_plan(data, options)
    text = json.dumps(plan.as_dict(), allow_nan=False)
    assert text == json.dumps(make_plan(data, options).as_dict(), allow_nan=False)
    assert all(choice.reason for choice in plan.choices().values())
    values = {name: choice.value for name, choice in plan.choices().items()}
    assert (values["network"], values["orientation"]) == ("unet_medicalnet_resnet18", "SAR")
    assert values["patch_size"] == [80, 64, 56]  # superior, anterior, right: multiples of 16 from 64 on, of 8 below
    assert values["intensity"] == {"kind": "robust_zscore", "then": "robust_zscore"}
    assert values["flips"] == [2]  # the left-right axis is the last one of SAR
    assert values["strategy"] == "lp_ft"  # 20 cases less 4 and 4


def ct_facts(case: str, low: float, high: float, **changes: object):
    values = {key: low + (high - low) * (key - 0.5) / 99 for key in PERCENTILES}
    return facts(case, hu_like=True, low=-1000.0, foreground=values, **changes)


def test_ct_intensities() -> None:
    def intensity(name: str, labels: dict[int, str], low: float = 0, high: float = 120) -> dict:
        data = fingerprint([ct_facts(f"c{n}", low, high) for n in range(6)], names={0: "background", **labels})
        return make_plan(data, PlanOptions(name=name)).intensity.value

    liver = intensity("ct_task", {1: "liver"})
    assert liver == {"kind": "ct_window", "window": "abdomen", "low": -140, "high": 260, "then": "zscore"}
    assert intensity("lungs", {1: "object"}, -900, -300)["window"] == "lung"
    assert intensity("lungs", {1: "object"}, 100, 900)["kind"] == "ct_range"  # the lung window ends at 150 HU
    several = intensity("thorax", {1: "liver", 2: "lung"}, -10, 130)
    assert several == {"kind": "ct_range", "low": -10, "high": 130, "then": "zscore"}
    assert intensity("task", {1: "object"}, -10, 130)["kind"] == "ct_range"


def test_mr_background_decides_where_the_zscore_is_taken() -> None:
    for zeros, nonzero in ((0.0, False), (0.4, True)):
        data = fingerprint([facts(f"c{n}", zeros=zeros) for n in range(5)])
        value = make_plan(data, PlanOptions(modality="mri", source="scratch")).intensity.value
        assert value == {"kind": "zscore", "nonzero": nonzero, "then": "zscore"}


def test_words() -> None:
    assert set(window_words(["lung liver rib brain stroke subdural aorta"])) == set(CT_WINDOWS)
    assert window_words(["hippocampus", "object"]) == {}
    assert sided_names({0: "background", 1: "left_kidney", 2: "spleen"}) == ["left_kidney"]
    assert sided_names({1: "kidney_l", 2: "kidney_r", 3: "vertebra_l"}) == ["kidney_l", "kidney_r"]
    assert sided_names({1: "cleft", 2: "bright spot"}) == []


def test_few_cases_and_many() -> None:
    assert [choose_strategy("x", n).value for n in (4, 16, 17, 500)] == ["lp_ft", "lp_ft", "fine_tune", "fine_tune"]
    assert choose_strategy("scratch", 4).value == "scratch"
    assert "+0.044" in choose_strategy("x", 4).reason


def test_epochs_from_steps() -> None:
    epochs, cases = choose_epochs("segmentation", 100, 2, PlanOptions(steps=1000))  # 50 steps per epoch
    assert (epochs.value, cases.value) == (20, None)
    epochs, cases = choose_epochs("segmentation", 4, 2, PlanOptions(steps=1000))  # 20 steps of 2 cases instead of 2
    assert (epochs.value, cases.value) == (50, 40)


def test_class_weights() -> None:
    def loss(counts: dict[int, int]) -> dict:
        return choose_loss(fingerprint([], task="classification", class_cases=counts)).value

    assert loss({0: 50, 1: 60})["class_weights"] is None
    assert loss({0: 90, 1: 10})["class_weights"] == {"0": 0.556, "1": 5.0}  # N / (K n): 100 / 180, 100 / 20


def test_label_weights_and_crops() -> None:
    labels = {1: LabelFacts(10_000, 10.0, 1, 10.0, 10.0), 2: LabelFacts(100, 0.1, 1, 0.1, 0.1)}
    data = fingerprint([facts("a", (100, 100, 100), labels=labels)], names={0: "background", 1: "organ", 2: "lesion"})
    value = choose_loss(data).value  # foreground 1.01 %; weights 1/100 and 1/10 over their mean 0.055
    assert (value["pos"], value["neg"]) == (2, 1)
    assert value["class_weights"] == {"0": 1.0, "1": 0.182, "2": 1.818}


def test_labels_with_gaps_are_numbered_anew() -> None:
    names = {0: "background", 5: "a", 7: "b"}
    plan = make_plan(fingerprint([facts(f"c{n}") for n in range(5)], names=names), PlanOptions(modality="mri"))
    assert plan.labels.value["network"] == {"0": 0, "5": 1, "7": 2}


@pytest.mark.parametrize("bad", [{"modality": "pet"}, {"memory_gb": 0.1}, {"steps": 0}, {"test": 0.6}])
def test_options_that_make_no_sense(bad: dict) -> None:
    with pytest.raises(ConfigError):
        PlanOptions(**bad)
