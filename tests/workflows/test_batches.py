"""Names of the cases in a batch."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset, MetaTensor, decollate_batch
from monai.transforms import LoadImaged

from medtl_monai.workflows.batches import NAMELESS, batch_cases


def test_collated_and_split_batches_with_case_names() -> None:
    data = [{"image": torch.full((1, 2), float(number)), "case": f"patient {number}"} for number in range(3)]
    (batch,) = DataLoader(Dataset(data), batch_size=3)
    assert batch_cases(batch) == batch_cases(decollate_batch(batch)) == ["patient 0", "patient 1", "patient 2"]


@pytest.mark.parametrize("name", ["scan.nii.gz", "scan.nii"])
def test_a_file_name_stands_in_for_a_missing_case(tmp_path: Path, name: str) -> None:
    nibabel.save(nibabel.Nifti1Image(np.zeros((2, 2, 2), np.float32), np.eye(4)), tmp_path / name)
    (batch,) = DataLoader(Dataset([{"image": str(tmp_path / name)}], LoadImaged("image")), batch_size=1)
    assert batch_cases(decollate_batch(batch)) == ["scan"]


def test_nothing_to_name() -> None:
    assert batch_cases([{"image": torch.zeros(1)}, {"image": MetaTensor(torch.zeros(1))}]) == [NAMELESS] * 2
    assert batch_cases({"image": torch.zeros(2, 1)}) == [NAMELESS]
