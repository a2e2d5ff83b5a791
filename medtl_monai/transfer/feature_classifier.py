"""A classical linear classifier of frozen features as a network's head: ``features_logistic``, ``features_svm``."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, log_loss
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from medtl_monai.errors import DataError
from medtl_monai.lookup import look_up
from medtl_monai.networks.staged import StagedNetwork
from medtl_monai.networks.transfer_dense import TransferDense
from medtl_monai.transfer.classical import INNER_FOLDS, STRENGTHS
from medtl_monai.transfer.examples import Example, Kept, body_frozen, kept_features
from medtl_monai.transfer.features import dense_features
from medtl_monai.transfer.linear_head import has_linear_head, no_linear_head, set_linear_head
from medtl_monai.transfer.probing import HeadFit, Loss, mean_loss
from medtl_monai.transfer.scores.probe import grouped_folds

VOXELS = 4000  # in all, shared evenly by cases and classes
Model: TypeAlias = LogisticRegression | LinearSVC


@dataclass(frozen=True)
class Rows:
    """What the classifier sees.

    Attributes:
        features: ``(N, F)``.
        labels: ``(N,)`` class numbers.
        groups: ``(N,)`` patients.
        weights: ``(N,)``, mean 1. Of images: every class weighs the same. Of voxels: how many of its case and class a
            row stands for, so that a balanced draw does not make a rare class look common.
    """

    features: np.ndarray
    labels: np.ndarray
    groups: np.ndarray
    weights: np.ndarray

    def part(self, index: np.ndarray) -> Rows:
        """Some of the rows."""
        return Rows(self.features[index], self.labels[index], self.groups[index], self.weights[index])


def _logistic_score(model: Model, rows: np.ndarray, truth: Rows) -> float:
    probabilities = model.predict_proba(rows)
    return -float(log_loss(truth.labels, probabilities, sample_weight=truth.weights, labels=model.classes_))


def _svm_score(model: Model, rows: np.ndarray, truth: Rows) -> float:
    return float(balanced_accuracy_score(truth.labels, model.predict(rows), sample_weight=truth.weights))


_KINDS: dict[str, tuple[Callable[[float], Model], Callable[[Model, np.ndarray, Rows], float]]] = {
    "logistic": (lambda strength: LogisticRegression(C=strength, max_iter=5000), _logistic_score),
    "svm": (lambda strength: LinearSVC(C=strength, dual="auto", max_iter=20000), _svm_score),
}


def fit_features_logistic(network: StagedNetwork, examples: Iterable[Example], loss: Loss, *, seed: int = 0) -> HeadFit:
    """Logistic regression on standardised frozen features becomes the network's head.

    C is chosen in an inner cross-validation over patients (weighted log loss), then everything is fitted once more on
    all cases. For a classifier the features are those that its head sees. For segmentation they are those of single
    voxels, 4,000 in all, drawn evenly from the cases and classes.

    Args:
        network: filled from its source, with a linear head; its frozen stages and mode are as before afterwards.
        examples: labelled cases, without augmentation.
        loss: the task's loss, for the report alone.
        seed: of the draw of voxels and of the inner folds.

    Raises:
        ConfigError: the network does not end in one linear layer.
        DataError: no examples, a class that none of them shows, too few patients for the inner folds, or features that
            are not finite.
    """
    return _fit(network, examples, loss, "logistic", seed)


def fit_features_svm(network: StagedNetwork, examples: Iterable[Example], loss: Loss, *, seed: int = 0) -> HeadFit:
    """The same with a linear support vector machine, one class against the rest; C by weighted balanced accuracy.

    The head gives its decision values as logits: they rank and decide, but they are no calibrated probabilities.
    """
    return _fit(network, examples, loss, "svm", seed)


def _fit(network: StagedNetwork, examples: Iterable[Example], loss: Loss, kind: str, seed: int) -> HeadFit:
    if not has_linear_head(network):
        raise no_linear_head(network)
    with body_frozen(network):
        kept = kept_features(network, examples)
        before = mean_loss(network, kept, loss)
        rows = _image_rows(kept) if kept[0].example.label.dim() == 1 else _voxel_rows(network, kept, seed)
        _require_classes(rows, network.out_channels)
        strength = _best_strength(rows, kind, seed)
        scaler, model = _fitted(rows, kind, strength)
        set_linear_head(network, *_as_linear(scaler, model))
        after = mean_loss(network, kept, loss)
    steps = int(np.max(model.n_iter_))
    return HeadFit(f"{kind} with C = {strength:g}", len(kept), before, after, steps, steps < model.max_iter)


def _image_rows(kept: Sequence[Kept]) -> Rows:
    features = np.concatenate([one.features[0].cpu().numpy() for one in kept])
    labels = np.array([int(one.example.label) for one in kept])
    counts = np.bincount(labels)
    weights = len(labels) / (np.count_nonzero(counts) * counts[labels])
    return Rows(features, labels, np.array([one.example.patient for one in kept]), weights)


def _voxel_rows(network: StagedNetwork, kept: Sequence[Kept], seed: int) -> Rows:
    rng = np.random.default_rng(seed)
    share = max(1, VOXELS // (len(kept) * network.out_channels))
    parts = [_voxels_of(network, one, share, rng) for one in kept]
    features, labels, weights = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    groups = np.repeat([one.example.patient for one in kept], [len(part[1]) for part in parts])
    return Rows(features, labels, groups, weights / weights.mean())


def _voxels_of(
    network: StagedNetwork, one: Kept, share: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, labels and weights of a balanced draw of one case's voxels."""
    truth = one.example.label[0, 0].cpu().numpy().astype(np.int64)
    flat = truth.reshape(-1)
    chosen, weights = [], []
    for value in np.unique(flat):
        own = np.flatnonzero(flat == value)
        drawn = rng.choice(own, min(share, len(own)), replace=False)
        chosen.append(drawn)
        weights.append(np.full(len(drawn), len(own) / len(drawn)))
    index = np.concatenate(chosen)
    voxels = np.stack(np.unravel_index(index, truth.shape), axis=1)
    if isinstance(network, TransferDense):
        features = dense_features(network, one.example.image[0], voxels)
    else:
        features = one.features[0][0][(slice(None), *voxels.T)].T
    return features.cpu().numpy(), flat[index], np.concatenate(weights)


