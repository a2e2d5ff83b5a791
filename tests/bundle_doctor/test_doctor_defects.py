"""Every planted defect is caught by the row that is about it, and by no other; the clean bundle passes."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from planted_defects import BUILT, RUN, STATIC, Defect
from zoo_bundles import write_bundle, write_classifier

from medtl_monai.bundle.doctor.examine import Choice, Verdict, examine
from medtl_monai.bundle.doctor.rows import ROWS

ALWAYS = tuple(row for row, about in ROWS.items() if about.stage == "static")
SCHEMA = "meta_schema_20240725.json"


def failures(verdicts: list[Verdict]) -> dict[str, str]:
    """What failed rows say."""
    return {
        one.row: " ".join(f"{problem.message} {problem.file}" for problem in one.outcome.problems)
        for one in verdicts
        if one.outcome.state == "fail"
    }


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize("defect", [*STATIC, *BUILT, *RUN], ids=lambda defect: defect.name)
def test_each_defect_is_caught_by_its_rows_and_no_others(defect: Defect, tmp_path: Path) -> None:
    rows = (*ALWAYS, *defect.run.split())
    found = failures(examine(defect.write(tmp_path), Choice(only=rows)))
    assert sorted(found) == sorted(defect.caught.split()), found
    assert defect.says in " ".join(found.values())


def test_every_row_with_a_static_check_has_a_planted_defect() -> None:
    caught = {row for defect in (*STATIC, *BUILT, *RUN) for row in defect.caught.split()}
    assert set(ALWAYS) - caught == {"INF-LABEL"}  # below


def test_a_label_in_the_inference_of_a_classifier(tmp_path: Path) -> None:
    bundle = write_classifier(tmp_path)
    path = bundle / "configs" / "inference.json"
    path.write_text(path.read_text().replace('"image_meta_dict"', '"label"'))
    assert sorted(failures(examine(bundle, Choice(only=ALWAYS)))) == ["INF-LABEL"]


def test_the_clean_bundle_passes_every_row_and_is_not_written_to(tmp_path: Path, project: Path) -> None:
    schema = Path(os.environ.get("MEDTL_META_SCHEMA", project.parent / "shared" / "reference" / SCHEMA))
    bundle = write_bundle(tmp_path)
    before = digests(bundle)
    verdicts = examine(bundle, Choice(schema=schema if schema.is_file() else None))
    assert failures(verdicts) == {}
    states = {one.row: one.outcome.state for one in verdicts}
    assert list(states) == list(ROWS)
    assert {row for row, state in states.items() if state == "not applicable"} == {"L6", "K5", "INF-LABEL"}
    open_rows = {row for row, state in states.items() if state == "not run"}
    assert open_rows - {"CLI-META"} == {"CLI-ONNX", "CLI-MULTI", "CLI-TRT"}
    assert digests(bundle) == before


def test_a_clean_classifier_passes_where_it_can(tmp_path: Path) -> None:
    rows = ("K5", "CLI-INFER", "D8", "NET", "K6", "CLI-EXPORT", "DEPLOY")
    verdicts = examine(write_classifier(tmp_path), Choice(only=rows))
    assert {one.row: one.outcome.state for one in verdicts if one.row in rows} == dict.fromkeys(rows, "pass")
