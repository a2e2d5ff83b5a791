"""``medtl label``: prepares MONAI Label's app folder and becomes its server."""

from __future__ import annotations

import argparse
import importlib.util
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from medtl_monai.errors import ConfigError
from medtl_monai.label.prepare import prepare_app, write_phantom_studies

LOOPBACK = ("127.0.0.1", "localhost", "::1")
NEEDED = ("distutils", "monailabel", "pydicom_seg", "uvicorn", "fastapi", "SimpleITK", "nrrd", "itk")
SCORING = ("--conf", "epistemic_simulation_size", "5", "--conf", "epistemic_dropout", "0.2")
REMEDY = (
    "make an environment for it: python3 -m venv .venv-label && .venv-label/bin/pip install medtl-monai && "
    ".venv-label/bin/python -m medtl_monai.label.install; then run .venv-label/bin/medtl label ..."
)


def label(options: argparse.Namespace) -> int:
    """Check the environment, prepare the folders and replace this process by MONAI Label's server.

    Args:
        options: ``app``, ``studies`` (paths), ``bundle`` (list of paths), ``host``, ``port``, ``phantoms`` (scans to
            write into an empty studies folder), ``uncertainty`` and ``prepare_only`` (switches).

    Returns:
        0 with ``prepare_only``; otherwise it does not return.

    Raises:
        ConfigError: MONAI Label is not installed beside this package, the port is taken, or a folder cannot serve.
        OutputError: a folder cannot be written.
    """
    stock = require_environment(Path(sys.prefix))
    copied = prepare_app(options.app, stock, options.bundle)
    for bundle in options.bundle:
        if bundle.name not in copied:
            print(f"{options.app / 'model' / bundle.name} is there already and used, with what was trained in it")
    if options.phantoms:
        write_phantom_studies(options.studies, options.phantoms)
    if not options.studies.is_dir():
        raise ConfigError("no studies folder", path=options.studies, expected="a folder with scans (.nii or .nii.gz)")
    if options.prepare_only:
        return 0
    require_free_port(options.host, options.port)
    command = server_command(options)
    print(_welcome(options, stock.parents[1] / "plugins" / "slicer" / "MONAILabel"), flush=True)
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
    }
    os.execve(command[0], command, environment)


def require_environment(prefix: Path) -> Path:
    """MONAI Label's own bundle app in the environment ``prefix``.

    Raises:
        ConfigError: MONAI Label or something that its server imports is not installed; all that is missing is named.
    """
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError("MONAI Label is not in this environment", got=f"no {', '.join(missing)}", remedy=REMEDY)
    stock = prefix / "monailabel" / "sample-apps" / "monaibundle"
    if not (stock / "main.py").is_file():
        raise ConfigError("MONAI Label's bundle app is missing", path=stock, remedy="install monailabel==0.8.5 again")
    return stock


def require_free_port(host: str, port: int) -> None:
    """Refuse a port that another program listens on, before the server needs a minute to find out.

    Raises:
        ConfigError: the port is taken, or the host is no address of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ConfigError(
                f"cannot listen on {host}:{port}", got=str(error), remedy="choose another --port or --host"
            ) from error


def server_command(options: argparse.Namespace) -> list[str]:
    """MONAI Label's command line: local bundles only, nothing downloaded."""
    names = ",".join(bundle.name for bundle in options.bundle)
    scored = ",".join(bundle.name for bundle in options.bundle if "segmentation" in bundle.name)
    words: Sequence[str] = ("--conf", "epistemic_model", scored, *SCORING) if options.uncertainty and scored else ()
    return [
        sys.executable, "-m", "monailabel.main", "start_server",
        "--app", str(options.app), "--studies", str(options.studies),
        "--host", options.host, "--port", str(options.port),
        "--uvicorn_app", "medtl_monai.label.web:app",
        "--conf", "models", names, "--conf", "zoo_source", "ngc", "--conf", "sam2", "false", *words,
    ]  # fmt: skip


def _welcome(options: argparse.Namespace, plugin: Path) -> str:
    lines = [
        f"MONAI Label will listen on http://{options.host}:{options.port} in about half a minute; Ctrl+C ends it.",
        "In 3D Slicer, once: Edit > Application Settings > Modules > Additional module paths, add",
        f"  {plugin}",
        "and restart it (or install the extension MONAILabel). Then: module MONAI Label, that address as server, Next",
        "Sample, Run under Auto Segmentation, correct, Submit Label, Train. See docs/slicer.md.",
        "Authentication is off: whoever reaches this address can read the scans and replace labels and model.",
    ]
    if options.host not in LOOPBACK:
        lines.append(f"WARNING: {options.host} is not only this machine. Use 127.0.0.1, or a tunnel (ssh -L).")
    return "\n".join(lines)
