"""Places for the centres of random patches."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import RandCropByPosNegLabeld

from medtl_monai.transforms.crop_centres import PLACES, CropCentresd


def _label(side: int = 40) -> torch.Tensor:
    label = torch.zeros(1, side, side, side)
    label[:, 4:24, 4:24, 4:24] = 1
    label[:, 30, 30, 30:32] = 3
    return label


@pytest.mark.parametrize("kind", [torch.Tensor, MetaTensor, np.asarray])
def test_places_lie_on_their_structure_in_equal_numbers(kind: type) -> None:
    label = _label()
    found = CropCentresd(keys="label")({"label": kind(label), "case": "a"})
    flat = label.numpy().ravel()
    values, counts = np.unique(flat[found["label_fg_indices"]], return_counts=True)
    assert (values.tolist(), counts.tolist()) == ([1, 3], [PLACES, PLACES])
    assert set(flat[found["label_bg_indices"]]) == {0}
    assert len(found["label_bg_indices"]) == PLACES
    assert set(found["label_fg_indices"][-PLACES:].tolist()) == set(np.flatnonzero(flat == 3).tolist())


def test_places_cover_the_structure_along_every_axis() -> None:
    """Evenly spaced positions of the flattened label would all share one column of a 32^3 block (stride 8 of 32)."""
    label = torch.ones(1, 32, 32, 32)
    found = CropCentresd(keys="label")({"label": label})
    for axis in np.unravel_index(found["label_fg_indices"], (1, 32, 32, 32))[1:]:
        assert len(np.unique(axis)) == 32
        assert np.abs(axis.mean() - 15.5) < 1


def test_the_same_label_gives_the_same_places() -> None:
    first, second = (CropCentresd(keys="label")({"label": _label()}) for _ in range(2))
    assert np.array_equal(first["label_fg_indices"], second["label_fg_indices"])


@pytest.mark.parametrize("value", [0, 1])
def test_a_label_of_one_value_is_still_cropped(value: int) -> None:
    crop = RandCropByPosNegLabeld(
        keys="label",
        label_key="label",
        spatial_size=(4, 4, 4),
        fg_indices_key="label_fg_indices",
        bg_indices_key="label_bg_indices",
    )
    with pytest.warns(UserWarning, match="unable to generate class balanced samples"):
        cut = crop(CropCentresd(keys="label")({"label": torch.full((1, 8, 8, 8), float(value))}))
    assert torch.equal(cut[0]["label"], torch.full((1, 4, 4, 4), float(value)))
