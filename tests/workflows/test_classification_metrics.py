"""What evaluation and inference of a classifier write."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch
from ignite.engine import Engine

from medtl_monai.errors import ConfigError, DataError
from medtl_monai.workflows.classification_metrics import ClassMetrics, ClassScore, summarise_classes
from medtl_monai.workflows.classification_predictions import ClassPredictions

NAMES = {"0": "normal", "1": "haemorrhage"}
TRUTH = [0, 0, 0, 1, 1]
SCORES = [0.1, 0.7, 0.4, 0.6, 0.45]  # of haemorrhage


def run(handler: ClassMetrics | ClassPredictions, scores: list[list[float]]) -> None:
    """An engine that yields one batch of decollated items, as MONAI's evaluators do."""
    batch = [{"case": f"c{i}", "patient": f"p{i}", "label": torch.tensor(t)} for i, t in enumerate(TRUTH)]

    def step(engine: Engine, items: object) -> list[dict[str, torch.Tensor]]:
        engine.state.batch = batch
        return [{"pred": torch.tensor(values)} for values in scores]

    engine = Engine(step)
    handler.attach(engine)
    engine.run([0])


def both(scores: list[float]) -> list[list[float]]:
    return [[1 - score, score] for score in scores]


def test_evaluation_files(tmp_path: Path) -> None:
    run(ClassMetrics(str(tmp_path / "eval"), NAMES), both(SCORES))
    rows = list(csv.DictReader((tmp_path / "eval" / "metrics.csv").open()))
    assert [row["case"] for row in rows] == ["c0", "c1", "c2", "c3", "c4"]
    assert rows[1] == {
        "case": "c1",
        "patient": "p1",
        "class": "normal",
        "predicted": "haemorrhage",
        "probability normal": "0.300000",
        "probability haemorrhage": "0.700000",
    }
    summary = json.loads((tmp_path / "eval" / "metrics.json").read_text())
    assert summary["positive"] == "haemorrhage"
    assert summary["auc"]["value"] == pytest.approx(4 / 6)  # of 6 pairs, 0.6 and 0.45 each lose to 0.7
    assert summary["accuracy"]["value"] == pytest.approx(3 / 5)
    assert summary["sensitivity"]["value"] == pytest.approx(1 / 2)
    assert summary["specificity"]["value"] == pytest.approx(2 / 3)
    assert summary["specificity"]["cases"] == 3


def test_one_class_against_the_others() -> None:
    scores = [ClassScore(str(i), str(i), i % 3, tuple(float(j == i % 3) for j in range(3))) for i in range(9)]
    summary = summarise_classes(scores, positive=2)
    assert [summary[name]["value"] for name in summary] == [1.0, 1.0, 1.0, 1.0]
    assert summary["sensitivity"]["cases"] == 3


def test_outputs_that_are_no_probabilities(tmp_path: Path) -> None:
    for handler in (ClassMetrics(str(tmp_path), NAMES), ClassPredictions(str(tmp_path), NAMES)):
        for wrong in ([[1.0, 2.0]] * 5, [[0.2, 0.3, 0.5]] * 5):
            with pytest.raises(DataError, match="case c0"):
                run(handler, wrong)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ConfigError):
        ClassMetrics(str(tmp_path), {"0": "a", "2": "b"})
    with pytest.raises(ConfigError, match="no such class"):
        ClassMetrics(str(tmp_path), NAMES, positive=2)


def test_prediction_files(tmp_path: Path) -> None:
    run(ClassPredictions(str(tmp_path), NAMES), both(SCORES))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["predictions.csv", "predictions.json"]
    content = json.loads((tmp_path / "predictions.json").read_text())
    assert content["classes"] == NAMES
    rows = list(csv.DictReader((tmp_path / "predictions.csv").open()))
    for row, prediction, score in zip(rows, content["predictions"], SCORES, strict=True):
        assert row["case"] == prediction["case"]
        assert prediction["probabilities"]["haemorrhage"] == pytest.approx(score)
        assert float(row["probability haemorrhage"]) == pytest.approx(score)
        assert row["predicted"] == prediction["predicted"] == ("haemorrhage" if score > 0.5 else "normal")
