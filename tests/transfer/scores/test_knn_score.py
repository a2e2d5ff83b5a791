"""Nearest neighbours: by hand, by brute force, and never of the same patient."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from medtl_monai.errors import ConfigError, DataError
from medtl_monai.transfer.scores.neighbours import knn_accuracy


def test_four_directions_by_hand() -> None:
    features = [[1.0, 0.0], [1.0, 0.1], [0.0, 2.0], [0.1, 3.0]]  # lengths do not count
    assert knn_accuracy(features, [0, 0, 1, 1], [0, 1, 2, 3], k=1) == 1.0
    assert knn_accuracy(features, [0, 0, 1, 1], [0, 0, 1, 1], k=1) == 0.0  # the only alike row is of the same patient


def _brute(features: np.ndarray, labels: np.ndarray, groups: np.ndarray, k: int) -> float:
    right = 0
    for row in range(len(features)):
        cosines = [
            (features[row] @ other / np.linalg.norm(features[row]) / np.linalg.norm(other), labels[index])
            for index, other in enumerate(features)
            if groups[index] != groups[row]
        ]
        votes: Counter[int] = Counter()
        totals: Counter[int] = Counter()
        for cosine, label in sorted(cosines, reverse=True)[:k]:
            votes[label] += 1
            totals[label] += cosine
        right += max(votes, key=lambda label: (votes[label], totals[label])) == labels[row]
    return right / len(features)


@pytest.mark.parametrize("k", [1, 4, 9])
def test_brute_force(k: int) -> None:
    rng = np.random.default_rng(0)
    labels, groups = np.arange(60) % 3, np.arange(60) // 4
    features = rng.standard_normal((60, 5)) + 0.7 * np.eye(5)[labels]
    assert knn_accuracy(features, labels, groups, k) == pytest.approx(_brute(features, labels, groups, k))


def test_features_that_only_name_the_patient_do_not_help() -> None:
    rng = np.random.default_rng(1)
    groups = np.repeat(np.arange(60), 5)
    labels = rng.permutation(np.arange(60) % 2)[groups]
    features = rng.standard_normal((60, 20))[groups]  # one vector, copied to every row of its patient
    assert knn_accuracy(features, labels, groups, k=3) < 0.7
    assert knn_accuracy(features, labels, np.arange(300), k=3) == 1.0  # what ignoring the patients would report


def test_refusals() -> None:
    features = np.eye(4)
    with pytest.raises(ConfigError, match="1 to 2"):
        knn_accuracy(features, [0, 1, 0, 1], ["a", "a", "b", "c"], k=3)
    features[2] = 0
    with pytest.raises(DataError, match="1 of 4 rows all zero"):
        knn_accuracy(features, [0, 1, 0, 1], ["a", "b", "c", "d"], k=1)
    with pytest.raises(DataError, match="groups of shape"):
        knn_accuracy(np.eye(4), [0, 1, 0, 1], ["a", "b"], k=1)
