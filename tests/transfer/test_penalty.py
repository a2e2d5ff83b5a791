"""The penalty of a linear head, against scikit-learn and on data where a weak one is known to fail."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from torch import nn

from medtl_monai.networks.staged import StagedNetwork
from medtl_monai.transfer.examples import Example
from medtl_monai.transfer.head_fit import HeadFit
from medtl_monai.transfer.penalty import PENALTIES, UNCHOSEN, Penalty, choose_penalty
from medtl_monai.transfer.probing import probe_to_convergence

WIDTH = 200


class Pooled(StagedNetwork):
    """A body that passes its image on as a vector, and a linear head."""

    architecture = "pooled"

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body, self.last = nn.Flatten(), nn.Linear(WIDTH, 2)
        self.stages = {"body": ("body",), "head": ("last",)}

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.last(self.body(image))


def weak_signal(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Class 1 is 0.12 standard deviations higher in every one of 200 features: each of them hardly tells anything."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 2
    return torch.randn(count, WIDTH, generator=generator) + 0.12 * labels[:, None], labels


def examples_of(features: torch.Tensor, labels: torch.Tensor) -> list[Example]:
    rows = zip(features, labels, strict=True)
    return [Example(f"c{i}", f"p{i}", row.reshape(1, 1, -1), label[None]) for i, (row, label) in enumerate(rows)]


def fitted(features: torch.Tensor, labels: torch.Tensor) -> tuple[StagedNetwork, HeadFit]:
    network = Pooled()
    return network, probe_to_convergence(network, examples_of(features, labels), nn.CrossEntropyLoss())


def held_out_loss(network: StagedNetwork) -> float:
    features, labels = weak_signal(1000, seed=9)
    with torch.no_grad():
        return float(nn.CrossEntropyLoss()(network(features.reshape(-1, 1, WIDTH)), labels))


def test_the_chosen_penalty_beats_the_weakest_on_other_patients(monkeypatch: pytest.MonkeyPatch) -> None:
    network, fit = fitted(*weak_signal(32, seed=1))
    monkeypatch.setattr("medtl_monai.transfer.probing.choose_penalty", lambda *_: Penalty(min(PENALTIES), "planted"))
    weak, _ = fitted(*weak_signal(32, seed=1))
    assert "chosen in 3 folds of patients" in fit.method
    assert held_out_loss(network) < 0.69 < held_out_loss(weak)
    assert network.last.weight.norm() < weak.last.weight.norm() / 2  # type: ignore[union-attr,operator]


@pytest.mark.parametrize("count", [24, 60])
def test_the_head_is_scikit_learns_with_the_penalty_as_its_c(count: int) -> None:
    """C = 1 / (N penalty) of one decision value; its two halves as two logits need half the squared weights."""
    features, labels = weak_signal(count, seed=2)
    network, fit = fitted(features, labels)
    penalty = float(fit.method.split("penalty ")[1].split(" ")[0])
    scaled = ((features - features.mean(0)) / features.std(0, correction=0)).numpy()
    model = LogisticRegression(C=2 / (count * penalty), tol=1e-10, max_iter=10000).fit(scaled, labels.numpy())
    with torch.no_grad():
        logits = network(features.reshape(-1, 1, WIDTH))
    assert (logits[:, 1] - logits[:, 0]).numpy() == pytest.approx(model.decision_function(scaled), abs=0.02)


def test_the_lowest_mean_loss_wins_and_of_equals_the_strongest() -> None:
    labels, patients = [0, 1] * 6, [f"p{i}" for i in range(12)]
    assert choose_penalty(labels, patients, lambda value, *_: abs(value - 0.01), 0).value == 0.01
    assert choose_penalty(labels, patients, lambda *_: 1.0, 0).value == max(PENALTIES)


def test_no_patient_is_on_both_sides() -> None:
    labels, patients = [0, 0, 1, 1] * 4, [f"p{i // 2}" for i in range(16)]

    def watched(_: float, train: np.ndarray, test: np.ndarray) -> float:
        assert not {patients[i] for i in train} & {patients[i] for i in test}
        return 0.0

    assert choose_penalty(labels, patients, watched, 0).reason == "chosen in 3 folds of patients"


def test_two_cases_are_enough_and_the_method_says_what_was_done() -> None:
    network, fit = fitted(*weak_signal(2, seed=3))
    assert f"penalty {UNCHOSEN:g} (too few patients to choose it)" in fit.method
    assert torch.isfinite(network.last.weight).all()  # type: ignore[union-attr,arg-type]


def test_ranking_of_other_patients_is_not_worse_than_scikit_learns_own_choice() -> None:
    """scikit-learn's cross-validated C on the same cases, judged on 1000 others."""
    from sklearn.linear_model import LogisticRegressionCV

    features, labels = weak_signal(48, seed=4)
    network, _ = fitted(features, labels)
    others, truth = weak_signal(1000, seed=9)
    with torch.no_grad():
        logits = network(others.reshape(-1, 1, WIDTH))
    reference = LogisticRegressionCV(Cs=10, cv=3, scoring="neg_log_loss", max_iter=5000, use_legacy_attributes=False)
    reference.fit(features.numpy(), labels.numpy())
    own = roc_auc_score(truth, (logits[:, 1] - logits[:, 0]).numpy())
    assert own > roc_auc_score(truth, reference.decision_function(others.numpy())) - 0.02
