"""Whole volumes for classifiers, CT ranges as channels, and the z-score between percentiles."""

from __future__ import annotations

import nibabel as nib
import pytest
import torch
from monai.data import MetaTensor
from torch import nn

from medtl_monai.errors import ConfigError, IntensityError
from medtl_monai.transforms.ct import windows_as_channels
from medtl_monai.transforms.intensity import clipped_zscore
from medtl_monai.transforms.modality import ct_resized, ct_slice, mr_resized, mr_volume


class Expects(nn.Module):
    """A network with wishes."""

    def __init__(self, intensity: str = "unit", orientation: str = "RAS") -> None:
        super().__init__()
        self.intensity, self.orientation = intensity, orientation


def scan(low: float, high: float) -> MetaTensor:
    """An LPS scan, brighter to the left."""
    ramp = torch.linspace(low, high, 12)[:, None, None].expand(12, 10, 8).clone()[None]
    return MetaTensor(ramp, affine=torch.diag(torch.tensor([-1.0, -1.0, 2.0, 1.0], dtype=torch.float64)))


def test_ct_of_any_size_becomes_one_size_and_one_range() -> None:
    image = scan(-1000, 1000)
    found = ct_resized(Expects(), size=[6, 6, 6], window=[-200, 200])({"image": image})["image"]
    assert tuple(found.shape) == (1, 6, 6, 6)
    assert nib.aff2axcodes(found.affine.numpy()) == ("R", "A", "S")
    profile = found[0, :, 3, 3].as_tensor()
    assert (float(profile[1]), float(profile[-1])) == (pytest.approx(1, abs=1e-3), pytest.approx(0, abs=1e-3))
    centred = ct_resized(Expects("zscore"), size=[6, 6, 6], window=[-200, 200])({"image": image})["image"]
    assert abs(float(centred.mean())) < 1e-5
    assert float(centred.std(correction=0)) == pytest.approx(1, abs=1e-4)


def test_ct_keeps_its_guard() -> None:
    with pytest.raises(IntensityError, match="cannot be HU"):
        ct_resized(Expects(), size=[6, 6, 6])({"image": MetaTensor(scan(0, 255).round(), affine=torch.eye(4))})


@pytest.mark.parametrize(
    ("intensity", "orientation", "codes"), [("unit", "RAS", "RAS"), ("robust_zscore", "SAR", "SAR")]
)
def test_mr_of_any_size(intensity: str, orientation: str, codes: str) -> None:
    found = mr_resized(Expects(intensity, orientation), size=[5, 6, 7])({"image": scan(0, 900)})["image"]
    assert tuple(found.shape) == (1, 5, 6, 7)
    assert "".join(nib.aff2axcodes(found.affine.numpy())) == codes
    if intensity == "unit":
        assert (float(found.min()), float(found.max())) == (0, 1)
    else:
        assert abs(float(found.mean())) < 1e-5


def test_making_smaller_averages_instead_of_picking() -> None:
    board = torch.zeros(1, 16, 16, 16)
    board[:, ::2] = 100.0  # every other plane
    image = MetaTensor(board, affine=torch.eye(4, dtype=torch.float64))
    image[0, 0, 0, 0], image[0, 15, 15, 15] = -50, 150
    found = mr_resized(Expects("zscore"), size=[4, 4, 4])({"image": image})["image"]
    inner = found[0, 1:3, 1:3, 1:3].as_tensor()
    assert float(inner.max() - inner.min()) < 1.0  # planes picked one by one would be 0 and 100 apart


def test_z_score_of_what_lies_between_the_percentiles() -> None:
    image = scan(0, 900)
    image[0, 0, 0, 0] = 1e6  # one hot voxel
    clipped = mr_volume(Expects("zscore"), clip=True)({"image": image.clone()})["image"].as_tensor()
    turned = mr_volume(Expects("robust_zscore"))({"image": image.clone()})["image"].as_tensor()
    assert torch.equal(clipped, turned)
    assert float(clipped.max()) < 10
    assert torch.allclose(clipped.sort().values.mean(), clipped_zscore(image).as_tensor().mean(), atol=1e-6)
    with pytest.raises(ConfigError, match="exclude"):
        mr_volume(Expects("zscore"), clip=True, nonzero=True)


def test_ranges_beside_names_as_channels() -> None:
    image = MetaTensor(torch.linspace(-1000, 1000, 64).reshape(1, 8, 8, 1), affine=torch.eye(4, dtype=torch.float64))
    found = windows_as_channels(image, ["brain", [0, 80], [-100, 300]])
    assert torch.equal(found[0], found[1])  # brain: level 40, width 80
    assert torch.allclose(found[2], ((image[0].as_tensor() + 100) / 400).clamp(0, 1))
    assert ct_slice(Expects("zscore"), window=[[-100, 300]], size=8)({"image": image})["image"].shape == (1, 8, 8)
    with pytest.raises(ConfigError, match="no window"):
        ct_slice(Expects(), window=[-100, 300])  # type: ignore[list-item]
