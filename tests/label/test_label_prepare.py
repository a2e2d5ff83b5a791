"""Folders, environment and command of `medtl label`, without a server; and dropout, which its scoring switches on."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import venv
from pathlib import Path

import nibabel as nib
import pytest
import torch
from conftest import SEGMENTER
from monai.bundle import ConfigParser

from medtl_monai.cli import main
from medtl_monai.errors import ConfigError
from medtl_monai.label.install import PTH_NAME, write_pth
from medtl_monai.label.prepare import prepare_app, write_phantom_studies
from medtl_monai.label.pydicom_shim import MISSING
from medtl_monai.label.serve import require_environment, require_free_port


@pytest.fixture
def stock(tmp_path: Path) -> Path:
    """A folder like MONAI Label's own app."""
    folder = tmp_path / "stock"
    (folder / "lib" / "__pycache__").mkdir(parents=True)
    (folder / "main.py").write_text("class MyApp: ...\n")
    (folder / "lib" / "__init__.py").touch()
    return folder


@pytest.fixture
def small_bundle(tmp_path: Path) -> Path:
    """A folder that looks like a bundle."""
    folder = tmp_path / "b_segmentation"
    for name in ("configs/inference.json", "models/model.pt"):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text("{}")
    return folder


def test_an_app_is_made_and_what_was_trained_in_it_stays(tmp_path: Path, stock: Path, small_bundle: Path) -> None:
    app = tmp_path / "app"
    assert prepare_app(app, stock, [small_bundle]) == ["b_segmentation"]
    assert (app / "stock_main.py").read_text() == (stock / "main.py").read_text()
    main_text = (app / "main.py").read_text()
    compile(main_text, "main.py", "exec")
    # MONAI Label takes the first class of main.py whose direct bases include one of this name.
    assert "class App(Additions, stock_main.MyApp, MONAILabelApp)" in main_text
    trained = app / "model" / "b_segmentation" / "models" / "model.pt"
    trained.write_text("trained")
    assert prepare_app(app, stock, [small_bundle]) == []
    assert trained.read_text() == "trained"
    assert (app / "main.py").read_text() == main_text


def test_folders_that_cannot_serve_are_refused(tmp_path: Path, stock: Path, small_bundle: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    with pytest.raises(ConfigError, match="holds something else"):
        prepare_app(tmp_path / "mine", stock, [small_bundle])
    with pytest.raises(ConfigError, match="not a bundle"):
        prepare_app(tmp_path / "app", stock, [stock])
    with pytest.raises(ConfigError, match="bundles of one name"):
        prepare_app(tmp_path / "app", stock, [small_bundle, small_bundle])
    (small_bundle / "models" / "model.pt").unlink()
    with pytest.raises(ConfigError, match="no weights"):
        prepare_app(tmp_path / "app", stock, [small_bundle])
    assert not (tmp_path / "app").exists()


def test_phantoms_only_go_into_a_folder_without_scans(tmp_path: Path) -> None:
    assert write_phantom_studies(tmp_path / "studies", 2) == ["phantom_0000", "phantom_0001"]
    assert nib.load(tmp_path / "studies" / "phantom_0001.nii.gz").ndim == 3
    assert write_phantom_studies(tmp_path / "studies", 5) == []
    assert len(list((tmp_path / "studies").iterdir())) == 2


def test_without_monai_label_the_command_says_how_to_get_it(
    tmp_path: Path, small_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["label", "--app", str(tmp_path / "app"), "--studies", str(tmp_path), "--bundle", str(small_bundle)]
    assert main(words) == 2
    text = capsys.readouterr().err
    assert "MONAI Label is not in this environment" in text
    assert "medtl_monai.label.install" in text
    assert not (tmp_path / "app").exists()
    with pytest.raises(ConfigError, match="monailabel"):
        require_environment(tmp_path)


def test_a_taken_port_is_refused() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(ConfigError, match="cannot listen"):
            require_free_port("127.0.0.1", other.getsockname()[1])
    with pytest.raises(ConfigError, match="cannot listen"):
        require_free_port("203.0.113.1", 8000)  # of the addresses kept for documentation (RFC 5737)


def test_the_missing_module_is_there_in_every_new_interpreter(project: Path, tmp_path: Path) -> None:
    """An environment with the .pth file, as after the installation, and a stand-in for pydicom 3."""
    venv.create(tmp_path / "env", with_pip=False)
    python = tmp_path / "env" / "bin" / "python"
    (site,) = (tmp_path / "env" / "lib").glob("python*/site-packages")
    (site / "a.pth").write_text(f"{project}\n")
    (site / "pydicom").mkdir()
    (site / "pydicom" / "__init__.py").touch()
    (site / "pydicom" / "uid.py").write_text("SegmentationStorage = '1.2.840.10008.5.1.4.1.1.66.4'\n")
    ask = f"import {MISSING} as m, sys; print(m.SegmentationStorage)"
    before = subprocess.run([python, "-c", ask], capture_output=True, text=True, check=False)
    assert "ModuleNotFoundError" in before.stderr
    assert write_pth(site).name == PTH_NAME
    nested = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {ask!r}], check=True)"
    after = subprocess.run([python, "-c", nested], capture_output=True, text=True, check=True)
    assert after.stdout.strip() == "1.2.840.10008.5.1.4.1.1.66.4"
    quiet = subprocess.run(
        [python, "-c", "import sys; print('pydicom' in sys.modules)"], capture_output=True, text=True, check=True
    )
    assert (quiet.stdout.strip(), quiet.stderr) == ("False", "")
    (site / "a.pth").unlink()  # the package is gone, the .pth file is left
    gone = subprocess.run([python, "-c", "pass"], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert gone.stderr == ""


def test_nothing_is_installed_outside_of_a_virtual_environment() -> None:
    code = "import sys; sys.prefix = sys.base_prefix; from medtl_monai.label.install import main; sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "no virtual environment" in done.stderr


@pytest.mark.parametrize("name", ["unet", "highres3dnet"])
def test_scoring_gets_networks_with_dropout(project: Path, name: str) -> None:
    """MONAI Label's uncertainty scoring writes ``network_def.dropout`` and runs the network in train mode."""
    config = json.loads((project / "bundles" / SEGMENTER / "configs" / "inference.json").read_text())
    config["network"]["name"] = name
    config["network_def"]["dropout"] = 0.2
    network = ConfigParser(config).get_parsed_content("network_def").train()
    image = torch.rand(1, 1, 16, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert not torch.equal(network(image), network(image))
        network.eval()
        torch.testing.assert_close(network(image), network(image), rtol=0, atol=0)
