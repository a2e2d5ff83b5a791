"""How long, from where, and with which losses to train."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from medtl_monai.bundle.planning.choice import Choice
from medtl_monai.bundle.planning.data_fingerprint import Fingerprint
from medtl_monai.bundle.planning.options import PlanOptions
from medtl_monai.transfer.source import SCRATCH

FEW_CASES = 16  # the study below was made with 4 and 16
STEPS = {"segmentation": 4000, "classification": 1000}
LEAST_STEPS = 20  # per epoch: validation after every two steps would cost more than the training
RATES = {"segmentation": 1e-3, "classification": 1e-4}
_STUDY = (
    "README (docs/study.md), hippocampus, Dice against scratch: at 4 scans lp_ft +0.044 [0.021, 0.067] and fine_tune "
    "+0.044 [0.021, 0.068], at 16 +0.047 and +0.045; heads on frozen features stayed behind"
)


def choose_split(fingerprint: Fingerprint, options: PlanOptions) -> Choice[dict[str, Any]]:
    """Fractions for validation and test, by patient; those of a datalist that came with the data are kept."""
    if fingerprint.splits:
        counts = ", ".join(f"{count} {split}" for split, count in fingerprint.splits.items())
        return Choice({"given": True}, f"the datalist that came with the data has {counts} cases")
    few = fingerprint.patients < 50
    validation = options.validation if options.validation is not None else 0.2 if few else 0.1
    test = options.test if options.test is not None else 0.2
    reason = f"{fingerprint.patients} patients{' (below 50)' if few else ''}: {validation:.0%} for validation, "
    reason += f"{test:.0%} for test, no patient in two splits"
    if fingerprint.patients < 10:
        reason += "; so few that test results will have wide intervals"
    return Choice({"given": False, "validation": validation, "test": test, "seed": options.seed}, reason)


def training_cases(fingerprint: Fingerprint, split: Mapping[str, Any]) -> int:
    """How many cases training will have, one at least (approximately, where patients have several)."""
    if split["given"]:
        return max(1, fingerprint.splits["training"])
    held = sum(max(1, round(split[name] * fingerprint.cases)) for name in ("validation", "test"))
    return max(1, fingerprint.cases - held)


def choose_strategy(source: str, training: int) -> Choice[str]:
    """What trains."""
    if source == SCRATCH:
        return Choice("scratch", "random weights: there is nothing to keep")
    if training <= FEW_CASES:
        return Choice(
            "lp_ft", f"{training} training cases, at most {FEW_CASES}: the head first, then everything. {_STUDY}"
        )
    return Choice("fine_tune", f"{training} training cases, more than {FEW_CASES}: everything trains. {_STUDY}")


def choose_epochs(task: str, training: int, batch: int, options: PlanOptions) -> tuple[Choice[int], Choice[int | None]]:
    """Epochs, and cases per epoch (None: each once) where an epoch would have fewer than `LEAST_STEPS` steps."""
    steps = options.steps or STEPS[task]
    per_epoch = math.ceil(training / batch)
    wanted = min(LEAST_STEPS, steps)
    cases: Choice[int | None] = Choice(None, f"{per_epoch} steps per epoch, at least {wanted}: each case once")
    if per_epoch < wanted:
        reason = (
            f"{training} cases in batches of {batch} are {per_epoch} steps; {wanted} make an epoch worth a validation"
        )
        per_epoch, cases = wanted, Choice(wanted * batch, reason)
    epochs = math.ceil(steps / per_epoch)
    return Choice(epochs, f"{steps} steps at {per_epoch} per epoch"), cases


def choose_rate(task: str, source: str) -> Choice[float]:
    """The learning rate of AdamW."""
    rate = RATES[task]
    return Choice(rate, f"{rate:g} is the rate of this library's {task} bundles; `medtl study --rates` compares others")


def choose_loss(fingerprint: Fingerprint) -> Choice[dict[str, Any]]:
    """Loss, class weights (None: equal) by class, and for segmentation the odds ``pos``:``neg`` of crops."""
    if fingerprint.task == "classification":
        return _class_loss(fingerprint.class_cases)
    sizes = {label: 0.0 for label in fingerprint.names if label}
    shares = []
    for case in fingerprint.read:
        for label, facts in case.labels.items():
            sizes[label] = sizes.get(label, 0.0) + facts.voxels / len(fingerprint.read)
        shares.append(sum(facts.voxels for facts in case.labels.values()) / math.prod(case.shape))
    share = float(np.median(shares)) if shares else 0.0
    pos = 1 if share >= 0.1 else 2 if share >= 0.01 else 3
    value: dict[str, Any] = {"name": "dice_ce", "class_weights": None, "pos": pos, "neg": 1}
    reason = f"foreground is {share:.2%} of the median image, so crops are centred on it {pos}:1"
    present = {key: size for key, size in sizes.items() if size > 0}
    reason += ", on each label equally often" if len(sizes) > 1 else ""
    if len(present) > 1 and max(present.values()) > 10 * min(present.values()):
        roots = {key: 1 / math.sqrt(size) for key, size in present.items()}
        mean = sum(roots.values()) / len(roots)
        value["class_weights"] = {"0": 1.0, **{str(key): round(roots[key] / mean, 3) if key in roots else 1.0
                                               for key in sizes}}  # fmt: skip
        reason += f"; labels differ in size by {max(present.values()) / min(present.values()):.3g} times (above 10): "
        reason += "weights by one over the square root of the size"
    return Choice(value, reason)


def _class_loss(counts: Mapping[int, int]) -> Choice[dict[str, Any]]:
    value: dict[str, Any] = {"name": "cross_entropy", "class_weights": None}
    ratio = max(counts.values()) / min(counts.values())
    reason = f"the largest class has {max(counts.values())} cases, the smallest {min(counts.values())}"
    if ratio <= 1.5:
        return Choice(value, f"{reason}: at most 1.5 times, equal weights")
    total = sum(counts.values())
    value["class_weights"] = {str(key): round(total / (len(counts) * count), 3) for key, count in counts.items()}
    return Choice(value, f"{reason}: above 1.5 times, weights by one over the number of cases")
