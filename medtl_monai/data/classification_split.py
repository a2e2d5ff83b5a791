"""Splitting the patients of a classification task at random, every class in proportion."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence

from medtl_monai.data.classification_rules import SPLITS, ClassCase
from medtl_monai.data.datalist import draw_order
from medtl_monai.errors import ConfigError, DataError

LARGEST_SHARE = 1 / 3  # of a class in a split, for one patient

Counts = dict[int, float]


def stratified_split(
    cases: Sequence[ClassCase], *, fractions: Mapping[str, float], seed: int
) -> dict[str, tuple[ClassCase, ...]]:
    """Split cases by patient; each split gets about its fraction of every class, and a patient of each at least.

    Patients with many cases are placed first, each at random among the splits that have room, with odds as the room
    that is left; so sizes come out near the fractions. None makes up more than a third of a class in a split, if it
    fits elsewhere: a test split of few patients would say little.

    Args:
        cases: all cases.
        fractions: of ``"validation"`` and ``"test"``, 0 or more; the rest is for training.
        seed: seed of the split; names decide, not their order.

    Raises:
        ConfigError: fractions that are negative or leave nothing for training.
        DataError: a split lacks a class.
    """
    if min(fractions.values()) < 0 or sum(fractions.values()) >= 1:
        raise ConfigError("bad fractions", expected="0 or more each, below 1 together", got=dict(fractions))
    patients: dict[str, Counter[int]] = {}
    for case in cases:
        patients.setdefault(case.patient, Counter())[case.label] += 1
    wanted = [name for name in SPLITS if name == "training" or fractions.get(name, 0.0) > 0]
    rooms = _rooms(Counter(case.label for case in cases), fractions)
    order = sorted(draw_order(patients, seed, "class split"), key=lambda name: -patients[name].total())
    place = _placed({name: patients[name] for name in order}, {name: rooms[name] for name in wanted}, seed)
    splits = {name: tuple(case for case in cases if place[case.patient] == name) for name in SPLITS}
    labels = {case.label for case in cases}
    lacking = [
        f"{name} lacks class {label}"
        for name in wanted
        for label in sorted(labels - {case.label for case in splits[name]})
    ]
    if lacking:
        raise DataError(
            f"the split leaves out classes: {', '.join(lacking)}",
            expected="a patient of each class in each split",
            remedy="use other fractions, another seed or more patients",
        )
    return splits


def _placed(patients: Mapping[str, Counter[int]], room: Mapping[str, Counts], seed: int) -> dict[str, str]:
    """The split of every patient; ``room`` (split -> class -> cases) is used up."""
    most = {
        name: {label: max(1.0, count * LARGEST_SHARE) for label, count in row.items()} for name, row in room.items()
    }
    waiting = Counter(label for counts in patients.values() for label in counts)
    lacking = {label: list(room) for label in waiting}
    place: dict[str, str] = {}
    for patient, counts in patients.items():
        # The last patients of a class go where it has none yet.
        urgent = [lacking[label] for label in counts if 0 < len(lacking[label]) >= waiting[label]]
        open_ = {name: room[name] for name in (urgent[0] if urgent else room)}
        place[patient] = split = _choose(open_, most, counts, _unit(patient, seed))
        for label, count in counts.items():
            room[split][label] -= count
            waiting[label] -= 1
            lacking[label] = [name for name in lacking[label] if name != split]
    return place


def _rooms(total: Mapping[int, int], fractions: Mapping[str, float]) -> dict[str, Counts]:
    room: dict[str, Counts] = {"training": {label: float(count) for label, count in total.items()}}
    for name in ("validation", "test"):
        fraction = fractions.get(name, 0.0)
        room[name] = {label: max(1.0, fraction * count) if fraction else 0.0 for label, count in total.items()}
        for label in total:
            room["training"][label] -= room[name][label]
    return room


def _choose(room: Mapping[str, Counts], most: Mapping[str, Counts], wanted: Mapping[int, int], chance: float) -> str:
    fitting = {name: min(left[label] / count for label, count in wanted.items()) for name, left in room.items()}
    small = {name: all(count <= most[name][label] for label, count in wanted.items()) for name in room}
    weights = {
        name: sum(count * max(room[name][label], 0.0) for label, count in wanted.items())
        if fit >= 0.5 and small[name]
        else 0.0
        for name, fit in fitting.items()
    }
    if not any(weights.values()):
        return max(fitting, key=lambda name: fitting[name])
    goal = chance * sum(weights.values())
    for name, weight in weights.items():
        goal -= weight
        if goal < 0:
            return name
    return max(weights, key=lambda name: weights[name])  # rounding


def _unit(name: str, seed: int) -> float:
    """A number in [0, 1) that is the same on every machine and version."""
    return int.from_bytes(hashlib.sha256(f"place:{seed}:{name}".encode()).digest()[:7], "big") / 2**56
