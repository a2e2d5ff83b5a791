"""Rows that run the commands of the contract, each in a child process, on a copy of the bundle of its own."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from medtl_monai.bundle.doctor.child import NO_NETWORK
from medtl_monai.bundle.doctor.outcome import Outcome, failed, judged, not_applicable, not_run
from medtl_monai.bundle.doctor.outputs import wrong_outputs
from medtl_monai.bundle.doctor.processes import Finished, Processes
from medtl_monai.bundle.doctor.subject import Subject, at
from medtl_monai.bundle.doctor.synthetic import TRAINING, Cases, make_cases

Place = Literal["root", "elsewhere"]
_META = "configs/metadata.json"


class Session:
    """One examination: the bundle, copies of it, synthetic cases, and what commands gave.

    Args:
        subject: the bundle; only copies of it are run.
        processes: starts children.
        schema: file of MONAI's schema of metadata, if there is one.
    """

    def __init__(self, subject: Subject, processes: Processes, schema: Path | None) -> None:
        self.subject, self.processes, self.schema = subject, processes, schema
        self.base = subject.folder  # with initial weights where the bundle has none, see use_random_weights
        self.refusal: Finished | None = None  # how preprocessing failed on the synthetic cases, if it did
        self._inferred: dict[str, tuple[Finished, Path]] = {}
        self._exported: tuple[Finished, Path, bool] | None = None

    def copy(self) -> Path:
        """A copy of the bundle under its own name, without links."""
        return Path(shutil.copytree(self.base, self.processes.folder() / self.subject.name))

    def use_random_weights(self) -> Finished | None:
        """Put initial weights into the copies; how that failed, if it did."""
        base = self.copy()
        outcome = self.processes.row("objects.random_weights", base, {})
        self.base = base
        return outcome if isinstance(outcome, Finished) else None

    @cached_property
    def cases(self) -> Cases:
        """Synthetic cases, of masks if only those pass preprocessing. Raises ValueError as :func:`make_cases`."""
        made = make_cases(self.subject, self.processes.folder() / "cases")
        self.refusal = self._refusal(made)
        if self.refusal is None or made.images[0].suffix == ".png":
            return made
        others = make_cases(self.subject, self.processes.folder() / "cases", as_masks=True)
        if self._refusal(others) is not None:
            return made
        self.refusal = None
        return others

    def _refusal(self, cases: Cases) -> Finished | None:
        found = self.row("objects.preprocess", {"image": str(cases.images[0])})
        return found if isinstance(found, Finished) else None

    def row(self, function: str, data: Mapping[str, Any] | None = None) -> Outcome | Finished:
        """Call a function of this package on a copy of the bundle, in a child."""
        return self.processes.row(function, self.copy(), data or {})

    @cached_property
    def n(self) -> int:
        """The smallest ``n`` of 1, 2, 4 and 8 at which the network takes the declared shape; 0 if it takes none."""
        for n in (1, 2, 4, 8):
            if isinstance(self.row("objects.larger_shape", {"n": n}), Outcome):
                return n
        return 0

    def data_for(self, kind: str) -> dict[str, Any]:
        """What has to be overridden so that a workflow works on the synthetic cases."""
        found: dict[str, Any] = {"dataset_dir": str(self.cases.folder)}
        lists: dict[str, object] = {"dataset#data": self.cases.inference}
        if kind == "train":
            lists = {"train#dataset#data": self.cases.training, "validate#dataset#data": self.cases.validation}
        root = self.subject.program(kind)
        return found | {name: rows for name, rows in lists.items() if root is not None and at(root, name) is not None}

    def inferred(self, place: Place, number: int = 0) -> tuple[Finished, Path]:
        """One inference from a folder, and where it wrote; run once for each number."""
        key = f"{place} {number}"
        if key not in self._inferred:
            bundle, output = self.copy(), self.processes.folder() / "out"
            prefix = "" if place == "root" else f"{bundle}/"
            options = {"config_file": f"{prefix}configs/inference.json", "meta_file": prefix + _META}
            options |= self.data_for("inference") | {"output_dir": str(output)}
            options |= {} if place == "root" else {"bundle_root": str(bundle)}
            folder = bundle if place == "root" else self.processes.folder()
            self._inferred[key] = (self.processes.command("run", options, folder), output)
        return self._inferred[key]

    def exported(self) -> tuple[Finished, Path, bool]:
        """The export, its file, and whether it was traced because the network cannot be scripted."""
        if self._exported is None:
            bundle, script = self.copy(), self.processes.folder() / "model.ts"
            options: dict[str, object] = {"net_id": "network_def", "filepath": script, "meta_file": _META}
            options |= {"config_file": "configs/inference.json", "ckpt_file": "models/model.pt"}
            finished, traced = self.processes.command("ckpt_export", options, bundle), False
            if finished.code:
                size = [1, self.subject.channels("inputs"), *self.subject.shape(n=self.n or 1)]
                second = self.processes.command(
                    "ckpt_export", {**options, "use_trace": True, "input_shape": str(size)}, bundle
                )
                finished, traced = (second, True) if second.code == 0 else (finished, False)
            self._exported = (finished, script, traced)
        return self._exported


def verify_metadata(session: Session) -> Outcome:
    """CLI-META."""
    if session.schema is None:
        return not_run("no schema here: give --schema FILE, or set MEDTL_META_SCHEMA")
    options = {"meta_file": _META, "filepath": session.schema}
    return _ended(session.processes.command("verify_metadata", options, session.copy()), "correct metadata.json")


def verify_net(session: Session) -> Outcome:
    """CLI-NET."""
    options = {"net_id": "network_def", "meta_file": _META, "config_file": "configs/inference.json", "device": "cpu"}
    return _ended(session.processes.command("verify_net_in_out", options, session.copy()), "see NET and D8")


def infer(session: Session, place: Place) -> Outcome:
    """CLI-INFER, CLI-ELSEWHERE."""
    finished, output = session.inferred(place)
    remedy = "load weights in handlers, by @bundle_root" if place == "elsewhere" else "run it and see"
    if finished.code and place == "elsewhere" and session.inferred("root")[0].code:
        return not_run("inference fails in the bundle's folder too: see CLI-INFER")
    if finished.code:
        return failed(finished.error, remedy, "configs/inference.json")
    return judged(wrong_outputs(session.subject, session.cases, output))


def same_bytes(session: Session) -> Outcome:
    """OFFLINE: all children have no network; here two runs are compared."""
    first, second = session.inferred("root"), session.inferred("root", 1)
    for finished, _ in (first, second):
        if finished.code and NO_NETWORK in finished.output:
            return failed(finished.error, "put what it fetches into the bundle", "configs/inference.json")
        if finished.code:
            return not_run("inference fails: see CLI-INFER")
    one, other = _digests(first[1]), _digests(second[1])
    if not one:
        return not_run("inference left no files to compare")
    differ = sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))
    remedy = "set_determinism in initialize; no random steps in preprocessing"
    return failed(f"two runs differ in {', '.join(differ)}", remedy) if differ else judged([])


def _digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".log")
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def train(session: Session) -> Outcome:
    """CLI-TRAIN: one epoch, which has to write weights."""
    bundle = session.copy()
    before = {path: path.stat().st_mtime_ns for path in bundle.rglob("*.pt")}
    options = {"config_file": "configs/train.json", "meta_file": _META, "train#trainer#max_epochs": 1}
    options |= _short(session.subject) | session.data_for("train")
    finished = session.processes.command("run", options, bundle)
    if finished.code:
        return failed(finished.error, "run it and see", "configs/train.json")
    if not any(before.get(path) != path.stat().st_mtime_ns for path in bundle.rglob("*.pt")):
        return failed("training wrote no weights", "save them in a handler", "configs/train.json")
    return judged([])


def _short(subject: Subject) -> dict[str, int]:
    """Knobs of an epoch that is validated and draws no more cases than there are, where the training has them."""
    root = subject.program("train")
    found = {name: at(root, name) if root is not None else None for name in ("val_interval", "cases_per_epoch")}
    knobs = {"val_interval": 1} if found["val_interval"] is not None else {}
    drawn = found["cases_per_epoch"]
    more = {"cases_per_epoch": TRAINING} if drawn is not None and type(drawn.value) is int else {}
    return knobs | more


def evaluate(session: Session) -> Outcome:
    """CLI-EVALUATE."""
    if not session.subject.has("configs/evaluate.json"):
        return not_applicable("no configs/evaluate.json")
    bundle, output = session.copy(), session.processes.folder() / "out"
    options = {"config_file": "['configs/train.json','configs/evaluate.json']", "meta_file": _META}
    more = session.data_for("train") | {"output_dir": str(output)}
    finished = session.processes.command("run", options | more, bundle)
    if finished.code:
        return failed(finished.error, "run it and see", "configs/evaluate.json")
    if not _digests(output):
        return failed("evaluation wrote nothing to output_dir", "add MetricsSaver", "configs/evaluate.json")
    return judged([])


def export(session: Session) -> Outcome:
    """CLI-EXPORT."""
    finished, script, traced = session.exported()
    if finished.code:
        return failed(finished.error, "make forward scriptable, or traceable", "configs/inference.json")
    if not session.n:
        return not_run("the network takes no declared input: see NET")
    outcome = session.row("deploy.equal_to_eager", {"script": str(script), "n": session.n})
    if isinstance(outcome, Finished):
        return failed(outcome.error, "the exported network does not run", "models/model.ts")
    note = f"traced, for it cannot be scripted (K6); {outcome.note}" if traced else outcome.note
    return Outcome(outcome.state, outcome.problems, note)


def onnx(session: Session) -> Outcome:
    """CLI-ONNX."""
    size = [1, session.subject.channels("inputs"), *session.subject.shape(n=session.n or 1)]
    options: dict[str, object] = {"net_id": "network_def", "filepath": session.processes.folder() / "model.onnx"}
    options |= {"meta_file": _META, "config_file": "configs/inference.json", "ckpt_file": "models/model.pt"}
    finished = session.processes.command("onnx_export", {**options, "input_shape": str(size)}, session.copy())
    return _ended(finished, "needs onnx and onnxscript; else see what the exporter cannot convert")


def _ended(finished: Finished, remedy: str) -> Outcome:
    return failed(finished.error, remedy) if finished.code else judged([])
