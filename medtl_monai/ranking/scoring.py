"""The scores of one source on the user's data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from medtl_monai.errors import DataError, MedTLError
from medtl_monai.ranking.features import SourceFeatures
from medtl_monai.ranking.probe import (
    OutOfFold,
    accuracy_per_patient,
    auc_within_folds,
    balanced_accuracy,
    out_of_fold,
)
from medtl_monai.transfer.scores.bootstrap import ResampledScore, resampled_score
from medtl_monai.transfer.scores.consistency import class_consistency
from medtl_monai.transfer.scores.hscore import h_score
from medtl_monai.transfer.scores.leep import leep, nleep
from medtl_monai.transfer.scores.logme import logme
from medtl_monai.transfer.scores.neighbours import knn_accuracy
from medtl_monai.transfer.scores.transrate import transrate

CRITERION = {"classification": "probe_auc", "segmentation": "probe_accuracy_per_patient"}
SCORES = {
    "classification": ("probe_accuracy", "knn", "logme", "h_score", "leep", "nleep", "transrate"),
    "segmentation": ("probe_accuracy", "consistency", "knn", "logme", "h_score", "leep"),
}
REPEATS = {"classification": 4, "segmentation": 1}
# Other patients would also train another probe, which draws of the judged ones do not show. In simulated data sets of
# 40 and 100 patients the difference of two equal sources had 1.4 to 1.55 times the variance that the draws say.
TRAINING = 1.2
NEIGHBOURS = 5
CLUSTERS_PER_CLASS, ROWS_PER_CLUSTER = 5, 10
COMPONENTS, ROWS_PER_COMPONENT = 32, 4


def criterion(source: SourceFeatures, task: str, *, repetitions: int, seed: int) -> tuple[ResampledScore, float]:
    """The linear probe on unseen patients, resampled over patients, and its balanced accuracy.

    Classification: area under the ROC curve. Segmentation: balanced accuracy of the sampled voxels, per patient, and
    the mean over patients. The probe is cross-validated once; the draws are of the patients that it is judged on.

    Raises:
        DataError: features that do not vary, or too few patients.
    """
    require_variation(source)
    _, labels = np.unique(source.labels, return_inverse=True)
    found = out_of_fold(source.features, labels, source.groups, seed=seed, repeats=REPEATS[task])
    classes = found.probabilities.shape[2]
    score = partial(_criterion_auc if task == "classification" else _criterion_voxels, classes)
    resampled = resampled_score(score, found.columns(), labels, source.groups, repetitions, seed)
    return widened(resampled), balanced_accuracy(found, labels)


def widened(score: ResampledScore) -> ResampledScore:
    """The same score, its draws further apart by :data:`TRAINING`."""
    middle = score.values.mean()
    return replace(score, values=middle + TRAINING * (score.values - middle))


def _criterion_auc(classes: int, features: np.ndarray, labels: np.ndarray) -> float:
    return auc_within_folds(OutOfFold.of_columns(features, classes), labels)


def _criterion_voxels(classes: int, features: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> float:
    return accuracy_per_patient(OutOfFold.of_columns(features, classes), labels, groups)


def require_variation(source: SourceFeatures) -> None:
    """Raise DataError if every row is the same: the network says the same of every image."""
    if not (source.features != source.features[0]).any():
        raise DataError(
            "the features do not vary",
            expected="at least one feature that differs between cases",
            got=f"{len(source.features)} equal rows, from case {source.cases[0]} to case {source.cases[-1]}",
            remedy="look at the weights: all zero, or of another network?",
        )


def copies(source: SourceFeatures) -> list[tuple[str, str]]:
    """Pairs of cases of different patients that have the very same features: one image under two names."""
    _, first, of = np.unique(source.features, axis=0, return_index=True, return_inverse=True)
    origin = first[of.reshape(-1)]
    rows = np.flatnonzero(source.groups != source.groups[origin])
    return sorted({(str(source.cases[origin[row]]), str(source.cases[row])) for row in rows})


def other_scores(source: SourceFeatures, task: str, seed: int) -> tuple[dict[str, float | None], list[str]]:
    """All scores but those of the probe; None with a note where a score cannot be had."""
    made: dict[str, float | None] = {}
    notes = []
    for name in SCORES[task]:
        if name == "probe_accuracy":
            continue
        try:
            value = _MAKERS[name](source, seed)
            made[name] = None if value is None or not np.isfinite(value) else float(value)
        except (MedTLError, ValueError, np.linalg.LinAlgError) as error:
            made[name] = None
            notes.append(f"{name}: {error}")
    return made, notes


def reduced(features: np.ndarray) -> np.ndarray:
    """Principal components of the standardised features, the same number for every source: at most 32, N/4 and D."""
    count = min(COMPONENTS, len(features) // ROWS_PER_COMPONENT, features.shape[1])
    scaled = StandardScaler().fit_transform(np.asarray(features, dtype=np.float64))
    return PCA(max(count, 1), svd_solver="full").fit_transform(scaled)


def _knn(source: SourceFeatures, seed: int) -> float:
    most = len(source.labels) - int(np.unique(source.groups, return_counts=True)[1].max())
    centred = source.features - source.features.mean(axis=0)
    return knn_accuracy(centred, source.labels, source.groups, min(NEIGHBOURS, most))


def _leep(source: SourceFeatures, seed: int) -> float | None:
    return None if source.probabilities is None else leep(source.probabilities, source.labels)


def _nleep(source: SourceFeatures, seed: int) -> float:
    classes = len(np.unique(source.labels))
    components = max(classes, min(CLUSTERS_PER_CLASS * classes, len(source.labels) // ROWS_PER_CLUSTER))
    return nleep(source.features, source.labels, components, seed)


def _consistency(source: SourceFeatures, seed: int) -> float:
    space = reduced(source.features)
    rows = [np.flatnonzero(source.cases == case) for case in dict.fromkeys(source.cases.tolist())]
    return class_consistency([space[own] for own in rows], [source.labels[own] for own in rows]).score


_MAKERS: dict[str, Callable[[SourceFeatures, int], float | None]] = {
    "knn": _knn,
    "logme": lambda source, seed: logme(source.features, source.labels),
    "h_score": lambda source, seed: h_score(source.features, source.labels),
    "leep": _leep,
    "nleep": _nleep,
    "transrate": lambda source, seed: transrate(reduced(source.features), source.labels),
    "consistency": _consistency,
}
