"""The run record: whole at every moment, strict JSON, without folders, addresses or NaN, and checked by its rules."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medtl_monai.errors import ConfigError, DataError, OutputError
from medtl_monai.findings import Finding
from medtl_monai.provenance import RunRecord, validate_record


def refuse_constant(name: str) -> None:
    raise AssertionError(f"{name} is not JSON")


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse_constant)


def start(tmp_path: Path, **kwargs: Any) -> RunRecord:
    return RunRecord(tmp_path / "run.json", **{"config": {"lr": 0.1}, "seeds": {"torch": 1}, **kwargs})


def test_a_run_from_start_to_end(tmp_path: Path) -> None:
    root = tmp_path / "data of Doe"
    (root / "images").mkdir(parents=True)
    (root / "images" / "a.nii").write_bytes(b"abc")
    (root / "a_label.nii").write_bytes(b"")
    (root / "series").mkdir()
    (root / "series" / "1").write_bytes(b"abc")
    weights = tmp_path / "model.pt"
    weights.write_bytes(b"abc")
    abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, appendix B.1

    record = start(tmp_path, command=["/opt/venv/bin/python", "-m", "monai.bundle"], threads={"torch": 2})
    first = read(record.path)
    assert first["state"] == "running"
    assert first["finished"] is None
    assert first["command"] == ["python", "-m", "monai.bundle"]
    assert first["threads"] == {"torch": 2}
    assert validate_record(first) == []

    pair = {"case": "a", "image": str(root / "images" / "a.nii"), "label": str(root / "a_label.nii")}
    record.set_data({"training": [pair], "test": [{"case": "s", "image": str(root / "series")}]}, root)
    record.add_weights("resnet", path=weights, licence="MIT", report={"loaded": 3})
    record.add_weights("scratch")
    record.add_findings([Finding("x.y", "warning", f"see {root}/images/a.nii", case="a")])
    record.set_metrics({"dice": float("nan"), "hd95_mm": np.float32("inf"), "mean": np.float64(0.5)})
    middle = read(record.path)
    assert middle["state"] == "running"
    assert middle["data"] == {
        "training": [
            {
                "case": "a",
                "image": "images/a.nii",
                "image_sha256": abc,
                "label": "a_label.nii",
                "label_sha256": hashlib.sha256(b"").hexdigest(),
            }
        ],
        "test": [{"case": "s", "image": "series", "image_sha256": hashlib.sha256(abc.encode()).hexdigest()}],
    }
    assert [row["sha256"] for row in middle["weights"]] == [abc, None]
    assert middle["weights"][0]["file"] == "model.pt"
    assert middle["findings"][0]["message"] == "see images/a.nii"
    assert middle["metrics"] == {"dice": "NaN", "hd95_mm": "Infinity", "mean": 0.5}

    record.finish()
    last = read(record.path)
    assert last["state"] == "finished"
    assert last["wall_s"] >= middle["wall_s"] >= 0
    assert last["finished"] >= last["started"]
    assert validate_record(last) == []
    assert "Doe" not in record.path.read_text()
    assert str(tmp_path) not in record.path.read_text()


def test_versions_and_memory_are_those_of_this_process(tmp_path: Path) -> None:
    content = read(start(tmp_path).path)
    assert content["versions"]["numpy"] == np.__version__
    assert content["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert set(content["versions"]) == {"python", "medtl_monai", "torch", "monai", "numpy", "nibabel", "pydicom"}
    status = Path("/proc/self/status")
    if status.exists():
        peak_kib = next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        assert content["peak_memory_mb"] == pytest.approx(peak_kib / 1024, rel=0.05)


def test_an_exception_is_recorded_and_raised(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="broken"), start(tmp_path) as record:
        raise DataError("broken", path="/home/doe/scans/a.nii")
    content = read(record.path)
    assert content["state"] == "failed"
    assert content["error"] == {"type": "DataError", "text": "broken [file a.nii]"}
    assert validate_record(content) == []


def test_an_interrupt_is_recorded_and_raised(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), start(tmp_path) as record:
        raise KeyboardInterrupt
    content = read(record.path)
    assert content["state"] == "stopped"
    assert validate_record(content) == []


@pytest.mark.parametrize(("code", "state"), [(0, "finished"), (None, "finished"), (3, "failed")])
def test_an_exit_is_judged_by_its_code(tmp_path: Path, code: int | None, state: str) -> None:
    with pytest.raises(SystemExit), start(tmp_path) as record:
        sys.exit(code)
    assert read(record.path)["state"] == state


def test_the_end_of_a_with_block_finishes_once(tmp_path: Path) -> None:
    with start(tmp_path) as record:
        pass
    assert read(record.path)["state"] == "finished"
    with start(tmp_path) as record:
        record.finish("stopped")
    assert read(record.path)["state"] == "stopped"
    for change in (record.finish, lambda: record.set_metrics({})):
        with pytest.raises(ConfigError, match="ended"):
            change()


@pytest.mark.parametrize(("state", "error"), [("failed", None), ("finished", ValueError("x")), ("done", None)])
def test_state_and_error_must_go_together(tmp_path: Path, state: Any, error: Exception | None) -> None:
    record = start(tmp_path)
    with pytest.raises(ConfigError, match="cannot end"):
        record.finish(state, error)
    assert read(record.path)["state"] == "running"


def test_a_killed_run_leaves_a_whole_record_that_says_running(tmp_path: Path) -> None:
    code = """
        import os, sys
        from medtl_monai.provenance import RunRecord
        record = RunRecord(sys.argv[1], config={}, seeds={})
        assert "torch" not in sys.modules and "monai" not in sys.modules
        record.set_metrics({"epoch": 1})
        os._exit(9)
    """
    path = tmp_path / "run.json"
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code), str(path)], check=False)
    assert done.returncode == 9
    content = read(path)
    assert (content["state"], content["metrics"]) == ("running", {"epoch": 1})
    assert validate_record(content) == []
    assert content["command"][0] == Path(sys.executable).name
    assert content["command"][-1] == "run.json"


def test_what_cannot_be_written_is_refused_and_does_not_hide_the_runs_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError):
        RunRecord(tmp_path / "absent" / "run.json", config={}, seeds={})
    folder = tmp_path / "folder"
    folder.mkdir()

    def run() -> None:
        with start(folder) as record:
            record.path.unlink()
            folder.rmdir()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run()


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="absent"):
        start(tmp_path).set_data({"test": [{"case": "a", "image": str(tmp_path / "absent.nii")}]}, tmp_path)


def test_config_hash_is_the_same_for_the_same_config_elsewhere(tmp_path: Path) -> None:
    class Network:
        pass

    def stored(config: dict[str, Any]) -> dict[str, Any]:
        return read(start(tmp_path, config=config).path)

    one = stored({"net": Network(), "root": "/home/doe/my data", "lr": 0.1})
    two = stored({"lr": 0.1, "root": Path("/mnt/my data"), "net": Network()})
    assert "0x" not in one["config"]["net"]
    assert one["config"] == two["config"]
    assert one["config_sha256"] == two["config_sha256"]
    # RFC 8785 would give the same bytes for these values: sorted keys, no blanks
    assert stored({"b": [1, "x"], "a": None})["config_sha256"] == hashlib.sha256(b'{"a":null,"b":[1,"x"]}').hexdigest()
    assert stored({"lr": 0.2})["config_sha256"] != stored({"lr": 0.1})["config_sha256"]


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("format", "medtl-run/0", "format"),
        ("state", "done", "unknown state"),
        ("state", "finished", "finished is None"),
        ("error", {"type": "X", "text": ""}, "error is"),
        ("started", "2024-01-01T00:00:00", "no UTC time"),
        ("config", {"lr": 0.3}, "config_sha256"),
        ("metrics", {"dice": float("nan")}, "strict JSON"),
        ("metrics", None, "wrong type"),
        ("versions", {"python": "3"}, "torch is missing"),
        ("weights", [{"name": "a"}], "weights[0]: sha256"),
        ("data", {"test": [{"case": "a"}]}, "data.test[0]: image_sha256"),
        ("data", {"test": [{"case": "a", "image": "a", "image_sha256": "12"}]}, "no SHA-256"),
        ("findings", ["text"], "findings[0]: code"),
        ("command", ["python", "/home/doe/train.py"], "command[1] holds an absolute path"),
        ("extra", 1, "unknown key 'extra'"),
    ],
)
def test_validate_finds_a_planted_defect(tmp_path: Path, key: str, value: object, words: str) -> None:
    content = read(start(tmp_path).path)
    content[key] = value
    assert any(words in problem for problem in validate_record(content))
    del content[key]
    if key != "extra":
        assert f"key {key!r} is missing" in validate_record(content)
