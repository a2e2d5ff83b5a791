"""Clinical words in the names of a task, its labels and its classes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

# Window of medtl_monai.transforms.ct.CT_WINDOWS -> beginnings of words that ask for it.
_WINDOW_WORDS: dict[str, tuple[str, ...]] = {
    "lung": ("lung", "pulmo", "airway", "trachea", "bronch", "covid", "pneumo", "emphysem"),
    "mediastinum": ("mediastin", "heart", "cardi", "aort", "esophag", "oesophag", "thym", "atri", "myocard"),
    "bone": ("bone", "rib", "verteb", "femur", "fractur", "skull", "sacr", "scapul", "clavic", "humer", "hip", "spine"),
    "abdomen": ("abdom", "liver", "hepat", "kidney", "renal", "spleen", "pancrea", "adrenal", "stomach", "colon",
                "bowel", "duoden", "gallbladder", "prostat", "bladder"),
    "brain": ("brain", "haemorr", "hemorr", "ventricl", "cerebr", "intracran", "head"),
    "stroke": ("stroke", "infarct", "ischaem", "ischem"),
    "subdural": ("subdur", "epidur"),
}  # fmt: skip
_PARTS_OF_OTHERS = ("hippocamp",)  # begin like a word of another organ
_BRAIN = ("brain", "hippocamp", "cortex", "cortical", "ventricl", "thalam", "glio", "cerebr", "amygdal", "putamen",
          "caudate", "neuro", "stroke", "brats")  # fmt: skip
_LEFT = {"left", "lt", "sinistra", "links"}
_RIGHT = {"right", "rt", "dextra", "rechts"}


def words_in(texts: Iterable[str]) -> list[str]:
    """The words of names such as ``"left_kidney"`` or ``"LiverTumour"``, lower case, in order."""
    apart = (re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text) for text in texts)
    return [word for text in apart for word in re.split(r"[^a-z]+", text.lower()) if word]


def window_words(texts: Iterable[str]) -> dict[str, list[str]]:
    """The CT windows that names ask for, with the words that do."""
    found: dict[str, list[str]] = {}
    for word in words_in(texts):
        if word.startswith(_PARTS_OF_OTHERS):
            continue
        for window, beginnings in _WINDOW_WORDS.items():
            if word.startswith(beginnings):
                found.setdefault(window, []).append(word)
    return {window: list(dict.fromkeys(words)) for window, words in found.items()}


def brain_words(texts: Iterable[str]) -> list[str]:
    """The words that speak of the brain."""
    return list(dict.fromkeys(word for word in words_in(texts) if word.startswith(_BRAIN)))


def sided_names(names: Mapping[int, str]) -> list[str]:
    """Names that tell left from right: they hold such a word, or end in ``l`` where another ends in ``r``."""
    words = {name: words_in([name]) for name in names.values()}
    sided = [name for name, parts in words.items() if set(parts) & (_LEFT | _RIGHT)]
    stems = {tuple(parts[:-1]): name for name, parts in words.items() if len(parts) > 1 and parts[-1] == "l"}
    for name, parts in words.items():
        if len(parts) > 1 and parts[-1] == "r" and tuple(parts[:-1]) in stems:
            sided += [stems[tuple(parts[:-1])], name]
    return list(dict.fromkeys(sided))
