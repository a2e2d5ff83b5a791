"""Rows about the configurations as text: ids, chains of transforms, handlers; D10, K2, K4."""

from __future__ import annotations

import re

from medtl_monai.bundle.doctor.outcome import Outcome, Problem, judged, not_applicable, not_run
from medtl_monai.bundle.doctor.subject import Subject, at, chain, components, follow, target_of, texts
from medtl_monai.bundle.lint_nodes import Node, text_of

INFERENCE_IDS = "bundle_root device dataset_dir dataset evaluator network_def inferer output_dir run"
TRAIN_IDS = "bundle_root device dataset_dir train#trainer train#trainer#max_epochs train#dataset train#inferer"
LABEL_TRAIN_IDS = "network_def network train#dataset#data train#handlers validate#dataset#data"
CONFIGS = ("inference", "train")
PROGRAMS = (("inference",), ("train",), ("train", "evaluate"))
_LOADERS = re.compile(r"CheckpointLoader|load_state_dict|torch\.load|copy_model_state|\bcheckpoint\w*\(")
_SAVERS = ("SaveImaged", "SaveImageD", "SaveImageDict")


def required_ids(subject: Subject, stem: str, ids: str) -> Outcome:
    """INF-IDS, TRAIN-IDS: which of these ids the configuration lacks."""
    root = subject.program(stem)
    if root is None:
        return _absent(subject, stem)
    missing = [name for name in ids.split() if at(root, name) is None]
    return judged(
        Problem(f"no id {name}", "add it: tools look for just this name", f"configs/{stem}.json") for name in missing
    )


def _absent(subject: Subject, stem: str) -> Outcome:
    if stem == "train" and not subject.has("configs/train.json"):
        return not_applicable("no configs/train.json")
    return not_run(f"configs/{stem}.json cannot be read")


def no_metadata(subject: Subject) -> Outcome:
    """D10."""
    problems = []
    for stem in CONFIGS:
        root = subject.program(stem)
        for _, node, text in texts(root) if root is not None else ():
            if re.search(r"[@%]_meta_", text):
                remedy = "write the value: MONAI Label does not read metadata into configurations"
                problems.append(Problem(f"{text} needs metadata", remedy, node.file, node.line))
    return judged(problems)


def silent_loaders(subject: Subject) -> Outcome:
    """K2."""
    problems: dict[Problem, None] = {}
    for stems in PROGRAMS:
        root = subject.program(*stems)
        for node, name in components(root) if root is not None else ():
            switch = node.child("strict_shape")
            if name == "CheckpointLoader" and switch is not None and switch.value is False:
                message = "CheckpointLoader with strict_shape false loads nothing, without a word"
                remedy = "use monai.networks.utils.copy_model_state and look at what it loaded"
                problems[Problem(message, remedy, switch.file, switch.line)] = None
    return judged(problems)


def loading_in_initialize(subject: Subject) -> Outcome:
    """K4: in inference.json only; training may load transfer weights there."""
    root = subject.program("inference")
    if root is None:
        return _absent(subject, "inference")
    remedy = "load in handlers: load() and MONAI Label run initialize before they set bundle_root"
    problems = []
    start = follow(root, at(root, "initialize"))
    for _, step in start.children() if start is not None else ():
        used = _uses(root, step)
        if any(_LOADERS.search(text) for text in used):
            problems.append(Problem("initialize loads weights", remedy, step.file, step.line))
    return judged(problems)


def _uses(root: Node, step: Node) -> list[str]:
    """The texts of a step, and those of the components that it refers to by a plain reference."""
    found = [text for _, _, text in texts(step)]
    for text in list(found):
        for name in re.findall(r"@([\w#:]+)", text):
            node = follow(root, at(root, name))
            target = target_of(node) if node is not None else ""
            found += [target] if target else []
    return found


def plain_device(subject: Subject) -> Outcome:
    """INF-DEVICE: MONAI Label replaces device by a text."""
    problems = []
    for stem in CONFIGS:
        root = subject.program(stem)
        for _, node, text in texts(root) if root is not None else ():
            if re.search(r"@device\.(type|index)", text):
                remedy = "ask $str(@device).startswith('cuda')"
                problems.append(Problem(f"{text} fails where device is a text", remedy, node.file, node.line))
    return judged(problems)


def loading_chain(subject: Subject) -> Outcome:
    """INF-CHAIN."""
    root = subject.program("inference")
    if root is None:
        return _absent(subject, "inference")
    steps = chain(root, "preprocessing")
    if steps is None:
        return not_run("the steps of preprocessing are not written out")
    names = [target_of(step).rpartition(".")[2] for step in steps]
    problems = []
    if not names or not names[0].startswith("Load"):
        problems.append(_step("the first step loads no image", "start with LoadImaged", steps, 0))
    if len(names) < 2 or not names[1].startswith("EnsureChannelFirst"):
        problems.append(_step("the channel is not put first", "go on with EnsureChannelFirstd", steps, 1))
    for index, (name, step) in enumerate(zip(names, steps, strict=True)):
        if "." not in target_of(step) and name and not name.endswith(("d", "D", "Dict")):
            problems.append(_step(f"{name} works on arrays", f"use {name}d with keys", steps, index))
    return judged(problems)


def _step(message: str, remedy: str, steps: list[Node], index: int) -> Problem:
    node = steps[index] if index < len(steps) else None
    return Problem(message, remedy, "configs/inference.json", node.line if node is not None else 1)