def _require_classes(rows: Rows, classes: int) -> None:
    found = np.unique(rows.labels)
    if not np.array_equal(found, np.arange(classes)):
        raise DataError(
            "the labelled cases do not show every class",
            expected=f"classes 0 to {classes - 1}",
            got=", ".join(str(value) for value in found),
            remedy="label more cases, or raise --labelled",
        )


def _best_strength(rows: Rows, kind: str, seed: int) -> float:
    """The C with the best mean score on held-out patients; of equals the most regularised."""
    _, score = look_up(_KINDS, kind, "classifier")
    folds = grouped_folds(rows.labels, rows.groups, INNER_FOLDS, seed)
    means = []
    for strength in STRENGTHS:
        values = []
        for train, test in folds:
            scaler, model = _fitted(rows.part(train), kind, strength)
            values.append(score(model, scaler.transform(rows.features[test]), rows.part(test)))
        means.append(math.fsum(values) / len(values))
    return STRENGTHS[int(np.argmax(means))]


def _fitted(rows: Rows, kind: str, strength: float) -> tuple[StandardScaler, Model]:
    build, _ = look_up(_KINDS, kind, "classifier")
    scaler = StandardScaler().fit(rows.features.astype(np.float64))
    model = build(strength).fit(scaler.transform(rows.features), rows.labels, sample_weight=rows.weights)
    return scaler, model


def _as_linear(scaler: StandardScaler, model: Model) -> tuple[np.ndarray, np.ndarray]:
    """Weight ``(classes, F)`` and bias on the features themselves; two classes share the one decision value."""
    weight, bias = model.coef_ / scaler.scale_, np.array(model.intercept_, dtype=float)
    bias = bias - weight @ scaler.mean_
    if len(weight) == 1:
        return np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    return weight, bias
