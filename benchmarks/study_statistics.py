"""Do the intervals of `medtl_monai.statistics` cover what they promise, and do the usual shortcuts?

    python benchmarks/study_statistics.py [--repetitions 4000] [--output FILE]

Differences between two arms are drawn as ``effect + seed + case + rest`` with known spreads, many times over. The
settings ``steady`` and ``unsteady`` have the spreads measured in the hippocampus pilot: SD between seeds 0.013 and
0.064, SD between patients after averaging five seeds 0.02 and 0.03; how the latter divides into case and rest was not
measured, therefore two divisions each. ``skewed`` and ``collapse`` break the assumption of normal seeds. For each
method: how often a nominal 95 % interval misses the truth, which is its rate of false positives where there is no
effect.

Methods:

- ``paired``: `paired_difference`, truth = mean over the very test cases (new seeds, same cases);
- ``hierarchical``: `hierarchical_interval`, truth = effect (new seeds, new cases);
- ``paired_for_new_cases``: `paired_difference` used for a claim about new cases, which it does not make;
- ``patient_bootstrap``: percentile bootstrap over patients after averaging the seeds (wrong unit), truth = effect;
- ``two_way_bootstrap``: percentile bootstrap that draws seeds and cases anew, truth = effect.

Also: the intervals of `labels_saved` beside a percentile bootstrap over the seeds, and the power reached with
`seeds_needed`.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import scipy
from numpy.typing import NDArray

from medtl_monai.statistics.hierarchical import hierarchical_interval
from medtl_monai.statistics.labels_saved import labels_saved
from medtl_monai.statistics.paired import paired_difference
from medtl_monai.statistics.power import seeds_needed

RESULT = Path(__file__).resolve().parent / "results" / "study_statistics.json"
CASES, LEVEL, RESAMPLES = 36, 0.95, 400
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Setting:
    """Spreads (SD) of the differences between two arms, in units of Dice."""

    name: str
    seeds: int
    seed_sd: float
    case_sd: float
    rest_sd: float
    shape: str = "normal"  # of the seeds' effects: normal, skewed (exponential), collapse (1 in 10 lies 5 SD apart)


SPREADS = {
    "steady": (0.013, 0.014, 0.030),
    "steady, patients differ": (0.013, 0.020, 0.010),
    "unsteady": (0.064, 0.020, 0.050),
    "unsteady, patients alike": (0.064, 0.0, 0.060),
    "seeds nearly equal": (0.005, 0.014, 0.030),
    "neither differ": (0.0, 0.0, 0.030),
}
SETTINGS = [Setting(name, seeds, *spread) for seeds in (3, 5, 10) for name, spread in SPREADS.items()] + [
    Setting(f"unsteady, {shape} seeds", seeds, *SPREADS["unsteady"], shape=shape)
    for seeds in (5, 10)
    for shape in ("skewed", "collapse")
]


def seed_effects(rng: np.random.Generator, shape: str, size: tuple[int, ...]) -> Floats:
    """Standardised effects: mean 0 and SD 1 whatever the shape."""
    if shape == "normal":
        return rng.normal(size=size)
    if shape == "skewed":
        return rng.exponential(size=size) - 1
    collapsed = rng.random(size) < 0.1
    return (rng.normal(size=size) + 5 * (collapsed - 0.1)) / np.sqrt(1 + 25 * 0.09)


def draw(rng: np.random.Generator, setting: Setting, repetitions: int) -> tuple[Floats, Floats]:
    """Differences (repetitions, seeds, cases) without effect, and the mean of the drawn cases (repetitions,)."""
    seed = setting.seed_sd * seed_effects(rng, setting.shape, (repetitions, setting.seeds, 1))
    case = setting.case_sd * rng.normal(size=(repetitions, 1, CASES))
    rest = setting.rest_sd * rng.normal(size=(repetitions, setting.seeds, CASES))
    return seed + case + rest, case.mean(axis=(1, 2))


def bootstrap_misses(tables: Floats, seed_weights: Floats, case_weights: Floats) -> float:
    """How often the percentile interval over weighted means leaves out the true effect, 0.

    Args:
        tables: (repetitions, seeds, cases).
        seed_weights: (resamples, seeds), rows sum to 1.
        case_weights: (resamples, cases), rows sum to 1.
    """
    missed = 0
    for table in tables:
        means = ((seed_weights @ table) * case_weights).sum(axis=1)
        low, high = np.quantile(means, [0.5 - LEVEL / 2, 0.5 + LEVEL / 2])
        missed += not low <= 0 <= high
    return missed / len(tables)


def resampled(rng: np.random.Generator, units: int) -> Floats:
    """Weights (resamples, units) of drawing units with replacement."""
    return rng.multinomial(units, np.full(units, 1 / units), size=RESAMPLES) / units


def misses(rng: np.random.Generator, setting: Setting, repetitions: int) -> dict[str, float]:
    """Share of repetitions in which each method's interval misses its truth."""
    tables, case_means = draw(rng, setting, repetitions)
    none = np.zeros((setting.seeds, CASES))
    missed = {"paired": 0, "hierarchical": 0, "paired_for_new_cases": 0}
    for table, case_mean in zip(tables, case_means, strict=True):
        paired = paired_difference(table, none, LEVEL)
        whole = hierarchical_interval(table, none, LEVEL)
        missed["paired"] += not paired.low <= case_mean <= paired.high
        missed["paired_for_new_cases"] += not paired.low <= 0 <= paired.high
        missed["hierarchical"] += not whole.low <= 0 <= whole.high
    rates = {name: count / repetitions for name, count in missed.items()}
    equal, cases = np.full((RESAMPLES, setting.seeds), 1 / setting.seeds), resampled(rng, CASES)
    rates["patient_bootstrap"] = bootstrap_misses(tables, equal, cases)
    rates["two_way_bootstrap"] = bootstrap_misses(tables, resampled(rng, setting.seeds), cases)
    return {name: round(rate, 4) for name, rate in rates.items()}


