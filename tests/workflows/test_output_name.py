"""Names of results, through MONAI's own SaveImage."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import SaveImage

from medtl_monai.workflows.output_name import by_input


@pytest.mark.parametrize(
    ("source", "result"),
    [
        ("a/scan.nii.gz", "scan_seg.nii.gz"),
        ("a/scan.nii", "scan_seg.nii.gz"),
        ("a/sub-01.ses.2.nii.gz", "sub-01.ses.2_seg.nii.gz"),
        ("a/IM1.DCM", "IM1_seg.nii.gz"),
        ("studies/1.2.840.113.7", "1.2.840.113.7_seg.nii.gz"),
        ("studies/T1 v1.5", "T1 v1.5_seg.nii.gz"),
    ],
)
def test_only_a_file_suffix_is_cut(tmp_path: Path, source: str, result: str) -> None:
    image = MetaTensor(torch.zeros(1, 2, 2, 2), meta={"filename_or_obj": source})
    save = SaveImage(tmp_path, "seg", separate_folder=False, output_name_formatter=by_input, print_log=False)
    save(image)
    assert [path.name for path in tmp_path.iterdir()] == [result]


def test_two_series_keep_two_names(tmp_path: Path) -> None:
    for name in ("1.2.3.1", "1.2.3.2"):
        image = MetaTensor(torch.zeros(1, 2, 2, 2), meta={"filename_or_obj": f"study/{name}"})
        for formatter, folder in ((by_input, "ours"), (None, "monai")):
            SaveImage(
                tmp_path / folder, "seg", separate_folder=False, output_name_formatter=formatter, print_log=False
            )(image)
    assert len(list((tmp_path / "ours").iterdir())) == 2
    assert len(list((tmp_path / "monai").iterdir())) == 1  # the second replaced the first
