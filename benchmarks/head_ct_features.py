"""Does a network trained on photographs see more in a head CT than an untrained one? Frozen features, linear models.

    MEDTL_DATA=... MEDTL_WEIGHTS=... python benchmarks/head_ct_features.py [--seeds 10] [--cache FOLDER]

140 axial slices, 70 with a haemorrhage. Arms:

- ``imagenet``: features of SqueezeNet 1.0 as published (ImageNet, pruned);
- ``random``: the same network, newly initialised for every seed;
- ``pixels``: the slice at 32x32.

Chosen before any result of this program was seen (a pilot that ignored related slices had given 87.5, 83.2 and 77.9 %
accuracy for the three arms): the slice as stored, at 224x224, through the library's encoder with the ImageNet
normalisation folded in; global average of the last feature map; standardisation and logistic regression, its C by an
inner cross-validation of the training folds (log loss). Everything else is in the file as ``secondary``.

Five stratified folds, repeated for every seed with new folds; arms share the folds. The slices are not of as many
persons: related ones (``probes/head_ct.py``) share a fold. The same with folds that ignore this is there too
(``folds: plain``), to show what it is worth. Intervals: corrected resampled t (Nadeau & Bengio 2003) over all folds,
with the degrees of freedom of the seeds.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from probes import head_ct
from probes.estimates import corrected_interval, holm, rounded
from probes.networks import (
    SQUEEZENET,
    Features,
    all_means,
    deepest_max,
    deepest_mean,
    kept,
    pooled,
    published_state,
    random_squeezenet_state,
    squeezenet,
)
from probes.record import DATA, RESULTS, provenance
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold, StratifiedKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from torchvision.models import squeezenet1_0

RESULT = RESULTS / "head_ct_features.json"
POOLINGS = {"mean": deepest_mean, "max": deepest_max, "all_levels": all_means}
PRIMARY = ("imagenet/mean", "random/mean", "pixels")
SECONDARY = ("imagenet/max", "random/max", "imagenet/all_levels", "random/all_levels")
PLAN = {"related together": (*PRIMARY, *SECONDARY), "plain": PRIMARY}
COMPARED = (("imagenet/mean", "random/mean"), ("imagenet/mean", "pixels"), ("random/mean", "pixels"))
COMPARED_SECONDARY = (("imagenet/max", "random/max"), ("imagenet/all_levels", "random/all_levels"))
STRENGTHS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
INNER_FOLDS = 4
PARITY = 1e-4
NORMALISATION = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]).view(2, 1, 3, 1, 1)


def parity(images: torch.Tensor, ours: np.ndarray) -> float:
    """Largest difference to the mean features of torchvision's own network. Raises ValueError above 1e-4."""
    network = squeezenet1_0(weights=None).eval()
    network.features.load_state_dict(
        {name.removeprefix("features."): tensor for name, tensor in published_state(SQUEEZENET).items()}
    )
    mean, deviation = NORMALISATION
    with torch.inference_mode():
        parts = [network.features((part.repeat(1, 3, 1, 1) - mean) / deviation) for part in images.split(20)]
    difference = float(np.abs(torch.cat(parts).mean((2, 3)).numpy() - ours).max())
    if difference > PARITY:
        raise ValueError(f"the encoder differs from torchvision's network by {difference:.2g}, allowed {PARITY:g}")
    return difference


def network_features(slices: head_ct.Slices, seed: int | None, cache: Path) -> Features:
    """All poolings of the published network (None) or of a newly initialised one; kept in ``cache``."""

    def make() -> Features:
        state = published_state(SQUEEZENET) if seed is None else random_squeezenet_state(seed)
        return pooled(squeezenet(state), torch.from_numpy(slices.resized(224))[:, None], POOLINGS, batch=20)

    return kept(cache / f"head_ct_{'imagenet' if seed is None else f'random{seed}'}.npz", make)


def classifier(grouped: bool, seed: int) -> GridSearchCV:
    """Standardisation and logistic regression; C by cross-validation inside the training folds."""
    inner = (StratifiedGroupKFold if grouped else StratifiedKFold)(INNER_FOLDS, shuffle=True, random_state=seed)
    pipeline: Pipeline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    return GridSearchCV(pipeline, {"logisticregression__C": STRENGTHS}, cv=inner, scoring="neg_log_loss")


def cross_validate(features: np.ndarray, slices: head_ct.Slices, seed: int, grouped: bool) -> list[dict]:
    """One row per fold."""
    rows = []
    for fold, (train, test) in enumerate(head_ct.outer_folds(slices, seed, grouped)):
        search = classifier(grouped, seed)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ConvergenceWarning)
            search.fit(features[train], slices.labels[train], groups=slices.groups[train] if grouped else None)
        scores = search.decision_function(features[test])
        rows.append(
            {
                "seed": seed,
                "fold": fold,
                "n_train": len(train),
                "n_test": len(test),
                "C": search.best_params_["logisticregression__C"],
                "accuracy": round(float(np.mean((scores > 0) == slices.labels[test])), 6),
                "auc": round(float(roc_auc_score(slices.labels[test], scores)), 6),
                "unconverged_fits": sum(issubclass(warning.category, ConvergenceWarning) for warning in caught),
            }
        )
    return rows


