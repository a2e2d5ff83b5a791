"""CT windows with HU values by hand, and pictures of a CT refused."""

from __future__ import annotations

import pickle
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import CacheDataset, MetaTensor
from monai.transforms import Compose, Orientationd

from medtl_monai.errors import ConfigError, IntensityError
from medtl_monai.transforms.ct import CT_WINDOWS, ct_window, ct_windows_as_channels, require_hu, windows_as_channels


def row(*values: float) -> MetaTensor:
    return MetaTensor(torch.tensor(values).reshape(1, -1, 1, 1), meta={"case": "head_007"})


# window -> HU that must become 0 (and below), 0.5 and 1 (and above)
BY_HAND = {
    "lung": (-1350, -600, 150),
    "mediastinum": (-160, 40, 240),
    "bone": (-450, 300, 1050),
    "abdomen": (-140, 60, 260),
    "brain": (0, 40, 80),
    "stroke": (20, 40, 60),
    "subdural": (-20, 80, 180),
}


@pytest.mark.parametrize("name", CT_WINDOWS)
def test_windows_by_hand(name: str) -> None:
    black, grey, white = BY_HAND[name]
    image = row(-3024, black - 1, black, (black + grey) / 2, grey, white, white + 1, 3071)
    out = Compose(ct_window("ct", name))({"ct": image})["ct"]
    assert out.flatten().tolist() == pytest.approx([0, 0, 0, 0.25, 0.5, 1, 1, 1], abs=1e-6)
    assert torch.equal(image, row(-3024, black - 1, black, (black + grey) / 2, grey, white, white + 1, 3071))


def test_every_window_is_tested() -> None:
    assert set(BY_HAND) == set(CT_WINDOWS)


def test_three_windows_as_channels() -> None:
    """Air, water, white matter 30 HU, acute blood 70 HU, bone 1000 HU."""
    out = Compose(ct_windows_as_channels("ct"))({"ct": row(-1000, 0, 30, 70, 1000)})["ct"]
    expected = [
        [0, 0, 30 / 80, 70 / 80, 1],  # brain
        [0, 20 / 200, 50 / 200, 90 / 200, 1],  # subdural
        [0, 450 / 1500, 480 / 1500, 520 / 1500, 1450 / 1500],  # bone
    ]
    assert out.dtype == torch.float32
    assert np.abs(out[..., 0, 0].numpy() - np.array(expected)).max() < 1e-6


def test_geometry_survives_and_can_be_inverted() -> None:
    image = MetaTensor(torch.randn(1, 4, 5, 6) * 300, affine=torch.diag(torch.tensor([-1.0, -2.0, 3.0, 1.0])))
    chain = Compose([Orientationd("ct", axcodes="SAR"), *ct_windows_as_channels("ct", ("lung", "bone"))])
    out = chain({"ct": image})
    assert tuple(out["ct"].shape) == (2, 6, 5, 4)
    assert nib.aff2axcodes(out["ct"].affine.numpy()) == ("S", "A", "R")
    back = chain.inverse(out)["ct"]
    assert torch.allclose(back.affine, image.affine)
    assert torch.equal(back.as_tensor(), windows_as_channels(image, ("lung", "bone")).as_tensor())


PICTURES = {
    "8 bit": torch.tensor([0, 12, 255, 128], dtype=torch.uint8),
    "8 bit as float": torch.tensor([0.0, 12, 255, 128]),
    "scaled": torch.tensor([0.0, 0.25, 1.0, 0.5]),
    "empty": torch.zeros(4),
}
SCANS = {
    "air": torch.tensor([-1000.0, 40, 60, 80]),
    "one negative voxel": torch.tensor([0, 255, -1, 10], dtype=torch.int16),
    "metal": torch.tensor([0, 255, 256, 10], dtype=torch.int16),
    "resampled": torch.tensor([0.0, 40.5, 60.25, 80]),
}


@pytest.mark.parametrize("kind", PICTURES)
def test_pictures_of_a_ct_are_refused(kind: str) -> None:
    image = MetaTensor(PICTURES[kind].reshape(1, 2, 2, 1), meta={"case": "head_007"})
    for chain in (ct_window("ct", "brain"), ct_windows_as_channels("ct")):
        with pytest.raises(RuntimeError) as caught:
            Compose(chain)({"ct": image})
        assert isinstance(caught.value.__cause__, IntensityError)
        assert "case head_007: these values cannot be HU; expected HU" in str(caught.value.__cause__)


@pytest.mark.parametrize("kind", SCANS)
def test_scans_pass_unchanged(kind: str) -> None:
    image = MetaTensor(SCANS[kind].reshape(1, 2, 2, 1))
    out = require_hu(image)
    assert torch.equal(out, image)
    assert out.dtype == image.dtype


def test_the_input_carries_no_trace_of_the_check() -> None:
    image = row(-1000, 0, 30)
    for _ in range(3):
        Compose(ct_window("ct", "brain"))({"ct": image})
    assert image.applied_operations == []


def test_wrong_names_and_channels() -> None:
    with pytest.raises(ConfigError, match=r"unknown CT window.*got mediastnum; did you mean 'mediastinum'\?"):
        ct_window("ct", "mediastnum")
    with pytest.raises(ConfigError, match=r"unknown CT window.*got bones; did you mean 'bone'\?"):
        ct_windows_as_channels("ct", ("brain", "bones"))
    with pytest.raises(ConfigError, match="no CT window is named"):
        ct_windows_as_channels("ct", ())
    with pytest.raises(IntensityError, match="expected 1 channel, got 3 channels"):
        windows_as_channels(torch.full((3, 2, 2, 2), -5.0), ("brain",))


def test_in_a_cache_and_pickled() -> None:
    chain = pickle.loads(pickle.dumps(Compose(ct_windows_as_channels(["ct"]))))
    cache = CacheDataset([{"ct": row(-1000, 0, 30)}, {"ct": row(-1000, 0, 70)}], chain, num_workers=0, progress=False)
    assert cache[1]["ct"][0].flatten().tolist() == pytest.approx([0, 0, 70 / 80])
    assert torch.equal(cache[1]["ct"], cache[1]["ct"])


def test_a_real_abdomen_ct(real_data: Path) -> None:
    """Part of it is black, part white, part between."""
    scan = nib.load(real_data / "abdomen_ct" / "ct_3mm.nii.gz")
    image = MetaTensor(torch.from_numpy(np.asarray(scan.dataobj, dtype=np.float32))[None])
    out = Compose(ct_window("ct", "abdomen"))({"ct": image})["ct"]
    shares = [(out == 0).float().mean(), (out == 1).float().mean()]
    assert all(0.001 < share < 0.9 for share in shares)
    expected = ((image.numpy().astype(np.float64) + 140) / 400).clip(0, 1)
    assert np.abs(out.numpy() - expected).max() < 1e-5
