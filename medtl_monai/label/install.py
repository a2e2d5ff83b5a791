"""``python -m medtl_monai.label.install``: MONAI Label into the environment of this interpreter, beside this package.

MONAI Label 0.8.5 pins nothing that contradicts this package, but two of its dependencies do (numpy below 2, jsonschema
below 4). So its server's requirements are installed first, then MONAI Label and pydicom-seg without theirs, then the
``.pth`` file of `medtl_monai.label.pydicom_shim`.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

from medtl_monai.errors import MedTLError
from medtl_monai.io.atomic import write_text

WITHOUT_DEPENDENCIES = ("monailabel==0.8.5", "pydicom-seg==0.4.1")
REQUIREMENTS = (
    "cachetools",
    "dicomweb-client",
    "expiring_dict",
    "fastapi",
    "girder-client",
    "google-auth",
    "itk",
    "jsonschema",
    "passlib",
    "psutil",
    "pydantic",
    "pydantic-settings",
    "pyjwt",
    "pynrrd",
    "python-multipart",
    "requests",
    "schedule",
    "setuptools",
    "scikit-image",
    "shapely",
    "simpleitk",
    "timeloop",
    "uvicorn",
    "watchdog",
)
PTH_NAME = "medtl_monai_label.pth"
# Every interpreter of the environment runs this line; it stays silent once the package is uninstalled.
PTH_LINE = (
    'import importlib.util as u; exec("from medtl_monai.label.pydicom_shim import install; install()")'
    ' if u.find_spec("medtl_monai") else None\n'
)


def write_pth(site_packages: Path) -> Path:
    """Write the ``.pth`` file that installs the shim in every interpreter; returns its path.

    Raises:
        OutputError: the folder cannot be written to.
    """
    path = site_packages / PTH_NAME
    write_text(path, PTH_LINE)
    return path


def main() -> int:
    """Install; the exit status is 0 on success, 1 if pip fails, 2 outside of a virtual environment."""
    if sys.prefix == sys.base_prefix:
        print(
            f"This is {sys.executable}, no virtual environment: make one, so that nothing else is changed",
            file=sys.stderr,
        )
        return 2
    pip = [sys.executable, "-m", "pip", "install", "--quiet"]
    for command in ([*pip, *REQUIREMENTS], [*pip, "--no-deps", *WITHOUT_DEPENDENCIES]):
        if subprocess.run(command, check=False).returncode != 0:
            print(f"pip could not install: {' '.join(command)}", file=sys.stderr)
            return 1
    try:
        write_pth(Path(sysconfig.get_path("purelib")))
    except MedTLError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
