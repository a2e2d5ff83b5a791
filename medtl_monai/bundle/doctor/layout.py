"""Rows about files and names: L1 to L4, L6 to L9, K11, K12."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

from medtl_monai.bundle.doctor.outcome import Outcome, Problem, failed, judged, not_applicable, not_run
from medtl_monai.bundle.doctor.subject import Subject, file_of, texts
from medtl_monai.bundle.lint_files import LARGE_FILES
from medtl_monai.bundle.lint_findings import LintFinding
from medtl_monai.bundle.lint_nodes import text_of

TASK_WORDS = ("deepedit", "deepgrow", "detection", "segmentation", "classification")
REQUIRED_FILES = {
    "LICENSE": "add the licence of the code and of the weights",
    "configs/metadata.json": "add it: every tool reads it",
    "configs/inference.json": "add it: MONAI Label, MONAI Deploy and load() open it",
}
KNOWN_STEMS = ("metadata", "inference", "train", "evaluate", "multi_gpu_train", "multi_gpu_evaluate", "inference_trt")
_LARGE = 25 * 2**20  # bytes
_CUT = re.compile(r"_v\d*.")


def required_files(subject: Subject) -> Outcome:
    """L1. Weights that are announced nowhere may be trained first: they are a note, not a breach."""
    problems = [Problem(f"no {name}", cure) for name, cure in REQUIRED_FILES.items() if not subject.has(name)]
    return judged(problems, "" if subject.weights else "no models/model.pt: rows on weights are not run")


def task_word(subject: Subject) -> Outcome:
    """L2."""
    found = next((word for word in TASK_WORDS if word in subject.name.lower()), None)
    if found is None:
        message = (
            f"the name {subject.name} has none of {', '.join(TASK_WORDS)}: MONAI Label takes it for a segmentation"
        )
        return failed(message, "put the task into the folder's name")
    if subject.task != "other" and found != subject.task:
        return failed(
            f"the name says {found}, metadata {subject.task}", "MONAI Label goes by the name: make them agree"
        )
    return judged([])


def json_names(subject: Subject) -> Outcome:
    """L3. Files of other names are legal overlays; the known ones have to be JSON."""
    names = sorted(path.name for path in (subject.folder / "configs").glob("*") if path.suffix in (".yaml", ".yml"))
    stems = {Path(name).stem: name for name in names}
    problems = [
        Problem(f"{stems[stem]} is no JSON: load() and Deploy do not open it", f"write {stem}.json", f"configs/{name}")
        for stem, name in stems.items()
        if stem in KNOWN_STEMS and not subject.has(file_of(stem))
    ]
    return judged(problems)


def complete_files(subject: Subject, lint: list[LintFinding]) -> Outcome:
    """L4: references of inference.json and train.json lead into the same file, macros read no other one."""
    files = [file_of(stem) for stem in ("inference", "train") if subject.has(file_of(stem))]
    if not files:
        return not_run("no configuration can be read")
    remedy = "put it into this file: MONAI Label and Deploy load one file only"
    problems = [
        Problem(one.message, remedy, one.file, one.line)
        for one in lint
        if one.file in files and one.code in ("id.unknown", "id.override", "macro.missing")
    ]
    for name in files:
        root = subject.read(name)
        for _, node, text in texts(root) if root is not None else ():
            if re.match(r"%[^:#]*\.(json|ya?ml)\b", text, re.IGNORECASE):
                problems.append(Problem(f"the macro {text} reads another file", remedy, name, node.line))
    return judged(problems)


def script_name(subject: Subject) -> Outcome:
    """L6: the root inside model.ts is the stem of its name, else Deploy takes it for another kind of file."""
    path = subject.folder / "models" / "model.ts"
    if not path.is_file():
        return not_applicable("no models/model.ts")
    remedy = "make it anew with ckpt_export --filepath models/model.ts"
    try:
        with zipfile.ZipFile(path) as archive:
            roots = {name.split("/")[0] for name in archive.namelist()}
    except zipfile.BadZipFile:
        return failed("no archive of TorchScript", remedy, "models/model.ts")
    if roots != {"model"}:
        return failed(
            f"the archive holds {', '.join(sorted(roots))}/, not model/: it was renamed", remedy, "models/model.ts"
        )
    return judged([])


def python_code(subject: Subject) -> Outcome:
    """L7: Deploy and load() do not import the bundle's own code; outside of ``scripts`` Label does not either."""
    files = sorted(path.relative_to(subject.folder).as_posix() for path in subject.folder.rglob("*.py"))
    remedy = "put the code into an installed package that metadata require"
    problems = [
        Problem("code outside of the package scripts", remedy, name)
        for name in files
        if not name.startswith("scripts/")
    ]
    for stem in ("inference", "train"):
        root = subject.program(stem)
        for where, node, text in texts(root) if root is not None and files else ():
            if re.search(r"\bscripts\.", text) and where[0] != "imports":
                problems.append(Problem(f"{text} needs the bundle's own code", remedy, node.file, node.line))
    inside = "" if problems or not files else "scripts/ is invisible to MONAI Deploy and to load()"
    return judged(problems, inside)


def large_files(subject: Subject) -> Outcome:
    """L8: every announced file is here, with path, url and hash; nothing else is larger than 25 MiB."""
    name = next((one for one in LARGE_FILES if subject.has(one)), None)
    root = subject.read(name) if name else None
    listing = root.child("large_files") if root is not None else None
    if name and listing is None:
        return failed(
            "the list of files cannot be read", "write large_files: with path, url, hash_val, hash_type", name
        )
    problems, listed = [], set()
    for _, entry in listing.children() if listing is not None and name else ():
        path = text_of(entry.child("path")) or ""
        listed.add(path)
        lacking = [key for key in ("path", "url", "hash_val", "hash_type") if entry.child(key) is None]
        if lacking:
            problems.append(Problem(f"{path}: no {', '.join(lacking)}", "add them", name or "", entry.line))
        if path and not subject.has(path):
            remedy = "fetch it: python -m monai.bundle download_large_files --bundle_path BUNDLE"
            problems.append(Problem(f"{path} is announced, but not here", remedy, name or "", entry.line))
    for file in sorted(one for one in subject.folder.rglob("*") if one.is_file() and one.stat().st_size > _LARGE):
        relative = file.relative_to(subject.folder).as_posix()
        if relative not in listed:
            size = file.stat().st_size >> 20
            problems.append(Problem(f"{size} MiB, not in large_files.yml", "list it with its url and hash", relative))
    return judged(problems)


def logging_file(subject: Subject, lint: list[LintFinding]) -> Outcome:
    """L9."""
    name = "configs/logging.conf"
    if not subject.has(name):
        return not_applicable("no configs/logging.conf")
    return judged(Problem(one.message, one.remedy, name, one.line) for one in lint if one.file == name)


def version_digits(subject: Subject) -> Outcome:
    """K11."""
    version = subject.metadata.get("version")
    if not isinstance(version, str):
        return not_run("metadata have no version")
    long = [part for part in version.split(".") if len(part) > 1]
    if long:
        message = f"version {version}: as text, {long[0]} sorts before a larger single digit"
        return failed(message, "keep every part below 10", "configs/metadata.json")
    return judged([])


def uncut_name(subject: Subject) -> Outcome:
    """K12."""
    names = {"the folder": subject.name, "metadata": str(subject.metadata.get("name", ""))}
    problems = [
        Problem(f"{where} says {name}, which tools cut to {_CUT.split(name)[0]}", "choose a name without _v")
        for where, name in names.items()
        if _CUT.search(name)
    ]
    return judged(problems)
