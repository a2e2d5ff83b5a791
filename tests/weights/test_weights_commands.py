"""The ``medtl weights`` command as a user meets it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from medtl_monai.cli import main
from medtl_monai.weights.registry import REGISTRY, pretrained

HERE = ["highres3dnet_gif", "imagenet_squeezenet1_0_pruned"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MEDTL_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("MEDTL_OFFLINE", "1")
    return tmp_path / "weights"


@pytest.fixture
def filled(folder: Path, real_weights: Path) -> Path:
    """The weights folder with the two real files in it."""
    folder.mkdir()
    for row in map(pretrained, HERE):
        shutil.copyfile(next(real_weights.glob(f"*/{row.file_name}")), folder / row.file_name)
    return folder


def said(words: list[str], capsys: pytest.CaptureFixture[str], status: int = 0) -> str:
    assert main(["weights", *words]) == status
    output = capsys.readouterr()
    return output.out if status == 0 else output.err


def names(table: str) -> list[str]:
    return [line.split()[0] for line in table.splitlines()[1:]]


def test_list_is_a_table_of_all_rows(capsys: pytest.CaptureFixture[str]) -> None:
    table = said(["list"], capsys)
    assert names(table) == list(REGISTRY)
    lines = table.splitlines()
    for heading in ("NETWORK", "DIMS", "LICENCE", "COMMERCIAL", "PLACE"):
        start = lines[0].index(heading)
        assert all(line[start - 2 : start] == "  " and line[start] != " " for line in lines), "columns are aligned"
    assert max(map(len, lines)) <= 120
    assert re.search(r"^imagenet_vit_b_16_swag +vit_b_16 +2D +346\.3 MB +CC-BY-NC-4\.0 +no +to fetch$", table, re.M)
    assert re.search(r"^medicalnet_resnet200 .* ~506\.2 MB +MIT +yes +to fetch$", table, re.M)
    assert re.search(r"^imagenet_squeezenet1_0_pruned .* import only$", table, re.M)


def test_list_filters(filled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert names(said(["list", "--local"], capsys)) == HERE
    three_d = names(said(["list", "--spatial-dims", "3"], capsys))
    assert len(three_d) == 12
    assert all(name.startswith(("medicalnet", "highres3dnet")) for name in three_d)
    assert {*three_d, *names(said(["list", "--spatial-dims", "2"], capsys))} == set(REGISTRY)
    assert set(REGISTRY) - set(names(said(["list", "--commercial"], capsys))) == {"imagenet_vit_b_16_swag"}
    assert names(said(["list", "--local", "--spatial-dims", "2", "--commercial"], capsys)) == HERE[1:]


def test_list_of_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(["list", "--local"], capsys) == f"none of the {len(REGISTRY)} rows\n"


@pytest.mark.parametrize("name", list(REGISTRY))
def test_show_tells_every_row(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    row, text = pretrained(name), said(["show", name], capsys)
    for value in (row.url, row.sha256, row.licence, row.licence_note, row.citation, row.training_data, row.converted):
        assert value in text
    for value in (row.file_name, f"{row.parameters:,}", f"{row.tensors:,}", row.input.normalisation, row.architecture):
        assert value in text
    assert ("NOT allowed" in text) == (not row.commercial_use)
    assert ("tells the first 8 digits only" in text) == (len(row.sha256) == 8)
    assert not re.search(r"None|\(\)|PretrainedWeights", text), "for people"


def test_show_says_where_the_file_is(filled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = pretrained(HERE[0])
    assert re.search(rf"^on this machine +{filled / row.file_name}$", said(["show", row.name], capsys), re.M)
    assert re.search(r"^on this machine +no$", said(["show", "imagenet_swin_t"], capsys), re.M)


def test_verify_without_a_name_checks_every_local_file(filled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = said(["verify"], capsys)
    assert [line.split(":")[0] for line in text.splitlines()] == [str(filled / pretrained(n).file_name) for n in HERE]
    for name in HERE:
        file = filled / pretrained(name).file_name
        content = bytearray(file.read_bytes())
        content[1000] ^= 1
        file.write_bytes(content)
    text = said(["verify"], capsys, status=2)
    assert "2 of 2 local weights files are not the published ones" in text
    assert all(name in text and pretrained(name).file_name in text for name in HERE), "all at once"
    assert said(["verify", HERE[1]], capsys, status=2).count("not the published file") == 1


def test_verify_of_an_empty_folder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert str(folder) in said(["verify"], capsys)
    assert "`medtl weights fetch imagenet_swin_t`" in said(["verify", "imagenet_swin_t"], capsys, status=2)
    assert "`medtl weights import FILE`" in said(["verify", HERE[1]], capsys, status=2)


def test_fetch_finds_the_local_file(filled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = filled / pretrained(HERE[0]).file_name
    assert said(["fetch", HERE[0], "--commercial"], capsys) == f"{file}\n"


def test_fetch_asks_for_the_licence_before_the_network(capsys: pytest.CaptureFixture[str]) -> None:
    text = said(["fetch", "imagenet_vit_b_16_swag", "--commercial"], capsys, status=2)
    assert "not cleared for commercial use" in text
    assert "CC-BY-NC-4.0" in text
    assert "MEDTL_OFFLINE is set" in said(["fetch", "imagenet_vit_b_16_swag"], capsys, status=2)


def test_import_and_where(real_weights: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = pretrained(HERE[1])
    file = next(real_weights.glob(f"*/{row.file_name}"))
    assert said(["import", str(file)], capsys) == f"{row.name}: {folder / row.file_name}\n"
    assert said(["where"], capsys) == f"{folder}\n"


def test_the_command_runs_without_torch(folder: Path) -> None:
    words = ["-X", "importtime", "-m", "medtl_monai.cli", "weights", "list"]
    result = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=True)
    loaded = {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in result.stderr.splitlines() if "|" in line}
    assert "medtl_monai" in loaded
    assert not loaded & {"torch", "torchvision", "monai", "numpy"}
