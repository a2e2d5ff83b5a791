"""LEEP by hand and by its limits; N-LEEP on clusters that are known."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import pytest

from medtl_monai.errors import DataError
from medtl_monai.transfer.scores.leep import leep, nleep


def test_two_by_two_by_hand() -> None:
    # P(0, .) = (.4, .1), P(1, .) = (.2, .3); P(y | z0) = 2/3, 1/3; P(y | z1) = 1/4, 3/4.
    # Row 0: .8 * 2/3 + .2 * 1/4 = 7/12; row 1: .4 * 1/3 + .6 * 3/4 = 7/12.
    assert leep([[0.8, 0.2], [0.4, 0.6]], [0, 1]) == pytest.approx(math.log(7 / 12), abs=1e-12)


def test_certain_sources_give_the_conditional_entropy() -> None:
    rng = np.random.default_rng(0)
    source, labels = rng.integers(0, 4, 500), rng.integers(0, 3, 500)
    labels[source == 2] = 1
    joint = np.zeros((3, 4))
    np.add.at(joint, (labels, source), 1 / 500)
    entropy = -sum(p * math.log(p / joint[:, z].sum()) for (_, z), p in np.ndenumerate(joint) if p > 0)
    assert leep(np.eye(4)[source], labels) == pytest.approx(-entropy, abs=1e-12)


def test_a_source_that_knows_nothing_scores_minus_the_entropy_of_the_labels() -> None:
    labels = np.array([0] * 30 + [1] * 10)
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert leep(np.full((40, 5), 0.2), labels) == pytest.approx(-entropy, abs=1e-12)


def test_never_above_zero_and_zero_only_when_source_classes_settle_the_label() -> None:
    rng = np.random.default_rng(1)
    for _ in range(50):
        probabilities = rng.dirichlet(np.full(6, 0.2), 40)
        assert leep(probabilities, rng.permutation(np.arange(40) % 3)) < 0
    source = np.arange(40) % 4
    assert leep(np.eye(6)[source], source // 2) == pytest.approx(0, abs=1e-12)  # classes 4 and 5 never occur


def test_bound_of_the_paper_by_conditional_entropy_and_confidence() -> None:
    rng = np.random.default_rng(2)
    probabilities, labels = rng.dirichlet(np.full(3, 0.5), 200), rng.permutation(np.arange(200) % 2)
    hard = probabilities.argmax(axis=1)
    entropy_score = leep(np.eye(3)[hard], labels)
    assert leep(probabilities, labels) >= entropy_score + np.log(probabilities.max(axis=1)).mean()


def test_logits_are_refused() -> None:
    with pytest.raises(DataError, match="2 of 2 rows"):
        leep([[3.0, -2.0], [1.0, 0.5]], [0, 1])
    with pytest.raises(DataError, match="1 of 2 rows"):
        leep([[0.5, 0.5], [1.2, -0.2]], [0, 1])


def _clusters(rows: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    cluster = np.arange(rows) % 4
    centres = 20 * np.eye(width)[:4]
    return centres[cluster] + rng.standard_normal((rows, width)), cluster


def test_nleep_on_well_separated_clusters_is_their_conditional_entropy() -> None:
    features, cluster = _clusters(200, 8)
    assert nleep(features, cluster // 2, 4, seed=0) == pytest.approx(0, abs=1e-6)
    labels = np.where(cluster == 3, np.arange(200) // 4 % 2, cluster // 2)  # the last cluster holds both, 25 each
    assert nleep(features, labels, 4, seed=0) == pytest.approx(-0.25 * math.log(2), abs=1e-6)


@pytest.mark.parametrize("covariance", ["diag", "full"])
def test_nleep_repeats_does_not_know_units_and_is_not_above_zero(covariance: Literal["diag", "full"]) -> None:
    rng = np.random.default_rng(4)
    labels = np.arange(150) % 3
    features = rng.standard_normal((150, 10)) + 0.8 * labels[:, None]
    score = nleep(features, labels, 6, seed=1, covariance=covariance)
    assert score < 0
    assert nleep(features, labels, 6, seed=1, covariance=covariance) == score
    assert nleep(1e-5 * features, labels, 6, seed=1, covariance=covariance) == pytest.approx(score, abs=1e-6)
    assert score > nleep(features, rng.permutation(labels), 6, seed=1, covariance=covariance) + 0.2


def test_nleep_refusals() -> None:
    features, labels = _clusters(20, 5)
    with pytest.raises(DataError, match="1 to 10 components"):
        nleep(features, labels, 11, seed=0)
    with pytest.raises(DataError, match="do not vary"):
        nleep(np.ones((8, 3)), [0, 1] * 4, 2, seed=0)
    assert nleep(features[:, :1], labels, 2, seed=0) <= 0
