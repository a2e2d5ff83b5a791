"""One call per modality: the same as the single steps, invertible, and safe with MONAI Label's cases."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Invertd, Orientationd, Spacingd
from torch import nn

from medtl_monai.errors import ConfigError, IntensityError
from medtl_monai.transforms.intensity import unit_by_percentiles
from medtl_monai.transforms.modality import ct_volume, mr_volume


class Expects(nn.Module):
    """A network with wishes."""

    def __init__(self, intensity: str = "zscore", orientation: str = "RAS") -> None:
        super().__init__()
        self.intensity, self.orientation = intensity, orientation


def _scan(low: float, high: float) -> MetaTensor:
    """An LIA scan of 2x1x3 mm."""
    affine = torch.tensor([[-2.0, 0, 0, 5], [0, 0, 3.0, -7], [0, -1.0, 0, 9], [0, 0, 0, 1]], dtype=torch.float64)
    values = torch.rand((1, 12, 16, 10), generator=torch.Generator().manual_seed(0)) * (high - low) + low
    return MetaTensor(values, affine=affine)


def _case(low: float = 0.0, high: float = 900.0) -> dict[str, object]:
    scan = _scan(low, high)
    label = MetaTensor((scan.as_tensor() > (low + high) / 2).float(), affine=scan.affine)
    return {"image": scan, "label": label, "image_path": "/scan.nii.gz"}


def test_mr_is_the_single_steps() -> None:
    found = mr_volume(Expects("unit"), ["image", "label"], spacing=[1, 1, 1])(_case())
    single = Compose(
        [
            Orientationd(["image", "label"], axcodes="RAS", labels=None),
            Spacingd(["image", "label"], (1, 1, 1), mode=("bilinear", "nearest")),
        ]
    )({key: value for key, value in _case().items() if key != "image_path"})
    assert torch.equal(found["image"].as_tensor(), unit_by_percentiles(single["image"]).as_tensor())
    assert torch.equal(found["label"].as_tensor(), single["label"].as_tensor())
    assert nib.aff2axcodes(found["image"].affine.numpy()) == ("R", "A", "S")
    assert found["image_path"] == "/scan.nii.gz"


def test_labels_path_survives_where_monai_alone_stumbles() -> None:
    image = _scan(0, 1)
    image.meta["filename_or_obj"] = "/scan.nii.gz"
    with pytest.raises(AttributeError, match="update"):
        Spacingd("image", (1, 1, 1))({"image": image, "image_path": "/scan.nii.gz"})
    assert (
        mr_volume(Expects(), spacing=[1, 1, 1])({"image": image, "image_path": "/scan.nii.gz"})["image_path"]
        == "/scan.nii.gz"
    )


@pytest.mark.parametrize("orientation", ["RAS", "SAR"])
def test_a_mask_comes_back_to_the_scans_own_grid(orientation: str) -> None:
    case = _case()
    steps = Compose([mr_volume(Expects(orientation=orientation), spacing=[1, 1, 1])])
    data = steps(dict(case))
    data["pred"] = MetaTensor((data["image"] > 0).float(), meta=data["image"].meta)
    data["pred"].applied_operations = list(data["image"].applied_operations)
    back = Invertd("pred", transform=steps, orig_keys="image", nearest_interp=True)(data)["pred"]
    assert back.shape == case["image"].shape
    assert torch.allclose(back.affine, case["image"].affine)
    truth = case["image"].as_tensor() > case["image"].mean()
    assert (back.as_tensor().bool() == truth).float().mean() > 0.8


def test_ct_window_of_the_whole_scan_then_what_the_network_expects() -> None:
    unit = ct_volume(Expects("unit"), window="abdomen")(_case(-1000, 1000))["image"]
    hounsfield = Orientationd("image", axcodes="RAS", labels=None)({"image": _scan(-1000, 1000)})["image"]
    expected = ((hounsfield.as_tensor() - (60 - 200)) / 400).clamp(0, 1)
    assert torch.allclose(unit.as_tensor(), expected, atol=1e-6)
    scored = ct_volume(Expects("robust_zscore"), window="abdomen")(_case(-1000, 1000))["image"].as_tensor()
    assert torch.allclose(scored, (expected - expected.mean()) / expected.std(correction=0), atol=1e-4)


def test_a_cached_data_set_keeps_the_result_of_the_call() -> None:
    from monai.data import CacheDataset
    from monai.transforms import RandFlipd

    calls = Compose([mr_volume(Expects()), RandFlipd("image", prob=1.0)])
    cached = CacheDataset([_case()], calls, progress=False, num_workers=None)
    assert float(cached._cache[0]["image"].mean()) == pytest.approx(0, abs=1e-4)


def test_refusals() -> None:
    with pytest.raises(IntensityError, match="HU"):
        ct_volume(Expects())(_case(0.0, 1.0))
    with pytest.raises(ConfigError, match="CT window"):
        ct_volume(Expects(), window="abdomn")
    with pytest.raises(ConfigError, match="one or two keys"):
        mr_volume(Expects(), ["a", "b", "c"])
    with pytest.raises(ConfigError, match="bias_field"):
        mr_volume(Expects(), bias_field="perhaps")  # type: ignore[arg-type]


def test_bias_field_is_corrected_before_the_intensities() -> None:
    grid = np.mgrid[0:32, 0:32, 0:32] - 16
    tissue = 100.0 * ((grid**2).sum(axis=0) < 14**2)
    scan = MetaTensor(torch.from_numpy(tissue * np.exp(0.015 * grid[0])).float()[None], affine=torch.eye(4))
    inside = torch.from_numpy(tissue > 0)[None]
    plain, corrected = (mr_volume(Expects(), bias_field=on)({"image": scan.clone()})["image"] for on in (False, True))
    assert corrected[inside].std() < 0.6 * plain[inside].std()


def test_a_masked_background_does_not_count() -> None:
    scan = _scan(50, 900)
    scan[:, :6] = 0
    found = mr_volume(Expects(), nonzero=True)({"image": scan.clone()})["image"].as_tensor()
    turned = Orientationd("image", axcodes="RAS", labels=None)({"image": scan})["image"].as_tensor()
    inside = turned[turned != 0]
    assert torch.equal(found == 0, turned == 0)
    assert torch.allclose(found[turned != 0], (inside - inside.mean()) / inside.std(correction=0), atol=1e-4)


def test_a_ct_range_in_hu() -> None:
    named, plain = (ct_volume(Expects("unit"), window=w)(_case(-1000, 1000))["image"] for w in ("abdomen", [-140, 260]))
    assert torch.equal(named.as_tensor(), plain.as_tensor())
    with pytest.raises(ConfigError, match="no window"):
        ct_volume(Expects(), window=[100, 50])
