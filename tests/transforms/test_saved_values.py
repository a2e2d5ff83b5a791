"""Masks of channel numbers are saved with the values of the data; the item itself keeps its numbers."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import SaveImaged

from medtl_monai.transforms.saved_values import SaveImageValuesd


def test_the_file_has_the_values_and_the_item_the_channels(tmp_path: Path) -> None:
    mask = torch.randint(0, 3, (1, 5, 6, 4), generator=torch.Generator().manual_seed(0)).float()
    item = MetaTensor(
        mask.clone(), affine=torch.diag(torch.tensor([2.0, 1.0, 3.0, 1.0])), meta={"filename_or_obj": "a.nii.gz"}
    )
    settings = {
        "output_dir": str(tmp_path),
        "output_postfix": "seg",
        "separate_folder": False,
        "output_dtype": np.uint16,
    }
    save = SaveImageValuesd("pred", values=[0, 5, 900], settings={**settings, "print_log": False})
    found = save({"pred": item})
    assert torch.equal(found["pred"].as_tensor(), mask)
    written = nib.load(tmp_path / "a_seg.nii.gz")
    np.testing.assert_array_equal(np.asarray(written.dataobj), np.array([0, 5, 900])[mask[0].int().numpy()])
    np.testing.assert_allclose(written.header.get_zooms(), (2, 1, 3))


def test_monai_label_and_deploy_take_it_for_a_saving_transform() -> None:
    assert issubclass(SaveImageValuesd, SaveImaged)  # MONAI Label removes it by its class
    assert "SaveImage" in SaveImageValuesd.__name__  # MONAI Deploy by its name
