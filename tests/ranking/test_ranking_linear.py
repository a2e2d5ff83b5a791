"""The probe's own solver against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from medtl_monai.ranking.linear import Space, balanced_weights, fit_path, log_probabilities


@pytest.mark.parametrize(("rows", "width", "classes"), [(60, 8, 3), (30, 90, 3), (40, 100, 2), (80, 5, 2)])
def test_as_scikit_learn(rows: int, width: int, classes: int) -> None:
    rng = np.random.default_rng(rows)
    labels = np.concatenate([np.arange(classes), rng.choice(classes, rows - classes, p=[0.6, 0.4, 0.0][:classes])])
    features = rng.normal(2.0, 3.0, (rows, width)) + labels[:, None]
    features[:, 0] = 7.0  # constant
    others = rng.normal(2.0, 3.0, (20, width))
    scaler, space = StandardScaler().fit(features), Space.of(features)
    strengths = (1e-3, 1e-1, 1.0)
    solutions = fit_path(space(features), labels, classes, strengths)
    for strength, solution in zip(strengths, solutions, strict=True):
        # Two classes: scikit-learn penalises the one difference of weights, which is half of what two weights cost.
        model = LogisticRegression(
            C=strength * (2 if classes == 2 else 1), class_weight="balanced", tol=1e-8, max_iter=9999
        )
        wanted = model.fit(scaler.transform(features), labels).predict_proba(scaler.transform(others))
        np.testing.assert_allclose(np.exp(log_probabilities(space(others), solution)), wanted, atol=5e-3)


def test_the_span_of_the_rows_is_enough() -> None:
    features = np.random.default_rng(0).normal(size=(10, 50))
    space = Space.of(features)
    rows = (features - features.mean(axis=0)) / features.std(axis=0)
    assert space(features).shape == (10, 10)
    np.testing.assert_allclose(space(features) @ space(features).T, rows @ rows.T, atol=1e-9)


def test_balanced_weights() -> None:
    weights = balanced_weights(np.array([3, 3, 3, 5]))
    assert weights.mean() == 1.0
    assert weights[:3].sum() == pytest.approx(weights[3])
