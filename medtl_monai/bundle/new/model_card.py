"""`docs/README.md` of a new bundle: what was found, what was decided and why, and what to type next."""

from __future__ import annotations

from typing import Any

from medtl_monai.bundle.new.card_ends import CardFacts, block, further, limits, weights
from medtl_monai.bundle.new.found_words import found_lines, shown
from medtl_monai.bundle.new.names import title
from medtl_monai.bundle.planning.choice import Choice
from medtl_monai.bundle.planning.plan import Plan
from medtl_monai.transfer.source import SCRATCH

MEANINGS = {
    "labels": "labels, and the network's channel of each",
    "dimensions": "axes of the network",
    "modality": "modality",
    "source": "weights to start from",
    "network": "network",
    "strategy": "what trains",
    "orientation": "axes of the images",
    "spacing": "voxel size, mm",
    "patch_size": "patch, voxels",
    "image_size": "image, pixels or voxels",
    "batch_size": "images per step",
    "epochs": "epochs",
    "cases_per_epoch": "cases per epoch",
    "learning_rate": "learning rate",
    "intensity": "intensities",
    "colour": "coloured pictures",
    "flips": "mirrored along axes",
    "split": "split",
    "loss": "loss",
}


def model_card(facts: CardFacts) -> str:
    """The model card, as Markdown."""
    sections = (_head, _found, _begin, _choices, further, weights, limits)
    return "\n".join(line for section in sections for line in section(facts))


def decisions(plan: Plan) -> dict[str, Choice[Any]]:
    """The choices that matter for this plan, by name."""
    made = {name: choice for name, choice in plan.choices().items() if choice.value not in (None, "")}
    if plan.dimensions.value == 3:
        del made["colour"]
    return made


def _head(facts: CardFacts) -> list[str]:
    plan = facts.plan
    names = [name for value, name in plan.labels.value["names"].items() if value != "0" or plan.task != "segmentation"]
    does = "Marks, in every voxel of a scan," if plan.task == "segmentation" else "Tells, for a whole image,"
    between = ", ".join(names)
    return [
        f"# {title(plan.name)}",
        "",
        "Authors: fill this in. "
        f"Tags: {plan.modality.value}, {plan.dimensions.value}D, {plan.task}, transfer learning.",
        "",
        "## Description",
        "",
        f"{does} {'these structures' if plan.task == 'segmentation' else 'which of these classes it belongs to'}: "
        f"{between}.",
        "",
        "This folder is a MONAI bundle: settings in `configs/`, no program code. `medtl new` wrote it from the data "
        "described below. **It is not trained yet**; the first command below trains it.",
        "",
        "Intended use: research. **Not a medical device.**",
        "",
    ]


def _found(facts: CardFacts) -> list[str]:
    notes = [f"- Note: {note}" for note in facts.plan.notes]
    return [
        "## What was found in the data",
        "",
        *(f"- {line}" for line in found_lines(facts.fingerprint, facts.plan)),
        f"- Split into training, validation and test: `datalist.json` ({facts.place.why}): {_splits(facts)}.",
        *notes,
        "",
        "All numbers: `docs/data_fingerprint.json`. It and the datalist hold the names of your cases: look at them "
        "before you pass the bundle on.",
        "",
    ]


def _splits(facts: CardFacts) -> str:
    return ", ".join(f"{len(cases)} {split}" for split, cases in facts.place.made.splits.items())


def _begin(facts: CardFacts) -> list[str]:
    do, plan = facts.commands, facts.plan
    result = "`eval/`: a mask per image, on the image's own grid"
    if plan.task == "classification":
        result = "`eval/predictions.csv`: a probability per class"
    return [
        "## Train, evaluate, predict",
        "",
        "Type these in this folder. `DATA` is the dataset folder; set it once per terminal.",
        "",
        *block([f"DATA={facts.data}", do.train(), do.evaluate(), do.predict()]),
        "",
        "1. Training writes `models/model.pt` (the epoch that was best on the validation cases), `models/run.json` "
        "(what was run, on what) and curves. To see first whether all works: add `--epochs 1`. After a crash: "
        "`--resume True`.",
        "2. Evaluation runs that model on the test cases, which neither training nor the choice of the epoch saw, and "
        f"writes its scores with intervals into `eval/`.{_positive(plan)}",
        f"3. Prediction writes {result}. `--dataset_dir` is a file, or a folder with images of any number; "
        "`--output_dir` another place for the result.",
        "",
        *_why_source(plan),
    ]


def _positive(plan: Plan) -> str:
    if plan.task == "segmentation":
        return ""
    name = list(plan.labels.value["names"].values())[1]
    return f" Sensitivity and specificity are about class 1, {name}; for another class: `--positive NUMBER`."


def _why_source(plan: Plan) -> list[str]:
    if plan.source.value == SCRATCH:
        return [
            "Training starts from random weights, since no published weights that suit these data are on this machine "
            "(see below). `medtl weights list` shows what there is, `medtl weights fetch NAME` gets it; then run "
            "`medtl new` again, since the network comes with the weights.",
            "",
        ]
    return [
        f"`--source {plan.source.value} --strategy {plan.strategy.value}` is the transfer that was planned. Without "
        "these words training starts from random weights: a bundle must open, in MONAI Label and `monai.bundle.load`, "
        "where the published file is not. `--guard True` trains from random weights too and keeps the better model.",
        "",
    ]


def _choices(facts: CardFacts) -> list[str]:
    rows = [
        f"| {MEANINGS.get(name, name)} | {_cell(shown(name, choice.value))} | {_cell(choice.reason)} |"
        for name, choice in decisions(facts.plan).items()
    ]
    return [
        "## Every choice, and why",
        "",
        "| setting | value | reason |",
        "|---|---|---|",
        *rows,
        "",
        "Most are settings at the top of `configs/train.json`; any of them can be changed on the command line, such as "
        "`--epochs 50 --learning_rate 0.0003`. The plan as a file: `docs/plan.json`.",
        "",
    ]


def _cell(text: Any) -> str:
    return str(text).replace("|", "\\|").replace("\n", " ")