def isotonic(curves: Floats) -> Floats:
    """Isotonic regression of curves (..., levels) by the min-max formula."""
    levels = curves.shape[-1]
    sums = np.concatenate([np.zeros((*curves.shape[:-1], 1)), curves.cumsum(axis=-1)], axis=-1)
    columns = []
    for at in range(levels):
        worst = [
            np.min([(sums[..., end + 1] - sums[..., start]) / (end + 1 - start) for end in range(at, levels)], axis=0)
            for start in range(at + 1)
        ]
        columns.append(np.max(worst, axis=0))
    return np.stack(columns, axis=-1)


def bootstrap_limits(rng: np.random.Generator, n: Floats, scratch: Floats, target: Floats) -> tuple[float, float]:
    """Percentile interval over resampled seeds for the n at which scratch (seeds, levels) meets target (seeds,)."""
    weights = resampled(rng, len(target))
    curves, score = isotonic(weights @ scratch), weights @ target
    right = (curves < score[:, None]).sum(axis=1)
    inner = np.clip(right, 1, n.size - 1)
    rows, logs = np.arange(len(score)), np.log(n)
    left_score, right_score = curves[rows, inner - 1], curves[rows, inner]
    width = np.where(right_score > left_score, right_score - left_score, 1)
    found = np.exp(logs[inner - 1] + (score - left_score) / width * (logs[inner] - logs[inner - 1]))
    found = np.where(right == n.size, np.inf, np.where(score < curves[:, 0], 0.0, found))
    low, high = np.quantile(found, [0.5 - LEVEL / 2, 0.5 + LEVEL / 2], method="inverted_cdf")
    return float(low), float(high)


def labels(rng: np.random.Generator, seeds: int, repetitions: int) -> dict[str, float]:
    """Misses of the intervals for the labels saved: straight learning curve, truth 6.06 labels for n = 4."""
    n = np.array([2.0, 4.0, 8.0, 16.0, 32.0])
    true, gain, at = 0.6 + 0.05 * np.log2(n), 0.03, 1
    truth = 4 * 2 ** (gain / 0.05)
    missed = {"labels_saved": 0, "percentile_bootstrap": 0}
    for _ in range(repetitions):
        shared = 0.02 * rng.normal(size=(seeds, 1))
        scratch = true + shared + 0.02 * rng.normal(size=(seeds, n.size))
        transfer = true + gain + shared + 0.02 * rng.normal(size=(seeds, n.size))
        row = labels_saved(n, scratch, transfer, LEVEL)[at]
        missed["labels_saved"] += not row.low <= truth <= row.high
        low, high = bootstrap_limits(rng, n, scratch, transfer[:, at])
        missed["percentile_bootstrap"] += not low <= truth <= high
    return {name: round(count / repetitions, 4) for name, count in missed.items()}


def reached_power(rng: np.random.Generator, sd: float, effect: float, repetitions: int) -> dict[str, float]:
    """Share of studies that show the effect with as many seeds as `seeds_needed` says, and with one fewer."""
    seeds = seeds_needed(sd, effect)
    if seeds is None:
        raise ValueError("without case error there is always a number of seeds")
    shares = {
        number: np.mean(
            [
                paired_difference(effect + sd * rng.normal(size=(number, 1)), np.zeros((number, 1)), LEVEL).p < 0.05
                for _ in range(repetitions)
            ]
        )
        for number in (seeds, seeds - 1)
    }
    return {"sd": sd, "effect": effect, "seeds": seeds} | {
        f"power with {n}": round(float(p), 4) for n, p in shares.items()
    }


def main() -> None:
    """Simulate everything and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=4000)
    parser.add_argument("--output", type=Path, default=RESULT)
    options = parser.parse_args()
    rng, start = np.random.default_rng(2026), time.perf_counter()
    rows = [{**asdict(setting), "misses": misses(rng, setting, options.repetitions)} for setting in SETTINGS]
    result = {
        "command": f"python benchmarks/study_statistics.py --repetitions {options.repetitions}",
        "versions": {"python": platform.python_version(), "numpy": np.__version__, "scipy": scipy.__version__},
        "cases": CASES,
        "level": LEVEL,
        "standard_error_of_a_rate_of_5_percent": round(float(np.sqrt(0.05 * 0.95 / options.repetitions)), 4),
        "settings": rows,
        "labels_saved": [{"seeds": n, "misses": labels(rng, n, options.repetitions)} for n in (5, 10)],
        "power": [
            reached_power(rng, sd, effect, options.repetitions) for sd, effect in ((0.013, 0.014), (0.064, 0.05))
        ],
        "seconds": round(time.perf_counter() - start, 1),
    }
    options.output.write_text(json.dumps(result, indent=1) + "\n")
    for row in rows:
        print(row["name"], row["seeds"], row["misses"])
    print(result["labels_saved"], result["power"], result["seconds"])


if __name__ == "__main__":
    main()