def run(slices: head_ct.Slices, seeds: int, cache: Path) -> tuple[list[dict], float]:
    """All rows, and the difference to torchvision."""
    published = network_features(slices, None, cache)
    difference = parity(torch.from_numpy(slices.resized(224))[:, None], published["mean"])
    features = {f"imagenet/{name}": values for name, values in published.items()}
    features["pixels"] = slices.resized(32).reshape(len(slices.names), -1)
    rows = []
    for seed in range(seeds):
        untrained = network_features(slices, seed, cache)
        features.update({f"random/{name}": values for name, values in untrained.items()})
        for folds, arms in PLAN.items():
            for arm in arms:
                found = cross_validate(features[arm], slices, seed, folds != "plain")
                rows += [{"folds": folds, "arm": arm, **row} for row in found]
        print(f"seed {seed} done", flush=True)
    return rows, difference


def _values(rows: list[dict], folds: str, arm: str, metric: str) -> np.ndarray:
    chosen = [row for row in rows if (row["folds"], row["arm"]) == (folds, arm)]
    return np.array([row[metric] for row in sorted(chosen, key=lambda row: (row["seed"], row["fold"]))])


def summarise_arm(rows: list[dict], folds: str, arm: str, seeds: int, ratio: float) -> dict:
    """Mean of an arm with its interval, and the mean of every seed."""
    result: dict = {"folds": folds, "arm": arm, "secondary": arm not in PRIMARY or folds == "plain"}
    for metric in ("accuracy", "auc"):
        values = _values(rows, folds, arm, metric)
        estimate = rounded(corrected_interval(values.tolist(), seeds, ratio))
        per_seed = values.reshape(seeds, -1).mean(axis=1)
        result[metric] = {name: estimate[name] for name in ("mean", "low", "high")}
        result[metric]["per_seed"] = [round(float(value), 4) for value in per_seed]
    return result


def compare(rows: list[dict], folds: str, seeds: int, ratio: float) -> list[dict]:
    """Paired differences; Holm's correction over the three primary comparisons of a metric."""
    pairs = COMPARED if folds == "plain" else (*COMPARED, *COMPARED_SECONDARY)
    found: list[dict] = []
    for metric in ("accuracy", "auc"):
        family: dict[str, float] = {}
        for first, second in pairs:
            differences = _values(rows, folds, first, metric) - _values(rows, folds, second, metric)
            estimate = corrected_interval(differences.tolist(), seeds, ratio)
            secondary = folds == "plain" or (first, second) not in COMPARED
            name = {"folds": folds, "metric": metric, "difference": f"{first} - {second}"}
            found.append({**name, "secondary": secondary, **rounded(estimate)})
            if (first, second) in COMPARED:
                family[f"{first} - {second}"] = estimate["p"]
        adjusted = holm(family)
        for entry in found:
            if entry["metric"] == metric and entry["difference"] in adjusted:
                entry["p_holm"] = float(f"{adjusted[entry['difference']]:.3g}")
    return found


def describe_data(slices: head_ct.Slices) -> dict:
    """Groups and near-duplicates. Raises ValueError if two near-identical slices are in different groups."""
    pairs = head_ct.near_duplicates(slices.images)
    apart = [(slices.names[i], slices.names[j]) for i, j, _ in pairs if slices.groups[i] != slices.groups[j]]
    if apart:
        raise ValueError(f"near-identical slices in different groups: {apart}")
    return {
        "slices": len(slices.names),
        "haemorrhage": int(slices.labels.sum()),
        "groups": int(slices.groups.max()) + 1,
        "largest_groups": sorted(np.bincount(slices.groups).tolist(), reverse=True)[:5],
        "groups_with_both_labels": int(
            sum(len(set(slices.labels[slices.groups == group])) > 1 for group in set(slices.groups))
        ),
        "near_identical": [
            {"slices": [slices.names[i], slices.names[j]], "correlation": round(value, 4)} for i, j, value in pairs
        ],
        "note": "labels.csv names no patients; groups were made by eye, see probes/head_ct.py",
    }


def main() -> None:
    """Run, write the rows and the summary, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--cache", type=Path, help="folder for the features; a temporary one without it")
    parser.add_argument("--output", type=Path, default=RESULT)
    options = parser.parse_args()
    torch.set_num_threads(1)
    start = time.perf_counter()
    slices = head_ct.read_slices(DATA / "head_ct_hemorrhage")
    data = describe_data(slices)
    with tempfile.TemporaryDirectory() as folder:
        cache = options.cache or Path(folder)
        cache.mkdir(parents=True, exist_ok=True)
        rows, difference = run(slices, options.seeds, cache)
    ratio = float(np.mean([row["n_test"] / row["n_train"] for row in rows]))
    summary = {
        **provenance("head_ct_features.py"),
        "seconds": round(time.perf_counter() - start, 1),
        "seeds": options.seeds,
        "data": data,
        "difference_to_torchvision": float(f"{difference:.2g}"),
        "interval": "corrected resampled t over all folds (Nadeau & Bengio 2003), degrees of freedom: seeds - 1",
        "test_per_train": round(ratio, 4),
        "arms": [summarise_arm(rows, folds, arm, options.seeds, ratio) for folds, arms in PLAN.items() for arm in arms],
        "differences": [entry for folds in PLAN for entry in compare(rows, folds, options.seeds, ratio)],
    }
    options.output.write_text(json.dumps(summary, indent=1) + "\n")
    with options.output.with_suffix(".csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    for entry in summary["differences"]:
        print(entry)


if __name__ == "__main__":
    main()
