"""D6: names of channels, and what masks hold for them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from medtl_monai.bundle.doctor.metadata import problem_at
from medtl_monai.bundle.doctor.outcome import Outcome, Problem, judged, warned
from medtl_monai.bundle.doctor.subject import Subject, at, chain, target_of

_INFERENCE = "configs/inference.json"
_LARGEST_MASK = 255


def channel_names(subject: Subject) -> Outcome:
    """D6: keys "0", "1", ... for all channels, different names, no class called background, values that fit a mask."""
    place = ("network_data_format", "outputs", "pred")
    problems = []
    for side, key in (("inputs", "image"), ("outputs", "pred")):
        tensor = subject.tensor(side)  # type: ignore[arg-type]
        names = tensor.get("channel_def")
        for message in _wrong_names(names, tensor.get("num_channels")) if "channel_def" in tensor else ():
            place = ("network_data_format", side, key)
            problems.append(problem_at(subject, f"{side}: {message}", 'write {"0": "background", ...}', *place))
    names = subject.tensor("outputs").get("channel_def")
    if not isinstance(names, dict):
        problems.append(
            problem_at(subject, "pred has no channel_def", "name its channels: MONAI Label shows them", *place)
        )
    elif subject.task == "segmentation" and all(isinstance(name, str) for name in names.values()):
        late = [key for key, name in names.items() if name.lower() == "background" and key != "0"]
        problems += [problem_at(subject, f"channel {key} is background", "0 is background", *place) for key in late]
    problems += _different_values(subject)
    return judged(problems) if problems else warned(_numbered_otherwise(subject))


def _wrong_names(names: object, channels: object) -> list[str]:
    if not isinstance(names, dict) or not all(isinstance(name, str) and name for name in names.values()):
        return ["channel_def is no mapping of texts"]
    found = []
    expected = [str(index) for index in range(channels)] if type(channels) is int else []
    if type(channels) is int and channels > 1 and sorted(names) != sorted(expected):
        found.append(f"channel_def names {', '.join(names)} of {channels} channels")
    if any(not key.isdecimal() or int(key) > _LARGEST_MASK for key in names):
        found.append(f"a key of channel_def is no number up to {_LARGEST_MASK}")
    if len({name.lower() for name in names.values()}) < len(names):
        found.append("two channels have one name")
    return found


def _different_values(subject: Subject) -> Iterator[Problem]:
    """Training and inference that do not write the same list ``label_values``."""
    train, inference = subject.label_values("train"), subject.label_values("inference")
    if train and inference and train != inference:
        message = f"label_values are {_words(inference)}, in train.json {_words(train)}"
        yield Problem(message, "write the same list", _INFERENCE, _line(subject))


def _numbered_otherwise(subject: Subject) -> Iterator[Problem]:
    """Masks that hold other values than the numbers of their channels, where MONAI Label and Deploy see them."""
    values = subject.label_values("inference")
    if subject.task != "segmentation" or not values or values == tuple(range(len(values))):
        return
    root = subject.program("inference")
    steps = chain(root, "postprocessing") if root is not None else None
    names = [target_of(step).rpartition(".")[2] for step in steps] if steps is not None else ["MapLabelValued"]
    if any(name.startswith("MapLabelValue") for name in names):
        message = (
            f"masks hold {_words(values)}, channels are {_words(range(len(values)))}: MONAI Label tells the names "
        )
        message += (
            "of channels, 3D Slicer drops values beyond their count and misnames others, DICOM SEG needs 1, 2, ..."
        )
        remedy = "number labels without gaps, or let the saver alone, which both tools take out, put the values back"
        yield Problem(message, remedy, _INFERENCE, _line(subject))


def _words(values: Iterable[int]) -> str:
    return ", ".join(map(str, values))


def _line(subject: Subject) -> int:
    root = subject.program("inference")
    node = at(root, "label_values") if root is not None else None
    return node.line if node is not None else 1
