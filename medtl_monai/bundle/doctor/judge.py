"""Which function looks at which row, and what a crash of it means."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from medtl_monai.bundle.doctor import channel_names, commands, configs, layout, metadata
from medtl_monai.bundle.doctor.commands import Session
from medtl_monai.bundle.doctor.outcome import Outcome, failed, judged, not_applicable, not_run
from medtl_monai.bundle.doctor.outputs import mask_for
from medtl_monai.bundle.doctor.processes import Finished
from medtl_monai.bundle.doctor.subject import Subject
from medtl_monai.bundle.doctor.synthetic import is_ct, reads_pictures_alone
from medtl_monai.bundle.lint_findings import LintFinding
from medtl_monai.bundle.lint_names import words

INFERENCE, TRAIN, METADATA = "configs/inference.json", "configs/train.json", "configs/metadata.json"

# breaches that lint finds, but that endanger nobody: rows of their own tell them
HARMLESS = words(
    """
    config.missing config.duplicate-key component.mode component.disabled component.unknown-key import.unbound
    path.absolute url.plain id.unknown id.override id.not-a-reference macro.missing file.large weights.script
    weights.pointer large-file.hash large-file.path large-file.address metadata.key metadata.type
    """
)

STATIC: dict[str, Callable[[Subject, list[LintFinding]], Outcome]] = {
    "L1": lambda subject, lint: layout.required_files(subject),
    "L2": lambda subject, lint: layout.task_word(subject),
    "L3": lambda subject, lint: layout.json_names(subject),
    "L4": layout.complete_files,
    "L6": lambda subject, lint: layout.script_name(subject),
    "L7": lambda subject, lint: layout.python_code(subject),
    "L8": lambda subject, lint: layout.large_files(subject),
    "L9": layout.logging_file,
    "D1": lambda subject, lint: metadata.schema_name(subject),
    "D2": lambda subject, lint: metadata.required_keys(subject),
    "D3": lambda subject, lint: metadata.tensor_keys(subject),
    "D4": lambda subject, lint: metadata.name_and_changelog(subject),
    "D5": lambda subject, lint: metadata.tensor_names(subject),
    "D6": lambda subject, lint: channel_names.channel_names(subject),
    "D7": lambda subject, lint: metadata.output_type(subject),
    "D9": lambda subject, lint: metadata.versions(subject),
    "D10": lambda subject, lint: configs.no_metadata(subject),
    "D11": lambda subject, lint: metadata.modality_and_organ(subject),
    "K2": lambda subject, lint: configs.silent_loaders(subject),
    "K4": lambda subject, lint: configs.loading_in_initialize(subject),
    "K11": lambda subject, lint: layout.version_digits(subject),
    "K12": lambda subject, lint: layout.uncut_name(subject),
    "INF-IDS": lambda subject, lint: configs.required_ids(subject, "inference", configs.INFERENCE_IDS),
    "INF-DEVICE": lambda subject, lint: configs.plain_device(subject),
    "INF-CHAIN": lambda subject, lint: configs.loading_chain(subject),
    "INF-POST": lambda subject, lint: configs.mask_chain(subject),
    "INF-DISPLAY": lambda subject, lint: configs.shown_settings(subject),
    "INF-LABEL": lambda subject, lint: configs.label_in_inference(subject),
    "TRAIN-IDS": lambda subject, lint: configs.required_ids(subject, "train", configs.TRAIN_IDS),
    "TRAIN-PARENTS": lambda subject, lint: configs.label_parents(subject),
    "EVAL-METRICS": lambda subject, lint: configs.metric_names(subject),
}


@dataclass(frozen=True)
class Made:
    """A row that a child looks at by one function.

    Attributes:
        function: of this package.
        remedy: where that function raises.
        file: that the remedy is about.
        needs: function that has to work first; where it does not, the row is not run.
        why: the reason then.
    """

    function: str
    remedy: str
    file: str = INFERENCE
    needs: str = ""
    why: str = ""


_NETWORK = "network_def cannot be built: see NET"
MADE: dict[str, Made] = {
    "L5": Made("objects.readable_weights", "save the state dict alone, tensors only", "models/model.pt"),
    "K1": Made(
        *(
            "objects.preprocess_with_path",
            "CopyItemsd image_path away, DeleteItemsd it before Spacingd, and copy it back",
        ),
        *(INFERENCE, "objects.preprocess", "preprocessing does not take the synthetic image: see CLI-INFER"),
    ),
    "K3": Made(
        *("objects.flat_weights", "save the state dict alone", "models/model.pt"),
        *("objects.flat_weights", "model.pt cannot be read: see L5"),
    ),
    "K5": Made(
        *("label.classification", "end postprocessing with DeleteItemsd of image and image_meta_dict"),
        *(INFERENCE, "objects.preprocess", "preprocessing does not take the synthetic image: see CLI-INFER"),
    ),
    "K6": Made(
        *("objects.scripted", "ckpt_export with --use_trace True and --input_shape, or a network without such parts"),
        *(INFERENCE, "objects.build", _NETWORK),
    ),
    "K10": Made(
        *("objects.properties", "metrics by reference (@validate#key_metric), handlers as mappings"),
        *(TRAIN, "objects.build", _NETWORK),
    ),
    "K13": Made(
        *("objects.with_dropout", "give network_def an argument dropout (a factory that passes it on will do)"),
        *(INFERENCE, "objects.build", _NETWORK),
    ),
    "WEIGHTS": Made(
        "objects.own_weights", "save the weights of network_def", "models/model.pt", "objects.build", _NETWORK
    ),
    "LOAD": Made(
        *("objects.loaded", "no files and no loading in initialize (K4); see the error", INFERENCE),
        *("objects.build", _NETWORK),
    ),
}
COMMANDS: dict[str, Callable[[Session], Outcome]] = {
    "CLI-META": commands.verify_metadata,
    "CLI-NET": commands.verify_net,
    "CLI-INFER": lambda session: commands.infer(session, "root"),
    "CLI-ELSEWHERE": lambda session: commands.infer(session, "elsewhere"),
    "CLI-TRAIN": commands.train,
    "CLI-EVALUATE": commands.evaluate,
    "CLI-EXPORT": commands.export,
    "CLI-ONNX": commands.onnx,
    "CLI-MULTI": lambda session: not_run("several processes are not started here: torchrun -m monai.bundle run"),
    "CLI-TRT": lambda session: not_run("TensorRT is not used here: python -m monai.bundle trt_export"),
    "OFFLINE": commands.same_bytes,
}
NEED_WEIGHTS = frozenset({"L5", "K3", "WEIGHTS"})
NEED_CASES = words("K1 K5 K10 CLI-INFER CLI-ELSEWHERE CLI-TRAIN CLI-EVALUATE LABEL-INFER LABEL-TRAIN DEPLOY OFFLINE")
NEED_TRAIN = frozenset({"CLI-TRAIN", "CLI-EVALUATE", "LABEL-TRAIN"})


def made(row: str, session: Session) -> Outcome:
    """The outcome of a row of :data:`MADE`."""
    about = MADE[row]
    if row == "K5" and session.subject.task != "classification":
        return not_applicable("no classification")
    found = session.row(about.function, _data(row, session))
    if isinstance(found, Outcome):
        return found
    if about.needs and not found.timed_out:
        first = session.refusal if about.needs == "objects.preprocess" else session.row(about.needs)
        if isinstance(first, Finished):
            return not_run(f"{about.why} ({first.error})")
    return failed(found.error, about.remedy, about.file)


def _data(row: str, session: Session) -> dict[str, object]:
    if row in ("K1", "K5"):
        return {"image": str(session.cases.images[0])}
    if row == "K10":
        return {kind: session.data_for(kind) for kind in ("inference", "train")}
    path = session.subject.weights
    return {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()} if row == "L5" and path else {}


def network(row: str, session: Session) -> Outcome:
    """NET and D8: which of the two it is that the network does not take."""
    if session.n == 0:
        found = session.row("objects.smallest_shape")
        if row == "D8":
            return not_run("the network takes the declared input at no size: see NET")
        error = found.error if isinstance(found, Finished) else ""
        return failed(error, "make channels and spatial_shape of the input those of network_def", METADATA)
    if row == "D8" and session.n > 1:
        size = "x".join(map(str, session.subject.shape()))
        return failed(f"the network does not take {size}, only n={session.n}", 'declare the least, as "32*n"', METADATA)
    if row == "D8":
        return judged([])
    found = session.row("objects.declared_output", {"n": session.n})
    return found if isinstance(found, Outcome) else failed(found.error, "see the error", METADATA)


def label_inference(session: Session) -> Outcome:
    """LABEL-INFER."""
    if session.subject.task != "segmentation":
        return not_applicable("no segmentation: for classifiers see K5")
    image = session.cases.images[0]
    finished, output = session.inferred("root")
    mask = mask_for(image, output) if finished.code == 0 else None
    data = {"image": str(image), "mask": str(mask) if mask and mask.name.endswith(".nii.gz") else ""}
    return _child(session, "label.inference", data, "see the error; K1, INF-POST", INFERENCE)


def label_training(session: Session) -> Outcome:
    """LABEL-TRAIN."""
    if session.subject.task != "segmentation":
        return not_applicable("no segmentation: MONAI Label trains no classifiers of bundles")
    data = {"training": session.cases.training, "validation": session.cases.validation}
    return _child(session, "label.training", data, "every id of train.json is evaluated there; see the error", TRAIN)


def deploy(session: Session) -> Outcome:
    """DEPLOY."""
    if reads_pictures_alone(session.subject):
        kinds = session.subject.metadata.get("data_type")
        return not_applicable(f"reads {kinds} alone, and Deploy's operators hand over DICOM series")
    finished, script, _ = session.exported()
    if finished.code:
        return not_run("there is no TorchScript: see CLI-EXPORT")
    data = {"script": str(script), "image": str(session.cases.images[0]), "hu": is_ct(session.subject)}
    return _child(
        session, "deploy.operator", data, "no files and no @bundle_root in the chain; see the error", INFERENCE
    )


def _child(session: Session, function: str, data: Mapping[str, object], remedy: str, file: str) -> Outcome:
    found = session.row(function, data)
    return found if isinstance(found, Outcome) else failed(found.error, remedy, file)


OTHERS: dict[str, Callable[[Session], Outcome]] = {
    "NET": lambda session: network("NET", session),
    "D8": lambda session: network("D8", session),
    "LABEL-INFER": label_inference,
    "LABEL-TRAIN": label_training,
    "DEPLOY": deploy,
}
