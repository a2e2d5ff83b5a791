"""``python -m medtl_monai.deploy.app``: an exported bundle on one scan, as an application of MONAI Deploy."""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from medtl_monai.errors import ConfigError, FormatError, MedTLError, OutputError

NEEDED = ("holoscan", "monai.deploy", "highdicom")
REQUIREMENTS = ("monai-deploy-app-sdk==4.0.0", "highdicom>=0.28")
REMEDY = f"install them beside this package: pip install {' '.join(REQUIREMENTS)}"
TASKS = ("segmentation", "classification")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; the exit status is 0 when the result is written, 2 on any refusal."""
    options = _parser().parse_args(argv)
    try:
        print(run_app(options.task, options.model, options.input, options.output, options.bundle))
    except MedTLError as error:
        print(f"medtl deploy: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m medtl_monai.deploy.app", description=__doc__)
    parser.add_argument("--task", choices=TASKS, required=True)
    parser.add_argument("--model", type=Path, required=True, help="TorchScript file, as ckpt_export writes it")
    parser.add_argument("--input", type=Path, required=True, help="DICOM folder or file, NIfTI; to classify also PNG")
    parser.add_argument("--output", type=Path, required=True, help="folder of the result; made if it is not there")
    parser.add_argument("--bundle", type=Path, help="take the configuration from this bundle, not from the model file")
    return parser


def run_app(task: str, model: Path, scan: Path, output: Path, bundle: Path | None = None) -> Path:
    """Run one application on one scan.

    Args:
        task: "segmentation" or "classification".
        model: TorchScript file with metadata and configuration inside.
        scan: DICOM folder or file, NIfTI file; for classification also PNG or JPEG.
        output: folder of the result; made if it is not there. A result of the same case is replaced.
        bundle: folder whose configuration is taken instead of the one inside `model`.

    Returns:
        The file that was written: ``CASE_seg.dcm`` or ``CASE_seg.nii.gz``, or ``CASE_classes.json``.

    Raises:
        ConfigError: the SDK is not installed, or the model is of another task.
        FormatError: the model or the scan cannot be read.
        DataError: the scan cannot be trusted.
        OutputError: the result cannot be written whole.
    """
    _require_environment()
    from medtl_monai.deploy.exported import load_exported

    exported = load_exported(model, bundle)
    if exported.task != task:
        raise ConfigError("the model is of another task", path=model, expected=task, got=exported.task)
    if not scan.exists():
        raise FormatError("nothing to read", path=scan, expected="a scan", remedy="check --input")
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError("no output folder", path=output, got=error.strerror, remedy="choose another") from error
    os.environ.setdefault("HOLOSCAN_LOG_LEVEL", "CRITICAL")  # a refusal is raised here; there it fills a screen
    from medtl_monai.deploy.operators import APPLICATIONS, Job

    app = APPLICATIONS[task](Job(exported, scan, output))
    app.run()
    written = app.writer.written
    if written is None:
        raise OutputError("the application ended without a result", path=output, remedy="set HOLOSCAN_LOG_LEVEL=DEBUG")
    return Path(written)


def _require_environment() -> None:
    """Refuse an environment without the SDK; all that is missing is named. Raises ConfigError."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError("MONAI Deploy is not in this environment", got=f"no {', '.join(missing)}", remedy=REMEDY)


if __name__ == "__main__":
    sys.exit(main())