def mask_chain(subject: Subject) -> Outcome:
    """INF-POST. A step from outside MONAI may do what one of MONAI's would: LABEL-INFER then tells."""
    if subject.task != "segmentation":
        return not_applicable("no segmentation")
    root = subject.program("inference")
    if root is None:
        return _absent(subject, "inference")
    steps = chain(root, "postprocessing")
    if steps is None:
        return not_run("the steps of postprocessing are not written out")
    names = [target_of(step) for step in steps]
    own = any("." in name and not name.startswith("monai.") for name in names)
    last = [name.rpartition(".")[2] for name in names]
    problems = []
    if not own and not any("Invert" in name for name in last):
        remedy = "add Invertd with the preprocessing: else masks are on another grid than the image in MONAI Label"
        problems.append(_step("no Invertd", remedy, steps, 0))
    if not own and not any("Discrete" in name for name in last):
        remedy = "add AsDiscreted with argmax: else MONAI Label writes scores in several channels"
        problems.append(_step("no AsDiscreted", remedy, steps, 0))
    savers = [index for index, name in enumerate(last) if name in _SAVERS]
    if not savers and not own:
        problems.append(_step("no SaveImaged", "end with it: the command line would leave nothing", steps, 0))
    elif savers and savers[-1] != len(last) - 1:
        problems.append(_step("SaveImaged is not the last step", "what follows it is lost", steps, savers[-1]))
    return judged(problems)


def shown_settings(subject: Subject) -> Outcome:
    """INF-DISPLAY: numbers, true or false, texts, or lists of texts."""
    problems = []
    for stem in CONFIGS:
        root = subject.program(stem)
        shown = at(root, "displayable_configs") if root is not None else None
        if shown is not None and not isinstance(shown.value, dict):
            problems.append(Problem("displayable_configs is no mapping", "write one", shown.file, shown.line))
        for key, node in shown.children() if shown is not None and isinstance(shown.value, dict) else ():
            values = [child.value for _, child in node.children()] if isinstance(node.value, list) else None
            fine = all(isinstance(one, str) for one in values) if values is not None else _is_scalar(node)
            if not fine:
                remedy = "numbers, true, false, or a list of texts to choose from"
                problems.append(Problem(f"{key} cannot be shown in a form", remedy, node.file, node.line))
    return judged(problems)


def _is_scalar(node: Node) -> bool:
    return isinstance(node.value, bool | int | float | str) and not str(node.value).startswith("$")


def label_in_inference(subject: Subject) -> Outcome:
    """INF-LABEL."""
    if subject.task != "classification":
        return not_applicable("no classification")
    root = subject.program("inference")
    if root is None:
        return _absent(subject, "inference")
    found = [node for where, node, text in texts(root) if text == "label" and "_target_" not in where]
    remedy = "inference has no labels: take the step out"
    return judged(Problem("the key label is used", remedy, node.file, node.line) for node in found)


def label_parents(subject: Subject) -> Outcome:
    """TRAIN-PARENTS: what MONAI Label overrides, and what check_properties needs (K10)."""
    root = subject.program("train")
    if root is None:
        return _absent(subject, "train")
    problems = []
    for name in LABEL_TRAIN_IDS.split():
        if at(root, name) is None:
            problems.append(Problem(f"no id {name}", "MONAI Label's training needs it", "configs/train.json"))
    for name in ("train", "train#dataset", "train#trainer", "validate", "validate#dataset"):
        node = at(root, name)
        if node is not None and not isinstance(node.value, dict):
            remedy = "write the mapping itself: MONAI Label overrides values in it"
            problems.append(Problem(f"{name} is no mapping", remedy, node.file, node.line))
    handlers = at(root, "train#handlers")
    for _, node in handlers.children() if handlers is not None else ():
        if not isinstance(node.value, dict):
            remedy = "write the mapping itself: MONAI Label and check_properties look into it"
            problems.append(Problem("a handler is no mapping", remedy, node.file, node.line))
    return judged(problems)


def metric_names(subject: Subject) -> Outcome:
    """EVAL-METRICS."""
    problems: dict[Problem, None] = {}
    for stems in (("train",), ("train", "evaluate")):
        root = subject.program(*stems)
        known = _metrics(root) if root is not None else None
        for node, name in components(root) if root is not None and known else ():
            named = node.child("metrics") if name == "MetricsSaver" else None
            for one in _named(named):
                if one.value != "*" and one.value not in (known or ()):
                    remedy = f"the metrics are {', '.join(sorted(known or ()))}"
                    problems[Problem(f"MetricsSaver names {one.value}", remedy, one.file, one.line)] = None
    return judged(problems)


def _named(node: Node | None) -> list[Node]:
    if node is not None and isinstance(node.value, list):
        return [child for _, child in node.children()]
    return [node] if node is not None and text_of(node) is not None else []


def _metrics(root: Node) -> set[str]:
    """Names under key and additional metrics of the validation (and of the training), as far as written out."""
    found: set[str] = set()
    for side in ("validate#evaluator", "train#trainer"):
        for key in ("key_val_metric", "additional_metrics", "key_train_metric"):
            node = follow(root, at(root, f"{side}#{key}"))
            found |= {name for name, _ in node.children()} if node is not None else set()
    return found
