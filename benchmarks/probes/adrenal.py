"""Adrenal shapes (AdrenalMNIST3D): pooled frozen features and logistic regression."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from medtl_monai.networks.encoder import Encoder
from medtl_monai.transfer.norm_statistics import reestimate_norm
from probes.networks import (
    METHODS,
    SQUEEZENET,
    Features,
    all_means,
    deepest_mean,
    highres3dnet,
    kept,
    pooled,
    published_state,
    random_squeezenet_state,
    squeezenet,
)

POOLINGS = {"deepest": deepest_mean, "all_levels": all_means}
LABELLED = (50, 200, 0)  # 0: all
STRENGTHS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
STATISTICS_VOLUMES = 64
# HighRes3DNet works at full resolution throughout: it gets the box that holds nearly all of every shape.
BOX = (slice(7, 21), slice(5, 25), slice(4, 24))


@dataclass(frozen=True)
class Shapes:
    """Masks ``(N, 1, 28, 28, 28)`` of 0 and 1, labels, and where the official splits end."""

    masks: torch.Tensor
    labels: np.ndarray
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray

    def zscored(self) -> torch.Tensor:
        """The box, each volume with mean 0 and variance 1 over all its 28^3 voxels."""
        mean = self.masks.mean(dim=(1, 2, 3, 4), keepdim=True)
        deviation = self.masks.std(dim=(1, 2, 3, 4), keepdim=True, correction=0)
        return ((self.masks - mean) / deviation)[(slice(None), slice(None), *BOX)].contiguous()

    def share_in_box(self) -> float:
        """Share of all mask voxels inside the box."""
        return float(self.masks[(slice(None), slice(None), *BOX)].sum() / self.masks.sum())

    def blocks(self) -> np.ndarray:
        """The masks averaged over 2x2x2 voxels: ``(N, 2744)``."""
        return torch.nn.functional.avg_pool3d(self.masks, 2).flatten(1).numpy()


def read_shapes(path: Path) -> Shapes:
    """The three official splits, one behind the other."""
    with np.load(path) as stored:
        masks = np.concatenate([stored[f"{split}_images"] for split in ("train", "val", "test")])
        labels = [stored[f"{split}_labels"].ravel() for split in ("train", "val", "test")]
    ends = np.cumsum([len(part) for part in labels])
    train, validation, test = np.split(np.arange(ends[-1]), ends[:-1])
    volumes = torch.from_numpy(masks > 0).float()[:, None]
    return Shapes(volumes, np.concatenate(labels).astype(int), train, validation, test)


def draw(labels: np.ndarray, cases: np.ndarray, count: int, seed: int) -> np.ndarray:
    """``count`` of the cases at random, each class with its share (rounded); all of them for 0."""
    if count == 0:
        return cases
    rng = np.random.default_rng(seed)
    positive, negative = cases[labels[cases] == 1], cases[labels[cases] == 0]
    of_positive = round(count * len(positive) / len(cases))
    chosen = (
        rng.choice(positive, of_positive, replace=False),
        rng.choice(negative, count - of_positive, replace=False),
    )
    return np.sort(np.concatenate(chosen))


def probe(features: np.ndarray, shapes: Shapes, labelled: np.ndarray) -> tuple[dict[str, float], np.ndarray]:
    """Logistic regression on the labelled cases, C by the AUC on the validation split; and the scores of the test."""
    best: tuple[float, float, np.ndarray] | None = None
    for strength in STRENGTHS:
        model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=1000))
        model.fit(features[labelled], shapes.labels[labelled])
        auc = float(
            roc_auc_score(shapes.labels[shapes.validation], model.decision_function(features[shapes.validation]))
        )
        if best is None or auc > best[0]:
            best = (auc, strength, model.decision_function(features[shapes.test]))
    assert best is not None
    auc, strength, scores = best
    truth = shapes.labels[shapes.test]
    row = {
        "C": strength,
        "validation_auc": round(auc, 4),
        "auc": round(float(roc_auc_score(truth, scores)), 4),
        "accuracy": round(float(np.mean((scores > 0) == truth)), 4),
    }
    return row, scores


def _reestimated(encoder: Encoder, volumes: torch.Tensor, train: np.ndarray) -> Encoder:
    """New normalisation statistics from some training volumes; their labels are not looked at."""
    chosen = np.random.default_rng(0).choice(train, STATISTICS_VOLUMES, replace=False)
    with torch.autocast("cpu", torch.bfloat16):
        reestimate_norm(encoder, volumes[chosen].split(16))
    return encoder


def _squeezenet_features(shapes: Shapes, method: str, seed: int | None) -> Features:
    state = published_state(SQUEEZENET) if seed is None else random_squeezenet_state(seed)
    return pooled(squeezenet(state, method), shapes.masks, POOLINGS, batch=16)


def _highres_features(shapes: Shapes, volumes: torch.Tensor, renewed: bool, seed: int | None) -> Features:
    encoder = highres3dnet(seed)
    if renewed:
        encoder = _reestimated(encoder, volumes, shapes.train)
    return pooled(encoder, volumes, POOLINGS, batch=16, bfloat16=True)


def arms(shapes: Shapes, seeds: int, highres_seeds: int, cache: Path) -> Iterator[tuple[str, int | None, Features]]:
    """Arm, seed of its random network (None: the same for all seeds), and its features by the name of the pooling."""
    yield "voxels", None, {"deepest": shapes.blocks()}
    for method in METHODS:
        for seed in (None, *range(seeds)):
            arm = f"squeezenet_{method}/{'published' if seed is None else 'random'}"
            make = partial(_squeezenet_features, shapes, method, seed)
            yield arm, seed, kept(_file(cache, arm, seed), make)
    volumes = shapes.zscored()
    for seed, renewed in ((None, False), (None, True), *((seed, True) for seed in range(highres_seeds))):
        arm = f"highres3dnet/{'published' if seed is None else 'random'}{'_renewed' if renewed else ''}"
        make = partial(_highres_features, shapes, volumes, renewed, seed)
        yield arm, seed, kept(_file(cache, arm, seed), make)


def _file(cache: Path, arm: str, seed: int | None) -> Path:
    return cache / f"adrenal_{arm.replace('/', '_')}{'' if seed is None else seed}.npz"


def run(shapes: Shapes, seeds: int, highres_seeds: int, cache: Path) -> tuple[list[dict], dict[tuple, np.ndarray]]:
    """One row per arm, pooling, number of labelled cases and seed; and the test scores under the same key."""
    rows: list[dict] = []
    scores: dict[tuple, np.ndarray] = {}
    for arm, own_seed, features in arms(shapes, seeds, highres_seeds, cache):
        print(f"adrenal: {arm} {own_seed if own_seed is not None else ''}", flush=True)
        for pooling, values in features.items():
            for labelled in LABELLED:
                drawn = range(seeds) if labelled else range(1)
                for seed in drawn if own_seed is None else (own_seed,):
                    row, found = probe(values, shapes, draw(shapes.labels, shapes.train, labelled, seed))
                    rows.append({"arm": arm, "pooling": pooling, "labelled": labelled, "seed": seed, **row})
                    scores[arm, pooling, labelled, seed] = found
    return rows, scores
