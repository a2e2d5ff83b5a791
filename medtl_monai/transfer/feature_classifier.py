"""A classical linear classifier of frozen features as a network's head: ``features_logistic``, ``features_svm``."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from scipy.special import logsumexp
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from medtl_monai.errors import DataError
from medtl_monai.lookup import look_up
from medtl_monai.networks.staged import StagedNetwork
from medtl_monai.networks.transfer_dense import TransferDense
from medtl_monai.transfer.classical import INNER_FOLDS, STRENGTHS
from medtl_monai.transfer.examples import Example, Kept, body_frozen, kept_features
from medtl_monai.transfer.features import dense_features
from medtl_monai.transfer.head_fit import HeadFit, Loss, mean_loss
from medtl_monai.transfer.linear_head import has_linear_head, no_linear_head, set_linear_head
from medtl_monai.transfer.scores.probe import grouped_folds

VOXELS = 3000  # in all, shared evenly by cases and classes
PRIORS = (0.0, 0.25, 0.5, 0.75, 1.0)  # how much of the classes' true rarity the head is told
Model: TypeAlias = LogisticRegression | LinearSVC
Score: TypeAlias = Callable[[np.ndarray, "Rows"], float]


@dataclass(frozen=True)
class Rows:
    """What the classifier sees.

    Attributes:
        features: ``(N, F)``.
        labels: ``(N,)`` class numbers.
        groups: ``(N,)`` patients.
        weights: ``(N,)`` how many images or voxels a row stands for.
        rarity: ``(classes,)`` logarithm of a class's true share over its share of the rows; 0 for images.
    """

    features: np.ndarray
    labels: np.ndarray
    groups: np.ndarray
    weights: np.ndarray
    rarity: np.ndarray

    def part(self, index: np.ndarray) -> Rows:
        """Some of the rows."""
        return Rows(self.features[index], self.labels[index], self.groups[index], self.weights[index], self.rarity)

    @property
    def of_voxels(self) -> bool:
        """Whether the rows are a draw of voxels, in which rare classes are as frequent as common ones."""
        return bool(self.rarity.any())


def _likelihood(logits: np.ndarray, truth: Rows) -> float:
    """Mean log likelihood, every class with the same weight."""
    shares = logits - logsumexp(logits, axis=1, keepdims=True)
    return float(np.mean([shares[truth.labels == code, code].mean() for code in np.unique(truth.labels)]))


def _balanced_accuracy(logits: np.ndarray, truth: Rows) -> float:
    right = logits.argmax(axis=1) == truth.labels
    return float(np.mean([right[truth.labels == code].mean() for code in np.unique(truth.labels)]))


def _dice(logits: np.ndarray, truth: Rows) -> float:
    """Mean Dice over the foreground classes of all voxels that the rows stand for."""
    found = logits.argmax(axis=1)
    values = []
    for code in range(1, logits.shape[1]):
        own, other = truth.weights * (truth.labels == code), truth.weights * (found == code)
        total = own.sum() + other.sum()
        values.append(2 * own[found == code].sum() / total if total else 1.0)
    return float(np.mean(values))


_KINDS: dict[str, tuple[Callable[[float], Model], Score]] = {
    "logistic": (lambda c: LogisticRegression(C=c, class_weight="balanced", max_iter=5000), _likelihood),
    "svm": (lambda c: LinearSVC(C=c, class_weight="balanced", dual="auto", max_iter=2000), _balanced_accuracy),
}


def fit_features_logistic(network: StagedNetwork, examples: Iterable[Example], loss: Loss, *, seed: int = 0) -> HeadFit:
    """Logistic regression on standardised frozen features becomes the network's head.

    For a classifier the features are those that its head sees; classes weigh the same, and C is chosen in an inner
    cross-validation over patients by the likelihood. For segmentation they are those of single voxels, 3,000 in all,
    drawn evenly from the cases and classes; C, and how much of each class's true rarity is added to its logit, are
    chosen by the Dice of held-out patients. Then everything is fitted once more on all cases.

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
    """The same with a linear support vector machine, one class against the rest; of images, C by balanced accuracy.

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
        strength, prior = _chosen(rows, kind, seed)
        head = _fitted(rows, kind, strength)
        set_linear_head(network, head.weight, head.bias + prior * rows.rarity)
        after = mean_loss(network, kept, loss)
    words = f"{kind} with C = {strength:g}" + (f", prior {prior:g}" if rows.of_voxels else "")
    return HeadFit(words, len(kept), before, after, head.steps, head.converged)


def _image_rows(kept: Sequence[Kept]) -> Rows:
    features = np.concatenate([one.features[0].cpu().numpy() for one in kept])
    labels = np.array([int(one.example.label) for one in kept])
    classes = int(labels.max()) + 1
    return Rows(
        features, labels, np.array([one.example.patient for one in kept]), np.ones(len(labels)), np.zeros(classes)
    )


def _voxel_rows(network: StagedNetwork, kept: Sequence[Kept], seed: int) -> Rows:
    rng = np.random.default_rng(seed)
    share = max(1, VOXELS // (len(kept) * network.out_channels))
    parts = [_voxels_of(network, one, share, rng) for one in kept]
    features, labels, weights = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    groups = np.repeat([one.example.patient for one in kept], [len(part[1]) for part in parts])
    true = np.bincount(labels, weights=weights, minlength=network.out_channels) / weights.sum()
    drawn = np.bincount(labels, minlength=network.out_channels) / len(labels)
    # A class that no case shows is refused next; until then its rarity is any number.
    rarity = np.log(np.where(drawn > 0, true, 1.0) / np.where(drawn > 0, drawn, 1.0))
    return Rows(features, labels, groups, weights, rarity)


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


@dataclass(frozen=True)
class _Head:
    """A linear classifier of features, ``(classes, F)`` and ``(classes,)``, and how its fit went."""

    weight: np.ndarray
    bias: np.ndarray
    steps: int
    converged: bool

    def logits(self, features: np.ndarray) -> np.ndarray:
        return features @ self.weight.T + self.bias


def _chosen(rows: Rows, kind: str, seed: int) -> tuple[float, float]:
    """C and the share of rarity with the best mean score on held-out patients; of equals the most regularised."""
    score = _dice if rows.of_voxels else look_up(_KINDS, kind, "classifier")[1]
    priors = PRIORS if rows.of_voxels else (0.0,)
    folds = grouped_folds(rows.labels, rows.groups, INNER_FOLDS, seed)
    found: dict[tuple[float, float], list[float]] = {(c, prior): [] for c in STRENGTHS for prior in priors}
    for train, test in folds:
        held_out = rows.part(test)
        for strength in STRENGTHS:
            logits = _fitted(rows.part(train), kind, strength).logits(held_out.features)
            for prior in priors:
                found[strength, prior].append(score(logits + prior * rows.rarity, held_out))
    return max(found, key=lambda choice: math.fsum(found[choice]))


def _fitted(rows: Rows, kind: str, strength: float) -> _Head:
    """Standardisation and classifier as one linear layer on the features; two classes share the one decision value."""
    build, _ = look_up(_KINDS, kind, "classifier")
    scaler = StandardScaler().fit(rows.features.astype(np.float64))
    model = build(strength).fit(scaler.transform(rows.features), rows.labels)
    weight, bias = model.coef_ / scaler.scale_, np.array(model.intercept_, dtype=float)
    bias = bias - weight @ scaler.mean_
    if len(weight) == 1:
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    steps = int(np.max(model.n_iter_))
    return _Head(weight, bias, steps, steps < model.max_iter)
